/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule says that only people read, from its text: the compiled rule has no use for it. */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/yaml.h"
#include "rules/explain.h"

void rule_about_free(struct rule_about *a)
{
	if (a)
		yaml_doc_free(a->doc);
	free(a);
}

static void about_cleanup(struct rule_about **a)
{
	rule_about_free(*a);
}

static const char *text_of(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *n = map && map->type == YAML_MAP ? yaml_get(map, key) : NULL;

	return n && n->type == YAML_SCALAR ? n->scalar : "";
}

static bool flag_of(const struct yaml_node *map, const char *key)
{
	const struct yaml_node *n = map && map->type == YAML_MAP ? yaml_get(map, key) : NULL;
	bool flag = false;

	return n && !yaml_bool(n, &flag) && flag;
}

static void take_authors(struct rule_about *a, const struct yaml_node *n)
{
	if (n && n->type == YAML_SCALAR)
		a->authors[a->n_authors++] = n->scalar;
	for (size_t i = 0; n && n->type == YAML_LIST && i < n->n; i++)
		if (n->items[i]->type == YAML_SCALAR && a->n_authors < ARRAY_SIZE(a->authors))
			a->authors[a->n_authors++] = n->items[i]->scalar;
}

static void take_references(struct rule_about *a, const struct yaml_node *n)
{
	for (size_t i = 0; n && n->type == YAML_LIST && i < n->n; i++) {
		if (a->n_references == ARRAY_SIZE(a->references))
			return;
		a->references[a->n_references].url = n->items[i]->type == YAML_SCALAR ?
			n->items[i]->scalar : text_of(n->items[i], "url");
		a->references[a->n_references++].label = text_of(n->items[i], "label");
	}
}

static void take_techniques(struct rule_about *a, const struct yaml_node *n)
{
	for (size_t i = 0; n && n->type == YAML_LIST && i < n->n; i++) {
		const struct yaml_node *item = n->items[i];

		for (size_t k = 0; item->type == YAML_MAP && k < item->n; k++) {
			if (a->n_techniques == ARRAY_SIZE(a->techniques))
				return;
			if (item->items[k]->type != YAML_SCALAR)
				continue;
			a->techniques[a->n_techniques].catalogue = item->keys[k]->scalar;
			a->techniques[a->n_techniques++].entry = item->items[k]->scalar;
		}
	}
}

int rule_about_parse(const char *source, struct rule_about **ret)
{
	_cleanup_(about_cleanup) struct rule_about *a = calloc(1, sizeof(*a));
	const struct yaml_node *root, *n;
	char err[512];
	int rc;

	if (!a)
		return -ENOMEM;
	rc = yaml_load_buffer("rule", source, strlen(source), &a->doc, err);
	if (rc)
		return rc;
	if (yaml_doc_count(a->doc) != 1)
		return -EINVAL;
	root = yaml_doc_root(a->doc, 0);
	if (root->type != YAML_MAP)
		return -EINVAL;
	a->first_line = root->line;
	take_authors(a, yaml_get(root, "authors"));
	take_references(a, yaml_get(root, "references"));
	take_techniques(a, yaml_get(root, "attack_techniques"));
	n = yaml_get(root, "action");
	a->action = text_of(n, "default");
	a->action_configurable = flag_of(n, "configurable");
	n = yaml_get(root, "threshold");
	a->threshold = text_of(n, "default");
	a->threshold_configurable = flag_of(n, "configurable");
	n = yaml_get(root, "evidence");
	n = n && n->type == YAML_MAP ? yaml_get(n, "retain_for") : NULL;
	a->retain_line = n ? n->line : 0;
	*ret = TAKE_PTR(a);
	return 0;
}
