/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots of permission events that were read and not yet answered. A slot is claimed for answering
 * by compare-and-swap, so that each permission is answered exactly once, whoever comes first:
 * rule, operator, deadline, guardian. All of it lies in memory shared with the guardian, a process
 * that has our descriptor table: it holds no pointers.
 *
 *   FREE ──reserve──► READING ──note──► READ ──park──► PARKED
 *     ▲                  │               │ ▲             │
 *     │                  │    claim      │ │adopt        │
 *     │                  │  DECIDED ◄────┼─┼─────────────┤    the verdict thread answers
 *     ├────release──────────────┘        │ │             │
 *     └────sweep── ANSWERED ◄── GUARDED ◄┴─┼─────────────┘    the guardian answers
 *                                  FREE ──► LEFT              read by it, for either
 *
 * Who has claimed a slot (DECIDED: the verdict thread, GUARDED: the guardian) alone writes the
 * answer and closes the descriptor, whose number is in use until then and so names no other event.
 * Two exceptions, both harmless: when the verdict thread is stuck between its claim and its write,
 * the guardian writes the same answer for it (the kernel takes the first) and does not close; when
 * the daemon is dead, the guardian closes too.
 */
#ifndef OKNEK_CORE_PERMISSION_H
#define OKNEK_CORE_PERMISSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/fanotify.h>
#include <sys/types.h>

#include "core/answer.h"
#include "core/event.h"

enum permission_state {
	PERM_FREE,
	PERM_TAKING,  /* being made ready; nobody acts upon it */
	PERM_READING, /* an event that is being read now will be in its place of the batch */
	PERM_READ,
	PERM_PARKED,
	PERM_LEAVING, /* the guardian puts an event here; it alone acts upon it */
	PERM_LEFT,    /* read by the guardian; the verdict thread may still decide it */
	PERM_DECIDED,  /* claimed by the verdict thread */
	PERM_GUARDED,  /* claimed by the guardian */
	PERM_ANSWERED, /* by the guardian; to be freed by the verdict thread */
};

/*
 * Whether the answer of a DECIDED slot has been written, and by whom. TRYING: the guardian is about
 * to. An owner who finds that leaves descriptor and slot to the guardian: the number must not become
 * another event's before that write is over.
 */
enum permission_wrote {
	WROTE_NOT,
	WROTE_TRYING,
	WROTE_GUARDIAN,
	WROTE_OWNER, /* from here on only the owner may use the number */
	WROTE_GONE,  /* the same; the opener had been killed */
};

#define PERMISSION_BATCH 64 /* events of one read */
#define PERMISSION_PARKED_MAX 1024
#define PERMISSION_PARKED_PER_TREE 32
#define PERMISSION_EXECS_PER_TREE 256 /* each waits for its arguments to be read: a build has many */
#define PERMISSION_EXECS_MAX 512 /* of all trees: the other places are for opens */
/* Where permissions of nobody knows whom are counted: trees of their own, so many that a gap
 * of the feed holds more than one tree may have parked, and less than all. */
#define PERMISSION_UNDECIDED_TREES 16
#define PERMISSION_UNDECIDED(pid) (UINT32_MAX - (uint32_t)(pid) % PERMISSION_UNDECIDED_TREES)
#define PERMISSION_HELD_MAX 256 /* wait for an operator: the other places are for who waits briefly */
#define PERMISSION_HELD_PER_TREE 32
#define PERMISSION_TURN_MAX 1024 /* read, and waiting for their turn */
/* All parked, all in turn, a batch reserved, a batch in hand, a batch of the guardian's. */
#define PERMISSION_SLOTS \
	(PERMISSION_PARKED_MAX + PERMISSION_TURN_MAX + 3 * PERMISSION_BATCH)

struct permission {
	_Atomic uint32_t word;  /* its state, and how often the slot was taken */
	int event_fd;           /* in our descriptor table; the key of the kernel's answer */
	int group_fd;           /* the fanotify group that asked */
	pid_t tgid;
	uint32_t exec;        /* another program is to be run; else a file is opened */
	_Atomic uint32_t held; /* PARKED: for an operator; on_timeout is what the rules say of it */
	uint64_t token;       /* unique while the daemon lives; names a parked permission */
	uint64_t deadline_ns; /* CLOCK_BOOTTIME; 0: not parked */
	enum verdict on_timeout;
	uint32_t tree_id;  /* 0: not a member */
	unsigned entry;    /* READING: its place in the batch */
	uint64_t since_ns; /* CLOCK_BOOTTIME when it was read, at the latest */
	/* What the journal was told is to be answered, and its ticket there: whoever takes the
	 * ticket (an exchange with 0) tells the journal how that ended. */
	_Atomic uint32_t answer; /* enum verdict + 1; 0: nobody knows yet */
	_Atomic uint64_t ticket;
	_Atomic uint32_t wrote; /* permission_wrote_now() */
	/* For the audit trail, of a denial: answer_rule_number(); 0: no rule, or nobody knows yet. */
	_Atomic uint32_t rule;
};

/*
 * What one read of the group gives: the kernel writes entry i, of the slot that was reserved for
 * it, before it looks at the next event. What was read by a thread that died or got stuck in the
 * read, or directly after it, is found here.
 */
struct permission_batch {
	struct fanotify_event_metadata md[PERMISSION_BATCH]; /* event_len 0: none */
	uint32_t slot[PERMISSION_BATCH];
};

/* What the guardian watches of the verdict thread, and it of the guardian. */
struct verdict_state {
	_Atomic uint64_t progress; /* grows with each event it is done with */
	_Atomic uint32_t busy;     /* it reads or answers */
	_Atomic uint32_t asleep;   /* the guardian is: wake it before reading */
	_Atomic uint32_t parked;   /* somebody is */
	_Atomic uint64_t left;     /* grows when the guardian has left or answered something */
	_Atomic uint32_t mode;     /* in force: enum mode */
	_Atomic int64_t pause_ends_s; /* wall clock: from then on mode_after is in force; 0 no pause */
	_Atomic uint32_t mode_after;
	_Atomic uint32_t crashed;  /* by the daemon's handler of fatal signals */
	_Atomic uint32_t end;      /* the daemon wants the guardian to end */
	_Atomic uint32_t spare;    /* the guardian is not to outlive the daemon */
	_Atomic int32_t listen_fd; /* where the next daemon asks, -1 nowhere */
	_Atomic int32_t before_fd; /* to the guardian of the daemon before, which is to end; -1 none */
	_Atomic int32_t wake_fd;   /* eventfd: wakes the guardian */
	_Atomic uint64_t ping, pong;
	_Atomic uint32_t audit;    /* enum answer_audit, of the group; set when it is made */
	/* Figures. */
	_Atomic uint64_t members_denied, members_allowed, strangers;
	_Atomic uint64_t episodes, longest_ns;
	/* What the guardian itself has read; entries are emptied before their descriptor is closed. */
	struct fanotify_event_metadata guardian_md[PERMISSION_BATCH];
};

#define PERMISSION_STATE_BITS 4

static inline enum permission_state permission_state(uint32_t word)
{
	return (enum permission_state)(word & ((1u << PERMISSION_STATE_BITS) - 1));
}

/* What stands in `wrote` of a slot that was taken as often as this word of it says: whoever looked
 * at an earlier event of the slot does not change that of a later one. */
static inline uint32_t permission_wrote_now(uint32_t word, enum permission_wrote wrote)
{
	return (word & ~((1u << PERMISSION_STATE_BITS) - 1)) | wrote;
}

static inline enum permission_wrote permission_wrote_of(uint32_t wrote)
{
	return (enum permission_wrote)(wrote & ((1u << PERMISSION_STATE_BITS) - 1));
}

struct permission_table;

/* Shared, zeroed slots. Returns 0 or -errno; *ret is freed with permission_table_free(). */
int permission_table_new(struct permission_table **ret);
void permission_table_free(struct permission_table *t);
/* Before the first event: nobody has the token of one that an earlier process held. */
void permission_tokens_after(struct permission_table *t, uint64_t last);

struct verdict_state *permission_verdict_state(const struct permission_table *t);
struct permission_batch *permission_batch(const struct permission_table *t);
static inline enum answer_audit permission_audit(const struct permission_table *t)
{
	return (enum answer_audit)atomic_load_explicit(&permission_verdict_state(t)->audit,
						       memory_order_relaxed);
}

/* --- the verdict thread --------------------------------------------------------------------- */

/* Begins and ends work that the guardian is to watch. begin: before the group is read. */
void permission_begin(struct permission_table *t);
void permission_end(struct permission_table *t);
void permission_progress(struct permission_table *t);

/* Reserves slots for a read of so many events: the batch's first entries are empty then, each with
 * a slot in READING. Returns how many, PERMISSION_BATCH but in need. */
unsigned permission_reserve(struct permission_table *t);

/* The slot of entry i, READING → READ; NULL when the guardian has claimed it: then it is no longer
 * ours, neither event nor descriptor. */
struct permission *permission_note(struct permission_table *t, unsigned entry, int group_fd,
				   uint64_t now_ns);

/* READ → PARKED with a deadline (not 0). -EBUSY beyond the limits of a tree, of execs or of all;
 * -EALREADY when somebody has claimed it meanwhile. */
int permission_park(struct permission_table *t, struct permission *p, uint32_t tree_id,
		    uint64_t deadline_ns, enum verdict on_timeout);

/* For one that is parked, when more is known about it: another deadline, and what it is then. */
void permission_set_deadline(struct permission_table *t, struct permission *p, uint64_t deadline_ns,
			     enum verdict on_timeout);

/* READ or PARKED → PARKED for an operator, as long and with what the rules that fired say. -EBUSY,
 * -EALREADY as above; -EBUSY leaves who is parked already parked as it was. */
int permission_hold(struct permission_table *t, struct permission *p, uint32_t tree_id,
		    uint64_t deadline_ns, enum verdict on_timeout);

/* A token that no permission has, for what is asked of an operator otherwise. Verdict thread. */
uint64_t permission_token(struct permission_table *t);

/* What denies it, if it is denied: the strongest rule that blocks. Before the answer may be given. */
void permission_note_rule(struct permission *p, const struct decision *d);

/* The journal has this decision: whoever answers from now on gives this answer. ticket 0: the
 * journal had no room. */
void permission_decided(struct permission *p, enum verdict answer, uint64_t ticket);
/* The ticket, if it is still ours to tell how it ended; 0 if not. Once. */
uint64_t permission_ticket(struct permission *p);

/* Claims the right to give this answer: true for exactly one caller. READ, PARKED → DECIDED. */
bool permission_claim(struct permission *p, enum verdict answer);

/* After the answer was written: frees the slot for the next event. Claimed slots only. */
void permission_release(struct permission_table *t, struct permission *p);

/* Not after the earliest deadline of all parked slots; UINT64_MAX if there are none. */
uint64_t permission_next_deadline(const struct permission_table *t);

/* Calls fn for each parked slot whose deadline is not after now_ns (UINT64_MAX: all parked). */
void permission_each_parked(struct permission_table *t, uint64_t now_ns,
			    void (*fn)(struct permission *p, void *arg), void *arg);

/* Frees what the guardian has answered; calls fn for each event that it has left to us, which is in
 * state READ then. Cheap when there is nothing. */
void permission_sweep(struct permission_table *t, void (*fn)(struct permission *p, void *arg),
		      void *arg);

unsigned permission_parked(const struct permission_table *t);

/* Position of a slot, 0 to PERMISSION_SLOTS - 1: for context that its owner keeps beside it. */
unsigned permission_index(const struct permission_table *t, const struct permission *p);

/* --- the guardian, which has a copy of t that points to the same memory ----------------------- */

struct permission *permission_slot(const struct permission_table *t, unsigned index);

/*
 * A look at a slot, and from what was seen to GUARDED: true when it is ours to answer now. False when
 * anything happened to it since that look, even if it is in the same state again: by then it may hold
 * another event.
 */
uint32_t permission_look(const struct permission *p);
bool permission_guard(struct permission *p, uint32_t seen);
/* LEAVING → GUARDED, by who put it there. */
void permission_keep(struct permission *p);
/* It has been answered, and is no more ours: before the descriptor is closed. */
void permission_guarded(struct permission_table *t, struct permission *p);
/* Puts an event into a free slot: in LEAVING, for the guardian alone. NULL: there is none. */
struct permission *permission_put(struct permission_table *t, int group_fd,
				  const struct fanotify_event_metadata *md, uint32_t tree_id,
				  uint64_t since_ns);
/* LEAVING → LEFT: for whoever answers first. */
void permission_leave(struct permission_table *t, struct permission *p);

#endif
