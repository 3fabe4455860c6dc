/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/lookup_wire.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/cleanup.h"

static int send_vector(int sock, struct iovec *iov, size_t n_iov, int fd, int flags)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n_iov };

	if (fd >= 0) {
		struct cmsghdr *c;

		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	for (;;) {
		if (sendmsg(sock, &m, flags | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

int wire_send_short(int sock, const void *msg, size_t msg_bytes, int fd)
{
	struct iovec iov = { (void *)msg, msg_bytes };

	return send_vector(sock, &iov, 1, fd, MSG_DONTWAIT);
}

int wire_send(int sock, void *head, size_t head_bytes, uint32_t len[WIRE_TEXTS],
	      const struct wire_text *texts, int fd, int flags)
{
	struct iovec iov[1 + 2 * WIRE_TEXTS];
	size_t total = head_bytes;

	iov[0] = (struct iovec){ head, head_bytes };
	for (size_t i = 0; i < WIRE_TEXTS; i++) {
		size_t n = texts && texts[i].p ? texts[i].len_bytes : 0;

		/* each text is followed by a NUL that its length does not count */
		if (n >= WIRE_SIZE_MAX)
			return -ENAMETOOLONG;
		len[i] = (uint32_t)n;
		iov[1 + 2 * i] = (struct iovec){ (void *)(n ? texts[i].p : ""), n };
		iov[2 + 2 * i] = (struct iovec){ (void *)"", 1 };
		total += n + 1;
	}
	if (total > WIRE_SIZE_MAX)
		return -ENAMETOOLONG;
	return send_vector(sock, iov, ARRAY_SIZE(iov), fd, flags);
}

ssize_t wire_recv(int sock, void *buf, size_t size, int *fd, int flags)
{
	/* Room for two, so that a second one is seen and closed. */
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov = { buf, size };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fds[2] = { -1, -1 };
	size_t n_fds = 0;
	ssize_t n;

	do {
		n = recvmsg(sock, &m, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < bytes / sizeof(int) && n_fds < ARRAY_SIZE(fds); i++)
			memcpy(&fds[n_fds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || n_fds > 1) {
		for (size_t i = 0; i < n_fds; i++)
			close(fds[i]);
		return -EBADMSG;
	}
	*fd = fds[0];
	return n;
}

static int parse_texts(const char *buf, size_t n, size_t at, const uint32_t len[WIRE_TEXTS],
		       struct wire_text texts[WIRE_TEXTS])
{
	for (size_t i = 0; i < WIRE_TEXTS; i++) {
		if (len[i] >= n - at) /* at <= n always; the NUL must fit too */
			return -EBADMSG;
		if (buf[at + len[i]])
			return -EBADMSG;
		texts[i] = (struct wire_text){ buf + at, len[i] };
		at += len[i] + 1;
	}
	return at == n ? 0 : -EBADMSG;
}

/* A path or a reason: one line of text, as C takes it. */
static bool is_string(const struct wire_text *t, size_t max)
{
	return t->len_bytes <= max && !memchr(t->p, 0, t->len_bytes);
}

static bool is_absolute(const struct wire_text *t)
{
	return is_string(t, WIRE_PATH_MAX) && t->p[0] == '/';
}

static bool is_name(const struct wire_text *t)
{
	return is_string(t, NAME_MAX) && t->len_bytes && !memchr(t->p, '/', t->len_bytes) &&
	       strcmp(t->p, ".") && strcmp(t->p, "..");
}

static bool are_empty(const struct wire_text *texts, size_t from)
{
	for (size_t i = from; i < WIRE_TEXTS; i++)
		if (texts[i].len_bytes)
			return false;
	return true;
}

static bool reply_ok(const struct wire_reply *h, const struct wire_text *t, bool with_fd)
{
	switch (h->kind) {
	case WIRE_DONE:
		return !with_fd && h->err <= 0 && h->err >= -4095;
	case WIRE_FOUND:
		if (!with_fd || (h->bits & ~(unsigned)WIRE_BITS) || h->verdict > VERDICT_BLOCK)
			return false;
		if (!is_absolute(&t[0]) || t[2].len_bytes > LOOKUP_HANDLE_MAX || !are_empty(t, 3))
			return false;
		/* only a directory is a way, or has something below */
		if (!(h->bits & WIRE_DIR) && (t[1].len_bytes || (h->bits & WIRE_BELOW)))
			return false;
		return !t[1].len_bytes || is_name(&t[1]);
	case WIRE_GAP:
		return !with_fd && is_string(&t[0], WIRE_PATH_MAX) && is_string(&t[1], 512) &&
		       are_empty(t, 2);
	case WIRE_DESCRIPTOR:
		return !with_fd && h->value <= INT_MAX && is_string(&t[0], WIRE_PATH_MAX) &&
		       are_empty(t, 1);
	}
	return false;
}

int wire_parse_reply(const void *buf, size_t n, bool with_fd, struct wire_reply *head,
		     struct wire_text texts[WIRE_TEXTS])
{
	struct wire_reply h;
	struct wire_text t[WIRE_TEXTS];

	if (n < sizeof(h) || n > WIRE_SIZE_MAX)
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	if (h.magic != WIRE_MAGIC || parse_texts(buf, n, sizeof(h), h.len, t) < 0)
		return -EBADMSG;
	if (!reply_ok(&h, t, with_fd))
		return -EBADMSG;
	*head = h;
	memcpy(texts, t, sizeof(t));
	return 0;
}

static bool request_ok(const struct wire_request *h, const struct wire_text *t, bool with_fd)
{
	bool place = (!t[0].len_bytes || is_absolute(&t[0])) &&
		     (!t[1].len_bytes || is_absolute(&t[1]));

	if (with_fd != (h->op == WIRE_PATTERNS || h->op == WIRE_CHILD))
		return false;
	switch (h->op) {
	case WIRE_PATTERNS:
	case WIRE_HOME:
	case WIRE_GROUPS:
	case WIRE_GO:
		return are_empty(t, 0);
	case WIRE_ROOTS:
		return are_empty(t, 1) &&
		       (!t[0].len_bytes || !t[0].p[t[0].len_bytes - 1]);
	case WIRE_GROUP:
	case WIRE_UID:
		return is_string(&t[0], 256) && are_empty(t, 1);
	case WIRE_USER:
		return t[0].len_bytes % sizeof(gid_t) == 0 && are_empty(t, 1);
	case WIRE_EXPAND:
		return place && are_empty(t, 2);
	case WIRE_CHILD:
		return place && is_absolute(&t[2]) && is_name(&t[3]);
	case WIRE_HANDLE:
		return place && is_absolute(&t[2]) && t[3].len_bytes <= LOOKUP_HANDLE_MAX;
	case WIRE_PROCESS:
	case WIRE_DESCRIPTORS:
		return h->pid > 0 && are_empty(t, 0);
	}
	return false;
}

int wire_parse_request(const void *buf, size_t n, bool with_fd, struct wire_request *head,
		       struct wire_text texts[WIRE_TEXTS])
{
	struct wire_request h;
	struct wire_text t[WIRE_TEXTS];

	if (n < sizeof(h) || n > WIRE_SIZE_MAX)
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	if (h.magic != WIRE_MAGIC || parse_texts(buf, n, sizeof(h), h.len, t) < 0)
		return -EBADMSG;
	if (!request_ok(&h, t, with_fd))
		return -EBADMSG;
	*head = h;
	memcpy(texts, t, sizeof(t));
	return 0;
}
