/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt after another, each a process of its own that is killed when its time is over. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_child.h"
#include "tools/cli_prove.h"

#define SWEEP_MS 10000

static struct prove_came *acting; /* of this process */

void prove_here(void)
{
	if (acting)
		__atomic_store_n(&acting->pid, getpid(), __ATOMIC_RELEASE);
}

static void __attribute__((noreturn)) act(int (*fn)(void *arg), void *arg, int to, pid_t not_before)
{
	int r;

	alarm(PROVE_ATTEMPT_S);
	while (not_before && getppid() == not_before)
		usleep(100);
	r = fn(arg);
	_exit(write(to, &r, sizeof(r)) != sizeof(r));
}

int prove_apart(int (*fn)(void *arg), void *arg, bool sibling)
{
	int p[2], r = PROVE_KILLED;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return PROVE_CANNOT + errno;
	pid = sibling ? (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) : fork();
	if (pid < 0)
		r = PROVE_CANNOT + errno;
	if (pid == 0 && sibling)
		act(fn, arg, p[1], 0);
	if (pid == 0) {
		pid_t middle = getpid();

		setsid();
		if (fork() == 0)
			act(fn, arg, p[1], middle);
		_exit(0);
	}
	close(p[1]);
	if (pid > 0 && child_take(p[0], &r, sizeof(r), child_now_ms() + PROVE_ATTEMPT_S * 1000) == -ETIMEDOUT)
		r = PROVE_LATE;
	close(p[0]);
	return r;
}

int prove_status(int pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return PROVE_CANNOT + errno;
	if (WIFSIGNALED(status))
		return PROVE_KILLED;
	return WEXITSTATUS(status) ? -WEXITSTATUS(status) : PROVE_THROUGH;
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

int prove_could_run(const struct prove_place *p)
{
	struct statvfs fs;

	if (access(p->scratch, W_OK | X_OK) < 0 || statvfs(p->scratch, &fs) < 0)
		return PROVE_CANNOT + errno;
	return fs.f_flag & ST_NOEXEC ? PROVE_CANNOT + EACCES : PROVE_THROUGH;
}

static void __attribute__((noreturn)) attempt(struct prove_cell *c, const struct prove_place *p,
					      const struct prove_target *t)
{
	int64_t began;
	int r;

	acting = c->shared;
	alarm(PROVE_ATTEMPT_S);
	prove_here();
	began = now_ns();
	r = c->handoff ? c->handoff->reach(c->handoff->arg) : c->route->try(p, t);
	c->shared->took_ns = now_ns() - began;
	__atomic_store_n(&c->shared->came, r, __ATOMIC_RELEASE);
	_exit(0);
}

/* Also reaps children that were made ours by CLONE_PARENT. */
static void await(pid_t pid)
{
	int64_t until = child_now_ms() + (PROVE_ATTEMPT_S + 1) * 1000;
	const struct timespec pause = { .tv_nsec = 200000 };
	pid_t got;
	int status;

	while ((got = waitpid(-1, &status, WNOHANG)) != pid) {
		if (got < 0 && errno == ECHILD)
			return;
		if (got)
			continue;
		if (child_now_ms() >= until)
			kill(pid, SIGKILL);
		nanosleep(&pause, NULL);
	}
}

void prove_try(struct prove_cell *c, const struct prove_place *p, const struct prove_target *t)
{
	pid_t pid;

	c->shared->came = PROVE_LATE;
	pid = fork();
	if (pid == 0)
		attempt(c, p, t);
	if (pid < 0)
		c->shared->came = PROVE_CANNOT + errno;
	else
		await(pid);
}

/* As long as they are not reaped their pids are nobody else's. */
static void end_children(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/thread-self/children", "re");
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1)
		kill(pid, SIGKILL);
}

int prove_sweep(void)
{
	int64_t until = child_now_ms() + SWEEP_MS;
	const struct timespec pause = { .tv_nsec = 200000 };
	pid_t got;

	/* Who dies leaves its children to us. */
	while ((got = waitpid(-1, NULL, WNOHANG | __WALL)) >= 0 || errno == EINTR) {
		if (got)
			continue;
		if (child_now_ms() >= until)
			return -ETIMEDOUT;
		end_children();
		nanosleep(&pause, NULL);
	}
	return 0;
}
