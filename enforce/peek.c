/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side, and the keeper, which starts the helper again when it has died. */
#include "enforce/peek.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "enforce/confine.h"
#include "enforce/peek_priv.h"

#define QUIT_WAIT_MS 500
#define AGAIN_NS 100000000 /* before it is started once more */
#define TRY_MS 5000

struct peek {
	int sock;
	int epoll_fd; /* edges of sock: its end wakes once, not for ever */
	pid_t pid;
	bool begun; /* the first has told */
	union {
		struct peek_message m;
		char bytes[sizeof(struct peek_message) + 1]; /* more than an answer can have */
	} in;
};

/* ---- the keeper ------------------------------------------------------------------------------ */

static void own_signals(void)
{
	struct sigaction fallback = { .sa_handler = SIG_DFL }, ignore = { .sa_handler = SIG_IGN };
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE };
	sigset_t mask;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &fallback, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaction(ignored[i], &ignore, NULL);
	sigemptyset(&mask);
	sigprocmask(SIG_SETMASK, &mask, NULL);
}

static void own_descriptors(int sock)
{
	int null;

	if (sock != PEEK_SOCKET_FD && dup2(sock, PEEK_SOCKET_FD) < 0)
		_exit(1);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (close_range(PEEK_SOCKET_FD + 1, ~0U, 0) < 0 || chdir("/") < 0)
		_exit(1);
}

/* It keeps what the helper needs to become what it is, and looks at nothing. */
static void keep(pid_t parent) __attribute__((noreturn));
static void keep(pid_t parent)
{
	const uint64_t caps = PEEK_CAPS | 1ULL << CAP_SETUID | 1ULL << CAP_SETGID |
			      1ULL << CAP_KILL; /* its end is the helper's */
	const struct timespec again = { .tv_nsec = AGAIN_NS };
	pid_t keeper = getpid();
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	peek_share_begin();
	if (confine_caps(caps) < 0)
		_exit(1);
	r = confine_calls(CONFINE_PEEK_KEEPER, CONFINE_REFUSE);
	if (r < 0 && r != -EOPNOTSUPP && r != -EINVAL)
		_exit(1);
	for (;;) {
		pid_t pid = fork();
		int status;

		if (!pid)
			peek_serve(keeper);
		while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status))
			_exit(0);
		nanosleep(&again, NULL);
	}
}

/* ---- the daemon's side ----------------------------------------------------------------------- */

int peek_open(struct peek **ret)
{
	_cleanup_free_ struct peek *p = calloc(1, sizeof(*p));
	_cleanup_close_ int ours = -1, theirs = -1, epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	pid_t parent = getpid();
	int fds[2];

	if (!p)
		return -ENOMEM;
	if (epoll_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	ours = fds[0];
	theirs = fds[1];
	if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0 || /* of this end alone */
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ours, &ev) < 0)
		return -errno;
	p->pid = fork();
	if (p->pid < 0)
		return -errno;
	if (!p->pid) {
		prctl(PR_SET_NAME, "oknek-peek");
		own_signals();
		own_descriptors(theirs);
		keep(parent);
	}
	p->sock = TAKE_FD(ours);
	p->epoll_fd = TAKE_FD(epoll_fd);
	*ret = TAKE_PTR(p);
	return 0;
}

void peek_close(struct peek *p)
{
	if (!p)
		return;
	close(p->epoll_fd);
	close(p->sock);
	for (int ms = 0; ms < QUIT_WAIT_MS && waitpid(p->pid, NULL, WNOHANG) == 0; ms++)
		poll(NULL, 0, 1);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	free(p);
}

int peek_fd(const struct peek *p)
{
	return p->epoll_fd;
}

pid_t peek_pid(const struct peek *p)
{
	return p->pid;
}

int peek_ask(struct peek *p, const struct peek_question *q)
{
	if (write(p->sock, q, sizeof(*q)) == sizeof(*q))
		return 0;
	return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? -EAGAIN :
	       errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
}

static ssize_t receive(struct peek *p)
{
	struct epoll_event woken;
	ssize_t n = read(p->sock, p->in.bytes, sizeof(p->in.bytes));

	/* Nothing more, or never: from here on a new edge wakes. */
	if (n <= 0 && epoll_wait(p->epoll_fd, &woken, 1, 0) > 0)
		n = read(p->sock, p->in.bytes, sizeof(p->in.bytes));
	return n;
}

int peek_take(struct peek *p, struct peek_answer *ret)
{
	ssize_t n = receive(p);
	const struct peek_wire *h = &p->in.m.head;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	if (n < (ssize_t)sizeof(*h) || h->magic != PEEK_MAGIC ||
	    h->argv_len_bytes != (size_t)n - sizeof(*h) || h->argv_len_bytes > PEEK_ARGV_MAX)
		return -EPROTO;
	if (!h->what) {
		bool again = p->begun;

		p->begun = true;
		return again ? -ECONNRESET : 0;
	}
	if ((h->what != PEEK_ARGV && h->what != PEEK_MODE && h->what != PEEK_TRY) ||
	    h->error > 0 ||
	    h->mode > OPEN_MODE_EXEC ||
	    (h->argv_len_bytes && p->in.m.argv[h->argv_len_bytes - 1] != '\0'))
		return -EPROTO;
	*ret = (struct peek_answer){
		.what = (enum peek_what)h->what,
		.slot = h->slot,
		.token = h->token,
		.error = h->error,
		.mode = h->error || h->what != PEEK_MODE ? OPEN_MODE_UNKNOWN : (enum open_mode)h->mode,
		.also_read = h->also_read && h->mode == OPEN_MODE_WRITE,
		.argv = p->in.m.argv,
		.argv_len_bytes = h->error ? 0 : h->argv_len_bytes,
		.argv_cut = h->argv_cut,
	};
	return 1;
}

/* ---- whether it can read anybody --------------------------------------------------------- */

static volatile pid_t number; /* of the one who is read, in him */

/* Waits to be read, and to be killed. -errno. */
static pid_t start_one(void)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	pid_t parent = getpid(), pid;
	int fds[2];
	char c;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	ours = fds[0];
	theirs = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(1);
		number = getpid();
		if (write(theirs, "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	cleanup_close(&theirs);
	/* One that has ended is told so by whoever reads it. */
	return TEMP_FAILURE_RETRY(read(ours, &c, 1)) < 0 ? -errno : pid;
}

static int try_once(struct peek *p, pid_t pid, uint64_t until_ns)
{
	const struct peek_question q = { .what = PEEK_TRY, .tgid = pid, .slot = UINT32_MAX,
					 .token = (uintptr_t)&number };
	struct pollfd wait = { .fd = p->epoll_fd, .events = POLLIN };
	struct peek_answer a;
	int r = peek_ask(p, &q);

	while (!r) {
		uint64_t now_ns = clock_boottime_ns();

		if (now_ns >= until_ns)
			return -ETIMEDOUT;
		poll(&wait, 1, (int)((until_ns - now_ns) / NSEC_PER_MSEC) + 1);
		r = peek_take(p, &a);
	}
	return r < 0 ? r : a.error;
}

/* Nothing that says that it could not be done. */
static bool was_bad_luck(int r)
{
	return r == -ETIMEDOUT || r == -EAGAIN || r == -EBUSY || r == -EIO || r == -ESRCH ||
	       r == -ECONNRESET || r == -EPROTO;
}

int peek_try(struct peek *p)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	uint64_t until_ns = clock_boottime_ns() + TRY_MS * NSEC_PER_MSEC;
	pid_t pid = start_one();
	int r;

	if (pid < 0)
		return pid;
	while (was_bad_luck(r = try_once(p, pid, until_ns)) && clock_boottime_ns() < until_ns)
		nanosleep(&pause, NULL);
	kill(pid, SIGKILL);
	TEMP_FAILURE_RETRY(waitpid(pid, NULL, 0));
	return was_bad_luck(r) ? 0 : r;
}
