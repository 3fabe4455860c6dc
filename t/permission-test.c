/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of permissions: each is answered once, few are parked, none is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/permission.h"

static int set_up(void **state)
{
	return permission_table_new((struct permission_table **)state);
}

static int tear_down(void **state)
{
	permission_table_free(*state);
	return 0;
}

static enum permission_state state_of(const struct permission *p)
{
	return permission_state(permission_look(p));
}

/* An event that was read, in a slot; NULL when none is free. */
static struct permission *take(struct permission_table *t, int group_fd, int event_fd, pid_t tgid)
{
	if (!permission_reserve(t))
		return NULL;
	permission_batch(t)->md[0] = (struct fanotify_event_metadata){
		.event_len = FAN_EVENT_METADATA_LEN, .fd = event_fd, .pid = tgid,
	};
	return permission_note(t, 0, group_fd, 1);
}

static struct permission *parked(struct permission_table *t, uint32_t tree, uint64_t deadline_ns)
{
	struct permission *p = take(t, 1, 2, 3);

	assert_non_null(p);
	assert_int_equal(permission_park(t, p, tree, deadline_ns, VERDICT_ALLOW), 0);
	return p;
}

static void answer(struct permission_table *t, struct permission *p)
{
	assert_true(permission_claim(p, VERDICT_ALLOW));
	permission_release(t, p);
}

static void a_slot_holds_what_it_was_given(void **state)
{
	struct permission_table *t = *state;
	struct permission *p = take(t, 5, 6, 700), *q;

	assert_non_null(p);
	assert_int_equal(state_of(p), PERM_READ);
	assert_int_equal(p->group_fd, 5);
	assert_int_equal(p->event_fd, 6);
	assert_int_equal(p->tgid, 700);
	assert_int_equal(p->deadline_ns, 0);
	q = take(t, 5, 7, 700);
	assert_ptr_not_equal(p, q);
	assert_int_not_equal(p->token, q->token);
	assert_int_not_equal(permission_index(t, p), permission_index(t, q));
	assert_true(permission_index(t, q) < PERMISSION_SLOTS);
}

/* Nothing of the last permission is left in a slot, and its token is not used again. */
static void slots_are_used_again(void **state)
{
	struct permission_table *t = *state;
	struct permission *all[PERMISSION_SLOTS - (PERMISSION_BATCH - 1)], *p; /* the rest is reserved */
	bool seen[PERMISSION_SLOTS] = { false };
	uint64_t last = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		all[i] = take(t, 1, (int)i, 3);
		assert_non_null(all[i]);
		assert_false(seen[permission_index(t, all[i])]);
		seen[permission_index(t, all[i])] = true;
		assert_true(all[i]->token > last);
		last = all[i]->token;
	}
	assert_null(take(t, 1, 2, 3));
	p = all[500];
	assert_int_equal(permission_park(t, p, 9, 1000, VERDICT_BLOCK), 0);
	answer(t, p);
	assert_ptr_equal(take(t, 1, 2, 3), p);
	assert_true(p->token > last);
	assert_int_equal(p->deadline_ns, 0);
	assert_int_equal(p->tree_id, 0);
	assert_int_equal(p->on_timeout, VERDICT_ALLOW);
	assert_null(take(t, 1, 2, 3));
}

static void answered_once(void **state)
{
	struct permission_table *t = *state;
	struct permission *p = take(t, 1, 2, 3);

	assert_true(permission_claim(p, VERDICT_ALLOW));
	assert_false(permission_claim(p, VERDICT_ALLOW));
	permission_release(t, p);
	assert_false(permission_claim(p, VERDICT_ALLOW)); /* a free slot has nobody waiting */

	p = parked(t, 1, 1000);
	assert_true(permission_claim(p, VERDICT_ALLOW));
	assert_false(permission_claim(p, VERDICT_ALLOW));
	permission_release(t, p);
	assert_int_equal(permission_parked(t), 0);
}

/* The right to answer is taken once; parking afterwards would give it a second time. */
static void what_is_claimed_is_not_parked(void **state)
{
	struct permission_table *t = *state;
	struct permission *p = take(t, 1, 2, 3);

	assert_true(permission_claim(p, VERDICT_ALLOW));
	assert_int_equal(permission_park(t, p, 1, 1000, VERDICT_BLOCK), -EALREADY);
	assert_false(permission_claim(p, VERDICT_ALLOW));
	assert_int_equal(permission_parked(t), 0);
	permission_release(t, p);
	assert_int_equal(permission_parked(t), 0);
	assert_int_equal(state_of(p), PERM_FREE);
}

static void limit_of_a_tree(void **state)
{
	struct permission_table *t = *state;
	struct permission *p[PERMISSION_PARKED_PER_TREE], *more, *other;

	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = parked(t, 1, 1000);
	more = take(t, 1, 2, 3);
	assert_int_equal(permission_park(t, more, 1, 1000, VERDICT_BLOCK), -EBUSY);
	/* Refused, it is as it was: somebody has to answer it now. */
	assert_int_equal(state_of(more), PERM_READ);
	assert_int_equal(more->deadline_ns, 0);
	other = parked(t, 2, 1000);
	answer(t, p[3]);
	assert_int_equal(permission_park(t, more, 1, 1000, VERDICT_BLOCK), 0);
	assert_int_equal(more->on_timeout, VERDICT_BLOCK);
	assert_int_equal(more->tree_id, 1);
	assert_int_equal(permission_parked(t), PERMISSION_PARKED_PER_TREE + 1);
	answer(t, other);
	assert_int_equal(permission_parked(t), PERMISSION_PARKED_PER_TREE);
}

static int park_exec(struct permission_table *t, uint32_t tree)
{
	struct permission *p = take(t, 1, 2, 3);

	assert_non_null(p);
	p->exec = true;
	return permission_park(t, p, tree, 1000, VERDICT_ALLOW);
}

static void limit_of_execs(void **state)
{
	struct permission_table *t = *state;

	for (unsigned i = 0; i < PERMISSION_EXECS_PER_TREE; i++)
		assert_int_equal(park_exec(t, 1), 0);
	assert_int_equal(park_exec(t, 1), -EBUSY);
	for (unsigned i = PERMISSION_EXECS_PER_TREE; i < PERMISSION_EXECS_MAX; i++)
		assert_int_equal(park_exec(t, 2 + i / PERMISSION_EXECS_PER_TREE), 0);
	assert_int_equal(park_exec(t, 9), -EBUSY);
	/* Whoever opens has a place, in the same trees and in others. */
	for (uint32_t i = PERMISSION_EXECS_MAX; i < PERMISSION_PARKED_MAX; i++)
		parked(t, i / PERMISSION_PARKED_PER_TREE, 1000);
	assert_int_equal(permission_parked(t), PERMISSION_PARKED_MAX);
}

/* However many processes nobody knows, there are places for who is known. */
static void limit_of_the_undecided(void **state)
{
	struct permission_table *t = *state;
	unsigned n = 0;

	for (unsigned i = 0; i < PERMISSION_PARKED_PER_TREE / 2; i++) {
		assert_int_equal(park_exec(t, PERMISSION_UNDECIDED(7)), 0);
		parked(t, PERMISSION_UNDECIDED(7), 1000);
	}
	assert_int_equal(park_exec(t, PERMISSION_UNDECIDED(7)), -EBUSY);
	for (pid_t pid = 100; pid < 200; pid++)
		while (!park_exec(t, PERMISSION_UNDECIDED(pid)))
			n++;
	assert_in_range(n, PERMISSION_PARKED_PER_TREE * 10, PERMISSION_PARKED_MAX / 2);
	parked(t, 1, 1000);
}

static void limit_of_all(void **state)
{
	struct permission_table *t = *state;
	struct permission *last = NULL, *more;

	for (uint32_t i = 0; i < PERMISSION_PARKED_MAX; i++)
		last = parked(t, i / PERMISSION_PARKED_PER_TREE + 1, 1000);
	/* What is parked leaves room for what is answered at once. */
	more = take(t, 1, 2, 3);
	assert_non_null(more);
	assert_int_equal(permission_park(t, more, 9999, 1000, VERDICT_ALLOW), -EBUSY);
	answer(t, last);
	assert_int_equal(permission_park(t, more, 9999, 1000, VERDICT_ALLOW), 0);
	assert_int_equal(permission_parked(t), PERMISSION_PARKED_MAX);
}

struct passed {
	struct permission_table *t;
	unsigned n;
	uint64_t latest_ns;
	bool leave;
};

static void pass(struct permission *p, void *arg)
{
	struct passed *s = arg;

	s->n++;
	if (p->deadline_ns > s->latest_ns)
		s->latest_ns = p->deadline_ns;
	if (!s->leave)
		answer(s->t, p);
}

static void deadlines(void **state)
{
	struct permission_table *t = *state;
	struct passed s = { .t = t };
	struct permission *first;

	assert_true(permission_next_deadline(t) == UINT64_MAX);
	permission_each_parked(t, UINT64_MAX, pass, &s);
	assert_int_equal(s.n, 0);
	parked(t, 1, 300);
	first = parked(t, 1, 100);
	parked(t, 2, 200);
	take(t, 1, 2, 3); /* not parked: has no deadline */
	assert_int_equal(permission_next_deadline(t), 100);

	permission_each_parked(t, 99, pass, &s);
	assert_int_equal(s.n, 0);
	assert_int_equal(permission_next_deadline(t), 100);
	permission_each_parked(t, 100, pass, &s);
	assert_int_equal(s.n, 1);
	assert_int_equal(state_of(first), PERM_FREE);
	assert_int_equal(permission_next_deadline(t), 200);

	/* An earlier one, and another answer, when more is known. */
	first = parked(t, 3, 400);
	permission_set_deadline(t, first, 120, VERDICT_BLOCK);
	assert_int_equal(permission_next_deadline(t), 120);
	assert_int_equal(first->on_timeout, VERDICT_BLOCK);
	permission_each_parked(t, 119, pass, &s);
	assert_int_equal(s.n, 1);
	permission_each_parked(t, 120, pass, &s);
	assert_int_equal(s.n, 2);
	assert_int_equal(state_of(first), PERM_FREE);

	/* Waking once too early is allowed, too late is not. */
	parked(t, 3, 150);
	assert_int_equal(permission_next_deadline(t), 150);
	s = (struct passed){ .t = t, .leave = true };
	permission_each_parked(t, UINT64_MAX, pass, &s);
	assert_int_equal(s.n, 3);
	assert_int_equal(permission_next_deadline(t), 150);
	s = (struct passed){ .t = t };
	permission_each_parked(t, 250, pass, &s);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.latest_ns, 200);
	assert_int_equal(permission_next_deadline(t), 300);
	s = (struct passed){ .t = t };
	permission_each_parked(t, UINT64_MAX, pass, &s);
	assert_int_equal(s.n, 1);
	assert_int_equal(permission_parked(t), 0);
	assert_true(permission_next_deadline(t) == UINT64_MAX);
}

/* Once the earliest was answered and the rest looked at, nobody wakes for it again. */
static void answered_deadlines_are_forgotten(void **state)
{
	struct permission_table *t = *state;
	struct passed s = { .t = t, .leave = true };
	struct permission *first = parked(t, 1, 100);

	parked(t, 1, 500);
	answer(t, first);
	assert_true(permission_next_deadline(t) <= 500);
	permission_each_parked(t, 200, pass, &s);
	assert_int_equal(s.n, 0);
	assert_int_equal(permission_next_deadline(t), 500);
}

/* Somebody else has claimed it: its deadline is no more ours. */
static void claimed_ones_are_passed_over(void **state)
{
	struct permission_table *t = *state;
	struct passed s = { .t = t };
	struct permission *p = parked(t, 1, 100);

	assert_true(permission_claim(p, VERDICT_ALLOW));
	permission_each_parked(t, UINT64_MAX, pass, &s);
	assert_int_equal(s.n, 0);
	permission_release(t, p);
	assert_int_equal(permission_parked(t), 0);
}

/* --- who comes first ------------------------------------------------------------------------- */

#define ROUNDS 60
#define IN_A_ROUND 500

struct racer {
	pthread_barrier_t *barrier;
	struct permission **slots;
	_Atomic unsigned *arrived;
	unsigned won[IN_A_ROUND];
};

/* Both have come to slot number `n` of all: from here it is nanoseconds. */
static void meet(_Atomic unsigned *arrived, unsigned n)
{
	atomic_fetch_add(arrived, 1);
	for (unsigned spins = 0; atomic_load(arrived) < 2 * (n + 1); spins++)
		if (spins > 2000)
			sched_yield();
}

static void *race(void *arg)
{
	struct racer *r = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(r->barrier);
		for (unsigned n = 0; n < IN_A_ROUND; n++) {
			meet(r->arrived, i * IN_A_ROUND + n);
			r->won[n] = permission_claim(r->slots[n], VERDICT_ALLOW);
		}
		pthread_barrier_wait(r->barrier);
		/* Here the slots are counted and freed. */
	}
	return NULL;
}

static void two_race_and_one_wins(void **state)
{
	struct permission_table *t = *state;
	struct permission *slots[IN_A_ROUND];
	pthread_barrier_t barrier;
	_Atomic unsigned arrived = 0;
	struct racer r[2] = { { &barrier, slots, &arrived, { 0 } },
			      { &barrier, slots, &arrived, { 0 } } };
	pthread_t thread[2];

	pthread_barrier_init(&barrier, NULL, 3);
	for (unsigned n = 0; n < IN_A_ROUND; n++)
		slots[n] = take(t, 1, 2, 3);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, race, &r[i]), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		/* In some rounds their owner parks them before, in some meanwhile. */
		for (unsigned n = 0; i % 3 == 0 && n < IN_A_ROUND; n++)
			assert_int_equal(permission_park(t, slots[n], n / 32 + 1, 100,
							 VERDICT_ALLOW), 0);
		pthread_barrier_wait(&barrier);
		for (unsigned n = 0; i % 3 == 1 && n < IN_A_ROUND; n++) {
			int err = permission_park(t, slots[IN_A_ROUND - 1 - n], n / 32 + 1, 100,
						  VERDICT_ALLOW);

			assert_true(err == 0 || err == -EALREADY);
		}
		pthread_barrier_wait(&barrier);
		for (unsigned n = 0; n < IN_A_ROUND; n++) {
			assert_int_equal(r[0].won[n] + r[1].won[n], 1);
			permission_release(t, slots[n]);
		}
		assert_int_equal(permission_parked(t), 0);
		for (unsigned n = 0; n < IN_A_ROUND; n++)
			slots[n] = take(t, 1, 2, 3);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&barrier);
}

/* The guardian is a process of its own: the slots are memory of both. */
static void another_process_claims(void **state)
{
	struct permission_table *t = *state;
	struct permission *p = take(t, 1, 2, 3);
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(permission_claim(p, VERDICT_ALLOW) ? 0 : 1);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_false(permission_claim(p, VERDICT_ALLOW));
}

/* A decision the journal knows is told to it once, by whoever took the ticket. */
static void a_ticket_is_taken_once(void **state)
{
	struct permission_table *t = *state;
	struct permission *p = take(t, 1, 2, 3);

	assert_int_equal(permission_ticket(p), 0);
	permission_decided(p, VERDICT_BLOCK, 4711);
	assert_true(permission_guard(p, permission_look(p)));
	assert_false(permission_claim(p, VERDICT_BLOCK));
	assert_int_equal(atomic_load(&p->answer), VERDICT_BLOCK + 1);
	assert_int_equal(permission_ticket(p), 4711);
	assert_int_equal(permission_ticket(p), 0);
}

/* What the kernel's audit trail shows of a rule. */
static void a_rule_is_a_number(void **state)
{
	(void)state;
	assert_int_equal(answer_rule_number("R3"), 3);
	assert_int_equal(answer_rule_number("R11"), 0xb);
	assert_int_equal(answer_rule_number("B2"), 0x10002);
	assert_int_equal(answer_rule_number("X65535"), 0x2ffff);
	assert_int_equal(answer_rule_number("X65536"), 0);
	assert_int_equal(answer_rule_number("X99999999999999999999"), 0);
	assert_int_equal(answer_rule_number("O1"), 0);
	assert_int_equal(answer_rule_number("R"), 0);
	assert_int_equal(answer_rule_number("R3a"), 0);
	assert_int_equal(answer_rule_number(""), 0);
}

static void count_left(struct permission *p, void *arg)
{
	unsigned *n = arg;

	assert_int_equal(state_of(p), PERM_READ);
	assert_int_equal(p->event_fd, 77);
	(*n)++;
}

/* What the guardian has read it leaves to the verdict thread; what it answered is freed by it. */
static void what_is_left_is_taken_up(void **state)
{
	struct permission_table *t = *state;
	const struct fanotify_event_metadata md = { .event_len = FAN_EVENT_METADATA_LEN, .fd = 77,
						    .pid = 5 };
	struct permission *p = permission_put(t, 1, &md, 9, 123), *q = take(t, 1, 2, 3);
	unsigned n = 0;

	assert_int_equal(state_of(p), PERM_LEAVING);
	permission_sweep(t, count_left, &n);
	assert_int_equal(n, 0);
	permission_leave(t, p);
	assert_true(permission_guard(q, permission_look(q)));
	permission_guarded(t, q);
	permission_sweep(t, count_left, &n);
	assert_int_equal(n, 1);
	assert_int_equal(state_of(q), PERM_FREE);
	assert_true(p->token > 0);
	permission_sweep(t, count_left, &n);
	assert_int_equal(n, 1);
	answer(t, p);
}

/* What was read and not noted is found in the batch; then the verdict thread lets it be. */
static void an_event_that_was_not_noted_is_guarded(void **state)
{
	struct permission_table *t = *state;
	struct permission_batch *b = permission_batch(t);
	struct permission *p;

	assert_int_equal(permission_reserve(t), PERMISSION_BATCH);
	p = permission_slot(t, b->slot[3]);
	assert_int_equal(state_of(p), PERM_READING);
	assert_int_equal(p->entry, 3);
	b->md[3].event_len = FAN_EVENT_METADATA_LEN;
	assert_true(permission_guard(p, permission_look(p)));
	assert_null(permission_note(t, 3, 1, 1));
	assert_int_equal(permission_reserve(t), PERMISSION_BATCH);
	assert_int_equal(b->md[3].event_len, 0);
	assert_ptr_not_equal(permission_slot(t, b->slot[3]), p);
	assert_int_equal(state_of(p), PERM_GUARDED);
}

#define HAMMERED 40000

struct hammered {
	_Atomic uint32_t answered[HAMMERED + 1], told[HAMMERED + 1];
	_Atomic uint32_t by_guardian, end;
	bool ticket[HAMMERED + 1]; /* one was given */
};

/* The guardian's side, as fast as it can: takes whatever may be taken. */
static void guard_all(struct permission_table *t, struct hammered *h)
{
	while (!atomic_load(&h->end))
		for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
			struct permission *p = permission_slot(t, i);
			uint32_t seen = permission_look(p);
			enum permission_state state = permission_state(seen);
			const volatile struct fanotify_event_metadata *md =
				&permission_batch(t)->md[p->entry % PERMISSION_BATCH];
			bool filled = md->event_len;
			uint64_t ticket;
			int event, fd;

			atomic_thread_fence(memory_order_acquire);
			fd = md->fd;
			if ((state != PERM_READING || !filled) && state != PERM_READ &&
			    state != PERM_PARKED)
				continue;
			if (!permission_guard(p, seen))
				continue;
			event = state == PERM_READING ? fd : p->event_fd;
			ticket = permission_ticket(p);
			atomic_fetch_add(&h->answered[event], 1);
			atomic_fetch_add(&h->by_guardian, 1);
			if (ticket)
				atomic_fetch_add(&h->told[ticket], 1);
			permission_guarded(t, p);
		}
}

static void handle(struct permission_table *t, struct hammered *h, unsigned entry)
{
	struct permission *p = permission_note(t, entry, 1, 1);
	int event;

	if (!p)
		return;
	event = p->event_fd;
	if (event % 3 == 0)
		permission_park(t, p, (uint32_t)event, 1000, VERDICT_ALLOW);
	/* A ticket is the event's number, for every other one. */
	h->ticket[event] = event % 2;
	permission_decided(p, VERDICT_BLOCK, event % 2 ? (uint64_t)event : 0);
	if (permission_claim(p, VERDICT_BLOCK)) {
		atomic_fetch_add(&h->answered[event], 1);
		if (event % 2)
			atomic_fetch_add(&h->told[event], 1);
		permission_release(t, p);
	} else if (permission_ticket(p)) {
		atomic_fetch_add(&h->told[event], 1); /* withdrawn */
	}
}

/* Two processes, one table, tens of thousands of events: each is answered once, each ticket told
 * once, and no slot is lost. */
static void two_processes_answer_each_once(void **state)
{
	struct permission_table *t = *state;
	struct permission_batch *b = permission_batch(t);
	struct hammered *h = mmap(NULL, sizeof(*h), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned n = 0;
	pid_t pid;

	assert_ptr_not_equal(h, MAP_FAILED);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		guard_all(t, h);
		_exit(0);
	}
	while (n < HAMMERED) {
		unsigned room = permission_reserve(t), got = 0;

		/* As the kernel does: entry by entry, its length first. */
		while (got < room && got < 1 + n % PERMISSION_BATCH && n < HAMMERED) {
			b->md[got].fd = (int)++n;
			atomic_thread_fence(memory_order_release);
			*(volatile uint32_t *)&b->md[got].event_len = FAN_EVENT_METADATA_LEN;
			got++;
		}
		if (n % 7 == 0)
			sched_yield();
		for (unsigned i = 0; i < got; i++)
			handle(t, h, i);
		permission_sweep(t, count_left, &n);
	}
	atomic_store(&h->end, 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	permission_sweep(t, count_left, &n);
	for (unsigned i = 1; i <= HAMMERED; i++) {
		assert_int_equal(h->answered[i], 1);
		assert_int_equal(h->told[i], h->ticket[i]);
	}
	print_message("# the guardian had %u of %u\n", h->by_guardian, HAMMERED);
	assert_int_equal(permission_parked(t), 0);
	assert_int_equal(permission_reserve(t), PERMISSION_BATCH);
	for (unsigned i = 0, used = 0; i < PERMISSION_SLOTS; i++) {
		used += state_of(permission_slot(t, i)) != PERM_FREE;
		assert_true(used <= PERMISSION_BATCH);
	}
	munmap(h, sizeof(*h));
}

static void an_operator_has_places_of_his_own(void **state)
{
	struct permission_table *t = *state;
	struct permission *p, *q;
	unsigned n;

	/* Who waits for somebody else goes on waiting, longer. */
	p = parked(t, 7, 100);
	assert_int_equal(permission_hold(t, p, 7, 5000, VERDICT_BLOCK), 0);
	assert_int_equal(p->deadline_ns, 5000);
	assert_int_equal(p->on_timeout, VERDICT_BLOCK);
	assert_int_equal(p->held, 1);
	assert_int_equal(permission_parked(t), 1);
	for (n = 1; n < PERMISSION_HELD_PER_TREE; n++) {
		q = take(t, 1, 2, 3);
		assert_int_equal(permission_hold(t, q, 7, 5000, VERDICT_BLOCK), 0);
	}
	q = take(t, 1, 2, 3);
	assert_int_equal(permission_hold(t, q, 7, 5000, VERDICT_BLOCK), -EBUSY);
	assert_int_equal(q->held, 0);
	assert_int_equal(state_of(q), PERM_READ);
	assert_int_equal(permission_hold(t, q, 8, 5000, VERDICT_BLOCK), 0);
	answer(t, p);
	q = take(t, 1, 2, 3);
	assert_int_equal(q->held, 0);
	assert_int_equal(permission_hold(t, q, 7, 5000, VERDICT_BLOCK), 0);
	/* Nobody takes back what the guardian has claimed. */
	assert_true(permission_guard(q, permission_look(q)));
	assert_int_equal(permission_hold(t, q, 9, 5000, VERDICT_BLOCK), -EALREADY);
}

#define HELD_TIMES 3000

struct first_look {
	_Atomic uint32_t slot; /* + 1; 0: none */
	_Atomic uint32_t end, wrong, had;
};

static void guard_held(struct permission_table *t, struct first_look *f)
{
	while (!atomic_load(&f->end)) {
		uint32_t slot = atomic_load(&f->slot);
		struct permission *p = slot ? permission_slot(t, slot - 1) : NULL;
		uint32_t seen = p ? permission_look(p) : 0;

		if (!p || (permission_state(seen) != PERM_READ && permission_state(seen) != PERM_PARKED) ||
		    !atomic_load(&p->held) || !permission_guard(p, seen))
			continue;
		f->wrong += p->on_timeout != VERDICT_BLOCK || !atomic_load(&p->held);
		f->had++;
		atomic_store(&f->slot, 0);
		permission_guarded(t, p);
	}
}

static void none_left(struct permission *p, void *arg)
{
	(void)p;
	(void)arg;
	fail();
}

/* From the moment that it counts as held it is known what it gets without an answer. */
static void whoever_finds_it_held_denies_it(void **state)
{
	struct permission_table *t = *state;
	struct first_look *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				    -1, 0);
	pid_t pid;

	assert_ptr_not_equal(f, MAP_FAILED);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		guard_held(t, f);
		_exit(0);
	}
	for (unsigned i = 0; i < HELD_TIMES; i++) {
		struct permission *p = take(t, 1, 2, 3);
		int r;

		atomic_store(&f->slot, permission_index(t, p) + 1);
		r = permission_hold(t, p, 7, 5000, VERDICT_BLOCK);
		assert_true(r == 0 || r == -EALREADY);
		while (state_of(p) != PERM_ANSWERED)
			sched_yield();
		permission_sweep(t, none_left, NULL);
	}
	atomic_store(&f->end, 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(f->had, HELD_TIMES);
	assert_int_equal(f->wrong, 0);
	assert_int_equal(permission_parked(t), 0);
	munmap(f, sizeof(*f));
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_slot_holds_what_it_was_given),
		TEST(slots_are_used_again),
		TEST(answered_once),
		TEST(what_is_claimed_is_not_parked),
		TEST(limit_of_a_tree),
		TEST(limit_of_execs),
		TEST(limit_of_the_undecided),
		TEST(limit_of_all),
		TEST(deadlines),
		TEST(answered_deadlines_are_forgotten),
		TEST(claimed_ones_are_passed_over),
		TEST(two_race_and_one_wins),
		TEST(another_process_claims),
		TEST(a_ticket_is_taken_once),
		TEST(a_rule_is_a_number),
		TEST(what_is_left_is_taken_up),
		TEST(an_event_that_was_not_noted_is_guarded),
		TEST(two_processes_answer_each_once),
		TEST(an_operator_has_places_of_his_own),
		TEST(whoever_finds_it_held_denies_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
