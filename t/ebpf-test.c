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
#include <pthread.h>
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
#include "sources/bpf/events.h"
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
	pthread_t bulk;
	bool bulk_runs;
	void (*look)(pid_t pid); /* before what was told is taken */
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

static void *bulk_thread(void *arg)
{
	(void)arg;
	ebpf_bulk_run(t.src, &t.bus);
	return NULL;
}

static int setup(void **state)
{
	char why[256] = "";
	struct ebpf_config c = { .calls = true, .drain = drain, .home_of = no_home };
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
	t.bulk_runs = pthread_create(&t.bulk, NULL, bulk_thread, NULL) == 0;
	return t.bulk_runs ? 0 : -1;
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
	if (t.bulk_runs) {
		ebpf_bulk_stop(t.src);
		pthread_join(t.bulk, NULL);
	}
	if (t.src)
		t.src->ops->close(t.src);
	process_feed_close(t.feed);
	if (t.tree)
		proctree_close(t.tree);
	free(t.seen);
	return 0;
}

/* Nothing is in the rings any more. */
static bool is_drained(void)
{
	struct ebpf_figures f;
	struct source_stats st;

	ebpf_figures(t.src, &f);
	t.src->ops->stats(t.src, &st);
	return f.sent == st.read + f.lost;
}

static void take_all(void)
{
	for (int i = 0; i < 100000; i++) {
		struct pollfd pfd = { t.src->ops->fd(t.src), POLLIN, 0 };

		ebpf_expire(t.src, &t.bus, clock_boottime_ns());
		if (ebpf_next_ns(t.src) != UINT64_MAX)
			continue;
		if (poll(&pfd, 1, 20) <= 0 && is_drained())
			return;
		t.src->ops->dispatch(t.src, &t.bus);
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
		while (read(go[0], &c, 1) > 0) /* until it was looked at */
			;
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
	if (t.look)
		t.look(pid);
	if (t.bulk_runs)
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

static void open_others(void)
{
	int dir = open(t.dir, O_PATH | O_DIRECTORY), fd; /* a name: no event */
	char link[32];

	close(openat(dir, "file", O_WRONLY));
	if (chdir(t.dir) == 0)
		close(open("./sub/../file", O_RDWR));
	close(open("link", O_RDONLY));
	fd = open("file", O_PATH);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	close(open(link, O_RDONLY));
	close(creat("new", 0600));
	close((int)syscall(SYS_openat2, AT_FDCWD, "file", &(uint64_t[3]){ O_RDONLY }, 24));
	close(open("absent", O_RDONLY)); /* no event */
	dir = open(".", O_RDONLY | O_DIRECTORY);
	if (chroot(t.dir) == 0)
		close(open("/file", O_RDONLY));
}

static void test_ways(void **state)
{
	static const struct {
		const char *name;
		enum open_mode mode;
	} want[] = {
		{ "/file", OPEN_MODE_WRITE }, { "/file", OPEN_MODE_WRITE }, { "/file", OPEN_MODE_READ },
		{ "/file", OPEN_MODE_READ },  { "/new", OPEN_MODE_WRITE },  { "/file", OPEN_MODE_READ },
		{ "", OPEN_MODE_READ },	      { "/file", OPEN_MODE_READ },
	};

	(void)state;
	if (!t.src)
		skip();
	mkdir(in_dir("sub"), 0700);
	assert_int_equal(symlink("file", in_dir("link")), 0);
	watched(open_others);
	for (unsigned i = 0; i < t.n; i++)
		if (i >= ARRAY_SIZE(want) ||
		    strcmp(t.seen[i].path + strlen(t.dir), want[i].name) != 0)
			print_message("# %u: %s\n", i, t.seen[i].path);
	assert_int_equal(t.n, ARRAY_SIZE(want));
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		assert_memory_equal(t.seen[i].path, t.dir, strlen(t.dir));
		assert_string_equal(t.seen[i].path + strlen(t.dir), want[i].name);
		assert_int_equal(t.seen[i].mode, want[i].mode);
	}
}

/* Deeper than is followed: what is told is the end of it, and that there is more. */
static void open_deep(void)
{
	if (chdir(t.dir) < 0)
		return;
	for (int i = 0; i < 100; i++)
		if (mkdir("d", 0700) < 0 || chdir("d") < 0)
			return;
	close(open("deep", O_WRONLY | O_CREAT, 0600));
}

static void test_deep(void **state)
{
	const struct seen *s;

	(void)state;
	watched(open_deep);
	s = only();
	assert_memory_equal(s->path, "/.../d/d/", 9);
	assert_string_equal(s->path + strlen(s->path) - 7, "/d/deep");
}

static void fork_twice(void)
{
	if (fork() == 0) {
		setsid();
		if (fork() == 0)
			close(open(in_dir("file"), O_RDONLY));
		_exit(0);
	}
	usleep(100000);
	if (syscall(SYS_clone, CLONE_PARENT, NULL, NULL, NULL, 0) == 0) {
		close(open(in_dir("file"), O_RDONLY));
		_exit(0);
	}
	usleep(100000);
}

static void test_descendants(void **state)
{
	pid_t pid;

	(void)state;
	pid = watched(fork_twice);
	waitpid(-1, NULL, WNOHANG);
	assert_int_equal(t.n, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_string_equal(t.seen[i].path, in_dir("file"));
		assert_int_not_equal(t.seen[i].tgid, pid);
	}
}

static void nothing(void)
{
	usleep(100000);
}

static void test_strangers(void **state)
{
	(void)state;
	if (!t.src)
		skip();
	if (fork() == 0) { /* beside the one that is watched */
		usleep(50000);
		close(open(in_dir("file"), O_RDONLY));
		_exit(0);
	}
	watched(nothing);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	assert_int_equal(t.n, 0);
}

/* ---- programs ---------------------------------------------------------------------------------- */

static void run_long(void)
{
	static char script[40000];

	memset(script, 'x', sizeof(script) - 1);
	memcpy(script, "exit 0; ", 8);
	if (fork() == 0) {
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(1);
	}
	usleep(100000);
	if (fork() == 0) {
		execl("/bin/sh", "sh", "-c", "exit 0", NULL);
		_exit(1);
	}
	usleep(100000);
}

static void test_exec(void **state)
{
	unsigned n = 0;

	(void)state;
	watched(run_long);
	for (unsigned i = 0; i < t.n; i++) {
		const struct seen *s = &t.seen[i];

		if (s->kind != KIND_EXEC_OBSERVED) {
			/* libraries: opened by the new program */
			assert_int_equal(s->kind, KIND_FILE_OPENED);
			assert_null(strstr(s->exe, "ebpf-test"));
			continue;
		}
		assert_string_equal(s->path, "/bin/sh");
		assert_null(strstr(s->exe, "ebpf-test"));
		if (n++ == 0) {
			assert_true(s->argv_cut);
			assert_int_equal(s->argv_len, EVENTS_ARGV);
		} else {
			assert_false(s->argv_cut);
			assert_int_equal(s->argv_len, 13);
			assert_memory_equal(s->argv, "sh\0-c\0exit 0", 13);
		}
	}
	assert_int_equal(n, 2);
}

/* ---- network ----------------------------------------------------------------------------------- */

static const struct sockaddr_in port9 = { .sin_family = AF_INET, .sin_port = 0x0900,
					  .sin_addr.s_addr = 0x0100007f };

static void connect_all(void)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = 0x0900,
				    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "\0oknek-nobody" };
	int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
	int tcp6 = socket(AF_INET6, SOCK_STREAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
	struct iovec iov = { "x", 1 };
	struct mmsghdr mm[2] = { 0 };

	connect(tcp, (const struct sockaddr *)&port9, sizeof(port9));
	connect(tcp6, (struct sockaddr *)&six, sizeof(six));
	connect(local, (struct sockaddr *)&un, 15);
	sendto(udp, "x", 1, 0, (const struct sockaddr *)&port9, sizeof(port9));
	for (int i = 0; i < 2; i++)
		mm[i].msg_hdr = (struct msghdr){ .msg_name = (void *)&port9, .msg_namelen = sizeof(port9),
						 .msg_iov = &iov, .msg_iovlen = 1 };
	sendmsg(udp, &mm[0].msg_hdr, 0);
	sendmmsg(udp, mm, 2, 0);
	send(udp, "x", 1, 0);                                            /* no address: no event */
	connect(tcp, NULL, 0);                                           /* not understood: none */
	connect(local, (struct sockaddr *)&un, sizeof(un.sun_family));   /* nobody's name: none */
	close(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	close(socket(AF_PACKET, SOCK_RAW, 0));
	close(socket(AF_NETLINK, SOCK_RAW, 0)); /* it stays here: none */
}

static void test_network(void **state)
{
	static const char *const want[] = { "tcp", "tcp", "unix", "udp", "udp",
					    "udp", "udp", "raw",  "packet" };
	struct ebpf_figures before, after;

	(void)state;
	if (!t.src)
		skip();
	ebpf_figures(t.src, &before);
	watched(connect_all);
	ebpf_figures(t.src, &after);
	assert_int_equal(after.malformed, before.malformed);
	for (unsigned i = 0; i < t.n; i++)
		if (t.n != ARRAY_SIZE(want))
			print_message("# %s %s %u\n", t.seen[i].protocol, t.seen[i].path, t.seen[i].port);
	assert_int_equal(t.n, ARRAY_SIZE(want));
	for (unsigned i = 0; i < t.n; i++) {
		assert_int_equal(t.seen[i].kind, KIND_SOCKET_CONNECT);
		assert_string_equal(t.seen[i].protocol, want[i]);
		assert_int_equal(t.seen[i].port, i == 2 || i >= 7 ? 0 : 9);
	}
	assert_int_equal(t.seen[0].addr[12], 127);
	assert_int_equal(t.seen[1].addr[15], 1);
	assert_string_equal(t.seen[2].path, "@oknek-nobody");
}

static void add_watch(void)
{
	int fd = inotify_init1(0);

	if (chdir(t.dir) == 0)
		inotify_add_watch(fd, "sub/../file", IN_MODIFY);
	inotify_add_watch(fd, "absent", IN_MODIFY);
}

static void test_inotify(void **state)
{
	const struct seen *s;

	(void)state;
	watched(add_watch);
	s = only();
	assert_int_equal(s->kind, KIND_FILE_OPENED);
	assert_int_equal(s->mode, OPEN_MODE_WATCH);
	assert_string_equal(s->path, in_dir("file"));
}

/* ---- the reader stands still --------------------------------------------------------------------- */

static void open_often(void)
{
	for (int i = 0; i < 40000; i++)
		close(open(in_dir("file"), O_RDONLY));
}

static void test_stalled(void **state)
{
	struct ebpf_figures before, after;
	struct source_stats was, now;

	(void)state;
	if (!t.src)
		skip();
	ebpf_figures(t.src, &before);
	t.src->ops->stats(t.src, &was);
	watched(open_often);
	take_all();
	ebpf_figures(t.src, &after);
	t.src->ops->stats(t.src, &now);
	print_message("# sent %lu, read %lu, lost %lu\n", after.sent - before.sent,
		      now.read - was.read, after.lost - before.lost);
	assert_int_equal(after.sent - before.sent, 40000);
	assert_true(after.lost > before.lost);
	assert_int_equal(after.sent - before.sent,
			 now.read - was.read + after.lost - before.lost);
	assert_int_equal(now.malformed, 0);
}

/* ---- what is told and not taken yet ------------------------------------------------------------- */

static bool tells(pid_t pid, uint64_t ino, const char *path, enum open_mode *mode)
{
	struct event ev = { .kind = KIND_FILE_OPENED, .subj = { .tgid = pid } };
	struct stat st;

	assert_int_equal(stat(in_dir("file"), &st), 0);
	ev.file = (struct file_object){ .dev = st.st_dev, .ino = ino ? st.st_ino + ino - 1 : 0,
					.n_names = path ? 1 : 0, .names = { { path, NULL } } };
	*mode = OPEN_MODE_UNKNOWN;
	return ebpf_tells(t.src, &ev, mode);
}

static void open_three(void)
{
	close(open("/dev/null", O_WRONLY));
	close(open(in_dir("file"), O_RDONLY));
	close(open("/dev/zero", O_WRONLY));
}

static void open_both_ways(void)
{
	close(open(in_dir("file"), O_RDONLY));
	close(open(in_dir("file"), O_WRONLY));
}

static void is_told(pid_t pid)
{
	enum open_mode mode;

	for (int i = 0; i < 1000 && !tells(pid, 1, NULL, &mode); i++)
		usleep(1000);
	assert_true(tells(pid, 1, NULL, &mode));
	assert_int_equal(mode, OPEN_MODE_READ);
	assert_true(tells(pid, 0, in_dir("file"), &mode));
	assert_true(tells(pid, 0, "/dev/null", &mode));
	assert_int_equal(mode, OPEN_MODE_WRITE);
	assert_false(tells(pid, 2, NULL, &mode));
	assert_false(tells(pid, 0, in_dir("other"), &mode));
	assert_false(tells(pid + 1, 1, in_dir("file"), &mode));
}

static void is_told_both_ways(pid_t pid)
{
	enum open_mode mode = OPEN_MODE_READ;

	assert_true(tells(pid, 1, NULL, &mode));
	assert_int_equal(mode, OPEN_MODE_UNKNOWN);
}

static void test_look(void **state)
{
	enum open_mode mode;
	pid_t pid;

	(void)state;
	t.look = is_told; /* in the ring or in the queue, whatever the bulk thread does meanwhile */
	pid = watched(open_three);
	assert_int_equal(t.n, 3);
	assert_false(tells(pid, 1, in_dir("file"), &mode));
	/* in the ring: nobody takes anything from it any more */
	ebpf_bulk_stop(t.src);
	pthread_join(t.bulk, NULL);
	t.bulk_runs = false;
	watched(open_three);
	assert_int_equal(t.n, 0);
	t.look = is_told_both_ways;
	watched(open_both_ways);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),	    cmocka_unit_test(test_ways),
		cmocka_unit_test(test_deep),	    cmocka_unit_test(test_descendants),
		cmocka_unit_test(test_strangers),   cmocka_unit_test(test_exec),
		cmocka_unit_test(test_network),	    cmocka_unit_test(test_inotify),
		cmocka_unit_test(test_stalled),	    cmocka_unit_test(test_look),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
