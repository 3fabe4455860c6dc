/* SPDX-License-Identifier: Apache-2.0 */
/* The time by which records grow old: what of a wall clock is believed. */
#include "store/age.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND_NS 1000000000LL
#define DAY_NS (86400 * SECOND_NS)
#define THEN_NS (1800000000LL * SECOND_NS)

struct host {
	struct age age;
	int64_t wall_ns;
	uint64_t boot_ns;
	int64_t step_s;
};

static struct host started(void)
{
	struct host h = { .wall_ns = THEN_NS, .boot_ns = 1 };

	age_advance(&h.age, h.wall_ns, h.boot_ns, &h.step_s);
	assert_int_equal(h.age.now_ns, THEN_NS);
	return h;
}

/* So much time passes, and the clock is set forward by so much more. */
static void pass(struct host *h, int64_t ns, int64_t set_ns)
{
	h->boot_ns += (uint64_t)ns;
	h->wall_ns += ns + set_ns;
	age_advance(&h->age, h->wall_ns, h->boot_ns, &h->step_s);
}

static void time_is_believed(void **state)
{
	struct host h = started();

	(void)state;
	for (int i = 0; i < 400; i++)
		pass(&h, DAY_NS, 0);
	assert_int_equal(h.age.now_ns, THEN_NS + 400 * DAY_NS);
	assert_int_equal(h.step_s, 0);
}

static void a_leap_of_a_week_is_believed_and_no_more(void **state)
{
	struct host h = started();

	(void)state;
	pass(&h, SECOND_NS, 6 * DAY_NS);
	assert_int_equal(h.age.now_ns, h.wall_ns);
	assert_int_equal(h.step_s, 6 * 86400);
	pass(&h, SECOND_NS, 3650 * DAY_NS);
	assert_true(h.age.now_ns < THEN_NS + 7 * DAY_NS);
	assert_true(age_doubts(&h.age));
}

static void many_leaps_are_one(void **state)
{
	struct host h = started();

	(void)state;
	for (int i = 0; i < 15; i++)
		pass(&h, SECOND_NS / 10, 6 * DAY_NS);
	assert_true(h.age.now_ns < THEN_NS + 8 * DAY_NS);
	/* Put right: nothing is left of it but what was believed. */
	pass(&h, SECOND_NS, -15 * 6 * DAY_NS);
	assert_true(h.age.now_ns < THEN_NS + 8 * DAY_NS);
	assert_false(age_doubts(&h.age));
	/* Time makes up for it. */
	for (int i = 0; i < 8; i++)
		pass(&h, DAY_NS, 0);
	pass(&h, SECOND_NS, 6 * DAY_NS);
	assert_int_equal(h.age.now_ns, h.wall_ns);
}

static void what_is_set_back_stands_still(void **state)
{
	struct host h = started();

	(void)state;
	pass(&h, SECOND_NS, -DAY_NS);
	assert_int_equal(h.age.now_ns, THEN_NS);
	pass(&h, DAY_NS, 0);
	assert_int_equal(h.age.now_ns, h.wall_ns > THEN_NS ? h.wall_ns : THEN_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_is_believed),
		cmocka_unit_test(a_leap_of_a_week_is_believed_and_no_more),
		cmocka_unit_test(many_leaps_are_one),
		cmocka_unit_test(what_is_set_back_stands_still),
	};

	return cmocka_run_group_tests_name("age", tests, NULL, NULL);
}
