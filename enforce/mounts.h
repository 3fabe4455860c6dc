/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which filesystem a descriptor is on, without asking that filesystem: statfs(2) and stat(2) of a
 * FUSE or NFS object wait for a server that may never answer. The kernel tells the mount id of any
 * descriptor by itself, and mountinfo what is mounted under that id.
 */
#ifndef OKNEK_ENFORCE_MOUNTS_H
#define OKNEK_ENFORCE_MOUNTS_H

#include <stdbool.h>

enum mount_class {
	MOUNT_NEVER, /* anything that somebody else can stall, or that nobody here knows */
	MOUNT_WALK,  /* local: may be walked through on the way to others, takes no marks */
	MOUNT_MARK,  /* the allow list: ext2 ext3 ext4 xfs btrfs tmpfs overlay */
};

#define MOUNT_FSTYPE_MAX 64

struct mount {
	int id, parent;
	bool whole; /* not a bind mount of a part */
	enum mount_class class;
	char fstype[MOUNT_FSTYPE_MAX]; /* "ext4", "fuse.sshfs" */
	char *point;                   /* as seen from the root of the reader */
};

struct mounts;

enum mount_class mount_class(const char *fstype);

/* The table in `path` ("/proc/self/mountinfo"), relative to dir_fd. It is read again whenever the
 * kernel says that it changed: a mount id is used again soon after its mount is gone. -errno. */
int mounts_open(int dir_fd, const char *path, struct mounts **ret);
void mounts_close(struct mounts *m); /* NULL is fine */

/* Pointers are good until the next call with the same table. NULL: not (or no longer) there.
 * Ask for the mount of a descriptor while it is open: that keeps its id from being used again. */
const struct mount *mounts_find(struct mounts *m, int id);
/* What one gets to see at `point` of the mount `parent`, NULL if nothing is mounted there. */
const struct mount *mounts_on(struct mounts *m, int parent, const char *point);
/* The n-th mount, NULL past the last; for n > 0 the table is not read again. */
const struct mount *mounts_nth(struct mounts *m, unsigned n);

/* The mount id of a descriptor of ours (O_PATH is fine). Asks no filesystem but proc. -errno. */
int mount_id_of(int fd);
/* The same from an fdinfo file. */
int mount_id_read(int dir_fd, const char *fdinfo, unsigned *open_flags);

#endif
