/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The zygote: a process with nothing open, from which helpers can be forked at any time without
 * inheriting what the daemon has opened since. It never looks at a path itself, so nothing can
 * stall it; a helper that hangs for good (a FUSE request cannot be interrupted once its server has
 * taken it) is killed, left behind, and reaped whenever its kernel call returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/confine.h"
#include "enforce/lookup_helper.h"

#define CONTROL_FD 3 /* after stdin, stdout and stderr */
#define HUNG_MAX 32  /* helpers that were killed and are not dead yet */
#define QUIT_WAIT_MS 500

struct zygote {
	enum lookup_kind kind;
	pid_t helper;  /* 0: none */
	unsigned hung; /* killed, not reaped */
};

static void on_child(int sig)
{
	(void)sig; /* ppoll() returns, that is all */
}

/* What the daemon set up is not ours; signals to the process group are meant for the daemon, which
 * ends us when it has finished with us. */
static void own_signals(sigset_t *wait_mask)
{
	static const int ignored[] = { SIGINT,	SIGTERM, SIGHUP,  SIGQUIT,
				       SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ };
	struct sigaction ignore = { .sa_handler = SIG_IGN }, child = { .sa_handler = on_child };
	struct sigaction fallback = { .sa_handler = SIG_DFL };
	sigset_t mask;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &fallback, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaction(ignored[i], &ignore, NULL);
	sigaction(SIGCHLD, &child, NULL);
	sigemptyset(wait_mask);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* stderr stays: a sanitizer or the C library may have something to say. */
static int own_descriptors(int control)
{
	int null;

	/* first of all: it may be one of the three itself */
	if (control != CONTROL_FD && dup2(control, CONTROL_FD) < 0)
		return -errno;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (close_range(CONTROL_FD + 1, ~0U, 0) < 0)
		return -errno;
	return 0;
}

static void reap(struct zygote *z)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		if (pid == z->helper)
			z->helper = 0;
		else if (z->hung)
			z->hung--;
	}
}

static void kill_helper(struct zygote *z)
{
	reap(z);
	if (!z->helper)
		return;
	kill(z->helper, SIGKILL);
	z->helper = 0;
	z->hung++;
	reap(z);
}

/*
 * Landlock keeps whoever is under it from /proc of all others: it is for the helper that walks
 * paths. The one that looks into processes has the capability that this needs, and neither that of
 * being somebody else nor the system calls for opening what is not below a directory it named.
 */
static int confine_helper(enum lookup_kind kind)
{
	int r = cred_settle(kind);

	if (!r && kind == LOOKUP_PATHS)
		r = confine_files();
	/* Older kernels have no Landlock, builds with a sanitizer neither of the two. */
	if (r == -EOPNOTSUPP)
		r = 0;
	if (!r)
		r = confine_calls(kind == LOOKUP_PATHS ? CONFINE_MARKS : CONFINE_PROCESSES,
				  CONFINE_REFUSE);
	return r == -EOPNOTSUPP || r == -EINVAL ? 0 : r;
}

static void helper_main(enum lookup_kind kind, int sock, pid_t zygote) __attribute__((noreturn));
static void helper_main(enum lookup_kind kind, int sock, pid_t zygote)
{
	struct sigaction fallback = { .sa_handler = SIG_DFL };
	sigset_t none;

	if (cred_die_with(zygote) < 0)
		_exit(1);
	prctl(PR_SET_NAME, "oknek-mark");
	/* also closes our copy of the control socket: only the zygote takes orders there */
	if (dup2(sock, CONTROL_FD) < 0 || close_range(CONTROL_FD + 1, ~0U, 0) < 0)
		_exit(1);
	sigaction(SIGCHLD, &fallback, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	confine_expendable();
	confine_limits();
	if (confine_helper(kind) < 0)
		_exit(1);
	lookup_serve(kind, CONTROL_FD, zygote);
}

static pid_t spawn(struct zygote *z, int sock)
{
	pid_t zygote = getpid(), pid;

	kill_helper(z);
	if (sock < 0)
		return -EBADMSG;
	if (z->hung > HUNG_MAX)
		return -EAGAIN;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid)
		helper_main(z->kind, sock, zygote);
	z->helper = pid;
	return pid;
}

static void quit(struct zygote *z) __attribute__((noreturn));
static void quit(struct zygote *z)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	kill_helper(z);
	for (int ms = 0; z->hung && ms < QUIT_WAIT_MS; ms++) {
		nanosleep(&pause, NULL);
		reap(z);
	}
	_exit(0);
}

void zygote_serve(enum lookup_kind kind, int control, pid_t parent)
{
	struct zygote z = { .kind = kind };
	int r;
	sigset_t wait_mask;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	prctl(PR_SET_NAME, "oknek-zygote");
	own_signals(&wait_mask);
	if (own_descriptors(control) < 0 || chdir("/") < 0)
		_exit(1);
	if (cred_reduce(kind) < 0 || cred_die_with(parent) < 0)
		_exit(1);
	r = confine_calls(CONFINE_ZYGOTE, CONFINE_REFUSE);
	if (r < 0 && r != -EOPNOTSUPP && r != -EINVAL)
		_exit(1);

	for (;;) {
		struct pollfd p = { .fd = CONTROL_FD, .events = POLLIN };
		struct zygote_reply reply = { .magic = WIRE_MAGIC };
		struct zygote_request q;
		_cleanup_close_ int sock = -1;
		ssize_t n;

		if (ppoll(&p, 1, NULL, &wait_mask) < 0) {
			if (errno != EINTR)
				quit(&z);
			reap(&z);
			continue;
		}
		n = wire_recv(CONTROL_FD, &q, sizeof(q), &sock, 0);
		if (n != sizeof(q) || q.magic != WIRE_MAGIC || q.op == ZYGOTE_QUIT)
			quit(&z);
		reply.seq = q.seq;
		if (q.op == ZYGOTE_SPAWN)
			reply.pid = spawn(&z, sock);
		else
			kill_helper(&z);
		if (send(CONTROL_FD, &reply, sizeof(reply), MSG_NOSIGNAL) < 0)
			quit(&z);
	}
}
