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
#include <unistd.h>

#include "core/cleanup.h"

#define BUSY_TIMEOUT_MS 200

/* Step i brings the schema from version i to i + 1, in one transaction. Steps are never changed
 * once released; new ones go at the end. */
static const struct {
	const char *sql;
	int (*then)(struct db *db); /* NULL: nothing that SQL cannot do */
} migrations[DB_SCHEMA_VERSION] = {
	{
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
		NULL,
	},
	/* What the rows of meta say is signed, too, and one of them says where the chain ends. */
	{ "ALTER TABLE meta ADD COLUMN sig BLOB;", meta_migrate_2 },
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
	db->unreadable = (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB ||
			 (code & 0xff) == SQLITE_FORMAT;
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
int db_number(struct db *db, const char *sql, int64_t *ret)
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

/* Before anything of ours is done to it. */
static int check_version(struct db *db, int64_t *version)
{
	int r = db_number(db, "PRAGMA user_version", version);

	if (r)
		return r;
	if (*version < 0) {
		snprintf(db->why, sizeof(db->why), DB_FILE ": its schema version was altered");
		return -EBADMSG;
	}
	if (*version > DB_SCHEMA_VERSION) {
		snprintf(db->why, sizeof(db->why),
			 DB_FILE ": schema version %lld is newer than this oknek knows (%d); it is "
				 "left as it is",
			 (long long)*version, DB_SCHEMA_VERSION);
		return -EPROTO;
	}
	return 0;
}

/* One that has what a later version brought: a step done again would say something else of it. */
static int check_put_back(struct db *db, int64_t version)
{
	int64_t n = 0;
	int r = version >= DB_SCHEMA_VERSION ? 0
		: version ? db_number(db,
				      "SELECT count(*) FROM pragma_table_info('meta') WHERE name='sig'",
				      &n)
			  : db_number(db, "SELECT count(*) FROM sqlite_schema WHERE name='events'", &n);

	if (r || !n)
		return r;
	snprintf(db->why, sizeof(db->why), DB_FILE ": its schema version was put back");
	return -EBADMSG;
}

static int migrate(struct db *db, int64_t version)
{
	char sql[64];
	int r = check_put_back(db, version);

	if (r)
		return r;
	for (; version < DB_SCHEMA_VERSION; version++) {
		r = db_exec(db, "BEGIN IMMEDIATE");
		if (r)
			return r;
		r = db_exec(db, migrations[version].sql);
		if (!r && migrations[version].then)
			r = migrations[version].then(db);
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

/* A trigger could undo each insert, a view stand in for a table: nothing of ours makes any. */
static int check_schema(struct db *db)
{
	int64_t n;
	int r = db_number(db,
			  "SELECT count(*) FROM sqlite_schema WHERE type IN ('trigger','view')", &n);

	if (r || !n)
		return r;
	snprintf(db->why, sizeof(db->why), DB_FILE ": somebody put triggers or views into it");
	return -EBADMSG;
}

/* What a new database is told once, and what an old one must agree with. That its records are of
 * another key, the last one tells, if there is one: a row of meta is easily altered. */
static int identify(struct db *db)
{
	char value[KEY_HEX + 1], id[33] = "", version[12];
	uint8_t rnd[16];
	int r = meta_get(db, "key", value, sizeof(value));

	if (r < 0)
		return r;
	if (*value && strcmp(value, db->key->fingerprint) && !(db->last_record && db->last_holds)) {
		snprintf(db->why, sizeof(db->why),
			 DB_FILE ": its records are signed by another key");
		return -EKEYREJECTED;
	}
	if (db->last_record && !db->last_holds)
		db->altered = "the last record";
	else if (r || (*value && strcmp(value, db->key->fingerprint)))
		db->altered = "meta.key";
	snprintf(version, sizeof(version), "%d", DB_SCHEMA_VERSION);
	r = db_begin(db, true);
	if (!r)
		r = meta_get(db, "install_id", id, sizeof(id));
	if (r > 0)
		db->altered = "meta.install_id";
	if (r >= 0 && !*id) {
		randombytes_buf(rnd, sizeof(rnd));
		sodium_bin2hex(id, sizeof(id), rnd, sizeof(rnd));
	}
	if (r >= 0)
		r = meta_set(db, "install_id", id);
	if (!r)
		r = meta_set(db, "key", db->key->fingerprint);
	if (!r)
		r = meta_set(db, "schema_version", version);
	if (!r)
		r = db_commit(db);
	if (r)
		db_rollback(db);
	return r;
}

/* A gap may be the last thing: it was signed, and the next record never came. */
static int pass_last_gaps(struct db *db)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int r = db_prepare(db, "SELECT " PRUNED_COLUMNS " FROM pruned WHERE first=?", &s), step;
	struct pruned p;

	if (r)
		return r;
	for (;;) {
		sqlite3_reset(s);
		sqlite3_bind_int64(s, 1, (sqlite3_int64)db->last_seq + 1);
		step = sqlite3_step(s);
		if (step != SQLITE_ROW)
			return step == SQLITE_DONE ? 0 : db_error(db, DB_FILE);
		if (!pruned_read(s, db->key->public, &p) || strcmp(p.prev, db->last_hash) ||
		    p.last < p.first)
			return 0;
		db->last_seq = p.last;
		memcpy(db->last_hash, p.hash, sizeof(db->last_hash));
	}
}

static int64_t time_of(const char *json, size_t len)
{
	json_t *rec = json_loadb(json, len, 0, NULL);
	const char *text = json_string_value(json_object_get(rec, "time"));
	int64_t ns = 0;

	if (text && rfc3339_parse(text, &ns))
		ns = 0;
	json_decref(rec);
	return ns;
}

int db_find_end(struct db *db)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	int64_t first, gone, last;
	const char *json;
	size_t len;
	int r, step;

	db->last_seq = db->last_record = 0;
	db->records = 0;
	db->last_time_ns = 0;
	memset(db->last_hash, '0', RECORD_HASH_HEX);
	db->last_hash[RECORD_HASH_HEX] = '\0';

	r = db_prepare(db, "SELECT seq,json,sig FROM events ORDER BY seq DESC LIMIT 1", &s);
	if (r)
		return r;
	step = sqlite3_step(s);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return db_error(db, DB_FILE);
	if (step == SQLITE_DONE)
		return pass_last_gaps(db);
	last = sqlite3_column_int64(s, 0);
	json = (const char *)sqlite3_column_text(s, 1);
	len = (size_t)sqlite3_column_bytes(s, 1);
	if (sqlite3_column_bytes(s, 2) != RECORD_SIG_SIZE || !json || last < 1 ||
	    (uint64_t)last > RECORD_SEQ_MAX) {
		snprintf(db->why, sizeof(db->why), DB_FILE ": the last record is no record");
		return -EBADMSG;
	}
	record_hash(json, len, sqlite3_column_blob(s, 2), db->last_hash);
	db->last_holds = !crypto_sign_verify_detached(sqlite3_column_blob(s, 2),
						      (const uint8_t *)json, len,
						      db->key->public);
	db->last_seq = db->last_record = (uint64_t)last;
	/* Of what is signed: a column could make us believe any time. */
	if (db->last_holds)
		db->last_time_ns = time_of(json, len);

	/* Counted by what is not there: count(*) would read the whole database. */
	r = db_number(db, "SELECT min(seq) FROM events", &first);
	if (!r)
		r = db_number(db,
			      "SELECT total(last-first+1) FROM pruned"
			      " WHERE first>(SELECT min(seq) FROM events)"
			      " AND first<(SELECT max(seq) FROM events)",
			      &gone);
	if (r)
		return r;
	db->records = (uint64_t)(last - first + 1 - gone);
	r = db_number(db, "SELECT total(last-first+1) FROM pruned WHERE why IN ('retention','size')",
		      &gone);
	if (r)
		return r;
	db->pruned = (uint64_t)gone;
	return pass_last_gaps(db);
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

/* Something else may stand where it or its log should be: nothing of that goes away by waiting.
 * One that others could open is ours alone from here on. */
static int check_files(struct db *db, const char *path)
{
	static const char *const suffixes[] = { "-wal", "-shm", "" };
	char name[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if ((size_t)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]) >= sizeof(name))
			return -ENAMETOOLONG;
		if (lstat(name, &st) < 0) {
			if (errno == ENOENT)
				continue;
			snprintf(db->why, sizeof(db->why), DB_FILE "%s: %s", suffixes[i],
				 strerror(errno));
			return -errno;
		}
		if (!S_ISREG(st.st_mode)) {
			snprintf(db->why, sizeof(db->why), DB_FILE "%s is not a file", suffixes[i]);
			return -EBADMSG;
		}
		if (st.st_uid == geteuid() && !(st.st_mode & 077))
			continue;
		db->foreign_uid = st.st_uid;
		db->foreign_mode = st.st_mode & 07777;
		db->foreign = true;
		if ((st.st_uid != geteuid() && lchown(name, geteuid(), getegid()) < 0) ||
		    chmod(name, 0600) < 0) {
			if (errno == EROFS)
				return -EROFS;
			snprintf(db->why, sizeof(db->why), DB_FILE "%s belongs to uid %u",
				 suffixes[i], st.st_uid);
			return -EBADMSG;
		}
	}
	return 0;
}

/* A small database must not have a log that is larger than itself. */
static int set_limits(struct db *db, uint64_t max_size_bytes)
{
	uint64_t pages = max_size_bytes ? max_size_bytes / 8 / 4096 : 4000;
	char sql[128];

	pages = pages < 64 ? 64 : pages > 4000 ? 4000 : pages;
	snprintf(sql, sizeof(sql), "PRAGMA wal_autocheckpoint=%llu; PRAGMA journal_size_limit=%llu",
		 (unsigned long long)pages,
		 (unsigned long long)(pages > 1024 ? 1024 : pages) * 4096);
	return db_exec(db, sql);
}

static int open_all(struct db *db, const char *path, uint64_t max_size_bytes)
{
	int64_t version = 0;
	struct stat st;
	bool made = lstat(path, &st) < 0 && errno == ENOENT;
	int r = made ? make_private(db, path) : check_files(db, path);

	if (r)
		return r;
	if (sqlite3_open_v2(path, &db->sql,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
			    NULL) != SQLITE_OK)
		return db_error(db, DB_FILE);
	sqlite3_busy_timeout(db->sql, BUSY_TIMEOUT_MS);
	sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	r = check_version(db, &version);
	if (!r)
		r = db_exec(db, "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
				"PRAGMA synchronous=NORMAL;"
				"PRAGMA cache_size=-1024; PRAGMA temp_store=MEMORY;"
				"PRAGMA cell_size_check=ON");
	if (!r)
		r = set_limits(db, max_size_bytes);
	if (!r)
		r = check_schema(db);
	if (!r)
		r = migrate(db, version);
	if (!r)
		r = db_prepare(db,
			       "INSERT INTO events(seq,time_ns,rule,part,verdict,agent,uid,"
			       "pid,json,sig) VALUES(?,?,?,?,?,?,?,?,?,?)",
			       &db->insert);
	if (!r)
		r = db_prepare(db, META_UPSERT, &db->meta);
	if (!r)
		r = db_find_end(db);
	if (!r)
		r = identify(db);
	if (!r)
		r = note_file(db, path);
	return r;
}

int db_open(const char *dir, const struct host_key *key, uint64_t max_size_bytes,
	    struct db *ret)
{
	struct db db = {.key = key};
	char path[PATH_MAX];
	int r;

	if ((size_t)snprintf(path, sizeof(path), "%s/" DB_FILE, dir) >= sizeof(path))
		return -ENAMETOOLONG;
	r = open_all(&db, path, max_size_bytes);
	if (r) {
		db_close(&db);
		snprintf(ret->why, sizeof(ret->why), "%s", db.why);
		ret->unreadable = db.unreadable;
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
