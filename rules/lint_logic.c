/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparisons that exclude each other. What must hold together is gathered on the way down: the
 * items of all_of, and the opposite of those of none_of. Only what is certain is said: where a
 * field has two values at once, or `~` may be any directory, nothing is.
 */
#include <string.h>

#include "core/agent.h"
#include "core/cleanup.h"
#include "rules/lint_priv.h"

#define FACTS_MAX 128
#define NUMBERS_TRIED 4096
#define TEXT_MAX 4096

struct fact {
	const struct node *n;
	bool negated;
};

struct facts {
	unsigned n;
	struct fact v[FACTS_MAX];
};

/* ---- numbers --------------------------------------------------------------------------------- */

static bool number_fits(const struct fact *facts, size_t n, enum field_id key, int64_t number)
{
	for (size_t i = 0; i < n; i++)
		if (lint_key(facts[i].n) == key &&
		    lint_number_holds(facts[i].n, number) == facts[i].negated)
			return false;
	return true;
}

/* Is there a number that all of the facts about the field let through? */
static bool numbers_left(const struct fact *facts, size_t n, enum field_id key)
{
	int64_t lo, hi;

	if (!lint_range(key, &lo, &hi))
		return true;
	for (size_t i = 0; i < n; i++) {
		const struct node *c = facts[i].n;

		if (lint_key(c) != key || facts[i].negated)
			continue;
		if (c->op == OP_EQ || c->op == OP_PORT) {
			for (size_t k = 0; k < c->n; k++)
				if (number_fits(facts, n, key, c->values[k].number))
					return true;
			return false;
		}
	}
	/* where the orderings let a change happen: at the literals and one beside them */
	if (hi - lo < NUMBERS_TRIED) {
		for (int64_t i = lo; i <= hi; i++)
			if (number_fits(facts, n, key, i))
				return true;
		return false;
	}
	if (number_fits(facts, n, key, lo) || number_fits(facts, n, key, hi))
		return true;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; lint_key(facts[i].n) == key && k < facts[i].n->n; k++)
			for (int64_t d = -1; d <= 1; d++) {
				int64_t v = facts[i].n->values[k].number;

				if (v > lo && v < hi && number_fits(facts, n, key, v + d))
					return true;
			}
	return false;
}

/* ---- texts and addresses --------------------------------------------------------------------- */

static bool is_agent_name(const char *name)
{
	size_t n;
	const struct agent *table = agent_table(&n);

	for (size_t i = 0; i < n; i++)
		if (table[i].process_name && !strcmp(table[i].process_name, name))
			return true;
	return false;
}

/* Of a directory: all up to the last slash. */
static bool below_fits(const struct glob *g, const char *prefix)
{
	char dir[TEXT_MAX];
	const char *slash = strrchr(prefix, '/');
	size_t len = slash ? (size_t)(slash - prefix) : 0;

	if (glob_uses_home(g) || len == 0 || len >= sizeof(dir))
		return true;
	memcpy(dir, prefix, len);
	dir[len] = '\0';
	return glob_reach(g, dir, LINT_HOME) != GLOB_NONE;
}

static bool ends_agree(const struct value *a, const struct value *b, bool suffix)
{
	size_t n = a->len_bytes < b->len_bytes ? a->len_bytes : b->len_bytes;

	return suffix ? !memcmp(a->text + a->len_bytes - n, b->text + b->len_bytes - n, n) :
			!memcmp(a->text, b->text, n);
}

/* May one text fulfil both? False only if it certainly cannot. */
static bool texts_agree(const struct node *x, const struct value *a, const struct node *y,
			const struct value *b)
{
	char text[TEXT_MAX];

	if ((x->op == OP_EQ || x->op == OP_GLOB) && lint_literal(x, a, text, sizeof(text)))
		return lint_text_holds(y, b, text) != LINT_NO;
	if ((y->op == OP_EQ || y->op == OP_GLOB) && lint_literal(y, b, text, sizeof(text)))
		return lint_text_holds(x, a, text) != LINT_NO;
	if (x->op == y->op && (x->op == OP_PREFIX || x->op == OP_SUFFIX))
		return a->at_home != b->at_home || ends_agree(a, b, x->op == OP_SUFFIX);
	if (field_info(x->field)->type != FIELD_TYPE_PATH)
		return true;
	if (x->op == OP_PREFIX && y->op == OP_GLOB && !a->at_home)
		return below_fits(b->glob, a->text);
	if (y->op == OP_PREFIX && x->op == OP_GLOB && !b->at_home)
		return below_fits(a->glob, b->text);
	return true;
}

static bool values_agree(const struct node *x, const struct value *a, const struct node *y,
			 const struct value *b)
{
	if (field_info(x->field)->type == FIELD_TYPE_ADDRESS)
		return lint_covers(x, a, y, b) || lint_covers(y, b, x, a);
	if (x->field != FIELD_PROCESS_NAME)
		return texts_agree(x, a, y, b);
	/* an agent's main process has two names */
	return x->op != OP_EQ || y->op != OP_EQ || !strcmp(a->text, b->text) ||
	       is_agent_name(a->text) || is_agent_name(b->text);
}

static bool agree(const struct node *x, const struct node *y)
{
	struct node eq;

	if (x->op == OP_NE && y->op == OP_NE)
		return true;
	if (x->op == OP_NE || y->op == OP_NE) {
		eq = x->op == OP_NE ? *x : *y;
		eq.op = OP_EQ;
		return !lint_node_covers(&eq, x->op == OP_NE ? y : x);
	}
	for (size_t i = 0; i < x->n; i++)
		for (size_t k = 0; k < y->n; k++)
			if (values_agree(x, &x->values[i], y, &y->values[k]))
				return true;
	return false;
}

/* ---- facts ----------------------------------------------------------------------------------- */

static bool is_number(const struct node *n)
{
	return field_info(lint_key(n))->type == FIELD_TYPE_NUMBER;
}

/* x and y are never both so. */
static bool exclude(const struct fact *x, const struct fact *y)
{
	const struct fact both[] = { *x, *y };

	if (lint_key(x->n) != lint_key(y->n) || (x->negated && y->negated))
		return false;
	if (field_info(x->n->field)->type == FIELD_TYPE_TIME)
		return false;
	/* a number can be looked for; alone each of them has some, or that was said */
	if (is_number(x->n))
		return numbers_left(x, 1, lint_key(x->n)) && numbers_left(y, 1, lint_key(y->n)) &&
		       !numbers_left(both, 2, lint_key(x->n));
	if (!x->negated && !y->negated)
		return agree(x->n, y->n) == false;
	return x->negated ? lint_node_covers(x->n, y->n) : lint_node_covers(y->n, x->n);
}

/* Values of a comparison that a none_of beside it takes out one by one. */
static void check_taken_out(struct linting *l, const struct facts *f, const struct node *n)
{
	char text[TEXT_MAX];

	if (field_info(n->field)->type == FIELD_TYPE_TIME)
		return;
	for (size_t k = 0; k < n->n && n->op != OP_NE && !is_number(n) && n->n > 1; k++)
		for (unsigned i = 0; i < f->n; i++) {
			const struct node *out = f->v[i].n;
			bool found = false;

			if (!f->v[i].negated || lint_key(out) != lint_key(n))
				continue;
			for (size_t v = 0; v < out->n && !found; v++)
				found = (field_info(n->field)->type == FIELD_TYPE_ADDRESS ||
					 lint_literal(n, &n->values[k], text, sizeof(text))) &&
					lint_covers(out, &out->values[v], n, &n->values[k]);
			if (found) {
				lint_say(l, LINT_WARNING, n->line, "%s never matters: none_of takes "
					 "it out by %s (line %u)", lint_value(l, n, &n->values[k]),
					 lint_comparison(l, out), out->line);
				break;
			}
		}
}

static void add(struct linting *l, struct facts *f, const struct node *n, bool negated)
{
	const struct fact one = { n, negated };

	for (unsigned i = 0; i < f->n; i++) {
		const struct fact *other = &f->v[i];

		if (!exclude(other, &one))
			continue;
		if (negated)
			lint_say(l, LINT_WARNING, n->line, "none_of takes out all that %s (line %u) "
				 "lets in: it never fires", lint_comparison(l, other->n),
				 other->n->line);
		else
			lint_say(l, LINT_WARNING, n->line, "%s never holds %s %s (line %u)",
				 lint_comparison(l, n), other->negated ? "here: none_of takes it out by" :
								       "together with",
				 lint_comparison(l, other->n), other->n->line);
		return;
	}
	if (f->n == FACTS_MAX)
		return;
	f->v[f->n++] = one;
	for (unsigned i = 0; i < f->n; i++)
		if (!f->v[i].negated && (negated ? lint_key(f->v[i].n) == lint_key(n) :
						   f->v[i].n == n))
			check_taken_out(l, f, f->v[i].n);
	if (is_number(n) && numbers_left(&one, 1, lint_key(n)) &&
	    !numbers_left(f->v, f->n, lint_key(n)) && numbers_left(f->v, f->n - 1, lint_key(n))) {
		lint_say(l, LINT_WARNING, n->line, "%s never holds together with the other "
			 "comparisons of %s", lint_comparison(l, n), field_info(lint_key(n))->name);
		f->n--;
	}
}

/* What must hold, or must not, wherever n holds. Twice: what none_of excludes counts for items
 * written before it. */
static void gather(struct linting *l, const struct node *n, struct facts *f, bool negated)
{
	struct node **kids;

	if (n->type == NODE_COMPARE) {
		if (!negated)
			add(l, f, n, false);
		return;
	}
	if (n->type == NODE_ANY || !(kids = kids_as_written(l->pool, n))) {
		l->failed |= n->type != NODE_ANY;
		return;
	}
	for (size_t i = 0; i < n->n; i++) {
		if (n->type == NODE_ALL)
			gather(l, kids[i], f, negated);
		else if (negated && kids[i]->type == NODE_COMPARE)
			add(l, f, kids[i], true);
		for (size_t k = 0; n->type == NODE_NONE && negated && kids[i]->type == NODE_ANY &&
				   k < kids[i]->n; k++)
			if (kids[i]->kids[k]->type == NODE_COMPARE)
				add(l, f, kids[i]->kids[k], true);
	}
}

static void look(struct linting *l, const struct node *n, struct facts *f);

/* A way to match by itself, within what holds around it. */
static void branch(struct linting *l, const struct node *n, struct facts *f)
{
	unsigned before = f->n;

	gather(l, n, f, false);
	gather(l, n, f, true);
	look(l, n, f);
	f->n = before;
}

static void look(struct linting *l, const struct node *n, struct facts *f)
{
	struct node **kids;

	if (n->type == NODE_COMPARE)
		return;
	lint_siblings(l, n);
	kids = kids_as_written(l->pool, n);
	if (!kids) {
		l->failed = true;
		return;
	}
	for (size_t i = 0; i < n->n; i++) {
		if (n->type == NODE_ALL) {
			look(l, kids[i], f);
		} else if (n->type == NODE_ANY) {
			branch(l, kids[i], f);
		} else if (kids[i]->type != NODE_COMPARE) {
			struct facts *fresh = pool_alloc(l->pool, sizeof(*fresh));

			l->failed |= !fresh;
			if (fresh)
				branch(l, kids[i], fresh);
		}
	}
}

void lint_logic(struct linting *l)
{
	struct facts *f = pool_alloc(l->pool, sizeof(*f));

	if (!f) {
		l->failed = true;
		return;
	}
	branch(l, l->c->match, f);
}
