/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules say of an event of which not all is known: evidence has only what a rule had captured,
 * and secrets are masked. Not for the answer path: it asks every rule.
 */
#ifndef OKNEK_RULES_PARTIAL_H
#define OKNEK_RULES_PARTIAL_H

#include "rules/rules.h"

/* What the event does not tell, though it was there: null means that it was not. */
struct unknown {
	uint64_t fields; /* bit per enum field_id */
	bool homes;      /* there may be more than subj.homes has */
	bool main_exe;   /* subj.main_exe may be either */
	bool exe_verified; /* and subj.exe_verified */
};

struct partial {
	struct decision sure; /* what fires whatever the unknown is */
	/* What else may fire: NULL if that would not make the verdict stronger. */
	const struct rule *doubt;
	const char *asks; /* what the doubt hangs on: "path", "what ~ stands for" … */
};

void rules_decide_partly(const struct ruleset *rs, const struct event *ev,
			 const struct wall_clock *clock, const struct unknown *u,
			 struct partial *ret);

#endif
