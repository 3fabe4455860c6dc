/* SPDX-License-Identifier: Apache-2.0 */
/* `oknek rules test`: decides events as the daemon would, and tells by which comparisons. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/event_text.h"
#include "core/field.h"
#include "rules/readers.h"
#include "tools/cli_rules.h"

#define NOT_FIRED_SHOWN 20 /* rules of the event's kind, as text; --all shows the others too */

struct test {
	const struct cli *cli;
	const struct rules_options *o;
	const struct config *site;
	struct ruleset *rules;
	struct zone zone;
	struct event_reader *reader;
	const char *from; /* of the events, for messages */
	unsigned line;    /* 0: not from a file */
	unsigned n, fired, expected, missed;
	bool failed;
};

/* ---- one event ------------------------------------------------------------------------------ */

struct judged {
	const struct event *ev;
	json_t *object;     /* as given, without what is expected */
	const char *expect; /* NULL: nothing */
	struct wall_clock clock;
	struct decision d;
	const char *category;
};

static void wall_clock_of(struct test *t, const struct event_line *line, struct wall_clock *ret)
{
	struct zone there = { .n = 1, .at = { { 0, line->utc_offset_s } } };
	int64_t unix_s = line->has_time ? line->time_unix_ns / (int64_t)NSEC_PER_SEC :
					  (int64_t)time(NULL);

	zone_wall_clock(line->has_utc_offset ? &there : &t->zone, unix_s, ret);
}

/* `readers:` of the configuration: as the daemon, which knows them for verified files only. */
static bool is_reader(const struct test *t, const struct event *ev, const struct rule *r)
{
	return t->site && ev->subj.exe_verified && readers_has(t->site, r, ev->subj.exe);
}

static void decide(struct test *t, struct judged *j)
{
	rules_decide(t->rules, j->ev, &j->clock, &j->d, &j->category);
	if (t->site && j->ev->subj.exe_verified)
		readers_drop(t->site, j->ev, &j->d);
}

static void rule_name(const struct rule *r, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s", r->id, *r->part ? "/" : "", r->part);
}

/* ---- for machines --------------------------------------------------------------------------- */

static json_t *json_value(const char *text, bool number)
{
	return number ? json_integer(strtoll(text, NULL, 10)) : rules_json_text(text);
}

static json_t *json_values(const char *const *v, unsigned n, bool number)
{
	json_t *list;

	if (n == 1)
		return json_value(v[0], number);
	list = json_array();
	for (unsigned i = 0; i < n; i++)
		json_array_append_new(list, json_value(v[i], number));
	return list;
}

static json_t *reasons_json(const struct explanation *e)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < e->n; i++) {
		const struct reason *r = &e->v[i];
		json_t *j = json_pack(
			"{s:s, s:s, s:o, s:o, s:i, s:o, s:b}", "field", r->field, "op", r->op,
			"value", json_values(r->values, r->n_values, r->number), "actual",
			r->n_actual ? json_values(r->actual, r->n_actual, r->number) : json_null(),
			"line", (int)r->line, "file", rules_json_text(r->file), "result",
			r->result);

		if (r->n_values_more)
			json_object_set_new(j, "values_more", json_integer(r->n_values_more));
		if (r->note)
			json_object_set_new(j, "note", json_string(r->note));
		json_array_append_new(list, j);
	}
	return list;
}

static json_t *rule_json(const struct rule *r, const struct explanation *e, const char *reasons)
{
	json_t *j = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:o}", "rule", r->id, "part",
			      r->part, "name", r->name, "version", (int)r->version, "action",
			      verdict_name(r->action), "mechanism", mechanism_name(r->mechanism),
			      "mechanism_why", r->bound_why, reasons, reasons_json(e));

	if (e->n_more)
		json_object_set_new(j, "reasons_more", json_integer(e->n_more));
	return j;
}

/* ---- for people ----------------------------------------------------------------------------- */

static void print_quoted(const char *s, bool number)
{
	if (!number)
		putchar('"');
	cli_text(s);
	if (!number)
		putchar('"');
}

static void print_place(const struct reason *r)
{
	fputs("  (", stdout);
	cli_text(r->file);
	printf(":%u)\n", r->line);
}

static void print_reason(const struct reason *r)
{
	printf("    %s ", r->field);
	if (!strcmp(r->field, "exception")) {
		print_quoted(r->values[0], false);
		fputs(" by ", stdout);
		cli_text(r->actual[0]);
		print_place(r);
		return;
	}
	printf("%s ", r->op);
	for (unsigned i = 0; i < r->n_values && i < 3; i++) {
		fputs(i ? ", " : "", stdout);
		print_quoted(r->values[i], r->number);
	}
	if (r->n_values > 3)
		printf(" and %u more", r->n_values - 3 + r->n_values_more);
	fputs(r->result ? " ← " : ": it is ", stdout);
	if (!r->n_actual)
		fputs("null", stdout);
	for (unsigned i = 0; i < r->n_actual; i++) {
		fputs(i ? " and " : "", stdout);
		print_quoted(r->actual[i], r->number);
	}
	print_place(r);
	if (r->note)
		printf("      %s\n", r->note);
}

static void print_rule(const struct test *t, const struct rule *r, const struct explanation *e,
		       bool reader)
{
	char name[128];

	rule_name(r, name, sizeof(name));
	printf("  %-9s %s version %u, ", e->fired && !reader ? "fired" : "not fired", name,
	       r->version);
	cli_printf(t->cli, e->fired ? CLI_BOLD : CLI_PLAIN, "%s", verdict_name(r->action));
	if (e->fired && r->action == VERDICT_BLOCK && r->mechanism == MECH_DETECT)
		printf(" (only detected here: %s)", r->bound_why);
	if (reader)
		fputs(": readers: of the configuration lets this executable through", stdout);
	else if (e->excepted)
		fputs(": it matches, and an exception lets the event go", stdout);
	putchar('\n');
	for (unsigned i = 0; i < e->n; i++)
		print_reason(&e->v[i]);
	if (e->n_more)
		printf("    and %u more\n", e->n_more);
}

static const char *object_of(const struct judged *j)
{
	static const char *const keys[] = { "path", "dest_host", "dest_ip", "exe", NULL };

	for (size_t i = 0; keys[i]; i++)
		if (*cli_str(j->object, keys[i]))
			return cli_str(j->object, keys[i]);
	return "";
}

static void print_head(const struct test *t, const struct judged *j)
{
	static const enum cli_colour colours[] = { CLI_GREEN, CLI_YELLOW, CLI_RED };

	if (t->line) {
		cli_text(t->from);
		printf(":%u: ", t->line);
	}
	printf("%s%s", event_kind_name(j->ev->kind), *object_of(j) ? " " : "");
	cli_text(object_of(j));
	fputs(": ", stdout);
	cli_printf(t->cli, colours[j->d.verdict], "%s", verdict_name(j->d.verdict));
	if (j->category)
		printf(", category %s", j->category);
	if (j->expect && strcmp(j->expect, verdict_name(j->d.verdict)) != 0)
		cli_printf(t->cli, CLI_RED, ", but %s was expected", j->expect);
	else if (j->expect)
		fputs(", as expected", stdout);
	putchar('\n');
}

/* ---- judging -------------------------------------------------------------------------------- */

struct judging {
	json_t *fired, *not_fired;
	unsigned n_not_fired, n_other_kinds;
};

static bool out_of_memory(struct test *t)
{
	cli_error("out of memory");
	t->failed = true;
	return false;
}

static bool judge_rule(struct test *t, const struct judged *j, size_t i, bool fired_ones,
		       struct judging *g)
{
	const struct rule *r = ruleset_rule(t->rules, i);
	struct explanation e = { 0 };
	bool reader, show = true;

	if (t->o->rule && !rule_is_named(r, t->o->rule, NULL))
		return true;
	if (!t->cli->json && r->kind != j->ev->kind && !t->o->all && !t->o->rule) {
		g->n_other_kinds += !fired_ones;
		return true;
	}
	if (rules_explain_event(t->rules, i, j->ev, &j->clock, &e))
		return out_of_memory(t);
	reader = e.fired && is_reader(t, j->ev, r) && !j->d.n_fired_more;
	if ((e.fired && !reader) == fired_ones) {
		if (!fired_ones && g->n_not_fired++ >= NOT_FIRED_SHOWN && !t->o->all)
			show = false;
		if (t->cli->json) {
			json_t *one = rule_json(r, &e, fired_ones ? "because" : "why");

			if (reader)
				json_object_set_new(one, "reader", json_true());
			if (e.excepted)
				json_object_set_new(one, "excepted", json_true());
			json_array_append_new(fired_ones ? g->fired : g->not_fired, one);
		} else if (show) {
			print_rule(t, r, &e, reader);
		}
	}
	explanation_free(&e);
	return true;
}

static bool judge_rules(struct test *t, const struct judged *j, struct judging *g)
{
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < ruleset_count(t->rules); i++)
			if (!judge_rule(t, j, i, pass == 0, g))
				return false;
	return true;
}

static void judge(struct test *t, struct judged *j)
{
	struct judging g = { .fired = json_array(), .not_fired = json_array() };
	_cleanup_json_ json_t *fired = g.fired, *not_fired = g.not_fired;
	bool missed;

	decide(t, j);
	missed = j->expect && strcmp(j->expect, verdict_name(j->d.verdict)) != 0;
	t->n++;
	t->fired += j->d.verdict != VERDICT_ALLOW;
	t->expected += j->expect != NULL;
	t->missed += missed;
	if (!t->cli->json)
		print_head(t, j);
	if (!judge_rules(t, j, &g))
		return;
	if (t->cli->json) {
		_cleanup_json_ json_t *out = json_pack(
			"{s:O, s:s, s:o, s:O, s:O}", "event", j->object, "verdict",
			verdict_name(j->d.verdict), "category",
			j->category ? rules_json_text(j->category) : json_null(), "fired", fired,
			"not_fired", not_fired);

		if (t->line) {
			json_object_set_new(out, "file", rules_json_text(t->from));
			json_object_set_new(out, "line", json_integer(t->line));
		}
		if (j->expect) {
			json_object_set_new(out, "expect", json_string(j->expect));
			json_object_set_new(out, "met", json_boolean(!missed));
		}
		cli_json_line(t->cli, out, NULL);
		return;
	}
	if (g.n_not_fired > NOT_FIRED_SHOWN && !t->o->all)
		printf("  and %u more rules of this kind did not fire; --all shows them\n",
		       g.n_not_fired - NOT_FIRED_SHOWN);
	if (g.n_other_kinds)
		printf("  %u rule%s of other kinds\n", g.n_other_kinds,
		       g.n_other_kinds == 1 ? "" : "s");
}

/* ---- events --------------------------------------------------------------------------------- */

static void bad_event(struct test *t, const char *why)
{
	t->failed = true;
	if (t->line)
		cli_error("%s:%u: %s", t->from, t->line, why);
	else
		cli_error("%s: %s", t->from, why);
}

/* Takes "expect" out of the object. */
static bool take_expect(struct test *t, json_t *object, char expect[16])
{
	const json_t *e = json_object_get(object, "expect");

	*expect = '\0';
	if (!e)
		return true;
	if (!json_is_string(e) || verdict_parse(json_string_value(e)) < 0) {
		bad_event(t, "expect: must be block, warn or allow");
		return false;
	}
	snprintf(expect, 16, "%s", json_string_value(e));
	json_object_del(object, "expect");
	return true;
}

static void take_event(struct test *t, const char *text, size_t len)
{
	const struct event_line *line = NULL;
	_cleanup_free_ char *stripped = NULL;
	_cleanup_json_ json_t *object = NULL;
	char why[160] = "", expect[16];
	struct judged j = { 0 };
	json_error_t e;
	int r;

	if (len > EVENT_TEXT_MAX) {
		bad_event(t, "the event is too long");
		return;
	}
	object = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
	if (!object || !json_is_object(object)) {
		bad_event(t, object ? "an event is one JSON object" : e.text);
		return;
	}
	if (!take_expect(t, object, expect))
		return;
	stripped = json_dumps(object, JSON_COMPACT);
	if (!stripped) {
		out_of_memory(t);
		return;
	}
	r = event_text_read(t->reader, stripped, strlen(stripped), &line, why);
	if (r < 0) {
		bad_event(t, r == -ENOMEM || !*why ? strerror(-r) : why);
		return;
	}
	j.ev = &line->ev;
	j.object = object;
	j.expect = *expect ? expect : NULL;
	wall_clock_of(t, line, &j.clock);
	judge(t, &j);
}

static void take_file(struct test *t, const char *path)
{
	bool standard = !strcmp(path, "-");
	FILE *f = standard ? stdin : fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t len;

	t->from = standard ? "stdin" : path;
	if (!f) {
		cli_error("cannot read %s: %s", path, strerror(errno));
		t->failed = true;
		return;
	}
	while ((len = getline(&line, &size, f)) >= 0) {
		t->line++;
		if (!line[strspn(line, " \t\r\n")] || line[0] == '#')
			continue;
		take_event(t, line, (size_t)len);
	}
	if (ferror(f)) {
		cli_error("cannot read %s: %s", path, strerror(errno));
		t->failed = true;
	}
	if (!standard)
		fclose(f);
}

static void config_cleanup(struct config **c)
{
	config_free(*c);
}

static int summary(struct test *t)
{
	if (t->n == 0 && !t->failed) {
		cli_error("%s: there is no event in it", t->from);
		t->failed = true;
	}
	if (!t->cli->json && t->expected && !t->failed)
		printf("%u of %u expectations hold\n", t->expected - t->missed, t->expected);
	if (cli_flush() != CLI_DONE || t->failed)
		return CLI_FAILED;
	return (t->expected ? t->missed : t->fired) ? CLI_FOUND : CLI_DONE;
}

int rules_test(struct cli *cli, char **files, const struct rules_options *o)
{
	_cleanup_(config_cleanup) struct config *site = NULL;
	_cleanup_(rules_unref_cleanup) struct ruleset *rules = NULL;
	struct test t = { .cli = cli, .o = o };
	int r = CLI_DONE;

	if (!o->event == !o->events)
		return cli_usage(cli, "one of --event '{…}' and --events FILE is needed");
	if (o->config)
		r = rules_config_load(o->config, &site);
	if (r == CLI_DONE)
		r = rules_load_paths(files, site, &rules);
	if (r != CLI_DONE)
		return r;
	t.rules = rules;
	t.site = site;
	t.reader = event_reader_new();
	if (!t.reader) {
		cli_error("out of memory");
		return CLI_FAILED;
	}
	zone_load(&t.zone);
	if (o->events) {
		take_file(&t, o->events);
	} else {
		t.from = "--event";
		take_event(&t, o->event, strlen(o->event));
	}
	event_reader_free(t.reader);
	return summary(&t);
}
