/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does an event fulfil a tree of comparisons? What an event does not know (null) fulfils no
 * comparison, ne and not_in neither. Where a comparison cannot be finished within its limits, or it
 * is not known how a file is opened, the answer is the one that lets the rule fire: `wanted` carries
 * which that is through none_of.
 */
#include "core/agent.h"
#include "core/cleanup.h"
#include "core/proctree.h"
#include "rules/compiled.h"

#include <string.h>

struct homes_of_name {
	unsigned n;
	const char *const *path;
};

static struct homes_of_name homes_for(const struct match_context *ctx, enum field_id field)
{
	const struct event *ev = ctx->ev;
	unsigned n = ev->subj.homes.n;

	if (field == FIELD_PATH && ev->file.names[ctx->name_index].home)
		return (struct homes_of_name){ 1, &ev->file.names[ctx->name_index].home };
	return (struct homes_of_name){ n < HOMES_MAX ? n : HOMES_MAX, ev->subj.homes.path };
}

bool match_knows_home(const struct match_context *ctx, enum field_id field)
{
	return homes_for(ctx, field).n > 0;
}

static bool text_compare(enum op op, const struct value *v, const char *s)
{
	size_t len;

	switch (op) {
	case OP_PREFIX:
		return !strncmp(s, v->text, v->len_bytes);
	case OP_SUFFIX:
		len = strlen(s);
		return len >= v->len_bytes &&
		       !memcmp(s + len - v->len_bytes, v->text, v->len_bytes);
	case OP_CONTAINS:
		return strstr(s, v->text);
	default:
		return !strcmp(s, v->text);
	}
}

static bool at_this_home(const struct node *n, const struct value *v, const char *s,
			 const char *home)
{
	size_t len = strlen(home);

	if (n->op == OP_GLOB)
		return glob_match(v->glob, s, home);
	/* /home/al is not the home of what is in /home/alice */
	return !strncmp(s, home, len) && (s[len] == '/' || !s[len]) &&
	       text_compare(n->op, v, s + len);
}

/* Any directory above may be somebody's home. */
static bool at_some_home(const struct node *n, const struct value *v, const char *s)
{
	char home[4096];
	size_t len = strlen(s);

	if (len >= sizeof(home))
		return true;
	for (size_t i = 1; i <= len; i++) {
		if (s[i] && s[i] != '/')
			continue;
		memcpy(home, s, i);
		home[i] = '\0';
		if (at_this_home(n, v, s, home))
			return true;
	}
	return false;
}

/* One value of a comparison against one string. */
static bool string_value(const struct match_context *ctx, const struct node *n,
			 const struct value *v, const char *s, bool wanted)
{
	bool is_path = field_info(n->field)->type == FIELD_TYPE_PATH;
	struct homes_of_name homes;

	if (n->op == OP_MATCH) {
		enum regex_result r = regex_match(v->regex, s, strlen(s));

		return r == REGEX_GAVE_UP ? wanted : r == REGEX_YES;
	}
	if (n->op == OP_GLOB && !is_path)
		return glob_match_string(v->glob, s);
	if (n->op == OP_GLOB && !glob_uses_home(v->glob))
		return glob_match(v->glob, s, NULL);
	if (n->op != OP_GLOB && !v->at_home)
		return text_compare(n->op, v, s);

	if (ctx->any_home && wanted != (n->op == OP_NE)) {
		if (n->op == OP_GLOB)
			return glob_match_any_home(v->glob, s);
		if (at_some_home(n, v, s))
			return true;
	}
	homes = homes_for(ctx, n->field);
	if (n->op == OP_GLOB && homes.n == 0)
		return glob_match(v->glob, s, NULL); /* braces may hold absolute paths too */
	for (unsigned i = 0; i < homes.n; i++)
		if (at_this_home(n, v, s, homes.path[i]))
			return true;
	return false;
}

static bool string_compare(const struct match_context *ctx, const struct node *n,
			   const char *const *strings, unsigned n_strings, bool wanted)
{
	bool found = false;

	/* ne is the opposite of eq: an undecided eq would have to count against the rule */
	for (unsigned i = 0; i < n_strings && !found; i++)
		for (size_t k = 0; k < n->n && !found; k++)
			found = string_value(ctx, n, &n->values[k], strings[i], wanted);
	return found != (n->op == OP_NE);
}

static bool number_compare(const struct node *n, int64_t number)
{
	bool found = false;

	for (size_t k = 0; k < n->n && !found; k++) {
		int64_t v = n->values[k].number;

		switch (n->op) {
		case OP_GT:
			found = number > v;
			break;
		case OP_GTE:
			found = number >= v;
			break;
		case OP_LT:
			found = number < v;
			break;
		case OP_LTE:
			found = number <= v;
			break;
		default:
			found = number == v;
		}
	}
	return found != (n->op == OP_NE);
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes))
		return false;
	return !rest || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0;
}

static bool address_compare(const struct match_context *ctx, const struct node *n)
{
	const uint8_t *addr = ctx->ev->dest.addr;
	bool found = false;

	if (ctx->ev->kind != KIND_SOCKET_CONNECT)
		return false;
	if (n->op == OP_PORT)
		return field_has_port(&ctx->ev->dest) && number_compare(n, ctx->ev->dest.port);
	if (!field_has_address(&ctx->ev->dest))
		return false;
	for (size_t k = 0; k < n->n && !found; k++)
		found = same_bits(addr, n->values[k].addr, n->values[k].addr_bits);
	return found != (n->op == OP_NE);
}

unsigned match_process_names(struct match_context *ctx, const char *const **ret)
{
	const struct subject *s = &ctx->ev->subj;
	const struct agent *agent;

	*ret = ctx->process_names;
	if (ctx->n_process_names)
		return ctx->n_process_names;
	field_get(ctx->ev, FIELD_PROCESS_NAME, 0, NULL, NULL, &ctx->process_name);
	if (!ctx->process_name.null && ctx->process_name.string)
		ctx->process_names[ctx->n_process_names++] = ctx->process_name.string;
	/* node, python … are what agents run as; their own name is what people write in rules */
	if (s->tree && (s->tgid == s->tree->root_pid || s->main_exe)) {
		agent = agent_by_id(s->tree->agent);
		if (agent && agent->process_name)
			ctx->process_names[ctx->n_process_names++] = agent->process_name;
	}
	return ctx->n_process_names;
}

static size_t command_text(const struct match_context *ctx, enum field_id field, char *buf,
			   size_t size)
{
	if (ctx->ev->kind != KIND_EXEC_OBSERVED)
		return 0;
	return field == FIELD_ARGV ? field_argv(&ctx->ev->exec, buf, size) :
				     field_shell_script(&ctx->ev->exec, buf, size);
}

bool match_knows_command(const struct match_context *ctx, enum field_id field)
{
	char some[2];

	return command_text(ctx, field, some, sizeof(some)) > 0;
}

/* Arguments that were cut, or that are longer than there is room for, could hold anything behind that. */
static bool command_was_cut(const struct match_context *ctx, enum field_id field, size_t len)
{
	const struct exec_object *x = &ctx->ev->exec;
	bool more = x->argv && x->argv_cut;
	size_t n;

	if (ctx->ev->kind != KIND_EXEC_OBSERVED)
		return false;
	if (field == FIELD_BASH_COMMAND)
		field_shell_look(x, &n, &more);
	return more || len == RULES_ARGV_MAX - 1;
}

/* Apart, because it takes much of the stack. */
__attribute__((noinline)) static bool command_compare(const struct match_context *ctx,
						      const struct node *n, bool wanted)
{
	char text[RULES_ARGV_MAX];
	const char *s = text;
	size_t len = command_text(ctx, n->field, text, sizeof(text));

	if (len == 0)
		return command_was_cut(ctx, n->field, len) && wanted;
	if (string_compare(ctx, n, &s, 1, wanted) == wanted)
		return wanted;
	return command_was_cut(ctx, n->field, len) ? wanted : !wanted;
}

/* Of a script that was cut nobody can say how much follows, nor whether one does behind arguments
 * that were. */
static bool depth_compare(const struct match_context *ctx, const struct node *n,
			  const struct field_value *v, bool wanted)
{
	bool more = false;

	if (!v->null && number_compare(n, v->number) == wanted)
		return wanted;
	if (ctx->ev->kind == KIND_EXEC_OBSERVED)
		field_chain_depth(&ctx->ev->exec, &more);
	if (v->null)
		return more && wanted;
	return more ? wanted : !wanted;
}

/* Whoever opens for both does each of the two. */
static bool mode_compare(const struct match_context *ctx, const struct node *n, const char *mode,
			 bool wanted)
{
	const char *read = "read";

	if (string_compare(ctx, n, &mode, 1, wanted) == wanted || !ctx->ev->file.also_read)
		return string_compare(ctx, n, &mode, 1, wanted);
	return string_compare(ctx, n, &read, 1, wanted);
}

static bool compare(struct match_context *ctx, const struct node *n, bool wanted)
{
	const char *const *names;
	const char *category = NULL;
	struct field_value v;
	unsigned n_names;

	if (ctx->paths_only && n->field != FIELD_PATH)
		return wanted;
	if (ctx->programs_only && n->field != FIELD_EXE && n->field != FIELD_PROCESS_NAME)
		return wanted;
	/* What a program is called, whoever starts it may choose, by a mount of its own. Here what is
	 * not wanted lets through. */
	if (ctx->excepting && n->field == FIELD_EXE && !wanted && !ctx->ev->subj.exe_verified)
		return false;
	if (n->field == FIELD_PROCESS_NAME) {
		n_names = match_process_names(ctx, &names);
		return n_names && string_compare(ctx, n, names, n_names, wanted);
	}
	if (field_info(n->field)->type == FIELD_TYPE_ADDRESS)
		return address_compare(ctx, n);
	if (field_info(n->field)->type == FIELD_TYPE_TIME)
		return match_time(ctx->clock, n);
	if (n->field == FIELD_ARGV || n->field == FIELD_BASH_COMMAND)
		return command_compare(ctx, n, wanted);
	if (n->field == FIELD_MATCHED_CATEGORY && ctx->category)
		category = ctx->category(ctx, ctx->name_index);
	field_get(ctx->ev, n->field, ctx->name_index, category, ctx->clock, &v);
	if (n->field == FIELD_CHAIN_DEPTH)
		return depth_compare(ctx, n, &v, wanted);
	/* Whoever opens a file in a way that nobody tells us may be doing what the rule is about. */
	if (v.null)
		return n->field == FIELD_OPEN_MODE && wanted;
	if (n->field == FIELD_OPEN_MODE)
		return mode_compare(ctx, n, v.string, wanted);
	if (v.is_number)
		return number_compare(n, v.number);
	return v.string && string_compare(ctx, n, &v.string, 1, wanted);
}

static bool match(struct match_context *ctx, const struct node *n, bool wanted)
{
	size_t i;

	switch (n->type) {
	case NODE_ALL:
		for (i = 0; i < n->n; i++)
			if (!match(ctx, n->kids[i], wanted))
				return false;
		return true;
	case NODE_ANY:
		for (i = 0; i < n->n; i++)
			if (match(ctx, n->kids[i], wanted))
				return true;
		return false;
	case NODE_NONE:
		for (i = 0; i < n->n; i++)
			if (match(ctx, n->kids[i], !wanted))
				return false;
		return true;
	case NODE_COMPARE:
		break;
	}
	return compare(ctx, n, wanted);
}

bool match_event(struct match_context *ctx, const struct node *n)
{
	return match(ctx, n, true);
}
