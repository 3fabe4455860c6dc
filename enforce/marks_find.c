/* SPDX-License-Identifier: Apache-2.0 */
/* From what the lookup helper finds to objects with marks; and looking again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "enforce/marks_priv.h"

/*
 * No uid takes the room of others, and what only warns takes none from what blocks: an agent can
 * make files of any name by the thousand. A file beyond the quota in a marked directory is still
 * judged by its name there.
 */
#define QUOTA_OBJECTS 16384
#define QUOTA_WARN 8192

static struct uid_count *count_of(struct marks *m, uid_t uid)
{
	for (unsigned i = 0; i < m->n_counts; i++)
		if (m->counts[i].uid == uid)
			return &m->counts[i];
	if (m->n_counts == UIDS_MAX)
		return NULL;
	m->counts[m->n_counts] = (struct uid_count){ .uid = uid };
	return &m->counts[m->n_counts++];
}

static void count_object(struct object *o, void *arg)
{
	struct uid_count *c = count_of(arg, o->uid);

	if (!c)
		return;
	c->objects++;
	c->warn += o->verdict < VERDICT_BLOCK;
}

static bool has_room(struct marks *m, const struct object *o)
{
	struct uid_count *c;

	if (objects_count(m->c.objects) >= OBJECTS_MAX)
		return false;
	if (o->system)
		return true;
	/* Counted anew now and then: objects go away in more ways than they come. */
	if (m->counted_at != m->pass || objects_count(m->c.objects) < m->counted_objects) {
		m->n_counts = 0;
		objects_each(m->c.objects, count_object, m);
		m->counted_at = m->pass;
		m->counted_objects = objects_count(m->c.objects);
	}
	c = count_of(m, o->uid);
	if (!c || c->objects >= QUOTA_OBJECTS ||
	    (o->verdict < VERDICT_BLOCK && c->warn >= QUOTA_WARN))
		return false;
	c->objects++;
	c->warn += o->verdict < VERDICT_BLOCK;
	return true;
}

/*
 * Below these a project keeps what programs write and read by the thousand, and people keep no
 * secrets. A permission mark on each such directory would cost each of those opens a verdict: what
 * matches there is marked itself, and what comes later from the moment it is noticed.
 */
static bool is_bulk(const struct lookup_found *f)
{
	static const char *const names[] = { "/.git/", "/node_modules/", "/.venv/", "/venv/",
					     "/__pycache__/", "/.tox/" };
	char below[4096];

	if (!f->project[0] || !marks_is_above(f->project, f->path))
		return false;
	snprintf(below, sizeof(below), "%s/", f->path + strlen(f->project));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strstr(below, names[i]))
			return true;
	return false;
}

void marks_found(struct marks *m, const struct lookup_found *f)
{
	struct object o = {
		.dev = f->dev,
		.ino = f->ino,
		.is_dir = f->is_dir,
		.on_child = f->is_dir && f->reach_here && !is_bulk(f),
		.below = f->is_dir && f->reach_below,
		.system = f->system,
		.verdict = f->verdict,
		.uid = m->walk_uid,
		.pass = m->pass,
		.n_names = 1,
		.names = { { (char *)f->path, (char *)f->home, (char *)f->project,
			     (char *)f->via } },
		.group = -1,
	};
	struct object *put;

	if (!f->reach_here && !f->reach_below)
		return; /* no rule names it any more: marks_settle() sees to its marks */
	if (f->handle_len <= OBJECT_HANDLE_MAX) {
		o.handle.fsid = f->fsid;
		o.handle.type = f->handle_type;
		o.handle.len = f->handle_len;
		memcpy(o.handle.bytes, f->handle, f->handle_len);
	}
	if (!objects_find(m->c.objects, o.dev, o.ino) && !has_room(m, &o)) {
		marks_gap(m, f->home[0] ? f->home : f->path,
			  "has more protected objects than oknek keeps for one user");
		return;
	}
	/* Known first, marked after: an event that the mark brings finds the object. */
	put = objects_put(m->c.objects, &o);
	if (!put) {
		marks_gap(m, f->path, "out of memory");
		return;
	}
	m->dirty = true;
	marks_place(m, put, f->fd, f->fstype);
	marks_mounts_follow(m, f);
}

static void on_found(void *arg, const struct lookup_found *f)
{
	marks_found(arg, f);
}

/* Kernel filesystems take no marks on any host; the rules that name them are bound to detect, and
 * listed so. A gap is what this host lacks. */
static bool never_markable(const char *path)
{
	static const char *const roots[] = { "/proc", "/sys", "/dev" };

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		size_t n = strlen(roots[i]);

		if (!strncmp(path, roots[i], n) && (!path[n] || path[n] == '/'))
			return true;
	}
	return false;
}

static void on_gap(void *arg, const struct lookup_gap *g)
{
	struct marks *m = arg;

	if (never_markable(g->path))
		return;
	if (m->walking && !strcmp(g->path, marks_place_path(m->walking)))
		m->root_gap = true;
	else if (strstr(g->why, LOOKUP_REFUSED))
		return; /* what the user may not look at, its agent may not open */
	/* Decoys go when they were tried. */
	if (*m->proof_home && marks_is_above(m->proof_home, g->path) && strstr(g->why, "does not exist"))
		return;
	marks_gap(m, g->path, g->why);
}

struct lookup_handler marks_handler(struct marks *m)
{
	return (struct lookup_handler){ on_found, on_gap, m };
}

void marks_failed(struct marks *m, const char *path, int err)
{
	if (err == -ECANCELED)
		return; /* we are ending */
	pthread_mutex_lock(&m->lock);
	m->stats.lookups_failed++;
	pthread_mutex_unlock(&m->lock);
	marks_gap(m, path,
		  err == -ETIMEDOUT ? "could not be looked at in time: something there does not answer"
				    : strerror(-err));
}

int marks_expand(struct marks *m, struct place *p)
{
	struct lookup_handler h = marks_handler(m);
	int err;

	m->walk_uid = p->uid;
	m->walking = p;
	m->root_gap = false;
	err = lookup_expand(m->c.lookup, p->uid, p->home[0] ? p->home : NULL,
			    p->project[0] ? p->project : NULL, EXPAND_MS, &h);
	m->walking = NULL;
	p->ok = err >= 0 && !m->root_gap;
	if (err < 0 && err != -ENOENT)
		marks_failed(m, p->project[0] ? p->project : p->home[0] ? p->home : "/", err);
	return err;
}

int marks_lookup_object(struct marks *m, const struct object_handle *oh,
			const struct object_name *name)
{
	struct lookup_handler h = marks_handler(m);

	return lookup_handle(m->c.lookup, oh->fsid, oh->type, oh->bytes, oh->len, name->path,
			     name->home, name->project, LOOKUP_MS, &h);
}

/* Marks of objects that stand at no protected path any more, by what is known of them. */
static void remark(struct object *o, void *arg)
{
	struct marks *m = arg;

	if (o->pass == m->pass || !o->handle.len)
		return;
	m->walk_uid = o->uid;
	/* A name that a link gives is the link's, and found again where that stands. */
	for (unsigned i = 0; i < o->n_names; i++) {
		if (o->names[i].via[0])
			continue;
		marks_lookup_object(m, &o->handle, &o->names[i]);
		return;
	}
}

void marks_rescan(struct marks *m)
{
	pthread_mutex_lock(&m->lock);
	m->stats.rescans++;
	pthread_mutex_unlock(&m->lock);
	marks_clear_gaps(m);
	m->pass++;
	for (unsigned i = 0; i < m->n_places; i++)
		marks_expand(m, &m->places[i]);
	objects_each(m->c.objects, remark, m);
}

/* ---- after a reload ------------------------------------------------------------------------- */

struct settling {
	bool named;
	int fd; /* of the object, -1 none; owned */
};

static void on_settled(void *arg, const struct lookup_found *f)
{
	struct settling *s = arg;

	s->named |= f->reach_here || f->reach_below;
	if (s->fd < 0)
		s->fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
}

static void no_gap(void *arg, const struct lookup_gap *g)
{
	(void)arg;
	(void)g;
}

/* What cannot be asked about keeps its marks. */
static void settle(struct object *o, void *arg)
{
	struct marks *m = arg;
	struct settling s = { false, -1 };
	struct lookup_handler h = { on_settled, no_gap, &s };
	_cleanup_close_ int fd = -1;

	o->labelled &= o->pass == m->pass;
	if ((!o->perm_marked && !o->observe_marked) || o->pass == m->pass || !o->handle.len)
		return;
	for (unsigned i = 0; i < o->n_names && !s.named; i++) {
		const struct object_name *n = &o->names[i];

		/* that a link gives the name, only the link can tell */
		s.named |= n->via[0] || lookup_handle(m->c.lookup, o->handle.fsid, o->handle.type,
						      o->handle.bytes, o->handle.len, n->path,
						      n->home, n->project, LOOKUP_MS, &h) < 0;
	}
	fd = s.fd;
	if (!s.named && fd >= 0)
		marks_take(m, o, fd);
}

void marks_settle_now(struct marks *m)
{
	objects_each(m->c.objects, settle, m);
}
