/* SPDX-License-Identifier: Apache-2.0 */
/* One permission event: answered, or parked until what its verdict depends on is known. */
#include <string.h>

#include "core/loop.h"
#include "sources/fanotify_priv.h"

static uint64_t hash_of(const char *s)
{
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3;
	return h;
}

/*
 * Is the opener's exe the very file that the configuration means by that path? Asked once, and again
 * when the question found no room: then it counts as settled, with no answer. What a program is called
 * changes when the mount is moved through which it was started: one answer is for one path.
 */
static enum exe_trust trust_of_exe(struct fanotify_source *s, const struct permission *p,
				struct parked *ctx)
{
	uint64_t hash = hash_of(s->exe);
	struct change c = { .type = CHANGE_EXE, .pid = p->tgid, .token = p->token,
			    .slot = permission_index(s->c.permissions, p) };
	bool over = !ctx->exe_seq || watch_queue_settled(s->c.queue, ctx->exe_seq);
	enum exe_trust trust = watch_queue_exe_answer(s->c.queue, c.slot, p->token);
	size_t len = strlen(s->exe);

	if (len >= sizeof(c.name) || (ctx->exe_seq && hash != ctx->exe_hash))
		return EXE_STRANGER;
	if (trust == EXE_UNKNOWN && over) {
		memcpy(c.name, s->exe, len + 1);
		ctx->exe_hash = hash;
		ctx->exe_seq = watch_queue_put(s->c.queue, &c);
	}
	return trust;
}

bool fanotify_changes_drained(struct fanotify_source *s, uint64_t read_seq)
{
	bool covered = s->changes_all && s->changes_seq >= read_seq;

	if (!covered && s->changes_seq != s->read_seq) {
		s->changes_all = fanotify_drain_changes(s);
		s->changes_seq = s->read_seq;
	}
	return s->changes_all;
}

bool fanotify_gone_told(struct source *base, const struct permission *p)
{
	struct fanotify_source *s = (struct fanotify_source *)base;

	return fanotify_changes_drained(s, s->parked[permission_index(s->c.permissions, p)].read_seq);
}

bool fanotify_names_settled(struct fanotify_source *s, struct parked *ctx, const struct object *obj)
{
	if (obj && obj->verdict >= VERDICT_BLOCK)
		return true;
	if (!ctx->drained) {
		ctx->drained = fanotify_changes_drained(s, ctx->read_seq);
		ctx->wait_seq = s->change_seq;
	}
	return ctx->drained && watch_queue_settled(s->c.queue, ctx->wait_seq);
}

/*
 * What nobody can say yet. Returns true when the event now waits (or has got its default).
 * A change of names that was queued before this event may have made the file a protected one.
 */
static bool must_wait(struct fanotify_source *s, struct event *ev, struct bus *b,
		      struct parked *ctx, const struct object *obj, const struct member *m)
{
	enum exe_trust trust;

	if (!fanotify_names_settled(s, ctx, obj)) {
		fanotify_park_member(s, ev, b, ctx, obj, m);
		return true;
	}
	if (!ctx->exe_seq && !s->c.reader_candidate(s->c.arg, s->exe))
		return false;
	trust = trust_of_exe(s, ev->perm, ctx);
	if (trust == EXE_UNKNOWN) {
		fanotify_park_member(s, ev, b, ctx, obj, m);
		return true;
	}
	ev->subj.exe_verified = trust == EXE_TRUSTED;
	return false;
}

static void count_verdict(struct fanotify_source *s, uint32_t tree_id, enum verdict v)
{
	struct tree *t = proctree_tree(s->c.tree, tree_id);

	if (v == VERDICT_BLOCK) {
		s->fig.denied++;
		if (t)
			t->blocked++;
	} else if (v == VERDICT_WARN && t) {
		t->warned++;
	}
}

void fanotify_decide(struct fanotify_source *s, struct permission *p, struct bus *b, bool expired)
{
	struct parked *ctx = &s->parked[permission_index(s->c.permissions, p)];
	struct event ev = {
		.seq = ++s->seq,
		.time_ns = clock_boottime_ns(),
		.kind = KIND_FILE_OPENED,
		.source = &s->base,
		.source_name = "fanotify",
		.perm = p,
		.subj = { .tgid = p->tgid, .comm = "", .exe = "", .cgroup = "", .lineage = "" },
	};
	const struct object *obj;
	const struct member *m;
	struct member spare;
	enum who who = fanotify_who(s, p->tgid, &spare, &m);
	const struct fanotify_held *held = fanotify_held_of(&s->base, p);
	/* Who is held for an operator has his deadline already, whatever gap the feed had meanwhile. */
	bool became_member = ctx->undecided && who == WHO_MEMBER && !expired && !held;
	enum gone gone = GONE_NOT;
	enum verdict on_timeout;
	uint64_t deadline_ns;

	if (held && who != WHO_MEMBER)
		who = fanotify_held_who(s, held, who, expired, &spare, &m, &gone);
	if (who == WHO_UNKNOWN && !expired) {
		ctx->undecided = true;
		fanotify_park(s, &ev, b, PERMISSION_UNDECIDED(p->tgid), s->c.deadline_ns,
			      VERDICT_ALLOW);
		return;
	}
	if (who != WHO_MEMBER) {
		s->fig.strangers++;
		bus_allow(b, &ev);
		return;
	}
	ctx->undecided = false;
	if (became_member)
		p->tree_id = m->tree_id; /* it is parked; from now on as what it is */
	fanotify_subject(s, m, &ev.subj);
	if (p->exec) {
		count_verdict(s, m->tree_id, fanotify_exec_decide(s, &ev, b, ctx, m->tree_id,
								  became_member, expired, gone));
		return;
	}
	ev.file.dev = ctx->dev;
	ev.file.ino = ctx->ino;
	if (!expired) {
		obj = objects_find(s->c.objects, ctx->dev, ctx->ino);
		if (became_member) {
			on_timeout = fanotify_timeout_by_names(s, &ev, ctx, obj, &deadline_ns);
			permission_set_deadline(s->c.permissions, p, p->since_ns + deadline_ns,
						on_timeout);
		}
		if ((!held || held->answer != HELD_REFUSED) && must_wait(s, &ev, b, ctx, obj, m))
			return;
	}
	obj = objects_find(s->c.objects, ctx->dev, ctx->ino);
	fanotify_names(s, &ev, ctx, obj);
	if (!expired && fanotify_mode(s, &ev, ctx, m->tree_id))
		return;
	if (expired && held)
		fanotify_held_event(held, &ev);
	if (gone) {
		bus_gone(b, &ev, gone == GONE_LEFT);
		return;
	}
	/* All but the mode was known: then it counts as any. Not of whom an operator has been asked: that
	 * time is over, whatever the rules ask now. */
	if (expired && (held || (ctx->mode_is != MODE_WANTED && ctx->mode_is != MODE_ASKED))) {
		s->fig.by_deadline++;
		bus_expire(b, &ev, p->on_timeout, BY_DEADLINE);
		return;
	}
	count_verdict(s, m->tree_id, bus_publish(b, &ev));
}
