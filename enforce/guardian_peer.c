/* SPDX-License-Identifier: Apache-2.0 */
/* Hand-over, the next daemon's side. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "enforce/guardian_priv.h"

#define ANSWER_MS 2000 /* the guardian looks each 500 ms at the latest */

struct guardian_peer {
	int sock, map_fd;
	pid_t daemon;
};

static int connect_to(const char *run_dir)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct timeval wait = { .tv_sec = ANSWER_MS / 1000 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(struct ucred);
	struct ucred peer;

	if (fd < 0)
		return -errno;
	if ((size_t)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/" GUARDIAN_SOCKET, run_dir) >=
	    sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return errno == ECONNREFUSED ? -ENOENT : -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.uid != geteuid())
		return -EPERM;
	return TAKE_FD(fd);
}

/* The first descriptor of a message; what room for one lets in besides is not kept. */
static int take_map(struct msghdr *mh)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(mh);
	int ret = -1;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return -1;
	for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= c->cmsg_len; at += sizeof(int)) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
		if (ret < 0)
			ret = fd;
		else
			close(fd);
	}
	return ret;
}

static int ask(struct guardian_peer *p, uint32_t op)
{
	struct guardian_message m = { .magic = GUARDIAN_MAGIC, .op = op };
	struct iovec iov = { &m, sizeof(m) };
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf) };
	_cleanup_close_ int map = -1;
	ssize_t n;

	if (send(p->sock, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m))
		return -EPIPE;
	n = recvmsg(p->sock, &mh, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	map = take_map(&mh);
	if (n != sizeof(m) || mh.msg_flags & MSG_TRUNC || m.magic != GUARDIAN_MAGIC || m.op != op || m.daemon < 0)
		return n ? -EBADMSG : -EPIPE;
	p->daemon = m.daemon;
	if (map >= 0 && p->map_fd < 0)
		p->map_fd = TAKE_FD(map);
	return m.status > 0 ? -EBADMSG : m.status;
}

int guardian_peer_find(const char *run_dir, struct guardian_peer **ret)
{
	struct guardian_peer *p;
	int sock = connect_to(run_dir), err;

	if (sock < 0)
		return sock;
	p = calloc(1, sizeof(*p));
	if (!p) {
		close(sock);
		return -ENOMEM;
	}
	p->sock = sock;
	p->map_fd = -1;
	err = ask(p, GUARDIAN_HELLO);
	if (err) {
		guardian_peer_free(p);
		return err;
	}
	*ret = p;
	return 0;
}

pid_t guardian_peer_daemon(const struct guardian_peer *p)
{
	return p->daemon;
}

int guardian_peer_members_fd(const struct guardian_peer *p)
{
	return p->map_fd;
}

int guardian_peer_fd(const struct guardian_peer *p)
{
	return p->sock;
}

static int wait_until_alone(struct guardian_peer *p, int wait_ms)
{
	uint64_t until_ns = clock_boottime_ns() + (uint64_t)wait_ms * NSEC_PER_MSEC;

	do {
		int err = ask(p, GUARDIAN_HELLO);

		if (err || !p->daemon)
			return err;
		poll(NULL, 0, 20);
	} while (clock_boottime_ns() < until_ns);
	return -ETIMEDOUT;
}

int guardian_peer_replace(struct guardian_peer *p, int wait_ms)
{
	int err = ask(p, GUARDIAN_REPLACE);

	if (!err)
		err = wait_until_alone(p, wait_ms);
	if (err != -ETIMEDOUT)
		return err;
	err = ask(p, GUARDIAN_KILL);
	return err ? err : wait_until_alone(p, ANSWER_MS);
}

int guardian_peer_end(struct guardian_peer *p, int wait_ms)
{
	struct pollfd pfd = { .fd = p->sock };
	int err = ask(p, GUARDIAN_END);

	if (err)
		return err == -EPIPE ? 0 : err;
	/* Its end of the connection goes with it. */
	return poll(&pfd, 1, wait_ms) > 0 ? 0 : -ETIMEDOUT;
}

void guardian_peer_free(struct guardian_peer *p)
{
	if (!p)
		return;
	cleanup_close(&p->sock);
	cleanup_close(&p->map_fd);
	free(p);
}
