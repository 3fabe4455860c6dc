/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the programs of the eBPF source put into their rings: what members did. Fixed parts first, then
 * bytes. Natural alignment, no padding that is not named.
 */
#ifndef OKNEK_SOURCES_BPF_EVENTS_H
#define OKNEK_SOURCES_BPF_EVENTS_H

#include "core/wire.h"

#define EVENTS_PATH 4096       /* bytes of names, each with its NUL: PATH_MAX */
#define EVENTS_STEPS 64        /* names and mounts that a path is followed through */
#define EVENTS_ARGV 32768      /* bytes of arguments */
#define EVENTS_ADDRESS 112     /* struct sockaddr_un is the longest that is looked at */
#define EVENTS_CPUS 1024       /* that are counted apart */
#define EVENTS_SLOTS 16384     /* of calls that are under way */
#define EVENTS_EXPECT_BITS 11
#define EVENTS_EXPECT_ROWS (1 << EVENTS_EXPECT_BITS)
#define EVENTS_EXPECT_WAYS 4

enum events_type { EVENTS_OPEN = 1, EVENTS_EXEC, EVENTS_NET, EVENTS_WATCH, EVENTS_TYPES };

/* What of the record is not the whole truth, or where it comes from. */
enum events_flag {
	EVENTS_CUT_PATH = 1,  /* the path has more names above those that are told */
	EVENTS_CUT_ARGV = 2,
	EVENTS_URING = 4,     /* asked for by io_uring */
	EVENTS_ASKED = 8,     /* as the process named it: nobody knows yet whether it was done */
	EVENTS_RAW = 16,      /* a socket was made whose packets nobody looks at */
	EVENTS_NO_ARGV = 32,  /* the arguments could not be read */
	/* Of an exec that was held, and for which the daemon said what it expects: at most one. */
	EVENTS_AS_EXPECTED = 64,
	EVENTS_KILLED = 128,  /* something else; the process ends before its first instruction */
	EVENTS_CHANGED = 256, /* the same, but nobody is killed now, or the signal could not be sent */
	EVENTS_UNSURE = 512,  /* it could not be compared */
};

struct events_head {
	__u32 type, flags;
	__u64 time_ns;       /* CLOCK_BOOTTIME */
	__u64 start_time_ns; /* of the process */
	__u32 tgid, tid, ppid, tree_id;
	__u32 uid;           /* effective */
	__s32 result;        /* of the call: -errno, a descriptor, 0 */
	char comm[WIRE_COMM];
};

/*
 * A path is told as the kernel has it: names from the last to the first, each with a NUL; then, where
 * the process's own words are all there is, those (`given`), which begin at that path unless they
 * begin at the root.
 */
struct events_open { /* EVENTS_OPEN, EVENTS_WATCH */
	struct events_head head;
	__u64 ino;
	__u32 dev;        /* the superblock's, as the kernel numbers: 12 bits, 20 bits */
	__u32 open_flags; /* O_* */
	__u32 names_len, given_len; /* bytes that follow, in this order */
};

struct events_exec {
	struct events_head head;
	__u32 names_len;     /* path of what runs now */
	__u32 filename_len;  /* as it was given to execve(), without a NUL */
	__u32 argv_len;      /* in this order */
	__u32 dev;           /* as in events_open, of the program that runs */
	__u64 ino;
};

struct events_net {
	struct events_head head;
	__u32 family, sock_type, protocol; /* of the socket */
	__u32 address_len;
	__u8 address[EVENTS_ADDRESS]; /* struct sockaddr */
};

/* In memory that the daemon maps. */
struct events_counters { /* of one processor */
	__u64 sent[EVENTS_TYPES]; /* that were to be told */
	__u64 lost[EVENTS_TYPES]; /* of these, without room in the ring, or gone before they could be read */
} __attribute__((aligned(64))); /* a line of its own */

/* Opens of processes with this number, modulo, that have begun and not ended. */
struct events_slot {
	__u32 reading, writing, unknown;
	__u32 uring; /* enum events_ring: what it asks io_uring for, until it runs another program */
	/* The last that began and has not ended, of a process with one thread: 32 bits its number, 14 of its
	 * tree's, 14 of when it started, and how it opens; else 0. One word, which nobody sees half. */
	__u64 alone;
};

/* OPENS: then nobody can say how it opens. CLOSES: then a descriptor may be another file's by the time
 * that the end of a request is told. */
enum events_ring { EVENTS_RING_OPENS = 1, EVENTS_RING_CLOSES = 2 };

enum events_alone { EVENTS_ALONE_READS = 1, EVENTS_ALONE_WRITES = 2 };

static inline __u64 events_alone(__u32 tgid, __u32 tree_id, __u64 start_time_ns)
{
	return (__u64)tgid << 32 | (__u64)(tree_id & 0x3fff) << 18 |
	       (start_time_ns / WIRE_TICK_NS & 0x3fff) << 4;
}

/*
 * Arguments that were decided while an exec was held, for the kernel to compare with those that the
 * new program has. In memory that the daemon maps; the daemon writes all but `used`, the kernel that
 * alone: so neither undoes what the other does. An entry counts while seq is even, not 0 and not used.
 */
struct events_expected {
	__u64 seq;           /* odd while it is written; never the same twice */
	__u64 used;          /* the seq with which it was used up */
	__u64 start_time_ns; /* of the process */
	__u64 ino;           /* of the program that was held */
	__u64 hash;          /* of all arguments, each with its NUL */
	__u64 tail_hash;     /* without the first, which an interpreter's takes the place of */
	__u32 tgid;
	__u32 dev;           /* as fstat(2) told it, as the kernel numbers */
	__u32 len, tail_len; /* bytes */
	__u32 argc;
	__u32 cut;           /* there are more than these bytes, nobody knows which */
};

struct events_expected_row {
	struct events_expected e[EVENTS_EXPECT_WAYS];
};

struct events_settings {
	__u32 on;
	__u32 enforce; /* else nobody is killed */
	__u32 bulk_asleep; /* whoever reads bulk waits to be woken */
	__u32 not_told; /* 1 << enum events_type, of what nobody would do anything with */
	__u32 inet_elsewhere; /* raw sockets of the internet are told by somebody else */
	__u32 unused;
	__u64 row_key; /* odd */
	__u64 hash_key[2];
};

/* Which row is a process's only who has the key can tell, and nobody fill it for another. */
static inline __attribute__((always_inline)) __u32 events_expect_row(__u64 row_key, __u32 tgid)
{
	return (__u32)((tgid + 1ULL) * row_key >> (64 - EVENTS_EXPECT_BITS));
}

#endif
