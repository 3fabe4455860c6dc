/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/fault.h"
#include "store/db.h"

#define FREE_PAGES_MAX 64 /* that are kept for what comes */
#define RULES_SEEN 64	  /* whose retention was looked at in one call */

/* ---- what is not removed -------------------------------------------------------------------- */

/* The last number of the stretch that seq lies in, 0 when it may be removed. */
static uint64_t refused_until(const struct refused *f, uint64_t seq)
{
	for (unsigned i = 0; i < f->n; i++)
		if (seq >= f->at[i].first && seq <= f->at[i].last)
			return f->at[i].last;
	return 0;
}

static void refuse(struct refused *f, uint64_t seq, const char *what)
{
	unsigned i = 0;

	if (!*f->what)
		snprintf(f->what, sizeof(f->what), "record %" PRIu64 ": %s", seq, what);
	while (i < f->n && f->at[i].last + 1 < seq)
		i++;
	if (i < f->n && f->at[i].first <= seq + 1) {
		f->at[i].first = seq < f->at[i].first ? seq : f->at[i].first;
		f->at[i].last = seq > f->at[i].last ? seq : f->at[i].last;
	} else if (f->n == REFUSED_MAX) {
		i = i < f->n ? i : f->n - 1;
		f->at[i].first = seq < f->at[i].first ? seq : f->at[i].first;
		f->at[i].last = seq > f->at[i].last ? seq : f->at[i].last;
	} else {
		memmove(f->at + i + 1, f->at + i, (f->n - i) * sizeof(*f->at));
		f->at[i].first = f->at[i].last = seq;
		f->n++;
	}
}

static uint64_t refused_count(const struct refused *f)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < f->n; i++)
		n += f->at[i].last - f->at[i].first + 1;
	return n;
}

/* ---- removing ------------------------------------------------------------------------------- */

struct old {
	uint64_t seq;
	int64_t time_ns; /* how new it is */
};

struct removal {
	struct db *db;
	sqlite3_stmt *row, *before, *gap, *del;
	struct pruned run; /* neighbours that were removed and have no checkpoint yet; first 0: none */
	uint64_t removed;
};

static void end_removal(struct removal *m)
{
	sqlite3_finalize(m->row);
	sqlite3_finalize(m->before);
	sqlite3_finalize(m->gap);
	sqlite3_finalize(m->del);
}

/* The hash that the chain has come to before this record; "" when what was there is not known. */
static int hash_before(struct removal *m, uint64_t seq, char hash[RECORD_HASH_HEX + 1])
{
	struct pruned p;
	int step;

	*hash = '\0';
	if (m->run.first && m->run.last + 1 == seq) {
		memcpy(hash, m->run.hash, RECORD_HASH_HEX + 1);
		return 0;
	}
	sqlite3_reset(m->before);
	sqlite3_bind_int64(m->before, 1, (sqlite3_int64)seq - 1);
	step = sqlite3_step(m->before);
	if (step == SQLITE_ROW) {
		const char *json = (const char *)sqlite3_column_text(m->before, 0);

		if (json && sqlite3_column_bytes(m->before, 1) == RECORD_SIG_SIZE)
			record_hash(json, (size_t)sqlite3_column_bytes(m->before, 0),
				    sqlite3_column_blob(m->before, 1), hash);
		return 0;
	}
	if (step != SQLITE_DONE)
		return db_error(m->db, DB_FILE);
	if (seq == 1) {
		memset(hash, '0', RECORD_HASH_HEX);
		hash[RECORD_HASH_HEX] = '\0';
		return 0;
	}
	sqlite3_reset(m->gap);
	sqlite3_bind_int64(m->gap, 1, (sqlite3_int64)seq);
	step = sqlite3_step(m->gap);
	if (step != SQLITE_ROW)
		return step == SQLITE_DONE ? 0 : db_error(m->db, DB_FILE);
	if (pruned_read(m->gap, m->db->key->public, &p) && p.last + 1 == seq)
		memcpy(hash, p.hash, sizeof(p.hash));
	return 0;
}

/* Ends the run with a checkpoint. */
static int mark_run(struct removal *m)
{
	int r = m->run.first ? prune_mark(m->db, &m->run) : 0;

	m->run.first = 0;
	return r;
}

static int remove_one(struct removal *m, const struct old *o)
{
	char prev[RECORD_HASH_HEX + 1], before[RECORD_HASH_HEX + 1];
	const char *problem;
	int r = hash_before(m, o->seq, before);

	sqlite3_reset(m->row);
	sqlite3_bind_int64(m->row, 1, (sqlite3_int64)o->seq);
	if (r || sqlite3_step(m->row) != SQLITE_ROW)
		return r ? r : db_error(m->db, DB_FILE);
	problem = row_problem(m->row, m->db->key->public, prev);
	if (!problem && strcmp(prev, before))
		problem = "it does not follow what is before it";
	if (problem) {
		refuse(&m->db->refused, o->seq, problem);
		return 0;
	}
	if (m->run.first && m->run.last + 1 != o->seq)
		r = mark_run(m);
	if (r)
		return r;
	if (!m->run.first) {
		m->run.first = o->seq;
		m->run.time_ns = o->time_ns;
		memcpy(m->run.prev, prev, sizeof(prev));
	}
	if (o->time_ns > m->run.time_ns)
		m->run.time_ns = o->time_ns;
	m->run.last = o->seq;
	record_hash((const char *)sqlite3_column_text(m->row, 1),
		    (size_t)sqlite3_column_bytes(m->row, 1), sqlite3_column_blob(m->row, 2),
		    m->run.hash);
	sqlite3_reset(m->row);
	sqlite3_reset(m->before);
	sqlite3_reset(m->del);
	sqlite3_bind_int64(m->del, 1, (sqlite3_int64)o->seq);
	if (sqlite3_step(m->del) != SQLITE_DONE)
		return db_error(m->db, DB_FILE);
	m->removed++;
	return 0;
}

/* These, ascending, in the transaction that is open. */
static int remove_listed(struct removal *m, const struct old *list, size_t n)
{
	int r = db_prepare(m->db, "SELECT " ROW_COLUMNS " FROM events WHERE seq=?", &m->row);

	if (!r)
		r = db_prepare(m->db, "SELECT json,sig FROM events WHERE seq=?", &m->before);
	if (!r)
		r = db_prepare(m->db,
			       "SELECT " PRUNED_COLUMNS " FROM pruned WHERE first<?"
			       " ORDER BY first DESC LIMIT 1",
			       &m->gap);
	if (!r)
		r = db_prepare(m->db, "DELETE FROM events WHERE seq=?", &m->del);
	for (size_t i = 0; !r && i < n; i++) {
		r = remove_one(m, &list[i]);
		fault(FAULT_PRUNE);
	}
	return r ? r : mark_run(m);
}

static int remove_batch(struct db *db, const struct old *list, size_t n, const char *why,
			uint64_t *removed)
{
	_cleanup_(end_removal) struct removal m = {.db = db};
	int r;

	if (!n)
		return 0;
	snprintf(m.run.why, sizeof(m.run.why), "%s", why);
	r = db_begin(db, false);
	if (!r)
		r = remove_listed(&m, list, n);
	if (!r)
		r = db_commit(db);
	if (r) {
		end_removal(&m);
		m = (struct removal){0};
		db_rollback(db);
		return r;
	}
	db->records -= m.removed;
	db->pruned += m.removed;
	*removed += m.removed;
	return 0;
}

static int size_bytes(struct db *db, uint64_t *ret)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
			   "SELECT (page_count-freelist_count)*page_size FROM"
			   " pragma_page_count,pragma_freelist_count,pragma_page_size",
			   &s);

	if (r)
		return r;
	if (sqlite3_step(s) != SQLITE_ROW)
		return db_error(db, DB_FILE);
	*ret = (uint64_t)sqlite3_column_int64(s, 0);
	return 0;
}

/* The newest record always stays: the chain goes on from it. */
#define NEWEST "(SELECT max(seq) FROM events)"

/* A walk over the records, from the oldest, that leaves out what was refused. */
struct walk {
	struct db *db;
	sqlite3_stmt *s; /* seq first; its parameter 1: numbers after this one */
};

static int walk_next(struct walk *w, uint64_t *seq)
{
	int step;

	while ((step = sqlite3_step(w->s)) == SQLITE_ROW) {
		uint64_t until;

		*seq = (uint64_t)sqlite3_column_int64(w->s, 0);
		until = refused_until(&w->db->refused, *seq);
		if (!until)
			return 1;
		sqlite3_reset(w->s);
		sqlite3_bind_int64(w->s, 1, (sqlite3_int64)until);
	}
	return step == SQLITE_DONE ? 0 : db_error(w->db, DB_FILE);
}

/* How long records of a rule are kept, as signed; looked at once in a call. */
struct rules_seen {
	struct {
		char name[160]; /* RULE/PART */
		bool signed_;
	} at[RULES_SEEN];
	unsigned n;
};

/* Of the row of find_old(): its retention is signed. */
static bool retention_holds(struct db *db, struct rules_seen *seen, sqlite3_stmt *s)
{
	const char *rule = (const char *)sqlite3_column_text(s, 3);
	const char *part = (const char *)sqlite3_column_text(s, 4);
	_cleanup_(db_finalize) sqlite3_stmt *q = NULL;
	char name[160];
	bool holds;

	if (!rule || !part ||
	    (size_t)snprintf(name, sizeof(name), "%s/%s", rule, part) >= sizeof(name))
		return false;
	for (unsigned i = 0; i < seen->n; i++)
		if (!strcmp(seen->at[i].name, name))
			return seen->at[i].signed_;
	if (db_prepare(db, "SELECT " RETENTION_COLUMNS " FROM retention WHERE rule=? AND part=?", &q))
		return false;
	sqlite3_bind_text(q, 1, rule, -1, SQLITE_STATIC);
	sqlite3_bind_text(q, 2, part, -1, SQLITE_STATIC);
	holds = sqlite3_step(q) == SQLITE_ROW && retention_is_signed(q, db->key->public);
	if (!holds && !*db->refused.what)
		snprintf(db->refused.what, sizeof(db->refused.what),
			 "retention of rule %.80s: signature", name);
	if (seen->n < RULES_SEEN) {
		memcpy(seen->at[seen->n].name, name, sizeof(name));
		seen->at[seen->n++].signed_ = holds;
	}
	return holds;
}

/* A time that would end the search is not believed because the column says it. True when it holds. */
static bool time_holds(struct db *db, uint64_t seq)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	char prev[RECORD_HASH_HEX + 1];
	const char *problem;

	if (db_prepare(db, "SELECT " ROW_COLUMNS " FROM events WHERE seq=?", &s))
		return true;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)seq);
	if (sqlite3_step(s) != SQLITE_ROW)
		return true;
	problem = row_problem(s, db->key->public, prev);
	if (problem)
		refuse(&db->refused, seq, problem);
	return !problem;
}

/* How new what was there before record seq is, as the checkpoints say; *more: gaps is at the first
 * that is not before it. One that would end the search has to be signed. */
static int64_t pass_gaps(struct db *db, sqlite3_stmt *gaps, bool *more, uint64_t seq,
			 int64_t limit_ns)
{
	int64_t newest = 0;
	struct pruned p;

	while (*more && (uint64_t)sqlite3_column_int64(gaps, 1) < seq) {
		int64_t t = sqlite3_column_int64(gaps, 4);

		if (t > newest && (t < limit_ns || pruned_read(gaps, db->key->public, &p)))
			newest = t;
		*more = sqlite3_step(gaps) == SQLITE_ROW;
	}
	return newest;
}

static int64_t kept_ns(int64_t retain_s)
{
	int64_t most = INT64_MAX / (int64_t)NSEC_PER_SEC;

	return (retain_s < 0 ? 0 : retain_s > most ? most : retain_s) * (int64_t)NSEC_PER_SEC;
}

static int prepare_find(struct db *db, struct walk *w, sqlite3_stmt **gaps, int64_t *shortest_s)
{
	int r = db_number(db, "SELECT min(retain_s) FROM retention", shortest_s);

	if (!r)
		r = db_prepare(db,
			       "SELECT " PRUNED_COLUMNS " FROM pruned"
			       " WHERE why IN ('retention','size') ORDER BY first",
			       gaps);
	if (!r)
		r = db_prepare(db,
			       "SELECT e.seq,e.time_ns,r.retain_s,e.rule,e.part"
			       " FROM events e LEFT JOIN retention r ON r.rule=e.rule AND"
			       " r.part=e.part WHERE e.seq>?1 AND e.seq<" NEWEST " ORDER BY e.seq",
			       &w->s);
	return r;
}

/*
 * The oldest records that are older than they are to be kept, at most PRUNE_BATCH. What a record
 * says itself is by a clock that may have been set: a time that the store has not seen yet is no
 * time; and a record is not older than what was there before it, be it removed by now. So how new
 * they are ascends with their numbers, and nothing needs to be read beyond what is new enough.
 * Nothing of that is believed: what is listed is looked at closely before it is removed.
 */
static int find_old(struct db *db, int64_t now_ns, struct old *list, size_t *ret)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL, *gaps = NULL;
	struct walk w = {.db = db};
	struct rules_seen seen = {.n = 0};
	int64_t newest = 0, shortest_s, limit_ns;
	uint64_t seq;
	size_t n = 0;
	bool more;
	int r = prepare_find(db, &w, &gaps, &shortest_s);

	s = w.s;
	if (r)
		return r;
	sqlite3_bind_int64(s, 1, 0);
	limit_ns = now_ns - kept_ns(shortest_s);
	more = sqlite3_step(gaps) == SQLITE_ROW;
	while (n < PRUNE_BATCH && (r = walk_next(&w, &seq)) > 0) {
		int64_t t = sqlite3_column_int64(s, 1);
		int64_t before = pass_gaps(db, gaps, &more, seq, limit_ns);

		if (before > newest && before <= now_ns)
			newest = before;
		if (t > newest && t <= now_ns) {
			if (t >= limit_ns && newest < limit_ns && !time_holds(db, seq))
				continue;
			newest = t;
		}
		if (newest >= limit_ns)
			break;
		if (newest && sqlite3_column_type(s, 2) == SQLITE_INTEGER &&
		    newest < now_ns - kept_ns(sqlite3_column_int64(s, 2)) &&
		    retention_holds(db, &seen, s))
			list[n++] = (struct old){ seq, newest };
	}
	if (r < 0)
		return r;
	*ret = n;
	return 0;
}

static int find_oldest(struct db *db, int64_t now_ns, size_t max, struct old *list, size_t *ret)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	struct walk w = {.db = db};
	int r = db_prepare(db,
			   "SELECT seq,min(time_ns,?2) FROM events WHERE seq>?1 AND seq<" NEWEST
			   " ORDER BY seq",
			   &w.s);
	uint64_t seq;
	size_t n = 0;

	s = w.s;
	if (r)
		return r;
	sqlite3_bind_int64(s, 2, now_ns);
	sqlite3_bind_int64(s, 1, 0);
	while (n < max && (r = walk_next(&w, &seq)) > 0)
		list[n++] = (struct old){ seq, sqlite3_column_int64(s, 1) };
	if (r < 0)
		return r;
	*ret = n;
	return 0;
}

int prune_by_age(struct db *db, int64_t now_ns, uint64_t *removed)
{
	_cleanup_free_ struct old *list = calloc(PRUNE_BATCH, sizeof(*list));
	size_t n = 0;
	int r;

	if (!list)
		return -ENOMEM;
	r = find_old(db, now_ns, list, &n);
	if (!r)
		r = remove_batch(db, list, n, "retention", removed);
	return r ? r : n == PRUNE_BATCH;
}

/* Gives pages that are free back to the disk, some at a time. */
static int shrink(struct db *db)
{
	int64_t unused;
	int r = db_number(db, "PRAGMA freelist_count", &unused);

	return r || unused < FREE_PAGES_MAX ? r : db_exec(db, "PRAGMA incremental_vacuum(2000)");
}

/* What has to stay because it was altered does not crowd out what has not. */
static bool is_too_large(const struct db *db, uint64_t size, uint64_t max_size_bytes)
{
	uint64_t stay = refused_count(&db->refused);
	double share = db->records ? (double)stay / (double)db->records : 0;

	return (double)size > (double)max_size_bytes * (1 + (share < 1 ? share : 1));
}

int prune_by_size(struct db *db, int64_t now_ns, uint64_t max_size_bytes, uint64_t *removed)
{
	_cleanup_free_ struct old *list = NULL;
	uint64_t size = 0;
	size_t n = 0, looked = 0;
	int r;

	while (max_size_bytes && looked < PRUNE_BATCH) {
		uint64_t tenth = db->records / 10 + 1;
		size_t most = PRUNE_BATCH - looked;

		r = size_bytes(db, &size);
		if (r)
			return r;
		if (!is_too_large(db, size, max_size_bytes))
			break;
		if (!list)
			list = calloc(PRUNE_BATCH, sizeof(*list));
		if (!list)
			return -ENOMEM;
		r = find_oldest(db, now_ns, tenth < most ? (size_t)tenth : most, list, &n);
		if (!r)
			r = remove_batch(db, list, n, "size", removed);
		if (r)
			return r;
		if (!n)
			break;
		looked += n;
	}
	r = shrink(db);
	return r ? r : looked == PRUNE_BATCH;
}
