/* SPDX-License-Identifier: Apache-2.0 */
/* Which rules can be told before anybody opens the file, and what they say then. */
#include "t/rules-test.h"

#include <errno.h>
#include <stdio.h>

#include "core/cleanup.h"
#include "core/config.h"

#define READ (1u << OPEN_MODE_READ)
#define WRITE (1u << OPEN_MODE_WRITE)
#define EXEC (1u << OPEN_MODE_EXEC)
#define ALL (READ | WRITE | EXEC)

static struct ruleset *load(const char *match, const char *action, const struct config *site)
{
	const struct rules_config c = {
		.mechanisms = { [KIND_FILE_OPENED] = 1u << MECH_FANOTIFY | 1u << MECH_LSM },
		.site = site,
	};
	struct rules_error err = { "" };
	struct ruleset *rs = NULL;
	char text[4096];

	snprintf(text, sizeof(text), "id: X1\npart: p\nversion: 1\nname: n\nkind: file_opened\n"
		 "action: { %s }\nmatch: { %s }\n", action, match);
	if (ruleset_load_buffer("sure.yaml", text, strlen(text), &c, &rs, &err))
		fail_msg("%s: %s", match, err.text);
	return rs;
}

static void cleanup_rules(struct ruleset **rs)
{
	ruleset_unref(*rs);
}

static void is_sure(const char *match)
{
	_cleanup_(cleanup_rules) struct ruleset *rs = load(match, "default: block", NULL);

	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_LSM);
	assert_string_equal(ruleset_rule(rs, 0)->bound_why, "");
}

static void is_not(const char *match, const char *action, const struct config *site, const char *why)
{
	_cleanup_(cleanup_rules) struct ruleset *rs = load(match, action, site);
	struct file_name name = { "/h/a", "/h" };

	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_FANOTIFY);
	assert_string_equal(ruleset_rule(rs, 0)->bound_why, why);
	assert_int_equal(ruleset_sure_modes(rs, &name, 1), 0);
}

static void paths_alone(void **state)
{
	(void)state;
	is_sure("any_of: [{ path: { glob: [~/a, '/etc/**'] } }, { path: { prefix: /b/ } }]");
	is_sure("all_of: [{ path: { glob: ~/a } }, { open_mode: { eq: write } }]");
	is_sure("any_of: [{ path: { glob: ~/.ssh/* } }], none_of: [{ path: { glob: ~/.ssh/*.pub } }]");
	is_sure("all_of: [{ path: { glob: '**/x' } }, { path: { match: 'y$' } }]");
}

static void anything_else(void **state)
{
	static const struct {
		const char *field, *also;
	} rows[] = {
		{ "process_name", "{ process_name: { eq: cat } }" },
		{ "agent_identifier", "{ agent_identifier: { ne: codex-cli } }" },
		{ "exe", "{ exe: { glob: /usr/** } }" },
		{ "pid", "{ pid: { gt: 1 } }" },
		{ "uid", "{ uid: { eq: 0 } }" },
		{ "wall_clock_hour", "{ wall_clock_hour: { gte: 22 } }" },
		{ "matched_category", "{ matched_category: { eq: aws } }" },
	};
	char match[256], why[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(why, sizeof(why), "not by lsm: it asks for %s", rows[i].field);
		snprintf(match, sizeof(match), "all_of: [{ path: { glob: ~/a } }, %s]", rows[i].also);
		is_not(match, "default: block", NULL, why);
		snprintf(match, sizeof(match), "all_of: [{ path: { glob: ~/a } }], none_of: [%s]",
			 rows[i].also);
		is_not(match, "default: block", NULL, why);
	}
}

static void who_is_let_off(void **state)
{
	struct config_reader reader = { .rule = (char *)"X1", .exe = (char *)"/usr/bin/x" };
	struct config site = { .readers = &reader, .n_readers = 1 };

	(void)state;
	is_not("all_of: [{ path: { glob: ~/a } }]", "default: block", &site,
	       "not by lsm: it has a reader, /usr/bin/x");
	reader.rule = (char *)"X1/p";
	is_not("all_of: [{ path: { glob: ~/a } }]", "default: block", &site,
	       "not by lsm: it has a reader, /usr/bin/x");
	reader.rule = (char *)"X1/other";
	ruleset_unref(load("all_of: [{ path: { glob: ~/a } }]", "default: block", &site));
	is_not("all_of: [{ path: { glob: ~/a } }]", "default: block, on_block: hold", NULL,
	       "not by lsm: it is to hold who opens");
}

static unsigned modes(const char *match, const char *path, const char *home)
{
	_cleanup_(cleanup_rules) struct ruleset *rs = load(match, "default: block", NULL);
	struct file_name name = { path, home };

	return ruleset_sure_modes(rs, &name, 1);
}

static void what_they_say(void **state)
{
	const char *const ssh = "any_of: [{ path: { glob: ['~/.ssh/*', /etc/k/*] } }], "
				"none_of: [{ path: { glob: '~/.ssh/*.pub' } }]";
	const char *const ways = "any_of: [{ all_of: [{ path: { glob: ~/w } }, "
				 "{ open_mode: { in: [write, exec] } }] }, { path: { glob: ~/all } }]";

	(void)state;
	assert_int_equal(modes(ssh, "/h/.ssh/id", "/h"), ALL);
	assert_int_equal(modes(ssh, "/h/.ssh/id.pub", "/h"), 0);
	assert_int_equal(modes(ssh, "/h/other", "/h"), 0);
	/* Whose home it would be that takes it out is not known. */
	assert_int_equal(modes(ssh, "/etc/k/x", NULL), 0);
	assert_int_equal(modes(ssh, "/etc/k/x", "/h"), ALL);
	assert_int_equal(modes("any_of: [{ path: { glob: /etc/k/* } }]", "/etc/k/x", NULL), ALL);
	/* A home that is not known is nobody's. */
	assert_int_equal(modes("any_of: [{ path: { glob: ~/a } }]", "/h/a", NULL), 0);
	assert_int_equal(modes(ways, "/h/w", "/h"), WRITE | EXEC);
	assert_int_equal(modes(ways, "/h/all", "/h"), ALL);
	assert_int_equal(modes("all_of: [{ path: { glob: ~/r } }, { open_mode: { ne: read } }]", "/h/r",
			       "/h"), WRITE | EXEC);
}

/* A name that one rule lets be and another does not; what one name says is not taken back. */
static void several_names(void **state)
{
	_cleanup_(cleanup_rules) struct ruleset *rs =
		load("any_of: [{ path: { glob: ~/a } }], none_of: [{ path: { glob: ~/b } }]",
		     "default: block", NULL);
	const struct file_name names[] = { { "/h/b", "/h" }, { "/h/a", "/h" } };

	(void)state;
	assert_int_equal(ruleset_sure_modes(rs, names, 1), 0);
	assert_int_equal(ruleset_sure_modes(rs, names, 2), ALL);
	assert_int_equal(ruleset_sure_modes(rs, names, 0), 0);
}

static void no_block(void **state)
{
	_cleanup_(cleanup_rules) struct ruleset *rs =
		load("any_of: [{ path: { glob: ~/a } }]", "default: warn", NULL);
	const struct file_name name = { "/h/a", "/h" };

	(void)state;
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_DETECT);
	assert_int_equal(ruleset_sure_modes(rs, &name, 1), 0);
}

/* ---- programs ------------------------------------------------------------------------------------ */

static struct ruleset *load_below(const char *match, unsigned mechanisms, char *const *roots)
{
	const struct rules_config c = { .mechanisms = { [KIND_EXEC_OBSERVED] = mechanisms },
					.mark_roots = roots };
	struct rules_error err = { "" };
	struct ruleset *rs = NULL;
	char text[4096];

	snprintf(text, sizeof(text), "id: X1\nversion: 1\nname: n\nkind: exec_observed\n"
		 "action: { default: block }\nmatch: { %s }\n", match);
	if (ruleset_load_buffer("sure.yaml", text, strlen(text), &c, &rs, &err))
		fail_msg("%s: %s", match, err.text);
	return rs;
}

static struct ruleset *load_exec(const char *match, unsigned mechanisms)
{
	return load_below(match, mechanisms, NULL);
}

static void add_name(void *arg, const char *name)
{
	char *list = arg;

	snprintf(list + strlen(list), 256 - strlen(list), "%s,", name);
}

static void is_named(const char *match, const char *names)
{
	_cleanup_(cleanup_rules) struct ruleset *rs = load_exec(match, 1u << MECH_LSM);
	char list[256] = "";

	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_LSM);
	assert_string_equal(ruleset_rule(rs, 0)->bound_why, "");
	ruleset_sure_names(rs, add_name, list);
	assert_string_equal(list, names);
}

static void is_not_sure(const char *match, const char *why)
{
	static const enum mechanism others[] = { MECH_DETECT, MECH_FANOTIFY };
	char list[256] = "";

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		_cleanup_(cleanup_rules) struct ruleset *rs =
			load_exec(match, 1u << MECH_LSM | 1u << others[i]);

		assert_int_not_equal(ruleset_rule(rs, 0)->mechanism, MECH_LSM);
		/* Of marks there may be something else to be said. */
		if (others[i] == MECH_DETECT)
			assert_string_equal(ruleset_rule(rs, 0)->bound_why, why);
		ruleset_sure_names(rs, add_name, list);
		assert_string_equal(list, "");
		assert_false(ruleset_sure_program(rs, "/bin/a"));
	}
}

static void programs_by_name(void **state)
{
	(void)state;
	is_named("any_of: [{ process_name: { eq: nc } }]", "nc,nc.exe,nc (deleted),nc.exe (deleted),");
	/* A file of that name is called something else. */
	is_named("any_of: [{ process_name: { eq: nc.exe } }]",
		 "nc.exe.exe,nc.exe (deleted),nc.exe.exe (deleted),");
	is_named("any_of: [{ exe: { glob: ['**/nc', socat] } }, { exe: { suffix: /ncat } }]",
		 "ncat,nc,socat,");
	is_named("all_of: [{ exe: { glob: '**/nc' } }]", "nc,");
}

static void programs_by_more(void **state)
{
	static const char *const more = "not by lsm: it can match programs that it does not name";

	(void)state;
	is_not_sure("any_of: [{ chain_depth: { gte: 8 } }]", "not by lsm: it asks for chain_depth");
	is_not_sure("all_of: [{ process_name: { eq: a } }, { argv: { contains: b } }]",
		    "not by lsm: it asks for argv");
	is_not_sure("all_of: [{ process_name: { eq: a } }], none_of: [{ uid: { eq: 0 } }]",
		    "not by lsm: it asks for uid");
	is_not_sure("any_of: [{ process_name: { eq: claude } }]",
		    "not by lsm: no file tells that the process is called claude");
	is_not_sure("any_of: [{ process_name: { glob: a* } }]",
		    "not by lsm: no file tells that the process is called a*");
	is_not_sure("any_of: [{ process_name: { ne: a } }]", more);
	is_not_sure("any_of: [{ exe: { contains: a } }]", more);
	is_not_sure("any_of: [{ exe: { glob: '**/a*' } }]", more);
	is_not_sure("any_of: [{ exe: { suffix: a } }]", more);
	is_not_sure("any_of: [{ exe: { suffix: /b/a } }]", more);
	is_not_sure("any_of: [{ exe: { glob: ~/a } }]", more);
	is_not_sure("any_of: [{ process_name: { eq: a } }, { exe: { contains: /a/ } }]", more);
	is_not_sure("all_of: [{ process_name: { eq: a } }, { exe: { contains: /a/ } }]", more);
	is_not_sure("none_of: [{ process_name: { eq: a } }]", more);
	/* Longer than the kernel's key. */
	is_not_sure("any_of: [{ process_name: { eq: aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeee } }]",
		    more);
}

#define MARKS (1u << MECH_LSM | 1u << MECH_FANOTIFY)

/* yes and no: paths with a space after each. */
static void is_filed(const char *match, const char *yes, const char *no)
{
	_cleanup_(cleanup_rules) struct ruleset *rs = load_exec(match, MARKS);
	const char *lists[] = { no, yes };
	char path[128];
	int n;

	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_LSM);
	assert_string_equal(ruleset_rule(rs, 0)->bound_why, "");
	for (int want = 0; want < 2; want++)
		for (const char *s = lists[want]; sscanf(s, "%127s%n", path, &n) == 1; s += n)
			if (ruleset_sure_program(rs, path) != want)
				fail_msg("%s: %s", match, path);
}

static void programs_by_file(void **state)
{
	(void)state;
	is_filed("any_of: [{ exe: { in: [/o/a, /o/b] } }]", "/o/a /o/b", "/o /o/c /p/o/a o/a");
	is_filed("any_of: [{ exe: { glob: '/o/t/*' } }]", "/o/t/a", "/o/t/a/b /o/t /t/a");
	is_filed("all_of: [{ exe: { glob: '/o/t/*' } }, { process_name: { ne: good } }]", "/o/t/a",
		 "/o/t/good /o/t/good.exe /o/a");
	is_filed("all_of: [{ exe: { glob: '/o/t/*' } }], none_of: [{ exe: { suffix: .sh } }]", "/o/t/a",
		 "/o/t/a.sh");
	is_filed("any_of: [{ exe: { eq: /o/a } }, { process_name: { eq: nc } }]",
		 "/o/a /usr/bin/nc /usr/bin/nc.exe", "/o/b /usr/bin/ncat");
	is_filed("all_of: [{ any_of: [{ exe: { eq: /o/a } }, { exe: { glob: '/p/*' } }] }, "
		 "{ exe: { contains: a } }]", "/o/a /p/a", "/p/b /q/a");
	/* What means something in a pattern means nothing in a path. */
	is_filed("any_of: [{ exe: { eq: '/o/[ab]*' } }]", "/o/[ab]*", "/o/a");
}

/* The kernel knows of files that were found. */
static void nobody_looks(void **state)
{
	static const char *const more = "not by lsm: it can match programs that it does not name";
	char *roots[] = { (char *)"/srv", NULL };
	struct ruleset *rs;

	(void)state;
	is_not_sure("any_of: [{ exe: { glob: '/o/**/a' } }]", more);
	is_not_sure("any_of: [{ exe: { eq: /lib/ld-linux-x86-64.so.2 } }]", more);
	is_not_sure("any_of: [{ exe: { eq: /o/a } }, { exe: { glob: '/o/**/a' } }]", more);
	/* By the name alone some are found, and the path is asked of these. */
	is_not_sure("all_of: [{ exe: { glob: '/o/**/a' } }, { process_name: { eq: a } }]", more);
	/* Without marks nobody finds them. */
	rs = load_exec("any_of: [{ exe: { eq: /o/a } }]", 1u << MECH_LSM);
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_DETECT);
	assert_string_equal(ruleset_rule(rs, 0)->bound_why,
			    "not by lsm: nothing looks for the programs that it names by their paths");
	assert_false(ruleset_sure_program(rs, "/o/a"));
	ruleset_unref(rs);
	/* Nor where none may be set. */
	rs = load_below("any_of: [{ exe: { eq: /o/a } }]", MARKS, roots);
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_DETECT);
	ruleset_unref(rs);
	roots[0] = (char *)"/o";
	rs = load_below("any_of: [{ exe: { eq: /o/a } }]", MARKS, roots);
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_LSM);
	assert_true(ruleset_sure_program(rs, "/o/a"));
	ruleset_unref(rs);
}

/* Who is not held by anything else cannot wait for an operator, and is not let through for that. */
static void nobody_waits(void **state)
{
	static const char *const texts[] = {
		"kind: exec_observed\nmatch: { any_of: [{ process_name: { eq: nc } }] }\n",
		"kind: file_opened\nmatch: { any_of: [{ path: { eq: /o/a } }] }\n",
	};
	struct rules_config c = { .mechanisms = { [KIND_EXEC_OBSERVED] = 1u << MECH_LSM,
						  [KIND_FILE_OPENED] = 1u << MECH_LSM } };
	struct rules_error err = { "" };
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(cleanup_rules) struct ruleset *rs = NULL;

		snprintf(text, sizeof(text), "id: X1\nversion: 1\nname: n\n"
			 "action: { default: block, on_block: hold }\n%s", texts[i]);
		if (ruleset_load_buffer("sure.yaml", text, strlen(text), &c, &rs, &err))
			fail_msg("%s", err.text);
		assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_LSM);
		assert_string_equal(ruleset_rule(rs, 0)->bound_why, "cannot be held: denied at once");
	}
}

/* Labels are all there is, and files of programs are found for them. */
static void labels_alone(void **state)
{
	static const char *const not_held = "the source that holds does not run";
	const char *const texts[] = {
		"kind: exec_observed\nmatch: { any_of: [{ exe: { eq: /o/a } }] }\n",
		"kind: exec_observed\nmatch: { all_of: [{ exe: { eq: /o/a } }, { argv: { contains: b } }] }\n",
		"kind: file_opened\nmatch: { any_of: [{ path: { eq: /o/a } }] }\n",
		"kind: file_opened\nmatch: { all_of: [{ path: { eq: /o/a } }, { uid: { eq: 1 } }] }\n",
	};
	struct rules_config c = { .mechanisms = { [KIND_EXEC_OBSERVED] = 1u << MECH_LSM,
						  [KIND_FILE_OPENED] = 1u << MECH_LSM },
				  .why_none = { [KIND_EXEC_OBSERVED] = not_held,
						[KIND_FILE_OPENED] = not_held },
				  .programs_found = true };
	struct rules_error err = { "" };
	char text[512], why[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(cleanup_rules) struct ruleset *rs = NULL;
		bool sure = i % 2 == 0;

		snprintf(text, sizeof(text), "id: X1\nversion: 1\nname: n\naction: { default: block }\n%s",
			 texts[i]);
		snprintf(why, sizeof(why), "%s; not by lsm: it asks for %s", not_held, i < 2 ? "argv" : "uid");
		if (ruleset_load_buffer("sure.yaml", text, strlen(text), &c, &rs, &err))
			fail_msg("%s", err.text);
		assert_int_equal(ruleset_rule(rs, 0)->mechanism, sure ? MECH_LSM : MECH_DETECT);
		assert_string_equal(ruleset_rule(rs, 0)->bound_why, sure ? "" : why);
		/* They are looked for when there is one alone. */
		assert_int_equal(ruleset_programs(rs) != NULL, i == 0);
		if (i == 0) {
			assert_int_equal(pathset_reach(ruleset_programs(rs), "/o/a", NULL, NULL), GLOB_HERE);
			assert_int_equal(pathset_reach(ruleset_programs(rs), "/bin/sh", NULL, NULL), GLOB_NONE);
			assert_true(ruleset_sure_program(rs, "/o/a"));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_alone),	cmocka_unit_test(anything_else),
		cmocka_unit_test(who_is_let_off), cmocka_unit_test(what_they_say),
		cmocka_unit_test(several_names),  cmocka_unit_test(no_block),
		cmocka_unit_test(programs_by_name), cmocka_unit_test(programs_by_more),
		cmocka_unit_test(programs_by_file), cmocka_unit_test(nobody_looks),
		cmocka_unit_test(nobody_waits),
		cmocka_unit_test(labels_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
