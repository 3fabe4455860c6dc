/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "store/read.h"
#include "store/verify_priv.h"

int verify_bad(struct verifier *v, const char *finding, uint64_t seq, const char *fmt, ...)
{
	va_list ap;

	snprintf(v->res->finding, sizeof(v->res->finding), "%s", finding);
	v->res->first_bad_seq = seq;
	va_start(ap, fmt);
	vsnprintf(v->res->problem, sizeof(v->res->problem), fmt, ap);
	va_end(ap);
	return 1;
}

int verify_sql_error(struct verifier *v)
{
	int r = db_errno(sqlite3_errcode(v->sql));

	/* A database that is damaged as a file has been altered, whoever did it. */
	if (r == -EBADMSG)
		return verify_bad(v, "damaged", v->next,
			   "record %" PRIu64 ": the database is damaged here: %s", v->next,
			   sqlite3_errmsg(v->sql));
	return r;
}

int verify_prepare(struct verifier *v, const char *sql, sqlite3_stmt **ret)
{
	return sqlite3_prepare_v2(v->sql, sql, -1, ret, NULL) == SQLITE_OK ? 0 : verify_sql_error(v);
}

/* The chain has come to v->prev as the hash of this record. */
static void check_tail(struct verifier *v, uint64_t seq)
{
	if (seq == v->tail_seq && v->tail_hash && !strcmp(v->prev, v->tail_hash))
		v->tail_seen = true;
	if (v->has_end && seq == v->end.seq && !strcmp(v->prev, v->end.hash))
		v->end_seen = true;
}

static void count_gap(struct verifier *v, const struct pruned *p)
{
	uint64_t n = p->last - p->first + 1;

	v->gaps_used++;
	v->tail_in_gap |= v->tail_seq >= p->first && v->tail_seq < p->last && strcmp(p->why, "lost");
	if (!strcmp(p->why, "lost")) {
		v->res->lost += n;
		if (!v->lost.first)
			v->lost = *p;
	} else if (!strcmp(p->why, "aside")) {
		v->res->aside += n;
	} else {
		v->res->pruned += n;
	}
}

/* Crosses a gap that begins at v->next, if one was signed. 0 crossed, 1 there is none or a bad
 * one, -errno. */
static int cross_gap(struct verifier *v, uint64_t seq)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	struct pruned p;
	int r = verify_prepare(v, "SELECT " PRUNED_COLUMNS " FROM pruned WHERE first=?", &s), step;

	if (r)
		return r;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)v->next);
	step = sqlite3_step(s);
	if (step == SQLITE_DONE)
		return verify_bad(v, "removed", v->next,
			   seq - v->next == 1 ? "record %" PRIu64 " is missing"
					      : "records %" PRIu64 " to %" PRIu64
						" are missing",
			   v->next, seq - 1);
	if (step != SQLITE_ROW)
		return verify_sql_error(v);
	if (!pruned_read(s, v->public, &p))
		return verify_bad(v, "altered", v->next,
			   "records from %" PRIu64 " are missing: the signature of the "
			   "checkpoint that says why does not match",
			   v->next);
	if (p.last >= seq && !strcmp(p.prev, v->prev))
		return verify_bad(v, "altered", seq,
				  "record %" PRIu64 ": is there, though records %" PRIu64
				  " to %" PRIu64 " were removed, as is signed",
				  seq, p.first, p.last);
	if (p.last < p.first || strcmp(p.prev, v->prev))
		return verify_bad(v, "altered", v->next,
			   "records %" PRIu64 " to %" PRIu64 " are missing: the "
			   "checkpoint beside them does not fit",
			   v->next, seq - 1);
	v->next = p.last + 1;
	memcpy(v->prev, p.hash, sizeof(v->prev));
	count_gap(v, &p);
	check_tail(v, p.last);
	return 0;
}

/* A gap may be the last thing: the daemon signed it, and died before the next record. */
static int cross_last_gaps(struct verifier *v)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = verify_prepare(v, "SELECT 1 FROM pruned WHERE first=?", &s), step = SQLITE_ROW;

	while (!r && step == SQLITE_ROW) {
		sqlite3_reset(s);
		sqlite3_bind_int64(s, 1, (sqlite3_int64)v->next);
		step = sqlite3_step(s);
		if (step == SQLITE_ROW)
			r = cross_gap(v, UINT64_MAX);
		else if (step != SQLITE_DONE)
			r = verify_sql_error(v);
	}
	return r;
}

static int check_content(struct verifier *v, sqlite3_stmt *s, uint64_t seq, const char *json,
			 size_t len)
{
	json_error_t e;
	json_t *rec = json_loadb(json, len, JSON_REJECT_DUPLICATES, &e);
	const char *prev = json_string_value(json_object_get(rec, "prev")), *column;
	uint64_t said = (uint64_t)json_integer_value(json_object_get(rec, "seq"));
	int r = 0;

	if (!rec)
		r = verify_bad(v, "altered", seq, "record %" PRIu64 ": is no JSON object", seq);
	else if (said != seq)
		r = verify_bad(v, "altered", seq,
			"record %" PRIu64 ": reordered or duplicated, it was signed as "
			"record %" PRIu64,
			seq, said);
	else if (!prev || strcmp(prev, v->prev))
		r = verify_bad(v, "altered", seq, "record %" PRIu64 ": does not follow the record before it",
			seq);
	else if ((column = row_differing_column(s, rec)))
		r = verify_bad(v, "altered", seq, "record %" PRIu64 ": column %s differs from what was signed",
			seq, column);
	json_decref(rec);
	return r;
}

static int check_row(struct verifier *v, sqlite3_stmt *s)
{
	uint64_t seq = (uint64_t)sqlite3_column_int64(s, 0);
	bool text =
		sqlite3_column_type(s, 1) == SQLITE_TEXT; /* asked before it is converted */
	const char *json = (const char *)sqlite3_column_text(s, 1);
	size_t len = (size_t)sqlite3_column_bytes(s, 1);
	const void *sig = sqlite3_column_blob(s, 2);
	int r;

	while (v->next < seq && seq <= INT64_MAX) {
		r = cross_gap(v, seq);
		if (r)
			return r;
	}
	if (seq < 1 || seq > INT64_MAX)
		return verify_bad(v, "altered", v->next,
				  "record %" PRIu64 ": before it is one with the number %lld",
				  v->next, (long long)seq);
	if (seq != v->next)
		return verify_bad(v, "altered", seq, "record %" PRIu64 ": duplicated", seq);
	/* As it was stored: text, and its bytes are what the signature is about. */
	if (!json || !text || sqlite3_column_type(s, 2) != SQLITE_BLOB ||
	    sqlite3_column_bytes(s, 2) != RECORD_SIG_SIZE ||
	    crypto_sign_verify_detached(sig, (const uint8_t *)json, len, v->public))
		return verify_bad(v, "altered", seq,
			   "record %" PRIu64 ": signature does not match (altered, or signed "
			   "by another key)",
			   seq);
	r = check_content(v, s, seq, json, len);
	if (r)
		return r;
	record_hash(json, len, sig, v->prev);
	v->next = seq + 1;
	v->last_record = seq;
	if (!v->first_record)
		v->first_record = seq;
	v->res->checked++;
	check_tail(v, seq);
	return 0;
}

static int check_records(struct verifier *v)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = verify_prepare(v,
		    "SELECT " ROW_COLUMNS " FROM events ORDER BY seq",
		    &s),
	    step;

	if (r)
		return r;
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		r = check_row(v, s);
		if (r)
			return r;
	}
	return step == SQLITE_DONE ? cross_last_gaps(v) : verify_sql_error(v);
}

/* What stands outside the database and knows how far it went. That a database ends early and is
 * whole in itself is what a disk leaves that lost its last writes, and what an older copy is. */
static int check_against(struct verifier *v, uint64_t last, uint64_t seq, const char *what)
{
	/* A record that was removed since, as signed: nothing is left to compare it with. */
	v->res->head_checked = !v->tail_in_gap;
	if (v->tail_seen || v->tail_in_gap || !seq)
		return 0;
	if (seq > last)
		return verify_bad(v, "ends-early", last + 1,
			   "records %" PRIu64 " to %" PRIu64 " are missing at the end, "
			   "%s knows of them: power was lost, or an older copy put back; what is "
			   "there is not altered",
			   last + 1, seq, what);
	return verify_bad(v, "altered", seq, "record %" PRIu64 ": is not the one that %s knows", seq,
		   what);
}

/* Signed by the daemon when it found its database behind its head: known, and still missing. */
static int check_lost(struct verifier *v)
{
	char when[RFC3339_SIZE];

	if (!v->lost.first)
		return 0;
	if (!zone_rfc3339(NULL, v->lost.time_ns, false, when, sizeof(when)))
		strcpy(when, "?");
	return verify_bad(v, "lost", v->lost.first,
		   "records %" PRIu64 " to %" PRIu64 " are missing: the daemon found and signed at "
		   "%s that the database ended before them (power was lost, or an older copy put "
		   "back); nothing else is altered",
		   v->lost.first, v->lost.last, when);
}

/* "DIR/oknek.db" → "DIR/name" */
static int beside(const char *db_path, const char *name, char buf[PATH_MAX])
{
	const char *slash = strrchr(db_path, '/');
	int dir = slash ? (int)(slash - db_path) + 1 : 0;

	return snprintf(buf, PATH_MAX, "%.*s%s", dir, db_path, name) < PATH_MAX
		       ? 0
		       : -ENAMETOOLONG;
}

/* A state directory has a head: the daemon makes it before the first record. */
static bool is_state_dir(const char *db_path)
{
	char key[PATH_MAX];

	return !beside(db_path, "host.key", key) && access(key, F_OK) == 0;
}

static int check_heads(struct verifier *v, const struct store_head *head, int h, bool live,
		       uint64_t expect_seq, const char *expect_hash)
{
	uint64_t last = v->next - 1;
	int r;

	if (expect_hash) {
		r = check_against(v, last, expect_seq, "the given head");
		/* The signed head beside it counts too, but only its number can be compared twice. */
		if (!r && !h && head->seq > last)
			return verify_bad(v, "ends-early", last + 1,
				   "records %" PRIu64 " to %" PRIu64 " are missing at the end, "
				   "the signed head knows of them",
				   last + 1, head->seq);
		return r;
	}
	if (h == -EBADMSG)
		return verify_bad(v, "head", last ? last : 1,
			   "after record %" PRIu64 ": the signed head beside the database was "
			   "altered, or is signed by another key",
			   last);
	if (h == -ENOENT && live && v->last_record)
		return verify_bad(v, "head", last ? last : 1,
			   "after record %" PRIu64 ": the signed head beside the database is "
			   "missing",
			   last);
	return h ? 0 : check_against(v, last, head->seq, "the signed head");
}

static int verify_all(struct verifier *v, const char *db_path, const char *head_path,
		      bool head_required, uint64_t expect_seq, const char *expect_hash)
{
	struct store_head head = {0};
	int h = head_read(AT_FDCWD, head_path, v->public, &head), r;
	int64_t version;

	if (h && h != -EBADMSG && (head_required || h != -ENOENT))
		return h;
	/* One snapshot; the head is older than it, or the same. */
	if (sqlite3_exec(v->sql, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		return verify_sql_error(v);

	v->tail_seq = expect_hash ? expect_seq : head.seq;
	v->tail_hash = expect_hash ? expect_hash : head.hash;
	r = verify_read_meta(v, &version);
	if (r)
		return r;
	check_tail(v, 0);
	r = check_records(v);
	v->res->last_seq = v->next - 1;
	memcpy(v->res->last_hash, v->prev, sizeof(v->prev));
	if (!r)
		r = verify_check_gaps(v);
	if (!r)
		r = verify_check_retention(v);
	if (!r)
		r = verify_check_schema(v);
	if (!r)
		r = verify_check_end(v);
	if (!r)
		r = check_heads(v, &head, h, is_state_dir(db_path), expect_seq, expect_hash);
	if (!r)
		r = check_lost(v);
	return r;
}

/* Without a key that is one, the first record is the first that does not hold. */
static int no_key(struct verifier *v, const char *key_path)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = verify_prepare(v, "SELECT min(seq) FROM events", &s);
	uint64_t first;

	if (r)
		return r;
	first = sqlite3_step(s) == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s, 0) : 0;
	return verify_bad(v, "key", first,
		   "record %" PRIu64 ": cannot be verified, %.100s holds no public key", first,
		   key_path);
}

int store_verify(const char *db_path, const char *key_path, const char *head_path,
		 uint64_t expect_seq, const char *expect_hash, struct store_verify_result *ret)
{
	_cleanup_(read_close) sqlite3 *sql = NULL;
	struct store_verify_result res = {0};
	struct verifier v = {.res = &res, .next = 1};
	char key_buf[PATH_MAX], head_buf[PATH_MAX];
	int k, r;

	if (sodium_init() < 0)
		return -EIO;
	if (beside(db_path, "host.pub", key_buf) || beside(db_path, "head", head_buf))
		return -ENAMETOOLONG;
	if (!key_path)
		key_path = key_buf;
	k = key_read_public(key_path, v.public, res.key_fingerprint);
	if (k && k != -EBADMSG)
		return k;
	memset(v.prev, '0', RECORD_HASH_HEX);
	r = read_open(db_path, &sql);
	if (r == -EBADMSG) {
		r = verify_bad(&v, "damaged", 1, "record 1: the file is no database any more");
	} else if (!r) {
		v.sql = sql;
		r = k ? no_key(&v, key_path)
		      : verify_all(&v, db_path, head_path ? head_path : head_buf,
				   head_path != NULL, expect_seq, expect_hash);
	}
	if (r >= 0)
		*ret = res;
	return r;
}
