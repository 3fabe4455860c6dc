/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include "core/loop.h"
#include "sources/fanotify_parse.h"
#include "sources/fanotify_priv.h"

#define DRAIN_READS_MAX 16 /* of 8 KiB: some 1,300 changes before we call it a flood */
#define OPEN_READS_MAX 4
#define NOTICE_MOST 1024 /* bytes, more than any: a read that leaves as much room has emptied the group */

static uint64_t put(struct fanotify_source *s, struct change *c, const struct notice *n)
{
	if (n) {
		c->dir = n->dir;
		c->target = n->target;
		snprintf(c->name, sizeof(c->name), "%s", n->name);
	}
	s->change_seq = watch_queue_put(s->c.queue, c);
	return s->change_seq;
}

/* A pattern that floats reaches below everything; it counts only where projects are. */
static bool rooted_below(const struct pathset *ps, const char *path, const char *home)
{
	for (unsigned i = 0; i < ps->n; i++)
		if (!ps->patterns[i].exclude && !glob_is_floating(ps->patterns[i].glob) &&
		    (glob_reach(ps->patterns[i].glob, path, home) & GLOB_BELOW))
			return true;
	return false;
}

static bool path_matters(const struct pathset *ps, const struct object_name *on,
			 const char *path, bool is_dir, enum verdict *verdict)
{
	const char *home = on->home[0] ? on->home : NULL;
	unsigned reach = pathset_reach(ps, path, home, verdict);

	if (reach & GLOB_HERE)
		return true;
	if (!(reach & GLOB_BELOW))
		return false;
	/* Below a name that is no directory there can be something when it is a link. */
	return (is_dir && on->project[0]) || rooted_below(ps, path, home);
}

/* Is one of the names this gives the new file or directory one that rules care for? */
static bool name_matters(struct fanotify_source *s, const struct object *dir, const char *name,
			 bool is_dir)
{
	struct pathset *ps = s->c.pathset(s->c.arg);
	char path[sizeof(s->change_path)];

	for (unsigned i = 0; i < dir->n_names; i++) {
		const struct object_name *on = &dir->names[i];
		int err = object_child_path(on, name, path, sizeof(path));
		enum verdict verdict = VERDICT_ALLOW;

		if (err == -ENOENT)
			continue;
		/* Too long to judge by name: let the mark thread look at it. */
		if (!err && !path_matters(ps, on, path, is_dir, &verdict) && !on->via[0])
			continue;
		/* A name that only warns must not take the place of one that is denied. */
		if (!err && verdict == VERDICT_BLOCK)
			memcpy(s->change_path, path, sizeof(path));
		return true;
	}
	return false;
}

static void gone(struct fanotify_source *s, const struct object *o)
{
	if (s->c.gone)
		s->c.gone(s->c.arg, o ? o->dev : 0, o ? o->ino : 0);
}

static void handle_change(struct fanotify_source *s, const struct fanotify_event_metadata *md,
			  const void *event)
{
	struct change c = { .type = CHANGE_NAME };
	const struct object *dir;
	struct notice n;

	s->read++;
	if (md->mask & FAN_Q_OVERFLOW) {
		s->lost++;
		c.type = CHANGE_LOST;
		put(s, &c, NULL);
		gone(s, NULL);
		return;
	}
	if (fanotify_parse_notice(event, md->event_len, &n) < 0) {
		s->malformed++;
		return;
	}
	if (md->mask & FAN_DELETE_SELF) {
		/* A file names itself as the target, a directory as the directory. */
		const struct object_handle *self = n.target.len ? &n.target : &n.dir;
		const struct object *o = self->len ? objects_find_handle(s->c.objects, self) : NULL;

		gone(s, o);
		if (o) {
			c.type = CHANGE_GONE;
			c.target = *self;
			s->change_seq = watch_queue_put(s->c.queue, &c);
		}
		return;
	}
	if (!n.dir.len || !n.name[0] || !strcmp(n.name, "."))
		return;
	dir = objects_find_handle(s->c.objects, &n.dir);
	if (!dir || !name_matters(s, dir, n.name, md->mask & FAN_ONDIR))
		return;
	if (n.target.len) {
		const struct object *known = objects_find_handle(s->c.objects, &n.target);

		/* What is protected already stays so; only files: a directory has contents. */
		if (known && !known->is_dir && known->verdict >= dir->verdict)
			return;
	}
	put(s, &c, &n);
}

/* Takes all of one group. False when the bound came first. *emptied (may be NULL): all that was there at
 * the call is taken, whatever has come since. */
static bool drain_group(struct fanotify_source *s, int fd, int reads_max, bool *emptied,
			void (*handle)(struct fanotify_source *s,
				       const struct fanotify_event_metadata *md,
				       const void *event))
{
	for (int i = 0; i < reads_max; i++) {
		ssize_t n = read(fd, s->notify_buf, sizeof(s->notify_buf));
		const uint8_t *at = s->notify_buf;
		struct fanotify_event_metadata md;

		if (emptied && n < (ssize_t)(sizeof(s->notify_buf) - NOTICE_MOST))
			*emptied = true;
		if (n <= 0)
			return true;
		/* An event with names ends at a multiple of four: the next one is not aligned. */
		for (size_t left = (size_t)n; left >= sizeof(md); left -= md.event_len) {
			memcpy(&md, at, sizeof(md));
			if (md.vers != FANOTIFY_METADATA_VERSION || md.event_len < sizeof(md) ||
			    md.event_len > left) {
				s->malformed++;
				break;
			}
			handle(s, &md, at);
			at += md.event_len;
		}
	}
	return false;
}

bool fanotify_drain_changes(struct fanotify_source *s)
{
	unsigned n = atomic_load_explicit(&s->c.queue->filesystems, memory_order_acquire);
	bool all = true;

	for (unsigned i = 0; i < n; i++)
		all &= drain_group(s, s->groups.notify[i], DRAIN_READS_MAX, NULL, handle_change);
	return all;
}

static void add_file_name(struct file_object *f, const char *path, const char *home)
{
	if (f->n_names < FILE_NAMES_MAX)
		f->names[f->n_names++] = (struct file_name){ path, home[0] ? home : NULL };
}

static void handle_open(struct fanotify_source *s, const struct fanotify_event_metadata *md,
			const void *event)
{
	struct event ev = { .kind = KIND_FILE_OPENED, .source = &s->base,
			    .source_name = "fanotify" };
	const struct object *dir, *obj = NULL;
	const struct member *m;
	struct tree *tree;
	struct notice n;

	s->read++;
	if (md->mask & FAN_Q_OVERFLOW) {
		s->lost++;
		s->fig.observe_lost++;
		return;
	}
	/* It has happened: whoever did it may be gone by now. */
	m = md->pid > 0 ? proctree_find_recent(s->c.tree, md->pid) : NULL;
	if (!m)
		return;
	if (fanotify_parse_notice(event, md->event_len, &n) < 0) {
		s->malformed++;
		return;
	}
	dir = n.dir.len ? objects_find_handle(s->c.objects, &n.dir) : NULL;
	if (n.target.len)
		obj = objects_find_handle(s->c.objects, &n.target);
	/* Where a permission mark stands on the directory, that group tells the same open. */
	if ((dir && dir->perm_marked) || (obj && obj->perm_marked))
		return;
	for (unsigned i = 0; dir && n.name[0] && strcmp(n.name, ".") && i < dir->n_names; i++) {
		if (object_child_path(&dir->names[i], n.name, s->path, sizeof(s->path)) < 0)
			continue;
		add_file_name(&ev.file, s->path, dir->names[i].home);
		break;
	}
	for (unsigned i = 0; obj && i < obj->n_names; i++)
		add_file_name(&ev.file, obj->names[i].path, obj->names[i].home);
	if (!ev.file.n_names)
		return;
	if (obj) {
		ev.file.dev = obj->dev;
		ev.file.ino = obj->ino;
	}
	ev.seq = ++s->seq;
	ev.time_ns = clock_boottime_ns();
	fanotify_subject(s, m, &ev.subj);
	/* Gone before its exe could be read: the name it had tells more than nothing. */
	if (!s->exe[0])
		snprintf(s->exe, sizeof(s->exe), "%s", m->comm);
	tree = proctree_tree(s->c.tree, m->tree_id);
	if (bus_publish(s->bus, &ev) != VERDICT_ALLOW && tree)
		tree->warned++;
}

bool fanotify_drain_opens(struct fanotify_source *s, struct bus *b)
{
	bool all = true;
	unsigned n = atomic_load_explicit(&s->c.queue->filesystems, memory_order_acquire);

	s->bus = b;
	for (unsigned i = 0; i < n; i++) {
		bool emptied = false;

		drain_group(s, s->groups.observe[i], OPEN_READS_MAX, &emptied, handle_open);
		all &= emptied;
	}
	return all;
}

bool fanotify_notices(struct source *base, struct bus *b)
{
	struct fanotify_source *s = (struct fanotify_source *)base;
	bool all;

	objects_quiescent(s->c.objects);
	fanotify_drain_feed(base);
	all = fanotify_drain_opens(s, b);
	objects_quiescent(s->c.objects);
	return all;
}
