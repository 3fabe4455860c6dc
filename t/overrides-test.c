/* SPDX-License-Identifier: Apache-2.0 */
/* What a host changes about rules, what it may not, and what is told about it. */
#include "t/rules-test.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/config.h"

/* The rules of text as a host with this oknek.yaml has them, or the complaint. */
static struct ruleset *on_host(const char *text, const char *yaml, char err[512])
{
	struct rules_config c = { .mechanisms = FANOTIFY };
	struct config *site = NULL;
	struct ruleset *rs = NULL;
	struct rules_error why = { "" };

	if (config_load_buffer("o.yaml", yaml, strlen(yaml), &site, why.text) == 0) {
		c.site = site;
		ruleset_load_buffer("f", text, strlen(text), &c, &rs, &why);
	}
	config_free(site);
	snprintf(err, 512, "%s", rs ? "loaded" : why.text);
	return rs;
}

static struct ruleset *loaded(const char *text, const char *yaml)
{
	char err[512];
	struct ruleset *rs = on_host(text, yaml, err);

	if (!rs)
		fail_msg("%s\n%s", err, yaml);
	return rs;
}

#define RULE(head, action) head "name: n\nversion: 1\nkind: file_opened\naction: " action "\n" \
			   "match: { any_of: [ path: { eq: /x } ] }\n"
#define LIMIT(head, match, threshold) head "name: n\nversion: 1\nkind: file_opened\n" \
	"action: { default: block }\nmatch:\n  all_of:\n    - path: { eq: /x }\n    - " match "\n" \
	"threshold: " threshold "\n"

static const char many[] =
	RULE("id: R3\npart: a\n", "{ default: block, configurable: true, options: [block, warn] }") "---\n"
	RULE("id: R3\npart: b\n", "{ default: block, configurable: true }") "---\n"
	RULE("id: R4\n", "{ default: block }") "---\n"
	LIMIT("id: R5\npart: a\n", "uid: { gt: 8 }", "{ default: 8, configurable: true }") "---\n"
	LIMIT("id: R5\npart: b\n", "uid: { gt: 8 }", "{ default: 8 }") "---\n"
	RULE("id: R5\npart: c\n", "{ default: block }") "---\n"
	LIMIT("id: R6\n", "uid: { gt: 8 }", "{ default: 8, configurable: false }") "---\n"
	RULE("id: X1\n", "{ default: warn, configurable: true }");

static void overrides_need_leave(void **state)
{
	static const char *const cases[][2] = {
		{ "R3: { action: warn }", "loaded" },
		{ "R3/b: { action: allow }", "loaded" },
		{ "X1: { action: block }", "loaded" },
		/* what does not suit one part is no matter where that part has a line of its own */
		{ "R3: { action: allow }\n  R3/a: { action: warn }", "loaded" },
		{ "R3: { action: allow }",
		  "o.yaml:2: R3: action allow is refused, rule R3/a does not have it in its options (f:1)" },
		{ "R3/c: { action: warn }",
		  "o.yaml:2: R3/c: there is no such rule; `oknek rules list` shows them" },
		{ "R33: { action: warn }",
		  "o.yaml:2: R33: there is no such rule; `oknek rules list` shows them" },
		{ "R33: { threshold: 1 }",
		  "o.yaml:2: R33: there is no such rule; `oknek rules list` shows them" },
		{ "R4:\n    action: warn",
		  "o.yaml:3: R4: action warn is refused, rule R4 is not configurable (f:17)" },
		{ "R5: { threshold: 80 }", "loaded" }, /* of those parts that have one */
		{ "R5/a: { threshold: 80 }", "loaded" },
		{ "R5/b: { threshold: 80 }", "o.yaml:2: R5/b: threshold 80 is refused, rule R5/b does not say "
					     "threshold.configurable: true (f:36)" },
		{ "R5/c: { threshold: 80 }",
		  "o.yaml:2: R5/c: threshold 80 is refused, rule R5/c has no threshold (f:48)" },
		{ "R6: { threshold: 80 }", "o.yaml:2: R6: threshold 80 is refused, rule R6 does not say "
					   "threshold.configurable: true (f:56)" },
		{ "R3: { threshold: -1 }",
		  "o.yaml:2: R3: threshold -1 is refused, rule R3/a has no threshold (f:1)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char yaml[200], err[512];

		snprintf(yaml, sizeof(yaml), "rules:\n  %s\n", cases[i][0]);
		ruleset_unref(on_host(many, yaml, err));
		if (strcmp(err, cases[i][1]))
			fail_msg("%s\nwant %s\ngot  %s", yaml, cases[i][1], err);
	}
}

static void a_part_knows_better_and_it_is_told_who_said_it(void **state)
{
	struct ruleset *rs = loaded(many, "rules:\n"
					  "  R3/b: { action: allow }\n"
					  "  R3: { action: warn }\n"
					  "  R5/a:\n"
					  "    threshold: 100\n"
					  "  R5: { threshold: 80 }\n");
	const struct rule *r = ruleset_rule(rs, 0);

	(void)state;
	assert_int_equal(r->action, VERDICT_WARN);
	assert_int_equal(r->action_default, VERDICT_BLOCK);
	assert_string_equal(r->action_from, "o.yaml:3");
	assert_int_equal(ruleset_rule(rs, 1)->action, VERDICT_ALLOW);
	assert_string_equal(ruleset_rule(rs, 1)->action_from, "o.yaml:2");
	r = ruleset_rule(rs, 2);
	assert_int_equal(r->action, VERDICT_BLOCK);
	assert_null(r->action_from);
	assert_false(r->has_threshold);
	r = ruleset_rule(rs, 3);
	assert_string_equal(r->part, "a");
	assert_true(r->has_threshold);
	assert_int_equal(r->threshold, 100);
	assert_int_equal(r->threshold_default, 8);
	assert_string_equal(r->threshold_from, "o.yaml:5");
	r = ruleset_rule(rs, 4);
	assert_int_equal(r->threshold, 8);
	assert_null(r->threshold_from);
	ruleset_unref(rs);
}

/* The least uid of 0 to 30 for which the rule fires, or -1. */
static int fires_from(const char *match, const char *threshold)
{
	char text[1024], yaml[64];
	struct event ev = an_open("/x");
	struct ruleset *rs;
	int ret = -1;

	snprintf(text, sizeof(text), "id: R1\nname: n\nversion: 1\nkind: file_opened\n"
		 "action: { default: block }\nmatch:\n  all_of:\n    - path: { eq: /x }\n    - %s\n"
		 "threshold: { default: 8, configurable: true }\n", match);
	snprintf(yaml, sizeof(yaml), "rules: { R1: { threshold: %s } }\n", threshold);
	rs = loaded(text, yaml);
	for (unsigned uid = 0; uid <= 30 && ret < 0; uid++) {
		ev.subj.uid = uid;
		if (decide(rs, &ev) == VERDICT_BLOCK)
			ret = (int)uid;
	}
	ruleset_unref(rs);
	return ret;
}

static void every_ordering_literal_equal_to_the_default_is_replaced(void **state)
{
	static const struct {
		const char *match, *threshold;
		int from;
	} cases[] = {
		{ "uid: { gt: 8 }", "20", 21 },
		{ "uid: { gte: 8 }", "20", 20 },
		{ "uid: { gte: 8 }", "8", 8 },
		{ "uid: { gte: 8 }", "0", 0 },
		{ "none_of: [ uid: { lt: 8 } ]", "20", 20 },
		{ "none_of: [ uid: { lte: 8 } ]", "20", 21 },
		/* lists of values, groups within groups */
		{ "uid: { gte: [8, 25] }", "20", 20 },
		{ "any_of: [ all_of: [ any_of: [ none_of: [ uid: { lt: 8 } ] ] ] ]", "20", 20 },
		/* every one of them */
		{ "all_of: [ uid: { gte: 8 }, none_of: [ uid: { lt: 8 } ], uid: { gt: [8, 8] } ]", "20", 21 },
		/* and nothing else: other numbers, other comparisons, other fields' literals alike */
		{ "all_of: [ uid: { gte: 8 }, uid: { gte: 9 } ]", "2", 9 },
		{ "any_of: [ uid: { gt: 8 }, uid: { eq: 8 } ]", "20", 8 },
		{ "all_of: [ uid: { gt: 8 }, uid: { ne: 8 } ]", "7", 9 },
		{ "all_of: [ uid: { gte: 8 }, pid: { gte: 8 } ]", "20", 20 },
		/* the new number is never taken for the old one */
		{ "all_of: [ uid: { gte: 8 }, uid: { gte: 10 } ]", "10", 10 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int from = fires_from(cases[i].match, cases[i].threshold);

		if (from != cases[i].from)
			fail_msg("%s with %s: from %d, not %d", cases[i].match, cases[i].threshold,
				 cases[i].from, from);
	}
}

/* A block rule that can no longer fire would be a rule that somebody thinks he has. */
static void a_threshold_is_one_that_the_field_can_have(void **state)
{
	static const struct {
		const char *match, *threshold, *err;
	} cases[] = {
		{ "wall_clock_hour: { gte: 8 }", "23", "" },
		{ "wall_clock_hour: { lt: 8 }", "24", "" },
		{ "wall_clock_hour: { gte: 8 }", "24", "asks wall_clock_hour gte it, which is 0 to 23" },
		{ "wall_clock_hour: { gte: 8 }", "99", "asks wall_clock_hour gte it, which is 0 to 23" },
		{ "wall_clock_hour: { gt: 8 }", "23", "asks wall_clock_hour gt it, which is 0 to 23" },
		{ "wall_clock_hour: { lt: 8 }", "0", "asks wall_clock_hour lt it, which is 0 to 23" },
		{ "uid: { gt: 8 }", "99999999999999", "asks uid gt it, which is 0 to 4294967294" },
		{ "uid: { gte: 8 }", "-5", "asks uid gte it, which is 0 to 4294967294" },
		{ "any_of: [ uid: { eq: 1 }, all_of: [ uid: { eq: 2 }, pid: { gt: 8 } ] ]", "4194304",
		  "asks pid gt it, which is 1 to 4194304" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[512], yaml[128], want[300] = "";
		struct rules_config c = { .mechanisms = FANOTIFY };
		struct rules_error err = { "" };
		struct config *site = NULL;
		struct ruleset *rs = NULL;

		snprintf(text, sizeof(text), "id: R1\nname: n\nversion: 1\nkind: file_opened\n"
			 "action: { default: block }\nmatch: { all_of: [ %s ] }\n"
			 "threshold: { default: 8, configurable: true }\n", cases[i].match);
		snprintf(yaml, sizeof(yaml), "rules: { R1: { threshold: %s } }\n", cases[i].threshold);
		assert_int_equal(config_load_buffer("o.yaml", yaml, strlen(yaml), &site, err.text), 0);
		c.site = site;
		ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err);
		if (*cases[i].err)
			snprintf(want, sizeof(want), "o.yaml:1: R1: threshold %s is refused, rule R1 %s (f:1)",
				 cases[i].threshold, cases[i].err);
		assert_string_equal(err.text, want);
		ruleset_unref(rs);
		config_free(site);
	}
}

/* Both of an action said in one file and a threshold said in another hold; config-test has the files. */
static void action_and_threshold_go_together(void **state)
{
	static const char text[] =
		"id: X9\nname: n\nversion: 1\nkind: file_opened\nmatch: { all_of: [ path: { eq: /x }, "
		"uid: { gte: 8 } ] }\nthreshold: { default: 8, configurable: true }\n"
		"action: { default: warn, configurable: true }\n";
	struct ruleset *rs = loaded(text, "rules: { X9: { action: block, threshold: 20 } }");
	struct event ev = an_open("/x");

	(void)state;
	ev.subj.uid = 20;
	assert_int_equal(decide(rs, &ev), VERDICT_BLOCK);
	ev.subj.uid = 19;
	assert_int_equal(decide(rs, &ev), VERDICT_ALLOW);
	ruleset_unref(rs);
}

static void kinds_that_nobody_reports_say_so(void **state)
{
	static const char text[] =
		RULE("id: X1\n", "{ default: block }") "---\n"
		"id: X2\nname: n\nversion: 1\nkind: exec_observed\naction: { default: block }\n"
		"match: { any_of: [ uid: { eq: 1 } ] }\n---\n"
		"id: X3\nname: n\nversion: 1\nkind: socket_connect\naction: { default: allow }\n"
		"match: { any_of: [ uid: { eq: 1 } ] }\n";
	struct rules_config c = { .mechanisms = FANOTIFY,
				  .unobserved_kinds = ~(1u << KIND_FILE_OPENED) };
	struct ruleset *rs;
	struct rules_error err;

	(void)state;
	assert_int_equal(ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err), 0);
	assert_true(ruleset_rule(rs, 0)->observed);
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_FANOTIFY);
	assert_false(ruleset_rule(rs, 1)->observed);
	assert_int_equal(ruleset_rule(rs, 1)->mechanism, MECH_DETECT);
	assert_string_equal(ruleset_rule(rs, 1)->bound_why,
			    "not observed: no running source reports exec_observed");
	assert_false(ruleset_rule(rs, 2)->observed);
	assert_string_equal(ruleset_rule(rs, 2)->bound_why,
			    "not observed: no running source reports socket_connect");
	ruleset_unref(rs);
}

/* Of what blocks a file under any of its names: the earliest deadline, the strictest answer. */
static void deadlines_and_answers_of_rules_count(void **state)
{
#define SLOW(id, match, action) "id: " id "\nname: n\nversion: 1\nkind: file_opened\naction: { " action \
	" }\nmatch: { all_of: [ " match " ] }\n---\n"
	static const char text[] =
		SLOW("R1", "path: { eq: /a }", "default: block, deadline: 200ms, on_timeout: allow")
		SLOW("R2", "path: { eq: /b }", "default: block, deadline: 5s")
		SLOW("R3", "path: { prefix: /b }", "default: block, on_timeout: allow")
		SLOW("R4", "path: { eq: /c }", "default: warn, deadline: 1ms, on_timeout: allow")
		SLOW("R5", "path: { eq: /d }, uid: { eq: 7 }", "default: block, deadline: 3s")
		SLOW("R6", "path: { eq: /e }, process_name: { eq: cat }", "default: block, on_timeout: allow")
		SLOW("R7", "process_name: { eq: cat }", "default: block, deadline: 1ms")
		/* by whatever the index has filed it */
		SLOW("R8", "path: { eq: /f/deep }, process_name: { eq: dog }", "default: block, deadline: 3s")
		SLOW("R9", "path: { eq: /f/deep }", "default: warn")
		SLOW("R10", "path: { eq: /f/deep }", "default: warn");
	static const struct {
		const char *names[2];
		enum verdict configured;
		unsigned ms;
		enum verdict answer;
	} cases[] = {
		{ { "/x" }, VERDICT_BLOCK, 1000, VERDICT_BLOCK }, /* nobody's */
		{ { "/x" }, VERDICT_ALLOW, 1000, VERDICT_ALLOW },
		{ { "/a" }, VERDICT_BLOCK, 200, VERDICT_ALLOW },
		{ { "/b" }, VERDICT_BLOCK, 1000, VERDICT_BLOCK }, /* R2 says nothing of the answer, R3 */
		{ { "/b" }, VERDICT_ALLOW, 1000, VERDICT_ALLOW }, /* nothing of the time */
		{ { "/bb" }, VERDICT_BLOCK, 1000, VERDICT_ALLOW },
		{ { "/a", "/b" }, VERDICT_BLOCK, 200, VERDICT_BLOCK },
		{ { "/x", "/a" }, VERDICT_BLOCK, 200, VERDICT_ALLOW },
		{ { "/c" }, VERDICT_BLOCK, 1000, VERDICT_BLOCK }, /* it only warns */
		{ { "/d" }, VERDICT_BLOCK, 3000, VERDICT_BLOCK }, /* whoever opens it */
		{ { "/e" }, VERDICT_BLOCK, 1000, VERDICT_ALLOW },
		{ { "/f/deep" }, VERDICT_BLOCK, 3000, VERDICT_BLOCK },
	};
	struct ruleset *rs = rules(text);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct event ev = an_open(cases[i].names[0]);
		uint64_t ns = NSEC_PER_SEC;
		enum verdict v = cases[i].configured;

		if (cases[i].names[1])
			ev.file.names[ev.file.n_names++].path = cases[i].names[1];
		rules_timeout(rs, &ev, &ns, &v);
		if (ns != cases[i].ms * NSEC_PER_MSEC || v != cases[i].answer)
			fail_msg("%s %s: %llu ms, %s", cases[i].names[0],
				 cases[i].names[1] ? cases[i].names[1] : "",
				 (unsigned long long)(ns / NSEC_PER_MSEC), verdict_name(v));
	}
	ruleset_unref(rs);
}

static void only_what_blocks_asks_an_operator(void **state)
{
	static const char text[] =
		SLOW("R1", "path: { eq: /a }", "default: warn")
		SLOW("R2", "path: { eq: /b }", "default: warn, on_block: hold")
		SLOW("R3", "path: { eq: /c }", "default: allow, on_block: hold")
		SLOW("R4", "path: { eq: /d }", "default: block, on_block: deny")
		SLOW("R5", "path: { eq: /e }", "default: block")
		SLOW("R6", "path: { eq: /f }", "default: warn, configurable: true, on_block: hold");
	struct ruleset *rs = loaded(text, "on_block: hold\nrules: { R6: { action: block } }\n");

	(void)state;
	for (size_t i = 0; i < ruleset_count(rs); i++)
		assert_int_equal(ruleset_rule(rs, i)->hold, i >= 4);
	assert_int_equal(ruleset_count(rs), 6);
	ruleset_unref(rs);
}

/* How long an operator would have had is not how long a helper has. */
static void a_deadline_goes_with_the_hold_that_it_was_for(void **state)
{
	static const char text[] =
		SLOW("R1", "path: { eq: /a }", "default: block, on_block: hold, deadline: 5m")
		SLOW("R2", "path: { eq: /b }", "default: block, on_block: deny, deadline: 3s");
	struct ruleset *rs = loaded(text, "rules:\n  R1: { on_block: deny }\n  R2: { on_block: deny }\n");
	static const char *const paths[] = { "/a", "/b" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		struct event ev = an_open(paths[i]);
		uint64_t ns = NSEC_PER_SEC;
		enum verdict v = VERDICT_BLOCK;

		rules_timeout(rs, &ev, &ns, &v);
		assert_int_equal(ns, i ? 3 * NSEC_PER_SEC : NSEC_PER_SEC);
	}
	ruleset_unref(rs);
}

/* ---- versions ------------------------------------------------------------------------------- */

static void append(void *arg, const struct version_fault *f)
{
	char *out = arg, text[512];

	version_fault_text(f, text, sizeof(text));
	strcat(strcat(out, text), "\n");
}

#define V(id, version, uid) "id: " id "\nname: n\nversion: " version "\nkind: file_opened\n" \
	"action: { default: warn }\nmatch: { any_of: [ uid: { eq: " uid " } ] }\n"

#define LIST(values) "lists: { some: [" values "] }\n---\n"
#define N(id, version) "id: " id "\nname: n\nversion: " version "\nkind: file_opened\naction: { default: " \
	"warn }\nmatch: { any_of: [ process_name: { in: { list: some } } ] }\n"

static void versions_only_go_up(void **state)
{
	static const struct {
		const char *was, *now, *said;
	} cases[] = {
		{ V("X1", "1", "1"), V("X1", "1", "1"), "" },
		{ V("X1", "1", "1"), V("X1", "2", "2"), "" },
		{ V("X1", "1", "1"), V("X2", "1", "1"), "" }, /* gone, and new */
		{ V("X1", "1", "1"), V("X1\npart: a", "1", "1"), "" },
		{ V("X1", "1", "1"), "\n" V("X1", "1", "1") "\n\n", "" },
		{ V("X1", "1", "1"), V("X1", "1", "2"), "f:1: rule X1 has version 1 as before, but other "
							"content: give it version 2\n" },
		{ V("X1", "3", "1"), V("X1", "2", "1"), "f:1: rule X1 has version 2, below version 3 of f:1: "
							"versions only go up\n" },
		/* id by id and part by part, also where others came and went */
		{ V("X1", "1", "1") "---\n" V("X3\npart: b", "1", "1") "---\n" V("X10", "2", "1"),
		  V("X2", "1", "1") "---\n" V("X3\npart: a", "1", "1") "---\n" V("X3\npart: b", "1", "2") "---\n"
		  V("X10", "1", "1"),
		  "f:16: rule X3/b has version 1 as before, but other content: give it version 2\n"
		  "f:24: rule X10 has version 1, below version 2 of f:16: versions only go up\n" },
		/* what a list stands for is content of the rules that name it */
		{ LIST("a, b") N("X1", "1") "---\n" V("X2", "1", "1"),
		  LIST("a, c") N("X1", "1") "---\n" V("X2", "1", "1"),
		  "f:3: rule X1 has version 1 as before, but a list that it names has other values: "
		  "give it version 2\n" },
		{ LIST("a, b") N("X1", "1"), LIST("a, b, c") N("X1", "2"), "" },
		{ LIST("a, b") N("X1", "1"), LIST("a,  b") N("X1", "1"), "" },
		{ LIST("a, b") N("X1", "1"), LIST("ab") N("X1", "1"),
		  "f:3: rule X1 has version 1 as before, but a list that it names has other values: "
		  "give it version 2\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ruleset *was = rules(cases[i].was), *now = rules(cases[i].now);
		char said[2048] = "";
		size_t n = ruleset_compare_versions(was, now, append, said), lines = 0;

		for (const char *s = said; *s; s++)
			lines += *s == '\n';
		assert_string_equal(said, cases[i].said);
		assert_int_equal(n, lines);
		assert_int_equal(ruleset_compare_versions(was, now, NULL, NULL), n);
		ruleset_unref(was);
		ruleset_unref(now);
	}
}

static void groups_are_nested_to_a_depth(void **state)
{
	(void)state;
	for (int depth = 11; depth <= 13; depth++) {
		char text[1024] = "id: X1\nname: n\nversion: 1\nkind: file_opened\n"
				  "action: { default: warn }\nmatch: { any_of: [ ", err[512];

		for (int i = 1; i < depth; i++)
			strcat(text, i % 2 ? "none_of: [ " : "all_of: [ ");
		strcat(text, "uid: { eq: 1 }");
		for (int i = 0; i < depth; i++)
			strcat(text, " ]");
		strcat(text, " }\n");
		ruleset_unref(on_host(text, "", err));
		assert_string_equal(err, depth <= 12 ? "loaded" :
				    "f:6: any_of, all_of and none_of are nested deeper than 12");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overrides_need_leave),
		cmocka_unit_test(a_part_knows_better_and_it_is_told_who_said_it),
		cmocka_unit_test(every_ordering_literal_equal_to_the_default_is_replaced),
		cmocka_unit_test(a_threshold_is_one_that_the_field_can_have),
		cmocka_unit_test(action_and_threshold_go_together),
		cmocka_unit_test(kinds_that_nobody_reports_say_so),
		cmocka_unit_test(deadlines_and_answers_of_rules_count),
		cmocka_unit_test(only_what_blocks_asks_an_operator),
		cmocka_unit_test(a_deadline_goes_with_the_hold_that_it_was_for),
		cmocka_unit_test(versions_only_go_up),
		cmocka_unit_test(groups_are_nested_to_a_depth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
