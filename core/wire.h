/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What all BPF programs and the daemon agree on: who is a member of a watched tree. */
#ifndef OKNEK_CORE_WIRE_H
#define OKNEK_CORE_WIRE_H

#include <linux/types.h>

#define WIRE_COMM 16

/* The membership map: tgid to this. All BPF programs share it; the fork itself writes it. The start
 * time tells a member from a stranger who got its pid; 10 ms is the resolution in which all sides
 * know it. */
struct wire_member {
	__u32 tree_id;
	__u32 unused;
	__u64 start_time_ns;
};

#define WIRE_TICK_NS 10000000ULL

#endif
