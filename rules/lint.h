/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is suspicious about rules that load: comparisons that can never hold or never matter, blocks
 * that this host cannot hold, patterns that make too many files wait. Allocates; for authors.
 */
#ifndef OKNEK_RULES_LINT_H
#define OKNEK_RULES_LINT_H

#include "rules/rules.h"

enum lint_level {
	LINT_NOTE, /* worth knowing, and nobody's mistake */
	LINT_WARNING,
	LINT_ERROR,
};

struct lint_finding {
	enum lint_level level;
	const char *file;
	unsigned line;
	const char *rule; /* "X100", "R3/aws"; "" when it is about no rule */
	const char *text; /* one line; bytes are any */
};

struct lint_options {
	bool any_host; /* not what this host lacks */
	bool site;     /* ids must begin with X */
	void (*found)(void *arg, const struct lint_finding *f);
	void *arg;
};

/* In the order of the set, and of the file within a rule. -ENOMEM. */
int rules_lint(const struct ruleset *rs, const struct lint_options *o);

/* The lists of one folder: values that are there twice, and lists that none of its rule files names.
 * lists and rules: as ruleset_load() was given them; what does not parse is passed over. */
int rules_lint_lists(const struct rules_file *lists, const struct rules_file *rules, size_t n_rules,
		     const struct lint_options *o);

#endif
