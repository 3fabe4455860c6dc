/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has been told of opens and not been taken yet, for who tells of the same open: the call has ended
 * by then, and its record is on its way, in the ring or in the queue to the verdict thread. It is looked
 * at where it is; nobody waits, nothing is taken.
 */
#include "sources/ebpf_priv.h"

#ifndef OKNEK_NO_BPF

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECORDS_MAX 256 /* that are looked at in the ring, and in the queue */

int ebpf_look_open(struct ebpf_look *l, int ring_fd, uint32_t ring_bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	/* The kernel maps the records twice, one after the other: none is in two pieces. */
	size_t size = 2 * page + 2 * (size_t)ring_bytes;
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, ring_fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*l = (struct ebpf_look){ .pages = p, .page = page, .size = ring_bytes };
	return 0;
}

void ebpf_look_close(struct ebpf_look *l)
{
	if (l->pages)
		munmap((void *)l->pages, 2 * l->page + 2 * l->size);
	l->pages = NULL;
}

static uint64_t taken(const struct ebpf_look *l)
{
	return __atomic_load_n((const unsigned long *)(const void *)l->pages, __ATOMIC_ACQUIRE);
}

static uint64_t told(const struct ebpf_look *l)
{
	return __atomic_load_n((const unsigned long *)(const void *)(l->pages + l->page),
			       __ATOMIC_ACQUIRE);
}

struct sought {
	const struct event *ev;
	enum open_mode mode;
	bool found;
};

static bool is_same(const struct file_object *a, const char *path, const struct file_object *b)
{
	if (a->ino && a->ino == b->ino && a->dev == b->dev)
		return true;
	/* The numbers that programs see and those of the kernel differ on btrfs and overlay. */
	for (unsigned i = 0; i < b->n_names; i++)
		if (!strcmp(path, b->names[i].path))
			return true;
	return false;
}

static void compare(struct ebpf_look *l, const void *data, uint32_t len, struct sought *w)
{
	struct events_head h;

	if (len < sizeof(h))
		return;
	memcpy(&h, data, sizeof(h));
	if (h.type != EVENTS_OPEN || (pid_t)h.tgid != w->ev->subj.tgid ||
	    ebpf_parse(data, len, &l->record) < 0 ||
	    !is_same(&l->record.file, l->record.path, &w->ev->file))
		return;
	if (!w->found)
		w->mode = l->record.file.mode;
	else if (w->mode != l->record.file.mode)
		w->mode = OPEN_MODE_UNKNOWN;
	w->found = true;
}

/* The bulk thread takes from it meanwhile, and the kernel writes where that has taken: a copy counts
 * when the record was still there afterwards. */
static void look_at_ring(struct ebpf_look *l, struct sought *w)
{
	uint64_t at = taken(l), end = told(l);

	for (unsigned i = 0; i < RECORDS_MAX && at < end; i++) {
		const uint8_t *p = l->pages + 2 * l->page + (at & (l->size - 1));
		uint32_t header = __atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_ACQUIRE);
		uint32_t len = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		struct events_head h = { 0 };
		bool wanted;
		uint64_t now;

		if (header & BPF_RINGBUF_BUSY_BIT || len > l->size)
			return;
		wanted = !(header & BPF_RINGBUF_DISCARD_BIT) && len >= sizeof(h) &&
			 len <= sizeof(l->bytes);
		if (wanted)
			memcpy(&h, p + BPF_RINGBUF_HDR_SZ, sizeof(h));
		wanted = wanted && (pid_t)h.tgid == w->ev->subj.tgid;
		if (wanted)
			memcpy(l->bytes, p + BPF_RINGBUF_HDR_SZ, len);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		now = taken(l);
		if (now > at) {
			at = now;
			continue;
		}
		if (wanted)
			compare(l, l->bytes, len, w);
		at += ((uint64_t)len + BPF_RINGBUF_HDR_SZ + 7) & ~UINT64_C(7);
	}
}

bool ebpf_tells(struct source *base, const struct event *ev, enum open_mode *mode)
{
	struct ebpf_source *s = (struct ebpf_source *)base;
	struct sought w = { .ev = ev, .mode = OPEN_MODE_UNKNOWN };
	uint64_t at, end;
	const void *data;
	uint32_t len;

	/* The ring first: what is taken from it in between is in the queue then. */
	look_at_ring(&s->look, &w);
	at = ebpf_queue_begin(&s->bulk.queue);
	end = ebpf_queue_end(&s->bulk.queue);
	for (unsigned i = 0; i < RECORDS_MAX && (data = ebpf_queue_look(&s->bulk.queue, &at, end, &len)); i++)
		compare(&s->look, data, len, &w);
	if (w.found)
		*mode = w.mode;
	return w.found;
}

#endif
