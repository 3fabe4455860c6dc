/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions of a host: what a rule does not fire for, though it matches. They are read in the
 * language of rules, asked only when a rule matched, and count under the one name in hand: they
 * never change what is marked or which rules the index offers.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "rules/compiled.h"

#define EXCEPTION_EXE_MAX 255 /* what the source asks about: WATCH_NAME_MAX */

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

/* ---- what an exception asks -------------------------------------------------------------------- */

#define BIT(field) (UINT64_C(1) << (field))

/* Exceptions that are being read. */
struct reading {
	struct budget budget; /* of their own: rules have no less room for them */
	const char **exes;
	size_t n_exes, room;
};

static bool uses_home(const struct node *n)
{
	bool is_path = field_info(n->field)->type == FIELD_TYPE_PATH;

	for (size_t i = 0; is_path && i < n->n; i++)
		if (n->op == OP_GLOB ? glob_uses_home(n->values[i].glob) : n->values[i].at_home)
			return true;
	return false;
}

/* below: some none_of, negated: an odd number of them. Where it is not so would let through, it must
 * be known not to be. */
static void asked(const struct node *n, bool below, bool negated, struct exception *x)
{
	bool none = n->type == NODE_NONE;

	if (n->type != NODE_COMPARE) {
		for (size_t i = 0; i < n->n; i++)
			asked(n->kids[i], below || none, negated != none, x);
		return;
	}
	if (below)
		x->must_know |= BIT(n->field);
	if (negated != (n->op == OP_NE) && uses_home(n))
		x->must_know_home |= BIT(n->field);
}

static int add_exe(struct loader *l, struct reading *r, const char *exe)
{
	if (r->n_exes == r->room) {
		const char **grown = pool_array(l->pool, r->room * 2 + 16, sizeof(*grown));

		if (!grown)
			return no_memory(l);
		if (r->n_exes)
			memcpy(grown, r->exes, r->n_exes * sizeof(*grown));
		r->exes = grown;
		r->room = r->room * 2 + 16;
	}
	r->exes[r->n_exes++] = exe;
	return 0;
}

/*
 * By which exe it lets through has to be verified, so these are paths of files that can be looked up
 * beforehand. What it takes out again may be told by any comparison but one that is a way to say the
 * opposite.
 */
static int check_exe(struct loader *l, struct reading *r, const struct node *n, bool below,
		     struct rule_exception *told)
{
	int err = 0;

	if (n->type != NODE_COMPARE) {
		for (size_t i = 0; i < n->n && !err; i++)
			err = check_exe(l, r, n->kids[i], below != (n->type == NODE_NONE), told);
		return err;
	}
	told->by_name |= n->field == FIELD_PROCESS_NAME;
	if (n->field != FIELD_EXE)
		return 0;
	if (below && n->op != OP_NE) {
		told->by_name = true;
		return 0;
	}
	if (n->op != OP_EQ)
		return yaml_fail(l->err, l->file, n->line, "exe: { %s: … } lets nobody through: what a "
				 "program is called can be forged, and only exe: { eq: /path } and in are "
				 "verified against the file; below none_of all but ne and not_in are "
				 "allowed", match_word(n));
	told->by_exe = true;
	for (size_t i = 0; i < n->n && !err; i++) {
		const struct value *v = &n->values[i];

		if (v->at_home || v->len_bytes > EXCEPTION_EXE_MAX)
			return yaml_fail(l->err, l->file, n->line, "exe of an exception is an absolute "
					 "path of at most %d bytes: the file must belong to root",
					 EXCEPTION_EXE_MAX);
		err = add_exe(l, r, v->text);
	}
	return err;
}

static int parse_one(struct loader *l, struct reading *r, enum event_kind kind,
		     const struct config_exception *e, struct rule_exception *told,
		     struct exception *ret)
{
	struct node *none = pool_alloc(l->pool, sizeof(*none)), *match;
	struct exception x = { .told = told, .none = none };
	int err;

	if (!none)
		return no_memory(l);
	none->kids = pool_array(l->pool, 1, sizeof(struct node *));
	if (!none->kids)
		return no_memory(l);
	err = parse_match(l, kind, e->match, &match);
	if (!err)
		err = check_exe(l, r, match, false, told);
	if (err)
		return err;
	none->type = NODE_NONE;
	none->n = 1;
	none->kids[0] = match;
	asked(match, false, false, &x);
	told->unverifiable |= told->by_exe && kind != KIND_FILE_OPENED;
	*ret = x;
	return 0;
}

/* One exception to all rules that it names, which may be of several kinds. */
static int add_to_rules(struct loader *l, struct reading *r, const struct config_exception *e,
			struct rule_exception *told, struct compiled *const *rules, size_t n)
{
	struct exception of[KIND_COUNT] = { { .none = NULL } };

	for (size_t k = 0; k < n; k++) {
		enum event_kind kind = rules[k]->rule.kind;
		int err = 0;

		if (!rule_is_named(&rules[k]->rule, e->rule, NULL))
			continue;
		if (!of[kind].none)
			err = parse_one(l, r, kind, e, told, &of[kind]);
		if (err)
			return err;
		rules[k]->exceptions[rules[k]->n_exceptions++] = of[kind];
	}
	if (told->by_exe)
		told->by_name = false;
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
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

	for (size_t i = 0; i < site->n_exceptions; i++)
		if (rule_is_named(r, site->exceptions[i].rule, NULL)) {
			named[i] = true;
			n++;
		}
	return n;
}

int except_rules(struct loader *l, const struct config *site, struct compiled *const *rules,
		 size_t n, struct ruleset *rs)
{
	struct reading r = { .budget = { .whose = "exceptions" } };
	struct rule_exception *told = pool_array(l->pool, site->n_exceptions + 1, sizeof(*told));
	bool *named = pool_array(l->pool, site->n_exceptions + 1, sizeof(*named));
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
				     .budget = &r.budget };

		if (!named[i])
			return yaml_fail(l->err, e->file, e->line, "exceptions: there is no rule %s; "
					 "`oknek rules list` shows them", e->rule);
		err = tell(&at, e, &told[i]);
		if (!err)
			err = add_to_rules(&at, &r, e, &told[i], rules, n);
	}
	if (err)
		return err;
	if (r.n_exes)
		qsort(r.exes, r.n_exes, sizeof(*r.exes), by_text);
	rs->exceptions = told;
	rs->n_exceptions = site->n_exceptions;
	rs->exes = r.exes;
	rs->n_exes = r.n_exes;
	return 0;
}

/* ---- when an event is decided ------------------------------------------------------------------ */

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
		for (int f = 0; f < FIELD_COUNT && known && e->must_know_home; f++)
			known = !(e->must_know_home >> f & 1) ||
				match_knows_home(ctx, (enum field_id)f);
		/* A comparison that cannot be finished makes a rule fire; below none_of it keeps
		 * an exception from being one. */
		ctx->excepting = true;
		known = known && !match_event(ctx, e->none);
		ctx->excepting = false;
		if (known)
			return true;
	}
	return false;
}

void ruleset_count_excepted(const struct decision *d)
{
	for (unsigned i = 0; i < d->n_excepted; i++) {
		struct compiled *c = (struct compiled *)(uintptr_t)d->excepted[i];

		/* What another rule did all the same was not let through. */
		if (c->rule.action > d->verdict)
			atomic_fetch_add_explicit(&c->let_through, 1, memory_order_relaxed);
	}
}

uint64_t ruleset_let_through(const struct ruleset *rs, size_t i)
{
	return atomic_load_explicit(&rs->rules[i]->let_through, memory_order_relaxed);
}
