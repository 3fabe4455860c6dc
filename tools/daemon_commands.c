/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/agent.h"
#include "core/cleanup.h"
#include "core/rule.h"
#include "sources/preload.h"
#include "tools/daemon.h"

#define PAUSE_MAX_S (24 * 3600)
#define GAP_TRIES 20
#define GAP_WAIT_US 20000

const char *daemon_say(struct control_reply *r, const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->err, sizeof(r->err), fmt, ap);
	va_end(ap);
	return code;
}

void daemon_own_record(struct daemon *d, const char *id, const char *name, json_t *detail)
{
	_cleanup_free_ char *text = detail ? json_dumps(detail, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	json_decref(detail);
	/* A full ring counts it; nothing else can be done about it here. */
	journal_own(d->journal, id, name, text ? text : "{}");
}

struct member_call {
	struct daemon *d;
	pid_t pid;
	bool member, known;
};

static void find_member(void *arg)
{
	struct member_call *c = arg;

	c->known = daemon_feed_drain(c->d);
	c->member = proctree_find(c->d->tree, c->pid) != NULL;
}

/*
 * Asked of the verdict thread, after it took what the feed has queued: the table alone may not yet
 * have heard of a child that was born a moment ago. While the feed has a gap nobody can say; whoever
 * cannot be cleared in time is taken for a member, and has the rights of one.
 */
bool daemon_is_member(void *arg, pid_t pid)
{
	struct member_call c = { .d = arg, .pid = pid };

	if (!daemon_watches(c.d))
		return false;
	for (int i = 0; i < GAP_TRIES; i++) {
		if (loop_call(c.d->loop, find_member, &c) < 0)
			return true;
		if (c.member || c.known)
			return c.member;
		usleep(GAP_WAIT_US);
	}
	return true;
}

static const char *role_name(enum role role)
{
	static const char *const names[] = { "none", "viewer", "operator", "admin" };

	return names[role];
}

static json_t *peer_json(const struct control_peer *p)
{
	char link[32], exe[4096];
	ssize_t n;
	json_t *text;

	/* Who asked may have ended since, or be of a namespace that has no number here. */
	snprintf(link, sizeof(link), "/proc/%d/exe", p->pid);
	n = p->pid > 0 ? readlink(link, exe, sizeof(exe) - 1) : -1;
	exe[n > 0 ? n : 0] = '\0';
	text = n > 0 ? daemon_json_text(exe) : NULL;
	return json_pack("{s:i, s:I, s:b, s:s, s:o}", "pid", p->pid, "uid", (json_int_t)p->uid,
			 "member", p->member, "role", role_name(p->role), "exe", text ? text : json_null());
}

/* What the operator typed, where the socket has another word for it. */
static const char *typed(const char *cmd)
{
	return strcmp(cmd, "reload") ? cmd : "update";
}

void daemon_refused(void *arg, const struct control_peer *peer, const char *cmd, uint64_t more)
{
	daemon_own_record(arg, "O2", "refused",
			  json_pack("{s:s, s:o, s:I}", "command", typed(cmd), "caller", peer_json(peer),
				    "more", (json_int_t)more));
}

void daemon_operator_act(struct daemon *d, const struct control_peer *peer, const char *cmd,
			 json_t *detail)
{
	daemon_own_record(d, "O2", typed(cmd),
			  json_pack("{s:s, s:o, s:o}", "command", typed(cmd), "caller", peer_json(peer),
				    "detail", detail ? detail : json_object()));
}

static const char *cmd_status(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply)
{
	(void)req;
	reply->result = daemon_status_json(arg, peer->role >= ROLE_VIEWER);
	json_object_set_new(reply->result, "caller",
			    json_pack("{s:b, s:b, s:s}", "member", peer->member, "privileged",
				      peer->privileged, "role", role_name(peer->role)));
	return NULL;
}

/* --- run, watch, unwatch ------------------------------------------------------------------ */

struct gaps_below {
	const char *home;
	json_t *list;
};

/* What the tree's own home lacks; others' homes are none of the asker's business. */
static void add_gap_text(void *arg, const char *path, const char *why)
{
	struct gaps_below *b = arg;
	size_t n = strlen(b->home);
	json_t *g;

	if (!n || strncmp(path, b->home, n) || path[n] != '/' || json_array_size(b->list) >= 8)
		return;
	g = json_sprintf("not protected: %s: %s", path, why);
	if (g)
		json_array_append_new(b->list, g);
}

/* shim: what is watched carries it, or has to. */
static json_t *watch_warnings(struct daemon *d, const struct watch_result *res, bool shim)
{
	struct gaps_below below = { res->home, json_array() };
	json_t *list = below.list;

	if (shim && !d->preload)
		json_array_append_new(list, json_string(PRELOAD_UNASKED));
	if (shim)
		json_array_append_new(list, json_string(PRELOAD_BYPASS));
	if (res->marks_late)
		json_array_append_new(list, json_string("not every protected path could be looked at "
							"in time; it goes on in the background"));
	if (d->marks)
		marks_each_gap(d->marks, add_gap_text, &below);
	return list;
}

static const char *watch_failed(struct control_reply *reply, pid_t pid, int err)
{
	if (err == -ESRCH)
		return daemon_say(reply, "notfound", "no process %d", pid);
	if (err == -EEXIST)
		return daemon_say(reply, "failed", "process %d is watched already", pid);
	if (err == -EPERM)
		return daemon_say(reply, "denied", "process %d is oknek's own", pid);
	if (err == -ECANCELED)
		return daemon_say(reply, "failed",
			   "protected paths could not be marked in time; nothing was started");
	if (err == -EOPNOTSUPP)
		return daemon_say(reply, "failed", "no source that watches processes runs");
	if (err == -ENOSPC)
		return daemon_say(reply, "failed", "no room: too many trees or processes are watched");
	return daemon_say(reply, "failed", "process %d cannot be watched: %s", pid, strerror(-err));
}

static const char *check_agent(const json_t *req, struct control_reply *reply, const char **agent)
{
	const char *name = json_string_value(json_object_get(req, "agent"));

	*agent = name && name[0] ? name : "unnamed";
	if (strlen(*agent) >= sizeof(((struct tree *)0)->agent))
		return daemon_say(reply, "usage", "agent: a name of at most 31 bytes is expected");
	for (const char *c = *agent; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *c))
			return daemon_say(reply, "usage", "agent: letters, digits, '.', '_' and '-' only");
	return NULL;
}

static const char *own_process(const struct control_peer *peer, pid_t pid,
			       struct control_reply *reply, struct process_scan_entry *ret)
{
	struct process_scan_entry e;

	if (pid <= 1)
		return daemon_say(reply, "usage", "pid: a process id above 1 is expected");
	if (process_read(pid, &e) < 0)
		return daemon_say(reply, "notfound", "no process %d", pid);
	if (!peer->privileged && e.uid != peer->uid)
		return daemon_say(reply, "denied", "process %d is not yours", pid);
	*ret = e;
	return NULL;
}

const char *daemon_run_child(struct daemon *d, const struct control_peer *peer, const json_t *req,
			     struct watch_request *rq, struct control_reply *reply)
{
	struct process_scan_entry e;
	struct watch_result res;
	const char *code;
	bool carried, wanted;
	int err;

	rq->pid = (pid_t)json_integer_value(json_object_get(req, "pid"));
	rq->home = json_string_value(json_object_get(req, "home"));
	rq->cwd = json_string_value(json_object_get(req, "cwd"));
	rq->strict = true;
	code = own_process(peer, rq->pid, reply, &e);
	if (code)
		return code;
	rq->start_time_ns = e.start_time_ns;
	if (e.ppid != peer->pid)
		return daemon_say(reply, "denied", "process %d is no child of the caller", rq->pid);
	err = daemon_watch(d, rq, &res);
	if (err)
		return watch_failed(reply, rq->pid, err);
	carried = daemon_preload_carried(d);
	wanted = json_is_true(json_object_get(req, "preload"));
	reply->result = json_pack("{s:I, s:s, s:s, s:b, s:o}", "tree", (json_int_t)res.tree, "session",
				  res.session, "agent", res.agent, "preload", carried, "warnings",
				  watch_warnings(d, &res, carried || wanted));
	return NULL;
}

static const char *cmd_run(void *arg, const struct control_peer *peer, const json_t *req,
			   struct control_reply *reply)
{
	struct watch_request rq = { .how = "run" };
	const char *code = check_agent(req, reply, &rq.agent);

	return code ? code : daemon_run_child(arg, peer, req, &rq, reply);
}

struct open_file {
	pid_t pid;
	int fd;
	uint64_t dev, ino;
	char path[256];
};

struct open_list {
	struct daemon *d;
	pid_t pid;
	struct open_file files[1024];
	unsigned n;
	json_t *list;
};

static void open_descriptor(void *arg, int fd, uint64_t dev, uint64_t ino, const char *path)
{
	struct open_list *o = arg;

	if (o->n == ARRAY_SIZE(o->files))
		return;
	o->files[o->n] = (struct open_file){ o->pid, fd, dev, ino, "" };
	snprintf(o->files[o->n++].path, sizeof(o->files[0].path), "%s", path);
}

/* On the verdict thread: the table of objects is its own to read. */
static void keep_protected(void *arg)
{
	struct open_list *o = arg;

	for (unsigned i = 0; i < o->n; i++) {
		const struct open_file *f = &o->files[i];
		const struct object *obj = objects_find(o->d->objects, f->dev, f->ino);
		json_t *j;

		if (!obj || obj->is_dir)
			continue;
		j = json_pack("{s:i, s:i, s:s}", "pid", f->pid, "fd", f->fd, "path", f->path);
		if (!j)
			j = json_pack("{s:i, s:i, s:s}", "pid", f->pid, "fd", f->fd, "path", "?");
		json_array_append_new(o->list, j);
	}
}

struct pid_list {
	struct daemon *d;
	uint32_t tree;
	pid_t pids[1024];
	unsigned n;
};

static void list_pid(const struct member *m, void *arg)
{
	struct pid_list *l = arg;

	if (l->n < ARRAY_SIZE(l->pids))
		l->pids[l->n++] = m->tgid;
}

static void list_pids(void *arg)
{
	struct pid_list *l = arg;

	proctree_each_member(l->d->tree, l->tree, list_pid, l);
}

/* Descriptors that were open before: a mark does not take them back. */
static json_t *open_descriptors(struct daemon *d, uint32_t tree)
{
	_cleanup_free_ struct open_list *o = calloc(1, sizeof(*o));
	_cleanup_free_ struct pid_list *l = calloc(1, sizeof(*l));
	json_t *list = json_array();

	if (!o || !l || !d->objects)
		return list;
	l->d = o->d = d;
	l->tree = tree;
	o->list = list;
	loop_call(d->loop, list_pids, l);
	for (unsigned i = 0; i < l->n; i++) {
		o->pid = l->pids[i];
		pthread_mutex_lock(&d->process_lock);
		lookup_descriptors(d->process_lookup, o->pid, PROCESS_WAIT_MS, open_descriptor, o);
		pthread_mutex_unlock(&d->process_lock);
	}
	loop_call(d->loop, keep_protected, o);
	return list;
}

/* Somebody was faster, and that is as well. */
static const char *watched_already(struct daemon *d, pid_t pid, struct control_reply *reply)
{
	uint32_t id = proctree_peek(d->tree, pid);
	_cleanup_free_ struct tree_brief *trees = NULL;
	size_t n;

	trees = daemon_trees(d, &n);
	for (size_t i = 0; i < n; i++)
		if (trees[i].id == id)
			reply->result = json_pack("{s:I, s:s, s:s, s:i, s:[], s:[]}", "tree",
						  (json_int_t)id, "session", trees[i].session, "agent",
						  trees[i].agent, "members", (int)trees[i].members,
						  "open", "warnings");
	return reply->result ? NULL : watch_failed(reply, pid, -ESRCH);
}

static const char *cmd_watch(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply)
{
	struct daemon *d = arg;
	struct watch_request rq = {
		.pid = (pid_t)json_integer_value(json_object_get(req, "pid")),
		.how = "watch",
	};
	struct process_scan_entry e;
	struct watch_result res;
	const char *code = check_agent(req, reply, &rq.agent);
	json_t *open, *warnings;
	bool carried;
	int err;

	if (!code)
		code = own_process(peer, rq.pid, reply, &e);
	if (code)
		return code;
	rq.start_time_ns = e.start_time_ns;
	err = daemon_watch(d, &rq, &res);
	if (err == -EEXIST && json_is_true(json_object_get(req, "unless_watched")))
		return watched_already(d, rq.pid, reply);
	if (err)
		return watch_failed(reply, rq.pid, err);
	open = open_descriptors(d, res.tree);
	carried = daemon_preload_carried(d);
	warnings = watch_warnings(d, &res, carried);
	if (carried)
		json_array_append_new(warnings, json_string("a process that runs already is asked only if it was "
							    "started with the shim"));
	daemon_operator_act(d, peer, "watch",
		     json_pack("{s:i, s:s, s:O}", "pid", rq.pid, "session", res.session, "open",
			       open));
	reply->result = json_pack("{s:I, s:s, s:s, s:i, s:o, s:o}", "tree", (json_int_t)res.tree,
				  "session", res.session, "agent", res.agent, "members",
				  (int)res.members, "open", open, "warnings", warnings);
	return NULL;
}

static const char *cmd_unwatch(void *arg, const struct control_peer *peer, const json_t *req,
			       struct control_reply *reply)
{
	struct daemon *d = arg;
	uint32_t tree = (uint32_t)json_integer_value(json_object_get(req, "tree"));
	pid_t pid = (pid_t)json_integer_value(json_object_get(req, "pid"));
	unsigned members = 0;

	if (!tree && pid > 0)
		tree = proctree_peek(d->tree, pid);
	if (!tree || daemon_unwatch(d, tree, &members) < 0)
		return daemon_say(reply, "notfound", "no watched tree of that number or process");
	daemon_operator_act(d, peer, "unwatch",
		     json_pack("{s:I, s:i}", "tree", (json_int_t)tree, "members", (int)members));
	reply->result = json_pack("{s:I, s:i}", "tree", (json_int_t)tree, "members", (int)members);
	return NULL;
}

/* --- mode, pause, reload ------------------------------------------------------------------ */

static const char *marks_failed(struct daemon *d, struct control_reply *reply, int err)
{
	if (err != -ETIMEDOUT)
		return daemon_say(reply, "failed", "marks could not be set: %s", strerror(-err));
	if (daemon_mode_now(d) == MODE_ENFORCE)
		return daemon_say(reply, "failed", "enforcing what is marked, but marks are still being set");
	return daemon_say(reply, "failed", "nothing is denied any more, but marks are still being set: "
				    "openers of protected files may still wait for an answer");
}

static const char *cmd_mode(void *arg, const struct control_peer *peer, const json_t *req,
			    struct control_reply *reply)
{
	struct daemon *d = arg;
	const char *name = json_string_value(json_object_get(req, "mode"));
	int mode = name ? mode_parse(name) : -EINVAL;
	const char *was = mode_name((enum mode)atomic_load(&d->mode));
	int err;

	if (mode < 0)
		return daemon_say(reply, "usage", "mode: observe or enforce is expected");
	err = daemon_set_mode(d, (enum mode)mode);
	daemon_operator_act(d, peer, "mode", json_pack("{s:s, s:s}", "mode", name, "was", was));
	if (err)
		return marks_failed(d, reply, err);
	reply->result = json_pack("{s:s, s:s, s:s}", "mode", name, "was", was, "in_force",
				  mode_name(daemon_mode_now(d)));
	return NULL;
}

static const char *cmd_pause(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply)
{
	struct daemon *d = arg;
	const json_t *s = json_object_get(req, "seconds");
	int64_t seconds = json_integer_value(s), until;
	int err;

	if (!json_is_integer(s) || seconds < 0 || seconds > PAUSE_MAX_S)
		return daemon_say(reply, "usage", "seconds: 0 to %d is expected", PAUSE_MAX_S);
	err = daemon_pause(d, seconds);
	daemon_operator_act(d, peer, "pause", json_pack("{s:I}", "seconds", (json_int_t)seconds));
	if (err)
		return marks_failed(d, reply, err);
	until = atomic_load(&d->paused_until_s);
	reply->result = json_pack("{s:o, s:s}", "paused_until",
				  until ? json_integer(until) : json_null(), "mode",
				  mode_name(daemon_mode_now(d)));
	return NULL;
}

/* Would it? Nothing changes, so nothing is recorded. */
static const char *check_rules(struct daemon *d, const json_t *req, struct control_reply *reply)
{
	static const char *const names[] = {
		[DAEMON_PACK_INCOMING] = "incoming", [DAEMON_PACK_PREVIOUS] = "previous",
		[DAEMON_PACK_SHIPPED] = "shipped",
	};
	const char *name = json_string_value(json_object_get(req, "check"));
	struct rules_error err = { "" };
	struct ruleset *rs = NULL;
	unsigned which = 0;
	int r;

	while (which < ARRAY_SIZE(names) && (!name || !names[which] || strcmp(name, names[which])))
		which++;
	if (which == ARRAY_SIZE(names))
		return daemon_say(reply, "usage", "check: incoming, previous or shipped is expected");
	if (!daemon_pack_dir_is(d, json_integer_value(json_object_get(req, "dev")),
				json_integer_value(json_object_get(req, "ino"))))
		return daemon_say(reply, "notfound", "the rules of this daemon are elsewhere");
	pthread_mutex_lock(&d->admin_lock);
	r = daemon_try_rules(d, which, &rs, &err);
	pthread_mutex_unlock(&d->admin_lock);
	if (r < 0)
		return daemon_say(reply, "failed", "%s", err.text[0] ? err.text : strerror(-r));
	reply->result = json_pack("{s:i, s:s}", "rules", (int)ruleset_count(rs), "origin",
				  ruleset_origin(rs));
	ruleset_unref(rs);
	return NULL;
}

static const char *cmd_reload(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply)
{
	struct daemon *d = arg;
	struct rules_error err = { "" };
	json_t *notices;
	struct ruleset *rs;
	int r;

	if (json_object_get(req, "check"))
		return check_rules(d, req, reply);
	notices = json_array();
	pthread_mutex_lock(&d->admin_lock);
	r = daemon_reload(d, &err, notices);
	pthread_mutex_unlock(&d->admin_lock);
	daemon_operator_act(d, peer, "reload", json_pack("{s:b}", "ok", r == 0));
	rs = r < 0 ? NULL : daemon_rules_ref(d);
	if (!rs) {
		json_decref(notices);
		return daemon_say(reply, "failed", "%s", r == 0 ? "the daemon is stopping" :
						  err.text[0] ? err.text : strerror(-r));
	}
	reply->result = json_pack("{s:i, s:s, s:o}", "rules", (int)ruleset_count(rs), "origin",
				  ruleset_origin(rs), "notice", notices);
	ruleset_unref(rs);
	return NULL;
}

const struct control_command daemon_commands[] = {
	{ "status", RIGHT_MEMBER, cmd_status },
	{ "why", RIGHT_MEMBER, daemon_cmd_why },
	{ "judge", RIGHT_MEMBER, daemon_cmd_judge },
	{ "run", RIGHT_ANYBODY, cmd_run },
	{ "watch", RIGHT_ANYBODY, cmd_watch },
	{ "agents", RIGHT_ANYBODY, daemon_cmd_agents },
	{ "events", RIGHT_ANYBODY, daemon_cmd_events },
	{ "show", RIGHT_ANYBODY, daemon_cmd_show },
	{ "held", RIGHT_ANYBODY, daemon_cmd_held },
	{ "rules", RIGHT_ANYBODY, daemon_cmd_rules },
	{ "egress", RIGHT_ANYBODY, daemon_cmd_egress },
	{ "unwatch", RIGHT_PRIVILEGED, cmd_unwatch },
	{ "unit", RIGHT_PRIVILEGED, daemon_cmd_unit },
	{ "mode", RIGHT_PRIVILEGED, cmd_mode },
	{ "pause", RIGHT_PRIVILEGED, cmd_pause },
	{ "reload", RIGHT_PRIVILEGED, cmd_reload },
	{ "pending", RIGHT_VIEWER, daemon_cmd_pending },
	{ "prove", RIGHT_OPERATOR, daemon_cmd_prove },
	{ "proved", RIGHT_OPERATOR, daemon_cmd_proved },
	{ "allow", RIGHT_OPERATOR, daemon_cmd_allow },
	{ "block", RIGHT_OPERATOR, daemon_cmd_block },
	{ NULL, RIGHT_PRIVILEGED, NULL },
};
