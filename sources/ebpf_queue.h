/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on their way from the bulk thread to the verdict thread: one writer, one reader, no lock. A
 * full queue loses nothing: the writer leaves in the kernel's ring what has no room here.
 */
#ifndef OKNEK_SOURCES_EBPF_QUEUE_H
#define OKNEK_SOURCES_EBPF_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define EBPF_QUEUE_BYTES (1u << 19) /* a power of two */
#define EBPF_QUEUE_RECORD 16384     /* no record is longer */

struct ebpf_queue {
	_Alignas(64) _Atomic uint64_t head; /* bytes that were taken; the reader's */
	_Alignas(64) _Atomic uint64_t tail; /* bytes that were put; the writer's */
	uint8_t *bytes;
};

int ebpf_queue_open(struct ebpf_queue *q); /* -ENOMEM */
void ebpf_queue_close(struct ebpf_queue *q);

/* The writer: is there room for one more, whatever its length; puts it, if it is not too long. */
bool ebpf_queue_has_room(const struct ebpf_queue *q);
void ebpf_queue_put(struct ebpf_queue *q, const void *data, uint32_t len_bytes);

/* The reader: where the last record that is there now ends; the next one, NULL when it would begin
 * there. It stays until it is dropped. */
uint64_t ebpf_queue_end(const struct ebpf_queue *q);
const void *ebpf_queue_next(struct ebpf_queue *q, uint64_t end, uint32_t *len_bytes);
void ebpf_queue_drop(struct ebpf_queue *q);
/* The reader looks ahead, and takes nothing: the record at *pos, which is moved behind it. */
uint64_t ebpf_queue_begin(const struct ebpf_queue *q);
const void *ebpf_queue_look(const struct ebpf_queue *q, uint64_t *pos, uint64_t end,
			    uint32_t *len_bytes);

#endif
