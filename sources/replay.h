/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that reads events from a file, so that rules can be tried and tested without a kernel.
 * One JSON object per line; empty lines and lines that begin with `#` are skipped:
 *
 *   {"kind":"file_opened","time":"2026-03-02T14:00:00Z","agent":"claude-code","session":"s1",
 *    "root_pid":4700,"pid":4711,"ppid":4700,"uid":1000,"auid":1000,"comm":"cat",
 *    "exe":"/usr/bin/cat","cgroup":"/","lineage":"claude > bash > cat","home":"/home/u",
 *    "path":"/home/u/.aws/credentials","mode":"read"}
 *
 * exec_observed has "path" (default: exe) and "argv":["bash","-c","…"]; socket_connect has
 * "dest_ip" "dest_port" "dest_host" "protocol". Only "kind" is required. A path that is no text is
 * given as "path_b64". Without "agent" the process is in no watched tree. "time" is UTC now when it
 * is left out. Unknown keys are errors: a typing mistake must not make an event that is judged
 * otherwise. There is never a permission: what is read here has happened.
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

/* True when the input has ended: nothing will come any more. */
bool replay_is_done(const struct source *s);

#endif
