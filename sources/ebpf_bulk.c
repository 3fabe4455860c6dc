/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bulk ring, read by a thread of its own: most of what is done interests no rule, and is left out
 * here, so that the verdict thread is not kept from who waits for an answer. What is left out depends
 * on the path alone: it is what the rules could not match whoever opened it.
 */
#include "sources/ebpf_priv.h"

#ifndef OKNEK_NO_BPF

#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH_MAX 1024 /* under one set of rules */
#define REST_MS 1      /* between two looks while there is anything */
#define LOOKS_MAX 3    /* that find nothing, before it sleeps */
#define SLEEP_MS 1000  /* who would wake it may have found no room for that */

/* ---- what no rule asks for ------------------------------------------------------------------- */

/* Paths come again and again; the answer is kept by the bytes that they are told by. */
static uint32_t hash_bytes(const uint8_t *p, size_t len)
{
	uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ len, word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	for (; len; p++, len--)
		h = (h ^ *p) * UINT64_C(0x100000001b3);
	/* What differs is often the end of the last word, which has moved nothing below it so far. */
	h ^= h >> 33;
	h *= UINT64_C(0xc4ceb9fe1a85ec53);
	return (uint32_t)(h ^ h >> 33);
}

static bool asks_rules(struct ebpf_bulk *k, const void *data, size_t len)
{
	if (ebpf_parse(data, len, &k->record) < 0) {
		atomic_fetch_add_explicit(&k->malformed, 1, memory_order_relaxed);
		return false;
	}
	return k->filter.wants(k->filter.arg, k->record.path);
}

static bool is_wanted(struct ebpf_bulk *k, const uint8_t *data, size_t len)
{
	const struct events_open *o = (const struct events_open *)data;
	struct ebpf_answer *row, *a;
	size_t key_len;
	uint32_t key;

	if (!k->generation || len < sizeof(*o) ||
	    (o->head.type != EVENTS_OPEN && o->head.type != EVENTS_WATCH))
		return true;
	key_len = len - sizeof(*o);
	if (key_len > sizeof(a->bytes))
		return asks_rules(k, data, len);
	key = o->names_len << 1 | (o->head.flags & EVENTS_CUT_PATH ? 1 : 0);
	row = k->answers[(hash_bytes(data + sizeof(*o), key_len) + key) % EBPF_ANSWERS];
	for (unsigned i = 0; i < EBPF_ANSWER_WAYS; i++) {
		a = &row[i];
		if (a->generation == k->generation && a->key == key && a->len == key_len &&
		    !memcmp(a->bytes, data + sizeof(*o), key_len))
			return a->wanted;
	}
	a = &row[k->turn++ % EBPF_ANSWER_WAYS];
	a->wanted = asks_rules(k, data, len);
	a->generation = k->generation;
	a->key = key;
	a->len = (uint32_t)key_len;
	memcpy(a->bytes, data + sizeof(*o), key_len);
	return a->wanted;
}

static int take(void *arg, void *data, size_t len)
{
	struct ebpf_bulk *k = arg;

	atomic_fetch_add_explicit(&k->read, 1, memory_order_relaxed);
	if (len > EBPF_QUEUE_RECORD) {
		atomic_fetch_add_explicit(&k->malformed, 1, memory_order_relaxed);
	} else if (is_wanted(k, data, len)) {
		ebpf_queue_put(&k->queue, data, (uint32_t)len);
		k->put++;
	} else {
		atomic_fetch_add_explicit(&k->left_out, 1, memory_order_relaxed);
	}
	/* libbpf stops after a record that returns an error, with that record consumed. */
	return ++k->taken < BATCH_MAX && ebpf_queue_has_room(&k->queue) ? 0 : -EAGAIN;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void wake(int eventfd)
{
	uint64_t one = 1;

	/* Fails only when the counter is full, and then its reader is awake. */
	if (write(eventfd, &one, sizeof(one)) < 0)
		return;
}

static unsigned one_batch(struct ebpf_bulk *k, struct bus *b)
{
	uint64_t left_out = atomic_load_explicit(&k->left_out, memory_order_relaxed);

	k->taken = k->put = 0;
	if (!ebpf_queue_has_room(&k->queue))
		return 0;
	k->generation = k->filter.begin ? k->filter.begin(k->filter.arg) : 0;
	ring_buffer__consume(k->ring);
	if (k->filter.end)
		k->filter.end(k->filter.arg);
	left_out = atomic_load_explicit(&k->left_out, memory_order_relaxed) - left_out;
	if (left_out)
		atomic_fetch_add_explicit(&b->events, left_out, memory_order_relaxed);
	if (k->put)
		wake(k->queue_fd);
	return k->taken;
}

/* Tells the kernel's side first and looks once more then: whatever comes in between wakes us. */
static bool may_sleep(struct ebpf_source *s, struct bus *b)
{
	if (!ebpf_queue_has_room(&s->bulk.queue))
		return false;
	ebpf_bulk_asleep(s, true);
	if (!one_batch(&s->bulk, b))
		return true;
	ebpf_bulk_asleep(s, false);
	return false;
}

void ebpf_bulk_run(struct source *base, struct bus *b)
{
	struct ebpf_source *s = (struct ebpf_source *)base;
	struct ebpf_bulk *k = &s->bulk;
	unsigned looks = 0;

	while (!atomic_load(&k->stop)) {
		struct epoll_event woken[2];
		unsigned n = one_batch(k, b);

		if (n == BATCH_MAX)
			continue;
		looks = n ? 0 : looks + 1;
		if (looks < LOOKS_MAX || !may_sleep(s, b)) {
			epoll_wait(k->epoll_fd, woken, 2, REST_MS);
			continue;
		}
		epoll_wait(k->epoll_fd, woken, 2, SLEEP_MS);
		ebpf_bulk_asleep(s, false);
		looks = 0;
	}
}

void ebpf_bulk_stop(struct source *base)
{
	struct ebpf_bulk *k = &((struct ebpf_source *)base)->bulk;

	atomic_store(&k->stop, true);
	wake(k->stop_fd);
}

/* ---- open ------------------------------------------------------------------------------------ */

int ebpf_bulk_open(struct ebpf_source *s, int ring_fd)
{
	struct epoll_event ring = { .events = EPOLLIN | EPOLLET }, stop = { .events = EPOLLIN };
	struct ebpf_bulk *k = &s->bulk;
	int r = ebpf_queue_open(&k->queue);

	if (r < 0)
		return r;
	k->filter = s->c.filter;
	k->answers = calloc(EBPF_ANSWERS, sizeof(*k->answers));
	if (!k->answers)
		return -ENOMEM;
	k->ring = ring_buffer__new(ring_fd, take, k, NULL);
	if (!k->ring)
		return -errno;
	k->queue_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (k->queue_fd < 0 || k->stop_fd < 0 || k->epoll_fd < 0 ||
	    epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, ring_fd, &ring) < 0 ||
	    epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, k->stop_fd, &stop) < 0)
		return -errno;
	return 0;
}

void ebpf_bulk_close(struct ebpf_source *s)
{
	struct ebpf_bulk *k = &s->bulk;

	ring_buffer__free(k->ring);
	ebpf_queue_close(&k->queue);
	free(k->answers);
	cleanup_close(&k->epoll_fd);
	cleanup_close(&k->stop_fd);
	cleanup_close(&k->queue_fd);
}

#else

void ebpf_bulk_run(struct source *s, struct bus *b)
{
	(void)s;
	(void)b;
}

void ebpf_bulk_stop(struct source *s)
{
	(void)s;
}

#endif
