/* SPDX-License-Identifier: Apache-2.0 */
/* What the guardian answers, and when it may: core/permission.h has the rules of the slots. */
#include <errno.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/answer.h"
#include "enforce/guardian_priv.h"

/*
 * The kernel writes an event into the reader's buffer a moment before it can be answered. A thread
 * that lost its processor in between has it within some looks; then whoever asked has gone.
 */
#define TRIES_MAX 5

/* Of this slot; a rule is known when the verdict thread came so far. */
static int put_answer(const struct guardian *g, const struct permission *p, int event_fd, bool deny)
{
	return answer_write(p->group_fd, event_fd, deny, permission_audit(g->c.permissions),
			    atomic_load(&p->rule));
}

static void count(struct guardian *g, bool member, bool deny)
{
	_Atomic uint64_t *total = !member ? &g->v->strangers :
				  deny    ? &g->v->members_denied :
					    &g->v->members_allowed;

	atomic_fetch_add_explicit(total, 1, memory_order_relaxed);
	if (!member)
		g->episode.strangers++;
	else if (deny)
		g->episode.denied++;
	else
		g->episode.allowed++;
}

/* What a member gets of this object when no rule can be asked. Which programs it may run, and with
 * which arguments, nobody knows then. */
static bool denied_by_default(struct guardian *g, bool exec, uint64_t dev, uint64_t ino)
{
	int known = exec ? -ENOENT : defaults_find(g->c.defaults, dev, ino);

	if (guardian_mode(g) != MODE_ENFORCE || g->c.on_timeout != VERDICT_BLOCK)
		return false;
	/* A name that nobody knows, where secrets are: it may have become one. */
	return known < 0 || known == VERDICT_BLOCK;
}

/* Who waits for an operator has been judged: the rules said what it gets without one. */
static bool denied_unanswered(struct guardian *g, const struct permission *p, uint64_t dev,
			      uint64_t ino)
{
	if (atomic_load(&p->held))
		return guardian_mode(g) == MODE_ENFORCE && p->on_timeout == VERDICT_BLOCK;
	return denied_by_default(g, p->exec, dev, ino);
}

/* What was decided before the journal was told, or the ticket when it was told already. */
static uint64_t take_decision(struct permission *p, uint32_t *ret)
{
	uint64_t ticket = permission_ticket(p);

	*ret = atomic_load(&p->answer);
	return ticket;
}

/* Answers a slot in GUARDED. False: the kernel does not know the question yet. */
static bool finish(struct guardian *g, struct permission *p)
{
	struct guardian_pending *w = &g->pending[permission_index(g->c.permissions, p)];
	enum outcome outcome;
	struct stat st = { 0 };
	struct member m;
	uint32_t answer, tree_id;
	uint64_t ticket = take_decision(p, &answer);
	int fd = p->event_fd, err;
	bool deny;

	tree_id = guardian_tree_of(g, p->tgid, &m);
	if (tree_id && fstat(fd, &st) < 0)
		st = (struct stat){ 0 };
	deny = answer ? answer - 1 == VERDICT_BLOCK :
			tree_id && denied_unanswered(g, p, st.st_dev, st.st_ino);
	if (ticket) {
		/* The record of the decision itself; one of ours about it would be a second. */
		if (w->ticket)
			g->c.recorder->withdrawn(g->c.recorder, w->ticket);
		w->ticket = ticket;
		w->noted = true;
	} else if (tree_id && !w->noted) {
		w->ticket = guardian_note(g, p, tree_id, &m, st.st_dev, st.st_ino);
		w->noted = true;
	}
	if (!deny && p->exec && g->c.exec_allowed)
		g->c.exec_allowed(g->c.arg, p->tgid);
	err = put_answer(g, p, fd, deny);
	if (err == -ENOENT && w->tries++ < TRIES_MAX)
		return false;
	outcome = err ? OUTCOME_GONE : deny ? OUTCOME_DENIED : OUTCOME_ALLOWED;
	if (w->ticket)
		g->c.recorder->answered(g->c.recorder, w->ticket, outcome,
					outcome == OUTCOME_DENIED ? EPERM : 0);
	if (!err)
		count(g, tree_id, deny);
	*w = (struct guardian_pending){ 0 };
	/* Not ours any more before the number may become another's. */
	permission_guarded(g->c.permissions, p);
	close(fd);
	return true;
}

/* A look at an entry of the batch: was an event read into it? */
static bool is_filled(const struct fanotify_event_metadata *md)
{
	return md->event_len == sizeof(*md) && md->vers == FANOTIFY_METADATA_VERSION &&
	       md->metadata_len == sizeof(*md) && md->mask && md->fd > STDERR_FILENO;
}

/*
 * The verdict thread is between its claim and its write: the same answer, by us. It may go on at any
 * moment, so the number stays its own: see TRYING.
 */
static void help(struct guardian *g, struct permission *p, uint32_t seen)
{
	uint32_t not = permission_wrote_now(seen, WROTE_NOT);
	uint32_t trying = permission_wrote_now(seen, WROTE_TRYING);
	int fd, err;

	if (!atomic_compare_exchange_strong(&p->wrote, &not, trying))
		return;
	/* Its owner finds that we try, and leaves slot and number to us. */
	fd = p->event_fd;
	err = put_answer(g, p, fd, atomic_load(&p->answer) == VERDICT_BLOCK + 1);
	if (!err) {
		struct member m;

		count(g, guardian_tree_of(g, p->tgid, &m),
		      atomic_load(&p->answer) == VERDICT_BLOCK + 1);
	}
	if (atomic_compare_exchange_strong(
		    &p->wrote, &trying,
		    permission_wrote_now(seen, err ? WROTE_NOT : WROTE_GUARDIAN)))
		return;
	/* It went on meanwhile, and has left the rest to us. */
	permission_guarded(g->c.permissions, p);
	close(fd);
}

/* The same when it never will. What is told to the journal is exactly what is known. */
static void help_dead(struct guardian *g, struct permission *p)
{
	bool deny = atomic_load(&p->answer) == VERDICT_BLOCK + 1;
	enum permission_wrote wrote = permission_wrote_of(atomic_load(&p->wrote));
	uint64_t ticket = permission_ticket(p);
	enum outcome outcome = OUTCOME_UNKNOWN;
	struct member m;
	int err = 0;

	if (wrote == WROTE_GONE)
		outcome = OUTCOME_GONE;
	else if (wrote == WROTE_OWNER || wrote == WROTE_GUARDIAN)
		outcome = deny ? OUTCOME_DENIED : OUTCOME_ALLOWED;
	if (wrote == WROTE_NOT || wrote == WROTE_TRYING) {
		err = put_answer(g, p, p->event_fd, deny);
		if (!err) {
			outcome = deny ? OUTCOME_DENIED : OUTCOME_ALLOWED;
			count(g, guardian_tree_of(g, p->tgid, &m), deny);
		}
	}
	/* Else nobody knows whether it was written before the death, and it stays unknown. */
	if (ticket && outcome != OUTCOME_UNKNOWN)
		g->c.recorder->answered(g->c.recorder, ticket, outcome,
					outcome == OUTCOME_DENIED ? EPERM : 0);
	/* Its number may have been closed already, unless we know that it was not. */
	if (wrote == WROTE_NOT || wrote == WROTE_TRYING || wrote == WROTE_GUARDIAN)
		close(p->event_fd);
	permission_release(g->c.permissions, p);
}

static bool is_due(struct guardian *g, const struct permission *p, uint64_t since_ns,
		   uint64_t now_ns, bool at_once)
{
	struct member m;

	/* What has been decided need not be waited for. */
	return at_once || atomic_load(&p->answer) || now_ns >= since_ns + g->c.deadline_ns ||
	       !guardian_tree_of(g, p->tgid, &m);
}

static void copy_entry(struct guardian *g, struct permission *p,
		       const struct fanotify_event_metadata *md)
{
	p->group_fd = g->c.group_fd;
	p->tgid = md->pid;
	p->event_fd = md->fd;
	p->exec = (md->mask & FAN_OPEN_EXEC_PERM) != 0;
}

/* An event that was read into the batch and not noted. What is acted upon is a copy: the slot's
 * owner may go on, and fill the entry anew once the slot is not its own. */
static void take_reading(struct guardian *g, struct permission *p, uint32_t seen, uint64_t now_ns,
			 bool at_once)
{
	struct fanotify_event_metadata md =
		permission_batch(g->c.permissions)->md[p->entry % PERMISSION_BATCH];
	struct seen_entry *last = &g->seen[p->entry % PERMISSION_BATCH];
	bool whole = g->alone || (last->word == seen && !memcmp(&last->md, &md, sizeof(md)));
	struct permission known = { .tgid = md.pid };

	/* The kernel may be writing it right now: what has not changed for a look is whole. */
	last->word = seen;
	last->md = md;
	if (!whole || !is_filled(&md) || !is_due(g, &known, g->progress_ns, now_ns, at_once) ||
	    !permission_guard(p, seen))
		return;
	copy_entry(g, p, &md);
	finish(g, p);
}

static void take(struct guardian *g, struct permission *p, uint32_t seen, uint64_t since_ns,
		 uint64_t now_ns, bool at_once)
{
	if (is_due(g, p, since_ns, now_ns, at_once) && permission_guard(p, seen))
		finish(g, p);
}

void guardian_look(struct guardian *g, uint64_t now_ns, bool late, bool at_once)
{
	bool used = false;

	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		struct permission *p = permission_slot(g->c.permissions, i);
		uint32_t seen = permission_look(p);
		enum permission_state state = permission_state(seen);

		used |= state == PERM_READ || state >= PERM_LEAVING || state == PERM_PARKED;
		switch (state) {
		case PERM_READING:
			if (late)
				take_reading(g, p, seen, now_ns, at_once);
			break;
		case PERM_READ:
			if (late)
				take(g, p, seen, p->since_ns, now_ns, at_once);
			break;
		case PERM_PARKED:
			/* Who waits for an operator does so while there may be one: a daemon that is
			 * stopped may go on before the deadline. */
			if (late)
				take(g, p, seen, p->deadline_ns - g->c.deadline_ns, now_ns,
				     at_once && (g->alone || !atomic_load(&p->held)));
			else if (now_ns >= p->deadline_ns + GUARDIAN_GRACE_NS &&
				 permission_guard(p, seen))
				finish(g, p);
			break;
		case PERM_LEFT:
			take(g, p, seen, p->since_ns + (late ? 0 : GUARDIAN_GRACE_NS), now_ns, at_once);
			break;
		case PERM_DECIDED:
			if (g->alone)
				help_dead(g, p);
			else if (late)
				help(g, p, seen);
			break;
		case PERM_GUARDED:
			/* Who claimed it before us died before it could say what. */
			if (p->event_fd < 0)
				copy_entry(g, p, &permission_batch(g->c.permissions)->md[p->entry %
										     PERMISSION_BATCH]);
			finish(g, p);
			break;
		case PERM_ANSWERED:
			/* We answered while it was being decided; nobody is left to say so. */
			if (!g->alone)
				break;
			g->c.recorder->withdrawn(g->c.recorder, permission_ticket(p));
			permission_release(g->c.permissions, p);
			break;
		default:
			break;
		}
	}
	g->slots_used = used;
}

/* One event of ours: nothing has been noted of it but in its entry, which is emptied before the
 * number is given up. */
static void take_own(struct guardian *g, struct fanotify_event_metadata *md, uint64_t now_ns,
		     bool at_once)
{
	struct permission *p;
	struct member m;
	uint32_t tree_id;
	int fd = md->fd;
	bool deny;

	if (!is_filled(md)) {
		md->event_len = 0;
		return;
	}
	tree_id = guardian_tree_of(g, md->pid, &m);
	p = tree_id ? permission_put(g->c.permissions, g->c.group_fd, md, tree_id, now_ns) : NULL;
	if (p) {
		md->event_len = 0;
		if (!at_once) {
			permission_leave(g->c.permissions, p);
		} else {
			permission_keep(p);
			finish(g, p);
		}
		return;
	}
	/* A stranger; or a member for whom there is no room, which costs the record. */
	deny = tree_id && denied_by_default(g, md->mask & FAN_OPEN_EXEC_PERM, 0, 0);
	if (md->mask & FAN_OPEN_EXEC_PERM && tree_id && !deny && g->c.exec_allowed)
		g->c.exec_allowed(g->c.arg, md->pid);
	answer_write(g->c.group_fd, fd, deny, permission_audit(g->c.permissions), 0);
	count(g, tree_id, deny);
	md->event_len = 0;
	close(fd);
}

unsigned guardian_read(struct guardian *g, uint64_t now_ns, bool at_once)
{
	struct fanotify_event_metadata *md = g->v->guardian_md;
	ssize_t n;

	memset(md, 0, sizeof(g->v->guardian_md));
	n = read(g->c.group_fd, md, sizeof(g->v->guardian_md));
	if (n <= 0)
		return 0;
	for (size_t i = 0; i < (size_t)n / sizeof(*md); i++)
		take_own(g, &md[i], now_ns, at_once);
	return (unsigned)((size_t)n / sizeof(*md));
}

/* Slots in LEAVING are whole, and hold what an entry may still have. */
void guardian_inherit(struct guardian *g)
{
	struct fanotify_event_metadata *md = g->v->guardian_md;
	uint64_t now_ns = clock_boottime_ns();

	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		struct permission *p = permission_slot(g->c.permissions, i);

		if (permission_state(permission_look(p)) != PERM_LEAVING)
			continue;
		for (unsigned k = 0; k < PERMISSION_BATCH; k++)
			if (md[k].fd == p->event_fd)
				md[k].event_len = 0;
		permission_leave(g->c.permissions, p);
	}
	for (unsigned k = 0; k < PERMISSION_BATCH; k++)
		if (md[k].event_len)
			take_own(g, &md[k], now_ns, false);
}
