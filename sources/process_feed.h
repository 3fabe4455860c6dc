/* SPDX-License-Identifier: Apache-2.0 */
/* What the feeds have in common; for sources/process*.c and their tests. */
#ifndef OKNEK_SOURCES_PROCESS_FEED_H
#define OKNEK_SOURCES_PROCESS_FEED_H

#include "sources/process.h"

struct process_feed_ops {
	const char *name;
	const char *gaps;
	int (*fd)(const struct process_feed *f);
	uint64_t (*caps)(const struct process_feed *f);
	int (*drain)(struct process_feed *f);
	int (*track)(struct process_feed *f, pid_t tgid, uint32_t tree_id); /* may be NULL */
	int (*untrack)(struct process_feed *f, pid_t tgid);                 /* may be NULL */
	void (*settle)(struct process_feed *f);                             /* may be NULL */
	/* Adopts members that the feed knows better than the table; how many. May be NULL. */
	int (*resync)(struct process_feed *f);
	void (*close)(struct process_feed *f); /* frees f */
};

struct process_feed { /* first member of each implementation */
	const struct process_feed_ops *ops;
	struct proctree *tree;
	struct process_feed_handler h;
	struct process_feed_stats stats;
};

/* Limits that tests make small; 0: the usual. */
struct process_feed_limits {
	uint32_t ring_bytes;    /* bpf: a power of two, at least a page */
	uint32_t members;       /* bpf: entries of the membership map */
	uint32_t receive_bytes; /* connector: receive buffer */
};

/* Each sets *ret, with ops and nothing else of the base filled in, or returns -errno and says why
 * (128 bytes). */
int process_bpf_open(const struct process_feed_limits *l, struct process_feed **ret, char why[128]);
int process_connector_open(const struct process_feed_limits *l, struct process_feed **ret,
			   char why[128]);
int process_poll_open(struct process_feed **ret, char why[128]);

/* The map tgid → struct wire_member, for other BPF programs to share; -1 when the feed has none.
 * Owned by the feed. */
int process_feed_members_fd(const struct process_feed *f);
int process_bpf_members_fd(const struct process_feed *f);
/* Has it asked io_uring to open something, since it runs what it runs? True where nobody knows. No
 * system call. What was asked for before there was this feed is not known. */
bool process_feed_uring(const struct process_feed *f, pid_t tgid);
bool process_bpf_uring(const struct process_feed *f, pid_t tgid);
/* What keeps the kernel's side of it alive without us, map and all; how many of max. */
unsigned process_feed_kept_fds(const struct process_feed *f, int *fds, unsigned max);
unsigned process_bpf_kept_fds(const struct process_feed *f, int *fds, unsigned max);

/* process_feed_open() with limits. */
int process_feed_open_limited(const char *which, const struct process_feed_limits *l,
			      struct proctree *tree, const struct process_feed_handler *h,
			      struct process_feed **ret, char why[256]);

/*
 * Makes a running process a member, if the process that has this pid has this start time. 1 if it became one, 0 if it was
 * one, -ESRCH when it is gone, -ENOSPC.
 */
int process_adopt(struct process_feed *f, uint32_t tree_id, pid_t tgid, uint64_t start_time_ns);
/* Somebody became a member: the daemon is told. */
void process_born(struct process_feed *f, pid_t tgid);
/* The member is gone: out of table and feed, and the daemon is told. */
void process_gone(struct process_feed *f, pid_t tgid);

/*
 * One datagram of the proc connector, taken apart: hostile until proven otherwise. The sequence
 * numbers of 0 … CONNECTOR_CPUS - 1 are remembered per processor.
 */
#define CONNECTOR_CPUS 1024

struct connector_event {
	enum { CONNECTOR_OTHER, CONNECTOR_ACK, CONNECTOR_FORK, CONNECTOR_EXEC, CONNECTOR_EXIT } what;
	pid_t pid, tgid;               /* of the child, the process that exec'd or exited */
	pid_t parent_pid, parent_tgid; /* fork */
	uint32_t cpu, seq;
	uint32_t ack, error; /* CONNECTOR_ACK: which message, with what result */
};

/* Calls fn for each event of a datagram; returns how many, -EPROTO when it makes no sense (what
 * came before was reported). */
int connector_parse(const void *data, size_t len_bytes,
		    void (*fn)(const struct connector_event *e, void *arg), void *arg);

#endif
