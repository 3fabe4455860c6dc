/* SPDX-License-Identifier: Apache-2.0 */
/* Notifications: any bytes that a read of a group could give, and others. */
#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/fanotify.h>

#include "sources/fanotify_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_Alignas(8) uint8_t event[4096];
	struct fanotify_event_metadata md;
	struct notice n = { .name = NULL };
	const char *end;

	/* As it is, in memory that ends where it ends. */
	if (fanotify_parse_notice(data, size, &n) < 0)
		assert(!n.name && !n.dir.len && !n.target.len);
	/* With lengths that are right, so that what follows them is reached. */
	if (size < sizeof(md) || size > sizeof(event))
		return 0;
	memcpy(event, data, size);
	memcpy(&md, event, sizeof(md));
	md.event_len = (uint32_t)size;
	md.metadata_len = sizeof(md);
	memcpy(event, &md, sizeof(md));
	if (fanotify_parse_notice(event, size, &n) < 0)
		return 0;
	assert(n.dir.len <= OBJECT_HANDLE_MAX && n.target.len <= OBJECT_HANDLE_MAX);
	end = (const char *)event + size;
	assert(!*n.name || (n.name > (const char *)event && n.name < end));
	assert(!*n.name || memchr(n.name, 0, (size_t)(end - n.name)));
	object_handle_hash(&n.dir);
	return 0;
}
