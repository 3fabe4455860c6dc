/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each member of a tree is stopped, or ended: in passes, until nobody is found whom it was not tried
 * with. Who is stopped has no more children, so that is soon; and where it is not, for so long.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/suspend.h"
#include "tools/daemon_hold.h"

#define PASSES_CLEAN 3 /* without anybody new: whoever was being born has been told by then */
#define PASSES_NS (10 * NSEC_PER_SEC) /* all of them, at trees that fork on and on */
#define LOOK_EACH 64 /* at the time, while one pass goes on: there may be many */

struct members_call {
	struct daemon *d;
	uint32_t tree_id;
	size_t n;
	struct stop_member {
		pid_t pid;
		uint64_t start_ns;
	} *at; /* PROCTREE_MEMBERS_MAX: no tree has more */
};

static void take_member(const struct member *m, void *arg)
{
	struct members_call *c = arg;

	if (c->n < PROCTREE_MEMBERS_MAX)
		c->at[c->n++] = (struct stop_member){ m->tgid, m->start_time_ns };
}

static void take_members(void *arg)
{
	struct members_call *c = arg;

	daemon_feed_drain(c->d);
	c->n = 0;
	proctree_each_member(c->d->tree, c->tree_id, take_member, c);
}

bool halt_pass(struct daemon *d, struct halt_passes *p, uint32_t tree_id, struct suspend *s,
	       uint64_t until_ns)
{
	struct members_call c = { .d = d, .tree_id = tree_id };
	_cleanup_free_ struct stop_member *at = NULL;
	uint64_t now_ns = clock_boottime_ns();
	unsigned news = 0, failed = 0;
	size_t i;

	if (!p->over_ns) {
		p->over_ns = now_ns + PASSES_NS;
		p->failed = 1; /* who did it, if nobody can be asked who else there is */
	}
	if (now_ns >= p->over_ns)
		return true;
	if (now_ns < p->next_ns)
		return false;
	p->next_ns = now_ns + HALT_PASS_MS * NSEC_PER_MSEC;
	c.at = at = malloc(PROCTREE_MEMBERS_MAX * sizeof(*at));
	if (!at)
		return false;
	if (loop_call(d->loop, take_members, &c) < 0)
		return true;
	for (i = 0; i < c.n; i++) {
		int r;

		if (i % LOOK_EACH == LOOK_EACH - 1 && clock_boottime_ns() >= p->over_ns)
			break;
		r = s ? suspend_stop(s, tree_id, at[i].pid, at[i].start_ns, until_ns) :
			suspend_kill(at[i].pid, at[i].start_ns);
		news += s ? r == 1 : r == 0;
		failed += r < 0 && r != -ESRCH;
	}
	p->failed = failed + (unsigned)(c.n - i);
	p->n += news;
	p->clean = news ? 0 : p->clean + 1;
	return p->clean == PASSES_CLEAN;
}

bool halt_kill(struct daemon *d, uint32_t tree_id)
{
	struct halt_passes p = { 0 };

	while (!halt_pass(d, &p, tree_id, NULL, 0))
		usleep(HALT_PASS_MS * 1000);
	return p.n && !p.failed;
}
