/* SPDX-License-Identifier: Apache-2.0 */
/* What would change, counted and grouped as it comes: bounded, however many events there are. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli_replay.h"

#define GROUPS_MAX 16384
#define SLOTS (2 * GROUPS_MAX) /* a power of two */
#define SHOWN 10               /* of each change; --all shows all */
#define OBJECT_MAX 512

struct group {
	enum replay_change change;
	uint64_t n;
	uint64_t hash;
	char *rule, *object, *exe;
};

struct replay_report {
	const struct cli *cli;
	bool all;
	uint64_t count[CHANGE_COUNT], ungrouped[CHANGE_COUNT];
	uint64_t softened; /* blocked before, only warned of after */
	uint64_t verdicts[3]; /* where there is nothing to compare with */
	uint64_t events;
	struct group *groups;
	unsigned n_groups;
	uint32_t slots[SLOTS]; /* index of a group + 1 */
};

static const char *const change_keys[CHANGE_COUNT] = {
	"newly_blocked", "newly_warned", "newly_allowed", "unchanged", "cannot_tell", "decided",
};

static const struct {
	enum replay_change change;
	const char *text;
	enum cli_colour colour;
} shown[] = {
	{ CHANGE_BLOCKED, "newly blocked", CLI_RED },
	{ CHANGE_WARNED, "newly warned", CLI_YELLOW },
	{ CHANGE_ALLOWED, "newly allowed", CLI_GREEN },
	{ CHANGE_UNTOLD, "cannot tell", CLI_DIM },
};

struct replay_report *replay_report_new(const struct cli *cli, bool all)
{
	struct replay_report *r = calloc(1, sizeof(*r));

	if (!r || !(r->groups = calloc(GROUPS_MAX, sizeof(*r->groups))))
		abort();
	r->cli = cli;
	r->all = all;
	return r;
}

void replay_report_free(struct replay_report *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < r->n_groups; i++) {
		free(r->groups[i].rule);
		free(r->groups[i].object);
		free(r->groups[i].exe);
	}
	free(r->groups);
	free(r);
}

uint64_t replay_report_count(const struct replay_report *r, enum replay_change c)
{
	return r->count[c];
}

/* ---- groups --------------------------------------------------------------------------------- */

static void put_object(const struct event *ev, char buf[OBJECT_MAX])
{
	size_t n = 0;

	*buf = '\0';
	switch (ev->kind) {
	case KIND_FILE_OPENED:
	case KIND_FILE_CHANGED:
	case KIND_FILE_SCANNED:
		if (ev->file.n_names)
			snprintf(buf, OBJECT_MAX, "%s", ev->file.names[0].path);
		break;
	case KIND_EXEC_OBSERVED:
		n = field_argv(&ev->exec, buf, OBJECT_MAX);
		if (!n && ev->exec.path)
			snprintf(buf, OBJECT_MAX, "%s", ev->exec.path);
		break;
	case KIND_SOCKET_CONNECT: {
		struct field_value ip;

		field_get(ev, FIELD_DEST_IP, 0, NULL, NULL, &ip);
		snprintf(buf, OBJECT_MAX, "%s:%u", ev->dest.host && *ev->dest.host ? ev->dest.host :
			 ip.null ? "" : ip.string, ev->dest.port);
		break;
	}
	default:
		break;
	}
	if (!*buf)
		snprintf(buf, OBJECT_MAX, "%s", event_kind_name(ev->kind));
}

static uint64_t hash_of(enum replay_change c, const char *a, const char *b, const char *d)
{
	const char *const parts[] = { a, b, d };
	uint64_t h = 0xcbf29ce484222325ULL ^ c; /* FNV-1a */

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		for (const char *p = parts[i]; *p; p++)
			h = (h ^ (unsigned char)*p) * 0x100000001b3ULL;
		h = (h ^ 0xff) * 0x100000001b3ULL;
	}
	return h;
}

static void count_group(struct replay_report *r, enum replay_change c, const char *rule,
			const char *object, const char *exe)
{
	uint64_t hash = hash_of(c, rule, object, exe);
	uint32_t at = (uint32_t)hash & (SLOTS - 1);
	struct group *g;

	for (; r->slots[at]; at = (at + 1) & (SLOTS - 1)) {
		g = &r->groups[r->slots[at] - 1];
		if (g->hash == hash && g->change == c && !strcmp(g->rule, rule) &&
		    !strcmp(g->object, object) && !strcmp(g->exe, exe)) {
			g->n++;
			return;
		}
	}
	if (r->n_groups == GROUPS_MAX) {
		r->ungrouped[c]++;
		return;
	}
	g = &r->groups[r->n_groups++];
	*g = (struct group){ c, 1, hash, strdup(rule), strdup(object), strdup(exe) };
	if (!g->rule || !g->object || !g->exe)
		abort();
	r->slots[at] = r->n_groups;
}

/* ---- one event ------------------------------------------------------------------------------ */

static json_t *rules_json(const struct replay_side *s)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < s->n_rules; i++)
		json_array_append_new(list, json_string(s->rules[i]) ?: json_string("?"));
	if (s->n_more)
		json_array_append_new(list, json_sprintf("+%u", s->n_more));
	return list;
}

static int print_json(struct replay_report *r, const struct replay_event *e,
		      const struct replay_result *res)
{
	_cleanup_json_ json_t *j = json_pack(
		"{s:s,s:o,s:o,s:o,s:o}", "change", change_keys[res->change], "before",
		res->before.known ? json_string(verdict_name(res->before.verdict)) : json_null(),
		"after",
		res->after.known ? json_string(verdict_name(res->after.verdict)) : json_null(),
		"rules_before", rules_json(&res->before), "rules_after", rules_json(&res->after));
	_cleanup_free_ char *rest = NULL, *line = NULL;

	if (e->seq)
		json_object_set_new(j, "seq", json_integer((json_int_t)e->seq));
	if (res->change == CHANGE_UNTOLD)
		json_object_set_new(j, "why", json_string(res->why) ?: json_string("?"));
	rest = json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER);
	/* The event is passed on as it came. */
	if (!rest || asprintf(&line, "{\"event\":%.*s,%s", (int)e->len_bytes, e->text, rest + 1) < 0)
		abort();
	return cli_json_line(r->cli, j, line);
}

int replay_report_add(struct replay_report *r, const struct replay_event *e,
		      const struct replay_result *res)
{
	enum replay_change c = res->change;
	const struct replay_side *by = c == CHANGE_ALLOWED ? &res->before : &res->after;
	char object[OBJECT_MAX];

	r->events++;
	r->count[c]++;
	if (c == CHANGE_NOTHING)
		r->verdicts[res->after.verdict]++;
	if (c == CHANGE_ALLOWED && res->after.verdict == VERDICT_WARN)
		r->softened++;
	if (c == CHANGE_NONE || (c == CHANGE_NOTHING && res->after.verdict == VERDICT_ALLOW))
		return 0;
	if (r->cli->json)
		return print_json(r, e, res);
	if (c == CHANGE_UNTOLD) {
		count_group(r, c, res->why, "", "");
		return 0;
	}
	put_object(&e->line->ev, object);
	count_group(r, c, by->n_rules ? by->rules[0] : "-", object,
		    e->line->ev.subj.exe ? e->line->ev.subj.exe : "");
	return 0;
}

/* ---- the end -------------------------------------------------------------------------------- */

static int most_first(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->n != y->n)
		return x->n < y->n ? 1 : -1;
	return strcmp(x->rule, y->rule) ?: strcmp(x->object, y->object) ?: strcmp(x->exe, y->exe);
}

static void print_groups(const struct replay_report *r, enum replay_change c)
{
	struct cli_table t = { .columns = 4 };
	uint64_t left = r->ungrouped[c];
	unsigned n = 0;

	cli_table_add(&t, (const char *[]){ "  TIMES", c == CHANGE_UNTOLD ? "WHY" : "RULE",
					    c == CHANGE_UNTOLD ? "" : "WHAT",
					    c == CHANGE_UNTOLD ? "" : "BY" });
	for (unsigned i = 0; i < r->n_groups; i++) {
		const struct group *g = &r->groups[i];
		char times[32];

		if (g->change != c)
			continue;
		if (!r->all && n == SHOWN) {
			left += g->n;
			continue;
		}
		n++;
		snprintf(times, sizeof(times), "  %llu", (unsigned long long)g->n);
		cli_table_add(&t, (const char *[]){ times, g->rule, g->object, g->exe });
	}
	cli_table_print(r->cli, &t);
	cli_table_free(&t);
	if (left)
		printf("  %llu more%s\n", (unsigned long long)left, r->all ? "" : "; --all shows them");
}

static void print_summary(struct replay_report *r, const struct replay_words *w)
{
	_cleanup_json_ json_t *j = json_object();
	json_t *notes = json_array();

	for (int c = 0; c < CHANGE_NOTHING; c++)
		json_object_set_new(j, change_keys[c], json_integer((json_int_t)r->count[c]));
	json_object_set_new(j, "not_compared", json_integer((json_int_t)r->count[CHANGE_NOTHING]));
	json_object_set_new(j, "now_only_warned", json_integer((json_int_t)r->softened));
	json_object_set_new(j, "events", json_integer((json_int_t)r->events));
	json_object_set_new(j, "bad_lines", json_integer((json_int_t)w->bad));
	json_object_set_new(j, "basis", json_string(w->basis));
	for (unsigned i = 0; w->notes[i]; i++)
		json_array_append_new(notes, json_string(w->notes[i]) ?: json_string("?"));
	json_object_set_new(j, "notes", notes);
	cli_json_line(r->cli, j, NULL);
}

void replay_report_end(struct replay_report *r, const struct replay_words *w)
{
	if (r->cli->json) {
		print_summary(r, w);
		return;
	}
	qsort(r->groups, r->n_groups, sizeof(*r->groups), most_first);
	cli_field(r->cli, "replayed", "%llu %s: %s", (unsigned long long)r->events,
		  cli_plural((int64_t)r->events, "event", "events"), w->events);
	cli_field(r->cli, "before", "%s", w->before);
	cli_field(r->cli, "after", "%s", w->after);
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		enum replay_change c = shown[i].change;

		if (c == CHANGE_UNTOLD)
			printf("%-14s %llu\n", "unchanged", (unsigned long long)r->count[CHANGE_NONE]);
		if (r->count[c])
			cli_printf(r->cli, shown[i].colour, "%-14s", shown[i].text);
		else
			printf("%-14s", shown[i].text);
		printf(" %llu", (unsigned long long)r->count[c]);
		if (c == CHANGE_ALLOWED && r->softened)
			printf(" (%llu only warned of now)", (unsigned long long)r->softened);
		putchar('\n');
		if (r->count[c])
			print_groups(r, c);
	}
	if (r->count[CHANGE_NOTHING]) {
		printf("%-14s %llu: %llu block, %llu warn, %llu allow\n", "not compared",
		       (unsigned long long)r->count[CHANGE_NOTHING],
		       (unsigned long long)r->verdicts[VERDICT_BLOCK],
		       (unsigned long long)r->verdicts[VERDICT_WARN],
		       (unsigned long long)r->verdicts[VERDICT_ALLOW]);
		print_groups(r, CHANGE_NOTHING);
	}
	for (unsigned i = 0; w->notes[i]; i++)
		cli_field(r->cli, "note", "%s", w->notes[i]);
}
