/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams as a proc connector that cannot be trusted would send them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sources/process_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct connector_event *e, void *arg)
{
	int *n = arg;

	(*n)++;
	if (e->what == CONNECTOR_FORK || e->what == CONNECTOR_EXEC || e->what == CONNECTOR_EXIT)
		assert(e->pid > 0 && e->tgid > 0 && e->parent_pid >= 0 && e->parent_tgid >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int n = 0, r = connector_parse(data, size, check, &n);

	assert(r == n || r == -71 /* EPROTO */);

	/* The text of /proc/PID/stat comes from the kernel, but a process chooses its name in it. */
	if (size < 4096) {
		struct procstat s;
		char *text = malloc(size + 1);

		if (!text)
			return 0;
		memcpy(text, data, size);
		text[size] = '\0';
		if (procstat_parse(text, &s) == 0)
			assert(s.tgid > 0 && memchr(s.comm, 0, sizeof(s.comm)));
		free(text);
	}
	return 0;
}
