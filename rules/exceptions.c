/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions of a host: what a rule does not fire for, though it matches. They are read in the
 * language of rules, asked only when a rule matched, and count under the one name in hand: they
 * never change what is marked or which rules the index offers.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "rules/compiled.h"

static int no_memory(struct loader *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

static bool is_group(const char *key)
{
	return !strcmp(key, "any_of") || !strcmp(key, "all_of") || !strcmp(key, "none_of");
}

/* Lists are a matter of rule files: a host's configuration is read where there are none. */
static int check_no_lists(struct loader *l, const struct yaml_node *n)
{
	int err = 0;

	for (size_t i = 0; n->type != YAML_SCALAR && i < n->n && !err; i++) {
		if (n->type == YAML_MAP && !strcmp(n->keys[i]->scalar, "list"))
			return yaml_fail(l->err, l->file, n->keys[i]->line, "lists of rule files are "
					 "not known in an exception: write the values themselves");
		err = check_no_lists(l, n->items[i]);
	}
	return err;
}

/* Also one comparison without a group around it. */
static int parse_match(struct loader *l, enum event_kind kind, const struct yaml_node *n,
		       struct node **ret)
{
	struct yaml_node *item = (struct yaml_node *)(uintptr_t)n;
	struct yaml_node key = { .type = YAML_SCALAR, .line = n->line, .scalar = "all_of" };
	struct yaml_node list = { .type = YAML_LIST, .line = n->line, .n = 1, .items = &item };
	struct yaml_node *keys[] = { &key }, *items[] = { &list };
	struct yaml_node all = { .type = YAML_MAP, .line = n->line, .n = 1, .items = items,
				 .keys = keys };
	int err;

	if (n->type != YAML_MAP || n->n == 0)
		return yaml_fail(l->err, l->file, n->line, "match of an exception must be any_of, all_of "
				 "or none_of, or one comparison like process_name: { eq: terraform }");
	err = check_no_lists(l, n);
	if (!err)
		err = match_check_depth(l, n);
	if (err)
		return err;
	if (is_group(n->keys[0]->scalar))
		return match_parse(l, kind, n, ret);
	if (n->n > 1)
		return yaml_fail(l->err, l->file, n->keys[1]->line, "match has two comparisons: put them "
				 "into a list under all_of, or under any_of");
	return match_parse(l, kind, &all, ret);
}

/* What is compared below none_of, or by ne: were it not known, it would let through. */
static void negated(const struct node *n, bool below, uint64_t *set)
{
	if (n->type == NODE_COMPARE) {
		if (below)
			*set |= UINT64_C(1) << n->field;
		return;
	}
	for (size_t i = 0; i < n->n; i++)
		negated(n->kids[i], below || n->type == NODE_NONE, set);
}

static int add_to_rule(struct loader *l, const struct config_exception *e,
		       const struct rule_exception *told, struct compiled *c)
{
	struct node *none = pool_alloc(l->pool, sizeof(*none)), *match;
	int err;

	if (!none)
		return no_memory(l);
	none->kids = pool_array(l->pool, 1, sizeof(struct node *));
	if (!none->kids)
		return no_memory(l);
	err = parse_match(l, c->rule.kind, e->match, &match);
	if (err)
		return err;
	none->type = NODE_NONE;
	none->n = 1;
	none->kids[0] = match;
	c->exceptions[c->n_exceptions] = (struct exception){ .told = told, .none = none };
	negated(match, false, &c->exceptions[c->n_exceptions].must_know);
	c->n_exceptions++;
	return 0;
}

static int tell(struct loader *l, const struct config_exception *e, struct rule_exception *ret)
{
	*ret = (struct rule_exception){
		.rule = pool_strdup(l->pool, e->rule),
		.reason = pool_strdup(l->pool, e->reason),
		.author = pool_strdup(l->pool, e->author),
		.expires = pool_strdup(l->pool, e->expires ? e->expires : ""),
		.expires_unix_s = e->expires_unix_s,
		.file = pool_strdup(l->pool, e->file),
		.line = e->line,
	};
	return ret->rule && ret->reason && ret->author && ret->expires && ret->file ? 0 :
										     no_memory(l);
}

static size_t count_of(const struct config *site, const struct rule *r, bool *named)
{
	size_t n = 0;
	bool part;

	for (size_t i = 0; i < site->n_exceptions; i++)
		if (rule_is_named(r, site->exceptions[i].rule, &part)) {
			named[i] = true;
			n++;
		}
	return n;
}

int except_rules(struct loader *l, const struct config *site, struct compiled *const *rules,
		 size_t n, const struct rule_exception **ret)
{
	struct rule_exception *told = pool_array(l->pool, site->n_exceptions + 1, sizeof(*told));
	bool *named = pool_array(l->pool, site->n_exceptions + 1, sizeof(*named)), part;
	int err = 0;

	if (!told || !named)
		return no_memory(l);
	for (size_t k = 0; k < n && site->n_exceptions; k++) {
		size_t count = count_of(site, &rules[k]->rule, named);

		if (!count)
			continue;
		rules[k]->exceptions = pool_array(l->pool, count, sizeof(*rules[k]->exceptions));
		if (!rules[k]->exceptions)
			return no_memory(l);
	}
	for (size_t i = 0; i < site->n_exceptions && !err; i++) {
		const struct config_exception *e = &site->exceptions[i];
		struct loader at = { .pool = l->pool, .file = e->file, .err = l->err,
				     .budget = l->budget };

		if (!named[i])
			return yaml_fail(l->err, e->file, e->line, "exceptions: there is no rule %s; "
					 "`oknek rules list` shows them", e->rule);
		err = tell(&at, e, &told[i]);
		for (size_t k = 0; k < n && !err; k++)
			if (rule_is_named(&rules[k]->rule, e->rule, &part))
				err = add_to_rule(&at, e, &told[i], rules[k]);
	}
	if (!err)
		*ret = told;
	return err;
}

static bool is_known(struct match_context *ctx, enum field_id field)
{
	const char *category = NULL, *const *names;
	struct field_value v;

	if (field == FIELD_PROCESS_NAME)
		return match_process_names(ctx, &names) > 0;
	if (field == FIELD_ARGV || field == FIELD_BASH_COMMAND)
		return match_knows_command(ctx, field);
	if (field == FIELD_MATCHED_CATEGORY && ctx->category)
		category = ctx->category(ctx, ctx->name_index);
	field_get(ctx->ev, field, ctx->name_index, category, ctx->clock, &v);
	return !v.null;
}

bool rule_is_excepted(struct match_context *ctx, const struct compiled *c)
{
	for (size_t i = 0; i < c->n_exceptions; i++) {
		const struct exception *e = &c->exceptions[i];
		bool known = true;

		if (e->told->expires_unix_s != INT64_MAX &&
		    (!ctx->clock || ctx->clock->unix_s >= e->told->expires_unix_s))
			continue;
		for (int f = 0; f < FIELD_COUNT && known && e->must_know; f++)
			known = !(e->must_know >> f & 1) || is_known(ctx, (enum field_id)f);
		/* A comparison that cannot be finished makes a rule fire; below none_of it keeps
		 * an exception from being one. */
		if (known && !match_event(ctx, e->none))
			return true;
	}
	return false;
}

void ruleset_count_excepted(const struct decision *d)
{
	struct compiled *c = (struct compiled *)(uintptr_t)d->excepted;

	if (c)
		atomic_fetch_add_explicit(&c->let_through, 1, memory_order_relaxed);
}

uint64_t ruleset_let_through(const struct ruleset *rs, size_t i)
{
	return atomic_load_explicit(&rs->rules[i]->let_through, memory_order_relaxed);
}
