/* SPDX-License-Identifier: Apache-2.0 */
/* The road of an event, by its traces: who was called, in which order, with what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bus.h"
#include "core/permission.h"
#include "core/rule.h"

/* Enforcer and recorder write down what they are asked for. */
struct scene {
	struct bus bus;
	struct enforcer enforcer;
	struct recorder recorder;
	enum mode mode;
	struct decision decision; /* what the rules say */
	const char *category;

	char trace[256]; /* "decide decided deny answered " */
	int apply_fails; /* -errno */
	int outcome;     /* instead of the one that was asked for, if not 0 */
	uint64_t ticket;

	struct verdict_note note;
	struct decision noted;
	enum outcome answered;
	int answered_err;
};

static void trace(struct scene *s, const char *what)
{
	strcat(s->trace, what);
	strcat(s->trace, " ");
}

static void decide(void *arg, const struct event *ev, struct decision *ret, const char **category)
{
	struct scene *s = arg;

	(void)ev;
	trace(s, "decide");
	*ret = s->decision;
	*category = s->category;
}

static enum mode mode_now(void *arg)
{
	return ((struct scene *)arg)->mode;
}

static struct scene *of_enforcer(struct enforcer *e)
{
	return (struct scene *)((char *)e - offsetof(struct scene, enforcer));
}

static struct scene *of_recorder(struct recorder *r)
{
	return (struct scene *)((char *)r - offsetof(struct scene, recorder));
}

static int apply(struct enforcer *e, const struct event *ev, const struct decision *d)
{
	struct scene *s = of_enforcer(e);

	assert_non_null(ev->perm);
	trace(s, d->verdict == VERDICT_BLOCK ? "deny" : "allow");
	if (s->apply_fails)
		return s->apply_fails;
	if (s->outcome)
		return s->outcome;
	return d->verdict == VERDICT_BLOCK ? OUTCOME_DENIED : OUTCOME_ALLOWED;
}

static uint64_t decided(struct recorder *r, const struct verdict_note *note)
{
	struct scene *s = of_recorder(r);

	trace(s, "decided");
	s->note = *note;
	s->noted = *note->d;
	return s->ticket;
}

static void answered(struct recorder *r, uint64_t ticket, enum outcome outcome, int err)
{
	struct scene *s = of_recorder(r);

	trace(s, "answered");
	assert_int_equal(ticket, s->ticket);
	s->answered = outcome;
	s->answered_err = err;
}

static void withdrawn(struct recorder *r, uint64_t ticket)
{
	struct scene *s = of_recorder(r);

	trace(s, "withdrawn");
	assert_int_equal(ticket, s->ticket);
}

static const struct enforcer_ops ops = { .name = "fake", .mechanism = MECH_FANOTIFY,
					 .apply = apply };

static const struct rule blocks = { .id = "X1", .action = VERDICT_BLOCK,
				    .mechanism = MECH_FANOTIFY };
static const struct rule detects = { .id = "X2", .action = VERDICT_BLOCK,
				     .mechanism = MECH_DETECT };
static const struct rule warns = { .id = "X3", .action = VERDICT_WARN,
				   .mechanism = MECH_FANOTIFY };

static struct permission perm;
static const struct event question = { .kind = KIND_FILE_OPENED, .perm = &perm };
static const struct event told = { .kind = KIND_FILE_OPENED };

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	s->bus = (struct bus){
		.decide = decide,
		.decide_arg = s,
		.enforcer = &s->enforcer,
		.recorder = &s->recorder,
		.mode = mode_now,
		.mode_arg = s,
	};
	s->enforcer.ops = &ops;
	s->recorder = (struct recorder){ decided, answered, withdrawn };
	s->mode = MODE_ENFORCE;
	s->ticket = 4711;
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static void fires(struct scene *s, const struct rule *r)
{
	struct decision *d = &s->decision;

	d->fired[d->n_fired++] = (struct fired){ r, r->action, 0 };
	if (r->action > d->verdict)
		d->verdict = r->action;
}

static enum verdict publish(struct scene *s, const struct event *ev)
{
	struct event copy = *ev;

	s->trace[0] = '\0';
	return bus_publish(&s->bus, &copy);
}

static void expire(struct scene *s, const struct event *ev, enum verdict v, enum decided_by by)
{
	struct event copy = *ev;

	s->trace[0] = '\0';
	bus_expire(&s->bus, &copy, v, by);
}

static void block_is_journalled_around_the_answer(void **state)
{
	struct scene *s = *state;

	fires(s, &blocks);
	s->category = "aws";
	assert_int_equal(publish(s, &question), VERDICT_BLOCK);
	assert_string_equal(s->trace, "decide decided deny answered ");
	assert_int_equal(s->note.mode, MODE_ENFORCE);
	assert_int_equal(s->note.mechanism, MECH_FANOTIFY);
	assert_int_equal(s->note.by, BY_RULE);
	assert_string_equal(s->note.category, "aws");
	assert_int_equal(s->noted.n_fired, 1);
	assert_int_equal(s->answered, OUTCOME_DENIED);
	assert_int_equal(s->answered_err, EPERM);
	assert_int_equal(s->bus.events, 1);
	assert_int_equal(s->bus.blocked, 1);
	assert_int_equal(s->bus.warned, 0);
}

static void warning_lets_it_go_on(void **state)
{
	struct scene *s = *state;

	fires(s, &warns);
	assert_int_equal(publish(s, &question), VERDICT_WARN);
	assert_string_equal(s->trace, "decide decided allow answered ");
	assert_int_equal(s->answered, OUTCOME_ALLOWED);
	assert_int_equal(s->answered_err, 0);
	assert_int_equal(s->bus.warned, 1);
	assert_int_equal(s->bus.blocked, 0);
}

static void nothing_fired_is_no_record(void **state)
{
	struct scene *s = *state;

	assert_int_equal(publish(s, &question), VERDICT_ALLOW);
	assert_string_equal(s->trace, "decide allow ");
	assert_int_equal(publish(s, &told), VERDICT_ALLOW);
	assert_string_equal(s->trace, "decide ");
	assert_int_equal(s->bus.events, 2);
	assert_int_equal(s->bus.warned, 0);
}

static void observe_denies_nobody(void **state)
{
	struct scene *s = *state;

	s->mode = MODE_OBSERVE;
	fires(s, &blocks);
	assert_int_equal(publish(s, &question), VERDICT_WARN);
	assert_string_equal(s->trace, "decide decided allow answered ");
	assert_int_equal(s->note.mode, MODE_OBSERVE);
	assert_int_equal(s->noted.verdict, VERDICT_BLOCK); /* what would have been */
	assert_int_equal(s->answered, OUTCOME_ALLOWED);
	assert_int_equal(s->answered_err, 0);
	expire(s, &question, VERDICT_BLOCK, BY_DEADLINE);
	assert_string_equal(s->trace, "decide decided allow answered ");
	assert_int_equal(s->bus.blocked, 0);
}

static void bound_to_detect_denies_nobody(void **state)
{
	struct scene *s = *state;

	fires(s, &detects);
	assert_int_equal(publish(s, &question), VERDICT_WARN);
	assert_string_equal(s->trace, "decide decided allow answered ");
	assert_int_equal(s->note.mechanism, MECH_DETECT);
	/* A rule that warns does not make another one hold. */
	fires(s, &warns);
	assert_int_equal(publish(s, &question), VERDICT_WARN);
	assert_int_equal(s->note.mechanism, MECH_DETECT);
	/* One that can is enough, wherever it stands. */
	fires(s, &blocks);
	assert_int_equal(publish(s, &question), VERDICT_BLOCK);
	assert_int_equal(s->note.mechanism, MECH_FANOTIFY);
}

/* What is bound to programs that ask is theirs alone, whatever else is held. */
static void only_who_asked_is_refused_by_the_shim(void **state)
{
	static const struct rule asks = { .id = "X5", .action = VERDICT_BLOCK,
					  .mechanism = MECH_PRELOAD };
	struct event asked = told;
	struct scene *s = *state;

	fires(s, &asks);
	assert_int_equal(publish(s, &question), VERDICT_WARN);
	assert_int_equal(s->note.mechanism, MECH_DETECT);
	fires(s, &blocks);
	assert_int_equal(publish(s, &question), VERDICT_BLOCK);
	assert_int_equal(s->note.mechanism, MECH_FANOTIFY);
	asked.settled.by = MECH_PRELOAD;
	asked.settled.refused = true; /* as the daemon fills it in */
	assert_int_equal(publish(s, &asked), VERDICT_BLOCK);
	assert_int_equal(s->note.mechanism, MECH_PRELOAD);
	assert_int_equal(s->answered, OUTCOME_DENIED);
}

/* Bound to what refuses in the kernel; what comes here had to be held. */
static void who_was_held_was_held_by_the_enforcer(void **state)
{
	static const struct rule lsm = { .id = "X4", .action = VERDICT_BLOCK, .mechanism = MECH_LSM };
	struct scene *s = *state;
	struct event refused = told;

	fires(s, &lsm);
	assert_int_equal(publish(s, &question), VERDICT_BLOCK);
	assert_int_equal(s->note.mechanism, MECH_FANOTIFY);
	refused.settled.by = MECH_LSM;
	refused.settled.refused = true;
	assert_int_equal(publish(s, &refused), VERDICT_BLOCK);
	assert_string_equal(s->trace, "decide decided answered ");
	assert_int_equal(s->note.mechanism, MECH_LSM);
	assert_int_equal(s->answered, OUTCOME_DENIED);
}

static void who_was_killed_is_told(void **state)
{
	struct scene *s = *state;
	struct event killed = told;

	killed.settled.by = MECH_SIGNAL;
	killed.settled.killed = true;
	fires(s, &blocks);
	assert_int_equal(publish(s, &killed), VERDICT_BLOCK);
	assert_int_equal(s->note.mechanism, MECH_SIGNAL);
	assert_int_equal(s->answered, OUTCOME_KILLED);
	assert_int_equal(s->answered_err, 0);
	assert_int_equal(s->bus.blocked, 1);
	/* before it did anything: then also when no rule says why */
	killed.settled.refused = true;
	s->decision = (struct decision){ 0 };
	assert_int_equal(publish(s, &killed), VERDICT_BLOCK);
	assert_string_equal(s->trace, "decide decided answered ");
	assert_int_equal(s->answered, OUTCOME_KILLED);
	assert_int_equal(s->note.mode, MODE_ENFORCE);
}

static void what_has_happened_is_detected(void **state)
{
	struct scene *s = *state;

	fires(s, &blocks);
	assert_int_equal(publish(s, &told), VERDICT_WARN);
	assert_string_equal(s->trace, "decide decided answered ");
	assert_int_equal(s->note.mechanism, MECH_DETECT);
	assert_int_equal(s->answered, OUTCOME_OBSERVED);
	assert_int_equal(s->answered_err, 0);
	assert_int_equal(s->bus.blocked, 0);
	assert_int_equal(s->bus.warned, 1);
}

/* What the kernel would have refused but for observing is told as any other that was only seen. */
static void what_was_spared_is_observed(void **state)
{
	static const struct rule jail = { .id = "X6", .action = VERDICT_BLOCK, .mechanism = MECH_CGROUP };
	struct scene *s = *state;
	struct event passed = told;

	fires(s, &jail);
	passed.settled.by = MECH_CGROUP;
	passed.settled.spared = true;
	assert_int_equal(publish(s, &passed), VERDICT_WARN); /* it enforces again by now */
	assert_int_equal(s->note.mechanism, MECH_DETECT);
	assert_int_equal(s->note.mode, MODE_OBSERVE);
	assert_int_equal(s->answered, OUTCOME_OBSERVED);
	/* where it would not have been, in the same mode */
	passed.settled.spared = false;
	s->mode = MODE_OBSERVE;
	assert_int_equal(publish(s, &passed), VERDICT_WARN);
	assert_int_equal(s->note.mechanism, MECH_DETECT);
	assert_int_equal(s->answered, OUTCOME_OBSERVED);
	s->mode = MODE_ENFORCE;
	assert_int_equal(publish(s, &passed), VERDICT_WARN);
	assert_int_equal(s->answered, OUTCOME_ALLOWED);
	passed.settled.refused = true;
	assert_int_equal(publish(s, &passed), VERDICT_BLOCK);
	assert_int_equal(s->note.mechanism, MECH_CGROUP);
	assert_int_equal(s->answered, OUTCOME_DENIED);
}

/* A full journal delays and changes no answer. */
static void no_room_to_record(void **state)
{
	struct scene *s = *state;

	s->ticket = 0;
	fires(s, &blocks);
	assert_int_equal(publish(s, &question), VERDICT_BLOCK);
	assert_string_equal(s->trace, "decide decided deny ");
	assert_int_equal(s->bus.blocked, 1);
}

static void answer_that_failed(void **state)
{
	struct scene *s = *state;

	fires(s, &blocks);
	s->apply_fails = -EBADF;
	assert_int_equal(publish(s, &question), VERDICT_WARN);
	assert_int_equal(s->answered, OUTCOME_UNKNOWN);
	assert_int_equal(s->answered_err, 0);
	assert_int_equal(s->bus.blocked, 0);

	s->apply_fails = 0;
	s->outcome = OUTCOME_GONE;
	assert_int_equal(publish(s, &question), VERDICT_WARN);
	assert_int_equal(s->answered, OUTCOME_GONE);
	assert_int_equal(s->answered_err, 0);
	assert_int_equal(s->bus.blocked, 0);
}

static void deadline_answers_and_is_recorded(void **state)
{
	struct scene *s = *state;

	/* The rules would deny; the default is given, and both are told. */
	fires(s, &blocks);
	expire(s, &question, VERDICT_ALLOW, BY_DEADLINE);
	assert_string_equal(s->trace, "decide decided allow answered ");
	assert_int_equal(s->note.by, BY_DEADLINE);
	assert_int_equal(s->noted.n_fired, 1);
	assert_int_equal(s->answered, OUTCOME_ALLOWED);

	/* Nothing fired: it was answered in our name all the same, and by these means. */
	s->decision = (struct decision){ .verdict = VERDICT_ALLOW };
	expire(s, &question, VERDICT_BLOCK, BY_DEADLINE);
	assert_string_equal(s->trace, "decide decided deny answered ");
	assert_int_equal(s->noted.n_fired, 0);
	assert_int_equal(s->note.mechanism, MECH_FANOTIFY);
	assert_int_equal(s->answered_err, EPERM);
	expire(s, &question, VERDICT_ALLOW, BY_OPERATOR);
	assert_string_equal(s->trace, "decide decided allow answered ");
	assert_int_equal(s->note.by, BY_OPERATOR);
	assert_int_equal(s->bus.events, 3);
	assert_int_equal(s->bus.blocked, 1);
}

static void strangers_are_allowed_without_a_word(void **state)
{
	struct scene *s = *state;
	struct event ev = question;

	fires(s, &blocks);
	bus_allow(&s->bus, &ev);
	assert_string_equal(s->trace, "allow ");
	assert_int_equal(s->bus.events, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(block_is_journalled_around_the_answer),
		TEST(warning_lets_it_go_on),
		TEST(nothing_fired_is_no_record),
		TEST(observe_denies_nobody),
		TEST(bound_to_detect_denies_nobody),
		TEST(only_who_asked_is_refused_by_the_shim),
		TEST(who_was_held_was_held_by_the_enforcer),
		TEST(who_was_killed_is_told),
		TEST(what_has_happened_is_detected),
		TEST(what_was_spared_is_observed),
		TEST(no_room_to_record),
		TEST(answer_that_failed),
		TEST(deadline_answers_and_is_recorded),
		TEST(strangers_are_allowed_without_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
