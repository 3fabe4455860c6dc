/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for the operator, on stderr with the <N> prefix of sd-daemon(3) when stderr is not a
 * terminal. Never called on the verdict thread: stderr may be a journal that is itself waiting
 * for one of our answers.
 */
#ifndef OKNEK_CORE_LOG_H
#define OKNEK_CORE_LOG_H

enum log_level { LOG_ERROR = 3, LOG_WARNING = 4, LOG_NOTICE = 5, LOG_INFO = 6, LOG_DEBUG = 7 };

/* Messages above this level are dropped. Default LOG_NOTICE. The one mutable global. */
void log_set_level(enum log_level level);

/* One line, no trailing newline; control bytes in the result are replaced by '?'. */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_msg(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_msg(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_msg(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_msg(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)

#endif
