/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "tools/daemon.h"

#define RESCANS_MAX 20

/* --- homes: a small table of the verdict thread ------------------------------------------- */

static struct known_home *find_home(struct daemon *d, uid_t uid)
{
	for (unsigned i = 0; i < d->n_homes; i++)
		if (d->homes[i].uid == uid)
			return &d->homes[i];
	if (d->n_homes == HOMES_KNOWN_MAX)
		return NULL;
	d->homes[d->n_homes] = (struct known_home){ .uid = uid };
	return &d->homes[d->n_homes++];
}

const char *daemon_home_of(void *arg, uid_t uid)
{
	struct daemon *d = arg;
	struct known_home *h = find_home(d, uid);

	if (!h)
		return NULL;
	if (!h->path[0] && !h->asked) {
		struct change c = { .type = CHANGE_UID, .uid = uid };

		h->asked = true;
		watch_queue_put(d->queue, &c);
	}
	return h->path[0] ? h->path : NULL;
}

struct home_call {
	struct daemon *d;
	uid_t uid;
	const char *home;
};

static void set_home(void *arg)
{
	struct home_call *c = arg;
	struct known_home *h = find_home(c->d, c->uid);

	if (h)
		snprintf(h->path, sizeof(h->path), "%s", c->home);
}

void daemon_home_known(void *arg, uid_t uid, const char *home)
{
	struct home_call c = { arg, uid, home };

	loop_call(c.d->loop, set_home, &c);
}

/* --- a new tree --------------------------------------------------------------------------- */

struct add_call {
	struct daemon *d;
	struct tree init;
	struct watch_result *ret;
	int err;
};

static void add_tree(void *arg)
{
	struct add_call *c = arg;
	const struct tree *tree;

	/* Forks up to now belong to whoever the parent was until now. */
	fanotify_drain_feed(c->d->fanotify);
	c->err = proctree_add_tree(c->d->tree, &c->init, &tree);
	if (c->err)
		return;
	process_feed_track(c->d->feed, c->init.root_pid, tree->id);
	c->ret->tree = tree->id;
	c->ret->members = tree->members;
	memcpy(c->ret->session, tree->session, sizeof(c->ret->session));
	memcpy(c->ret->agent, tree->agent, sizeof(c->ret->agent));
}

static const char *environ_get(const struct lookup_process *p, const char *name)
{
	size_t n = strlen(name);

	for (size_t at = 0; at < p->environ_len;) {
		const char *entry = p->environ + at;
		size_t len = strnlen(entry, p->environ_len - at);

		/* The last entry may be cut at the size of the buffer: it is not trusted. */
		if (at + len >= p->environ_len)
			break;
		if (!strncmp(entry, name, n) && entry[n] == '=')
			return entry + n + 1;
		at += len + 1;
	}
	return "";
}

static uid_t read_auid(pid_t pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[40];
	unsigned auid;

	snprintf(path, sizeof(path), "/proc/%d/loginuid", pid);
	f = fopen(path, "re");
	return f && fscanf(f, "%u", &auid) == 1 ? auid : (uid_t)-1;
}

struct members_call {
	struct daemon *d;
	uint32_t tree;
	unsigned n;
};

static void count_members(void *arg)
{
	struct members_call *c = arg;
	const struct tree *t = proctree_tree(c->d->tree, c->tree);

	c->n = t ? t->members : 0;
}

/* What is to be known of a process that is watched, and marks for it. */
static void prepare(struct daemon *d, const struct watch_request *rq, uid_t uid, struct tree *init,
		    struct watch_result *ret)
{
	_cleanup_free_ struct lookup_process *proc = calloc(1, sizeof(*proc));
	struct marks_watch mw = { .uid = uid };

	if (proc && (!rq->home || !rq->cwd)) {
		pthread_mutex_lock(&d->process_lock);
		/* Late or refused: then the password database's home and no project it is. */
		lookup_process(d->process_lookup, rq->pid, PROCESS_WAIT_MS, proc);
		pthread_mutex_unlock(&d->process_lock);
	}
	mw.env_home = rq->home ? rq->home : proc ? environ_get(proc, "HOME") : "";
	mw.project = rq->cwd ? rq->cwd : proc ? proc->cwd : "";
	ret->marks_late = false;
	if (d->marks)
		ret->marks_late = marks_watch(d->marks, &mw, MARKS_WAIT_MS) < 0;
	memcpy(ret->home, mw.homes[0], sizeof(ret->home));
	if (mw.homes[0][0])
		daemon_home_known(d, uid, mw.homes[0]);
	init->auid = read_auid(rq->pid);
	snprintf(init->cwd, sizeof(init->cwd), "%.*s", (int)sizeof(init->cwd) - 1, mw.project);
	for (int i = 0; i < HOMES_MAX; i++)
		memcpy(init->homes[i], mw.homes[i], sizeof(init->homes[i]));
}

static bool is_ours(const struct daemon *d, pid_t pid)
{
	pid_t helpers[4] = { 0 };

	lookup_pids(d->mark_lookup, helpers);
	lookup_pids(d->process_lookup, helpers + 2);
	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++)
		if (helpers[i] == pid)
			return true;
	return pid == getpid();
}

int daemon_watch(struct daemon *d, const struct watch_request *rq, struct watch_result *ret)
{
	struct process_scan_entry before, after;
	struct add_call add = { .d = d, .ret = ret };
	struct members_call count = { .d = d };
	int err;

	if (is_ours(d, rq->pid))
		return -EPERM;
	err = process_read(rq->pid, &before);
	if (err)
		return err;
	prepare(d, rq, before.uid, &add.init, ret);
	add.init.root_pid = rq->pid;
	add.init.root_start_ns = before.start_time_ns;
	add.init.uid = before.uid;
	add.init.since_unix_s = time(NULL);
	snprintf(add.init.agent, sizeof(add.init.agent), "%s", rq->agent ? rq->agent : "unnamed");
	snprintf(add.init.how, sizeof(add.init.how), "%s", rq->how);
	/* While the marks were set the process may have gone, and its pid be another's. */
	err = process_read(rq->pid, &after);
	if (err || !start_time_same(before.start_time_ns, after.start_time_ns))
		return -ESRCH;
	err = loop_call(d->loop, add_tree, &add);
	if (err || add.err)
		return err ? err : add.err;
	daemon_rescan(d);
	count.tree = ret->tree;
	if (loop_call(d->loop, count_members, &count) == 0)
		ret->members = count.n;
	log_notice("watching %s, pid %d, session %s (%s)", ret->agent, rq->pid, ret->session,
		   rq->how);
	return 0;
}

/* --- agents that are recognised as they start --------------------------------------------- */

bool daemon_is_person(uid_t uid)
{
	/* The ranges that distributions give to people; 65534 is nobody. */
	return uid == 0 || (uid >= 1000 && uid < 65534) || uid > 65535;
}

bool daemon_watch_at_once(struct daemon *d, const struct process_exec *e, const char *agent)
{
	const char *home = daemon_home_of(d, e->uid);
	struct tree init = { .root_pid = e->tgid, .root_start_ns = e->start_time_ns, .uid = e->uid,
			     .auid = (uid_t)-1, .since_unix_s = time(NULL), .how = "recognised" };
	const struct tree *tree;

	snprintf(init.agent, sizeof(init.agent), "%s", agent);
	snprintf(init.homes[0], sizeof(init.homes[0]), "%s", home ? home : "");
	if (proctree_add_tree(d->tree, &init, &tree) < 0)
		return false;
	process_feed_track(d->feed, e->tgid, tree->id);
	return true;
}

struct complete_call {
	struct daemon *d;
	pid_t pid;
	struct tree learnt; /* uid: in; homes, cwd, auid: out */
	char agent[32];
	uint32_t tree;
};

static void find_tree(void *arg)
{
	struct complete_call *c = arg;
	const struct member *m = proctree_find(c->d->tree, c->pid);
	const struct tree *t = m ? proctree_tree(c->d->tree, m->tree_id) : NULL;

	c->tree = t ? t->id : 0;
	if (!t)
		return;
	c->learnt.uid = t->uid;
	memcpy(c->agent, t->agent, sizeof(c->agent));
}

static void fill_tree(void *arg)
{
	struct complete_call *c = arg;
	struct tree *t = proctree_tree(c->d->tree, c->tree);

	if (!t)
		return;
	t->auid = c->learnt.auid;
	memcpy(t->cwd, c->learnt.cwd, sizeof(t->cwd));
	memcpy(t->homes, c->learnt.homes, sizeof(t->homes));
}

void daemon_watch_complete(struct daemon *d, pid_t pid)
{
	struct watch_request rq = { .pid = pid };
	struct complete_call c = { .d = d, .pid = pid };
	struct watch_result res;

	if (loop_call(d->loop, find_tree, &c) < 0 || !c.tree)
		return;
	prepare(d, &rq, c.learnt.uid, &c.learnt, &res);
	loop_call(d->loop, fill_tree, &c);
	/* Children that were born before the kernel's side knew of the tree, and those of them that
	 * have ended unseen. */
	daemon_rescan(d);
	log_notice("watching %s, pid %d (recognised)", c.agent, pid);
}

/* --- rescans ------------------------------------------------------------------------------ */

struct scan_call {
	struct daemon *d;
	struct process_scan scan;
	int found;
};

static void apply_scan(void *arg)
{
	struct scan_call *c = arg;

	fanotify_drain_feed(c->d->fanotify);
	c->found = process_scan_apply(&c->scan, c->d->feed, c->d->tree);
}

int daemon_rescan(struct daemon *d)
{
	int total = 0;

	/* What was born while /proc was read is found by the next round. */
	for (int i = 0; i < RESCANS_MAX; i++) {
		struct scan_call c = { .d = d };
		int err = process_scan(&c.scan);

		if (err < 0)
			return err;
		err = loop_call(d->loop, apply_scan, &c);
		process_scan_free(&c.scan);
		if (err < 0)
			return err;
		if (c.found <= 0)
			break;
		total += c.found;
	}
	return total;
}

/* --- the end of watching ------------------------------------------------------------------ */

struct remove_call {
	struct daemon *d;
	uint32_t tree;
	unsigned members;
	int err;
};

static void untrack(const struct member *m, void *arg)
{
	struct remove_call *c = arg;

	process_feed_untrack(c->d->feed, m->tgid);
	c->members++;
}

static void remove_tree(void *arg)
{
	struct remove_call *c = arg;

	fanotify_drain_feed(c->d->fanotify);
	proctree_each_member(c->d->tree, c->tree, untrack, c);
	c->err = proctree_remove_tree(c->d->tree, c->tree);
}

int daemon_unwatch(struct daemon *d, uint32_t tree, unsigned *members)
{
	struct remove_call c = { .d = d, .tree = tree };
	int err = loop_call(d->loop, remove_tree, &c);

	if (err || c.err)
		return err ? err : c.err;
	*members = c.members;
	return 0;
}
