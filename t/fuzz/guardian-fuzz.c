/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hand-over: what comes in at the guardian's socket, and what the next daemon is told there by
 * somebody who says to be a guardian. The first byte says how long the datagrams are; some have the
 * right length and word in front, which guessing would not find.
 */
#include <assert.h>
#include <fcntl.h>
#include <poll.h>

#include "enforce/guardian_peer.c"
#include "enforce/guardian_serve.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stand-in: nobody is a member. */
uint32_t guardian_tree_of(struct guardian *g, pid_t pid, struct member *m)
{
	(void)g, (void)pid;
	*m = (struct member){ 0 };
	return 0;
}

/* A datagram, and a descriptor or two with it. */
static void put(int fd, const uint8_t *data, size_t len, unsigned fds, int pass)
{
	union {
		char buf[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)data, len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	const int pair[2] = { pass, pass };

	if (fds) {
		struct cmsghdr *c;

		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(fds * sizeof(int));
		memcpy(CMSG_DATA(c), pair, fds * sizeof(int));
	}
	sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void to_guardian(const uint8_t *data, size_t len, unsigned how, int pass)
{
	static struct verdict_state v;
	static struct guardian g;
	struct guardian_message answer;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	g.v = &v;
	g.c.members_fd = pass;
	g.daemon_pidfd = -1; /* to be signalled: nobody */
	g.alone = how & 1;
	put(pair[1], data, len, how >> 1 & 1, pass);
	g.conns[0] = pair[0];
	guardian_serve(&g, 0);
	pair[0] = g.conns[0];
	if (pair[0] >= 0 && len == sizeof(answer)) {
		assert(recv(pair[1], &answer, sizeof(answer), MSG_DONTWAIT) == sizeof(answer));
		assert(answer.magic == GUARDIAN_MAGIC && answer.status <= 0);
		close(pair[0]);
	}
	close(pair[1]);
}

static void to_daemon(const uint8_t *data, size_t len, unsigned how, int pass)
{
	struct guardian_peer p = { .map_fd = -1 };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	p.sock = pair[0];
	put(pair[1], data, len, how % 3, pass);
	if (ask(&p, how & 4 ? GUARDIAN_HELLO : GUARDIAN_REPLACE) == 0)
		assert(p.daemon >= 0 && len == sizeof(struct guardian_message));
	cleanup_close(&p.map_fd);
	close(pair[0]);
	close(pair[1]);
}

/* No descriptor of those that came along may stay open. */
static void check_closed(const int ends[2])
{
	struct pollfd p = { .fd = ends[0], .events = POLLIN };

	close(ends[1]);
	assert(poll(&p, 1, 0) == 1 && p.revents & POLLHUP);
	close(ends[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint32_t magic = GUARDIAN_MAGIC;
	uint8_t text[256];
	int ends[2];
	size_t len;

	if (size < 2 || size > sizeof(text) + 2 || pipe2(ends, O_CLOEXEC) < 0)
		return 0;
	len = size - 2;
	memset(text, 0, sizeof(text));
	memcpy(text, data + 2, len);
	if (data[0] & 1) {
		len = sizeof(struct guardian_message);
		memcpy(text, &magic, sizeof(magic));
	}
	if (len > 0) {
		to_guardian(text, len, data[1], ends[1]);
		to_daemon(text, len, data[1], ends[1]);
	}
	check_closed(ends);
	return 0;
}
