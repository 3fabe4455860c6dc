/* SPDX-License-Identifier: Apache-2.0 */
/* What was tried, compared with what is recorded, and said. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "tools/cli_child.h"
#include "tools/cli_prove.h"

#define RECORDS_MS 6000 /* of waiting for the last of what was denied */
#define DETECTED_MS 2000 /* the same of what was not: there may be none */

static bool refused(const struct prove_cell *c)
{
	return c->came.came == -EPERM || c->came.came == PROVE_KILLED;
}

/* By us: the daemon says so of that process. Else by somebody who is in the way, as whoever serves a
 * filesystem: it is no proof of anything. */
static bool denied(const struct prove_cell *c)
{
	return refused(c) && !strcmp(c->verdict, "block");
}

/* ---- records --------------------------------------------------------------------------------------- */

/* Not of what a link in the place of a decoy leads to. A rule may tell no path. */
static bool is_below(const char *home, const json_t *record)
{
	const char *path = cli_str(json_object_get(record, "capture"), "path");
	size_t len = strlen(home);

	return !*path || (!strncmp(path, home, len) && path[len] == '/');
}

static bool is_of(const struct prove *p, const struct prove_cell *c, const json_t *record)
{
	const json_t *rule = json_object_get(record, "rule"), *process = json_object_get(record, "process");
	const struct prove_rule *r;

	if (c->came.pid <= 0 ||
	    (cli_int(process, "pid") != c->came.pid && cli_int(process, "ppid") != c->came.pid))
		return false;
	if (c->rule == UINT_MAX)
		return true;
	r = &p->rules[c->rule];
	return !strcmp(cli_str(rule, "id"), r->id) && !strcmp(cli_str(rule, "part"), r->part) &&
	       (r->kind != KIND_FILE_OPENED || is_below(p->place.home, record));
}

static int take_record(void *arg, json_t *record, const char *text)
{
	struct prove *p = arg;
	const char *verdict = cli_str(record, "verdict");

	(void)text;
	if (strcmp(cli_str(json_object_get(record, "agent"), "session"), p->session) ||
	    cli_str(json_object_get(record, "rule"), "id")[0] == 'O')
		return 0;
	for (size_t i = 0; i < p->n_cells; i++) {
		struct prove_cell *c = &p->cells[i];

		if (!is_of(p, c, record) || !strcmp(c->verdict, "block"))
			continue;
		snprintf(c->verdict, sizeof(c->verdict), "%s", verdict);
		snprintf(c->mechanism, sizeof(c->mechanism), "%s", cli_str(record, "mechanism"));
		/* Its rule is bound to nothing, and it was held all the same: by who tells. */
		if (refused(c) && !strcmp(c->mechanism, "detect"))
			snprintf(c->mechanism, sizeof(c->mechanism), "%s", cli_str(record, "source"));
	}
	return 0;
}

/* What was refused, or done though a rule means it, and of which nothing is recorded yet. */
static bool waits(const struct prove *p, bool detected)
{
	for (size_t i = 0; i < p->n_cells; i++) {
		const struct prove_cell *c = &p->cells[i];

		if (refused(c) ? !denied(c) :
				 detected && c->rule != UINT_MAX && !*c->verdict &&
					 c->came.came == PROVE_THROUGH)
			return true;
	}
	return false;
}

int prove_records(struct prove *p)
{
	int64_t began = child_now_ms();
	const struct timespec pause = { .tv_nsec = 300000000 };

	do {
		_cleanup_json_ json_t *result = NULL;

		if (cli_ask(p->cli, json_pack("{s:s, s:I, s:s}", "cmd", "events", "since_seq",
					      (json_int_t)p->last_seq, "agent", PROVE_AGENT),
			    CLI_TIMEOUT_MS, take_record, p, &result))
			return CLI_FAILED;
		if (!waits(p, child_now_ms() < began + DETECTED_MS))
			break;
		nanosleep(&pause, NULL);
	} while (child_now_ms() < began + RECORDS_MS);
	return CLI_DONE;
}

/* ---- verdicts ---------------------------------------------------------------------------------------- */

static int control_of(const struct prove *p, const struct prove_cell *c)
{
	return c->control == UINT_MAX ? PROVE_THROUGH : p->controls[c->control].came.came;
}

enum prove_verdict prove_verdict(const struct prove *p, const struct prove_cell *c)
{
	if (control_of(p, c) != PROVE_THROUGH)
		return PROVED_NOT_TRIED;
	if (denied(c))
		return PROVED_DENIED;
	if (c->came.came != PROVE_THROUGH)
		return PROVED_NOT_TRIED;
	return *c->verdict ? PROVED_DETECTED : PROVED_OPEN;
}

static const char *verdict_word(enum prove_verdict v)
{
	static const char *const words[] = { "DENIED", "DETECTED", "OPEN", "not tried" };

	return words[v];
}

static const char *unclaimed(const struct prove *p, const struct prove_cell *c)
{
	const struct prove_rule *r;

	if (c->rule == UINT_MAX)
		return "a hand-off to who is not watched: no rule claims it";
	r = &p->rules[c->rule];
	if (r->action != VERDICT_BLOCK)
		return "the rule only warns";
	if (r->mechanism == MECH_DETECT || r->mechanism == MECH_PRELOAD)
		return *r->unbound ? r->unbound : "nothing holds this rule here";
	if (r->kind == KIND_FILE_OPENED && !(r->modes >> c->route->mode & 1))
		return "the rule asks for another way to open it";
	if (r->targets[c->target].unclaimed)
		return r->targets[c->target].unclaimed;
	if (!c->route->claimed)
		return "no rule claims to hold this: see oknek(8)";
	return NULL;
}

static bool is_anothers(const struct prove *p, const struct prove_cell *c)
{
	return prove_verdict(p, c) == PROVED_NOT_TRIED && control_of(p, c) == PROVE_THROUGH && refused(c);
}

bool prove_failed(const struct prove *p, const struct prove_cell *c)
{
	enum prove_verdict v = prove_verdict(p, c);

	return (v == PROVED_OPEN || v == PROVED_DETECTED || is_anothers(p, c)) && !unclaimed(p, c);
}

bool prove_unfinished(const struct prove *p, const struct prove_cell *c)
{
	int control = control_of(p, c);

	if (unclaimed(p, c))
		return false;
	if (control != PROVE_THROUGH)
		return control == PROVE_UNTRIED;
	return c->came.came == PROVE_UNTRIED || c->came.came == PROVE_LATE;
}

static const char *why_not(const struct prove *p, const struct prove_cell *c, char *buf, size_t size)
{
	int control = control_of(p, c), came = control != PROVE_THROUGH ? control : c->came.came;
	const char *who = control != PROVE_THROUGH ? ", for anybody" : "";

	if (came == PROVE_UNTRIED)
		snprintf(buf, size, "who tries did not come to it in time");
	else if (came == PROVE_LATE)
		snprintf(buf, size, "it did not end in %d seconds%s", PROVE_ATTEMPT_S, who);
	else if (came == PROVE_KILLED)
		snprintf(buf, size, "it was killed%s", who);
	else
		snprintf(buf, size, "%s%s", strerror(came >= PROVE_CANNOT ? came - PROVE_CANNOT : -came), who);
	return buf;
}

static const char *note(const struct prove *p, const struct prove_cell *c, char *buf, size_t size)
{
	enum prove_verdict v = prove_verdict(p, c);

	if (is_anothers(p, c))
		return c->came.came == PROVE_KILLED ? "killed, and no record of ours: somebody else's" :
						      "EPERM, and no record of ours: somebody else's";
	if (v == PROVED_NOT_TRIED)
		return why_not(p, c, buf, size);
	if (v == PROVED_DENIED)
		return "";
	return prove_failed(p, c) ? "the rule claims to block this" : unclaimed(p, c);
}

static const char *name(const struct prove_cell *c, const struct prove *p, char *buf, size_t size)
{
	const char *label = c->rule == UINT_MAX ? "" : p->rules[c->rule].targets[c->target].label;

	snprintf(buf, size, "%s%s%s", label, *label ? ", " : "", c->route ? c->route->name : c->handoff->name);
	return buf;
}

static const char *rule_of(const struct prove *p, const struct prove_cell *c, char *buf, size_t size)
{
	return c->rule == UINT_MAX ? "hand-off" : prove_rule_name(&p->rules[c->rule], buf, size);
}

/* ---- output ------------------------------------------------------------------------------------------ */

static json_t *cell_json(const struct prove *p, const struct prove_cell *c)
{
	enum prove_verdict v = prove_verdict(p, c);
	char rule[96], route[96], why[160];
	json_t *j = json_pack("{s:s, s:s, s:s, s:b, s:b}", "rule", rule_of(p, c, rule, sizeof(rule)), "route",
			      name(c, p, route, sizeof(route)), "result",
			      v == PROVED_NOT_TRIED ? "NOT_TRIED" : verdict_word(v), "claimed", !unclaimed(p, c),
			      "failed", prove_failed(p, c));

	json_object_set_new(j, "mechanism", *c->mechanism ? json_string(c->mechanism) : json_null());
	json_object_set_new(j, "recorded", *c->verdict ? json_string(c->verdict) : json_null());
	json_object_set_new(j, "ms", v == PROVED_NOT_TRIED ? json_null() : json_real((double)c->came.took_ns / 1e6));
	json_object_set_new(j, "why", json_string(note(p, c, why, sizeof(why))));
	return j;
}

static json_t *counts(const struct prove *p)
{
	int n[4] = { 0 }, failed = 0, unfinished = 0, rules = 0;

	for (size_t i = 0; i < p->n_cells; i++) {
		n[prove_verdict(p, &p->cells[i])]++;
		failed += prove_failed(p, &p->cells[i]);
		unfinished += prove_unfinished(p, &p->cells[i]);
	}
	for (size_t i = 0; i < p->n_rules; i++)
		rules += *p->rules[i].why != '\0';
	return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "denied", n[0], "detected", n[1], "open", n[2],
			 "not_tried", n[3], "failed", failed, "unfinished", unfinished, "rules_not_tried", rules);
}

json_t *prove_json(const struct prove *p)
{
	json_t *cells = json_array(), *left = json_array();

	for (size_t i = 0; i < p->n_cells; i++)
		json_array_append_new(cells, cell_json(p, &p->cells[i]));
	for (size_t i = 0; i < p->n_rules; i++) {
		char rule[96];

		if (*p->rules[i].why)
			json_array_append_new(left, json_pack("{s:s, s:s}", "rule",
							      prove_rule_name(&p->rules[i], rule, sizeof(rule)),
							      "why", p->rules[i].why));
	}
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "mode", p->mode, "user", p->user_name, "session",
			 p->session, "counts", counts(p), "cells", cells, "not_tried", left);
}

json_t *prove_summary(const struct prove *p)
{
	json_t *failed = json_array();
	char rule[96], route[96];

	for (size_t i = 0; i < p->n_cells && json_array_size(failed) < 64; i++)
		if (prove_failed(p, &p->cells[i]))
			json_array_append_new(failed, json_sprintf("%s by %s",
								   rule_of(p, &p->cells[i], rule, sizeof(rule)),
								   name(&p->cells[i], p, route, sizeof(route))));
	return json_pack("{s:s, s:s, s:s, s:o, s:o}", "mode", p->mode, "user", p->user_name, "session",
			 p->session, "counts", counts(p), "failed", failed);
}

json_t *prove_table(const struct prove *p, unsigned of)
{
	json_t *j = json_object();

	for (size_t i = 0; i < p->n_cells; i++) {
		const struct prove_cell *c = &p->cells[i];
		char route[96], key[64];
		json_t *list;

		if (c->rule != of)
			continue;
		snprintf(key, sizeof(key), "%s%s%s", verdict_word(prove_verdict(p, c)), *c->mechanism ? " " : "",
			 c->mechanism);
		list = json_object_get(j, key);
		if (!list)
			json_object_set_new(j, key, list = json_array());
		json_array_append_new(list, json_string(name(c, p, route, sizeof(route))));
	}
	return j;
}

static void print_cells(const struct prove *p)
{
	static const char *const headings[] = { "RULE", "ROUTE", "RESULT", "BY", "MS", "" };
	struct cli_table t = { .columns = 6 };

	cli_table_add(&t, headings);
	for (size_t i = 0; i < p->n_cells; i++) {
		const struct prove_cell *c = &p->cells[i];
		enum prove_verdict v = prove_verdict(p, c);
		char rule[96], route[96], why[160], ms[32] = "";

		if (v != PROVED_NOT_TRIED)
			snprintf(ms, sizeof(ms), "%.2f", (double)c->came.took_ns / 1e6);
		cli_table_add(&t, (const char *const[]){ rule_of(p, c, rule, sizeof(rule)),
							 name(c, p, route, sizeof(route)), verdict_word(v),
							 c->mechanism, ms, note(p, c, why, sizeof(why)) });
	}
	cli_table_print(p->cli, &t);
	cli_table_free(&t);
}

/* A line per rule: how many routes came to what. */
static void print_rules(const struct prove *p)
{
	static const char *const headings[] = { "RULE", "DENIED", "DETECTED", "OPEN", "NOT TRIED", "" };
	struct cli_table t = { .columns = 6 };

	cli_table_add(&t, headings);
	for (size_t i = 0; i <= p->n_rules; i++) {
		unsigned of = i < p->n_rules ? (unsigned)i : UINT_MAX, n[4] = { 0 }, failed = 0;
		char rule[96], text[4][16];

		for (size_t k = 0; k < p->n_cells; k++) {
			if (p->cells[k].rule != of)
				continue;
			n[prove_verdict(p, &p->cells[k])]++;
			failed += prove_failed(p, &p->cells[k]);
		}
		if (n[0] + n[1] + n[2] + n[3] == 0)
			continue;
		for (int v = 0; v < 4; v++)
			snprintf(text[v], sizeof(text[v]), "%u", n[v]);
		cli_table_add(&t, (const char *const[]){
					  of == UINT_MAX ? "hand-off" :
							   prove_rule_name(&p->rules[i], rule, sizeof(rule)),
					  text[0], text[1], text[2], text[3], failed ? "claims more" : "" });
	}
	cli_table_print(p->cli, &t);
	cli_table_free(&t);
}

void prove_print(const struct prove *p, bool brief)
{
	_cleanup_json_ json_t *n = counts(p);
	char rule[96], route[96];

	if (brief)
		print_rules(p);
	else
		print_cells(p);
	for (size_t i = 0; i < p->n_rules; i++)
		if (*p->rules[i].why) {
			printf("%-16s not tried: ", prove_rule_name(&p->rules[i], rule, sizeof(rule)));
			cli_text(p->rules[i].why);
			putchar('\n');
		}
	printf("\nmode %s: %lld denied, %lld detected, %lld open, %lld not tried; %lld rules not tried\n", p->mode,
	       (long long)cli_int(n, "denied"), (long long)cli_int(n, "detected"), (long long)cli_int(n, "open"),
	       (long long)cli_int(n, "not_tried"), (long long)cli_int(n, "rules_not_tried"));
	for (size_t i = 0; i < p->n_cells; i++)
		if (prove_failed(p, &p->cells[i])) {
			cli_printf(p->cli, CLI_RED, "%-9s", verdict_word(prove_verdict(p, &p->cells[i])));
			printf("%s by %s, which it claims to block%s\n",
			       rule_of(p, &p->cells[i], rule, sizeof(rule)),
			       name(&p->cells[i], p, route, sizeof(route)),
			       is_anothers(p, &p->cells[i]) ? ": refused, but by somebody else" : "");
		}
}

int prove_came_to(const struct prove *p)
{
	const struct prove_cell *first = NULL;
	char rule[96], route[96], why[160];
	bool failed = false;
	unsigned n = 0;

	for (size_t i = 0; i < p->n_cells; i++) {
		const struct prove_cell *c = &p->cells[i];

		failed |= prove_failed(p, c);
		if (!prove_unfinished(p, c))
			continue;
		first = first ? first : c;
		n++;
	}
	if (first)
		cli_error("%u of what rules claim was not tried to the end, first %s by %s: %s", n,
			  rule_of(p, first, rule, sizeof(rule)), name(first, p, route, sizeof(route)),
			  why_not(p, first, why, sizeof(why)));
	return failed ? CLI_FOUND : first ? CLI_FAILED : CLI_DONE;
}
