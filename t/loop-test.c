/* SPDX-License-Identifier: Apache-2.0 */
/* One thread's loop: what it is asked from others, when it wakes, how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"

struct running {
	struct loop *l;
	pthread_t thread;
	int result;
};

static void *run(void *arg)
{
	struct running *r = arg;

	r->result = loop_run(r->l);
	return NULL;
}

static void start(struct running *r)
{
	r->result = 1;
	assert_int_equal(pthread_create(&r->thread, NULL, run, r), 0);
}

static void finish(struct running *r)
{
	loop_stop(r->l);
	pthread_join(r->thread, NULL);
	assert_int_equal(r->result, 0);
}

static int set_up(void **state)
{
	struct running *r = calloc(1, sizeof(*r));

	*state = r;
	return r ? loop_new(&r->l) : -1;
}

static int tear_down(void **state)
{
	struct running *r = *state;

	loop_free(r->l);
	free(r);
	return 0;
}

static void note_thread(void *arg)
{
	*(pthread_t *)arg = pthread_self();
}

static void calls_run_on_its_thread(void **state)
{
	struct running *r = *state;
	pthread_t ran = pthread_self();

	start(r);
	assert_int_equal(loop_call(r->l, note_thread, &ran), 0);
	assert_true(pthread_equal(ran, r->thread));
	finish(r);
}

/* --- many ask at once ------------------------------------------------------------------------ */

#define CALLERS 8
#define CALLS 500

struct callers {
	struct loop *l;
	unsigned plain; /* not atomic: only the loop's thread may touch it */
	_Atomic unsigned refused, accepted;
};

static void count_up(void *arg)
{
	((struct callers *)arg)->plain++;
}

static void *call_often(void *arg)
{
	struct callers *c = arg;

	for (int i = 0; i < CALLS; i++) {
		int err = loop_call(c->l, count_up, c);

		if (err)
			atomic_fetch_add(&c->refused, err == -ESHUTDOWN ? 1 : 1000000);
		else
			atomic_fetch_add(&c->accepted, 1);
	}
	return NULL;
}

static void many_callers(void **state)
{
	struct running *r = *state;
	struct callers c = { .l = r->l };
	pthread_t thread[CALLERS];

	start(r);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, call_often, &c), 0);
	for (int i = 0; i < CALLERS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(c.plain, CALLERS * CALLS);
	assert_int_equal(c.accepted, CALLERS * CALLS);
	finish(r);
}

/* Each call is either run or refused, and nobody waits for ever. */
static void stopped_among_callers(void **state)
{
	struct running *r = *state;
	struct callers c = { .l = r->l };
	pthread_t thread[CALLERS];

	start(r);
	for (int i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, call_often, &c), 0);
	while (atomic_load(&c.accepted) < CALLS / 2)
		sched_yield();
	finish(r);
	for (int i = 0; i < CALLERS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(c.accepted + c.refused, CALLERS * CALLS);
	assert_int_equal(c.plain, c.accepted);
}

static void *call_once(void *arg)
{
	struct callers *c = arg;

	c->refused = loop_call(c->l, count_up, c) == -ESHUTDOWN;
	return NULL;
}

/* Asked before it runs, answered when it does. */
static void called_before_it_runs(void **state)
{
	struct running *r = *state;
	struct callers c = { .l = r->l };
	pthread_t caller;

	assert_int_equal(pthread_create(&caller, NULL, call_once, &c), 0);
	usleep(20000);
	start(r);
	pthread_join(caller, NULL);
	assert_int_equal(c.refused, 0);
	assert_int_equal(c.plain, 1);
	finish(r);
}

static void called_after_its_end(void **state)
{
	struct running *r = *state;
	struct callers c = { .l = r->l };

	start(r);
	finish(r);
	assert_int_equal(loop_call(r->l, count_up, &c), -ESHUTDOWN);
	assert_int_equal(c.plain, 0);
}

static void stopped_before_it_runs(void **state)
{
	struct running *r = *state;
	struct callers c = { .l = r->l };

	loop_stop(r->l);
	assert_int_equal(loop_run(r->l), 0);
	assert_int_equal(loop_call(r->l, count_up, &c), -ESHUTDOWN);
}

static void stop_from_inside(void *arg)
{
	loop_stop(arg);
}

static void a_call_may_stop_it(void **state)
{
	struct running *r = *state;

	start(r);
	assert_int_equal(loop_call(r->l, stop_from_inside, r->l), 0);
	pthread_join(r->thread, NULL);
	assert_int_equal(r->result, 0);
}

/* --- descriptors and time -------------------------------------------------------------------- */

struct scene {
	struct loop *l;
	int fd;
	unsigned reads, afters, expirations, too_early;
	uint64_t deadline_ns, expired_ns;
	unsigned quit_at;
};

static void on_readable(void *arg)
{
	struct scene *s = arg;
	uint64_t n;

	assert_int_equal(read(s->fd, &n, sizeof(n)), sizeof(n));
	s->reads++;
}

static void after(void *arg)
{
	struct scene *s = arg;

	s->afters++;
	if (s->reads == s->quit_at)
		loop_stop(s->l);
}

static void ready_descriptors(void **state)
{
	struct running *r = *state;
	struct scene s = { .l = r->l, .quit_at = 1 };
	_cleanup_close_ int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	s.fd = fd;
	assert_int_equal(loop_add(r->l, fd, on_readable, &s), 0);
	assert_int_equal(loop_add(r->l, fd, on_readable, &s), -EEXIST);
	assert_int_equal(loop_add(r->l, -1, on_readable, &s), -EBADF);
	loop_set_after(r->l, after, &s);
	assert_int_equal(loop_run(r->l), 0);
	assert_int_equal(s.reads, 1);
	assert_true(s.afters >= 1);
}

static void descriptors_are_bounded(void **state)
{
	struct running *r = *state;
	int fd[100];
	unsigned n = 0;

	for (; n < ARRAY_SIZE(fd); n++) {
		fd[n] = eventfd(0, EFD_CLOEXEC);
		if (loop_add(r->l, fd[n], on_readable, NULL) < 0)
			break;
	}
	assert_true(n > 8 && n < ARRAY_SIZE(fd));
	assert_int_equal(loop_add(r->l, fd[n], on_readable, NULL), -ENOSPC);
	for (unsigned i = 0; i <= n; i++)
		close(fd[i]);
}

static uint64_t next_ns(void *arg)
{
	return ((struct scene *)arg)->deadline_ns;
}

static void expired(void *arg, uint64_t now_ns)
{
	struct scene *s = arg;

	/* It may look earlier than it was asked to; what is due is for us to say. */
	if (now_ns < s->deadline_ns) {
		s->too_early++;
		return;
	}
	s->expirations++;
	s->expired_ns = now_ns;
	s->deadline_ns = UINT64_MAX;
	loop_stop(s->l);
}

static void wakes_for_a_deadline(void **state)
{
	struct running *r = *state;
	struct scene s = { .l = r->l };
	struct loop_timer timer = { next_ns, expired, &s };
	uint64_t due = clock_boottime_ns() + 30 * NSEC_PER_MSEC;

	s.deadline_ns = due;
	loop_set_timer(r->l, &timer);
	assert_int_equal(loop_run(r->l), 0);
	assert_int_equal(s.expirations, 1);
	assert_true(s.expired_ns >= due);
	/* Asleep until then: a few wake-ups, not thousands. */
	assert_true(s.too_early < 10);
}

static void deadlines_that_have_passed(void **state)
{
	struct running *r = *state;
	struct scene s = { .l = r->l, .deadline_ns = 1 };
	struct loop_timer timer = { next_ns, expired, &s };

	loop_set_timer(r->l, &timer);
	assert_int_equal(loop_run(r->l), 0);
	assert_int_equal(s.expirations, 1);
}

static void set_deadline(void *arg)
{
	((struct scene *)arg)->deadline_ns = clock_boottime_ns() + 5 * NSEC_PER_MSEC;
}

/* Asleep without a deadline; a call brings one. */
static void a_deadline_set_by_a_call(void **state)
{
	struct running *r = *state;
	struct scene s = { .l = r->l, .deadline_ns = UINT64_MAX };
	struct loop_timer timer = { next_ns, expired, &s };

	loop_set_timer(r->l, &timer);
	start(r);
	assert_int_equal(loop_call(r->l, set_deadline, &s), 0);
	pthread_join(r->thread, NULL);
	assert_int_equal(r->result, 0);
	assert_int_equal(s.expirations, 1);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(calls_run_on_its_thread),
		TEST(many_callers),
		TEST(stopped_among_callers),
		TEST(called_before_it_runs),
		TEST(called_after_its_end),
		TEST(stopped_before_it_runs),
		TEST(a_call_may_stop_it),
		TEST(ready_descriptors),
		TEST(descriptors_are_bounded),
		TEST(wakes_for_a_deadline),
		TEST(deadlines_that_have_passed),
		TEST(a_deadline_set_by_a_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
