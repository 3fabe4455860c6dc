/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a line of an event; what is read is written and read again, and must be the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/event_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *written(const struct event_line *l, size_t *len)
{
	char *buf;

	*len = event_text_write(l, NULL, 0);
	buf = malloc(*len + 1);
	if (!buf || event_text_write(l, buf, *len) != *len)
		abort();
	return buf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct event_reader *r = event_reader_new();
	const struct event_line *l;
	char why[160], *once, *twice;
	size_t len, again;

	if (!r)
		abort();
	if (!event_text_read(r, (const char *)data, size, &l, why)) {
		once = written(l, &len);
		if (memchr(once, '\n', len) || event_text_read(r, once, len, &l, why))
			abort();
		twice = written(l, &again);
		if (again != len || memcmp(once, twice, len))
			abort();
		free(once);
		free(twice);
	}
	event_reader_free(r);
	return 0;
}
