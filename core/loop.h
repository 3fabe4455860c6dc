/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of one thread, and the way other threads ask that thread: what it alone may
 * write (membership, the rule set in force) is changed by a call that runs between two batches.
 */
#ifndef OKNEK_CORE_LOOP_H
#define OKNEK_CORE_LOOP_H

#include <stdint.h>

struct loop;

struct loop_timer {
	uint64_t (*next_ns)(void *arg); /* CLOCK_BOOTTIME of the next deadline, UINT64_MAX none */
	void (*expired)(void *arg, uint64_t now_ns);
	void *arg;
};

int loop_new(struct loop **ret); /* -errno */
void loop_free(struct loop *l);

/* Calls fn on the loop's thread whenever fd polls readable. Before loop_run(). -errno. */
int loop_add(struct loop *l, int fd, void (*fn)(void *arg), void *arg);
/* One timer a loop. */
void loop_set_timer(struct loop *l, const struct loop_timer *t);
/* Called after each batch of ready descriptors: for what must not wait behind other wake-ups. */
void loop_set_after(struct loop *l, void (*fn)(void *arg), void *arg);

/* Serves until loop_stop(). 0 or -errno. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l); /* any thread */

/* Makes the loop come round, and how often it did before: who asks again a little later sees
 * whether it still does. Any thread; never waits. */
uint64_t loop_poke(struct loop *l);

/* Runs fn on the loop's thread and waits for it. -ESHUTDOWN once the loop has ended (fn was not
 * run). Not from the loop's own thread. */
int loop_call(struct loop *l, void (*fn)(void *arg), void *arg);

uint64_t clock_boottime_ns(void);

#endif
