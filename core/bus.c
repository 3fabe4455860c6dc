/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bus.h"

#include <errno.h>
#include <string.h>

#include "core/fault.h"
#include "core/permission.h"
#include "core/rule.h"

enum mechanism bus_mechanism(const struct event *ev, const struct decision *d)
{
	enum mechanism best = MECH_DETECT;

	/* Without a permission the act has happened: whatever a rule is bound to, this was seen
	 * and not stopped. */
	if (!ev->perm && ev->settled.by == MECH_DETECT)
		return MECH_DETECT;
	for (unsigned i = 0; i < d->n_fired; i++) {
		const struct fired *f = &d->fired[i];

		/* What only programs that ask are kept from, nobody else is. */
		if (f->rule->mechanism == MECH_PRELOAD && ev->settled.by != MECH_PRELOAD)
			continue;
		if (f->verdict == VERDICT_BLOCK && f->rule->mechanism > best)
			best = f->rule->mechanism;
	}
	/* Who is held before another program runs can be refused it, whatever the rule is bound to
	 * because it might match elsewhere, too. */
	if (best == MECH_DETECT && ev->perm && ev->kind == KIND_EXEC_OBSERVED &&
	    d->n_fired && d->fired[0].verdict == VERDICT_BLOCK)
		best = MECH_FANOTIFY;
	return best;
}

static void count(struct bus *b, const struct decision *d, int outcome)
{
	if (outcome == OUTCOME_DENIED || outcome == OUTCOME_KILLED)
		atomic_fetch_add_explicit(&b->blocked, 1, memory_order_relaxed);
	else if (d->verdict != VERDICT_ALLOW)
		atomic_fetch_add_explicit(&b->warned, 1, memory_order_relaxed);
}

/* What the kernel would have refused, and let be because nobody is refused anything now. */
static bool only_seen(const struct event *ev, enum mode mode)
{
	return (ev->settled.by == MECH_CGROUP || ev->settled.by == MECH_LSM) && !ev->settled.refused &&
	       !ev->settled.killed && (ev->settled.spared || mode == MODE_OBSERVE);
}

static int answer(struct bus *b, const struct event *ev, enum verdict v, enum mode mode)
{
	struct decision d = { .verdict = v };

	if (ev->settled.killed)
		return OUTCOME_KILLED;
	if (only_seen(ev, mode))
		return OUTCOME_OBSERVED;
	if (ev->settled.by != MECH_DETECT)
		return ev->settled.refused ? OUTCOME_DENIED : OUTCOME_ALLOWED;
	if (!ev->perm)
		return OUTCOME_OBSERVED;
	return b->enforcer->ops->apply(b->enforcer, ev, &d);
}

/*
 * The guardian was first: it thought us late. If it knew our decision it has carried that out, and
 * has the ticket; else the record that tells the truth is its own.
 */
static void withdraw(struct bus *b, struct permission *p)
{
	uint64_t ticket = permission_ticket(p);

	if (ticket)
		b->recorder->withdrawn(b->recorder, ticket);
}

/* When all that anybody waits for is done. */
static void bear_witness(struct bus *b, const struct verdict_note *note, int outcome)
{
	if (b->after)
		b->after(b->fuse_arg, note,
			 outcome < 0 ? OUTCOME_UNKNOWN : (enum outcome)outcome);
	if (b->witness)
		b->witness(b->witness_arg, note,
			   outcome < 0 ? OUTCOME_UNKNOWN : (enum outcome)outcome);
}

/* The road itself: journal DECIDED, answer, journal ANSWERED. */
static enum verdict settle(struct bus *b, struct event *ev, const struct decision *d,
			   const char *category, enum verdict effect, enum mode mode,
			   enum decided_by by, bool gone)
{
	struct verdict_note note = {
		.ev = ev,
		.d = d,
		.mode = mode,
		.mechanism = bus_mechanism(ev, d),
		.by = by,
		.category = category,
	};
	uint64_t ticket = 0;
	int outcome;

	if (b->named)
		b->named(b->fuse_arg, ev, effect);
	/* What no rule decided was still answered by somebody. */
	if (ev->perm && by != BY_RULE && note.mechanism == MECH_DETECT)
		note.mechanism = b->enforcer->ops->mechanism;
	/* A rule may be bound to what is faster; who had to be held was answered by this. */
	if (ev->perm && note.mechanism == MECH_LSM)
		note.mechanism = b->enforcer->ops->mechanism;
	/* The kernel did what was in force then; mode and rules may be others by now. */
	if (ev->settled.refused || ev->settled.killed)
		note.mechanism = ev->settled.by;
	if (ev->settled.refused || ev->settled.spared)
		note.mode = ev->settled.refused ? MODE_ENFORCE : MODE_OBSERVE;
	if (only_seen(ev, note.mode))
		note.mechanism = MECH_DETECT;
	fault(FAULT_DECIDE);
	if (d->n_fired || by != BY_RULE || ev->settled.refused)
		ticket = b->recorder->decided(b->recorder, &note);
	if (ev->perm) {
		permission_note_rule(ev->perm, d);
		permission_decided(ev->perm, effect, ticket);
	}
	fault(FAULT_JOURNALED);
	if (ev->perm && effect != VERDICT_BLOCK && b->letting_go)
		b->letting_go(b->letting_go_arg, ev, d);
	outcome = answer(b, ev, effect, note.mode);
	if (outcome == -EALREADY && ev->perm) {
		withdraw(b, ev->perm);
		note.by = BY_GUARDIAN;
		bear_witness(b, &note, OUTCOME_UNKNOWN);
		return VERDICT_ALLOW; /* it is counted by who answered */
	}
	if (gone && outcome == OUTCOME_ALLOWED) /* the kernel takes an answer for who was killed, too */
		outcome = OUTCOME_GONE;
	fault(FAULT_RELEASED);
	if (ticket)
		b->recorder->answered(b->recorder, ticket,
				      outcome < 0 ? OUTCOME_UNKNOWN : (enum outcome)outcome,
				      outcome == OUTCOME_DENIED && !ev->settled.dropped ? EPERM : 0);
	fault(FAULT_ANSWERED);
	count(b, d, outcome);
	bear_witness(b, &note, outcome);
	if (outcome == OUTCOME_DENIED || outcome == OUTCOME_KILLED)
		return VERDICT_BLOCK;
	return d->verdict == VERDICT_ALLOW ? VERDICT_ALLOW : VERDICT_WARN;
}

static enum mode mode_for(const struct bus *b, const struct event *ev)
{
	enum mode mode = b->mode(b->mode_arg);

	return mode == MODE_OBSERVE && b->enforced && b->enforced(b->mode_arg, ev) ? MODE_ENFORCE : mode;
}

enum verdict bus_publish(struct bus *b, struct event *ev)
{
	struct decision d = { .verdict = VERDICT_ALLOW };
	const char *category = NULL;
	enum mode mode = mode_for(b, ev);
	enum verdict effect = VERDICT_ALLOW;
	enum decided_by by = BY_RULE;

	if (b->before && !b->before(b->fuse_arg, ev) && !ev->perm)
		return VERDICT_ALLOW;
	atomic_fetch_add_explicit(&b->events, 1, memory_order_relaxed);
	b->decide(b->decide_arg, ev, &d, &category);
	if (mode == MODE_ENFORCE && d.verdict == VERDICT_BLOCK &&
	    bus_mechanism(ev, &d) != MECH_DETECT)
		effect = VERDICT_BLOCK;
	if (ev->perm && b->operator && mode == MODE_ENFORCE &&
	    b->operator(b->operator_arg, ev, &d, &effect, &by))
		return VERDICT_ALLOW;
	return settle(b, ev, &d, category, effect, mode, by, false);
}

void bus_expire(struct bus *b, struct event *ev, enum verdict verdict, enum decided_by by)
{
	struct decision d = { .verdict = VERDICT_ALLOW };
	const char *category = NULL;
	enum mode mode = mode_for(b, ev);

	if (b->before)
		b->before(b->fuse_arg, ev);
	atomic_fetch_add_explicit(&b->events, 1, memory_order_relaxed);
	b->decide(b->decide_arg, ev, &d, &category);
	settle(b, ev, &d, category, mode == MODE_ENFORCE ? verdict : VERDICT_ALLOW, mode, by, false);
}

void bus_gone(struct bus *b, struct event *ev, bool left)
{
	struct decision d = { .verdict = VERDICT_ALLOW };
	const char *category = NULL;

	b->decide(b->decide_arg, ev, &d, &category);
	settle(b, ev, &d, category, VERDICT_ALLOW, mode_for(b, ev), left ? BY_OPERATOR : BY_RULE, !left);
}

void bus_allow(struct bus *b, struct event *ev)
{
	answer(b, ev, VERDICT_ALLOW, MODE_ENFORCE);
}
