/* SPDX-License-Identifier: Apache-2.0 */
/* Every way a rule can be wrong, and the one line that is said about it. */
#include "t/rules-test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"

static const char *message(const char *text, const struct rules_config *c)
{
	static struct rules_error err;
	struct ruleset *rs = NULL;
	int rc;

	strcpy(err.text, "loaded");
	rc = ruleset_load_buffer("f", text, strlen(text), c, &rs, &err);
	if (rc == 0)
		ruleset_unref(rs);
	else
		assert_true(rc < 0 && !rs);
	return err.text;
}

static void each_message(const char *const (*cases)[2], size_t n)
{
	const struct rules_config c = { .mechanisms = FANOTIFY };

	for (size_t i = 0; i < n; i++) {
		const char *got = message(cases[i][0], &c);

		if (strcmp(got, cases[i][1]))
			fail_msg("%s\nwant %s\ngot  %s", cases[i][0], cases[i][1], got);
	}
}

#define FILE_FIELDS                                                                            \
	"agent_identifier, process_name, exe, pid, parent_pid, uid, cgroup, "
#define FILE_FIELDS_2 "wall_clock_hour, wall_clock_dow, baseline_distance, path, "             \
	"matched_category, open_mode"

static void what_is_wrong_with_keys_is_said(void **state)
{
	static const char *const cases[][2] = {
		{ "[1]\n", "f:1: rule must be a map with the keys id, part, name, version, kind, match, "
			   "threshold, action, evidence, references, attack_techniques, authors" },
		{ "id: X1\nnmae: x\n",
		  "f:2: unknown key \"nmae\" in rule; allowed: id, part, name, version, kind, match, "
		  "threshold, action, evidence, references, attack_techniques, authors" },
		{ "name: n\n", "f:1: the rule has no id" },
		{ "id: X1\nversion: 1\n", "f:1: the rule has no name" },
		{ "id: X1\nname: n\n", "f:1: the rule has no version" },
		{ "id: X1\nname: n\nversion: 1\n", "f:1: the rule has no kind" },
		{ "id: X1\nname: n\nversion: 1\nkind: k\n", "f:1: the rule has no match" },
		{ "id: X1\nname: n\nversion: 1\nkind: k\nmatch: m\n", "f:1: the rule has no action" },
		{ "---\nid: X1\nname: n\nversion: 1\nkind: file_opened\nmatch: m\naction: a\n---\n"
		  "x: 1\n", "f:6: match must be a map with the keys any_of, all_of, none_of" },
	};

	(void)state;
	each_message(cases, ARRAY_SIZE(cases));
}

/* A rule with one line changed; the other lines are right. */
static void each_line(const char *key, const char *const (*cases)[2], size_t n)
{
	static const char *const lines[][2] = {
		{ "id", "id: X1" }, { "name", "name: n" }, { "version", "version: 1" },
		{ "kind", "kind: file_opened" },
		{ "match", "match: { any_of: [ pid: { gt: 1 } ] }" },
		{ "action", "action: { default: warn }" },
	};
	const struct rules_config c = { .mechanisms = FANOTIFY };

	for (size_t i = 0; i < n; i++) {
		char text[4096] = "";
		const char *got;

		snprintf(text, sizeof(text), "%s: %s\n", key, cases[i][0]);
		for (size_t k = 0; k < ARRAY_SIZE(lines); k++)
			if (strcmp(lines[k][0], key))
				snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s\n",
					 lines[k][1]);
		got = message(text, &c);
		if (strcmp(got, cases[i][1]))
			fail_msg("%s: %s\nwant %s\ngot  %s", key, cases[i][0], cases[i][1], got);
	}
}

static void what_is_wrong_with_a_head_is_said(void **state)
{
	static const char *const ids[][2] = {
		{ "X1", "loaded" }, { "R3", "loaded" }, { "B12", "loaded" },
#define BAD_ID "f:1: id must be R, B or X and a number, as X100 (X for rules of your own)"
		{ "Y1", BAD_ID }, { "X", BAD_ID }, { "X01", BAD_ID }, { "X1a", BAD_ID },
		{ "x1", BAD_ID }, { "X12345678", BAD_ID }, { "[X1]", BAD_ID }, { "''", BAD_ID },
	};
	static const char *const parts[][2] = {
		{ "ssh-private_2", "loaded" },
#define BAD_PART "f:1: part must be a word of lower-case letters, digits, - and _"
		{ "", BAD_PART }, { "A", BAD_PART }, { "a/b", BAD_PART }, { "-a", BAD_PART },
		{ "{}", BAD_PART },
	};
	static const char *const versions[][2] = {
		{ "7", "loaded" },
#define BAD_VERSION "f:1: version must be a whole number from 1"
		{ "0", BAD_VERSION }, { "-1", BAD_VERSION }, { "1.0", BAD_VERSION },
		{ "'1'", BAD_VERSION }, { "[1]", BAD_VERSION }, { "9999999999", BAD_VERSION },
	};
	static const char *const names[][2] = {
		{ "\"a\\nb\"", "f:1: name must be one line without control characters" },
		{ "''", "f:1: name must be a text" }, { "[a]", "f:1: name must be a text" },
	};
	static const char *const kinds[][2] = {
		{ "file_open", "f:1: kind must be one of exec_observed, file_opened, "
			       "socket_connect, file_changed, baseline_drift, file_scanned, "
			       "mcp_endpoint" },
		{ "[x]", "f:1: kind must be one of exec_observed, file_opened, socket_connect, "
			 "file_changed, baseline_drift, file_scanned, mcp_endpoint" },
	};
	const struct rules_config c = { 0 };
	char text[1400];

	(void)state;
	each_line("id", ids, ARRAY_SIZE(ids));
	each_line("part", parts, ARRAY_SIZE(parts));
	each_line("version", versions, ARRAY_SIZE(versions));
	each_line("name", names, ARRAY_SIZE(names));
	each_line("kind", kinds, ARRAY_SIZE(kinds));

	snprintf(text, sizeof(text), "name: %0201d\nid: X1\nversion: 1\nkind: file_opened\n"
		 "match: m\naction: a\n", 0);
	assert_string_equal(message(text, &c), "f:1: name must be at most 200 bytes long");
}

static void what_is_wrong_with_a_match_is_said(void **state)
{
#define ONE(comparison) "{ any_of: [ " comparison " ] }"
	static const char *const cases[][2] = {
		{ "{}", "f:1: match is empty: it needs any_of, all_of or none_of" },
		{ "{ path: { eq: /a } }",
		  "f:1: unknown key \"path\" in match; allowed: any_of, all_of, none_of" },
		{ "{ any_of: [] }", "f:1: any_of must be a list of at least one comparison" },
		{ "{ none_of: { pid: 1 } }", "f:1: none_of must be a list of at least one comparison" },
		{ ONE("x"), "f:1: a list item must be a comparison like path: { glob: \"~/.x\" }, "
			    "or any_of, all_of, none_of" },
		{ ONE("{ pid: { eq: 1 }, uid: { eq: 1 } }"),
		  "f:1: two comparisons in one list item: give \"uid\" its own \"- \"" },
		{ ONE("{ all_of: [ pid: { eq: 1 } ], uid: { eq: 1 } }"),
		  "f:1: unknown key \"uid\" in match; allowed: any_of, all_of, none_of" },
		{ ONE("pth: { eq: 1 }"), "f:1: unknown field \"pth\" for kind file_opened; allowed: "
					 FILE_FIELDS "wall_clock, " FILE_FIELDS_2 },
		{ ONE("argv: { eq: a }"), "f:1: no field \"argv\" for kind file_opened; allowed: "
					  FILE_FIELDS "wall_clock, " FILE_FIELDS_2 },
		{ ONE("pid: 1"), "f:1: field \"pid\" wants a comparison, as in pid: { eq: value }" },
		{ ONE("pid: {}"), "f:1: field \"pid\" wants a comparison, as in pid: { eq: value }" },
		{ ONE("pid: { glob: 1 }"), "f:1: unknown comparison \"glob\": field \"pid\" is a number; "
					   "allowed: eq, ne, in, not_in, gt, gte, lt, lte" },
		{ ONE("path: { gt: 1 }"), "f:1: unknown comparison \"gt\": field \"path\" is a path; "
		  "allowed: eq, ne, in, not_in, glob, match, prefix, suffix, contains" },
		{ ONE("cgroup: { is: 1 }"), "f:1: unknown comparison \"is\": field \"cgroup\" is a string; "
		  "allowed: eq, ne, in, not_in, glob, match, prefix, suffix, contains" },
		{ ONE("wall_clock: { eq: 1 }"),
		  "f:1: \"1\" is not a time: 22:00 or 22:00:30 of any day, 2026-12-24, or "
		  "2026-12-24T18:00:00+01:00" },
		{ ONE("pid: { eq: [] }"), "f:1: \"eq\" takes a value, a list of at least one, or { list: NAME }" },
		{ ONE("pid: { eq: { a: 1 } }"), "f:1: unknown key \"a\" in the place of a value; "
		  "allowed: list" },
		{ ONE("pid: { eq: { list: few } }"), "f:1: there is no list \"few\" in this folder: "
		  "lists are in a document lists: { name: [values] }" },
		{ ONE("pid: { eq: { list: [few] } }"), "f:1: there is no list \"\" in this folder: "
		  "lists are in a document lists: { name: [values] }" },
		{ ONE("pid: { eq: [[1]] }"), "f:1: field \"pid\" is compared with a value or a list of "
					     "values, not with a map or a list of lists" },
		{ ONE("pid: { eq: x }"), "f:1: \"x\" is not a whole number, as field \"pid\" is" },
		{ ONE("pid: { eq: '1' }"), "f:1: \"1\" is a text: write the number without quotes" },
		{ ONE("cgroup: { eq: '' }"), "f:1: an empty string: leave the comparison out" },
		{ ONE("path: { eq: a/b }"), "f:1: no path begins with \"a/b\": start with / or ~/, "
					    "or use suffix or glob" },
		{ ONE("path: { prefix: [/a, ~b] }"),
		  "f:1: no path begins with \"~b\": start with / or ~/, or use suffix or glob" },
		{ ONE("path: { glob: '/a[' }"), "f:1: \"/a[\" is not a pattern: unclosed or malformed bracket, or a "
		  "quote at the end" },
		{ ONE("path: { match: '(a' }"), "f:1: \"(a\" is not a regular expression: missing "
						"closing parenthesis at character 3" },
		{ ONE("path: { match: '(*UTF)a' }"), "f:1: \"(*UTF)a\" is not a regular expression: "
		  "using UTF is disabled by the application at character 7" },
	};
	static const char *const addresses[][2] = {
		{ "dest_ip: { cidr: 10.0.0.0/33 }",
		  "f:6: \"10.0.0.0/33\" is not a network like 10.0.0.0/8 or fd00::/8" },
		{ "dest_ip: { cidr: 'fd00::/129' }",
		  "f:6: \"fd00::/129\" is not a network like 10.0.0.0/8 or fd00::/8" },
		{ "dest_ip: { cidr: 10.0.0.0/ }",
		  "f:6: \"10.0.0.0/\" is not a network like 10.0.0.0/8 or fd00::/8" },
		{ "dest_ip: { eq: 10.0.0.0/8 }",
		  "f:6: \"10.0.0.0/8\" is not an address like 192.0.2.1 or 2001:db8::1" },
		{ "dest_ip: { eq: example.org }",
		  "f:6: \"example.org\" is not an address like 192.0.2.1 or 2001:db8::1" },
		{ "dest_ip: { match: x }", "f:6: unknown comparison \"match\": field \"dest_ip\" is an "
					   "address; allowed: eq, ne, in, not_in, cidr, port" },
		{ "dest_ip: { cidr: 10.0.0.0/8 }", "loaded" },
	};
	const struct rules_config c = { 0 };

	(void)state;
	each_line("match", cases, ARRAY_SIZE(cases));
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		char text[512];

		snprintf(text, sizeof(text), "id: X1\nname: n\nversion: 1\nkind: socket_connect\n"
			 "action: { default: warn }\nmatch: { any_of: [ %s ] }\n", addresses[i][0]);
		assert_string_equal(message(text, &c), addresses[i][1]);
	}
}

static void what_is_wrong_with_an_action_is_said(void **state)
{
	static const char *const actions[][2] = {
		{ "warn", "f:1: action must be a map with the keys default, configurable, options, "
			  "on_block, on_timeout, deadline" },
		{ "{}", "f:1: action needs a default: block, warn or allow" },
		{ "{ default: deny }", "f:1: action.default must be block, warn or allow" },
		{ "{ default: warn, defualt: block }",
		  "f:1: unknown key \"defualt\" in action; allowed: default, configurable, options, "
		  "on_block, on_timeout, deadline" },
		{ "{ default: warn, configurable: yes }",
		  "f:1: action.configurable must be true or false" },
		{ "{ default: warn, options: warn }",
		  "f:1: action.options must be a list of block, warn, allow" },
		{ "{ default: warn, options: [warn, deny] }",
		  "f:1: an option of action must be block, warn or allow" },
		{ "{ default: warn, options: [block, allow] }",
		  "f:1: action.default \"warn\" is not among its options: add it" },
		{ "{ default: warn, options: [block, warn] }", "loaded" },
		{ "{ default: block, on_block: stop }", "f:1: action.on_block must be hold or deny" },
		{ "{ default: block, on_timeout: kill }",
		  "f:1: action.on_timeout must be deny or allow" },
#define BAD_DEADLINE "f:1: action.deadline must be a time like 500ms or 2s, at most 10s"
		{ "{ default: block, deadline: 11s }", BAD_DEADLINE },
		{ "{ default: block, deadline: 10001ms }", BAD_DEADLINE },
		{ "{ default: block, deadline: 0s }", BAD_DEADLINE },
		{ "{ default: block, deadline: 5 }", BAD_DEADLINE },
		{ "{ default: block, deadline: 10s, on_block: hold, on_timeout: allow }", "loaded" },
		{ "{ default: block, deadline: 10m, on_block: hold }", "loaded" },
		{ "{ default: block, deadline: 11m, on_block: hold }",
		  "f:1: action.deadline must be a time like 30s or 5m, at most 10m" },
	};
	static const char *const thresholds[][2] = {
		{ "{ default: 1, configurable: true }", "loaded" },
		{ "{ default: 2 }", "f:1: threshold.default 2 is in no gt, gte, lt or lte of match: "
				    "the two must agree" },
		{ "{ default: x }", "f:1: threshold.default must be a whole number" },
		{ "{}", "f:1: threshold.default must be a whole number" },
		{ "{ default: 1, configurable: 1 }",
		  "f:1: threshold.configurable must be true or false" },
		{ "{ value: 1 }", "f:1: unknown key \"value\" in threshold; allowed: default, "
				  "configurable" },
		{ "8", "f:1: threshold must be a map with the keys default, configurable" },
	};

	(void)state;
	each_line("action", actions, ARRAY_SIZE(actions));
	each_line("threshold", thresholds, ARRAY_SIZE(thresholds));
}

static void what_is_wrong_with_the_rest_is_said(void **state)
{
	static const char *const evidence[][2] = {
		{ "{ capture: [ path, wall_clock ], retain_for: 1y }", "loaded" },
		{ "{ capture: [] }", "loaded" },
		{ "{ keep: 1 }", "f:1: unknown key \"keep\" in evidence; allowed: capture, retain_for" },
		{ "{ capture: path }", "f:1: evidence.capture must be a list of at most 24 fields" },
		{ "{ capture: [ path, path ] }", "f:1: field \"path\" is captured twice" },
		{ "{ capture: [ pth ] }", "f:1: unknown field \"pth\" for kind file_opened; allowed: "
		  FILE_FIELDS "wall_clock, " FILE_FIELDS_2 },
		{ "{ capture: [ argv ] }", "f:1: no field \"argv\" for kind file_opened; allowed: "
		  FILE_FIELDS "wall_clock, " FILE_FIELDS_2 },
		{ "{ capture: [ [ path ] ] }", "f:1: unknown field \"[…]\" for kind file_opened; "
		  "allowed: " FILE_FIELDS "wall_clock, " FILE_FIELDS_2 },
#define BAD_RETAIN "f:1: evidence.retain_for must be a time like 12h, 90d, 2w or 1y"
		{ "{ retain_for: 90 }", BAD_RETAIN }, { "{ retain_for: 0d }", BAD_RETAIN },
		{ "{ retain_for: 10m }", BAD_RETAIN }, { "{ retain_for: [1d] }", BAD_RETAIN },
		{ "{ retain_for: 99999999999y }", BAD_RETAIN },
	};
	static const char *const authors[][2] = {
		{ "me", "loaded" }, { "[ a, b ]", "loaded" },
		{ "{ a: b }", "f:1: authors must be a list of at most 64 names" },
		{ "[ [a] ]", "f:1: an author must be a text" },
	};
	static const char *const references[][2] = {
		{ "[ { url: 'https://a', label: l } ]", "loaded" },
		{ "x", "f:1: references must be a list of at most 64 maps of url and label" },
		{ "[ 'https://a' ]", "loaded" },
		{ "[ '' ]", "f:1: a reference must be a text" },
		{ "[ [x] ]", "f:1: a reference must be a map with the keys url, label" },
		{ "[ { label: l } ]", "f:1: a reference needs a url" },
		{ "[ { url: [] } ]", "f:1: url must be a text" },
	};
	static const char *const techniques[][2] = {
		{ "[ mitre_atlas: AML.T0051, owasp_asi: ASI05 ]", "loaded" },
		{ "x", "f:1: attack_techniques must be a list of at most 64 maps like mitre_atlas: "
		       "AML.T0051" },
		{ "[ x ]", "f:1: an attack technique must be a map like mitre_atlas: AML.T0051" },
		{ "[ { a: [] } ]", "f:1: an attack technique must be a text" },
	};

	(void)state;
	each_line("evidence", evidence, ARRAY_SIZE(evidence));
	each_line("authors", authors, ARRAY_SIZE(authors));
	each_line("references", references, ARRAY_SIZE(references));
	each_line("attack_techniques", techniques, ARRAY_SIZE(techniques));
}

#define RULE(id, action) "id: " id "\nname: n\nversion: 1\nkind: file_opened\n"                 \
	"match: { any_of: [ path: { eq: /a } ] }\naction: " action "\n"

static void ids_are_unique_with_their_part(void **state)
{
	struct rules_config c = { .site_only_x = true };

	(void)state;
	assert_string_equal(message(RULE("X1", "{ default: warn }") "---\n"
				    RULE("X2", "{ default: warn }") "---\n"
				    RULE("X1", "{ default: warn }"), &c),
			    "f:15: rule X1 is there twice (also f:1): give it another id or part");
	assert_string_equal(message("part: a\n" RULE("X1", "{ default: warn }") "---\npart: b\n"
				    RULE("X1", "{ default: warn }"), &c), "loaded");
	assert_string_equal(message("part: a\n" RULE("X1", "{ default: warn }") "---\npart: a\n"
				    RULE("X1", "{ default: warn }"), &c),
			    "f:9: rule X1/a is there twice (also f:1): give it another id or part");
	assert_string_equal(message("\n" RULE("R1", "{ default: warn }"), &c),
			    "f:2: id R1 is reserved for signed packs: rules of your own begin with "
			    "X, as X100");
}

static void defaults_are_what_the_manual_says(void **state)
{
	struct ruleset *rs = rules(RULE("X1", "{ default: block }"));
	const struct rule *r = ruleset_rule(rs, 0);

	(void)state;
	assert_int_equal(r->on_timeout, VERDICT_BLOCK);
	assert_int_equal(r->deadline_ns, 0);
	assert_int_equal(r->retain_s, 90 * 86400);
	assert_string_equal(r->pack, "local");
	ruleset_unref(rs);
	const struct rules_config c = { .retain_default_s = 7 };
	const char *text = RULE("X1", "{ default: warn }") "---\nevidence: { retain_for: 1h }\n"
			   RULE("X2", "{ default: warn }");
	struct rules_error err;
	assert_int_equal(ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err), 0);
	assert_int_equal(ruleset_rule(rs, 0)->retain_s, 7);
	assert_int_equal(ruleset_rule(rs, 1)->retain_s, 3600);
	ruleset_unref(rs);
	rs = rules(RULE("X1", "{ default: block, deadline: 250ms, on_timeout: allow, on_block: hold }"));
	r = ruleset_rule(rs, 0);
	assert_int_equal(r->on_timeout, VERDICT_ALLOW);
	assert_int_equal(r->deadline_ns, 250000000);
	assert_int_equal(r->mechanism, MECH_FANOTIFY);
	assert_string_equal(r->bound_why, "");
	assert_true(r->hold);
	assert_int_equal(r->hold_ns, 250000000);
	assert_int_equal(r->hold_then, VERDICT_ALLOW);
	ruleset_unref(rs);
}

/* ---- folders ------------------------------------------------------------------------------- */

static void put(const char *dir, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void take(const char *dir, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	assert_int_equal(unlink(path), 0);
}

static void folders_are_read_in_order_and_whole(void **state)
{
	char pack[] = "/tmp/oknek-rules-XXXXXX", site[] = "/tmp/oknek-rules-XXXXXX", want[256];
	const char *dirs[] = { mkdtemp(pack), mkdtemp(site), NULL };
	struct rules_config c = { .dirs = dirs, .site_only_x = true, .pack = "core 1" };
	struct rules_error err = { "" };
	struct ruleset *rs = NULL;

	(void)state;
	assert_non_null(dirs[0]);
	assert_non_null(dirs[1]);
	put(pack, "b.yaml", RULE("R10", "{ default: warn }"));
	put(pack, "a.yml", RULE("R2", "{ default: warn }") "---\n" RULE("B1", "{ default: warn }"));
	put(pack, "README", "no rule");
	put(pack, ".hidden.yaml", "no rule");
	put(site, "x.yaml", RULE("X1", "{ default: warn }"));
	assert_int_equal(ruleset_load(&c, &rs, &err), 0);
	static const char *const ids[] = { "B1", "R2", "R10", "X1" };
	assert_int_equal(ruleset_count(rs), 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(ruleset_rule(rs, i)->id, ids[i]);
		assert_string_equal(ruleset_rule(rs, i)->pack, i == 3 ? "local" : "core 1");
	}
	ruleset_unref(rs);
	rs = NULL;

	put(site, "y.yaml", "id: R5\nname: [\n");
	assert_int_equal(ruleset_load(&c, &rs, &err), -EINVAL);
	assert_non_null(strstr(err.text, "/y.yaml:3: not YAML: "));
	put(site, "y.yaml", "\n" RULE("R5", "{ default: warn }"));
	assert_int_equal(ruleset_load(&c, &rs, &err), -EINVAL);
	snprintf(want, sizeof(want), "%s/y.yaml:2: id R5 is reserved for signed packs: rules of your "
		 "own begin with X, as X100", site);
	assert_string_equal(err.text, want);
	take(site, "y.yaml");
	assert_null(rs);

	take(site, "x.yaml");
	assert_int_equal(rmdir(site), 0);
	assert_int_equal(ruleset_load(&c, &rs, &err), -ENOENT);
	snprintf(want, sizeof(want), "%s: folder of rules cannot be read: No such file or directory",
		 site);
	assert_string_equal(err.text, want);
	take(pack, "a.yml");
	take(pack, "b.yaml");
	take(pack, "README");
	take(pack, ".hidden.yaml");
	rmdir(pack);
}

static void lists_are_of_their_folder(void **state)
{
#define LISTED "match: { any_of: [ path: { glob: { list: secrets } } ] }\n" HEAD("X1")
	static const char *const cases[][2] = {
		{ "lists: { secrets: [~/.a] }\n---\n" LISTED, "loaded" },
		{ LISTED "---\nlists: { secrets: [~/.a] }\n", "f:1: there is no list \"secrets\" in "
		  "this folder: lists are in a document lists: { name: [values] }" },
		{ "lists: { a: [1] }\nid: X1\n", "f:2: unknown key \"id\" in a document of lists; "
		  "allowed: lists" },
		{ "lists: [a]\n", "f:1: lists must be a map like lists: { shells: [sh, bash] }" },
		{ "lists: {}\n", "f:1: lists must be a map like lists: { shells: [sh, bash] }" },
		{ "lists: { A: [1] }\n", "f:1: \"A\" names no list: use lower-case letters, digits, "
		  "- and _" },
		{ "lists: { a: [] }\n", "f:1: list \"a\" must have 1 to 1024 values" },
		{ "lists: { a: b }\n", "f:1: list \"a\" must have 1 to 1024 values" },
		{ "lists: { a: [[b]] }\n", "f:1: list \"a\" holds plain values only" },
		{ "lists: { a: [1] }\n---\nlists:\n  a: [2]\n",
		  "f:4: list \"a\" is there twice (also f:1): give it another name" },
		/* Where a value is wrong is told, not where the list is used. */
		{ "lists:\n  secrets:\n    - ~/.a\n    - '{a'\n---\n" LISTED,
		  "f:4: \"{a\" is not a pattern: unclosed brace" },
	};
	char pack[] = "/tmp/oknek-rules-XXXXXX", site[] = "/tmp/oknek-rules-XXXXXX", want[256];
	const char *dirs[] = { mkdtemp(pack), mkdtemp(site), NULL };
	struct rules_config c = { .dirs = dirs, .mechanisms = FANOTIFY };
	struct rules_error err = { "" };
	struct ruleset *rs = NULL;
	struct event ev = an_open("/home/u/.b");

	(void)state;
	each_message(cases, ARRAY_SIZE(cases));
	put(pack, "a.yaml", LISTED);
	put(pack, "lists.yaml", "lists: { secrets: [~/.a, ~/.b] }\n");
	assert_int_equal(ruleset_load(&c, &rs, &err), 0);
	assert_int_equal(decide(rs, &ev), VERDICT_BLOCK);
	ruleset_unref(rs);
	rs = NULL;
	/* Another folder does not see them. */
	put(site, "b.yaml", "match: { any_of: [ path: { glob: { list: secrets } } ] }\n" HEAD("X2"));
	assert_int_equal(ruleset_load(&c, &rs, &err), -EINVAL);
	assert_non_null(strstr(err.text, "/b.yaml:1: there is no list \"secrets\""));
	put(site, "b.yaml", "lists: { secrets: [~/.c] }\n");
	assert_int_equal(ruleset_load(&c, &rs, &err), -EINVAL);
	snprintf(want, sizeof(want), "%s/b.yaml:1: lists belong into lists.yaml of the same folder", site);
	assert_string_equal(err.text, want);
	take(site, "b.yaml");
	take(pack, "a.yaml");
	take(pack, "lists.yaml");
	rmdir(site);
	rmdir(pack);
}

static void small_files_do_not_become_large_sets(void **state)
{
	const struct rules_config c = { 0 };
	size_t cap = 1 << 20, used;
	char *text = malloc(cap);

	(void)state;
	assert_non_null(text);
	used = (size_t)snprintf(text, cap, HEAD("X1") "match:\n  any_of:\n");
	for (int i = 0; i < 12000; i++)
		used += (size_t)snprintf(text + used, cap - used, "  - path: { match: '%d"
					 "((((a{9}){9}){9}){9}x)' }\n", i);
	assert_string_equal(strchr(message(text, &c), ' ') + 1,
			    "the regular expressions of all rules need more than 8 MiB: use shorter "
			    "repeat counts");
	used = (size_t)snprintf(text, cap, HEAD("X1") "match:\n  any_of:\n");
	for (int i = 0; i < 9000; i++)
		used += (size_t)snprintf(text + used, cap - used, "  - path: { glob: '/%d"
					 "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}' }\n", i);
	assert_string_equal(strchr(message(text, &c), ' ') + 1,
			    "the patterns of all rules, with braces expanded, need more than 16 MiB: "
			    "use fewer braces");
	used = (size_t)snprintf(text, cap, HEAD("X1") "match:\n  any_of:\n  - pid: { in: [0");
	for (int i = 0; i < 1024; i++)
		used += (size_t)snprintf(text + used, cap - used, ",%d", i);
	snprintf(text + used, cap - used, "] }\n");
	assert_string_equal(message(text, &c), "f:8: more than 1024 values in one comparison");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_wrong_with_keys_is_said),
		cmocka_unit_test(what_is_wrong_with_a_head_is_said),
		cmocka_unit_test(what_is_wrong_with_a_match_is_said),
		cmocka_unit_test(what_is_wrong_with_an_action_is_said),
		cmocka_unit_test(what_is_wrong_with_the_rest_is_said),
		cmocka_unit_test(ids_are_unique_with_their_part),
		cmocka_unit_test(defaults_are_what_the_manual_says),
		cmocka_unit_test(folders_are_read_in_order_and_whole),
		cmocka_unit_test(lists_are_of_their_folder),
		cmocka_unit_test(small_files_do_not_become_large_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
