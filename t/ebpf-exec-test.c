/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That what runs is what was decided: programs that this process's own children start, with what is
 * expected of them told beforehand. Nothing is held here, nobody else is watched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "enforce/permissive.h"
#include "sources/bpf/events.h"
#include "sources/ebpf.h"
#include "sources/ebpf_parse.h"
#include "sources/process_feed.h"

static struct {
	struct proctree *tree;
	struct process_feed *feed;
	struct source *src;
	struct enforcer *enforcer;
	struct bus bus;
	char dir[64], sh[80], touch[80], mark[80];
	struct stat sh_st, touch_st;
	/* the last exec that was told */
	unsigned n;
	enum exec_compared compared;
	bool killed, refused;
	enum mechanism by;
	uint64_t ino;
	char argv[64];
} t;

static void decide(void *arg, const struct event *ev, struct decision *ret, const char **category)
{
	(void)arg;
	(void)ret;
	(void)category;
	if (ev->kind != KIND_EXEC_OBSERVED)
		return;
	t.n++;
	t.compared = ev->exec.compared;
	t.killed = ev->settled.killed;
	t.refused = ev->settled.refused;
	t.by = ev->settled.by;
	t.ino = ev->exec.ino;
	memset(t.argv, 0, sizeof(t.argv));
	if (ev->exec.argv)
		memcpy(t.argv, ev->exec.argv,
		       ev->exec.argv_len_bytes < sizeof(t.argv) ? ev->exec.argv_len_bytes :
								  sizeof(t.argv) - 1);
}

static enum mode enforcing(void *arg)
{
	(void)arg;
	return MODE_ENFORCE;
}

static uint64_t no_ticket(struct recorder *r, const struct verdict_note *note)
{
	(void)r;
	(void)note;
	return 0;
}

static void drain(void *arg)
{
	(void)arg;
	process_feed_drain(t.feed);
}

static const char *no_home(void *arg, uid_t uid)
{
	(void)arg;
	(void)uid;
	return NULL;
}

static int copy_of(const char *from, char *to, size_t size, const char *name, struct stat *st)
{
	char cmd[256];

	snprintf(to, size, "%s/%s", t.dir, name);
	snprintf(cmd, sizeof(cmd), "cp %s %s", from, to);
	return system(cmd) || stat(to, st) ? -1 : 0;
}

static int setup(void **state)
{
	static struct recorder recorder = { .decided = no_ticket };
	struct ebpf_config c = { .drain = drain, .home_of = no_home };
	char why[256] = "";
	int r;

	(void)state;
	if (geteuid() != 0)
		return 0;
	/* another filesystem: OKNEK_EXEC_DIR */
	snprintf(t.dir, sizeof(t.dir), "%.40s/oknek-exec.XXXXXX",
		 getenv("OKNEK_EXEC_DIR") ? getenv("OKNEK_EXEC_DIR") : "/dev/shm");
	if (!mkdtemp(t.dir) || proctree_open(NULL, &t.tree) < 0 || permissive_open(&t.enforcer) < 0 ||
	    copy_of("/bin/sh", t.sh, sizeof(t.sh), "sh", &t.sh_st) ||
	    copy_of("/usr/bin/touch", t.touch, sizeof(t.touch), "touch", &t.touch_st))
		return -1;
	snprintf(t.mark, sizeof(t.mark), "%s/mark", t.dir);
	if (process_feed_open("bpf", t.tree, NULL, &t.feed, why) < 0) {
		print_message("# %s\n", why);
		return 0;
	}
	c.tree = t.tree;
	c.members_fd = process_feed_members_fd(t.feed);
	r = ebpf_open(&c, &t.src, why);
	if (r < 0) {
		print_message("# %s (%s)\n", why, strerror(-r));
		return r == -EPERM || r == -EOPNOTSUPP ? 0 : -1;
	}
	t.bus = (struct bus){ .decide = decide, .enforcer = t.enforcer, .mode = enforcing,
			      .recorder = &recorder };
	t.src->ops->start(t.src);
	ebpf_exec_enforce(t.src, true);
	return 0;
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	if (t.dir[0]) {
		snprintf(cmd, sizeof(cmd), "rm -rf %s", t.dir);
		if (system(cmd) != 0)
			return -1;
	}
	if (t.src)
		t.src->ops->close(t.src);
	if (t.feed)
		process_feed_close(t.feed);
	if (t.tree)
		proctree_close(t.tree);
	return 0;
}

static void take_all(void)
{
	for (int i = 0; i < 200; i++) {
		struct pollfd pfd = { t.src->ops->fd(t.src), POLLIN, 0 };
		uint64_t due = ebpf_next_ns(t.src);

		if (due == UINT64_MAX && poll(&pfd, 1, 20) <= 0)
			return;
		t.src->ops->dispatch(t.src, &t.bus);
		usleep(2000);
		ebpf_expire(t.src, &t.bus, clock_boottime_ns());
	}
}

/* ---- a child that runs a program when it is told to -------------------------------------------- */

struct child {
	pid_t pid;
	uint64_t start_ns;
	int go;
};

static struct child watched_child(void (*fn)(void *arg), void *arg)
{
	struct tree init = { .agent = "test", .how = "test" };
	const struct tree *tree;
	struct procstat stat;
	struct child c;
	int go[2];
	char byte;

	if (!t.src)
		skip();
	t.n = 0;
	unlink(t.mark);
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	c.pid = fork();
	if (c.pid == 0) {
		close(go[1]);
		if (read(go[0], &byte, 1) == 1)
			fn(arg);
		_exit(99);
	}
	close(go[0]);
	c.go = go[1];
	init.root_pid = c.pid;
	process_feed_drain(t.feed);
	assert_int_equal(proctree_add_tree(t.tree, &init, &tree), 0);
	assert_int_equal(process_feed_track(t.feed, c.pid, tree->id), 0);
	assert_int_equal(procstat_read(c.pid, &stat), 0);
	c.start_ns = stat.start_time_ns;
	return c;
}

/* The status with which it ended. */
static int ends(struct child *c)
{
	int status;

	assert_int_equal(write(c->go, "1", 1), 1);
	close(c->go);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	take_all();
	process_feed_drain(t.feed);
	return status;
}

static void expect(const struct child *c, const struct stat *st, const char *argv, size_t len,
		   bool cut)
{
	ebpf_exec_expect(t.src, c->pid, c->start_ns, st->st_dev, st->st_ino, argv, len, cut);
}

static void run(void *arg)
{
	char *const *argv = arg;
	char *const none[] = { NULL };

	execve(argv[0], argv + 1, none);
}

#define SCRIPT(text) text, sizeof(text)
#define SAFE "sh\0-c\0:"

static bool touched(void)
{
	return access(t.mark, F_OK) == 0;
}

static void ran(int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		print_message("# status %#x\n", status);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void was_killed(int status)
{
	if (!WIFSIGNALED(status))
		print_message("# status %#x\n", status);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	assert_false(touched());
	assert_int_equal(t.n, 1);
	assert_int_equal(t.compared, EXEC_CHANGED);
	assert_true(t.killed && t.refused);
	assert_int_equal(t.by, MECH_SIGNAL);
}

/* ---- tests ------------------------------------------------------------------------------------ */

static void test_same(void **state)
{
	char *argv[] = { t.sh, "sh", "-c", ":", NULL };
	struct child c = watched_child(run, argv);

	(void)state;
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	ran(ends(&c));
	assert_int_equal(t.n, 1);
	assert_int_equal(t.compared, EXEC_AS_DECIDED);
	assert_false(t.killed);
	assert_int_equal(t.ino, t.sh_st.st_ino);
}

static void test_other(void **state)
{
	char script[128], *argv[] = { t.sh, "sh", "-c", script, NULL };
	struct child c;

	(void)state;
	snprintf(script, sizeof(script), ">%s", t.mark);
	c = watched_child(run, argv);
	ran(ends(&c)); /* it does */
	assert_true(touched());
	assert_int_equal(t.compared, EXEC_NOT_COMPARED);
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	was_killed(ends(&c));
	assert_string_equal(t.argv, "sh");
	assert_string_equal(t.argv + 6, script);
}

static void test_observing(void **state)
{
	char script[128], *argv[] = { t.sh, "sh", "-c", script, NULL };
	struct child c;

	(void)state;
	snprintf(script, sizeof(script), ">%s", t.mark);
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	ebpf_exec_enforce(t.src, false);
	ran(ends(&c));
	ebpf_exec_enforce(t.src, true);
	assert_true(touched());
	assert_int_equal(t.compared, EXEC_CHANGED);
	assert_false(t.killed);
}

/* One byte, wherever, in arguments of any length. */
static void test_each_byte(void **state)
{
	static const size_t lengths[] = { 1, 7, 8, 9, 127, 128, 129, 4000, 32768 - 8 };
	static char arg[32769], want[32800];
	char *argv[] = { t.sh, "sh", "-c", ":", arg, NULL };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		size_t n = lengths[i] - 1, len = 8 + n + 1;

		memset(arg, 'a', n);
		arg[n] = '\0';
		memcpy(want, "sh\0-c\0:", 8);
		memcpy(want + 8, arg, n + 1);
		for (int changed = 0; changed < (n ? 3 : 1); changed++) {
			struct child c = watched_child(run, argv);

			if (changed)
				want[changed == 1 ? 8 : 8 + n - 1] ^= 1;
			expect(&c, &t.sh_st, want, len, false);
			if (changed)
				was_killed(ends(&c));
			else
				ran(ends(&c));
			if (!changed)
				assert_int_equal(t.compared, EXEC_AS_DECIDED);
			if (changed)
				want[changed == 1 ? 8 : 8 + n - 1] ^= 1;
		}
	}
}

/* There is more than was decided, and that is known; or it is not. */
static void test_cut(void **state)
{
	static char arg[100001], want[32768];
	char *argv[] = { t.sh, "sh", "-c", ":", arg, NULL };
	struct child c;

	(void)state;
	memset(arg, 'a', sizeof(arg) - 1);
	memcpy(want, "sh\0-c\0:", 8);
	memset(want + 8, 'a', sizeof(want) - 8);
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, want, sizeof(want), true);
	ran(ends(&c));
	assert_int_equal(t.compared, EXEC_AS_DECIDED);
	want[sizeof(want) - 1] = '\0';
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, want, sizeof(want), false);
	was_killed(ends(&c));
	want[sizeof(want) - 1] = 'a';
	want[20000] = 'b';
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, want, sizeof(want), true);
	was_killed(ends(&c));
}

static void test_none(void **state)
{
	char *argv[] = { t.sh, NULL };
	char *more[] = { t.sh, "", "-c", ":", NULL };
	struct child c = watched_child(run, argv);

	(void)state;
	expect(&c, &t.sh_st, "", 0, false);
	ends(&c); /* it reads a script from our input, or none */
	assert_int_equal(t.compared, EXEC_AS_DECIDED);
	c = watched_child(run, more);
	expect(&c, &t.sh_st, "", 0, false);
	was_killed(ends(&c));
}

/* An exec that failed leaves behind what was expected of it. */
static void test_left_over(void **state)
{
	char *other[] = { t.touch, "touch", t.mark, NULL };
	char script[128], *argv[] = { t.sh, "sh", "-c", script, NULL };
	struct child c;

	(void)state;
	snprintf(script, sizeof(script), ">%s", t.mark);
	c = watched_child(run, other);
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	ran(ends(&c));
	assert_true(touched());
	assert_int_equal(t.compared, EXEC_NOT_COMPARED);

	/* decided anew: any of what was decided */
	snprintf(script, sizeof(script), ">%s", t.mark);
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	{
		char want[160];
		int n = snprintf(want, sizeof(want), "sh%c-c%c%s", 0, 0, script);

		expect(&c, &t.sh_st, want, (size_t)n + 1, false);
	}
	ran(ends(&c));
	assert_true(touched());
	assert_int_equal(t.compared, EXEC_AS_DECIDED);
}

/* Used up by the first that succeeds: what that starts itself is not compared with it. */
static void test_once(void **state)
{
	char script[200], want[256], *argv[] = { t.sh, "sh", "-c", script, NULL };
	struct child c;
	int n;

	(void)state;
	snprintf(script, sizeof(script), "exec %s -c '>%s'", t.sh, t.mark);
	n = snprintf(want, sizeof(want), "sh%c-c%c%s", 0, 0, script);
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, want, (size_t)n + 1, false);
	ran(ends(&c));
	assert_true(touched());
	assert_int_equal(t.n, 2);
}

static void test_somebody_else(void **state)
{
	char script[128], *argv[] = { t.sh, "sh", "-c", script, NULL };
	struct child c;

	(void)state;
	snprintf(script, sizeof(script), ">%s", t.mark);
	/* who had the pid before */
	c = watched_child(run, argv);
	ebpf_exec_expect(t.src, c.pid, c.start_ns - NSEC_PER_SEC, t.sh_st.st_dev, t.sh_st.st_ino,
			 SCRIPT(SAFE), false);
	ran(ends(&c));
	/* the same number on another filesystem (which on btrfs and overlay cannot be told) */
	if (!getenv("OKNEK_EXEC_DIR")) {
		c = watched_child(run, argv);
		ebpf_exec_expect(t.src, c.pid, c.start_ns, t.sh_st.st_dev + 1, t.sh_st.st_ino,
				 SCRIPT(SAFE), false);
		ran(ends(&c));
	}
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	ebpf_exec_forget(t.src, c.pid);
	ran(ends(&c));
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	expect(&c, &t.sh_st, NULL, 0, true);
	ran(ends(&c));
	c = watched_child(run, argv);
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	ebpf_exec_forget_all(t.src);
	ran(ends(&c));
}

/* Of many the last counts, too. */
static void test_crowded(void **state)
{
	char *argv[] = { t.sh, "sh", "-c", ":", NULL };
	struct child c = watched_child(run, argv);

	(void)state;
	for (int i = 0; i < 100; i++) {
		char want[32];
		int n = snprintf(want, sizeof(want), "sh%c-c%c%d", 0, 0, i);

		expect(&c, &t.sh_st, want, (size_t)n + 1, false);
	}
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	ran(ends(&c));
	assert_int_equal(t.compared, EXEC_AS_DECIDED);
}

static void *from_thread(void *arg)
{
	run(arg);
	return NULL;
}

static void by_thread(void *arg)
{
	pthread_t thread;

	pthread_create(&thread, NULL, from_thread, arg);
	pause();
}

static void test_thread(void **state)
{
	char script[128], *argv[] = { t.sh, "sh", "-c", script, NULL };
	struct child c;
	char want[160];
	int n;

	(void)state;
	snprintf(script, sizeof(script), ">%s", t.mark);
	c = watched_child(by_thread, argv);
	expect(&c, &t.sh_st, SCRIPT(SAFE), false);
	was_killed(ends(&c));
	c = watched_child(by_thread, argv);
	n = snprintf(want, sizeof(want), "sh%c-c%c%s", 0, 0, script);
	expect(&c, &t.sh_st, want, (size_t)n + 1, false);
	ran(ends(&c));
	assert_int_equal(t.compared, EXEC_AS_DECIDED);
}

static void make_script(const char *name, const char *interpreter, const char *option, char path[96])
{
	FILE *f;

	snprintf(path, 96, "%s/%s", t.dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "#!%s%s%s\n[ \"$1\" != evil ] || >%s\n", interpreter, option ? " " : "",
		option ? option : "", t.mark);
	fclose(f);
	assert_int_equal(chmod(path, 0755), 0);
}

/* The kernel puts the interpreter, its option and the script in the place of the first argument. */
static void test_script(void **state)
{
	char plain[96], option[96], nested[96];
	const char *scripts[] = { plain, option };

	(void)state;
	if (!t.src)
		skip();
	make_script("plain", t.sh, NULL, plain);
	make_script("option", t.sh, "-e", option);
	make_script("nested", plain, NULL, nested);
	for (unsigned i = 0; i < ARRAY_SIZE(scripts); i++) {
		char *good[] = { (char *)scripts[i], "x", "good", NULL };
		char *evil[] = { (char *)scripts[i], "x", "evil", NULL };
		char *more[] = { (char *)scripts[i], "x", "evil", (char *)scripts[i], "good", NULL };
		char *most[] = { (char *)scripts[i], "x", "evil", "good", NULL };
		char *none[] = { (char *)scripts[i], "x", NULL };
		char *kept[] = { (char *)scripts[i], "y", "x", "good", NULL };
		struct child c = watched_child(run, good);

		expect(&c, &t.sh_st, SCRIPT("x\0good"), false);
		ends(&c);
		assert_int_equal(t.compared, EXEC_AS_DECIDED);
		c = watched_child(run, none);
		expect(&c, &t.sh_st, SCRIPT("x"), false);
		ends(&c);
		assert_int_equal(t.compared, EXEC_AS_DECIDED);
		c = watched_child(run, evil);
		expect(&c, &t.sh_st, SCRIPT("x\0good"), false);
		was_killed(ends(&c));
		c = watched_child(run, most);
		expect(&c, &t.sh_st, SCRIPT("x\0good"), false);
		was_killed(ends(&c));
		c = watched_child(run, none);
		expect(&c, &t.sh_st, SCRIPT("x\0good"), false);
		was_killed(ends(&c));
		/* the script's own name, where the kernel would have put it */
		c = watched_child(run, more);
		expect(&c, &t.sh_st, SCRIPT("x\0good"), false);
		ends(&c);
		assert_int_equal(t.compared, EXEC_UNSURE);
		/* as an interpreter gets them that keeps the first (binfmt_misc, flag P) */
		c = watched_child(run, kept);
		expect(&c, &t.sh_st, SCRIPT("x\0good"), false);
		ends(&c);
		assert_int_equal(t.compared, EXEC_UNSURE);
		c = watched_child(run, kept);
		expect(&c, &t.sh_st, SCRIPT("z\0good"), false);
		was_killed(ends(&c));
	}
	/* A script whose interpreter is a script: nobody is killed for it. */
	{
		char *good[] = { nested, "x", "good", NULL };
		char *evil[] = { nested, "x", "evil", NULL };
		struct child c = watched_child(run, good);

		expect(&c, &t.sh_st, SCRIPT("x\0good"), false);
		ends(&c);
		assert_in_range(t.compared, EXEC_AS_DECIDED, EXEC_UNSURE);
		assert_int_not_equal(t.compared, EXEC_CHANGED);
		c = watched_child(run, evil);
		expect(&c, &t.sh_st, SCRIPT("x\0good"), false);
		was_killed(ends(&c));
	}
}

/* ---- records that make no sense ----------------------------------------------------------------- */

static size_t make_record(uint8_t buf[512], uint32_t flags)
{
	static const char names[] = "sh\0bin", file[] = "/bin/sh", argv[] = "sh\0-c\0:";
	struct events_exec x = {
		.head = { .type = EVENTS_EXEC, .flags = flags, .tgid = 7, .tid = 7, .ppid = 1,
			  .comm = "sh" },
		.names_len = sizeof(names),
		.filename_len = sizeof(file) - 1,
		.argv_len = sizeof(argv),
		.ino = 42,
	};
	size_t n = sizeof(x);

	memcpy(buf, &x, n);
	memcpy(buf + n, names, sizeof(names));
	n += sizeof(names);
	memcpy(buf + n, file, sizeof(file) - 1);
	n += sizeof(file) - 1;
	memcpy(buf + n, argv, sizeof(argv));
	return n + sizeof(argv);
}

static void test_record(void **state)
{
	static const struct {
		uint32_t flags;
		int compared; /* -1: nonsense */
	} want[] = {
		{ 0, EXEC_NOT_COMPARED },
		{ EVENTS_AS_EXPECTED, EXEC_AS_DECIDED },
		{ EVENTS_KILLED, EXEC_CHANGED },
		{ EVENTS_CHANGED, EXEC_CHANGED },
		{ EVENTS_UNSURE | EVENTS_CUT_ARGV, EXEC_UNSURE },
		{ EVENTS_AS_EXPECTED | EVENTS_KILLED, -1 },
		{ EVENTS_UNSURE | EVENTS_CHANGED, -1 },
		{ EVENTS_KILLED | EVENTS_CHANGED, -1 },
	};
	static struct ebpf_record r;
	uint8_t buf[512], *part;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		size_t n = make_record(buf, want[i].flags);

		if (want[i].compared < 0) {
			assert_int_equal(ebpf_parse(buf, n, &r), -EPROTO);
			continue;
		}
		assert_int_equal(ebpf_parse(buf, n, &r), 0);
		assert_int_equal(r.exec.compared, want[i].compared);
		assert_int_equal(r.exec.ino, 42);
		assert_string_equal(r.path, "/bin/sh");
		/* truncated, wherever: nothing behind the end is looked at */
		for (size_t k = 0; k < n; k++) {
			part = malloc(k + 1);
			assert_non_null(part);
			memcpy(part, buf, k);
			assert_int_equal(ebpf_parse(part, k, &r), -EPROTO);
			free(part);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_same),	   cmocka_unit_test(test_other),
		cmocka_unit_test(test_observing), cmocka_unit_test(test_each_byte),  cmocka_unit_test(test_cut),
		cmocka_unit_test(test_none),	   cmocka_unit_test(test_left_over),
		cmocka_unit_test(test_once),	   cmocka_unit_test(test_somebody_else),
		cmocka_unit_test(test_crowded),	   cmocka_unit_test(test_thread),
		cmocka_unit_test(test_script),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
