/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "rules/rules.h"

bool rule_is_named(const struct rule *r, const char *name, bool *part)
{
	size_t n = strlen(r->id);

	if (strncmp(name, r->id, n) || (name[n] && name[n] != '/'))
		return false;
	if (part)
		*part = name[n];
	return !name[n] || !strcmp(name + n + 1, r->part);
}

int rule_order(const struct rule *a, const struct rule *b)
{
	size_t la = strlen(a->id), lb = strlen(b->id);
	int order = a->id[0] - b->id[0];

	if (!order && la != lb) /* numbers without leading zeros: the shorter is less */
		return la < lb ? -1 : 1;
	if (!order)
		order = strcmp(a->id, b->id);
	return order ? order : strcmp(a->part, b->part);
}
