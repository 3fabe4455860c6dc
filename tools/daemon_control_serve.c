/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket's pool: parses a request, asks who may, runs its handler, queues the answer. */
#include "tools/daemon_control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

/* What a handler is given; the worker's own. */
struct running {
	struct control_reply reply;
	struct control *control;
	struct conn *conn;
	bool may_wait;
};

int control_out_append(struct conn *conn, const char *text, size_t len)
{
	size_t need = conn->out_len + len;

	if (conn->out_start + need > conn->out_size) {
		if (conn->out_start > 0) {
			memmove(conn->out, conn->out + conn->out_start, conn->out_len);
			conn->out_start = 0;
		}
		if (need > conn->out_size) {
			size_t size = need + need / 2 + 512;
			char *p = realloc(conn->out, size);

			if (!p)
				return -ENOMEM;
			conn->out = p;
			conn->out_size = size;
		}
	}
	memcpy(conn->out + conn->out_start + conn->out_len, text, len);
	conn->out_len = need;
	return 0;
}

/* With the lock held: until half of the queue is sent. -EPIPE when the peer does not read. */
static int wait_for_room(struct control *c, struct conn *conn)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += c->cfg.stall_ms / 1000;
	until.tv_nsec += c->cfg.stall_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	while (!conn->dead && !c->stopping && conn->out_len > CONTROL_OUT_MAX / 2)
		if (pthread_cond_timedwait(&c->room, &c->lock, &until) == ETIMEDOUT)
			return -EPIPE;
	return conn->dead || c->stopping ? -EPIPE : 0;
}

/* Queues one line for the peer; a peer that has too much queued is dropped. */
static int send_line(struct control *c, struct conn *conn, const char *text, size_t len,
		     bool may_wait)
{
	bool was_empty;
	int r = 0;

	if (len > CONTROL_OUT_MAX / 2)
		return -EMSGSIZE;
	pthread_mutex_lock(&c->lock);
	if (conn->dead)
		r = -EPIPE;
	else if (conn->out_len + len > CONTROL_OUT_MAX)
		r = may_wait ? wait_for_room(c, conn) : -EPIPE;
	was_empty = conn->out_len == 0;
	if (r == 0)
		r = control_out_append(conn, text, len);
	if (r < 0)
		conn->dead = true;
	pthread_mutex_unlock(&c->lock);
	if (was_empty || r < 0)
		control_kick(c);
	return r;
}

static int reply_item_text(struct control_reply *r, const char *json)
{
	struct running *run = (struct running *)r; /* first member */
	_cleanup_free_ char *line = NULL;
	int len;

	if (strchr(json, '\n'))
		return -EINVAL;
	len = asprintf(&line, "{\"item\":%s}\n", json);
	if (len < 0) {
		line = NULL;
		return -ENOMEM;
	}
	return send_line(run->control, run->conn, line, (size_t)len, run->may_wait);
}

static int reply_item(struct control_reply *r, json_t *item)
{
	_cleanup_free_ char *text = item ? json_dumps(item, JSON_COMPACT) : NULL;

	json_decref(item);
	return text ? reply_item_text(r, text) : -ENOMEM;
}

/* The last line of an answer. */
static void send_end(struct control *c, struct conn *conn, json_t *end, bool may_wait)
{
	_cleanup_free_ char *text = end ? json_dumps(end, JSON_COMPACT) : NULL;
	_cleanup_free_ char *line = NULL;
	int len = -1;

	json_decref(end);
	if (text)
		len = asprintf(&line, "%s\n", text);
	if (len < 0) {
		line = NULL;
		pthread_mutex_lock(&c->lock);
		conn->dead = true;
		pthread_mutex_unlock(&c->lock);
		return;
	}
	if (send_line(c, conn, line, (size_t)len, may_wait) == -EMSGSIZE) {
		pthread_mutex_lock(&c->lock);
		conn->dead = true;
		pthread_mutex_unlock(&c->lock);
	}
}

static void send_error(struct control *c, struct conn *conn, const char *code, const char *text)
{
	char clean[512];
	size_t n = 0;

	/* A message may quote what came from anywhere; JSON takes UTF-8 only. */
	for (; text[n] && n < sizeof(clean) - 1; n++)
		clean[n] = text[n] < ' ' || text[n] > '~' ? '?' : text[n];
	clean[n] = '\0';
	send_end(c, conn, json_pack("{s:b,s:s,s:s}", "ok", 0, "error", clean, "code", code), false);
}

/* The parser recurses; its depth must not be the peer's to choose. */
static bool depth_is_bounded(const char *line, size_t len)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < len; i++) {
		char ch = line[i];

		if (in_string) {
			if (ch == '\\')
				i++;
			else if (ch == '"')
				in_string = false;
		} else if (ch == '"') {
			in_string = true;
		} else if (ch == '{' || ch == '[') {
			if (++depth > CONTROL_DEPTH_MAX)
				return false;
		} else if ((ch == '}' || ch == ']') && depth > 0) {
			depth--;
		}
	}
	return true;
}

/* The command a request line names. NULL: err says why not. *ret is a new reference. */
static const struct control_command *parse_request(const struct control_command *commands,
						   const char *line, size_t len, json_t **ret,
						   char err[256])
{
	const struct control_command *found = NULL;
	json_error_t e;
	const char *name;
	json_t *req;

	if (!depth_is_bounded(line, len)) {
		snprintf(err, 256, "a request nests at most %d deep", CONTROL_DEPTH_MAX);
		return NULL;
	}
	req = json_loadb(line, len, JSON_REJECT_DUPLICATES, &e);
	if (!req) {
		snprintf(err, 256, "a request is one JSON object on one line: %s", e.text);
		return NULL;
	}
	name = json_string_value(json_object_get(req, "cmd"));
	for (const struct control_command *cmd = commands; name && cmd->name; cmd++)
		if (!strcmp(cmd->name, name))
			found = cmd;
	if (!name)
		snprintf(err, 256, "a request is an object with a string \"cmd\"");
	else if (!found)
		snprintf(err, 256, "unknown command \"%.40s\"", name);
	if (!found) {
		json_decref(req);
		return NULL;
	}
	*ret = req;
	return found;
}

/* Whether the peer may run cmd now; if not, err says why. Updates *peer. */
static bool may_run(struct control *c, struct conn *conn, const struct control_command *cmd,
		    struct control_peer *peer, char err[256])
{
	bool alive;

	if (!peer->member && c->cfg.is_member(c->cfg.arg, peer->pid)) {
		peer->member = true;
		peer->role = ROLE_NONE;
		peer->privileged = false;
	}
	/* After the question about the pid: if it lives now, the pid was its own all along. */
	alive = control_peer_alive(conn);
	if (!alive)
		snprintf(err, 256, "the process that connected is gone");
	else if (peer->member && cmd->right != RIGHT_MEMBER)
		snprintf(err, 256, "%s: a process of a watched tree may only ask for status and why",
			 cmd->name);
	else if (cmd->right == RIGHT_PRIVILEGED && !peer->privileged)
		snprintf(err, 256, "%s: only root or a member of the control group may", cmd->name);
	else if (cmd->right == RIGHT_OPERATOR && peer->role < ROLE_OPERATOR)
		snprintf(err, 256, "%s: only root, a member of the control group or an operator may",
			 cmd->name);
	else if (cmd->right == RIGHT_VIEWER && peer->role < ROLE_VIEWER)
		snprintf(err, 256, "%s: only root, a member of the control group or a viewer may",
			 cmd->name);
	else
		return true;
	if (cmd->right != RIGHT_MEMBER)
		control_refuse(c, peer, cmd->name);
	return false;
}

/* Returns true when the connection goes on as a follower. */
static bool run_handler(struct control *c, struct conn *conn, const struct control_command *cmd,
			const struct control_peer *peer, uint64_t *cursor)
{
	struct running run = {
		.reply = {
			.item = reply_item,
			.item_text = reply_item_text,
			.resumed = conn->resumed,
			.cursor = conn->cursor,
		},
		.control = c,
		.conn = conn,
		.may_wait = !peer->member && !conn->resumed,
	};
	const char *code = cmd->run(c->cfg.arg, peer, conn->req, &run.reply);

	if (code) {
		json_decref(run.reply.result);
		send_error(c, conn, code, run.reply.err[0] ? run.reply.err : "failed");
		return false;
	}
	if (run.reply.follow) {
		json_decref(run.reply.result);
		*cursor = run.reply.cursor;
		return true;
	}
	if (!run.reply.result)
		run.reply.result = json_object();
	send_end(c, conn, json_pack("{s:b,s:o}", "ok", 1, "result", run.reply.result),
		 run.may_wait);
	return false;
}

/* The connection is in state RUNNING: what only the worker uses is read without the lock. */
static void serve(struct control *c, struct conn *conn)
{
	struct control_peer peer = conn->peer;
	const struct control_command *cmd = conn->cmd;
	uint64_t cursor = conn->cursor;
	bool follow = false;
	char err[256] = "";

	if (!cmd) {
		cmd = parse_request(c->cfg.commands, conn->in, conn->in_len, &conn->req, err);
		if (!cmd)
			send_error(c, conn, "usage", err);
	}
	if (cmd) {
		if (may_run(c, conn, cmd, &peer, err))
			follow = run_handler(c, conn, cmd, &peer, &cursor);
		else
			send_error(c, conn, "denied", err);
	}

	pthread_mutex_lock(&c->lock);
	conn->peer = peer;
	conn->cmd = cmd;
	conn->cursor = cursor;
	conn->resumed = true;
	conn->state = follow ? CONN_FOLLOWING : CONN_CLOSING;
	conn->deadline_ms = control_now_ms() + c->cfg.stall_ms;
	conn->next_run_ms = control_now_ms() + CONTROL_FOLLOW_MS;
	/* A place of its class is free again, perhaps for one that every other worker passed over. */
	pthread_cond_broadcast(&c->jobs);
	pthread_mutex_unlock(&c->lock);
	control_kick(c);
}

/* With the lock held: may another of this peer's class run beside those that do? */
static bool worker_free_for(const struct control *c, const struct conn *conn)
{
	unsigned unprivileged = 0, members = 0, same_uid = 0;

	if (conn->peer.role >= ROLE_OPERATOR)
		return true;
	for (const struct conn *o = c->conns; o; o = o->next) {
		if (o->state != CONN_RUNNING || o->peer.role >= ROLE_OPERATOR)
			continue;
		unprivileged++;
		if (o->peer.member)
			members++;
		else if (o->peer.uid == conn->peer.uid)
			same_uid++;
	}
	return unprivileged < CONTROL_WORKERS_UNPRIVILEGED &&
	       (conn->peer.member ? members < CONTROL_WORKERS_MEMBERS :
				    same_uid < CONTROL_WORKERS_PER_UID);
}

static struct conn *next_job(struct control *c)
{
	struct conn *best = NULL;

	for (struct conn *conn = c->conns; conn; conn = conn->next)
		if (conn->state == CONN_QUEUED && !conn->dead &&
		    (!best || conn->ticket < best->ticket) && worker_free_for(c, conn))
			best = conn;
	return best;
}

void *control_worker(void *arg)
{
	struct control *c = arg;
	struct conn *conn;

	pthread_mutex_lock(&c->lock);
	while (!c->stopping) {
		conn = next_job(c);
		if (!conn) {
			pthread_cond_wait(&c->jobs, &c->lock);
			continue;
		}
		conn->state = CONN_RUNNING;
		conn->wake = false;
		pthread_mutex_unlock(&c->lock);
		serve(c, conn);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}
