/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named lists: `lists: { shells: [sh, bash] }` in a document of its own, `in: { list: shells }`.
 * One set of names for each folder of rules.
 */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/compiled.h"

#define LISTS_MAX 1024
#define LIST_NAME_MAX 60

bool lists_here(const struct yaml_node *root)
{
	return root->type == YAML_MAP && yaml_get(root, "lists");
}

const struct named_list *lists_find(const struct lists *lists, const char *name)
{
	for (size_t i = 0; lists && i < lists->n; i++)
		if (!strcmp(lists->v[i].name, name))
			return &lists->v[i];
	return NULL;
}

void lists_take(const struct named_list *list, uint8_t taken[32])
{
	crypto_generichash_state st;

	crypto_generichash_init(&st, NULL, 0, 32);
	crypto_generichash_update(&st, taken, 32);
	for (size_t i = 0; i < list->values->n; i++) {
		const struct yaml_node *v = list->values->items[i];

		crypto_generichash_update(&st, (const unsigned char *)(v->quoted ? "\"" : " "), 1);
		crypto_generichash_update(&st, (const unsigned char *)v->scalar, strlen(v->scalar) + 1);
	}
	crypto_generichash_final(&st, taken, 32);
}

static int check_list(struct loader *l, const struct lists *lists, const struct yaml_node *key,
		      const struct yaml_node *values)
{
	const struct named_list *other = lists_find(lists, key->scalar);
	size_t len = strlen(key->scalar);

	if (!len || len > LIST_NAME_MAX ||
	    key->scalar[strspn(key->scalar, "abcdefghijklmnopqrstuvwxyz0123456789-_")])
		return yaml_fail(l->err, l->file, key->line, "\"%.60s\" names no list: use "
				 "lower-case letters, digits, - and _", key->scalar);
	if (other)
		return yaml_fail(l->err, l->file, key->line,
				 "list \"%s\" is there twice (also %s:%u): give it another name",
				 key->scalar, other->file, other->line);
	if (values->type != YAML_LIST || values->n == 0 || values->n > RULE_VALUES_MAX)
		return yaml_fail(l->err, l->file, values->line,
				 "list \"%s\" must have 1 to %d values", key->scalar,
				 RULE_VALUES_MAX);
	for (size_t i = 0; i < values->n; i++)
		if (values->items[i]->type != YAML_SCALAR)
			return yaml_fail(l->err, l->file, values->items[i]->line,
					 "list \"%s\" holds plain values only", key->scalar);
	return 0;
}

int lists_add(struct loader *l, struct lists *lists, const struct yaml_node *root)
{
	static const char *const allowed[] = { "lists", NULL };
	const struct yaml_node *map = yaml_get(root, "lists");
	int err = yaml_check_keys(root, l->file, "a document of lists", allowed, l->err);

	if (err)
		return err;
	if (map->type != YAML_MAP || map->n == 0)
		return yaml_fail(l->err, l->file, map->line,
				 "lists must be a map like lists: { shells: [sh, bash] }");
	for (size_t i = 0; i < map->n; i++) {
		struct named_list *grown;

		err = check_list(l, lists, map->keys[i], map->items[i]);
		if (err)
			return err;
		if (lists->n == LISTS_MAX)
			return yaml_fail(l->err, l->file, map->keys[i]->line,
					 "more than %d lists", LISTS_MAX);
		grown = reallocarray(lists->v, lists->n + 1, sizeof(*grown));
		if (!grown) {
			yaml_fail(l->err, l->file, 0, "out of memory");
			return -ENOMEM;
		}
		lists->v = grown;
		lists->v[lists->n++] = (struct named_list){ map->keys[i]->scalar, l->file,
							    map->keys[i]->line, map->items[i] };
	}
	return 0;
}
