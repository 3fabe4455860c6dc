/* SPDX-License-Identifier: Apache-2.0 */
/* Requests through io_uring by bare system calls: no library to link, nothing to hide in. What cannot
 * be had of it ends the program with CANNOT. */
#ifndef OKNEK_T_ATTACK_URING_H
#define OKNEK_T_ATTACK_URING_H

#include <linux/io_uring.h>
#include <sys/mman.h>

#include "t/attack/attack.h"

struct uring {
	struct io_uring_params par;
	int fd;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	unsigned *sq_tail, *sq_array, *cq_head, *cq_tail;
	unsigned asked;
};

static inline void uring_set_up(struct uring *u, unsigned setup_flags)
{
	char *sq, *cq;

	memset(u, 0, sizeof(*u));
	u->par.flags = setup_flags;
	u->par.sq_thread_idle = 2000;
	u->fd = (int)syscall(SYS_io_uring_setup, 4, &u->par);
	if (u->fd < 0)
		exit(attack_cannot("io_uring_setup"));
	sq = mmap(NULL, u->par.sq_off.array + u->par.sq_entries * sizeof(unsigned),
		  PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, u->par.cq_off.cqes + u->par.cq_entries * sizeof(*u->cqe),
		  PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, IORING_OFF_CQ_RING);
	u->sqe = mmap(NULL, u->par.sq_entries * sizeof(*u->sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
		      u->fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || u->sqe == MAP_FAILED)
		exit(attack_cannot("io_uring mmap"));
	u->sq_tail = (unsigned *)(sq + u->par.sq_off.tail);
	u->sq_array = (unsigned *)(sq + u->par.sq_off.array);
	u->cq_head = (unsigned *)(cq + u->par.cq_off.head);
	u->cq_tail = (unsigned *)(cq + u->par.cq_off.tail);
	u->cqe = (struct io_uring_cqe *)(cq + u->par.cq_off.cqes);
}

/* At most four. */
static inline void uring_ask(struct uring *u, const struct io_uring_sqe *sqe)
{
	u->sqe[u->asked] = *sqe;
	u->sqe[u->asked].user_data = u->asked;
	u->sq_array[u->asked] = u->asked;
	u->asked++;
}

/* All at once; returns when n of them have ended. */
static inline void uring_enter(struct uring *u, unsigned n)
{
	bool thread = u->par.flags & IORING_SETUP_SQPOLL;
	int ret;

	__atomic_store_n(u->sq_tail, *u->sq_tail + u->asked, __ATOMIC_RELEASE);
	do
		ret = (int)syscall(SYS_io_uring_enter, u->fd, thread ? 0 : u->asked, n,
				   IORING_ENTER_GETEVENTS | (thread ? IORING_ENTER_SQ_WAKEUP : 0),
				   NULL, 0);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		exit(attack_cannot("io_uring_enter"));
	if (__atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE) - *u->cq_head < n)
		exit(ATTACK_OTHER);
}

/* What the nth that was asked for came to; they end in any order. */
static inline int uring_result(const struct uring *u, unsigned nth)
{
	unsigned i = 0;

	while (i + 1 < u->asked && u->cqe[i].user_data != nth)
		i++;
	return u->cqe[i].res;
}

static inline int uring_attack(const char *path, unsigned setup_flags, unsigned sqe_flags)
{
	struct uring u;
	int fd;

	uring_set_up(&u, setup_flags);
	uring_ask(&u, &(struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
					      .flags = (uint8_t)sqe_flags,
					      .addr = (uint64_t)(uintptr_t)path,
					      .open_flags = O_RDONLY });
	uring_enter(&u, 1);
	fd = u.cqe[0].res;
	if (fd < 0) {
		errno = -fd;
		return attack_failed("io_uring openat");
	}
	return attack_read(fd);
}

#endif
