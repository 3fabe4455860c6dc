/* SPDX-License-Identifier: Apache-2.0 */
/* One record as the database has it: do its columns say what was signed? */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/db.h"

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

const char *row_differing_column(sqlite3_stmt *s, const json_t *rec)
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

const char *row_problem(sqlite3_stmt *s, const uint8_t public[32], char prev[RECORD_HASH_HEX + 1])
{
	bool text = sqlite3_column_type(s, 1) == SQLITE_TEXT; /* asked before it is converted */
	const char *json = (const char *)sqlite3_column_text(s, 1), *link, *problem = NULL;
	size_t len = (size_t)sqlite3_column_bytes(s, 1);
	json_t *rec;

	if (!json || !text || sqlite3_column_type(s, 2) != SQLITE_BLOB ||
	    sqlite3_column_bytes(s, 2) != RECORD_SIG_SIZE ||
	    crypto_sign_verify_detached(sqlite3_column_blob(s, 2), (const uint8_t *)json, len, public))
		return "signature";
	rec = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	link = json_string_value(json_object_get(rec, "prev"));
	if (!link || strlen(link) != RECORD_HASH_HEX)
		problem = "prev";
	else if (json_integer_value(json_object_get(rec, "seq")) != sqlite3_column_int64(s, 0))
		problem = "seq";
	else
		problem = row_differing_column(s, rec);
	if (!problem)
		memcpy(prev, link, RECORD_HASH_HEX + 1);
	json_decref(rec);
	return problem;
}
