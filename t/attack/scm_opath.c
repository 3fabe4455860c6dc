/* SPDX-License-Identifier: Apache-2.0 */
/* A child sends its O_PATH descriptor over a socket; we reopen what arrives. */
#include <sys/socket.h>

#include "t/attack/attack.h"

static int send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(sock, &m, 0) == 1 ? 0 : -1;
}

static int receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	int fd;

	if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char self[64];
	int sv[2], fd, ret;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return attack_cannot("socketpair");
	pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (pid == 0) {
		fd = open(secret, O_PATH | O_CLOEXEC);
		_exit(fd < 0 || send_fd(sv[1], fd) < 0);
	}
	close(sv[1]);
	fd = receive_fd(sv[0]);
	if (fd < 0) {
		ret = attack_cannot("descriptor");
	} else {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
		ret = attack_open(self);
	}
	waitpid(pid, NULL, 0);
	return ret;
}
