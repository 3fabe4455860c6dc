/* SPDX-License-Identifier: Apache-2.0 */
/* What the guardian knows of objects: found while the writer works, by another process, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/defaults.h"

#define MANY 65536

static int set_up(void **state)
{
	return defaults_new((struct defaults **)state);
}

static int tear_down(void **state)
{
	defaults_free(*state);
	return 0;
}

static enum verdict verdict_of(unsigned i)
{
	return (enum verdict)(i % 3);
}

static void what_was_put_is_found(void **state)
{
	struct defaults *d = *state;

	assert_int_equal(defaults_find(d, 1, 2), -ENOENT);
	assert_int_equal(defaults_put(d, 1, 2, VERDICT_BLOCK), 0);
	assert_int_equal(defaults_put(d, 2, 1, VERDICT_ALLOW), 0);
	assert_int_equal(defaults_find(d, 1, 2), VERDICT_BLOCK);
	assert_int_equal(defaults_find(d, 2, 1), VERDICT_ALLOW);
	assert_int_equal(defaults_put(d, 1, 2, VERDICT_WARN), 0);
	assert_int_equal(defaults_find(d, 1, 2), VERDICT_WARN);
	defaults_remove(d, 1, 2);
	defaults_remove(d, 3, 3);
	assert_int_equal(defaults_find(d, 1, 2), -ENOENT);
	assert_int_equal(defaults_find(d, 2, 1), VERDICT_ALLOW);
}

/* As many as there may be objects, half of them removed: the other half is still there. */
static void many_are_kept_apart(void **state)
{
	struct defaults *d = *state;

	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(defaults_put(d, i % 7, i, verdict_of(i)), 0);
	for (unsigned i = 0; i < MANY; i += 2)
		defaults_remove(d, i % 7, i);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(defaults_find(d, i % 7, i),
				 i % 2 ? (int)verdict_of(i) : -ENOENT);
}

static void a_full_table_says_so(void **state)
{
	struct defaults *d = *state;
	unsigned i = 0;

	while (defaults_put(d, 1, i, VERDICT_WARN) == 0)
		i++;
	assert_in_range(i, MANY, DEFAULTS_ENTRIES - 1);
	assert_int_equal(defaults_put(d, 1, i, VERDICT_WARN), -ENOSPC);
	assert_int_equal(defaults_find(d, 1, i), -ENOENT);
	assert_int_equal(defaults_find(d, 1, i - 1), VERDICT_WARN);
	/* What is known may still change. */
	assert_int_equal(defaults_put(d, 1, 0, VERDICT_BLOCK), 0);
}

/* Another process looks while entries come, go and move: never another object's verdict. */
static void a_reader_sees_no_other_verdict(void **state)
{
	struct defaults *d = *state;
	int status;
	pid_t pid;

	for (unsigned i = 0; i < 3000; i++)
		defaults_put(d, 9, i, VERDICT_BLOCK);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		for (unsigned round = 0; round < 100; round++)
			for (unsigned i = 0; i < 3000; i++) {
				int v = defaults_find(d, 9, i);

				if (v != VERDICT_BLOCK && v != -ENOENT)
					_exit(1);
			}
		_exit(0);
	}
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < 3000; i++)
			defaults_put(d, 8, i, VERDICT_WARN);
		for (unsigned i = 0; i < 3000; i++)
			defaults_remove(d, 8, i);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(defaults_find(d, 9, i), VERDICT_BLOCK);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_was_put_is_found),
		TEST(many_are_kept_apart),
		TEST(a_full_table_says_so),
		TEST(a_reader_sees_no_other_verdict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
