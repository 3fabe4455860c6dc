/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are signed themselves: how long records are kept, and checkpoints over what is gone. */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/db.h"

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
		sqlite3_column_bytes(s, 5) < (int)sizeof(p.why) && p.last <= RECORD_SEQ_MAX;
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
	/* An older one of ours that somebody put back does not lead to the next record. */
	if (strcmp(other.last < p->first ? other.hash : p->hash,
		   other.last < p->first ? p->prev : other.prev))
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
