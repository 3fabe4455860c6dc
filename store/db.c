/* SPDX-License-Identifier: Apache-2.0 */
#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/cleanup.h"

#define BUSY_TIMEOUT_MS 200

/* Step i brings the schema from version i to i + 1, in one transaction. Steps are never changed
 * once released; new ones go at the end. */
static const char *const migrations[DB_SCHEMA_VERSION] = {
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE events(seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL,"
	" rule TEXT NOT NULL, part TEXT NOT NULL, verdict TEXT NOT NULL, agent TEXT,"
	" uid INTEGER, pid INTEGER, json TEXT NOT NULL, sig BLOB NOT NULL);"
	"CREATE TABLE retention(rule TEXT, part TEXT, retain_s INTEGER NOT NULL,"
	" sig BLOB NOT NULL, PRIMARY KEY(rule, part)) WITHOUT ROWID;"
	"CREATE TABLE pruned(first INTEGER PRIMARY KEY, last INTEGER NOT NULL,"
	" prev TEXT NOT NULL, hash TEXT NOT NULL, time_ns INTEGER NOT NULL,"
	" why TEXT NOT NULL, sig BLOB NOT NULL);"
	"CREATE TABLE baseline(agent TEXT, day INTEGER, feature TEXT, value TEXT,"
	" n INTEGER NOT NULL, PRIMARY KEY(agent, day, feature, value)) WITHOUT ROWID;",
};

void db_finalize(sqlite3_stmt **s)
{
	sqlite3_finalize(*s);
}

int db_errno(int sqlite_code)
{
	switch (sqlite_code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
	case SQLITE_ERROR: /* a table or column is missing: not our schema any more */
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_SCHEMA:
		return -EBADMSG;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

int db_error(struct db *db, const char *what)
{
	int code = db->sql ? sqlite3_extended_errcode(db->sql) : SQLITE_NOMEM;
	int err = db->sql ? sqlite3_system_errno(db->sql) : 0;
	int r = db_errno(code);

	/* SQLite calls many things an I/O error or "cannot open"; the system said more. */
	if ((r == -EIO) &&
	    (err == ENOSPC || err == EDQUOT || err == EROFS || err == EACCES || err == ENOENT))
		r = err == EDQUOT ? -ENOSPC : err == EACCES ? -EROFS : -err;
	snprintf(db->why, sizeof(db->why), "%s: %s", what,
		 r == -EBUSY    ? "another process holds the database locked"
		 : r == -ENOSPC ? "no space left on the disk"
		 : r == -EROFS  ? "the state directory cannot be written"
		 : db->sql      ? sqlite3_errmsg(db->sql)
				: "out of memory");
	return r ? r : -EIO;
}

int db_exec(struct db *db, const char *sql)
{
	if (sqlite3_exec(db->sql, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_error(db, DB_FILE);
	return 0;
}

int db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret)
{
	if (sqlite3_prepare_v2(db->sql, sql, -1, ret, NULL) != SQLITE_OK)
		return db_error(db, DB_FILE);
	return 0;
}

/* One statement whose first column is a number; missing rows give 0. */
static int get_number(struct db *db, const char *sql, int64_t *ret)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = db_prepare(db, sql, &s), step;

	if (r)
		return r;
	step = sqlite3_step(s);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return db_error(db, DB_FILE);
	*ret = step == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
	return 0;
}

int db_meta_get(struct db *db, const char *key, char *value, size_t size_bytes)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = db_prepare(db, "SELECT value FROM meta WHERE key=?", &s), step;

	if (r)
		return r;
	sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
	step = sqlite3_step(s);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return db_error(db, DB_FILE);
	snprintf(value, size_bytes, "%s",
		 step == SQLITE_ROW && sqlite3_column_text(s, 0)
			 ? (const char *)sqlite3_column_text(s, 0)
			 : "");
	return 0;
}

int db_meta_set(struct db *db, const char *key, const char *value)
{
	int step;

	sqlite3_bind_text(db->meta, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_text(db->meta, 2, value, -1, SQLITE_STATIC);
	step = sqlite3_step(db->meta);
	sqlite3_reset(db->meta);
	return step == SQLITE_DONE ? 0 : db_error(db, DB_FILE);
}

static int migrate(struct db *db)
{
	int64_t version;
	char sql[64];
	int r = get_number(db, "PRAGMA user_version", &version);

	if (r)
		return r;
	if (version < 0 || version > DB_SCHEMA_VERSION) {
		snprintf(db->why, sizeof(db->why),
			 DB_FILE ": schema version %lld is newer than this oknek knows (%d)",
			 (long long)version, DB_SCHEMA_VERSION);
		return -EPROTO;
	}
	for (; version < DB_SCHEMA_VERSION; version++) {
		r = db_exec(db, "BEGIN IMMEDIATE");
		if (r)
			return r;
		r = db_exec(db, migrations[version]);
		snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", (int)version + 1);
		if (!r)
			r = db_exec(db, sql);
		if (!r)
			r = db_exec(db, "COMMIT");
		if (r) {
			db_rollback(db);
			return r;
		}
	}
	return 0;
}

/* What a new database is told once, and what an old one must agree with. */
static int identify(struct db *db)
{
	char value[KEY_HEX + 1], id[33], version[12];
	uint8_t rnd[16];
	int r = db_meta_get(db, "key", value, sizeof(value));

	if (r)
		return r;
	if (*value && strcmp(value, db->key->fingerprint)) {
		snprintf(db->why, sizeof(db->why),
			 DB_FILE ": its records are signed by another key");
		return -EKEYREJECTED;
	}
	snprintf(version, sizeof(version), "%d", DB_SCHEMA_VERSION);
	r = db_begin(db, true);
	if (!r && !*value) {
		randombytes_buf(rnd, sizeof(rnd));
		sodium_bin2hex(id, sizeof(id), rnd, sizeof(rnd));
		r = db_meta_set(db, "key", db->key->fingerprint);
		if (!r)
			r = db_meta_set(db, "install_id", id);
	}
	if (!r)
		r = db_meta_set(db, "schema_version", version);
	if (!r)
		r = db_commit(db);
	if (r)
		db_rollback(db);
	return r;
}

static int find_end(struct db *db)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int64_t first, gone;
	int r, step;

	db->last_seq = 0;
	db->records = 0;
	memset(db->last_hash, '0', RECORD_HASH_HEX);
	db->last_hash[RECORD_HASH_HEX] = '\0';

	r = db_prepare(db, "SELECT seq,json,sig FROM events ORDER BY seq DESC LIMIT 1", &s);
	if (r)
		return r;
	step = sqlite3_step(s);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return db_error(db, DB_FILE);
	if (step == SQLITE_DONE)
		return 0;
	if (sqlite3_column_bytes(s, 2) != RECORD_SIG_SIZE || !sqlite3_column_text(s, 1) ||
	    sqlite3_column_int64(s, 0) < 1) {
		snprintf(db->why, sizeof(db->why), DB_FILE ": the last record is no record");
		return -EBADMSG;
	}
	record_hash((const char *)sqlite3_column_text(s, 1),
		    (size_t)sqlite3_column_bytes(s, 1), sqlite3_column_blob(s, 2),
		    db->last_hash);
	db->last_seq = (uint64_t)sqlite3_column_int64(s, 0);

	/* Counted by what is not there: count(*) would read the whole database. */
	r = get_number(db, "SELECT min(seq) FROM events", &first);
	if (!r)
		r = get_number(db,
			       "SELECT sum(last-first+1) FROM pruned"
			       " WHERE first>(SELECT min(seq) FROM events)",
			       &gone);
	if (!r)
		db->records = db->last_seq - (uint64_t)first + 1 - (uint64_t)gone;
	return r;
}

static int note_file(struct db *db, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	db->dev = st.st_dev;
	db->ino = st.st_ino;
	return 0;
}

/* SQLite makes its files with the mode of the main one, which we make ourselves. */
static int make_private(struct db *db, const char *path)
{
	_cleanup_close_ int fd =
		open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0 || errno == EEXIST)
		return 0;
	snprintf(db->why, sizeof(db->why), DB_FILE ": %s", strerror(errno));
	return -errno;
}

static int open_all(struct db *db, const char *path)
{
	int r = make_private(db, path);

	if (r)
		return r;
	if (sqlite3_open_v2(path, &db->sql,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
			    NULL) != SQLITE_OK)
		return db_error(db, DB_FILE);
	sqlite3_busy_timeout(db->sql, BUSY_TIMEOUT_MS);
	sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	r = db_exec(db, "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
			"PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=4194304;"
			"PRAGMA cache_size=-1024; PRAGMA temp_store=MEMORY;"
			"PRAGMA wal_autocheckpoint=4000;"
			"PRAGMA cell_size_check=ON");
	if (!r)
		r = migrate(db);
	if (!r)
		r = db_prepare(db,
			       "INSERT INTO events(seq,time_ns,rule,part,verdict,agent,uid,"
			       "pid,json,sig) VALUES(?,?,?,?,?,?,?,?,?,?)",
			       &db->insert);
	if (!r)
		r = db_prepare(db,
			       "INSERT INTO meta(key,value) VALUES(?,?) ON CONFLICT(key)"
			       " DO UPDATE SET value=excluded.value",
			       &db->meta);
	if (!r)
		r = identify(db);
	if (!r)
		r = find_end(db);
	if (!r)
		r = note_file(db, path);
	return r;
}

int db_open(const char *dir, const struct host_key *key, struct db *ret)
{
	struct db db = {.key = key};
	char path[PATH_MAX];
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/" DB_FILE, dir) >= sizeof(path))
		return -ENAMETOOLONG;
	r = open_all(&db, path);
	if (r) {
		db_close(&db);
		snprintf(ret->why, sizeof(ret->why), "%s", db.why);
		return r;
	}
	*ret = db;
	return 0;
}

void db_close(struct db *db)
{
	sqlite3_finalize(db->insert);
	sqlite3_finalize(db->meta);
	sqlite3_close(db->sql);
	db->insert = db->meta = NULL;
	db->sql = NULL;
}

int db_begin(struct db *db, bool full_sync)
{
	int r;

	if (full_sync != db->full_sync) {
		r = db_exec(db, full_sync ? "PRAGMA synchronous=FULL"
					  : "PRAGMA synchronous=NORMAL");
		if (r)
			return r;
		db->full_sync = full_sync;
	}
	return db_exec(db, "BEGIN IMMEDIATE");
}

int db_commit(struct db *db)
{
	return db_exec(db, "COMMIT");
}

void db_rollback(struct db *db)
{
	if (db->sql && !sqlite3_get_autocommit(db->sql))
		sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
}

int db_insert(struct db *db, const struct record_row *row, const struct text *json,
	      const uint8_t sig[RECORD_SIG_SIZE])
{
	sqlite3_stmt *s = db->insert;
	int step;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)row->seq);
	sqlite3_bind_int64(s, 2, row->time_unix_ns);
	sqlite3_bind_text(s, 3, row->rule, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 4, row->part, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 5, row->verdict, -1, SQLITE_STATIC);
	sqlite3_bind_text(s, 6, row->agent, -1, SQLITE_STATIC);
	if (row->uid >= 0)
		sqlite3_bind_int64(s, 7, row->uid);
	else
		sqlite3_bind_null(s, 7);
	if (row->uid >= 0)
		sqlite3_bind_int64(s, 8, row->pid);
	else
		sqlite3_bind_null(s, 8);
	sqlite3_bind_text64(s, 9, json->p, json->n, SQLITE_STATIC, SQLITE_UTF8);
	sqlite3_bind_blob(s, 10, sig, RECORD_SIG_SIZE, SQLITE_STATIC);
	step = sqlite3_step(s);
	sqlite3_reset(s);
	return step == SQLITE_DONE ? 0 : db_error(db, DB_FILE);
}

bool db_is_gone(const struct db *db, const char *dir)
{
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/" DB_FILE, dir);
	return stat(path, &st) < 0 || st.st_ino != db->ino || st.st_dev != db->dev;
}
