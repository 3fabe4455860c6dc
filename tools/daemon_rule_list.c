/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that serve, for whoever asks: what they say, and what this host made of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "rules/explain.h"
#include "tools/daemon.h"

struct rules_call {
	struct daemon *d;
	struct ruleset *rules;
};

static void pin_rules(void *arg)
{
	struct rules_call *c = arg;

	c->rules = ruleset_ref(c->d->rules);
}

struct ruleset *daemon_rules_ref(struct daemon *d)
{
	struct rules_call c = { d, NULL };

	loop_call(d->loop, pin_rules, &c);
	return c.rules;
}

/* The bytes of the character that s begins with; 0: it is not UTF-8. */
static size_t character(const char *s)
{
	size_t n = 1;
	json_t *j;

	if ((unsigned char)*s < 0x80)
		return 1;
	while (n < 4 && ((unsigned char)s[n] & 0xc0) == 0x80)
		n++;
	for (; n > 1; n--) {
		j = json_stringn(s, n);
		json_decref(j);
		if (j)
			return n;
	}
	return 0;
}

json_t *daemon_json_text(const char *text)
{
	json_t *j = json_string(text);
	_cleanup_free_ char *escaped = NULL;
	char *out;
	size_t n;

	if (j)
		return j;
	out = escaped = malloc(4 * strlen(text) + 1);
	if (!out)
		return NULL;
	for (; *text; text += n ? n : 1) {
		n = character(text);
		if (n)
			out = mempcpy(out, text, n);
		else
			out += sprintf(out, "\\x%02x", (unsigned char)*text);
	}
	*out = '\0';
	return json_string(escaped);
}

static json_t *text_or_null(const char *text)
{
	json_t *j = text ? daemon_json_text(text) : NULL;

	return j ? j : json_null();
}

static json_t *number_or_null(bool is, int64_t number)
{
	return is ? json_integer((json_int_t)number) : json_null();
}

/* What oknek.yaml says, and where; overridden is both places in one. */
static void add_overrides(json_t *j, const struct rule *r)
{
	const char *a = r->action_from, *t = r->threshold_from;
	_cleanup_free_ char *both = NULL;

	json_object_set_new(j, "action_default", json_string(verdict_name(r->action_default)));
	json_object_set_new(j, "action_overridden", text_or_null(a));
	json_object_set_new(j, "threshold", number_or_null(r->has_threshold, r->threshold));
	json_object_set_new(j, "threshold_default",
			    number_or_null(r->has_threshold, r->threshold_default));
	json_object_set_new(j, "threshold_overridden", text_or_null(t));
	if (a && t && strcmp(a, t) != 0 && asprintf(&both, "%s, %s", a, t) < 0)
		both = NULL;
	json_object_set_new(j, "overridden", text_or_null(both ? both : a ? a : t));
}

static json_t *exceptions_json(const struct ruleset *rs, size_t i)
{
	const struct rule_exception *e;
	json_t *list = json_array();
	int64_t now = time(NULL);

	for (size_t k = 0; (e = ruleset_rule_exception(rs, i, k)); k++)
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:o, s:b, s:o, s:i}", "rule", e->rule, "reason",
					e->reason, "author", e->author, "expires",
					text_or_null(*e->expires ? e->expires : NULL), "expired",
					e->expires_unix_s <= now, "file", text_or_null(e->file), "line",
					(int)e->line));
	return list;
}

static json_t *rule_json(const struct ruleset *rs, size_t i, bool source)
{
	const struct rule *r = ruleset_rule(rs, i);
	_cleanup_free_ char *explain = NULL;
	json_t *j = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:o, s:s, s:o, s:i}", "id", r->id,
			      "part", r->part, "version", (int)r->version, "name", r->name, "kind",
			      event_kind_name(r->kind), "action", verdict_name(r->action),
			      "mechanism", mechanism_name(r->mechanism), "why", text_or_null(r->bound_why),
			      "pack", r->pack, "file", text_or_null(r->file), "line", (int)r->line);

	if (!j)
		return NULL;
	json_object_set_new(j, "observed", json_boolean(r->observed));
	json_object_set_new(j, "on_block", json_string(r->hold ? "hold" : "deny"));
	add_overrides(j, r);
	json_object_set_new(j, "exceptions", exceptions_json(rs, i));
	json_object_set_new(j, "let_through", json_integer((json_int_t)ruleset_let_through(rs, i)));
	if (source)
		json_object_set_new(j, "source", json_string(ruleset_source(rs, i)));
	if (source && rules_describe(rs, i, &explain) == 0)
		json_object_set_new(j, "explain", text_or_null(explain));
	return j;
}

const char *daemon_cmd_rules(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply)
{
	const char *only = json_string_value(json_object_get(req, "id"));
	struct ruleset *rs = daemon_rules_ref(arg);
	bool found = false, failed = false;

	(void)peer;
	for (size_t i = 0; rs && i < ruleset_count(rs); i++) {
		const struct rule *r = ruleset_rule(rs, i);
		json_t *j;

		if (only && !rule_is_named(r, only, NULL))
			continue;
		found = true;
		j = rule_json(rs, i, only != NULL);
		/* A list that lacks one would say that there is none. */
		if (!j) {
			snprintf(reply->err, sizeof(reply->err), "rule %s%s%s cannot be told",
				 r->id, *r->part ? "/" : "", r->part);
			failed = true;
			break;
		}
		if (reply->item(reply, j) < 0)
			break;
	}
	if (rs && !only && !failed)
		reply->result = json_pack("{s:o}", "pack", daemon_pack_json(arg, rs));
	ruleset_unref(rs);
	if (failed)
		return "internal";
	if (!only || found)
		return NULL;
	snprintf(reply->err, sizeof(reply->err), "no rule %s", only);
	return "notfound";
}
