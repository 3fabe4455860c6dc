/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF programs put into the process ring and what the daemon reads from it. Plain fixed
 * layouts, natural alignment, no padding that is not named.
 */
#ifndef OKNEK_SOURCES_BPF_WIRE_H
#define OKNEK_SOURCES_BPF_WIRE_H

#include "core/wire.h"
#include "sources/bpf/events.h"

#define WIRE_FILENAME 256
#define WIRE_ARGV 512

enum wire_type { WIRE_FORK = 1, WIRE_EXEC = 2, WIRE_EXIT = 3 };

struct wire_fork { /* a member has a child; or, if asked for, anybody */
	__u32 type;
	__u32 tree_id; /* 0: not a member, as far as the kernel's side has been told */
	__u32 parent, child; /* thread group ids */
	__u64 start_time_ns; /* of the child, CLOCK_BOOTTIME */
};

struct wire_exit { /* every thread of a member has ended */
	__u32 type;
	__u32 tgid;
};

struct wire_exec { /* any process */
	__u32 type;
	__u32 tree_id; /* 0: not a member */
	__u32 tgid, ppid;
	__u64 start_time_ns;
	__u32 uid; /* effective */
	__u32 filename_len, argv_len; /* bytes; filename without the NUL */
	__u32 unused;
	char comm[WIRE_COMM];
	char filename[WIRE_FILENAME];
	char argv[WIRE_ARGV]; /* arguments, NUL between, cut where the space ends */
};

/* In memory that the daemon maps, by number modulo: who asked io_uring to open a file, and has run no
 * other program since. */
#define WIRE_URING_SLOTS 32768 /* the usual kernel.pid_max */
#define WIRE_URING_SEVERAL 0xffffffffu

struct wire_uring {
	__u32 tgid; /* 0: nobody */
	__u32 unused;
};

/* In memory the daemon maps, both ways: no system call. */
struct wire_settings {
	/* Tell forks and execs of all processes: an agent is recognised by its exec a moment after
	 * it happened, and the children it has by then are told apart by the order of records. */
	__u32 strangers;
};

struct wire_counters {
	__u64 lost_fork, lost_exec, lost_exit; /* no room in the ring */
	__u64 map_full; /* a child that could not become a member */
};

#endif
