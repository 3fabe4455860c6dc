/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The road of an event: DECIDE, ENFORCE, RECORD. The order is the design: a blocked process gets
 * its answer before anything is logged or written. The bus knows rules, enforcers and store only
 * by these functions.
 */
#ifndef OKNEK_CORE_BUS_H
#define OKNEK_CORE_BUS_H

#include <stdatomic.h>

#include "core/enforcer.h"
#include "core/event.h"

/* What the record is told about one event; borrowed during the call. */
struct verdict_note {
	const struct event *ev;
	const struct decision *d;
	enum mode mode;
	enum mechanism mechanism;
	enum decided_by by;
	const char *category; /* matched_category; NULL when no category names the file */
};

/*
 * Where verdicts are kept. Both calls are made on the deciding thread: they copy into
 * preallocated memory and never block, allocate or make a system call.
 */
struct recorder {
	/* Before the answer. Returns a ticket for answered(), 0 when there was no room (counted). */
	uint64_t (*decided)(struct recorder *r, const struct verdict_note *note);
	/* After the answer. err: errno the process got, 0 if none. */
	void (*answered)(struct recorder *r, uint64_t ticket, enum outcome outcome, int err);
	/* Instead of answered(): somebody else decided it, and has recorded that. */
	void (*withdrawn)(struct recorder *r, uint64_t ticket);
};

struct bus {
	/* Event + frozen rule set + clock in, decision out. *category is borrowed from the rules. */
	void (*decide)(void *arg, const struct event *ev, struct decision *ret,
		       const char **category);
	void *decide_arg;
	struct enforcer *enforcer; /* answers permissions; the permissive one when there is none */
	struct recorder *recorder;
	enum mode (*mode)(void *arg); /* now in force (pause counts as observe) */
	void *mode_arg;
	/* Is what rules say of this event carried out, though the mode in force observes? NULL: of none. */
	bool (*enforced)(void *arg, const struct event *ev); /* mode_arg */
	/* After the answer: told of each event that was decided, also of those for which nothing
	 * fired. As the recorder's calls. NULL: nobody. */
	void (*witness)(void *arg, const struct verdict_note *note, enum outcome outcome);
	void *witness_arg;
	/* The same action seen by several sources is one event. before: false when it was told already
	 * and is not decided again; may complete what is known of it. after: what became of one that
	 * was decided. As the recorder's calls. NULL: nobody. */
	bool (*before)(void *arg, struct event *ev);
	/* When it is known what comes of it, before it is recorded: may name who else tells of it, and say
	 * in ev->settled that who asked will not do it. */
	void (*named)(void *arg, struct event *ev, enum verdict effect);
	void (*after)(void *arg, const struct verdict_note *note, enum outcome outcome);
	void *fuse_arg;
	/* Directly before an answer lets somebody go, by whatever reason. As the recorder's calls. NULL:
	 * nobody. */
	void (*letting_go)(void *arg, const struct event *ev, const struct decision *d);
	void *letting_go_arg;
	/*
	 * Asked in enforce mode about each event whose answer is due, when the rules have decided. True:
	 * it waits for an operator, and whoever answers publishes it again. False: goes on; an operator may
	 * have said something else than the rules, which is then in *effect and *by. As the recorder's
	 * calls. NULL: nobody.
	 */
	bool (*operator)(void *arg, struct event *ev, const struct decision *d, enum verdict *effect,
			 enum decided_by *by);
	void *operator_arg;
	_Atomic uint64_t events;
	_Atomic uint64_t blocked; /* refused */
	_Atomic uint64_t warned;  /* a rule fired and the call went on */
};

/* Decides, answers ev->perm if there is one, records what fired. Never blocks. Returns the
 * verdict that took effect: BLOCK only if the system call was refused, WARN if a rule fired. */
enum verdict bus_publish(struct bus *b, struct event *ev);

/* Answers ev->perm with `verdict` because nothing could be decided in time, and records that with
 * what the rules say of the event as it is known now. */
void bus_expire(struct bus *b, struct event *ev, enum verdict verdict, enum decided_by by);

/* Of one that waited, whose opener has ended meanwhile: records that, and lets the kernel forget it.
 * left: it lives, and is let go because an operator has said that it is watched no more. */
void bus_gone(struct bus *b, struct event *ev, bool left);

/* Answers a permission that no rule is asked about (the opener is not watched): allow, no record. */
void bus_allow(struct bus *b, struct event *ev);

/* What a fired rule can do about this event here: BLOCK only where it holds a permission. */
enum mechanism bus_mechanism(const struct event *ev, const struct decision *d);

#endif
