/* SPDX-License-Identifier: Apache-2.0 */
/* One transaction: ring entries become records, each signed and linked to the one before. */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/fault.h"
#include "store/writer.h"

#define BATCH_NS (50 * NSEC_PER_MSEC)
#define HEAD_EVERY_NS NSEC_PER_SEC

struct batch {
	uint64_t number;
	unsigned n_claimed, n_notes;
	uint64_t dropped; /* notes */
	uint64_t seq, records;
	char hash[RECORD_HASH_HEX + 1];
	struct journal_losses losses;
};

/* "ID BATCH ALLOW WARN BLOCK OWN DAMAGED", with the chain's end, in each batch. */
static int write_end(struct writer *w, const struct batch *b)
{
	const struct journal_losses *l = &b->losses;
	struct meta_end end = {.seq = b->seq, .age_ns = w->age.now_ns};

	memcpy(end.hash, b->hash, sizeof(end.hash));
	snprintf(end.progress, sizeof(end.progress),
		 "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		 " %" PRIu64,
		 journal_id(w->j), b->number, l->by_verdict[0], l->by_verdict[1],
		 l->by_verdict[2], l->own, l->damaged);
	return meta_end_set(&w->db, &end);
}

int batch_recover(struct writer *w, const char *progress)
{
	struct journal_losses l = {0};
	uint64_t id, batch;

	if (sscanf(progress,
		   "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %" SCNu64,
		   &id, &batch, &l.by_verdict[0], &l.by_verdict[1], &l.by_verdict[2], &l.own,
		   &l.damaged) != 7 ||
	    id != journal_id(w->j))
		batch = 0; /* this database knows nothing of this journal */
	else
		w->told = l;
	/* Never a number again that was used in this run, even if the database is another now. */
	journal_recover(w->j, batch);
	if (batch > w->batch)
		w->batch = batch;
	return 0;
}

static int remember_retention(struct writer *w, const struct record_row *row)
{
	unsigned i;
	int r;

	for (i = 0; i < w->n_retention; i++)
		if (!strcmp(w->retention[i].rule, row->rule) &&
		    !strcmp(w->retention[i].part, row->part))
			break;
	if (i < w->n_retention && w->retention[i].retain_s == row->retain_s)
		return 0;
	r = prune_retention_set(&w->db, row->rule, row->part, row->retain_s);
	if (r || i == RETENTIONS_MAX || strlen(row->rule) >= sizeof(w->retention->rule) ||
	    strlen(row->part) >= sizeof(w->retention->part))
		return r;
	strcpy(w->retention[i].rule, row->rule);
	strcpy(w->retention[i].part, row->part);
	w->retention[i].retain_s = row->retain_s;
	if (i == w->n_retention)
		w->n_retention++;
	return 0;
}

static int write_record(struct writer *w, struct batch *b, const struct payload *p,
			enum outcome outcome, int err, unsigned i)
{
	struct record_context c = {.host = w->host, .zone = &w->zone};
	uint8_t sig[RECORD_SIG_SIZE];
	struct record_row row;
	int r;

	text_clear(&w->json);
	record_write(&c, p, outcome, err, i, b->seq + 1, b->hash, &w->json, &row);
	if (w->json.failed)
		return -ENOMEM;
	crypto_sign_detached(sig, NULL, (const uint8_t *)w->json.p, w->json.n, w->key.secret);
	fault(FAULT_BATCH_SIGNED);
	r = remember_retention(w, &row);
	if (!r)
		r = db_insert(&w->db, &row, &w->json, sig);
	if (r)
		return r;
	record_hash(w->json.p, w->json.n, sig, b->hash);
	b->seq++;
	b->records++;
	return 0;
}

static int write_own(struct writer *w, struct batch *b, const char *id, const char *name,
		     const char *json)
{
	struct payload p = {.own = true,
			    .time_unix_ns = w->wall_ns(),
			    .own_id = id,
			    .own_name = name,
			    .own_json = json,
			    .auid = (uid_t)-1};

	return write_record(w, b, &p, OUTCOME_OBSERVED, 0, 0);
}

static int write_losses(struct writer *w, struct batch *b)
{
	struct journal_losses now;
	char json[256];

	journal_losses(w->j, &now);
	b->losses = now;
	if (!memcmp(&now, &w->told, sizeof(now)))
		return 0;
	snprintf(json, sizeof(json),
		 "{\"allow\":%" PRIu64 ",\"warn\":%" PRIu64 ",\"block\":%" PRIu64
		 ",\"own\":%" PRIu64 ",\"damaged\":%" PRIu64 "}",
		 now.by_verdict[VERDICT_ALLOW] - w->told.by_verdict[VERDICT_ALLOW],
		 now.by_verdict[VERDICT_WARN] - w->told.by_verdict[VERDICT_WARN],
		 now.by_verdict[VERDICT_BLOCK] - w->told.by_verdict[VERDICT_BLOCK],
		 now.own - w->told.own, now.damaged - w->told.damaged);
	return write_own(w, b, "O1", "verdicts not recorded", json);
}

static int write_entries(struct writer *w, struct batch *b)
{
	uint64_t cursor = 0, start = writer_now_ns();
	struct journal_entry e;
	struct payload p;
	int r;

	while (b->n_claimed < BATCH_MAX && writer_now_ns() - start < BATCH_NS &&
	       journal_next(w->j, &cursor, &e) > 0) {
		w->claimed[b->n_claimed++] = e.pos;
		journal_claim(w->j, e.pos, b->number);
		fault(FAULT_BATCH_CLAIMED);
		if (payload_read(e.payload, e.len_bytes, &p)) {
			r = write_own(w, b, "O1", "unreadable verdict", "{}");
			if (r)
				return r;
			continue;
		}
		if (p.own)
			e.outcome = OUTCOME_OBSERVED;
		for (unsigned i = 0; i < record_count(&p); i++) {
			r = write_record(w, b, &p, e.outcome, e.err, i);
			if (r)
				return r;
		}
	}
	return 0;
}

bool batch_head_is_due(const struct writer *w, uint64_t now)
{
	return now - w->head_ns >= HEAD_EVERY_NS;
}

static void write_head(struct writer *w, uint64_t now)
{
	struct store_head h = {.seq = w->db.last_seq,
			       .time_unix_ns = w->wall_ns(),
			       .closed = w->closing};
	int r;

	memcpy(h.hash, w->db.last_hash, sizeof(h.hash));
	memcpy(h.boot, w->boot, sizeof(h.boot));
	r = head_write(w->dir_fd, &w->key, &h);
	w->head_ns = now;
	w->head_bad = r != 0;
	if (!r) {
		w->head_aside = false;
		if (w->unrecorded)
			unrecorded_done(w);
		w->unrecorded = false;
	}
	if (r) {
		char why[128];

		snprintf(why, sizeof(why), "head: %s", strerror(-r));
		writer_set_health(w, false, why);
		return;
	}
	w->head_seq = w->db.last_seq;
	if (h.seq)
		fault(FAULT_HEAD_WRITTEN);
}

/* What had to last has to until the head is written: without it, its being missing says otherwise. */
static void notes_told(struct writer *w, const struct batch *b)
{
	for (unsigned i = 0; i < b->n_notes; i++)
		w->unrecorded |= w->notes[i].stamp_s != 0;
	w->n_notes -= b->n_notes;
	memmove(w->notes, w->notes + b->n_notes, w->n_notes * sizeof(*w->notes));
	w->notes_dropped -= b->dropped;
}

static bool has_to_last(const struct writer *w)
{
	for (unsigned i = 0; i < w->n_notes; i++)
		if (w->notes[i].stamp_s)
			return true;
	return false;
}

static int write_notes(struct writer *w, struct batch *b)
{
	char json[64];
	int r = 0;

	for (unsigned i = 0; !r && i < b->n_notes; i++)
		r = write_own(w, b, "O1", w->notes[i].name, w->notes[i].json);
	if (r || !b->dropped)
		return r;
	snprintf(json, sizeof(json), "{\"dropped\":%" PRIu64 "}", b->dropped);
	return write_own(w, b, "O1", "notes of the store not recorded", json);
}

int batch_run(struct writer *w, bool must)
{
	struct batch b = {
		.number = w->batch + 1, .seq = w->db.last_seq, .n_notes = w->n_notes,
		.dropped = w->notes_dropped};
	uint64_t now = writer_now_ns(), cursor = 0;
	struct journal_losses losses;
	struct journal_entry e;
	bool full = batch_head_is_due(w, now) || has_to_last(w);
	int r;

	journal_losses(w->j, &losses);
	if (!must && !w->n_notes && !w->notes_dropped && !memcmp(&losses, &w->told, sizeof(losses)) &&
	    !journal_next(w->j, &cursor, &e))
		return 0;

	memcpy(b.hash, w->db.last_hash, sizeof(b.hash));
	r = db_begin(&w->db, full);
	if (!r)
		r = write_notes(w, &b);
	if (!r)
		r = write_losses(w, &b);
	if (!r)
		r = write_entries(w, &b);
	if (!r)
		r = write_end(w, &b);
	if (b.records)
		fault(FAULT_BATCH_INSERTED);
	if (!r)
		r = db_commit(&w->db);
	if (b.records)
		fault(FAULT_BATCH_COMMITTED);
	if (r) {
		for (unsigned i = 0; i < b.n_claimed; i++)
			journal_claim(w->j, w->claimed[i], 0);
		w->n_retention = 0;
		writer_give_up(w, r);
		return r;
	}
	for (unsigned i = 0; i < b.n_claimed; i++)
		journal_consume(w->j, w->claimed[i]);
	if (b.records)
		fault(FAULT_BATCH_CONSUMED);
	w->batch = b.number;
	w->told = b.losses;
	notes_told(w, &b);
	w->db.last_seq = b.seq;
	w->db.records += b.records;
	memcpy(w->db.last_hash, b.hash, sizeof(b.hash));
	if (full && w->db.last_seq != w->head_seq)
		write_head(w, now);
	if (!w->head_bad)
		writer_set_health(w, true, "");
	w->published(w->arg);
	return (int)b.n_claimed;
}
