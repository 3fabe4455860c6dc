/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that are held when a member starts them: whether they can be, and what is told of it. */
#include "tools/daemon.h"

/* Nothing may be held whose arguments nobody can read. */
static bool can_hold(const struct daemon *d)
{
	return d->fanotify && fanotify_can_peek(d->fanotify);
}

void daemon_exec_rules(const struct daemon *d, const struct config *site, struct rules_config *c)
{
	c->mark_roots = d->config->mark_roots;
	c->programs_found = site->exec_hold && daemon_lsm_finds_programs(d);
	if (!site->exec_hold)
		c->why_none[KIND_EXEC_OBSERVED] = "no program is held when it is started: exec.hold is "
						  "false";
	else if (d->opt.check || can_hold(d))
		c->mechanisms[KIND_EXEC_OBSERVED] |= 1u << MECH_FANOTIFY;
	else if (d->fanotify)
		c->why_none[KIND_EXEC_OBSERVED] = d->peek.why[0] ? d->peek.why :
						  "the arguments of a process that is held "
						  "cannot be read";
	else
		c->why_none[KIND_EXEC_OBSERVED] = "no program is held when it is started: the source "
						  "fanotify does not run";
}

json_t *daemon_exec_json(struct daemon *d)
{
	struct marks_stats marks;
	struct ruleset *rs = daemon_rules_ref(d);
	bool wanted = rs && ruleset_programs(rs);

	ruleset_unref(rs);
	marks_stats(d->marks, &marks);
	return json_pack("{s:b, s:i}", "wanted", wanted, "programs", (int)marks.programs);
}
