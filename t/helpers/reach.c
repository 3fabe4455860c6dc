/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way to send something to a destination:
 *
 *	reach WAY ADDRESS PORT      reach unix PATH      reach up ADDRESS…
 *
 * 0: it left this process (a refused connection did, too), 1: EPERM, 2: cannot be tried here, 3:
 * failed otherwise. `up` gives addresses to lo, in a network namespace of its own. `wait-WAY` makes
 * the socket, tells by a line, and goes on when its standard input ends.
 */
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "t/attack/attack.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

struct place {
	struct sockaddr_storage sa;
	socklen_t len;
	int family;
};

static struct place place_of(const char *address, const char *port)
{
	struct place p = { 0 };
	struct sockaddr_in *in = (void *)&p.sa;
	struct sockaddr_in6 *in6 = (void *)&p.sa;

	if (inet_pton(AF_INET, address, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)atoi(port));
		p.len = sizeof(*in);
	} else if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)atoi(port));
		p.len = sizeof(*in6);
	} else {
		exit(64);
	}
	p.family = p.sa.ss_family;
	return p;
}

static int judge(int r, const char *step)
{
	if (r >= 0 || errno == ECONNREFUSED || errno == EINPROGRESS)
		return ATTACK_WORKED;
	return attack_failed(step);
}

static int open_socket(int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);

	if (fd < 0)
		exit(errno == EPERM ? ATTACK_DENIED : attack_cannot("socket"));
	return fd;
}

static int by_connect(const struct place *p, int type, int protocol)
{
	int fd = open_socket(p->family, type, protocol);

	return judge(connect(fd, (const void *)&p->sa, p->len), "connect");
}

static int by_sendto(const struct place *p, int flags, int type)
{
	int fd = open_socket(p->family, type, 0);

	return judge((int)sendto(fd, "x", 1, flags, (const void *)&p->sa, p->len), "sendto");
}

static int by_sendmmsg(const struct place *p)
{
	int fd = open_socket(p->family, SOCK_DGRAM, 0);
	struct iovec iov = { (char *)"x", 1 };
	struct mmsghdr m[2] = { 0 };

	for (int i = 0; i < 2; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_name = (void *)&p->sa, .msg_namelen = p->len,
						.msg_iov = &iov, .msg_iovlen = 1 };
	return judge(sendmmsg(fd, m, 2, 0), "sendmmsg");
}

/* At most four requests by a ring, in one call; what came of the first. */
static int by_ring(const struct io_uring_sqe *what, unsigned n, unsigned setup)
{
	struct io_uring_params par = { .flags = setup };
	int ring = (int)syscall(SYS_io_uring_setup, 4, &par), ret;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	unsigned *tail, *head;
	char *sq, *cq;

	if (ring < 0)
		return attack_cannot("io_uring_setup");
	sq = mmap(NULL, par.sq_off.array + par.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
		  MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(NULL, par.cq_off.cqes + par.cq_entries * sizeof(*cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED, ring, IORING_OFF_CQ_RING);
	sqe = mmap(NULL, par.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		   IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqe == MAP_FAILED)
		return attack_cannot("io_uring mmap");
	for (unsigned i = 0; i < n; i++) {
		sqe[i] = what[i];
		sqe[i].user_data = i;
		((unsigned *)(sq + par.sq_off.array))[i] = i;
	}
	tail = (unsigned *)(sq + par.sq_off.tail);
	head = (unsigned *)(cq + par.cq_off.head);
	__atomic_store_n(tail, *tail + n, __ATOMIC_RELEASE);
	do
		ret = (int)syscall(SYS_io_uring_enter, ring, setup & IORING_SETUP_SQPOLL ? 0 : n, n,
				   IORING_ENTER_GETEVENTS |
					   (setup & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0),
				   NULL, 0);
	while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return attack_cannot("io_uring_enter");
	do
		cqe = (struct io_uring_cqe *)(cq + par.cq_off.cqes) + ((*head)++ & (par.cq_entries - 1));
	while (cqe->user_data != 0 && --n);
	errno = cqe->res < 0 ? -cqe->res : 0;
	return judge(cqe->res < 0 ? -1 : 0, "io_uring");
}

static int by_uring(const struct place *p, unsigned setup, unsigned flags)
{
	struct io_uring_sqe sqe = { .opcode = IORING_OP_CONNECT, .flags = (uint8_t)flags,
				    .fd = open_socket(p->family, SOCK_STREAM, 0),
				    .addr = (uint64_t)(uintptr_t)&p->sa, .off = p->len };

	return by_ring(&sqe, 1, setup);
}

static int by_unix(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = open_socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));

	if (strlen(path) >= sizeof(un.sun_path))
		return ATTACK_CANNOT;
	memcpy(un.sun_path, path, strlen(path));
	if (path[0] == '@')
		un.sun_path[0] = '\0';
	return judge(connect(fd, (const void *)&un, len + (path[0] != '@')), "connect");
}

/* In a child's child, in a sibling, in a session of its own, in another network. */
static int by_child(const struct place *p, const char *how)
{
	int pipe_fd[2], r;
	pid_t pid;

	if (pipe(pipe_fd) < 0)
		return attack_cannot("pipe");
	if (!strcmp(how, "clone-parent"))
		pid = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
	else
		pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (!pid) {
		if (!strcmp(how, "double-fork")) {
			setsid();
			if (fork())
				_exit(0);
		}
		if (!strcmp(how, "new-net") && geteuid() != 0)
			r = attack_userns(CLONE_NEWNET);
		else
			r = !strcmp(how, "new-net") && unshare(CLONE_NEWNET) < 0 ? ATTACK_CANNOT : 0;
		if (!r) {
			int fd = socket(p->family, SOCK_DGRAM, 0);

			/* Nobody is reachable in the new one: all but EPERM shows that nobody forbade it. */
			r = connect(fd, (const void *)&p->sa, p->len) < 0 && errno == EPERM;
		}
		attack_tell(pipe_fd[1], r);
		_exit(0);
	}
	close(pipe_fd[1]);
	return attack_await(pipe_fd[0]);
}

static void *thread_main(void *arg)
{
	const struct place *p = arg;

	return (void *)(intptr_t)by_connect(p, SOCK_STREAM, 0);
}

static int by_thread(struct place *p)
{
	pthread_t t;
	void *r;

	if (pthread_create(&t, NULL, thread_main, p) || pthread_join(t, &r))
		return attack_cannot("thread");
	return (int)(intptr_t)r;
}

/* A socket that is older than the watching. */
static int by_waiting(const struct place *p, const char *how)
{
	int fd = open_socket(p->family, !strcmp(how, "tcp") ? SOCK_STREAM : SOCK_DGRAM, 0);
	char c;

	alarm(120); /* whoever waits for us is slow on a loaded machine */
	puts("made");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	if (!strcmp(how, "sendto"))
		return judge((int)sendto(fd, "x", 1, 0, (const void *)&p->sa, p->len), "sendto");
	return judge(connect(fd, (const void *)&p->sa, p->len), "connect");
}

struct in6_ifreq_ {
	struct in6_addr addr;
	uint32_t prefix;
	int index;
};

static int up(char **addresses)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), fd6 = socket(AF_INET6, SOCK_DGRAM, 0);
	struct ifreq ifr = { 0 };
	unsigned n = 0;

	strcpy(ifr.ifr_name, "lo");
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		return attack_cannot("lo");
	for (; *addresses; addresses++) {
		struct place p = place_of(*addresses, "0");
		struct in6_ifreq_ r6 = { .prefix = 128, .index = (int)if_nametoindex("lo") };

		if (p.family == AF_INET) {
			snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "lo:%u", ++n);
			memcpy(&ifr.ifr_addr, &p.sa, sizeof(struct sockaddr_in));
			if (ioctl(fd, SIOCSIFADDR, &ifr) < 0)
				return attack_cannot("%s", *addresses);
			p = place_of("255.255.255.255", "0");
			memcpy(&ifr.ifr_netmask, &p.sa, sizeof(struct sockaddr_in));
			ioctl(fd, SIOCSIFNETMASK, &ifr);
		} else {
			memcpy(&r6.addr, &((struct sockaddr_in6 *)&p.sa)->sin6_addr, 16);
			if (ioctl(fd6, SIOCSIFADDR, &r6) < 0 && errno != EEXIST)
				return attack_cannot("%s", *addresses);
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "";
	struct place p;

	alarm(20);
	if (!strcmp(way, "up"))
		return up(argv + 2);
	if (!strcmp(way, "unix") && argc == 3)
		return by_unix(argv[2]);
	if (argc != 4)
		return 64;
	p = place_of(argv[2], argv[3]);
	if (!strcmp(way, "tcp"))
		return by_connect(&p, SOCK_STREAM, 0);
	if (!strcmp(way, "udp"))
		return by_connect(&p, SOCK_DGRAM, 0);
	if (!strcmp(way, "mptcp"))
		return by_connect(&p, SOCK_STREAM, IPPROTO_MPTCP);
	if (!strcmp(way, "sendto"))
		return by_sendto(&p, 0, SOCK_DGRAM);
	if (!strcmp(way, "fastopen"))
		return by_sendto(&p, MSG_FASTOPEN, SOCK_STREAM);
	if (!strcmp(way, "sendmmsg"))
		return by_sendmmsg(&p);
	if (!strcmp(way, "uring"))
		return by_uring(&p, 0, 0);
	if (!strcmp(way, "uring-async"))
		return by_uring(&p, 0, IOSQE_ASYNC);
	if (!strcmp(way, "uring-sqpoll"))
		return by_uring(&p, IORING_SETUP_SQPOLL, 0);
	if (!strcmp(way, "raw"))
		return judge(socket(p.family, SOCK_RAW, IPPROTO_UDP), "socket");
	if (!strcmp(way, "ping"))
		return judge(socket(p.family, SOCK_DGRAM, IPPROTO_ICMP), "socket");
	if (!strcmp(way, "thread"))
		return by_thread(&p);
	if (!strncmp(way, "wait-", 5))
		return by_waiting(&p, way + 5);
	return by_child(&p, way);
}
