/* SPDX-License-Identifier: Apache-2.0 */
/* Which paths no rule could fire for is said for certain: for any home, process and way of opening. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "rules/rules.h"

#define RULE(match) \
	"id: X1\nname: n\nversion: 1\nkind: file_opened\nmatch: {" match "}\naction: {default: block}\n"

static bool wants(const char *yaml, const char *path, bool by_path)
{
	struct rules_config c = { .by_path = by_path };
	struct rules_error err;
	struct ruleset *rs;
	bool r;

	if (ruleset_load_buffer("f", yaml, strlen(yaml), &c, &rs, &err) < 0)
		fail_msg("%s", err.text);
	r = ruleset_wants_path(rs, path);
	ruleset_unref(rs);
	return r;
}

static void test_paths(void **state)
{
	static const struct {
		const char *match, *path;
		bool wanted;
	} cases[] = {
		{ "any_of: [{path: {glob: \"~/.aws/credentials\"}}]", "/home/u/.aws/credentials", true },
		{ "any_of: [{path: {glob: \"~/.aws/credentials\"}}]", "/.aws/credentials", true },
		{ "any_of: [{path: {glob: \"~/.aws/credentials\"}}]", "/.aws/config", false },
		{ "any_of: [{path: {glob: \"~/.aws/**\"}}]", "/home/u/.aws/a/b", true },
		{ "any_of: [{path: {glob: \"~/.aws/**\"}}]", "/home/u/.aws", false },
		{ "any_of: [{path: {glob: \"{~/.aws,/srv/x}/credentials\"}}]", "/srv/x/credentials", true },
		{ "any_of: [{path: {glob: \"{~/.aws,/srv/x}/credentials\"}}]", "/a/srv/x/credentials", false },
		{ "any_of: [{path: {glob: \"~/.aws/credentials\"}}]", "/home/u/.aws/config", false },
		{ "any_of: [{path: {glob: \"~/.aws/credentials\"}}]", "/a/b/c/d/.aws/credentials", true },
		{ "any_of: [{path: {eq: \"~/x\"}}]", "/any/where/x", true },
		{ "any_of: [{path: {eq: \"~/x\"}}]", "/any/where/y", false },
		{ "any_of: [{path: {ne: \"~/x\"}}]", "/any/where/x", true }, /* it may be nobody's home */
		{ "any_of: [{path: {glob: \"**/.env\"}}]", "/home/u/p/.env", true },
		{ "any_of: [{path: {glob: \"**/.env\"}}]", "/home/u/p/.envrc", false },
		{ "all_of: [{path: {glob: \"/etc/*\"}}, {process_name: {eq: cat}}]", "/etc/x", true },
		{ "all_of: [{path: {glob: \"/etc/*\"}}, {process_name: {eq: cat}}]", "/usr/x", false },
		{ "all_of: [{path: {glob: \"/etc/*\"}}], none_of: [{path: {glob: \"~/x\"}}]", "/etc/x", true },
		{ "all_of: [{path: {glob: \"/etc/*\"}}], none_of: [{path: {glob: \"/etc/x\"}}]", "/etc/x",
		  false },
		{ "all_of: [{path: {glob: \"/etc/*\"}}], none_of: [{uid: {eq: 0}}]", "/etc/x", true },
		{ "any_of: [{process_name: {eq: cat}}]", "/any/where", true },
		{ "any_of: [{open_mode: {eq: write}}]", "/any/where", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char yaml[512];

		snprintf(yaml, sizeof(yaml), RULE("%s"), cases[i].match);
		if (wants(yaml, cases[i].path, true) != cases[i].wanted)
			fail_msg("%s, %s: not %d", cases[i].match, cases[i].path, cases[i].wanted);
	}
}

static void test_not_asked_for(void **state)
{
	(void)state;
	assert_true(wants(RULE("any_of: [{path: {glob: \"/etc/*\"}}]"), "/usr/x", false));
}

static void test_no_rules(void **state)
{
	(void)state;
	assert_false(wants("id: X1\nname: n\nversion: 1\nkind: exec_observed\nmatch: {any_of: [{uid: {eq: 0}}]}\n"
			   "action: {default: warn}\n", "/usr/x", true));
}

static void test_kinds(void **state)
{
	static const char opens[] = RULE("any_of: [{path: {glob: \"/etc/*\"}}]");
	static const char *const allows[] = { "block", "allow" };
	struct rules_config c = { .by_path = true };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct rules_error err;
		struct ruleset *rs;
		char yaml[512];

		snprintf(yaml, sizeof(yaml), "%s", opens);
		memcpy(strstr(yaml, "block"), allows[i], 5);
		if (ruleset_load_buffer("f", yaml, strlen(yaml), &c, &rs, &err) < 0)
			fail_msg("%s", err.text);
		assert_int_equal(ruleset_wants_kind(rs, KIND_FILE_OPENED), i == 0);
		assert_false(ruleset_wants_kind(rs, KIND_SOCKET_CONNECT));
		assert_false(ruleset_wants_kind(rs, KIND_EXEC_OBSERVED));
		ruleset_unref(rs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_not_asked_for),
		cmocka_unit_test(test_no_rules),
		cmocka_unit_test(test_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
