/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/read.h"
#include "store/store.h"

struct verifier {
	sqlite3 *sql;
	uint8_t public[32];
	struct store_verify_result *res;
	uint64_t next; /* number that must come now */
	char prev[RECORD_HASH_HEX + 1];
	unsigned gaps_used;
	/* what the tail must agree with: (seq, hash), or seq 0 */
	uint64_t tail_seq;
	const char *tail_hash;
	bool tail_seen;
};

__attribute__((format(printf, 3, 4))) static int bad(struct verifier *v, uint64_t seq,
						     const char *fmt, ...)
{
	va_list ap;

	v->res->first_bad_seq = seq;
	va_start(ap, fmt);
	vsnprintf(v->res->problem, sizeof(v->res->problem), fmt, ap);
	va_end(ap);
	return 1;
}

static int sql_error(struct verifier *v)
{
	int r = db_errno(sqlite3_errcode(v->sql));

	/* A database that is damaged as a file has been altered, whoever did it. */
	if (r == -EBADMSG)
		return bad(v, v->next, "record %" PRIu64 ": the database is damaged here: %s",
			   v->next, sqlite3_errmsg(v->sql));
	return r;
}

static int prepare(struct verifier *v, const char *sql, sqlite3_stmt **ret)
{
	return sqlite3_prepare_v2(v->sql, sql, -1, ret, NULL) == SQLITE_OK ? 0 : sql_error(v);
}

static void check_tail(struct verifier *v, uint64_t seq)
{
	if (seq == v->tail_seq && v->tail_hash && !strcmp(v->prev, v->tail_hash))
		v->tail_seen = true;
}

/* Crosses a gap that begins at v->next, if one was signed. 0 crossed, 1 there is none or a bad
 * one, -errno. */
static int cross_gap(struct verifier *v, uint64_t seq)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	struct pruned p;
	int r = prepare(v, "SELECT " PRUNED_COLUMNS " FROM pruned WHERE first=?", &s), step;

	if (r)
		return r;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)v->next);
	step = sqlite3_step(s);
	if (step == SQLITE_DONE)
		return bad(v, v->next,
			   seq - v->next == 1 ? "record %" PRIu64 " is missing"
					      : "records %" PRIu64 " to %" PRIu64
						" are missing",
			   v->next, seq - 1);
	if (step != SQLITE_ROW)
		return sql_error(v);
	if (!pruned_read(s, v->public, &p))
		return bad(v, v->next,
			   "records from %" PRIu64 " are missing: the signature of the "
			   "checkpoint that says why does not match",
			   v->next);
	if (p.last < p.first || p.last >= seq || strcmp(p.prev, v->prev))
		return bad(v, v->next,
			   "records %" PRIu64 " to %" PRIu64 " are missing: the "
			   "checkpoint beside them does not fit",
			   v->next, seq - 1);
	v->next = p.last + 1;
	memcpy(v->prev, p.hash, sizeof(v->prev));
	v->gaps_used++;
	check_tail(v, p.last);
	return 0;
}

static bool same_text(sqlite3_stmt *s, int column, const json_t *value)
{
	int type = sqlite3_column_type(s, column);
	const char *text = (const char *)sqlite3_column_text(s, column);

	if (!json_is_string(value))
		return type == SQLITE_NULL;
	return text && type == SQLITE_TEXT && !strcmp(text, json_string_value(value));
}

static bool same_number(sqlite3_stmt *s, int column, const json_t *value)
{
	if (!json_is_integer(value))
		return sqlite3_column_type(s, column) == SQLITE_NULL;
	return sqlite3_column_type(s, column) == SQLITE_INTEGER &&
	       sqlite3_column_int64(s, column) == json_integer_value(value);
}

/* The columns beside the signed bytes say what these say. Names the first that does not. */
static const char *differing_column(sqlite3_stmt *s, const json_t *rec)
{
	const json_t *rule = json_object_get(rec, "rule");
	const json_t *process = json_object_get(rec, "process");
	const char *time = json_string_value(json_object_get(rec, "time"));
	int64_t time_ns;

	if (!time || rfc3339_parse(time, &time_ns) ||
	    sqlite3_column_type(s, 3) != SQLITE_INTEGER ||
	    sqlite3_column_int64(s, 3) != time_ns)
		return "time_ns";
	if (!same_text(s, 4, json_object_get(rule, "id")))
		return "rule";
	if (!same_text(s, 5, json_object_get(rule, "part")))
		return "part";
	if (!same_text(s, 6, json_object_get(rec, "verdict")))
		return "verdict";
	if (!same_text(s, 7, json_object_get(json_object_get(rec, "agent"), "id")))
		return "agent";
	if (!same_number(s, 8, json_object_get(process, "uid")))
		return "uid";
	if (!same_number(s, 9, json_object_get(process, "pid")))
		return "pid";
	return NULL;
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
		r = bad(v, seq, "record %" PRIu64 ": is no JSON object", seq);
	else if (said != seq)
		r = bad(v, seq,
			"record %" PRIu64 ": reordered or duplicated, it was signed as "
			"record %" PRIu64,
			seq, said);
	else if (!prev || strcmp(prev, v->prev))
		r = bad(v, seq, "record %" PRIu64 ": does not follow the record before it",
			seq);
	else if ((column = differing_column(s, rec)))
		r = bad(v, seq, "record %" PRIu64 ": column %s differs from what was signed",
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

	while (v->next < seq) {
		r = cross_gap(v, seq);
		if (r)
			return r;
	}
	if (seq != v->next)
		return bad(v, seq, "record %" PRIu64 ": duplicated", seq);
	/* As it was stored: text, and its bytes are what the signature is about. */
	if (!json || !text || sqlite3_column_bytes(s, 2) != RECORD_SIG_SIZE ||
	    crypto_sign_verify_detached(sig, (const uint8_t *)json, len, v->public))
		return bad(v, seq,
			   "record %" PRIu64 ": signature does not match (altered, or signed "
			   "by another key)",
			   seq);
	r = check_content(v, s, seq, json, len);
	if (r)
		return r;
	record_hash(json, len, sig, v->prev);
	v->next = seq + 1;
	v->res->checked++;
	check_tail(v, seq);
	return 0;
}

static int check_records(struct verifier *v)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = prepare(
		    v,
		    "SELECT seq,json,sig,time_ns,rule,part,verdict,agent,uid,pid FROM events"
		    " ORDER BY seq",
		    &s),
	    step;

	if (r)
		return r;
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		r = check_row(v, s);
		if (r)
			return r;
	}
	return step == SQLITE_DONE ? 0 : sql_error(v);
}

/* Rows beside the records: each is signed, each belongs to something. */
static int check_rest(struct verifier *v)
{
	_cleanup_(db_finalize) sqlite3_stmt *gaps = NULL, *kept = NULL, *without = NULL;
	unsigned n = 0;
	int r, step;

	r = prepare(v, "SELECT " PRUNED_COLUMNS " FROM pruned ORDER BY first", &gaps);
	if (!r)
		r = prepare(v, "SELECT " RETENTION_COLUMNS " FROM retention", &kept);
	if (!r)
		r = prepare(
			v,
			"SELECT min(seq),rule,part FROM events e WHERE NOT EXISTS (SELECT 1"
			" FROM retention r WHERE r.rule=e.rule AND r.part=e.part)"
			" GROUP BY rule,part LIMIT 1",
			&without);
	if (r)
		return r;
	while ((step = sqlite3_step(gaps)) == SQLITE_ROW) {
		struct pruned p;

		if (!pruned_read(gaps, v->public, &p) || ++n > v->gaps_used)
			return bad(v, p.first,
				   "checkpoint for records %" PRIu64 " to %" PRIu64
				   " is not ours",
				   p.first, p.last);
	}
	while (step == SQLITE_DONE && (step = sqlite3_step(kept)) == SQLITE_ROW) {
		if (!retention_is_signed(kept, v->public))
			return bad(v, 0, "retention of rule %s/%s: signature does not match",
				   (const char *)sqlite3_column_text(kept, 0),
				   (const char *)sqlite3_column_text(kept, 1));
		step = SQLITE_DONE;
	}
	if (step == SQLITE_DONE && (step = sqlite3_step(without)) == SQLITE_ROW)
		return bad(v, (uint64_t)sqlite3_column_int64(without, 0),
			   "retention of rule %s/%s is missing",
			   (const char *)sqlite3_column_text(without, 1),
			   (const char *)sqlite3_column_text(without, 2));
	return step == SQLITE_DONE ? 0 : sql_error(v);
}

/* What stands outside the database and knows how far it went. */
static int check_against(struct verifier *v, uint64_t last, uint64_t seq, const char *what)
{
	v->res->head_checked = true;
	if (v->tail_seen || !seq)
		return 0;
	if (seq > last)
		return bad(v, last + 1,
			   "records %" PRIu64 " to %" PRIu64 " are missing at the end, "
			   "%s knows of them",
			   last + 1, seq, what);
	return bad(v, seq, "record %" PRIu64 ": is not the one that %s knows", seq, what);
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

static int verify_all(struct verifier *v, const char *head_path, bool head_required,
		      uint64_t expect_seq, const char *expect_hash)
{
	struct store_head head = {0};
	int h = head_read(AT_FDCWD, head_path, v->public, &head), r;
	uint64_t last;

	if (h && h != -EBADMSG && (head_required || h != -ENOENT))
		return h;
	/* One snapshot; the head is older than it, or the same. */
	if (sqlite3_exec(v->sql, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		return sql_error(v);

	v->tail_seq = expect_hash ? expect_seq : head.seq;
	v->tail_hash = expect_hash ? expect_hash : head.hash;
	r = check_records(v);
	last = v->next - 1;
	v->res->last_seq = last;
	memcpy(v->res->last_hash, v->prev, sizeof(v->prev));
	if (!r)
		r = check_rest(v);
	if (r)
		return r;
	if (expect_hash)
		r = check_against(v, last, expect_seq, "the given head");
	/* The signed head beside it counts too, but only its number can be compared twice. */
	if (!r && expect_hash && !h && head.seq > last)
		return bad(v, last + 1,
			   "records %" PRIu64 " to %" PRIu64 " are missing at the end, "
			   "the signed head knows of them",
			   last + 1, head.seq);
	if (!r && !expect_hash && h == -EBADMSG)
		return bad(v, last,
			   "the signed head beside the database was altered, or is signed "
			   "by another key");
	if (!r && !expect_hash && !h)
		r = check_against(v, last, head.seq, "the signed head");
	return r;
}

int store_verify(const char *db_path, const char *key_path, const char *head_path,
		 uint64_t expect_seq, const char *expect_hash, struct store_verify_result *ret)
{
	_cleanup_(read_close) sqlite3 *sql = NULL;
	struct store_verify_result res = {0};
	struct verifier v = {.res = &res, .next = 1};
	char key_buf[PATH_MAX], head_buf[PATH_MAX];
	int r;

	if (sodium_init() < 0)
		return -EIO;
	if (beside(db_path, "host.pub", key_buf) || beside(db_path, "head", head_buf))
		return -ENAMETOOLONG;
	r = key_read_public(key_path ? key_path : key_buf, v.public, res.key_fingerprint);
	if (r)
		return r;
	memset(v.prev, '0', RECORD_HASH_HEX);
	r = read_open(db_path, &sql);
	if (r == -EBADMSG) {
		snprintf(res.problem, sizeof(res.problem), "the file is no database any more");
		r = 1;
	} else if (!r) {
		v.sql = sql;
		r = verify_all(&v, head_path ? head_path : head_buf, head_path != NULL,
			       expect_seq, expect_hash);
	}
	if (r >= 0)
		*ret = res;
	return r;
}
