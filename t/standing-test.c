/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator said for a while, and when an operator is asked at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/rule.h"
#include "core/standing.h"
#include "core/standing_file.h"

static const struct standing_object file = { KIND_FILE_OPENED, 1, 2, 3 };
static const struct standing_object exec = { KIND_EXEC_OBSERVED, 1, 2, 3 };

/* The names that it has when it is opened. */
static const uint64_t names[] = { 8, 3 };

static bool allows(const struct standing_table *t, uint32_t tree, const struct standing_object *o,
		   const char *rule, uint64_t now_ns)
{
	return standing_allows(t, tree, o, names, 2, rule, now_ns) != NULL;
}

static struct standing said(enum verdict v, uint32_t tree, const struct standing_object *o,
			    uint64_t until_ns)
{
	return (struct standing){ .tree_id = tree, .verdict = v, .object = *o, .rule = "R3/aws R9",
				  .until_ns = until_ns };
}

static void an_allowance_is_for_a_tree_an_object_rules_and_a_time(void **state)
{
	static struct standing_table t;
	struct standing s = said(VERDICT_ALLOW, 7, &file, 100);
	struct standing_object other = file;

	(void)state;
	t = (struct standing_table){ 0 };
	assert_int_equal(standing_put(&t, &s, 10), 0);
	assert_true(allows(&t, 7, &file, "R3/aws", 99));
	assert_true(allows(&t, 7, &file, "R9", 99));
	assert_false(allows(&t, 7, &file, "R3", 99));
	assert_false(allows(&t, 7, &file, "R3/aw", 99));
	assert_false(allows(&t, 7, &file, "R3/aws", 100));
	assert_false(allows(&t, 8, &file, "R3/aws", 99));
	other.ino = 5; /* the name alone allows nothing */
	assert_false(allows(&t, 7, &other, "R3/aws", 99));
	assert_null(standing_refuses(&t, 7, &file, NULL, 0));
	s = said(VERDICT_ALLOW, 7, &exec, 100);
	assert_int_equal(standing_put(&t, &s, 10), 0);
	other = exec;
	assert_true(allows(&t, 7, &other, "R9", 99));
	other.name_hash = 4; /* other arguments */
	assert_false(allows(&t, 7, &other, "R9", 99));
}

/* A number and a name come to be another file's, the one without the other. */
static void an_allowance_is_of_the_file_by_its_name(void **state)
{
	static struct standing_table t;
	struct standing s = said(VERDICT_ALLOW, 7, &file, 100);
	const uint64_t others[2] = { 9, 0 };

	(void)state;
	t = (struct standing_table){ 0 };
	assert_int_equal(standing_put(&t, &s, 10), 0);
	assert_true(allows(&t, 7, &file, "R9", 99));
	assert_null(standing_allows(&t, 7, &file, others, 2, "R9", 99));
	assert_null(standing_allows(&t, 7, &file, names, 1, "R9", 99));
	assert_null(standing_allows(&t, 7, &file, NULL, 0, "R9", 99));
	/* Whose name could not be had is not what anybody else's is not either. */
	s.object.name_hash = 0;
	s.object.ino = 6;
	assert_int_equal(standing_put(&t, &s, 10), 0);
	assert_null(standing_allows(&t, 7, &s.object, others, 2, "R9", 99));
}

static void an_allowance_ends_with_its_file(void **state)
{
	static struct standing_table t;
	struct standing s = said(VERDICT_ALLOW, 7, &file, 100), other = said(VERDICT_ALLOW, 7, &exec, 100);
	struct standing_object another = file;

	(void)state;
	t = (struct standing_table){ 0 };
	assert_int_equal(standing_put(&t, &s, 10), 0);
	assert_int_equal(standing_put(&t, &other, 10), 0);
	another.ino = s.object.ino = 9;
	s.verdict = VERDICT_BLOCK;
	assert_int_equal(standing_put(&t, &s, 10), 0);
	standing_gone(&t, 1, 9);
	standing_gone(&t, 2, 2);
	assert_true(allows(&t, 7, &file, "R9", 99));
	standing_gone(&t, 1, 2);
	assert_false(allows(&t, 7, &file, "R9", 99));
	assert_true(allows(&t, 7, &exec, "R9", 99));
	assert_non_null(standing_refuses(&t, 7, &another, NULL, 0));
	assert_int_equal(t.used, 2);
	/* Nobody knows which. */
	s = said(VERDICT_ALLOW, 7, &file, 100);
	assert_int_equal(standing_put(&t, &s, 10), 0);
	standing_gone(&t, 0, 0);
	assert_int_equal(t.used, 2);
	assert_false(allows(&t, 7, &file, "R9", 99));
}

static void a_refusal_is_also_of_the_name(void **state)
{
	static struct standing_table t;
	struct standing s = said(VERDICT_BLOCK, 7, &file, UINT64_MAX);
	struct standing_object other = file;
	uint64_t called[2] = { 9, 3 };

	(void)state;
	t = (struct standing_table){ 0 };
	assert_int_equal(standing_put(&t, &s, 10), 0);
	assert_non_null(standing_refuses(&t, 7, &file, NULL, 0));
	other.ino = 5;
	assert_null(standing_refuses(&t, 7, &other, NULL, 0));
	assert_non_null(standing_refuses(&t, 7, &other, called, 2));
	assert_null(standing_refuses(&t, 7, &other, called, 1));
	assert_null(standing_refuses(&t, 6, &file, called, 2));
	assert_null(standing_refuses(&t, 7, &exec, called, 2));
	/* The last word counts. */
	s = said(VERDICT_ALLOW, 7, &file, 100);
	assert_int_equal(standing_put(&t, &s, 10), 0);
	assert_null(standing_refuses(&t, 7, &file, NULL, 0));
	assert_int_equal(t.used, 1);
	standing_forget(&t, 7);
	assert_int_equal(t.used, 0);
}

static bool is_odd(void *arg, uint32_t tree)
{
	(void)arg;
	return tree & 1;
}

static void a_tree_has_its_share_and_what_is_over_makes_room(void **state)
{
	static struct standing_table t;
	struct standing s = said(VERDICT_ALLOW, 7, &file, 100);
	unsigned n = 0;

	(void)state;
	t = (struct standing_table){ 0 };
	for (; n < STANDING_PER_TREE; n++) {
		s.object.ino = n;
		assert_int_equal(standing_put(&t, &s, 10), 0);
	}
	s.object.ino = n;
	assert_int_equal(standing_put(&t, &s, 10), -ENOSPC);
	s.until_ns = 200;
	assert_int_equal(standing_put(&t, &s, 100), 0);
	assert_int_equal(t.used, 1);
	for (s.tree_id = 8; standing_put(&t, &s, 100) == 0; s.tree_id++)
		;
	assert_int_equal(t.used, STANDING_MAX);
	standing_sweep(&t, 100, is_odd, NULL);
	assert_int_equal(t.used, STANDING_MAX / 2);
	standing_sweep(&t, 200, is_odd, NULL);
	assert_int_equal(t.used, 0);
}

static void an_operator_is_asked_if_all_that_block_say_so(void **state)
{
	const struct rule slow = { .action = VERDICT_BLOCK, .hold = true, .hold_ns = 60 };
	const struct rule quick = { .action = VERDICT_BLOCK, .hold = true, .hold_ns = 5,
				    .hold_then = VERDICT_BLOCK };
	const struct rule denies = { .action = VERDICT_BLOCK };
	const struct rule warns = { .action = VERDICT_WARN };
	struct decision d = { .verdict = VERDICT_BLOCK, .n_fired = 2,
			      .fired = { { .rule = &slow, .verdict = VERDICT_BLOCK },
					 { .rule = &quick, .verdict = VERDICT_BLOCK } } };
	enum verdict then = VERDICT_ALLOW;
	uint64_t ns = 0;

	(void)state;
	assert_true(decision_holds(&d, &ns, &then));
	assert_int_equal(ns, 5);
	assert_int_equal(then, VERDICT_BLOCK);
	d.fired[1] = (struct fired){ .rule = &warns, .verdict = VERDICT_WARN };
	assert_true(decision_holds(&d, &ns, &then));
	assert_int_equal(ns, 60);
	assert_int_equal(then, VERDICT_ALLOW);
	d.fired[1] = (struct fired){ .rule = &denies, .verdict = VERDICT_BLOCK };
	assert_false(decision_holds(&d, &ns, &then));
	/* Of those that are not told nobody knows what they say. */
	d.fired[1] = (struct fired){ .rule = &quick, .verdict = VERDICT_BLOCK };
	d.n_fired_more = 1;
	assert_false(decision_holds(&d, &ns, &then));
	d = (struct decision){ .verdict = VERDICT_WARN, .n_fired = 1,
			       .fired = { { .rule = &warns, .verdict = VERDICT_WARN } } };
	assert_false(decision_holds(&d, &ns, &then));
}

static void keep_file(const char *path, const struct standing_table *t, uint64_t token)
{
	uint8_t key[STANDING_KEY_BYTES] = "a key";
	struct standing_kept kept;
	struct standing_file *f = NULL;

	assert_int_equal(standing_file_open(path, &kept, &f), 0);
	standing_file_begin(f, key);
	standing_file_save(f, t);
	standing_file_token(f, token);
	standing_file_token(f, 1); /* it never goes back */
	standing_file_close(f);
}

static void refusals_are_in_a_file(void **state)
{
	static struct standing_table t;
	static struct standing_kept kept;
	struct standing s = said(VERDICT_BLOCK, 7, &file, UINT64_MAX);
	char path[] = "/tmp/standing-test.XXXXXX", byte = 0;
	struct standing_file *f = NULL;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	t = (struct standing_table){ 0 };
	snprintf(s.session, sizeof(s.session), "abc");
	assert_int_equal(standing_put(&t, &s, 1), 0);
	s.object.ino = 9;
	s.verdict = VERDICT_ALLOW;
	assert_int_equal(standing_put(&t, &s, 1), 0);
	keep_file(path, &t, 40);
	assert_int_equal(standing_file_open(path, &kept, &f), 0);
	assert_true(kept.found);
	assert_string_equal((char *)kept.key, "a key");
	assert_int_equal(kept.last_token, 40);
	assert_int_equal(kept.table.used, 1); /* not what was allowed */
	assert_non_null(standing_refuses(&kept.table, 7, &file, NULL, 0));
	assert_string_equal(kept.table.at[0].session, "abc");
	standing_file_close(f);

	/* Each byte that says what it is: another version, another boot. */
	for (off_t at = 0; at < 56; at++) {
		keep_file(path, &t, 40);
		fd = open(path, O_RDWR);
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		assert_int_equal(standing_file_open(path, &kept, &f), 0);
		assert_false(kept.found || kept.table.used || kept.last_token);
		standing_file_close(f);
	}
	unlink(path);
	/* Where none can be made nothing is kept, and nothing falls. */
	f = NULL;
	assert_int_equal(standing_file_open("/proc/none/refused", &kept, &f), -ENOENT);
	assert_null(f);
	standing_file_save(f, &t);
	standing_file_token(f, 1);
	standing_file_close(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_allowance_is_for_a_tree_an_object_rules_and_a_time),
		cmocka_unit_test(an_allowance_is_of_the_file_by_its_name),
		cmocka_unit_test(an_allowance_ends_with_its_file),
		cmocka_unit_test(a_refusal_is_also_of_the_name),
		cmocka_unit_test(a_tree_has_its_share_and_what_is_over_makes_room),
		cmocka_unit_test(an_operator_is_asked_if_all_that_block_say_so),
		cmocka_unit_test(refusals_are_in_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
