/* SPDX-License-Identifier: Apache-2.0 */
/* oknek.yaml: every key, what is merged, and every complaint. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/config.h"

static struct config *config(const char *text)
{
	struct config *c = NULL;
	char err[512] = "";

	if (config_load_buffer("f", text, strlen(text), &c, err))
		print_error("%s\n", err);
	assert_non_null(c);
	return c;
}

static void an_empty_file_is_the_defaults(void **state)
{
	static const char *const texts[] = { "", "# nothing\n", "---\n", "{}\n",
					     "rules:\n#  R3: x\nreaders:\nexceptions:\n  # none\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct config *c = config(texts[i]);

		assert_int_equal(c->mode, MODE_OBSERVE);
		assert_null(c->sources[0]);
		assert_true(c->recognise);
		assert_true(c->deadline_ns == DEADLINE_DEFAULT_NS);
		assert_true(!c->hold && c->hold_ns == HOLD_DEFAULT_NS);
		assert_int_equal(c->on_timeout, VERDICT_BLOCK);
		assert_null(c->mark_roots[0]);
		assert_string_equal(c->group, "oknek");
		assert_int_equal(c->retain_default_s, 90 * 86400);
		assert_int_equal(c->max_size_bytes, 1 << 30);
		assert_int_equal(c->n_overrides, 0);
		assert_int_equal(c->n_readers, 0);
		assert_int_equal(c->n_exceptions, 0);
		config_free(c);
	}
	config_free(NULL);
}

static void every_key_is_read(void **state)
{
	struct config *c = config("mode: enforce\n"
				  "source: [fanotify, 'replay:/x']\n"
				  "agents: { recognise: false }\n"
				  "deadline: 500ms\n"
				  "on_timeout: allow\n"
				  "fanotify:\n  only: [/tmp, /]\n"
				  "control: { group: adm }\n"
				  "evidence: { retain_for: 2w, max_size: 512M }\n"
				  "rules:\n  R3/dotenv: { action: block }\n  R1: { action: allow, threshold: -3 }\n"
				  "exceptions:\n  R3/aws: { match: { uid: { eq: 1 } }, reason: r, author: a }\n"
				  "  R1:\n    - { match: x, reason: s, author: b, expires: 2027-01-31 }\n"
				  "readers:\n  R3/aws: [/usr/bin/aws, /opt/aws]\n  R3/kube: /usr/bin/kubectl\n"
				  "on_block: hold\nhold: { deadline: 2m }\n");

	(void)state;
	assert_int_equal(c->mode, MODE_ENFORCE);
	assert_string_equal(c->sources[0], "fanotify");
	assert_string_equal(c->sources[1], "replay:/x");
	assert_null(c->sources[2]);
	assert_false(c->recognise);
	assert_true(c->deadline_ns == 500000000);
	assert_true(c->hold);
	assert_true(c->hold_ns == 120000000000);
	assert_int_equal(c->on_timeout, VERDICT_ALLOW);
	assert_string_equal(c->mark_roots[1], "/");
	assert_null(c->mark_roots[2]);
	assert_string_equal(c->group, "adm");
	assert_int_equal(c->retain_default_s, 14 * 86400);
	assert_int_equal(c->max_size_bytes, 512 << 20);
	assert_int_equal(c->n_overrides, 3);
	assert_string_equal(c->overrides[0].rule, "R3/dotenv");
	assert_int_equal(c->overrides[0].key, OVERRIDE_ACTION);
	assert_int_equal(c->overrides[0].action, VERDICT_BLOCK);
	assert_int_equal(c->overrides[1].action, VERDICT_ALLOW);
	assert_int_equal(c->overrides[2].key, OVERRIDE_THRESHOLD);
	assert_int_equal(c->overrides[2].threshold, -3);
	assert_int_equal(c->n_exceptions, 2);
	assert_string_equal(c->exceptions[0].rule, "R3/aws");
	assert_string_equal(c->exceptions[0].reason, "r");
	assert_null(c->exceptions[0].expires);
	assert_true(c->exceptions[0].expires_unix_s == INT64_MAX);
	assert_string_equal(c->exceptions[1].rule, "R1");
	assert_string_equal(c->exceptions[1].author, "b");
	assert_string_equal(c->exceptions[1].expires, "2027-01-31");
	assert_string_equal(c->exceptions[1].file, "f");
	assert_int_equal(c->exceptions[1].line, 16);
	assert_int_equal(c->n_readers, 3);
	assert_string_equal(c->readers[1].rule, "R3/aws");
	assert_string_equal(c->readers[1].exe, "/opt/aws");
	assert_string_equal(c->readers[2].exe, "/usr/bin/kubectl");
	config_free(c);
	c = config("source: fanotify\n");
	assert_string_equal(c->sources[0], "fanotify");
	assert_null(c->sources[1]);
	config_free(c);
}

static void each_complaint_names_file_line_and_way_out(void **state)
{
#define KEYS "mode, source, agents, deadline, on_timeout, on_block, hold, fanotify, ebpf, audit, control, roles, evidence, capture, egress, " \
	     "exec, on_unenforceable, rules, readers, exceptions"
#define MATCH "match: { uid: { eq: 1 } }, "
#define REASON "reason: r, "
#define AUTHOR "author: a, "
#define EXPIRES(when) "exceptions:\n  R3: { " MATCH REASON AUTHOR "expires: " when " }"
#define NO_DATE "expires must be a date like 2027-01-31, whose end in UTC is meant, or a time like " \
		"2027-01-31T18:00:00+01:00; without it the exception stays"
	static const char *const cases[][2] = {
		{ "[1]", "f:1: the configuration must be a map with the keys " KEYS },
		{ "mode: observe\nmoed: x", "f:2: unknown key \"moed\" in the configuration; allowed: "
					    KEYS },
		{ "mode: x", "f:1: mode must be observe or enforce" },
		{ "mode: [enforce]", "f:1: mode must be observe or enforce" },
		{ "mode: enforce\nmode: observe", "f:2: key \"mode\" is there twice (first on line 1)" },
		{ "a: 1\n---\nb: 1\n", "f:3: a second document: a configuration file has one, remove "
				       "the ---" },
		{ "source: {}", "f:1: source must be a list of source names, as in [fanotify]" },
		{ "source: [[a]]", "f:1: source must be a list of source names, as in [fanotify]" },
		{ "source: [fanotify,'']", "f:1: source must be a list of source names, as in [fanotify]" },
		{ "source: 'fanotify,ebpf'",
		  "f:1: source must be one name per list item, as in [fanotify, ebpf]" },
		{ "source: [fanotify, foo]", "f:1: source: \"foo\" is no source: fanotify, ebpf, audit, "
					     "preload or replay:FILE" },
		{ "source: ['replay:']", "f:1: source: \"replay:\" is no source: fanotify, ebpf, audit, "
					 "preload or replay:FILE" },
		{ "agents: true", "f:1: agents must be a map with the keys recognise" },
		{ "agents: { recognize: true }",
		  "f:1: unknown key \"recognize\" in agents; allowed: recognise" },
		{ "agents:\n  recognise: yes", "f:2: agents.recognise must be true or false" },
		{ "deadline: 1", "f:1: deadline must be a time like 500ms or 1s, at most 10s" },
		{ "deadline: 11s", "f:1: deadline must be a time like 500ms or 1s, at most 10s" },
		{ "roles: [ann]", "f:1: roles must be a map with the keys viewer, operator, admin" },
		{ "roles: { viewer: [a b] }", "f:1: viewer: \"a b\" is nobody: write a user as ann or "
					      "1000, a group as @ops or @1000" },
		{ "roles: { admin: ['@'] }", "f:1: admin: \"@\" is nobody: write a user as ann or 1000, a "
					     "group as @ops or @1000" },
		{ "roles: { admin: [4294967295] }", "f:1: admin: \"4294967295\" is nobody: write a user as "
						    "ann or 1000, a group as @ops or @1000" },
		{ "roles: { admin: [{}] }", "f:1: admin must be a list of users and groups, as [ann, "
					    "\"@ops\"]" },
		{ "on_block: ask", "f:1: on_block must be deny or hold" },
		{ "rules: { R3: { on_block: yes } }", "f:1: on_block must be deny or hold" },
		{ "hold: { deadline: 601s }", "f:1: hold.deadline must be a time like 30s or 2m, at most 10m" },
		{ "hold: { deadline: 0s }", "f:1: hold.deadline must be a time like 30s or 2m, at most 10m" },
		{ "deadline: 0s", "f:1: deadline must be a time like 500ms or 1s, at most 10s" },
		{ "on_timeout: block", "f:1: on_timeout must be deny or allow" },
		{ "fanotify:\n  only: []",
		  "f:2: fanotify.only must be a list of directories, or left out: then what the rules "
		  "name is marked wherever it is" },
		{ "fanotify: { only: [home] }",
		  "f:1: fanotify.only: \"home\" is not an absolute path: begin with /" },
		{ "fanotify:\n  only:\n  - /tmp\n  - /nonexistent/x\n",
		  "f:4: fanotify.only: directory \"/nonexistent/x\": No such file or directory; create "
		  "it or remove the entry" },
		{ "fanotify: { only: /dev/null }",
		  "f:1: fanotify.only: \"/dev/null\" is not a directory" },
		{ "fanotify: { marks: filesystem }",
		  "f:1: unknown key \"marks\" in fanotify; allowed: only, system_directories" },
		{ "audit: { scope: tree }", "f:1: audit.scope must be process or user" },
		{ "audit: { scope: [user] }", "f:1: audit.scope must be process or user" },
		{ "audit: { scopes: user }", "f:1: unknown key \"scopes\" in audit; allowed: scope" },
		{ "ebpf: { ring: 16 }",
		  "f:1: ebpf.ring must be a size like 512K or 16M, from 64K to 1G" },
		{ "ebpf: { exec_ring: 63K }",
		  "f:1: ebpf.exec_ring must be a size like 512K or 16M, from 64K to 1G" },
		{ "ebpf: { rings: 1M }", "f:1: unknown key \"rings\" in ebpf; allowed: ring, exec_ring" },
		{ "exec: { held: true }", "f:1: unknown key \"held\" in exec; allowed: programs, hold" },
		{ "exec: { hold: maybe }", "f:1: exec.hold must be true or false" },
		{ "exec: { programs: {} }", "f:1: exec.programs must be a list of paths of programs" },
		{ "exec:\n  programs:\n  - /bin/x\n  - bin/sh",
		  "f:4: exec.programs: \"bin/sh\" is no program that could be looked for: begin with /; "
		  "write a path or a pattern, as /opt/tool/bin/run or /opt/*/bin/python3" },
		{ "exec: { programs: [/opt/**/sh] }",
		  "f:1: exec.programs: \"/opt/**/sh\" is no program that could be looked for: ** would be "
		  "too many files; write a path or a pattern, as /opt/tool/bin/run or /opt/*/bin/python3" },
		{ "control: { group: 'a b' }", "f:1: control.group must be the name of a group" },
		{ "control: { group: '' }", "f:1: control.group must be the name of a group" },
		{ "evidence: { retain_for: 90 }",
		  "f:1: evidence.retain_for must be a time like 12h, 90d, 2w or 1y" },
		{ "evidence: { retain_for: 30s }",
		  "f:1: evidence.retain_for must be a time like 12h, 90d, 2w or 1y" },
		{ "evidence: { max_size: 5 }",
		  "f:1: evidence.max_size must be a size like 512M or 2G, at least 1M" },
		{ "evidence: { max_size: 1K }",
		  "f:1: evidence.max_size must be a size like 512M or 2G, at least 1M" },
		{ "evidence: { max_size: 99999999999T }",
		  "f:1: evidence.max_size must be a size like 512M or 2G, at least 1M" },
		{ "evidence: { max_size: -1G }",
		  "f:1: evidence.max_size must be a size like 512M or 2G, at least 1M" },
		{ "rules: [R3]", "f:1: rules must be a map like R3/dotenv: { action: warn }" },
		{ "rules: { dotenv: { action: warn } }",
		  "f:1: \"dotenv\" in rules is not a rule: write R3 or R3/dotenv" },
		{ "rules: { R3/: { action: warn } }",
		  "f:1: \"R3/\" in rules is not a rule: write R3 or R3/dotenv" },
		{ "rules: { R3: warn }", "f:1: R3 must be a map with the keys action, threshold, on_block" },
		{ "rules: { R3: {} }", "f:1: R3 must be a map with an action, a threshold or on_block" },
		{ "rules: { R3: { acton: warn } }",
		  "f:1: unknown key \"acton\" in R3; allowed: action, threshold, on_block" },
		{ "rules:\n  R1:\n    threshold: high", "f:3: threshold must be a whole number" },
		{ "rules:\n  R1:\n    threshold: 8.5", "f:3: threshold must be a whole number" },
		{ "rules:\n  R1:\n    threshold: '8'", "f:3: threshold must be a whole number" },
		{ "rules:\n  R1:\n    threshold: [8]", "f:3: threshold must be a whole number" },
		{ "rules:\n  R1:\n    threshold: 99999999999999999999", "f:3: threshold must be a whole number" },
		{ "rules: { R3: { action: deny } }", "f:1: action must be block, warn or allow" },
		{ "exceptions: [R3]", "f:1: exceptions must be a map like R3/aws: { match: …, reason: …, "
				      "author: … }" },
		{ "exceptions:\n  aws: {}", "f:2: \"aws\" in exceptions is not a rule: write R3 or R3/dotenv" },
		{ "exceptions:\n  R3: []", "f:2: R3 has an empty list: leave it out" },
		{ "exceptions:\n  R3: yes", "f:2: an exception must be a map with the keys match, reason, "
					    "author, expires" },
		{ "exceptions:\n  R3:\n    - { " MATCH REASON AUTHOR "}\n    - yes",
		  "f:4: an exception must be a map with the keys match, reason, author, expires" },
		{ "exceptions:\n  R3: { " REASON AUTHOR " }", "f:2: the exception to R3 has no match" },
		{ "exceptions:\n  R3: { " MATCH AUTHOR " }", "f:2: the exception to R3 has no reason" },
		{ "exceptions:\n  R3: { " MATCH REASON " }", "f:2: the exception to R3 has no author" },
		{ "exceptions:\n  R3: { " MATCH REASON AUTHOR " until: 2027-01-01 }",
		  "f:2: unknown key \"until\" in an exception; allowed: match, reason, author, expires" },
		{ "exceptions:\n  R3:\n    match: x\n    reason: ''\n    author: a",
		  "f:4: reason of an exception must be one line of text, at most 500 bytes" },
		{ "exceptions:\n  R3:\n    match: x\n    reason: r\n    author: [a]",
		  "f:5: author of an exception must be one line of text, at most 500 bytes" },
		{ "exceptions:\n  R3:\n    match: x\n    author: a\n    reason: |\n      two\n      lines\n",
		  "f:5: reason of an exception must be one line of text, at most 500 bytes" },
		{ EXPIRES("tomorrow"), "f:2: " NO_DATE },
		{ EXPIRES("2027-02-29"), "f:2: " NO_DATE },
		{ EXPIRES("2027-13-01"), "f:2: " NO_DATE },
		{ EXPIRES("2027-1-31"), "f:2: " NO_DATE },
		{ EXPIRES("2027-01-31T18:00:00"), "f:2: " NO_DATE },
		{ EXPIRES("2027-01-31 18:00:00Z"), "f:2: " NO_DATE },
		{ EXPIRES("90d"), "f:2: " NO_DATE },
		{ EXPIRES("[]"), "f:2: " NO_DATE },
		{ EXPIRES("''"), "f:2: " NO_DATE },
		{ "readers: x", "f:1: readers must be a map like R3/aws: [/usr/bin/aws]" },
		{ "readers: { aws: [/a] }", "f:1: \"aws\" in readers is not a rule: write R3 or R3/dotenv" },
		{ "readers: { R3/aws: [aws] }",
		  "f:1: R3/aws must be absolute paths of executables, as /usr/bin/aws" },
		{ "readers: { R3/aws: { a: b } }",
		  "f:1: R3/aws must be a list of absolute paths of executables, as [/usr/bin/aws]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *c = NULL;
		char err[512] = "loaded";

		if (config_load_buffer("f", cases[i][0], strlen(cases[i][0]), &c, err) != -EINVAL ||
		    strcmp(err, cases[i][1]))
			fail_msg("%s\nwant %s\ngot  %s", cases[i][0], cases[i][1], err);
		assert_null(c);
	}
}

static void an_expiry_is_a_date_or_a_time(void **state)
{
	static const struct {
		const char *text;
		int64_t unix_s;
	} cases[] = {
		{ "2027-01-31", 1801440000 }, /* the first of February in UTC */
		{ "'2027-01-31'", 1801440000 },
		{ "2028-02-29", 1835481600 },
		{ "1999-12-31", 946684800 },
		{ "2027-01-31T18:00:00Z", 1801418400 },
		{ "2027-01-31T18:00:00+01:00", 1801414800 },
		{ "2027-01-31T18:00:00.999Z", 1801418400 },
		{ "9999-12-31", 253402300800 },
		{ "9999-12-31T23:59:59Z", 253402300799 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[200];
		struct config *c;

		snprintf(text, sizeof(text), EXPIRES("%s"), cases[i].text);
		c = config(text);
		assert_int_equal(c->n_exceptions, 1);
		if (c->exceptions[0].expires_unix_s != cases[i].unix_s)
			fail_msg("%s: %lld", cases[i].text, (long long)c->exceptions[0].expires_unix_s);
		config_free(c);
	}
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void there_are_as_many_roles_as_fit(void **state)
{
	char text[2048] = "roles: { viewer: [1", err[512];
	struct config *c = NULL;

	(void)state;
	for (int i = 1; i < ROLES_MAX; i++)
		strcat(text, ", '@2'");
	strcat(text, "] }");
	assert_int_equal(config_load_buffer("f", text, strlen(text), &c, err), 0);
	assert_int_equal(c->n_roles, ROLES_MAX);
	assert_false(c->roles[0].group);
	assert_true(c->roles[1].group);
	assert_int_equal(c->roles[1].number, 2);
	config_free(c);
	strcpy(text + strlen(text) - 1, ", admin: [bob] }");
	assert_int_equal(config_load_buffer("f", text, strlen(text), &c, err), -EINVAL);
	assert_string_equal(err, "f:1: more than 64 users and groups have a role");
}

static void later_files_win(void **state)
{
	char dir[] = "/tmp/oknek-config-XXXXXX", err[512], want[600];
	struct config *c = NULL;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(config_load("o.yaml", true, &c, err), -ENOENT);
	assert_string_equal(err, "o.yaml: cannot be opened: No such file or directory");
	assert_int_equal(config_load("o.yaml", false, &c, err), 0);
	assert_int_equal(c->mode, MODE_OBSERVE);
	config_free(c);

	put("o.yaml", "mode: enforce\ndeadline: 2s\nrules: { R3: { action: warn }, R1: { action: warn } }\n"
		      "readers: { R3/aws: [/a, /b], R3/kube: [/k] }\n"
		      "exceptions: { R3: { match: a, reason: r, author: a } }\n");
	assert_int_equal(mkdir("o.yaml.d", 0700), 0);
	put("o.yaml.d/20.yaml", "deadline: 3s\n");
	put("o.yaml.d/10.yaml", "deadline: 4s\nrules: { R3: { action: allow }, X1: { action: block },\n"
				"  R1: { threshold: 3 } }\n"
				"readers: { R3/aws: [/c] }\n"
				"exceptions: { R3: { match: b, reason: s, author: a } }\n");
	put("o.yaml.d/README", "no: yaml: at: all\n");
	put("o.yaml.d/.10.yaml.swp.yaml", "nonsense\n");
	assert_int_equal(config_load("o.yaml", true, &c, err), 0);
	assert_int_equal(c->mode, MODE_ENFORCE);
	assert_true(c->deadline_ns == 3000000000);
	/* key by key: an action that was said stays beside a threshold that comes later */
	assert_int_equal(c->n_overrides, 4);
	assert_int_equal(c->overrides[0].action, VERDICT_ALLOW);
	assert_string_equal(c->overrides[0].at.file, "o.yaml.d/10.yaml");
	assert_int_equal(c->overrides[0].at.line, 2);
	assert_int_equal(c->overrides[1].action, VERDICT_WARN);
	assert_string_equal(c->overrides[1].at.file, "o.yaml");
	assert_string_equal(c->overrides[3].rule, "R1");
	assert_int_equal(c->overrides[3].threshold, 3);
	assert_int_equal(c->overrides[3].at.line, 3);
	assert_int_equal(c->n_exceptions, 2); /* those of later files are added */
	assert_string_equal(c->exceptions[0].reason, "r");
	assert_string_equal(c->exceptions[1].reason, "s");
	assert_string_equal(c->exceptions[1].file, "o.yaml.d/10.yaml");
	assert_int_equal(c->n_readers, 2);
	assert_string_equal(c->readers[0].exe, "/k");
	assert_string_equal(c->readers[1].exe, "/c");
	config_free(c);
	c = NULL;

	put("o.yaml.d/20.yaml", "mode: enforce\n\nbroken\n");
	assert_int_equal(config_load("o.yaml", true, &c, err), -EINVAL);
	snprintf(want, sizeof(want), "o.yaml.d/20.yaml:4: not YAML: could not find expected ':', while "
		 "scanning a simple key");
	assert_string_equal(err, want);
	assert_null(c);
	unlink("o.yaml.d/20.yaml");
	unlink("o.yaml.d/10.yaml");
	unlink("o.yaml.d/README");
	unlink("o.yaml.d/.10.yaml.swp.yaml");
	rmdir("o.yaml.d");
	unlink("o.yaml");
	assert_int_equal(chdir("/"), 0);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_is_the_defaults),
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(each_complaint_names_file_line_and_way_out),
		cmocka_unit_test(an_expiry_is_a_date_or_a_time),
		cmocka_unit_test(there_are_as_many_roles_as_fit),
		cmocka_unit_test(later_files_win),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
