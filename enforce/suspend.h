/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stops processes (SIGSTOP) and lets them go on (SIGCONT). Which ones is in memory shared with a
 * process of its own, the keeper, which lets all of them go on when the daemon is dead, and those
 * that the daemon has left stopped past their time: nothing stays stopped because of us.
 *
 * One caller at a time; what a process is about to be sent a signal for is checked through a
 * descriptor that stands for it, so that its number cannot have become another's.
 */
#ifndef OKNEK_ENFORCE_SUSPEND_H
#define OKNEK_ENFORCE_SUSPEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "enforce/confine.h"

#define SUSPEND_MAX 8192 /* processes stopped at once, of all trees */
#define SUSPEND_CAPS (1ULL << 5) /* CAP_KILL */

struct suspend;

/* Forks the keeper: before there are threads, and before there is a fanotify group. -errno. */
int suspend_new(enum confine_refusal calls, struct suspend **ret);
/* Lets everybody go on, and ends the keeper. NULL is fine. */
void suspend_free(struct suspend *s);

/* start_ns: CLOCK_BOOTTIME, 0 not known. 1: it is stopped by this call; 0: it was stopped before, by us or
 * by others, whose business it stays. -ESRCH, -ENOSPC: too many, -EOWNERDEAD: the keeper has ended, -errno. */
int suspend_stop(struct suspend *s, uint32_t tree_id, pid_t pid, uint64_t start_ns, uint64_t until_ns);
/* Those of a tree may stay stopped until then, by CLOCK_BOOTTIME. */
void suspend_until(struct suspend *s, uint32_t tree_id, uint64_t until_ns);
/* Those of a tree that we stopped, 0: of all. Returns how many; who cannot be reached now, for want of a
 * descriptor, the keeper lets go on within seconds. */
unsigned suspend_continue(struct suspend *s, uint32_t tree_id);
/* SIGKILL. 0, -ESRCH, -errno. */
int suspend_kill(pid_t pid, uint64_t start_ns);

#endif
