/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring opens, reads and closes in one batch, and opens another file that gets the same number: by
 * the time the end of the first is told nothing of it is left. */
#include "t/attack/uring.h"

int main(int argc, char **argv)
{
	const char *path = attack_secret(argc, argv);
	char other[PATH_MAX], buf[4096] = "";
	struct uring u;
	struct stat st;
	int next, opened, got;

	uring_set_up(&u, 0);
	/* Known to the kernel, so that nothing of the batch has to wait for a worker. */
	if (stat(path, &st) < 0)
		return attack_failed("stat");
	snprintf(other, sizeof(other), "/proc/self/exe");
	next = dup(STDIN_FILENO);
	close(next);
	uring_ask(&u, &(struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
					      .addr = (uint64_t)(uintptr_t)path });
	uring_ask(&u, &(struct io_uring_sqe){ .opcode = IORING_OP_READ, .fd = next,
					      .addr = (uint64_t)(uintptr_t)buf, .len = sizeof(buf) });
	uring_ask(&u, &(struct io_uring_sqe){ .opcode = IORING_OP_CLOSE, .fd = next });
	uring_ask(&u, &(struct io_uring_sqe){ .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
					      .addr = (uint64_t)(uintptr_t)other });
	uring_enter(&u, 4);
	opened = uring_result(&u, 0);
	got = uring_result(&u, 1);
	errno = opened < 0 ? -opened : 0;
	if (opened < 0)
		return attack_failed("io_uring openat");
	if (opened != next || got <= 0)
		return attack_cannot("io_uring read: %d of descriptor %d", got, opened);
	return attack_print(buf, (size_t)got);
}
