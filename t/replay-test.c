/* SPDX-License-Identifier: Apache-2.0 */
/* Events from a file: what they become on the bus, and what is said about bad lines. */
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "t/evidence.h"

#include "enforce/permissive.h"
#include "sources/replay.h"

struct seen {
	unsigned n;
	struct event last;
	char path[512], session[64], exe[128], argv[64];
	size_t argv_len;
	int64_t clock;
	bool bad_file;
	char error[8][512];
	unsigned errors;
	struct source *source;
};

static void decide(void *arg, const struct event *ev, struct decision *ret,
		   const char **category)
{
	struct seen *s = arg;

	(void)category;
	s->n++;
	s->last = *ev;
	s->clock = replay_clock_unix_ns(ev->source);
	*s->path = *s->session = '\0';
	if (ev->kind == KIND_FILE_OPENED && ev->file.n_names)
		snprintf(s->path, sizeof(s->path), "%s", ev->file.names[0].path);
	if (ev->kind == KIND_EXEC_OBSERVED) {
		s->argv_len = ev->exec.argv_len_bytes;
		memcpy(s->argv, ev->exec.argv,
		       s->argv_len < sizeof(s->argv) ? s->argv_len : sizeof(s->argv));
	}
	if (ev->subj.tree)
		snprintf(s->session, sizeof(s->session), "%s", ev->subj.tree->session);
	snprintf(s->exe, sizeof(s->exe), "%s", ev->subj.exe);
	*ret = (struct decision){.verdict = VERDICT_BLOCK,
				 .n_fired = 1,
				 .fired = {{&evidence_rule, VERDICT_BLOCK, 0}}};
}

static uint64_t decided(struct recorder *r, const struct verdict_note *note)
{
	(void)r;
	(void)note;
	return 1;
}

static enum outcome outcome_seen;

static void answered(struct recorder *r, uint64_t ticket, enum outcome outcome, int err)
{
	(void)r;
	(void)ticket;
	assert_int_equal(err, 0);
	outcome_seen = outcome;
}

static enum mode enforce(void *arg)
{
	(void)arg;
	return MODE_ENFORCE;
}

static void on_error(void *arg, const char *text)
{
	struct seen *s = arg;

	snprintf(s->error[s->errors++ % 8], sizeof(s->error[0]), "%s", text);
}

/* Plays `text`; the source is left open in s. */
static void play(struct scratch *sc, const void *text, size_t len, struct seen *s,
		 struct source_stats *stats)
{
	struct recorder rec = {.decided = decided, .answered = answered};
	struct bus bus = {
		.decide = decide, .decide_arg = s, .recorder = &rec, .mode = enforce};
	struct pollfd p = {.events = POLLIN};
	FILE *f = fopen(in(sc, "x.events"), "w");
	int n;

	fwrite(text, len, 1, f);
	fclose(f);
	*s = (struct seen){0};
	assert_int_equal(permissive_open(&bus.enforcer), 0);
	assert_int_equal(replay_open(in(sc, "x.events"), on_error, s, &s->source), 0);
	p.fd = s->source->ops->fd(s->source);
	assert_int_equal(poll(&p, 1, 0), 0); /* nothing flows before start */
	assert_int_equal(s->source->ops->start(s->source), 0);
	do {
		assert_int_equal(poll(&p, 1, 0), 1);
		n = s->source->ops->dispatch(s->source, &bus);
		assert_true(n >= 0 && n <= 64);
	} while (n > 0);
	assert_true(replay_is_done(s->source));
	assert_int_equal(poll(&p, 1, 0), 0); /* and a loop does not spin at the end */
	s->source->ops->stats(s->source, stats);
	s->source->ops->close(s->source);
	bus.enforcer->ops->close(bus.enforcer);
}

static void a_line_becomes_an_event(void **state)
{
	static const char line[] =
		"# a comment\n\n"
		"{\"kind\":\"file_opened\",\"time\":\"2026-03-02T14:00:00Z\",\"agent\":\"claude-code\","
		"\"pid\":4711,\"ppid\":4700,\"uid\":1000,\"comm\":\"cat\",\"exe\":\"/usr/bin/cat\","
		"\"home\":\"/home/u\",\"path\":\"/home/u/.aws/credentials\",\"mode\":\"read\"}";
	struct source_stats st;
	struct timespec boot, real;
	struct seen s;
	int64_t wall;

	play(*state, line, strlen(line), &s, &st);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.errors, 0);
	assert_int_equal(st.read, 1);
	assert_int_equal(s.last.subj.tgid, 4711);
	assert_string_equal(s.path, "/home/u/.aws/credentials");
	assert_string_equal(s.last.source_name, "replay");
	assert_null(s.last.perm);
	assert_int_equal(s.last.file.mode, OPEN_MODE_READ);
	assert_string_equal(s.session, "replay-claude-code-4700");
	assert_int_equal(s.clock, 1772460000000000000LL);
	assert_int_equal(outcome_seen, OUTCOME_OBSERVED);

	/* Its time on the boot clock leads back to the same wall clock. */
	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &real);
	wall = (int64_t)((uint64_t)real.tv_sec * NSEC_PER_SEC + (uint64_t)real.tv_nsec -
			 ((uint64_t)boot.tv_sec * NSEC_PER_SEC + (uint64_t)boot.tv_nsec -
			  s.last.time_ns));
	assert_in_range(wall - s.clock + 1000000000, 0, 2000000000);
}

static void names_of_any_bytes_come_through(void **state)
{
	static const char line[] =
		"{\"kind\":\"file_opened\",\"path_b64\":\"L3RtcC//G1sybQo=\"}\n";
	struct source_stats st;
	struct seen s;

	play(*state, line, strlen(line), &s, &st);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.path, "/tmp/\xff\x1b[2m\n");
	assert_null(s.last.subj.tree);
}

static void other_kinds_have_their_objects(void **state)
{
	static const char exec[] = "{\"kind\":\"exec_observed\",\"exe\":\"/bin/bash\","
				   "\"argv\":[\"bash\",\"-c\",\"a && b\"]}\n";
	static const char net[] = "{\"kind\":\"socket_connect\",\"dest_ip\":\"192.0.2.7\","
				  "\"dest_port\":443,\"protocol\":\"tcp\"}\n";
	struct source_stats st;
	struct seen s;

	play(*state, exec, strlen(exec), &s, &st);
	assert_int_equal(s.n, 1);
	assert_int_equal(s.argv_len, 15);
	assert_memory_equal(s.argv, "bash\0-c\0a && b", 15);
	play(*state, net, strlen(net), &s, &st);
	assert_int_equal(s.last.dest.port, 443);
	assert_int_equal(s.last.dest.addr[10], 0xff);
	assert_int_equal(s.last.dest.addr[12], 192);
}

static void bad_lines_are_named_and_skipped(void **state)
{
	static const struct {
		const char *line, *error;
	} cases[] = {
		{"{", "x.events:1: "},
		{"[]", "must be an object"},
		{"{\"pid\":1}", "kind: is missing"},
		{"{\"kind\":\"file_open\"}", "kind: no such kind"},
		{"{\"kind\":\"file_opened\",\"pth\":\"/x\"}", "pth: no such key"},
		{"{\"kind\":\"file_opened\",\"argv\":[]}", "argv: this kind has no such key"},
		{"{\"kind\":\"file_opened\",\"pid\":\"1\"}", "pid: must be an integer"},
		{"{\"kind\":\"file_opened\",\"pid\":-1}", "pid: out of range"},
		{"{\"kind\":\"file_opened\",\"pid\":4294967296}", "pid: out of range"},
		{"{\"kind\":\"file_opened\",\"mode\":\"rw\"}", "mode: must be"},
		{"{\"kind\":\"file_opened\",\"time\":\"today\"}", "time: must be"},
		{"{\"kind\":\"file_opened\",\"path_b64\":\"!\"}", "path_b64: is no base64"},
		{"{\"kind\":\"file_opened\",\"path_b64\":\"LwBh\"}", "path_b64: holds a NUL"},
		{"{\"kind\":\"file_opened\",\"home\":\"u\"}", "home: must be"},
		{"{\"kind\":\"file_opened\",\"pid\":1,\"pid\":2}", "x.events:1: "},
		{"{\"kind\":\"socket_connect\",\"dest_ip\":\"x\"}", "dest_ip: is no address"},
		{"{\"kind\":\"exec_observed\",\"argv\":[1]}",
		 "argv: must be a list of strings"},
	};
	static const char good[] = "\n{\"kind\":\"file_opened\",\"path\":\"/x\"}\n";

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct source_stats st;
		char text[512];
		struct seen s;

		snprintf(text, sizeof(text), "%s%s", cases[i].line, good);
		play(*state, text, strlen(text), &s, &st);
		assert_int_equal(st.malformed, 1);
		assert_int_equal(s.errors, 1);
		assert_int_equal(s.n, 1);
		if (!strstr(s.error[0], cases[i].error) || !strstr(s.error[0], "x.events:1: "))
			fail_msg("%s: %s", cases[i].line, s.error[0]);
	}
}

static void junk_does_no_harm(void **state)
{
	struct source_stats st;
	static char junk[20000];
	struct seen s;

	srandom(3);
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (char)random();
	play(*state, junk, sizeof(junk), &s, &st);
	assert_int_equal(s.n, 0);
	assert_int_equal(st.malformed, st.read);
}

static void many_lines_come_in_batches(void **state)
{
	_cleanup_free_ char *text = malloc(200 * 64);
	struct source_stats st;
	struct seen s;
	size_t n = 0;

	for (int i = 0; i < 200; i++)
		n += (size_t)sprintf(text + n, "{\"kind\":\"file_opened\",\"pid\":%d}\n", i);
	play(*state, text, n, &s, &st);
	assert_int_equal(s.n, 200);
	assert_int_equal(s.last.subj.tgid, 199);
}

static void a_missing_file_is_an_error(void **state)
{
	struct source *src;

	assert_int_equal(replay_open(in(*state, "none"), NULL, NULL, &src), -ENOENT);
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_line_becomes_an_event),
		T(names_of_any_bytes_come_through),
		T(other_kinds_have_their_objects),
		T(bad_lines_are_named_and_skipped),
		T(junk_does_no_harm),
		T(many_lines_come_in_batches),
		T(a_missing_file_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
