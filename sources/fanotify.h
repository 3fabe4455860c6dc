/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fanotify source: permission events of members become file_opened events with an answer due;
 * everybody else is allowed at once. Notification groups tell what is created, moved and deleted
 * in the directories that matter, and, where nothing is to be stopped, what was opened. All on the
 * verdict thread. Nothing here opens, allocates, logs, or waits.
 */
#ifndef OKNEK_SOURCES_FANOTIFY_H
#define OKNEK_SOURCES_FANOTIFY_H

#include "core/bus.h"
#include "core/pathset.h"
#include "core/permission.h"
#include "core/proctree.h"
#include "core/source.h"
#include "core/watch.h"
#include "sources/process.h"

struct fanotify_config {
	struct objects *objects;
	struct permission_table *permissions;
	struct watch_queue *queue;
	struct proctree *tree;
	struct process_feed *feed;
	uint64_t deadline_ns;    /* of parked permissions */
	enum verdict on_timeout; /* for members */

	/* All on the verdict thread. */
	struct pathset *(*pathset)(void *arg);                /* of the rule set in force */
	const char *(*home_of)(void *arg, uid_t uid);         /* NULL: not known yet */
	bool (*reader_candidate)(void *arg, const char *exe); /* named by `readers:` */
	void (*feed_lost)(void *arg); /* the feed overran: somebody must scan */
	void *arg;
};

struct fanotify_figures {
	uint64_t answered, denied, by_deadline, strangers; /* strangers: opens by non-members */
	uint64_t parked_total, parked_refused; /* refused: beyond the limits, default given */
	unsigned parked;
	uint64_t observe_lost;
};

/* Opens the groups: needs CAP_SYS_ADMIN now, not later. -errno; *groups gets the descriptors,
 * owned by the source. */
int fanotify_open(const struct fanotify_config *c, struct source **ret,
		  struct watch_groups *groups);

/* Takes what the process feed has queued; feed_lost() is called when that has a gap. True: whoever
 * the table does not know is not watched. False: nobody can say, until fanotify_feed_restored(). */
bool fanotify_drain_feed(struct source *s);
/* The feed is whole again: a scan was applied. */
void fanotify_feed_restored(struct source *s);
/* Answers by deadline; next deadline in CLOCK_BOOTTIME ns, UINT64_MAX none. */
uint64_t fanotify_next_deadline(const struct source *s);
void fanotify_expire(struct source *s, struct bus *b, uint64_t now_ns);
/* Answers everything parked with its default, and what is still queued by rule: before closing,
 * when marks are gone already. */
void fanotify_finish(struct source *s, struct bus *b);
void fanotify_figures(const struct source *s, struct fanotify_figures *ret);

/* Parked permissions, for `oknek pending`. */
void fanotify_each_parked(struct source *s,
			  void (*fn)(void *arg, const struct permission *p), void *arg);

#endif
