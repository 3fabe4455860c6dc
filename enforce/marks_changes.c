/* SPDX-License-Identifier: Apache-2.0 */
/* What the verdict thread reports: names given, objects gone, questions it must not answer itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "enforce/marks_priv.h"

#define CHANGES_AT_ONCE 32 /* then others get their turn: a member can make changes without end */

struct held {
	struct marks *m;
	int fd;      /* of the directory; -1 not found */
	bool is_dir; /* what the handle led to */
};

static void hold_dir(void *arg, const struct lookup_found *f)
{
	struct held *h = arg;

	if (h->fd < 0)
		h->fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
}

static void ignore_gap(void *arg, const struct lookup_gap *g)
{
	(void)arg;
	(void)g;
}

static void mark_target(void *arg, const struct lookup_found *f)
{
	struct held *h = arg;

	h->is_dir = f->is_dir;
	marks_found(h->m, f);
}

/* All patterns of one home or project, for names that cannot be followed one by one: links, and
 * filesystems that open no handles. */
static void expand_again(struct marks *m, const struct object_name *n)
{
	for (unsigned i = 0; i < m->n_places; i++)
		if (!strcmp(m->places[i].home, n->home) || !strcmp(m->places[i].project, n->project))
			marks_expand(m, &m->places[i]);
}

/* What the entry `name` of a directory leads to: contents of a directory, a link's target. */
static void follow_name(struct marks *m, const struct object *dir, const struct object_name *on,
			const char *name)
{
	struct held held = { m, -1, true };
	struct lookup_handler keep = { hold_dir, ignore_gap, &held };
	struct lookup_handler h = marks_handler(m);
	int err;

	/* By its handle: the directory may have been moved since. */
	err = lookup_handle(m->c.lookup, dir->handle.fsid, dir->handle.type, dir->handle.bytes,
			    dir->handle.len, on->path, on->home, on->project, LOOKUP_MS, &keep);
	if (err == -EOPNOTSUPP || on->via[0]) {
		expand_again(m, on);
	} else if (held.fd >= 0) {
		err = lookup_child(m->c.lookup, m->walk_uid, on->home, on->project, held.fd,
				   on->path, name, LOOKUP_MS, &h);
		if (err < 0 && err != -ENOENT)
			marks_failed(m, on->path, err);
	}
	cleanup_close(&held.fd);
}

/* A protected name was given to something in a directory that we know, by any of its names. */
static void name_changed(struct marks *m, const struct change *c)
{
	const struct object *dir = objects_find_handle(m->c.objects, &c->dir);
	unsigned n = dir ? dir->n_names : 0;
	struct object_name name;
	char path[4096];

	/* Marking may publish the directory anew, with the same names in newer memory, and only the
	 * verdict thread's pace keeps the old one: look it up again for each name. */
	for (unsigned i = 0; i < n; i++) {
		struct held held = { m, -1, true };
		struct lookup_handler target = { mark_target, ignore_gap, &held };

		dir = objects_find_handle(m->c.objects, &c->dir);
		if (!dir || i >= dir->n_names)
			return;
		if (object_name_copy(&dir->names[i], &name) < 0)
			return;
		m->walk_uid = dir->uid;
		if (object_child_path(&name, c->name, path, sizeof(path)) == 0 &&
		    (name.via[0] ||
		     pathset_reach(m->pathset, path, name.home[0] ? name.home : NULL,
				   NULL) != GLOB_NONE)) {
			/* The thing itself first, wherever it may have been moved to by now. */
			if (c->target.len)
				lookup_handle(m->c.lookup, c->target.fsid, c->target.type,
					      c->target.bytes, c->target.len, path, name.home,
					      name.project, LOOKUP_MS, &target);
			if (held.is_dir)
				follow_name(m, dir, &name, c->name);
		}
		object_name_free(&name);
	}
}

/* name: of the configuration, so that looking it up can be trusted to end. */
static enum exe_trust check_exe(struct marks *m, pid_t pid, const char *name)
{
	_cleanup_close_ int fd = -1;
	const struct mount *mount;
	struct stat exe, meant;
	char link[32];

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	fd = open(link, O_PATH | O_CLOEXEC);
	/* fstat of a file on a stranger's file server could wait for it. */
	if (fd < 0)
		return EXE_STRANGER;
	mount = mounts_find(m->mounts, mount_id_of(fd));
	if (!mount || mount->class != MOUNT_MARK || fstat(fd, &exe) < 0)
		return EXE_STRANGER;
	if (exe.st_uid != 0 || (exe.st_mode & (S_IWGRP | S_IWOTH)))
		return EXE_STRANGER;
	return stat(name, &meant) == 0 && meant.st_dev == exe.st_dev && meant.st_ino == exe.st_ino ?
		       EXE_TRUSTED : EXE_STRANGER;
}

static void handle_change(struct marks *m, const struct change *c)
{
	const struct object *o;

	pthread_mutex_lock(&m->lock);
	m->stats.changes++;
	pthread_mutex_unlock(&m->lock);
	switch (c->type) {
	case CHANGE_NAME:
		name_changed(m, c);
		break;
	case CHANGE_GONE:
		o = objects_find_handle(m->c.objects, &c->target);
		if (o) {
			objects_remove(m->c.objects, (struct object *)o);
			m->dirty = true;
		}
		break;
	case CHANGE_EXE:
		watch_queue_answer_exe(m->c.queue, c, check_exe(m, c->pid, c->name));
		break;
	case CHANGE_UID:
		marks_watch_uid(m, c->uid);
		break;
	case CHANGE_LOST:
		marks_rescan(m);
		break;
	}
}

bool marks_handle_changes(struct marks *m)
{
	const struct change *c;
	uint64_t lost;

	for (int i = 0; i < CHANGES_AT_ONCE; i++) {
		c = watch_queue_peek(m->c.queue);
		if (!c)
			break;
		handle_change(m, c);
		watch_queue_advance(m->c.queue);
	}
	/* What is lost while we look has to be looked for once more; nobody passes until then. */
	lost = watch_queue_lost(m->c.queue);
	if (lost) {
		marks_rescan(m);
		watch_queue_found(m->c.queue, lost);
	}
	return watch_queue_peek(m->c.queue) != NULL;
}
