/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>

#include "enforce/marks_priv.h"

/* Marks by descriptor: the magic link leads to the very object, nothing is looked up by name. */
static int change(int group, unsigned flags, uint64_t mask, int fd)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return fanotify_mark(group, flags, mask, AT_FDCWD, link) < 0 ? -errno : 0;
}

static int mark(int group, uint64_t mask, int fd)
{
	return change(group, FAN_MARK_ADD, mask, fd);
}

static uint64_t notify_mask(const struct object *o)
{
	if (o->is_dir)
		return FAN_CREATE | FAN_MOVED_TO | FAN_DELETE_SELF | FAN_ONDIR;
	return FAN_DELETE_SELF;
}

/*
 * The notification group of an object's filesystem. Subvolumes of one btrfs differ in st_dev and
 * belong in one group; the kernel says EXDEV when a group is another filesystem's.
 */
static int notify(struct marks *m, struct object *o, int fd, const char *fstype)
{
	int err, spare = -1;

	for (int i = 0; i < WATCH_FILESYSTEMS_MAX; i++) {
		if (!m->fs[i].used) {
			if (spare < 0)
				spare = i;
			continue;
		}
		if (m->fs[i].dev != o->dev && strcmp(m->fs[i].type, fstype))
			continue;
		err = mark(m->c.groups->notify[i], notify_mask(o), fd);
		if (err != -EXDEV) {
			o->group = i;
			return err;
		}
	}
	/* All have been used: one whose filesystem is gone takes another's marks. */
	for (int i = 0; spare < 0 && i < WATCH_FILESYSTEMS_MAX; i++)
		if (mark(m->c.groups->notify[i], notify_mask(o), fd) == 0) {
			m->fs[i].dev = o->dev;
			snprintf(m->fs[i].type, sizeof(m->fs[i].type), "%s", fstype);
			o->group = i;
			return 0;
		}
	if (spare < 0)
		return -ENOSPC;
	/* Read from before its first mark stands. */
	atomic_store_explicit(&m->c.queue->filesystems, (unsigned)spare + 1, memory_order_release);
	err = mark(m->c.groups->notify[spare], notify_mask(o), fd);
	if (err)
		return err;
	m->fs[spare].used = true;
	m->fs[spare].dev = o->dev;
	snprintf(m->fs[spare].type, sizeof(m->fs[spare].type), "%s", fstype);
	o->group = spare;
	return 0;
}

static bool may_mark_system(const struct marks *m)
{
	return m->c.config->system_directories && m->c.guarded && m->c.guarded(m->c.arg);
}

/* Where marks hold the file as well, a label that cannot be written is no gap. */
static int label(struct marks *m, struct object *o, int fd, const char *fstype)
{
	char why[128];
	int r = 0;

	if (m->c.label && !o->is_dir && o->verdict == VERDICT_BLOCK)
		r = m->c.label(m->c.arg, fd, o);
	if (!m->c.labels_only)
		return 0;
	o->labelled = r > 0;
	if (r < 0) {
		snprintf(why, sizeof(why), "cannot be labelled on %s: %s", fstype, strerror(-r));
		marks_gap(m, o->names[0].path, why);
	}
	return r < 0 ? r : 0;
}

/* What a link among them leads to, and is not the user's own, is none. */
static bool is_decoy(const struct marks *m, const struct object *o)
{
	for (unsigned i = 0; *m->proof_home && !o->system && i < o->n_names; i++)
		if (marks_is_above(m->proof_home, o->names[i].path))
			return true;
	return false;
}

int marks_place(struct marks *m, struct object *o, int fd, const char *fstype)
{
	/* A directory of the system is looked at by everybody: inode marks on what is in it, and a
	 * notification when that is replaced, but no event for each open beside it; unless that is
	 * wanted, and somebody answers if we do not. */
	bool whole = !o->system || may_mark_system(m);
	bool open_mark = !o->is_dir || (o->on_child && whole);
	uint64_t child = o->is_dir ? FAN_EVENT_ON_CHILD : 0;
	/* Within one scan marks are set once; by the next they may have gone with their mount. */
	bool fresh = o->marked_pass == m->pass;
	char why[128];
	int err = 0, labelled;

	o->marked_pass = m->pass;
	if (!o->notify_marked || !fresh) {
		err = notify(m, o, fd, fstype);
		o->notify_marked = err == 0;
		if (err) {
			snprintf(why, sizeof(why), "changes cannot be followed on %s: %s", fstype,
				 strerror(-err));
			marks_gap(m, o->names[0].path, why);
		}
	}
	labelled = label(m, o, fd, fstype);
	if (m->c.labels_only)
		return err ? err : labelled;
	/* Its rule only warns now, or it may not be marked any more: nobody is to be asked about it. */
	if (o->perm_marked && (o->verdict < VERDICT_BLOCK || !open_mark) &&
	    change(m->c.groups->permission, FAN_MARK_REMOVE, FAN_OPEN_PERM | child, fd) == 0)
		o->perm_marked = false;
	if (!open_mark || o->verdict == VERDICT_ALLOW)
		return err;
	if ((m->mode == MODE_ENFORCE || is_decoy(m, o)) && o->verdict == VERDICT_BLOCK) {
		if (o->perm_marked && fresh)
			return err;
		err = mark(m->c.groups->permission, FAN_OPEN_PERM | child, fd);
		if (!err)
			o->perm_marked = true;
	} else if ((!o->observe_marked || !fresh) && o->group >= 0) {
		err = mark(m->c.groups->observe[o->group], FAN_OPEN | child, fd);
		o->observe_marked = err == 0;
	}
	if (err) {
		snprintf(why, sizeof(why), "cannot be marked on %s: %s", fstype, strerror(-err));
		marks_gap(m, o->names[0].path, why);
	}
	return err;
}

void marks_take(struct marks *m, struct object *o, int fd)
{
	uint64_t child = o->is_dir ? FAN_EVENT_ON_CHILD : 0;

	if (o->perm_marked &&
	    change(m->c.groups->permission, FAN_MARK_REMOVE, FAN_OPEN_PERM | child, fd) == 0)
		o->perm_marked = false;
	if (o->observe_marked && o->group >= 0 &&
	    change(m->c.groups->observe[o->group], FAN_MARK_REMOVE, FAN_OPEN | child, fd) == 0)
		o->observe_marked = false;
}

static void forget_marks(struct object *o, void *arg)
{
	const bool *what = arg;

	if (what[0])
		o->perm_marked = false;
	if (what[1])
		o->observe_marked = o->notify_marked = false;
}

void marks_flush(struct marks *m, bool permission, bool rest)
{
	bool what[2] = { permission, rest };

	if (permission && !m->c.labels_only)
		fanotify_mark(m->c.groups->permission, FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
	for (int i = 0; rest && i < WATCH_FILESYSTEMS_MAX; i++) {
		fanotify_mark(m->c.groups->notify[i], FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
		if (!m->c.labels_only)
			fanotify_mark(m->c.groups->observe[i], FAN_MARK_FLUSH, 0, AT_FDCWD, NULL);
	}
	objects_each(m->c.objects, forget_marks, what);
	if (permission)
		exec_marks_flushed(m);
}
