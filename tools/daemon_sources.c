/* SPDX-License-Identifier: Apache-2.0 */
/* Which sources run, and what they need: feed, tables, groups. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "enforce/permission.h"
#include "enforce/permissive.h"
#include "sources/replay.h"
#include "tools/daemon.h"

static void refuse_source(struct daemon *d, const char *name, const char *why)
{
	struct unavailable *u;

	if (d->n_unavailable == SOURCES_MAX)
		return;
	u = &d->unavailable[d->n_unavailable++];
	snprintf(u->name, sizeof(u->name), "%s", name);
	snprintf(u->why, sizeof(u->why), "%s", why);
}

static int want(struct daemon_wanted *w, char *name)
{
	if (!strcmp(name, "fanotify")) {
		w->fanotify = true;
		return 0;
	}
	if (!strcmp(name, "ebpf")) {
		w->ebpf = w->calls = true;
		return 0;
	}
	if (!strcmp(name, "audit")) {
		w->audit = true;
		return 0;
	}
	if (!strcmp(name, "preload")) {
		w->preload = true;
		return 0;
	}
	if (!strncmp(name, "replay:", 7) && name[7]) {
		w->replay = name + 7;
		return 0;
	}
	log_error("--source: %s is not a source; there are fanotify, ebpf, "
		  "audit, preload and replay:FILE", name);
	return -EINVAL;
}

int daemon_choose_sources(struct daemon *d, struct daemon_wanted *w)
{
	char *save = NULL;

	if (d->opt.sources) {
		if (!d->opt.sources[strspn(d->opt.sources, ",")]) {
			log_error("--source: none is named; there are fanotify, ebpf, audit, preload and "
				  "replay:FILE");
			return -EINVAL;
		}
		for (char *s = strtok_r(d->opt.sources, ",", &save); s;
		     s = strtok_r(NULL, ",", &save))
			if (want(w, s) < 0)
				return -EINVAL;
	} else {
		for (char **s = d->config->sources; s && *s; s++)
			if (want(w, *s) < 0)
				return -EINVAL;
		if (!d->config->sources || !d->config->sources[0])
			w->fanotify = w->ebpf = true;
	}
	return 0;
}

static struct pathset *pathset_in_force(void *arg)
{
	return ruleset_pathset(((struct daemon *)arg)->rules);
}

static void timeout_by_rules(void *arg, const struct event *ev, uint64_t *deadline_ns,
			     enum verdict *on_timeout)
{
	const struct daemon *d = arg;

	rules_timeout(d->rules, ev, deadline_ns, on_timeout);
}

/* The groups and what they need; a failure here leaves the daemon without this source. */
static int open_fanotify(struct daemon *d)
{
	struct fanotify_config fc = {
		.deadline_ns = d->config->deadline_ns,
		.on_timeout = d->config->on_timeout,
		.pathset = pathset_in_force,
		.home_of = daemon_home_of,
		.reader_candidate = daemon_reader_candidate,
		.timeout = timeout_by_rules,
		.peek = d->peek.helper ? daemon_peek : NULL,
		.mode_matters = daemon_mode_matters,
		.mode_hidden = daemon_mode_hidden,
		.opening = daemon_opening,
		.feed_lost = daemon_feed_lost,
		.exec_allowed = daemon_exec_allowed,
		.gone = daemon_hold_gone,
		.arg = d,
	};
	int err = objects_new(&d->objects);

	if (!err)
		err = defaults_new(&d->defaults);
	if (!err)
		objects_set_defaults(d->objects, d->defaults);
	if (!err)
		err = programs_new(&d->programs);
	if (!err)
		err = permission_table_new(&d->permissions);
	if (!err)
		err = watch_queue_new(&d->queue);
	if (err)
		return err;
	fc.objects = d->objects;
	fc.programs = d->programs;
	fc.permissions = d->permissions;
	fc.queue = d->queue;
	fc.tree = d->tree;
	fc.feed = d->feed;
	err = fanotify_open(&fc, &d->fanotify, &d->groups);
	if (err) {
		refuse_source(d, "fanotify",
			      err == -EPERM ? "CAP_SYS_ADMIN is missing" :
			      err == -ENOSYS || err == -EINVAL ?
					      "this kernel has no fanotify permission events" :
					      strerror(-err));
		return err;
	}
	return permission_enforcer_open(d->permissions, &d->enforcer);
}

static int open_ebpf(struct daemon *d, bool calls)
{
	char why[192] = "";
	int err = daemon_ebpf_open(d, calls, why);

	if (err)
		refuse_source(d, "ebpf", why[0] ? why : strerror(-err));
	return err;
}

static int open_audit(struct daemon *d)
{
	char why[192] = "";
	int err = daemon_audit_open(d, why);

	if (err)
		refuse_source(d, "audit", why[0] ? why : strerror(-err));
	return err;
}

static int open_preload(struct daemon *d)
{
	int err = daemon_preload_open(d);

	if (err)
		refuse_source(d, "preload", strerror(-err));
	return err;
}

static void replay_line_bad(void *arg, const char *text)
{
	(void)arg;
	log_error("%s", text);
}

static int open_replay(struct daemon *d, const char *path)
{
	int err = replay_open(path, replay_line_bad, NULL, &d->replay);
	char why[256];

	if (err) {
		snprintf(why, sizeof(why), "%.200s: %s", path, strerror(-err));
		refuse_source(d, "replay", why);
	}
	return err;
}

int daemon_open_sources(struct daemon *d, const struct daemon_wanted *w)
{
	bool works;

	if (w->replay)
		open_replay(d, w->replay);
	if (!w->audit)
		daemon_audit_clean(d);
	if ((w->fanotify || w->ebpf || w->audit || w->preload) && daemon_feed_open(d) == 0) {
		if (w->fanotify)
			open_fanotify(d);
		if (w->ebpf)
			open_ebpf(d, w->calls || !d->fanotify);
		if (w->audit)
			open_audit(d);
		if (w->preload)
			open_preload(d);
	}
	if (!d->enforcer && permissive_open(&d->enforcer) < 0)
		return EXIT_UNAVAILABLE;
	works = daemon_watches(d) || d->replay;
	if (!works)
		log_error("no source works here");
	for (unsigned i = 0; i < d->n_unavailable; i++)
		log_msg(works ? LOG_WARNING : LOG_ERROR, "%s: %s", d->unavailable[i].name,
			d->unavailable[i].why);
	return works ? EXIT_DONE : EXIT_UNAVAILABLE;
}
