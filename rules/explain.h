/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For people who write and run rules: which comparison decided about an event, what a rule does in
 * sentences, and what it says of itself. Allocates; never on the way of an event that waits.
 */
#ifndef OKNEK_RULES_EXPLAIN_H
#define OKNEK_RULES_EXPLAIN_H

#include "rules/rules.h"

#define REASONS_MAX 32       /* of one rule and event; more are counted */
#define REASON_VALUES_MAX 32 /* of one comparison; more are counted */

/* One comparison and what the event had for it. Strings are the explanation's; bytes are any. */
struct reason {
	const char *field; /* also "kind" and "action", of rules that are not asked at all */
	const char *op;    /* as written */
	const char *file;
	unsigned line;
	bool result; /* of this comparison by itself */
	bool number; /* values and actuals are numbers */
	/* The value that decided; all of them where none did. */
	unsigned n_values, n_values_more;
	const char *values[REASON_VALUES_MAX];
	unsigned n_actual; /* 0: null. 2: the names of an agent's main process */
	const char *actual[2];
	const char *note; /* NULL: nothing to add */
};

struct explanation {
	bool fired;
	bool excepted; /* it matched, and an exception of this host let the event go */
	unsigned n, n_more;
	struct reason *v; /* what made it fire, or what kept it from that */
	struct pool *pool;
};

/*
 * Why rule i fires on the event, or why not: as rules_decide() sees it, comparisons in the order of
 * the file. -ENOMEM. Freed with explanation_free().
 */
int rules_explain_event(const struct ruleset *rs, size_t i, const struct event *ev,
			const struct wall_clock *clock, struct explanation *ret);
void explanation_free(struct explanation *e); /* a zeroed one is fine */

/* The rule in sentences for an operator, lines ended by newlines. malloc'd; -ENOMEM. */
int rules_describe(const struct ruleset *rs, size_t i, char **ret);

/* What a rule's text says that only people read. Strings are the struct's; never NULL. */
struct rule_about {
	struct yaml_doc *doc;
	unsigned n_authors, n_references, n_techniques;
	const char *authors[64];
	struct {
		const char *url, *label;
	} references[64];
	struct {
		const char *catalogue, *entry;
	} techniques[128];
	const char *action; /* as written, whatever an override says */
	const char *threshold; /* "" when there is none */
	bool action_configurable, threshold_configurable;
	unsigned first_line;  /* of the rule, within its text */
	unsigned retain_line; /* of evidence.retain_for, likewise; 0: there is none */
};

/* source: as ruleset_source() gives it. -EINVAL, -ENOMEM. Freed with rule_about_free(). */
int rule_about_parse(const char *source, struct rule_about **ret);
void rule_about_free(struct rule_about *a); /* NULL is fine */

#endif
