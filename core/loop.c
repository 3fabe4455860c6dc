/* SPDX-License-Identifier: Apache-2.0 */
#include "core/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/prio_lock.h"

#define LOOP_FDS_MAX 64

struct call {
	void (*fn)(void *arg);
	void *arg;
	bool done;
	struct call *next;
};

struct handler {
	void (*fn)(void *arg);
	void *arg;
};

struct loop {
	int epoll_fd, wake_fd;
	struct handler handlers[LOOP_FDS_MAX];
	unsigned n_handlers;
	struct loop_timer timer;
	struct handler after;
	_Atomic bool stop;
	_Atomic uint64_t turns;

	pthread_mutex_t lock; /* calls, ended */
	pthread_cond_t cond;
	struct call *calls;
	bool ended;
};

uint64_t clock_boottime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void wake_drained(void *arg)
{
	struct loop *l = arg;
	uint64_t n;

	if (read(l->wake_fd, &n, sizeof(n)) < 0)
		return;
}

int loop_new(struct loop **ret)
{
	struct loop *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	l->wake_fd = -1;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd >= 0)
		l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll_fd < 0 || l->wake_fd < 0) {
		err = -errno;
		goto fail;
	}
	prio_lock_init(&l->lock);
	pthread_cond_init(&l->cond, NULL);
	err = loop_add(l, l->wake_fd, wake_drained, l);
	if (err)
		goto fail;
	*ret = l;
	return 0;
fail:
	cleanup_close(&l->wake_fd);
	cleanup_close(&l->epoll_fd);
	free(l);
	return err;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	close(l->wake_fd);
	close(l->epoll_fd);
	pthread_cond_destroy(&l->cond);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

int loop_add(struct loop *l, int fd, void (*fn)(void *arg), void *arg)
{
	struct epoll_event ee = { .events = EPOLLIN, .data.u32 = l->n_handlers };

	if (l->n_handlers == LOOP_FDS_MAX)
		return -ENOSPC;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ee) < 0)
		return -errno;
	l->handlers[l->n_handlers++] = (struct handler){ fn, arg };
	return 0;
}

void loop_set_timer(struct loop *l, const struct loop_timer *t)
{
	l->timer = *t;
}

void loop_set_after(struct loop *l, void (*fn)(void *arg), void *arg)
{
	l->after = (struct handler){ fn, arg };
}

static void run_calls(struct loop *l)
{
	struct call *c;

	pthread_mutex_lock(&l->lock);
	while ((c = l->calls)) {
		l->calls = c->next;
		pthread_mutex_unlock(&l->lock);
		c->fn(c->arg);
		pthread_mutex_lock(&l->lock);
		c->done = true;
		pthread_cond_broadcast(&l->cond);
	}
	pthread_mutex_unlock(&l->lock);
}

static int timeout_ms(const struct loop *l)
{
	uint64_t next, now;

	if (!l->timer.next_ns)
		return -1;
	next = l->timer.next_ns(l->timer.arg);
	if (next == UINT64_MAX)
		return -1;
	now = clock_boottime_ns();
	if (next <= now)
		return 0;
	next = (next - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	return next > 60000 ? 60000 : (int)next;
}

int loop_run(struct loop *l)
{
	struct epoll_event ready[16];
	int n, err = 0;

	while (!atomic_load(&l->stop)) {
		atomic_fetch_add_explicit(&l->turns, 1, memory_order_relaxed);
		n = epoll_wait(l->epoll_fd, ready, ARRAY_SIZE(ready), timeout_ms(l));
		if (n < 0 && errno != EINTR) {
			err = -errno;
			break;
		}
		for (int i = 0; i < n; i++) {
			struct handler *h = &l->handlers[ready[i].data.u32];

			h->fn(h->arg);
		}
		if (l->timer.expired)
			l->timer.expired(l->timer.arg, clock_boottime_ns());
		if (l->after.fn)
			l->after.fn(l->after.arg);
		run_calls(l);
	}
	/* Whoever asked too late must not wait for ever. */
	pthread_mutex_lock(&l->lock);
	l->ended = true;
	pthread_cond_broadcast(&l->cond);
	pthread_mutex_unlock(&l->lock);
	return err;
}

static void wake(struct loop *l)
{
	uint64_t one = 1;

	/* EAGAIN means it is awake already. */
	if (write(l->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	wake(l);
}

uint64_t loop_poke(struct loop *l)
{
	uint64_t turns = atomic_load_explicit(&l->turns, memory_order_relaxed);

	wake(l);
	return turns;
}

int loop_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct call c = { .fn = fn, .arg = arg };
	struct call **tail;

	pthread_mutex_lock(&l->lock);
	if (l->ended) {
		pthread_mutex_unlock(&l->lock);
		return -ESHUTDOWN;
	}
	for (tail = &l->calls; *tail; tail = &(*tail)->next)
		;
	*tail = &c;
	/* Not with the lock: whom it wakes takes that, and is the more urgent. */
	pthread_mutex_unlock(&l->lock);
	wake(l);
	pthread_mutex_lock(&l->lock);
	while (!c.done && !l->ended)
		pthread_cond_wait(&l->cond, &l->lock);
	if (!c.done) {
		/* Ended with the call still queued: take it back, c is about to vanish. */
		for (tail = &l->calls; *tail && *tail != &c; tail = &(*tail)->next)
			;
		if (*tail)
			*tail = c.next;
	}
	pthread_mutex_unlock(&l->lock);
	return c.done ? 0 : -ESHUTDOWN;
}
