/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/fanotify.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "sources/fanotify_priv.h"

/* What is ready, by the kind of descriptor: a system call instead of a vain read of each. */
static unsigned what_is_ready(struct fanotify_source *s)
{
	struct epoll_event ready[2 + 2 * WATCH_FILESYSTEMS_MAX];
	unsigned what = 0;
	int n = epoll_wait(s->epoll_fd, ready, ARRAY_SIZE(ready), 0);

	for (int i = 0; i < n; i++)
		what |= ready[i].data.u32;
	return what;
}

static int fanotify_source_dispatch(struct source *base, struct bus *b)
{
	struct fanotify_source *s = (void *)base;
	unsigned ready = what_is_ready(s);
	uint64_t n, one = 1;
	int handled = 0;

	/* Before the first read: from here on the guardian looks after us. */
	if (ready & (READY_PERMISSION | READY_DONE) || permission_parked(s->c.permissions) ||
	    s->turns.waiting)
		permission_begin(s->c.permissions);
	s->bus = b;
	objects_quiescent(s->c.objects);
	fanotify_drain_feed(base);
	s->read_seq++;
	fanotify_take_left(s, b);
	if (ready & READY_PERMISSION || s->turns.waiting)
		handled = fanotify_read_permissions(s, b);
	if (ready & READY_CHANGE)
		fanotify_changes_drained(s, s->read_seq);
	fanotify_held_look(s, b); /* first: it is counted then who is held */
	if ((ready & READY_DONE && read(s->c.queue->done_fd, &n, sizeof(n)) > 0) ||
	    permission_parked(s->c.permissions) > s->n_held)
		fanotify_recheck_parked(s, b);
	if (ready & READY_OPEN)
		fanotify_drain_opens(s, b);
	objects_quiescent(s->c.objects);
	if (s->c.programs)
		programs_quiescent(s->c.programs);
	fanotify_end_work(s);
	/* Not to sleep while somebody waits. */
	if (s->turns.used && write(s->c.queue->done_fd, &one, sizeof(one)) < 0)
		return handled; /* a full counter wakes us as well */
	return handled ? handled : -EAGAIN;
}

static int fanotify_source_start(struct source *base)
{
	(void)base; /* events flow as soon as there are marks */
	return 0;
}

static int fanotify_source_fd(const struct source *base)
{
	return ((const struct fanotify_source *)base)->epoll_fd;
}

static void fanotify_source_stats(const struct source *base, struct source_stats *ret)
{
	const struct fanotify_source *s = (const void *)base;

	*ret = (struct source_stats){ s->read, s->lost, s->malformed };
}

void fanotify_figures(const struct source *base, struct fanotify_figures *ret)
{
	const struct fanotify_source *s = (const void *)base;

	*ret = s->fig;
	ret->parked = permission_parked(s->c.permissions);
	ret->held = s->n_held < ret->parked ? s->n_held : ret->parked;
	ret->feed_gap = s->feed_gap;
	ret->no_room = s->no_room;
}

static void fanotify_source_close(struct source *base)
{
	struct fanotify_source *s = (void *)base;

	for (int i = 0; i < WATCH_FILESYSTEMS_MAX; i++) {
		cleanup_close(&s->groups.notify[i]);
		cleanup_close(&s->groups.observe[i]);
	}
	/* Last: closing it lets go of everybody who still waits. */
	cleanup_close(&s->groups.permission);
	cleanup_close(&s->epoll_fd);
	free(s);
}

static const struct source_ops fanotify_ops = {
	.name = "fanotify",
	/* Marks below the paths of others need CAP_DAC_READ_SEARCH; the event descriptors of files
	 * of others need nothing, the kernel opens them with our credentials unchecked. */
	.caps = 1ULL << CAP_DAC_READ_SEARCH | 1ULL << CAP_SYS_PTRACE,
	.start = fanotify_source_start,
	.fd = fanotify_source_fd,
	.dispatch = fanotify_source_dispatch,
	.stats = fanotify_source_stats,
	.close = fanotify_source_close,
};

int fanotify_open(const struct fanotify_config *c, struct source **ret, struct watch_groups *groups)
{
	struct fanotify_source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->base.ops = &fanotify_ops;
	s->c = *c;
	s->own_pid = getpid();
	turns_init(&s->turns);
	s->groups.permission = -1;
	for (int i = 0; i < WATCH_FILESYSTEMS_MAX; i++)
		s->groups.notify[i] = s->groups.observe[i] = -1;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		err = -errno;
	else
		err = fanotify_open_groups(s);
	if (err) {
		fanotify_source_close(&s->base);
		return err;
	}
	*groups = s->groups;
	*ret = &s->base;
	return 0;
}
