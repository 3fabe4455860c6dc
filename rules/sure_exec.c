/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rules of started programs are decided before anybody starts one: those that ask for nothing but
 * which program it is. What names the program's file by a path can hang from the file; what names the
 * last component alone the kernel can compare by itself.
 */
#include <stdio.h>
#include <string.h>

#include "core/agent.h"
#include "core/cleanup.h"
#include "rules/compiled.h"

#define BIT(field) (UINT64_C(1) << FIELD_##field)
#define KNOWN (BIT(EXE) | BIT(PROCESS_NAME))

/* By what a way to match can be told beforehand. */
enum told {
	TOLD_NOT,
	TOLD_BY_NAME = 1, /* of the file's last component, wherever it is */
	TOLD_BY_FILE = 2, /* of a file that stands where it is said */
};

/* An agent's main process is also called by the agent's name, whatever it runs. */
static bool is_agents_name(const char *name)
{
	size_t n;
	const struct agent *table = agent_table(&n);

	for (size_t i = 0; i < n; i++)
		if (table[i].process_name && !strcmp(table[i].process_name, name))
			return true;
	return false;
}

static bool is_plain(const char *s)
{
	return *s && !strpbrk(s, "*?[]{}\\/~");
}

/* The one component that a value says of an exe, NULL: it says more, or less. */
static const char *component_of(const struct node *n, const struct value *v)
{
	const char *s = v->text;

	if (v->at_home)
		return NULL;
	if (n->op == OP_SUFFIX && s[0] == '/' && s[1] && !strchr(s + 1, '/'))
		return s + 1;
	if (n->op != OP_GLOB)
		return NULL;
	s = glob_source(v->glob);
	if (!strncmp(s, "**/", 3))
		s += 3;
	return is_plain(s) ? s : NULL;
}

static enum told compare_told(const struct node *n)
{
	bool by_name = true, by_file = true;

	for (size_t i = 0; i < n->n; i++) {
		const struct value *v = &n->values[i];

		if (n->field == FIELD_PROCESS_NAME) {
			by_file = false;
			by_name &= n->op == OP_EQ && v->len_bytes <= SURE_NAME_MAX;
			continue;
		}
		by_file &= exec_is_looked_for(n, v);
		by_name &= component_of(n, v) && strlen(component_of(n, v)) <= SURE_NAME_MAX;
	}
	return by_file ? TOLD_BY_FILE : by_name ? TOLD_BY_NAME : TOLD_NOT;
}

/* Of a group of which all have to hold one will do to find the file; whether the others hold can then
 * be asked. For a name alone nobody can ask. */
static enum told node_told(const struct node *n)
{
	unsigned all = 0;
	bool found = false;

	if (n->type == NODE_COMPARE)
		return compare_told(n);
	if (n->type == NODE_NONE)
		return TOLD_NOT;
	if (n->type == NODE_ALL && n->n == 1)
		return node_told(n->kids[0]);
	for (size_t i = 0; i < n->n; i++) {
		enum told t = node_told(n->kids[i]);

		found |= t == TOLD_BY_FILE;
		if (n->type == NODE_ANY && t == TOLD_NOT)
			return TOLD_NOT;
		all |= t;
	}
	if (n->type == NODE_ALL)
		return found ? TOLD_BY_FILE : TOLD_NOT;
	return (enum told)all;
}

/* What is asked of the name of a process that its file does not tell. */
static const char *unclear_name(const struct node *n)
{
	if (n->type != NODE_COMPARE) {
		for (size_t i = 0; i < n->n; i++) {
			const char *s = unclear_name(n->kids[i]);

			if (s)
				return s;
		}
		return NULL;
	}
	for (size_t i = 0; i < n->n && n->field == FIELD_PROCESS_NAME; i++) {
		const struct value *v = &n->values[i];

		if (v->glob)
			return glob_source(v->glob);
		if ((n->op != OP_EQ && n->op != OP_NE) || is_agents_name(v->text))
			return v->text;
	}
	return NULL;
}

bool sure_exec_rule(const struct compiled *c, bool files, char why[160])
{
	const char *name = unclear_name(c->match);
	uint64_t set = 0;

	fields_used(c->match, &set);
	set &= ~KNOWN;
	why[0] = '\0';
	if (set)
		snprintf(why, 160, "it asks for %s", field_info((enum field_id)__builtin_ctzll(set))->name);
	else if (name)
		snprintf(why, 160, "no file tells that the process is called %.60s", name);
	else if (node_told(c->match) == TOLD_NOT)
		snprintf(why, 160, "it can match programs that it does not name");
	else if (node_told(c->match) & TOLD_BY_FILE && !files)
		snprintf(why, 160, "nothing looks for the programs that it names by their paths");
	return !why[0];
}

/* ---- what they say --------------------------------------------------------------------------------- */

struct naming {
	void (*fn)(void *arg, const char *name);
	void *arg;
};

static void tell(const struct naming *g, const char *name, const char *suffix)
{
	char text[512];

	snprintf(text, sizeof(text), "%s%s", name, suffix);
	g->fn(g->arg, text);
}

/* All files of which a process is so called: see process_name in core/fields.def, and what the kernel
 * says of a file that is gone. */
static void tell_process(const struct naming *g, const char *name)
{
	size_t len = strlen(name);

	if (len < 4 || strcmp(name + len - 4, ".exe") != 0)
		tell(g, name, "");
	tell(g, name, ".exe");
	tell(g, name, " (deleted)");
	tell(g, name, ".exe (deleted)");
}

static void tell_names(const struct naming *g, const struct node *n)
{
	if (n->type == NODE_NONE || !(node_told(n) & TOLD_BY_NAME))
		return;
	for (size_t i = 0; n->type != NODE_COMPARE && i < n->n; i++)
		tell_names(g, n->kids[i]);
	for (size_t i = 0; n->type == NODE_COMPARE && i < n->n; i++) {
		if (n->field == FIELD_PROCESS_NAME)
			tell_process(g, n->values[i].text);
		else
			tell(g, component_of(n, &n->values[i]), "");
	}
}

static bool is_held(const struct compiled *c)
{
	return c->rule.kind == KIND_EXEC_OBSERVED && c->rule.mechanism == MECH_LSM &&
	       c->rule.action == VERDICT_BLOCK;
}

void ruleset_sure_names(const struct ruleset *rs, void (*fn)(void *arg, const char *name), void *arg)
{
	const struct naming g = { fn, arg };

	for (size_t i = 0; i < rs->n; i++)
		if (is_held(rs->rules[i]))
			tell_names(&g, rs->rules[i]->match);
}

struct asking {
	const struct ruleset *rs;
	struct match_context *ctx;
	bool found;
};

static void ask(void *arg, const uint32_t *rules, size_t n)
{
	struct asking *a = arg;

	for (size_t i = 0; i < n && !a->found; i++)
		a->found = is_held(a->rs->rules[rules[i]]) &&
			   match_event(a->ctx, a->rs->rules[rules[i]]->match);
}

bool ruleset_sure_program(const struct ruleset *rs, const char *exe)
{
	struct event ev = { .kind = KIND_EXEC_OBSERVED,
			    .subj = { .comm = "", .exe = exe, .cgroup = "", .lineage = "" },
			    .exec = { .path = exe, .argv_cut = true } };
	struct match_context ctx = { .ev = &ev };
	struct asking a = { rs, &ctx, false };
	const char *const *names;
	unsigned n;

	if (!rs->index[KIND_EXEC_OBSERVED])
		return false;
	n = match_process_names(&ctx, &names);
	index_lookup(rs->index[KIND_EXEC_OBSERVED], &ev, NULL, names, n, ask, &a);
	return a.found;
}
