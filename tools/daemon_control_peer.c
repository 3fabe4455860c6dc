/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket's peers: who called connect, whether it still is that process, and what it was
 * refused. */
#include "tools/daemon_control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* asm-generic/socket.h, Linux 6.5 */
#endif

/* All its groups but the first, as they were when it connected. *ret is the caller's. */
static size_t peer_groups(int fd, gid_t **ret)
{
	_cleanup_free_ gid_t *groups = NULL;
	socklen_t len = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) == 0 || errno != ERANGE)
		return 0;
	groups = malloc(len);
	if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return 0;
	*ret = TAKE_PTR(groups);
	return len / sizeof(gid_t);
}

static bool is_in(gid_t group, gid_t gid, const gid_t *groups, size_t n)
{
	bool found = gid == group;

	for (size_t i = 0; i < n && !found; i++)
		found = groups[i] == group;
	return found && group != (gid_t)-1;
}

static enum role role_of(const struct control_config *c, int fd, const struct ucred *cred)
{
	_cleanup_free_ gid_t *groups = NULL;
	size_t n = peer_groups(fd, &groups);
	enum role ret = ROLE_NONE;

	if (cred->uid == 0 || is_in(c->group, cred->gid, groups, n))
		return ROLE_ADMIN;
	for (size_t i = 0; i < c->n_roles; i++) {
		const struct control_role *r = &c->roles[i];

		if (r->role > ret && (r->group ? is_in(r->id, cred->gid, groups, n) :
						 r->id == cred->uid))
			ret = r->role;
	}
	return ret;
}

/* Effective uid as /proc has it, (uid_t)-1 when the process is gone. */
static uid_t process_uid(pid_t pid)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[64], line[256];
	unsigned real, effective;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return (uid_t)-1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Uid: %u %u", &real, &effective) == 2)
			return effective;
	return (uid_t)-1;
}

/* A descriptor that stands for the process that connected: -ESRCH when it is gone already. */
static int peer_pidfd(int fd, const struct ucred *cred)
{
	_cleanup_close_ int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return TAKE_FD(pidfd);
	if (errno != ENOPROTOOPT)
		return -errno;
	/* Before Linux 6.5 the pid is all there is. It may have been reused between connect and
	 * accept; a process of another uid is certainly not the one that connected. */
	pidfd = (int)syscall(SYS_pidfd_open, cred->pid, 0);
	if (pidfd < 0)
		return -errno;
	if (process_uid(cred->pid) != cred->uid)
		return -ESRCH;
	return TAKE_FD(pidfd);
}

bool control_peer_alive(const struct conn *conn)
{
	struct pollfd p = { .fd = conn->pidfd, .events = POLLIN };

	return conn->pidfd < 0 || poll(&p, 1, 0) == 0;
}

int control_peer_identify(struct control *c, struct conn *conn)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	conn->peer.pid = cred.pid;
	conn->peer.uid = cred.uid;
	conn->peer.gid = cred.gid;
	if (cred.pid <= 0) { /* of a pid namespace that is not below ours: the least rights */
		conn->peer.member = true;
		return 0;
	}
	conn->pidfd = peer_pidfd(conn->fd, &cred);
	if (conn->pidfd < 0)
		return conn->pidfd;
	conn->peer.member = c->cfg.is_member(c->cfg.arg, cred.pid);
	conn->peer.role = conn->peer.member ? ROLE_NONE : role_of(&c->cfg, conn->fd, &cred);
	conn->peer.privileged = conn->peer.role == ROLE_ADMIN;
	return 0;
}

/* Evidence of what was refused, at a rate that floods nothing. */
void control_refuse(struct control *c, const struct control_peer *peer, const char *cmd)
{
	uint64_t unreported = 0;
	bool report;

	pthread_mutex_lock(&c->lock);
	report = c->refused_tokens > 0;
	if (report) {
		c->refused_tokens--;
		unreported = c->unreported;
		c->unreported = 0;
	} else {
		c->unreported++;
		c->unreported_peer = *peer;
		c->unreported_cmd = cmd;
	}
	pthread_mutex_unlock(&c->lock);
	if (report && c->cfg.refused)
		c->cfg.refused(c->cfg.arg, peer, cmd, unreported);
}

/* Refills the bucket, and reports what was held back once there is room (or at the end). */
void control_refuse_held_back(struct control *c, int64_t now, bool end)
{
	struct control_peer peer;
	const char *cmd = NULL;
	uint64_t unreported = 0;

	pthread_mutex_lock(&c->lock);
	if (now >= c->refused_refill_ms) {
		if (c->refused_tokens < CONTROL_REFUSED_BURST)
			c->refused_tokens++;
		c->refused_refill_ms = now + CONTROL_REFUSED_EVERY_MS;
	}
	if (c->unreported > 0 && (end || c->refused_tokens >= CONTROL_REFUSED_BURST / 2)) {
		peer = c->unreported_peer;
		cmd = c->unreported_cmd;
		unreported = c->unreported - 1;
		c->unreported = 0;
		c->refused_tokens--;
	}
	pthread_mutex_unlock(&c->lock);
	if (cmd && c->cfg.refused)
		c->cfg.refused(c->cfg.arg, &peer, cmd, unreported);
}
