/* SPDX-License-Identifier: Apache-2.0 */
/* Producers of the journal, and its figures. How it lies in memory: store/journal_priv.h. */
#include <errno.h>

#include "core/proctree.h"
#include "store/journal_priv.h"
#include "store/payload.h"

#define SEEN_FOR_SHIFT 33 /* 2^33 ns: one record of each repetition in some 9 s */

static uint64_t reserve(struct journal *j, uint64_t room)
{
	uint64_t head = atomic_load_explicit(&j->h->head, memory_order_relaxed);

	do {
		uint64_t tail = atomic_load_explicit(&j->h->tail, memory_order_acquire);

		/* Signed: head may be older than tail, and then the exchange fails. */
		if ((int64_t)(head + room - tail) > (int64_t)j->size_bytes)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(
		&j->h->head, &head, head + room, memory_order_relaxed, memory_order_relaxed));
	return head;
}

static void publish(struct journal *j, uint64_t pos, size_t len, uint64_t room,
		    enum state state)
{
	struct record *r = record_at(j, pos);

	atomic_store_explicit(&r->batch, 0, memory_order_relaxed);
	r->decided_ns = clock_ns(CLOCK_BOOTTIME);
	r->len_bytes = (uint32_t)len;
	r->room_bytes = (uint32_t)room;
	r->sum = record_sum(j, pos, r);
	atomic_store_explicit(&r->word, word_pos(j, pos) | state, memory_order_release);
	atomic_fetch_add_explicit(&j->h->written, 1, memory_order_relaxed);
}

static uint64_t room_for(size_t len)
{
	return (sizeof(struct record) + len + ALIGN - 1) / ALIGN * ALIGN;
}

/* When it happened, by the wall clock: the event's own time is told by the boot clock, which
 * sources set; a replayed event's lies in the past of this boot, or before it (it wraps). */
static int64_t event_time_unix_ns(const struct event *ev)
{
	int64_t now = (int64_t)clock_ns(CLOCK_REALTIME);

	if (!ev->time_ns)
		return now;
	return (int64_t)((uint64_t)now - (clock_ns(CLOCK_BOOTTIME) - ev->time_ns));
}

static uint64_t mix(uint64_t x, uint64_t y)
{
	x = (x ^ y) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */
	return x ^ x >> 29;
}

/* One verdict of one rule about one object for one tree. */
static uint64_t likeness(const struct verdict_note *note)
{
	const struct event *ev = note->ev;
	uint64_t x = mix(ev->subj.tree ? ev->subj.tree->id : 0, ev->time_ns >> SEEN_FOR_SHIFT);

	x = mix(x, (uint64_t)note->mode << 32 | note->by << 8 | note->d->verdict);
	for (unsigned i = 0; i < note->d->n_fired; i++)
		x = mix(x, (uintptr_t)note->d->fired[i].rule);
	if (ev->kind != KIND_FILE_OPENED)
		return mix(x, ev->seq);
	x = mix(mix(x, ev->file.dev), ev->file.ino);
	/* Names tell apart what has no identity. */
	for (const char *c = ev->file.n_names && !ev->file.ino ? ev->file.names[0].path : ""; *c; c++)
		x = mix(x, (unsigned char)*c);
	return x;
}

/*
 * A member can open what it is denied faster than anything can be signed. So that it does not push
 * out what is new, nor hide another act behind the noise, the second half of the ring takes no
 * verdict that is in it already: those are counted, as if there were no room.
 */
static bool is_repeat(struct journal *j, const struct verdict_note *note)
{
	uint64_t used = atomic_load_explicit(&j->h->head, memory_order_relaxed) -
			atomic_load_explicit(&j->h->tail, memory_order_relaxed);
	uint64_t x = likeness(note);
	_Atomic uint64_t *slot = &j->seen[x % SEEN_SLOTS];
	bool known = atomic_load_explicit(slot, memory_order_relaxed) == x;

	if (!known)
		atomic_store_explicit(slot, x, memory_order_relaxed);
	return known && (int64_t)used > (int64_t)(j->size_bytes / 2);
}

uint64_t journal_decided(struct recorder *rec, const struct verdict_note *note)
{
	struct journal *j = (struct journal *)rec;
	size_t len = payload_size(note);
	uint64_t room = room_for(len), pos = is_repeat(j, note) ? 0 : reserve(j, room);

	if (!pos) {
		atomic_fetch_add_explicit(&j->h->lost[note->d->verdict], 1,
					  memory_order_relaxed);
		return 0;
	}
	payload_write(note, event_time_unix_ns(note->ev), record_at(j, pos) + 1);
	publish(j, pos, len, room, STATE_DECIDED);
	return pos;
}

void journal_answered(struct recorder *rec, uint64_t ticket, enum outcome outcome, int err)
{
	struct journal *j = (struct journal *)rec;
	uint64_t expect = word_pos(j, ticket) | STATE_DECIDED;
	uint64_t word = word_pos(j, ticket) | STATE_ANSWERED |
			(uint64_t)outcome << WORD_OUTCOME_SHIFT |
			(uint64_t)(err & 0xffff) << WORD_ERRNO_SHIFT;

	if (!ticket)
		return;
	atomic_compare_exchange_strong_explicit(&record_at(j, ticket)->word, &expect, word,
						memory_order_release, memory_order_relaxed);
}

/* Only while it is DECIDED: one that the consumer has given up waiting for is in evidence already,
 * as of unknown outcome. */
void journal_withdrawn(struct recorder *rec, uint64_t ticket)
{
	struct journal *j = (struct journal *)rec;
	uint64_t expect = word_pos(j, ticket) | STATE_DECIDED;

	if (ticket && atomic_compare_exchange_strong_explicit(
			      &record_at(j, ticket)->word, &expect,
			      word_pos(j, ticket) | STATE_CONSUMED, memory_order_release,
			      memory_order_relaxed))
		atomic_fetch_add_explicit(&j->h->consumed, 1, memory_order_relaxed);
}

int journal_own(struct journal *j, const char *rule_id, const char *name, const char *json)
{
	size_t len = payload_own_size(rule_id, name, json);
	uint64_t room = room_for(len), pos = reserve(j, room);

	if (!pos) {
		atomic_fetch_add_explicit(&j->h->lost[LOST_OWN], 1, memory_order_relaxed);
		return -ENOSPC;
	}
	payload_own_write(rule_id, name, json, (int64_t)clock_ns(CLOCK_REALTIME),
			  record_at(j, pos) + 1);
	publish(j, pos, len, room, STATE_ANSWERED);
	return 0;
}

/* ---- figures ---------------------------------------------------------------------------- */

struct recorder *journal_recorder(struct journal *j)
{
	return &j->recorder;
}

uint64_t journal_id(const struct journal *j)
{
	return j->h->id;
}

void journal_positions(const struct journal *j, uint64_t *head, uint64_t *tail)
{
	*head = atomic_load(&j->h->head);
	*tail = atomic_load(&j->h->tail);
}

void journal_losses(const struct journal *j, struct journal_losses *ret)
{
	for (int v = VERDICT_ALLOW; v <= VERDICT_BLOCK; v++)
		ret->by_verdict[v] = atomic_load(&j->h->lost[v]);
	ret->own = atomic_load(&j->h->lost[LOST_OWN]);
	ret->damaged = atomic_load(&j->h->damaged);
}

void journal_stats(const struct journal *j, struct journal_stats *ret)
{
	struct journal_losses l;
	uint64_t consumed = atomic_load(&j->h->consumed);

	journal_losses(j, &l);
	ret->written = atomic_load(&j->h->written);
	ret->pending = ret->written > consumed ? ret->written - consumed : 0;
	ret->lost = l.by_verdict[0] + l.by_verdict[1] + l.by_verdict[2] + l.own;
	ret->lost_blocked = l.by_verdict[VERDICT_BLOCK];
	ret->lost_warned = l.by_verdict[VERDICT_WARN];
}
