/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rule.h"

bool decision_holds(const struct decision *d, uint64_t *ns, enum verdict *then)
{
	uint64_t least = UINT64_MAX;
	enum verdict strictest = VERDICT_ALLOW;

	/* Strongest first: when the last that found room blocks, so may those that found none. */
	if (d->verdict != VERDICT_BLOCK || !d->n_fired ||
	    (d->n_fired_more && d->fired[d->n_fired - 1].verdict == VERDICT_BLOCK))
		return false;
	for (unsigned i = 0; i < d->n_fired && d->fired[i].verdict == VERDICT_BLOCK; i++) {
		const struct rule *r = d->fired[i].rule;

		if (!r->hold)
			return false;
		if (r->hold_ns < least)
			least = r->hold_ns;
		if (r->hold_then > strictest)
			strictest = r->hold_then;
	}
	*ns = least;
	*then = strictest;
	return true;
}
