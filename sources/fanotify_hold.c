/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that wait for an operator. They are parked as any other, for longer, and what was judged is
 * kept: it is what the operator is shown, and what the record tells if nobody answers. Whoever is
 * answered is judged again, by the rules that are in force then.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/loop.h"
#include "core/rule.h"
#include "sources/fanotify_priv.h"

static bool is_held(const struct fanotify_source *s, const struct fanotify_held *h)
{
	const struct permission *p = permission_slot(s->c.permissions, h->slot);

	return h->token && p->token == h->token && atomic_load(&p->held) &&
	       permission_state(permission_look(p)) == PERM_PARKED;
}

static void forget(struct fanotify_source *s, struct fanotify_held *h)
{
	h->token = 0;
	s->n_held--;
}

struct fanotify_held *fanotify_held_of(struct source *base, const struct permission *p)
{
	struct fanotify_source *s = (struct fanotify_source *)base;
	unsigned slot;

	if (!s->n_held || !atomic_load_explicit(&p->held, memory_order_relaxed))
		return NULL;
	slot = permission_index(s->c.permissions, p);
	for (unsigned i = 0; i < PERMISSION_HELD_MAX; i++)
		if (s->held[i].token == p->token && s->held[i].slot == slot)
			return &s->held[i];
	return NULL;
}

struct fanotify_held *fanotify_held_next(struct source *base, unsigned *at)
{
	struct fanotify_source *s = (struct fanotify_source *)base;

	for (; s->n_held && *at < PERMISSION_HELD_MAX; (*at)++)
		if (s->held[*at].token && is_held(s, &s->held[*at]))
			return &s->held[(*at)++];
	return NULL;
}

void fanotify_file_of(const struct source *base, const struct permission *p,
		      struct fanotify_source_file *ret)
{
	const struct fanotify_source *s = (const struct fanotify_source *)base;
	const struct parked *ctx = &s->parked[permission_index(s->c.permissions, p)];

	*ret = (struct fanotify_source_file){ ctx->dev, ctx->ino };
}

/* A place is free when what had it has been answered, by whomever. */
static struct fanotify_held *take_place(struct fanotify_source *s)
{
	for (unsigned i = 0; i < PERMISSION_HELD_MAX; i++) {
		struct fanotify_held *h = &s->held[i];

		if (h->token && !is_held(s, h))
			forget(s, h);
		if (!h->token)
			return h;
	}
	return NULL;
}

static void name_rules(struct fanotify_held *h, const struct decision *d)
{
	snprintf(h->id, sizeof(h->id), "%s", d->fired[0].rule->id);
	snprintf(h->part, sizeof(h->part), "%s", d->fired[0].rule->part);
	snprintf(h->name, sizeof(h->name), "%s", d->fired[0].rule->name);
	decision_names(d, h->rules, sizeof(h->rules));
}

static void fill(struct fanotify_held *h, const struct fanotify_source *s, const struct event *ev)
{
	const struct parked *ctx = &s->parked[h->slot];
	const char *path = ev->kind == KIND_EXEC_OBSERVED ? ev->exec.path :
			   ev->file.n_names ? ev->file.names[0].path : "";

	h->tree_id = ev->subj.tree->id;
	h->pid = ev->subj.tgid;
	h->start_time_ns = ev->subj.start_time_ns;
	h->uid = ev->subj.uid;
	h->kind = ev->kind;
	h->dev = ctx->dev;
	h->ino = ctx->ino;
	h->answer = HELD_WAITS;
	snprintf(h->comm, sizeof(h->comm), "%s", ev->subj.comm);
	snprintf(h->path, sizeof(h->path), "%s", path);
	h->argv_len_bytes = 0;
	h->argv_cut = true;
	if (ev->kind != KIND_EXEC_OBSERVED) {
		h->mode = ev->file.mode;
		h->also_read = ev->file.also_read;
	} else if (ev->exec.argv && ev->exec.argv_len_bytes <= sizeof(h->argv)) {
		memcpy(h->argv, ev->exec.argv, ev->exec.argv_len_bytes);
		h->argv_len_bytes = (uint32_t)ev->exec.argv_len_bytes;
		h->argv_cut = ev->exec.argv_cut;
	}
}

int fanotify_hold(struct source *base, const struct event *ev, const struct decision *d,
		  uint64_t for_ns, enum verdict then, struct fanotify_held **ret)
{
	struct fanotify_source *s = (struct fanotify_source *)base;
	struct permission *p = ev->perm;
	struct fanotify_held *h = fanotify_held_of(base, p);
	uint64_t now_ns = clock_boottime_ns(), until_ns = (h ? h->since_ns : now_ns) + for_ns;
	int err;

	if (s->resting)
		return -EAGAIN;
	permission_note_rule(p, d); /* whoever denies it at its deadline */
	if (h) { /* rules that came to serve meanwhile give nobody more time */
		if (permission_state(permission_look(p)) != PERM_PARKED)
			return -EALREADY;
		permission_set_deadline(s->c.permissions, p,
					until_ns < p->deadline_ns ? until_ns : p->deadline_ns, then);
	} else {
		h = take_place(s);
		err = h ? permission_hold(s->c.permissions, p, ev->subj.tree->id, until_ns, then) :
			  -EBUSY;
		if (err)
			return err;
		s->n_held++;
		h->token = p->token;
		h->slot = permission_index(s->c.permissions, p);
		h->since_ns = now_ns;
		fill(h, s, ev);
	}
	name_rules(h, d);
	s->parked[h->slot].held = true;
	*ret = h;
	return 0;
}

void fanotify_held_again(struct source *base, struct bus *b, struct fanotify_held *h)
{
	struct fanotify_source *s = (struct fanotify_source *)base;
	struct permission *p = permission_slot(s->c.permissions, h->slot);

	permission_begin(s->c.permissions);
	s->parked[h->slot].held = false;
	s->parked[h->slot].asked = false;
	s->parked[h->slot].tries = 0;
	fanotify_decide(s, p, b, false);
	if (s->turns.used) /* others wait for their turn, and the guardian is to look on */
		permission_progress(s->c.permissions);
	else
		permission_end(s->c.permissions);
}

void fanotify_held_look(struct fanotify_source *s, struct bus *b)
{
	for (unsigned i = 0; s->n_held && i < PERMISSION_HELD_MAX; i++) {
		struct fanotify_held *h = &s->held[i];
		const struct member *m;
		struct member spare;

		if (!h->token)
			continue;
		if (!is_held(s, h)) {
			forget(s, h);
			continue;
		}
		if (s->parked[h->slot].held && fanotify_who(s, h->pid, &spare, &m) == WHO_STRANGER)
			fanotify_decide(s, permission_slot(s->c.permissions, h->slot), b, true);
	}
}

/*
 * It was a member when it was held, and while it is held its pid is nobody else's: that the feed has a
 * gap right now must not let it go. Who has ended, or is watched no more, is told of as who he was.
 */
enum who fanotify_held_who(struct fanotify_source *s, const struct fanotify_held *h, enum who who,
			   bool expired, struct member *spare, const struct member **m,
			   enum gone *gone)
{
	const struct member *recent;

	if (who == WHO_UNKNOWN && expired) {
		*spare = (struct member){ .tgid = h->pid, .start_time_ns = h->start_time_ns,
					  .tree_id = h->tree_id, .uid = h->uid };
		memcpy(spare->comm, h->comm, sizeof(spare->comm));
		*m = spare;
		return WHO_MEMBER;
	}
	recent = who == WHO_STRANGER ? proctree_find_recent(s->c.tree, h->pid) : NULL;
	if (!recent || !recent->exited || recent->tree_id != h->tree_id)
		return who;
	*spare = *recent;
	*m = spare;
	*gone = recent->left ? GONE_LEFT : GONE_ENDED;
	return WHO_MEMBER;
}

void fanotify_held_event(const struct fanotify_held *h, struct event *ev)
{
	if (ev->kind == KIND_EXEC_OBSERVED) {
		ev->exec.argv = h->argv_len_bytes ? h->argv : NULL;
		ev->exec.argv_len_bytes = h->argv_len_bytes;
		ev->exec.argv_cut = h->argv_cut;
	} else {
		ev->file.mode = h->mode;
		ev->file.also_read = h->also_read;
	}
}
