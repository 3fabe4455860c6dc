/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/readers.h"

#include <string.h>

#include "rules/rules.h"

bool readers_has(const struct config *c, const struct rule *r, const char *exe)
{
	for (size_t i = 0; i < c->n_readers; i++)
		if (rule_is_named(r, c->readers[i].rule, NULL) && !strcmp(c->readers[i].exe, exe))
			return true;
	return false;
}

void readers_drop(const struct config *c, const struct event *ev, struct decision *d)
{
	unsigned kept = 0;

	/* It is not known whom those that found no room in fired[] would let through. */
	if (d->n_fired_more)
		return;
	for (unsigned i = 0; i < d->n_fired; i++)
		if (!readers_has(c, d->fired[i].rule, ev->subj.exe))
			d->fired[kept++] = d->fired[i];
	d->n_fired = kept;
	d->verdict = kept ? d->fired[0].verdict : VERDICT_ALLOW;
}
