/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/fanotify.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/fault.h"
#include "core/loop.h"
#include "sources/fanotify_priv.h"

#define FINISH_READS 32 /* dispatches at the end */
#define PERM_EVENTS_MAX 2048 /* read or judged in one dispatch */

/* --- who ---------------------------------------------------------------------------------- */

void fanotify_read_link(const char *link, char *buf, size_t size)
{
	ssize_t n = readlinkat(AT_FDCWD, link, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
}

static void add_home(struct homes *h, const char *home)
{
	if (!home || !home[0] || h->n == HOMES_MAX)
		return;
	for (unsigned i = 0; i < h->n; i++)
		if (!strcmp(h->path[i], home))
			return;
	h->path[h->n++] = home;
}

/*
 * A program that opens many files is looked at once: an exec, whose record is taken from the feed
 * before anything that the new program does is judged, forgets it.
 */
static void read_exe(struct fanotify_source *s, const struct member *m)
{
	struct known_exe *k = &s->exes[(unsigned)m->tgid % EXES_KNOWN];
	char link[32];

	if (k->tgid == m->tgid && k->start_time_ns == m->start_time_ns && m->start_time_ns) {
		memcpy(s->exe, k->path, sizeof(k->path));
		return;
	}
	snprintf(link, sizeof(link), "/proc/%d/exe", m->tgid);
	fanotify_read_link(link, s->exe, sizeof(s->exe));
	if (!s->exe[0] || strlen(s->exe) >= sizeof(k->path))
		return;
	k->tgid = m->tgid;
	k->start_time_ns = m->start_time_ns;
	memcpy(k->path, s->exe, strlen(s->exe) + 1);
}

void fanotify_exec_seen(struct source *base, pid_t tgid)
{
	((struct fanotify_source *)base)->exes[(unsigned)tgid % EXES_KNOWN].tgid = 0;
}

void fanotify_subject(struct fanotify_source *s, const struct member *m, struct subject *ret)
{
	struct tree *tree = proctree_tree(s->c.tree, m->tree_id);
	read_exe(s, m);
	proctree_lineage(s->c.tree, m->tgid, s->lineage, sizeof(s->lineage));
	*ret = (struct subject){
		.tgid = m->tgid,
		.ppid = m->ppid,
		.start_time_ns = m->start_time_ns,
		.uid = m->uid,
		.auid = tree ? tree->auid : (uid_t)-1,
		.comm = m->comm,
		.exe = s->exe,
		.cgroup = "",
		.lineage = s->lineage,
		.main_exe = m->main_exe,
		.tree = tree,
	};
	add_home(&ret->homes, s->c.home_of(s->c.arg, m->uid));
	for (unsigned i = 0; tree && i < HOMES_MAX; i++)
		add_home(&ret->homes, tree->homes[i]);
}

/* --- permission events -------------------------------------------------------------------- */

static bool is_own(const struct fanotify_source *s, pid_t pid)
{
	/* pid 0: a process that our pid namespace cannot name is nobody's member. */
	return pid <= 1 || pid == s->own_pid;
}

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

/* A change that was queued before its event was read is covered by a drain that began after that
 * read; one drain does for all that was read before it. */
static bool changes_drained(struct fanotify_source *s, uint64_t read_seq)
{
	bool covered = s->changes_all && s->changes_seq >= read_seq;

	if (!covered && s->changes_seq != s->read_seq) {
		s->changes_all = fanotify_drain_changes(s);
		s->changes_seq = s->read_seq;
	}
	return s->changes_all;
}

static bool names_settled(struct fanotify_source *s, struct parked *ctx, const struct object *obj)
{
	if (obj && obj->verdict >= VERDICT_BLOCK)
		return true;
	if (!ctx->drained) {
		ctx->drained = changes_drained(s, ctx->read_seq);
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

	if (!names_settled(s, ctx, obj)) {
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

/* Decides one permission, anew if it was parked. The slot is free afterwards, or parked. */
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

static void allow_at_once(struct fanotify_source *s, struct bus *b, unsigned entry)
{
	struct event ev = { .perm = permission_note(s->c.permissions, entry, s->groups.permission,
						    s->read_ns) };

	if (!ev.perm)
		return; /* the guardian has it */
	s->fig.answered++;
	fault(FAULT_TAKEN);
	bus_allow(b, &ev);
}

/*
 * The guardian may answer meanwhile and close the descriptor, whose number is another file's then: what is
 * found is of no use, and not used, for the slot cannot be claimed any more.
 */
static void park_identity(struct parked *ctx, int event_fd)
{
	struct stat st;

	if (fstat(event_fd, &st) < 0)
		return;
	ctx->dev = st.st_dev;
	ctx->ino = st.st_ino;
	ctx->unlinked = st.st_nlink == 0;
}

static void judge_slot(struct fanotify_source *s, struct bus *b, struct permission *p,
		       uint64_t read_seq)
{
	struct parked *ctx = &s->parked[permission_index(s->c.permissions, p)];

	s->fig.answered++;
	*ctx = (struct parked){ .read_seq = read_seq };
	park_identity(ctx, p->event_fd);
	fanotify_decide(s, p, b, false);
}

/* Nothing is to be answered: the kernel has refused that one opener itself. */
static void drop(struct fanotify_source *s, unsigned entry)
{
	struct permission *p = permission_note(s->c.permissions, entry, s->groups.permission,
					       s->read_ns);

	if (p && permission_claim(p, VERDICT_ALLOW))
		permission_release(s->c.permissions, p);
}

/* Takes a member's event out of the batch: its turn comes. The guardian sees it in its slot. */
static void wait_turn(struct fanotify_source *s, unsigned entry, uint32_t tree_id)
{
	struct permission *p = permission_note(s->c.permissions, entry, s->groups.permission,
					       s->read_ns);

	if (!p)
		return; /* the guardian has it */
	fault(FAULT_TAKEN);
	turns_put(&s->turns, tree_id,
		  &(struct turn){ .slot = (uint16_t)permission_index(s->c.permissions, p),
				  .token = p->token, .read_seq = s->read_seq });
}

/* Judges the next, of the queue whose turn it is. False: nobody waits. */
static bool judge_next(struct fanotify_source *s, struct bus *b)
{
	struct permission *p;
	struct turn turn;

	if (!turns_take(&s->turns, &turn))
		return false;
	p = permission_slot(s->c.permissions, turn.slot);
	/* Not when the guardian was faster. */
	if (p->token == turn.token && permission_state(permission_look(p)) == PERM_READ)
		judge_slot(s, b, p, turn.read_seq);
	permission_progress(s->c.permissions);
	return true;
}

/*
 * What one read gave. Strangers at once: what members do, and what that costs us, must not keep
 * anybody else waiting. The feed is drained after the read: whoever asked was born before.
 */
static int handle_permissions(struct fanotify_source *s, struct bus *b, unsigned n)
{
	const struct fanotify_event_metadata *md = permission_batch(s->c.permissions)->md;

	fanotify_drain_feed(&s->base);
	for (unsigned i = 0; i < n; i++) {
		const struct member *m;
		struct member spare;
		enum who who;

		s->read++;
		if (md[i].vers != FANOTIFY_METADATA_VERSION || md[i].event_len != sizeof(md[i]) ||
		    md[i].fd < 0) {
			s->malformed++;
			drop(s, i);
			continue;
		}
		if (is_own(s, md[i].pid)) {
			allow_at_once(s, b, i);
		} else if ((who = fanotify_who(s, md[i].pid, &spare, &m)) == WHO_STRANGER) {
			s->fig.strangers++;
			allow_at_once(s, b, i);
		} else {
			wait_turn(s, i, who == WHO_MEMBER ? m->tree_id :
							    PERMISSION_UNDECIDED(md[i].pid));
			continue;
		}
		permission_progress(s->c.permissions);
	}
	return (int)n;
}

/* Reads what there is: true when there may be more. */
static bool read_batch(struct fanotify_source *s, struct bus *b, int *handled)
{
	struct permission_batch *batch = permission_batch(s->c.permissions);
	/* There are more slots than may be parked and wait, so there is room but for a guardian that
	 * has claimed and not answered; then it has the events that we cannot take. */
	size_t room = permission_reserve(s->c.permissions);
	uint64_t before_ns;
	ssize_t n;

	if (room > s->turns.max - s->turns.waiting)
		room = s->turns.max - s->turns.waiting;
	room *= sizeof(batch->md[0]);
	before_ns = clock_boottime_ns();
	n = room ? read(s->groups.permission, batch->md, room) : 0;
	/* EMFILE and the like are the kernel's own denial of that one opener; EAGAIN with
	 * non-blocking event descriptors may mean a lease, not an empty queue: epoll
	 * tells whether there is more. */
	if (n <= 0) {
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			s->lost++;
		return false;
	}
	fault(FAULT_READ);
	s->read_seq++;
	s->read_ns = before_ns; /* whom our read has held up has waited since */
	*handled += handle_permissions(s, b, (unsigned)((size_t)n / sizeof(batch->md[0])));
	/* A buffer that was not filled has emptied the queue; epoll tells if not. */
	return (size_t)n == room;
}

/*
 * A bounded number of events. Returns how many were handled. A few members are judged at a time, and
 * then who has asked meanwhile is read: so a stranger waits for these few, however many ask.
 */
static int read_permissions(struct fanotify_source *s, struct bus *b)
{
	int handled = 0;

	while (handled < PERM_EVENTS_MAX) {
		bool more = read_batch(s, b, &handled);
		int judged = 0;

		while (judged < TURN_BETWEEN_READS && judge_next(s, b))
			judged++;
		handled += judged;
		if (!more && !judged)
			break;
	}
	return handled;
}

/* --- parked ------------------------------------------------------------------------------- */

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
	if (!names_settled(s, ctx, objects_find(s->c.objects, ctx->dev, ctx->ino)))
		return false;
	return !ctx->exe_seq || watch_queue_settled(s->c.queue, ctx->exe_seq);
}

static void recheck_if_ready(struct permission *p, void *arg)
{
	struct recheck *r = arg;

	if (may_go_on(r->s, p, &r->s->parked[permission_index(r->s->c.permissions, p)]))
		recheck_one(p, arg);
}

static void recheck_parked(struct fanotify_source *s, struct bus *b)
{
	struct recheck r = { s, b, false };

	permission_each_parked(s->c.permissions, UINT64_MAX, recheck_if_ready, &r);
}

static void expire(struct fanotify_source *s, struct bus *b, uint64_t now_ns)
{
	struct recheck r = { s, b, true };

	permission_each_parked(s->c.permissions, now_ns, recheck_one, &r);
}

/* Done with what was begun; as long as somebody waits for his turn the guardian is to look on. */
static void end_work(struct fanotify_source *s)
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
		recheck_parked(s, b);
	}
	end_work(s);
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
	recheck_parked(s, b);
	end_work(s);
}

void fanotify_expire(struct source *base, struct bus *b, uint64_t now_ns)
{
	struct fanotify_source *s = (struct fanotify_source *)base;

	if (permission_next_deadline(s->c.permissions) > now_ns)
		return;
	permission_begin(s->c.permissions);
	expire(s, b, now_ns);
	end_work(s);
}

unsigned fanotify_rest(struct source *base, struct bus *b, bool rest)
{
	struct fanotify_source *s = (struct fanotify_source *)base;
	unsigned n = permission_parked(s->c.permissions);

	s->resting = rest;
	if (rest) {
		permission_begin(s->c.permissions);
		while (judge_next(s, b))
			;
		expire(s, b, UINT64_MAX);
		end_work(s);
	}
	return n;
}

/* An event that the guardian has read when we were late, and left to us. */
static void take_left(struct permission *p, void *arg)
{
	struct recheck *r = arg;
	const struct member *m;
	struct member spare;

	r->s->read++;
	/* Since when it waits, the guardian knows; names that changed before are all taken anew. */
	r->s->read_seq++;
	/* It may have been born since the last look. */
	fanotify_drain_feed(&r->s->base);
	if (fanotify_who(r->s, p->tgid, &spare, &m) == WHO_STRANGER) {
		struct event ev = { .perm = p };

		r->s->fig.answered++;
		r->s->fig.strangers++;
		bus_allow(r->b, &ev);
	} else {
		judge_slot(r->s, r->b, p, r->s->read_seq);
	}
	permission_progress(r->s->c.permissions);
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
	for (int i = 0; i < FINISH_READS && read_permissions(s, b) > 0; i++)
		;
	while (judge_next(s, b))
		;
	permission_sweep(s->c.permissions, take_left, &(struct recheck){ s, b, true });
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

/* --- the source --------------------------------------------------------------------------- */

/* What is ready, by the kind of descriptor: a system call instead of a vain read of each. */
static unsigned what_is_ready(struct fanotify_source *s)
{
	struct epoll_event ready[2 + 2 * WATCH_FILESYSTEMS_MAX];
	unsigned what = 0;
	int n = epoll_wait(s->epoll_fd, ready, ARRAY_SIZE(ready), 0);

	for (int i = 0; i < n; i++)
		what |= ready[i].data.u32;
	return what;
}

static int fanotify_source_dispatch(struct source *base, struct bus *b)
{
	struct fanotify_source *s = (void *)base;
	unsigned ready = what_is_ready(s);
	uint64_t n, one = 1;
	int handled = 0;

	/* Before the first read: from here on the guardian looks after us. */
	if (ready & (READY_PERMISSION | READY_DONE) || permission_parked(s->c.permissions) ||
	    s->turns.waiting)
		permission_begin(s->c.permissions);
	s->bus = b;
	objects_quiescent(s->c.objects);
	fanotify_drain_feed(base);
	s->read_seq++;
	permission_sweep(s->c.permissions, take_left, &(struct recheck){ s, b, false });
	if (ready & READY_PERMISSION || s->turns.waiting)
		handled = read_permissions(s, b);
	if (ready & READY_CHANGE)
		changes_drained(s, s->read_seq);
	fanotify_held_look(s, b); /* first: it is counted then who is held */
	if ((ready & READY_DONE && read(s->c.queue->done_fd, &n, sizeof(n)) > 0) ||
	    permission_parked(s->c.permissions) > s->n_held)
		recheck_parked(s, b);
	if (ready & READY_OPEN)
		fanotify_drain_opens(s, b);
	objects_quiescent(s->c.objects);
	if (s->c.programs)
		programs_quiescent(s->c.programs);
	end_work(s);
	/* Not to sleep while somebody waits. */
	if (s->turns.used && write(s->c.queue->done_fd, &one, sizeof(one)) < 0)
		return handled; /* a full counter wakes us as well */
	return handled ? handled : -EAGAIN;
}

static int fanotify_source_start(struct source *base)
{
	(void)base; /* events flow as soon as there are marks */
	return 0;
}

static int fanotify_source_fd(const struct source *base)
{
	return ((const struct fanotify_source *)base)->epoll_fd;
}

static void fanotify_source_stats(const struct source *base, struct source_stats *ret)
{
	const struct fanotify_source *s = (const void *)base;

	*ret = (struct source_stats){ s->read, s->lost, s->malformed };
}

void fanotify_figures(const struct source *base, struct fanotify_figures *ret)
{
	const struct fanotify_source *s = (const void *)base;

	*ret = s->fig;
	ret->parked = permission_parked(s->c.permissions);
	ret->held = s->n_held < ret->parked ? s->n_held : ret->parked;
	ret->feed_gap = s->feed_gap;
	ret->no_room = s->no_room;
}

static void fanotify_source_close(struct source *base)
{
	struct fanotify_source *s = (void *)base;

	for (int i = 0; i < WATCH_FILESYSTEMS_MAX; i++) {
		cleanup_close(&s->groups.notify[i]);
		cleanup_close(&s->groups.observe[i]);
	}
	/* Last: closing it lets go of everybody who still waits. */
	cleanup_close(&s->groups.permission);
	cleanup_close(&s->epoll_fd);
	free(s);
}

static const struct source_ops fanotify_ops = {
	.name = "fanotify",
	/* Marks below the paths of others need CAP_DAC_READ_SEARCH; the event descriptors of files
	 * of others need nothing, the kernel opens them with our credentials unchecked. */
	.caps = 1ULL << CAP_DAC_READ_SEARCH | 1ULL << CAP_SYS_PTRACE,
	.start = fanotify_source_start,
	.fd = fanotify_source_fd,
	.dispatch = fanotify_source_dispatch,
	.stats = fanotify_source_stats,
	.close = fanotify_source_close,
};

int fanotify_open(const struct fanotify_config *c, struct source **ret, struct watch_groups *groups)
{
	struct fanotify_source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->base.ops = &fanotify_ops;
	s->c = *c;
	s->own_pid = getpid();
	turns_init(&s->turns);
	s->groups.permission = -1;
	for (int i = 0; i < WATCH_FILESYSTEMS_MAX; i++)
		s->groups.notify[i] = s->groups.observe[i] = -1;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		err = -errno;
	else
		err = fanotify_open_groups(s);
	if (err) {
		fanotify_source_close(&s->base);
		return err;
	}
	*groups = s->groups;
	*ret = &s->base;
	return 0;
}
