/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several sources tell of one action, and what was decided about execs while they were held. All
 * on the verdict thread, but for what says otherwise.
 */
#ifndef OKNEK_TOOLS_DAEMON_FUSE_H
#define OKNEK_TOOLS_DAEMON_FUSE_H

#include "tools/daemon.h"

/* The arguments of an exec that was let go, as far as they can be told from others. */
struct exec_told {
	pid_t tgid; /* 0: none */
	uint64_t start_time_ns, dev, ino, time_ns;
	uint64_t hash, tail_hash; /* keyed; tail: without the first */
	size_t len_bytes, tail_bytes;
	bool cut;     /* there were more */
	bool unknown; /* nobody could read them */
	unsigned n_fired;
	uint64_t fired[FIRED_MAX]; /* keyed hashes of the rules that did */
};

enum exec_same {
	EXEC_DIFFERS,
	EXEC_LIKE, /* with what an interpreter puts before them, or as far as was looked */
	EXEC_SAME,
};

/* Are these the arguments that were decided? Any thread. */
enum exec_same daemon_exec_same(const struct daemon *d, const struct exec_told *told,
				const char *argv, size_t len_bytes, bool cut);
/* Does a rule fire that did not when they were decided? Any thread. */
bool daemon_exec_news(const struct daemon *d, const struct exec_told *told,
		      const struct decision *decision);
/* What was decided about the last exec of this process before time_ns, which is taken out; all that is
 * older goes with it. ino 0: of any program. False: nothing. */
bool daemon_exec_take(struct daemon *d, pid_t tgid, uint64_t start_time_ns, uint64_t ino,
		      uint64_t time_ns, struct exec_told *ret);
/* How many were forgotten before they could be compared. Any thread. */
uint64_t daemon_exec_forgotten(const struct daemon *d);

/* daemon_recheck.c: hands an exec over to be compared; ev NULL: nobody has read its arguments yet.
 * False: no room, it is not looked at. */
bool daemon_recheck(struct daemon *d, const struct exec_told *told, const struct event *ev);
/* One that nobody will hear of. */
void daemon_recheck_blind(struct daemon *d);

#endif
