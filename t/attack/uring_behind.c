/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring opens behind another open of the same call, which a worker does. */
#include "t/attack/uring.h"

int main(int argc, char **argv)
{
	const char *path = attack_secret(argc, argv);
	struct uring u;
	struct stat st;
	int fd;

	uring_set_up(&u, 0);
	/* Known to the kernel, so that this one does not have to wait for a worker. */
	if (stat(path, &st) < 0)
		return attack_failed("stat");
	uring_ask(&u, &(struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
					      .flags = IOSQE_ASYNC,
					      .addr = (uint64_t)(uintptr_t)"/proc/self/exe" });
	uring_ask(&u, &(struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
					      .addr = (uint64_t)(uintptr_t)path });
	uring_enter(&u, 2);
	fd = uring_result(&u, 1);
	if (fd < 0) {
		errno = -fd;
		return attack_failed("io_uring openat");
	}
	return attack_read(fd);
}
