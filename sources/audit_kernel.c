/* SPDX-License-Identifier: Apache-2.0 */
/* What is said to the kernel's audit: rules and status by libaudit, each waited for and confirmed. */
#include <errno.h>
#include <libaudit.h>
#include <libmnl/libmnl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "sources/audit_rules_priv.h"

/* Answers are made by threads of the kernel: there is no saying when, on a busy host. */
#define ANSWER_NS UINT64_C(30000000000)

/* libaudit takes what it finds first for the answer. */
static void forget_answers(int fd)
{
	char buf[MAX_AUDIT_MESSAGE_LENGTH];
	ssize_t n;

	do
		n = audit_socket_read(fd, buf, sizeof(buf));
	while (n >= 0 || n == -EMSGSIZE || n == -ENOBUFS);
}

/* The next message of the kernel's that bears seq, of any kind but a confirmation. */
static int next_answer(int fd, uint32_t seq, uint64_t until_ns, struct audit_reply *ret)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = audit_now_ns();
		int r;

		if (now >= until_ns)
			return -ETIME;
		if (poll(&p, 1, (int)((until_ns - now) / NSEC_PER_MSEC) + 1) < 0 &&
		    errno != EINTR)
			return -errno;
		r = audit_get_reply(fd, ret, GET_REPLY_NONBLOCKING, 0);
		if (r == -EAGAIN || r == 0 || (r > 0 && ret->nlh->nlmsg_seq != seq))
			continue;
		if (r < 0)
			return r;
		if (ret->type != NLMSG_ERROR)
			return 0;
		if (ret->error->error)
			return ret->error->error;
	}
}

/* ---- status -------------------------------------------------------------------------------------- */

int audit_kernel_status(int fd, struct audit_status *ret)
{
	const uint64_t until = audit_now_ns() + ANSWER_NS;
	struct audit_reply reply;
	int seq, r;

	set_aumessage_mode(MSG_QUIET, DBG_NO);
	forget_answers(fd);
	seq = audit_request_status(fd);
	if (seq < 0)
		return seq;
	do {
		r = next_answer(fd, (uint32_t)seq, until, &reply);
		if (r < 0)
			return r;
	} while (reply.type != AUDIT_GET);
	*ret = *reply.status;
	return 0;
}

int audit_kernel_enable(int fd, bool on)
{
	int r;

	forget_answers(fd);
	r = audit_set_enabled(fd, on);
	return r < 0 ? r : 0;
}

/* ---- rules --------------------------------------------------------------------------------------- */

int audit_kernel_add(int fd, const struct audit_rule_id *id, pid_t own)
{
	union audit_rule_bytes b;
	int r = audit_rule_write(id, own, &b);

	if (r < 0)
		return r;
	forget_answers(fd);
	r = audit_add_rule_data(fd, &b.data, (int)b.data.flags, (int)b.data.action);
	return r < 0 ? r : 0;
}

int audit_kernel_delete(int fd, const struct audit_rule_id *id, pid_t own)
{
	union audit_rule_bytes b;
	int r = audit_rule_write(id, own, &b);

	return r < 0 ? r : audit_kernel_delete_listed(fd, &b.data);
}

int audit_kernel_delete_listed(int fd, struct audit_rule_data *d)
{
	int r;

	forget_answers(fd);
	r = audit_delete_rule_data(fd, d, (int)d->flags, (int)d->action);
	return r < 0 ? r : 0;
}

int audit_kernel_list(int fd,
		      int (*fn)(void *arg, const struct audit_rule_data *d, size_t len_bytes),
		      void *arg)
{
	const uint64_t until = audit_now_ns() + ANSWER_NS;
	struct audit_reply reply;
	int seq, r;

	forget_answers(fd);
	seq = audit_request_rules_list_data(fd);
	if (seq < 0)
		return seq;
	for (;;) {
		r = next_answer(fd, (uint32_t)seq, until, &reply);
		if (r < 0 || reply.type == NLMSG_DONE)
			return r;
		if (reply.type != AUDIT_LIST_RULES || reply.nlh->nlmsg_len < NLMSG_HDRLEN)
			continue;
		r = fn(arg, reply.ruledata, reply.nlh->nlmsg_len - NLMSG_HDRLEN);
		if (r)
			return r;
	}
}

/* ---- the unicast socket ---------------------------------------------------------------------------- */

/*
 * Not by libaudit, whose requests are numbered by a variable of the process: this is another thread.
 * Confirmations come before the first record (Linux 5.17) or with the first few: what is no refusal
 * is left for whoever reads.
 */
int audit_kernel_own(int fd, pid_t pid)
{
	_Alignas(struct nlmsghdr) char buf[256] = {0};
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct audit_status *s;
	struct nlmsgerr e;
	ssize_t n;

	nlh->nlmsg_type = AUDIT_SET;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	nlh->nlmsg_seq = 1;
	s = mnl_nlmsg_put_extra_header(nlh, sizeof(*s));
	s->mask = AUDIT_STATUS_PID;
	s->pid = (uint32_t)pid;
	if (send(fd, nlh, nlh->nlmsg_len, 0) < 0)
		return -errno;
	if (!pid)
		return 0; /* records come before the answer, and nobody refuses the owner */
	if (poll(&p, 1, (int)(ANSWER_NS / NSEC_PER_MSEC)) < 0)
		return -errno;
	n = recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if ((size_t)n < NLMSG_HDRLEN + sizeof(e) || nlh->nlmsg_type != NLMSG_ERROR)
		return 0;
	memcpy(&e, mnl_nlmsg_get_payload(nlh), sizeof(e));
	return e.error;
}
