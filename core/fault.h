/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault points: `oknekd --debug-fault POINT[:NTH][:ACTION]` makes the daemon fail at a place of its
 * own code the NTH time (from 1) that it comes there, so that what it promises of crashes can be
 * tried on the very program that is shipped. Armed once, before threads; one comparison otherwise.
 */
#ifndef OKNEK_CORE_FAULT_H
#define OKNEK_CORE_FAULT_H

enum fault_point {
	FAULT_NONE,
#define FAULT(id, name) FAULT_##id,
#include "core/fault.def"
#undef FAULT
	FAULT_POINTS
};

/* Set by fault_arm() before there are threads, constant afterwards. */
extern enum fault_point fault_armed;

/* ACTION: kill (SIGKILL to the process, the default), stop (SIGSTOP to the process), spin (the
 * thread never goes on), segv. -EINVAL: err says what is allowed. */
int fault_arm(const char *spec, char err[256]);
/* The names, one after the other; NULL past the end. */
const char *fault_name(unsigned i);

void fault_hit(void);

static inline void fault(enum fault_point p)
{
	if (__builtin_expect(fault_armed == p, 0))
		fault_hit();
}

#endif
