/* SPDX-License-Identifier: Apache-2.0 */
/* Events as text, and what captures them: nothing of an event is lost between decision and replay. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "t/evidence.h"

#include "core/clock.h"
#include "core/event_text.h"
#include "rules/partial.h"
#include "store/capture.h"
#include "t/rules-test.h"

static const char rules_text[] =
	HEAD("X1") "match: { any_of: [ path: { glob: [ '~/a*', '/srv/**' ] } ] }\n---\n"
	HEAD("X2") "match: { all_of: [ wall_clock_hour: { gte: 12 }, path: { contains: b } ] }\n---\n"
	HEAD("X3") "match: { any_of: [ process_name: { eq: claude }, exe: { prefix: '~/' } ] }\n---\n"
	HEAD("X4") "match: { all_of: [ open_mode: { eq: write }, uid: { gte: 1000 } ] }\n---\n"
	"id: X5\nname: n\nversion: 1\nkind: exec_observed\naction: { default: block }\n"
	"match: { any_of: [ argv: { contains: '-c' }, cgroup: { suffix: a } ] }\n---\n"
	"id: X6\nname: n\nversion: 1\nkind: socket_connect\naction: { default: warn }\n"
	"match: { any_of: [ dest_port: { lt: 1024 }, dest_host: { suffix: a }, "
	"dest_ip: { cidr: 10.0.0.0/8 } ] }\n---\n"
	"id: X7\nname: n\nversion: 1\nkind: file_changed\naction: { default: warn }\n"
	"match: { any_of: [ path: { glob: '~/**' } ] }\n---\n"
	"id: X8\nname: n\nversion: 1\nkind: mcp_endpoint\naction: { default: warn }\n"
	"match: { any_of: [ agent_identifier: { eq: claude-code }, parent_pid: { gt: 3 } ] }\n";

/* ---- any event ----------------------------------------------------------------------------- */

static unsigned any(unsigned n)
{
	return (unsigned)random() % n;
}

static const char *any_text(const char *front)
{
	static char texts[64][32];
	static unsigned at;
	static const char *const bits[] = { "a", "b", "/", "\"", "\\", "\n", "\xc3\xa9", "\xff",
					    "\x7f", "\xed\xa0\x80", "~", " ", "\xe2\x80\xae" };
	char *s = texts[at++ % 64];

	snprintf(s, 32, "%s", front);
	for (unsigned n = any(6); n; n--)
		strcat(s, bits[any(ARRAY_SIZE(bits))]);
	return s;
}

static const char *any_home(void)
{
	static const char *const homes[] = { "/home/u", "/home/\xff", "/", "/root", "/srv/h" };

	return homes[any(ARRAY_SIZE(homes))];
}

static const char *any_path(void)
{
	static const char *const paths[] = { "/home/u/a", "/srv/", "/home/\xff/a", "/root/b", "", "x" };

	return any_text(paths[any(ARRAY_SIZE(paths))]);
}

static void any_object(struct event_line *l)
{
	struct event *ev = &l->ev;
	static char argv[64];

	if (ev->kind == KIND_EXEC_OBSERVED) {
		ev->exec.path = any(2) ? any_path() : ev->subj.exe;
		ev->exec.argv = argv;
		ev->exec.argv_len_bytes = any(4) ? (size_t)sprintf(argv, "%s%c-c%c%s", "sh", 0, 0,
								   any_text("x")) + 1 : 0;
	} else if (ev->kind == KIND_SOCKET_CONNECT) {
		ev->dest.host = any(2) ? any_text("h") : "";
		ev->dest.protocol = any(2) ? "tcp" : "";
		ev->dest.port = (uint16_t)any(3000);
		for (unsigned i = 0; i < 16 && any(3); i++)
			ev->dest.addr[i] = (uint8_t)any(256);
		if (any(2)) {
			memset(ev->dest.addr, 0, 10);
			memset(ev->dest.addr + 10, 0xff, 2);
			ev->dest.addr[12] = 10;
		}
	} else if (ev->kind != KIND_BASELINE_DRIFT && ev->kind != KIND_MCP_ENDPOINT) {
		ev->file.mode = ev->kind == KIND_FILE_OPENED ? (enum open_mode)any(4) : 0;
		ev->file.n_names = any(FILE_NAMES_MAX + 1);
		for (unsigned i = 0; i < ev->file.n_names; i++)
			ev->file.names[i] = (struct file_name){ any_path(), any(2) ? any_home() : NULL };
	}
}

static void any_event(struct event_line *l)
{
	struct subject *s = &l->ev.subj;

	memset(l, 0, sizeof(*l));
	l->ev.kind = (enum event_kind)any(KIND_COUNT);
	l->ev.source_name = any(2) ? "fanotify" : "";
	l->time_unix_ns = 1772000000000000000 + (int64_t)any(1u << 30) * 4096 * 1024;
	l->has_utc_offset = any(2);
	l->utc_offset_s = l->has_utc_offset ? (int32_t)any(172800) - 86400 : 0;
	s->tgid = (pid_t)any(5);
	s->tid = (pid_t)any(3);
	s->ppid = (pid_t)any(9);
	s->start_time_ns = any(2) ? (uint64_t)random() << 20 : 0;
	s->uid = any(2) ? 1000 : 0;
	s->auid = any(2) ? (uid_t)-1 : 1000;
	s->comm = any_text("");
	s->exe = any(3) ? any_text("/usr/bin/claude") : "";
	s->main_exe = any(2);
	s->exe_verified = any(2);
	s->cgroup = any_text("");
	s->lineage = any_text("");
	s->homes.n = any(HOMES_MAX + 1);
	for (unsigned i = 0; i < s->homes.n; i++)
		s->homes.path[i] = any_home();
	if (any(3)) {
		snprintf(l->tree.agent, sizeof(l->tree.agent), "%s", any(2) ? "claude-code" : any_text("x"));
		snprintf(l->tree.session, sizeof(l->tree.session), "%s", any_text(""));
		l->tree.root_pid = (pid_t)any(5);
		s->tree = &l->tree;
	}
	any_object(l);
	l->masked = l->ev.kind == KIND_EXEC_OBSERVED && l->ev.exec.argv_len_bytes && any(2);
	if (any(2)) {
		l->has_decided = true;
		l->decided = (struct event_decided){ (enum verdict)any(3), (enum mode)any(2),
						     (enum decided_by)any(4), (enum outcome)any(5),
						     any(FIRED_MAX + 1), any(3), { 0 }, any_text("") };
		for (unsigned i = 0; i < l->decided.n_rules; i++)
			l->decided.rules[i] = any_text("R3/");
	}
}

static void judge(const struct ruleset *rs, const struct event_line *l, struct decision *ret)
{
	struct wall_clock clock;

	offset_wall_clock(l->utc_offset_s, clock_second(l->time_unix_ns), &clock);
	rules_decide(rs, &l->ev, &clock, ret, NULL);
}

static void same_decision(const struct decision *a, const struct decision *b)
{
	assert_int_equal(a->verdict, b->verdict);
	assert_int_equal(a->n_fired, b->n_fired);
	for (unsigned i = 0; i < a->n_fired; i++) {
		assert_ptr_equal(a->fired[i].rule, b->fired[i].rule);
		assert_int_equal(a->fired[i].name_index, b->fired[i].name_index);
	}
}

static void what_is_written_is_read_and_decided_alike(void **state)
{
	struct event_reader *r = event_reader_new();
	struct ruleset *rs = rules(rules_text);
	static char text[65536], again[65536];
	unsigned fired = 0, kinds = 0;
	static struct event_line l;

	(void)state;
	srandom(7);
	for (unsigned i = 0; i < 20000; i++) {
		const struct event_line *got;
		struct decision a, b;
		char why[160] = "";
		size_t n;

		any_event(&l);
		n = event_text_write(&l, text, sizeof(text));
		assert_true(n < sizeof(text));
		assert_null(memchr(text, '\n', n));
		if (event_text_read(r, text, n, &got, why))
			fail_msg("%s: %.*s", why, (int)n, text);
		assert_int_equal(event_text_write(got, again, sizeof(again)), n);
		assert_memory_equal(text, again, n);
		judge(rs, &l, &a);
		judge(rs, got, &b);
		same_decision(&a, &b);
		fired += a.n_fired > 0;
		kinds |= a.n_fired ? 1u << l.ev.kind : 0;
		/* No room: the length is told all the same, and nothing is written behind the end. */
		memset(again, 'x', 64);
		assert_int_equal(event_text_write(&l, again, 40), n);
		assert_memory_equal(again, text, 40);
		assert_int_equal(again[40], 'x');
	}
	/* The test means something: rules of these kinds fire, and not always. */
	assert_in_range(fired, 2000, 18000);
	assert_int_equal(kinds, 1u << KIND_EXEC_OBSERVED | 1u << KIND_FILE_OPENED |
				1u << KIND_SOCKET_CONNECT | 1u << KIND_FILE_CHANGED |
				1u << KIND_MCP_ENDPOINT);
	ruleset_unref(rs);
	event_reader_free(r);
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *line, *why;
	} cases[] = {
		{ "{\"kind\":\"file_opened\",\"homes\":\"/x\"}", "homes: must be a list" },
		{ "{\"kind\":\"file_opened\",\"homes\":[\"x\"]}", "homes: must be an absolute" },
		{ "{\"kind\":\"file_opened\",\"homes\":[\"/1\",\"/2\",\"/3\",\"/4\",\"/5\"]}", "homes: there are 4" },
		{ "{\"kind\":\"file_opened\",\"home\":\"/x\",\"homes\":[]}", "home: and homes" },
		{ "{\"kind\":\"file_opened\",\"names\":[{}]}", "names: one is without a path" },
		{ "{\"kind\":\"file_opened\",\"names\":[\"/x\"]}", "names: must be a list of objects" },
		{ "{\"kind\":\"file_opened\",\"names\":[{\"path\":\"/x\",\"mode\":\"read\"}]}", "mode: no such key" },
		{ "{\"kind\":\"file_opened\",\"path\":\"/x\",\"names\":[]}", "path: and names" },
		{ "{\"kind\":\"file_opened\",\"main_exe\":1}", "main_exe: must be true or false" },
		{ "{\"kind\":\"file_opened\",\"utc_offset\":90000}", "utc_offset: out of range" },
		{ "{\"kind\":\"file_opened\",\"uid_b64\":\"eA==\"}", "uid_b64: no such key" },
		{ "{\"kind\":\"file_opened\",\"exe_b64\":1}", "exe_b64: must be a string" },
		{ "{\"kind\":\"file_opened\",\"decided\":{}}", "decided: is without a verdict" },
		{ "{\"kind\":\"file_opened\",\"decided\":{\"verdict\":\"deny\"}}",
		  "verdict: must be allow, warn or block" },
		{ "{\"kind\":\"file_opened\",\"decided\":{\"verdict\":\"warn\",\"x\":1}}", "x: no such key" },
		{ "{\"kind\":\"exec_observed\",\"masked\":[\"exe\"]}", "masked: may list argv" },
		{ "{\"kind\":\"exec_observed\",\"argv\":[{\"b64\":\"!\"}]}", "argv: is no base64" },
		{ "{\"kind\":\"mcp_endpoint\",\"path\":\"/x\"}", "path: this kind has no such key" },
	};
	struct event_reader *r = event_reader_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct event_line *l = NULL;
		char why[160] = "";

		assert_int_equal(event_text_read(r, cases[i].line, strlen(cases[i].line), &l, why), -EINVAL);
		assert_null(l);
		if (strncmp(why, cases[i].why, strlen(cases[i].why)))
			fail_msg("%s: %s", cases[i].line, why);
	}
	event_reader_free(r);
}

/* ---- capturing ------------------------------------------------------------------------------ */

struct told {
	_Atomic unsigned bad, good;
	_Atomic int64_t now_s;
};

static void on_health(void *arg, bool ok, const char *why)
{
	struct told *t = arg;

	(void)why;
	(*(ok ? &t->good : &t->bad))++;
}

static struct told *clock_of;

static int64_t told_clock(void)
{
	return clock_of->now_s * 1000000000;
}

static struct capture *open_capture(struct scratch *sc, struct told *t, uint64_t size, uint64_t age_s)
{
	struct capture_config c = { .state_dir = sc->dir, .all = true, .max_size_bytes = size,
				    .max_age_s = age_s, .health = on_health, .arg = t };
	struct capture *ret;

	if (t->now_s) {
		clock_of = t;
		c.wall_ns = told_clock;
	}
	assert_int_equal(capture_open(&c, &ret), 0);
	return ret;
}

static void push(struct capture *c, const struct event_line *l, const struct decision *d)
{
	const struct verdict_note note = { .ev = &l->ev, .d = d, .mode = MODE_ENFORCE };
	const struct capture_moment when = { l->time_unix_ns, l->utc_offset_s, OUTCOME_DENIED, "here" };

	capture_push(c, &note, &when);
}

static struct capture_stats settled(struct capture *c)
{
	struct capture_stats st;

	for (int i = 0; i < 500; i++) {
		capture_stats(c, &st);
		if (st.written + st.dropped == st.events)
			break;
		usleep(10000);
	}
	assert_int_equal(st.written + st.dropped, st.events);
	return st;
}

/* All lines of all files, in order; freed by the caller. */
static char *captured(struct scratch *sc, unsigned *files, uint64_t *bytes)
{
	struct dirent **names;
	char *text = strdup("");
	int n = scandir(in(sc, "capture"), &names, NULL, alphasort);

	*files = 0;
	*bytes = 0;
	for (int i = 0; i < n; i++) {
		char path[600];
		struct stat st;
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s", in(sc, "capture"), names[i]->d_name);
		free(names[i]);
		assert_int_equal(stat(path, &st), 0);
		if (!S_ISREG(st.st_mode))
			continue;
		assert_int_equal(st.st_mode & 07777, 0600);
		++*files;
		*bytes += (uint64_t)st.st_size;
		text = realloc(text, strlen(text) + (size_t)st.st_size + 1);
		f = fopen(path, "r");
		text[strlen(text) + 0] = '\0';
		{
			size_t was = strlen(text), got = fread(text + was, 1, (size_t)st.st_size, f);

			text[was + got] = '\0';
		}
		fclose(f);
	}
	if (n >= 0)
		free(names);
	return text;
}

static void what_is_captured_is_decided_alike(void **state)
{
	struct ruleset *rs = rules(rules_text);
	struct event_reader *r = event_reader_new();
	struct told t = { 0 };
	struct capture *c = open_capture(*state, &t, 64 << 20, 86400);
	static struct event_line l;
	struct decision decisions[300];
	char *text, *line, *save = NULL;
	unsigned files, n = 0;
	uint64_t bytes;
	struct stat st;

	srandom(11);
	assert_int_equal(capture_start(c), 0);
	for (unsigned i = 0; i < 300; i++) {
		any_event(&l);
		/* Between files of other kinds and secrets: masking has a test of its own. */
		judge(rs, &l, &decisions[i]);
		push(c, &l, &decisions[i]);
	}
	assert_int_equal(settled(c).written, 300);
	capture_close(c, 1000);
	assert_int_equal(stat(in(*state, "capture"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	text = captured(*state, &files, &bytes);
	assert_int_equal(files, 1);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const struct event_line *got;
		struct decision again;
		char why[160];

		if (*line == '#') {
			assert_string_equal(line, "# captured: all");
			continue;
		}
		if (event_text_read(r, line, strlen(line), &got, why))
			fail_msg("%s: %s", why, line);
		judge(rs, got, &again);
		same_decision(&decisions[n], &again);
		assert_true(got->has_decided && got->has_utc_offset);
		assert_int_equal(got->decided.verdict, again.verdict);
		assert_int_equal(got->decided.n_rules, again.n_fired);
		assert_int_equal(got->decided.outcome, OUTCOME_DENIED);
		assert_string_equal(got->decided.ruleset, "here");
		n++;
	}
	assert_int_equal(n, 300);
	free(text);
	event_reader_free(r);
	ruleset_unref(rs);
}

static void secrets_are_masked(void **state)
{
	static const char argv[] = "curl\0-H\0Authorization: Bearer abcdefghij\0x";
	struct told t = { 0 };
	struct capture *c = open_capture(*state, &t, 64 << 20, 86400);
	struct event_line l = { .ev = { .kind = KIND_EXEC_OBSERVED, .source_name = "x",
					.subj = { .comm = "", .exe = "/x", .cgroup = "", .lineage = "" } } };
	struct decision none = { 0 };
	unsigned files;
	uint64_t bytes;
	char *text;

	l.ev.exec.path = "/x";
	l.ev.exec.argv = argv;
	l.ev.exec.argv_len_bytes = sizeof(argv);
	push(c, &l, &none);
	l.ev.exec.argv_len_bytes = 8; /* no secret yet: as they are */
	push(c, &l, &none);
	capture_start(c);
	settled(c);
	capture_close(c, 1000);
	text = captured(*state, &files, &bytes);
	assert_null(strstr(text, "abcdefghij"));
	assert_non_null(strstr(text, "\"argv\":[\"curl\",\"-H\",\"Authorization: Bearer [masked]\",\"x\"],"
				     "\"masked\":[\"argv\"]"));
	assert_non_null(strstr(text, "\"argv\":[\"curl\",\"-H\"],\"decided\""));
	free(text);
}

static struct event_line *an_event(void)
{
	static struct event_line l;
	static char path[512];

	memset(path, 'p', sizeof(path) - 1);
	path[0] = '/';
	l = (struct event_line){ .ev = an_open(path) };
	l.ev.source_name = "x";
	return &l;
}

static void a_full_ring_drops_and_counts(void **state)
{
	struct told t = { 0 };
	struct capture *c = open_capture(*state, &t, 64 << 20, 86400);
	struct decision none = { 0 };
	struct capture_stats st;
	unsigned files;
	uint64_t bytes;

	for (unsigned i = 0; i < 20000; i++) /* nobody takes them: the thread does not run */
		push(c, an_event(), &none);
	capture_stats(c, &st);
	assert_int_equal(st.events, 20000);
	assert_in_range(st.dropped, 1, 19999);
	capture_start(c);
	st = settled(c);
	assert_true(st.ok);
	push(c, an_event(), &none); /* there is room again */
	assert_int_equal(settled(c).dropped, st.dropped);
	capture_close(c, 1000);
	free(captured(*state, &files, &bytes));
	assert_true(bytes > st.written * 500);
}

static void what_was_pushed_before_the_end_is_written(void **state)
{
	struct told t = { 0 };
	struct decision none = { 0 };

	for (int i = 1; i <= 20; i++) {
		struct capture *c = open_capture(*state, &t, 64 << 20, 86400);
		unsigned files;
		uint64_t bytes;

		capture_start(c);
		usleep((useconds_t)i * 4000); /* it waits by now */
		push(c, an_event(), &none);
		capture_close(c, 1000);
		free(captured(*state, &files, &bytes));
		assert_int_equal(files, i);
	}
}

static void old_files_go_when_there_is_too_much(void **state)
{
	struct told t = { 0 };
	struct capture *c = open_capture(*state, &t, 1 << 20, 86400);
	struct decision none = { 0 };
	unsigned files;
	uint64_t bytes;
	char *text;

	capture_start(c);
	for (unsigned i = 0; i < 6000; i++) {
		push(c, an_event(), &none);
		if (i % 1000 == 999)
			settled(c);
	}
	assert_int_equal(settled(c).dropped, 0);
	capture_close(c, 1000);
	text = captured(*state, &files, &bytes);
	assert_in_range(bytes, 1 << 19, 1 << 20);
	assert_in_range(files, 4, 20);
	assert_int_equal(access(in(*state, "capture/00000001.jsonl"), F_OK), -1);
	free(text);
}

static void old_files_go_when_they_are_old(void **state)
{
	/* Files have the time of this host; the clock runs ahead of it. */
	struct told t = { .now_s = time(NULL) };
	struct capture *c = open_capture(*state, &t, 64 << 20, 3600);
	struct decision none = { 0 };

	capture_start(c);
	push(c, an_event(), &none);
	settled(c);
	t.now_s += 1800;
	push(c, an_event(), &none);
	settled(c);
	usleep(600000);
	assert_int_equal(access(in(*state, "capture/00000001.jsonl"), F_OK), 0);
	assert_int_equal(access(in(*state, "capture/00000002.jsonl"), F_OK), 0); /* not one for ever */
	t.now_s += 2000;
	for (int i = 0; i < 300 && !access(in(*state, "capture/00000001.jsonl"), F_OK); i++)
		usleep(10000);
	assert_int_equal(access(in(*state, "capture/00000001.jsonl"), F_OK), -1);
	capture_close(c, 1000);
}

static void make_file(struct scratch *sc, const char *name, int64_t mtime_s)
{
	const struct timespec t[2] = { { .tv_sec = mtime_s }, { .tv_sec = mtime_s } };
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "capture/%.20s", name);
	fd = open(in(sc, path), O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0 && futimens(fd, t) == 0);
	close(fd);
}

static bool stays(struct scratch *sc, const char *name)
{
	char path[40];

	snprintf(path, sizeof(path), "capture/%.20s", name);
	return access(in(sc, path), F_OK) == 0;
}

/* Each file is judged by itself; one of the future hides none; a leap of the clock removes nothing. */
static void a_clock_that_leaps_removes_nothing(void **state)
{
	struct told t = { .now_s = time(NULL) };
	struct scratch *sc = *state;
	struct capture *c;

	assert_int_equal(mkdir(in(sc, "capture"), 0700), 0);
	make_file(sc, "00000001.jsonl", t.now_s + 400 * 86400);
	make_file(sc, "00000002.jsonl", t.now_s - 2 * 3600);
	make_file(sc, "00000003.jsonl", t.now_s - 60);
	make_file(sc, "00000004.jsonl", t.now_s - 3 * 3600);
	c = open_capture(sc, &t, 64 << 20, 3600);
	capture_start(c);
	for (int i = 0; i < 300 && (stays(sc, "00000002.jsonl") || stays(sc, "00000004.jsonl")); i++)
		usleep(10000);
	assert_false(stays(sc, "00000002.jsonl") || stays(sc, "00000004.jsonl"));
	assert_true(stays(sc, "00000001.jsonl") && stays(sc, "00000003.jsonl"));
	t.now_s += 3650LL * 86400;
	usleep(700000);
	assert_true(stays(sc, "00000001.jsonl") && stays(sc, "00000003.jsonl"));
	capture_close(c, 1000);
}

static void what_was_captured_grows_old_all_the_same(void **state)
{
	struct told t = { .now_s = time(NULL) };
	struct capture_config config = { .state_dir = ((struct scratch *)*state)->dir, .keeps = true,
					 .max_size_bytes = 1 << 20, .max_age_s = 3600 };
	struct scratch *sc = *state;
	struct capture *c;

	assert_int_equal(capture_open(&config, &c), 0);
	capture_start(c);
	usleep(100000);
	capture_close(c, 1000);
	assert_int_equal(access(in(sc, "capture"), F_OK), -1);
	mkdir(in(sc, "capture"), 0700);
	make_file(sc, "00000001.jsonl", t.now_s - 7200);
	make_file(sc, "00000002.jsonl", t.now_s - 1800);
	assert_int_equal(capture_open(&config, &c), 0);
	capture_start(c);
	for (int i = 0; i < 300 && stays(sc, "00000001.jsonl"); i++)
		usleep(10000);
	assert_false(stays(sc, "00000001.jsonl"));
	assert_true(stays(sc, "00000002.jsonl"));
	capture_change(c, false, 1 << 20, 600); /* at once */
	for (int i = 0; i < 300 && stays(sc, "00000002.jsonl"); i++)
		usleep(10000);
	assert_false(stays(sc, "00000002.jsonl"));
	capture_close(c, 1000);
}

static void what_cannot_be_written_is_counted_and_told_once(void **state)
{
	struct told t = { 0 };
	struct capture *c;
	struct decision none = { 0 };
	FILE *f = fopen(in(*state, "capture"), "w"); /* a file where the folder should be */

	fclose(f);
	c = open_capture(*state, &t, 64 << 20, 86400);
	capture_start(c);
	for (int i = 0; i < 5; i++) {
		push(c, an_event(), &none);
		settled(c);
		usleep(100000);
	}
	assert_int_equal(settled(c).dropped, 5);
	assert_int_equal(t.bad, 1);
	assert_int_equal(unlink(in(*state, "capture")), 0);
	for (int i = 0; i < 100 && !settled(c).written; i++)
		push(c, an_event(), &none);
	assert_true(settled(c).written > 0);
	capture_close(c, 1000);
	assert_int_equal(t.bad, 1);
	assert_in_range(t.good, 0, 1); /* once it has gone well for a while */
}

/* ---- what is known in part ------------------------------------------------------------------ */

static const char *verdict_of(const struct ruleset *rs, const struct event *ev, const struct unknown *u)
{
	static const struct wall_clock clock = { .hour = 15, .dow = 3 };
	struct partial p;

	rules_decide_partly(rs, ev, &clock, u, &p);
	return p.doubt ? p.asks : verdict_name(p.sure.verdict);
}

static void what_is_not_known_is_not_guessed(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match: { all_of: [ path: { glob: '~/.aws/*' }, "
				   "open_mode: { eq: read } ] }\n");
	struct ruleset *not = rules(HEAD("X1") "match: { all_of: [ path: { glob: '/**' }, "
				    "none_of: [ open_mode: { eq: read } ] ] }\n");
	const struct unknown nothing = { 0 }, homes = { .homes = true },
			     mode = { .fields = UINT64_C(1) << FIELD_OPEN_MODE };
	struct event ev = an_open("/home/u/.aws/credentials"), away = an_open("/home/v/.aws/x"),
		     other = an_open("/etc/passwd");

	(void)state;
	assert_string_equal(verdict_of(rs, &ev, &nothing), "block");
	assert_string_equal(verdict_of(rs, &ev, &homes), "block");
	assert_string_equal(verdict_of(rs, &away, &nothing), "allow");
	assert_string_equal(verdict_of(rs, &away, &homes), "what ~ stands for");
	assert_string_equal(verdict_of(rs, &other, &homes), "allow"); /* below no home at all */
	assert_string_equal(verdict_of(rs, &ev, &mode), "open_mode");
	assert_string_equal(verdict_of(rs, &other, &mode), "allow"); /* whatever the mode was */
	assert_string_equal(verdict_of(not, &other, &nothing), "allow");
	assert_string_equal(verdict_of(not, &other, &mode), "open_mode");
	ruleset_unref(rs);
	ruleset_unref(not);
}

static void a_doubt_that_changes_nothing_is_none(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match: { any_of: [ path: { glob: '/**' } ] }\n---\n"
				   HEAD("X2") "match: { any_of: [ open_mode: { eq: read } ] }\n");
	const struct unknown mode = { .fields = UINT64_C(1) << FIELD_OPEN_MODE };
	struct event ev = an_open("/x");

	(void)state;
	assert_string_equal(verdict_of(rs, &ev, &mode), "block");
	ruleset_unref(rs);
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_and_decided_alike),
		cmocka_unit_test(what_is_wrong_is_named),
		T(what_is_captured_is_decided_alike),
		T(secrets_are_masked),
		T(a_full_ring_drops_and_counts),
		T(what_was_pushed_before_the_end_is_written),
		T(old_files_go_when_there_is_too_much),
		T(old_files_go_when_they_are_old),
		T(a_clock_that_leaps_removes_nothing),
		T(what_was_captured_grows_old_all_the_same),
		T(what_cannot_be_written_is_counted_and_told_once),
		cmocka_unit_test(what_is_not_known_is_not_guessed),
		cmocka_unit_test(a_doubt_that_changes_nothing_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
