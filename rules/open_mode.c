/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that ask how a file is opened. Where nobody knows yet, they match; what that costs to find out
 * is spent only where one of them did.
 */
#include "rules/compiled.h"

void mode_prepare(struct ruleset *rs)
{
	for (size_t i = 0; i < rs->n; i++) {
		struct compiled *c = rs->rules[i];
		uint64_t used = 0;

		if (c->rule.kind != KIND_FILE_OPENED)
			continue;
		fields_used(c->match, &used);
		for (size_t k = 0; k < c->n_exceptions; k++)
			fields_used(c->exceptions[k].none, &used);
		c->asks_mode = used >> FIELD_OPEN_MODE & 1;
		rs->asks_mode = rs->asks_mode || c->asks_mode;
	}
}

bool rules_mode_matters(const struct ruleset *rs, const struct event *ev,
			const struct wall_clock *clock)
{
	struct decision d;

	if (!rs->asks_mode || ev->kind != KIND_FILE_OPENED || ev->file.mode != OPEN_MODE_UNKNOWN)
		return false;
	rules_decide(rs, ev, clock, &d, NULL);
	if (d.n_fired_more)
		return true;
	for (unsigned i = 0; i < d.n_fired; i++)
		if (((const struct compiled *)d.fired[i].rule)->asks_mode)
			return true;
	return false;
}
