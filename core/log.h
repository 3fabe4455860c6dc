/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for the operator, on stderr with the <N> prefix of sd-daemon(3) when stderr is not a
 * terminal. Who reads there may be held by an open that waits for one of our answers, be gone, or
 * a disk that stands still: after log_start() a child writes, which has nothing else open and for
 * which nobody waits. A message that it has no room for is dropped and counted. All the same never
 * called on the verdict thread between an event and its answer.
 */
#ifndef OKNEK_CORE_LOG_H
#define OKNEK_CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR = 3, LOG_WARNING = 4, LOG_NOTICE = 5, LOG_INFO = 6, LOG_DEBUG = 7 };

/* Messages above this level are dropped. Default LOG_NOTICE. Level and writer are the
 * mutable globals. */
void log_set_level(enum log_level level);

/* One line, no trailing newline; control bytes in the result are replaced by '?'. */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same without prefix and name: "FILE:LINE: what is wrong". */
void log_plain(const char *text);

/* Forks the writer, and its keeper, which forks another when that dies; before threads, and before
 * anything is open that a child could keep alive. SIGPIPE must be ignored. Until then, and where this
 * fails, messages are written at once, and may wait. settle: keeper and then writer call it, to give up
 * what they do not need; NULL: nothing. -errno. */
int log_start(void (*settle)(bool keeper));
/* Waits so long at the most for all to be written. What is said later is written at once. */
void log_stop(int wait_ms);

/* How many were dropped, or lost with a writer that was killed. They are told with the next message that is taken, or by
 * log_tell_dropped(). */
uint64_t log_dropped(void);
void log_tell_dropped(void);

#define log_error(...) log_msg(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_msg(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_msg(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_msg(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)

#endif
