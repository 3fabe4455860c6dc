/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rules are decided before anybody does what they are about. Of opened files: those that ask for nothing but
 * the path and how it is opened, and from which this host lets nobody off. What they say can hang
 * from the file itself, in the kernel. All others are left to whoever asks the rules at each open.
 */
#include <stdio.h>
#include <string.h>

#include "core/config.h"
#include "rules/compiled.h"

#define BIT(field) (UINT64_C(1) << FIELD_##field)
#define KNOWN (BIT(PATH) | BIT(OPEN_MODE))
#define ALL_MODES (1u << OPEN_MODE_READ | 1u << OPEN_MODE_WRITE | 1u << OPEN_MODE_EXEC)

static bool value_uses_home(const struct node *n, const struct value *v)
{
	return v->at_home || (n->op == OP_GLOB && glob_uses_home(v->glob));
}

/* Is there a `~` in what takes a path out again? Whose home it is, only the open tells, unless the
 * file's name says it. */
static bool takes_out_at_home(const struct node *n, bool out)
{
	if (n->type == NODE_COMPARE) {
		for (size_t i = 0; (out || n->op == OP_NE) && i < n->n; i++)
			if (n->field == FIELD_PATH && value_uses_home(n, &n->values[i]))
				return true;
		return false;
	}
	for (size_t i = 0; i < n->n; i++)
		if (takes_out_at_home(n->kids[i], out || n->type == NODE_NONE))
			return true;
	return false;
}

static const char *reader_of(const struct compiled *c, const struct config *site)
{

	for (size_t i = 0; site && i < site->n_readers; i++)
		if (rule_is_named(&c->rule, site->readers[i].rule, NULL))
			return site->readers[i].exe;
	return NULL;
}

bool sure_rule(const struct compiled *c, const struct config *site, bool files, bool waits, char why[160])
{
	const char *reader = reader_of(c, site);
	uint64_t set = 0;

	fields_used(c->match, &set);
	set &= ~KNOWN;
	why[0] = '\0';
	if (c->rule.kind == KIND_EXEC_OBSERVED)
		sure_exec_rule(c, files, why);
	else if (c->rule.kind != KIND_FILE_OPENED || !c->n_paths)
		snprintf(why, 160, "it has no path");
	else if (set)
		snprintf(why, 160, "it asks for %s", field_info((enum field_id)__builtin_ctzll(set))->name);
	if (why[0])
		return false;
	if (c->n_exceptions)
		snprintf(why, 160, "it has an exception");
	else if (reader)
		snprintf(why, 160, "it has a reader, %.120s", reader);
	else if (c->rule.hold && waits)
		snprintf(why, 160, "it is to hold who opens");
	return !why[0];
}

void sure_prepare(struct compiled *c)
{
	c->names_home = takes_out_at_home(c->match, false);
}

struct asking {
	const struct ruleset *rs;
	struct match_context ctx;
	struct event ev;
	unsigned modes; /* found so far */
};

static void ask_rules(void *arg, const uint32_t *rules, size_t n)
{
	struct asking *a = arg;

	for (size_t i = 0; i < n; i++) {
		const struct compiled *c = a->rs->rules[rules[i]];

		if (c->rule.mechanism != MECH_LSM || c->rule.action != VERDICT_BLOCK ||
		    (c->names_home && !a->ev.file.names[a->ctx.name_index].home))
			continue;
		for (int mode = OPEN_MODE_READ; mode <= OPEN_MODE_EXEC; mode++) {
			a->ev.file.mode = (enum open_mode)mode;
			if (!(a->modes >> mode & 1) && match_event(&a->ctx, c->match))
				a->modes |= 1u << mode;
		}
	}
}

unsigned ruleset_sure_modes(const struct ruleset *rs, const struct file_name *names, unsigned n)
{
	struct asking a = { .rs = rs, .ev = { .kind = KIND_FILE_OPENED } };

	if (!rs->index[KIND_FILE_OPENED])
		return 0;
	a.ctx.ev = &a.ev;
	a.ev.subj = (struct subject){ .comm = "", .exe = "", .cgroup = "", .lineage = "" };
	a.ev.file.n_names = n < FILE_NAMES_MAX ? n : FILE_NAMES_MAX;
	memcpy(a.ev.file.names, names, a.ev.file.n_names * sizeof(*names));
	for (unsigned i = 0; i < a.ev.file.n_names && a.modes != ALL_MODES; i++) {
		a.ctx.name_index = i;
		index_lookup(rs->index[KIND_FILE_OPENED], NULL, names[i].path, NULL, 0, ask_rules, &a);
	}
	return a.modes;
}
