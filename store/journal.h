/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: a ring in a preallocated, populated and locked file of the run directory (a tmpfs)
 * that survives our death. A verdict is in it as DECIDED before its answer is written and as
 * ANSWERED after; the store thread turns it into signed evidence. Several producers, one consumer,
 * no lock, no system call. A full ring never delays an answer: the loss is counted, by kind of
 * verdict, in the ring's own header, and becomes evidence (O1) later.
 */
#ifndef OKNEK_STORE_JOURNAL_H
#define OKNEK_STORE_JOURNAL_H

#include "core/bus.h"

#define JOURNAL_SIZE_DEFAULT (4u << 20) /* bytes */

struct journal;

/* Opens or makes PATH; what a dead daemon left in it is kept for the consumer. A file that is not
 * a journal of this version is set aside as PATH.bad. -errno. */
int journal_open(const char *path, size_t size_bytes, struct journal **ret);
void journal_close(struct journal *j);

/* What the bus calls. Owned by the journal. */
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

/* Polls readable when something was written and the consumer slept; the verdict thread does not
 * write to it (no system call): the consumer polls with a timeout, at most 100 ms. */

#endif
