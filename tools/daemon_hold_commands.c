/* SPDX-License-Identifier: Apache-2.0 */
/* allow and block: what an operator says of who is held. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/daemon_hold.h"

#define FOR_MAX_S (7 * 86400)
#define REASON_MAX_BYTES 500

json_t *hold_arguments(const struct hold_brief *b)
{
	json_t *list = json_array();

	for (uint32_t at = 0; at < b->argv_len_bytes;) {
		size_t len = strnlen(b->argv + at, b->argv_len_bytes - at);
		_cleanup_free_ char *text = strndup(b->argv + at, len);

		json_array_append_new(list, text ? daemon_json_text(text) : json_null());
		at += (uint32_t)len + 1;
	}
	return list;
}

/* Only who was held: its number may be another's by now. */
static bool end_process(const struct hold_brief *b)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, b->pid, 0);
	struct process_scan_entry e;

	if (fd < 0 || process_read(b->pid, &e) < 0 ||
	    !start_time_same(e.start_time_ns, b->start_time_ns))
		return false;
	return syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;
}

struct asked {
	struct hold_answer a;
	bool kill, always;
	bool either; /* a bare number: a process, or else a token */
	bool ended[HOLD_ANSWERS_MAX];
	const char *reason;
	unsigned held, killed;
};

/* For whom, what, and how long. */
static json_t *detail_json(const struct asked *q, const struct hold_brief *b, const char *outcome)
{
	json_t *j = json_pack("{s:s}", "outcome", outcome);

	if (q->a.token)
		json_object_set_new(j, "token", json_integer((json_int_t)q->a.token));
	else
		json_object_set_new(j, "pid", json_integer(q->a.pid));
	if (q->a.verdict == VERDICT_ALLOW)
		json_object_set_new(j, "for_s", json_integer((json_int_t)(q->a.for_ns / NSEC_PER_SEC)));
	if (q->always)
		json_object_set_new(j, "always", json_true());
	if (q->reason)
		json_object_set_new(j, "reason", json_string(q->reason));
	if (!b)
		return j;
	json_object_set_new(j, "token", json_integer((json_int_t)b->token));
	json_object_set_new(j, "rules", daemon_json_text(b->rules));
	json_object_set_new(j, "kind", json_string(event_kind_name(b->kind)));
	json_object_set_new(j, "path", daemon_json_text(b->path));
	if (b->kind == KIND_EXEC_OBSERVED) {
		json_object_set_new(j, "argv", hold_arguments(b));
		json_object_set_new(j, "argv_cut", json_boolean(b->argv_cut));
	}
	json_object_set_new(j, "tree", json_integer(b->tree_id));
	json_object_set_new(j, "session", daemon_json_text(b->session));
	json_object_set_new(j, "agent", daemon_json_text(b->agent));
	json_object_set_new(j, "process",
			    json_pack("{s:i, s:I, s:o}", "pid", b->pid, "uid", (json_int_t)b->uid,
				      "comm", daemon_json_text(b->comm)));
	return j;
}

static const char *none_waited(struct daemon *d, const struct control_peer *peer, const char *cmd,
			       const struct asked *q, struct control_reply *reply)
{
	const char *was = q->a.already.verdict == VERDICT_BLOCK ? "blocked" : "allowed";
	char meant[80] = "";

	if (!q->a.already.is) {
		daemon_operator_act(d, peer, cmd, detail_json(q, NULL, "nothing waited"));
		return daemon_say(reply, "notfound", "nothing waits for an answer of yours");
	}
	daemon_operator_act(d, peer, cmd, detail_json(q, NULL, "was answered already"));
	if (q->either && !q->a.token)
		snprintf(meant, sizeof(meant), "; the token of that number is t%d", q->a.pid);
	return daemon_say(reply, "failed", "it is answered already: %s by uid %u, process %d%s", was,
			  q->a.already.uid, q->a.already.pid, meant);
}

static const char *read_request(const json_t *req, bool allow, struct asked *q,
				struct control_reply *reply)
{
	const json_t *token = json_object_get(req, "token"), *pid = json_object_get(req, "pid");
	json_int_t for_s = json_integer_value(json_object_get(req, "for_s"));

	q->reason = json_string_value(json_object_get(req, "reason"));
	if (!token == !pid || json_integer_value(token ? token : pid) <= 0 ||
	    json_integer_value(pid) > INT32_MAX)
		return daemon_say(reply, "usage", "a process or a token is expected");
	if (for_s < 0 || for_s > FOR_MAX_S || (for_s && !allow))
		return daemon_say(reply, "usage", "for_s: at most %d seconds", FOR_MAX_S);
	if (q->reason && strlen(q->reason) > REASON_MAX_BYTES)
		return daemon_say(reply, "usage", "reason: at most %d bytes", REASON_MAX_BYTES);
	q->a.token = (uint64_t)json_integer_value(token);
	q->a.pid = (pid_t)json_integer_value(pid);
	q->a.for_ns = (uint64_t)for_s * NSEC_PER_SEC;
	q->kill = !allow && json_is_true(json_object_get(req, "kill"));
	q->either = !token && json_is_true(json_object_get(req, "or_token"));
	return NULL;
}

/* Of those that are meant. -ESHUTDOWN. */
static int answer_those(struct daemon *d, struct asked *q)
{
	int err = daemon_hold_answer(d, &q->a);

	if (err < 0)
		return err;
	q->killed = 0;
	/* While it is held: who has been told no has gone on. */
	for (unsigned i = 0; i < q->a.n && q->kill; i++)
		q->killed += q->ended[i] = end_process(&q->a.briefs[i]);
	if (q->kill)
		daemon_hold_told(d, &q->a); /* a daemon that is stopping tells them by its end */
	q->held = q->a.n;
	daemon_halt_answer(d, &q->a, q->kill, q->ended);
	for (unsigned i = q->held; i < q->a.n && q->kill; i++)
		q->killed += q->ended[i];
	return 0;
}

/* A number that is no process's that is held, nor of one that was answered, may be a token's. */
static int answer_either(struct daemon *d, struct asked *q)
{
	pid_t number = q->a.pid;
	int err = answer_those(d, q);

	if (err || !q->either || q->a.n || q->a.already.is)
		return err;
	q->a.token = (uint64_t)number;
	q->a.pid = 0;
	err = answer_those(d, q);
	if (!err && !q->a.n && !q->a.already.is) {
		q->a.token = 0;
		q->a.pid = number;
	}
	return err;
}

static const char *answer(struct daemon *d, const struct control_peer *peer, const char *cmd,
			  enum verdict verdict, const json_t *req, struct control_reply *reply)
{
	_cleanup_free_ struct asked *q = calloc(1, sizeof(*q));
	const char *code;
	bool unseen = false;

	if (!q)
		return daemon_say(reply, "failed", "out of memory");
	code = read_request(req, verdict == VERDICT_ALLOW, q, reply);
	if (code)
		return code;
	q->always = json_is_true(json_object_get(req, "always"));
	if (q->always && !peer->privileged) {
		daemon_refused(d, peer, cmd, 0);
		return daemon_say(reply, "denied", "allow --always: only root, a member of the control group "
				  "or an admin may");
	}
	q->a.verdict = verdict;
	q->a.by_pid = peer->pid;
	q->a.by_uid = peer->uid;
	q->a.later = q->kill;
	if (answer_either(d, q) < 0)
		return daemon_say(reply, "failed", "the daemon is stopping");
	if (!q->a.n)
		return none_waited(d, peer, cmd, q, reply);
	for (unsigned i = 0; i < q->a.n; i++) {
		json_t *detail = detail_json(q, &q->a.briefs[i],
					     verdict == VERDICT_ALLOW ? "allowed" : "blocked");

		if (q->kill)
			json_object_set_new(detail, "killed", json_boolean(q->ended[i]));
		if (q->a.no_room)
			json_object_set_new(detail, "kept", json_false());
		if (i >= q->held)
			json_object_set_new(detail, "after_fact", json_true());
		unseen |= verdict == VERDICT_ALLOW && q->a.briefs[i].argv_cut;
		daemon_operator_act(d, peer, cmd, detail);
	}
	reply->result = json_pack("{s:i, s:b, s:s}", "answered", (int)q->a.n, "kept",
				  !q->a.no_room && (verdict == VERDICT_BLOCK || q->a.for_ns), "by",
				  q->a.token ? "token" : "pid");
	if (q->a.after_fact)
		json_object_set_new(reply->result, "after_fact", json_true());
	if (q->kill)
		json_object_set_new(reply->result, "killed", json_integer(q->killed));
	if (unseen)
		json_object_set_new(reply->result, "unseen",
				    json_string("its arguments have an end that was not shown: they are too long"));
	if (q->a.no_room)
		json_object_set_new(reply->result, "notice",
				    json_string(q->a.nameless ? "only this once: nothing tells it from others" :
						"only this once: too much is allowed or refused already"));
	return NULL;
}

const char *daemon_cmd_allow(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply)
{
	return answer(arg, peer, "allow", VERDICT_ALLOW, req, reply);
}

const char *daemon_cmd_block(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply)
{
	return answer(arg, peer, "block", VERDICT_BLOCK, req, reply);
}
