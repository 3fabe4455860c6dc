/* SPDX-License-Identifier: Apache-2.0 */
/* Between store/verify.c, which follows the chain, and store/verify_rest.c, which looks at what
 * stands beside it in the database. All return 0, 1 (told in res), or -errno. */
#ifndef OKNEK_STORE_VERIFY_PRIV_H
#define OKNEK_STORE_VERIFY_PRIV_H

#include "store/db.h"
#include "store/store.h"

struct verifier {
	sqlite3 *sql;
	uint8_t public[32];
	struct store_verify_result *res;
	uint64_t next; /* number that must come now */
	char prev[RECORD_HASH_HEX + 1];
	uint64_t first_record, last_record;
	unsigned gaps_used;
	struct pruned lost; /* the first gap that nobody knows the records of; first 0: none */
	/* what the tail must agree with: (seq, hash), or seq 0 */
	uint64_t tail_seq;
	const char *tail_hash;
	bool tail_seen;
	bool tail_in_gap;
	/* and what the database itself says of its end */
	bool has_end, end_seen;
	char meta_bad[64]; /* "meta.KEY", a row of it that does not hold */
	struct meta_end end;
};

/* Notes what is wrong, and returns 1. */
__attribute__((format(printf, 4, 5))) int verify_bad(struct verifier *v, const char *finding,
						     uint64_t seq, const char *fmt, ...);
int verify_sql_error(struct verifier *v);
int verify_prepare(struct verifier *v, const char *sql, sqlite3_stmt **ret);

/* Before the records: where the database says that its chain ends. -EPROTO: of a newer oknek. */
int verify_read_meta(struct verifier *v, int64_t *version);
/* After the records, whose fault is told first. */
int verify_check_gaps(struct verifier *v);
int verify_check_retention(struct verifier *v);
int verify_check_schema(struct verifier *v);
int verify_check_end(struct verifier *v);

#endif
