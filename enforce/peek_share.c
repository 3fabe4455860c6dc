/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who reads held processes goes before all who compute, or a host that is kept busy would have
 * everybody's shells refused when their deadline comes. What must not be had that way is the
 * processor: how long a process takes to read is its own choice (256 threads, each argument on a page
 * of its own), and to have a call refused and try again costs it next to nothing. So:
 *
 * - of a tree's questions PERMISSION_EXECS_PER_TREE wait at the most, PEEK_PER_TREE are read at a time,
 *   none for longer than PEEK_WAIT_MS;
 * - one that has taken LONG_NS of computing goes on at the ordinary priority;
 * - a tree has BURST_NS, and a SHAREth of what all processors could do as time goes by; what it asks
 *   beyond that is read at the ordinary priority, as slowly as it would compute itself;
 * - all trees together have ALL_BURST_NS, and an ALL_SHAREth: who has many trees has no more of it.
 *
 * An ordinary exec takes 140 µs (measured), so the share is for 700 of them a second and processor,
 * which is about as many as that can start. What the server does for a question is the same for
 * each, and less than what the verdict thread did before it was asked.
 */
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/priority.h"
#include "enforce/peek_priv.h"

#define LONG_NS (20 * NSEC_PER_MSEC)
#define BURST_NS (100 * NSEC_PER_MSEC)
#define SHARE 10
#define ALL_BURST_NS (3 * BURST_NS)
#define ALL_SHARE 4

/* ---- priorities ------------------------------------------------------------------------------ */

static int go_first(pid_t pid, int priority)
{
	struct sched_param rr = { .sched_priority = priority };

	return sched_setscheduler(pid, SCHED_RR, &rr) == 0 ? 0 :
							      setpriority(PRIO_PROCESS, (id_t)pid, PRIORITY_NICE);
}

/* The limits are what a process without privilege may have: a worker's priority, and back to it. */
void peek_share_begin(void)
{
	const struct rlimit rt = { PRIORITY_PEEK_WORKER, PRIORITY_PEEK_WORKER };
	const struct rlimit nice = { 20 - PRIORITY_NICE, 20 - PRIORITY_NICE };

	if (go_first(0, PRIORITY_PEEK) < 0)
		return;
	if (sched_getscheduler(0) == SCHED_RR)
		setrlimit(RLIMIT_RTPRIO, &rt);
	else
		setrlimit(RLIMIT_NICE, &nice);
}

bool peek_share_go(pid_t pid, bool first)
{
	const struct sched_param none = { 0 };

	if (first)
		return go_first(pid, PRIORITY_PEEK_WORKER) == 0;
	if (sched_getscheduler(pid) == SCHED_RR)
		sched_setscheduler(pid, SCHED_OTHER, &none);
	else
		setpriority(PRIO_PROCESS, (id_t)pid, 0);
	return false;
}

/* ---- what was had ---------------------------------------------------------------------------- */

uint64_t peek_share_computed_ns(pid_t pid)
{
	/* The number of a process's clock, include/linux/posix-timers_types.h: what clock_getcpuclockid()
	 * says, with a call less. */
	clockid_t clock = (clockid_t)(~(unsigned)pid << 3 | 2);
	struct timespec t;

	return clock_gettime(clock, &t) < 0 ? 0 :
					      (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static unsigned processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);

	return n > 0 ? (unsigned)n : 1;
}

void peek_shares_init(struct peek_shares *s)
{
	*s = (struct peek_shares){ .processors = processors() };
}

/* What was had of it and not made up for since. */
static uint64_t *had(struct peek_share *t, uint64_t share, unsigned processors, uint64_t now_ns)
{
	uint64_t made_up_ns = (now_ns - t->since_ns) / share * processors;

	t->had_ns = made_up_ns < t->had_ns ? t->had_ns - made_up_ns : 0;
	t->since_ns = now_ns;
	return &t->had_ns;
}

static uint64_t *of_tree(struct peek_shares *s, uint32_t tree_id, uint64_t now_ns)
{
	return had(&s->trees[tree_id % PEEK_SHARES], SHARE, s->processors, now_ns);
}

static uint64_t *of_all(struct peek_shares *s, uint64_t now_ns)
{
	return had(&s->all, ALL_SHARE, s->processors, now_ns);
}

bool peek_share_left(struct peek_shares *s, uint32_t tree_id, uint64_t now_ns)
{
	return *of_tree(s, tree_id, now_ns) < BURST_NS && *of_all(s, now_ns) < ALL_BURST_NS;
}

void peek_share_take(struct peek_shares *s, uint32_t tree_id, uint64_t ns, uint64_t now_ns)
{
	*of_tree(s, tree_id, now_ns) += ns;
	*of_all(s, now_ns) += ns;
}

uint64_t peek_share_long_ns(uint64_t computed_ns)
{
	return computed_ns >= LONG_NS ? 0 : LONG_NS - computed_ns;
}
