/* SPDX-License-Identifier: Apache-2.0 */
/* What is read from the permission group: strangers are answered at once, members by turns. */
#include <errno.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/fault.h"
#include "core/loop.h"
#include "sources/fanotify_priv.h"

#define PERM_EVENTS_MAX 2048 /* read or judged in one dispatch */

static bool is_own(const struct fanotify_source *s, pid_t pid)
{
	/* pid 0: a process that our pid namespace cannot name is nobody's member. */
	return pid <= 1 || pid == s->own_pid;
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

bool fanotify_judge_next(struct fanotify_source *s, struct bus *b)
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
 * A few members are judged at a time, and then who has asked meanwhile is read: so a stranger waits for
 * these few, however many ask.
 */
int fanotify_read_permissions(struct fanotify_source *s, struct bus *b)
{
	int handled = 0;

	while (handled < PERM_EVENTS_MAX) {
		bool more = read_batch(s, b, &handled);
		int judged = 0;

		while (judged < TURN_BETWEEN_READS && fanotify_judge_next(s, b))
			judged++;
		handled += judged;
		if (!more && !judged)
			break;
	}
	return handled;
}

struct left {
	struct fanotify_source *s;
	struct bus *b;
};

/* An event that the guardian has read when we were late, and left to us. */
static void take_left(struct permission *p, void *arg)
{
	struct left *r = arg;
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

void fanotify_take_left(struct fanotify_source *s, struct bus *b)
{
	permission_sweep(s->c.permissions, take_left, &(struct left){ s, b });
}
