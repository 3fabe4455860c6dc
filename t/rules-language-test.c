/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rule language by example: each file in t/rules.d holds cases, and each case is a document, what
 * becomes of events under it, or the one line that is said about what is wrong. Run from the root of
 * the tree. A line that begins with @ is for us, any other is the document's:
 *
 *	@ TITLE            a case begins
 *	@config            the document is no rule but oknek.yaml
 *	@kind KIND         the lines that every rule needs (5 of them), as id X1, action block
 *	@bytes TEXT        the document goes on with TEXT, in which \n \r \t \e \\ \xNN are bytes
 *	@repeat N TEXT     with N times TEXT
 *	@default JSON      for all cases of the file: what events have that do not say otherwise
 *	@zone AT OFFSET…   the zone of wall clocks from here on: seconds since 1970, seconds east
 *	@event JSON        an event as sources/replay.h has them; null takes a default out
 *	@is VERDICT RULE…  what is decided about it, strongest rule first
 *	@load N            so many rules load
 *	@error TEXT        nothing loads, and this is said of the file "f"; TEXT… is how it begins
 */
#include "t/rules-test.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/bus.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/config.h"
#include "enforce/permissive.h"
#include "sources/replay.h"

#define FOLDER "t/rules.d"

struct file {
	const char *path;
	unsigned line;
	json_t *defaults;
	struct zone zone;
	/* the case in hand */
	char title[200], event[4096];
	char *text;
	size_t len, size;
	struct ruleset *rs;
	bool is_config, loaded, is_loaded, checked;
	char err[512];
	/* what the bus was told */
	char got[400];
	unsigned decided;
	unsigned cases;
};

#define wrong(f, ...)                                                                          \
	do {                                                                                   \
		print_error("%s:%u: %s\n%.2000s\n", (f)->path, (f)->line, (f)->title,          \
			    (f)->text ? (f)->text : "");                                       \
		fail_msg(__VA_ARGS__);                                                         \
	} while (0)

static void append(struct file *f, const char *bytes, size_t len)
{
	if (f->len + len + 1 > f->size) {
		f->size = (f->len + len + 1) * 2;
		f->text = realloc(f->text, f->size);
		assert_non_null(f->text);
	}
	memcpy(f->text + f->len, bytes, len);
	f->len += len;
	f->text[f->len] = '\0';
}

/* Backslash sequences become the bytes they mean, in place; the new length. */
static size_t unescape(struct file *f, char *s)
{
	static const char names[] = "nrte\\", bytes[] = "\n\r\t\033\\";
	char *out = s, *start = s;

	for (; *s; s++) {
		const char *name;
		unsigned value;

		if (*s != '\\') {
			*out++ = *s;
		} else if (s[1] == 'x' && sscanf(s + 2, "%2x", &value) == 1) {
			*out++ = (char)value;
			s += 3;
		} else if (s[1] && (name = strchr(names, s[1]))) {
			*out++ = bytes[name - names];
			s++;
		} else {
			wrong(f, "unknown escape %.8s", s);
		}
	}
	return (size_t)(out - start);
}

static void load(struct file *f)
{
	const struct rules_config c = { .mechanisms = FANOTIFY };
	struct rules_error err = { "" };
	int rc;

	if (f->loaded)
		return;
	f->loaded = true;
	if (f->is_config) {
		struct config *host = NULL;

		rc = config_load_buffer("f", f->text ? f->text : "", f->len, &host, err.text);
		f->is_loaded = !rc;
		config_free(host);
	} else {
		rc = ruleset_load_buffer("f", f->text ? f->text : "", f->len, &c, &f->rs, &err);
		f->is_loaded = f->rs;
	}
	if (rc < 0 && (f->rs || !*err.text || strpbrk(err.text, "\n\t")))
		wrong(f, "error %d says \"%s\"", rc, err.text);
	memcpy(f->err, err.text, sizeof(f->err));
}

static void want_load(struct file *f, const char *arg)
{
	load(f);
	f->checked = true;
	if (!f->is_loaded)
		wrong(f, "does not load: %s", f->err);
	if (f->rs && ruleset_count(f->rs) != strtoul(arg, NULL, 10))
		wrong(f, "loads %zu rules, not %s", ruleset_count(f->rs), arg);
}

static void want_error(struct file *f, const char *want)
{
	static const char dots[] = "…";
	size_t len = strlen(want), tail = sizeof(dots) - 1;

	load(f);
	f->checked = true;
	if (f->is_loaded)
		wrong(f, "loads, but must say %s", want);
	if (len > tail && !strcmp(want + len - tail, dots)) {
		if (strncmp(f->err, want, len - tail))
			wrong(f, "\nwant %s\ngot  %s", want, f->err);
	} else if (strcmp(f->err, want)) {
		wrong(f, "\nwant %s\ngot  %s", want, f->err);
	}
}

/* ---- events -------------------------------------------------------------------------------- */

static void decide_event(void *arg, const struct event *ev, struct decision *ret,
			 const char **category)
{
	struct file *f = arg;
	struct wall_clock clock;
	size_t used;

	zone_wall_clock(&f->zone, replay_clock_unix_ns(ev->source) / (int64_t)NSEC_PER_SEC, &clock);
	rules_decide(f->rs, ev, &clock, ret, category);
	used = (size_t)snprintf(f->got, sizeof(f->got), "%s", verdict_name(ret->verdict));
	for (unsigned i = 0; i < ret->n_fired && used < sizeof(f->got); i++) {
		const struct rule *r = ret->fired[i].rule;

		used += (size_t)snprintf(f->got + used, sizeof(f->got) - used, " %s%s%s", r->id,
					 *r->part ? "/" : "", r->part);
	}
	f->decided++;
}

static uint64_t note(struct recorder *r, const struct verdict_note *n)
{
	(void)r;
	(void)n;
	return 1;
}

static void answer(struct recorder *r, uint64_t ticket, enum outcome outcome, int err)
{
	(void)r;
	(void)ticket;
	(void)outcome;
	(void)err;
}

static enum mode enforcing(void *arg)
{
	(void)arg;
	return MODE_ENFORCE;
}

static void complain(void *arg, const char *text)
{
	wrong((struct file *)arg, "the event is malformed: %s", text);
}

/* The line that is replayed: the file's defaults with what this event says. */
static char *event_line(struct file *f, const char *json)
{
	json_t *o = json_copy(f->defaults), *own = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
	const char *key;
	json_t *v;
	char *text;

	if (!o || !own)
		wrong(f, "no JSON object: %s", json);
	json_object_foreach(own, key, v) {
		if (json_is_null(v))
			json_object_del(o, key);
		else
			json_object_set(o, key, v);
	}
	text = json_dumps(o, JSON_COMPACT);
	assert_non_null(text);
	json_decref(own);
	json_decref(o);
	return text;
}

static void want_decision(struct file *f, const char *want)
{
	struct recorder rec = { .decided = note, .answered = answer };
	struct bus bus = { .decide = decide_event, .decide_arg = f, .recorder = &rec,
			   .mode = enforcing };
	_cleanup_free_ char *line = event_line(f, f->event);
	_cleanup_close_ int fd = memfd_create("events", MFD_CLOEXEC);
	struct source *source;
	char path[64];

	load(f);
	f->checked = true;
	if (!f->rs)
		wrong(f, "does not load: %s", f->err);
	assert_true(fd >= 0 && dprintf(fd, "%s\n", line) > 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	f->decided = 0;
	assert_int_equal(permissive_open(&bus.enforcer), 0);
	assert_int_equal(replay_open(path, complain, f, &source), 0);
	assert_int_equal(source->ops->start(source), 0);
	while (source->ops->dispatch(source, &bus) > 0)
		;
	source->ops->close(source);
	bus.enforcer->ops->close(bus.enforcer);
	if (f->decided != 1)
		wrong(f, "%u events were decided of %s", f->decided, line);
	if (strcmp(f->got, want))
		wrong(f, "\n%s\nwant %s\ngot  %s", line, want, f->got);
}

/* ---- files --------------------------------------------------------------------------------- */

static void end_case(struct file *f)
{
	if (*f->title && !f->checked)
		wrong(f, "nothing is asked about this case");
	f->cases += *f->title != '\0';
	ruleset_unref(f->rs);
	f->rs = NULL;
	f->is_config = f->loaded = f->is_loaded = f->checked = false;
	f->len = 0;
	*f->event = *f->err = '\0';
	if (f->text)
		*f->text = '\0';
}

static void set_zone(struct file *f, char *arg)
{
	char *save = NULL;

	f->zone.n = 0;
	for (char *w = strtok_r(arg, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		struct zone_transition *t = &f->zone.at[f->zone.n++];

		t->from_unix_s = strtoll(w, NULL, 10);
		w = strtok_r(NULL, " ", &save);
		assert_non_null(w);
		t->offset_s = (int32_t)strtol(w, NULL, 10);
	}
}

static void do_word(struct file *f, const char *word, char *arg)
{
	char head[256];

	if (!strcmp(word, "")) {
		end_case(f);
		snprintf(f->title, sizeof(f->title), "%s", arg);
	} else if (!strcmp(word, "kind")) {
		append(f, head, (size_t)snprintf(head, sizeof(head),
						 "id: X1\nname: n\nversion: 1\nkind: %s\n"
						 "action: { default: block }\n", arg));
	} else if (!strcmp(word, "config")) {
		f->is_config = true;
	} else if (!strcmp(word, "bytes")) {
		append(f, arg, unescape(f, arg));
	} else if (!strcmp(word, "repeat")) {
		char *text;
		unsigned long n = strtoul(arg, &text, 10);
		size_t len = unescape(f, ++text);

		while (n--)
			append(f, text, len);
	} else if (!strcmp(word, "default")) {
		json_decref(f->defaults);
		f->defaults = json_loads(arg, 0, NULL);
	} else if (!strcmp(word, "zone")) {
		set_zone(f, arg);
	} else if (!strcmp(word, "event")) {
		snprintf(f->event, sizeof(f->event), "%s", arg);
	} else if (!strcmp(word, "is")) {
		want_decision(f, arg);
	} else if (!strcmp(word, "load")) {
		want_load(f, arg);
	} else if (!strcmp(word, "error")) {
		want_error(f, arg);
	} else {
		wrong(f, "unknown word @%s", word);
	}
}

static unsigned run_file(const char *path)
{
	struct file f = { .path = path, .defaults = json_object() };
	_cleanup_fclose_ FILE *in = fopen(path, "r");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t len;

	assert_non_null(in);
	while ((len = getline(&line, &size, in)) > 0) {
		char *arg;

		f.line++;
		if (*line != '@') {
			if (*f.title)
				append(&f, line, (size_t)len);
			else if (*line != '#' && *line != '\n')
				wrong(&f, "this belongs to no case");
			continue;
		}
		line[strcspn(line, "\n")] = '\0';
		arg = line + strcspn(line, " ");
		if (*arg)
			*arg++ = '\0';
		do_word(&f, line + 1, arg);
	}
	end_case(&f);
	json_decref(f.defaults);
	free(f.text);
	return f.cases;
}

static void each_example_is_what_it_says(void **state)
{
	struct dirent **names = NULL;
	int n = scandir(FOLDER, &names, NULL, alphasort);
	unsigned cases = 0;

	(void)state;
	assert_true(n > 2);
	for (int i = 0; i < n; i++) {
		char path[300];

		snprintf(path, sizeof(path), FOLDER "/%s", names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			cases += run_file(path);
		free(names[i]);
	}
	free(names);
	print_message("# %u cases\n", cases);
	assert_true(cases >= 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_example_is_what_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
