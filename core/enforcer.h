/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An enforcer: one way to change what happens to a watched process. apply() runs on the thread
 * that decided, directly after the decision and before anything is logged or stored.
 */
#ifndef OKNEK_CORE_ENFORCER_H
#define OKNEK_CORE_ENFORCER_H

#include "core/event.h"

struct enforcer;

struct enforcer_ops {
	const char *name;
	enum mechanism mechanism;
	unsigned can; /* bit per event_kind that it can stop before the fact */
	/* Gives the answer of `d` for `ev`. Returns OUTCOME_* (>= 0), or -errno when no answer could
	 * be given and none is due any more. */
	int (*apply)(struct enforcer *e, const struct event *ev, const struct decision *d);
	void (*close)(struct enforcer *e);
};

struct enforcer {
	const struct enforcer_ops *ops;
};

#endif
