/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs of the egress jail and the daemon share: the table of destinations, settings,
 * and the records of what members asked for. Plain fixed layouts, no padding that is not named.
 */
#ifndef OKNEK_ENFORCE_BPF_WIRE_H
#define OKNEK_ENFORCE_BPF_WIRE_H

#include "core/egress_class.h"
#include "core/wire.h"

/* What becomes of it; the kernel carries it out, the daemon's rules say the same. */
enum egress_verdict {
	EGRESS_PASS, /* told when there is time */
	EGRESS_TELL, /* let through, and told at once: a rule warns */
	EGRESS_DENY,
};

/* Key and value of the longest-prefix table; IPv4 is mapped into IPv6 (RFC 4291 2.5.5.2). */
struct egress_key {
	__u32 bits;
	__u8 addr[16];
};

#define EGRESS_RANGES 64

struct egress_range {
	__u16 to; /* ports from the one after the range before; the last is 65535 */
	__u8 class, verdict;
};

struct egress_value {
	struct egress_range range[EGRESS_RANGES];
};

/* Two tables: one is in force, the other is filled. One word says which. */
#define EGRESS_TABLES 2
#define EGRESS_TABLE_MAX 20480 /* prefixes */

#define EGRESS_READY 1u    /* else all pass */
#define EGRESS_SECOND 2u   /* which table */
#define EGRESS_ENFORCE 4u  /* else nothing is denied, and all is told */
#define EGRESS_TURN 8u     /* counted up from here by each new policy */

#define EGRESS_LSM_TELLS_INET 1u
#define EGRESS_LSM_TELLS_UNIX 2u
#define EGRESS_LSM_TELLS_REST 4u /* always: nobody else is asked */

struct egress_settings {
	__u32 state;
	struct {
		__u8 raw, service; /* enum egress_verdict */
		__u8 look; /* sockets of other families than inet are looked at */
		__u8 unused;
	} table[EGRESS_TABLES];
	__u32 lsm; /* EGRESS_LSM_…: what passes there is told there */
	__u32 were_full; /* sockets had no room for a mark; the programs' own */
	__u32 proof_tree; /* it is denied what it would be, whatever the state says; 0: none */
};

/* Names of AF_UNIX sockets by hash (64 bit FNV-1a): a false match denies one socket more. */
enum egress_name {
	EGRESS_NAME_LAST = 1, /* the last component is this */
	EGRESS_NAME_BEGIN,    /* a component begins so, up to a "-" */
	EGRESS_NAME_WHOLE,    /* the path as it was given: an exemption */
};

struct egress_name_key {
	__u64 hash;
	__u32 kind, table;
};

#define EGRESS_NAMES_MAX 4096
#define EGRESS_FNV_START 0xcbf29ce484222325ULL
#define EGRESS_FNV_PRIME 0x100000001b3ULL

/* Of each tree, in the kernel: exact, whatever becomes of records. */
struct egress_tree {
	__u64 denied, would, passed;
	__u64 unrecorded;       /* of the denied and would-be: came too fast for a record each */
	__u64 tell_ns, pass_ns; /* when the next record is due, as far ahead as a burst may go */
};

#define EGRESS_TREES_MAX 2048
/* Records of one tree: bursts of so many, then one each so often. */
#define EGRESS_TELL_BURST 256
#define EGRESS_TELL_NS 10000000ULL
#define EGRESS_PASS_BURST 64
#define EGRESS_PASS_NS 100000000ULL

struct egress_counters { /* of one CPU */
	__u64 lost_tell; /* no room in the ring, or for the tree */
	__u64 lost_pass; /* the same of what passed, and what came too fast for a record each */
};

enum egress_hook {
	EGRESS_CONNECT4 = 1,
	EGRESS_CONNECT6,
	EGRESS_SENDMSG4,
	EGRESS_SENDMSG6,
	EGRESS_SOCK_CREATE,
	EGRESS_CONNECT_UNIX,
	EGRESS_PACKET, /* on a socket that stood before, one record for each */
	EGRESS_SENT, /* already, on a socket of a family that nobody is asked about; the same */
};

#define EGRESS_PATH 108 /* UNIX_PATH_MAX, linux/un.h */

struct egress_record {
	__u64 time_ns; /* CLOCK_BOOTTIME */
	__u64 start_time_ns; /* of the thread group */
	__u32 tree_id, tgid, tid, uid;
	__u32 family, type, protocol;
	__u16 port;
	__u8 hook, class;
	__u8 verdict; /* of the table */
	__u8 denied;  /* what became of the system call */
	__u8 path_len; /* bytes; the first is 0 for an abstract name */
	__u8 by_lsm;
	__u8 unused[4];
	__u8 addr[16];
	char comm[WIRE_COMM];
	char path[EGRESS_PATH + 4]; /* CONNECT_UNIX; its records alone have it */
};

#define EGRESS_RECORD_INET (sizeof(struct egress_record) - EGRESS_PATH - 4)

#endif
