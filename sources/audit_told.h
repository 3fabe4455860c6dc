/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An action on its way from the thread that reads records to the verdict thread: one piece of memory,
 * without pointers. And what the audit source keeps; for sources/audit*.c and their tests.
 */
#ifndef OKNEK_SOURCES_AUDIT_TOLD_H
#define OKNEK_SOURCES_AUDIT_TOLD_H

#include <limits.h>

#include "sources/audit.h"
#include "sources/audit_parse.h"
#include "sources/ebpf_queue.h"

struct audit_told {
	enum event_kind kind;
	bool refused;
	pid_t pid, ppid; /* ppid 0: not told */
	uid_t uid;       /* effective */
	uint64_t time_ns; /* CLOCK_BOOTTIME */
	uint64_t dev, ino;
	enum open_mode mode;
	bool also_read;
	bool has_path; /* of a file: else it is not known */
	bool has_argv, argv_cut;
	bool has_addr, by_path; /* of a destination */
	uint8_t addr[16];
	uint16_t port;
	char protocol[8];
	uint32_t comm_len, exe_len, path_len, argv_len; /* behind it, a NUL after each but argv */
};

#define AUDIT_HANDED 256 /* events, by serial */
#define AUDIT_AGAIN 16

struct audit_source {
	struct source base;
	struct audit_config c;
	struct audit_rules *rules;
	bool enabled;

	/* The reading thread's, but for what is atomic. */
	struct audit_parser *parser;
	struct audit_action action;
	int multicast_fd, stop_fd;
	_Atomic bool stop, owner;
	_Atomic uint64_t records, told, partial, malformed, foreign, overruns, cut, unnamed;
	struct {
		uint32_t serial;
		int64_t time_ms;
	} handed[AUDIT_HANDED]; /* lately: by a change of sockets one may come twice */
	struct {
		pid_t pid; /* 0: free */
		uint8_t addr[16];
		uint16_t port;
		char path[sizeof(((struct audit_action *)0)->socket_path)];
	} again[AUDIT_AGAIN]; /* destinations that io_uring will try again */
	unsigned next_again;
	uint8_t datagram[AUDIT_RECORD_MAX + 64];
	char base_path[AUDIT_FULL_PATH], link[PATH_MAX];
	uint8_t out[EBPF_QUEUE_RECORD];

	/* Between the two. */
	struct ebpf_queue queue;
	int queue_fd;

	/* The verdict thread's. */
	struct bus *bus;
	uint64_t seq, read;
	_Atomic uint64_t strangers, no_rule;
	uint32_t lost_before; /* struct audit_status, when we came */
	char lineage[LINEAGE_MAX], exe[PATH_MAX];
};

/* At most size bytes; returns how many, 0 when it finds no room. path NULL: not known. */
size_t audit_told_write(const struct audit_event *e, const struct audit_action *a, const char *path,
			uint64_t time_ns, void *buf, size_t size);
/* Points into what was written. */
void audit_told_strings(const struct audit_told *t, const char **comm, const char **exe,
			const char **path, const char **argv);

/* What path a file has that begins at a descriptor of the process, or none; NULL: nobody knows. The
 * process is asked only if it lived at that time. In s->base_path. */
const char *audit_path_of(struct audit_source *s, const struct audit_event *e,
			  const struct audit_action *a, uint64_t time_ns);

#endif
