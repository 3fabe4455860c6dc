/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that members start: held at FAN_OPEN_EXEC_PERM until the rules have seen with which
 * arguments. These lie in the memory of whoever is held, which may be such that reading it never
 * ends: somebody else reads (core/peek.h), and meanwhile the event is parked.
 *
 * What the kernel opens is the program that will run: of a script its interpreter, while the
 * arguments are still those of the call. They are copied when the answer is given, so whoever shares
 * that memory may have changed them by then: what was judged is told to whoever can compare, before
 * the answer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sources/fanotify_priv.h"

#define TRIES_MAX 32

bool fanotify_can_peek(const struct source *base)
{
	return ((const struct fanotify_source *)base)->c.peek != NULL;
}

bool fanotify_exec_ask(struct fanotify_source *s, const struct permission *p, struct parked *ctx)
{
	struct peek_question q = {
		.what = PEEK_ARGV,
		.tgid = p->tgid,
		.tree_id = p->tree_id,
		.slot = permission_index(s->c.permissions, p),
		.token = p->token,
	};
	int r = s->c.peek ? s->c.peek(s->c.arg, &q) : -EPIPE;

	ctx->asked = r == 0;
	/* Without room: asked again after each answer, and whenever something is looked at,
	 * until the deadline. */
	if (r == -EAGAIN)
		s->peek_wanted = true;
	return r == 0 || r == -EAGAIN;
}

/*
 * A link to a marked program is that program, whatever it is called; whoever is called by one of the
 * names that were found is told by that, as others would tell it.
 */
static void name_program(struct fanotify_source *s, struct event *ev, const struct parked *ctx)
{
	const struct program *known = s->c.programs ? programs_find(s->c.programs, ctx->dev, ctx->ino) :
						      NULL;
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", ev->perm->event_fd);
	fanotify_read_link(link, s->path, sizeof(s->path));
	ev->subj.exe = ev->exec.path = s->path;
	if (!known)
		return;
	ev->exec.path = known->names[0];
	if (!program_is_called(known, s->path))
		ev->subj.exe = known->names[0];
}

struct letting_go {
	struct fanotify_source *s;
	const struct parked *ctx;
};

static void before_it_runs(void *arg, const struct event *ev, const struct decision *d)
{
	const struct letting_go *l = arg;

	l->s->c.exec_allowed(l->s->c.arg, ev, d, l->ctx->dev, l->ctx->ino);
}

static enum verdict settle(struct fanotify_source *s, struct event *ev, struct bus *b,
			   const struct parked *ctx, bool decided, enum verdict otherwise)
{
	struct letting_go l = { s, ctx };
	enum verdict v = VERDICT_ALLOW;

	if (s->c.exec_allowed) {
		b->letting_go = before_it_runs;
		b->letting_go_arg = &l;
	}
	if (decided)
		v = bus_publish(b, ev);
	else
		bus_expire(b, ev, otherwise, BY_DEADLINE);
	b->letting_go = NULL;
	return v;
}

enum verdict fanotify_exec_decide(struct fanotify_source *s, struct event *ev, struct bus *b,
				  struct parked *ctx, uint32_t tree_id, bool became_member,
				  bool expired, enum gone gone)
{
	const struct peek_answer *a = s->peeked;
	struct permission *p = ev->perm;
	const struct fanotify_held *held = fanotify_held_of(&s->base, p);
	enum verdict on_timeout = p->on_timeout;
	uint64_t deadline_ns;

	ev->kind = KIND_EXEC_OBSERVED;
	ev->exec = (struct exec_object){ .argv_cut = true };
	ev->subj.main_exe = false; /* that is what it runs until now */
	name_program(s, ev, ctx);
	if (held && (expired || gone || held->answer == HELD_REFUSED))
		fanotify_held_event(held, ev);
	if (gone) {
		bus_gone(b, ev, gone == GONE_LEFT);
		return VERDICT_ALLOW;
	}
	if (held && !expired && held->answer == HELD_REFUSED)
		return settle(s, ev, b, ctx, true, on_timeout);
	if (expired) {
		s->fig.by_deadline++;
		return settle(s, ev, b, ctx, false, on_timeout);
	}
	/* The arguments are not known yet. */
	if (!p->deadline_ns || became_member)
		on_timeout = fanotify_timeout(s, ev, &deadline_ns);
	/* Each answer wakes all who are held for a moment, and then it does not look as if they were... */
	if (a && a->error == -EAGAIN) {
		fanotify_put_off(s, p);
		if (fanotify_exec_ask(s, p, ctx))
			return VERDICT_ALLOW;
	}
	/* ... so does a process of which two threads do the same. */
	if (a && (a->error == -ESRCH || a->error == -EBUSY) && ctx->tries < TRIES_MAX) {
		ctx->tries++;
		if (fanotify_exec_ask(s, p, ctx))
			return VERDICT_ALLOW;
	}
	/* What nobody can read counts as what nobody has answered in time. */
	if (a && a->error) {
		s->fig.unread++;
		return settle(s, ev, b, ctx, false, on_timeout);
	}
	if (a) {
		ev->exec.argv = a->argv_len_bytes ? a->argv : NULL;
		ev->exec.argv_len_bytes = a->argv_len_bytes;
		ev->exec.argv_cut = a->argv_cut;
		/* What is cut has no end, or it would pass for whole. */
		if (a->argv_cut && a->argv_len_bytes && !a->argv[a->argv_len_bytes - 1])
			ev->exec.argv_len_bytes--;
		return settle(s, ev, b, ctx, true, on_timeout);
	}
	if (became_member)
		permission_set_deadline(s->c.permissions, p, p->since_ns + deadline_ns, on_timeout);
	/* Without room it is let go unread: that, too, is to be told. */
	if (!p->deadline_ns && !fanotify_can_park(s, p, tree_id, deadline_ns, on_timeout))
		return settle(s, ev, b, ctx, false, on_timeout);
	/* Not where the guardian was first. */
	if (permission_state(permission_look(p)) == PERM_PARKED && !ctx->asked &&
	    !fanotify_exec_ask(s, p, ctx)) {
		s->fig.unread++;
		return settle(s, ev, b, ctx, false, on_timeout);
	}
	return VERDICT_ALLOW;
}
