/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to a destination. What is not refused leaves for an address that is nobody's (RFC 5737, RFC 3849)
 * or nobody's but this host's; nothing is waited for. Any answer but EPERM shows that it was let.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_prove.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#define PORT 80

typedef struct prove_place place;
typedef struct prove_target target;

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

enum form { V4, V6, MAPPED };

static socklen_t address(const target *t, enum form form, union address *a)
{
	struct in_addr v4;

	memset(a, 0, sizeof(*a));
	if (form == V4) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons(PORT);
		return t->v4 && inet_pton(AF_INET, t->v4, &a->v4.sin_addr) == 1 ? sizeof(a->v4) : 0;
	}
	a->v6.sin6_family = AF_INET6;
	a->v6.sin6_port = htons(PORT);
	if (form == V6)
		return t->v6 && inet_pton(AF_INET6, t->v6, &a->v6.sin6_addr) == 1 ? sizeof(a->v6) : 0;
	if (!t->v4 || inet_pton(AF_INET, t->v4, &v4) != 1)
		return 0;
	a->v6.sin6_addr.s6_addr[10] = a->v6.sin6_addr.s6_addr[11] = 0xff;
	memcpy(a->v6.sin6_addr.s6_addr + 12, &v4, 4);
	return sizeof(a->v6);
}

static int let(int r)
{
	return r < 0 && errno == EPERM ? -EPERM : PROVE_THROUGH;
}

/* A socket for the address: a descriptor, or what came of it less than that. */
static int make(const target *t, enum form form, int type, int protocol, union address *a, socklen_t *len,
		int *fd)
{
	*len = address(t, form, a);
	if (!*len)
		return PROVE_CANNOT + EAFNOSUPPORT;
	prove_here();
	*fd = socket(a->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (*fd < 0)
		return errno == EPERM ? -EPERM : PROVE_CANNOT + errno;
	return 0;
}

static int by_connect(const target *t, enum form form, int type, int protocol)
{
	_cleanup_close_ int fd = -1;
	union address a;
	socklen_t len;
	int r = make(t, form, type, protocol, &a, &len, &fd);

	return r ? r : let(connect(fd, &a.any, len));
}

static int by_sendto(const target *t, enum form form, int type, int flags)
{
	_cleanup_close_ int fd = -1;
	union address a;
	socklen_t len;
	int r = make(t, form, type, 0, &a, &len, &fd);

	return r ? r : let((int)sendto(fd, "x", 1, flags | MSG_NOSIGNAL, &a.any, len));
}

#define WAY(name, call)                                                                        \
	static int name(const place *p, const target *t)                                       \
	{                                                                                      \
		(void)p;                                                                       \
		return call;                                                                   \
	}
WAY(tcp, by_connect(t, V4, SOCK_STREAM, 0))
WAY(tcp6, by_connect(t, V6, SOCK_STREAM, 0))
WAY(tcp_mapped, by_connect(t, MAPPED, SOCK_STREAM, 0))
WAY(udp, by_connect(t, V4, SOCK_DGRAM, 0))
WAY(udp6, by_connect(t, V6, SOCK_DGRAM, 0))
WAY(mptcp, by_connect(t, V4, SOCK_STREAM, IPPROTO_MPTCP))
WAY(datagram, by_sendto(t, V4, SOCK_DGRAM, 0))
WAY(datagram6, by_sendto(t, V6, SOCK_DGRAM, 0))
WAY(datagram_mapped, by_sendto(t, MAPPED, SOCK_DGRAM, 0))
WAY(fast_open, by_sendto(t, V4, SOCK_STREAM, MSG_FASTOPEN))

static int many(const place *p, const target *t)
{
	_cleanup_close_ int fd = -1;
	struct iovec iov = { (char *)"x", 1 };
	struct mmsghdr m = { 0 };
	union address a;
	socklen_t len;
	int r = make(t, V4, SOCK_DGRAM, 0, &a, &len, &fd);

	(void)p;
	m.msg_hdr = (struct msghdr){ .msg_name = &a, .msg_namelen = len, .msg_iov = &iov, .msg_iovlen = 1 };
	return r ? r : let(sendmmsg(fd, &m, 1, 0));
}

/* Datagrams are connected at once; a ring would wait for an answer of the other kind. */
static int ring(const target *t, unsigned flags)
{
	_cleanup_close_ int fd = -1;
	struct io_uring_sqe sqe = { .opcode = IORING_OP_CONNECT, .flags = (uint8_t)flags };
	union address a;
	socklen_t len;
	int r = make(t, V4, SOCK_DGRAM, 0, &a, &len, &fd);

	if (r)
		return r;
	sqe.fd = fd;
	sqe.addr = (uintptr_t)&a;
	sqe.off = len;
	r = prove_uring(&sqe, 0);
	return r < 0 && r != -EPERM ? PROVE_THROUGH : r;
}
WAY(by_ring, ring(t, 0))
WAY(by_ring_async, ring(t, IOSQE_ASYNC))

static int told(void *arg)
{
	return by_connect(arg, V4, SOCK_STREAM, 0);
}
WAY(by_double_fork, prove_apart(told, (void *)t, false))
WAY(by_clone_parent, prove_apart(told, (void *)t, true))

static void *in_thread(void *arg)
{
	return (void *)(intptr_t)told(arg);
}

static int by_thread(const place *p, const target *t)
{
	pthread_t thread;
	void *r;

	(void)p;
	if ((errno = pthread_create(&thread, NULL, in_thread, (void *)t)) != 0)
		return PROVE_CANNOT + errno;
	pthread_join(thread, &r);
	return (int)(intptr_t)r;
}

/* Nothing is reached from there; who is refused is refused all the same. */
static int in_namespace(const place *p, const target *t)
{
	(void)p;
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return PROVE_CANNOT + errno;
	return by_connect(t, V4, SOCK_DGRAM, 0);
}

static int by_static(const place *p, const target *t)
{
	struct prove_call calls[] = {
		{ SYS_socket, AF_INET, SOCK_DGRAM, 0, 0 },
		{ SYS_connect, 0, PROVE_STATIC_DATA, sizeof(struct sockaddr_in), 1 },
	};
	char *const argv[] = { (char *)p->program, NULL };
	union address a;
	pid_t pid;
	int r;

	if (p->unwatched)
		return prove_could_run(p);
	if (!address(t, V4, &a))
		return PROVE_CANNOT + EAFNOSUPPORT;
	r = prove_static(p->program, calls, 2, &a, sizeof(a));
	if (r)
		return r;
	pid = vfork();
	if (pid == 0) {
		prove_here();
		execve(argv[0], argv, environ);
		_exit(EIO);
	}
	r = pid < 0 ? PROVE_CANNOT + errno : prove_status(pid);
	return r == -EIO ? PROVE_CANNOT + EIO : r < 0 && r != -EPERM ? PROVE_THROUGH : r;
}

static int local(const place *p, const target *t)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	(void)p;
	if (strlen(t->path) >= sizeof(un.sun_path))
		return PROVE_CANNOT + ENAMETOOLONG;
	strcpy(un.sun_path, t->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return PROVE_CANNOT + errno;
	prove_here();
	return let(connect(fd, (struct sockaddr *)&un, sizeof(un)));
}

#define ROUTE(n, f) { .name = n, .kind = KIND_SOCKET_CONNECT, .claimed = true, .try = f }

const struct prove_route prove_connects[] = {
	ROUTE("TCP", tcp),
	ROUTE("TCP, IPv6", tcp6),
	ROUTE("TCP, IPv4-mapped IPv6", tcp_mapped),
	ROUTE("UDP", udp),
	ROUTE("UDP, IPv6", udp6),
	ROUTE("UDP sendto", datagram),
	ROUTE("UDP sendto, IPv6", datagram6),
	ROUTE("UDP sendto, IPv4-mapped IPv6", datagram_mapped),
	ROUTE("UDP sendmmsg", many),
	ROUTE("TCP fast open", fast_open),
	ROUTE("MPTCP", mptcp),
	ROUTE("io_uring", by_ring),
	ROUTE("io_uring worker", by_ring_async),
	ROUTE("static binary", by_static),
	ROUTE("thread", by_thread),
	ROUTE("double fork", by_double_fork),
	ROUTE("CLONE_PARENT", by_clone_parent),
	ROUTE("network namespace", in_namespace),
	{ .name = "AF_UNIX", .kind = KIND_SOCKET_CONNECT, .claimed = true, .try = local, .local = true },
	{ .name = NULL },
};
