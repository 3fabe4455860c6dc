/* SPDX-License-Identifier: Apache-2.0 */
/* What the manual shows as an example loads. Run from the root of the tree. */
#include "t/rules-test.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/config.h"

/* The next block of lines between .Bd and .Ed that follows the comment; false at the end. */
static bool next_example(FILE *page, const char *comment, char *text, size_t size)
{
	char line[512];
	bool found = false, inside = false;
	size_t used = 0;

	*text = '\0';
	while (fgets(line, sizeof(line), page)) {
		if (!strcmp(line, comment)) {
			found = true;
		} else if (found && !strncmp(line, ".Bd ", 4)) {
			inside = true;
		} else if (inside && !strcmp(line, ".Ed\n")) {
			return true;
		} else if (inside) {
			assert_null(strchr(line, '\\')); /* nothing that roff would change */
			used += (size_t)snprintf(text + used, size - used, "%s", line);
			assert_true(used < size);
		}
	}
	return false;
}

static void examples_of_rules_load(void **state)
{
	_cleanup_fclose_ FILE *page = fopen("man/oknek-rules.5", "r");
	char text[4096];
	int n = 0;

	(void)state;
	assert_non_null(page);
	for (; next_example(page, ".\\\" rule\n", text, sizeof(text)); n++) {
		struct ruleset *rs = rules(text);

		assert_int_equal(ruleset_count(rs), 1);
		assert_string_equal(ruleset_source(rs, 0), text);
		ruleset_unref(rs);
	}
	assert_true(n >= 3);
}

/* What is shown of a rule only in part, in a rule. */
static void parts_of_rules_load(void **state)
{
	static const char *const parts[][2] = {
		{ ".\\\" match\n", "" },
		{ ".\\\" comparison\n", "match:\n  any_of:\n    - " },
	};
	char text[4096], rule[8192];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_fclose_ FILE *page = fopen("man/oknek-rules.5", "r");
		struct ruleset *rs;

		assert_non_null(page);
		assert_true(next_example(page, parts[i][0], text, sizeof(text)));
		snprintf(rule, sizeof(rule), "lists: { shells: [sh, bash, zsh] }\n---\n" HEAD("X1")
			 "%s%s", parts[i][1], text);
		rs = rules(rule);
		assert_int_equal(ruleset_count(rs), 1);
		ruleset_unref(rs);
	}
}

static void the_example_of_a_configuration_loads(void **state)
{
	_cleanup_fclose_ FILE *page = fopen("man/oknek.yaml.5", "r");
	struct config *c = NULL;
	char text[4096], err[512] = "";

	(void)state;
	assert_non_null(page);
	assert_true(next_example(page, ".\\\" config\n", text, sizeof(text)));
	if (config_load_buffer("oknek.yaml", text, strlen(text), &c, err))
		fail_msg("%s", err);
	assert_int_equal(c->mode, MODE_ENFORCE);
	assert_int_equal(c->n_readers, 1);
	config_free(c);
}

/* The shipped rules: all of them, and what they say about themselves. */
static void the_shipped_rules_load(void **state)
{
	static const char *const dirs[] = { "rules/core", NULL };
	const struct rules_config c = { .dirs = dirs, .pack = "core", .mechanisms = FANOTIFY };
	struct rules_error err = { "" };
	struct ruleset *rs = NULL;
	struct event ev = an_open("/home/u/.aws/credentials");
	const char *category;
	struct decision d;

	(void)state;
	if (ruleset_load(&c, &rs, &err))
		fail_msg("%s", err.text);
	rules_decide(rs, &ev, &wednesday_15, &d, &category);
	assert_int_equal(d.verdict, VERDICT_BLOCK);
	assert_string_equal(d.fired[0].rule->id, "R3");
	assert_string_equal(d.fired[0].rule->part, "aws");
	assert_int_equal(d.fired[0].rule->mechanism, MECH_FANOTIFY);
	assert_string_equal(category, "aws");
	ev.file.names[0].path = "/home/u/src/main.c";
	rules_decide(rs, &ev, &wednesday_15, &d, &category);
	assert_int_equal(d.verdict, VERDICT_ALLOW);
	assert_null(category);
	for (size_t i = 0; i < ruleset_count(rs); i++) {
		const struct rule *r = ruleset_rule(rs, i);

		/* a block that nothing holds says why */
		if (r->action == VERDICT_BLOCK && r->mechanism == MECH_DETECT)
			assert_string_not_equal(r->bound_why, "");
	}
	ruleset_unref(rs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_of_rules_load),
		cmocka_unit_test(parts_of_rules_load),
		cmocka_unit_test(the_example_of_a_configuration_loads),
		cmocka_unit_test(the_shipped_rules_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
