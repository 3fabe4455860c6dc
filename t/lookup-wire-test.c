/* SPDX-License-Identifier: Apache-2.0 */
/* What the client takes from a helper, and what it does not. */
#include "t/lookup.h"

#include <sys/socket.h>

#include "enforce/lookup_wire.h"

static char buf[WIRE_SIZE_MAX];

/* Sends a reply and gets its bytes as the client would. */
static size_t bytes_of(struct wire_reply *head, const struct wire_text *texts)
{
	int pair[2], fd;
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	head->magic = WIRE_MAGIC;
	assert_int_equal(wire_send(pair[0], head, sizeof(*head), head->len, texts, -1, 0), 0);
	n = wire_recv(pair[1], buf, sizeof(buf), &fd, 0);
	assert_true(n > 0 && fd < 0);
	close(pair[0]);
	close(pair[1]);
	return (size_t)n;
}

static int parse(struct wire_reply head, const char *path, const char *via, size_t handle_len,
		 bool with_fd)
{
	static const char handle[1024];
	struct wire_text texts[WIRE_TEXTS] = { { path, strlen(path) },
					       { via, strlen(via) },
					       { handle, handle_len } };
	struct wire_text got[WIRE_TEXTS];
	size_t n = bytes_of(&head, texts);
	struct wire_reply reply;

	return wire_parse_reply(buf, n, with_fd, &reply, got);
}

static void found(void **state)
{
	struct wire_reply f = { .kind = WIRE_FOUND, .bits = WIRE_HERE, .verdict = VERDICT_BLOCK };
	struct wire_reply d = f, bad;

	(void)state;
	d.bits = WIRE_DIR | WIRE_BELOW;
	assert_int_equal(parse(f, "/a", "", 8, true), 0);
	assert_int_equal(parse(d, "/a", "name", 0, true), 0);
	assert_int_equal(parse(f, "/a", "", 8, false), -EBADMSG);
	assert_int_equal(parse(f, "a", "", 8, true), -EBADMSG);
	assert_int_equal(parse(f, "", "", 8, true), -EBADMSG);
	assert_int_equal(parse(f, "/a", "name", 8, true), -EBADMSG);
	assert_int_equal(parse(d, "/a", "na/me", 8, true), -EBADMSG);
	assert_int_equal(parse(d, "/a", "..", 8, true), -EBADMSG);
	assert_int_equal(parse(f, "/a", "", LOOKUP_HANDLE_MAX, true), 0);
	assert_int_equal(parse(f, "/a", "", LOOKUP_HANDLE_MAX + 1, true), -EBADMSG);
	bad = f;
	bad.verdict = VERDICT_BLOCK + 1;
	assert_int_equal(parse(bad, "/a", "", 8, true), -EBADMSG);
	bad = f;
	bad.bits = WIRE_BELOW;
	assert_int_equal(parse(bad, "/a", "", 8, true), -EBADMSG);
	bad.bits = 1u << 31;
	assert_int_equal(parse(bad, "/a", "", 8, true), -EBADMSG);
	bad = f;
	bad.kind = WIRE_KIND_MAX + 1;
	assert_int_equal(parse(bad, "/a", "", 8, true), -EBADMSG);
}

/* Every length and every cut: what does not add up is refused. */
static void lengths(void **state)
{
	struct wire_reply f = { .kind = WIRE_FOUND, .bits = WIRE_HERE };
	struct wire_text texts[WIRE_TEXTS] = { { "/some/path", 10 }, { "", 0 }, { "handle", 6 } };
	struct wire_text got[WIRE_TEXTS];
	struct wire_reply reply, bent;
	size_t n = bytes_of(&f, texts);

	(void)state;
	assert_int_equal(wire_parse_reply(buf, n, true, &reply, got), 0);
	assert_string_equal(got[0].p, "/some/path");
	assert_int_equal(got[2].len_bytes, 6);
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(wire_parse_reply(buf, cut, true, &reply, got), -EBADMSG);
	for (size_t i = 0; i < WIRE_TEXTS; i++) {
		static const uint32_t lens[] = { 1, 11, 255, 65535, INT32_MAX, UINT32_MAX };

		for (size_t k = 0; k < ARRAY_SIZE(lens); k++) {
			bent = f;
			bent.len[i] += lens[k];
			memcpy(buf, &bent, sizeof(bent));
			assert_int_equal(wire_parse_reply(buf, n, true, &reply, got), -EBADMSG);
		}
	}
}

static void descriptors(void **state)
{
	struct wire_request q = { .magic = WIRE_MAGIC };
	char two[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { &q, sizeof(q) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = two,
			    .msg_controllen = sizeof(two) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int pair[2], fd = -1, before, after;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(c), pair, sizeof(pair));
	before = dup(0);
	close(before);
	assert_true(sendmsg(pair[0], &m, 0) > 0);
	assert_int_equal(wire_recv(pair[1], buf, sizeof(buf), &fd, 0), -EBADMSG);
	assert_int_equal(fd, -1);
	/* a message that is longer than the buffer */
	assert_true(send(pair[0], &q, sizeof(q), 0) > 0);
	assert_int_equal(wire_recv(pair[1], buf, sizeof(q) - 1, &fd, 0), -EBADMSG);
	after = dup(0);
	close(after);
	assert_int_equal(before, after); /* all closed */
	close(pair[0]);
	assert_int_equal(wire_recv(pair[1], buf, sizeof(buf), &fd, 0), 0);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found),
		cmocka_unit_test(lengths),
		cmocka_unit_test(descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
