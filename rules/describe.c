/* SPDX-License-Identifier: Apache-2.0 */
/* A rule in sentences, for whoever runs a host and has not written it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/compiled.h"
#include "rules/explain.h"

#define VALUES_TOLD 5 /* of a comparison */
#define DAY_S UINT64_C(86400)

struct telling {
	FILE *out;
	struct pool *pool;
	bool failed;
};

static const char *const kind_words[KIND_COUNT] = {
	[KIND_EXEC_OBSERVED] = "programs that a watched tree starts",
	[KIND_FILE_OPENED] = "files that a watched tree opens",
	[KIND_SOCKET_CONNECT] = "connections that a watched tree makes",
	[KIND_FILE_CHANGED] = "files that a watched tree changes",
	[KIND_BASELINE_DRIFT] = "behaviour that drifts from what a watched tree usually does",
	[KIND_FILE_SCANNED] = "files that are scanned",
	[KIND_MCP_ENDPOINT] = "MCP endpoints that a watched tree uses",
};

static const char *field_words(enum field_id id)
{
	switch (id) {
	case FIELD_AGENT_IDENTIFIER:
		return "agent";
	case FIELD_PROCESS_NAME:
		return "program's name";
	case FIELD_EXE:
		return "program's path";
	case FIELD_PID:
		return "process id";
	case FIELD_PARENT_PID:
		return "parent's process id";
	case FIELD_UID:
		return "user id";
	case FIELD_CGROUP:
		return "control group";
	case FIELD_WALL_CLOCK:
		return "local time";
	case FIELD_WALL_CLOCK_HOUR:
		return "local hour";
	case FIELD_WALL_CLOCK_DOW:
		return "day of the week (0 is Sunday)";
	case FIELD_MATCHED_CATEGORY:
		return "category of the file";
	case FIELD_OPEN_MODE:
		return "way of opening";
	case FIELD_DEST_IP:
		return "destination's address";
	case FIELD_DEST_PORT:
		return "destination's port";
	case FIELD_DEST_HOST:
		return "destination's name";
	default:
		return NULL;
	}
}

static void put_field(struct telling *t, enum field_id id)
{
	const char *words = field_words(id);

	if (words) {
		fputs(words, t->out);
		return;
	}
	for (const char *c = field_info(id)->name; *c; c++)
		fputc(*c == '_' ? ' ' : *c, t->out);
}

/* For one value, and for several. */
static const char *op_words(enum op op, bool one)
{
	switch (op) {
	case OP_EQ:
		return one ? "is" : "is one of";
	case OP_NE:
		return one ? "is not" : "is none of";
	case OP_GT:
		return one ? "is more than" : "is more than one of";
	case OP_GTE:
		return one ? "is at least" : "is at least one of";
	case OP_LT:
		return one ? "is less than" : "is less than one of";
	case OP_LTE:
		return one ? "is at most" : "is at most one of";
	case OP_GLOB:
		return one ? "matches the pattern" : "matches one of the patterns";
	case OP_MATCH:
		return one ? "matches the expression" : "matches one of the expressions";
	case OP_PREFIX:
		return one ? "begins with" : "begins with one of";
	case OP_SUFFIX:
		return one ? "ends with" : "ends with one of";
	case OP_CONTAINS:
		return one ? "contains" : "contains one of";
	case OP_CIDR:
		return one ? "is in the network" : "is in one of the networks";
	case OP_PORT:
		return one ? "has the port" : "has one of the ports";
	}
	return "";
}

static void put_comparison(struct telling *t, const struct node *n)
{
	const char *quote = n->op == OP_PORT || n->op == OP_CIDR ||
					    field_info(n->field)->type == FIELD_TYPE_NUMBER ?
				    "" :
				    "\"";
	/* of two there is no need to cut one */
	size_t told = n->n > VALUES_TOLD + 1 ? VALUES_TOLD : n->n;

	fputs("the ", t->out);
	put_field(t, n->field);
	fprintf(t->out, " %s ", op_words(n->op, n->n == 1));
	for (size_t i = 0; i < told; i++) {
		const char *text = value_text(t->pool, n, &n->values[i]);

		t->failed |= !text;
		fprintf(t->out, "%s%s%s%s", i ? ", " : "", quote, text ? text : "", quote);
	}
	if (told < n->n)
		fprintf(t->out, " and %zu more", n->n - told);
}

static void put_node(struct telling *t, const struct node *n, unsigned depth);

/* One kid a line, under a line that is said already. */
static void put_kids(struct telling *t, const struct node *n, unsigned depth)
{
	struct node **kids = kids_as_written(t->pool, n);

	t->failed |= !kids;
	for (size_t i = 0; kids && i < n->n; i++) {
		/* all of all of, as match: and its groups make it, is one list */
		if (n->type == NODE_ALL && kids[i]->type == NODE_ALL) {
			put_kids(t, kids[i], depth);
			continue;
		}
		fprintf(t->out, "%*s- ", (int)(depth * 2), "");
		put_node(t, kids[i], depth + 1);
	}
}

static void put_node(struct telling *t, const struct node *n, unsigned depth)
{
	static const char *const words[] = { [NODE_ALL] = "all of this holds:",
					     [NODE_ANY] = "any of this holds:",
					     [NODE_NONE] = "none of this holds:" };

	if (n->type == NODE_COMPARE) {
		put_comparison(t, n);
		fputc('\n', t->out);
		return;
	}
	fprintf(t->out, "%s\n", words[n->type]);
	put_kids(t, n, depth);
}

static void put_time(struct telling *t, uint64_t s)
{
	if (s % DAY_S == 0)
		fprintf(t->out, "%" PRIu64 " day%s", s / DAY_S, s == DAY_S ? "" : "s");
	else if (s % 3600 == 0)
		fprintf(t->out, "%" PRIu64 " hour%s", s / 3600, s == 3600 ? "" : "s");
	else
		fprintf(t->out, "%" PRIu64 " seconds", s);
}

/* What the rule itself says of an answer that takes long; else oknek.yaml holds. */
static void put_timeout(struct telling *t, const struct rule *r)
{
	/* Nothing else lets anybody wait. */
	if (r->hold && r->mechanism == MECH_FANOTIFY)
		fprintf(t->out, "An operator is asked first, and has %" PRIu64 " s; then it is %s.\n",
			(uint64_t)(r->hold_ns / NSEC_PER_SEC),
			r->hold_then == VERDICT_BLOCK ? "denied" : "allowed");
	if (r->hold_said && r->hold && !r->on_timeout_said)
		return;
	fputs("Where no decision is made ", t->out);
	if (r->deadline_ns && !(r->hold_said && r->hold))
		fprintf(t->out, "within %" PRIu64 " ms", (uint64_t)(r->deadline_ns / NSEC_PER_MSEC));
	else
		fputs("before the deadline", t->out);
	if (r->on_timeout_said)
		fprintf(t->out, ", it is %s.\n", r->on_timeout == VERDICT_BLOCK ? "denied" : "allowed");
	else
		fputs(", on_timeout of oknek.yaml holds.\n", t->out);
}

static void put_action(struct telling *t, const struct compiled *c)
{
	const struct rule *r = &c->rule;

	if (r->action == VERDICT_ALLOW) {
		fputs("Its action is allow: it does nothing, and exempts nothing from other "
		      "rules.\n", t->out);
		return;
	}
	if (r->action == VERDICT_WARN) {
		fputs("Then the event is recorded, and nothing is stopped.\n", t->out);
	} else if (r->mechanism == MECH_DETECT) {
		fprintf(t->out, "It would block, but on this host the event is only recorded "
			"(detected): %s.\n", *r->bound_why ? r->bound_why : "nothing here can stop it");
		if (r->hold && r->observed)
			fprintf(t->out, "Its tree is stopped then, and an operator has %" PRIu64
				" s to answer.\n", (uint64_t)(r->hold_ns / NSEC_PER_SEC));
		return;
	} else {
		fprintf(t->out, "Then it is blocked, by %s, before it happens. In the mode "
			"observe it is only recorded, as would_block.\n",
			mechanism_name(r->mechanism));
		put_timeout(t, r);
	}
	if (*r->bound_why)
		fprintf(t->out, "Note: %s.\n", r->bound_why);
}

static void put_choice(struct telling *t, const struct compiled *c)
{
	unsigned options = c->options ? c->options : 7;
	bool first = true;

	if (c->rule.action_from)
		fprintf(t->out, "The action %s is set by %s; the rule itself says %s.\n",
			verdict_name(c->rule.action), c->rule.action_from,
			verdict_name(c->rule.action_default));
	if (!c->configurable) {
		fputs("Its action cannot be set in oknek.yaml.\n", t->out);
		return;
	}
	fputs("oknek.yaml may set the action", t->out);
	for (int v = VERDICT_BLOCK; v >= VERDICT_ALLOW; v--)
		if (options >> v & 1) {
			fprintf(t->out, "%s%s", first ? ": " : ", ", verdict_name((enum verdict)v));
			first = false;
		}
	fputs(".\n", t->out);
}

static void put_threshold(struct telling *t, const struct rule *r)
{
	if (!r->has_threshold)
		return;
	fprintf(t->out, "Its threshold is %" PRId64, r->threshold);
	if (r->threshold_from)
		fprintf(t->out, ", set by %s; the rule itself says %" PRId64, r->threshold_from,
			r->threshold_default);
	fputs(r->threshold_configurable ? "; oknek.yaml may set another.\n" :
					  "; it cannot be set in oknek.yaml.\n", t->out);
}

static void put_exceptions(struct telling *t, const struct compiled *c)
{
	if (c->n_exceptions)
		fprintf(t->out, "Exception%s of this host:\n", c->n_exceptions == 1 ? "" : "s");
	for (size_t i = 0; i < c->n_exceptions; i++) {
		const struct rule_exception *e = c->exceptions[i].told;
		const struct node *none = c->exceptions[i].none;

		fprintf(t->out, "  - %s (", e->reason);
		if (*e->author)
			fprintf(t->out, "by %s, ", e->author);
		fprintf(t->out, "%s%s, %s:%u), where\n", *e->expires ? "until " : "for good",
			e->expires, e->file, e->line);
		if (none->type == NODE_NONE) {
			put_kids(t, none, 2);
		} else {
			fputs("    not: ", t->out);
			put_node(t, none, 3);
		}
	}
}

static void put_evidence(struct telling *t, const struct rule *r)
{
	fputs("Its record is kept for ", t->out);
	put_time(t, r->retain_s);
	if (r->n_capture)
		fputs(" and holds ", t->out);
	for (unsigned i = 0; i < r->n_capture; i++)
		fprintf(t->out, "%s%s", i ? ", " : "", field_info(r->capture[i])->name);
	fputs(".\n", t->out);
}

static void put_about(struct telling *t, const char *source)
{
	struct rule_about *a = NULL;

	if (rule_about_parse(source, &a)) {
		t->failed = true;
		return;
	}
	for (unsigned i = 0; i < a->n_techniques; i++)
		fprintf(t->out, "%s%s %s%s", i ? ", " : "Techniques: ", a->techniques[i].catalogue,
			a->techniques[i].entry, i + 1 == a->n_techniques ? ".\n" : "");
	for (unsigned i = 0; i < a->n_references; i++)
		fprintf(t->out, "See %s%s%s%s\n", a->references[i].url,
			*a->references[i].label ? " (" : "", a->references[i].label,
			*a->references[i].label ? ")" : "");
	for (unsigned i = 0; i < a->n_authors; i++)
		fprintf(t->out, "%s%s%s", i ? ", " : "By ", a->authors[i],
			i + 1 == a->n_authors ? ".\n" : "");
	rule_about_free(a);
}

static void put_rule(struct telling *t, const struct compiled *c)
{
	const struct rule *r = &c->rule;

	fprintf(t->out, "%s%s%s, %s: version %u of %s (%s:%u).\n", r->id, *r->part ? "/" : "",
		r->part, r->name, r->version, r->pack, r->file, r->line);
	fprintf(t->out, "It watches %s (%s).\n", kind_words[r->kind], event_kind_name(r->kind));
	if (!r->observed)
		fputs("No source that runs here reports these, so it never fires.\n", t->out);
	fputs("It fires when ", t->out);
	put_node(t, c->match, 1);
	put_action(t, c);
	put_choice(t, c);
	put_threshold(t, r);
	put_exceptions(t, c);
	if (r->action != VERDICT_ALLOW)
		put_evidence(t, r);
	put_about(t, c->source);
}

int rules_describe(const struct ruleset *rs, size_t i, char **ret)
{
	struct telling t = { .pool = pool_new() };
	char *text = NULL;
	size_t size;

	t.out = t.pool ? open_memstream(&text, &size) : NULL;
	if (t.out)
		put_rule(&t, rs->rules[i]);
	t.failed |= !t.out || ferror(t.out);
	if (t.out && fclose(t.out))
		t.failed = true;
	pool_free(t.pool);
	if (t.failed) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}
