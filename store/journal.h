/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: a ring in a preallocated, populated and locked file of the run directory (a tmpfs)
 * that survives our death. A verdict is in it as DECIDED before its answer is written and as
 * ANSWERED after; the store thread turns it into signed evidence. Several producers, one consumer,
 * no lock, no system call. A full ring never delays an answer: the loss is counted, by kind of
 * verdict, in the ring's own header, and becomes evidence (O1) later. When the ring is more than
 * half full, a verdict that only repeats one that was recorded in the last seconds (same tree,
 * object, rules) is counted and not kept, so that noise pushes out nothing new.
 */
#ifndef OKNEK_STORE_JOURNAL_H
#define OKNEK_STORE_JOURNAL_H

#include "core/bus.h"
#include "core/cleanup.h"

#define JOURNAL_SIZE_DEFAULT (4u << 20) /* bytes */
#define JOURNAL_SIZE_MIN (128u << 10)   /* room for the longest record */

struct journal;

/* Opens or makes PATH; what a dead daemon left in it is kept for the consumer (and its size, until
 * it is empty). A file that is not a journal of this version is set aside as PATH.bad, and the
 * first record says so. size_bytes is rounded up to pages, at least JOURNAL_SIZE_MIN. -errno. */
int journal_open(const char *path, size_t size_bytes, struct journal **ret);
void journal_close(struct journal *j);

/* What the bus calls. Owned by the journal. Works in a forked child too, beside its parent and
 * beside a later daemon that opened the same file. */
struct recorder *journal_recorder(struct journal *j);

/* A record of our own: rule_id "O1" (coverage gap), "O2" (operator act), "O3" (proof); name is
 * short ("ring overflow"); json is the text of one object that becomes `capture`. Any thread but
 * verdict. -ENOSPC when the ring is full (counted). */
int journal_own(struct journal *j, const char *rule_id, const char *name, const char *json);

struct journal_stats {
	uint64_t written, lost, pending; /* pending: not yet consumed */
	uint64_t lost_blocked, lost_warned;
};
void journal_stats(const struct journal *j, struct journal_stats *ret);

/* Nobody is woken when something is written, because the verdict thread makes no system call for
 * it: the consumer polls, at least every 100 ms. */

/* --- the consumer: one thread ------------------------------------------------------------ */

/* How long a record may stay DECIDED before it is taken as `outcome: unknown`: longer than the
 * longest time an event can be parked. */
#define JOURNAL_WAIT_DEFAULT_NS (12 * NSEC_PER_SEC)
void journal_set_wait(struct journal *j, uint64_t wait_ns);
/* What was in the file when it was opened is from a daemon that is gone, or from a guardian that
 * lives on and may be between two stores right now: how long that is waited for. 0 unless set. */
void journal_set_grace(struct journal *j, uint64_t grace_ns);

/* Random, made with the file: batch numbers and counts of losses belong to it. */
uint64_t journal_id(const struct journal *j);

struct journal_entry {
	uint64_t pos; /* names it */
	enum outcome outcome;
	int err;
	const void *payload; /* in the ring, until journal_consume(): for payload_read() */
	size_t len_bytes;
};

/*
 * The next record after *cursor (0: from the oldest) that is complete: ANSWERED, or DECIDED for
 * longer than the wait, or left by a dead daemon (see the grace). Younger DECIDED ones are passed
 * over, a later pass from cursor 0 finds them. 1, or 0 when there is none now. Records that do not hold
 * together (a producer died while it wrote) are skipped and counted as damaged.
 */
int journal_next(struct journal *j, uint64_t *cursor, struct journal_entry *ret);

/* Before a batch is committed somewhere, its records are claimed for the batch's number (from 1,
 * ascending, never reused); once it is committed they are consumed and their room is freed. If
 * it failed they are claimed for 0 again. */
void journal_claim(struct journal *j, uint64_t pos, uint64_t batch);
void journal_consume(struct journal *j, uint64_t pos);

/* After a restart: `committed` is the last batch that is known to be committed. What was claimed
 * for it or an earlier one is consumed: no record is made twice. */
void journal_recover(struct journal *j, uint64_t committed);

/* Verdicts that found no room and have no record, since the file was made. */
struct journal_losses {
	uint64_t by_verdict[3]; /* indexed by enum verdict */
	uint64_t own;
	uint64_t damaged; /* places where records did not hold together */
};
/* Positions: all before the first is reserved, all before the second is consumed. */
void journal_positions(const struct journal *j, uint64_t *head, uint64_t *tail);
void journal_losses(const struct journal *j, struct journal_losses *ret);

#endif
