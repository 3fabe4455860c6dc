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
	static const char *const texts[] = { "", "# nothing\n", "---\n", "{}\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct config *c = config(texts[i]);

		assert_int_equal(c->mode, MODE_OBSERVE);
		assert_null(c->sources[0]);
		assert_true(c->recognise);
		assert_true(c->deadline_ns == DEADLINE_DEFAULT_NS);
		assert_int_equal(c->on_timeout, VERDICT_BLOCK);
		assert_null(c->mark_roots[0]);
		assert_string_equal(c->group, "oknek");
		assert_int_equal(c->retain_default_s, 90 * 86400);
		assert_int_equal(c->max_size_bytes, 1 << 30);
		assert_int_equal(c->n_overrides, 0);
		assert_int_equal(c->n_readers, 0);
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
				  "rules:\n  R3/dotenv: { action: block }\n  R1: { action: allow }\n"
				  "readers:\n  R3/aws: [/usr/bin/aws, /opt/aws]\n  R3/kube: /usr/bin/kubectl\n");

	(void)state;
	assert_int_equal(c->mode, MODE_ENFORCE);
	assert_string_equal(c->sources[0], "fanotify");
	assert_string_equal(c->sources[1], "replay:/x");
	assert_null(c->sources[2]);
	assert_false(c->recognise);
	assert_true(c->deadline_ns == 500000000);
	assert_int_equal(c->on_timeout, VERDICT_ALLOW);
	assert_string_equal(c->mark_roots[1], "/");
	assert_null(c->mark_roots[2]);
	assert_string_equal(c->group, "adm");
	assert_int_equal(c->retain_default_s, 14 * 86400);
	assert_int_equal(c->max_size_bytes, 512 << 20);
	assert_int_equal(c->n_overrides, 2);
	assert_string_equal(c->overrides[0].rule, "R3/dotenv");
	assert_int_equal(c->overrides[0].action, VERDICT_BLOCK);
	assert_int_equal(c->overrides[1].action, VERDICT_ALLOW);
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
#define KEYS "mode, source, agents, deadline, on_timeout, fanotify, control, evidence, rules, readers"
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
		{ "rules: { R3: warn }", "f:1: R3 must be a map with the keys action" },
		{ "rules: { R3: {} }", "f:1: action must be block, warn or allow" },
		{ "rules: { R3: { action: deny } }", "f:1: action must be block, warn or allow" },
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

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
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
		      "readers: { R3/aws: [/a, /b], R3/kube: [/k] }\n");
	assert_int_equal(mkdir("o.yaml.d", 0700), 0);
	put("o.yaml.d/20.yaml", "deadline: 3s\n");
	put("o.yaml.d/10.yaml", "deadline: 4s\nrules: { R3: { action: allow }, X1: { action: block } }\n"
				"readers: { R3/aws: [/c] }\n");
	put("o.yaml.d/README", "no: yaml: at: all\n");
	put("o.yaml.d/.10.yaml.swp.yaml", "nonsense\n");
	assert_int_equal(config_load("o.yaml", true, &c, err), 0);
	assert_int_equal(c->mode, MODE_ENFORCE);
	assert_true(c->deadline_ns == 3000000000);
	assert_int_equal(c->n_overrides, 3);
	assert_int_equal(c->overrides[0].action, VERDICT_ALLOW);
	assert_int_equal(c->overrides[1].action, VERDICT_WARN);
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
		cmocka_unit_test(later_files_win),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
