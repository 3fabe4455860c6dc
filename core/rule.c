/* SPDX-License-Identifier: Apache-2.0 */
#include "core/rule.h"

#include <stdio.h>

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

void decision_names(const struct decision *d, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < d->n_fired && d->fired[i].verdict == VERDICT_BLOCK; i++) {
		const struct rule *r = d->fired[i].rule;
		int len = snprintf(buf + n, size - n, "%s%s%s%s", n ? " " : "", r->id,
				   *r->part ? "/" : "", r->part);

		/* Not half a name. */
		if (n + (size_t)len >= size) {
			buf[n] = '\0';
			break;
		}
		n += (size_t)len;
	}
}
