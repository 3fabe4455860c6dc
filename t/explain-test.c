/* SPDX-License-Identifier: Apache-2.0 */
/* Which comparison decided, and a rule in sentences. */
#include "t/rules-test.h"

#include <stdlib.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "rules/explain.h"

static struct explanation why(const struct ruleset *rs, size_t i, const struct event *ev)
{
	struct explanation e;
	struct decision d;
	bool fired = false;

	assert_int_equal(rules_explain_event(rs, i, ev, &wednesday_15, &e), 0);
	/* there is no second opinion */
	rules_decide(rs, ev, &wednesday_15, &d, NULL);
	for (unsigned k = 0; k < d.n_fired; k++)
		fired |= d.fired[k].rule == ruleset_rule(rs, i);
	assert_int_equal(e.fired, fired);
	return e;
}

static void is_reason(const struct explanation *e, unsigned k, unsigned line, const char *field,
		      const char *op, const char *value, const char *actual, bool result)
{
	const struct reason *r = &e->v[k];

	assert_true(k < e->n);
	assert_int_equal(r->line, line);
	assert_string_equal(r->field, field);
	assert_string_equal(r->op, op);
	assert_string_equal(r->values[0], value);
	if (actual)
		assert_string_equal(r->actual[0], actual);
	else
		assert_int_equal(r->n_actual, 0);
	assert_int_equal(r->result, result);
}

#define GROUPS                                                                                 \
	HEAD("X1") "match:\n"                                                                  \
		   "  all_of:\n"                                                               \
		   "    - path: { match: 'c.ed' }\n"                                            \
		   "    - path: { glob: ['~/.ssh/*', '~/.aws/*'] }\n"                            \
		   "    - any_of:\n"                                                             \
		   "        - uid: { gt: 5000 }\n"                                               \
		   "        - process_name: { in: [cat, less] }\n"                               \
		   "  none_of:\n"                                                              \
		   "    - process_name: { eq: backup }\n"

static void what_made_it_fire(void **state)
{
	struct ruleset *rs = rules(GROUPS);
	struct event ev = an_open("/home/u/.aws/credentials");
	struct explanation e = why(rs, 0, &ev);

	(void)state;
	assert_true(e.fired);
	assert_int_equal(e.n, 4);
	/* in the order of the file, though the cheapest is tried first; of a list, the one value */
	is_reason(&e, 0, 8, "path", "match", "c.ed", "/home/u/.aws/credentials", true);
	is_reason(&e, 1, 9, "path", "glob", "~/.aws/*", "/home/u/.aws/credentials", true);
	is_reason(&e, 2, 12, "process_name", "in", "cat", "cat", true);
	is_reason(&e, 3, 14, "process_name", "eq", "backup", "cat", false);
	assert_int_equal(e.v[1].n_values, 1);
	explanation_free(&e);
	ruleset_unref(rs);
}

static void what_kept_it_from_firing(void **state)
{
	struct ruleset *rs = rules(GROUPS);
	struct event ev = an_open("/home/u/.aws/credentials");
	struct explanation e;

	(void)state;
	ev.subj.exe = "/usr/bin/backup";
	e = why(rs, 0, &ev);
	/* all alternatives of any_of, for each might have */
	assert_int_equal(e.n, 2);
	is_reason(&e, 0, 11, "uid", "gt", "5000", "1000", false);
	assert_true(e.v[0].number);
	is_reason(&e, 1, 12, "process_name", "in", "cat", "backup", false);
	assert_int_equal(e.v[1].n_values, 2);
	explanation_free(&e);
	ev.subj.uid = 6000;
	e = why(rs, 0, &ev);
	assert_int_equal(e.n, 1);
	is_reason(&e, 0, 14, "process_name", "eq", "backup", "backup", true);
	explanation_free(&e);
	ev.file.n_names = 0;
	e = why(rs, 0, &ev);
	is_reason(&e, 0, 8, "path", "match", "c.ed", NULL, false);
	explanation_free(&e);
	ruleset_unref(rs);
}

static void rules_that_are_not_asked(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match: { any_of: [ path: { eq: /x } ] }\n---\n"
				   "id: X2\nname: n\nversion: 1\nkind: file_opened\n"
				   "action: { default: allow }\n"
				   "match: { any_of: [ path: { eq: /x } ] }\n");
	struct event ev = an_open("/x");
	struct explanation e = why(rs, 1, &ev);

	(void)state;
	is_reason(&e, 0, 8, "action", "eq", "block or warn", "allow", false);
	explanation_free(&e);
	ev = (struct event){ .kind = KIND_MCP_ENDPOINT, .subj = ev.subj };
	e = why(rs, 0, &ev);
	is_reason(&e, 0, 1, "kind", "eq", "file_opened", "mcp_endpoint", false);
	explanation_free(&e);
	ruleset_unref(rs);
}

static void nested_none_of(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match:\n"
					      "  none_of:\n"
					      "    - none_of:\n"
					      "        - path: { eq: /x }\n"
					      "        - path: { eq: /y }\n");
	struct event ev = an_open("/y");
	struct explanation e = why(rs, 0, &ev);

	(void)state;
	assert_true(e.fired);
	assert_int_equal(e.n, 1);
	is_reason(&e, 0, 10, "path", "eq", "/y", "/y", true);
	explanation_free(&e);
	ev = an_open("/z");
	e = why(rs, 0, &ev);
	assert_false(e.fired);
	assert_int_equal(e.n, 2);
	explanation_free(&e);
	ruleset_unref(rs);
}

static void an_expression_that_exceeds_its_limits(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match:\n"
					      "  any_of:\n"
					      "    - path: { match: '(a+)+$' }\n---\n"
				   HEAD("X2") "match:\n"
					      "  any_of:\n"
					      "    - path: { prefix: / }\n"
					      "  none_of:\n"
					      "    - path: { match: '(a+)+$' }\n");
	struct event ev = an_open("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!");
	struct explanation e = why(rs, 0, &ev);

	(void)state;
	assert_true(e.fired);
	assert_non_null(e.v[0].note);
	explanation_free(&e);
	e = why(rs, 1, &ev); /* below none_of it counts as not holding */
	assert_true(e.fired);
	assert_false(e.v[1].result);
	assert_non_null(e.v[1].note);
	explanation_free(&e);
	ruleset_unref(rs);
}

static void several_names(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match: { any_of: [ path: { eq: /secret } ] }\n");
	struct event ev = an_open("/tmp/link");
	struct explanation e;

	(void)state;
	ev.file.names[1].path = "/secret";
	ev.file.n_names = 2;
	e = why(rs, 0, &ev);
	assert_true(e.fired);
	assert_int_equal(e.n, 1);
	is_reason(&e, 0, 6, "path", "eq", "/secret", "/secret", true);
	explanation_free(&e);
	ev.file.names[1].path = "/other";
	e = why(rs, 0, &ev);
	assert_int_equal(e.n, 2);
	explanation_free(&e);
	ruleset_unref(rs);
}

static void without_a_home(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match: { any_of: [ path: { eq: ~/.x } ] }\n");
	struct event ev = an_open("/home/u/.x");
	struct explanation e;

	(void)state;
	ev.subj.homes.n = 0;
	e = why(rs, 0, &ev);
	is_reason(&e, 0, 6, "path", "eq", "~/.x", "/home/u/.x", false);
	assert_non_null(strstr(e.v[0].note, "home"));
	explanation_free(&e);
	ruleset_unref(rs);
}

static void the_main_process_has_two_names(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match: { any_of: [ process_name: { eq: x } ] }\n");
	struct event ev = an_open("/x");
	struct explanation e;

	(void)state;
	ev.subj.exe = "/usr/bin/node";
	ev.subj.tgid = 100;
	e = why(rs, 0, &ev);
	assert_int_equal(e.v[0].n_actual, 2);
	assert_string_equal(e.v[0].actual[0], "node");
	assert_string_equal(e.v[0].actual[1], "claude");
	explanation_free(&e);
	ruleset_unref(rs);
}

static void values_of_all_types(void **state)
{
	const char *text = "id: X1\nname: n\nversion: 1\nkind: socket_connect\n"
			   "action: { default: warn }\nmatch:\n  any_of:\n"
			   "    - dest_ip: { cidr: [10.0.0.0/8, 'fd00::/8'] }\n"
			   "    - dest_ip: { port: 80 }\n"
			   "    - dest_ip: { eq: 192.0.2.1 }\n";
	struct ruleset *rs = rules(text);
	struct event ev = { .kind = KIND_SOCKET_CONNECT,
			    .subj = { .comm = "", .exe = "/x", .cgroup = "", .lineage = "" },
			    .dest = { .port = 443, .host = "", .protocol = "" } };
	struct explanation e;

	(void)state;
	ev.dest.addr[10] = ev.dest.addr[11] = 0xff;
	ev.dest.addr[12] = 11;
	e = why(rs, 0, &ev);
	is_reason(&e, 0, 8, "dest_ip", "cidr", "10.0.0.0/8", "11.0.0.0", false);
	assert_string_equal(e.v[0].values[1], "fd00::/8");
	is_reason(&e, 1, 9, "dest_ip", "port", "80", "443", false);
	is_reason(&e, 2, 10, "dest_ip", "eq", "192.0.2.1", "11.0.0.0", false);
	explanation_free(&e);
	ruleset_unref(rs);
}

static void more_reasons_than_anybody_reads(void **state)
{
	char text[8192] = HEAD("X1") "match:\n  any_of:\n";
	struct event ev = an_open("/x");
	struct explanation e;
	struct ruleset *rs;

	(void)state;
	for (int i = 0; i < 50; i++)
		sprintf(text + strlen(text), "    - path: { eq: /%d }\n", i);
	strcat(text, "    - uid: { in: [");
	for (int i = 0; i < 50; i++)
		sprintf(text + strlen(text), "%d, ", i);
	strcat(text, "50] }\n");
	rs = rules(text);
	e = why(rs, 0, &ev);
	assert_int_equal(e.n, REASONS_MAX);
	assert_int_equal(e.n_more, 51 - REASONS_MAX);
	explanation_free(&e);
	ruleset_unref(rs);
}

/* ---- sentences ------------------------------------------------------------------------------- */

static void in_sentences(void **state)
{
	struct ruleset *rs = rules(
		HEAD("X1") "evidence: { capture: [path, uid], retain_for: 30d }\n"
			   "references: [ { url: 'https://a.invalid', label: advisory } ]\n"
			   "attack_techniques: [ { mitre_atlas: AML.T0055, owasp_asi: ASI03 } ]\n"
			   "authors: [ me ]\n"
			   "match:\n"
			   "  any_of:\n"
			   "    - path: { glob: ['/a', '/b', '/c', '/d', '/e', '/f', '/g', '/h'] }\n"
			   "  none_of:\n"
			   "    - uid: { lt: 1000 }\n");
	_cleanup_free_ char *text = NULL;
	static const char *const parts[] = {
		"It watches files that a watched tree opens (file_opened).\n",
		"- the path matches one of the patterns \"/a\", \"/b\", \"/c\", \"/d\", \"/e\" and 3 more\n",
		"- none of this holds:\n    - the user id is less than 1000\n",
		"Then it is blocked, by fanotify",
		"kept for 30 days and holds path, uid.\n",
		"mitre_atlas AML.T0055, owasp_asi ASI03.\n",
		"See https://a.invalid (advisory)\n",
		"By me.\n",
	};

	(void)state;
	assert_int_equal(rules_describe(rs, 0, &text), 0);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (!strstr(text, parts[i]))
			fail_msg("%s is not in\n%s", parts[i], text);
	ruleset_unref(rs);
}

static void why_not_stronger(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match: { any_of: [ uid: { eq: 0 } ] }\n");
	_cleanup_free_ char *text = NULL;

	(void)state;
	assert_int_equal(rules_describe(rs, 0, &text), 0);
	assert_non_null(strstr(text, "It would block, but on this host the event is only recorded "
				     "(detected): no path that could be marked: uid alone.\n"));
	ruleset_unref(rs);
}

/* That an operator is asked is said where somebody can be asked, and when. */
static void who_is_asked(void **state)
{
	static const struct {
		const char *match;
		unsigned mechanisms;
		const char *said, *unsaid;
	} rows[] = {
		{ "path: { eq: /x }", 1u << MECH_FANOTIFY,
		  "An operator is asked first, and has 60 s; then it is denied.\n", "Its tree is stopped" },
		{ "path: { eq: /x }", 1u << MECH_LSM,
		  "Note: cannot be held: denied at once.\n", "operator" },
		{ "path: { eq: /x }", 1u << MECH_PRELOAD,
		  "advisory, not a boundary; cannot be held: denied at once.\n", "operator" },
		{ "uid: { eq: 0 }", 1u << MECH_FANOTIFY,
		  "Its tree is stopped then, and an operator has 60 s to answer.\n", "is asked first" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rules_config c = { .mechanisms = { [KIND_FILE_OPENED] = rows[i].mechanisms } };
		struct rules_error err = { "" };
		struct ruleset *rs = NULL;
		_cleanup_free_ char *told = NULL;
		char text[256];

		snprintf(text, sizeof(text), "id: X1\nname: n\nversion: 1\nkind: file_opened\n"
			 "action: { default: block, on_block: hold }\nmatch: { all_of: [ %s ] }\n", rows[i].match);
		if (ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err))
			fail_msg("%s", err.text);
		assert_int_equal(rules_describe(rs, 0, &told), 0);
		if (!strstr(told, rows[i].said) || strstr(told, rows[i].unsaid))
			fail_msg("%s: %s", rows[i].match, told);
		ruleset_unref(rs);
	}
}

static void what_this_host_says(void **state)
{
	static const char site_text[] = "rules: { X1: { action: warn, threshold: 12 } }\n"
					"exceptions:\n"
					"  X1:\n"
					"    match: { process_name: { eq: terraform } }\n"
					"    reason: plans\n"
					"    author: ops\n";
	static const char text[] = "id: X1\nname: n\nversion: 1\nkind: file_opened\n"
				   "action: { default: block, configurable: true }\n"
				   "threshold: { default: 8, configurable: true }\n"
				   "match: { all_of: [ path: { eq: /x }, uid: { gte: 8 } ] }\n";
	struct rules_config c = { .mechanisms = FANOTIFY };
	struct rules_error err = { "" };
	struct config *site = NULL;
	struct ruleset *rs = NULL;
	struct explanation e;
	char why_text[512] = "";
	_cleanup_free_ char *told = NULL;
	struct event ev = an_open("/x");

	(void)state;
	if (config_load_buffer("site", site_text, strlen(site_text), &site, why_text))
		fail_msg("%s", why_text);
	c.site = site;
	if (ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err))
		fail_msg("%s", err.text);
	assert_int_equal(rules_describe(rs, 0, &told), 0);
	assert_non_null(strstr(told, "The action warn is set by site:1; the rule itself says block.\n"));
	assert_non_null(strstr(told, "Its threshold is 12, set by site:1; the rule itself says 8"));
	assert_non_null(strstr(told, "- plans (by ops, for good, site:4)"));
	ev.subj.exe = "/usr/bin/terraform";
	e = why(rs, 0, &ev);
	assert_false(e.fired);
	assert_true(e.excepted);
	is_reason(&e, 0, 4, "exception", "eq", "plans", "ops", false);
	is_reason(&e, 1, 4, "process_name", "eq", "terraform", "terraform", true);
	assert_string_equal(e.v[1].file, "site");
	explanation_free(&e);
	ruleset_unref(rs);
	config_free(site);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_made_it_fire),
		cmocka_unit_test(what_kept_it_from_firing),
		cmocka_unit_test(rules_that_are_not_asked),
		cmocka_unit_test(nested_none_of),
		cmocka_unit_test(an_expression_that_exceeds_its_limits),
		cmocka_unit_test(several_names),
		cmocka_unit_test(without_a_home),
		cmocka_unit_test(the_main_process_has_two_names),
		cmocka_unit_test(values_of_all_types),
		cmocka_unit_test(more_reasons_than_anybody_reads),
		cmocka_unit_test(in_sentences),
		cmocka_unit_test(why_not_stronger),
		cmocka_unit_test(who_is_asked),
		cmocka_unit_test(what_this_host_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
