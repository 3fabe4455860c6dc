/* SPDX-License-Identifier: Apache-2.0 */
/* One request to the daemon, one answer. See tools/control.h for the protocol. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "core/cleanup.h"
#include "tools/cli.h"

static int no_daemon(struct cli_reply *reply, const struct sockaddr_un *a, int err)
{
	if (err == ENOENT || err == ECONNREFUSED)
		snprintf(reply->error, sizeof(reply->error),
			 "no daemon at %s: is oknekd running?", a->sun_path);
	else
		snprintf(reply->error, sizeof(reply->error), "cannot connect to %s: %s",
			 a->sun_path, strerror(err));
	return -err;
}

static int connect_daemon(const struct cli *cli, int timeout_ms, struct cli_reply *reply)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const struct timeval wait = { timeout_ms / 1000, timeout_ms % 1000 * 1000 };
	const struct timeval send_wait = { 10, 0 };
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/oknek.sock", cli->run_dir);

	if (n < 0 || (size_t)n >= sizeof(a.sun_path)) {
		snprintf(reply->error, sizeof(reply->error),
			 "the run directory's name is too long for a socket in it");
		return -ENAMETOOLONG;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return no_daemon(reply, &a, errno);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send_wait, sizeof(send_wait)) < 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return no_daemon(reply, &a, errno);
	return TAKE_FD(fd);
}

/* A server that refuses the line may close before it has read all of it: what it said is still to
 * be read, so a broken pipe is not the end. */
static int send_request(int fd, json_t *req)
{
	_cleanup_free_ char *text = json_dumps(req, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0, done = 0;

	if (!text)
		return -ENOMEM;
	text[len++] = '\n'; /* in place of the NUL */
	while (done < len) {
		ssize_t n = send(fd, text + done, len - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EPIPE)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* The last line of an answer. */
static int take_end(json_t *line, struct cli_reply *reply)
{
	if (json_is_true(json_object_get(line, "ok"))) {
		reply->result = json_incref(json_object_get(line, "result"));
		if (!reply->result)
			reply->result = json_object();
		return 0;
	}
	snprintf(reply->error, sizeof(reply->error), "%s", cli_str(line, "error"));
	snprintf(reply->code, sizeof(reply->code), "%s", cli_str(line, "code"));
	return -EREMOTE;
}

/* The text of {"item":TEXT}, cut out in place. */
static const char *item_text(char *line, size_t len)
{
	static const char head[] = "{\"item\":";

	if (len < sizeof(head) || strncmp(line, head, sizeof(head) - 1) != 0)
		return NULL;
	line[len - 1] = '\0'; /* the closing brace */
	return line + sizeof(head) - 1;
}

static int read_answer(FILE *f, cli_item_fn items, void *arg, struct cli_reply *reply)
{
	_cleanup_free_ char *line = NULL;
	bool seen = false;
	size_t size = 0;
	ssize_t len;

	while ((len = getline(&line, &size, f)) > 0) {
		_cleanup_json_ json_t *j = NULL;
		json_t *item;
		int r = 0;

		if (line[len - 1] == '\n')
			line[--len] = '\0';
		j = json_loadb(line, (size_t)len, 0, NULL);
		item = json_object_get(j, "item");
		if (!json_is_object(j)) {
			snprintf(reply->error, sizeof(reply->error),
				 "the daemon's answer is not JSON");
			return -EPROTO;
		}
		if (!item)
			return take_end(j, reply);
		seen = true;
		if (items)
			r = items(arg, item, item_text(line, (size_t)len));
		if (r)
			return r;
	}
	if (ferror(f) && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		snprintf(reply->error, sizeof(reply->error), "the daemon does not answer");
		return -ETIMEDOUT;
	}
	snprintf(reply->error, sizeof(reply->error), "the daemon closed the connection %s",
		 seen ? "before the end" : "without an answer");
	return -ECONNRESET;
}

int cli_call(const struct cli *cli, json_t *req, int timeout_ms, cli_item_fn items, void *arg,
	     struct cli_reply *reply)
{
	_cleanup_json_ json_t *request = req;
	_cleanup_fclose_ FILE *f = NULL;
	int fd, r;

	*reply = (struct cli_reply){ 0 };
	if (!request) {
		snprintf(reply->error, sizeof(reply->error),
			 "a request takes text in UTF-8 only");
		return -EINVAL;
	}
	fd = connect_daemon(cli, timeout_ms, reply);
	if (fd < 0)
		return fd;
	f = fdopen(fd, "r");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	r = send_request(fd, request);
	if (r < 0) {
		snprintf(reply->error, sizeof(reply->error), "cannot ask the daemon: %s",
			 strerror(-r));
		return r;
	}
	return read_answer(f, items, arg, reply);
}

int cli_ask(const struct cli *cli, json_t *req, int timeout_ms, cli_item_fn items, void *arg,
	    json_t **result)
{
	struct cli_reply reply;
	int r = cli_call(cli, req, timeout_ms, items, arg, &reply);

	if (r < 0) {
		cli_error("%s", reply.error);
		return CLI_FAILED;
	}
	if (r > 0) /* whoever took the items has said why */
		return CLI_FAILED;
	if (result)
		*result = reply.result;
	else
		json_decref(reply.result);
	return CLI_DONE;
}
