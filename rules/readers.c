/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/readers.h"

#include <string.h>

/* "R3" names all parts of R3, "R3/aws" one. */
static bool names_rule(const char *name, const struct rule *r)
{
	size_t n = strlen(r->id);

	if (strncmp(name, r->id, n))
		return false;
	return !name[n] || (name[n] == '/' && !strcmp(name + n + 1, r->part));
}

bool readers_has(const struct config *c, const struct rule *r, const char *exe)
{
	for (size_t i = 0; i < c->n_readers; i++)
		if (names_rule(c->readers[i].rule, r) && !strcmp(c->readers[i].exe, exe))
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
