/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the two halves of the eBPF source: loading, and reading its ring. */
#ifndef OKNEK_SOURCES_EBPF_PRIV_H
#define OKNEK_SOURCES_EBPF_PRIV_H

#include "core/cleanup.h"
#include "sources/ebpf.h"
#include "sources/ebpf_parse.h"
#include "sources/ebpf_queue.h"

#define EBPF_EXES 1024
#define EBPF_EXES_KEPT 3  /* of one process, the last */
#define EBPF_ANSWERS 1024 /* rows of what rules ask for */
#define EBPF_ANSWER_WAYS 4
#define EBPF_LINKS 40

struct bpf_link;
struct events_bpf;
struct ring_buffer;

/* What a process ran when, as far as we have heard: what it did before it ran another program may be
 * looked at after that is known. */
struct ebpf_exe {
	pid_t tgid; /* 0: nobody's */
	uint64_t start_time_ns;
	unsigned last;
	struct {
		uint64_t since_ns; /* 0, path "": nothing */
		char path[256];    /* "": it did not fit */
	} ran[EBPF_EXES_KEPT];
};

/* Could a rule match an open that is told by these bytes? */
struct ebpf_answer {
	uint64_t generation; /* of the rules that were asked; 0: none */
	uint32_t key, len;
	bool wanted;
	uint8_t bytes[231];
};

/* What the bulk thread has; the figures and the queue are everybody's. */
struct ebpf_bulk {
	struct ring_buffer *ring;
	struct ebpf_filter filter;
	struct ebpf_answer (*answers)[EBPF_ANSWER_WAYS];
	struct ebpf_queue queue; /* to the verdict thread */
	int queue_fd;            /* it is told so */
	int epoll_fd, stop_fd;
	uint64_t generation;
	unsigned taken, put; /* in this batch */
	unsigned turn;       /* whose answer is given up for another */
	_Atomic bool stop;
	_Atomic uint64_t read, left_out, malformed;
	struct ebpf_record record;
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

/* The bulk ring as the kernel has it: what the bulk thread has not taken is looked at, and left. */
struct ebpf_look {
	const uint8_t *pages; /* the reader's position, the kernel's, the records; NULL: not mapped */
	size_t page, size;
	uint8_t bytes[EBPF_QUEUE_RECORD];
	struct ebpf_record record;
};

struct ebpf_source {
	struct source base;
	struct ebpf_config c;
	struct events_bpf *skel;
	struct ring_buffer *execs;
	struct bpf_link *links[EBPF_LINKS];
	unsigned n_links;
	const struct events_slot *slots; /* mapped */
	unsigned cpus;
	int epoll_fd, tracefs_fd;
	bool network;
	char gaps[192];

	struct bus *bus;
	unsigned budget;
	uint64_t due_ns; /* UINT64_MAX: nothing is to be taken up */
	uint64_t seq;
	struct source_stats stats;
	struct ebpf_record record;
	struct ebpf_expect expect;
	struct ebpf_exe exes[EBPF_EXES];
	char exe[4096], lineage[LINEAGE_MAX];
	struct ebpf_bulk bulk;
	struct ebpf_look look;
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
uint32_t ebpf_ring_bytes(const struct ebpf_source *s, bool bulk);
void ebpf_bulk_asleep(struct ebpf_source *s, bool asleep);

/* ebpf_look.c. -errno. */
int ebpf_look_open(struct ebpf_look *l, int ring_fd, uint32_t ring_bytes);
void ebpf_look_close(struct ebpf_look *l);

/* ebpf_bulk.c. -errno. */
int ebpf_bulk_open(struct ebpf_source *s, int ring_fd);
void ebpf_bulk_close(struct ebpf_source *s);

#endif
