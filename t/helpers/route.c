/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rarer ways to send something somewhere, beside those of reach:
 *
 *	route WAY ADDRESS PORT
 *	route serve ADDRESS PORT        says back what comes, by TCP and UDP, until it is killed
 *	route serve-no-queue ADDRESS PORT    the same; nobody may wait to be accepted
 *	route listen PATH…              at AF_UNIX sockets, until it is killed
 *	route made WAY ADDRESS PORT     connects, says "made", goes on when its standard input ends
 *	route give PATH tcp|udp ADDRESS PORT, route take PATH    a connected socket, by SCM_RIGHTS
 *	route hand tcp|udp CMD…         CMD with a socket that is not connected as descriptor 3
 *	route on-fd WAY FD [ADDRESS PORT]
 *	route by-way HOW HOP ADDRESS PORT    with a source route
 *	route unix-full PATH            with as many slashes as sun_path has room for
 *
 * 0: the other side answered, or it left; 1: EPERM; 2: not here; 3: failed otherwise; 4: nobody
 * answered.
 */
static int reach_main(int argc, char **argv);
#define main reach_main
#include "t/helpers/reach.c"
#undef main

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/vm_sockets.h>
#include <net/ethernet.h>
#include <netinet/tcp.h>
#include <poll.h>

#define SILENT 4
#define ANSWER_MS 1000

#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE 136
#endif
#define DCCP 33
#define SENDMSG_ZC 48 /* linux/io_uring.h of 6.1 */
#define SOCK_DCCP_ 6

/* "x" goes there and comes back. */
static int converse(int fd, size_t len)
{
	static char buf[1 << 16];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	memset(buf, 'x', sizeof(buf));
	if (send(fd, buf, len, MSG_NOSIGNAL) < 0)
		return errno == ECONNREFUSED ? ATTACK_WORKED : attack_failed("send");
	if (poll(&p, 1, ANSWER_MS) <= 0)
		return SILENT;
	return recv(fd, buf, sizeof(buf), 0) > 0 ? ATTACK_WORKED : attack_failed("recv");
}

static int connected(const struct place *p, const char *way)
{
	int fd = open_socket(p->family, !strcmp(way, "udp") ? SOCK_DGRAM : SOCK_STREAM,
			     !strcmp(way, "mptcp") ? IPPROTO_MPTCP : 0);

	if (connect(fd, (const void *)&p->sa, p->len) < 0)
		exit(attack_failed("connect"));
	return fd;
}

static int serve(const struct place *p, int queue)
{
	int tcp = open_socket(p->family, SOCK_STREAM, 0), udp = open_socket(p->family, SOCK_DGRAM, 0);
	struct pollfd fds[32] = { { .fd = tcp, .events = POLLIN }, { .fd = udp, .events = POLLIN } };
	unsigned n = 2;
	char buf[4096];
	int one = 1;

	alarm(0);
	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* An address that was just given to lo may not be there yet. */
	for (int i = 0; bind(tcp, (const void *)&p->sa, p->len) < 0; i++) {
		if (errno != EADDRNOTAVAIL || i == 300)
			return attack_cannot("bind");
		usleep(10000);
	}
	if (listen(tcp, queue) < 0 || bind(udp, (const void *)&p->sa, p->len) < 0)
		return attack_cannot("bind");
	puts("ready");
	fflush(stdout);
	while (poll(fds, n, -1) > 0) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		ssize_t got;

		if (fds[0].revents && n < sizeof(fds) / sizeof(fds[0]))
			fds[n++] = (struct pollfd){ .fd = accept(tcp, NULL, NULL), .events = POLLIN };
		if (fds[1].revents) {
			got = recvfrom(udp, buf, sizeof(buf), 0, (void *)&from, &len);
			if (got >= 0)
				sendto(udp, buf, (size_t)got, 0, (void *)&from, len);
		}
		for (unsigned i = 2; i < n; i++) {
			if (!fds[i].revents)
				continue;
			got = recv(fds[i].fd, buf, sizeof(buf), 0);
			if (got > 0) {
				if (send(fds[i].fd, buf, (size_t)got, MSG_NOSIGNAL) >= 0)
					continue;
			}
			close(fds[i].fd);
			fds[i--] = fds[--n];
		}
	}
	return 0;
}

static int listen_unix(char **paths)
{
	alarm(0);
	for (; *paths; paths++) {
		struct sockaddr_un un = { .sun_family = AF_UNIX };
		int fd = open_socket(AF_UNIX, SOCK_STREAM, 0);
		size_t len = strlen(*paths);

		if (len >= sizeof(un.sun_path))
			return 64;
		memcpy(un.sun_path, *paths, len);
		if (un.sun_path[0] == '@')
			un.sun_path[0] = '\0';
		if (bind(fd, (void *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
						       (**paths != '@'))) < 0 ||
		    listen(fd, 64) < 0)
			return attack_cannot("%s", *paths);
		if (**paths != '@')
			chmod(*paths, 0666);
	}
	puts("ready");
	fflush(stdout);
	return pause();
}

static void await_word(void)
{
	char c;

	alarm(120);
	puts("made");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

/* Uses up what options and filters of this socket may take, so that nothing else hangs from it. */
static void use_up_room(int fd)
{
	static struct sock_filter pass[4096];
	struct sock_fprog f = { 0, pass };

	for (size_t i = 0; i < sizeof(pass) / sizeof(pass[0]); i++)
		pass[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, ~0U);
	for (unsigned n = 4096; n; n--) {
		f.len = (unsigned short)n;
		if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof(f)) == 0)
			return;
	}
}

/* The connection stood before anybody watched. */
static int by_made(const struct place *p, const char *way)
{
	int fd = connected(p, !strcmp(way, "no-room") ? "tcp" : way);
	static char big[1 << 20];

	await_word();
	if (!strcmp(way, "no-room"))
		use_up_room(fd);
	if (!strcmp(way, "full")) {
		/* More than the window takes: some of it leaves in an interrupt. */
		memset(big, 'x', sizeof(big));
		if (send(fd, big, sizeof(big), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			return attack_failed("send");
	}
	return converse(fd, 1);
}

static int by_scm(const char *path, const char *way, const struct place *p)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (char[1]){ 'x' }, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	int fd = open_socket(AF_UNIX, SOCK_STREAM, 0), other, passed;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (!way) {
		if (connect(fd, (void *)&un, sizeof(un)) < 0 || recvmsg(fd, &m, 0) < 1 ||
		    m.msg_controllen < CMSG_LEN(sizeof(int)))
			return attack_cannot("nothing passed");
		memcpy(&passed, CMSG_DATA(&control.head), sizeof(passed));
		return converse(passed, 1);
	}
	unlink(path);
	if (bind(fd, (void *)&un, sizeof(un)) < 0 || chmod(path, 0666) < 0 || listen(fd, 1) < 0)
		return attack_cannot("%s", path);
	passed = connected(p, way);
	puts("made");
	fflush(stdout);
	other = accept(fd, NULL, NULL);
	control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
					 .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.head), &passed, sizeof(passed));
	if (other < 0 || sendmsg(other, &m, 0) < 0)
		return attack_cannot("pass");
	/* It was ours: that a member has it, too, is nothing to us. */
	while (recv(other, iov.iov_base, 1, 0) > 0)
		;
	return !strcmp(way, "udp") ? converse(passed, 1) : 0;
}

static int on_fd(int argc, char **argv)
{
	int fd = argc > 3 ? atoi(argv[3]) : -1;
	struct place p;

	if (!strcmp(argv[2], "send"))
		return converse(fd, 1);
	if (argc != 6)
		return 64;
	p = place_of(argv[4], argv[5]);
	if (!strcmp(argv[2], "connect"))
		return judge(connect(fd, (const void *)&p.sa, p.len), "connect");
	return judge((int)sendto(fd, "x", 1, 0, (const void *)&p.sa, p.len), "sendto");
}

static int hand(int argc, char **argv)
{
	int fd = argc > 3 ? open_socket(AF_INET, !strcmp(argv[2], "udp") ? SOCK_DGRAM : SOCK_STREAM, 0)
			  : -1;

	if (fd != 3 && dup2(fd, 3) < 0)
		return attack_cannot("dup2");
	execvp(argv[3], argv + 3);
	return attack_cannot("%s", argv[3]);
}

/* Connecting to nobody undoes a connection; then somebody is named after all. */
static int by_unspec(const struct place *p)
{
	struct place home = place_of(p->family == AF_INET ? "127.0.0.1" : "::1", "443");
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int fd = open_socket(p->family, SOCK_DGRAM, 0);

	if (connect(fd, (const void *)&home.sa, home.len) < 0 || connect(fd, &none, sizeof(none)) < 0)
		return attack_cannot("connect to nobody");
	return judge((int)sendto(fd, "x", 1, 0, (const void *)&p->sa, p->len), "sendto");
}

/* An address whose family is not told: some calls take it for IPv4. */
static int by_no_family(const struct place *p)
{
	struct place q = *p;
	int fd = open_socket(p->family, SOCK_DGRAM, 0);

	q.sa.ss_family = AF_UNSPEC;
	return judge((int)sendto(fd, "x", 1, 0, (const void *)&q.sa, q.len), "sendto");
}

/* An IPv4 address for an IPv6 socket, without mapping. */
static int by_other_family(const struct place *p, bool is_send)
{
	int fd = open_socket(AF_INET6, SOCK_DGRAM, 0);

	if (is_send)
		return judge((int)sendto(fd, "x", 1, 0, (const void *)&p->sa, p->len), "sendto");
	return judge(connect(fd, (const void *)&p->sa, p->len), "connect");
}

static int by_fastopen_connect(const struct place *p)
{
	int fd = open_socket(p->family, SOCK_STREAM, 0), one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one)) < 0)
		return attack_cannot("TCP_FASTOPEN_CONNECT");
	if (connect(fd, (const void *)&p->sa, p->len) < 0)
		return judge(-1, "connect");
	return judge((int)send(fd, "x", 1, MSG_NOSIGNAL), "send");
}

/* Its connect has no hook: what is sent then is what counts. */
static int by_udplite(const struct place *p)
{
	int fd = open_socket(p->family, SOCK_DGRAM, IPPROTO_UDPLITE);

	if (connect(fd, (const void *)&p->sa, p->len) < 0)
		return judge(-1, "connect");
	return judge((int)send(fd, "x", 1, 0), "send");
}

/* All of sun_path and no NUL at its end: slashes, as many as there is room for. */
static int by_full_path(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const char *base = strrchr(path, '/');
	size_t len = strlen(path), room = sizeof(un.sun_path);

	if (!base || len > room)
		return 64;
	memset(un.sun_path, '/', room);
	memcpy(un.sun_path, path, (size_t)(base - path));
	memcpy(un.sun_path + room - strlen(base), base, strlen(base));
	return judge(connect(open_socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, sizeof(un)), "connect");
}

/* By way of another address: what the header says beside where it goes in the end. */
struct way {
	uint8_t next, len, type, left, last, flags;
	uint16_t tag;
	struct in6_addr hop[2]; /* the first is where it goes in the end: the kernel's */
};

static int set_way(int fd, const struct place *p, const struct place *hop, const char *how)
{
	struct way h = { .len = 4, .type = 4, .left = 1, .last = 1 }; /* RFC 8754 */
	uint8_t nothing[8] = { 0, 0, 1, 4 }, loose[8] = { 0x83, 7, 4 }; /* RFC 8200, RFC 791 */

	if (p->family == AF_INET) {
		memcpy(loose + 3, &((const struct sockaddr_in *)&hop->sa)->sin_addr, 4);
		return setsockopt(fd, IPPROTO_IP, IP_OPTIONS, loose, sizeof(loose));
	}
	h.hop[1] = ((const struct sockaddr_in6 *)&hop->sa)->sin6_addr;
	if (!strcmp(how, "hop-options") &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_HOPOPTS, nothing, sizeof(nothing)) < 0)
		return -1;
	if (!strcmp(how, "options") &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, nothing, sizeof(nothing)) < 0)
		return -1;
	return setsockopt(fd, IPPROTO_IPV6, IPV6_RTHDR, &h, sizeof(h));
}

static int by_way(const char *how, const char *via, const char *to, const char *port)
{
	bool is_tcp = !strncmp(how, "tcp", 3), is_late = !strcmp(how, "tcp-late");
	const struct timeval wait = { .tv_sec = 1 };
	struct place hop = place_of(via, port), p = place_of(to, port);
	int fd;

	fd = open_socket(p.family, is_tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (is_late && connect(fd, (const void *)&p.sa, p.len) < 0)
		return attack_failed("connect");
	if (set_way(fd, &p, &hop, how) < 0)
		return attack_cannot("setsockopt");
	if (!is_tcp && strcmp(how, "connected") != 0)
		return judge((int)sendto(fd, "x", 1, 0, (const void *)&p.sa, p.len), "sendto");
	if (!is_late && connect(fd, (const void *)&p.sa, p.len) < 0)
		return errno != EINPROGRESS ? attack_failed("connect") :
		       p.family == AF_INET ? ATTACK_WORKED : SILENT; /* nobody here passes it on */
	return is_tcp ? converse(fd, 1) : judge((int)send(fd, "x", 1, 0), "send");
}

static int by_packet(void)
{
	int fd = open_socket(AF_PACKET, SOCK_DGRAM, 0);
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP),
				  .sll_ifindex = (int)if_nametoindex("lo"), .sll_halen = 6 };
	char ip[20] = { 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17 };

	return judge((int)sendto(fd, ip, sizeof(ip), 0, (void *)&to, sizeof(to)), "sendto");
}

static int by_vsock(void)
{
	struct sockaddr_vm vm = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = 9 };
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		return errno == EPERM ? ATTACK_DENIED : attack_cannot("AF_VSOCK");
	if (connect(fd, (void *)&vm, sizeof(vm)) < 0 && (errno == ENODEV || errno == ENETUNREACH))
		return attack_cannot("no transport");
	return errno == EPERM ? ATTACK_DENIED : ATTACK_WORKED;
}

static int by_uring_send(const struct place *p, unsigned opcode)
{
	int fd = open_socket(p->family, SOCK_DGRAM, 0);
	struct iovec iov = { (char[1]){ 'x' }, 1 };
	struct msghdr m = { .msg_name = (void *)&p->sa, .msg_namelen = p->len, .msg_iov = &iov,
			    .msg_iovlen = 1 };
	struct io_uring_sqe sqe = { .opcode = (uint8_t)opcode, .fd = fd };

	if (opcode != IORING_OP_SEND) {
		sqe.addr = (uint64_t)(uintptr_t)&m;
		sqe.len = 1;
	} else {
		sqe.addr = (uint64_t)(uintptr_t)iov.iov_base;
		sqe.len = 1;
		sqe.off = (uint64_t)(uintptr_t)&p->sa; /* addr2 */
		((uint16_t *)&sqe.splice_fd_in)[0] = (uint16_t)p->len; /* addr_len */
	}
	return by_ring(&sqe, 1, 0);
}

/* Behind it, in the same call, one to somewhere else. */
static int by_uring_hidden(const struct place *p, const char *address)
{
	struct place other = place_of(address, "1");
	struct io_uring_sqe sqes[2] = {
		{ .opcode = IORING_OP_CONNECT, .addr = (uint64_t)(uintptr_t)&p->sa, .off = p->len },
		{ .opcode = IORING_OP_CONNECT, .addr = (uint64_t)(uintptr_t)&other.sa, .off = other.len },
	};

	for (unsigned i = 0; i < 2; i++)
		sqes[i].fd = open_socket(p->family, SOCK_STREAM, 0);
	return by_ring(sqes, 2, 0);
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "";
	struct place p;

	alarm(20);
	if (!strcmp(way, "made") && argc == 5)
		p = place_of(argv[3], argv[4]);
	else if (!strcmp(way, "give") && argc == 6)
		p = place_of(argv[4], argv[5]);
	else if (argc == 4 && strcmp(way, "on-fd") != 0 && strcmp(way, "hand") != 0 &&
		 strcmp(way, "listen") != 0)
		p = place_of(argv[2], argv[3]);
	else
		p = (struct place){ 0 };

	if (!strcmp(way, "by-way") && argc == 6)
		return by_way(argv[2], argv[3], argv[4], argv[5]);
	if (!strcmp(way, "unix-full") && argc == 3)
		return by_full_path(argv[2]);
	if (!strcmp(way, "listen"))
		return listen_unix(argv + 2);
	if (!strcmp(way, "serve"))
		return serve(&p, 64);
	if (!strcmp(way, "serve-no-queue"))
		return serve(&p, 0);
	if (!strcmp(way, "made"))
		return by_made(&p, argv[2]);
	if (!strcmp(way, "give"))
		return by_scm(argv[2], argv[3], &p);
	if (!strcmp(way, "take") && argc == 3)
		return by_scm(argv[2], NULL, NULL);
	if (!strcmp(way, "on-fd"))
		return on_fd(argc, argv);
	if (!strcmp(way, "hand"))
		return hand(argc, argv);
	if (!strcmp(way, "unspec"))
		return by_unspec(&p);
	if (!strcmp(way, "no-family"))
		return by_no_family(&p);
	if (!strcmp(way, "connect-v4-on-v6") || !strcmp(way, "sendto-v4-on-v6"))
		return by_other_family(&p, way[0] == 's');
	if (!strcmp(way, "fastopen-connect"))
		return by_fastopen_connect(&p);
	if (!strcmp(way, "udplite"))
		return by_udplite(&p);
	if (!strcmp(way, "udplite-sendto"))
		return judge((int)sendto(open_socket(p.family, SOCK_DGRAM, IPPROTO_UDPLITE), "x", 1, 0,
					 (const void *)&p.sa, p.len), "sendto");
	if (!strcmp(way, "sctp"))
		return by_connect(&p, SOCK_STREAM, IPPROTO_SCTP);
	if (!strcmp(way, "dccp"))
		return by_connect(&p, SOCK_DCCP_, DCCP);
	if (!strcmp(way, "packet"))
		return by_packet();
	if (!strcmp(way, "vsock"))
		return by_vsock();
	if (!strcmp(way, "netlink"))
		return judge(socket(AF_NETLINK, SOCK_RAW, 0), "socket");
	if (!strcmp(way, "uring-sendmsg"))
		return by_uring_send(&p, IORING_OP_SENDMSG);
	if (!strcmp(way, "uring-sendmsg-zc"))
		return by_uring_send(&p, SENDMSG_ZC);
	if (!strcmp(way, "uring-hidden"))
		return by_uring_hidden(&p, argv[2]);
	if (!strcmp(way, "uring-sendto"))
		return by_uring_send(&p, IORING_OP_SEND);
	return reach_main(argc, argv);
}
