/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host changes about rules: their action, and their threshold. What is said about a part
 * goes before what is said about a whole id.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "rules/lint_priv.h"

static int no_memory(struct loader *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

/* The entry that counts for the rule, or NULL. */
static const struct config_override *find(const struct config *site, const struct rule *r,
					  enum config_override_key key, bool *part)
{
	const struct config_override *ret = NULL;
	bool of_part;

	for (size_t i = 0; i < site->n_overrides; i++) {
		const struct config_override *o = &site->overrides[i];

		if (o->key == key && rule_is_named(r, o->rule, &of_part) && (of_part || !ret)) {
			ret = o;
			*part = of_part;
		}
	}
	return ret;
}

static int refuse(struct loader *l, const struct config_override *o, const struct rule *r,
		  const char *why)
{
	char what[48];

	if (o->key == OVERRIDE_ACTION)
		snprintf(what, sizeof(what), "action %s", verdict_name(o->action));
	else
		snprintf(what, sizeof(what), "threshold %lld", (long long)o->threshold);
	return yaml_fail(l->err, o->at.file ? o->at.file : "rules", o->at.line,
			 "%.80s: %s is refused, rule %s%s%s %s (%.160s:%u)", o->rule, what, r->id,
			 *r->part ? "/" : "", r->part, why, r->file, r->line);
}

static const char *place(struct loader *l, const struct config_override *o)
{
	char text[4200];

	snprintf(text, sizeof(text), "%s:%u", o->at.file ? o->at.file : "?", o->at.line);
	return pool_strdup(l->pool, text);
}

static int override_action(struct loader *l, const struct config *site, struct compiled *c)
{
	bool part;
	const struct config_override *o = find(site, &c->rule, OVERRIDE_ACTION, &part);

	if (!o)
		return 0;
	if (!c->configurable)
		return refuse(l, o, &c->rule, "is not configurable");
	if (c->options && !(c->options >> o->action & 1))
		return refuse(l, o, &c->rule, "does not have it in its options");
	c->rule.action = o->action;
	c->rule.action_from = place(l, o);
	return c->rule.action_from ? 0 : no_memory(l);
}

/* Every ordering literal that is the default. Returns a comparison that would never hold or whose field
 * never has the new value, NULL: there is none. */
static const struct node *replace(struct node *n, int64_t was, int64_t now)
{
	const struct node *wrong = NULL;
	int64_t min, max;

	if (n->type != NODE_COMPARE) {
		for (size_t i = 0; i < n->n && !wrong; i++)
			wrong = replace(n->kids[i], was, now);
		return wrong;
	}
	if (n->op < OP_GT || n->op > OP_LTE || !lint_range(n->field, &min, &max))
		return NULL;
	for (size_t i = 0; i < n->n; i++) {
		if (n->values[i].number != was)
			continue;
		n->values[i].number = now;
		/* gte: 20, lt: 24 is how people write all that is left */
		if (now < min - (n->op == OP_GT) || now - (n->op == OP_LT) > max || (!lint_number_holds(n, min) && !lint_number_holds(n, max)))
			wrong = n;
	}
	return wrong;
}

static const char *why_no_threshold(const struct rule *r)
{
	if (!r->has_threshold)
		return "has no threshold";
	return r->threshold_configurable ? NULL : "does not say threshold.configurable: true";
}

static int override_threshold(struct loader *l, const struct config *site, struct compiled *c)
{
	bool part = false;
	const struct config_override *o = find(site, &c->rule, OVERRIDE_THRESHOLD, &part);
	const char *why = why_no_threshold(&c->rule);
	const struct node *wrong;
	int64_t min, max;
	char text[160];

	if (!o || (why && !part)) /* of a whole id: for those of its parts that have one */
		return 0;
	if (why)
		return refuse(l, o, &c->rule, why);
	wrong = replace(c->match, c->rule.threshold_default, o->threshold);
	if (wrong) {
		lint_range(wrong->field, &min, &max);
		if (max == INT64_MAX)
			snprintf(text, sizeof(text), "asks %s %s it, which is %" PRId64 " or more",
				 field_info(wrong->field)->name, match_word(wrong), min);
		else
			snprintf(text, sizeof(text), "asks %s %s it, which is %" PRId64 " to %" PRId64,
				 field_info(wrong->field)->name, match_word(wrong), min, max);
		return refuse(l, o, &c->rule, text);
	}
	c->rule.threshold = o->threshold;
	c->rule.threshold_from = place(l, o);
	return c->rule.threshold_from ? 0 : no_memory(l);
}

/* Whether an operator is asked, by the nearest that says so: the host of this rule, the rule, the host. */
static int override_on_block(struct loader *l, const struct config *site, struct compiled *c)
{
	bool part;
	const struct config_override *o = find(site, &c->rule, OVERRIDE_ON_BLOCK, &part);
	struct rule *r = &c->rule;

	/* The rule's deadline is for whom the rule says. */
	r->hold_ns = r->hold_said && r->hold && r->deadline_ns ? r->deadline_ns : site->hold_ns;
	r->hold_then = r->on_timeout_said ? r->on_timeout : site->on_timeout;
	if (!o) {
		r->hold = r->hold_said ? r->hold : site->hold;
		return 0;
	}
	if (r->hold_said && r->hold && !o->hold)
		r->deadline_ns = 0; /* it was an operator's: a helper is not given that long */
	r->hold = o->hold;
	r->hold_from = place(l, o);
	return r->hold_from ? 0 : no_memory(l);
}

/* Something must come of what is said. */
static int check_named(struct loader *l, const struct config_override *o,
		       struct compiled *const *rules, size_t n)
{
	const struct rule *found = NULL;
	bool part;

	for (size_t i = 0; i < n; i++) {
		if (!rule_is_named(&rules[i]->rule, o->rule, &part))
			continue;
		if (o->key != OVERRIDE_THRESHOLD || !why_no_threshold(&rules[i]->rule))
			return 0;
		if (!found || (rules[i]->rule.has_threshold && !found->has_threshold))
			found = &rules[i]->rule;
	}
	if (found)
		return refuse(l, o, found, why_no_threshold(found));
	return yaml_fail(l->err, o->at.file ? o->at.file : "rules", o->at.line,
			 "%.80s: there is no such rule; `oknek rules list` shows them", o->rule);
}

int override_rules(struct loader *l, const struct config *site, struct compiled *const *rules,
		   size_t n)
{
	int err = 0;

	for (size_t i = 0; i < site->n_overrides && !err; i++)
		err = check_named(l, &site->overrides[i], rules, n);
	for (size_t i = 0; i < n && !err; i++) {
		err = override_action(l, site, rules[i]);
		if (!err)
			err = override_threshold(l, site, rules[i]);
		if (!err)
			err = override_on_block(l, site, rules[i]);
	}
	return err;
}
