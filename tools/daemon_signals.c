/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals that mean the end. A crash makes the guardian act at once, says so in one line if that
 * does not wait, and ends the process by the signal itself, so that the service manager sees what
 * it was; there is no core (see daemon_raise_limits()), whose writing could open what we are asked
 * about. A stop that hangs is ended from outside of the threads that hang.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "tools/daemon.h"

#define STACK_BYTES (64u << 10) /* of a handler; glibc's SIGSTKSZ is no constant any more */
#define STOP_SECONDS 10

/* Only what is async-signal-safe from here on. */

struct line {
	char text[160];
	size_t n;
};

static void add(struct line *l, const char *s)
{
	while (*s && l->n < sizeof(l->text) - 1)
		l->text[l->n++] = *s++;
}

static void add_number(struct line *l, unsigned long v)
{
	char digits[24], *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	add(l, p);
}

/* Whoever reads there may be held by an open that is ours to answer. */
static void say(const struct line *l)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (send(STDERR_FILENO, l->text, l->n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
	    errno != ENOTSOCK)
		return;
	/* A pipe that is ready has room for a line of this length. */
	if (poll(&p, 1, 0) == 1 && p.revents & POLLOUT &&
	    write(STDERR_FILENO, l->text, l->n) < 0)
		return;
}

static void on_crash(int sig, siginfo_t *info, void *context)
{
	struct line l = { .n = 0 };
	char thread[16] = "";

	(void)context;
	guardian_note_crash();
	prctl(PR_GET_NAME, thread);
	add(&l, "<2>oknekd: crashed: signal ");
	add_number(&l, (unsigned long)sig);
	if (sig == SIGSYS) {
		add(&l, ", system call ");
		add_number(&l, (unsigned long)info->si_syscall);
	}
	add(&l, " in thread ");
	add(&l, thread);
	add(&l, "\n");
	say(&l);
	/* SA_RESETHAND: blocked until this returns, then the default. */
	syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

static void on_stop_late(int sig)
{
	struct line l = { .n = 0 };

	(void)sig;
	add(&l, "<3>oknekd: did not stop in time: ending at once\n");
	say(&l);
	_exit(EXIT_UNAVAILABLE);
}

/* ---- setting up ------------------------------------------------------------------------- */

int daemon_signal_stack(void **ret)
{
	stack_t st = { .ss_size = STACK_BYTES };

	st.ss_sp = malloc(STACK_BYTES);
	if (!st.ss_sp)
		return -ENOMEM;
	/* Touched now: there may be no memory then. */
	memset(st.ss_sp, 0, STACK_BYTES);
	if (sigaltstack(&st, NULL) < 0) {
		int err = -errno;

		free(st.ss_sp);
		return err;
	}
	*ret = st.ss_sp;
	return 0;
}

void daemon_signal_stack_free(void *stack)
{
	const stack_t none = { .ss_flags = SS_DISABLE };

	if (!stack)
		return;
	sigaltstack(&none, NULL);
	free(stack);
}

void daemon_catch_crashes(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = on_crash,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | (int)SA_RESETHAND };

	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		if (sigaction(fatal[i], &sa, NULL) < 0)
			log_warning("signal %d: %s", fatal[i], strerror(errno));
}

void daemon_catch_trap(void)
{
	struct sigaction sa = { .sa_sigaction = on_crash,
				.sa_flags = SA_SIGINFO | (int)SA_RESETHAND };
	sigset_t trap;

	sigaction(SIGSYS, &sa, NULL);
	sigemptyset(&trap);
	sigaddset(&trap, SIGSYS);
	sigprocmask(SIG_UNBLOCK, &trap, NULL);
}

void daemon_stop_in_time(void)
{
	struct sigaction sa = { .sa_handler = on_stop_late };

	sigaction(SIGALRM, &sa, NULL);
	alarm(STOP_SECONDS);
}

bool daemon_told_to_end(void)
{
	sigset_t pending;

	return sigpending(&pending) == 0 &&
	       (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}
