/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Evidence: journal → canonical JSON (RFC 8785) → hash chain → Ed25519 → SQLite, in batches, on a
 * thread of its own. Format of a record: see store/record.h and oknek(8) EVIDENCE.
 */
#ifndef OKNEK_STORE_STORE_H
#define OKNEK_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/journal.h"

struct store;

struct store_config {
	const char *state_dir; /* oknek.db host.key host.pub head */
	uint64_t max_size_bytes;
	int64_t (*wall_ns)(void); /* NULL: the system's */
	/* Told (on the store thread) when the store's health changes: ok, or why not. */
	void (*health)(void *arg, bool ok, const char *why);
	void *arg;
};

/* Makes key and database at first start. A state directory that cannot be written, a full disk or
 * a locked database is no error: the store retries, keeps what the ring holds, counts the rest,
 * and `health` says so. -errno only for lack of memory or a journal that cannot be read. */
int store_open(const struct store_config *c, struct journal *j, struct store **ret);
int store_start(
	struct store *s); /* starts the thread; leftovers of a dead daemon come first */
/* Empties the ring (at most wait_ms), signs the head, ends the thread, frees. */
void store_close(struct store *s, int wait_ms);
/* Waits until all that is in the ring now is committed: 0, or -ETIMEDOUT. */
int store_flush(struct store *s, int wait_ms);

struct store_status {
	bool ok;
	char why[256];    /* why not ok, "" otherwise */
	char incident[256]; /* the last thing that was found wrong with the evidence, "" none */
	uint64_t records;   /* in the database */
	uint64_t last_seq;
	char last_hash[65]; /* hex sha256 of the last record's bytes */
	char key_fingerprint[65];
	uint64_t lost;    /* verdicts that are counted but have no record of their own */
	uint64_t pending; /* in the ring, not committed */
	uint64_t db_bytes, wal_bytes; /* files, when looked at last: within a second of a change */
	uint64_t pruned; /* removed by age or size, and signed as such */
	int64_t age_ns;	 /* the time that it believes, see store/age.h; 0 not known yet */
};
void store_status(struct store *s, struct store_status *ret); /* any thread but verdict */

/* --- reading: any process that may read the files --------------------------------------- */

struct store_filter {
	uint64_t since_seq;   /* records after this one; 0: from the first */
	int64_t since_unix_s; /* 0: no bound */
	unsigned limit;       /* newest `limit` of them, in order; 0: all */
	const char *rule;     /* "R3" or "R3/aws"; NULL all */
	const char *verdict;  /* NULL all */
	pid_t pid;            /* 0 all */
	const char *agent;    /* NULL all */
	bool has_uid;
	uid_t uid; /* only events of this uid's trees */
};

/* Calls fn with each record as it is shown: the stored bytes with `sig` put in (NUL-terminated,
 * canonical), oldest first, until fn returns non-zero (which is returned). Opens the database
 * itself, each time; fn must not take long while the daemon writes. 0 or -errno. */
int store_query(const char *db_path, const struct store_filter *f,
		int (*fn)(void *arg, uint64_t seq, const char *json), void *arg);

struct store_verify_result {
	uint64_t checked;       /* records whose hash and signature hold */
	uint64_t first_bad_seq; /* 0: none */
	/*
	 * What kind of thing is wrong, "" nothing:
	 *   altered     a record, or what belongs to it, is not what was signed
	 *   removed     records are missing before others, or before the end the database knows of
	 *   ends-early  whole in itself, and ends before the signed head: power loss, older copy
	 *   lost        the same, found and signed by the daemon since
	 *   damaged     the file cannot be read as a database
	 *   head, key   the signed head, the public key
	 */
	char finding[16];
	char problem[256];      /* "record 17: signature does not match" … */
	uint64_t last_seq;
	char last_hash[65];
	char key_fingerprint[65];
	bool head_checked;
	/* records that are not here, as is signed: by age or size; with a database that was set
	 * aside; nobody knows where */
	uint64_t pruned, aside, lost;
};

/*
 * Verifies a database against the public key beside it (or key_path), and its tail against the
 * signed head beside it (or head_path; or expect_seq + expect_hash from --head). Offline, read
 * only. 0 all holds, 1 something was altered, removed, reordered or is missing (result says the
 * first), -errno could not look.
 */
int store_verify(const char *db_path, const char *key_path, const char *head_path,
		 uint64_t expect_seq, const char *expect_hash,
		 struct store_verify_result *ret);

#endif
