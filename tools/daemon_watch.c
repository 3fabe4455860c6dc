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
#define HOME_RETRY_NS (5 * NSEC_PER_SEC)

/* --- homes: a small table of the verdict thread ------------------------------------------- */

static void note_uid(struct tree *tree, void *arg)
{
	struct daemon *d = arg;

	for (unsigned i = 0; i < d->n_homes; i++)
		if (d->homes[i].uid == tree->uid)
			d->homes[i].used_ns = UINT64_MAX;
}

/* The home that was not asked for for longest, of those whom no tree belongs to. */
static struct known_home *evict_home(struct daemon *d, uint64_t now_ns)
{
	struct known_home *oldest = NULL;

	/* Each event of one too many would look through all trees. */
	if (d->homes_full_ns && now_ns - d->homes_full_ns < HOME_RETRY_NS)
		return NULL;
	proctree_each_tree(d->tree, note_uid, d);
	for (unsigned i = 0; i < d->n_homes; i++) {
		struct known_home *h = &d->homes[i];

		if (h->used_ns == UINT64_MAX)
			h->used_ns = now_ns;
		else if (!oldest || h->used_ns < oldest->used_ns)
			oldest = h;
	}
	d->homes_full_ns = oldest ? 0 : now_ns;
	return oldest;
}

static struct known_home *find_home(struct daemon *d, uid_t uid, uint64_t now_ns)
{
	struct known_home *h;

	for (unsigned i = 0; i < d->n_homes; i++)
		if (d->homes[i].uid == uid)
			return &d->homes[i];
	h = d->n_homes < HOMES_KNOWN_MAX ? &d->homes[d->n_homes++] : evict_home(d, now_ns);
	if (h)
		*h = (struct known_home){ .uid = uid, .used_ns = now_ns };
	return h;
}

const char *daemon_home_of(void *arg, uid_t uid)
{
	struct daemon *d = arg;
	uint64_t now_ns = clock_boottime_ns();
	struct known_home *h = find_home(d, uid, now_ns);

	if (!h)
		return NULL;
	h->used_ns = now_ns;
	if (h->path[0])
		return h->path;
	/* Without marks, whoever begins to watch asks. */
	if (!d->queue)
		return NULL;
	/* The password database may not have answered, or know the user since. */
	if (!h->asked_ns || now_ns - h->asked_ns > HOME_RETRY_NS) {
		struct change c = { .type = CHANGE_UID, .uid = uid };

		h->asked_ns = now_ns;
		watch_queue_put(d->queue, &c);
	}
	return NULL;
}

struct home_call {
	struct daemon *d;
	uid_t uid;
	const char *home;
};

static void set_home(void *arg)
{
	struct home_call *c = arg;
	struct known_home *h = find_home(c->d, c->uid, clock_boottime_ns());

	if (h)
		snprintf(h->path, sizeof(h->path), "%s", c->home);
}

void daemon_home_known(void *arg, uid_t uid, const char *home)
{
	struct home_call c = { arg, uid, home };

	loop_call(c.d->loop, set_home, &c);
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

	daemon_feed_drain(c->d);
	c->found = process_scan_apply(&c->scan, c->d->feed, c->d->tree);
}

int daemon_rescan(struct daemon *d, unsigned *found)
{
	*found = 0;
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
			return c.found;
		*found += (unsigned)c.found;
	}
	return -EAGAIN;
}

static void note_gap(void *arg)
{
	daemon_feed_gap(arg);
}

/* Descendants of a tree that was just added. Whom this does not find the scan thread looks for. */
static void adopt_descendants(struct daemon *d)
{
	unsigned found;

	if (daemon_rescan(d, &found) < 0)
		loop_call(d->loop, note_gap, d);
}

/* --- a new tree --------------------------------------------------------------------------- */

struct add_call {
	struct daemon *d;
	struct tree init;
	struct watch_result *ret;
	int err;
};

/* A tree whose births the feed does not tell is none. */
static int track_root(struct daemon *d, pid_t pid, uint32_t tree)
{
	int err = process_feed_track(d->feed, pid, tree);

	if (!err)
		return 0;
	proctree_remove_tree(d->tree, tree);
	return err == -E2BIG ? -ENOSPC : err;
}

static void add_tree(void *arg)
{
	struct add_call *c = arg;
	const struct tree *tree;

	/* Forks up to now belong to whoever the parent was until now. */
	daemon_feed_drain(c->d);
	c->err = proctree_add_tree(c->d->tree, &c->init, &tree);
	if (c->err)
		return;
	c->ret->tree = tree->id;
	c->err = track_root(c->d, c->init.root_pid, tree->id);
	if (c->err)
		return;
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

/* Without marks nobody walks there: names are all that is compared. */
static void ask_homes(struct daemon *d, struct marks_watch *mw)
{
	char home[1024];
	unsigned n = 0;

	pthread_mutex_lock(&d->process_lock);
	if (lookup_home(d->process_lookup, mw->uid, PROCESS_WAIT_MS, home, sizeof(home)) == 0)
		snprintf(mw->homes[n++], sizeof(mw->homes[0]), "%s", home);
	pthread_mutex_unlock(&d->process_lock);
	if (mw->env_home[0] == '/' && (!n || strcmp(mw->env_home, mw->homes[0]) != 0))
		snprintf(mw->homes[n], sizeof(mw->homes[0]), "%s", mw->env_home);
}

/* What is to be known of a process that is watched, and marks for it. -errno of marks_watch(), the
 * rest is filled in all the same. */
static int prepare(struct daemon *d, const struct watch_request *rq, uid_t uid, struct tree *init,
		    struct watch_result *ret)
{
	_cleanup_free_ struct lookup_process *proc = calloc(1, sizeof(*proc));
	struct marks_watch mw = { .uid = uid, .proof = rq->proof };
	int err = 0;

	if (proc && (!rq->home || !rq->cwd)) {
		pthread_mutex_lock(&d->process_lock);
		/* Late or refused: then the password database's home and no project it is. */
		lookup_process(d->process_lookup, rq->pid, PROCESS_WAIT_MS, proc);
		pthread_mutex_unlock(&d->process_lock);
	}
	mw.env_home = rq->home ? rq->home : proc ? environ_get(proc, "HOME") : "";
	mw.project = rq->cwd ? rq->cwd : proc ? proc->cwd : "";
	if (d->marks)
		err = marks_watch(d->marks, &mw, MARKS_WAIT_MS);
	else
		ask_homes(d, &mw);
	ret->marks_late = err < 0;
	memcpy(ret->home, mw.homes[0], sizeof(ret->home));
	if (mw.homes[0][0])
		daemon_home_known(d, uid, mw.homes[0]);
	init->auid = read_auid(rq->pid);
	snprintf(init->cwd, sizeof(init->cwd), "%.*s", (int)sizeof(init->cwd) - 1, mw.project);
	for (int i = 0; i < HOMES_MAX; i++)
		memcpy(init->homes[i], mw.homes[i], sizeof(init->homes[i]));
	return err;
}

static void tell_marks_late(struct daemon *d, const char *agent, const char *session, pid_t pid,
			    int err)
{
	log_warning("%s, pid %d: not every protected path is marked yet: %s", agent, pid,
		    strerror(-err));
	daemon_own_record(d, "O1", "marks late",
			  json_pack("{s:s, s:s, s:i, s:s}", "agent", agent, "session", session,
				    "pid", pid, "why", strerror(-err)));
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
	int err, late;

	if (!daemon_watches(d))
		return -EOPNOTSUPP;
	if (is_ours(d, rq->pid))
		return -EPERM;
	err = process_read(rq->pid, &before);
	if (err)
		return err;
	if (rq->start_time_ns && !start_time_same(rq->start_time_ns, before.start_time_ns))
		return -ESRCH;
	late = prepare(d, rq, before.uid, &add.init, ret);
	if (late < 0 && rq->strict && !d->follow_names &&
	    (rq->proof || daemon_mode_now(d) == MODE_ENFORCE)) {
		log_warning("pid %d is not run: protected paths could not be marked: %s", rq->pid,
			    strerror(-late));
		return -ECANCELED;
	}
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
	adopt_descendants(d);
	daemon_audit_settle(d);
	count.tree = ret->tree;
	if (loop_call(d->loop, count_members, &count) == 0)
		ret->members = count.n;
	log_notice("watching %s, pid %d, session %s (%s)", ret->agent, rq->pid, ret->session,
		   rq->how);
	if (late < 0)
		tell_marks_late(d, ret->agent, ret->session, rq->pid, late);
	return 0;
}

/* --- agents that are recognised as they start --------------------------------------------- */

bool daemon_is_person(uid_t uid)
{
	/* The ranges that distributions give to people; 65534 is nobody. */
	return uid == 0 || (uid >= 1000 && uid < 65534) || uid > 65535;
}

int daemon_watch_at_once(struct daemon *d, const struct process_exec *e, const char *agent)
{
	const char *home = daemon_home_of(d, e->uid);
	struct tree init = { .root_pid = e->tgid, .root_start_ns = e->start_time_ns, .uid = e->uid,
			     .auid = (uid_t)-1, .since_unix_s = time(NULL), .how = "recognised" };
	const struct tree *tree;
	int err;

	snprintf(init.agent, sizeof(init.agent), "%s", agent);
	snprintf(init.homes[0], sizeof(init.homes[0]), "%s", home ? home : "");
	err = proctree_add_tree(d->tree, &init, &tree);
	return err ? err : track_root(d, e->tgid, tree->id);
}

struct complete_call {
	struct daemon *d;
	pid_t pid;
	struct tree learnt; /* uid: in; homes, cwd, auid: out */
	char agent[32], session[40];
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
	memcpy(c->session, t->session, sizeof(c->session));
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
	int late;

	if (loop_call(d->loop, find_tree, &c) < 0 || !c.tree)
		return;
	/* Children that were born before the kernel's side knew of the tree, and those of them that
	 * have ended unseen. */
	adopt_descendants(d);
	late = prepare(d, &rq, c.learnt.uid, &c.learnt, &res);
	loop_call(d->loop, fill_tree, &c);
	if (late < 0)
		tell_marks_late(d, c.agent, c.session, pid, late);
	log_notice("watching %s, pid %d (recognised)", c.agent, pid);
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
	daemon_audit_gone(c->d, m->tgid);
	c->members++;
}

static void remove_tree(void *arg)
{
	struct remove_call *c = arg;

	daemon_feed_drain(c->d);
	proctree_each_member(c->d->tree, c->tree, untrack, c);
	c->err = proctree_remove_tree(c->d->tree, c->tree);
}

int daemon_unwatch(struct daemon *d, uint32_t tree, unsigned *members)
{
	struct remove_call c = { .d = d, .tree = tree };
	int err = loop_call(d->loop, remove_tree, &c);

	if (err || c.err)
		return err ? err : c.err;
	daemon_hold_again(d);
	*members = c.members;
	return 0;
}
