/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index never hides a rule: random rules and events, decided through the index and by asking
 * every rule. And it does hide: with many rules that cannot match the cost hardly grows.
 */
#include "t/rules-test.h"

#include <arpa/inet.h>
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

static void file_comparison(char *out, size_t size)
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

static const char *const texts[] = { "curl", "rm -rf", "git push", "evil", "example", "-c", "a b",
				     "/usr/bin/", "bash", "x.com", "node", "1", "ab", "push origin" };
static const char *const patterns[] = {
	"rm -rf", "curl.*evil", "^git", "(curl|wget) x", "evi?l", "push|pull", "a[bc]d", "x\\.com$",
	"(?i)CURL", "example{1,2}", "bash(ls)?", "no\\dde", "a+b", "git +push", "exam(p|q)le", "curl|",
	"[[:alpha:]]x", "\\Aevil", "e*vil", "^(?:git) push$", "evil{0}", "/bin/(a|b)*sh",
};
static const char *const globs[] = { "*curl*", "git*", "*.com", "*ex?mple*", "*[ab]vil*", "*push o*",
				     "{*evil*,*rm*}", "\\*a*", "*", "**/bash", "/usr/bin/*", "no*e" };
static const char *const hosts[] = { "evil.com", "a.evil.com", "example.org", "x.com", "ab", "" };
static const char *const addresses[] = { "10.0.0.1", "10.0.1.1", "192.0.2.7", "2001:db8::1", "::1",
					 "fd00::5" };
static const char *const networks[] = { "10.0.0.0/8", "10.0.0.0/23", "0.0.0.0/0", "::/0", "10.0.0.1",
					"2001:db8::/32", "fd00::/9", "192.0.2.4/30", "::1/128" };

static void text_comparison(char *out, size_t size, const char *field, bool path)
{
	static const char *const ops[] = { "eq", "ne", "prefix", "suffix", "contains", "glob",
					   "match" };
	const char *op = ops[pick(ARRAY_SIZE(ops))], *v[2];
	bool rooted = path && op[0] != 's' && op[0] != 'c' && op[0] != 'g' && op[0] != 'm';

	for (int i = 0; i < 2; i++) {
		v[i] = !strcmp(op, "glob") ? globs[pick(ARRAY_SIZE(globs))] :
		       !strcmp(op, "match") ? patterns[pick(ARRAY_SIZE(patterns))] :
		       rooted ? (pick(2) ? "/usr/bin/" : "/usr/bin/bash") :
		       strstr(field, "host") && pick(2) ? hosts[pick(5)] :
						texts[pick(ARRAY_SIZE(texts))];
	}
	if (pick(2))
		snprintf(out, size, "{ %s: { %s: '%s' } }", field, op, v[0]);
	else
		snprintf(out, size, "{ %s: { %s: [ '%s', '%s' ] } }", field, op, v[0], v[1]);
}

static void exec_comparison(char *out, size_t size)
{
	switch (pick(6)) {
	case 0:
		text_comparison(out, size, "process_name", false);
		return;
	case 1:
		text_comparison(out, size, "exe", true);
		return;
	default:
		text_comparison(out, size, pick(3) ? "argv" : "bash_command", false);
	}
}

static void connect_comparison(char *out, size_t size)
{
	switch (pick(5)) {
	case 0:
		snprintf(out, size, "{ dest_port: { %s: [ %u, 443 ] } }",
			 pick(4) ? "in" : "not_in", pick(3) * 40);
		return;
	case 1:
		snprintf(out, size, "{ dest_ip: { %s: [ '%s', '%s' ] } }", pick(4) ? "eq" : "ne",
			 addresses[pick(ARRAY_SIZE(addresses))], addresses[pick(3)]);
		return;
	case 2:
		snprintf(out, size, "{ dest_ip: { cidr: '%s' } }", networks[pick(ARRAY_SIZE(networks))]);
		return;
	case 3:
		snprintf(out, size, "{ dest_ip: { port: %u } }", pick(3) * 40);
		return;
	default:
		text_comparison(out, size, "dest_host", false);
	}
}

static enum event_kind kind_now;

static void random_comparison(char *out, size_t size)
{
	if (kind_now == KIND_EXEC_OBSERVED)
		exec_comparison(out, size);
	else if (kind_now == KIND_SOCKET_CONNECT)
		connect_comparison(out, size);
	else if (pick(4))
		file_comparison(out, size);
	else
		text_comparison(out, size, pick(3) ? "path" : "exe", true);
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
			 "---\nid: R%u\npart: p%u\nname: n\nversion: 1\nkind: %s\n"
			 "action: { default: %s }\nmatch: %s\n", pick(4) + 1, i,
			 event_kind_name(kind_now), pick(4) == 0 ? "allow" : pick(2) ? "block" : "warn", group);
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
	bool file = ev->kind == KIND_FILE_OPENED;
	unsigned names = file ? ev->file.n_names : 1;

	*category = NULL;
	for (size_t i = 0; i < rs->n; i++) {
		fired[i] = false;
		for (unsigned k = 0; k < names; k++) {
			struct match_context ctx = { .ev = ev, .clock = &wednesday_15,
						     .name_index = k };

			if (rs->rules[i]->rule.action != VERDICT_ALLOW &&
			    match_event(&ctx, rs->rules[i]->match))
				fired[i] = true;
		}
	}
	/* only asked about one name, so that which name is told does not matter */
	for (size_t i = 0; file && i < rs->n && !*category; i++) {
		struct match_context ctx = { .ev = ev, .paths_only = true };

		if (!strcmp(rs->rules[i]->rule.id, "R3") && rs->rules[i]->n_paths &&
		    match_event(&ctx, rs->rules[i]->match))
			*category = rs->rules[i]->rule.part;
	}
}

/* How many rules fired, the same as by force; fails otherwise. */
static unsigned compare(const struct ruleset *rs, const struct event *ev, const char *about)
{
	const char *category, *want_category;
	enum verdict want = VERDICT_ALLOW;
	struct decision d;
	bool fired[64];
	unsigned n = 0;

	rules_decide(rs, ev, &wednesday_15, &d, &category);
	by_force(rs, ev, fired, &want_category);
	for (size_t k = 0; k < rs->n; k++) {
		n += fired[k];
		if (fired[k] && rs->rules[k]->rule.action > want)
			want = rs->rules[k]->rule.action;
		for (unsigned f = 0; f < d.n_fired; f++)
			assert_true(d.fired[f].rule != &rs->rules[k]->rule || fired[k]);
	}
	if (d.verdict != want || d.n_fired + d.n_fired_more != n) {
		for (size_t k = 0; k < rs->n; k++)
			print_error("%d %s\n", fired[k], ruleset_source(rs, k));
		fail_msg("%s: %u fired, not %u", about, d.n_fired + d.n_fired_more, n);
	}
	if (ev->kind != KIND_FILE_OPENED || ev->file.n_names == 1)
		assert_ptr_equal(category, want_category);
	return n;
}

/* Of files, with names that paths are made of. */
static void the_index_agrees_with_asking_every_rule(void **state)
{
	unsigned fires = 0;

	(void)state;
	kind_now = KIND_FILE_OPENED;
	for (unsigned sets = 0; sets < 400;) {
		struct ruleset *rs = random_rules(1 + pick(12));

		sets += rs != NULL;
		for (int i = 0; rs && i < 80; i++) {
			char path[2][512], about[1100];
			struct event ev = an_open(path[0]);

			random_path(path[0], sizeof(path[0]), false);
			random_path(path[1], sizeof(path[1]), false);
			ev.file.names[1].path = path[1];
			ev.file.n_names = 1 + pick(2);
			ev.subj.tgid = pick(2) ? 100 : 200;
			ev.subj.exe = pick(2) ? "/usr/bin/node" : "/bin/cat";
			snprintf(about, sizeof(about), "%s %s", path[0], path[1]);
			fires += compare(rs, &ev, about);
		}
		ruleset_unref(rs);
	}
	print_message("# %u rules fired\n", fires);
	assert_true(fires > 1000); /* it was a test */
}

/* Of one to four texts; what is between them is between arguments too. */
static size_t random_arguments(char *out, size_t size, char between)
{
	size_t n = 0;

	for (unsigned i = 0, most = 1 + pick(4); i < most && n < size - 40; i++) {
		if (i)
			out[n++] = pick(3) ? between : ' ';
		n += (size_t)snprintf(out + n, size - n, "%s", texts[pick(ARRAY_SIZE(texts))]);
	}
	out[n++] = '\0';
	return n;
}

static void of_commands_too(void **state)
{
	unsigned fires = 0;

	(void)state;
	kind_now = KIND_EXEC_OBSERVED;
	for (unsigned sets = 0; sets < 400;) {
		struct ruleset *rs = random_rules(1 + pick(12));

		sets += rs != NULL;
		for (int i = 0; rs && i < 80; i++) {
			char argv[512] = "bash\0-c\0";
			size_t start = pick(2) ? 8 : 0;
			struct event ev = an_open("");

			ev.kind = KIND_EXEC_OBSERVED;
			ev.subj.exe = pick(2) ? "/usr/bin/bash" : "/bin/evil";
			ev.exec = (struct exec_object){
				.path = ev.subj.exe, .argv = pick(20) ? argv : NULL,
				.argv_len_bytes = start + random_arguments(argv + start,
						sizeof(argv) - start, pick(2) ? '\0' : ' '),
			};
			ev.exec.argv_len_bytes -= pick(8) == 0;
			fires += compare(rs, &ev, argv);
		}
		ruleset_unref(rs);
	}
	print_message("# %u rules fired\n", fires);
	assert_true(fires > 1000);
}

static void of_connections_too(void **state)
{
	unsigned fires = 0;

	(void)state;
	kind_now = KIND_SOCKET_CONNECT;
	for (unsigned sets = 0; sets < 400;) {
		struct ruleset *rs = random_rules(1 + pick(12));

		sets += rs != NULL;
		for (int i = 0; rs && i < 80; i++) {
			const char *to = addresses[pick(ARRAY_SIZE(addresses))];
			struct event ev = an_open("");

			ev.kind = KIND_SOCKET_CONNECT;
			ev.dest = (struct dest_object){ .port = (uint16_t)(pick(2) ? 443 : pick(3) * 40),
							.host = pick(5) ? hosts[pick(6)] : NULL,
							.protocol = "tcp" };
			if (inet_pton(AF_INET, to, ev.dest.addr + 12) == 1)
				ev.dest.addr[10] = ev.dest.addr[11] = 0xff;
			else if (pick(10))
				assert_int_equal(inet_pton(AF_INET6, to, ev.dest.addr), 1);
			fires += compare(rs, &ev, to);
		}
		ruleset_unref(rs);
	}
	print_message("# %u rules fired\n", fires);
	assert_true(fires > 1000);
}

/* Beyond what is compared, an argument could hold anything: all of the rules that ask for some. */
static void arguments_without_end(void **state)
{
	static char argv[2 * RULES_ARGV_MAX];
	struct ruleset *rs = rules("id: X1\nname: n\nversion: 1\nkind: exec_observed\n"
				   "action: { default: warn }\n"
				   "match: { any_of: [ argv: { contains: evil } ] }\n");
	struct event ev = an_open("");

	(void)state;
	ev.kind = KIND_EXEC_OBSERVED;
	memset(argv, 'a', sizeof(argv));
	ev.exec = (struct exec_object){ .path = "/bin/x", .argv = argv,
					.argv_len_bytes = RULES_ARGV_MAX - 2 };
	assert_int_equal(decide(rs, &ev), VERDICT_ALLOW);
	ev.exec.argv_len_bytes = sizeof(argv);
	assert_int_equal(decide(rs, &ev), VERDICT_WARN);
	memcpy(argv + 1000, "evil", 4);
	ev.exec.argv_len_bytes = 2000;
	assert_int_equal(decide(rs, &ev), VERDICT_WARN);
	ruleset_unref(rs);
}

/* Whatever a rule matches, one of the patterns it gives for marking does, and no exclude hides it. */
static void what_matches_is_in_the_pathset(void **state)
{
	unsigned sets = 0, hits = 0;

	(void)state;
	kind_now = KIND_FILE_OPENED;
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
		cmocka_unit_test(of_commands_too),
		cmocka_unit_test(of_connections_too),
		cmocka_unit_test(arguments_without_end),
		cmocka_unit_test(what_matches_is_in_the_pathset),
		cmocka_unit_test(rules_that_cannot_match_cost_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
