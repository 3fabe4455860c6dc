/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process feed: forks, execs and exits, in order, into the process tree. Best first: BPF
 * tracepoints (membership inherited in the kernel before the child runs), the proc connector
 * (CLONE_PARENT escapes it), a scan of /proc alone. All calls but scan are for the verdict thread.
 */
#ifndef OKNEK_SOURCES_PROCESS_H
#define OKNEK_SOURCES_PROCESS_H

#include "core/proctree.h"

struct process_feed;

/* An exec of a process that is not (or is) a member: for recognising agents. Strings borrowed. */
struct process_exec {
	pid_t tgid, ppid;       /* ppid 0 when the feed does not tell */
	uint64_t start_time_ns; /* 0 when the feed does not tell */
	uid_t uid;              /* effective; -1 when the feed does not tell */
	const char *comm;       /* "" when the feed does not tell */
	const char *filename;  /* as given to execve; "" when the feed does not tell */
	const char *argv;      /* first bytes of it; NULL when the feed does not tell */
	size_t argv_len_bytes;
	bool member;
};

struct process_feed_handler {
	void (*exec)(void *arg, const struct process_exec *e); /* may be NULL */
	void (*member)(void *arg, pid_t tgid);                 /* it is one now; may be NULL */
	void (*member_exit)(void *arg, pid_t tgid);            /* may be NULL */
	void *arg;
	bool strangers; /* exec() is wanted for processes that are no members, too */
};

struct process_feed_stats {
	uint64_t forks, execs, exits; /* records read; forks of members alone */
	uint64_t lost;                /* overruns and drops */
	uint64_t malformed;
};

/* which: "bpf", "connector", "scan", or NULL for the best that works. -errno; why (256 bytes)
 * says what failed on the way ("bpf: … ; using the proc connector"), "" if nothing did. */
int process_feed_open(const char *which, struct proctree *tree,
		      const struct process_feed_handler *h, struct process_feed **ret,
		      char why[256]);
void process_feed_close(struct process_feed *f);

const char *process_feed_name(const struct process_feed *f); /* bpf connector scan */
/* What this feed cannot follow, for `oknek status`; "" when nothing. */
const char *process_feed_gaps(const struct process_feed *f);
uint64_t process_feed_caps(const struct process_feed *f); /* bit per CAP_* while running */
int process_feed_fd(const struct process_feed *f);

/*
 * Takes everything the kernel has queued. Afterwards a pid that proctree_find() does not know is
 * not watched. Returns records taken; -EAGAIN when its bound was reached and more is queued, or what
 * is queued lies behind a record that another CPU has not finished; -EOVERFLOW, once, when records
 * were lost: until process_scan() was applied the caller treats unknown pids as undecided, and known
 * ones as perhaps gone. The scan feed says -EOVERFLOW once a second. System calls: none with bpf (a
 * read of the timer once a second), recvmsg with the connector, read with scan.
 */
int process_feed_drain(struct process_feed *f);

/*
 * What the feed may not do on the answer path: asks /proc for start times and names that the
 * connector does not tell and whether leaders that ended still have threads, takes children of
 * removed trees out of the kernel's map. The verdict thread calls it when the feed's fd polled
 * readable and was drained, at least once a second. Does nothing when there is nothing to do.
 */
void process_feed_settle(struct process_feed *f);

/* Tells the feed about members that the table got by other ways (new tree, adoption), and about
 * removed ones, so that their children are followed. Not on the answer path. track: -ESRCH when
 * the process ended before the feed would have told; it is no member any more then. -E2BIG when the
 * kernel's map is full. */
int process_feed_track(struct process_feed *f, pid_t tgid, uint32_t tree_id);
int process_feed_untrack(struct process_feed *f, pid_t tgid);

void process_feed_stats(const struct process_feed *f, struct process_feed_stats *ret);

/* One process of a scan of /proc. */
struct process_scan_entry {
	pid_t tgid, ppid;
	uint64_t start_time_ns; /* at the resolution of /proc */
	uid_t uid;
	char comm[16];
};
struct process_scan {
	size_t n;
	struct process_scan_entry *entries; /* sorted by tgid */
};
/* Reads /proc (stat and status only: nothing a process can stall). Any thread but verdict. */
int process_scan(struct process_scan *ret);
void process_scan_free(struct process_scan *s);
/* Adopts every descendant of a member that the table lacks, and whom the kernel's map knows;
 * returns how many were new, -ENOSPC when there was no room for some. Repeated by the caller (scan,
 * apply) until 0. Also drops members whose process is gone. Drain first. Verdict thread, not on
 * the answer path: each change is checked against /proc. */
int process_scan_apply(const struct process_scan *s, struct process_feed *f, struct proctree *t);
/* One process: start time, parent, uid, comm. -ESRCH, also when it only waits to be reaped. */
int process_read(pid_t tgid, struct process_scan_entry *ret);

#endif
