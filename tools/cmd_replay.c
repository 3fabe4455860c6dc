/* SPDX-License-Identifier: Apache-2.0 */
/* Decides events again, by other rules: what would change if these served. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/readers.h"
#include "tools/cli_replay.h"

struct options {
	const char *rules, *pack, *against, *against_pack, *since, *state_dir, *config;
	bool evidence, all;
};

struct replay {
	struct cli *cli;
	struct options o;
	struct replay_rules after, before;
	bool before_asked; /* --against: the decisions of then do not count */
	bool before_tried;
	char before_why[256];
	struct replay_place place;
	struct zone zone;
	struct replay_report *report;
};

/* ---- one event ------------------------------------------------------------------------------ */

static void take_decision(struct replay_side *s, const struct decision *d)
{
	s->known = true;
	s->verdict = d->verdict;
	s->n_rules = d->n_fired;
	s->n_more = d->n_fired_more;
	for (unsigned i = 0; i < d->n_fired; i++)
		event_rule_name(d->fired[i].rule, s->rules[i], sizeof(s->rules[i]));
}

/* Nothing that is captured says whether it was the verified file. */
static bool hangs_on_reader(const struct replay_rules *r, const struct event *ev,
			    const struct partial *p, char *why, size_t size)
{
	char name[96];

	for (unsigned i = 0; i < p->sure.n_fired; i++)
		if (readers_has(r->config, p->sure.fired[i].rule, ev->subj.exe)) {
			event_rule_name(p->sure.fired[i].rule, name, sizeof(name));
			snprintf(why, size, "rule %s has readers, and whether the file was verified was "
				 "not captured", name);
			return true;
		}
	return false;
}

static void decide_partly(const struct replay_rules *r, const struct replay_event *e,
			  const struct unknown *u, const struct wall_clock *clock,
			  struct replay_side *ret, char *why, size_t size)
{
	const struct event *ev = &e->line->ev;
	struct partial p;
	char name[96];

	rules_decide_partly(r->rs, ev, clock, u, &p);
	if (ev->subj.exe_verified)
		readers_drop(r->config, ev, &p.sure);
	else if (e->unknown && hangs_on_reader(r, ev, &p, why, size))
		return;
	if (p.doubt && p.doubt->action > p.sure.verdict) {
		event_rule_name(p.doubt, name, sizeof(name));
		snprintf(why, size, "rule %s asks %s, which was %s", name, p.asks,
			 e->line->masked ? "masked" : "not captured");
		return;
	}
	take_decision(ret, &p.sure);
}

static void decide(const struct replay *r, const struct replay_rules *rules,
		   const struct replay_event *e, struct replay_side *ret, char *why, size_t size)
{
	static const struct unknown masked = {
		.fields = UINT64_C(1) << FIELD_ARGV | UINT64_C(1) << FIELD_BASH_COMMAND |
			  UINT64_C(1) << FIELD_CHAIN_DEPTH | UINT64_C(1) << FIELD_CHAIN_BREAKDOWN,
	};
	const struct event_line *l = e->line;
	int64_t unix_s = l->has_time ? clock_second(l->time_unix_ns) : r->cli->now;
	struct wall_clock clock;
	struct decision d;

	*ret = (struct replay_side){ 0 };
	offset_wall_clock(l->has_utc_offset ? l->utc_offset_s : zone_offset_s(&r->zone, unix_s), unix_s,
			  &clock);
	if (e->unknown || l->masked) {
		decide_partly(rules, e, e->unknown ? e->unknown : &masked, &clock, ret, why, size);
		return;
	}
	rules_decide(rules->rs, &l->ev, &clock, &d, NULL);
	if (l->ev.subj.exe_verified)
		readers_drop(rules->config, &l->ev, &d);
	take_decision(ret, &d);
}

static void from_line(const struct event_decided *d, struct replay_side *ret)
{
	*ret = (struct replay_side){ .known = true, .verdict = d->verdict, .n_rules = d->n_rules,
				     .n_more = d->n_more };
	for (unsigned i = 0; i < d->n_rules; i++)
		snprintf(ret->rules[i], sizeof(ret->rules[i]), "%s", d->rules[i]);
}

/* The rules that serve, when the first event asks for them. */
static const struct replay_rules *rules_before(struct replay *r)
{
	if (!r->before.rs && !r->before_tried)
		replay_rules_active(&r->place, &r->before, r->before_why);
	r->before_tried = true;
	return r->before.rs ? &r->before : NULL;
}

static enum replay_change compare(const struct replay_side *before, const struct replay_side *after)
{
	if (after->verdict == before->verdict)
		return CHANGE_NONE;
	if (after->verdict == VERDICT_BLOCK)
		return CHANGE_BLOCKED;
	/* What was blocked and is only warned of goes through. */
	return after->verdict < before->verdict ? CHANGE_ALLOWED : CHANGE_WARNED;
}

static int on_event(void *arg, const struct replay_event *e)
{
	struct replay *r = arg;
	struct replay_result res = { .why = "" };
	const struct replay_rules *old;

	if (!r->before_asked && e->told)
		res.before = *e->told;
	else if (!r->before_asked && e->line->has_decided)
		from_line(&e->line->decided, &res.before);
	else if ((old = rules_before(r)))
		decide(r, old, e, &res.before, res.why, sizeof(res.why));
	decide(r, &r->after, e, &res.after, res.why, sizeof(res.why));
	if (*res.why)
		res.change = CHANGE_UNTOLD;
	else if (!res.before.known)
		res.change = CHANGE_NOTHING;
	else
		res.change = compare(&res.before, &res.after);
	return replay_report_add(r->report, e, &res);
}

/* ---- all of them ---------------------------------------------------------------------------- */

/* As elsewhere; also weeks, and RFC 3339 with any offset. */
static int parse_since(const char *s, int64_t now, int64_t *ret)
{
	size_t n = strlen(s);
	char number[16];
	int64_t v;

	if (cli_parse_since(s, now, ret) == 0)
		return 0;
	if (rfc3339_parse(s, &v) == 0) {
		*ret = clock_second(v);
		return 0;
	}
	if (n < 2 || n > sizeof(number) || s[n - 1] != 'w')
		return -EINVAL;
	snprintf(number, sizeof(number), "%.*s", (int)(n - 1), s);
	if (cli_parse_number(number, 0, 520, &v) < 0)
		return -EINVAL;
	*ret = now - v * 7 * 86400;
	return 0;
}

static int read_events(struct replay *r, struct replay_input *in, char **files,
		       struct replay_words *w)
{
	const struct ruleset *const sets[] = { r->after.rs, r->before.rs, NULL };
	bool found;
	int rc = 0;

	w->basis = "events";
	w->events = "of the files given";
	for (; *files && !rc; files++)
		rc = replay_file(in, *files, false);
	if (!r->o.since && !r->o.evidence)
		return rc;
	if (!r->o.evidence) {
		rc = replay_captured(in, r->o.state_dir, &found);
		w->basis = in->matched_only ? "matched" : "captured";
		w->events = "captured";
		if (rc || found)
			return rc;
	}
	w->basis = "evidence";
	w->events = "of evidence alone";
	return replay_evidence(in, r->o.state_dir, sets);
}

static void say_limits(struct replay *r, const struct replay_input *in, struct replay_words *w,
		       char buf[3][400])
{
	unsigned n = 0;
	char time[RFC3339_SIZE];

	if (!strcmp(w->basis, "evidence")) {
		w->notes[n++] = r->o.evidence ?
			"only evidence was asked: events for which no rule fired left no record, so what "
			"would newly be blocked or warned of among them cannot be shown" :
			r->o.since ?
			"no events of that time were captured: those for which no rule fired left no "
			"record, so what would newly be blocked or warned of among them cannot be shown" :
			"no events were captured (capture: off): those for which no rule fired left no "
			"record, so what would newly be blocked or warned of among them cannot be shown";
		w->notes[n++] = "a record has one name of a file for each rule, and no homes: those of "
				"the users now, and those by which the recorded rule fires, are taken";
	}
	if (in->matched_only)
		w->notes[n++] = "only events for which a rule fired were captured (capture: matched): "
				"what else would newly be blocked is not known";
	if (in->any && r->o.since && strcmp(w->basis, "evidence") &&
	    clock_second(in->first_unix_ns) > in->since_unix_s + 60 &&
	    zone_rfc3339(&r->zone, in->first_unix_ns, false, time, sizeof(time))) {
		snprintf(buf[0], 400, "the first captured event is of %s: of what was before nothing is "
			 "told", time);
		w->notes[n++] = buf[0];
	}
	if (in->torn) {
		snprintf(buf[1], 400, "%llu %s half a line at the end, which is not counted",
			 (unsigned long long)in->torn, cli_plural((int64_t)in->torn, "file has",
								  "files have"));
		w->notes[n++] = buf[1];
	}
	if (replay_report_count(r->report, CHANGE_NOTHING)) {
		snprintf(buf[2], 400, "some events do not say what was decided, and the rules that serve "
			 "cannot be read (%.150s): there is nothing to compare with", r->before_why);
		w->notes[n++] = buf[2];
	}
}

static int replay(struct replay *r, char **files)
{
	struct replay_input in = { .event = on_event, .arg = r, .since_unix_s = INT64_MIN,
				   .reader = event_reader_new() };
	struct replay_words w = { 0 };
	char notes[3][400];
	uint64_t changed;
	int rc;

	if (!in.reader)
		abort();
	if (r->o.since)
		parse_since(r->o.since, r->cli->now, &in.since_unix_s);
	rc = read_events(r, &in, files, &w);
	event_reader_free(in.reader);
	if (rc)
		return CLI_FAILED;
	w.after = r->after.name;
	w.before = r->before_asked ? r->before.name : r->before.rs ?
		   "what was decided then, where it is known; else what serves" :
		   "what was decided then";
	w.bad = in.bad;
	say_limits(r, &in, &w, notes);
	replay_report_end(r->report, &w);
	if (in.bad)
		cli_error("%llu %s could not be read: the figures are without them",
			  (unsigned long long)in.bad, cli_plural((int64_t)in.bad, "line", "lines"));
	if (cli_flush() != CLI_DONE || in.bad)
		return CLI_FAILED;
	changed = replay_report_count(r->report, CHANGE_BLOCKED) +
		  replay_report_count(r->report, CHANGE_WARNED) +
		  replay_report_count(r->report, CHANGE_ALLOWED);
	return changed ? CLI_FOUND : CLI_DONE;
}

static int load_rules(struct replay *r)
{
	int rc = r->o.rules ? replay_rules_dir(&r->place, r->o.rules, &r->after) :
			      replay_rules_pack(&r->place, r->o.pack, &r->after);

	r->before_asked = r->o.against || r->o.against_pack;
	if (rc == CLI_DONE && r->o.against)
		rc = replay_rules_dir(&r->place, r->o.against, &r->before);
	if (rc == CLI_DONE && r->o.against_pack)
		rc = replay_rules_pack(&r->place, r->o.against_pack, &r->before);
	return rc;
}

static int check(struct cli *cli, const struct options *o, int n)
{
	int64_t since;

	if (!o->rules == !o->pack)
		return cli_usage(cli, "one of --rules DIR and --pack FILE is expected");
	if (o->against && o->against_pack)
		return cli_usage(cli, "one of --against and --against-pack is enough");
	if (n && (o->since || o->evidence))
		return cli_usage(cli, "EVENTS or --since, not both");
	if (!n && !o->since && !o->evidence)
		return cli_usage(cli, "EVENTS, --since TIME or --evidence is expected");
	if (o->since && parse_since(o->since, cli->now, &since) < 0)
		return cli_usage(cli, "--since %s: a time like 7d, 12h or 2026-03-02T14:00:00Z is "
				 "expected", o->since);
	return CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct replay r = { .cli = cli, .o = { .state_dir = OKNEK_STATE_DIR } };
	const struct cli_option opts[] = {
		{ "rules", &r.o.rules, NULL },
		{ "pack", &r.o.pack, NULL },
		{ "against", &r.o.against, NULL },
		{ "against-pack", &r.o.against_pack, NULL },
		{ "since", &r.o.since, NULL },
		{ "state-dir", &r.o.state_dir, NULL },
		{ "config", &r.o.config, NULL },
		{ "evidence", NULL, &r.o.evidence },
		{ "all", NULL, &r.o.all },
		{ NULL, NULL, NULL },
	};
	struct config *config = NULL;
	char err[512];
	int n = cli_options(cli, argc, argv, opts, false), rc;

	if (n < 0)
		return n == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (check(cli, &r.o, n) != CLI_DONE)
		return CLI_FAILED;
	if (sodium_init() < 0 || config_load(r.o.config ? r.o.config : OKNEK_CONFIG,
					     r.o.config != NULL, &config, err) < 0) {
		cli_error("%s", err);
		return CLI_FAILED;
	}
	zone_load(&r.zone);
	r.place = (struct replay_place){ r.o.state_dir, r.o.config ? r.o.config : OKNEK_CONFIG,
					 r.o.config != NULL, config };
	r.report = replay_report_new(cli, r.o.all);
	rc = load_rules(&r);
	if (rc == CLI_DONE)
		rc = replay(&r, argv + 1);
	replay_report_free(r.report);
	replay_rules_free(&r.after);
	replay_rules_free(&r.before);
	config_free(config);
	return rc;
}

const struct cli_command cmd_replay = {
	.name = "replay",
	.args = "EVENTS… | --since TIME  --rules DIR | --pack FILE",
	.summary = "decide captured events again, by other rules: what would change",
	.help = "  --rules DIR           a folder of rule files\n"
		"  --pack FILE           a signed pack, together with rules.d of this host\n"
		"  --since TIME          what was captured since then: 7d, 12h, 2026-03-02T14:00:00Z;\n"
		"                        where nothing was, evidence, which can show less\n"
		"  --evidence            evidence alone\n"
		"  --against DIR, --against-pack FILE\n"
		"                        compare with these rules, not with what was decided then\n"
		"  --config FILE         what the site says about rules (default " OKNEK_CONFIG ")\n"
		"  --state-dir DIR       (default " OKNEK_STATE_DIR ")\n"
		"  --all                 all groups, not the most frequent ten\n\n"
		"EVENTS are files of events, one JSON object a line, or - for stdin. Exits with 0 when\n"
		"nothing changes, with 1 when something does.\n",
	.run = run,
};
