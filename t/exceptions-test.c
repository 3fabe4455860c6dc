/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions of a host: for whom a rule does not fire, under which name, and until when. */
#include "t/rules-test.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/config.h"

#define NOW 1772636400 /* of wednesday_15 */

/* ---- does anything on the way allocate? ---------------------------------------------------- */

static unsigned long allocations;
#if !SANITIZED
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *malloc(size_t n)
{
	allocations++;
	return __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
	allocations++;
	return __libc_calloc(n, size);
}
#endif

static const char secrets[] =
	"id: R3\npart: aws\nname: n\nversion: 1\nkind: file_opened\naction: { default: block }\n"
	"match: { any_of: [ path: { glob: '~/.aws/**' } ] }\n---\n"
	"id: R3\npart: ssh\nname: n\nversion: 1\nkind: file_opened\naction: { default: warn }\n"
	"match: { any_of: [ path: { glob: '~/.ssh/**' } ] }\n---\n"
	"id: R4\nname: n\nversion: 1\nkind: file_opened\naction: { default: warn }\n"
	"match: { any_of: [ process_name: { eq: cat } ] }\n";

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

#define WHO "reason: it needs it, author: ops@example.org"

/* One exception, by its rule and match. */
static struct ruleset *except(const char *rule, const char *match)
{
	char yaml[1024], err[512];
	struct ruleset *rs;

	snprintf(yaml, sizeof(yaml), "exceptions:\n  %s: { match: %s, " WHO " }\n", rule, match);
	rs = on_host(secrets, yaml, err);
	if (!rs)
		fail_msg("%s\n%s", err, yaml);
	return rs;
}

static struct event opened_by(const char *exe, const char *path)
{
	struct event ev = an_open(path);

	ev.subj.exe = exe;
	return ev;
}

static struct event verified(const char *exe, const char *path)
{
	struct event ev = opened_by(exe, path);

	ev.subj.exe_verified = true;
	return ev;
}

static enum verdict says(struct ruleset *rs, const char *exe, const char *path)
{
	struct event ev = opened_by(exe, path);

	return decide(rs, &ev);
}

static void it_lets_one_process_through_and_no_other(void **state)
{
	struct ruleset *rs = except("R3/aws", "{ process_name: { eq: terraform } }");
	struct event ev = opened_by("/usr/bin/terraform", "/home/u/.aws/config");
	struct decision d;

	(void)state;
	rules_decide(rs, &ev, &wednesday_15, &d, NULL);
	assert_int_equal(d.n_excepted, 1);
	assert_ptr_equal(d.excepted[0], ruleset_rule(rs, 0));
	assert_int_equal(ruleset_let_through(rs, 0), 0); /* deciding counts nothing */
	ruleset_count_excepted(&d);
	assert_int_equal(ruleset_let_through(rs, 0), 1);
	ev.subj.exe = "/usr/bin/python3";
	rules_decide(rs, &ev, &wednesday_15, &d, NULL);
	assert_int_equal(d.n_excepted, 0);
	ruleset_count_excepted(&d);
	assert_int_equal(ruleset_let_through(rs, 0), 1);
	assert_int_equal(says(rs, "/usr/bin/terraform", "/home/u/.aws/config"), VERDICT_ALLOW);
	assert_int_equal(says(rs, "/usr/bin/python3", "/home/u/.aws/config"), VERDICT_BLOCK);
	assert_int_equal(says(rs, "/usr/bin/terraform", "/home/u/.ssh/id"), VERDICT_WARN);
	ruleset_unref(rs);

	rs = except("R3", "{ process_name: { eq: terraform } }"); /* all parts */
	assert_int_equal(says(rs, "/usr/bin/terraform", "/home/u/.aws/config"), VERDICT_ALLOW);
	assert_int_equal(says(rs, "/usr/bin/terraform", "/home/u/.ssh/id"), VERDICT_ALLOW);
	ruleset_unref(rs);
}

static void any_predicate_can_be_asked_for(void **state)
{
	static const struct {
		const char *match;
		enum verdict verdict; /* for terraform, ~/.aws/config, at 15 o'clock */
	} cases[] = {
		{ "{ all_of: [ { process_name: { eq: terraform } }, { path: { glob: ~/.aws/config } } ] }",
		  VERDICT_ALLOW },
		{ "{ all_of: [ { process_name: { eq: terraform } }, { path: { glob: ~/.aws/sso/** } } ] }",
		  VERDICT_BLOCK },
		{ "{ any_of: [ { process_name: { eq: x } }, { uid: { in: [1, 1000] } } ] }", VERDICT_ALLOW },
		{ "{ none_of: [ { process_name: { eq: python3 } } ] }", VERDICT_ALLOW },
		{ "{ none_of: [ { process_name: { eq: terraform } } ] }", VERDICT_BLOCK },
		{ "{ all_of: [ { uid: { eq: 1000 } } ], none_of: [ { path: { suffix: credentials } } ] }",
		  VERDICT_ALLOW },
		{ "{ path: { glob: '**/config' } }", VERDICT_ALLOW },
		{ "{ path: { match: '^/home/[a-z]+/[.]aws/conf' } }", VERDICT_ALLOW },
		{ "{ wall_clock_hour: { gte: 8, lt: 18 } }", VERDICT_ALLOW },
		{ "{ wall_clock_hour: { gte: 18 } }", VERDICT_BLOCK },
		{ "{ agent_identifier: { eq: claude-code } }", VERDICT_ALLOW },
		{ "{ matched_category: { eq: aws } }", VERDICT_ALLOW },
		{ "{ matched_category: { eq: ssh } }", VERDICT_BLOCK },
		{ "{ open_mode: { ne: write } }", VERDICT_ALLOW },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ruleset *rs = except("R3/aws", cases[i].match);

		if (says(rs, "/usr/bin/terraform", "/home/u/.aws/config") != cases[i].verdict)
			fail_msg("%s", cases[i].match);
		ruleset_unref(rs);
	}
}

/* What is not known is no reason to let through, below none_of neither. */
static void what_is_not_known_lets_nobody_through(void **state)
{
	static const char *const matches[] = {
		"{ process_name: { eq: cat } }",
		"{ process_name: { ne: cat } }",
		"{ none_of: [ { process_name: { eq: bash } } ] }",
		"{ any_of: [ { none_of: [ { all_of: [ { process_name: { eq: bash } } ] } ] } ] }",
		"{ none_of: [ { matched_category: { eq: ssh } }, { exe: { eq: /bin/sh } } ] }",
		"{ none_of: [ { baseline_distance: { gt: 3 } } ] }",
		"{ baseline_distance: { lt: 3 } }",
		/* nor what cannot be finished within the limits of a regular expression */
		"{ cgroup: { match: '^(a+)+$' } }",
		"{ cgroup: { match: '^(a|a)*$' } }",
	};
	char long_name[600];

	(void)state;
	memset(long_name, 'a', sizeof(long_name) - 2);
	strcpy(long_name + sizeof(long_name) - 2, "b");
	for (size_t i = 0; i < ARRAY_SIZE(matches); i++) {
		struct ruleset *rs = except("R3", matches[i]);
		struct event ev = opened_by("", "/home/u/.aws/config");

		ev.subj.cgroup = long_name;
		ev.subj.comm = "";
		if (decide(rs, &ev) != VERDICT_BLOCK)
			fail_msg("%s", matches[i]);
		ruleset_unref(rs);
	}
}

/* Nor what `~` stands for. */
static void without_a_home_nothing_is_outside_of_it(void **state)
{
	static const char rule[] = HEAD("X1") "match: { any_of: [ path: { glob: '/srv/**' } ] }\n";
	static const struct {
		const char *match;
		enum verdict elsewhere, at_home; /* with a home; without it blocks */
	} cases[] = {
		{ "{ none_of: [ path: { glob: '~/.aws/**' } ] }", VERDICT_ALLOW, VERDICT_BLOCK },
		{ "{ none_of: [ path: { glob: '{/srv/x,~/.aws}/**' } ] }", VERDICT_ALLOW, VERDICT_BLOCK },
		{ "{ path: { ne: ~/.aws/f } }", VERDICT_ALLOW, VERDICT_BLOCK },
		{ "{ none_of: [ none_of: [ path: { prefix: ~/.aws/ } ] ] }", VERDICT_BLOCK, VERDICT_ALLOW },
		{ "{ none_of: [ path: { not_in: [ ~/.aws/f, ~/.aws/g ] } ] }", VERDICT_BLOCK, VERDICT_ALLOW },
		{ "{ any_of: [ path: { eq: /srv/u/.aws/f }, path: { eq: ~/.aws/f } ] }", VERDICT_BLOCK,
		  VERDICT_ALLOW },
	};
	char yaml[512], err[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct event ev = an_open("/srv/alice/.aws/f");
		struct ruleset *rs;

		snprintf(yaml, sizeof(yaml), "exceptions:\n  X1: { match: %s, " WHO " }\n",
			 cases[i].match);
		rs = on_host(rule, yaml, err);
		assert_string_equal(err, "loaded");
		ev.subj.homes.path[0] = "/srv/u";
		if (decide(rs, &ev) != cases[i].elsewhere)
			fail_msg("%s elsewhere", cases[i].match);
		ev.subj.homes.path[0] = "/srv/alice";
		if (decide(rs, &ev) != cases[i].at_home)
			fail_msg("%s at home", cases[i].match);
		ev.subj.homes.n = 0;
		if (decide(rs, &ev) != VERDICT_BLOCK)
			fail_msg("%s without a home", cases[i].match);
		/* a name that is protected in somebody's home says whose */
		ev.file.names[0].home = "/srv/u";
		if (decide(rs, &ev) != cases[i].elsewhere)
			fail_msg("%s in the home of the name", cases[i].match);
		ruleset_unref(rs);
	}
}

/* What a program is called can be forged by a mount. */
static void exe_counts_for_the_verified_file_alone(void **state)
{
	static const struct {
		const char *match;
		enum verdict called, verified;
	} cases[] = {
		{ "{ exe: { eq: /usr/bin/tf } }", VERDICT_BLOCK, VERDICT_ALLOW },
		{ "{ exe: { in: [/usr/bin/x, /usr/bin/tf] } }", VERDICT_BLOCK, VERDICT_ALLOW },
		{ "{ all_of: [ exe: { eq: /usr/bin/tf }, uid: { eq: 1000 } ] }", VERDICT_BLOCK, VERDICT_ALLOW },
		{ "{ any_of: [ exe: { eq: /usr/bin/tf }, uid: { eq: 1000 } ] }", VERDICT_ALLOW, VERDICT_ALLOW },
		{ "{ none_of: [ none_of: [ exe: { eq: /usr/bin/tf } ] ] }", VERDICT_BLOCK, VERDICT_ALLOW },
		{ "{ exe: { eq: /usr/bin/x } }", VERDICT_BLOCK, VERDICT_BLOCK },
		/* what takes out again */
		{ "{ all_of: [ uid: { eq: 1000 } ], none_of: [ exe: { glob: /tmp/** } ] }", VERDICT_ALLOW,
		  VERDICT_ALLOW },
		{ "{ all_of: [ uid: { eq: 1000 } ], none_of: [ exe: { prefix: /usr/bin/t } ] }",
		  VERDICT_BLOCK, VERDICT_BLOCK },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ruleset *rs = except("R3/aws", cases[i].match);
		struct event ev = verified("/usr/bin/tf", "/home/u/.aws/config");

		if (decide(rs, &ev) != cases[i].verified)
			fail_msg("verified: %s", cases[i].match);
		if (says(rs, "/usr/bin/tf", "/home/u/.aws/config") != cases[i].called)
			fail_msg("called: %s", cases[i].match);
		assert_int_equal(ruleset_asks_exe(rs, "/usr/bin/tf"),
				 strstr(cases[i].match, "/usr/bin/tf") != NULL);
		assert_false(ruleset_asks_exe(rs, "/usr/bin/t"));
		assert_int_equal(ruleset_exception(rs, 0)->by_exe, !strstr(cases[i].match, "uid: { eq: 1000 } ],"));
		ruleset_unref(rs);
	}
}

/* Each exception is read once for each kind, and takes no room away from the rules. */
static void many_parts_share_what_is_read(void **state)
{
	char *text = NULL, yaml[512], err[512];
	size_t size;
	FILE *f = open_memstream(&text, &size);
	struct ruleset *rs;

	(void)state;
	for (int i = 0; i < 700; i++)
		fprintf(f, "%sid: R3\npart: p%d\nname: n\nversion: 1\nkind: file_opened\naction: "
			"{ default: block }\nmatch: { any_of: [ path: { glob: '~/.p%d/**' } ] }\n",
			i ? "---\n" : "", i, i);
	fclose(f);
	snprintf(yaml, sizeof(yaml), "exceptions:\n  R3: { match: { path: { glob: '%s' } }, " WHO " }\n",
		 "~/**/{a,b}{c,d}{e,f}{g,h}{i,j}{k,l}{m,n}{o,p}");
	rs = on_host(text, yaml, err);
	assert_string_equal(err, "loaded");
	assert_int_equal(says(rs, "/bin/dog", "/home/u/.p199/acegikmo"), VERDICT_ALLOW);
	assert_int_equal(says(rs, "/bin/dog", "/home/u/.p199/acegikm"), VERDICT_BLOCK);
	ruleset_unref(rs);
	free(text);
}

static void each_name_is_judged_by_itself(void **state)
{
	struct ruleset *rs = except("R3/aws", "{ path: { eq: ~/.aws/config } }");
	struct event ev = an_open("/home/u/.aws/config");
	struct decision d;

	(void)state;
	assert_int_equal(decide(rs, &ev), VERDICT_WARN); /* of R4, which has no exception */
	/* ~/.aws/config is made a hard link to the credentials */
	ev.file.names[1].path = "/home/u/.aws/credentials";
	ev.file.n_names = 2;
	rules_decide(rs, &ev, &wednesday_15, &d, NULL);
	assert_int_equal(d.verdict, VERDICT_BLOCK);
	assert_string_equal(d.fired[0].rule->part, "aws");
	assert_int_equal(d.fired[0].name_index, 1);
	assert_int_equal(d.n_excepted, 0); /* it fired after all */
	/* the other way round, and with a name that no rule knows in between */
	ev.file.names[0].path = "/home/u/.aws/credentials";
	ev.file.names[1].path = "/tmp/x";
	ev.file.names[2].path = "/home/u/.aws/config";
	ev.file.n_names = 3;
	assert_int_equal(decide(rs, &ev), VERDICT_BLOCK);
	/* another name of what is excepted */
	ev.file.names[0].path = "/tmp/x";
	ev.file.names[1].path = "/home/u/.aws/config";
	ev.file.n_names = 2;
	assert_int_equal(decide(rs, &ev), VERDICT_WARN);
	ruleset_unref(rs);

	/* a rule without paths fires unless every name is excepted */
	rs = except("R4", "{ path: { prefix: /tmp/ } }");
	ev = an_open("/tmp/x");
	assert_int_equal(decide(rs, &ev), VERDICT_ALLOW);
	ev.file.names[1].path = "/home/u/y";
	ev.file.n_names = 2;
	assert_int_equal(decide(rs, &ev), VERDICT_WARN);
	ev = an_open(NULL);
	assert_int_equal(decide(rs, &ev), VERDICT_WARN);
	ruleset_unref(rs);
}

/* An exception lets through what would otherwise have been stopped, and nothing else counts. */
static void what_it_let_through_is_counted(void **state)
{
	static const char two[] = HEAD("X1") "match: { any_of: [ path: { glob: '/s/**' } ] }\n---\n"
		HEAD("X2") "match: { any_of: [ path: { glob: '/s/a*' } ] }\n---\n"
		"id: X3\nname: n\nversion: 1\nkind: file_opened\naction: { default: warn }\n"
		"match: { any_of: [ path: { glob: '/s/**' } ] }\n";
	struct event ev = an_open("/s/a");
	struct decision d;
	struct ruleset *rs;
	char err[512];

	(void)state;
	/* X2 blocks all the same; then X3 warns, which is less */
	rs = on_host(two, "exceptions:\n  X1: { match: { uid: { eq: 1000 } }, " WHO " }\n", err);
	rules_decide(rs, &ev, &wednesday_15, &d, NULL);
	ruleset_count_excepted(&d);
	assert_int_equal(ruleset_let_through(rs, 0), 0);
	ev.file.names[0].path = "/s/b";
	rules_decide(rs, &ev, &wednesday_15, &d, NULL);
	ruleset_count_excepted(&d);
	assert_int_equal(ruleset_let_through(rs, 0), 1);
	ruleset_unref(rs);

	/* all of those that did */
	ev.file.names[0].path = "/s/a";
	rs = on_host(two, "exceptions:\n  X1: { match: { uid: { eq: 1000 } }, " WHO " }\n"
		     "  X2: { match: { uid: { eq: 1000 } }, " WHO " }\n"
		     "  X3: { match: { uid: { eq: 1000 } }, " WHO " }\n", err);
	rules_decide(rs, &ev, &wednesday_15, &d, NULL);
	ruleset_count_excepted(&d);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(ruleset_let_through(rs, i), 1);
	ruleset_unref(rs);
}

static void more_rules_than_are_told_change_nothing(void **state)
{
	char text[8192] = "", err[512];
	struct ruleset *rs;
	struct event ev = an_open("/x");
	struct decision d;

	(void)state;
	for (int i = 1; i <= 20; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%sid: R%d\nname: n\nversion: 1\nkind: file_opened\naction: { default: block }\n"
			 "match: { any_of: [ path: { eq: /x } ] }\n", i > 1 ? "---\n" : "", i);
	rs = on_host(text, "exceptions:\n  R1: { match: { uid: { eq: 1000 } }, " WHO " }\n"
			   "  R20: { match: { uid: { eq: 1000 } }, " WHO " }\n", err);
	assert_string_equal(err, "loaded");
	rules_decide(rs, &ev, &wednesday_15, &d, NULL);
	assert_int_equal(d.verdict, VERDICT_BLOCK);
	assert_int_equal(d.n_fired + d.n_fired_more, 18);
	assert_string_equal(d.fired[0].rule->id, "R2");
	ruleset_unref(rs);
}

/* By the clock that is given to decide, so that what is decided again is decided the same. */
static void it_ends_by_the_clock_of_the_decision(void **state)
{
	char err[512];
	struct ruleset *rs = on_host(secrets, "exceptions:\n"
		"  R3/aws:\n"
		"    - { match: { uid: { eq: 1000 } }, " WHO ", expires: 2026-03-04T16:00:00+01:00 }\n"
		"    - { match: { exe: { eq: /bin/a } }, " WHO ", expires: 2026-03-31 }\n", err);
	struct event cat = opened_by("/bin/dog", "/home/u/.aws/x"), a = verified("/bin/a", "/home/u/.aws/x");
	static const struct {
		int64_t at;
		enum verdict other, a;
	} times[] = {
		{ 0, VERDICT_ALLOW, VERDICT_ALLOW },
		{ NOW - 1, VERDICT_ALLOW, VERDICT_ALLOW },
		{ NOW, VERDICT_BLOCK, VERDICT_ALLOW }, /* 15:00 UTC */
		{ 1775001599, VERDICT_BLOCK, VERDICT_ALLOW }, /* the last second of March */
		{ 1775001600, VERDICT_BLOCK, VERDICT_BLOCK },
		{ INT64_MAX, VERDICT_BLOCK, VERDICT_BLOCK },
		{ NOW - 1, VERDICT_ALLOW, VERDICT_ALLOW }, /* nothing was remembered */
	};
	struct decision d;

	(void)state;
	assert_string_equal(err, "loaded");
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		struct wall_clock clock = { .unix_s = times[i].at };

		rules_decide(rs, &cat, &clock, &d, NULL);
		assert_int_equal(d.verdict, times[i].other);
		rules_decide(rs, &a, &clock, &d, NULL);
		assert_int_equal(d.verdict, times[i].a);
	}
	rules_decide(rs, &a, NULL, &d, NULL); /* no clock: nothing that ends is in force */
	assert_int_equal(d.verdict, VERDICT_BLOCK);
	ruleset_unref(rs);
}

static void marks_and_categories_know_nothing_of_it(void **state)
{
	struct ruleset *rs = except("R3", "{ path: { prefix: ~/.aws/ } }");
	struct event ev = opened_by("/bin/dog", "/home/u/.aws/credentials");
	enum verdict v = VERDICT_ALLOW;
	const char *category;
	struct decision d;

	(void)state;
	assert_true(pathset_reach(ruleset_pathset(rs), "/home/u/.aws/credentials", "/home/u", &v));
	assert_int_equal(v, VERDICT_BLOCK);
	rules_decide(rs, &ev, &wednesday_15, &d, &category);
	assert_int_equal(d.n_fired, 0);
	assert_string_equal(category, "aws");
	assert_string_equal(ruleset_rule(rs, 0)->bound_why, "");
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_FANOTIFY);
	ruleset_unref(rs);
}

static void nothing_is_allocated_for_an_event(void **state)
{
	struct ruleset *rs = except("R3", "{ any_of: [ { path: { match: '^/home/.*/x$' } }, { none_of: "
				    "[ { path: { glob: '~/.aws/**' } } ] } ] }");
	struct event ev = an_open("/home/u/.aws/credentials");
	unsigned long before = allocations;

	(void)state;
	assert_int_equal(decide(rs, &ev), VERDICT_BLOCK);
	assert_int_equal(allocations, before);
	ruleset_unref(rs);
}

static void it_is_told_who_allowed_it_and_why(void **state)
{
	char err[512];
	struct ruleset *rs = on_host(secrets, "exceptions:\n"
		"  R3:\n    match: { uid: { eq: 1 } }\n    reason: all of them\n    author: a\n"
		"  R3/ssh:\n    - match: { uid: { eq: 2 } }\n      reason: keys\n      author: b\n"
		"      expires: 2020-01-01\n", err);
	const struct rule_exception *e;

	(void)state;
	assert_string_equal(err, "loaded");
	assert_int_equal(ruleset_exceptions(rs), 2);
	e = ruleset_rule_exception(rs, 0, 0);
	assert_string_equal(e->rule, "R3");
	assert_string_equal(e->reason, "all of them");
	assert_string_equal(e->author, "a");
	assert_string_equal(e->expires, "");
	assert_string_equal(e->file, "o.yaml");
	assert_int_equal(e->line, 3);
	assert_null(ruleset_rule_exception(rs, 0, 1));
	assert_ptr_equal(ruleset_rule_exception(rs, 1, 0), e);
	e = ruleset_rule_exception(rs, 1, 1);
	assert_ptr_equal(e, ruleset_exception(rs, 1));
	assert_string_equal(e->expires, "2020-01-01");
	assert_int_equal(e->line, 7);
	assert_null(ruleset_rule_exception(rs, 2, 0));
	ruleset_unref(rs);
}

static void each_complaint_names_file_line_and_way_out(void **state)
{
#define E(rule, match) "exceptions:\n  " rule ":\n    " WHO_LINES "    match: " match "\n"
#define WHO_LINES "reason: r\n    author: a\n"
	static const char *const cases[][2] = {
		{ E("R9", "{ uid: { eq: 1 } }"),
		  "o.yaml:3: exceptions: there is no rule R9; `oknek rules list` shows them" },
		{ E("R3/gcp", "{ uid: { eq: 1 } }"),
		  "o.yaml:3: exceptions: there is no rule R3/gcp; `oknek rules list` shows them" },
		{ E("R3", "x"), "o.yaml:5: match of an exception must be any_of, all_of or none_of, or one "
				"comparison like process_name: { eq: terraform }" },
		{ E("R3", "{}"), "o.yaml:5: match of an exception must be any_of, all_of or none_of, or one "
				 "comparison like process_name: { eq: terraform }" },
		{ E("R3", "\n      uid: { eq: 1 }\n      pid: { eq: 1 }"),
		  "o.yaml:7: match has two comparisons: put them into a list under all_of, or under any_of" },
		{ E("R3", "\n      uid: { eq: 1 }\n      all_of: []"),
		  "o.yaml:7: match has two comparisons: put them into a list under all_of, or under any_of" },
		{ E("R3", "{ all_of: [] }"), "o.yaml:5: all_of must be a list of at least one comparison" },
		{ E("R3", "{ pid: { like: 1 } }"), "o.yaml:5: unknown comparison \"like\": field \"pid\" is a "
						   "number; allowed: eq, ne, in, not_in, gt, gte, lt, lte" },
		{ E("R3", "{ uid: { eq: root } }"),
		  "o.yaml:5: \"root\" is not a whole number, as field \"uid\" is" },
#define FORGED(op) "o.yaml:5: exe: { " op ": … } lets nobody through: what a program is called can be " \
	"forged, and only exe: { eq: /path } and in are verified against the file; below none_of all " \
	"but ne and not_in are allowed"
		{ E("R3", "{ exe: { glob: /usr/bin/* } }"), FORGED("glob") },
		{ E("R3", "{ exe: { prefix: /usr/ } }"), FORGED("prefix") },
		{ E("R3", "{ any_of: [ exe: { match: tf } ] }"), FORGED("match") },
		{ E("R3", "{ exe: { ne: /usr/bin/x } }"), FORGED("ne") },
		{ E("R3", "{ none_of: [ exe: { not_in: [/usr/bin/x] } ] }"), FORGED("not_in") },
		{ E("R3", "{ none_of: [ none_of: [ exe: { suffix: x } ] ] }"), FORGED("suffix") },
		{ E("R3", "{ exe: { eq: ~/bin/x } }"), "o.yaml:5: exe of an exception is an absolute path of "
		  "at most 255 bytes: the file must belong to root" },
		{ E("R3", "{ all_of: [ path: { in: [ /a, { list: b } ] } ] }"),
		  "o.yaml:5: lists of rule files are not known in an exception: write the values themselves" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char err[512];

		ruleset_unref(on_host(secrets, cases[i][0], err));
		if (strcmp(err, cases[i][1]))
			fail_msg("%s\nwant %s\ngot  %s", cases[i][0], cases[i][1], err);
	}
	{
		char err[512];

		ruleset_unref(on_host(secrets, E("R3", "{ chain_depth: { gte: 3 } }"), err));
		assert_non_null(strstr(err, "o.yaml:5: no field \"chain_depth\" for kind file_opened; allowed: "));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_lets_one_process_through_and_no_other),
		cmocka_unit_test(any_predicate_can_be_asked_for),
		cmocka_unit_test(what_is_not_known_lets_nobody_through),
		cmocka_unit_test(without_a_home_nothing_is_outside_of_it),
		cmocka_unit_test(exe_counts_for_the_verified_file_alone),
		cmocka_unit_test(many_parts_share_what_is_read),
		cmocka_unit_test(each_name_is_judged_by_itself),
		cmocka_unit_test(what_it_let_through_is_counted),
		cmocka_unit_test(more_rules_than_are_told_change_nothing),
		cmocka_unit_test(it_ends_by_the_clock_of_the_decision),
		cmocka_unit_test(marks_and_categories_know_nothing_of_it),
		cmocka_unit_test(nothing_is_allocated_for_an_event),
		cmocka_unit_test(it_is_told_who_allowed_it_and_why),
		cmocka_unit_test(each_complaint_names_file_line_and_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
