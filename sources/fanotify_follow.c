/* SPDX-License-Identifier: Apache-2.0 */
/* Names alone are followed: what is created, moved and deleted where it matters. Nobody is made to wait. */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "sources/fanotify_priv.h"

static int follow_start(struct source *base)
{
	(void)base; /* events flow as soon as there are marks */
	return 0;
}

static int follow_fd(const struct source *base)
{
	return ((const struct fanotify_source *)base)->epoll_fd;
}

static int follow_dispatch(struct source *base, struct bus *b)
{
	struct fanotify_source *s = (void *)base;
	uint64_t before = s->read;

	(void)b;
	objects_quiescent(s->c.objects);
	fanotify_drain_changes(s);
	objects_quiescent(s->c.objects);
	programs_quiescent(s->c.programs);
	return s->read > before ? (int)(s->read - before) : -EAGAIN;
}

static void follow_stats(const struct source *base, struct source_stats *ret)
{
	const struct fanotify_source *s = (const void *)base;

	*ret = (struct source_stats){ s->read, s->lost, s->malformed };
}

static void follow_close(struct source *base)
{
	struct fanotify_source *s = (void *)base;

	for (int i = 0; i < WATCH_FILESYSTEMS_MAX; i++)
		cleanup_close(&s->groups.notify[i]);
	cleanup_close(&s->epoll_fd);
	free(s);
}

static const struct source_ops follow_ops = {
	.name = "names",
	.caps = 1ULL << CAP_DAC_READ_SEARCH, /* marks below the paths of others */
	.start = follow_start,
	.fd = follow_fd,
	.dispatch = follow_dispatch,
	.stats = follow_stats,
	.close = follow_close,
};

int fanotify_follow(const struct fanotify_config *c, struct source **ret, struct watch_groups *groups)
{
	struct fanotify_source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->base.ops = &follow_ops;
	s->c = *c;
	s->groups.permission = -1;
	for (int i = 0; i < WATCH_FILESYSTEMS_MAX; i++)
		s->groups.notify[i] = s->groups.observe[i] = -1;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	err = s->epoll_fd < 0 ? -errno : fanotify_open_names(s);
	if (err) {
		follow_close(&s->base);
		return err;
	}
	*groups = s->groups;
	*ret = &s->base;
	return 0;
}
