/* SPDX-License-Identifier: Apache-2.0 */
/* The eBPF source on the live kernel: this process's own children are watched, nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "enforce/permissive.h"
#include "sources/ebpf.h"
#include "sources/process_feed.h"

#define SEEN_MAX 512

struct seen {
	enum event_kind kind;
	pid_t tgid, tid;
	enum open_mode mode;
	uint64_t dev, ino;
	char path[4096], exe[4096], protocol[16];
	uint8_t addr[16];
	uint16_t port;
	size_t argv_len;
	bool argv_cut;
	char argv[64];
};

static struct {
	struct proctree *tree;
	struct process_feed *feed;
	struct source *src;
	struct enforcer *enforcer;
	struct bus bus;
	struct seen *seen;
	unsigned n;
	char dir[64];
} t;

static void decide(void *arg, const struct event *ev, struct decision *ret, const char **category)
{
	struct seen *s;

	(void)arg;
	(void)ret;
	(void)category;
	if (t.n == SEEN_MAX)
		return;
	s = &t.seen[t.n++];
	memset(s, 0, sizeof(*s));
	s->kind = ev->kind;
	s->tgid = ev->subj.tgid;
	s->tid = ev->subj.tid;
	snprintf(s->exe, sizeof(s->exe), "%s", ev->subj.exe);
	if (ev->kind == KIND_FILE_OPENED) {
		s->mode = ev->file.mode;
		s->dev = ev->file.dev;
		s->ino = ev->file.ino;
		snprintf(s->path, sizeof(s->path), "%s", ev->file.names[0].path);
	} else if (ev->kind == KIND_SOCKET_CONNECT) {
		memcpy(s->addr, ev->dest.addr, sizeof(s->addr));
		s->port = ev->dest.port;
		snprintf(s->protocol, sizeof(s->protocol), "%s", ev->dest.protocol);
		snprintf(s->path, sizeof(s->path), "%s", ev->dest.path);
	} else {
		snprintf(s->path, sizeof(s->path), "%s", ev->exec.path);
		s->argv_len = ev->exec.argv_len_bytes;
		s->argv_cut = ev->exec.argv_cut;
		if (ev->exec.argv)
			memcpy(s->argv, ev->exec.argv,
			       s->argv_len < sizeof(s->argv) ? s->argv_len : sizeof(s->argv) - 1);
	}
}

static enum mode observe(void *arg)
{
	(void)arg;
	return MODE_OBSERVE;
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

static int setup(void **state)
{
	char why[256] = "";
	struct ebpf_config c = { .drain = drain, .home_of = no_home };
	int r;

	(void)state;
	if (geteuid() != 0)
		return 0;
	t.seen = calloc(SEEN_MAX, sizeof(*t.seen));
	if (!t.seen || proctree_open(NULL, &t.tree) < 0 || permissive_open(&t.enforcer) < 0)
		return -1;
	if (process_feed_open("bpf", t.tree, NULL, &t.feed, why) < 0) {
		print_message("# %s\n", why);
		return 0;
	}
	c.tree = t.tree;
	c.members_fd = process_feed_members_fd(t.feed);
	r = ebpf_open(&c, &t.src, why);
	if (!r)
		r = ebpf_open_network(t.src);
	if (r < 0) {
		print_message("# %s (%s)\n", why, strerror(-r));
		return t.src || r == -EPERM || r == -EOPNOTSUPP ? 0 : -1;
	}
	t.bus = (struct bus){ .decide = decide, .enforcer = t.enforcer, .mode = observe };
	strcpy(t.dir, "/tmp/oknek-ebpf.XXXXXX");
	if (!mkdtemp(t.dir))
		return -1;
	t.src->ops->start(t.src);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (t.dir[0]) {
		char cmd[128];

		snprintf(cmd, sizeof(cmd), "rm -rf %s", t.dir);
		if (system(cmd) != 0)
			return -1;
	}
	if (t.src)
		t.src->ops->close(t.src);
	process_feed_close(t.feed);
	if (t.tree)
		proctree_close(t.tree);
	free(t.seen);
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

/* Runs fn in a watched child; what it did is in t.seen. */
static pid_t watched(void (*fn)(void))
{
	struct tree init = { .agent = "test", .how = "test" };
	const struct tree *tree;
	int go[2], done[2], status;
	pid_t pid;
	char c;

	if (!t.src)
		skip();
	t.n = 0;
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(done), 0);
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) == 1)
			fn();
		close(done[1]);
		read(go[0], &c, 1); /* until it was looked at */
		_exit(0);
	}
	close(go[0]);
	close(done[1]);
	init.root_pid = pid;
	process_feed_drain(t.feed);
	assert_int_equal(proctree_add_tree(t.tree, &init, &tree), 0);
	assert_int_equal(process_feed_track(t.feed, pid, tree->id), 0);
	assert_int_equal(write(go[1], "1", 1), 1);
	assert_int_equal(read(done[0], &c, 1), 0);
	close(done[0]);
	take_all();
	close(go[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return pid;
}

static const char *in_dir(const char *name)
{
	static char path[2][128];
	static unsigned at;

	at = !at;
	snprintf(path[at], sizeof(path[at]), "%s/%s", t.dir, name);
	return path[at];
}

static void make_file(const char *name)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static const struct seen *only(void)
{
	if (t.n != 1)
		for (unsigned i = 0; i < t.n; i++)
			print_message("# %d %s %s\n", t.seen[i].kind, t.seen[i].path, t.seen[i].exe);
	assert_int_equal(t.n, 1);
	return &t.seen[0];
}

/* ---- opens ----------------------------------------------------------------------------------- */

static void open_read(void)
{
	open(in_dir("file"), O_RDONLY);
}

static void test_open(void **state)
{
	const struct seen *s;
	struct stat st;
	pid_t pid;

	(void)state;
	if (!t.src)
		skip();
	make_file("file");
	pid = watched(open_read);
	s = only();
	assert_int_equal(s->kind, KIND_FILE_OPENED);
	assert_string_equal(s->path, in_dir("file"));
	assert_int_equal(s->mode, OPEN_MODE_READ);
	assert_int_equal(s->tgid, pid);
	assert_int_equal(s->tid, pid);
	assert_int_equal(stat(in_dir("file"), &st), 0);
	assert_int_equal(s->ino, st.st_ino);
	assert_int_equal(s->dev, st.st_dev);
	assert_true(strstr(s->exe, "ebpf-test") != NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
