/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "sources/replay.h"
#include "tools/daemon.h"

/* "R3" names all parts of R3, "R3/aws" one. */
static bool names_rule(const char *name, const struct rule *r)
{
	size_t n = strlen(r->id);

	if (strncmp(name, r->id, n))
		return false;
	return !name[n] || (name[n] == '/' && !strcmp(name + n + 1, r->part));
}

/* A line that lets nobody through is a mistake somebody should hear of. */
static int check_readers(const struct daemon *d, const struct ruleset *rs, struct rules_error *err)
{
	for (size_t i = 0; i < d->config->n_readers; i++) {
		const char *name = d->config->readers[i].rule;
		bool found = false;

		for (size_t k = 0; k < ruleset_count(rs) && !found; k++)
			found = names_rule(name, ruleset_rule(rs, k));
		if (found)
			continue;
		snprintf(err->text, sizeof(err->text),
			 "%s:%u: readers: there is no rule %s; oknek rules lists them",
			 d->config->readers[i].at.file, d->config->readers[i].at.line, name);
		return -EINVAL;
	}
	return 0;
}

/* rules.d beside the configuration file. */
static char *site_rules(const struct daemon *d)
{
	const char *slash = strrchr(d->opt.config, '/');
	char *path;

	return asprintf(&path, "%.*s/rules.d", slash ? (int)(slash - d->opt.config) : 1,
			slash ? d->opt.config : ".") < 0 ? NULL : path;
}

static void free_active_pack(struct active_pack **p)
{
	daemon_active_pack_free(*p);
}

/* --rules DIR, else the active pack, else what was shipped. */
static int choose_pack(struct daemon *d, struct rules_config *c, const char *dirs[],
		       struct active_pack **active, struct rules_error *err)
{
	int r;

	if (d->opt.rules_dir) {
		dirs[0] = d->opt.rules_dir;
		c->pack = "local";
		c->origin = d->opt.rules_dir;
		return 0;
	}
	r = daemon_active_pack(d->opt.state_dir, c, active, err);
	/* A daemon that starts must not be without rules because somebody damaged a pack; one that
	 * has rules keeps them. */
	if (r < 0 && r != -ENOENT && (d->rules || d->opt.check))
		return r;
	if (r < 0 && r != -ENOENT) {
		log_error("%s; the shipped rules serve instead", err->text);
		if (d->journal)
			daemon_own_record(d, "O1", "active pack refused",
					  json_pack("{s:s}", "why", err->text));
	}
	if (r < 0) {
		dirs[0] = OKNEK_RULES_DIR;
		c->pack = "shipped " OKNEK_VERSION;
		c->origin = OKNEK_RULES_DIR;
	}
	return 0;
}

int daemon_load_rules(struct daemon *d, struct ruleset **ret, struct rules_error *err)
{
	_cleanup_(free_active_pack) struct active_pack *active = NULL;
	_cleanup_free_ struct rules_override *ov = NULL;
	_cleanup_free_ char *site = NULL;
	struct ruleset *rs = NULL;
	const char *dirs[3] = { NULL };
	struct rules_config c = {
		.dirs = dirs,
		.retain_default_s = d->config->retain_default_s,
	};
	int r = choose_pack(d, &c, dirs, &active, err);

	if (r < 0)
		return r;
	if (!d->opt.rules_dir) {
		site = site_rules(d);
		if (!site)
			return -ENOMEM;
		if (access(site, F_OK) == 0) {
			dirs[dirs[0] ? 1 : 0] = site;
			c.site_only_x = true;
		}
	}
	/* What this daemon can stop before the fact, whatever else it sees. */
	if (d->fanotify || d->opt.check)
		c.mechanisms[KIND_FILE_OPENED] = 1u << MECH_FANOTIFY;
	ov = calloc(d->config->n_overrides + 1, sizeof(*ov));
	if (!ov)
		return -ENOMEM;
	for (size_t i = 0; i < d->config->n_overrides; i++)
		ov[i] = (struct rules_override){ d->config->overrides[i].rule,
						 d->config->overrides[i].action,
						 d->config->overrides[i].at.file,
						 d->config->overrides[i].at.line };
	c.overrides = ov;
	c.n_overrides = d->config->n_overrides;
	r = ruleset_load(&c, &rs, err);
	if (!r)
		r = check_readers(d, rs, err);
	if (r < 0) {
		ruleset_unref(rs);
		return r;
	}
	*ret = rs;
	return 0;
}

struct swap {
	struct daemon *d;
	struct ruleset *rules;
};

static void swap_rules(void *arg)
{
	struct swap *s = arg;
	struct ruleset *old = s->d->rules;

	s->d->rules = s->rules;
	s->rules = old;
}

int daemon_reload(struct daemon *d, struct rules_error *err)
{
	struct swap s = { d, NULL };
	int r = daemon_load_rules(d, &s.rules, err);

	if (r < 0)
		return r;
	/* What the new rules guard is marked before they serve. */
	if (d->marks)
		r = marks_set(d->marks, atomic_load(&d->mode_now), ruleset_pathset(s.rules),
			      MARKS_WAIT_MS);
	if (r < 0 && r != -ETIMEDOUT) {
		snprintf(err->text, sizeof(err->text), "marks: %s", strerror(-r));
	} else {
		if (r == -ETIMEDOUT)
			daemon_marks_are_late(d);
		r = loop_call(d->loop, swap_rules, &s);
		if (r < 0)
			snprintf(err->text, sizeof(err->text), "the daemon is stopping");
	}
	ruleset_unref(s.rules);
	return r < 0 ? r : 0;
}

static bool is_reader(const struct config *c, const struct rule *r, const char *exe)
{
	for (size_t i = 0; i < c->n_readers; i++)
		if (names_rule(c->readers[i].rule, r) && !strcmp(c->readers[i].exe, exe))
			return true;
	return false;
}

bool daemon_reader_candidate(void *arg, const char *exe)
{
	const struct daemon *d = arg;

	for (size_t i = 0; i < d->config->n_readers; i++)
		if (!strcmp(d->config->readers[i].exe, exe))
			return true;
	return false;
}

static void drop_readers(const struct config *c, const struct event *ev, struct decision *d)
{
	unsigned kept = 0;

	/* It is not known whom those that found no room in fired[] would let through. */
	if (d->n_fired_more)
		return;
	for (unsigned i = 0; i < d->n_fired; i++)
		if (!is_reader(c, d->fired[i].rule, ev->subj.exe))
			d->fired[kept++] = d->fired[i];
	d->n_fired = kept;
	d->verdict = kept ? d->fired[0].verdict : VERDICT_ALLOW;
}

void daemon_decide(void *arg, const struct event *ev, struct decision *ret, const char **category)
{
	struct daemon *d = arg;
	struct wall_clock wc;
	struct timespec ts;
	int64_t now;

	if (d->replay && ev->source == d->replay) {
		now = replay_clock_unix_ns(d->replay) / (int64_t)NSEC_PER_SEC;
	} else {
		clock_gettime(CLOCK_REALTIME, &ts);
		now = ts.tv_sec;
	}
	zone_wall_clock(&d->zone, now, &wc);
	rules_decide(d->rules, ev, &wc, ret, category);
	if (ev->subj.exe_verified)
		drop_readers(d->config, ev, ret);
}
