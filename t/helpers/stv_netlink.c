/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stv_netlink PORT COUNT PARENT CHILD: tells whoever listens on that netlink port, and to the proc
 * connector's whole group, so often, that PARENT has forked CHILD and that PARENT has ended. Prints
 * how much of that the kernel took. uid 0: nobody else may send to a group.
 */
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t message(char buf[512], unsigned what, pid_t parent, pid_t child)
{
	struct proc_event ev = { .what = what };
	struct cn_msg cn = { .id = { CN_IDX_PROC, CN_VAL_PROC }, .len = sizeof(ev) };
	struct nlmsghdr nlh = { .nlmsg_len = NLMSG_LENGTH(sizeof(cn) + sizeof(ev)),
				.nlmsg_type = NLMSG_DONE };

	if (what == PROC_EVENT_FORK) {
		ev.event_data.fork.parent_pid = ev.event_data.fork.parent_tgid = parent;
		ev.event_data.fork.child_pid = ev.event_data.fork.child_tgid = child;
	} else {
		ev.event_data.exit.process_pid = ev.event_data.exit.process_tgid = parent;
	}
	memcpy(buf, &nlh, sizeof(nlh));
	memcpy(buf + NLMSG_HDRLEN, &cn, sizeof(cn));
	memcpy(buf + NLMSG_HDRLEN + sizeof(cn), &ev, sizeof(ev));
	return nlh.nlmsg_len;
}

int main(int argc, char **argv)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	unsigned long sent = 0, cast = 0;
	char fork_msg[512], exit_msg[512];
	size_t fork_len, exit_len;
	int fd, err = 0, cast_err = 0;

	if (argc != 5)
		return 64;
	fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_CONNECTOR);
	if (fd < 0)
		return 2;
	fork_len = message(fork_msg, PROC_EVENT_FORK, atoi(argv[3]), atoi(argv[4]));
	exit_len = message(exit_msg, PROC_EVENT_EXIT, atoi(argv[3]), 0);
	for (int i = 0; i < atoi(argv[2]); i++) {
		to.nl_pid = (unsigned)atoi(argv[1]);
		to.nl_groups = 0;
		if (sendto(fd, fork_msg, fork_len, MSG_DONTWAIT, (struct sockaddr *)&to,
			   sizeof(to)) >= 0 &&
		    sendto(fd, exit_msg, exit_len, MSG_DONTWAIT, (struct sockaddr *)&to,
			   sizeof(to)) >= 0)
			sent++;
		else
			err = errno;
		to.nl_pid = 0;
		to.nl_groups = CN_IDX_PROC;
		if (sendto(fd, fork_msg, fork_len, MSG_DONTWAIT, (struct sockaddr *)&to,
			   sizeof(to)) >= 0 &&
		    sendto(fd, exit_msg, exit_len, MSG_DONTWAIT, (struct sockaddr *)&to,
			   sizeof(to)) >= 0)
			cast++;
		else
			cast_err = errno;
	}
	printf("sent=%lu errno=%d cast=%lu cast_errno=%d\n", sent, err, cast, cast_err);
	return 0;
}
