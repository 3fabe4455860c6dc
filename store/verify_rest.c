/* SPDX-License-Identifier: Apache-2.0 */
/* What stands beside the records: each row is signed, each belongs to something. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/verify_priv.h"

/* Checkpoints that no gap of the chain called for. */
int verify_check_gaps(struct verifier *v)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	unsigned n = 0;
	int r = verify_prepare(v, "SELECT " PRUNED_COLUMNS " FROM pruned ORDER BY first", &s), step;

	if (r)
		return r;
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		struct pruned p;

		if (!pruned_read(s, v->public, &p) || ++n > v->gaps_used)
			return verify_bad(v, "altered", p.first,
				   "checkpoint for records %" PRIu64 " to %" PRIu64
				   " is not ours",
				   p.first, p.last);
	}
	return step == SQLITE_DONE ? 0 : verify_sql_error(v);
}

/* Each rule that has records has one, and each is signed. */
int verify_check_retention(struct verifier *v)
{
	_cleanup_(db_finalize) sqlite3_stmt *kept = NULL, *without = NULL;
	int r, step;

	r = verify_prepare(v,
			   "SELECT min(seq),rule,part FROM events e WHERE NOT EXISTS (SELECT 1"
			   " FROM retention r WHERE r.rule=e.rule AND r.part=e.part)"
			   " GROUP BY rule,part ORDER BY 1 LIMIT 1",
			   &without);
	if (!r)
		r = verify_prepare(v,
				   "SELECT " RETENTION_COLUMNS ",(SELECT min(seq) FROM events e"
				   " WHERE e.rule=r.rule AND e.part=r.part) FROM retention r",
				   &kept);
	if (r)
		return r;
	if ((step = sqlite3_step(without)) == SQLITE_ROW)
		return verify_bad(v, "altered", (uint64_t)sqlite3_column_int64(without, 0),
				  "record %lld: retention of its rule %s/%s is missing",
				  (long long)sqlite3_column_int64(without, 0),
				  (const char *)sqlite3_column_text(without, 1),
				  (const char *)sqlite3_column_text(without, 2));
	while (step == SQLITE_DONE && (step = sqlite3_step(kept)) == SQLITE_ROW) {
		uint64_t seq = (uint64_t)sqlite3_column_int64(kept, 4);

		if (!retention_is_signed(kept, v->public))
			return verify_bad(v, "altered", seq ? seq : v->first_record,
					  "record %" PRIu64 ": retention of rule %s/%s: signature "
					  "does not match",
					  seq ? seq : v->first_record,
					  (const char *)sqlite3_column_text(kept, 0),
					  (const char *)sqlite3_column_text(kept, 1));
		step = SQLITE_DONE;
	}
	return step == SQLITE_DONE ? 0 : verify_sql_error(v);
}

/* Things that are not ours, in the database of one that reads it. */
int verify_check_schema(struct verifier *v)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = verify_prepare(v,
			"SELECT type,name FROM sqlite_schema WHERE NOT (name LIKE 'sqlite\\_%'"
			" ESCAPE '\\' OR (type='table' AND name IN"
			" ('meta','events','retention','pruned','baseline')))"
			" UNION ALL SELECT 'column',m.name||'.'||c.name"
			" FROM sqlite_schema m,pragma_table_xinfo(m.name) c"
			" WHERE m.type='table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
			" AND m.name||'.'||c.name NOT IN ("
			"'meta.key','meta.value','meta.sig','events.seq','events.time_ns',"
			"'events.rule','events.part','events.verdict','events.agent','events.uid',"
			"'events.pid','events.json','events.sig','retention.rule','retention.part',"
			"'retention.retain_s','retention.sig','pruned.first','pruned.last',"
			"'pruned.prev','pruned.hash','pruned.time_ns','pruned.why','pruned.sig',"
			"'baseline.agent','baseline.day','baseline.feature','baseline.value',"
			"'baseline.n')"
			" UNION ALL SELECT 'row of','baseline' FROM baseline LIMIT 1",
			&s),
	    step;

	if (r)
		return r;
	step = sqlite3_step(s);
	if (step == SQLITE_ROW)
		return verify_bad(v, "altered", v->first_record ? v->first_record : 1,
				  "the database has a %s %s that oknek did not put there",
			   (const char *)sqlite3_column_text(s, 0),
			   (const char *)sqlite3_column_text(s, 1));
	return step == SQLITE_DONE ? 0 : verify_sql_error(v);
}

/* Before the records: where the database says that its chain ends. */
int verify_read_meta(struct verifier *v, int64_t *version)
{
	static const char *const wanted[] = { "end", "install_id", "key", "schema_version" };
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	unsigned seen = 0;
	int r = verify_prepare(v, "PRAGMA user_version", &s), step;

	if (r)
		return r;
	*version = sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
	if (*version < 1)
		return verify_bad(v, "damaged", 1, "record 1: the file is no database of oknek's any more");
	if (*version > DB_SCHEMA_VERSION)
		return -EPROTO;
	if (*version == 1) { /* no row of meta was signed then */
		sqlite3_finalize(s);
		s = NULL;
		r = verify_prepare(v, "SELECT 1 FROM pragma_table_info('meta') WHERE name='sig'", &s);
		if (!r && sqlite3_step(s) == SQLITE_ROW)
			r = verify_bad(v, "altered", 1, "record 1: the schema version was put back, "
				       "to have what says where the chain ends not looked at");
		return r;
	}
	sqlite3_finalize(s);
	s = NULL;
	r = verify_prepare(v, "SELECT key,value,sig FROM meta", &s);
	if (r)
		return r;
	while ((step = sqlite3_step(s)) == SQLITE_ROW) {
		bool fits = meta_is_signed(s, v->public); /* types, before they are converted */
		const char *key = (const char *)sqlite3_column_text(s, 0);
		const char *value = (const char *)sqlite3_column_text(s, 1);

		if (fits && !strcmp(key, "key"))
			fits = !strcmp(value, v->res->key_fingerprint);
		else if (fits && !strcmp(key, "schema_version"))
			fits = strtoll(value, NULL, 10) == *version;
		else if (fits && !strcmp(key, "end"))
			fits = v->has_end = !meta_end_parse(value, &v->end);
		if (!fits) {
			snprintf(v->meta_bad, sizeof(v->meta_bad), "meta.%.40s", key ? key : "");
			return 0;
		}
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
			if (!strcmp(key, wanted[i]))
				seen |= 1u << i;
	}
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!(seen & 1u << i))
			snprintf(v->meta_bad, sizeof(v->meta_bad), "meta.%s", wanted[i]);
	return step == SQLITE_DONE ? 0 : verify_sql_error(v);
}

/* After the records, whose fault is told first. */
int verify_check_end(struct verifier *v)
{
	uint64_t last = v->next - 1;

	if (*v->meta_bad)
		return verify_bad(v, "altered", last ? last : 1,
				  "after record %" PRIu64 ": %s was altered or removed", last,
				  v->meta_bad);
	if (!v->has_end)
		return 0;
	if (v->end.seq > last)
		return verify_bad(v, "removed", last + 1,
			   "records %" PRIu64 " to %" PRIu64 " were removed from the end: the "
			   "database itself knows of them",
			   last + 1, v->end.seq);
	if (!v->end_seen || v->end.seq < v->last_record)
		return verify_bad(v, "altered", v->end.seq ? v->end.seq : 1,
			   "record %" PRIu64 ": is not the end that the database knows of",
			   v->end.seq ? v->end.seq : 1);
	return 0;
}
