/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local time without asking a file: the offsets of the host's time zone are read once at start
 * into a table, so that the deciding thread can tell the local hour with arithmetic alone.
 */
#ifndef OKNEK_CORE_CLOCK_H
#define OKNEK_CORE_CLOCK_H

#include "core/event.h"

#define ZONE_TRANSITIONS_MAX 256
#define ZONE_WAIT_MS 1000 /* it takes some 10 ms */

struct zone_transition {
	int64_t from_unix_s; /* in force from here on */
	int32_t offset_s;    /* east of UTC */
};

/* Plain data; a zeroed one is UTC. at[0] also holds for everything before it. */
struct zone {
	unsigned n;
	struct zone_transition at[ZONE_TRANSITIONS_MAX]; /* ascending */
};

/* Samples the zone that TZ or /etc/localtime names, from the year 2000 to 20 years from now;
 * reads files, so at start only. Beyond the table its last offset holds. 0, or -EOVERFLOW when
 * the zone changes more often than the table can hold (nothing is stored). */
int zone_load(struct zone *z);

/* The same by a child, which is given up after that time: the file may be a pipe, or on a filesystem
 * that does not answer. The zone is never initialised in the caller's process. Before threads.
 * -ETIMEDOUT, -errno; nothing is stored then. */
int zone_load_within(struct zone *z, int deadline_ms);

int32_t zone_offset_s(const struct zone *z, int64_t unix_s);
void zone_wall_clock(const struct zone *z, int64_t unix_s, struct wall_clock *ret);
/* The same where local time is ahead of UTC by so much. */
void offset_wall_clock(int32_t offset_s, int64_t unix_s, struct wall_clock *ret);

/* The second that a time lies in, before 1970 too. */
static inline int64_t clock_second(int64_t unix_ns)
{
	return unix_ns / 1000000000 - (unix_ns % 1000000000 < 0);
}

#define RFC3339_SIZE 48

/* "2026-03-02T15:00:00+01:00"; with a zeroed zone or NULL "…Z". With `nanoseconds` the seconds
 * have nine more digits. Years outside 0 to 9999 are clamped. Returns the length, 0 when the
 * buffer is smaller than RFC3339_SIZE. */
size_t zone_rfc3339(const struct zone *z, int64_t unix_ns, bool nanoseconds, char *buf,
		    size_t size_bytes);

/* The inverse, any offset: 0 or -EINVAL. */
int rfc3339_parse(const char *text, int64_t *ret_unix_ns);

#endif
