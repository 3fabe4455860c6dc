/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink sockets of the kernel's audit, which take nothing from anybody else. */
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "core/cleanup.h"
#include "sources/audit_rules.h"

static void close_socket(struct mnl_socket **nl)
{
	if (*nl)
		mnl_socket_close(*nl);
}

int audit_socket_open(unsigned group, size_t receive_bytes)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	_cleanup_(close_socket) struct mnl_socket *nl = NULL;
	int fd, on = 1, size = (int)receive_bytes;

	nl = mnl_socket_open2(NETLINK_AUDIT, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!nl)
		return -errno;
	fd = mnl_socket_get_fd(nl);
	if (size && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    mnl_socket_bind(nl, group ? 1U << (group - 1) : 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* Connected to the kernel, it is not sent what other programs address to it. To a group they
	 * still can, with CAP_NET_ADMIN: that is seen when it is read. */
	if (connect(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

/* The credentials of what the kernel itself says are of no process. */
static bool is_kernels(struct msghdr *msg)
{
	const struct sockaddr_nl *from = msg->msg_name;

	if (msg->msg_namelen != sizeof(*from) || from->nl_family != AF_NETLINK ||
	    from->nl_pid != 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct ucred cred;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS ||
		    c->cmsg_len < CMSG_LEN(sizeof(cred)))
			continue;
		memcpy(&cred, CMSG_DATA(c), sizeof(cred));
		return cred.pid == 0;
	}
	return false;
}

ssize_t audit_socket_read(int fd, void *buf, size_t size)
{
	char control[CMSG_SPACE(sizeof(struct ucred)) + 64] = {0};
	struct sockaddr_nl from = {0};
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr msg = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	do
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (!is_kernels(&msg))
		return 0;
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return (size_t)n < sizeof(struct nlmsghdr) ? 0 : n;
}
