/* SPDX-License-Identifier: Apache-2.0 */
/* What one comparison takes that another takes already. */
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/lint_priv.h"

#define TEXT_MAX 4096
#define SIBLINGS_MAX 512 /* each is held against each */

/* The values of one field; a port is asked of an address. */
enum field_id lint_key(const struct node *n)
{
	return n->op == OP_PORT ? FIELD_DEST_PORT : n->field;
}

bool lint_literal(const struct node *n, const struct value *v, char *buf, size_t size)
{
	const char *s = n->op == OP_GLOB ? glob_source(v->glob) : v->text;
	bool is_path = field_info(n->field)->type == FIELD_TYPE_PATH, home = false;
	int len;

	if (n->op == OP_GLOB) {
		if (s[strcspn(s, "*?[{\\")])
			return false;
		home = is_path && s[0] == '~';
		if (is_path && !home && s[0] != '/')
			return false; /* it is looked for at any depth */
		s += home;
	}
	len = snprintf(buf, size, "%s%s", home || (n->op != OP_GLOB && v->at_home) ? LINT_HOME : "",
		       s);
	return len >= 0 && (size_t)len < size;
}

/* ---- one value and another ------------------------------------------------------------------ */

/* y takes each text made of `before`, the value's, and `after`. */
static bool takes_all(const struct node *y, const struct value *b, const char *text,
		      const char *const around[][2])
{
	char buf[TEXT_MAX + 64];

	for (size_t i = 0; around[i][0]; i++) {
		snprintf(buf, sizeof(buf), "%s%s%s", around[i][0], text, around[i][1]);
		if (lint_text_holds(y, b, buf) != LINT_YES)
			return false;
	}
	return true;
}

static bool covers_text(const struct node *y, const struct value *b, const struct node *x,
			const struct value *a)
{
	/* bytes that no pattern names stand for whatever there may be */
	static const char *const below[][2] = { { "", "\1" }, { "", "\1/\2" }, { "", "\1/\2/\3" },
						{ NULL, NULL } };
	static const char *const above[][2] = { { "/\1", "" }, { "/\1/\2", "" }, { NULL, NULL } };
	char text[TEXT_MAX];
	bool literal;

	if (x->op == OP_MATCH)
		return y->op == OP_MATCH && !strcmp(a->text, b->text);
	literal = lint_literal(x, a, text, sizeof(text));
	if (x->op == OP_GLOB && !literal)
		return y->op == OP_GLOB && !strcmp(glob_source(a->glob), glob_source(b->glob));
	if (!literal)
		return false;
	switch (x->op) {
	case OP_EQ:
	case OP_GLOB:
		return lint_text_holds(y, b, text) == LINT_YES;
	case OP_PREFIX:
		if (y->op == OP_PREFIX || y->op == OP_CONTAINS)
			return lint_text_holds(y, b, text) == LINT_YES;
		return y->op == OP_GLOB && field_info(x->field)->type == FIELD_TYPE_PATH &&
		       takes_all(y, b, text, below) &&
		       (text[strlen(text) - 1] == '/' || lint_text_holds(y, b, text) == LINT_YES);
	case OP_SUFFIX:
		if (y->op == OP_SUFFIX || y->op == OP_CONTAINS)
			return lint_text_holds(y, b, text) == LINT_YES;
		return y->op == OP_GLOB && field_info(x->field)->type == FIELD_TYPE_PATH &&
		       takes_all(y, b, text, above);
	case OP_CONTAINS:
		return y->op == OP_CONTAINS && lint_text_holds(y, b, text) == LINT_YES;
	default:
		return false;
	}
}

static bool same_network(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	return !memcmp(a, b, bits / 8) &&
	       (bits % 8 == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8) == 0);
}

static void interval(enum op op, int64_t v, int64_t *lo, int64_t *hi)
{
	*lo = op == OP_GT ? v : op == OP_LT || op == OP_LTE ? INT64_MIN : v;
	*lo += op == OP_GT && v < INT64_MAX;
	*hi = op == OP_LT ? v : op == OP_GT || op == OP_GTE ? INT64_MAX : v;
	*hi -= op == OP_LT && v > INT64_MIN;
}

bool lint_covers(const struct node *y, const struct value *b, const struct node *x,
		 const struct value *a)
{
	enum field_type type = field_info(lint_key(x))->type;
	int64_t alo, ahi, blo, bhi;

	if (lint_key(x) != lint_key(y) || x->op == OP_NE || y->op == OP_NE)
		return false;
	if (type == FIELD_TYPE_NUMBER) {
		interval(x->op, a->number, &alo, &ahi);
		interval(y->op, b->number, &blo, &bhi);
		return blo <= alo && ahi <= bhi;
	}
	if (type == FIELD_TYPE_TIME)
		return x->op == y->op && a->time == b->time && a->number == b->number;
	if (type == FIELD_TYPE_ADDRESS)
		return b->addr_bits <= a->addr_bits && same_network(a->addr, b->addr, b->addr_bits);
	return covers_text(y, b, x, a);
}

/* ---- comparisons ----------------------------------------------------------------------------- */

/* a and b as if both were eq. */
static bool equal_values(const struct node *x, const struct value *a, const struct node *y,
			 const struct value *b)
{
	struct node ex = *x, ey = *y;

	ex.op = ey.op = OP_EQ;
	return lint_covers(&ey, b, &ex, a) && lint_covers(&ex, a, &ey, b);
}

bool lint_node_covers(const struct node *y, const struct node *x)
{
	/* ne takes all but its list, so the shorter list takes more */
	const struct node *each = x->op == OP_NE ? y : x, *list = x->op == OP_NE ? x : y;

	if (lint_key(x) != lint_key(y) || (x->op == OP_NE) != (y->op == OP_NE))
		return false;
	for (size_t i = 0; i < each->n; i++) {
		bool found = false;

		for (size_t k = 0; k < list->n && !found; k++)
			found = x->op == OP_NE ?
					equal_values(each, &each->values[i], list,
						     &list->values[k]) :
					lint_covers(list, &list->values[k], each, &each->values[i]);
		if (!found)
			return false;
	}
	return true;
}

/* Values of x that a single comparison beside it takes already. */
static void check_values_beside(struct linting *l, const struct node *x, const struct node *y)
{
	for (size_t i = 0; i < x->n && x->op != OP_NE; i++)
		for (size_t k = 0; k < y->n; k++)
			if (lint_covers(y, &y->values[k], x, &x->values[i]) &&
			    !(y->nth > x->nth && lint_covers(x, &x->values[i], y, &y->values[k]))) {
				lint_say(l, LINT_WARNING, x->line, "%s is taken by another already: %s "
					 "(line %u)", lint_value(l, x, &x->values[i]),
					 lint_comparison(l, y), y->line);
				break;
			}
}

/* any_of and none_of: an item that adds nothing. all_of: one that takes nothing away. */
void lint_siblings(struct linting *l, const struct node *group)
{
	bool all = group->type == NODE_ALL;
	struct node **kids;

	if (group->n > SIBLINGS_MAX)
		return;
	kids = kids_as_written(l->pool, group);
	l->failed |= !kids;
	for (size_t i = 0; kids && i < group->n; i++) {
		const struct node *x = kids[i];

		for (size_t k = 0; k < group->n; k++) {
			const struct node *y = kids[k];
			bool same;

			if (k == i || x->type != NODE_COMPARE || y->type != NODE_COMPARE)
				continue;
			same = lint_node_covers(y, x) && lint_node_covers(x, y);
			if (same ? k < i : lint_node_covers(all ? x : y, all ? y : x)) {
				lint_say(l, LINT_WARNING, x->line, "%s %s %s (line %u)",
					 lint_comparison(l, x), same ? "is said already:" :
					 all ? "can go, more is said by" :
					       "is taken by another already:",
					 lint_comparison(l, y), y->line);
				break;
			}
			if (!all && !same && x->n > 1)
				check_values_beside(l, x, y);
		}
	}
}
