/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time by which records grow old. The wall clock may jump, by mistake or by malice, and what is
 * removed because of that is gone: so the store believes the wall clock only where it agrees with
 * the time that the store has seen passing, give or take a week (which is how long the host may
 * have been off). Further ahead, the store follows at 24 times the speed of time: a clock that is
 * ten years ahead and put right within the hour makes nothing older than a day. A clock that is
 * set back makes nothing younger: the store's time then stands still.
 */
#ifndef OKNEK_STORE_AGE_H
#define OKNEK_STORE_AGE_H

#include <stdbool.h>
#include <stdint.h>

#define AGE_BELIEVED_S (7 * 86400)
#define AGE_CATCH_UP 24
#define AGE_STEP_S 10 /* what counts as the clock having been set */

struct age {
	int64_t now_ns;   /* what the store believes; 0: nothing yet */
	int64_t wall_ns;  /* as last seen */
	uint64_t boot_ns; /* CLOCK_BOOTTIME then; 0: not seen yet */
	int64_t leapt_ns; /* how much was believed that time did not yet make up for */
};

/* The two clocks, read together. *step_s: by how much the wall clock was set since the last call,
 * 0 if that is less than AGE_STEP_S. */
void age_advance(struct age *a, int64_t wall_ns, uint64_t boot_ns, int64_t *step_s);

/* True when the wall clock is too far ahead to be believed at once. */
bool age_doubts(const struct age *a);

#endif
