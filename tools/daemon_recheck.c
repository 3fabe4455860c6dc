/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments can be changed while an exec is held. Where the kernel does not compare them (no BPF), or
 * could not, that is done here, as soon as the program is heard to run: in a thread of its own, since
 * what a process says of itself can take as long as that process likes, and with the signal that only
 * this thread sends.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "tools/daemon_fuse.h"

#define QUEUE 64 /* a power of two */
#define ARGV_MAX 32768
#define LOOK_MS 500 /* for the helper that reads; then the process is taken for one that hides */
#define TELL_NS (60 * NSEC_PER_SEC)

struct item {
	struct exec_told told;
	bool known; /* the arguments are here already */
	bool cut;
	size_t len_bytes;
	char exe[4096], comm[16];
	char argv[ARGV_MAX];
};

struct daemon_recheck {
	pthread_t thread;
	_Atomic bool running;
	int wake_fd;
	_Atomic bool stop;
	_Atomic unsigned put, taken; /* the verdict thread puts, this one takes */
	struct item items[QUEUE];
	_Atomic uint64_t full, ended, hidden; /* what was not looked at, and why */
	struct lookup_process proc;
	struct { /* main thread */
		uint64_t full, ended, hidden, forgotten, at_ns;
	} told;
};

/* ---- the verdict thread -------------------------------------------------------------------------- */

bool daemon_recheck(struct daemon *d, const struct exec_told *told, const struct event *ev)
{
	struct daemon_recheck *r = d->recheck;
	unsigned put;
	struct item *it;

	if (!r || !atomic_load(&r->running))
		return false;
	put = atomic_load_explicit(&r->put, memory_order_relaxed);
	if (put - atomic_load_explicit(&r->taken, memory_order_acquire) == QUEUE) {
		atomic_fetch_add(&r->full, 1);
		return false;
	}
	it = &r->items[put % QUEUE];
	it->told = *told;
	it->known = ev && ev->exec.argv && ev->exec.argv_len_bytes <= sizeof(it->argv);
	if (it->known) {
		it->cut = ev->exec.argv_cut;
		it->len_bytes = ev->exec.argv_len_bytes;
		memcpy(it->argv, ev->exec.argv, it->len_bytes);
		snprintf(it->exe, sizeof(it->exe), "%s", ev->subj.exe);
		snprintf(it->comm, sizeof(it->comm), "%s", ev->subj.comm);
	}
	atomic_store_explicit(&r->put, put + 1, memory_order_release);
	daemon_wake(r->wake_fd);
	return true;
}

void daemon_recheck_blind(struct daemon *d)
{
	if (d->recheck)
		atomic_fetch_add(&d->recheck->hidden, 1);
}

void daemon_recheck_seen(struct daemon *d, pid_t tgid)
{
	struct exec_told told;

	if (daemon_exec_take(d, tgid, 0, 0, clock_boottime_ns(), &told))
		daemon_recheck(d, &told, NULL);
}

/* What the rules say of what runs, and, once it is known what became of it, the record. */
struct judging {
	struct daemon *d;
	const struct item *it;
	bool record, killed;
	bool blocks;  /* a rule does, and rules are enforced */
	bool news;    /* a rule fires that did not while it was held */
	bool member;
	char lineage[LINEAGE_MAX];
};

static void add_home(struct homes *h, const char *home)
{
	if (home && home[0] && h->n < HOMES_MAX)
		h->path[h->n++] = home;
}

static void judge(void *arg)
{
	struct judging *j = arg;
	struct daemon *d = j->d;
	const struct item *it = j->it;
	const struct member *m = proctree_find(d->tree, it->told.tgid);
	struct decision decision = { .verdict = VERDICT_ALLOW };
	const char *category = NULL;
	struct event ev = {
		.kind = KIND_EXEC_OBSERVED,
		.time_ns = clock_boottime_ns(),
		.source = d->fanotify,
		.source_name = "fanotify",
		.exec = { .path = it->exe, .argv = it->len_bytes ? it->argv : NULL,
			  .argv_len_bytes = it->len_bytes, .argv_cut = it->cut, .ino = it->told.ino },
	};
	struct tree *tree;

	if (!m)
		m = proctree_find_recent(d->tree, it->told.tgid);
	if (!m || (m->start_time_ns && !start_time_same(m->start_time_ns, it->told.start_time_ns)))
		return;
	tree = proctree_tree(d->tree, m->tree_id);
	proctree_lineage(d->tree, it->told.tgid, j->lineage, sizeof(j->lineage));
	ev.subj = (struct subject){
		.tgid = it->told.tgid,
		.ppid = m->ppid,
		.start_time_ns = it->told.start_time_ns,
		.uid = m->uid,
		.auid = tree ? tree->auid : (uid_t)-1,
		.comm = it->comm[0] ? it->comm : m->comm,
		.exe = it->exe,
		.cgroup = "",
		.lineage = j->lineage,
		.main_exe = m->main_exe,
		.tree = tree,
	};
	add_home(&ev.subj.homes, daemon_home_of(d, m->uid));
	for (unsigned i = 0; tree && i < HOMES_MAX; i++)
		add_home(&ev.subj.homes, tree->homes[i]);
	j->member = true;
	if (!j->record) {
		d->bus.decide(d->bus.decide_arg, &ev, &decision, &category);
		j->blocks = decision.verdict == VERDICT_BLOCK && daemon_mode_now(d) == MODE_ENFORCE;
		j->news = daemon_exec_news(d, &it->told, &decision);
		return;
	}
	if (j->killed) {
		ev.settled.by = MECH_SIGNAL;
		ev.settled.killed = true;
	}
	switch (bus_publish(&d->bus, &ev)) {
	case VERDICT_BLOCK:
		if (tree)
			tree->blocked++;
		break;
	case VERDICT_WARN:
		if (tree)
			tree->warned++;
		break;
	default:
		break;
	}
}

/* ---- this thread ----------------------------------------------------------------------------------- */

/* The process that was let go, and no other; -1: it is gone. */
static int open_process(const struct item *it)
{
	int fd = (int)syscall(SYS_pidfd_open, it->told.tgid, 0);
	struct procstat stat;

	if (fd < 0)
		return -1;
	if (procstat_read(it->told.tgid, &stat) == 0 && !stat.dead &&
	    start_time_same(stat.start_time_ns, it->told.start_time_ns))
		return fd;
	close(fd);
	return -1;
}

/* Whatever it is, and wherever: nobody is asked who could make us wait. */
static bool runs_it(const struct item *it)
{
	struct statx st;
	char link[32];

	snprintf(link, sizeof(link), "/proc/%d/exe", it->told.tgid);
	return statx(AT_FDCWD, link, AT_STATX_DONT_SYNC, STATX_INO, &st) == 0 &&
	       st.stx_ino == it->told.ino;
}

/* 0, -ESRCH: it has ended, or runs yet another program. */
static int read_arguments(struct daemon *d, struct item *it)
{
	struct daemon_recheck *r = d->recheck;
	int err;

	if (!runs_it(it))
		return -ESRCH;
	pthread_mutex_lock(&d->process_lock);
	err = lookup_process(d->process_lookup, it->told.tgid, LOOK_MS, &r->proc);
	pthread_mutex_unlock(&d->process_lock);
	if (err)
		return err;
	if (!runs_it(it))
		return -ESRCH;
	it->len_bytes = r->proc.cmdline_len < sizeof(it->argv) ? r->proc.cmdline_len :
								 sizeof(it->argv);
	it->cut = it->len_bytes == sizeof(it->argv);
	memcpy(it->argv, r->proc.cmdline, it->len_bytes);
	snprintf(it->exe, sizeof(it->exe), "%s", r->proc.exe);
	it->comm[0] = '\0';
	it->known = true;
	return 0;
}

static void tell_changed(struct daemon *d, const struct item *it)
{
	daemon_own_record(d, "O1", "arguments changed while the exec was held",
			  json_pack("{s:i, s:o, s:s}", "pid", it->told.tgid, "exe",
				    daemon_json_text(it->exe), "why",
				    "what it runs with was not decided; no rule blocks that"));
}

static void look_at(struct daemon *d, struct item *it)
{
	struct daemon_recheck *r = d->recheck;
	_cleanup_close_ int process = open_process(it);
	struct judging j = { .d = d, .it = it };
	enum exec_same same;

	if (!it->known) {
		int err = process < 0 ? -ESRCH : read_arguments(d, it);

		if (err) {
			atomic_fetch_add(err == -ESRCH ? &r->ended : &r->hidden, 1);
			return;
		}
	}
	same = daemon_exec_same(d, &it->told, it->argv, it->len_bytes, it->cut);
	if (same == EXEC_SAME || loop_call(d->loop, judge, &j) < 0 || !j.member)
		return;
	if (j.blocks)
		j.killed = process >= 0 &&
			   syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0) == 0;
	if (j.blocks || j.news || same != EXEC_LIKE) {
		j.record = true;
		loop_call(d->loop, judge, &j);
	}
	if (!j.blocks && same != EXEC_LIKE && !it->told.unknown)
		tell_changed(d, it);
}

static void *recheck_thread(void *arg)
{
	struct daemon *d = arg;
	struct daemon_recheck *r = d->recheck;
	uint64_t n;

	pthread_setname_np(pthread_self(), "oknek-recheck");
	while (read(r->wake_fd, &n, sizeof(n)) > 0 && !atomic_load(&r->stop)) {
		unsigned taken = atomic_load_explicit(&r->taken, memory_order_relaxed);

		while (taken != atomic_load_explicit(&r->put, memory_order_acquire) &&
		       !atomic_load(&r->stop)) {
			look_at(d, &r->items[taken % QUEUE]);
			atomic_store_explicit(&r->taken, ++taken, memory_order_release);
		}
	}
	return NULL;
}

/* ---- begin and end ----------------------------------------------------------------------------------- */

uint64_t daemon_recheck_caps(const struct daemon *d)
{
	return d->fanotify ? 1ULL << CAP_KILL | 1ULL << CAP_SYS_PTRACE : 0;
}

int daemon_recheck_open(struct daemon *d)
{
	if (!d->fanotify)
		return 0;
	d->recheck = calloc(1, sizeof(*d->recheck));
	if (!d->recheck)
		return -ENOMEM;
	d->recheck->wake_fd = eventfd(0, EFD_CLOEXEC);
	return d->recheck->wake_fd < 0 ? -errno : 0;
}

int daemon_recheck_start(struct daemon *d)
{
	int err = 0;

	if (!d->recheck)
		return 0;
	err = -pthread_create(&d->recheck->thread, NULL, recheck_thread, d);
	atomic_store(&d->recheck->running, err == 0);
	return err;
}

/* While the verdict thread still answers. */
void daemon_recheck_stop(struct daemon *d)
{
	struct daemon_recheck *r = d->recheck;

	if (!r || !atomic_load(&r->running))
		return;
	atomic_store(&r->stop, true);
	daemon_wake(r->wake_fd);
	pthread_join(r->thread, NULL);
	atomic_store(&r->running, false);
}

void daemon_recheck_close(struct daemon *d)
{
	if (!d->recheck)
		return;
	cleanup_close(&d->recheck->wake_fd);
	free(d->recheck);
	d->recheck = NULL;
}

void daemon_recheck_tick(struct daemon *d, uint64_t now_ns)
{
	struct daemon_recheck *r = d->recheck;
	uint64_t full, ended, hidden, forgotten;

	if (!r || (r->told.at_ns && now_ns - r->told.at_ns < TELL_NS))
		return;
	full = atomic_load(&r->full);
	ended = atomic_load(&r->ended);
	hidden = atomic_load(&r->hidden);
	forgotten = daemon_exec_forgotten(d);
	if (full == r->told.full && ended == r->told.ended && hidden == r->told.hidden &&
	    forgotten == r->told.forgotten)
		return;
	daemon_own_record(d, "O1", "execs not compared",
			  json_pack("{s:I, s:I, s:I, s:s}", "ended", (json_int_t)(ended - r->told.ended),
				    "not_readable", (json_int_t)(hidden - r->told.hidden), "too_many",
				    (json_int_t)(full - r->told.full + forgotten - r->told.forgotten),
				    "why", "what they ran with could not be read again after they were "
					   "let go"));
	r->told.full = full;
	r->told.ended = ended;
	r->told.hidden = hidden;
	r->told.forgotten = forgotten;
	r->told.at_ns = now_ns;
}
