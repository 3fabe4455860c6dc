/* SPDX-License-Identifier: Apache-2.0 */
/* System calls as the shim makes them: by number, so that nobody is asked about its own. */
#ifndef OKNEK_PRELOAD_SYSTEM_H
#define OKNEK_PRELOAD_SYSTEM_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef __APPLE__

/* Calls of an interposing library are its own, not interposed. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

static inline int sys_open(int dir, const char *path, int flags)
{
	return openat(dir, path, flags);
}

static inline int sys_name_open(int dir, const char *path, int flags)
{
	return openat(dir, path, O_EVTONLY | O_CLOEXEC | (flags & O_NOFOLLOW));
}

static inline ssize_t sys_name_of(int fd, char *buf, size_t size)
{
	char path[1024]; /* MAXPATHLEN, which F_GETPATH writes at most */

	if (fcntl(fd, F_GETPATH, path) < 0 || strlen(path) > size)
		return -1;
	memcpy(buf, path, strlen(path));
	return (ssize_t)strlen(path);
}

static inline ssize_t sys_getcwd(char *buf, size_t size)
{
	return getcwd(buf, size) ? (ssize_t)strlen(buf) + 1 : -1;
}

static inline int sys_close(int fd)
{
	return close(fd);
}

static inline int sys_socket(void)
{
	int on = 1, fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (fd < 0)
		return fd;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
	return fd;
}

static inline int sys_above(int fd, int least)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, least);
}

static inline int sys_connect(int fd, const struct sockaddr *a, socklen_t len)
{
	return connect(fd, a, len);
}

static inline ssize_t sys_send(int fd, const void *p, size_t n)
{
	return send(fd, p, n, MSG_NOSIGNAL);
}

static inline ssize_t sys_receive(int fd, void *p, size_t n)
{
	return recv(fd, p, n, 0);
}

/* fd -1: sleeps. */
static inline int sys_wait(int fd, short events, int64_t ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, fd >= 0, (int)ms);
}

static inline void *sys_map(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
}

static inline void sys_unmap(void *p, size_t size)
{
	munmap(p, size);
}

/* As a program, that is: a directory's right of that name is another. */
static inline bool sys_executable(const char *path)
{
	struct stat st;

	return access(path, X_OK) == 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static inline bool sys_readable(const void *p, size_t n)
{
	(void)p;
	(void)n;
	return true; /* nothing harmless is known that says so */
}

#else

#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static inline int sys_open(int dir, const char *path, int flags)
{
	return (int)syscall(SYS_openat, dir, path, flags | O_CLOEXEC, 0);
}

/* Nothing of it is read, no device is woken, and it needs no right but that to get there. */
static inline int sys_name_open(int dir, const char *path, int flags)
{
	return sys_open(dir, path, O_PATH | (flags & (O_NOFOLLOW | O_DIRECTORY)));
}

static inline ssize_t sys_readlink(const char *path, char *buf, size_t size)
{
	return syscall(SYS_readlinkat, AT_FDCWD, path, buf, size);
}

static inline ssize_t sys_name_of(int fd, char *buf, size_t size)
{
	char link[40] = "/proc/self/fd/", digits[12];
	size_t at = 14, n = 0;

	do
		digits[n++] = (char)('0' + fd % 10);
	while ((fd /= 10) > 0);
	while (n > 0)
		link[at++] = digits[--n];
	link[at] = '\0';
	return sys_readlink(link, buf, size);
}

static inline ssize_t sys_getcwd(char *buf, size_t size)
{
	return syscall(SYS_getcwd, buf, size);
}

static inline int sys_close(int fd)
{
	return (int)syscall(SYS_close, fd);
}

static inline int sys_socket(void)
{
	return (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static inline int sys_above(int fd, int least)
{
	return (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, least);
}

static inline int sys_connect(int fd, const struct sockaddr *a, socklen_t len)
{
	return (int)syscall(SYS_connect, fd, a, len);
}

static inline ssize_t sys_send(int fd, const void *p, size_t n)
{
	return syscall(SYS_sendto, fd, p, n, MSG_NOSIGNAL, NULL, 0);
}

static inline ssize_t sys_receive(int fd, void *p, size_t n)
{
	return syscall(SYS_recvfrom, fd, p, n, 0, NULL, NULL);
}

/* fd -1: sleeps. */
static inline int sys_wait(int fd, short events, int64_t ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	struct { /* as the kernel has it for this number: two of its words */
		long s, ns;
	} wait = { (long)(ms / 1000), (long)(ms % 1000) * 1000000 };

	return (int)syscall(SYS_ppoll, &p, fd >= 0 ? 1UL : 0UL, &wait, NULL, 0UL);
}

static inline void *sys_map(size_t size)
{
#ifdef SYS_mmap2
	const long call = SYS_mmap2;
#else
	const long call = SYS_mmap;
#endif

	return (void *)syscall(call, NULL, size, (long)(PROT_READ | PROT_WRITE),
			       (long)(MAP_PRIVATE | MAP_ANONYMOUS), -1L, 0L);
}

static inline void sys_unmap(void *p, size_t size)
{
	syscall(SYS_munmap, p, size);
}

/* As a program, that is: a directory's right of that name is another. Where a filter of system calls knows
 * nothing of the second, the first has to do. */
static inline bool sys_executable(const char *path)
{
	struct statx st = { 0 };

	if (syscall(SYS_faccessat, AT_FDCWD, path, X_OK) != 0)
		return false;
	return syscall(SYS_statx, AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE, &st) != 0 ||
	       S_ISREG(st.stx_mode);
}

/*
 * Can that be read, without a signal? What is asked for comes to nothing, as there is no such way to
 * set a mask, but the kernel reads the mask before it says so; no filter of system calls is without
 * this one. errno is kept.
 */
static inline bool sys_readable(const void *p, size_t n)
{
	const uintptr_t page = 4096, word = 8; /* or more, and less than a page */
	uintptr_t at = (uintptr_t)p & ~(word - 1), last = ((uintptr_t)p + n - 1) & ~(word - 1);
	int err = errno;
	bool ret = n > 0 && at <= last;

	while (ret) {
		ret = syscall(SYS_rt_sigprocmask, -1L, at, NULL, word) == 0 || errno != EFAULT;
		if (at == last)
			break;
		at = (at & ~(page - 1)) + page;
		if (at > last)
			at = last;
	}
	errno = err;
	return ret;
}

#endif

/* No system call where the kernel gives the clock to programs. */
static inline int64_t sys_now_ms(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#endif
