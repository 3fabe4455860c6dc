/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that reads events from a file, so that rules can be tried and tested without a kernel.
 * One JSON object per line, as core/event_text.h says; empty lines and lines that begin with `#` are
 * skipped:
 *
 *   {"kind":"file_opened","time":"2026-03-02T14:00:00Z","agent":"claude-code","session":"s1",
 *    "root_pid":4700,"pid":4711,"ppid":4700,"uid":1000,"auid":1000,"comm":"cat",
 *    "exe":"/usr/bin/cat","cgroup":"/","lineage":"claude > bash > cat","home":"/home/u",
 *    "path":"/home/u/.aws/credentials","mode":"read"}
 *
 * "time" is UTC now when it is left out. What was decided then is of no interest here. There is
 * never a permission: what is read here has happened.
 */
#ifndef OKNEK_SOURCES_REPLAY_H
#define OKNEK_SOURCES_REPLAY_H

#include <stdbool.h>

#include "core/source.h"

/* error (may be NULL) is told `file:line: message` for each bad line, which is counted as malformed
 * and skipped. -errno when the file cannot be opened. Freed with ops->close(). */
int replay_open(const char *path, void (*error)(void *arg, const char *text), void *arg,
		struct source **ret);

/* The time of the event that is being published, CLOCK_REALTIME; of the last one in between, 0
 * before the first. For the decide hook: rules about wall clocks see the event's time. */
int64_t replay_clock_unix_ns(const struct source *s);

/* By how much local time was ahead of UTC, where the event says so; else false: as it is here. */
bool replay_utc_offset(const struct source *s, int32_t *ret_s);

/* True when the input has ended: nothing will come any more. */
bool replay_is_done(const struct source *s);

#endif
