/* SPDX-License-Identifier: Apache-2.0 */
/* The decision about one event. Pure: no allocation, no system call, no state. */
#include "core/cleanup.h"
#include "rules/compiled.h"

#include <string.h>

#define BITS 64
#define SET_WORDS (RULES_MAX / BITS)

struct deciding {
	const struct ruleset *rs;
	struct match_context *ctx;
	struct decision *d;
	size_t words; /* of the sets, in use */
	uint64_t tried[SET_WORDS]; /* under the present name */
	uint64_t fired[SET_WORDS];
};

static bool test_and_set(uint64_t *set, uint32_t i)
{
	uint64_t bit = UINT64_C(1) << (i % BITS);
	bool was = set[i / BITS] & bit;

	set[i / BITS] |= bit;
	return was;
}

static bool has_names(enum event_kind kind)
{
	return field_info(FIELD_PATH)->kinds >> kind & 1;
}

static const char *path_of(const struct event *ev, unsigned name_index)
{
	if (!has_names(ev->kind) || name_index >= ev->file.n_names)
		return NULL;
	return ev->file.names[name_index].path;
}

/* Strongest first, then in the order of the set; the weakest is what does not fit. */
static void fire(struct decision *d, const struct rule *r, unsigned name_index)
{
	unsigned at = d->n_fired;

	if (r->action > d->verdict)
		d->verdict = r->action;
	while (at > 0) {
		const struct fired *f = &d->fired[at - 1];

		if (f->verdict > r->action)
			break;
		if (f->verdict == r->action && rule_order(f->rule, r) < 0)
			break;
		at--;
	}
	if (d->n_fired == FIRED_MAX)
		d->n_fired_more++;
	else
		d->n_fired++;
	if (at >= FIRED_MAX)
		return;
	memmove(&d->fired[at + 1], &d->fired[at],
		(d->n_fired - at - 1) * sizeof(d->fired[0]));
	d->fired[at] = (struct fired){ .rule = r, .verdict = r->action, .name_index = name_index };
}

/* Once, under however many names. */
static void except(struct decision *d, const struct rule *r)
{
	for (unsigned i = 0; i < d->n_excepted; i++)
		if (d->excepted[i] == r)
			return;
	if (d->n_excepted < EXCEPTED_MAX)
		d->excepted[d->n_excepted++] = r;
}

/* It fires under another name after all. */
static void except_no_more(struct decision *d, const struct rule *r)
{
	for (unsigned i = 0; i < d->n_excepted; i++)
		if (d->excepted[i] == r) {
			d->excepted[i] = d->excepted[--d->n_excepted];
			return;
		}
}

static void try_rules(void *arg, const uint32_t *rules, size_t n)
{
	struct deciding *g = arg;

	for (size_t i = 0; i < n; i++) {
		const struct compiled *c = g->rs->rules[rules[i]];

		if (c->rule.action == VERDICT_ALLOW || test_and_set(g->tried, rules[i]) ||
		    g->fired[rules[i] / BITS] >> (rules[i] % BITS) & 1)
			continue;
		if (!match_event(g->ctx, c->match))
			continue;
		if (rule_is_excepted(g->ctx, c)) {
			except(g->d, &c->rule);
			continue;
		}
		except_no_more(g->d, &c->rule);
		test_and_set(g->fired, rules[i]);
		fire(g->d, &c->rule, g->ctx->name_index);
	}
}

struct naming {
	const struct ruleset *rs;
	struct match_context ctx;
	uint32_t best;
};

static void try_category(void *arg, const uint32_t *rules, size_t n)
{
	struct naming *g = arg;

	for (size_t i = 0; i < n; i++) {
		const struct compiled *c = g->rs->rules[rules[i]];

		if (rules[i] < g->best && c->n_paths && !strcmp(c->rule.id, "R3") &&
		    match_event(&g->ctx, c->match))
			g->best = rules[i];
	}
}

/* The part of the first R3 rule whose paths name this file, whoever opens it, whenever. */
static const char *category_of(struct match_context *ctx, unsigned name_index)
{
	const struct ruleset *rs = ctx->category_arg;
	const char *path = path_of(ctx->ev, name_index);
	struct naming g;

	if (ctx->category_known >> name_index & 1)
		return ctx->categories[name_index];
	ctx->category_known |= 1u << name_index;
	if (!path || ctx->ev->kind != KIND_FILE_OPENED || !rs->index[KIND_FILE_OPENED])
		return NULL;
	g.rs = rs;
	g.best = UINT32_MAX;
	g.ctx = (struct match_context){ .ev = ctx->ev, .name_index = name_index, .paths_only = true };
	index_lookup(rs->index[KIND_FILE_OPENED], NULL, path, NULL, 0, try_category, &g);
	if (g.best != UINT32_MAX && *rs->rules[g.best]->rule.part)
		ctx->categories[name_index] = rs->rules[g.best]->rule.part;
	return ctx->categories[name_index];
}

static const char *category_told(struct match_context *ctx, const struct decision *d,
				 unsigned n_names)
{
	const char *ret = NULL;

	if (d->n_fired)
		ret = category_of(ctx, d->fired[0].name_index);
	for (unsigned i = 0; i < n_names && !ret; i++)
		ret = category_of(ctx, i);
	return ret;
}

void rules_decide(const struct ruleset *rs, const struct event *ev,
		  const struct wall_clock *clock, struct decision *ret, const char **category)
{
	struct match_context ctx = { .ev = ev, .clock = clock, .category = category_of,
				     .category_arg = rs };
	const char *const *process_names = NULL;
	unsigned n_names = 1, n_process_names;
	struct deciding g;

	memset(ret, 0, sizeof(*ret));
	if (category)
		*category = NULL;
	if ((unsigned)ev->kind >= KIND_COUNT || !rs->index[ev->kind])
		return;
	if (has_names(ev->kind) && ev->file.n_names > 1)
		n_names = ev->file.n_names < FILE_NAMES_MAX ? ev->file.n_names : FILE_NAMES_MAX;

	g.rs = rs;
	g.ctx = &ctx;
	g.d = ret;
	g.words = (rs->n + BITS - 1) / BITS;
	memset(g.fired, 0, g.words * sizeof(g.fired[0]));
	n_process_names = match_process_names(&ctx, &process_names);
	for (unsigned i = 0; i < n_names; i++) {
		ctx.name_index = i;
		memset(g.tried, 0, g.words * sizeof(g.tried[0]));
		index_lookup(rs->index[ev->kind], ev, path_of(ev, i), process_names,
			     n_process_names, try_rules, &g);
	}
	if (category && ev->kind == KIND_FILE_OPENED)
		*category = category_told(&ctx, ret, n_names);
}
