/* SPDX-License-Identifier: Apache-2.0 */
/* One rule document, key by key. Everything in it is checked, also what only people read. */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "rules/compiled.h"

#define NAME_MAX_BYTES 200
#define LIST_MAX 64

static int no_memory(struct loader *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

static int wants(struct loader *l, const struct yaml_node *n, const char *what, const char *form)
{
	return yaml_fail(l->err, l->file, n->line, "%s must be %s", what, form);
}

/* Text for people: one line, not empty, not endless. */
static int check_text(struct loader *l, const struct yaml_node *n, const char *what)
{
	if (n->type != YAML_SCALAR || !*n->scalar)
		return wants(l, n, what, "a text");
	for (const char *c = n->scalar; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return wants(l, n, what, "one line without control characters");
	if (strlen(n->scalar) > 1000)
		return wants(l, n, what, "at most 1000 bytes long");
	return 0;
}

static int parse_id(struct loader *l, const struct yaml_node *n, struct rule *r)
{
	const char *s = n->type == YAML_SCALAR ? n->scalar : "";
	size_t digits;

	digits = *s && strchr("RBX", *s) ? strspn(s + 1, "0123456789") : 0;
	if (digits == 0 || digits > 6 || s[1 + digits] || (s[1] == '0' && digits > 1))
		return wants(l, n, "id", "R, B or X and a number, as X100 "
			     "(X for rules of your own)");
	r->id = pool_strdup(l->pool, s);
	return r->id ? 0 : no_memory(l);
}

static int parse_part(struct loader *l, const struct yaml_node *n, struct rule *r)
{
	const char *s = n && n->type == YAML_SCALAR ? n->scalar : "";

	if (n && (!*s || *s == '-' || strlen(s) > 60 ||
		  s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_")]))
		return wants(l, n, "part", "a word of lower-case letters, digits, - and _");
	r->part = pool_strdup(l->pool, s);
	return r->part ? 0 : no_memory(l);
}

static int parse_head(struct loader *l, const struct yaml_node *root, struct rule *r)
{
	const struct yaml_node *n = yaml_get(root, "version");
	int64_t version;
	int kind, err;

	err = parse_id(l, yaml_get(root, "id"), r);
	if (!err)
		err = parse_part(l, yaml_get(root, "part"), r);
	if (err)
		return err;
	if (yaml_int(n, &version) || version < 1 || version > INT32_MAX)
		return wants(l, n, "version", "a whole number from 1");
	r->version = (unsigned)version;

	n = yaml_get(root, "name");
	err = check_text(l, n, "name");
	if (err)
		return err;
	if (strlen(n->scalar) > NAME_MAX_BYTES)
		return wants(l, n, "name", "at most 200 bytes long");
	r->name = pool_strdup(l->pool, n->scalar);
	if (!r->name)
		return no_memory(l);

	n = yaml_get(root, "kind");
	kind = n->type == YAML_SCALAR ? event_kind_parse(n->scalar) : -EINVAL;
	if (kind < 0) {
		char list[200] = "one of ";

		for (int i = 0; i < KIND_COUNT; i++)
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
				 i ? ", " : "", event_kind_name((enum event_kind)i));
		return wants(l, n, "kind", list);
	}
	r->kind = (enum event_kind)kind;
	return 0;
}

/* ---- what only people read ----------------------------------------------------------------- */

static int parse_authors(struct loader *l, const struct yaml_node *n)
{
	int err = 0;

	if (n->type == YAML_SCALAR)
		return check_text(l, n, "authors");
	if (n->type != YAML_LIST || n->n > LIST_MAX)
		return wants(l, n, "authors", "a list of at most 64 names");
	for (size_t i = 0; i < n->n && !err; i++)
		err = check_text(l, n->items[i], "an author");
	return err;
}

static int parse_references(struct loader *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "url", "label", NULL };
	int err = 0;

	if (n->type != YAML_LIST || n->n > LIST_MAX)
		return wants(l, n, "references", "a list of at most 64 maps of url and label");
	for (size_t i = 0; i < n->n && !err; i++) {
		const struct yaml_node *item = n->items[i];

		if (item->type == YAML_SCALAR) {
			err = check_text(l, item, "a reference");
			continue;
		}
		err = yaml_check_keys(item, l->file, "a reference", allowed, l->err);
		if (!err && !yaml_get(item, "url"))
			return yaml_fail(l->err, l->file, item->line, "a reference needs a url");
		for (size_t k = 0; k < item->n && !err; k++)
			err = check_text(l, item->items[k], item->keys[k]->scalar);
	}
	return err;
}

static int parse_techniques(struct loader *l, const struct yaml_node *n)
{
	int err = 0;

	if (n->type != YAML_LIST || n->n > LIST_MAX)
		return wants(l, n, "attack_techniques",
			     "a list of at most 64 maps like mitre_atlas: AML.T0051");
	for (size_t i = 0; i < n->n && !err; i++) {
		const struct yaml_node *item = n->items[i];

		if (item->type != YAML_MAP || item->n == 0)
			return wants(l, item, "an attack technique",
				     "a map like mitre_atlas: AML.T0051");
		for (size_t k = 0; k < item->n && !err; k++) {
			err = check_text(l, item->keys[k], "a catalogue");
			if (!err)
				err = check_text(l, item->items[k], "an attack technique");
		}
	}
	return err;
}

/* ---- action, threshold, evidence ----------------------------------------------------------- */

static int parse_verdict(struct loader *l, const struct yaml_node *n, const char *what,
			 enum verdict *ret)
{
	int v = n->type == YAML_SCALAR ? verdict_parse(n->scalar) : -EINVAL;

	if (v < 0)
		return wants(l, n, what, "block, warn or allow");
	*ret = (enum verdict)v;
	return 0;
}

static int parse_options(struct loader *l, const struct yaml_node *n, struct compiled *c)
{
	int err;

	if (n->type != YAML_LIST || n->n == 0)
		return wants(l, n, "action.options", "a list of block, warn, allow");
	for (size_t i = 0; i < n->n; i++) {
		enum verdict v = VERDICT_ALLOW;

		err = parse_verdict(l, n->items[i], "an option of action", &v);
		if (err)
			return err;
		c->options |= 1u << v;
	}
	if (!(c->options >> c->rule.action & 1))
		return yaml_fail(l->err, l->file, n->line,
				 "action.default \"%s\" is not among its options: add it",
				 verdict_name(c->rule.action));
	return 0;
}

/* One of two words. */
static int parse_choice(struct loader *l, const struct yaml_node *n, const char *what,
			const char *yes, const char *no, bool *ret)
{
	char form[64];

	if (n->type == YAML_SCALAR && (!strcmp(n->scalar, yes) || !strcmp(n->scalar, no))) {
		*ret = !strcmp(n->scalar, yes);
		return 0;
	}
	snprintf(form, sizeof(form), "%s or %s", yes, no);
	return wants(l, n, what, form);
}

static int parse_action(struct loader *l, const struct yaml_node *n, struct compiled *c)
{
	static const char *const allowed[] = { "default", "configurable", "options", "on_block",
					       "on_timeout", "deadline", NULL };
	const struct yaml_node *v;
	bool deny = true;
	int err;

	err = yaml_check_keys(n, l->file, "action", allowed, l->err);
	if (err)
		return err;
	v = yaml_get(n, "default");
	if (!v)
		return yaml_fail(l->err, l->file, n->line,
				 "action needs a default: block, warn or allow");
	err = parse_verdict(l, v, "action.default", &c->rule.action);
	if (!err && (v = yaml_get(n, "configurable")) && yaml_bool(v, &c->configurable))
		err = wants(l, v, "action.configurable", "true or false");
	if (!err && (v = yaml_get(n, "options")))
		err = parse_options(l, v, c);
	if (!err && (v = yaml_get(n, "on_block")) && (c->rule.hold_said = true))
		err = parse_choice(l, v, "action.on_block", "hold", "deny", &c->rule.hold);
	if (!err && (v = yaml_get(n, "on_timeout")) && (c->rule.on_timeout_said = true))
		err = parse_choice(l, v, "action.on_timeout", "deny", "allow", &deny);
	if (err)
		return err;
	c->rule.action_default = c->rule.action;
	c->rule.on_timeout = deny ? VERDICT_BLOCK : VERDICT_ALLOW;
	v = yaml_get(n, "deadline");
	if (v && (yaml_duration_ns(v, &c->rule.deadline_ns) || c->rule.deadline_ns == 0 ||
		  c->rule.deadline_ns > (c->rule.hold ? HOLD_MAX_NS : DEADLINE_MAX_NS)))
		return wants(l, v, "action.deadline", c->rule.hold ?
			     "a time like 30s or 5m, at most 10m" :
			     "a time like 500ms or 2s, at most 10s");
	c->rule.hold_ns = c->rule.hold && c->rule.deadline_ns ? c->rule.deadline_ns : HOLD_DEFAULT_NS;
	c->rule.hold_then = c->rule.on_timeout;
	return 0;
}

static bool has_ordering(const struct node *n, int64_t literal)
{
	for (size_t i = 0; i < n->n; i++) {
		if (n->type != NODE_COMPARE) {
			if (has_ordering(n->kids[i], literal))
				return true;
		} else if (n->op >= OP_GT && n->op <= OP_LTE && n->values[i].number == literal &&
			   field_info(n->field)->type == FIELD_TYPE_NUMBER) {
			return true;
		}
	}
	return false;
}

static int parse_threshold(struct loader *l, const struct yaml_node *n, const struct node *match,
			   struct rule *r)
{
	static const char *const allowed[] = { "default", "configurable", NULL };
	const struct yaml_node *v;
	int64_t number;
	int err;

	err = yaml_check_keys(n, l->file, "threshold", allowed, l->err);
	if (err)
		return err;
	v = yaml_get(n, "configurable");
	if (v && yaml_bool(v, &r->threshold_configurable))
		return wants(l, v, "threshold.configurable", "true or false");
	v = yaml_get(n, "default");
	if (!v || yaml_int(v, &number))
		return wants(l, v ? v : n, "threshold.default", "a whole number");
	if (!has_ordering(match, number))
		return yaml_fail(l->err, l->file, v->line,
				 "threshold.default %lld is in no gt, gte, lt or lte of match: "
				 "the two must agree", (long long)number);
	r->has_threshold = true;
	r->threshold = r->threshold_default = number;
	return 0;
}

/* groups: how many there are around n. */
static int check_depth(struct loader *l, const struct yaml_node *n, unsigned groups)
{
	int err = 0;

	for (size_t i = 0; n->type == YAML_MAP && i < n->n && !err; i++) {
		const struct yaml_node *list = n->items[i];
		const char *key = n->keys[i]->scalar;

		if (strcmp(key, "any_of") && strcmp(key, "all_of") && strcmp(key, "none_of"))
			continue;
		if (groups == MATCH_DEPTH_MAX)
			return yaml_fail(l->err, l->file, n->keys[i]->line,
					 "any_of, all_of and none_of are nested deeper than %d",
					 MATCH_DEPTH_MAX);
		for (size_t k = 0; list->type == YAML_LIST && k < list->n && !err; k++)
			err = check_depth(l, list->items[k], groups + 1);
	}
	return err;
}

int match_check_depth(struct loader *l, const struct yaml_node *n)
{
	return check_depth(l, n, 0);
}

static int parse_capture(struct loader *l, const struct yaml_node *n, struct rule *r)
{
	if (n->type != YAML_LIST || n->n > RULE_CAPTURE_MAX)
		return wants(l, n, "evidence.capture", "a list of at most 24 fields");
	for (size_t i = 0; i < n->n; i++) {
		const struct yaml_node *item = n->items[i];
		int field = item->type == YAML_SCALAR ? field_by_name(item->scalar) : -ENOENT;

		if (field < 0 || !(field_info((enum field_id)field)->kinds >> r->kind & 1)) {
			char list[384] = "";

			for (int k = 0; k < FIELD_COUNT; k++)
				if (field_info((enum field_id)k)->kinds >> r->kind & 1)
					snprintf(list + strlen(list), sizeof(list) - strlen(list),
						 "%s%s", *list ? ", " : "",
						 field_info((enum field_id)k)->name);
			return yaml_fail(l->err, l->file, item->line,
					 "%s \"%.40s\" for kind %s; allowed: %s",
					 field < 0 ? "unknown field" : "no field",
					 item->type == YAML_SCALAR ? item->scalar : "[…]",
					 event_kind_name(r->kind), list);
		}
		for (unsigned k = 0; k < r->n_capture; k++)
			if (r->capture[k] == (enum field_id)field)
				return yaml_fail(l->err, l->file, item->line,
						 "field \"%s\" is captured twice", item->scalar);
		r->capture[r->n_capture++] = (enum field_id)field;
	}
	return 0;
}

static int parse_evidence(struct loader *l, const struct yaml_node *n, struct rule *r)
{
	static const char *const allowed[] = { "capture", "retain_for", NULL };
	const struct yaml_node *v;
	int err;

	err = yaml_check_keys(n, l->file, "evidence", allowed, l->err);
	if (!err && (v = yaml_get(n, "capture")))
		err = parse_capture(l, v, r);
	if (err)
		return err;
	v = yaml_get(n, "retain_for");
	if (!v)
		return 0;
	if (yaml_duration_s(v, &r->retain_s) || r->retain_s == 0 ||
	    !strchr("hdwy", v->scalar[strlen(v->scalar) - 1]))
		return wants(l, v, "evidence.retain_for", "a time like 12h, 90d, 2w or 1y");
	return 0;
}

int rule_parse(struct loader *l, const struct yaml_node *root, struct compiled *ret)
{
	static const char *const allowed[] = { "id", "part", "name", "version", "kind", "match",
					       "threshold", "action", "evidence", "references",
					       "attack_techniques", "authors", NULL };
	static const char *const required[] = { "id", "name", "version", "kind", "match",
						"action" };
	struct compiled c = { .rule.on_timeout = VERDICT_BLOCK };
	const struct yaml_node *n;
	int err;

	err = yaml_check_keys(root, l->file, "rule", allowed, l->err);
	if (err)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		if (!yaml_get(root, required[i]))
			return yaml_fail(l->err, l->file, root->line, "the rule has no %s",
					 required[i]);
	c.rule.line = root->line;
	c.rule.file = pool_strdup(l->pool, l->file);
	c.rule.bound_why = "";
	if (!c.rule.file)
		return no_memory(l);
	err = parse_head(l, root, &c.rule);
	if (!err)
		err = match_check_depth(l, yaml_get(root, "match"));
	if (!err)
		err = match_parse(l, c.rule.kind, yaml_get(root, "match"), &c.match);
	if (!err)
		err = parse_action(l, yaml_get(root, "action"), &c);
	if (!err && (n = yaml_get(root, "threshold")))
		err = parse_threshold(l, n, c.match, &c.rule);
	if (!err && (n = yaml_get(root, "evidence")))
		err = parse_evidence(l, n, &c.rule);
	if (!err && (n = yaml_get(root, "authors")))
		err = parse_authors(l, n);
	if (!err && (n = yaml_get(root, "references")))
		err = parse_references(l, n);
	if (!err && (n = yaml_get(root, "attack_techniques")))
		err = parse_techniques(l, n);
	if (!err)
		*ret = c;
	return err;
}
