/* SPDX-License-Identifier: Apache-2.0 */
/* The process feeds on this kernel: who is a member after every way of getting away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <bpf/bpf.h>

#include "core/cleanup.h"
#include "sources/process_feed.h"

#define PATIENCE_MS 20000

struct rig {
	const char *feed_name;
	struct proctree *tree;
	struct process_feed *feed;
	uint32_t tree_id;
	unsigned exits, execs, overflows;
	char exec_filename[256], exec_argv[512];
	size_t exec_argv_len;
	pid_t watch_exec; /* whose exec is to be kept */
	int out[2], gate[2], start[2];
	pid_t root;
};

static const struct process_feed_limits usual;

static void on_exec(void *arg, const struct process_exec *e)
{
	struct rig *g = arg;

	g->execs += e->member;
	if (e->tgid != g->watch_exec)
		return;
	snprintf(g->exec_filename, sizeof(g->exec_filename), "%s", e->filename);
	g->exec_argv_len = e->argv_len_bytes;
	if (e->argv)
		memcpy(g->exec_argv, e->argv, e->argv_len_bytes);
}

static void on_exit_of_member(void *arg, pid_t tgid)
{
	struct rig *g = arg;

	(void)tgid;
	g->exits++;
}

static void nap(void)
{
	const struct timespec ms = { .tv_nsec = 2000000 };

	nanosleep(&ms, NULL);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void drain(struct rig *g)
{
	int r;

	do {
		r = process_feed_drain(g->feed);
		g->overflows += r == -EOVERFLOW;
		assert_true(r >= 0 || r == -EAGAIN || r == -EOVERFLOW);
	} while (r < 0);
}

/* As the daemon does after an overrun. */
static void rescan(struct rig *g)
{
	struct process_scan scan;
	int r;

	do {
		assert_int_equal(process_scan(&scan), 0);
		r = process_scan_apply(&scan, g->feed, g->tree);
		process_scan_free(&scan);
		assert_true(r >= 0);
	} while (r > 0);
}

/* False when this host does not have the feed: then there is nothing to show. */
static bool rig_open(struct rig *g, const char *which, const struct process_feed_limits *l)
{
	const struct process_feed_handler h = { .exec = on_exec, .member_exit = on_exit_of_member,
						.arg = g, .strangers = true };
	char why[256] = "";
	int r;

	memset(g, 0, sizeof(*g));
	g->feed_name = which;
	assert_int_equal(proctree_open(NULL, &g->tree), 0);
	r = process_feed_open_limited(which, l, g->tree, &h, &g->feed, why);
	if (r == -EOPNOTSUPP || r == -EPERM) {
		print_message("# not shown, no %s feed here: %s\n", which, why);
		proctree_close(g->tree);
		return false;
	}
	assert_int_equal(r, 0);
	assert_string_equal(process_feed_name(g->feed), which);
	/* Orphans come to us, to be reaped. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return true;
}

static void helper_path(char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 64);

	assert_true(n > 0);
	path[n] = '\0';
	strcpy(strrchr(path, '/'), "/helpers/procscene");
}

/* A process that plays the scene when scene_start() is called; not watched yet. */
static pid_t spawn(struct rig *g, const char *scene, int count)
{
	char path[PATH_MAX], out[16], gate[16], n[16];
	pid_t pid;
	char c;

	helper_path(path);
	assert_int_equal(pipe2(g->start, O_CLOEXEC), 0);
	snprintf(out, sizeof(out), "%d", g->out[1]);
	snprintf(gate, sizeof(gate), "%d", g->gate[0]);
	snprintf(n, sizeof(n), "%d", count);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		fcntl(g->out[1], F_SETFD, 0);
		fcntl(g->gate[0], F_SETFD, 0);
		if (read(g->start[0], &c, 1) != 1)
			_exit(99);
		execl(path, "procscene", scene, out, gate, n, (char *)NULL);
		_exit(98);
	}
	close(g->start[0]);
	return pid;
}

static void watch(struct rig *g, pid_t pid)
{
	struct tree init = { .root_pid = pid, .agent = "test-agent", .how = "run" };
	struct process_scan_entry e;
	const struct tree *tr;

	assert_int_equal(process_read(pid, &e), 0);
	init.root_start_ns = e.start_time_ns;
	drain(g);
	assert_int_equal(proctree_add_tree(g->tree, &init, &tr), 0);
	g->tree_id = tr->id;
	assert_int_equal(process_feed_track(g->feed, pid, tr->id), 0);
}

static void pipes(struct rig *g)
{
	assert_int_equal(pipe2(g->out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(g->gate, O_CLOEXEC), 0);
}

static void scene_start(struct rig *g, const char *scene, int count)
{
	pipes(g);
	g->root = spawn(g, scene, count);
	g->watch_exec = g->root;
	watch(g, g->root);
	assert_int_equal(write(g->start[1], "x", 1), 1);
	close(g->start[1]);
}

/* The next pid that is to be found; meanwhile the feed is drained only if asked. 0: none came. */
static pid_t found(struct rig *g, bool draining)
{
	struct pollfd p = { .fd = g->out[0], .events = POLLIN };
	uint64_t end = now_ms() + PATIENCE_MS;
	int pid;

	while (now_ms() < end) {
		if (poll(&p, 1, 2) == 1) {
			assert_int_equal(read(g->out[0], &pid, sizeof(pid)), sizeof(pid));
			return pid;
		}
		if (draining)
			drain(g);
	}
	return 0;
}

static void reap_all(void)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 && now_ms() < end)
		if (pid == 0)
			nap();
}

/* Everybody may go; nobody may remain a member. */
static void scene_end(struct rig *g)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	close(g->gate[1]);
	close(g->gate[0]);
	close(g->out[0]);
	close(g->out[1]);
	reap_all();
	while (now_ms() < end) {
		drain(g);
		process_feed_settle(g->feed);
		if (!strcmp(g->feed_name, "scan"))
			rescan(g);
		if (!proctree_members(g->tree))
			break;
		nap();
	}
	assert_int_equal(proctree_members(g->tree), 0);
	assert_int_equal(proctree_tree(g->tree, g->tree_id)->members, 0);
}

static unsigned map_entries(const struct rig *g)
{
	uint32_t key, *prev = NULL;
	unsigned n = 0;

	while (bpf_map_get_next_key(process_feed_members_fd(g->feed), prev, &key) == 0) {
		prev = &key;
		n++;
	}
	return n;
}

static void rig_close(struct rig *g)
{
	struct process_feed_stats s;

	process_feed_stats(g->feed, &s);
	assert_int_equal(s.malformed, 0);
	if (!strcmp(g->feed_name, "bpf") && !g->overflows)
		assert_int_equal(map_entries(g), 0);
	process_feed_close(g->feed);
	proctree_close(g->tree);
}

/* ---- ways to get away --------------------------------------------------------------------- */

struct way {
	const char *feed, *scene;
	int finds;    /* processes that tell their pid */
	bool member;  /* whether the feed is expected to know them */
};

static void each_way(void **state)
{
	const struct way *w = *state;
	char lineage[LINEAGE_MAX];
	struct rig g;
	pid_t pid;

	if (!rig_open(&g, w->feed, &usual))
		return;
	scene_start(&g, w->scene, 0);
	for (int i = 0; i < w->finds; i++) {
		pid = found(&g, false);
		assert_true(pid > 0);
		drain(&g);
		if (!strcmp(w->feed, "scan"))
			rescan(&g);
		process_feed_settle(g.feed);
		if (w->member) {
			const struct member *m = proctree_find(g.tree, pid);
			struct process_scan_entry e;

			assert_non_null(m);
			assert_int_equal(m->tree_id, g.tree_id);
			assert_int_equal(proctree_peek(g.tree, pid), g.tree_id);
			proctree_lineage(g.tree, pid, lineage, sizeof(lineage));
			assert_true(strstr(lineage, "procscene") != NULL);
			/* -ESRCH would be wrong for a leader that ended before its threads */
			assert_int_equal(process_read(pid, &e), 0);
			assert_true(start_time_same(e.start_time_ns, m->start_time_ns));
		} else {
			assert_null(proctree_find(g.tree, pid));
		}
	}
	/* Nobody else: neither we nor init. */
	assert_null(proctree_find(g.tree, getpid()));
	assert_null(proctree_find(g.tree, 1));
	if (w->member)
		assert_int_equal(g.overflows && strcmp(w->feed, "scan"), 0);
	scene_end(&g);
	rig_close(&g);
}

static const struct way ways[] = {
	{ "bpf", "fork", 1, true },
	{ "bpf", "vfork", 1, true },
	{ "bpf", "exec", 1, true },
	{ "bpf", "double_fork", 1, true },
	{ "bpf", "subreaper", 1, true },
	{ "bpf", "clone_parent", 1, true },
	{ "bpf", "dead_leader", 2, true },
	{ "bpf", "thread_exec", 1, true },
	{ "bpf", "pid_ns", 2, true },
	{ "connector", "fork", 1, true },
	{ "connector", "vfork", 1, true },
	{ "connector", "exec", 1, true },
	{ "connector", "double_fork", 1, true },
	{ "connector", "subreaper", 1, true },
	{ "connector", "clone_parent", 1, false }, /* as process_feed_gaps() says */
	{ "connector", "dead_leader", 2, true },
	{ "connector", "thread_exec", 1, true },
	{ "connector", "pid_ns", 2, true },
	{ "scan", "fork", 1, true },
	{ "scan", "exec", 1, true },
	{ "scan", "thread_exec", 1, true },
	{ "scan", "pid_ns", 2, true },
};

/* ---- exactness ---------------------------------------------------------------------------- */

static void storm(const char *feed, int count)
{
	struct process_feed_stats s;
	struct rig g;
	uint64_t began;

	if (!rig_open(&g, feed, &usual))
		return;
	scene_start(&g, "storm", count);
	began = now_ms();
	assert_int_equal(found(&g, true), g.root);
	print_message("# %s: %d vforks in %u ms\n", feed, count, (unsigned)(now_ms() - began));
	drain(&g);
	process_feed_settle(g.feed);
	assert_int_equal(proctree_members(g.tree), 1);
	assert_int_equal(g.exits, count);
	scene_end(&g);
	assert_int_equal(g.exits, count + 1);
	process_feed_stats(g.feed, &s);
	assert_int_equal(s.lost, 0);
	assert_int_equal(g.overflows, 0);
	if (!strcmp(feed, "bpf")) {
		assert_int_equal(s.forks, count);
		assert_int_equal(s.exits, count + 1);
	}
	rig_close(&g);
}

static void storm_is_counted_exactly_by_bpf(void **state)
{
	(void)state;
	storm("bpf", 40000);
}

static void storm_is_counted_by_the_connector(void **state)
{
	(void)state;
	storm("connector", 5000);
}

/* Records are lost; the kernel's map and a scan bring back whoever is alive. */
static void overrun(const char *feed, const struct process_feed_limits *l, const char *scene,
		    int count)
{
	_cleanup_free_ pid_t *pids = calloc((size_t)count + 1, sizeof(*pids));
	unsigned missing = 0;
	struct rig g;

	assert_non_null(pids);
	if (!rig_open(&g, feed, l))
		return;
	scene_start(&g, scene, count);
	for (int i = 0; i <= count; i++) {
		pids[i] = found(&g, false);
		assert_true(pids[i] > 0);
	}
	drain(&g);
	assert_true(g.overflows > 0);
	for (int i = 0; i <= count; i++)
		missing += !proctree_find(g.tree, pids[i]);
	assert_true(missing > 0); /* else nothing is shown here */
	rescan(&g);
	for (int i = 0; i <= count; i++)
		assert_non_null(proctree_find(g.tree, pids[i]));
	assert_int_equal(proctree_members(g.tree), count + 1);

	/* The exits overrun it as well; the dead are found missing. */
	close(g.gate[1]);
	g.gate[1] = -1;
	reap_all();
	drain(&g);
	rescan(&g);
	assert_int_equal(proctree_members(g.tree), 0);
	scene_end(&g);
	rig_close(&g);
}

static void overrun_of_the_ring(void **state)
{
	static const struct process_feed_limits tiny = { .ring_bytes = 4096 };

	(void)state;
	overrun("bpf", &tiny, "many", 300);
}

static void overrun_of_the_socket(void **state)
{
	static const struct process_feed_limits tiny = { .receive_bytes = 2048 };

	(void)state;
	overrun("connector", &tiny, "children", 100);
}

static void full_map_is_told(void **state)
{
	static const struct process_feed_limits tiny = { .members = 8 };
	struct process_scan scan;
	struct rig g;
	int r;

	(void)state;
	if (!rig_open(&g, "bpf", &tiny))
		return;
	scene_start(&g, "children", 30);
	for (int i = 0; i < 31; i++)
		assert_true(found(&g, false) > 0);
	drain(&g);
	assert_true(g.overflows > 0);
	assert_int_equal(proctree_members(g.tree), 8);
	assert_int_equal(process_scan(&scan), 0);
	r = process_scan_apply(&scan, g.feed, g.tree);
	process_scan_free(&scan);
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(proctree_members(g.tree), 8);
	scene_end(&g);
	rig_close(&g);
}

/* ---- pid reuse ---------------------------------------------------------------------------- */

/* A stranger with this pid; false when the pid could not be had. */
static bool stranger_with_pid(struct rig *g, pid_t pid)
{
	int status;
	pid_t parent = spawn(g, "pid", pid);
	struct pollfd p = { .fd = g->out[0], .events = POLLIN };

	assert_int_equal(write(g->start[1], "x", 1), 1);
	close(g->start[1]);
	for (int i = 0; i < 5000; i++) {
		if (poll(&p, 1, 2) == 1)
			return found(g, false) == pid;
		if (waitpid(parent, &status, WNOHANG) == parent)
			return false;
	}
	return false;
}

/* state: the feed. A member's pid goes to a stranger. */
static void reused_pid_is_a_stranger(void **state)
{
	const char *feed = *state;
	struct rig g, other;
	pid_t pid;

	if (!rig_open(&g, feed, &usual))
		return;
	scene_start(&g, "leaf", 0);
	pid = found(&g, false);
	assert_int_equal(pid, g.root);
	drain(&g);
	assert_non_null(proctree_find(g.tree, pid));
	close(g.gate[1]);
	g.gate[1] = -1;
	reap_all(); /* and nothing is drained between */

	memset(&other, 0, sizeof(other));
	pipes(&other);
	if (!stranger_with_pid(&other, pid)) {
		close(other.gate[1]);
		reap_all();
		scene_end(&g);
		rig_close(&g);
		print_message("# not shown, pid %d could not be had again\n", pid);
		return;
	}
	drain(&g);
	process_feed_settle(g.feed);
	assert_null(proctree_find(g.tree, pid));
	assert_int_equal(proctree_peek(g.tree, pid), 0);
	close(other.gate[1]);
	close(other.gate[0]);
	close(other.out[0]);
	close(other.out[1]);
	scene_end(&g);
	rig_close(&g);
}

/* A stale entry in the kernel's map, with an older start time, does not make a member. */
static void stale_map_entry_is_not_inherited(void **state)
{
	struct {
		uint32_t tree_id, unused;
		uint64_t start_time_ns;
	} entry = { 1, 0, 12345678 };
	struct rig g;
	uint32_t key;
	pid_t pid;

	(void)state;
	if (!rig_open(&g, "bpf", &usual))
		return;
	pipes(&g);
	key = (uint32_t)spawn(&g, "fork", 0);
	assert_int_equal(bpf_map_update_elem(process_feed_members_fd(g.feed), &key, &entry, 0), 0);
	assert_int_equal(write(g.start[1], "x", 1), 1);
	close(g.start[1]);
	pid = found(&g, false);
	assert_true(pid > 0);
	drain(&g);
	assert_null(proctree_find(g.tree, pid));
	assert_int_equal(map_entries(&g), 0);
	close(g.gate[1]);
	reap_all();
	rig_close(&g);
}

/* A tree that is removed while its members fork leaves nothing in the kernel. */
static void removed_tree_leaves_nothing(void **state)
{
	struct rig g;
	pid_t pid;

	(void)state;
	if (!rig_open(&g, "bpf", &usual))
		return;
	scene_start(&g, "fork", 0);
	pid = found(&g, false);
	assert_int_equal(proctree_remove_tree(g.tree, g.tree_id), 0);
	assert_int_equal(process_feed_untrack(g.feed, g.root), 0);
	drain(&g); /* the child's record comes after the end of its tree */
	assert_null(proctree_find(g.tree, pid));
	assert_int_equal(map_entries(&g), 1);
	process_feed_settle(g.feed);
	assert_int_equal(map_entries(&g), 0);
	scene_end(&g);
	rig_close(&g);
}

/* ---- what is told ------------------------------------------------------------------------- */

static void exec_tells_file_and_arguments(void **state)
{
	char path[PATH_MAX];
	struct rig g;

	(void)state;
	helper_path(path);
	if (!rig_open(&g, "bpf", &usual))
		return;
	scene_start(&g, "leaf", 7);
	assert_int_equal(found(&g, false), g.root);
	drain(&g);
	assert_string_equal(g.exec_filename, path);
	assert_true(g.exec_argv_len > 20);
	assert_string_equal(g.exec_argv, "procscene");
	assert_string_equal(g.exec_argv + 10, "leaf");
	assert_string_equal(proctree_find(g.tree, g.root)->comm, "procscene");
	scene_end(&g);
	rig_close(&g);
}

/* Children that were there before the tree was watched. */
static void running_tree_is_adopted(void **state)
{
	const char *feed = *state;
	struct rig g;
	pid_t pid, child = 0;

	if (!rig_open(&g, feed, &usual))
		return;
	pipes(&g);
	g.root = spawn(&g, "subreaper", 0);
	assert_int_equal(write(g.start[1], "x", 1), 1);
	close(g.start[1]);
	pid = found(&g, false);
	watch(&g, g.root);
	assert_null(proctree_find(g.tree, pid));
	rescan(&g);
	child = proctree_find(g.tree, pid) ? pid : 0;
	assert_int_equal(child, pid);
	scene_end(&g);
	rig_close(&g);
}

/* ---- privilege ---------------------------------------------------------------------------- */

/* A root that died before it was tracked does not stay for ever. */
static void dead_root_is_not_kept(void **state)
{
	struct tree init = { .agent = "test-agent" };
	struct process_scan_entry e;
	const struct tree *tr;
	struct rig g;
	pid_t pid;

	if (!rig_open(&g, *state, &usual))
		return;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		pause();
		_exit(0);
	}
	assert_int_equal(process_read(pid, &e), 0);
	init.root_pid = pid;
	init.root_start_ns = e.start_time_ns;
	kill(pid, SIGKILL);
	reap_all();
	drain(&g);
	assert_int_equal(proctree_add_tree(g.tree, &init, &tr), 0);
	assert_int_equal(process_feed_track(g.feed, pid, tr->id), -ESRCH);
	assert_int_equal(proctree_members(g.tree), 0);
	assert_int_equal(tr->members, 0);
	assert_int_equal(g.exits, 1);
	rig_close(&g);
}

/* What the feed says it needs is enough; everything else is dropped. */
static void dropped_privileges_suffice(void **state)
{
	struct rig g;
	int status;
	pid_t pid;

	(void)state;
	if (!rig_open(&g, "bpf", &usual))
		return;
	scene_start(&g, "fork", 0);
	assert_true(found(&g, false) > 0);
	print_message("# bpf feed needs capabilities %#llx while running\n",
		      (unsigned long long)process_feed_caps(g.feed));
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (process_feed_caps(g.feed))
			_exit(0);
		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(1);
		if (process_feed_drain(g.feed) < 0 || proctree_members(g.tree) != 2)
			_exit(2);
		if (process_feed_track(g.feed, getpid(), 1) < 0)
			_exit(3);
		if (process_feed_untrack(g.feed, getpid()) < 0)
			_exit(4);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	scene_end(&g);
	rig_close(&g);
}

/* state: the feed. Draining makes only the system calls that its header names. */
static void drain_makes_few_system_calls(void **state)
{
	const char *feed = *state;
	bool connector = !strcmp(feed, "connector");
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 2, 0), /* no vDSO */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, connector ? SYS_recvmsg : SYS_read, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { .len = ARRAY_SIZE(code), .filter = code };
	struct rig g;
	int status;
	pid_t pid;

#ifdef __SANITIZE_THREAD__
	print_message("# not shown, ThreadSanitizer makes system calls of its own\n");
	return;
#endif
	if (!rig_open(&g, feed, &usual))
		return;
	scene_start(&g, "many", 50);
	for (int i = 0; i <= 50; i++)
		assert_true(found(&g, false) > 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
			_exit(1);
		if (process_feed_drain(g.feed) < 50)
			_exit(2);
		if (proctree_members(g.tree) < 51)
			_exit(3);
		syscall(SYS_exit_group, 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	scene_end(&g);
	rig_close(&g);
}

/* ---- lies --------------------------------------------------------------------------------- */

/* A message that says `child` is a child of `parent`. */
static size_t forged_fork(char buf[256], pid_t parent, pid_t child)
{
	struct nlmsghdr nlh = { .nlmsg_type = NLMSG_DONE };
	struct cn_msg cn = { .id = { CN_IDX_PROC, CN_VAL_PROC } };
	struct proc_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.what = PROC_EVENT_FORK;
	ev.event_data.fork.parent_pid = ev.event_data.fork.parent_tgid = parent;
	ev.event_data.fork.child_pid = ev.event_data.fork.child_tgid = child;
	cn.len = sizeof(ev);
	nlh.nlmsg_len = NLMSG_HDRLEN + sizeof(cn) + sizeof(ev);
	memcpy(buf, &nlh, sizeof(nlh));
	memcpy(buf + NLMSG_HDRLEN, &cn, sizeof(cn));
	memcpy(buf + NLMSG_HDRLEN + sizeof(cn), &ev, sizeof(ev));
	return nlh.nlmsg_len;
}

static void forged_message_is_refused(void **state)
{
	struct sockaddr_nl to = { 0 };
	socklen_t len = sizeof(to);
	char buf[256];
	struct rig g;
	int status;
	pid_t pid;

	(void)state;
	if (!rig_open(&g, "connector", &usual))
		return;
	scene_start(&g, "leaf", 0);
	assert_int_equal(found(&g, false), g.root);
	assert_int_equal(getsockname(process_feed_fd(g.feed), (struct sockaddr *)&to, &len), 0);
	assert_true(to.nl_pid != 0);
	to.nl_groups = 0;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		size_t n = forged_fork(buf, g.root, getppid());
		int fd;

		if (setgid(65534) < 0 || setuid(65534) < 0)
			_exit(1);
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_CONNECTOR);
		if (fd < 0)
			_exit(errno == EPERM || errno == EPROTONOSUPPORT ? 0 : 2);
		if (sendto(fd, buf, n, 0, (struct sockaddr *)&to, sizeof(to)) >= 0)
			_exit(3);
		if (errno != ECONNREFUSED && errno != EPERM)
			_exit(4);
		/* Nor to everybody who listens. */
		to.nl_pid = 0;
		to.nl_groups = CN_IDX_PROC;
		if (sendto(fd, buf, n, 0, (struct sockaddr *)&to, sizeof(to)) >= 0)
			_exit(5);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	drain(&g);
	assert_null(proctree_find(g.tree, getpid()));
	scene_end(&g);
	rig_close(&g);
}

static void count_event(const struct connector_event *e, void *arg)
{
	int *n = arg;

	*n += e->what == CONNECTOR_FORK && e->parent_tgid == 10 && e->tgid == 11;
}

static void malformed_messages_are_refused(void **state)
{
	char buf[256], copy[256];
	size_t len = forged_fork(buf, 10, 11);
	int n = 0;

	(void)state;
	assert_int_equal(connector_parse(buf, len, count_event, &n), 1);
	assert_int_equal(n, 1);
	/* Cut anywhere; each copy ends where its memory ends, for the sanitizer to see. */
	for (size_t cut = 1; cut < len; cut++) {
		_cleanup_free_ char *part = malloc(cut);

		assert_non_null(part);
		memcpy(part, buf, cut);
		assert_int_equal(connector_parse(part, cut, count_event, &n), -EPROTO);
	}
	/* Any length that lies. */
	for (uint32_t lie = 0; lie < 200; lie++) {
		if (lie == len)
			continue;
		memcpy(copy, buf, len);
		memcpy(copy, &lie, sizeof(lie));
		assert_int_equal(connector_parse(copy, len, count_event, &n), -EPROTO);
	}
	assert_int_equal(n, 1);
	/* Pids that cannot be. */
	len = forged_fork(buf, 10, -5);
	assert_int_equal(connector_parse(buf, len, count_event, &n), -EPROTO);
}

/* ---- death of the daemon ------------------------------------------------------------------ */

static void members_survive_kill(void **state)
{
	char dir[] = "/tmp/oknek-process-XXXXXX", path[64];
	struct rig g;
	pid_t daemon_pid, child;
	int status;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/table", dir);
	if (!rig_open(&g, "bpf", &usual))
		return;
	scene_start(&g, "double_fork", 0);
	child = found(&g, false);
	daemon_pid = fork();
	assert_true(daemon_pid >= 0);
	if (!daemon_pid) {
		struct tree init = { .root_pid = g.root, .agent = "test-agent" };
		struct member m = { .tgid = child, .comm = "kept" };
		struct process_scan_entry e;
		struct proctree *t;
		const struct tree *tr;

		init.root_start_ns = 1; /* the root is dead by now */
		if (process_read(child, &e) < 0 || proctree_open(path, &t) < 0 ||
		    proctree_add_tree(t, &init, &tr) < 0)
			_exit(1);
		m.start_time_ns = e.start_time_ns;
		if (proctree_adopt(t, tr->id, &m) != 1)
			_exit(2);
		m.tgid = getppid(); /* alive, but with another start time */
		m.start_time_ns = 1;
		if (proctree_adopt(t, tr->id, &m) != 1)
			_exit(3);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(daemon_pid, &status, 0), daemon_pid);
	assert_true(WIFSIGNALED(status));

	proctree_close(g.tree);
	assert_int_equal(proctree_open(path, &g.tree), 0);
	assert_int_equal(proctree_members(g.tree), 1);
	assert_non_null(proctree_find(g.tree, child));
	assert_string_equal(proctree_find(g.tree, child)->comm, "kept");
	assert_string_equal(proctree_tree(g.tree, proctree_find(g.tree, child)->tree_id)->agent,
			    "test-agent");
	proctree_unlink(g.tree);
	g.feed->tree = g.tree;
	assert_int_equal(rmdir(dir), 0);
	g.tree_id = proctree_find(g.tree, child)->tree_id;
	scene_end(&g);
	rig_close(&g);
}

static void unknown_feed_is_refused(void **state)
{
	struct process_feed *f = NULL;
	char why[256] = "";

	(void)state;
	assert_int_equal(process_feed_open("kprobe", NULL, NULL, &f, why), -EINVAL);
	assert_true(strlen(why) > 0);
	assert_null(f);
}

static void best_feed_is_chosen(void **state)
{
	struct process_feed *f = NULL;
	struct proctree *t;
	char why[256] = "x";

	(void)state;
	assert_int_equal(proctree_open(NULL, &t), 0);
	assert_int_equal(process_feed_open(NULL, t, NULL, &f, why), 0);
	if (!strcmp(process_feed_name(f), "bpf"))
		assert_string_equal(why, "");
	else
		assert_non_null(strstr(why, "using"));
	process_feed_close(f);
	proctree_close(t);
}

/* What a failed test left open would keep its processes, and the tests after it. */
static int let_go(void **state)
{
	(void)state;
	close_range(3, ~0U, 0);
	reap_all();
	return 0;
}

int main(void)
{
#define FEED_TEST(fn, feed) { #fn "_" feed, fn, NULL, let_go, (void *)(uintptr_t)feed }
	static const struct CMUnitTest others[] = {
		cmocka_unit_test_teardown(malformed_messages_are_refused, let_go),
		cmocka_unit_test_teardown(unknown_feed_is_refused, let_go),
		cmocka_unit_test_teardown(best_feed_is_chosen, let_go),
		cmocka_unit_test_teardown(exec_tells_file_and_arguments, let_go),
		FEED_TEST(running_tree_is_adopted, "bpf"),
		FEED_TEST(running_tree_is_adopted, "connector"),
		FEED_TEST(running_tree_is_adopted, "scan"),
		FEED_TEST(dead_root_is_not_kept, "bpf"),
		FEED_TEST(dead_root_is_not_kept, "connector"),
		FEED_TEST(reused_pid_is_a_stranger, "bpf"),
		FEED_TEST(reused_pid_is_a_stranger, "connector"),
		cmocka_unit_test_teardown(stale_map_entry_is_not_inherited, let_go),
		cmocka_unit_test_teardown(removed_tree_leaves_nothing, let_go),
		cmocka_unit_test_teardown(overrun_of_the_ring, let_go),
		cmocka_unit_test_teardown(overrun_of_the_socket, let_go),
		cmocka_unit_test_teardown(full_map_is_told, let_go),
		cmocka_unit_test_teardown(dropped_privileges_suffice, let_go),
		FEED_TEST(drain_makes_few_system_calls, "bpf"),
		FEED_TEST(drain_makes_few_system_calls, "connector"),
		cmocka_unit_test_teardown(forged_message_is_refused, let_go),
		cmocka_unit_test_teardown(members_survive_kill, let_go),
		cmocka_unit_test_teardown(storm_is_counted_exactly_by_bpf, let_go),
		cmocka_unit_test_teardown(storm_is_counted_by_the_connector, let_go),
	};
	static char names[ARRAY_SIZE(ways)][64];
	struct CMUnitTest tests[ARRAY_SIZE(ways) + ARRAY_SIZE(others)];

	if (geteuid() != 0 || getenv("OKNEK_UNIT")) {
		puts("1..0 # SKIP needs root");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		snprintf(names[i], sizeof(names[i]), "%s_%s", ways[i].feed, ways[i].scene);
		tests[i] = (struct CMUnitTest){ names[i], each_way, NULL, let_go,
						(void *)(uintptr_t)&ways[i] };
	}
	memcpy(tests + ARRAY_SIZE(ways), others, sizeof(others));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
