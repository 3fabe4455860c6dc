/* SPDX-License-Identifier: Apache-2.0 */
#include "core/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "core/cleanup.h"

#define CHANGES_BYTES (WATCH_CHANGES * sizeof(struct change))

int watch_queue_new(struct watch_queue **ret)
{
	struct watch_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->changes = mmap(NULL, CHANGES_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (q->changes == MAP_FAILED)
		q->changes = NULL;
	if (q->wake_fd < 0 || q->done_fd < 0 || !q->changes) {
		watch_queue_free(q);
		return -ENOMEM;
	}
	*ret = q;
	return 0;
}

void watch_queue_free(struct watch_queue *q)
{
	if (!q)
		return;
	if (q->changes)
		munmap(q->changes, CHANGES_BYTES);
	cleanup_close(&q->wake_fd);
	cleanup_close(&q->done_fd);
	free(q);
}

static void wake(int fd)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, the reader is awake. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

uint64_t watch_queue_put(struct watch_queue *q, const struct change *c)
{
	uint64_t head = atomic_load_explicit(&q->head, memory_order_relaxed);

	if (head - atomic_load_explicit(&q->done, memory_order_acquire) >= WATCH_CHANGES) {
		atomic_fetch_add_explicit(&q->lost, 1, memory_order_release);
		wake(q->wake_fd);
		return head;
	}
	q->changes[head % WATCH_CHANGES] = *c;
	atomic_store_explicit(&q->head, head + 1, memory_order_release);
	wake(q->wake_fd);
	return head + 1;
}

bool watch_queue_settled(const struct watch_queue *q, uint64_t seq)
{
	return !watch_queue_lost(q) &&
	       atomic_load_explicit(&q->done, memory_order_acquire) >= seq;
}

enum exe_trust watch_queue_exe_answer(const struct watch_queue *q, unsigned slot, uint64_t token)
{
	uint64_t answer = atomic_load_explicit(&q->exe_answers[slot], memory_order_acquire);

	return answer >> 2 == token ? (enum exe_trust)(answer & 3) : EXE_UNKNOWN;
}

const struct change *watch_queue_peek(struct watch_queue *q)
{
	uint64_t done = atomic_load_explicit(&q->done, memory_order_relaxed);

	if (done == atomic_load_explicit(&q->head, memory_order_acquire))
		return NULL;
	return &q->changes[done % WATCH_CHANGES];
}

void watch_queue_advance(struct watch_queue *q)
{
	atomic_fetch_add_explicit(&q->done, 1, memory_order_release);
	wake(q->done_fd);
}

void watch_queue_answer_exe(struct watch_queue *q, const struct change *c, enum exe_trust trust)
{
	if (c->slot < PERMISSION_SLOTS)
		atomic_store_explicit(&q->exe_answers[c->slot], c->token << 2 | trust,
				      memory_order_release);
}

uint64_t watch_queue_lost(const struct watch_queue *q)
{
	uint64_t lost = atomic_load_explicit(&q->lost, memory_order_acquire);

	return lost == atomic_load_explicit(&q->found, memory_order_acquire) ? 0 : lost;
}

void watch_queue_found(struct watch_queue *q, uint64_t lost)
{
	atomic_store_explicit(&q->found, lost, memory_order_release);
	wake(q->done_fd);
}
