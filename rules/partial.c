/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/partial.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/glob.h"
#include "rules/compiled.h"

enum truth { NO, MAYBE, YES };

struct asking {
	const struct ruleset *rs;
	const struct unknown *u;
	struct event ev; /* a copy, with other homes in turn */
	const struct wall_clock *clock;
	unsigned name_index;
	const char *asks; /* of the last MAYBE */
};

/* rules_decide() tells the category of an event that has one name. */
static const char *category_of(struct match_context *ctx, unsigned name_index)
{
	const char *category = NULL;
	struct event one = *ctx->ev;
	struct decision d;

	one.file.names[0] = one.file.names[name_index];
	one.file.n_names = 1;
	rules_decide(ctx->category_arg, &one, ctx->clock, &d, &category);
	return category;
}

static bool holds(const struct asking *a, const struct node *n)
{
	struct match_context ctx = { .ev = &a->ev, .clock = a->clock, .name_index = a->name_index,
				     .category = category_of, .category_arg = a->rs };

	return match_event(&ctx, n);
}

static bool asks_home(const struct node *n)
{
	for (size_t i = 0; field_info(n->field)->type == FIELD_TYPE_PATH && i < n->n; i++)
		if (n->values[i].at_home ||
		    (n->op == OP_GLOB && n->values[i].glob && glob_uses_home(n->values[i].glob)))
			return true;
	return false;
}

static enum truth doubt(struct asking *a, const char *what)
{
	a->asks = what;
	return MAYBE;
}

/* Would it hold if one of the directories above the file were a home? */
static bool would_hold_at_some_home(const struct asking *was, const struct node *n, const char *path)
{
	struct asking a = *was;
	char home[4096];
	size_t len = strlen(path);

	if (len >= sizeof(home))
		return true;
	memcpy(home, path, len + 1);
	for (size_t i = len; i > 1; i--) {
		if (home[i] != '/' && home[i] != '\0')
			continue;
		home[i] = '\0';
		a.ev.subj.homes = (struct homes){ 1, { home } };
		if (holds(&a, n))
			return true;
	}
	return false;
}

static enum truth path_compare(struct asking *a, const struct node *n)
{
	bool now = holds(a, n);
	const char *path = a->ev.subj.exe;

	if (n->field == FIELD_PATH)
		path = a->ev.file.n_names ? a->ev.file.names[a->name_index].path : NULL;
	if (!a->u->homes || !asks_home(n) || !path || !*path)
		return now ? YES : NO;
	if (n->field == FIELD_PATH && a->ev.file.names[a->name_index].home)
		return now ? YES : NO;
	/* More homes make eq truer and ne falser. */
	if (now != (n->op == OP_NE))
		return now ? YES : NO;
	return would_hold_at_some_home(a, n, path) != (n->op == OP_NE) ?
		       doubt(a, "what ~ stands for") :
		       now ? YES : NO;
}

static enum truth compare(struct asking *a, const struct node *n)
{
	enum field_type type = field_info(n->field)->type;

	if (a->u->fields >> n->field & 1)
		return doubt(a, field_info(n->field)->name);
	if (n->field == FIELD_MATCHED_CATEGORY && a->u->homes)
		return doubt(a, field_info(n->field)->name);
	if (n->field == FIELD_PROCESS_NAME && a->u->main_exe) {
		struct asking other = *a;

		other.ev.subj.main_exe = !a->ev.subj.main_exe;
		if (holds(a, n) != holds(&other, n))
			return doubt(a, field_info(n->field)->name);
	}
	if (type == FIELD_TYPE_PATH)
		return path_compare(a, n);
	return holds(a, n) ? YES : NO;
}

static enum truth ask(struct asking *a, const struct node *n)
{
	/* all_of is its weakest, any_of its strongest, none_of the opposite of that. */
	enum truth ret = n->type == NODE_ALL ? YES : NO;

	if (n->type == NODE_COMPARE)
		return compare(a, n);
	for (size_t i = 0; i < n->n; i++) {
		enum truth t = ask(a, n->kids[i]);

		if (n->type == NODE_ALL ? t < ret : t > ret)
			ret = t;
		if (ret == (n->type == NODE_ALL ? NO : YES))
			break;
	}
	return n->type == NODE_NONE ? YES - ret : ret;
}

/* Does the exceptions' answer hang on what is not known? */
static bool hangs_on_unknown(struct asking *a, const struct compiled *c)
{
	for (size_t i = 0; i < c->n_exceptions; i++) {
		for (int f = 0; f < FIELD_COUNT; f++)
			if (c->exceptions[i].must_know & a->u->fields & UINT64_C(1) << f) {
				a->asks = field_info((enum field_id)f)->name;
				return true;
			}
		if (ask(a, c->exceptions[i].none) == MAYBE)
			return true;
	}
	return false;
}

static bool excepted(const struct asking *a, const struct compiled *c, bool exe_verified)
{
	struct event ev = a->ev;
	struct match_context ctx = { .ev = &ev, .clock = a->clock, .name_index = a->name_index,
				     .category = category_of, .category_arg = a->rs };

	ev.subj.exe_verified = exe_verified;
	return rule_is_excepted(&ctx, c);
}

static enum truth fires(struct asking *a, const struct compiled *c)
{
	bool verified = a->ev.subj.exe_verified;
	enum truth t = ask(a, c->match);

	if (t == NO || !c->n_exceptions)
		return t;
	if (hangs_on_unknown(a, c))
		return MAYBE;
	if (excepted(a, c, verified))
		return NO;
	if (a->u->exe_verified && !verified && excepted(a, c, true))
		return doubt(a, "whether exe was verified");
	return t;
}

static void add(struct decision *d, const struct rule *r, unsigned name_index)
{
	unsigned at = d->n_fired;

	if (r->action > d->verdict)
		d->verdict = r->action;
	if (d->n_fired == FIRED_MAX) {
		d->n_fired_more++;
		return;
	}
	for (; at && d->fired[at - 1].verdict < r->action; at--)
		d->fired[at] = d->fired[at - 1];
	d->fired[at] = (struct fired){ r, r->action, name_index };
	d->n_fired++;
}

void rules_decide_partly(const struct ruleset *rs, const struct event *ev,
			 const struct wall_clock *clock, const struct unknown *u,
			 struct partial *ret)
{
	bool files = field_info(FIELD_PATH)->kinds >> ev->kind & 1;
	unsigned n_names = files && ev->file.n_names ? ev->file.n_names : 1;
	struct asking a = { .rs = rs, .u = u, .ev = *ev, .clock = clock };

	*ret = (struct partial){ 0 };
	for (size_t i = 0; i < rs->n; i++) {
		const struct compiled *c = rs->rules[i];
		enum truth best = NO;
		unsigned at = 0;

		if (c->rule.kind != ev->kind || c->rule.action == VERDICT_ALLOW)
			continue;
		for (unsigned k = 0; k < n_names && best < YES; k++) {
			enum truth t;

			a.name_index = k;
			t = fires(&a, c);
			at = t > best ? k : at;
			best = t > best ? t : best;
		}
		if (best == YES)
			add(&ret->sure, &c->rule, at);
		if (best == MAYBE && (!ret->doubt || c->rule.action > ret->doubt->action)) {
			ret->doubt = &c->rule;
			ret->asks = a.asks;
		}
	}
	if (ret->doubt && ret->doubt->action <= ret->sure.verdict)
		ret->doubt = NULL;
}
