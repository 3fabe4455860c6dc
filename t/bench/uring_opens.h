/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens files by io_uring, hundreds with one system call: what can make the eBPF source tell of more opens
 * a second than a process that asks for each by itself. Each of them is opened, into a table of the ring.
 */
#ifndef OKNEK_T_BENCH_URING_OPENS_H
#define OKNEK_T_BENCH_URING_OPENS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define URING_BATCH 256
#define URING_PATH 96

struct uring_opens {
	int fd;
	unsigned next; /* of the files */
	unsigned *tail, *cq_head, *cq_tail;
	struct io_uring_sqe *sqe;
	const struct io_uring_cqe *cqe;
	unsigned cq_mask;
	char path[URING_BATCH][URING_PATH];
};

/* -errno */
static inline int uring_opens_begin(struct uring_opens *u)
{
	struct io_uring_params p = { 0 };
	int none = -1;
	unsigned *array;
	char *sq, *cq;

	u->next = 0;
	u->fd = (int)syscall(SYS_io_uring_setup, URING_BATCH, &p);
	if (u->fd < 0 || syscall(SYS_io_uring_register, u->fd, IORING_REGISTER_FILES, &none, 1) < 0)
		return -errno;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
		  MAP_SHARED, u->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(*u->cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED, u->fd, IORING_OFF_CQ_RING);
	u->sqe = mmap(NULL, p.sq_entries * sizeof(*u->sqe), PROT_READ | PROT_WRITE, MAP_SHARED, u->fd,
		      IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || u->sqe == MAP_FAILED)
		return -errno;
	u->tail = (unsigned *)(void *)(sq + p.sq_off.tail);
	u->cq_head = (unsigned *)(void *)(cq + p.cq_off.head);
	u->cq_tail = (unsigned *)(void *)(cq + p.cq_off.tail);
	u->cq_mask = p.cq_entries - 1;
	u->cqe = (const struct io_uring_cqe *)(void *)(cq + p.cq_off.cqes);
	array = (unsigned *)(void *)(sq + p.sq_off.array);
	for (unsigned i = 0; i < URING_BATCH; i++) {
		array[i] = i;
		u->sqe[i] = (struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
						   .addr = (uintptr_t)u->path[i], .open_flags = O_RDONLY,
						   .file_index = 1 /* the first of the table */ };
	}
	return 0;
}

static inline void uring_opens_name(char *buf, const char *dir, unsigned n)
{
	snprintf(buf, URING_PATH, "%.72s/f%05u", dir, n);
}

/* The next of the files of DIR, in turn; files 1: DIR itself is the file. 0 if all were opened, -errno. */
static inline int uring_opens_batch(struct uring_opens *u, const char *dir, unsigned files)
{
	unsigned head;
	int r;

	for (unsigned i = 0; i < URING_BATCH; i++) {
		if (files == 1)
			snprintf(u->path[i], URING_PATH, "%s", dir);
		else
			uring_opens_name(u->path[i], dir, u->next++ % files);
	}
	__atomic_store_n(u->tail, *u->tail + URING_BATCH, __ATOMIC_RELEASE);
	r = (int)syscall(SYS_io_uring_enter, u->fd, URING_BATCH, URING_BATCH, IORING_ENTER_GETEVENTS, NULL,
			 0);
	if (r != URING_BATCH)
		return r < 0 ? -errno : -EIO;
	r = 0;
	for (head = *u->cq_head; head != __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE); head++)
		if (u->cqe[head & u->cq_mask].res < 0)
			r = u->cqe[head & u->cq_mask].res;
	__atomic_store_n(u->cq_head, head, __ATOMIC_RELEASE);
	return r;
}

/* So many a second, as evenly as the clock lets it, and none is left out; 0: as fast as it can. Until the
 * time is over; 0: for ever. Returns how many, -errno. */
static inline int64_t uring_opens_run(const char *dir, unsigned files, double rate, double seconds)
{
	static struct uring_opens u;
	struct timespec t;
	double start, now;
	int64_t n = 0;
	int r = uring_opens_begin(&u);

	clock_gettime(CLOCK_MONOTONIC, &t);
	start = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
	while (r == 0) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		now = (double)t.tv_sec + (double)t.tv_nsec / 1e9 - start;
		if (seconds > 0 && now >= seconds)
			return n;
		if (rate > 0 && (double)n > now * rate) {
			now = start + (double)n / rate;
			t.tv_sec = (time_t)now;
			t.tv_nsec = (long)((now - (double)t.tv_sec) * 1e9);
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		}
		r = uring_opens_batch(&u, dir, files);
		n += URING_BATCH;
	}
	return r;
}

#endif
