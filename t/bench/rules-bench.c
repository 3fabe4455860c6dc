/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules cost: deciding one opened file with 10, 1,000 and 10,000 of them, loading 1,000, and
 * the memory they take. They are shaped as the shipped ones are, with names of their own; each
 * batch asks about 64 files in turn, so that not one rule alone is in the processor's cache.
 */
#include <errno.h>
#include <limits.h>
#include <unistd.h>
#include <yaml.h>

#include "core/cleanup.h"
#include "core/proctree.h"
#include "rules/rules.h"
#include "t/bench/rows.h"

#define FILES 64
#define TURNS 16 /* of all files, in one batch */
#define BATCHES 400
#define LOADS 30
#define RULES_PER_FILE 100

static const unsigned sizes[] = {10, 1000, 10000};

static const struct tree claude = {.id = 1, .agent = "claude-code", .root_pid = 100};

struct subset {
	unsigned n;
	char dir[64];
	struct ruleset *rs;
	char hit[FILES][64];
	struct samples ns[2]; /* of a miss, of a hit */
};

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static void write_rule(FILE *f, unsigned i)
{
	fprintf(f,
		"---\nid: R3\npart: tool%u\nname: credential read\nversion: 1\nauthors:\n"
		"  - somebody\nattack_techniques:\n  - mitre_atlas: AML.T0055\n"
		"kind: file_opened\nmatch:\n  any_of:\n    - path:\n        glob:\n"
		"          - \"~/.tool%u/credentials*\"\n          - \"~/.config/tool%u/**\"\n"
		"          - \"/etc/tool%u/*.key\"\n",
		i, i, i, i);
	if (i % 10 == 3)
		fprintf(f, "          - \"**/*.tool%u\"\n", i);
	if (i % 5 == 1)
		fprintf(f,
			"  none_of:\n    - path:\n        glob: [ \"~/.tool%u/**/*.pub\" ]\n",
			i);
	fprintf(f,
		"action:\n  default: %s\n  configurable: true\n  options: [ block, warn, allow ]\n"
		"evidence:\n  capture:\n    - path\n    - matched_category\n"
		"    - agent_identifier\n    - process_name\n    - exe\n    - parent_pid\n"
		"    - uid\n    - wall_clock\n  retain_for: 90d\n",
		i % 4 ? "block" : "warn");
}

static void write_rules(const char *top, struct subset *s)
{
	char path[128];

	snprintf(s->dir, sizeof(s->dir), "%s/%u", top, s->n);
	if (mkdir(s->dir, 0700))
		die(s->dir, strerror(errno));
	for (unsigned i = 0; i < s->n;) {
		FILE *f;

		snprintf(path, sizeof(path), "%s/%05u.yaml", s->dir, i);
		f = fopen(path, "we");
		if (!f)
			die(path, strerror(errno));
		do
			write_rule(f, i++);
		while (i < s->n && i % RULES_PER_FILE);
		if (fclose(f))
			die(path, strerror(errno));
	}
	for (unsigned k = 0; k < FILES; k++)
		snprintf(s->hit[k], sizeof(s->hit[k]), "/home/u/.tool%u/credentials",
			 k * s->n / FILES);
}

static struct ruleset *load(const struct subset *s)
{
	const char *const dirs[] = {s->dir, NULL};
	const struct rules_config c = {
		.dirs = dirs,
		.pack = "core 1",
		.mechanisms = {[KIND_FILE_OPENED] = 1u << MECH_FANOTIFY}};
	struct ruleset *rs = NULL;
	struct rules_error err = {""};

	if (ruleset_load(&c, &rs, &err))
		die(s->dir, err.text);
	if (ruleset_count(rs) != s->n)
		die(s->dir, "not all rules were loaded");
	return rs;
}

/* ---- deciding ---- */

static void decide_batch(struct subset *s, char paths[][64], enum verdict least,
			 struct samples *ret)
{
	static const struct wall_clock clock = {.unix_s = 1772636400, .hour = 15, .dow = 3};
	struct event ev = {
		.kind = KIND_FILE_OPENED,
		.subj = {.tgid = 200,
			 .ppid = 100,
			 .uid = 1000,
			 .auid = 1000,
			 .comm = "cat",
			 .exe = "/usr/bin/cat",
			 .cgroup = "/user.slice",
			 .lineage = "",
			 .tree = &claude,
			 .homes = {1, {"/home/u"}}},
		.file = {.n_names = 1, .mode = OPEN_MODE_READ},
	};
	unsigned fired = 0;
	double from = now_ns();

	for (unsigned i = 0; i < TURNS * FILES; i++) {
		struct decision d;
		const char *category;

		ev.file.names[0].path = paths[i % FILES];
		rules_decide(s->rs, &ev, &clock, &d, &category);
		fired += d.verdict != VERDICT_ALLOW;
	}
	samples_add(ret, (now_ns() - from) / (TURNS * FILES));
	if (fired != (least == VERDICT_ALLOW ? 0 : TURNS * FILES))
		die("rules_decide", "a wrong verdict");
}

static void bench_decide(struct subset *sets)
{
	static char miss[FILES][64];

	for (unsigned k = 0; k < FILES; k++)
		snprintf(miss[k], sizeof(miss[k]), "/home/u/work/project/src/module%u/main.c",
			 k);
	for (unsigned b = 0; b < BATCHES; b++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			decide_batch(&sets[i], miss, VERDICT_ALLOW, &sets[i].ns[0]);
			decide_batch(&sets[i], sets[i].hit, VERDICT_WARN, &sets[i].ns[1]);
		}
	for (unsigned hit = 0; hit < 2; hit++) {
		double few = samples_at(&sets[0].ns[hit], 50);

		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct samples *ns = &sets[i].ns[hit];
			double p50 = samples_at(ns, 50);
			char what[64];

			snprintf(what, sizeof(what), "decide, %u rules, %s, p50/p99 ns",
				 sets[i].n, hit ? "hit" : "miss");
			if (sets[i].n != 1000) { /* the budget is of 1,000 */
				say(what, "%.0f/%.0f", p50, samples_at(ns, 99));
				if (i)
					say("  ratio to 10 rules", "%.2f", p50 / few);
				continue;
			}
			say(what, "%.0f/%.0f (budget 2000) %s", p50, samples_at(ns, 99),
			    held(p50, 2000));
			say("  ratio to 10 rules (budget 1.3)", "%.2f %s", p50 / few,
			    held(p50 / few, 1.3));
		}
	}
}

/* ---- loading ---- */

/* What nobody who reads these files by libyaml can save. */
static void only_parse(const struct subset *s)
{
	for (unsigned i = 0; i < s->n; i += RULES_PER_FILE) {
		yaml_parser_t p;
		yaml_event_t e;
		char path[128];
		bool end = false;
		FILE *f;

		snprintf(path, sizeof(path), "%s/%05u.yaml", s->dir, i);
		f = fopen(path, "re");
		if (!f || !yaml_parser_initialize(&p))
			die(path, "cannot be read");
		yaml_parser_set_input_file(&p, f);
		while (!end) {
			if (!yaml_parser_parse(&p, &e))
				die(path, p.problem);
			end = e.type == YAML_STREAM_END_EVENT;
			yaml_event_delete(&e);
		}
		yaml_parser_delete(&p);
		fclose(f);
	}
}

static void bench_load(const struct subset *s)
{
	struct samples ours = {0}, yaml = {0}, busy = {0};

	for (unsigned i = 0; i < LOADS; i++) {
		double from = now_ns(), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		struct ruleset *rs = load(s);

		samples_add(&ours, (now_ns() - from) / 1e6);
		samples_add(&busy, (clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6);
		ruleset_unref(rs);
		from = now_ns();
		only_parse(s);
		samples_add(&yaml, (now_ns() - from) / 1e6);
	}
	say("load 1000 rules, best/p50/p99 ms (budget 10)", "%.2f/%.2f/%.2f %s",
	    samples_at(&ours, 0), samples_at(&ours, 50), samples_at(&ours, 99),
	    held(samples_at(&ours, 50), 10));
	say("  of it on the processor, best/p50 ms", "%.2f/%.2f", samples_at(&busy, 0),
	    samples_at(&busy, 50));
	say("  libyaml alone, same files, best/p50/p99", "%.2f/%.2f/%.2f",
	    samples_at(&yaml, 0), samples_at(&yaml, 50), samples_at(&yaml, 99));
	say("  ratio of the best", "%.2f", samples_at(&ours, 0) / samples_at(&yaml, 0));
}

static long resident_kb(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages;

	if (!f || fscanf(f, "%*s %ld", &pages) != 1)
		die("/proc/self/statm", "cannot be read");
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(void)
{
	static struct subset sets[ARRAY_SIZE(sizes)];
	const char *tmp = getenv("TMPDIR");
	char top[48];
	long before, few, many;

	if ((size_t)snprintf(top, sizeof(top), "%s/oknek-b.XXXXXX", tmp ? tmp : "/tmp") >=
		    sizeof(top) ||
	    !mkdtemp(top))
		die("scratch folder", "cannot be made");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		sets[i].n = sizes[i];
		write_rules(top, &sets[i]);
	}
	/* Before anything else has used the heap: what loading frees is not given back either. */
	before = resident_kb();
	sets[0].rs = load(&sets[0]);
	few = resident_kb();
	sets[1].rs = load(&sets[1]);
	many = resident_kb();
	sets[2].rs = load(&sets[2]);
	bench_decide(sets);
	bench_load(&sets[1]);
	say("memory of 1000 rules, kB (budget 12288)", "%ld %s", many - few,
	    held((double)(many - few), 12288));
	say("  of 10 rules, with the first use of all", "%ld", few - before);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		ruleset_unref(sets[i].rs);
	bench_remove(top);
	return 0;
}
