/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database of evidence, as the store thread writes it. Rows beside the records that nothing in
 * the records would give away if they were changed are signed themselves: how long the records of
 * a rule are kept (`retention`), where records are not here for a reason that is known (`pruned`:
 * first and last number, the hash before the gap and the hash of its last record, so that the
 * chain goes on over it), and `meta`: whose the database is, and where its chain ends.
 */
#ifndef OKNEK_STORE_DB_H
#define OKNEK_STORE_DB_H

#include <sqlite3.h>

#include "store/key.h"

#define DB_SCHEMA_VERSION 2
#define DB_FILE "oknek.db"

#define REFUSED_MAX 64

/* What is not removed because it does not hold, as long as this database is open. */
struct refused {
	struct {
		uint64_t first, last;
	} at[REFUSED_MAX]; /* ascending; beyond the last place, what lies between is kept, too */
	unsigned n;
	char what[160]; /* the first of them, or a retention: "record 7: signature"; "" none */
};

struct db {
	sqlite3 *sql;
	sqlite3_stmt *insert, *meta;
	const struct host_key *key;
	uint64_t ino, dev; /* of the file, to notice when it is taken away */
	bool full_sync;
	char why[200]; /* what the last error was */
	bool unreadable; /* it was that the file is damaged, not that its content is not ours */
	/* the chain's end, as committed */
	uint64_t last_seq;
	char last_hash[RECORD_HASH_HEX + 1];
	uint64_t records;
	uint64_t last_record; /* when it was opened: after it come at most gaps; 0 none */
	int64_t last_time_ns; /* of it */
	bool last_holds;      /* when it was opened, the last record was signed by our key */
	/* what was found when it was opened, and mended; NULL, false: nothing */
	const char *altered; /* what was not as we left it */
	bool foreign;        /* it was another's, or others could open it */
	unsigned foreign_uid, foreign_mode;
	/* removal */
	uint64_t pruned; /* records that are not here for age or size */
	struct refused refused;
};

/*
 * Opens or makes DIR/oknek.db and brings its schema up. db->why says what is wrong:
 *   -EBADMSG       it is no database, or a broken one, or none that is ours alone
 *   -EKEYREJECTED  its records are of another key
 *   -EPROTO        it was made by a newer oknek
 *   -EBUSY         another process holds it
 *   -ENOSPC -EROFS -ENOENT -EIO …
 */
int db_open(const char *dir, const struct host_key *key, uint64_t max_size_bytes,
	    struct db *ret);
void db_close(struct db *db);

/* All return 0 or -errno as above, and fill db->why. */
int db_begin(struct db *db, bool full_sync); /* full_sync: committed means on disk */
int db_insert(struct db *db, const struct record_row *row, const struct text *json,
	      const uint8_t sig[RECORD_SIG_SIZE]);
int db_find_end(struct db *db); /* fills last_* and records */
/* One statement whose first column is a number; no row gives 0. */
int db_number(struct db *db, const char *sql, int64_t *ret);
int db_commit(struct db *db);
void db_rollback(struct db *db);
int db_exec(struct db *db, const char *sql);
int db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret);
/* Notes what went wrong and translates it. */
int db_error(struct db *db, const char *what);
int db_errno(int sqlite_code);

/* True when the path names another file now than the one that is open. */
bool db_is_gone(const struct db *db, const char *dir);

void db_finalize(sqlite3_stmt **s); /* for _cleanup_ */

/* --- what it says of itself (store/meta.c) -------------------------------------------------- */

#define META_UPSERT                                                                          \
	"INSERT INTO meta(key,value,sig) VALUES(?,?,?) ON CONFLICT(key)"                       \
	" DO UPDATE SET value=excluded.value, sig=excluded.sig"

int meta_set(struct db *db, const char *key, const char *value); /* in a transaction */
/* value gets "" when there is none. 1: it is there, but is not what we wrote. */
int meta_get(struct db *db, const char *key, char *value, size_t size_bytes);
/* Is the row (key, value, sig) signed? */
bool meta_is_signed(sqlite3_stmt *s, const uint8_t public[32]);
int meta_migrate_2(struct db *db);

/* Where the chain ended with the last batch, written with it. */
struct meta_end {
	uint64_t seq;
	char hash[RECORD_HASH_HEX + 1];
	int64_t age_ns;     /* the time that the store believes, see store/age.h; 0 not known */
	char progress[192]; /* of the journal; store/batch.c */
};
int meta_end_set(struct db *db, const struct meta_end *end);
/* -ENOENT; 1 when it is not what we wrote. */
int meta_end_get(struct db *db, struct meta_end *ret);
/* From its value. */
int meta_end_parse(const char *value, struct meta_end *ret);

/* --- rows of records (store/row.c) ----------------------------------------------------------- */

#define ROW_COLUMNS "seq,json,sig,time_ns,rule,part,verdict,agent,uid,pid"

/* Of a row of these: the first column that does not say what the signed bytes do; NULL none. */
const char *row_differing_column(sqlite3_stmt *s, const json_t *rec);
/* The same of a row that may be anything: what of it does not hold, or NULL and the hash that it
 * names of the record before. */
const char *row_problem(sqlite3_stmt *s, const uint8_t public[32],
			char prev[RECORD_HASH_HEX + 1]);

/* --- what is signed beside them (store/checkpoint.c) ----------------------------------------- */

/* Remembers, inside a transaction, how long records of a rule are kept. */
int prune_retention_set(struct db *db, const char *rule, const char *part, uint64_t retain_s);

struct pruned {
	uint64_t first, last;
	char prev[RECORD_HASH_HEX + 1], hash[RECORD_HASH_HEX + 1];
	int64_t time_ns; /* of retention and size: how new they were; else when it was signed */
	char why[16]; /* retention, size; aside: in a file beside; lost: nobody knows where */
};

/* Inside a transaction: says that first..last are not here; joins neighbours. */
int prune_mark(struct db *db, const struct pruned *p);

/* Do the signatures hold? s: a row of the query below. */
#define PRUNED_COLUMNS "first,last,prev,hash,time_ns,why,sig"
#define RETENTION_COLUMNS "rule,part,retain_s,sig"
bool pruned_read(sqlite3_stmt *s, const uint8_t public[32], struct pruned *ret);
bool retention_is_signed(sqlite3_stmt *s, const uint8_t public[32]);

/* --- removal (store/prune.c) ----------------------------------------------------------------- */

#define PRUNE_BATCH 1000 /* records that one call looks at closely */

/*
 * Both remove in transactions of their own and count in *removed; the newest record stays. Only
 * what holds is removed: its signature, its columns, its link to what is before it, and the
 * retention of its rule, so that no checkpoint is signed over what somebody altered. The rest is
 * left for verify to name, and noted in db->refused. 1: there may be more to do, 0, -errno.
 */
/* What is older than its retention at now_ns. */
int prune_by_age(struct db *db, int64_t now_ns, uint64_t *removed);
/* The oldest tenths, while the database is larger than this (0: any size). */
int prune_by_size(struct db *db, int64_t now_ns, uint64_t max_size_bytes, uint64_t *removed);

#endif
