/* SPDX-License-Identifier: Apache-2.0 */
/* The list of protected objects that an earlier daemon left: whatever it holds, only what could
 * have been written is looked for. */
#include <assert.h>

#include "enforce/marks_memory.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stand-ins for what the list is read for. */
int marks_lookup_object(struct marks *m, const struct object_handle *h,
			const struct object_name *name)
{
	(void)m;
	assert(h->len > 0 && h->len <= sizeof(h->bytes));
	assert(name->path[0] == '/' && strlen(name->path) < 4096 && strlen(name->home) < 1024 &&
	       strlen(name->project) < 1024 && !name->via[0]);
	return h->bytes[0] & 1 ? -ESTALE : 0;
}

void marks_gap(struct marks *m, const char *path, const char *why)
{
	(void)m;
	assert(path[0] && why[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct marks m;
	char *text = malloc(sizeof(MEMORY_HEAD) + size);
	size_t head = data && size && data[0] == '+' ? strlen(MEMORY_HEAD) : 0;
	FILE *f;

	/* After a plus sign: lines, below the head that would make them be read. */
	memcpy(text, MEMORY_HEAD, head);
	memcpy(text + head, data + !!head, size - !!head);
	size += head - !!head;
	f = size ? fmemopen(text, size, "r") : NULL;
	if (f) {
		recall_lines(&m, "objects", f);
		fclose(f);
	}
	free(text);
	return 0;
}
