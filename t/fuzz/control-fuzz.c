/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What any local process may send to the control socket, and what the CLI makes of a record: the
 * request parser, the escaping of text for terminals, times, and event lines.
 */
#include <assert.h>
#include <stdint.h>
#include <unistd.h>

#include "tools/cli_client.c"
#include "tools/cli_event.c"
#include "tools/cli_options.c"
#include "tools/cli_output.c"
#include "tools/control.c"
#include "tools/daemon_control_listen.c"
#include "tools/daemon_control_peer.c"
#include "tools/daemon_control_serve.c"

static const char *never(void *arg, const struct control_peer *peer, const json_t *req,
			 struct control_reply *reply)
{
	(void)arg, (void)peer, (void)req, (void)reply;
	return "failed";
}

static const struct control_command table[] = {
	{ "status", RIGHT_MEMBER, never },
	{ "mode", RIGHT_PRIVILEGED, never },
	{ NULL, RIGHT_MEMBER, NULL },
};

static void fuzz_request(const uint8_t *data, size_t size)
{
	char err[256] = "";
	json_t *req = NULL;

	if (!parse_request(table, (const char *)data, size, &req, err)) {
		assert(err[0] && !req);
		return;
	}
	assert(json_is_object(req));
	json_decref(req);
}

/* The same bytes through a socket, in pieces: the first byte says how large these are. */
static void fuzz_frame(const uint8_t *data, size_t size)
{
	struct control c = { .cfg = { .commands = table, .stall_ms = 1000 } };
	size_t piece = size ? data[0] % 64 * 32 + 1 : 1;
	const char *newline = memchr(data, '\n', size);
	struct conn conn = { .pidfd = -1, .state = CONN_READING };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	conn.fd = pair[0];
	for (size_t done = 0; done < size && conn.state == CONN_READING; done += piece) {
		if (piece > size - done)
			piece = size - done;
		if (send(pair[1], data + done, piece, MSG_NOSIGNAL) != (ssize_t)piece)
			break;
		conn_read(&c, &conn, 0);
		assert(conn.in_len <= conn.in_size && conn.in_size <= CONTROL_LINE_MAX);
	}
	shutdown(pair[1], SHUT_WR);
	conn_read(&c, &conn, 0);
	if (newline && newline < (const char *)data + CONTROL_LINE_MAX) {
		assert(conn.state == CONN_QUEUED);
		assert(conn.in_len == (size_t)(newline - (const char *)data));
		assert(!conn.in_len || !memcmp(conn.in, data, conn.in_len));
	} else {
		assert(conn.dead || (conn.state == CONN_CLOSING && conn.out_len > 0));
	}
	close(pair[0]);
	close(pair[1]);
	free(conn.in);
	free(conn.out);
}

static void fuzz_text(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *escaped = cli_escape((const char *)data, size);
	_cleanup_free_ char *text = malloc(size + 1);
	int64_t v;

	for (const unsigned char *p = (unsigned char *)escaped; *p; p++)
		assert(*p >= 0x20 && *p != 0x7f);
	if (!text)
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	if (cli_parse_duration(text, &v) == 0)
		assert(v >= 0);
	cli_parse_since(text, 1772648800, &v);
}

static void fuzz_record(const uint8_t *data, size_t size)
{
	const struct cli cli = { .now = 1772648800, .tty = true, .colour = true };
	json_t *j = json_loadb((const char *)data, size, 0, NULL);

	if (!j)
		return;
	cli_event_line(&cli, j);
	cli_why_text(&cli, j);
	cli_json_line(&cli, j, NULL);
	json_decref(j);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return freopen("/dev/null", "w", stdout) ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > CONTROL_LINE_MAX)
		return 0;
	fuzz_request(data, size);
	fuzz_frame(data, size);
	fuzz_text(data, size);
	if (depth_is_bounded((const char *)data, size))
		fuzz_record(data, size);
	return 0;
}
