/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots of permission events that were read and not yet answered. A slot is claimed for answering
 * by compare-and-swap, so that each permission is answered exactly once, whoever comes first:
 * rule, operator, deadline, guardian. The array lives in memory shared with the guardian: it holds
 * no pointers.
 */
#ifndef OKNEK_CORE_PERMISSION_H
#define OKNEK_CORE_PERMISSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/event.h"

enum permission_state { PERM_FREE, PERM_READ, PERM_PARKED, PERM_CLAIMED, PERM_ANSWERED };

#define PERMISSION_SLOTS 1088 /* 1,024 parked and a batch in flight */
#define PERMISSION_PARKED_MAX 1024
#define PERMISSION_PARKED_PER_TREE 32

struct permission {
	_Atomic uint32_t state; /* enum permission_state */
	int event_fd;           /* in our descriptor table; the key of the kernel's answer */
	int group_fd;           /* the fanotify group that asked */
	pid_t tgid;
	uint64_t token;       /* unique while the daemon lives; names a parked permission */
	uint64_t deadline_ns; /* CLOCK_BOOTTIME; 0: not parked */
	enum verdict on_timeout;
	uint32_t tree_id; /* 0: not a member */
};

struct permission_table;

/* Shared, zeroed slots. Returns 0 or -errno; *ret is freed with permission_table_free(). */
int permission_table_new(struct permission_table **ret);
void permission_table_free(struct permission_table *t);

/* A slot in state READ for event_fd, NULL when none is free. Owner: the verdict thread. */
struct permission *permission_take(struct permission_table *t, int group_fd, int event_fd,
				   pid_t tgid);

/* READ → PARKED with a deadline (not 0). -EBUSY beyond the limits of a tree or of all; -EALREADY
 * when somebody has claimed it meanwhile. */
int permission_park(struct permission_table *t, struct permission *p, uint32_t tree_id,
		    uint64_t deadline_ns, enum verdict on_timeout);

/* Claims the right to answer: true for exactly one caller. */
bool permission_claim(struct permission *p);

/* After the answer was written: frees the slot for the next event. Claimed slots only. */
void permission_release(struct permission_table *t, struct permission *p);

/* Not after the earliest deadline of all parked slots; UINT64_MAX if there are none. */
uint64_t permission_next_deadline(const struct permission_table *t);

/* Calls fn for each parked slot whose deadline is not after now_ns (UINT64_MAX: all parked). */
void permission_each_parked(struct permission_table *t, uint64_t now_ns,
			    void (*fn)(struct permission *p, void *arg), void *arg);

unsigned permission_parked(const struct permission_table *t);

/* Position of a slot, 0 to PERMISSION_SLOTS - 1: for context that its owner keeps beside it. */
unsigned permission_index(const struct permission_table *t, const struct permission *p);

#endif
