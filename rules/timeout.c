/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of an opened file by its path alone: how long an answer may take (action.deadline,
 * action.on_timeout), and whether any rule could fire. */
#include "core/cleanup.h"
#include "core/config.h"
#include "rules/compiled.h"

struct timing {
	const struct ruleset *rs;
	struct match_context ctx;
	uint64_t default_ns, deadline_ns;
	enum verdict by_default, on_timeout;
	bool any;
};

static void take_rules(void *arg, const uint32_t *rules, size_t n)
{
	struct timing *t = arg;

	for (size_t i = 0; i < n; i++) {
		const struct compiled *c = t->rs->rules[rules[i]];
		/* What a rule gives an operator is not what it gives a helper. */
		uint64_t ns = c->rule.deadline_ns && !(c->rule.hold_said && c->rule.hold) ?
				      c->rule.deadline_ns : t->default_ns;
		enum verdict v = c->rule.on_timeout_said ? c->rule.on_timeout : t->by_default;

		if (c->rule.action != VERDICT_BLOCK ||
		    (c->rule.mechanism == MECH_DETECT && !t->ctx.programs_only) ||
		    !match_event(&t->ctx, c->match))
			continue;
		if (!t->any || ns < t->deadline_ns)
			t->deadline_ns = ns;
		if (!t->any || v > t->on_timeout)
			t->on_timeout = v;
		t->any = true;
	}
}

static void take_opened(struct timing *t, const struct file_object *f)
{
	for (unsigned i = 0; i < f->n_names && i < FILE_NAMES_MAX; i++) {
		t->ctx.name_index = i;
		index_lookup(t->rs->timeouts, NULL, f->names[i].path, NULL, 0, take_rules, t);
	}
}

/* What a program will be told to do is not known yet: of all rules that could mind. */
static void take_programs(struct timing *t)
{
	for (size_t i = 0; i < t->rs->n; i++)
		if (t->rs->rules[i]->rule.kind == KIND_EXEC_OBSERVED)
			take_rules(t, &(uint32_t){ (uint32_t)i }, 1);
}

void rules_timeout(const struct ruleset *rs, const struct event *ev, uint64_t *deadline_ns,
		   enum verdict *on_timeout)
{
	struct timing t = {
		.rs = rs,
		.ctx = { .ev = ev, .paths_only = ev->kind == KIND_FILE_OPENED,
			 .programs_only = ev->kind == KIND_EXEC_OBSERVED },
		.default_ns = *deadline_ns,
		.by_default = *on_timeout,
	};

	if (ev->kind == KIND_EXEC_OBSERVED)
		take_programs(&t);
	else if (ev->kind == KIND_FILE_OPENED && rs->timeouts)
		take_opened(&t, &ev->file);
	if (!t.any)
		return;
	*deadline_ns = t.deadline_ns < DEADLINE_MAX_NS ? t.deadline_ns : DEADLINE_MAX_NS;
	*on_timeout = t.on_timeout;
}

struct wanting {
	const struct ruleset *rs;
	struct match_context ctx;
	bool any;
};

static void take_wanting(void *arg, const uint32_t *rules, size_t n)
{
	struct wanting *w = arg;

	/* Those that allow are there for the names of categories. */
	for (size_t i = 0; i < n && !w->any; i++) {
		const struct compiled *c = w->rs->rules[rules[i]];

		w->any = c->rule.action != VERDICT_ALLOW && match_event(&w->ctx, c->match);
	}
}

bool ruleset_wants_path(const struct ruleset *rs, const char *path)
{
	const struct event ev = { .kind = KIND_FILE_OPENED,
				  .subj = { .comm = "", .exe = "", .cgroup = "", .lineage = "" },
				  .file = { .names[0].path = path, .n_names = 1 } };
	struct wanting w = { .rs = rs,
			     .ctx = { .ev = &ev, .paths_only = true, .any_home = true } };

	if (!rs->asked_by_path)
		return true;
	if (rs->by_path)
		index_lookup(rs->by_path, NULL, path, NULL, 0, take_wanting, &w);
	return w.any;
}

bool ruleset_wants_kind(const struct ruleset *rs, enum event_kind kind)
{
	for (size_t i = 0; i < rs->n; i++) {
		const struct rule *r = &rs->rules[i]->rule;

		if (r->kind == kind && r->action != VERDICT_ALLOW)
			return true;
	}
	return false;
}
