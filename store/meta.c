/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/db.h"

/* Its keys differ from those of everything else that is signed: see store/prune.c. */
static void meta_text(struct text *t, const char *key, const char *value)
{
	text_puts(t, "{\"key\":");
	text_json(t, key, strlen(key));
	text_puts(t, ",\"meta\":");
	text_json(t, value, strlen(value));
	text_puts(t, ",\"v\":1}");
}

static int write_row(struct db *db, sqlite3_stmt *s, const char *key, const char *value)
{
	_cleanup_(text_free) struct text t = {0};
	uint8_t sig[RECORD_SIG_SIZE];
	int step;

	meta_text(&t, key, value);
	if (t.failed)
		return -ENOMEM;
	crypto_sign_detached(sig, NULL, (const uint8_t *)t.p, t.n, db->key->secret);
	sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 2, value, -1, SQLITE_STATIC);
	sqlite3_bind_blob(s, 3, sig, sizeof(sig), SQLITE_STATIC);
	step = sqlite3_step(s);
	sqlite3_reset(s);
	return step == SQLITE_DONE ? 0 : db_error(db, DB_FILE);
}

int meta_set(struct db *db, const char *key, const char *value)
{
	return write_row(db, db->meta, key, value);
}

bool meta_is_signed(sqlite3_stmt *s, const uint8_t public[32])
{
	_cleanup_(text_free) struct text t = {0};

	if (sqlite3_column_type(s, 0) != SQLITE_TEXT || sqlite3_column_type(s, 1) != SQLITE_TEXT ||
	    sqlite3_column_type(s, 2) != SQLITE_BLOB ||
	    sqlite3_column_bytes(s, 2) != RECORD_SIG_SIZE)
		return false;
	meta_text(&t, (const char *)sqlite3_column_text(s, 0),
		  (const char *)sqlite3_column_text(s, 1));
	return !t.failed &&
	       !crypto_sign_verify_detached(sqlite3_column_blob(s, 2), (const uint8_t *)t.p, t.n,
					    public);
}

int meta_get(struct db *db, const char *key, char *value, size_t size_bytes)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = db_prepare(db, "SELECT key,value,sig FROM meta WHERE key=?", &s), step;
	const char *text;

	if (r)
		return r;
	sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
	step = sqlite3_step(s);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return db_error(db, DB_FILE);
	r = step == SQLITE_ROW && !meta_is_signed(s, db->key->public);
	text = step == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 1) : NULL;
	snprintf(value, size_bytes, "%s", text ? text : "");
	return r;
}

static int write_end(struct db *db, sqlite3_stmt *s, const struct meta_end *end)
{
	char value[400];

	snprintf(value, sizeof(value), "%" PRIu64 " %s %" PRId64 " %s", end->seq, end->hash,
		 end->age_ns, end->progress);
	return write_row(db, s, "end", value);
}

int meta_end_set(struct db *db, const struct meta_end *end)
{
	return write_end(db, db->meta, end);
}

int meta_end_parse(const char *value, struct meta_end *ret)
{
	struct meta_end end = {0};

	if (sscanf(value, "%" SCNu64 " %64[0-9a-f] %" SCNd64 " %191[-0-9 ]", &end.seq, end.hash,
		   &end.age_ns, end.progress) < 3 ||
	    strlen(end.hash) != RECORD_HASH_HEX || end.seq > RECORD_SEQ_MAX)
		return -EBADMSG;
	*ret = end;
	return 0;
}

int meta_end_get(struct db *db, struct meta_end *ret)
{
	char value[400];
	int r = meta_get(db, "end", value, sizeof(value));

	if (r < 0)
		return r;
	if (!*value)
		return -ENOENT;
	if (r || meta_end_parse(value, ret))
		return 1;
	return 0;
}

/* A value of version 1, as it is. */
static void read_old(sqlite3_stmt *get, const char *key, char *value, size_t size_bytes)
{
	const char *text;

	sqlite3_bind_text(get, 1, key, -1, SQLITE_STATIC);
	text = sqlite3_step(get) == SQLITE_ROW ? (const char *)sqlite3_column_text(get, 0) : NULL;
	snprintf(value, size_bytes, "%s", text ? text : "");
	sqlite3_reset(get);
}

/* Version 1 signed no row of meta, kept the journal's progress in one of its own, and did not say
 * where the chain ends: its last record is believed, as it was then. A new database comes by here
 * too, and has no rows yet. */
int meta_migrate_2(struct db *db)
{
	_cleanup_(db_finalize) sqlite3_stmt *put = NULL, *get = NULL;
	char key[KEY_HEX + 1], id[KEY_HEX + 1];
	struct meta_end end = {0};
	int r = db_find_end(db);

	if (!r)
		r = db_prepare(db, META_UPSERT, &put);
	if (!r)
		r = db_prepare(db, "SELECT value FROM meta WHERE key=?", &get);
	if (r)
		return r;
	read_old(get, "key", key, sizeof(key));
	read_old(get, "install_id", id, sizeof(id));
	read_old(get, "journal", end.progress, sizeof(end.progress));
	/* Of another key: not ours to sign, and it will be set aside. */
	if (db->last_record ? !db->last_holds : *key && strcmp(key, db->key->fingerprint))
		return 0;
	if (*key)
		r = write_row(db, put, "key", key);
	if (!r && *id)
		r = write_row(db, put, "install_id", id);
	if (!r)
		r = db_exec(db, "DELETE FROM meta WHERE key='journal'");
	if (r)
		return r;
	end.seq = db->last_seq;
	end.age_ns = db->last_time_ns;
	memcpy(end.hash, db->last_hash, sizeof(end.hash));
	return write_end(db, put, &end);
}
