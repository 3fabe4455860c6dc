/* SPDX-License-Identifier: Apache-2.0 */
#include "core/standing.h"

#include <errno.h>
#include <string.h>

static bool is_over(const struct standing *s, uint64_t now_ns)
{
	return s->tree_id && s->until_ns <= now_ns;
}

static void forget(struct standing_table *t, struct standing *s)
{
	s->tree_id = 0;
	t->used--;
}

/* An exec is the program with these arguments. A file is what it is, whatever it is called. */
static bool is_same(const struct standing_object *a, const struct standing_object *b)
{
	if (a->kind != b->kind || a->dev != b->dev || a->ino != b->ino)
		return false;
	return a->kind != KIND_EXEC_OBSERVED || a->name_hash == b->name_hash;
}

static bool has_name(const struct standing_object *o, const uint64_t *hashes, unsigned n)
{
	for (unsigned i = 0; o->kind == KIND_FILE_OPENED && i < n; i++)
		if (hashes[i] && hashes[i] == o->name_hash)
			return true;
	return false;
}

int standing_put(struct standing_table *t, const struct standing *s, uint64_t now_ns)
{
	struct standing *place = NULL;
	unsigned of_tree = 0;

	for (unsigned i = 0; i < STANDING_MAX; i++) {
		struct standing *at = &t->at[i];

		if (is_over(at, now_ns))
			forget(t, at);
		/* Allowances of several rules stand beside each other, a refusal stands alone. */
		if (at->tree_id == s->tree_id && is_same(&at->object, &s->object) &&
		    (at->verdict != s->verdict || s->verdict == VERDICT_BLOCK ||
		     !strcmp(at->rule, s->rule)))
			forget(t, at);
		of_tree += at->tree_id == s->tree_id;
		if (!at->tree_id && !place)
			place = at;
	}
	if (!place || of_tree >= STANDING_PER_TREE)
		return -ENOSPC;
	*place = *s;
	t->used++;
	return 0;
}

/* Also what has come to stand in its place: who is refused a file is not given one of its name. */
const struct standing *standing_refuses(const struct standing_table *t, uint32_t tree_id,
					const struct standing_object *o, const uint64_t *hashes,
					unsigned n)
{
	for (unsigned i = 0; t->used && i < STANDING_MAX; i++) {
		const struct standing *s = &t->at[i];

		if (s->tree_id != tree_id || s->verdict != VERDICT_BLOCK || s->object.kind != o->kind)
			continue;
		if (is_same(&s->object, o) || has_name(&s->object, hashes, n))
			return s;
	}
	return NULL;
}

static bool names_rule(const char *list, const char *rule)
{
	size_t len = strlen(rule);

	for (const char *at = list; *at; at += strcspn(at, " "), at += *at == ' ')
		if (!strncmp(at, rule, len) && (!at[len] || at[len] == ' '))
			return true;
	return false;
}

/* A file's number alone is another file's when it is deleted, and its name alone when it is renamed. */
const struct standing *standing_allows(const struct standing_table *t, uint32_t tree_id,
				       const struct standing_object *o, const uint64_t *hashes,
				       unsigned n, const char *rule, uint64_t now_ns)
{
	for (unsigned i = 0; t->used && i < STANDING_MAX; i++) {
		const struct standing *s = &t->at[i];

		if (s->tree_id == tree_id && s->verdict == VERDICT_ALLOW && now_ns < s->until_ns &&
		    is_same(&s->object, o) && names_rule(s->rule, rule) &&
		    (o->kind != KIND_FILE_OPENED || has_name(&s->object, hashes, n)))
			return s;
	}
	return NULL;
}

void standing_gone(struct standing_table *t, uint64_t dev, uint64_t ino)
{
	for (unsigned i = 0; t->used && i < STANDING_MAX; i++) {
		struct standing *s = &t->at[i];

		if (s->tree_id && s->verdict == VERDICT_ALLOW && s->object.kind == KIND_FILE_OPENED &&
		    (!ino || (s->object.dev == dev && s->object.ino == ino)))
			forget(t, s);
	}
}

void standing_forget(struct standing_table *t, uint32_t tree_id)
{
	for (unsigned i = 0; i < STANDING_MAX; i++)
		if (t->at[i].tree_id == tree_id)
			forget(t, &t->at[i]);
}

void standing_sweep(struct standing_table *t, uint64_t now_ns,
		    bool (*keep)(void *arg, uint32_t tree_id), void *arg)
{
	for (unsigned i = 0; t->used && i < STANDING_MAX; i++)
		if (t->at[i].tree_id &&
		    (is_over(&t->at[i], now_ns) || !keep(arg, t->at[i].tree_id)))
			forget(t, &t->at[i]);
}
