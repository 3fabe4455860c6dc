/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the eBPF source, taken apart: what is in the ring is believed only as far as it holds
 * together. For sources/ebpf.c, its tests and its fuzzer. */
#ifndef OKNEK_SOURCES_EBPF_PARSE_H
#define OKNEK_SOURCES_EBPF_PARSE_H

#include "core/event.h"
#include "sources/bpf/events.h"

#define EBPF_PATH_MAX (2 * (EVENTS_PATH + 256) + 16)

struct ebpf_record {
	struct events_head head;
	const char *path;     /* absolute; of the file, of the program. In the caller's buffer */
	const char *filename; /* as it was given to execve() */
	struct file_object file; /* OPEN, WATCH: dev, ino, mode */
	struct exec_object exec; /* EXEC; its argv is in the record */
	struct dest_object dest; /* NET; its protocol and path are in the buffers below */
	char filename_buf[EVENTS_PATH + 1];
	char path_buf[EBPF_PATH_MAX];
	char protocol[16];
	char socket_path[EVENTS_ADDRESS + 2];
};

/* 0, or -EPROTO: it does not hold together; *ret is not to be looked at then. */
int ebpf_parse(const void *data, size_t len_bytes, struct ebpf_record *ret);

#endif
