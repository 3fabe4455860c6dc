/* SPDX-License-Identifier: Apache-2.0 */
/* The queue from the verdict thread to the mark thread: in order, bounded, and never forgetful. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/watch.h"

static int set_up(void **state)
{
	return watch_queue_new((struct watch_queue **)state);
}

static int tear_down(void **state)
{
	watch_queue_free(*state);
	return 0;
}

static struct change change(unsigned i)
{
	struct change c = { .type = CHANGE_NAME, .pid = (pid_t)i };

	snprintf(c.name, sizeof(c.name), "name %u", i);
	return c;
}

static uint64_t put(struct watch_queue *q, unsigned i)
{
	struct change c = change(i);

	return watch_queue_put(q, &c);
}

static bool woken(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	uint64_t n;

	return poll(&p, 1, 0) == 1 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static void fill(struct watch_queue *q)
{
	for (unsigned i = 0; i < WATCH_CHANGES; i++)
		put(q, i);
}

static void in_order(void **state)
{
	struct watch_queue *q = *state;

	assert_null(watch_queue_peek(q));
	assert_false(woken(q->wake_fd));
	for (unsigned i = 0; i < 3 * WATCH_CHANGES; i++) {
		const struct change *c;
		char name[WATCH_NAME_MAX];

		assert_int_equal(put(q, 2 * i), 2 * i + 1);
		assert_int_equal(put(q, 2 * i + 1), 2 * i + 2);
		for (unsigned n = 2 * i; n <= 2 * i + 1; n++) {
			snprintf(name, sizeof(name), "name %u", n);
			c = watch_queue_peek(q);
			assert_non_null(c);
			assert_int_equal(c->pid, n);
			assert_string_equal(c->name, name);
			assert_ptr_equal(watch_queue_peek(q), c);
			watch_queue_advance(q);
		}
		assert_null(watch_queue_peek(q));
	}
	assert_int_equal(watch_queue_lost(q), 0);
}

/* What was looked at is settled, what is only being looked at is not. */
static void settled_when_dealt_with(void **state)
{
	struct watch_queue *q = *state;
	uint64_t first, second;

	assert_true(watch_queue_settled(q, 0));
	first = put(q, 1);
	second = put(q, 2);
	assert_true(woken(q->wake_fd));
	assert_false(woken(q->wake_fd));
	assert_false(watch_queue_settled(q, first));
	watch_queue_peek(q);
	assert_false(watch_queue_settled(q, first));
	assert_false(woken(q->done_fd));
	watch_queue_advance(q);
	assert_true(woken(q->done_fd));
	assert_true(watch_queue_settled(q, first));
	assert_false(watch_queue_settled(q, second));
	watch_queue_advance(q);
	assert_true(watch_queue_settled(q, second));
}

static void full(void **state)
{
	struct watch_queue *q = *state;
	uint64_t seq, lost;

	fill(q);
	assert_int_equal(watch_queue_lost(q), 0);
	assert_true(woken(q->wake_fd));
	seq = put(q, 4711);
	assert_true(woken(q->wake_fd));
	lost = watch_queue_lost(q);
	assert_true(lost > 0);
	/* Those that found room are as they were. */
	for (unsigned i = 0; i < WATCH_CHANGES; i++) {
		assert_int_equal(watch_queue_peek(q)->pid, i);
		watch_queue_advance(q);
	}
	assert_null(watch_queue_peek(q));
	/* All is done but the one that was lost: nobody passes until it is looked for. */
	assert_false(watch_queue_settled(q, seq));
	assert_false(watch_queue_settled(q, 1));
	while (woken(q->done_fd))
		;
	watch_queue_found(q, lost);
	assert_true(woken(q->done_fd));
	assert_true(watch_queue_settled(q, seq));
	assert_int_equal(watch_queue_lost(q), 0);
	/* And there is room again. */
	assert_int_equal(put(q, 1), WATCH_CHANGES + 1);
	assert_int_equal(watch_queue_peek(q)->pid, 1);
}

/* What is lost while everything is looked at may have been overlooked. */
static void lost_once_more(void **state)
{
	struct watch_queue *q = *state;
	uint64_t first, second;

	fill(q);
	put(q, 4711);
	first = watch_queue_lost(q);
	while (watch_queue_peek(q))
		watch_queue_advance(q);
	/* While the mark thread looks: */
	fill(q);
	put(q, 4712);
	while (watch_queue_peek(q))
		watch_queue_advance(q);
	watch_queue_found(q, first);
	second = watch_queue_lost(q);
	assert_true(second > first);
	assert_false(watch_queue_settled(q, WATCH_CHANGES));
	watch_queue_found(q, second);
	assert_true(watch_queue_settled(q, 2 * WATCH_CHANGES));
}

/* --- two threads ------------------------------------------------------------------------------ */

#define CROSSINGS 30000

struct marker {
	struct watch_queue *q;
	_Atomic bool end;
	_Atomic uint64_t rescans;
	uint64_t handled, disorder;
};

static void *mark_thread(void *arg)
{
	struct marker *m = arg;
	const struct change *c;
	pid_t last = -1;
	uint64_t lost;
	bool end;

	do {
		end = atomic_load(&m->end);
		while ((c = watch_queue_peek(m->q))) {
			char name[WATCH_NAME_MAX];

			snprintf(name, sizeof(name), "name %d", c->pid);
			m->disorder += c->pid <= last || strcmp(name, c->name) != 0;
			last = c->pid;
			m->handled++;
			watch_queue_advance(m->q);
		}
		lost = watch_queue_lost(m->q);
		if (lost) {
			atomic_fetch_add(&m->rescans, 1);
			watch_queue_found(m->q, lost);
		}
	} while (!end);
	return NULL;
}

static void every_change_is_handled_or_counted(void **state)
{
	struct watch_queue *q = *state;
	struct marker m = { .q = q };
	pthread_t thread;
	uint64_t seq = 0;

	assert_int_equal(pthread_create(&thread, NULL, mark_thread, &m), 0);
	for (unsigned i = 0; i < CROSSINGS; i++) {
		seq = put(q, i);
		if (i % 1000 == 0)
			while (!watch_queue_settled(q, seq))
				sched_yield();
	}
	atomic_store(&m.end, true);
	pthread_join(thread, NULL);
	assert_true(watch_queue_settled(q, seq));
	assert_int_equal(m.disorder, 0);
	assert_int_equal(m.handled + atomic_load(&q->lost), CROSSINGS);
	assert_int_equal(m.handled, seq);
}

/* A slot is used again: what was found out for the one who had it lets nobody else through. */
static void an_answer_about_an_exe_is_for_one_permission(void **state)
{
	struct watch_queue *q = *state;
	struct change first = { .type = CHANGE_EXE, .slot = 7, .token = 41 };
	struct change second = { .type = CHANGE_EXE, .slot = 7, .token = 42 };

	assert_int_equal(watch_queue_exe_answer(q, 7, 41), EXE_UNKNOWN);
	watch_queue_answer_exe(q, &first, EXE_TRUSTED);
	assert_int_equal(watch_queue_exe_answer(q, 7, 41), EXE_TRUSTED);
	assert_int_equal(watch_queue_exe_answer(q, 7, 42), EXE_UNKNOWN);
	assert_int_equal(watch_queue_exe_answer(q, 8, 41), EXE_UNKNOWN);
	watch_queue_answer_exe(q, &second, EXE_STRANGER);
	assert_int_equal(watch_queue_exe_answer(q, 7, 42), EXE_STRANGER);
	assert_int_equal(watch_queue_exe_answer(q, 7, 41), EXE_UNKNOWN);
	second.slot = PERMISSION_SLOTS;
	watch_queue_answer_exe(q, &second, EXE_TRUSTED);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(in_order),
		TEST(settled_when_dealt_with),
		TEST(full),
		TEST(lost_once_more),
		TEST(every_change_is_handled_or_counted),
		TEST(an_answer_about_an_exe_is_for_one_permission),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
