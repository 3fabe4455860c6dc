/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/read.h"
#include "store/store.h"

static void bind_text(sqlite3_stmt *s, const char *name, const char *value)
{
	sqlite3_bind_text(s, sqlite3_bind_parameter_index(s, name), value, -1,
			  SQLITE_TRANSIENT);
}

static void bind_int(sqlite3_stmt *s, const char *name, int64_t value)
{
	sqlite3_bind_int64(s, sqlite3_bind_parameter_index(s, name), value);
}

/* One statement for all filters: a parameter that is NULL asks nothing. */
static const char query_sql[] =
	"SELECT seq,json,sig FROM (SELECT seq,json,sig FROM events WHERE seq>:since"
	" AND (:time IS NULL OR time_ns>=:time)"
	" AND (:rule IS NULL OR rule=:rule) AND (:part IS NULL OR part=:part)"
	" AND (:verdict IS NULL OR verdict=:verdict)"
	" AND (:pid IS NULL OR pid=:pid) AND (:agent IS NULL OR agent=:agent)"
	" AND (:uid IS NULL OR uid=:uid)"
	" ORDER BY seq DESC LIMIT :limit) ORDER BY seq";

/* Without a limit the newest need not be found first, and nothing is sorted. */
static const char query_all_sql[] =
	"SELECT seq,json,sig FROM events WHERE seq>:since"
	" AND (:time IS NULL OR time_ns>=:time)"
	" AND (:rule IS NULL OR rule=:rule) AND (:part IS NULL OR part=:part)"
	" AND (:verdict IS NULL OR verdict=:verdict)"
	" AND (:pid IS NULL OR pid=:pid) AND (:agent IS NULL OR agent=:agent)"
	" AND (:uid IS NULL OR uid=:uid) ORDER BY seq";

static int bind_filter(sqlite3_stmt *s, const struct store_filter *f)
{
	const char *slash = f->rule ? strchr(f->rule, '/') : NULL;
	char id[64];

	bind_int(s, ":since", f->since_seq > INT64_MAX ? INT64_MAX : (int64_t)f->since_seq);
	if (f->since_unix_s > 0)
		bind_int(s, ":time",
			 f->since_unix_s < INT64_MAX / (int64_t)NSEC_PER_SEC
				 ? f->since_unix_s * (int64_t)NSEC_PER_SEC
				 : INT64_MAX);
	if (f->rule) {
		size_t n = slash ? (size_t)(slash - f->rule) : strlen(f->rule);

		if (n >= sizeof(id))
			return -EINVAL;
		memcpy(id, f->rule, n);
		id[n] = '\0';
		bind_text(s, ":rule", id);
		if (slash)
			bind_text(s, ":part", slash + 1);
	}
	if (f->verdict)
		bind_text(s, ":verdict", f->verdict);
	if (f->pid)
		bind_int(s, ":pid", f->pid);
	if (f->agent)
		bind_text(s, ":agent", f->agent);
	if (f->has_uid)
		bind_int(s, ":uid", f->uid);
	if (f->limit)
		bind_int(s, ":limit", f->limit);
	return 0;
}

int store_query(const char *db_path, const struct store_filter *f,
		int (*fn)(void *arg, uint64_t seq, const char *json), void *arg)
{
	_cleanup_(read_close) sqlite3 *sql = NULL;
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	_cleanup_(text_free) struct text t = {0};
	int r = read_open(db_path, &sql), step;

	if (r)
		return r;
	if (sqlite3_prepare_v2(sql, f->limit ? query_sql : query_all_sql, -1, &s, NULL) !=
	    SQLITE_OK)
		return db_errno(sqlite3_errcode(sql));
	r = bind_filter(s, f);
	while (!r && (step = sqlite3_step(s)) != SQLITE_DONE) {
		if (step != SQLITE_ROW)
			return db_errno(step);
		text_clear(&t);
		if (sqlite3_column_bytes(s, 2) != RECORD_SIG_SIZE ||
		    !sqlite3_column_text(s, 1))
			return -EBADMSG;
		r = record_with_sig((const char *)sqlite3_column_text(s, 1),
				    (size_t)sqlite3_column_bytes(s, 1),
				    sqlite3_column_blob(s, 2), &t);
		if (!r)
			r = fn(arg, (uint64_t)sqlite3_column_int64(s, 0), t.p);
	}
	return r;
}
