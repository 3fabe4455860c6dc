/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc/PID/stat and /proc/PID/status tell about one process: neither needs the process's
 * memory or its locks, so it cannot stall the reader. Start times have the resolution of /proc.
 */
#ifndef OKNEK_CORE_PROCSTAT_H
#define OKNEK_CORE_PROCSTAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* /proc tells start times in ticks of USER_HZ, which is 100 on every architecture we build for. */
#define PROCSTAT_TICK_NS 10000000ULL

struct procstat {
	pid_t tgid, ppid;
	uint64_t start_time_ns; /* CLOCK_BOOTTIME, rounded down to a tick */
	unsigned threads;
	bool dead; /* every thread has ended, only the parent's wait is missing */
	char comm[16];
};

/* -ESRCH when there is no such process, -EPROTO when /proc makes no sense. */
int procstat_read(pid_t tgid, struct procstat *ret);
/* Effective uid. -ESRCH, -EPROTO. */
int procstat_uid(pid_t tgid, uid_t *ret);
/* For procstat_read() and its fuzzing: the text of one stat file, ended by a NUL. */
int procstat_parse(const char *text, struct procstat *ret);

#endif
