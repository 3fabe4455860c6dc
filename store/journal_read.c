/* SPDX-License-Identifier: Apache-2.0 */
/* The consumer of the journal. How it lies in memory: store/journal_priv.h. */
#include "store/journal_priv.h"

/* How long a reservation may stay unpublished while its producer lives: it takes a microsecond,
 * unless the producer died (the guardian is a process of its own). */
#define RESERVED_MAX_NS (5 * NSEC_PER_SEC)

/* Is there a whole record at pos, ending at or before head? Lengths are believed only within the
 * bounds, and content only with its checksum. */
static bool is_record(const struct journal *j, uint64_t pos, uint64_t head, bool check_sum)
{
	const struct record *r = record_at(j, pos);
	uint64_t word = atomic_load_explicit(&r->word, memory_order_acquire);

	if (((word ^ j->mix) & WORD_POS_MASK) != pos / ALIGN << WORD_POS_SHIFT ||
	    !(word & WORD_STATE))
		return false;
	if (r->room_bytes % ALIGN || r->room_bytes > head - pos ||
	    r->room_bytes < sizeof(struct record) ||
	    r->len_bytes > r->room_bytes - sizeof(struct record))
		return false;
	return (word & WORD_STATE) == STATE_CONSUMED || !check_sum || r->sum == record_sum(j, pos, r);
}

/* Makes [pos, end) one consumed record, so that freeing can pass over it. */
static void fill(struct journal *j, uint64_t pos, uint64_t end)
{
	struct record *r = record_at(j, pos);

	r->len_bytes = 0;
	r->room_bytes = (uint32_t)(end - pos);
	atomic_store_explicit(&r->batch, 0, memory_order_relaxed);
	atomic_store_explicit(&r->word, word_pos(j, pos) | STATE_CONSUMED,
			      memory_order_release);
}

/* Passes over what does not hold together: to the next whole record, or to `limit`, beyond which
 * a producer may be writing right now. */
static uint64_t skip_damaged(struct journal *j, uint64_t pos, uint64_t limit)
{
	uint64_t head = atomic_load_explicit(&j->h->head, memory_order_acquire);
	uint64_t end = pos + ALIGN;

	while (end < limit && !is_record(j, end, head, true))
		end += ALIGN;
	fill(j, pos, end);
	atomic_fetch_add_explicit(&j->h->damaged, 1, memory_order_relaxed);
	return end;
}

/* A place that was reserved and not published: by a producer that is at it right now, or one that
 * died. True when there is no use in waiting; before *limit nobody writes any more. */
static bool given_up(struct journal *j, uint64_t pos, uint64_t head, uint64_t *limit)
{
	uint64_t now = clock_ns(CLOCK_BOOTTIME);

	if (pos < j->dead_end) {
		*limit = j->dead_end;
		return now - j->opened_ns >= j->grace_ns;
	}
	if (j->stuck_pos != pos) {
		j->stuck_pos = pos;
		j->stuck_end = head;
		j->stuck_since_ns = now;
	}
	*limit = j->stuck_end;
	return now - j->stuck_since_ns > RESERVED_MAX_NS;
}

/* Frees what is consumed at the tail; records behind a parked one wait for it. */
static void advance_tail(struct journal *j)
{
	uint64_t tail = atomic_load_explicit(&j->h->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&j->h->head, memory_order_acquire);
	uint64_t pos = tail;

	while (pos < head && is_record(j, pos, head, false)) {
		struct record *r = record_at(j, pos);

		if ((atomic_load_explicit(&r->word, memory_order_acquire) & WORD_STATE) !=
		    STATE_CONSUMED)
			break;
		pos += r->room_bytes;
	}
	if (pos != tail)
		atomic_store_explicit(&j->h->tail, pos, memory_order_release);
}

/* Somebody may still be about to answer what is DECIDED. */
static bool may_be_answered(const struct journal *j, uint64_t pos, const struct record *r)
{
	uint64_t now = clock_ns(CLOCK_BOOTTIME);

	if (pos < j->dead_end)
		return now - j->opened_ns < j->grace_ns;
	return (int64_t)(now - r->decided_ns) < (int64_t)j->wait_ns;
}

int journal_next(struct journal *j, uint64_t *cursor, struct journal_entry *ret)
{
	uint64_t head = atomic_load_explicit(&j->h->head, memory_order_acquire);
	uint64_t tail, pos;

	advance_tail(j); /* over what was skipped, or consumed by one who died at it */
	tail = atomic_load_explicit(&j->h->tail, memory_order_relaxed);
	pos = *cursor > tail ? *cursor : tail;

	while (pos < head) {
		struct record *r = record_at(j, pos);
		uint64_t word, limit;

		if (!is_record(j, pos, head, false)) {
			if (!given_up(j, pos, head, &limit))
				break;
			pos = skip_damaged(j, pos, limit);
			continue;
		}
		word = atomic_load_explicit(&r->word, memory_order_acquire);
		if ((word & WORD_STATE) == STATE_CONSUMED) {
			pos += r->room_bytes;
			continue;
		}
		if (r->sum != record_sum(j, pos, r)) {
			pos = skip_damaged(j, pos, pos + r->room_bytes);
			continue;
		}
		if ((word & WORD_STATE) == STATE_DECIDED && may_be_answered(j, pos, r)) {
			pos += r->room_bytes;
			continue;
		}
		ret->pos = pos;
		ret->outcome = OUTCOME_UNKNOWN;
		ret->err = 0;
		if ((word & WORD_STATE) == STATE_ANSWERED) {
			ret->outcome = word >> WORD_OUTCOME_SHIFT & 0xf;
			ret->err = (int)(word >> WORD_ERRNO_SHIFT & 0xffff);
		}
		ret->payload = r + 1;
		ret->len_bytes = r->len_bytes;
		*cursor = pos + r->room_bytes;
		return 1;
	}
	*cursor = pos;
	return 0;
}

void journal_claim(struct journal *j, uint64_t pos, uint64_t batch)
{
	atomic_store_explicit(&record_at(j, pos)->batch, batch, memory_order_release);
}

void journal_consume(struct journal *j, uint64_t pos)
{
	atomic_store_explicit(&record_at(j, pos)->word, word_pos(j, pos) | STATE_CONSUMED,
			      memory_order_release);
	atomic_fetch_add_explicit(&j->h->consumed, 1, memory_order_relaxed);
	advance_tail(j);
}

/* Passes over all that is not consumed of what was there when it was opened, and changes nothing
 * that a guardian may be writing. */
static uint64_t walk(struct journal *j, bool recover, uint64_t committed)
{
	uint64_t pos = atomic_load(&j->h->tail), head = j->dead_end, n = 0;

	while (pos < head) {
		struct record *r = record_at(j, pos);

		if (!is_record(j, pos, head, true)) {
			pos += ALIGN;
			continue;
		}
		if ((atomic_load(&r->word) & WORD_STATE) != STATE_CONSUMED) {
			uint64_t batch = atomic_load(&r->batch);

			n++;
			if (recover && batch && batch <= committed)
				journal_consume(j, pos);
			else if (recover)
				journal_claim(j, pos, 0);
		}
		pos += r->room_bytes;
	}
	return n;
}

uint64_t journal_leftovers(struct journal *j)
{
	return walk(j, false, 0);
}

void journal_recover(struct journal *j, uint64_t committed)
{
	walk(j, true, committed);
	advance_tail(j);
}

void journal_set_wait(struct journal *j, uint64_t wait_ns)
{
	j->wait_ns = wait_ns;
}

void journal_set_grace(struct journal *j, uint64_t grace_ns)
{
	j->grace_ns = grace_ns;
}
