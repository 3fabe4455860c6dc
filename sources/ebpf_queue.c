/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/ebpf_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 8 /* each record has its length before it, in as much room */
#define WRAP UINT32_MAX /* instead of a length: the next record is at the beginning */

static uint64_t room_of(uint32_t len)
{
	return ALIGN + (((uint64_t)len + ALIGN - 1) & ~(uint64_t)(ALIGN - 1));
}

static uint8_t *at(const struct ebpf_queue *q, uint64_t pos)
{
	return q->bytes + (pos & (EBPF_QUEUE_BYTES - 1));
}

static uint64_t left(uint64_t pos) /* to where the memory ends */
{
	return EBPF_QUEUE_BYTES - (pos & (EBPF_QUEUE_BYTES - 1));
}

int ebpf_queue_open(struct ebpf_queue *q)
{
	q->bytes = calloc(1, EBPF_QUEUE_BYTES);
	return q->bytes ? 0 : -ENOMEM;
}

void ebpf_queue_close(struct ebpf_queue *q)
{
	free(q->bytes);
	q->bytes = NULL;
}

bool ebpf_queue_has_room(const struct ebpf_queue *q)
{
	uint64_t used = atomic_load_explicit(&q->tail, memory_order_relaxed) -
			atomic_load_explicit(&q->head, memory_order_acquire);

	/* One that does not fit before the end of the memory wastes as much at most. */
	return EBPF_QUEUE_BYTES - used >= 2 * room_of(EBPF_QUEUE_RECORD);
}

void ebpf_queue_put(struct ebpf_queue *q, const void *data, uint32_t len)
{
	uint64_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	const uint32_t wrap = WRAP;

	if (len > EBPF_QUEUE_RECORD)
		return;
	if (left(tail) < room_of(len)) {
		memcpy(at(q, tail), &wrap, sizeof(wrap));
		tail += left(tail);
	}
	memcpy(at(q, tail), &len, sizeof(len));
	memcpy(at(q, tail) + ALIGN, data, len);
	atomic_store_explicit(&q->tail, tail + room_of(len), memory_order_release);
}

uint64_t ebpf_queue_end(const struct ebpf_queue *q)
{
	return atomic_load_explicit(&q->tail, memory_order_acquire);
}

const void *ebpf_queue_next(struct ebpf_queue *q, uint64_t end, uint32_t *len_bytes)
{
	uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
	uint32_t len;

	if (head >= end)
		return NULL;
	memcpy(&len, at(q, head), sizeof(len));
	if (len == WRAP) {
		head += left(head);
		atomic_store_explicit(&q->head, head, memory_order_release);
		memcpy(&len, at(q, head), sizeof(len));
	}
	*len_bytes = len;
	return at(q, head) + ALIGN;
}

uint64_t ebpf_queue_begin(const struct ebpf_queue *q)
{
	return atomic_load_explicit(&q->head, memory_order_relaxed);
}

const void *ebpf_queue_look(const struct ebpf_queue *q, uint64_t *pos, uint64_t end,
			    uint32_t *len_bytes)
{
	const uint8_t *data;
	uint32_t len;

	if (*pos >= end)
		return NULL;
	memcpy(&len, at(q, *pos), sizeof(len));
	if (len == WRAP) {
		*pos += left(*pos);
		memcpy(&len, at(q, *pos), sizeof(len));
	}
	data = at(q, *pos) + ALIGN;
	*pos += room_of(len);
	*len_bytes = len;
	return data;
}

void ebpf_queue_drop(struct ebpf_queue *q)
{
	uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
	uint32_t len;

	memcpy(&len, at(q, head), sizeof(len));
	atomic_store_explicit(&q->head, head + room_of(len), memory_order_release);
}
