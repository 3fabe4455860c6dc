/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that read evidence: events, show, why. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/daemon.h"

#define FRESH_MS 500 /* a verdict of a moment ago should be found */
#define WHY_LIMIT 20
#define WHY_LOOKED 500

static char *db_path(const struct daemon *d)
{
	char *path;

	return asprintf(&path, "%s/oknek.db", d->opt.state_dir) < 0 ? NULL : path;
}

static const char *no_store(struct control_reply *reply, int err)
{
	snprintf(reply->err, sizeof(reply->err), "the evidence cannot be read: %s", strerror(-err));
	return "failed";
}

struct sending {
	struct control_reply *reply;
	uint64_t last;
	unsigned sent;
};

static int send_record(void *arg, uint64_t seq, const char *json)
{
	struct sending *s = arg;

	s->last = seq;
	s->sent++;
	return s->reply->item_text(s->reply, json) < 0 ? 1 : 0;
}

static const char *text_of(const json_t *req, const char *key)
{
	return json_string_value(json_object_get(req, key));
}

static int64_t number_of(const json_t *req, const char *key)
{
	return json_integer_value(json_object_get(req, key));
}

static void own_only(const struct control_peer *peer, struct store_filter *f)
{
	if (peer->role >= ROLE_VIEWER)
		return;
	f->has_uid = true;
	f->uid = peer->uid;
}

const char *daemon_cmd_events(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply)
{
	struct daemon *d = arg;
	_cleanup_free_ char *path = db_path(d);
	struct store_filter f = {
		.since_seq = (uint64_t)number_of(req, "since_seq"),
		.since_unix_s = number_of(req, "since"),
		.limit = (unsigned)number_of(req, "limit"),
		.rule = text_of(req, "rule"),
		.verdict = text_of(req, "verdict"),
		.pid = (pid_t)number_of(req, "pid"),
		.agent = text_of(req, "agent"),
	};
	struct sending s = { .reply = reply };
	bool follow = json_is_true(json_object_get(req, "follow"));
	struct store_status st;
	int err;

	if (!path)
		return no_store(reply, -ENOMEM);
	own_only(peer, &f);
	if (!reply->resumed) {
		store_flush(d->store, FRESH_MS);
	} else {
		f.since_seq = reply->cursor;
		f.limit = 0;
	}
	/* Asked before the query: what comes in between is found by the next one. */
	store_status(d->store, &st);
	err = store_query(path, &f, send_record, &s);
	if (err < 0 && err != -ENOENT)
		return no_store(reply, err);
	reply->follow = follow;
	reply->cursor = s.last > st.last_seq ? s.last : st.last_seq;
	return NULL;
}

struct showing {
	uint64_t seq;
	json_t *record;
};

static int take_record(void *arg, uint64_t seq, const char *json)
{
	struct showing *s = arg;

	if (seq == s->seq)
		s->record = json_loads(json, 0, NULL);
	return 1;
}

const char *daemon_cmd_show(void *arg, const struct control_peer *peer, const json_t *req,
			    struct control_reply *reply)
{
	struct daemon *d = arg;
	_cleanup_free_ char *path = db_path(d);
	struct showing s = { .seq = (uint64_t)number_of(req, "seq") };
	struct store_filter f = { .since_seq = s.seq - 1 };
	int err;

	if (!path)
		return no_store(reply, -ENOMEM);
	if (!s.seq) {
		snprintf(reply->err, sizeof(reply->err), "seq: a record's number is expected");
		return "usage";
	}
	own_only(peer, &f);
	store_flush(d->store, FRESH_MS);
	err = store_query(path, &f, take_record, &s);
	if (err < 0)
		return no_store(reply, err);
	if (!s.record) {
		snprintf(reply->err, sizeof(reply->err), "no record %llu of yours",
			 (unsigned long long)s.seq);
		return "notfound";
	}
	reply->result = s.record;
	return NULL;
}

static bool refused_or_would(const char *verdict)
{
	return verdict && (!strcmp(verdict, "block") || !strcmp(verdict, "would_block") ||
			   !strcmp(verdict, "detected") || !strcmp(verdict, "warn"));
}

/* The line of `readers:` that would let exactly this helper through. It counts only for a file of
 * root's; places where everybody puts files are not offered. */
static json_t *readers_line(const char *id, const char *part, const char *exe)
{
	static const char *const anybodys[] = { "/home/", "/root/", "/tmp/", "/var/tmp/",
						"/dev/shm/", "/run/user/", "/proc/" };

	if (!exe || exe[0] != '/')
		return json_null();
	for (size_t i = 0; i < ARRAY_SIZE(anybodys); i++)
		if (!strncmp(exe, anybodys[i], strlen(anybodys[i])))
			return json_null();
	return json_sprintf("readers: { %s%s%s: [%s] }", id, part && part[0] ? "/" : "",
			    part ? part : "", exe);
}

struct why {
	json_t *items;
	char session[40]; /* of the asker's own tree, "" all */
};

/* Whose tree the asker is in. Another agent's denials are none of its business, and would be taken
 * for its own. */
static void own_session(struct daemon *d, pid_t pid, char session[40])
{
	uint32_t id = proctree_peek(d->tree, pid);
	size_t n;
	_cleanup_free_ struct tree_brief *trees = daemon_trees(d, &n);

	for (size_t i = 0; trees && id && i < n; i++)
		if (trees[i].id == id)
			snprintf(session, 40, "%s", trees[i].session);
}

/* "203.0.113.1:443", "[2001:db8::1]:443", the path of a socket; NULL: no connection. */
static json_t *destination(const json_t *capture)
{
	const char *ip = json_string_value(json_object_get(capture, "dest_ip"));
	const char *path = json_string_value(json_object_get(capture, "dest_path"));
	json_int_t port = json_integer_value(json_object_get(capture, "dest_port"));

	if (path)
		return json_string(path);
	if (!ip)
		return json_string("what no rule of connections can see (a raw socket)");
	return json_sprintf(strchr(ip, ':') ? "[%s]:%lld" : "%s:%lld", ip, (long long)port);
}

/* Of which nobody says that there is no other way. */
static bool by_shim(const json_t *record)
{
	const char *s = json_string_value(json_object_get(record, "mechanism"));

	return s && !strcmp(s, "preload");
}

static void add_connection(json_t *item, const json_t *record)
{
	const json_t *capture = json_object_get(record, "capture");
	json_t *dest = destination(capture);
	const char *to = json_string_value(dest);
	const char *verdict = json_string_value(json_object_get(record, "verdict"));
	const char *egress = json_string_value(json_object_get(capture, "egress"));
	bool listable = egress && !strcmp(egress, "foreign") && to;
	const char *also = by_shim(record) ? "" : ": other addresses, protocols and programs are denied as well";

	if (verdict && !strcmp(verdict, "block"))
		json_object_set_new(
			item, "advice",
			json_sprintf("The call failed with \"Operation not permitted\". Do not retry, and do "
				     "not look for another way there%s. Go on without it, or ask the user.%s%s%s",
				     also, listable ? " Should every agent reach it, an administrator adds it to "
						"egress.allow in /etc/oknek/oknek.yaml: [\"" : "",
				     listable ? to : "", listable ? "\"]" : ""));
	else if (verdict && !strcmp(verdict, "would_block"))
		json_object_set_new(item, "advice",
				    json_string("In enforce mode this call fails with \"Operation not "
						"permitted\": do not build on it"));
	else
		json_object_set_new(item, "advice",
				    json_string("Nothing was stopped. The user sees this in `oknek events`: "
						"prefer to ask before connecting there"));
	json_object_set_new(item, "dest", dest);
	json_object_set_new(item, "readers_line", json_null());
}

/* A program that was to be run, or did. */
static void add_program(json_t *item, const json_t *record)
{
	const json_t *capture = json_object_get(record, "capture");
	const char *verdict = json_string_value(json_object_get(record, "verdict"));
	const char *outcome = json_string_value(json_object_get(record, "outcome"));
	json_t *command = json_object_get(capture, "bash_command");
	const char *advice;

	if (!json_is_string(command))
		command = json_object_get(capture, "argv");
	if (outcome && !strcmp(outcome, "killed"))
		advice = "The process was killed: its arguments were changed while they were looked at. Do "
			 "not try that again. Go on without it, or ask the user";
	else if (verdict && !strcmp(verdict, "block"))
		advice = by_shim(record) ?
			 "It was not started: \"Operation not permitted\". Do not retry, and do not look for "
			 "another way to run it. Go on without it, or ask the user to run it themselves, "
			 "outside the agent" :
			 "It was not started: \"Operation not permitted\". Do not retry, and do not look for "
			 "another way to run it: other shells and other names are denied as well. Go on "
			 "without it, or ask the user to run it themselves, outside the agent";
	else if (verdict && !strcmp(verdict, "would_block"))
		advice = "In enforce mode it is not started: do not build on it";
	else
		advice = "Nothing was stopped. The user sees this in `oknek events`: prefer to ask before "
			 "running such a command";
	json_object_set(item, "command", json_is_string(command) ? command : json_null());
	json_object_set(item, "outcome", json_object_get(record, "outcome"));
	json_object_set_new(item, "advice", json_string(advice));
	json_object_set_new(item, "readers_line", json_null());
}

static bool is_kind(const json_t *record, const char *kind)
{
	const char *s = json_string_value(json_object_get(record, "kind"));

	return s && !strcmp(s, kind);
}

static int why_record(void *arg, uint64_t seq, const char *text)
{
	struct why *w = arg;
	json_t *r = json_loads(text, 0, NULL), *rule, *proc, *item;
	const char *verdict, *id, *session;

	if (!r)
		return 0;
	verdict = json_string_value(json_object_get(r, "verdict"));
	rule = json_object_get(r, "rule");
	proc = json_object_get(r, "process");
	id = json_string_value(json_object_get(rule, "id"));
	session = json_string_value(json_object_get(json_object_get(r, "agent"), "session"));
	if (!id || id[0] == 'O' || !refused_or_would(verdict) ||
	    (w->session[0] && (!session || strcmp(session, w->session) != 0))) {
		json_decref(r);
		return 0;
	}
	item = json_pack("{s:I, s:O?, s:O?, s:O?, s:O?, s:O?, s:O?, s:s, s:O?, s:O?, s:o}", "seq",
			 (json_int_t)seq, "time", json_object_get(r, "time"), "rule",
			 json_object_get(rule, "id"), "part", json_object_get(rule, "part"), "name",
			 json_object_get(rule, "name"), "path",
			 json_object_get(json_object_get(r, "capture"), "path"), "process", proc,
			 "verdict", verdict, "errno", json_object_get(r, "errno"), "mechanism",
			 json_object_get(r, "mechanism"), "readers_line",
			 readers_line(id, json_string_value(json_object_get(rule, "part")),
				      json_string_value(json_object_get(proc, "exe"))));
	if (item && is_kind(r, "socket_connect"))
		add_connection(item, r);
	if (item && is_kind(r, "exec_observed"))
		add_program(item, r);
	if (item)
		json_array_append_new(w->items, item);
	if (json_array_size(w->items) > WHY_LIMIT)
		json_array_remove(w->items, 0);
	json_decref(r);
	return 0;
}

const char *daemon_cmd_why(void *arg, const struct control_peer *peer, const json_t *req,
			   struct control_reply *reply)
{
	struct daemon *d = arg;
	_cleanup_free_ char *path = db_path(d);
	struct store_filter f = { .pid = (pid_t)number_of(req, "pid"), .limit = WHY_LIMIT };
	struct why w = { .items = json_array() };
	size_t i;
	json_t *item;
	int err;

	if (!path || !w.items) {
		json_decref(w.items);
		return no_store(reply, -ENOMEM);
	}
	/* A member asks about its own tree's events, root in the tree too. */
	if (peer->role < ROLE_VIEWER) {
		f.has_uid = true;
		f.uid = peer->uid;
	}
	if (peer->member && d->tree) {
		own_session(d, peer->pid, w.session);
		f.limit = WHY_LOOKED; /* others' are passed over */
	}
	store_flush(d->store, FRESH_MS);
	err = store_query(path, &f, why_record, &w);
	if (err >= 0 || err == -ENOENT)
		json_array_foreach(w.items, i, item)
			if (reply->item(reply, json_incref(item)) < 0)
				break;
	json_decref(w.items);
	if (err < 0 && err != -ENOENT)
		return no_store(reply, err);
	return NULL;
}
