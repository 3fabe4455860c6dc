/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The evidence record: one JSON object per rule that fired, in the canonical form of RFC 8785.
 *
 *   v          1
 *   seq        number of the record, ascending by one
 *   time       when it happened, RFC 3339 in UTC with nanoseconds
 *   host       node name
 *   rule       {id, part, version, name, pack}
 *   kind       of the event; null in records of our own
 *   verdict    allow warn block would_block detected
 *   errno      what the system call returned ("EPERM"), null if nothing was refused
 *   outcome    unknown allowed denied gone observed
 *   mode, mechanism, decided_by, source
 *   agent      {id, session, root_pid}, null when the process was in no watched tree
 *   process    {pid, ppid, uid, auid, comm, exe, cgroup, ns, lineage}, null in records of our own
 *   capture    the fields that the rule's evidence.capture lists, null where unknown; a path that
 *              had to be escaped has its bytes beside it as path_b64
 *   fired      all rules that fired for the event, "R3/aws"; "+N" when N more had no room
 *   prev       hash of the record before: hex SHA-256 of its signed bytes followed by the 64
 *              bytes of its signature; 64 zeros for the first record of a database
 *   sig        hex Ed25519 signature by the host key
 *
 * The signed bytes are the object without `sig`, and they are what the database keeps, byte for
 * byte, in `events.json`; the signature is in `events.sig`. What is shown and exported is the
 * same object with `sig` in its place: take `"sig":"…",` out and the signed bytes are back.
 */
#ifndef OKNEK_STORE_RECORD_H
#define OKNEK_STORE_RECORD_H

#include "core/clock.h"
#include "store/payload.h"
#include "store/text.h"

#define RECORD_HASH_HEX 64
#define RECORD_SIG_SIZE 64 /* Ed25519 */
#define RECORD_RETAIN_OWN_S (365 * 86400ULL)
/* No chain gets there, and a number beyond is none that JSON keeps: who says so was altered. */
#define RECORD_SEQ_MAX (UINT64_C(1) << 53)

struct record_context {
	const char *host;
	const struct zone *zone; /* for wall_clock in captures */
};

/* What a record says that the database has columns for; strings are borrowed, or in `visible`
 * when they had to be escaped as they are in the record. */
struct record_row {
	uint64_t seq;
	int64_t time_unix_ns;
	const char *rule, *part, *verdict, *agent; /* agent: NULL if none */
	unsigned version;
	pid_t pid;   /* 0: none */
	int64_t uid; /* -1: none */
	uint64_t retain_s;
	char visible[3][4 * PAYLOAD_NAME_MAX + 1];
};

/* How many records this makes: one for each rule that fired, at least one. */
unsigned record_count(const struct payload *p);

/* Appends the signed bytes of record i of record_count(); row->seq and prev_hex are given. */
void record_write(const struct record_context *c, const struct payload *p,
		  enum outcome outcome, int err, unsigned i, uint64_t seq,
		  const char *prev_hex, struct text *t, struct record_row *row);

/* Appends the object with its signature. -EBADMSG when the bytes are no record. */
int record_with_sig(const char *json, size_t len, const uint8_t sig[RECORD_SIG_SIZE],
		    struct text *t);

/* Hex SHA-256 of signed bytes and signature; what the next record has as prev. */
void record_hash(const char *json, size_t len, const uint8_t sig[RECORD_SIG_SIZE],
		 char hex[RECORD_HASH_HEX + 1]);

#endif
