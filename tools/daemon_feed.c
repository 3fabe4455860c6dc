/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process feed as the daemon's threads ask it. The fanotify source keeps its gaps, since who
 * waits for an answer waits for them, too; without that source, nobody waits, and we do.
 */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "tools/daemon.h"

#define FEED_DRAINS_MAX 64 /* bounded batches */

bool daemon_watches(const struct daemon *d)
{
	return d->fanotify || d->ebpf || d->audit || d->preload;
}

int daemon_feed_open(struct daemon *d)
{
	struct process_feed_handler h = { .exec = daemon_on_exec,
					  .member = daemon_audit_member,
					  .member_exit = daemon_audit_gone,
					  .strangers = d->config->recognise, .arg = d };
	_cleanup_free_ char *path = NULL;
	int err;

	if (asprintf(&path, "%s/members", d->opt.run_dir) < 0)
		return -ENOMEM;
	err = d->old_guardian || daemon_egress_kept_members(d, NULL) ?
		      proctree_open_kept(path, &d->tree) : proctree_open(path, &d->tree);
	if (err) {
		log_error("%s: %s", path, strerror(-err));
		return err;
	}
	err = process_feed_open(NULL, d->tree, &h, &d->feed, d->feed_why);
	if (err)
		log_error("no process feed: %s (%s)", d->feed_why, strerror(-err));
	else if (d->feed_why[0])
		log_warning("process feed: %s", d->feed_why);
	return err;
}

bool daemon_feed_drain(struct daemon *d)
{
	int r = 0;

	if (d->fanotify)
		return fanotify_drain_feed(d->fanotify);
	for (int i = 0; i < FEED_DRAINS_MAX; i++) {
		r = process_feed_drain(d->feed);
		if (r == -EOVERFLOW)
			daemon_feed_gap(d);
		else if (r != -EAGAIN)
			break;
	}
	return r != -EAGAIN && r != -EOVERFLOW && !d->own_gaps.open;
}

void daemon_feed_gap(struct daemon *d)
{
	if (d->fanotify) {
		fanotify_feed_gap(d->fanotify);
		return;
	}
	d->own_gaps.open = true;
	d->own_gaps.n++;
	daemon_feed_lost(d);
}

uint64_t daemon_feed_gaps(const struct daemon *d)
{
	return d->fanotify ? fanotify_feed_gaps(d->fanotify) : d->own_gaps.n;
}

bool daemon_feed_restored(struct daemon *d, uint64_t gaps_seen, bool complete)
{
	if (d->fanotify)
		return fanotify_feed_restored(d->fanotify, gaps_seen, complete);
	daemon_feed_drain(d);
	if (d->own_gaps.n != gaps_seen)
		return false;
	d->own_gaps.open = !complete;
	return true;
}
