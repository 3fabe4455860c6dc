/* SPDX-License-Identifier: Apache-2.0 */
/* Named lists: each value once, each list of some use. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/yaml.h"
#include "rules/compiled.h"
#include "rules/lint.h"

static void doc_cleanup(struct yaml_doc **d)
{
	yaml_doc_free(*d);
}

/* { list: NAME } anywhere below n. */
static bool names_list(const struct yaml_node *n, const char *name)
{
	for (size_t i = 0; n->type != YAML_SCALAR && i < n->n; i++) {
		if (n->type == YAML_MAP && !strcmp(n->keys[i]->scalar, "list") &&
		    n->items[i]->type == YAML_SCALAR && !strcmp(n->items[i]->scalar, name))
			return true;
		if (names_list(n->items[i], name))
			return true;
	}
	return false;
}

static int by_text(const void *a, const void *b)
{
	const struct yaml_node *x = *(const struct yaml_node *const *)a;
	const struct yaml_node *y = *(const struct yaml_node *const *)b;
	int order = strcmp(x->scalar, y->scalar);

	return order ? order : (x->line > y->line) - (x->line < y->line);
}

static void say(const struct lint_options *o, const char *file, unsigned line, const char *fmt,
		const char *a, unsigned number)
{
	char text[512];

	snprintf(text, sizeof(text), fmt, a, number);
	o->found(o->arg, &(struct lint_finding){ LINT_WARNING, file, line, "", text });
}

static int check_values(const struct lint_options *o, const char *file, const struct yaml_node *list)
{
	struct yaml_node **sorted;
	size_t n = 0;

	if (list->type != YAML_LIST || !list->n)
		return 0;
	sorted = calloc(list->n, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < list->n; i++)
		if (list->items[i]->type == YAML_SCALAR)
			sorted[n++] = list->items[i];
	qsort(sorted, n, sizeof(*sorted), by_text);
	for (size_t i = 1; i < n; i++)
		if (!strcmp(sorted[i - 1]->scalar, sorted[i]->scalar))
			say(o, file, sorted[i]->line,
			    "\"%.200s\" is there twice, also at line %u", sorted[i]->scalar,
			    sorted[i - 1]->line);
	free(sorted);
	return 0;
}

/* Whether a rule file names the list; one that does not parse might. */
static bool is_used(const struct rules_file *rules, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_(doc_cleanup) struct yaml_doc *doc = NULL;
		char err[512];

		if (yaml_load_buffer(rules[i].name, rules[i].data, rules[i].len_bytes, &doc, err))
			return true;
		for (size_t k = 0; k < yaml_doc_count(doc); k++)
			if (!lists_here(yaml_doc_root(doc, k)) &&
			    names_list(yaml_doc_root(doc, k), name))
				return true;
	}
	return false;
}

int rules_lint_lists(const struct rules_file *lists, const struct rules_file *rules, size_t n_rules,
		     const struct lint_options *o)
{
	_cleanup_(doc_cleanup) struct yaml_doc *doc = NULL;
	char err[512];
	int rc = yaml_load_buffer(lists->name, lists->data, lists->len_bytes, &doc, err);

	if (rc)
		return rc == -ENOMEM ? rc : 0;
	for (size_t d = 0; d < yaml_doc_count(doc); d++) {
		const struct yaml_node *map = lists_here(yaml_doc_root(doc, d)) ?
						      yaml_get(yaml_doc_root(doc, d), "lists") :
						      NULL;

		for (size_t i = 0; map && map->type == YAML_MAP && i < map->n; i++) {
			if (check_values(o, lists->name, map->items[i]))
				return -ENOMEM;
			if (!is_used(rules, n_rules, map->keys[i]->scalar))
				say(o, lists->name, map->keys[i]->line,
				    "no rule of this folder names the list \"%.60s\"",
				    map->keys[i]->scalar, 0);
		}
	}
	return 0;
}
