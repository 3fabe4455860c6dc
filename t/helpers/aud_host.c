/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's audit, for tests:
 *	aud_host status            enabled, failure, limits: one line; who owns the socket is not in it
 *	aud_host owner             the pid that owns the unicast socket, 0 nobody
 *	aud_host rules             a line for each rule, in the kernel's order, all its bytes
 *	aud_host add|del KEY       a rule about mount(2), as an administrator's
 *	aud_host enable 0|1
 *	aud_host own               owns the unicast socket until stdin ends, and takes what comes
 *	aud_host limit N           backlog_limit, and no waiting for room in it; waits and puts both back
 *	                           when stdin ends
 *	aud_host lie PID EXE PATH  tells the group, and every netlink port of audit, of an open that was none
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int sock;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void request(unsigned type, unsigned flags, const void *data, size_t len)
{
	char buf[NLMSG_SPACE(sizeof(struct audit_rule_data) + 256)] = { 0 };
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	h->nlmsg_len = NLMSG_LENGTH(len);
	h->nlmsg_type = (unsigned short)type;
	h->nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = 1;
	if (len)
		memcpy(NLMSG_DATA(h), data, len);
	if (sendto(sock, buf, h->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		die("sendto");
}

/* The next answer that is no record: its length. */
static size_t answer(char *buf, size_t size)
{
	for (;;) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, 60000) <= 0)
			die("no answer");
		n = recv(sock, buf, size, 0);
		if (n < 0 && errno != ENOBUFS)
			die("recv");
		if (n >= (ssize_t)NLMSG_HDRLEN && ((struct nlmsghdr *)buf)->nlmsg_seq == 1 &&
		    ((struct nlmsghdr *)buf)->nlmsg_type < 1100)
			return (size_t)n;
	}
}

static void acknowledged(void)
{
	char buf[16384] __attribute__((aligned(8)));
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;

	do
		answer(buf, sizeof(buf));
	while (h->nlmsg_type != NLMSG_ERROR);
	if (((const struct nlmsgerr *)NLMSG_DATA(h))->error) {
		errno = -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
		die("audit");
	}
}

static struct audit_status status(void)
{
	char buf[16384] __attribute__((aligned(8)));
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	struct audit_status s = { 0 };

	request(AUDIT_GET, 0, NULL, 0);
	do
		answer(buf, sizeof(buf));
	while (h->nlmsg_type != AUDIT_GET);
	memcpy(&s, NLMSG_DATA(h), sizeof(s));
	return s;
}

static void set(struct audit_status s)
{
	request(AUDIT_SET, NLM_F_ACK, &s, sizeof(s));
	acknowledged();
}

static void rules(void)
{
	char buf[16384] __attribute__((aligned(8)));
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;

	request(AUDIT_LIST_RULES, 0, NULL, 0);
	for (;;) {
		size_t n = answer(buf, sizeof(buf));
		const unsigned char *p = NLMSG_DATA(h);

		if (h->nlmsg_type == NLMSG_DONE)
			return;
		if (h->nlmsg_type != AUDIT_LIST_RULES)
			continue;
		for (size_t i = 0; i + NLMSG_HDRLEN < n; i++)
			printf("%02x", p[i]);
		putchar('\n');
	}
}

static void change(unsigned type, const char *key)
{
	size_t n = strlen(key);
	struct audit_rule_data *r = calloc(1, sizeof(*r) + n);

	if (!r)
		die("calloc");
	r->flags = AUDIT_FILTER_EXIT;
	r->action = AUDIT_ALWAYS;
	r->field_count = 1;
	r->fields[0] = AUDIT_FILTERKEY;
	r->fieldflags[0] = AUDIT_EQUAL;
	r->mask[AUDIT_WORD(SYS_mount)] = AUDIT_BIT(SYS_mount);
	r->values[0] = r->buflen = (unsigned)n;
	memcpy(r->buf, key, n);
	request(type, NLM_F_ACK, r, sizeof(*r) + n);
	acknowledged();
	free(r);
}

static void until_told(void)
{
	struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = sock, .events = POLLIN } };
	char buf[16384];

	puts("ready");
	fflush(stdout);
	while (poll(p, 2, -1) > 0) {
		if (p[1].revents && recv(sock, buf, sizeof(buf), 0) < 0 && errno != ENOBUFS)
			die("recv");
		if (p[0].revents)
			return;
	}
}

static void tell(unsigned type, const char *text, unsigned port, unsigned groups)
{
	char buf[9000] = { 0 };
	struct nlmsghdr *h = (struct nlmsghdr *)buf;
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups };

	h->nlmsg_len = NLMSG_LENGTH((unsigned)strlen(text));
	h->nlmsg_type = (unsigned short)type;
	memcpy(NLMSG_DATA(h), text, strlen(text));
	if (sendto(sock, buf, h->nlmsg_len, 0, (struct sockaddr *)&to, sizeof(to)) >= 0)
		printf("took %u %x\n", port, groups);
}

static void lie(const char *pid, const char *exe, const char *path)
{
	char stamp[64], text[4][4096], line[512];
	FILE *f = fopen("/proc/net/netlink", "r");
	struct timespec now;
	unsigned long eth, port;
	const unsigned types[] = { AUDIT_SYSCALL, AUDIT_CWD, AUDIT_PATH, AUDIT_EOE };

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(stamp, sizeof(stamp), "audit(%ld.%03ld:4000000001): ", (long)now.tv_sec, now.tv_nsec / 1000000);
	snprintf(text[0], sizeof(text[0]),
		 "%sarch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=0 a2=0 a3=0 items=1 "
		 "ppid=1 pid=%s auid=0 uid=23456 euid=23456 comm=\"liar\" exe=\"%s\" key=\"oknek-member\"",
		 stamp, pid, exe);
	snprintf(text[1], sizeof(text[1]), "%scwd=\"/\"", stamp);
	snprintf(text[2], sizeof(text[2]), "%sitem=0 name=\"%s\" inode=1 dev=00:01 nametype=NORMAL", stamp, path);
	snprintf(text[3], sizeof(text[3]), "%s", stamp);
	for (int i = 0; i < 4; i++)
		tell(types[i], text[i], 0, 1);
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*x %lu %lu", &eth, &port) == 2 && eth == NETLINK_AUDIT && port)
			for (int i = 0; i < 4; i++)
				tell(types[i], text[i], (unsigned)port, 0);
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct audit_status s;

	sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
	if (sock < 0)
		die("socket");
	if (!strcmp(what, "status")) {
		s = status();
		printf("enabled %u failure %u rate %u backlog %u wait %u\n", s.enabled, s.failure,
		       s.rate_limit, s.backlog_limit, s.backlog_wait_time);
	} else if (!strcmp(what, "owner")) {
		printf("%u\n", status().pid);
	} else if (!strcmp(what, "rules")) {
		rules();
	} else if (argc == 3 && !strcmp(what, "add")) {
		change(AUDIT_ADD_RULE, argv[2]);
	} else if (argc == 3 && !strcmp(what, "del")) {
		change(AUDIT_DEL_RULE, argv[2]);
	} else if (argc == 3 && !strcmp(what, "enable")) {
		set((struct audit_status){ .mask = AUDIT_STATUS_ENABLED, .enabled = argv[2][0] == '1' });
	} else if (!strcmp(what, "own")) {
		set((struct audit_status){ .mask = AUDIT_STATUS_PID, .pid = (unsigned)getpid() });
		until_told();
		set((struct audit_status){ .mask = AUDIT_STATUS_PID });
	} else if (argc == 3 && !strcmp(what, "limit")) {
		s = status();
		set((struct audit_status){ .mask = AUDIT_STATUS_BACKLOG_LIMIT | AUDIT_STATUS_BACKLOG_WAIT_TIME,
					   .backlog_limit = (unsigned)atoi(argv[2]) });
		until_told();
		s.mask = AUDIT_STATUS_BACKLOG_LIMIT | AUDIT_STATUS_BACKLOG_WAIT_TIME;
		set(s);
	} else if (argc == 5 && !strcmp(what, "lie")) {
		lie(argv[2], argv[3], argv[4]);
	} else {
		fprintf(stderr, "aud_host status|owner|rules|add|del|enable|own|limit|lie …\n");
		return 2;
	}
	return 0;
}
