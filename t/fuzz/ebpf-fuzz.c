/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the eBPF source's ring: whatever is in them, what comes out holds together. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sources/ebpf_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ebpf_record r;
	uint8_t *copy = malloc(size ? size : 1); /* so that a read behind its end is found */

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (ebpf_parse(copy, size, &r) == 0) {
		switch (r.head.type) {
		case EVENTS_NET:
			check(strlen(r.dest.protocol) < sizeof(r.protocol));
			check(strlen(r.dest.path) < sizeof(r.socket_path));
			break;
		case EVENTS_EXEC:
			check(r.path[0] == '/' && strlen(r.path) < sizeof(r.path_buf));
			check(!r.exec.argv || ((const uint8_t *)r.exec.argv >= copy &&
					       (const uint8_t *)r.exec.argv + r.exec.argv_len_bytes ==
						       copy + size));
			check(strlen(r.filename) <= EVENTS_PATH);
			check(r.exec.compared <= EXEC_UNSURE);
			check(!(r.head.flags & EVENTS_KILLED) || r.exec.compared == EXEC_CHANGED);
			break;
		default:
			check(r.path[0] == '/' && strlen(r.path) < sizeof(r.path_buf));
			check(!strstr(r.path, "//"));
		}
	}
	free(copy);
	return 0;
}
