/* SPDX-License-Identifier: Apache-2.0 */
/* Permissions that wait, and the names by which an opened file is judged. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/fault.h"
#include "core/loop.h"
#include "core/objects.h"
#include "sources/fanotify_priv.h"

#define PUT_OFF_NS NSEC_PER_SEC
#define PUT_OFF_MAX_NS (10 * NSEC_PER_SEC) /* as the longest that a rule may ask for */
#define PUT_OFF_PARKED (PERMISSION_EXECS_MAX / 2)

static const char deleted_suffix[] = " (deleted)"; /* appended by d_path(), fs/d_path.c */

bool fanotify_can_park(struct fanotify_source *s, struct permission *p, uint32_t tree_id,
		       uint64_t deadline_ns, enum verdict on_timeout)
{
	struct tree *tree;

	if (p->deadline_ns)
		return true; /* is parked already: it goes on waiting, for the same deadline */
	if (s->resting)
		return false;
	if (permission_park(s->c.permissions, p, tree_id, p->since_ns + deadline_ns,
			    on_timeout) < 0) {
		s->fig.parked_refused++;
		tree = proctree_tree(s->c.tree, tree_id);
		if (tree)
			tree->parked_refused++;
		return false;
	}
	s->fig.parked_total++;
	fault(FAULT_PARKED);
	return true;
}

void fanotify_park(struct fanotify_source *s, struct event *ev, struct bus *b, uint32_t tree_id,
		   uint64_t deadline_ns, enum verdict on_timeout)
{
	if (!fanotify_can_park(s, ev->perm, tree_id, deadline_ns, on_timeout))
		bus_expire(b, ev, on_timeout, BY_DEADLINE);
}

static void add_name(struct file_object *f, const char *path, const char *home)
{
	if (f->n_names < FILE_NAMES_MAX)
		f->names[f->n_names++] =
			(struct file_name){ path, home && home[0] ? home : NULL };
}

void fanotify_names(struct fanotify_source *s, struct event *ev, struct parked *ctx,
		    const struct object *obj)
{
	char link[40];
	struct stat st;
	size_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", ev->perm->event_fd);
	fanotify_read_link(link, s->path, sizeof(s->path));
	len = strlen(s->path);
	/* It may have been unlinked since it was read, while it was parked. */
	if (!ctx->unlinked && len >= sizeof(deleted_suffix) &&
	    !strcmp(s->path + len - (sizeof(deleted_suffix) - 1), deleted_suffix) &&
	    fstat(ev->perm->event_fd, &st) == 0)
		ctx->unlinked = st.st_nlink == 0;
	if (ctx->unlinked && len >= sizeof(deleted_suffix) &&
	    !strcmp(s->path + len - (sizeof(deleted_suffix) - 1), deleted_suffix))
		s->path[len - (sizeof(deleted_suffix) - 1)] = '\0';
	if (s->path[0] == '/')
		add_name(&ev->file, s->path, NULL);
	for (unsigned i = 0; obj && i < obj->n_names; i++)
		add_name(&ev->file, obj->names[i].path, obj->names[i].home);
	/* A file that is gone cannot be looked up again by the mark process. If a protected name
	 * was given to something while it was around, it is judged as that. */
	if (!obj && ctx->unlinked && s->change_path[0])
		add_name(&ev->file, s->change_path, NULL);
}

/*
 * On a busy host who is held does not get to rest for long, so that nobody can look at it; nor would it
 * have got any further by itself. Not for ever, and not when places become scarce: who starts many
 * and keeps them from running has no more of these than before.
 */
void fanotify_put_off(struct fanotify_source *s, struct permission *p)
{
	uint64_t until_ns = clock_boottime_ns() + PUT_OFF_NS;

	if (until_ns > p->since_ns + PUT_OFF_MAX_NS)
		until_ns = p->since_ns + PUT_OFF_MAX_NS;
	if (!s->resting && until_ns > p->deadline_ns &&
	    permission_parked(s->c.permissions) < PUT_OFF_PARKED)
		permission_set_deadline(s->c.permissions, p, until_ns, p->on_timeout);
}

enum verdict fanotify_timeout(struct fanotify_source *s, const struct event *ev,
			      uint64_t *deadline_ns)
{
	enum verdict ret = s->c.on_timeout;

	*deadline_ns = s->c.deadline_ns;
	if (s->c.timeout)
		s->c.timeout(s->c.arg, ev, deadline_ns, &ret);
	return ret;
}

enum verdict fanotify_timeout_by_names(struct fanotify_source *s, struct event *ev,
				       struct parked *ctx, const struct object *obj,
				       uint64_t *deadline_ns)
{
	enum verdict ret;

	if (s->c.timeout)
		fanotify_names(s, ev, ctx, obj);
	ret = fanotify_timeout(s, ev, deadline_ns);
	ev->file.n_names = 0;
	return ret;
}

void fanotify_park_member(struct fanotify_source *s, struct event *ev, struct bus *b,
			  struct parked *ctx, const struct object *obj, const struct member *m)
{
	uint64_t deadline_ns;
	enum verdict on_timeout;

	if (ev->perm->deadline_ns)
		return; /* is parked already, as in fanotify_park() */
	on_timeout = fanotify_timeout_by_names(s, ev, ctx, obj, &deadline_ns);
	fanotify_park(s, ev, b, m->tree_id, deadline_ns, on_timeout);
}

struct last_look {
	struct fanotify_source *s;
	struct bus *b;
	unsigned answered, unread;
};

static void look_last(struct permission *p, void *arg)
{
	struct last_look *l = arg;
	const struct parked *ctx = &l->s->parked[permission_index(l->s->c.permissions, p)];

	if (ctx->held) {
		fanotify_decide(l->s, p, l->b, true);
		permission_progress(l->s->c.permissions);
		l->answered++;
	} else if (!ctx->undecided &&
		   (p->exec || ctx->mode_is == MODE_WANTED || ctx->mode_is == MODE_ASKED)) {
		l->unread++;
	}
}

unsigned fanotify_last_look(struct source *base, struct bus *b, unsigned *unread)
{
	struct fanotify_source *s = (struct fanotify_source *)base;
	struct last_look l = { .s = s, .b = b };

	if (permission_parked(s->c.permissions)) {
		permission_begin(s->c.permissions);
		permission_each_parked(s->c.permissions, UINT64_MAX, look_last, &l);
		if (s->turns.used)
			permission_progress(s->c.permissions);
		else
			permission_end(s->c.permissions);
	}
	*unread = l.unread + s->turns.waiting;
	return l.answered;
}
