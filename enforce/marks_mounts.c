/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel drops marks with the filesystem that is unmounted, and what is mounted next has none.
 * inotify tells of an unmount (fanotify does not), mountinfo of a mount; mount ids are used again
 * at once, so that the table alone does not tell a remount. inotify also tells when a home or
 * project is moved away: what is above it has no mark that could.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>

#include "core/cleanup.h"
#include "enforce/marks_priv.h"

int marks_mounts_open(struct marks *m)
{
	m->mountinfo_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	m->unmount_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (m->mountinfo_fd < 0 || m->unmount_fd < 0)
		return -errno;
	return mounts_open(AT_FDCWD, "/proc/self/mountinfo", &m->mounts);
}

void marks_mounts_close(struct marks *m)
{
	mounts_close(m->mounts);
	cleanup_close(&m->mountinfo_fd);
	cleanup_close(&m->unmount_fd);
}

static bool is_followed(const struct marks *m, uint64_t dev)
{
	for (unsigned i = 0; i < m->n_unmount_devs; i++)
		if (m->unmount_devs[i] == dev)
			return true;
	return m->n_unmount_devs == UNMOUNT_DEVS_MAX;
}

void marks_mounts_follow(struct marks *m, const struct lookup_found *f)
{
	bool root = m->walking && !strcmp(f->path, marks_place_path(m->walking));
	char link[40];

	if (!f->is_dir || (!root && is_followed(m, f->dev)))
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", f->fd);
	/* IN_UNMOUNT is told whatever the mask. */
	if (inotify_add_watch(m->unmount_fd, link, IN_MOVE_SELF | IN_DELETE_SELF) >= 0 &&
	    !is_followed(m, f->dev))
		m->unmount_devs[m->n_unmount_devs++] = f->dev;
}

static bool has_gone(struct marks *m)
{
	char buf[4096] __attribute__((aligned(8)));
	bool gone = false;
	ssize_t n;

	while ((n = read(m->unmount_fd, buf, sizeof(buf))) > 0)
		for (const char *at = buf; at < buf + n;) {
			const struct inotify_event *e = (const void *)at;

			/* A directory that was deleted no longer stands for its filesystem either. */
			if (e->mask & (IN_UNMOUNT | IN_IGNORED | IN_Q_OVERFLOW))
				m->n_unmount_devs = 0;
			gone |= (e->mask & (IN_UNMOUNT | IN_Q_OVERFLOW | IN_MOVE_SELF |
					    IN_DELETE_SELF)) != 0;
			at += sizeof(*e) + e->len;
		}
	return gone;
}

/* Whether a mount at `point` decides what stands in this place. */
static bool concerns(const struct place *p, const char *point)
{
	const char *at = marks_place_path(p);

	return at[0] && (marks_is_above(point, at) || marks_is_above(at, point));
}

static uint64_t digest(struct marks *m)
{
	const struct mount *mnt;
	uint64_t sum = 0;

	for (unsigned i = 0; (mnt = mounts_nth(m->mounts, i)); i++) {
		struct object_handle h = { .fsid = sum ^ (uint64_t)(unsigned)mnt->id << 32 };
		bool mine = false;

		for (unsigned k = 0; k < m->n_places && !mine; k++)
			mine = concerns(&m->places[k], mnt->point);
		if (!mine)
			continue;
		h.len = (uint32_t)strnlen(mnt->point, sizeof(h.bytes));
		memcpy(h.bytes, mnt->point, h.len);
		sum = object_handle_hash(&h);
	}
	return sum;
}

bool marks_mounts_differ(struct marks *m)
{
	bool gone = has_gone(m);

	return digest(m) != m->mounts_digest || gone;
}

void marks_mounts_settled(struct marks *m)
{
	m->mounts_digest = digest(m);
}
