/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a helper that was taken over, and requests as it would get them from a client that
 * was: the first byte chooses. Whatever passes must be safe to use as the code uses it.
 */
#include <stdlib.h>
#include <string.h>

#include "enforce/lookup_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct wire_text *texts)
{
	for (size_t i = 0; i < WIRE_TEXTS; i++)
		if (strnlen(texts[i].p, texts[i].len_bytes + 1) > texts[i].len_bytes)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_text texts[WIRE_TEXTS];
	struct wire_request request;
	struct wire_reply reply;
	char *copy;

	if (!size)
		return 0;
	copy = malloc(size - 1); /* of the exact size, so that reading on is seen */
	if (!copy && size > 1)
		return 0;
	if (size > 1)
		memcpy(copy, data + 1, size - 1);
	if (size - 1 >= sizeof(uint32_t)) { /* what guessing would not find */
		const uint32_t magic = WIRE_MAGIC;

		memcpy(copy, &magic, sizeof(magic));
	}
	if (data[0] & 1) {
		if (wire_parse_reply(copy, size - 1, data[0] & 2, &reply, texts) == 0) {
			use(texts);
			if (reply.kind == WIRE_FOUND &&
			    (texts[2].len_bytes > LOOKUP_HANDLE_MAX || texts[0].p[0] != '/'))
				abort();
		}
	} else if (wire_parse_request(copy, size - 1, data[0] & 2, &request, texts) == 0) {
		use(texts);
	}
	free(copy);
	return 0;
}
