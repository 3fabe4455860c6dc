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
	/* A message may quote a file name that an agent chose. */
	for (int i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[n++] = '\n';
	/* One write, so that lines of several threads do not mix; nothing to do if it fails. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}
