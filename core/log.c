/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static _Atomic int max_level = LOG_NOTICE;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&max_level, level, memory_order_relaxed);
}

/*
 * A message may quote a file name that an agent chose. Besides C0 and DEL there are the control
 * characters U+0080 to U+009F, of which one begins an escape sequence: as C2 80 to C2 9F, or as a
 * bare byte to a terminal of eight bits. As part of a longer character these bytes are text.
 */
static void disarm(char *line, size_t n)
{
	unsigned more = 0; /* bytes that the character begun before still has */

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)line[i], next = (unsigned char)line[i + 1];

		if (c < ' ' || c == 0x7f || (c >= 0x80 && c < 0xa0 && !more)) {
			line[i] = '?';
			more = 0;
		} else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
			line[i++] = '?';
			line[i] = '?';
			more = 0;
		} else if (c >= 0xc2 && c < 0xf5) {
			more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
		} else if (c >= 0x80 && c < 0xc0 && more) {
			more--;
		} else {
			more = 0;
		}
	}
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int head, n;

	if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	head = isatty(STDERR_FILENO) ? snprintf(line, sizeof(line), "oknekd: ")
				     : snprintf(line, sizeof(line), "<%d>oknekd: ", level);
	va_start(ap, fmt);
	n = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	n = (int)strlen(line);
	disarm(line, (size_t)n);
	line[n++] = '\n';
	/* One write, so that lines of several threads do not mix; nothing to do if it fails. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}
