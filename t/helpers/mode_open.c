/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode_open HOW FILE: opens FILE in one way, prints what came of it (0 or a word for errno), and exits
 * 0 when it was opened, 1 when it was refused, 2 when this way is not to be had here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path;

static int done(long fd)
{
	if (fd >= 0)
		return 0;
	if (errno != EPERM)
		perror("mode_open");
	return errno == EPERM ? 1 : 2;
}

static int with_flags(int flags)
{
	return done(open(path, flags | O_CLOEXEC, 0600));
}

static int by_openat2(void)
{
	struct open_how how = { .flags = O_WRONLY };

	return done(syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how)));
}

static int by_compat(void)
{
#ifdef __x86_64__
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
			 -1, 0);
	long r = 5; /* open() of 32-bit programs, and fstat() of others */

	snprintf(low, 4096, "%s", path);
	__asm__ volatile("int $0x80"
			 : "+a"(r)
			 : "b"((uint32_t)(uintptr_t)low), "c"(O_WRONLY), "d"(0)
			 : "memory", "r8", "r9", "r10", "r11");
	errno = (int)-(int32_t)r;
	return (int32_t)r >= 0 ? 0 : errno == ENOSYS ? 2 : done(-1);
#else
	return 2;
#endif
}

/* ---- io_uring, by bare system calls ----------------------------------------------------------- */

static struct ring {
	int fd;
	unsigned *sq_tail, *sq_array, *cq_head, *cq_tail, mask;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
} ring;

static bool ring_begin(void)
{
	struct io_uring_params p = { 0 };
	char *sq, *cq;

	ring.fd = (int)syscall(SYS_io_uring_setup, 8, &p);
	if (ring.fd < 0)
		return false;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
		  MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(*ring.cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	ring.sqe = mmap(NULL, p.sq_entries * sizeof(*ring.sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
			ring.fd, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring.sqe == MAP_FAILED)
		return false;
	ring.sq_tail = (unsigned *)(sq + p.sq_off.tail);
	ring.sq_array = (unsigned *)(sq + p.sq_off.array);
	ring.cq_head = (unsigned *)(cq + p.cq_off.head);
	ring.cq_tail = (unsigned *)(cq + p.cq_off.tail);
	ring.cqe = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	ring.mask = p.cq_entries - 1;
	return true;
}

static struct io_uring_sqe *ring_put(unsigned op)
{
	unsigned tail = *ring.sq_tail;
	struct io_uring_sqe *sqe = &ring.sqe[tail & 7];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)op;
	sqe->user_data = op;
	ring.sq_array[tail & 7] = tail & 7;
	__atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
	return sqe;
}

static void ring_put_open(unsigned sqe_flags)
{
	struct io_uring_sqe *sqe = ring_put(IORING_OP_OPENAT);

	sqe->fd = AT_FDCWD;
	sqe->addr = (uint64_t)(uintptr_t)path;
	sqe->open_flags = O_WRONLY;
	sqe->flags = (uint8_t)sqe_flags;
}

/* What came of the open, if it is over. */
static bool ring_result(int *res)
{
	while (*ring.cq_head != __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE)) {
		struct io_uring_cqe *cqe = &ring.cqe[*ring.cq_head & ring.mask];

		*res = cqe->res;
		__atomic_store_n(ring.cq_head, *ring.cq_head + 1, __ATOMIC_RELEASE);
		if (cqe->user_data == IORING_OP_OPENAT)
			return true;
	}
	return false;
}

static int result(int res)
{
	errno = -res;
	return res < 0 ? done(-1) : 0;
}

static int by_uring(unsigned sqe_flags)
{
	int res = -ENOSYS;

	if (!ring_begin())
		return 2;
	ring_put_open(sqe_flags);
	while (syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		if (errno != EINTR)
			return 2;
	return ring_result(&res) ? result(res) : 2;
}

/*
 * A request to open for writing that waits for a pipe: when somebody writes to that while this thread
 * is in a call, the open is done on the way out of it. The call is one to open for reading.
 */
static int by_way_out(void)
{
	struct io_uring_sqe *sqe;
	int pipefd[2], res = 0;
	pid_t pid;

	if (pipe(pipefd) < 0 || !ring_begin())
		return 2;
	sqe = ring_put(IORING_OP_POLL_ADD);
	sqe->fd = pipefd[0];
	sqe->poll32_events = POLLIN;
	sqe->flags = IOSQE_IO_LINK;
	ring_put_open(0);
	if (syscall(SYS_io_uring_enter, ring.fd, 2, 0, 0, NULL, 0) != 2)
		return 2;
	pid = fork();
	if (!pid) {
		usleep(30000);
		_exit(write(pipefd[1], "x", 1) != 1);
	}
	while (!ring_result(&res)) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
	}
	waitpid(pid, NULL, 0);
	return result(res);
}

/* ---- beside others ------------------------------------------------------------------------ */

static void *reads(void *arg)
{
	for (;;) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
	}
	return arg;
}

static void *idles(void *arg)
{
	poll(NULL, 0, -1);
	return arg;
}

static int beside(void *(*fn)(void *), unsigned n, int flags, unsigned times)
{
	pthread_t t;
	int r = 1;

	while (n--)
		if (pthread_create(&t, NULL, fn, NULL))
			return 2;
	usleep(20000);
	while (times-- && r == 1)
		r = with_flags(flags);
	return r;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	if (argc != 3)
		return 2;
	path = argv[2];
	alarm(20);
	if (!strcmp(how, "read"))
		return with_flags(O_RDONLY);
	if (!strcmp(how, "write"))
		return with_flags(O_WRONLY);
	if (!strcmp(how, "append"))
		return with_flags(O_WRONLY | O_APPEND);
	if (!strcmp(how, "both"))
		return with_flags(O_RDWR);
	if (!strcmp(how, "trunc"))
		return with_flags(O_RDONLY | O_TRUNC);
	if (!strcmp(how, "openat2"))
		return by_openat2();
	if (!strcmp(how, "compat"))
		return by_compat();
	if (!strcmp(how, "uring"))
		return by_uring(0);
	if (!strcmp(how, "uring-async"))
		return by_uring(IOSQE_ASYNC);
	if (!strcmp(how, "way-out"))
		return by_way_out();
	if (!strcmp(how, "write-beside-readers"))
		return beside(reads, 4, O_WRONLY, 20);
	if (!strcmp(how, "read-beside-idle"))
		return beside(idles, 10, O_RDONLY, 1);
	if (!strcmp(how, "write-beside-idle"))
		return beside(idles, 10, O_WRONLY, 1);
	return 2;
}
