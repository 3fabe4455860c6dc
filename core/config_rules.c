/* SPDX-License-Identifier: Apache-2.0 */
/* `rules:` and `readers:` of oknek.yaml: what a host says about single rules. */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config_priv.h"

static int no_memory(struct loading *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

static int wants(struct loading *l, const struct yaml_node *n, const char *key, const char *form)
{
	return yaml_fail(l->err, l->file, n->line, "%s must be %s", key, form);
}

int config_check_rule_key(struct loading *l, const struct yaml_node *n, const char *what)
{
	const char *s = n->scalar;
	size_t digits = *s && strchr("RBX", *s) ? strspn(s + 1, "0123456789") : 0;
	const char *part = s + 1 + digits;

	if (digits && (!*part || (*part == '/' && part[1] &&
				  !part[1 + strspn(part + 1, "abcdefghijklmnopqrstuvwxyz"
							     "0123456789_-")])))
		return 0;
	return yaml_fail(l->err, l->file, n->line,
			 "\"%.60s\" in %s is not a rule: write R3 or R3/dotenv", s, what);
}

/* ---- overrides ----------------------------------------------------------------------------- */

static void override_free(struct config_override *o)
{
	free(o->rule);
	free(o->at.file);
}

/* Replaces what an earlier file said about this key of the rule, and no other key. */
static int add_override(struct loading *l, const struct yaml_node *key,
			const struct config_override *add)
{
	struct config_override o = *add;
	struct config *c = l->c;
	struct config_override *grown;

	o.rule = strdup(key->scalar);
	o.at.file = strdup(l->file);
	if (!o.rule || !o.at.file) {
		override_free(&o);
		return no_memory(l);
	}
	for (size_t i = 0; i < c->n_overrides; i++)
		if (c->overrides[i].key == o.key && !strcmp(c->overrides[i].rule, o.rule)) {
			override_free(&c->overrides[i]);
			c->overrides[i] = o;
			return 0;
		}
	grown = reallocarray(c->overrides, c->n_overrides + 1, sizeof(*grown));
	if (!grown) {
		override_free(&o);
		return no_memory(l);
	}
	c->overrides = grown;
	grown[c->n_overrides++] = o;
	return 0;
}

static int read_action(struct loading *l, const struct yaml_node *key, const struct yaml_node *n)
{
	int action = n->type == YAML_SCALAR ? verdict_parse(n->scalar) : -EINVAL;
	struct config_override o = { .key = OVERRIDE_ACTION, .at.line = n->line };

	if (action < 0)
		return wants(l, n, "action", "block, warn or allow");
	o.action = (enum verdict)action;
	return add_override(l, key, &o);
}

static int read_threshold(struct loading *l, const struct yaml_node *key, const struct yaml_node *n)
{
	struct config_override o = { .key = OVERRIDE_THRESHOLD, .at.line = n->line };

	if (yaml_int(n, &o.threshold))
		return wants(l, n, "threshold", "a whole number");
	return add_override(l, key, &o);
}

int config_read_on_block(struct loading *l, const struct yaml_node *n, const char *key, bool *hold)
{
	if (n->type != YAML_SCALAR || (strcmp(n->scalar, "deny") && strcmp(n->scalar, "hold")))
		return wants(l, n, key, "deny or hold");
	*hold = n->scalar[0] == 'h';
	return 0;
}

static int read_on_block(struct loading *l, const struct yaml_node *key, const struct yaml_node *n)
{
	struct config_override o = { .key = OVERRIDE_ON_BLOCK, .at.line = n->line };
	int err = config_read_on_block(l, n, "on_block", &o.hold);

	return err ? err : add_override(l, key, &o);
}

int config_read_rules(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "action", "threshold", "on_block", NULL };
	const struct yaml_node *action, *threshold, *on_block;
	int err;

	if (config_is_empty(n))
		return 0;
	if (n->type != YAML_MAP || n->n > CONFIG_LIST_MAX)
		return wants(l, n, "rules", "a map like R3/dotenv: { action: warn }");
	for (size_t i = 0; i < n->n; i++) {
		err = config_check_rule_key(l, n->keys[i], "rules");
		if (!err)
			err = yaml_check_keys(n->items[i], l->file, n->keys[i]->scalar, allowed,
					      l->err);
		if (err)
			return err;
		action = yaml_get(n->items[i], "action");
		threshold = yaml_get(n->items[i], "threshold");
		on_block = yaml_get(n->items[i], "on_block");
		if (!action && !threshold && !on_block)
			return wants(l, n->items[i], n->keys[i]->scalar,
				     "a map with an action, a threshold or on_block");
		if (action)
			err = read_action(l, n->keys[i], action);
		if (!err && threshold)
			err = read_threshold(l, n->keys[i], threshold);
		if (!err && on_block)
			err = read_on_block(l, n->keys[i], on_block);
		if (err)
			return err;
	}
	return 0;
}

/* ---- readers ------------------------------------------------------------------------------- */

static void reader_free(struct config_reader *r)
{
	free(r->rule);
	free(r->exe);
	free(r->at.file);
}

static int check_exe(struct loading *l, const struct yaml_node *n, const char *key)
{
	if (n->scalar[0] != '/')
		return wants(l, n, key, "absolute paths of executables, as /usr/bin/aws");
	return 0;
}

/* What an earlier file said about the readers of a rule. */
static void drop_readers(struct config *c, const char *rule)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->n_readers; i++) {
		if (strcmp(c->readers[i].rule, rule)) {
			c->readers[kept++] = c->readers[i];
			continue;
		}
		reader_free(&c->readers[i]);
	}
	c->n_readers = kept;
}

static int add_reader(struct loading *l, const struct yaml_node *key, const char *exe)
{
	struct config_reader r = { strdup(key->scalar), strdup(exe),
				   { strdup(l->file), key->line } };
	struct config *c = l->c;
	struct config_reader *grown = reallocarray(c->readers, c->n_readers + 1, sizeof(*grown));

	if (grown)
		c->readers = grown;
	if (!grown || !r.rule || !r.exe || !r.at.file) {
		reader_free(&r);
		return no_memory(l);
	}
	grown[c->n_readers++] = r;
	return 0;
}

int config_read_readers(struct loading *l, const struct yaml_node *n)
{
	int err;

	if (config_is_empty(n))
		return 0;
	if (n->type != YAML_MAP || n->n > CONFIG_LIST_MAX)
		return wants(l, n, "readers", "a map like R3/aws: [/usr/bin/aws]");
	for (size_t i = 0; i < n->n; i++) {
		_cleanup_(config_strings_cleanup) char **exes = NULL;

		err = config_check_rule_key(l, n->keys[i], "readers");
		if (!err)
			err = config_read_strings(l, n->items[i], n->keys[i]->scalar,
						  "a list of absolute paths of executables, as "
						  "[/usr/bin/aws]", check_exe, &exes);
		if (err)
			return err;
		drop_readers(l->c, n->keys[i]->scalar);
		for (size_t k = 0; exes && exes[k]; k++) {
			err = add_reader(l, n->keys[i], exes[k]);
			if (err)
				return err;
		}
	}
	return 0;
}

/* -------------------------------------------------------------------------------------------- */

void config_swap_rules(struct config *a, struct config *b)
{
	struct config was = *a;

	a->overrides = b->overrides;
	a->n_overrides = b->n_overrides;
	a->readers = b->readers;
	a->n_readers = b->n_readers;
	a->exceptions = b->exceptions;
	a->n_exceptions = b->n_exceptions;
	a->docs = b->docs;
	a->n_docs = b->n_docs;
	b->overrides = was.overrides;
	b->n_overrides = was.n_overrides;
	b->readers = was.readers;
	b->n_readers = was.n_readers;
	b->exceptions = was.exceptions;
	b->n_exceptions = was.n_exceptions;
	b->docs = was.docs;
	b->n_docs = was.n_docs;
}

void config_free_rules(struct config *c)
{
	for (size_t i = 0; i < c->n_overrides; i++)
		override_free(&c->overrides[i]);
	for (size_t i = 0; i < c->n_readers; i++)
		reader_free(&c->readers[i]);
	for (size_t i = 0; i < c->n_docs; i++)
		yaml_doc_free(c->docs[i]);
	free(c->overrides);
	free(c->readers);
	free(c->exceptions);
	free(c->docs);
}
