/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>

#include "t/evidence.h"

#include "core/field.h"

static struct evidence e;
static struct field_value v;

static const char *text(enum field_id id, const char *category, const struct wall_clock *clock)
{
	field_get(&e.ev, id, 0, category, clock, &v);
	return v.null ? NULL : v.string;
}

static void every_name_is_found_and_no_other(void **state)
{
	(void)state;
	for (int i = 0; i < FIELD_COUNT; i++) {
		assert_int_equal(field_by_name(field_info((enum field_id)i)->name), i);
		assert_true(field_info((enum field_id)i)->kinds);
	}
	assert_int_equal(field_by_name("path"), FIELD_PATH);
	assert_int_equal(field_by_name("Path"), -ENOENT);
	assert_int_equal(field_by_name(""), -ENOENT);
}

static void the_process_name_is_that_of_the_executable(void **state)
{
	static const struct {
		const char *exe, *name;
	} cases[] = {
		{"/usr/bin/cat", "cat"},
		{"/opt/x/claude.exe", "claude"},
		{"/opt/x/claude (deleted)", "claude"},
		{"/opt/x/claude.exe (deleted)", "claude"},
		{"/opt/.exe", ".exe"},
		{"/opt/x/exe", "exe"},
		{"node", "node"},
		{"", NULL},
		{"/", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		e.ev.subj.exe = cases[i].exe;
		if (cases[i].name)
			assert_string_equal(text(FIELD_PROCESS_NAME, NULL, NULL),
					    cases[i].name);
		else
			assert_null(text(FIELD_PROCESS_NAME, NULL, NULL));
	}
}

static void what_is_not_known_is_null(void **state)
{
	(void)state;
	e.ev.subj.cgroup = "";
	assert_null(text(FIELD_CGROUP, NULL, NULL));
	e.ev.subj.tree = NULL;
	assert_null(text(FIELD_AGENT_IDENTIFIER, NULL, NULL));
	assert_null(text(FIELD_MATCHED_CATEGORY, NULL, NULL));
	assert_null(text(FIELD_WALL_CLOCK, NULL, NULL));
	assert_null(text(FIELD_BASELINE_DISTANCE, NULL, NULL));
	e.ev.file.n_names = 0;
	assert_null(text(FIELD_PATH, NULL, NULL));
	e.ev.file.mode = OPEN_MODE_UNKNOWN;
	assert_null(text(FIELD_OPEN_MODE, NULL, NULL));
	field_get(&e.ev, FIELD_DEST_PORT, 0, NULL, NULL, &v); /* not of this kind */
	assert_true(v.null);
}

static void values_come_from_the_event(void **state)
{
	struct wall_clock clock = {.unix_s = 1772460000, .hour = 15, .dow = 1};

	(void)state;
	assert_string_equal(text(FIELD_PATH, NULL, NULL), "/a");
	e.ev.file.n_names = 2;
	e.ev.file.names[1].path = "/b";
	field_get(&e.ev, FIELD_PATH, 1, NULL, NULL, &v);
	assert_string_equal(v.string, "/b");
	field_get(&e.ev, FIELD_PATH, 9, NULL, NULL, &v);
	assert_string_equal(v.string, "/a");
	assert_string_equal(text(FIELD_AGENT_IDENTIFIER, NULL, NULL), "claude-code");
	assert_string_equal(text(FIELD_MATCHED_CATEGORY, "aws", NULL), "aws");
	assert_string_equal(text(FIELD_OPEN_MODE, NULL, NULL), "read");
	assert_string_equal(text(FIELD_WALL_CLOCK, NULL, &clock), "2026-03-02T14:00:00Z");
	field_get(&e.ev, FIELD_WALL_CLOCK_HOUR, 0, NULL, &clock, &v);
	assert_true(v.is_number);
	assert_int_equal(v.number, 15);
	field_get(&e.ev, FIELD_PID, 0, NULL, NULL, &v);
	assert_int_equal(v.number, 4711);
}

static void addresses_are_readable(void **state)
{
	(void)state;
	e.ev.kind = KIND_SOCKET_CONNECT;
	e.ev.dest = (struct dest_object){.path = "/run/x"};
	field_get(&e.ev, FIELD_DEST_PORT, 0, NULL, NULL, &v);
	assert_true(v.null);
	e.ev.dest = (struct dest_object){.port = 443};
	field_get(&e.ev, FIELD_DEST_PORT, 0, NULL, NULL, &v);
	assert_int_equal(v.number, 443);
	assert_null(text(FIELD_DEST_IP, NULL, NULL));
	e.ev.dest = (struct dest_object){.has_addr = true};
	assert_string_equal(text(FIELD_DEST_IP, NULL, NULL), "::");
	field_get(&e.ev, FIELD_DEST_PORT, 0, NULL, NULL, &v);
	assert_false(v.null);
	inet_pton(AF_INET6, "::ffff:192.0.2.7", e.ev.dest.addr);
	assert_string_equal(text(FIELD_DEST_IP, NULL, NULL), "192.0.2.7");
	inet_pton(AF_INET6, "2001:db8::1", e.ev.dest.addr);
	assert_string_equal(text(FIELD_DEST_IP, NULL, NULL), "2001:db8::1");
}

static void arguments_are_joined(void **state)
{
	struct exec_object x = {.argv = "a\0b c\0", .argv_len_bytes = 6};
	char buf[8];

	(void)state;
	assert_int_equal(field_argv(&x, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "a b c");
	assert_int_equal(field_argv(&x, buf, 4), 3);
	assert_string_equal(buf, "a b");
	x.argv = NULL;
	assert_int_equal(field_argv(&x, buf, sizeof(buf)), 0);
}

static int fresh(void **state)
{
	(void)state;
	evidence_make(&e, "/a");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_name_is_found_and_no_other, fresh),
		cmocka_unit_test_setup(the_process_name_is_that_of_the_executable, fresh),
		cmocka_unit_test_setup(what_is_not_known_is_null, fresh),
		cmocka_unit_test_setup(values_come_from_the_event, fresh),
		cmocka_unit_test_setup(addresses_are_readable, fresh),
		cmocka_unit_test_setup(arguments_are_joined, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
