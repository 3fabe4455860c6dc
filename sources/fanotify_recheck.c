/* SPDX-License-Identifier: Apache-2.0 */
/* What is parked: decided anew when what it waits for has happened, at its deadline, or at the end. */
#include "sources/fanotify_priv.h"

#define FINISH_READS 32 /* dispatches at the end */

struct recheck {
	struct fanotify_source *s;
	struct bus *b;
	bool expired;
};

static void recheck_one(struct permission *p, void *arg)
{
	struct recheck *r = arg;

	fanotify_decide(r->s, p, r->b, r->expired);
	permission_progress(r->s->c.permissions);
}

/* Has what this one waits for happened? Asked for each that is parked, after each batch. */
static bool may_go_on(struct fanotify_source *s, const struct permission *p, struct parked *ctx)
{
	const struct member *m;
	struct member spare;

	if (ctx->held)
		return false;
	if (ctx->undecided)
		return fanotify_who(s, p->tgid, &spare, &m) != WHO_UNKNOWN;
	if (p->exec)
		return !ctx->asked && !fanotify_exec_ask(s, p, ctx);
	if (ctx->mode_is == MODE_WANTED || ctx->mode_is == MODE_ASKED)
		return fanotify_mode_again(s, p, ctx);
	if (!fanotify_names_settled(s, ctx, objects_find(s->c.objects, ctx->dev, ctx->ino)))
		return false;
	return !ctx->exe_seq || watch_queue_settled(s->c.queue, ctx->exe_seq);
}

static void recheck_if_ready(struct permission *p, void *arg)
{
	struct recheck *r = arg;

	if (may_go_on(r->s, p, &r->s->parked[permission_index(r->s->c.permissions, p)]))
		recheck_one(p, arg);
}

void fanotify_recheck_parked(struct fanotify_source *s, struct bus *b)
{
	struct recheck r = { s, b, false };

	permission_each_parked(s->c.permissions, UINT64_MAX, recheck_if_ready, &r);
}

static void expire(struct fanotify_source *s, struct bus *b, uint64_t now_ns)
{
	struct recheck r = { s, b, true };

	permission_each_parked(s->c.permissions, now_ns, recheck_one, &r);
}

void fanotify_end_work(struct fanotify_source *s)
{
	if (s->turns.used)
		permission_progress(s->c.permissions);
	else
		permission_end(s->c.permissions);
}

void fanotify_peeked(struct source *base, struct bus *b, const struct peek_answer *a)
{
	struct fanotify_source *s = (struct fanotify_source *)base;
	struct permission *p;

	if (a->slot >= PERMISSION_SLOTS)
		return;
	permission_begin(s->c.permissions);
	p = permission_slot(s->c.permissions, a->slot);
	/* Not when deadline or guardian were faster. */
	if (p->token == a->token && permission_state(permission_look(p)) == PERM_PARKED &&
	    (a->what == PEEK_ARGV) == (p->exec != 0)) {
		fanotify_mode_told(s, p, &s->parked[a->slot], a);
		s->peeked = a;
		fanotify_decide(s, p, b, false);
		s->peeked = NULL;
	}
	if (s->peek_wanted) {
		s->peek_wanted = false;
		fanotify_recheck_parked(s, b);
	}
	fanotify_end_work(s);
}

static void ask_anew(struct permission *p, void *arg)
{
	struct parked *ctx = &((struct fanotify_source *)arg)->parked[permission_index(
		((struct fanotify_source *)arg)->c.permissions, p)];

	ctx->asked = false;
	if (ctx->mode_is == MODE_ASKED)
		ctx->mode_is = MODE_WANTED;
}

void fanotify_peek_lost(struct source *base, struct bus *b)
{
	struct fanotify_source *s = (struct fanotify_source *)base;

	permission_begin(s->c.permissions);
	permission_each_parked(s->c.permissions, UINT64_MAX, ask_anew, s);
	fanotify_recheck_parked(s, b);
	fanotify_end_work(s);
}

void fanotify_expire(struct source *base, struct bus *b, uint64_t now_ns)
{
	struct fanotify_source *s = (struct fanotify_source *)base;

	if (permission_next_deadline(s->c.permissions) > now_ns)
		return;
	permission_begin(s->c.permissions);
	expire(s, b, now_ns);
	fanotify_end_work(s);
}

unsigned fanotify_rest(struct source *base, struct bus *b, bool rest)
{
	struct fanotify_source *s = (struct fanotify_source *)base;
	unsigned n = permission_parked(s->c.permissions);

	s->resting = rest;
	if (rest) {
		permission_begin(s->c.permissions);
		while (fanotify_judge_next(s, b))
			;
		expire(s, b, UINT64_MAX);
		fanotify_end_work(s);
	}
	return n;
}

uint64_t fanotify_next_deadline(const struct source *base)
{
	const struct fanotify_source *s = (const void *)base;

	return permission_next_deadline(s->c.permissions);
}

void fanotify_finish(struct source *base, struct bus *b)
{
	struct fanotify_source *s = (void *)base;

	permission_begin(s->c.permissions);
	/* Who goes on asking meanwhile is let go with the group. */
	for (int i = 0; i < FINISH_READS && fanotify_read_permissions(s, b) > 0; i++)
		;
	while (fanotify_judge_next(s, b))
		;
	fanotify_take_left(s, b);
	s->resting = true; /* who would be held from here on is let go with the group */
	expire(s, b, UINT64_MAX);
	permission_end(s->c.permissions);
}

struct each {
	void (*fn)(void *arg, const struct permission *p);
	void *arg;
};

static void each_one(struct permission *p, void *arg)
{
	struct each *e = arg;

	e->fn(e->arg, p);
}

void fanotify_each_parked(struct source *base,
			  void (*fn)(void *arg, const struct permission *p), void *arg)
{
	struct each e = { fn, arg };

	permission_each_parked(((struct fanotify_source *)base)->c.permissions, UINT64_MAX,
			       each_one, &e);
}
