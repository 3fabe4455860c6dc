/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recognises agents as they are exec'd. The verdict thread tells by a pipe, whose writes are whole
 * and never wait; when the pipe is full, everybody who runs is looked at once it is empty.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/agent.h"
#include "core/cleanup.h"
#include "core/log.h"
#include "tools/daemon.h"

#define EVERYBODY_EVERY_MS 1000 /* at the most; so often where there is no feed but /proc */

enum notice_type { NOTICE_EXEC, NOTICE_BEGUN };

struct notice {
	enum notice_type type;
	pid_t pid;
	uid_t uid;
	char comm[16];
};

static void put(struct daemon *d, const struct notice *n)
{
	/* Smaller than PIPE_BUF: written whole or not at all. */
	if (write(d->notice_fd[1], n, sizeof(*n)) == sizeof(*n))
		return;
	atomic_fetch_add(&d->notices_lost, 1);
	daemon_identify_everybody(d);
}

static void read_exe(pid_t pid, char *buf, size_t size)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	n = readlink(link, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
}

/* Some agents start themselves again, with other options, as a child that does the work. */
static void note_relaunch(struct daemon *d, const struct process_exec *e)
{
	const struct member *m = proctree_find(d->tree, e->tgid);
	const struct tree *t = m ? proctree_tree(d->tree, m->tree_id) : NULL;
	struct agent_hint h = { .comm = e->comm, .argv = e->argv,
				.argv_len_bytes = e->argv_len_bytes };
	const struct agent *a;
	char exe[4096];

	if (!t || !e->argv)
		return;
	read_exe(e->tgid, exe, sizeof(exe));
	h.exe = exe;
	h.home = t->homes[0][0] ? t->homes[0] : NULL;
	a = exe[0] ? agent_recognise(&h, NULL) : NULL;
	if (a && !strcmp(a->id, t->agent))
		proctree_set_main_exe(d->tree, e->tgid, true);
}

/*
 * On the verdict thread, in the order of records: an agent is watched from its exec on, so that the
 * children whose forks follow in the feed are members too. With the arguments in the record this
 * takes one readlink; where the feed does not tell them, they are in the process's own memory,
 * which can make us wait, and the identify thread looks.
 */
void daemon_on_exec(void *arg, const struct process_exec *e)
{
	struct daemon *d = arg;
	struct notice n = { .type = NOTICE_EXEC, .pid = e->tgid, .uid = e->uid };
	struct agent_hint h = { .comm = e->comm, .argv = e->argv,
				.argv_len_bytes = e->argv_len_bytes };
	const struct agent *a;
	char exe[4096];
	int err;

	if (d->fanotify)
		fanotify_exec_seen(d->fanotify, e->tgid);
	if (e->member) {
		daemon_audit_exec(d, e);
		if (!d->ebpf) /* which tells it with arguments */
			daemon_recheck_seen(d, e->tgid);
		note_relaunch(d, e);
		return;
	}
	if (!d->config->recognise)
		return;
	if (daemon_is_person(e->uid))
		h.home = daemon_home_of(d, e->uid);
	if (e->argv) {
		read_exe(e->tgid, exe, sizeof(exe));
		h.exe = exe;
		a = exe[0] ? agent_recognise(&h, NULL) : NULL;
		if (!a)
			return;
		err = daemon_watch_at_once(d, e, a->id);
		if (err == -EEXIST || err == -ESRCH)
			return;
		/* Else the other thread tries again, and tells if it cannot be. */
		if (!err)
			n.type = NOTICE_BEGUN;
	}
	snprintf(n.comm, sizeof(n.comm), "%s", e->comm);
	put(d, &n);
}

static void adopt(struct daemon *d, pid_t pid, uint64_t start_time_ns, const struct agent *a,
		  enum agent_evidence how)
{
	struct watch_request rq = { .pid = pid, .start_time_ns = start_time_ns, .agent = a->id,
				    .how = how == AGENT_BY_ENV ? "marker" : "recognised" };
	struct watch_result res;
	int err = daemon_watch(d, &rq, &res);

	if (!err || err == -ESRCH || err == -EEXIST)
		return;
	log_warning("%s, pid %d, could not be watched: %s", a->id, pid, strerror(-err));
	daemon_own_record(d, "O1", "agent not watched",
			  json_pack("{s:s, s:i, s:s}", "agent", a->id, "pid", pid, "why",
				    strerror(-err)));
}

static void identify_exec(struct daemon *d, const struct notice *n)
{
	_cleanup_free_ struct lookup_process *proc = calloc(1, sizeof(*proc));
	struct agent_hint h = { .comm = n->comm };
	struct process_scan_entry e;
	enum agent_evidence how;
	const struct agent *a;
	char home[1024];
	int err;

	if (!proc || process_read(n->pid, &e) < 0)
		return;
	pthread_mutex_lock(&d->process_lock);
	err = lookup_process(d->process_lookup, n->pid, PROCESS_WAIT_MS, proc);
	if (!err &&
	    lookup_home(d->process_lookup, n->uid, PROCESS_WAIT_MS, home, sizeof(home)) == 0)
		h.home = home;
	pthread_mutex_unlock(&d->process_lock);
	if (err || !proc->exe[0])
		return; /* gone, or a kernel thread */
	h.exe = proc->exe;
	h.argv = proc->cmdline;
	h.argv_len_bytes = proc->cmdline_len;
	a = agent_recognise(&h, &how);
	if (a)
		adopt(d, n->pid, e.start_time_ns, a, how);
}

struct person_call {
	struct daemon *d;
	uid_t uid;
};

static void ask_home(void *arg)
{
	struct person_call *c = arg;

	daemon_home_of(c->d, c->uid);
}

/* Marks stand in the homes of those who are here before they start an agent. */
static void meet_people(struct daemon *d, const struct process_scan *scan)
{
	struct person_call c = { .d = d, .uid = (uid_t)-1 };

	for (size_t i = 0; i < scan->n; i++) {
		if (scan->entries[i].uid == c.uid || !daemon_is_person(scan->entries[i].uid))
			continue;
		c.uid = scan->entries[i].uid;
		loop_call(d->loop, ask_home, &c);
	}
}

/* Agents that run already. */
static void identify_running(struct daemon *d)
{
	_cleanup_free_ struct lookup_process *proc = calloc(1, sizeof(*proc));
	struct process_scan scan;

	if (!proc || process_scan(&scan) < 0)
		return;
	meet_people(d, &scan);
	for (size_t i = 0; i < scan.n; i++) {
		const struct process_scan_entry *e = &scan.entries[i];
		struct agent_hint h = { .comm = e->comm };
		enum agent_evidence how;
		const struct agent *a;
		char home[1024] = "";
		int err;

		if (atomic_load(&d->threads_stop))
			break;
		/* Parents come before their children, most times; the others are found twice and
		 * are members by then. */
		if (proctree_peek(d->tree, e->tgid))
			continue;
		pthread_mutex_lock(&d->process_lock);
		err = lookup_process(d->process_lookup, e->tgid, PROCESS_WAIT_MS, proc);
		if (!err && proc->exe[0] &&
		    lookup_home(d->process_lookup, e->uid, PROCESS_WAIT_MS, home, sizeof(home)) < 0)
			home[0] = '\0';
		pthread_mutex_unlock(&d->process_lock);
		if (err || !proc->exe[0])
			continue;
		h.exe = proc->exe;
		h.argv = proc->cmdline;
		h.argv_len_bytes = proc->cmdline_len;
		h.environ = proc->environ;
		h.environ_len_bytes = proc->environ_len;
		h.home = home;
		a = agent_recognise(&h, &how);
		if (a)
			adopt(d, e->tgid, e->start_time_ns, a, how);
	}
	process_scan_free(&scan);
}

void daemon_identify_everybody(struct daemon *d)
{
	atomic_store(&d->identify_all, true);
	daemon_wake(d->identify_fd);
}

static int64_t now_ms(void)
{
	return (int64_t)(clock_boottime_ns() / NSEC_PER_MSEC);
}

static void handle(struct daemon *d, const struct notice *n)
{
	if (n->type == NOTICE_BEGUN)
		daemon_watch_complete(d, n->pid);
	else
		identify_exec(d, n);
}

static void *identify_thread(void *arg)
{
	struct daemon *d = arg;
	struct pollfd pfd[] = { { d->notice_fd[0], POLLIN, 0 }, { d->identify_fd, POLLIN, 0 } };
	bool scan_only = !strcmp(process_feed_name(d->feed), "scan");
	int64_t next_ms = now_ms();
	uint64_t ticks;
	struct notice n;

	pthread_setname_np(pthread_self(), "oknek-identify");
	atomic_store(&d->identify_all, true); /* who runs already */
	for (;;) {
		int64_t wait_ms = -1;

		if (d->config->recognise && (scan_only || atomic_load(&d->identify_all))) {
			wait_ms = next_ms - now_ms();
			if (wait_ms < 0)
				wait_ms = 0;
		}
		poll(pfd, ARRAY_SIZE(pfd), (int)wait_ms);
		if (atomic_load(&d->threads_stop))
			return NULL;
		if (read(d->identify_fd, &ticks, sizeof(ticks)) > 0)
			continue; /* flags have changed */
		if (read(d->notice_fd[0], &n, sizeof(n)) == sizeof(n)) {
			handle(d, &n);
		} else if (wait_ms >= 0 && now_ms() >= next_ms) {
			/* What is lost from here on is looked for the next time. */
			atomic_store(&d->identify_all, false);
			identify_running(d);
			next_ms = now_ms() + EVERYBODY_EVERY_MS;
		}
	}
}

int daemon_identify_start(struct daemon *d)
{
	int err = -pthread_create(&d->identify_thread, NULL, identify_thread, d);

	d->identify_running = err == 0;
	return err;
}
