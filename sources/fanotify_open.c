/* SPDX-License-Identifier: Apache-2.0 */
/* The groups of the fanotify source. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>

#include "sources/fanotify_priv.h"

static int watch_fd(struct fanotify_source *s, int fd, enum ready what)
{
	struct epoll_event ee = { .events = EPOLLIN, .data.u32 = what };

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ee) < 0 ? -errno : 0;
}

/* Names and targets where the kernel has them (5.17), names alone before (5.9). */
static int notify_group(unsigned extra)
{
	unsigned flags = FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_MARKS | extra;
	int fd = fanotify_init(flags | FAN_REPORT_DFID_NAME_TARGET, O_RDONLY);

	if (fd < 0 && errno == EINVAL)
		fd = fanotify_init(flags | FAN_REPORT_DFID_NAME, O_RDONLY);
	return fd < 0 ? -errno : fd;
}

int fanotify_open_names(struct fanotify_source *s)
{
	int err = 0;

	for (int i = 0; i < WATCH_FILESYSTEMS_MAX && !err; i++) {
		int fd = notify_group(FAN_UNLIMITED_QUEUE);

		if (fd < 0)
			return fd;
		s->groups.notify[i] = fd;
		err = watch_fd(s, fd, READY_CHANGE);
	}
	return err;
}

/*
 * FAN_ENABLE_AUDIT takes CAP_AUDIT_WRITE in the first user namespace, now and not later, and a kernel with
 * CONFIG_AUDITSYSCALL. Without either the denials are the same, and the audit trail has none.
 */
static int permission_group(struct permission_table *permissions)
{
	const unsigned flags = FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE |
			       FAN_UNLIMITED_MARKS;
	const unsigned event_flags = O_RDONLY | O_LARGEFILE | O_CLOEXEC | O_NONBLOCK | O_NOATIME;
	enum answer_audit audit = ANSWER_UNAUDITED;
	int fd = fanotify_init(flags | FAN_ENABLE_AUDIT, event_flags);

	if (fd >= 0)
		audit = answer_probe(fd);
	else if (errno == EPERM || errno == EINVAL)
		fd = fanotify_init(flags, event_flags);
	atomic_store(&permission_verdict_state(permissions)->audit, audit);
	return fd < 0 ? -errno : fd;
}

int fanotify_open_groups(struct fanotify_source *s)
{
	struct watch_groups *g = &s->groups;
	int err = watch_fd(s, s->c.queue->done_fd, READY_DONE);

	g->permission = permission_group(s->c.permissions);
	if (g->permission < 0)
		return g->permission;
	if (!err)
		err = watch_fd(s, g->permission, READY_PERMISSION);
	if (!err)
		err = fanotify_open_names(s);
	for (int i = 0; i < WATCH_FILESYSTEMS_MAX && !err; i++) {
		int fd = notify_group(0);

		if (fd < 0)
			return fd;
		g->observe[i] = fd;
		err = watch_fd(s, fd, READY_OPEN);
	}
	return err;
}
