/* SPDX-License-Identifier: Apache-2.0 */
/* Homes and projects: where the patterns of the rules are looked for. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "enforce/marks_priv.h"

#define PLACES_PER_UID 16 /* besides the home of the password database */

const char *marks_place_path(const struct place *p)
{
	return p->project[0] ? p->project : p->home;
}

bool marks_is_above(const char *dir, const char *path)
{
	size_t n = strlen(dir);

	return path[0] && !strncmp(dir, path, n) && (!path[n] || path[n] == '/');
}

static struct place *find_place(struct marks *m, const char *home, const char *project)
{
	for (unsigned i = 0; i < m->n_places; i++)
		if (!strcmp(m->places[i].home, home) && !strcmp(m->places[i].project, project))
			return &m->places[i];
	return NULL;
}

/*
 * $HOME and the working directory are the caller's to choose: no uid pushes out what others have,
 * and nobody pushes out the homes of the password database. What is marked in a place that is
 * forgotten stays marked; it is only no longer looked through anew.
 */
static bool make_room(struct marks *m, uid_t uid, bool own)
{
	unsigned mine = 0, oldest = PLACES_MAX;

	if (own && m->n_places < PLACES_MAX)
		return true;
	for (unsigned i = 0; i < m->n_places; i++)
		mine += m->places[i].uid == uid && !m->places[i].own;
	if (!own && mine < PLACES_PER_UID && m->n_places < PLACES_MAX)
		return true;
	/* Beyond one's quota one's own oldest goes; when all is full, anybody's. */
	for (unsigned i = 0; i < m->n_places && oldest == PLACES_MAX; i++)
		if (!m->places[i].own && (m->n_places == PLACES_MAX ? mine == 0 ||
					  m->places[i].uid == uid : m->places[i].uid == uid))
			oldest = i;
	if (oldest == PLACES_MAX)
		return false;
	m->n_places--;
	memmove(&m->places[oldest], &m->places[oldest + 1],
		(m->n_places - oldest) * sizeof(m->places[0]));
	return true;
}

/* 0 when all that exists there is marked; a place that does not exist (yet) is looked for again. */
static int watch_place(struct marks *m, uid_t uid, const char *home, const char *project, bool own)
{
	struct place *p = find_place(m, home, project);
	int err;

	if (!p) {
		if (!make_room(m, uid, own)) {
			marks_gap(m, project[0] ? project : home, "more places than oknek keeps");
			return -ENOSPC;
		}
		p = &m->places[m->n_places++];
		*p = (struct place){ .uid = uid };
		snprintf(p->home, sizeof(p->home), "%s", home);
		snprintf(p->project, sizeof(p->project), "%s", project);
	}
	if (own) {
		p->own = true;
		p->uid = uid;
	}
	if (p->ok)
		return 0;
	err = marks_expand(m, p);
	return err == -ENOENT ? 0 : err;
}

/* Of who tried the rules last? */
static bool is_proof(const struct marks *m, const struct place *p)
{
	return *m->proof_home && marks_is_above(m->proof_home, marks_place_path(p));
}

void marks_retry_places(struct marks *m)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < m->n_places; i++) {
		if (!m->places[i].ok)
			marks_expand(m, &m->places[i]);
		if (m->places[i].ok || !is_proof(m, &m->places[i]))
			m->places[kept++] = m->places[i];
	}
	m->n_places = kept;
}

bool marks_places_wait(const struct marks *m)
{
	for (unsigned i = 0; i < m->n_places; i++)
		if (!m->places[i].ok)
			return true;
	return false;
}

/* With the first who is watched, the system's own secrets are marked, and what was remembered. */
static void begin(struct marks *m)
{
	if (m->recalled)
		return;
	m->recalled = true;
	watch_place(m, 0, "", "", true);
	marks_recall(m);
	exec_marks_apply(m);
}

static bool sane_home(const char *home)
{
	return home && home[0] == '/' && home[1] && strlen(home) < 1000 && !strstr(home, "/../");
}

static void strip_slash(char *path)
{
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
}

/* Directories that are everybody's: marks in them would slow down the whole host. */
static bool is_no_project(const char *dir)
{
	static const char *const shared[] = { "/tmp", "/var", "/var/tmp", "/usr", "/etc", "/home",
					      "/opt", "/bin", "/sbin", "/lib", "/lib64", "/boot",
					      "/run", "/proc", "/sys", "/dev", "/dev/shm" };

	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		if (!strcmp(dir, shared[i]))
			return true;
	return false;
}

/* What the password database said when it still answered. */
static bool known_home(const struct marks *m, uid_t uid, char *buf, size_t size)
{
	for (unsigned i = 0; i < m->n_places; i++) {
		const struct place *p = &m->places[i];

		if (!p->own || p->uid != uid || !p->home[0])
			continue;
		snprintf(buf, size, "%s", p->home);
		return true;
	}
	return false;
}

/* The decoys of who tries the rules; those of the last are gone, and take nobody's place. */
static void begin_proof(struct marks *m, const char *home)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < m->n_places; i++)
		if (!is_proof(m, &m->places[i]))
			m->places[kept++] = m->places[i];
	m->n_places = kept;
	snprintf(m->proof_home, sizeof(m->proof_home), "%s", home);
	exec_marks_prove(m, home);
}

int marks_watch_now(struct marks *m, struct marks_watch *w, char *env_home, char *project)
{
	unsigned n = 0;
	int err, ret = 0;

	begin(m);
	err = lookup_home(m->c.lookup, w->uid, LOOKUP_MS, w->homes[0], sizeof(w->homes[0]));
	if (err == -ETIMEDOUT && known_home(m, w->uid, w->homes[0], sizeof(w->homes[0])))
		err = 0;
	if (err < 0 || !sane_home(w->homes[0])) {
		char who[64];

		snprintf(who, sizeof(who), "home of uid %u", w->uid);
		marks_gap(m, who, err == -ETIMEDOUT ? "the password database does not answer"
						    : "is not known: rules for ~ do not hold");
		w->homes[0][0] = '\0';
		if (err == -ETIMEDOUT)
			ret = err;
	} else {
		strip_slash(w->homes[0]);
		ret = watch_place(m, w->uid, w->homes[0], "", true);
		n = 1;
	}
	strip_slash(env_home);
	if (w->proof)
		begin_proof(m, env_home);
	/* $HOME is the agent's to set: it can add a place to protect, never take one away. */
	if (sane_home(env_home) && (!n || strcmp(env_home, w->homes[0]))) {
		snprintf(w->homes[n], sizeof(w->homes[n]), "%s", env_home);
		err = watch_place(m, w->uid, w->homes[n], "", false);
		ret = ret ? ret : err;
	}
	strip_slash(project);
	if (project[0] != '/' || !project[1])
		return ret;
	if (is_no_project(project))
		return ret;
	/* Patterns that float are held by marks on each directory of the project. With a whole home
	 * as the project, that would slow down everything its user does. */
	if (marks_is_above(project, w->homes[0]) || marks_is_above(project, env_home)) {
		marks_gap(m, project, "is no project but a home, or above one: patterns that begin "
				      "with ** are not looked for there");
		return ret;
	}
	err = watch_place(m, w->uid, w->homes[0], project, false);
	return ret ? ret : err;
}

void marks_watch_uid(struct marks *m, uid_t uid)
{
	char home[1024];

	if (lookup_home(m->c.lookup, uid, LOOKUP_MS, home, sizeof(home)) < 0 || !sane_home(home))
		return;
	begin(m);
	strip_slash(home);
	watch_place(m, uid, home, "", true);
	if (m->c.home)
		m->c.home(m->c.arg, uid, home);
}
