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

#define PRUNE_BATCH 5000 /* records removed in one transaction */
#define FREE_PAGES_MAX 64 /* that are kept for what comes */

/* The signed bytes of each kind of row: canonical objects whose keys differ from one another and
 * from those of a record and of the head, so that no signature can stand in for another. */
static void retention_text(struct text *t, const char *rule, const char *part,
			   uint64_t retain_s)
{
	text_puts(t, "{\"part\":");
	text_json(t, part, strlen(part));
	text_puts(t, ",\"retain_s\":");
	text_int(t, (int64_t)retain_s);
	text_puts(t, ",\"rule\":");
	text_json(t, rule, strlen(rule));
	text_puts(t, ",\"v\":1}");
}

static void pruned_text(struct text *t, const struct pruned *p)
{
	char buf[400];

	snprintf(buf, sizeof(buf),
		 "{\"first\":%" PRIu64 ",\"hash\":\"%s\",\"last\":%" PRIu64 ",\"prev\":\"%s\","
		 "\"time_ns\":%" PRId64 ",\"v\":1,\"why\":\"%s\"}",
		 p->first, p->hash, p->last, p->prev, p->time_ns, p->why);
	text_puts(t, buf);
}

static bool is_signed(const struct text *t, sqlite3_stmt *s, int column,
		      const uint8_t public[32])
{
	return !t->failed && sqlite3_column_type(s, column) == SQLITE_BLOB &&
	       sqlite3_column_bytes(s, column) == RECORD_SIG_SIZE &&
	       !crypto_sign_verify_detached(sqlite3_column_blob(s, column),
					    (const uint8_t *)t->p, t->n, public);
}

static const char *column_text(sqlite3_stmt *s, int i)
{
	const char *p = (const char *)sqlite3_column_text(s, i);

	return p ? p : "";
}

bool retention_is_signed(sqlite3_stmt *s, const uint8_t public[32])
{
	_cleanup_(text_free) struct text t = {0};

	if (sqlite3_column_type(s, 0) != SQLITE_TEXT || sqlite3_column_type(s, 1) != SQLITE_TEXT ||
	    sqlite3_column_type(s, 2) != SQLITE_INTEGER)
		return false;
	retention_text(&t, column_text(s, 0), column_text(s, 1),
		       (uint64_t)sqlite3_column_int64(s, 2));
	return is_signed(&t, s, 3, public);
}

bool pruned_read(sqlite3_stmt *s, const uint8_t public[32], struct pruned *ret)
{
	_cleanup_(text_free) struct text t = {0};
	bool sound = sqlite3_column_type(s, 1) == SQLITE_INTEGER;
	struct pruned p = {
		.first = (uint64_t)sqlite3_column_int64(s, 0),
		.last = (uint64_t)sqlite3_column_int64(s, 1),
		.time_ns = sqlite3_column_int64(s, 4),
	};

	for (int i = 2; i < 6; i++)
		sound = sound && sqlite3_column_type(s, i) ==
					 (i == 4 ? SQLITE_INTEGER : SQLITE_TEXT);
	/* Not what is left of something longer. */
	sound = sound && sqlite3_column_bytes(s, 2) < (int)sizeof(p.prev) &&
		sqlite3_column_bytes(s, 3) < (int)sizeof(p.hash) &&
		sqlite3_column_bytes(s, 5) < (int)sizeof(p.why);
	snprintf(p.prev, sizeof(p.prev), "%s", column_text(s, 2));
	snprintf(p.hash, sizeof(p.hash), "%s", column_text(s, 3));
	snprintf(p.why, sizeof(p.why), "%s", column_text(s, 5));
	pruned_text(&t, &p);
	*ret = p;
	return sound && is_signed(&t, s, 6, public);
}

int prune_retention_set(struct db *db, const char *rule, const char *part, uint64_t retain_s)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	_cleanup_(text_free) struct text t = {0};
	uint8_t sig[RECORD_SIG_SIZE];
	int r;

	if (retain_s > INT64_MAX / NSEC_PER_SEC)
		retain_s = INT64_MAX / NSEC_PER_SEC; /* three centuries */
	retention_text(&t, rule, part, retain_s);
	if (t.failed)
		return -ENOMEM;
	crypto_sign_detached(sig, NULL, (const uint8_t *)t.p, t.n, db->key->secret);
	r = db_prepare(db,
		       "INSERT OR REPLACE INTO retention(" RETENTION_COLUMNS ")"
		       " VALUES(?,?,?,?)",
		       &s);
	if (r)
		return r;
	sqlite3_bind_text(s, 1, rule, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, part, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 3, (sqlite3_int64)retain_s);
	sqlite3_bind_blob(s, 4, sig, sizeof(sig), SQLITE_STATIC);
	return sqlite3_step(s) == SQLITE_DONE ? 0 : db_error(db, DB_FILE);
}

/* Takes a neighbour of p into it, if it is there and its signature holds: joining must not make a
 * forged one good. Nor must what is lost pass for what was removed as it should be: it stays by
 * itself until the record that tells of it, which comes next, has grown old too. */
static int join(struct db *db, const char *where, uint64_t seq, struct pruned *p)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL, *del = NULL;
	struct pruned other;
	char sql[128];
	int r, step;

	snprintf(sql, sizeof(sql), "SELECT " PRUNED_COLUMNS " FROM pruned WHERE %s=?", where);
	r = db_prepare(db, sql, &s);
	if (r)
		return r;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)seq);
	step = sqlite3_step(s);
	if (step == SQLITE_DONE)
		return 0;
	if (step != SQLITE_ROW)
		return db_error(db, DB_FILE);
	if (!pruned_read(s, db->key->public, &other))
		return 0;
	if (strcmp(other.why, p->why) && (!strcmp(p->why, "lost") ||
					  (!strcmp(other.why, "lost") && other.first > p->last)))
		return 0;
	if (other.last + 1 == p->first) {
		p->first = other.first;
		memcpy(p->prev, other.prev, sizeof(p->prev));
	} else {
		p->last = other.last;
		memcpy(p->hash, other.hash, sizeof(p->hash));
	}
	if (!strcmp(other.why, p->why) && other.time_ns > p->time_ns)
		p->time_ns = other.time_ns;
	r = db_prepare(db, "DELETE FROM pruned WHERE first=?", &del);
	if (r)
		return r;
	sqlite3_bind_int64(del, 1, (sqlite3_int64)other.first);
	return sqlite3_step(del) == SQLITE_DONE ? 0 : db_error(db, DB_FILE);
}

int prune_mark(struct db *db, const struct pruned *given)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	_cleanup_(text_free) struct text t = {0};
	uint8_t sig[RECORD_SIG_SIZE];
	struct pruned p = *given;
	uint64_t first;
	int r;

	do {
		first = p.first;
		r = join(db, "last", p.first - 1, &p);
	} while (!r && p.first != first);
	if (!r)
		r = join(db, "first", p.last + 1, &p);
	if (r)
		return r;
	pruned_text(&t, &p);
	if (t.failed)
		return -ENOMEM;
	crypto_sign_detached(sig, NULL, (const uint8_t *)t.p, t.n, db->key->secret);
	r = db_prepare(db, "INSERT INTO pruned(" PRUNED_COLUMNS ") VALUES(?,?,?,?,?,?,?)", &s);
	if (r)
		return r;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)p.first);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)p.last);
	sqlite3_bind_text(s, 3, p.prev, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 4, p.hash, -1, SQLITE_STATIC);
	sqlite3_bind_int64(s, 5, p.time_ns);
	sqlite3_bind_text(s, 6, p.why, -1, SQLITE_STATIC);
	sqlite3_bind_blob(s, 7, sig, sizeof(sig), SQLITE_STATIC);
	return sqlite3_step(s) == SQLITE_DONE ? 0 : db_error(db, DB_FILE);
}

/* The hash before a record, as its own bytes tell; at the top level `,"prev":"` comes last. */
static int read_prev(const char *json, size_t len, char hex[RECORD_HASH_HEX + 1])
{
	static const char key[] = ",\"prev\":\"";
	size_t n = sizeof(key) - 1, at = len;

	while (at && (len - at < n + RECORD_HASH_HEX || memcmp(json + at, key, n)))
		at--;
	if (!at)
		return -EBADMSG;
	memcpy(hex, json + at + n, RECORD_HASH_HEX);
	hex[RECORD_HASH_HEX] = '\0';
	return 0;
}

/* Extends the run with the record in the row (seq, json, sig), which is as new as time_ns, after
 * marking the run before if it is no neighbour. */
static int add_to_run(struct db *db, sqlite3_stmt *s, int64_t time_ns, struct pruned *run)
{
	uint64_t seq = (uint64_t)sqlite3_column_int64(s, 0);
	const char *json = column_text(s, 1);
	size_t len = (size_t)sqlite3_column_bytes(s, 1);
	int r = 0;

	if (sqlite3_column_bytes(s, 2) != RECORD_SIG_SIZE)
		return -EBADMSG;
	if (run->first && run->last + 1 != seq) {
		r = prune_mark(db, run);
		run->first = 0;
	}
	if (!r && !run->first) {
		run->first = seq;
		run->time_ns = time_ns;
		r = read_prev(json, len, run->prev);
	}
	if (time_ns > run->time_ns)
		run->time_ns = time_ns;
	run->last = seq;
	record_hash(json, len, sqlite3_column_blob(s, 2), run->hash);
	return r;
}

struct old {
	uint64_t seq;
	int64_t time_ns; /* how new it is */
};

/* Removes these, ascending, in one transaction. */
static int remove_listed(struct db *db, const struct old *list, size_t n, struct pruned *run)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL, *del = NULL;
	int r = db_prepare(db, "SELECT seq,json,sig FROM events WHERE seq=?", &s);

	if (!r)
		r = db_prepare(db, "DELETE FROM events WHERE seq=?", &del);
	for (size_t i = 0; !r && i < n; i++) {
		sqlite3_bind_int64(s, 1, (sqlite3_int64)list[i].seq);
		sqlite3_bind_int64(del, 1, (sqlite3_int64)list[i].seq);
		if (sqlite3_step(s) != SQLITE_ROW)
			return db_error(db, DB_FILE);
		r = add_to_run(db, s, list[i].time_ns, run);
		sqlite3_reset(s);
		if (!r && sqlite3_step(del) != SQLITE_DONE)
			return db_error(db, DB_FILE);
		sqlite3_reset(del);
		fault(FAULT_PRUNE);
	}
	if (!r && run->first)
		r = prune_mark(db, run);
	return r;
}

static int remove_batch(struct db *db, const struct old *list, size_t n, const char *why)
{
	struct pruned run = {0};
	int r;

	if (!n)
		return 0;
	snprintf(run.why, sizeof(run.why), "%s", why);
	r = db_begin(db, false);
	if (!r)
		r = remove_listed(db, list, n, &run);
	if (!r)
		r = db_commit(db);
	if (r)
		db_rollback(db);
	else
		db->records -= n;
	return r;
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

/* How new what was there before record seq is, as the checkpoints say; *gaps is at the first that
 * is not before it. */
static int64_t pass_gaps(sqlite3_stmt *gaps, bool *more, uint64_t seq)
{
	int64_t newest = 0;

	while (*more && (uint64_t)sqlite3_column_int64(gaps, 0) < seq) {
		if (sqlite3_column_int64(gaps, 1) > newest)
			newest = sqlite3_column_int64(gaps, 1);
		*more = sqlite3_step(gaps) == SQLITE_ROW;
	}
	return newest;
}

/*
 * The oldest records that are older than they are to be kept, at most PRUNE_BATCH. What a record
 * says itself is by a clock that may have been set: a time that the store has not seen yet is no
 * time; and a record is not older than what was there before it, be it removed by now. So how new
 * they are ascends with their numbers, and nothing needs to be read beyond what is new enough.
 */
static int find_old(struct db *db, int64_t now_ns, struct old *list, size_t *ret)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL, *gaps = NULL;
	int64_t newest = 0, shortest;
	int r, step = SQLITE_DONE;
	size_t n = 0;
	bool more;

	r = db_number(db, "SELECT min(retain_s) FROM retention", &shortest);
	if (!r)
		r = db_prepare(db,
			       "SELECT last,time_ns FROM pruned WHERE why IN ('retention','size')"
			       " ORDER BY first",
			       &gaps);
	if (!r)
		r = db_prepare(db,
			       "SELECT e.seq,e.time_ns,r.retain_s FROM events e LEFT JOIN retention r"
			       " ON r.rule=e.rule AND r.part=e.part WHERE e.seq<" NEWEST
			       " ORDER BY e.seq",
			       &s);
	if (r)
		return r;
	more = sqlite3_step(gaps) == SQLITE_ROW;
	while (n < PRUNE_BATCH && (step = sqlite3_step(s)) == SQLITE_ROW) {
		uint64_t seq = (uint64_t)sqlite3_column_int64(s, 0);
		int64_t t = sqlite3_column_int64(s, 1), before = pass_gaps(gaps, &more, seq);

		if (before > newest && before <= now_ns)
			newest = before;
		if (t > newest && t <= now_ns)
			newest = t;
		if (newest >= now_ns - shortest * (int64_t)NSEC_PER_SEC)
			break;
		if (newest && sqlite3_column_type(s, 2) == SQLITE_INTEGER &&
		    newest < now_ns - sqlite3_column_int64(s, 2) * (int64_t)NSEC_PER_SEC)
			list[n++] = (struct old){ seq, newest };
	}
	if (n < PRUNE_BATCH && step != SQLITE_ROW && step != SQLITE_DONE)
		return db_error(db, DB_FILE);
	*ret = n;
	return 0;
}

static int find_oldest(struct db *db, int64_t now_ns, struct old *list, size_t *ret)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = db_prepare(db,
			   "SELECT seq,min(time_ns,?1) FROM events WHERE seq<" NEWEST
			   " ORDER BY seq LIMIT ?2",
			   &s),
	    step;
	uint64_t tenth = db->records / 10 + 1;
	size_t n = 0;

	if (r)
		return r;
	sqlite3_bind_int64(s, 1, now_ns);
	sqlite3_bind_int64(s, 2, tenth < PRUNE_BATCH ? (int64_t)tenth : PRUNE_BATCH);
	while ((step = sqlite3_step(s)) == SQLITE_ROW)
		list[n++] = (struct old){ (uint64_t)sqlite3_column_int64(s, 0),
					  sqlite3_column_int64(s, 1) };
	if (step != SQLITE_DONE)
		return db_error(db, DB_FILE);
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
	do {
		r = find_old(db, now_ns, list, &n);
		if (!r)
			r = remove_batch(db, list, n, "retention");
		if (r)
			return r;
		*removed += n;
	} while (n == PRUNE_BATCH);
	return 0;
}

/* Gives pages that are free back to the disk, some at a time. */
static int shrink(struct db *db)
{
	int64_t unused;
	int r = db_number(db, "PRAGMA freelist_count", &unused);

	return r || unused < FREE_PAGES_MAX ? r : db_exec(db, "PRAGMA incremental_vacuum(2000)");
}

int prune_by_size(struct db *db, int64_t now_ns, uint64_t max_size_bytes, uint64_t *removed)
{
	_cleanup_free_ struct old *list = NULL;
	uint64_t size = 0;
	size_t n = 0;
	int r;

	while (max_size_bytes) {
		r = size_bytes(db, &size);
		if (r)
			return r;
		if (size <= max_size_bytes)
			break;
		if (!list)
			list = calloc(PRUNE_BATCH, sizeof(*list));
		if (!list)
			return -ENOMEM;
		r = find_oldest(db, now_ns, list, &n);
		if (!r)
			r = remove_batch(db, list, n, "size");
		if (r)
			return r;
		if (!n)
			break;
		*removed += n;
	}
	return shrink(db);
}
