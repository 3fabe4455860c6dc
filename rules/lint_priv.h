/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that look for mistakes in rules share. */
#ifndef OKNEK_RULES_LINT_PRIV_H
#define OKNEK_RULES_LINT_PRIV_H

#include "rules/compiled.h"
#include "rules/lint.h"

struct linting {
	const struct lint_options *o;
	const struct compiled *c;
	struct pool *pool;
	char rule[96];
	bool failed; /* no memory */
	struct lint_finding *found; /* in the pool */
	size_t n, cap;
};

void lint_say(struct linting *l, enum lint_level level, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* A value in quotes, cut; from the pool. */
const char *lint_value(struct linting *l, const struct node *n, const struct value *v);

/* "uid gt 50" */
const char *lint_comparison(struct linting *l, const struct node *n);

/* Would one value of a comparison hold for a text? MAYBE: it depends on whose home `~` is. */
enum lint_answer { LINT_NO, LINT_MAYBE, LINT_YES };
/* How `~` is written in texts that are asked about; no path of a rule begins so. */
#define LINT_HOME "/\5/\6"
enum lint_answer lint_text_holds(const struct node *n, const struct value *v, const char *text);

void lint_logic(struct linting *l); /* lint_logic.c */
void lint_values(struct linting *l, const struct node *n); /* lint_values.c: one comparison */
void lint_siblings(struct linting *l, const struct node *group); /* lint_cover.c */
/* Does whatever fulfils value a of x also fulfil value b of y? Both of one field. */
bool lint_covers(const struct node *y, const struct value *b, const struct node *x,
		 const struct value *a);
void lint_marks(struct linting *l);			  /* lint_marks.c */
void lint_regex(struct linting *l, const struct node *n); /* lint_regex.c */
/* As above for all values of both: what fulfils x fulfils y. */
bool lint_node_covers(const struct node *y, const struct node *x);
/* The field that a comparison is about: `port` of an address is about the port. */
enum field_id lint_key(const struct node *n);
/* The one text that fulfils a value of eq, prefix …, or of a pattern without wildcards, with LINT_HOME
 * for `~`. false: there is none, or no room. */
bool lint_literal(const struct node *n, const struct value *v, char *buf, size_t size);
bool lint_number_holds(const struct node *n, int64_t number);
/* Numbers a field can have. false: it is no number. */
bool lint_range(enum field_id field, int64_t *min, int64_t *max);

#endif
