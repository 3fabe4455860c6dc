/* SPDX-License-Identifier: Apache-2.0 */
/* One openat through io_uring by bare system calls: no library to link, nothing to hide in. */
#ifndef OKNEK_T_ATTACK_URING_H
#define OKNEK_T_ATTACK_URING_H

#include <linux/io_uring.h>
#include <sys/mman.h>

#include "t/attack/attack.h"

/* The descriptor or -errno; -ENOSYS and friends of the set-up end the program with CANNOT. */
static inline int uring_openat(const char *path, unsigned setup_flags, unsigned sqe_flags)
{
	struct io_uring_params par = { .flags = setup_flags, .sq_thread_idle = 2000 };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	unsigned *tail, *array, *cq_head, *cq_tail;
	char *sq, *cq;
	int ring, ret;

	ring = (int)syscall(SYS_io_uring_setup, 4, &par);
	if (ring < 0)
		exit(attack_cannot("io_uring_setup"));
	sq = mmap(NULL, par.sq_off.array + par.sq_entries * sizeof(unsigned),
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(NULL, par.cq_off.cqes + par.cq_entries * sizeof(*cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED, ring, IORING_OFF_CQ_RING);
	sqe = mmap(NULL, par.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		   IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqe == MAP_FAILED)
		exit(attack_cannot("io_uring mmap"));
	tail = (unsigned *)(sq + par.sq_off.tail);
	array = (unsigned *)(sq + par.sq_off.array);
	cq_head = (unsigned *)(cq + par.cq_off.head);
	cq_tail = (unsigned *)(cq + par.cq_off.tail);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_OPENAT;
	sqe->flags = (uint8_t)sqe_flags;
	sqe->fd = AT_FDCWD;
	sqe->addr = (uint64_t)(uintptr_t)path;
	sqe->open_flags = O_RDONLY;
	array[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	do
		ret = (int)syscall(SYS_io_uring_enter, ring,
				   setup_flags & IORING_SETUP_SQPOLL ? 0 : 1, 1,
				   IORING_ENTER_GETEVENTS |
				   (setup_flags & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0),
				   NULL, 0);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		exit(attack_cannot("io_uring_enter"));
	if (*cq_head == __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE))
		exit(ATTACK_OTHER);
	cqe = (struct io_uring_cqe *)(cq + par.cq_off.cqes);
	return cqe[0].res;
}

static inline int uring_attack(const char *path, unsigned setup_flags, unsigned sqe_flags)
{
	int fd = uring_openat(path, setup_flags, sqe_flags);

	if (fd < 0) {
		errno = -fd;
		return attack_failed("io_uring openat");
	}
	return attack_read(fd);
}

#endif
