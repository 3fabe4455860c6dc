/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hand-over, the guardian's side. Whoever is root on this host can end us anyway; but a watched
 * process that is root gets nothing here, as it gets nothing at the control socket.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "enforce/guardian_priv.h"

#define IDLE_NS (60 * NSEC_PER_SEC) /* starting may take a while */

static bool may_ask(struct guardian *g, int fd)
{
	socklen_t len = sizeof(struct ucred);
	struct ucred peer;
	struct member m;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == 0 &&
	       !guardian_tree_of(g, peer.pid, &m);
}

/* A place for one more: free, or of whoever has not said a word for the longest time; else of whoever
 * spoke last the longest ago. The next daemon speaks at once, and again within some seconds. */
static int find_place(const struct guardian *g, uint64_t now_ns)
{
	int silent = -1, idle = -1;

	for (int i = 0; i < GUARDIAN_CONNS; i++) {
		if (g->conns[i] < 0)
			return i;
		if (!g->heard_ns[i]) {
			if (silent < 0 || g->opened_ns[i] < g->opened_ns[silent])
				silent = i;
		} else if (now_ns - g->heard_ns[i] >= IDLE_NS &&
			   (idle < 0 || g->heard_ns[i] < g->heard_ns[idle])) {
			idle = i;
		}
	}
	return silent >= 0 ? silent : idle;
}

bool guardian_serve_accept(struct guardian *g)
{
	int fd = accept4(atomic_load(&g->v->listen_fd), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	uint64_t now_ns = clock_boottime_ns();
	int i;

	if (fd < 0)
		return false;
	i = may_ask(g, fd) ? find_place(g, now_ns) : -1;
	if (i < 0) {
		close(fd);
		return true;
	}
	if (g->conns[i] >= 0)
		close(g->conns[i]);
	g->conns[i] = fd;
	g->opened_ns[i] = now_ns;
	g->heard_ns[i] = 0;
	return true;
}

static void reply(struct guardian *g, int fd, uint32_t op, int status)
{
	struct guardian_message m = {
		.magic = GUARDIAN_MAGIC,
		.op = op,
		.daemon = g->alone ? 0 : g->daemon_pid,
		.guardian = getpid(),
		.has_map = op == GUARDIAN_HELLO && g->c.members_fd >= 0,
		.status = status,
	};
	struct iovec iov = { &m, sizeof(m) };
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (m.has_map) {
		struct cmsghdr *c;

		mh.msg_control = control.buf;
		mh.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &g->c.members_fd, sizeof(int));
	}
	/* Who does not read its answers goes without. */
	sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int act(struct guardian *g, uint32_t op)
{
	switch (op) {
	case GUARDIAN_HELLO:
		return 0;
	case GUARDIAN_REPLACE:
		/* By descriptor: its number may be another's. */
		return g->alone ? 0 :
		       syscall(SYS_pidfd_send_signal, g->daemon_pidfd, SIGUSR2, NULL, 0) < 0 ? -errno : 0;
	case GUARDIAN_KILL:
		return g->alone ? 0 :
		       syscall(SYS_pidfd_send_signal, g->daemon_pidfd, SIGKILL, NULL, 0) < 0 ? -errno : 0;
	case GUARDIAN_END:
		/* While its daemon lives it ends with that. */
		g->told_to_end = g->alone;
		return g->alone ? 0 : -EBUSY;
	default:
		return -EBADMSG;
	}
}

void guardian_serve(struct guardian *g, int conn)
{
	struct guardian_message m;
	ssize_t n = recv(g->conns[conn], &m, sizeof(m), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(m) || m.magic != GUARDIAN_MAGIC) {
		close(g->conns[conn]);
		g->conns[conn] = -1;
		return;
	}
	g->heard_ns[conn] = clock_boottime_ns();
	reply(g, g->conns[conn], m.op, act(g, m.op));
}

void guardian_end_before(struct guardian *g)
{
	struct guardian_message m = { .magic = GUARDIAN_MAGIC, .op = GUARDIAN_END };
	int fd = atomic_exchange(&g->v->before_fd, -1);

	/* It may have ended already. */
	if (fd >= 0 && !atomic_load(&g->v->spare))
		send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
}
