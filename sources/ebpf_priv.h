/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the two halves of the eBPF source: loading, and reading its ring. */
#ifndef OKNEK_SOURCES_EBPF_PRIV_H
#define OKNEK_SOURCES_EBPF_PRIV_H

#include "core/cleanup.h"
#include "sources/ebpf.h"
#include "sources/ebpf_parse.h"

#define EBPF_EXES 1024
#define EBPF_LINKS 40

struct bpf_link;
struct events_bpf;
struct ring_buffer;

/* What a process ran when we last heard. */
struct ebpf_exe {
	pid_t tgid; /* 0: nobody's */
	uint64_t start_time_ns;
	char path[256];
};

/* What the kernel compares execs with; see sources/bpf/events.h. */
struct ebpf_expect {
	struct events_expected_row *rows; /* mapped */
	struct events_settings *settings; /* the programs' */
	uint64_t row_key, hash_key[2];
	uint64_t seq;
	uint64_t pushed_out; /* for want of room */
	uint64_t words[EVENTS_ARGV / 8 + 16]; /* of the arguments in hand, and a group of zeros */
};

struct ebpf_source {
	struct source base;
	struct ebpf_config c;
	struct events_bpf *skel;
	struct ring_buffer *ring;
	struct bpf_link *links[EBPF_LINKS];
	unsigned n_links;
	const struct events_slot *slots; /* mapped */
	unsigned cpus;
	int epoll_fd, tracefs_fd;
	bool network;
	char gaps[192];

	struct bus *bus;
	unsigned budget;
	uint64_t last_ns, due_ns; /* due: UINT64_MAX, nothing is to be taken up */
	uint64_t seq;
	struct source_stats stats;
	struct ebpf_record record;
	struct ebpf_expect expect;
	struct ebpf_exe exes[EBPF_EXES];
	char exe[4096], lineage[LINEAGE_MAX];
};

extern const struct source_ops ebpf_ops;
int ebpf_take(void *arg, void *data, size_t len_bytes); /* one record, as libbpf gives it */

/* ebpf_exec.c; map: while nothing is attached. -errno. */
int ebpf_exec_map(struct ebpf_expect *x, int map_fd, struct events_settings *settings);
void ebpf_exec_unmap(struct ebpf_expect *x);

/* ebpf_open.c */
void ebpf_switch(struct ebpf_source *s, bool on);
const struct events_counters *ebpf_counters(const struct ebpf_source *s);
void ebpf_free(struct ebpf_source *s);

#endif
