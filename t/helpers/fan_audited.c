/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fan_audited OUT CMD…: CMD while audit is on and has a rule (which matches nothing), so that the kernel
 * makes the records it was asked for by FAN_AUDIT. Those of it, and the SYSCALL records, go to the file
 * OUT as "TYPE SERIAL REST". Audit is put back as it was. Exits with CMD's status, 77 where audit
 * cannot be had: not in the kernel, not permitted, or locked.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AUDIT_FANOTIFY
#define AUDIT_FANOTIFY 1331
#endif

static volatile sig_atomic_t told;

static void on_signal(int sig)
{
	told = sig;
}

static int ask(int fd, unsigned type, const void *data, size_t len, struct audit_status *ret)
{
	static unsigned seq;
	char buf[9000];
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	memset(h, 0, sizeof(*h));
	h->nlmsg_len = (unsigned)NLMSG_LENGTH(len);
	h->nlmsg_type = (unsigned short)type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = ++seq;
	memcpy(NLMSG_DATA(h), data, len);
	if (sendto(fd, buf, h->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < (ssize_t)NLMSG_HDRLEN || h->nlmsg_seq != seq)
			return -EIO;
		if (h->nlmsg_type == AUDIT_GET && ret) {
			size_t have = (size_t)n - NLMSG_HDRLEN;

			memset(ret, 0, sizeof(*ret));
			memcpy(ret, NLMSG_DATA(h), have < sizeof(*ret) ? have : sizeof(*ret));
			return 0; /* its acknowledgement is passed over by the next, by its number */
		}
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
	}
}

/* exit,never of one system call that this process does not make. */
static struct audit_rule_data rule(void)
{
	struct audit_rule_data r = {
		.flags = AUDIT_FILTER_EXIT,
		.action = AUDIT_NEVER,
		.field_count = 1,
		.fields = { AUDIT_PID },
		.values = { (unsigned)getpid() },
		.fieldflags = { AUDIT_EQUAL },
	};

	r.mask[AUDIT_WORD(SYS_acct)] = AUDIT_BIT(SYS_acct);
	return r;
}

static void take(int fd, FILE *out)
{
	char buf[9000];
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT)) > (ssize_t)NLMSG_HDRLEN) {
		const char *text = buf + NLMSG_HDRLEN, *serial, *end;

		buf[n] = '\0';
		if (h->nlmsg_type != AUDIT_FANOTIFY && h->nlmsg_type != AUDIT_SYSCALL)
			continue;
		/* audit(1700000000.123:4711): … */
		serial = strchr(text, ':');
		end = serial ? strstr(serial, "): ") : NULL;
		if (end)
			fprintf(out, "%u %ld %s\n", h->nlmsg_type, strtol(serial + 1, NULL, 10), end + 3);
	}
	fflush(out);
}

static int control(void)
{
	return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
}

int main(int argc, char **argv)
{
	struct sockaddr_nl log = { .nl_family = AF_NETLINK, .nl_groups = 1u << (AUDIT_NLGRP_READLOG - 1) };
	struct audit_rule_data r = rule();
	struct audit_status was, set = { .mask = AUDIT_STATUS_ENABLED, .enabled = 1 };
	struct sigaction sa = { .sa_handler = on_signal };
	int fd, listen, size = 4 << 20, status = 0;
	FILE *out;
	pid_t pid;

	if (argc < 3 || !(out = fopen(argv[1], "we")))
		return 64;
	fd = control();
	listen = control();
	if (fd < 0 || listen < 0 || bind(listen, (struct sockaddr *)&log, sizeof(log)) < 0 ||
	    ask(fd, AUDIT_GET, "", 0, &was) < 0)
		return 77;
	setsockopt(listen, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	close(fd); /* with the acknowledgement that was not read */
	fd = control();
	if (was.enabled > 1 || (!was.enabled && ask(fd, AUDIT_SET, &set, sizeof(set), NULL) < 0))
		return 77;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	status = ask(fd, AUDIT_ADD_RULE, &r, sizeof(r), NULL);
	pid = status < 0 ? -1 : fork();
	if (!pid) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	while (pid > 0) {
		poll(&(struct pollfd){ .fd = listen, .events = POLLIN }, 1, 100);
		take(listen, out);
		if (told)
			kill(pid, SIGTERM);
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
	}
	poll(NULL, 0, 500); /* kauditd hands them on a little later */
	take(listen, out);
	ask(fd, AUDIT_DEL_RULE, &r, sizeof(r), NULL);
	set.enabled = was.enabled;
	if (!was.enabled)
		ask(fd, AUDIT_SET, &set, sizeof(set), NULL);
	fclose(out);
	if (pid < 0)
		return 77;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
