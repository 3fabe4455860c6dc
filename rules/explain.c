/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which comparisons decided. The tree is walked here beside the evaluator, which is asked about
 * each comparison by itself: deciding costs nothing for it, and there is no second opinion about
 * what a comparison means.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "rules/compiled.h"
#include "rules/explain.h"

struct walk {
	const struct ruleset *rs;
	const struct compiled *c;
	struct match_context ctx;
	struct explanation *e;
	const char *file; /* of what is being explained */
	unsigned line;
};

/* ---- asking the evaluator ------------------------------------------------------------------- */

/* wanted is false below an odd number of none_of: there a regular expression that exceeds its
 * limits counts as not holding. */
static bool holds(struct walk *w, const struct node *n, bool wanted)
{
	struct node *kid = (struct node *)n;
	struct node none = { .type = NODE_NONE, .n = 1, .kids = &kid };

	return wanted ? match_event(&w->ctx, n) : !match_event(&w->ctx, &none);
}

/* The value that makes the comparison what it is; NULL: no single one does. */
static struct value *deciding_value(struct walk *w, const struct node *n, bool wanted, bool result)
{
	for (size_t k = 0; k < n->n && result == (n->op != OP_NE); k++) {
		struct node one = *n;

		one.n = 1;
		one.values = &n->values[k];
		if (holds(w, &one, wanted) == result)
			return &n->values[k];
	}
	return NULL;
}

/* ---- values and facts as text --------------------------------------------------------------- */

static const char *number_text(struct pool *p, int64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, number);
	return pool_strdup(p, text);
}

static const char *address_text(struct pool *p, const struct value *v, bool network)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool v4 = v->addr_bits >= 96 && !memcmp(v->addr, mapped, sizeof(mapped));
	char text[INET6_ADDRSTRLEN + 8];

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? v->addr + 12 : v->addr, text, sizeof(text)))
		return NULL;
	if (network)
		snprintf(text + strlen(text), 8, "/%u", v->addr_bits - (v4 ? 96 : 0));
	return pool_strdup(p, text);
}

const char *value_text(struct pool *p, const struct node *n, const struct value *v)
{
	enum field_type type = field_info(n->field)->type;
	char *text;

	if (n->op == OP_PORT || type == FIELD_TYPE_NUMBER)
		return number_text(p, v->number);
	if (type == FIELD_TYPE_ADDRESS)
		return address_text(p, v, n->op == OP_CIDR);
	if (n->op == OP_GLOB)
		return pool_strdup(p, glob_source(v->glob));
	if (!v->at_home)
		return pool_strdup(p, v->text);
	text = pool_alloc(p, v->len_bytes + 2);
	if (text) {
		text[0] = '~';
		memcpy(text + 1, v->text, v->len_bytes);
	}
	return text;
}

/* What the event has for the field; n_actual stays 0 where it is null. -ENOMEM. */
static int actual_text(struct walk *w, const struct node *n, struct reason *r)
{
	struct match_context *ctx = &w->ctx;
	const char *const *names = NULL;
	const char *category = NULL;
	struct field_value v;

	if (n->field == FIELD_PROCESS_NAME) {
		unsigned count = match_process_names(ctx, &names);

		for (unsigned i = 0; i < count && i < ARRAY_SIZE(r->actual); i++)
			r->actual[r->n_actual++] = pool_strdup(w->e->pool, names[i]);
		return count && !r->actual[r->n_actual - 1] ? -ENOMEM : 0;
	}
	if (n->field == FIELD_MATCHED_CATEGORY)
		category = ctx->category(ctx, ctx->name_index);
	if (n->field == FIELD_WALL_CLOCK && ctx->clock) {
		struct zone there = { .n = 1, .at = { { 0, ctx->clock->utc_offset_s } } };

		zone_rfc3339(&there, ctx->clock->unix_s * (int64_t)NSEC_PER_SEC, false, v.buf,
			     sizeof(v.buf));
		r->actual[0] = pool_strdup(w->e->pool, v.buf);
		r->n_actual = 1;
		return r->actual[0] ? 0 : -ENOMEM;
	}
	field_get(ctx->ev, n->op == OP_PORT ? FIELD_DEST_PORT : n->field, ctx->name_index, category,
		  ctx->clock, &v);
	if (v.null)
		return 0;
	r->actual[0] = v.is_number ? number_text(w->e->pool, v.number) :
				     pool_strdup(w->e->pool, v.string);
	r->n_actual = 1;
	return r->actual[0] ? 0 : -ENOMEM;
}

static bool names_home(const struct node *n)
{
	for (size_t i = 0; i < n->n; i++)
		if (field_info(n->field)->type == FIELD_TYPE_PATH &&
		    (n->op == OP_GLOB ? glob_uses_home(n->values[i].glob) : n->values[i].at_home))
			return true;
	return false;
}

static const char *note_for(struct walk *w, const struct node *n, const struct reason *r)
{
	const struct event *ev = w->ctx.ev;

	if (n->op == OP_MATCH && holds(w, n, true) != holds(w, n, false))
		return "the expression exceeds its limits on this value, which counts for the rule";
	if (r->n_actual == 0 && n->op == OP_NE)
		return "a field without a value is not unlike anything either";
	if (!r->result && r->n_actual && names_home(n) && ev->subj.homes.n == 0 &&
	    !(n->field == FIELD_PATH && ev->file.names[0].home))
		return "the event has no home for ~ to stand for";
	return NULL;
}

/* ---- reasons -------------------------------------------------------------------------------- */

static struct reason *reason_new(struct walk *w)
{
	struct explanation *e = w->e;

	if (!e->v)
		e->v = pool_array(e->pool, REASONS_MAX, sizeof(*e->v));
	if (!e->v || e->n == REASONS_MAX)
		return NULL;
	e->v[e->n].file = w->file;
	e->v[e->n].line = w->line;
	return &e->v[e->n];
}

static int add_comparison(struct walk *w, const struct node *n, bool wanted, bool result)
{
	const struct value *one;
	struct reason *r;
	int err;

	if (w->e->n == REASONS_MAX) {
		w->e->n_more++;
		return 0;
	}
	one = deciding_value(w, n, wanted, result);
	r = reason_new(w);
	if (!r)
		return -ENOMEM;
	r->field = field_info(n->field)->name;
	r->op = match_word(n);
	r->line = n->line;
	r->result = result;
	r->number = n->op == OP_PORT || field_info(n->field)->type == FIELD_TYPE_NUMBER;
	for (size_t i = 0; i < (one ? 1 : n->n); i++) {
		if (r->n_values == REASON_VALUES_MAX) {
			r->n_values_more = (unsigned)(n->n - i);
			break;
		}
		r->values[r->n_values] = value_text(w->e->pool, n, one ? one : &n->values[i]);
		if (!r->values[r->n_values++])
			return -ENOMEM;
	}
	err = actual_text(w, n, r);
	if (err)
		return err;
	r->note = note_for(w, n, r);
	w->e->n++;
	return 0;
}

/* A reason that is no comparison: the rule is of another kind, or allows. */
static int add_plain(struct walk *w, const char *field, const char *value, const char *actual,
		     const char *note)
{
	struct reason *r = reason_new(w);

	if (!r)
		return -ENOMEM;
	r->field = field;
	r->op = "eq";
	r->n_values = 1;
	r->values[0] = value;
	r->n_actual = 1;
	r->actual[0] = actual;
	r->note = note;
	w->e->n++;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;

	return (x->nth > y->nth) - (x->nth < y->nth);
}

/* The kids as they are written, not as they are tried. NULL: no memory. */
struct node **kids_as_written(struct pool *p, const struct node *n)
{
	struct node **kids = pool_array(p, n->n ? n->n : 1, sizeof(*kids));

	if (kids && n->n) {
		memcpy(kids, n->kids, n->n * sizeof(*kids));
		qsort(kids, n->n, sizeof(*kids), by_place);
	}
	return kids;
}

/* Why n is `result`: one kid that settles it, or all of them where all were needed. */
static int explain(struct walk *w, const struct node *n, bool wanted, bool result)
{
	bool kid_wanted = n->type == NODE_NONE ? !wanted : wanted;
	/* what the kids are when each of them was needed for the result */
	bool all_are = n->type == NODE_ALL;
	bool settled = n->type == NODE_NONE ? result : result == all_are;
	struct node **kids;
	int err = 0;

	if (n->type == NODE_COMPARE)
		return add_comparison(w, n, wanted, result);
	kids = kids_as_written(w->e->pool, n);
	if (!kids)
		return -ENOMEM;
	for (size_t i = 0; i < n->n && !err; i++) {
		if (settled)
			err = explain(w, kids[i], kid_wanted, all_are);
		else if (holds(w, kids[i], kid_wanted) != all_are)
			return explain(w, kids[i], kid_wanted, !all_are);
	}
	return err;
}

/* ---- the event under each of its names ------------------------------------------------------ */

static bool has_names(enum event_kind kind)
{
	return field_info(FIELD_PATH)->kinds >> kind & 1;
}

/* rules_decide() tells the category of an event; here the event has but one name. */
static const char *category_of(struct match_context *ctx, unsigned name_index)
{
	const struct ruleset *rs = ctx->category_arg;
	const char *category = NULL;
	struct decision d;

	(void)name_index;
	if (!(ctx->category_known & 1)) {
		rules_decide(rs, ctx->ev, ctx->clock, &d, &category);
		ctx->categories[0] = category;
		ctx->category_known |= 1;
	}
	return ctx->categories[0];
}

/* The exception that lets the event go under the name in hand; NULL: none does. */
static const struct exception *exception_for(struct walk *w)
{
	struct compiled one = *w->c;

	one.n_exceptions = 1;
	for (size_t k = 0; k < w->c->n_exceptions; k++) {
		one.exceptions = &w->c->exceptions[k];
		if (rule_is_excepted(&w->ctx, &one))
			return one.exceptions;
	}
	return NULL;
}

static int explain_exception(struct walk *w, const struct exception *x)
{
	int err;

	w->file = x->told->file;
	w->line = x->told->line;
	err = add_plain(w, "exception", x->told->reason, x->told->author, NULL);
	w->ctx.excepting = true;
	for (size_t i = 0; i < x->none->n && !err; i++)
		if (holds(w, x->none->kids[i], false))
			return explain(w, x->none->kids[i], false, true);
	return err;
}

static int explain_name(struct walk *w)
{
	const struct exception *x = NULL;
	bool matches = match_event(&w->ctx, w->c->match);

	if (matches)
		x = exception_for(w);
	w->e->fired = matches && !x;
	w->e->excepted |= x != NULL;
	/* what kept the other names from it is of interest only if no name fires */
	if (w->e->fired) {
		w->e->n = w->e->n_more = 0;
		w->e->excepted = false;
	}
	if (x)
		return explain_exception(w, x);
	w->file = w->c->rule.file;
	w->line = w->c->rule.line;
	return explain(w, w->c->match, true, matches);
}

static int explain_rule(struct walk *w)
{
	const struct event *ev = w->ctx.ev;
	unsigned n_names = 1;
	struct event one;

	if (w->c->rule.kind != ev->kind)
		return add_plain(w, "kind", event_kind_name(w->c->rule.kind),
				 event_kind_name(ev->kind), NULL);
	if (w->c->rule.action == VERDICT_ALLOW)
		return add_plain(w, "action", "block or warn", "allow",
				 "a rule with the action allow is never asked");
	if (has_names(ev->kind) && ev->file.n_names > 1)
		n_names = ev->file.n_names < FILE_NAMES_MAX ? ev->file.n_names : FILE_NAMES_MAX;
	for (unsigned i = 0; i < n_names && !w->e->fired; i++) {
		one = *ev;
		if (n_names > 1) {
			one.file.names[0] = ev->file.names[i];
			one.file.n_names = 1;
		}
		w->ctx = (struct match_context){ .ev = &one, .clock = w->ctx.clock,
						 .category = category_of,
						 .category_arg = w->rs };
		if (explain_name(w))
			return -ENOMEM;
	}
	return 0;
}

int rules_explain_event(const struct ruleset *rs, size_t i, const struct event *ev,
			const struct wall_clock *clock, struct explanation *ret)
{
	struct explanation e = { .pool = pool_new() };
	const struct compiled *c = rs->rules[i];
	struct walk w = { .rs = rs, .c = c, .ctx = { .ev = ev, .clock = clock }, .e = &e,
			  .file = c->rule.file, .line = c->rule.line };
	int err = e.pool ? explain_rule(&w) : -ENOMEM;

	if (err) {
		pool_free(e.pool);
		return err;
	}
	*ret = e;
	return 0;
}

void explanation_free(struct explanation *e)
{
	pool_free(e->pool);
	*e = (struct explanation){ 0 };
}
