/* SPDX-License-Identifier: Apache-2.0 */
/* Versions only go up: what a new set of rules does to the versions of the one before it. */
#include <stdio.h>
#include <string.h>

#include "rules/compiled.h"

/* The text without blank space around it, which moves with what stands beside a document. */
static size_t content(const char **s)
{
	size_t n;

	*s += strspn(*s, " \t\r\n");
	n = strlen(*s);
	while (n && strchr(" \t\r\n", (*s)[n - 1]))
		n--;
	return n;
}

static bool same_content(const char *a, const char *b)
{
	size_t na = content(&a), nb = content(&b);

	return na == nb && !memcmp(a, b, na);
}

bool ruleset_same_lists(const struct ruleset *a, size_t i, const struct ruleset *b, size_t k)
{
	return !memcmp(a->rules[i]->lists, b->rules[k]->lists, sizeof(a->rules[i]->lists));
}

size_t ruleset_compare_versions(const struct ruleset *was, const struct ruleset *now,
				void (*fn)(void *arg, const struct version_fault *fault), void *arg)
{
	size_t a = 0, b = 0, n = 0;

	while (a < was->n && b < now->n) {
		struct version_fault f = { .was = &was->rules[a]->rule, .now = &now->rules[b]->rule };
		int order = rule_order(f.was, f.now);
		bool same_text;

		a += order <= 0;
		b += order >= 0;
		if (order)
			continue;
		if (f.now->version > f.was->version)
			continue;
		same_text = same_content(was->rules[a - 1]->source, now->rules[b - 1]->source);
		if (f.now->version == f.was->version && same_text &&
		    ruleset_same_lists(was, a - 1, now, b - 1))
			continue;
		f.type = f.now->version < f.was->version ? VERSION_LOWER :
			 same_text ? VERSION_OTHER_LIST : VERSION_OTHER_CONTENT;
		n++;
		if (fn)
			fn(arg, &f);
	}
	return n;
}

void version_fault_text(const struct version_fault *f, char *buf, size_t size)
{
	const struct rule *r = f->now;

	if (f->type == VERSION_LOWER)
		snprintf(buf, size, "%s:%u: rule %s%s%s has version %u, below version %u of %s:%u: "
			 "versions only go up", r->file, r->line, r->id, *r->part ? "/" : "", r->part,
			 r->version, f->was->version, f->was->file, f->was->line);
	else
		snprintf(buf, size, "%s:%u: rule %s%s%s has version %u as before, but %s: "
			 "give it version %u", r->file, r->line, r->id, *r->part ? "/" : "", r->part,
			 r->version, f->type == VERSION_OTHER_LIST ?
			 "a list that it names has other values" : "other content", r->version + 1);
}
