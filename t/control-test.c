/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket under peers that are slow, wrong, many, dead, or not who they say. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "tools/control.h"

#define NOBODY 65534
#define ROOT_TESTS 4

struct fixture {
	char dir[64];
	struct control *control;
	_Atomic pid_t member; /* the pid that is one */
	_Atomic int refused, unreported, ran, events;
	char refused_cmd[32];
};

static const char *run_ok(void *arg, const struct control_peer *peer, const json_t *req,
			  struct control_reply *r)
{
	struct fixture *f = arg;

	(void)req;
	f->ran++;
	r->result = json_pack("{s:b,s:b,s:i}", "member", peer->member, "privileged",
			      peer->privileged, "pid", (int)peer->pid);
	return NULL;
}

static const char *run_fail(void *arg, const struct control_peer *peer, const json_t *req,
			    struct control_reply *r)
{
	(void)arg, (void)peer, (void)req;
	snprintf(r->err, sizeof(r->err), "no \xff such \"thing\"\n");
	return "notfound";
}

static const char *run_slow(void *arg, const struct control_peer *peer, const json_t *req,
			    struct control_reply *r)
{
	const struct timespec t = { .tv_nsec = 600 * 1000000L };

	(void)arg, (void)peer, (void)req, (void)r;
	nanosleep(&t, NULL);
	return NULL;
}

/* Sends `count` items, of `pad` bytes and more, or as many as are taken. */
static const char *run_items(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *r)
{
	json_int_t count = json_integer_value(json_object_get(req, "count"));
	int pad = (int)json_integer_value(json_object_get(req, "pad"));

	(void)arg, (void)peer;
	for (json_int_t i = 0; i < count; i++) {
		char text[8192];

		snprintf(text, sizeof(text), "{\"n\":%d,\"pad\":\"%*s\"}", (int)i, pad % 8000, "");
		if (pad ? r->item_text(r, text) < 0 : r->item(r, json_pack("{s:I}", "n", i)) < 0)
			return "failed";
	}
	if (r->item_text(r, "{\"a\":\n1}") != -EINVAL ||
	    r->item_text(r, "{ \"verbatim\" :1.50}") < 0)
		return "failed";
	return NULL;
}

static const char *run_follow(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *r)
{
	struct fixture *f = arg;
	/* Read once: what is added while this run lasts is for the next one. */
	const uint64_t end = (uint64_t)f->events;
	char text[8192];

	(void)peer, (void)req;
	for (; r->cursor < end; r->cursor++) {
		int n = snprintf(text, sizeof(text), "{\"seq\":%d,\"resumed\":%s,\"fill\":\"",
				 (int)r->cursor + 1, r->resumed ? "true" : "false");

		memset(text + n, 'x', 4000);
		snprintf(text + n + 4000, sizeof(text) - (size_t)n - 4000, "\"}");
		if (r->item_text(r, text) < 0)
			return "failed";
	}
	r->follow = true;
	return NULL;
}

static const struct control_command commands[] = {
	{ "status", RIGHT_MEMBER, run_ok },	{ "why", RIGHT_MEMBER, run_ok },
	{ "run", RIGHT_ANYBODY, run_ok },	{ "mode", RIGHT_PRIVILEGED, run_ok },
	{ "fail", RIGHT_MEMBER, run_fail },	{ "slow", RIGHT_ANYBODY, run_slow },
	{ "items", RIGHT_ANYBODY, run_items },	{ "events", RIGHT_ANYBODY, run_follow },
	{ "member-items", RIGHT_MEMBER, run_items },
	{ NULL, RIGHT_MEMBER, NULL },
};

static bool is_member(void *arg, pid_t pid)
{
	struct fixture *f = arg;

	return pid == f->member;
}

static void refused(void *arg, const struct control_peer *peer, const char *cmd, uint64_t unreported)
{
	struct fixture *f = arg;

	(void)peer;
	snprintf(f->refused_cmd, sizeof(f->refused_cmd), "%s", cmd);
	f->unreported += (int)unreported;
	f->refused++;
}

static int open_control(struct fixture *f, gid_t group)
{
	const struct control_config c = {
		.run_dir = f->dir,
		.group = group,
		.commands = commands,
		.arg = f,
		.is_member = is_member,
		.refused = refused,
		.idle_ms = 400,
		.stall_ms = 1200,
	};

	return control_open(&c, &f->control);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/oknek-control.XXXXXX");
	if (!mkdtemp(f->dir) || chmod(f->dir, 0755) < 0)
		return -1;
	if (open_control(f, 4242) < 0 || control_start(f->control) < 0)
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[128];

	control_close(f->control);
	snprintf(path, sizeof(path), "%s/oknek.sock", f->dir);
	assert_int_equal(access(path, F_OK), -1); /* nothing is left behind */
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int connect_fd(const struct fixture *f, int fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%.60s/oknek.sock", f->dir);
	return connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static int dial(const struct fixture *f)
{
	const struct timeval wait = { .tv_sec = 10 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	assert_int_equal(connect_fd(f, fd), 0);
	return fd;
}

/* All that comes until the server closes. malloc'd. */
static char *drain(int fd)
{
	size_t len = 0, size = 1 << 16;
	char *buf = malloc(size + 1);
	ssize_t n;

	while ((n = recv(fd, buf + len, size - len, 0)) > 0) {
		len += (size_t)n;
		if (len == size) {
			size *= 2;
			buf = realloc(buf, size + 1);
		}
	}
	buf[len] = '\0';
	close(fd);
	return buf;
}

static char *ask_bytes(const struct fixture *f, const void *data, size_t len)
{
	int fd = dial(f);

	if (send(fd, data, len, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		fail_msg("send: %s", strerror(errno));
	return drain(fd);
}

static char *ask(const struct fixture *f, const char *line)
{
	return ask_bytes(f, line, strlen(line));
}

static void expect(const struct fixture *f, const char *line, const char *part)
{
	_cleanup_free_ char *got = ask(f, line);

	if (!strstr(got, part))
		fail_msg("asked %.80s, got %.200s, not %s", line, got, part);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Runs fn in a process of its own, as uid if that is not 0. 0 when it returned true. */
static int in_child(const struct fixture *f, uid_t uid, bool (*fn)(const struct fixture *f))
{
	pid_t pid = fork();
	int st;

	if (pid == 0) {
		if (uid && (setgid(uid) < 0 || setuid(uid) < 0))
			_exit(3);
		_exit(fn(f) ? 0 : 1);
	}
	waitpid(pid, &st, 0);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

static void test_answers(void **state)
{
	struct fixture *f = *state;

	expect(f, "{\"cmd\":\"status\"}\n", "{\"ok\":true,\"result\":{");
	expect(f, "{\"cmd\":\"slow\"}\n", "{\"ok\":true,\"result\":{}}\n");
	expect(f, "{\"cmd\":\"fail\"}\n",
	       "{\"ok\":false,\"error\":\"no ? such \\\"thing\\\"?\",\"code\":\"notfound\"}\n");
	expect(f, "{\"cmd\":\"items\",\"count\":2}\n",
	       "{\"item\":{\"n\":0}}\n{\"item\":{\"n\":1}}\n{\"item\":{ \"verbatim\" :1.50}}\n"
	       "{\"ok\":true,\"result\":{}}\n");
	expect(f, "{\"cmd\":\"status\"}\n{\"cmd\":\"mode\"}\n", "\"ok\":true");
}

static void test_garbage(void **state)
{
	static const char usage[] = "\"code\":\"usage\"";
	struct fixture *f = *state;
	char deep[40002];

	expect(f, "\n", usage);
	expect(f, "garbage\n", usage);
	expect(f, "[]\n", usage);
	expect(f, "null\n", usage);
	expect(f, "{}\n", usage);
	expect(f, "{\"cmd\":7}\n", usage);
	expect(f, "{\"cmd\":\"nonesuch\"}\n", "unknown command");
	expect(f, "{\"cmd\":\"status\"} x\n", usage);
	expect(f, "{\"cmd\":\"status\",\"cmd\":\"mode\"}\n", usage);
	expect(f, "{\"cmd\":\"\xff\xfe\"}\n", usage);
	expect(f, "{\"cmd\":\"status\",\"x\":\"\xc0\x80\"}\n", usage);
	memset(deep, '[', 40000);
	strcpy(deep + 40000, "\n");
	expect(f, deep, "nests at most");
	memcpy(deep, "{\"cmd\":\"status\",\"x\":\"", 21); /* brackets in a string are no nesting */
	strcpy(deep + 39998, "\"}\n");
	expect(f, deep, "\"ok\":true");
	assert_int_equal(f->ran, 1);
}

static void test_nul_bytes_and_no_line_feed(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *got = ask_bytes(f, "{\"cmd\":\"sta\0tus\"}\n", 18);
	int fd = dial(f);
	_cleanup_free_ char *cut = NULL;

	assert_non_null(strstr(got, "usage"));
	assert_int_equal(send(fd, "{\"cmd\":\"status\"}", 16, 0), 16);
	shutdown(fd, SHUT_WR);
	cut = drain(fd);
	assert_non_null(strstr(cut, "ends with a line feed"));
}

static void test_long_lines(void **state)
{
	struct fixture *f = *state;
	static char line[CONTROL_LINE_MAX * 2];
	_cleanup_free_ char *got = NULL, *fits = NULL;

	memset(line, ' ', sizeof(line));
	got = ask_bytes(f, line, CONTROL_LINE_MAX * 2);
	assert_true(strstr(got, "at most 65536") || !*got);

	memcpy(line, "{\"cmd\":\"status\"}", 16);
	line[CONTROL_LINE_MAX - 1] = '\n';
	fits = ask_bytes(f, line, CONTROL_LINE_MAX);
	assert_non_null(strstr(fits, "\"ok\":true"));
}

static void test_half_open_is_dropped(void **state)
{
	struct fixture *f = *state;
	int64_t start = now_ms();
	int silent = dial(f), half = dial(f);
	_cleanup_free_ char *a = NULL, *b = NULL;

	assert_int_equal(send(half, "{\"cmd\"", 6, 0), 6);
	expect(f, "{\"cmd\":\"status\"}\n", "\"ok\":true");
	a = drain(silent);
	b = drain(half);
	assert_string_equal(a, "");
	assert_string_equal(b, "");
	assert_in_range(now_ms() - start, 300, 5000);
}

static void test_many_in_a_row(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 10000; i++) {
		if (i % 10 == 0) {
			expect(f, "{\"cmd\":\"status\"}\n", "\"ok\":true");
		} else {
			int fd = dial(f);

			if (i % 3 == 0)
				assert_true(send(fd, "{\"cmd\":\"status\"}\n", 17, MSG_NOSIGNAL) != 0);
			close(fd);
		}
	}
	assert_true(f->ran >= 1000);
}

static void test_long_answers_wait_for_the_reader(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);
	const struct timespec pause = { .tv_nsec = 100 * 1000000L };
	_cleanup_free_ char *got = NULL;

	assert_int_equal(send(fd, "{\"cmd\":\"items\",\"count\":300000}\n", 31, 0), 31);
	nanosleep(&pause, NULL);
	got = drain(fd);
	assert_non_null(strstr(got, "{\"item\":{\"n\":299999}}\n"));
	assert_non_null(strstr(got, "{\"ok\":true"));
}

static void test_one_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);
	const struct timespec pause = { .tv_sec = 2 };
	_cleanup_free_ char *got = NULL;

	assert_int_equal(send(fd, "{\"cmd\":\"items\",\"count\":30000,\"pad\":4000}\n", 41, 0), 41);
	expect(f, "{\"cmd\":\"status\"}\n", "\"ok\":true");
	nanosleep(&pause, NULL);
	got = drain(fd);
	assert_null(strstr(got, "\"ok\"")); /* was cut off */
}

static void wait_bytes(int fd, const char *part)
{
	char buf[16384];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(buf) - 1 && (n = recv(fd, buf + len, sizeof(buf) - 1 - len, 0)) > 0) {
		len += (size_t)n;
		buf[len] = '\0';
		if (strstr(buf, part))
			return;
	}
	fail_msg("%s did not come", part);
}

static void test_followers(void **state)
{
	struct fixture *f = *state;
	int good = dial(f), deaf = dial(f);
	struct pollfd p = { .fd = deaf };
	int n;

	f->events = 1;
	assert_int_equal(send(good, "{\"cmd\":\"events\"}\n", 17, 0), 17);
	assert_int_equal(send(deaf, "{\"cmd\":\"events\"}\n", 17, 0), 17);
	wait_bytes(good, "{\"item\":{\"seq\":1,\"resumed\":false");
	f->events = 2;
	control_wake(f->control);
	wait_bytes(good, "{\"item\":{\"seq\":2,\"resumed\":true");
	shutdown(good, SHUT_WR); /* still there */
	/* 4 MB more than the one who never reads can have queued. */
	for (n = 2; n < 13000 && !(p.revents & POLLHUP); n += 100) {
		const struct timespec pause = { .tv_nsec = 110 * 1000000L };
		char buf[1 << 16];

		f->events = n + 100;
		control_wake(f->control);
		nanosleep(&pause, NULL);
		while (recv(good, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
		poll(&p, 1, 0);
	}
	assert_true(p.revents & POLLHUP);
	p = (struct pollfd){ .fd = good };
	poll(&p, 1, 0);
	assert_false(p.revents & POLLHUP);
	close(good);
	close(deaf);
}

static void test_rights(void **state)
{
	struct fixture *f = *state;
	bool root = getuid() == 0;

	expect(f, "{\"cmd\":\"mode\"}\n", root ? "\"privileged\":true" : "denied");
	expect(f, "{\"cmd\":\"run\"}\n", "\"member\":false");
	f->refused = 0;
	f->member = getpid();
	expect(f, "{\"cmd\":\"status\"}\n", "\"member\":true,\"privileged\":false");
	expect(f, "{\"cmd\":\"why\"}\n", "\"ok\":true");
	expect(f, "{\"cmd\":\"run\"}\n", "\"code\":\"denied\"");
	expect(f, "{\"cmd\":\"mode\"}\n", "only ask for status and why");
	expect(f, "{\"cmd\":\"items\"}\n", "\"code\":\"denied\"");
	assert_int_equal(f->refused, 3);
	assert_string_equal(f->refused_cmd, "items");
}

static bool as_nobody(const struct fixture *f)
{
	_cleanup_free_ char *status = ask(f, "{\"cmd\":\"status\"}\n");
	_cleanup_free_ char *run = ask(f, "{\"cmd\":\"run\"}\n");
	_cleanup_free_ char *mode = ask(f, "{\"cmd\":\"mode\"}\n");

	return strstr(status, "\"privileged\":false") && strstr(run, "\"ok\":true") &&
	       strstr(mode, "only root or a member of the control group");
}

static void test_rights_of_another_uid(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in_child(f, NOBODY, as_nobody), 0);
	assert_int_equal(f->refused, 1);
}

static bool as_group(const struct fixture *f)
{
	_cleanup_free_ char *mode = ask(f, "{\"cmd\":\"mode\"}\n");

	return strstr(mode, "\"privileged\":true");
}

static bool as_supplementary(const struct fixture *f)
{
	const gid_t groups[] = { 100, 4242, 4243 };

	return setgroups(3, groups) == 0 && setgid(NOBODY) == 0 &&
	       setuid(NOBODY) == 0 && as_group(f);
}

static void test_rights_of_the_group(void **state)
{
	struct fixture *f = *state;
	pid_t pid;
	int st;

	pid = fork();
	if (pid == 0)
		_exit(setgid(4242) == 0 && setuid(NOBODY) == 0 && as_group(f) ? 0 : 1);
	waitpid(pid, &st, 0);
	assert_int_equal(st, 0);
	assert_int_equal(in_child(f, 0, as_supplementary), 0);
}

/* Member when it connected, and not when it asks (or the other way round): a member. */
static void test_membership_at_both_moments(void **state)
{
	struct fixture *f = *state;
	const struct timespec pause = { .tv_nsec = 100 * 1000000L };
	_cleanup_free_ char *was = NULL, *became = NULL;
	int fd;

	f->member = getpid();
	fd = dial(f);
	nanosleep(&pause, NULL);
	f->member = 0;
	assert_int_equal(send(fd, "{\"cmd\":\"run\"}\n", 14, 0), 14);
	was = drain(fd);
	assert_non_null(strstr(was, "denied"));

	fd = dial(f);
	nanosleep(&pause, NULL);
	f->member = getpid();
	assert_int_equal(send(fd, "{\"cmd\":\"run\"}\n", 14, 0), 14);
	became = drain(fd);
	assert_non_null(strstr(became, "denied"));
}

/* From where the daemon looks, this peer has no pid: it is none that its pid namespace knows. No
 * threads of ours run yet: they would not be in the child. */
static void test_peer_of_a_foreign_pid_namespace(void **state)
{
	struct fixture f = { .dir = "/tmp/oknek-control.XXXXXX" };
	int ready[2], over[2], st;
	char ch;
	pid_t pid;

	(void)state;
	if (getuid() != 0)
		return;
	assert_non_null(mkdtemp(f.dir));
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(over, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(over[1]);
		if (unshare(CLONE_NEWPID) < 0)
			_exit(2);
		pid = fork();
		if (pid == 0) {
			if (open_control(&f, (gid_t)-1) < 0 || control_start(f.control) < 0 ||
			    write(ready[1], "x", 1) != 1 || read(over[0], &ch, 1) != 0)
				_exit(2);
			control_close(f.control);
			_exit(f.refused == 1 ? 0 : 1);
		}
		waitpid(pid, &st, 0);
		_exit(WIFEXITED(st) ? WEXITSTATUS(st) : 3);
	}
	close(over[0]);
	close(ready[1]);
	if (read(ready[0], &ch, 1) == 1) {
		expect(&f, "{\"cmd\":\"mode\"}\n", "denied");
		expect(&f, "{\"cmd\":\"status\"}\n", "\"member\":true");
	}
	close(over[1]);
	waitpid(pid, &st, 0);
	assert_true(WIFEXITED(st));
	/* 2: this host gives nobody a namespace. */
	if (WEXITSTATUS(st) != 2)
		assert_int_equal(WEXITSTATUS(st), 0);
	close(ready[0]);
	assert_int_equal(rmdir(f.dir), 0);
}

/* The one who connected is dead; whoever holds the socket has none of its rights. */
static void test_socket_of_a_dead_process(void **state)
{
	struct fixture *f = *state;
	const struct timeval wait = { .tv_sec = 10 };
	_cleanup_free_ char *got = NULL;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), st;
	pid_t pid = fork();

	if (pid == 0)
		_exit(connect_fd(f, fd) == 0 ? 0 : 1);
	waitpid(pid, &st, 0);
	assert_int_equal(st, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (send(fd, "{\"cmd\":\"mode\"}\n", 15, MSG_NOSIGNAL) < 0)
		assert_int_equal(errno, EPIPE);
	got = drain(fd);
	assert_null(strstr(got, "\"ok\":true"));
	assert_int_equal(f->ran, 0);
}

static void test_refusals_do_not_flood(void **state)
{
	struct fixture *f = *state;

	f->member = getpid();
	for (int i = 0; i < 200; i++)
		expect(f, "{\"cmd\":\"mode\"}\n", "denied");
	assert_in_range(f->refused, 5, 60);
	control_close(f->control);
	assert_int_equal(f->refused + f->unreported, 200); /* but none is forgotten */
	assert_int_equal(open_control(f, (gid_t)-1), 0);
}

/* Three slow requests of one user: another user's status does not wait for them. */
static bool ask_slow(const struct fixture *f)
{
	int fd[8];

	for (int i = 0; i < 8; i++) {
		fd[i] = dial(f);
		if (send(fd[i], "{\"cmd\":\"slow\"}\n", 15, 0) != 15)
			return false;
	}
	for (int i = 0; i < 8; i++)
		free(drain(fd[i]));
	return true;
}

static void test_slow_handlers_stall_nobody(void **state)
{
	struct fixture *f = *state;
	const struct timespec pause = { .tv_nsec = 200 * 1000000L };
	int64_t start;
	pid_t pid;
	int st;

	pid = fork();
	if (pid == 0)
		_exit(setgid(NOBODY) == 0 && setuid(NOBODY) == 0 && ask_slow(f) ? 0 : 1);
	nanosleep(&pause, NULL);
	start = now_ms();
	for (int i = 0; i < 20; i++)
		expect(f, "{\"cmd\":\"status\"}\n", "\"ok\":true");
	assert_in_range(now_ms() - start, 0, 400);
	waitpid(pid, &st, 0);
	assert_int_equal(st, 0);
}

static bool hoard(const struct fixture *f)
{
	int full = 0;

	for (int i = 0; i < CONTROL_CONNECTIONS_PER_UID + 8; i++) {
		int fd = dial(f);
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (i >= CONTROL_CONNECTIONS_PER_UID && poll(&p, 1, 250) == 1)
			full++;
	}
	return full == 8;
}

static void test_connections_per_uid(void **state)
{
	struct fixture *f = *state;
	int done[2];
	char ok = 0;
	pid_t pid;

	assert_int_equal(pipe(done), 0);
	pid = fork();
	if (pid == 0) {
		ok = setgid(NOBODY) == 0 && setuid(NOBODY) == 0 && hoard(f);
		_exit(write(done[1], &ok, 1) == 1 && pause() < 0);
	}
	assert_int_equal(read(done[0], &ok, 1), 1);
	close(done[0]);
	close(done[1]);
	assert_int_equal(ok, 1);
	expect(f, "{\"cmd\":\"status\"}\n", "\"ok\":true");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A member that does not read is dropped at once: it holds no worker. */
static void test_members_hold_no_worker(void **state)
{
	struct fixture *f = *state;
	int64_t start = now_ms();
	int fd;

	f->member = getpid();
	fd = dial(f);
	assert_int_equal(send(fd, "{\"cmd\":\"member-items\",\"count\":30000,\"pad\":4000}\n", 48,
			      0), 48);
	expect(f, "{\"cmd\":\"status\"}\n", "\"ok\":true");
	assert_in_range(now_ms() - start, 0, 1100);
	close(fd);
}

static void test_closing_with_handlers_running(void **state)
{
	struct fixture *f = *state;
	int slow = dial(f), follower = dial(f), deaf = dial(f);
	const struct timespec pause = { .tv_nsec = 100 * 1000000L };
	_cleanup_free_ char *a = NULL, *b = NULL;

	assert_int_equal(send(slow, "{\"cmd\":\"slow\"}\n", 15, 0), 15);
	assert_int_equal(send(follower, "{\"cmd\":\"events\"}\n", 17, 0), 17);
	assert_int_equal(send(deaf, "{\"cmd\":\"items\",\"count\":300000}\n", 31, 0), 31);
	nanosleep(&pause, NULL);
	control_close(f->control);
	a = drain(slow);
	b = drain(follower);
	close(deaf);
	assert_non_null(strstr(a, "\"ok\":true")); /* it had begun, so it was answered */
	assert_int_equal(open_control(f, (gid_t)-1), 0);
}

static void test_one_daemon_per_directory(void **state)
{
	struct fixture *f = *state;
	struct fixture second = *f;

	assert_int_equal(open_control(&second, (gid_t)-1), -EADDRINUSE);
	expect(f, "{\"cmd\":\"status\"}\n", "\"ok\":true");
}

static void test_stale_socket_is_replaced(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct stat st;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/oknek.sock", f->dir);
	control_close(f->control);
	pid = fork();
	if (pid == 0)
		_exit(open_control(f, (gid_t)-1) == 0 ? 0 : 1); /* dies without closing */
	waitpid(pid, NULL, 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(open_control(f, (gid_t)-1), 0);
	assert_int_equal(control_start(f->control), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
	expect(f, "{\"cmd\":\"status\"}\n", "\"ok\":true");
}

static void test_bad_run_directories(void **state)
{
	struct fixture *f = *state;
	struct fixture other = { .dir = "/tmp/oknek-control.XXXXXX" };
	char path[128];
	FILE *file;

	(void)f;
	assert_non_null(mkdtemp(other.dir));
	assert_int_equal(chmod(other.dir, 0777), 0);
	assert_int_equal(open_control(&other, (gid_t)-1), -EPERM);
	assert_int_equal(chmod(other.dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/oknek.sock", other.dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(open_control(&other, (gid_t)-1), -ENOTSOCK);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(other.dir), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peer_of_a_foreign_pid_namespace),
		TEST(test_answers),
		TEST(test_garbage),
		TEST(test_nul_bytes_and_no_line_feed),
		TEST(test_long_lines),
		TEST(test_half_open_is_dropped),
		TEST(test_many_in_a_row),
		TEST(test_long_answers_wait_for_the_reader),
		TEST(test_one_that_does_not_read),
		TEST(test_followers),
		TEST(test_rights),
		TEST(test_membership_at_both_moments),
		TEST(test_socket_of_a_dead_process),
		TEST(test_refusals_do_not_flood),
		TEST(test_members_hold_no_worker),
		TEST(test_closing_with_handlers_running),
		TEST(test_one_daemon_per_directory),
		TEST(test_stale_socket_is_replaced),
		TEST(test_bad_run_directories),
		/* Those that need other users; the last ROOT_TESTS. */
		TEST(test_rights_of_another_uid),
		TEST(test_rights_of_the_group),
		TEST(test_slow_handlers_stall_nobody),
		TEST(test_connections_per_uid),
	};
	size_t n = ARRAY_SIZE(tests) - (getuid() == 0 ? 0 : ROOT_TESTS);

	signal(SIGPIPE, SIG_IGN);
	return _cmocka_run_group_tests("control", tests, n, NULL, NULL);
}
