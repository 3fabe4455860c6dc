/* SPDX-License-Identifier: Apache-2.0 */
/* Mistakes of rules that load: what each rule is asked. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/proctree.h"
#include "rules/explain.h"
#include "rules/lint_priv.h"

#define RETAIN_MAX_S (UINT64_C(10) * 366 * 86400)

void lint_say(struct linting *l, enum lint_level level, unsigned line, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct lint_finding *grown = pool_array(l->pool, cap, sizeof(*grown));

		if (!grown) {
			l->failed = true;
			return;
		}
		if (l->n)
			memcpy(grown, l->found, l->n * sizeof(*grown));
		l->found = grown;
		l->cap = cap;
	}
	l->found[l->n] = (struct lint_finding){ level, l->c->rule.file, line, l->rule,
						pool_strdup(l->pool, text) };
	l->failed |= !l->found[l->n].text;
	l->n++;
}

static int by_line(const void *a, const void *b)
{
	const struct lint_finding *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return strcmp(x->text, y->text);
}

/* What two ways lead to is said once. */
static void report(struct linting *l)
{
	if (l->failed || !l->n)
		return;
	qsort(l->found, l->n, sizeof(*l->found), by_line);
	for (size_t i = 0; i < l->n; i++)
		if (!i || by_line(&l->found[i - 1], &l->found[i]) != 0)
			l->o->found(l->o->arg, &l->found[i]);
}

const char *lint_value(struct linting *l, const struct node *n, const struct value *v)
{
	const char *text = value_text(l->pool, n, v);
	bool bare = n->op == OP_PORT || field_info(n->field)->type == FIELD_TYPE_NUMBER;
	char *ret = text ? pool_alloc(l->pool, strlen(text) + 3) : NULL;

	if (!ret) {
		l->failed = true;
		return "?";
	}
	sprintf(ret, "%s%s%s", bare ? "" : "\"", text, bare ? "" : "\"");
	return ret;
}

const char *lint_comparison(struct linting *l, const struct node *n)
{
	const char *value = lint_value(l, n, &n->values[0]);
	size_t size = strlen(value) + 96;
	char *ret = pool_alloc(l->pool, size);

	if (!ret) {
		l->failed = true;
		return "?";
	}
	snprintf(ret, size, "%s %s %s%s", field_info(n->field)->name, match_word(n), value,
		 n->n > 1 ? " …" : "");
	return ret;
}

/* Of a pack it is known only on the host that it comes to. */
static bool is_own(const struct linting *l)
{
	return l->c->rule.id[0] == 'X';
}

static void check_action(struct linting *l)
{
	const struct compiled *c = l->c;
	const struct rule *r = &c->rule;

	if (r->action == VERDICT_ALLOW) {
		lint_say(l, LINT_WARNING, r->line, "its action is allow, so it never fires, and it "
			 "exempts nothing from other rules: use none_of there, or exceptions in "
			 "oknek.yaml");
		return;
	}
	if (r->action != VERDICT_BLOCK)
		return;
	if (r->kind == KIND_FILE_OPENED && c->n_paths == 0) {
		lint_say(l, LINT_WARNING, r->line,
			 "it blocks, but is only detected: %s. Each way to match must name files by "
			 "path with eq, in, glob, prefix or suffix, not under none_of", r->bound_why);
		return;
	}
	if (l->o->any_host || !*r->bound_why)
		return;
	if (r->mechanism == MECH_DETECT)
		lint_say(l, is_own(l) ? LINT_WARNING : LINT_NOTE, r->line,
			 "it blocks, but this host can only detect it: %s. Say warn, or --any-host if "
			 "it is for other hosts", r->bound_why);
	else
		lint_say(l, LINT_NOTE, r->line, "%s", r->bound_why);
}

static void check_retention(struct linting *l)
{
	const struct rule *r = &l->c->rule;
	struct rule_about *a = NULL;

	if (r->retain_s <= RETAIN_MAX_S)
		return;
	if (rule_about_parse(l->c->source, &a)) {
		l->failed = true;
		return;
	}
	lint_say(l, LINT_WARNING, r->line + (a->retain_line ? a->retain_line - a->first_line : 0),
		 "records are kept for more than ten years");
	rule_about_free(a);
}

/* ---- comparisons that no event can fulfil ---------------------------------------------------- */

/* An event of the kind that has all that an event can have. */
static struct event full_event(enum event_kind kind)
{
	static const struct tree tree = { .id = 1, .agent = "a", .root_pid = 2 };
	static const char argv[] = "sh\0-c\0a && b";
	struct event ev = {
		.kind = kind,
		.subj = { .tgid = 2, .tid = 2, .ppid = 1, .start_time_ns = 1, .uid = 1, .comm = "a",
			  .exe = "/a", .cgroup = "/a", .lineage = "a", .tree = &tree,
			  .homes = { 1, { "/a" } } },
	};

	if (kind == KIND_SOCKET_CONNECT) {
		ev.dest = (struct dest_object){ .port = 1, .host = "a", .protocol = "a" };
		ev.dest.addr[15] = 1;
	} else if (kind == KIND_EXEC_OBSERVED) {
		ev.exec = (struct exec_object){ .path = "/bin/sh", .argv = argv,
						.argv_len_bytes = sizeof(argv) };
	} else {
		ev.file = (struct file_object){ .dev = 1, .ino = 1, .n_names = 1,
						.mode = OPEN_MODE_READ };
		ev.file.names[0].path = "/a";
	}
	return ev;
}

static const char *some_category(struct match_context *ctx, unsigned name_index)
{
	(void)ctx;
	(void)name_index;
	return "a";
}

/* Asked of the evaluator itself: a field that something fills one day is no finding then. */
static bool is_ever_known(enum event_kind kind, enum field_id field)
{
	static const enum field_id computed[] = { FIELD_BASELINE_DISTANCE, FIELD_BASH_COMMAND,
						  FIELD_ARGV, FIELD_CHAIN_DEPTH };
	bool plain = true;
	struct event ev = full_event(kind);
	struct wall_clock clock = { .unix_s = 1 };
	struct match_context ctx = { .ev = &ev, .clock = &clock, .category = some_category };
	struct value none = { .text = "\1", .len_bytes = 1, .number = INT64_MIN, .addr_bits = 128 };
	struct node other = { .type = NODE_COMPARE, .n = 1, .field = field, .op = OP_NE,
			      .values = &none };

	for (size_t i = 0; i < ARRAY_SIZE(computed); i++)
		plain &= field != computed[i];
	return plain || match_event(&ctx, &other);
}

static void check_known(struct linting *l, const struct node *n)
{
	if (!is_ever_known(l->c->rule.kind, n->field))
		lint_say(l, is_own(l) ? LINT_WARNING : LINT_NOTE, n->line,
			 "nothing fills %s in this version: no comparison with it holds",
			 field_info(n->field)->name);
}

static void each_comparison(struct linting *l, const struct node *n,
			    void (*fn)(struct linting *l, const struct node *n))
{
	struct node **kids;

	if (n->type == NODE_COMPARE) {
		fn(l, n);
		return;
	}
	kids = kids_as_written(l->pool, n);
	l->failed |= !kids;
	for (size_t i = 0; kids && i < n->n; i++)
		each_comparison(l, kids[i], fn);
}

static void check_comparison(struct linting *l, const struct node *n)
{
	check_known(l, n);
	lint_values(l, n);
	lint_regex(l, n);
}

/* ---- the set --------------------------------------------------------------------------------- */

static void check_rule(struct linting *l)
{
	const struct rule *r = &l->c->rule;

	snprintf(l->rule, sizeof(l->rule), "%s%s%s", r->id, *r->part ? "/" : "", r->part);
	if (l->o->site && r->id[0] != 'X')
		lint_say(l, LINT_ERROR, r->line, "id %s is reserved for signed packs: rules of a "
			 "site begin with X, as X100", r->id);
	check_action(l);
	each_comparison(l, l->c->match, check_comparison);
	lint_logic(l);
	lint_marks(l);
	check_retention(l);
}

int rules_lint(const struct ruleset *rs, const struct lint_options *o)
{
	for (size_t i = 0; i < rs->n; i++) {
		struct linting l = { .o = o, .c = rs->rules[i], .pool = pool_new() };

		if (!l.pool)
			return -ENOMEM;
		check_rule(&l);
		report(&l);
		pool_free(l.pool);
		if (l.failed)
			return -ENOMEM;
	}
	return 0;
}
