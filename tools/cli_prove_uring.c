/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring by bare system calls: no library to link for one request. */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_prove.h"

static void *map(int fd, size_t len, off_t at)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);

	return p == MAP_FAILED ? NULL : p;
}

static int enter(int fd, bool thread)
{
	int r;

	do
		r = (int)syscall(SYS_io_uring_enter, fd, thread ? 0 : 1, 1,
				 IORING_ENTER_GETEVENTS | (thread ? IORING_ENTER_SQ_WAKEUP : 0), NULL, 0);
	while (r < 0 && errno == EINTR);
	return r;
}

/* Mappings go with the process, which is one attempt. */
int prove_uring(const struct io_uring_sqe *what, unsigned setup_flags)
{
	struct io_uring_params par = { .flags = setup_flags, .sq_thread_idle = 1000 };
	_cleanup_close_ int fd = (int)syscall(SYS_io_uring_setup, 4, &par);
	_Atomic unsigned *tail;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	char *sq, *cq;

	if (fd < 0)
		return PROVE_CANNOT + errno;
	sq = map(fd, par.sq_off.array + par.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	cq = map(fd, par.cq_off.cqes + par.cq_entries * sizeof(*cqe), IORING_OFF_CQ_RING);
	sqe = map(fd, par.sq_entries * sizeof(*sqe), IORING_OFF_SQES);
	if (!sq || !cq || !sqe)
		return PROVE_CANNOT + errno;
	*sqe = *what;
	((unsigned *)(sq + par.sq_off.array))[0] = 0;
	tail = (_Atomic unsigned *)(sq + par.sq_off.tail);
	prove_here();
	atomic_store(tail, atomic_load(tail) + 1);
	if (enter(fd, setup_flags & IORING_SETUP_SQPOLL) < 0)
		return PROVE_CANNOT + errno;
	cqe = (struct io_uring_cqe *)(cq + par.cq_off.cqes);
	return cqe->res < 0 ? cqe->res : PROVE_THROUGH;
}
