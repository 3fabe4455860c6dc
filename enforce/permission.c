/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/permission.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/answer.h"
#include "core/fault.h"

struct permission_enforcer {
	struct enforcer base;
	struct permission_table *table;
};

/*
 * From the claim to the write the guardian may write the same answer, if we are late; ENOENT says
 * then that it was first. Once `wrote` says it was us, it does not touch the number any more.
 */
static int permission_apply(struct enforcer *base, const struct event *ev, const struct decision *d)
{
	struct permission_enforcer *e = (struct permission_enforcer *)base;
	struct permission *p = ev->perm;
	int outcome = d->verdict == VERDICT_BLOCK ? OUTCOME_DENIED : OUTCOME_ALLOWED;
	uint32_t word, before;
	enum permission_wrote wrote = WROTE_NOT;
	bool gone;
	int err;

	if (!permission_claim(p, d->verdict))
		return -EALREADY;
	word = permission_look(p);
	before = permission_wrote_now(word, WROTE_NOT);
	fault(FAULT_CLAIMED);
	err = answer_write(p->group_fd, p->event_fd, outcome == OUTCOME_DENIED,
			   permission_audit(e->table), atomic_load(&p->rule));
	/* ENOENT, and nobody was there before us: the opener was killed meanwhile. */
	gone = err == -ENOENT &&
	       atomic_compare_exchange_strong(&p->wrote, &before,
					      permission_wrote_now(word, WROTE_GONE));
	if (!gone)
		wrote = permission_wrote_of(
			atomic_exchange(&p->wrote, permission_wrote_now(word, WROTE_OWNER)));
	if (gone || (err == -ENOENT && wrote == WROTE_NOT))
		outcome = OUTCOME_GONE;
	else if (err && err != -ENOENT)
		outcome = err;
	fault(FAULT_WRITTEN);
	if (wrote == WROTE_TRYING)
		return outcome; /* the guardian closes, and gives the slot back */
	close(p->event_fd);
	permission_release(e->table, p);
	return outcome;
}

static void permission_close(struct enforcer *base)
{
	free(base);
}

static const struct enforcer_ops permission_ops = {
	.name = "fanotify",
	.mechanism = MECH_FANOTIFY,
	.can = 1u << KIND_FILE_OPENED | 1u << KIND_EXEC_OBSERVED,
	.apply = permission_apply,
	.close = permission_close,
};

int permission_enforcer_open(struct permission_table *t, struct enforcer **ret)
{
	struct permission_enforcer *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->base.ops = &permission_ops;
	e->table = t;
	*ret = &e->base;
	return 0;
}
