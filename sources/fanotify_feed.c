/* SPDX-License-Identifier: Apache-2.0 */
/* Who is a member: by the table that the process feed keeps and, while that has a gap, by the
 * kernel's own. */
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sources/bpf/wire.h"
#include "sources/fanotify_priv.h"
#include "sources/process_feed.h"

#define FEED_DRAINS_MAX 64 /* bounded batches: a storm of forks must not keep openers waiting */

void fanotify_feed_gap(struct source *base)
{
	struct fanotify_source *s = (void *)base;

	s->feed_gap = true;
	s->feed_gaps++;
	s->c.feed_lost(s->c.arg);
}

bool fanotify_drain_feed(struct source *base)
{
	struct fanotify_source *s = (void *)base;
	int r = 0;

	for (int i = 0; i < FEED_DRAINS_MAX; i++) {
		r = process_feed_drain(s->c.feed);
		if (r == -EOVERFLOW) {
			s->lost++;
			fanotify_feed_gap(base);
		} else if (r != -EAGAIN) {
			break;
		}
	}
	s->feed_drained = r != -EAGAIN && r != -EOVERFLOW;
	return s->feed_drained && !s->feed_gap && !s->no_room;
}

uint64_t fanotify_feed_gaps(const struct source *base)
{
	return ((const struct fanotify_source *)base)->feed_gaps;
}

bool fanotify_feed_restored(struct source *base, uint64_t gaps_seen, bool complete)
{
	struct fanotify_source *s = (void *)base;
	uint64_t one = 1;

	fanotify_drain_feed(base);
	if (s->feed_gaps != gaps_seen)
		return false;
	s->feed_gap = false;
	s->no_room = !complete;
	/* Who waited for this is looked at in the next batch; a full counter wakes us as well. */
	if (write(s->c.queue->done_fd, &one, sizeof(one)) < 0)
		return true;
	return true;
}

/* One bpf() call: the only one on the answer path, and only while the table has a gap. */
static int ask_kernel(const struct fanotify_source *s, pid_t pid, struct wire_member *ret)
{
	uint32_t key = (uint32_t)pid;
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)process_feed_members_fd(s->c.feed);
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)ret;
	return syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/* By the kernel's map, which was told of every birth before the child ran, and of every end. */
static enum who who_by_kernel(struct fanotify_source *s, pid_t pid, struct member *spare,
			      const struct member **ret)
{
	const struct member *m = *ret;
	struct wire_member entry;
	const struct tree *tree;
	int err = ask_kernel(s, pid, &entry);

	/* Was one when we last heard: perhaps it ended, and somebody else has its pid. */
	if (err == -ENOENT)
		return m ? WHO_UNKNOWN : WHO_STRANGER;
	if (err)
		return m ? WHO_MEMBER : WHO_UNKNOWN;
	if (m && m->tree_id == entry.tree_id &&
	    (!m->start_time_ns || start_time_same(m->start_time_ns, entry.start_time_ns)))
		return WHO_MEMBER;
	tree = proctree_tree(s->c.tree, entry.tree_id);
	/* A child of a tree that is watched no more. */
	if (!tree || !tree->members)
		return m ? WHO_UNKNOWN : WHO_STRANGER;
	/* The scan puts it into the table, with what /proc tells of it. */
	*spare = (struct member){ .tgid = pid, .start_time_ns = entry.start_time_ns,
				  .tree_id = entry.tree_id, .uid = tree->uid };
	*ret = spare;
	return WHO_MEMBER;
}

enum who fanotify_who(struct fanotify_source *s, pid_t pid, struct member *spare,
		      const struct member **ret)
{
	*ret = proctree_find(s->c.tree, pid);
	if (*ret && !s->feed_gap)
		return WHO_MEMBER;
	if (s->feed_drained && !s->feed_gap && !s->no_room)
		return WHO_STRANGER;
	if (process_feed_members_fd(s->c.feed) >= 0)
		return who_by_kernel(s, pid, spare, ret);
	if (*ret)
		return WHO_MEMBER;
	/* Who found no room is not watched; nobody else may wait for that to change. */
	return s->feed_drained && !s->feed_gap ? WHO_STRANGER : WHO_UNKNOWN;
}
