/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules cost: deciding one opened file with 10, 1,000 and 10,000 of them, of each shape;
 * loading them; the memory they take; deciding while others are loaded. Each batch asks about 64
 * files in turn, so that not one rule alone is in the processor's cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>
#include <yaml.h>

#include "core/cleanup.h"
#include "core/proctree.h"
#include "rules/rules.h"
#include "t/bench/rows.h"
#include "t/bench/rules_shapes.h"

#define FILES 64
#define ROUNDS 12
#define ROUND_NS 3e6 /* of one shape, size and outcome; one batch at least */
#define BATCHES_MAX 80
#define LOADS 30

static const unsigned sizes[] = { 10, 1000, 10000 };

static const struct tree claude = { .id = 1, .agent = "claude-code", .root_pid = 100 };

struct subset {
	const struct shape *shape;
	unsigned n;
	char dir[80];
	struct ruleset *rs;
	char text[2][FILES][64]; /* of a miss, of a hit */
	struct samples ns[2];
};

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static void write_rules(const char *dir, const struct shape *s, unsigned n, unsigned per_file)
{
	if (mkdir(dir, 0700))
		die(dir, strerror(errno));
	for (unsigned i = 0; i < n;) {
		char path[128];
		FILE *f;

		snprintf(path, sizeof(path), "%s/%05u.yaml", dir, i);
		f = fopen(path, "we");
		if (!f)
			die(path, strerror(errno));
		fputs("# 00000\n", f);
		do
			write_rule(f, s, i++);
		while (i < n && i % per_file);
		if (fclose(f))
			die(path, strerror(errno));
	}
}

static struct ruleset *load_cached(const char *dir, struct rules_cache *cache)
{
	const char *const dirs[] = { dir, NULL };
	const struct rules_config c = {
		.dirs = dirs,
		.pack = "core 1",
		.cache = cache,
		.mechanisms = { [KIND_FILE_OPENED] = 1u << MECH_FANOTIFY } };
	struct ruleset *rs = NULL;
	struct rules_error err = { "" };

	if (ruleset_load(&c, &rs, &err))
		die(dir, err.text);
	return rs;
}

static struct ruleset *load(const char *dir)
{
	return load_cached(dir, NULL);
}

static void subset_init(struct subset *s, const char *top, const struct shape *shape, unsigned n)
{
	s->shape = shape;
	s->n = n;
	snprintf(s->dir, sizeof(s->dir), "%s/%zu-%u", top, (size_t)(shape - shapes), n);
	write_rules(s->dir, shape, n, 100);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	for (unsigned k = 0; k < FILES; k++) {
		snprintf(s->text[0][k], sizeof(s->text[0][k]), shape->miss, k);
		if (shape->hit)
			snprintf(s->text[1][k], sizeof(s->text[1][k]), shape->hit, k * n / FILES);
	}
#pragma GCC diagnostic pop
	s->rs = load(s->dir);
	if (ruleset_count(s->rs) != n)
		die(s->dir, "not all rules were loaded");
}

/* ---- deciding ---- */

static double decide_batch(const struct subset *s, unsigned hit)
{
	static const struct wall_clock clock = { .unix_s = 1772636400, .hour = 15, .dow = 3 };
	struct event ev = {
		.kind = KIND_FILE_OPENED,
		.subj = { .tgid = 200,
			  .ppid = 100,
			  .uid = 1000,
			  .auid = 1000,
			  .comm = "cat",
			  .exe = "/usr/bin/cat",
			  .cgroup = "/user.slice",
			  .lineage = "",
			  .tree = &claude,
			  .homes = { 1, { "/home/u" } } },
		.file = { .names = { { .path = "/srv/data/file" } }, .n_names = 1,
			  .mode = OPEN_MODE_READ },
	};
	unsigned fired = 0;
	double from = now_ns();

	for (unsigned i = 0; i < FILES; i++) {
		struct decision d;
		const char *category;

		if (s->shape->by_process)
			ev.subj.exe = s->text[hit][i];
		else
			ev.file.names[0].path = s->text[hit][i];
		rules_decide(s->rs, &ev, &clock, &d, &category);
		fired += d.verdict != VERDICT_ALLOW;
	}
	from = (now_ns() - from) / FILES;
	if (fired != (hit ? FILES : 0))
		die("rules_decide", "a wrong verdict");
	return from;
}

static void decide_some(struct subset *s, unsigned hit)
{
	double until = now_ns() + ROUND_NS;

	for (unsigned i = 0; i < BATCHES_MAX && (i == 0 || now_ns() < until); i++)
		samples_add(&s->ns[hit], decide_batch(s, hit));
}

static void decide_rows(struct subset *sets, unsigned hit)
{
	double few = samples_at(&sets[0].ns[hit], 50);

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		double p50 = samples_at(&sets[i].ns[hit], 50);
		bool budget = sets[i].n == 1000 && !sets[i].shape->linear;
		char what[64];

		snprintf(what, sizeof(what), "decide, %u %s, %s, p50/p99 ns", sets[i].n,
			 sets[i].shape->name, hit ? "hit" : "miss");
		say(what, "%.0f/%.0f%s%s", p50, samples_at(&sets[i].ns[hit], 99),
		    budget ? " (budget 2000) " : "", budget ? held(p50, 2000) : "");
		if (i)
			say("  ratio to 10 rules", "%.2f%s%s", p50 / few,
			    budget ? " (budget 1.3) " : "", budget ? held(p50 / few, 1.3) : "");
	}
}

static void bench_decide(struct subset *sets)
{
	unsigned outcomes = sets->shape->hit ? 2 : 1;

	for (unsigned round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			for (unsigned hit = 0; hit < outcomes; hit++)
				decide_some(&sets[i], hit);
	for (unsigned hit = 0; hit < outcomes; hit++)
		decide_rows(sets, hit);
}

/* ---- deciding while rules are loaded ---- */

struct loading {
	const char *dir;
	_Atomic bool stop;
	_Atomic unsigned loads;
};

static void *load_on(void *arg)
{
	struct loading *l = arg;

	while (!atomic_load(&l->stop)) {
		ruleset_unref(load(l->dir));
		atomic_fetch_add(&l->loads, 1);
	}
	return NULL;
}

static void bench_beside_loading(struct subset *s)
{
	static const char *const when[] = { "before", "during", "after" };
	struct loading l = { .dir = s->dir };

	for (unsigned i = 0; i < ARRAY_SIZE(when); i++) {
		static struct samples ns;
		pthread_t thread;
		char what[64];

		ns.n = 0;
		if (i == 1 && pthread_create(&thread, NULL, load_on, &l))
			die("pthread_create", "failed");
		for (double until = now_ns() + 3e8; now_ns() < until;)
			samples_add(&ns, decide_batch(s, 1));
		if (i == 1) {
			atomic_store(&l.stop, true);
			pthread_join(thread, NULL);
		}
		snprintf(what, sizeof(what), "decide %s a reload, 1000 mixed, p50/p99 ns", when[i]);
		say(what, "%.0f/%.0f", samples_at(&ns, 50), samples_at(&ns, 99));
	}
	say("  loads meanwhile", "%u", atomic_load(&l.loads));
}

/* ---- loading ---- */

/* What nobody who reads these files by libyaml can save. */
static void only_parse(const char *dir, unsigned n, unsigned per_file)
{
	for (unsigned i = 0; i < n; i += per_file) {
		yaml_parser_t p;
		yaml_event_t e;
		char path[128];
		bool end = false;
		FILE *f;

		snprintf(path, sizeof(path), "%s/%05u.yaml", dir, i);
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

struct times {
	struct samples clock_ms, processor_ms;
};

static void load_timed(const char *dir, struct rules_cache *cache, struct times *t)
{
	double from = now_ns(), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	struct ruleset *rs = load_cached(dir, cache);

	samples_add(&t->clock_ms, (now_ns() - from) / 1e6);
	samples_add(&t->processor_ms, (clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu) / 1e6);
	ruleset_unref(rs);
}

static void times_say(const char *what, struct times *t, double budget_ms)
{
	say(what, "%.2f/%.2f, processor %.2f/%.2f%s%s", samples_at(&t->clock_ms, 0),
	    samples_at(&t->clock_ms, 50), samples_at(&t->processor_ms, 0),
	    samples_at(&t->processor_ms, 50), budget_ms > 0 ? " (budget 10) " : "",
	    budget_ms > 0 ? held(samples_at(&t->clock_ms, 50), budget_ms) : "");
}

static void load_rows(const char *dir, const char *name, unsigned n)
{
	static struct times t;
	char what[64];

	t.clock_ms.n = t.processor_ms.n = 0;
	for (unsigned i = 0; i < (n > 1000 ? LOADS / 5 : LOADS); i++)
		load_timed(dir, NULL, &t);
	snprintf(what, sizeof(what), "load %u %s, best/p50 ms", n, name);
	times_say(what, &t, 0);
}

/* Other bytes, the same rules. */
static void alter(const char *dir, unsigned file)
{
	static unsigned times;
	char path[128], text[16];
	int n = snprintf(text, sizeof(text), "# %05u", ++times % 100000);
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%05u.yaml", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		die(path, strerror(errno));
}

static void reload_row(const char *dir, const char *name, unsigned files, unsigned altered)
{
	struct rules_cache *cache = rules_cache_new();
	static struct times t;
	char what[64];

	t.clock_ms.n = t.processor_ms.n = 0;
	ruleset_unref(load_cached(dir, cache));
	for (unsigned i = 0; i < LOADS; i++) {
		for (unsigned k = 0; k < altered; k++)
			alter(dir, (i + k) % files);
		load_timed(dir, cache, &t);
	}
	rules_cache_free(cache);
	snprintf(what, sizeof(what), "  reload, %s, ms", name);
	times_say(what, &t, 10);
}

static void bench_reload(const char *top)
{
	char dir[80];

	for (unsigned per_file = 1; per_file <= 1000; per_file += 999) {
		unsigned files = 1000 / per_file;

		snprintf(dir, sizeof(dir), "%s/by-%u", top, per_file);
		write_rules(dir, &shapes[0], 1000, per_file);
		load_rows(dir, files > 1 ? "mixed, one in a file" : "mixed, one file", 1000);
		reload_row(dir, "nothing changed", files, 0);
		if (files > 1)
			reload_row(dir, "one file of 1,000 changed", files, 1);
		reload_row(dir, "all changed", files, files);
	}
}

static void bench_load(struct subset sets[][ARRAY_SIZE(sizes)])
{
	static struct samples yaml;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		load_rows(sets[0][i].dir, "mixed, 100 in a file", sizes[i]);
	for (size_t s = 1; s < ARRAY_SIZE(shapes); s++)
		load_rows(sets[s][1].dir, shapes[s].name, 1000);
	for (unsigned i = 0; i < LOADS; i++) {
		double from = now_ns();

		only_parse(sets[0][1].dir, 1000, 100);
		samples_add(&yaml, (now_ns() - from) / 1e6);
	}
	say("  libyaml alone, 1000 mixed, best/p50 ms", "%.2f/%.2f", samples_at(&yaml, 0),
	    samples_at(&yaml, 50));
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
	static struct subset sets[ARRAY_SIZE(shapes)][ARRAY_SIZE(sizes)];
	const char *tmp = getenv("TMPDIR");
	long rss[ARRAY_SIZE(sizes) + 1];
	char top[48];

	if ((size_t)snprintf(top, sizeof(top), "%s/oknek-b.XXXXXX", tmp ? tmp : "/tmp") >=
		    sizeof(top) ||
	    !mkdtemp(top))
		die("scratch folder", "cannot be made");
	/* Before anything else has used the heap: what loading frees is not given back either. */
	rss[0] = resident_kb();
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		subset_init(&sets[0][i], top, &shapes[0], sizes[i]);
		rss[i + 1] = resident_kb();
	}
	for (size_t s = 1; s < ARRAY_SIZE(shapes); s++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			subset_init(&sets[s][i], top, &shapes[s], sizes[i]);
	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++)
		bench_decide(sets[s]);
	bench_beside_loading(&sets[0][1]);
	bench_load(sets);
	bench_reload(top);
	say("memory of 1000 rules, kB (budget 12288)", "%ld %s", rss[2] - rss[1],
	    held((double)(rss[2] - rss[1]), 12288));
	say("  of 10 rules, with the first use of all", "%ld", rss[1] - rss[0]);
	say("  of 10000 rules", "%ld", rss[3] - rss[2]);
	for (size_t s = 0; s < ARRAY_SIZE(shapes); s++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			ruleset_unref(sets[s][i].rs);
	bench_remove(top);
	return 0;
}
