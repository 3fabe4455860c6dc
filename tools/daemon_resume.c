/* SPDX-License-Identifier: Apache-2.0 */
/* Trees that an earlier daemon watched go on. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "tools/daemon.h"

#define RESUME_WAIT_MS 30000 /* a service manager waits 90 s for a start */

struct track_call {
	struct daemon *d;
	bool failed;
};

static void track_member(const struct member *m, void *arg)
{
	struct track_call *c = arg;
	int err = process_feed_track(c->d->feed, m->tgid, m->tree_id);

	c->failed |= err < 0 && err != -ESRCH;
}

static void track_all(void *arg)
{
	struct track_call *c = arg;

	proctree_each_member(c->d->tree, 0, track_member, c);
	if (c->failed)
		daemon_feed_gap(c->d);
}

static void end_empty(void *arg)
{
	proctree_end_empty(((struct daemon *)arg)->tree);
}

static void note_gap(void *arg)
{
	daemon_feed_gap(arg);
}

/*
 * Trees that an earlier daemon watched are watched from the start, and their secrets marked before
 * we are ready. All of them together may take RESUME_WAIT_MS: what takes longer is marked in the
 * background, and told.
 */
void daemon_resume_trees(struct daemon *d)
{
	uint64_t until_ns = clock_boottime_ns() + RESUME_WAIT_MS * NSEC_PER_MSEC;
	_cleanup_free_ struct tree_place *places = NULL;
	struct track_call track = { .d = d };
	unsigned found, adopted, late = 0;
	size_t n;

	if (loop_call(d->loop, track_all, &track) < 0)
		return;
	adopted = daemon_guardian_adopt(d);
	loop_call(d->loop, end_empty, d);
	daemon_hold_resume(d);
	places = daemon_tree_places(d, &n);
	if (!n)
		return;
	if (daemon_rescan(d, &found) < 0)
		loop_call(d->loop, note_gap, d);
	daemon_notify_patience(RESUME_WAIT_MS / 1000 + 10);
	for (size_t i = 0; i < n && !daemon_told_to_end(); i++) {
		struct marks_watch w = { .uid = places[i].uid, .env_home = places[i].home,
					 .project = places[i].cwd };
		uint64_t now_ns = clock_boottime_ns();
		uint64_t left_ms = now_ns < until_ns ? (until_ns - now_ns) / NSEC_PER_MSEC : 0;

		if (d->marks && marks_watch(d->marks, &w, left_ms < MARKS_WAIT_MS ? (int)left_ms + 1 :
									MARKS_WAIT_MS) < 0)
			late++;
		if (w.homes[0][0])
			daemon_home_known(d, w.uid, w.homes[0]);
	}
	log_notice("%zu watched trees go on from before the restart", n);
	if (late)
		log_warning("of %u of them not every protected path is marked yet", late);
	daemon_own_record(d, "O1", "restart",
			  json_pack("{s:i, s:i, s:i, s:s}", "trees", (int)n, "marks_late", (int)late,
				    "born_meanwhile", (int)adopted, "why",
				    d->old_guardian ?
					    "between the last daemon and this one its guardian answered" :
				    daemon_egress_kept_members(d, NULL) ?
					    "between the last daemon and this one connections were denied, and "
					    "nothing else" :
					    "nothing was watched between the last daemon and this one"));
}
