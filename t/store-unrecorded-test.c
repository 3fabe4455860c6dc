/* SPDX-License-Identifier: Apache-2.0 */
/* The store is killed between what it did to the evidence and the record that tells of it: the next
 * start records it, once. */
#include <signal.h>
#include <sodium.h>
#include <sys/wait.h>

#include "t/store.h"

#include "core/fault.h"
#include "core/log.h"

static void run_sh(struct scratch *sc, const char *command)
{
	char text[600];

	snprintf(text, sizeof(text), "cd '%s' && { %s; }", sc->dir, command);
	if (system(text))
		fail_msg("%s", command);
}

static int64_t told(struct scratch *sc, const char *name)
{
	char text[200];

	snprintf(text, sizeof(text),
		 "SELECT count(*) FROM events WHERE rule='O1' AND json LIKE '%%\"name\":\"%s\"%%'",
		 name);
	return sql_number(sc, text);
}

static void dies_at(struct scratch *sc, const char *point)
{
	char err[256];
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct setup u;

		if (fault_arm(point, err))
			_exit(2);
		start(sc, &u, 0);
		stop(&u);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail_msg("%s was not reached", point);
}

static void expect_good(struct scratch *sc, uint64_t aside)
{
	struct store_verify_result v;

	if (verify(sc, &v))
		fail_msg("%s", v.problem);
	assert_int_equal(v.aside, aside);
	assert_int_equal(v.lost, 0);
	run_sh(sc, "! test -e state/unrecorded");
}

static const char *const points[] = { "aside-noted", "aside-moved", "batch-signed",
				      "batch-inserted", "batch-committed", "head-written" };

static void a_database_put_aside_is_recorded(void **state)
{
	struct scratch *sc = *state;

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		run_sh(sc, "rm -rf state journal");
		fill(sc, 5);
		run_sh(sc, "dd if=/dev/urandom of=state/oknek.db bs=100 count=1 conv=notrunc 2>&-;"
			   " rm -f state/oknek.db-*");
		dies_at(sc, points[i]);
		fill(sc, 1);
		assert_int_equal(told(sc, "database set aside"), 1);
		expect_good(sc, 5);
		fill(sc, 1);
		assert_int_equal(told(sc, "database set aside"), 1);
	}
}

static void a_new_key_is_recorded(void **state)
{
	struct scratch *sc = *state;

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		run_sh(sc, "rm -rf state journal");
		fill(sc, 5);
		run_sh(sc, "echo junk >state/host.key");
		dies_at(sc, points[i]);
		fill(sc, 1);
		assert_int_equal(told(sc, "host key replaced"), 1);
		expect_good(sc, 5);
		assert_int_equal(sql_number(sc, "SELECT min(seq) FROM events"), 6);
	}
}

static void an_altered_head_is_recorded(void **state)
{
	struct scratch *sc = *state;

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		run_sh(sc, "rm -rf state journal");
		fill(sc, 5);
		run_sh(sc, "sed -i s/seq/qes/ state/head");
		dies_at(sc, points[i]);
		fill(sc, 1);
		assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE rule='O1' AND"
						" json LIKE '%\"what\":\"the signed head\"}%'"), 1);
		assert_int_equal(told(sc, "evidence altered"), 1); /* nor that it is missing */
		expect_good(sc, 0);
	}
}

static void a_public_key_put_aside_is_recorded(void **state)
{
	struct scratch *sc = *state;

	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		run_sh(sc, "rm -rf state journal");
		fill(sc, 5);
		run_sh(sc, "tr 0-9a-f 1-9a-f0 <state/host.pub >pub; cat pub >state/host.pub");
		dies_at(sc, points[i]);
		fill(sc, 1);
		assert_int_equal(told(sc, "public key altered"), 1);
		expect_good(sc, 0);
		run_sh(sc, "cmp pub state/host.pub.bad-*[0-9]");
	}
}

/* What is recorded of the first time is not taken for the second. */
static void a_head_altered_twice_is_recorded_twice(void **state)
{
	struct scratch *sc = *state;

	for (size_t i = 1; i < ARRAY_SIZE(points); i += 2) {
		run_sh(sc, "rm -rf state journal");
		fill(sc, 5);
		run_sh(sc, "sed -i s/seq/qes/ state/head");
		fill(sc, 1);
		run_sh(sc, "sleep 1.1; sed -i s/seq/qes/ state/head");
		dies_at(sc, points[i]);
		fill(sc, 1);
		assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE rule='O1' AND"
						" json LIKE '%\"what\":\"the signed head\"}%'"), 2);
		assert_int_equal(told(sc, "evidence altered"), 2);
		expect_good(sc, 0);
	}
}

/* Killed twice, each time at another step. */
static void and_again(void **state)
{
	struct scratch *sc = *state;

	fill(sc, 5);
	run_sh(sc, "echo junk >state/host.key; echo junk >state/oknek.db; rm -f state/oknek.db-*");
	dies_at(sc, "aside-moved");
	run_sh(sc, "test -e state/unrecorded");
	dies_at(sc, "batch-inserted");
	dies_at(sc, "batch-committed");
	fill(sc, 1);
	assert_int_equal(told(sc, "host key replaced"), 1);
	expect_good(sc, 5);
}

/* The file is root's, and still not believed blindly. */
static void what_the_file_says_has_to_be_true(void **state)
{
	static const char *const lies[] = {
		"[{\"name\":\"database set aside\",\"json\":\"{}\",\"stamp\":5,\"aside\":true}]",
		"[{\"name\":\"coverage is complete\",\"json\":\"{}\",\"stamp\":5}]",
		"[{\"name\":7,\"json\":[],\"stamp\":\"x\"}, 5, null]",
		"{\"a\":1}", "[", "", "[[[[[[",
	};
	struct scratch *sc = *state;

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		char text[300];

		run_sh(sc, "rm -rf state journal");
		fill(sc, 2);
		snprintf(text, sizeof(text), "printf '%%s' '%s' >state/unrecorded", lies[i]);
		run_sh(sc, text);
		fill(sc, 1);
		assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE rule='O1'"), 0);
	}
	run_sh(sc, "rm -f state/unrecorded; mkfifo state/unrecorded");
	fill(sc, 1);
	run_sh(sc, "rm -f state/unrecorded; ln -s /dev/zero state/unrecorded");
	fill(sc, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_database_put_aside_is_recorded),
		T(a_new_key_is_recorded),
		T(an_altered_head_is_recorded),
		T(a_public_key_put_aside_is_recorded),
		T(a_head_altered_twice_is_recorded_twice),
		T(and_again),
		T(what_the_file_says_has_to_be_true),
	};

	if (sodium_init() < 0)
		return 1;
	log_set_level(LOG_ERROR - 1); /* what goes wrong here is meant to */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
