/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side: makes the guardian, sees that it lives, ends it. */
#include "enforce/guardian.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "enforce/guardian_priv.h"

#define PING_NS (2 * NSEC_PER_SEC)
#define HANGS_NS (6 * NSEC_PER_SEC)
#define END_WAIT_MS 2000
#define KILL_WAIT_MS 1000
#define MAKE_WAIT_S 2

/* A handler of signals has nothing else to find it by. Set while there is one. */
static struct verdict_state *_Atomic crash_state;

int guardian_new(const struct guardian_config *c, enum mode mode, struct guardian **ret)
{
	struct guardian *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->c = *c;
	g->v = permission_verdict_state(c->permissions);
	g->daemon_pid = getpid();
	g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g->daemon_pidfd = (int)syscall(SYS_pidfd_open, g->daemon_pid, 0);
	if (g->wake_fd < 0 || g->daemon_pidfd < 0) {
		int err = -errno;

		cleanup_close(&g->wake_fd);
		cleanup_close(&g->daemon_pidfd);
		free(g);
		return err;
	}
	atomic_store(&g->v->wake_fd, g->wake_fd);
	guardian_set_mode(g, mode, 0, mode);
	*ret = g;
	return 0;
}

static void wake(const struct guardian *g)
{
	uint64_t one = 1;

	if (write(g->wake_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it will look */
}

int guardian_start(struct guardian *g)
{
	/* Not fork(): the table of descriptors is one, and handlers of locks that threads hold
	 * must not run. */
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid < 0)
		return -errno;
	if (!pid)
		guardian_main(g);
	g->started = true;
	g->ping_ns = clock_boottime_ns();
	atomic_store(&g->pid, pid);
	atomic_store(&crash_state, g->v);
	return 0;
}

static void *maker_main(void *arg)
{
	struct guardian *g = arg;

	if (g->settle_maker)
		g->settle_maker(g->c.arg);
	pthread_mutex_lock(&g->lock);
	while (!g->maker_ends) {
		if (g->make) {
			g->make_result = guardian_start(g);
			g->make = false;
			pthread_cond_signal(&g->made);
		}
		pthread_cond_wait(&g->wake_maker, &g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

int guardian_start_maker(struct guardian *g, void (*settle)(void *arg))
{
	pthread_condattr_t attr;
	int r;

	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->wake_maker, NULL);
	/* Whoever sets the clock does not make us wait for ever, nor give up at once. */
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->made, &attr);
	pthread_condattr_destroy(&attr);
	g->settle_maker = settle;
	r = pthread_create(&g->maker, NULL, maker_main, g);
	if (r)
		return -r;
	pthread_setname_np(g->maker, "oknek-maker");
	g->has_maker = true;
	return 0;
}

static void end_maker(struct guardian *g)
{
	if (!g->has_maker)
		return;
	pthread_mutex_lock(&g->lock);
	g->maker_ends = true;
	pthread_cond_signal(&g->wake_maker);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->maker, NULL);
	g->has_maker = false;
}

static int start_again(struct guardian *g)
{
	struct timespec until;
	int r;

	if (!g->has_maker)
		return guardian_start(g);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += MAKE_WAIT_S;
	pthread_mutex_lock(&g->lock);
	g->make = true;
	pthread_cond_signal(&g->wake_maker);
	while (g->make && !pthread_cond_timedwait(&g->made, &g->lock, &until))
		;
	r = g->make ? -ETIMEDOUT : g->make_result;
	g->make = false;
	pthread_mutex_unlock(&g->lock);
	return r;
}

static void end_by_force(struct guardian *g)
{
	int pid = atomic_exchange(&g->pid, 0);

	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	/* One that hangs in the kernel ends when that lets it; nobody waits for it. */
	for (int ms = 0; ms < KILL_WAIT_MS && waitpid(pid, NULL, WNOHANG) == 0; ms++)
		poll(NULL, 0, 1);
}

/* It has ended, or was stopped; a tracer's stops are told to the tracer alone. */
static bool is_gone(struct guardian *g)
{
	siginfo_t info = { 0 };
	int pid = atomic_load(&g->pid);

	return pid <= 0 ||
	       (waitid(P_PID, (id_t)pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
		info.si_pid == pid);
}

/* It answers each ping, however long it slept. */
static bool hangs(struct guardian *g, uint64_t now_ns)
{
	uint64_t ping = atomic_load(&g->v->ping);

	if (atomic_load(&g->v->pong) != ping)
		return now_ns - g->ping_ns > HANGS_NS;
	if (now_ns - g->ping_ns < PING_NS)
		return false;
	g->ping_ns = now_ns;
	atomic_store(&g->v->ping, ping + 1);
	wake(g);
	return false;
}

int guardian_check(struct guardian *g, uint64_t now_ns)
{
	int err;

	if (!g->started || (!is_gone(g) && !hangs(g, now_ns)))
		return 0;
	end_by_force(g);
	/* What its predecessor was asked, the new one need not answer. */
	atomic_store(&g->v->pong, atomic_load(&g->v->ping));
	atomic_store(&g->v->asleep, 0);
	err = start_again(g);
	if (err)
		return err;
	atomic_fetch_add(&g->restarts, 1);
	return 1;
}

bool guardian_alive(const struct guardian *g)
{
	return g && atomic_load(&g->pid) > 0;
}

/* Any order is right in between: it is the mode before, or that after the pause. */
void guardian_set_mode(struct guardian *g, enum mode mode, int64_t until_s, enum mode after)
{
	atomic_store(&g->v->mode_after, after);
	atomic_store(&g->v->pause_ends_s, until_s);
	atomic_store(&g->v->mode, mode);
}

enum mode guardian_mode(const struct guardian *g)
{
	int64_t until_s = atomic_load(&g->v->pause_ends_s);
	struct timespec now;

	if (until_s && clock_gettime(CLOCK_REALTIME, &now) == 0 && now.tv_sec >= until_s)
		return (enum mode)atomic_load(&g->v->mode_after);
	return (enum mode)atomic_load(&g->v->mode);
}

void guardian_set_listener(struct guardian *g, int fd)
{
	atomic_store(&g->v->listen_fd, fd);
	wake(g);
}

void guardian_set_spare(struct guardian *g, bool spare)
{
	atomic_store(&g->v->spare, spare);
}

void guardian_set_before(struct guardian *g, const struct guardian_peer *before)
{
	atomic_store(&g->v->before_fd, before ? guardian_peer_fd(before) : -1);
}

void guardian_leave(struct guardian *g)
{
	atomic_store(&crash_state, NULL);
	(void)g; /* its descriptors are the guardian's now */
}

void guardian_stop(struct guardian *g)
{
	int pid;

	if (!g)
		return;
	atomic_store(&crash_state, NULL);
	atomic_store(&g->v->end, 1);
	wake(g);
	pid = atomic_load(&g->pid);
	for (int ms = 0; pid > 0 && ms < END_WAIT_MS; ms++) {
		pid_t r = waitpid(pid, NULL, WNOHANG);

		if (r == pid || (r < 0 && errno == ECHILD)) {
			atomic_store(&g->pid, 0);
			break;
		}
		poll(NULL, 0, 1);
	}
	end_by_force(g);
	end_maker(g);
	cleanup_close(&g->wake_fd);
	cleanup_close(&g->daemon_pidfd);
	free(g);
}

void guardian_note_crash(void)
{
	struct verdict_state *v = atomic_load(&crash_state);
	uint64_t one = 1;

	if (!v)
		return;
	atomic_store(&v->crashed, 1);
	if (write(atomic_load(&v->wake_fd), &one, sizeof(one)) < 0)
		return;
}

void guardian_figures(const struct guardian *g, struct guardian_figures *ret)
{
	*ret = (struct guardian_figures){ 0 };
	if (!g)
		return;
	ret->pid = atomic_load(&g->pid);
	ret->alive = ret->pid > 0;
	ret->restarts = atomic_load(&g->restarts);
	ret->members_denied = atomic_load(&g->v->members_denied);
	ret->members_allowed = atomic_load(&g->v->members_allowed);
	ret->strangers = atomic_load(&g->v->strangers);
	ret->episodes = atomic_load(&g->v->episodes);
	ret->longest_ns = atomic_load(&g->v->longest_ns);
}
