/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index never hides a rule: random rules and events, decided through the index and by asking
 * every rule. And it does hide: with many rules that cannot match the cost hardly grows.
 */
#include "t/rules-test.h"

#include <stdlib.h>
#include <time.h>

#include "core/cleanup.h"
#include "rules/compiled.h"

/* fixed: a failure can be looked at again */
static unsigned long long seed = 0x5eed;

static unsigned pick(unsigned n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(seed >> 33) % n;
}

static const char *const words[] = { "a",	"b",   ".aws", "credentials", "x.pem", ".pem",
				     "id_rsa", "..",  "a.b",  "u",	      "home",  "key.pem" };
static const char *const wilds[] = { "*",     "**",	 "*.pem", "id_*", "?",	   "[ab]",
				     "{a,b}", "*.{pem,b}", "x*",  "*_rsa", "a\\.b", "." };

static void random_path(char *out, size_t size, bool pattern)
{
	unsigned n = 1 + pick(3);

	*out = '\0';
	if (pattern && pick(3) == 0)
		strcpy(out, "~");
	else if (pick(3))
		strcpy(out, "/home/u");
	for (unsigned i = 0; i < n; i++) {
		size_t used = strlen(out);

		snprintf(out + used, size - used, "%s%s", pick(12) ? "/" : "//",
			 pattern && pick(3) == 0 ? wilds[pick(ARRAY_SIZE(wilds))] :
						   words[pick(pick(3) ? 5 : ARRAY_SIZE(words))]);
	}
	if (pick(12) == 0)
		strcat(out, "/");
	if (pattern && pick(8) == 0)
		memmove(out, out + 1, strlen(out)); /* floating, or broken */
}

static void random_comparison(char *out, size_t size)
{
	static const char *const ops[] = { "glob", "eq", "prefix", "suffix", "contains", "ne" };
	char path[256], more[256];
	const char *op = ops[pick(ARRAY_SIZE(ops))];

	switch (pick(6)) {
	case 0:
		snprintf(out, size, "{ process_name: { %s: [ %s, cat ] } }", pick(4) ? "eq" : "ne",
			 pick(2) ? "claude" : "node");
		break;
	case 1:
		snprintf(out, size, "{ pid: { gt: %u } }", pick(3) * 100);
		break;
	default:
		random_path(path, sizeof(path), !strcmp(op, "glob"));
		random_path(more, sizeof(more), !strcmp(op, "glob"));
		if (strcmp(op, "glob") && path[0] != '/')
			strcpy(path, "~/a");
		if (strcmp(op, "glob") && more[0] != '/')
			strcpy(more, "~");
		if (!strcmp(op, "suffix") && pick(2))
			memmove(path, path + 1, strlen(path));
		snprintf(out, size, "{ path: { %s: [ '%s', '%s' ] } }", op, path,
			 *more ? more : "/a");
	}
}

static void random_group(char *out, size_t size, int depth)
{
	static const char *const groups[] = { "any_of", "all_of", "none_of" };
	unsigned n = 1 + pick(3);

	snprintf(out, size, "{ %s: [ ", groups[pick(10) < 5 ? 0 : pick(10) < 7 ? 1 : 2]);
	for (unsigned i = 0; i < n; i++) {
		size_t used = strlen(out);

		if (depth && pick(3) == 0)
			random_group(out + used, size - used, depth - 1);
		else
			random_comparison(out + used, size - used);
		strcat(out, i + 1 < n ? ", " : " ] }");
	}
}

static struct ruleset *random_rules(unsigned n)
{
	const struct rules_config c = { .mechanisms = FANOTIFY };
	size_t size = n * 8192;
	char *text = malloc(size), group[6000];
	struct ruleset *rs = NULL;
	struct rules_error err;

	assert_non_null(text);
	*text = '\0';
	for (unsigned i = 0; i < n; i++) {
		size_t used = strlen(text);

		random_group(group, sizeof(group), 2);
		snprintf(text + used, size - used,
			 "---\nid: R%u\npart: p%u\nname: n\nversion: 1\nkind: file_opened\n"
			 "action: { default: %s }\nmatch: %s\n", pick(4) + 1, i,
			 pick(4) == 0 ? "allow" : pick(2) ? "block" : "warn", group);
	}
	if (ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err))
		rs = NULL; /* a pattern that was broken on purpose */
	free(text);
	return rs;
}

/* The same without the index. */
static void by_force(const struct ruleset *rs, const struct event *ev, bool *fired,
		     const char **category)
{
	*category = NULL;
	for (size_t i = 0; i < rs->n; i++) {
		fired[i] = false;
		for (unsigned k = 0; k < ev->file.n_names; k++) {
			struct match_context ctx = { .ev = ev, .clock = &wednesday_15,
						     .name_index = k };

			if (rs->rules[i]->rule.action != VERDICT_ALLOW &&
			    match_event(&ctx, rs->rules[i]->match))
				fired[i] = true;
		}
	}
	/* only asked about one name, so that which name is told does not matter */
	for (size_t i = 0; i < rs->n && !*category; i++) {
		struct match_context ctx = { .ev = ev, .paths_only = true };

		if (!strcmp(rs->rules[i]->rule.id, "R3") && rs->rules[i]->n_paths &&
		    match_event(&ctx, rs->rules[i]->match))
			*category = rs->rules[i]->rule.part;
	}
}

static void the_index_agrees_with_asking_every_rule(void **state)
{
	unsigned sets = 0, fires = 0, categories = 0;
	bool fired[64];

	(void)state;
	while (sets < 300) {
		struct ruleset *rs = random_rules(1 + pick(12));

		if (!rs)
			continue;
		sets++;
		for (int i = 0; i < 60; i++) {
			char path[2][512];
			struct event ev = an_open(path[0]);
			const char *category, *want_category;
			enum verdict want = VERDICT_ALLOW;
			unsigned n = 0;
			struct decision d;

			random_path(path[0], sizeof(path[0]), false);
			random_path(path[1], sizeof(path[1]), false);
			ev.file.names[1].path = path[1];
			ev.file.n_names = 1 + pick(2);
			ev.subj.tgid = pick(2) ? 100 : 200;
			ev.subj.exe = pick(2) ? "/usr/bin/node" : "/bin/cat";
			rules_decide(rs, &ev, &wednesday_15, &d, &category);
			by_force(rs, &ev, fired, &want_category);
			for (size_t k = 0; k < rs->n; k++) {
				n += fired[k];
				if (fired[k] && rs->rules[k]->rule.action > want)
					want = rs->rules[k]->rule.action;
				for (unsigned f = 0; f < d.n_fired; f++)
					assert_true(d.fired[f].rule != &rs->rules[k]->rule ||
						    fired[k]);
			}
			if (d.verdict != want || d.n_fired + d.n_fired_more != n) {
				for (size_t k = 0; k < rs->n; k++)
					print_error("%d %s\n", fired[k], ruleset_source(rs, k));
				fail_msg("%s %s: %u fired, not %u", path[0], path[1], d.n_fired, n);
			}
			if (ev.file.n_names == 1) {
				assert_ptr_equal(category, want_category);
				categories += category != NULL;
			}
			fires += n;
		}
		ruleset_unref(rs);
	}
	print_message("# %u rules fired, %u categories\n", fires, categories);
	assert_true(fires > 1000 && categories > 50); /* it was a test */
}

/* Whatever a rule matches, one of the patterns it gives for marking does, and no exclude hides it. */
static void what_matches_is_in_the_pathset(void **state)
{
	unsigned sets = 0, hits = 0;

	(void)state;
	while (sets < 2000) {
		struct ruleset *rs = random_rules(1);

		if (!rs)
			continue;
		sets++;
		for (int i = 0; i < 100; i++) {
			char path[512];
			struct event ev = an_open(path);
			struct match_context ctx = { .ev = &ev, .clock = &wednesday_15 };
			enum verdict v;

			random_path(path, sizeof(path), false);
			if (*path != '/' || strstr(path, "//") || path[strlen(path) - 1] == '/' ||
			    rs->rules[0]->n_paths == 0 || rs->rules[0]->rule.action == VERDICT_ALLOW ||
			    !match_event(&ctx, rs->rules[0]->match))
				continue;
			hits++;
			if (!(pathset_reach(ruleset_pathset(rs), path, "/home/u", &v) & GLOB_HERE) ||
			    v != rs->rules[0]->rule.action)
				fail_msg("%s\n%s", path, ruleset_source(rs, 0));
		}
		ruleset_unref(rs);
	}
	print_message("# %u hits\n", hits);
	assert_true(hits > 100);
}

static struct ruleset *many_rules(unsigned n)
{
	char *text = malloc(n * 512 + 1024);
	struct ruleset *rs;

	assert_non_null(text);
	strcpy(text, "# many\n");
	for (unsigned i = 0; i < n; i++)
		sprintf(text + strlen(text), "---\nid: X%u\nname: n\nversion: 1\nkind: file_opened\n"
			"action: { default: %s }\nmatch:\n  any_of:\n    - path: { glob: [\"~/.tool%u/"
			"secret%u\", \"**/*.key%u\"] }\n  none_of:\n    - process_name: { eq: tool%u }\n",
			i + 1, i % 2 ? "warn" : "block", i, i, i, i);
	rs = rules(text);
	free(text);
	return rs;
}

/* The best of several rounds, in ns. */
static double cost(const struct ruleset *rs, const struct event *ev)
{
	double best = 1e9;

	for (int round = 0; round < 20; round++) {
		struct timespec a, b;
		struct decision d;

		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < 500; i++)
			rules_decide(rs, ev, &wednesday_15, &d, NULL);
		clock_gettime(CLOCK_MONOTONIC, &b);
		double ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 +
			     (double)(b.tv_nsec - a.tv_nsec)) / 500;
		if (ns < best)
			best = ns;
	}
	return best;
}

static void rules_that_cannot_match_cost_nothing(void **state)
{
	struct ruleset *few = many_rules(10), *many = many_rules(1000);
	struct event miss = an_open("/home/u/src/project/node_modules/left-pad/index.js");
	struct event hit = an_open("/home/u/.tool7/secret7");
	double few_miss = cost(few, &miss), many_miss = cost(many, &miss);
	double few_hit = cost(few, &hit), many_hit = cost(many, &hit);

	(void)state;
	print_message("# 10 rules: miss %.0f ns, hit %.0f ns; 1000 rules: miss %.0f ns, hit %.0f ns\n",
		      few_miss, few_hit, many_miss, many_hit);
	assert_int_equal(decide(many, &hit), VERDICT_WARN);
	/* a hundred times the rules; generous, because the host may be busy */
	assert_true(many_miss < 3 * few_miss && many_hit < 3 * few_hit);
	ruleset_unref(few);
	ruleset_unref(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_index_agrees_with_asking_every_rule),
		cmocka_unit_test(what_matches_is_in_the_pathset),
		cmocka_unit_test(rules_that_cannot_match_cost_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
