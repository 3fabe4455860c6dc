/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the journal lies in memory; between store/journal*.c alone.
 *
 * Positions count bytes since the file was made and only grow; a record stands at position modulo
 * size, in a data area that is mapped twice in a row, so that none has to be split. Producers
 * reserve by compare-and-swap on `head`. A record is published by one store of its `word`, which
 * holds its own position (mixed with a secret, so that nothing an agent writes into a path can
 * pass for a record) and its state; before that store it does not exist, whatever the memory held.
 * The answer is one more compare-and-swap on the word: it cannot hit a record that is gone.
 *
 * Producers may be in several processes: all that they write is shared. What a forked child has
 * of struct journal as a copy is either constant or the consumer's.
 */
#ifndef OKNEK_STORE_JOURNAL_PRIV_H
#define OKNEK_STORE_JOURNAL_PRIV_H

#include <sodium.h>
#include <string.h>
#include <time.h>

#include "store/journal.h"

#define HEADER_SIZE 4096
#define ALIGN 64

#define SEEN_SLOTS 1024 /* a power of two */

enum { LOST_OWN = VERDICT_BLOCK + 1, LOST_KINDS };

struct header {
	uint64_t magic;
	uint64_t layout; /* hash of what a payload depends on */
	uint64_t size_bytes;
	uint64_t id;
	uint8_t key[crypto_shorthash_KEYBYTES];
	_Alignas(64) _Atomic uint64_t head; /* next position to reserve */
	_Alignas(64) _Atomic uint64_t tail; /* oldest position in use */
	_Alignas(64) _Atomic uint64_t written;
	_Atomic uint64_t lost[LOST_KINDS];
	_Alignas(64) _Atomic uint64_t consumed;
	_Atomic uint64_t damaged;
};
_Static_assert(sizeof(struct header) <= HEADER_SIZE, "the header is one page");

/* word: position / 64 mixed with the secret, errno, outcome, state. */
enum state { STATE_DECIDED = 1, STATE_ANSWERED, STATE_CONSUMED };
#define WORD_STATE 0x3ULL
#define WORD_OUTCOME_SHIFT 2 /* 4 bits */
#define WORD_ERRNO_SHIFT 6   /* 16 bits */
#define WORD_POS_SHIFT 22    /* 42 bits: 256 TiB of records */
#define WORD_POS_MASK (~0ULL << WORD_POS_SHIFT)

struct record {
	_Atomic uint64_t word;
	_Atomic uint64_t batch; /* the consumer's */
	uint64_t decided_ns;    /* CLOCK_BOOTTIME */
	uint64_t sum;           /* SipHash of position, the two below and the payload */
	uint32_t len_bytes;     /* payload */
	uint32_t room_bytes;    /* all, aligned */
};

struct journal {
	struct recorder recorder; /* first: the bus hands it back */
	struct header *h;
	uint8_t *data;
	size_t size_bytes;
	uint64_t mix;
	_Atomic uint64_t *seen; /* SEEN_SLOTS, shared: what was recorded lately, see is_repeat() */
	/* the consumer's: positions before dead_end are from before we opened it, at opened_ns */
	uint64_t dead_end, opened_ns, grace_ns;
	uint64_t wait_ns;
	/* an unpublished reservation, and how far others had reserved when it was seen */
	uint64_t stuck_pos, stuck_end, stuck_since_ns;
};

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static inline struct record *record_at(const struct journal *j, uint64_t pos)
{
	return (struct record *)(j->data + pos % j->size_bytes);
}

static inline uint64_t word_pos(const struct journal *j, uint64_t pos)
{
	return (pos / ALIGN << WORD_POS_SHIFT) ^ (j->mix & WORD_POS_MASK);
}

static inline uint64_t record_sum(const struct journal *j, uint64_t pos, const struct record *r)
{
	uint8_t out[crypto_shorthash_BYTES];
	uint64_t ret;

	crypto_shorthash(out, (const uint8_t *)(r + 1), r->len_bytes, j->h->key);
	memcpy(&ret, out, sizeof(ret));
	return ret ^ pos ^ r->decided_ns ^ ((uint64_t)r->len_bytes << 32 | r->room_bytes);
}

/* journal.c: what the bus calls. */
uint64_t journal_decided(struct recorder *rec, const struct verdict_note *note);
void journal_answered(struct recorder *rec, uint64_t ticket, enum outcome outcome, int err);
void journal_withdrawn(struct recorder *rec, uint64_t ticket);

/* journal_read.c: how many whole records, left by whoever had it before, are not consumed. */
uint64_t journal_leftovers(struct journal *j);

#endif
