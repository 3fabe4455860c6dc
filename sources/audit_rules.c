/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's audit for the watched: a table of what is to be, and a thread that makes it so. */
#include "sources/audit_rules.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/prio_lock.h"
#include "sources/audit_rules_priv.h"

#define LOOK_NS UINT64_C(5000000000) /* between two looks at what the kernel has */
#define FRESH_MS 1000                /* that figures wait for the thread */
#define OWN_BYTES (8u << 20)
/* The kernel drops the rest of a list that finds no room for a tenth of a second: 1,500 rules do. */
#define LIST_BYTES (4u << 20)

struct audit_rules {
	_Atomic int own_fd;
	bool running;
	bool failed; /* to be enabled: nobody asks the kernel any more but whoever closes */
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	struct audit_plan *plan;
	uint64_t told, stands;    /* changes, and how many of them the kernel has */
	uint64_t asked, answered; /* for figures */
	bool stop;
	struct audit_rules_figures now;

	/* Of the thread; of the caller where there is none. */
	struct audit_have have;
	bool marked;               /* audit was off when the first of us came, and */
	struct audit_rule_id mark; /* this rule says so */
};

/* ---- the thread ------------------------------------------------------------------------------------ */

/* With the lock held. */
static void publish(struct audit_rules *r)
{
	r->now = (struct audit_rules_figures){
		.enabled = r->have.status.enabled != 0,
		.was_off = r->marked,
		.owner = (pid_t)r->have.status.pid,
		.lost = r->have.status.lost,
		.backlog = r->have.status.backlog,
		.backlog_limit = r->have.status.backlog_limit,
		.rate_limit = r->have.status.rate_limit,
		.failure = r->have.status.failure,
		.rules = r->have.listed,
		.members = audit_plan_scoped(r->plan),
		.by_uid = audit_plan_by_uid(r->plan),
		.uring = audit_have_uring(&r->have),
		.refused = audit_have_refused(&r->have) + audit_plan_left_out(r->plan),
		.restored = r->have.restored,
	};
}

static void wait_for_work(struct audit_rules *r, uint64_t until_ns)
{
	const struct timespec until = {(time_t)(until_ns / NSEC_PER_SEC),
				       (long)(until_ns % NSEC_PER_SEC)};

	while (!r->stop && r->told == r->stands && r->asked == r->answered)
		if (pthread_cond_timedwait(&r->wake, &r->lock, &until) == ETIMEDOUT)
			return;
}

static void *rules_thread(void *arg)
{
	struct audit_rule_id want[AUDIT_WANT_MAX + 1];
	struct audit_rules *r = arg;
	uint64_t next_look = 0;
	bool due_or_asked;

	pthread_setname_np(pthread_self(), "oknek-audit");
	pthread_mutex_lock(&r->lock);
	while (wait_for_work(r, next_look), !r->stop) {
		const uint64_t told = r->told, asked = r->asked;
		const bool due = audit_now_ns() >= next_look;
		unsigned n = audit_plan_want(r->plan, audit_now_ns(), want);

		if (r->marked)
			want[n++] = r->mark;
		due_or_asked = due || asked != r->answered;
		pthread_mutex_unlock(&r->lock);
		audit_have_make(&r->have, want, n);
		if (due_or_asked && audit_have_look(&r->have) == 0)
			audit_have_make(&r->have, want, n);
		if (due)
			next_look = audit_now_ns() + LOOK_NS;
		pthread_mutex_lock(&r->lock);
		r->stands = told;
		r->answered = asked;
		publish(r);
		pthread_cond_broadcast(&r->done);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static int start_thread(struct audit_rules *r)
{
	sigset_t all, was;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = -pthread_create(&r->thread, NULL, rules_thread, r);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	r->running = err == 0;
	return err;
}

static void stop_thread(struct audit_rules *r)
{
	if (!r->running)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_broadcast(&r->wake);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	r->running = false;
}

/* ---- from open to close ---------------------------------------------------------------------------- */

static void rules_free(struct audit_rules **p)
{
	struct audit_rules *r = *p;

	if (!r)
		return;
	if (r->have.fd >= 0)
		close(r->have.fd);
	if (r->own_fd >= 0)
		close(r->own_fd);
	audit_plan_free(r->plan);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->wake);
	pthread_cond_destroy(&r->done);
	free(r);
}

static struct audit_rules *rules_new(void)
{
	struct audit_rules *r = calloc(1, sizeof(*r));
	pthread_condattr_t attr;

	if (!r)
		return NULL;
	r->have.fd = -1;
	r->own_fd = -1;
	r->have.self = getpid();
	prio_lock_init(&r->lock);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->wake, &attr);
	pthread_cond_init(&r->done, &attr);
	pthread_condattr_destroy(&attr);
	return r;
}

int audit_rules_open(struct audit_rules **ret, char *why, size_t size)
{
	_cleanup_(rules_free) struct audit_rules *r = rules_new();
	int err = r ? audit_plan_new(&r->plan) : -ENOMEM;

	if (!err) {
		r->have.fd = audit_socket_open(0, LIST_BYTES);
		err = r->have.fd < 0 ? r->have.fd
				     : audit_kernel_status(r->have.fd, &r->have.status);
	}
	if (!err && audit_permits(&r->have.status, why, size) < 0) {
		/* What one of us that was killed has left goes all the same, where it is not locked. */
		audit_left_remove(r->have.fd, &r->mark, &r->marked);
		audit_rules_close(TAKE_PTR(r));
		return -EPERM;
	}
	if (!err)
		err = audit_left_remove(r->have.fd, &r->mark, &r->marked);
	if (err)
		return audit_explain(err, why, size);
	if (r->marked)
		audit_have_left(&r->have, &r->mark);
	publish(r);
	*ret = TAKE_PTR(r);
	return 0;
}

/* What was is told to the kernel before it is changed: if we are killed, the next of us reads it there. */
static int switch_on(struct audit_rules *r)
{
	struct audit_rule_id mark = {.kind = AUDIT_RULE_STATUS};
	int err = audit_kernel_status(r->have.fd, &r->have.status);

	if (err || r->have.status.enabled)
		return err;
	mark.id = r->have.status.pid;
	err = audit_kernel_add(r->have.fd, &mark, r->have.self);
	if (err && err != -EEXIST)
		return err;
	if (r->marked && !audit_rule_same(&mark, &r->mark))
		audit_kernel_delete(r->have.fd, &r->mark, r->have.self);
	r->mark = mark;
	r->marked = true;
	audit_have_left(&r->have, &mark);
	return audit_kernel_enable(r->have.fd, true);
}

void audit_rules_by_user(struct audit_rules *r)
{
	audit_plan_by_user(r->plan);
}

int audit_rules_enable(struct audit_rules *r)
{
	int err = r->running ? 0 : switch_on(r);

	if (!err && !r->running)
		err = start_thread(r);
	r->failed = err != 0;
	return err;
}

/* The first error; the later ones come of it. */
static void note(int *first, int err)
{
	if (!*first)
		*first = err;
}

static bool process_is_there(pid_t pid)
{
	return kill(pid, 0) == 0 || errno == EPERM;
}

/* Off again, if it was, and if nobody came to whom it matters. */
static int switch_back(struct audit_rules *r)
{
	int err;

	if (!r->marked)
		return 0;
	err = audit_kernel_status(r->have.fd, &r->have.status);
	if (err || !r->have.status.enabled)
		return err;
	if (r->have.status.pid && r->have.status.pid != (uint32_t)r->have.self &&
	    r->have.status.pid != r->mark.id && process_is_there((pid_t)r->have.status.pid))
		return 0;
	return audit_kernel_enable(r->have.fd, false);
}

int audit_rules_close(struct audit_rules *r)
{
	bool marked = r->marked;
	int first = 0;

	stop_thread(r);
	note(&first, audit_left_remove(r->have.fd, &r->mark, &marked));
	note(&first, switch_back(r));
	audit_rules_yield(r);
	/* Last: until here whoever comes after a crash learns of it what was. */
	if (!first)
		first = audit_left_remove(r->have.fd, NULL, NULL);
	rules_free(&r);
	return first;
}

/* ---- who reads --------------------------------------------------------------------------------------- */

int audit_rules_own(struct audit_rules *r)
{
	struct audit_rules_figures f;
	int fd, err;

	if (r->own_fd >= 0)
		return 1;
	err = audit_rules_figures(r, &f);
	if (err)
		return err;
	/* One that is dead is named until the kernel has something to tell it, or somebody asks. */
	if (f.owner && process_is_there(f.owner))
		return 0;
	fd = audit_socket_open(0, OWN_BYTES);
	if (fd < 0)
		return fd;
	err = audit_kernel_own(fd, r->have.self);
	if (err) {
		close(fd);
		return err == -EEXIST ? 0 : err;
	}
	r->own_fd = fd;
	return 1;
}

void audit_rules_yield(struct audit_rules *r)
{
	int fd = r->own_fd;

	if (fd < 0)
		return;
	audit_kernel_own(fd, 0);
	r->own_fd = -1;
	close(fd);
}

int audit_rules_fd(const struct audit_rules *r)
{
	return r->own_fd;
}

/* ---- members ----------------------------------------------------------------------------------------- */

static void told(struct audit_rules *r)
{
	r->told++;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void audit_rules_add(struct audit_rules *r, pid_t pid, uid_t uid, const char *exe)
{
	pthread_mutex_lock(&r->lock);
	audit_plan_add(r->plan, pid, uid, exe, audit_now_ns());
	told(r);
}

void audit_rules_drop(struct audit_rules *r, pid_t pid)
{
	pthread_mutex_lock(&r->lock);
	audit_plan_drop(r->plan, pid);
	told(r);
}

/* With the lock held: until *counter is at least n. */
static int wait_until(struct audit_rules *r, const uint64_t *counter, uint64_t n,
		      int timeout_ms)
{
	const uint64_t end = audit_now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	const struct timespec ts = {(time_t)(end / NSEC_PER_SEC), (long)(end % NSEC_PER_SEC)};

	while (*counter < n)
		if (pthread_cond_timedwait(&r->done, &r->lock, &ts) == ETIMEDOUT)
			return -ETIME;
	return 0;
}

int audit_rules_settle(struct audit_rules *r, int timeout_ms)
{
	int err;

	pthread_mutex_lock(&r->lock);
	err = wait_until(r, &r->stands, r->told, timeout_ms);
	pthread_mutex_unlock(&r->lock);
	return err;
}

int audit_rules_figures(struct audit_rules *r, struct audit_rules_figures *ret)
{
	int err = 0;

	if (!r->running && !r->failed) {
		err = audit_have_look(&r->have);
		if (err)
			return err;
	}
	pthread_mutex_lock(&r->lock);
	if (r->running) {
		r->asked++;
		pthread_cond_signal(&r->wake);
		wait_until(r, &r->answered, r->asked, FRESH_MS);
	} else {
		publish(r);
	}
	*ret = r->now;
	pthread_mutex_unlock(&r->lock);
	return 0;
}
