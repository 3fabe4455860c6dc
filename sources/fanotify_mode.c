/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a held open opens: the event does not say. It is found out where a rule matched for no other
 * reason than that nobody knows, by whoever saw the call begin, or by somebody who reads the thread
 * that is held (core/peek.h), meanwhile the event is parked. What cannot be found out counts as any
 * mode, so that rules fire.
 */
#include <errno.h>

#include "sources/fanotify_priv.h"

static void ask(struct fanotify_source *s, const struct permission *p, struct parked *ctx)
{
	struct peek_question q = {
		.what = PEEK_MODE,
		.tgid = p->tgid,
		.tree_id = p->tree_id,
		.slot = permission_index(s->c.permissions, p),
		.token = p->token,
	};
	int r = s->c.peek(s->c.arg, &q);

	if (r == 0) {
		ctx->mode_is = MODE_ASKED;
	} else if (r == -EAGAIN) {
		ctx->mode_is = MODE_WANTED;
		s->peek_wanted = true;
	} else {
		ctx->mode_is = MODE_TOLD;
		ctx->mode = OPEN_MODE_UNKNOWN;
	}
}

void fanotify_mode_told(struct fanotify_source *s, struct permission *p, struct parked *ctx,
			const struct peek_answer *a)
{
	if (a->what != PEEK_MODE)
		return;
	if (a->error == -EAGAIN) {
		ctx->mode_is = MODE_WANTED;
		fanotify_put_off(s, p);
		return;
	}
	ctx->mode_is = MODE_TOLD;
	ctx->mode = a->error ? OPEN_MODE_UNKNOWN : a->mode;
	ctx->also_read = !a->error && a->also_read;
}

bool fanotify_mode_again(struct fanotify_source *s, const struct permission *p, struct parked *ctx)
{
	if (ctx->mode_is == MODE_WANTED)
		ask(s, p, ctx);
	return ctx->mode_is == MODE_TOLD;
}

/* Its names are in ev. Where there is no room the strictest is decided at once. */
static bool park(struct fanotify_source *s, const struct event *ev, uint32_t tree_id)
{
	uint64_t deadline_ns;
	enum verdict on_timeout = fanotify_timeout(s, ev, &deadline_ns);

	return fanotify_can_park(s, ev->perm, tree_id, deadline_ns, on_timeout);
}

bool fanotify_mode(struct fanotify_source *s, struct event *ev, struct parked *ctx, uint32_t tree_id)
{
	if (ctx->mode_is == MODE_TOLD) {
		ev->file.mode = ctx->mode;
		ev->file.also_read = ctx->also_read;
		return false;
	}
	if (s->c.opening)
		ev->file.mode = s->c.opening(s->c.arg, &ev->subj, &ev->file.also_read);
	if (!s->c.peek || !s->c.mode_matters || !s->c.mode_matters(s->c.arg, ev))
		return false;
	if ((s->c.mode_hidden && s->c.mode_hidden(s->c.arg, ev->subj.tgid)) ||
	    !park(s, ev, tree_id))
		return false;
	ask(s, ev->perm, ctx);
	return ctx->mode_is != MODE_TOLD;
}
