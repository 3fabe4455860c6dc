/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for an answer: for an operator's, and, for a thousandth of a second, for a helper's. The
 * verdict thread copies a few at a time; the asker's does the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/rule.h"
#include "tools/daemon_hold.h"

#define PARKED_AT_ONCE 32 /* each takes a readlink */

struct parked_brief {
	uint64_t token, since_ns, deadline_ns;
	pid_t pid;
	uid_t uid;
	uint32_t tree_id; /* 0: not known to be a member */
	enum verdict on_timeout;
	bool exec;
	char comm[16], agent[32];
	char path[4096]; /* what it is called now */
	/* Held for an operator. */
	bool held;
	char id[32], part[64], name[128];
	struct hold_brief hold;
};

struct parked_call {
	struct daemon *d;
	uint32_t tree; /* of that tree, and held, alone; 0: all */
	bool own_only; /* begun by uid */
	uid_t uid;
	unsigned next; /* slot to go on from */
	size_t n;
	struct parked_brief at[PARKED_AT_ONCE];
};

static bool is_asked_for(const struct parked_call *c, const struct fanotify_held *h)
{
	const struct tree *t = h && h->tree_id == c->tree ? proctree_tree(c->d->tree, c->tree) : NULL;

	return t && (!c->own_only || t->uid == c->uid);
}

static void take_parked_one(void *arg, const struct permission *p)
{
	struct parked_call *c = arg;
	struct parked_brief *b = &c->at[c->n];
	unsigned slot = permission_index(c->d->permissions, p);
	const struct member *m = proctree_find(c->d->tree, p->tgid);
	const struct tree *t = m ? proctree_tree(c->d->tree, m->tree_id) : NULL;
	const struct fanotify_held *h;
	char link[40];
	ssize_t len;

	if (slot < c->next || c->n == PARKED_AT_ONCE)
		return;
	h = fanotify_held_of(c->d->fanotify, p);
	if (c->tree && !is_asked_for(c, h))
		return;
	c->n++;
	c->next = slot + 1;
	b->token = p->token;
	b->since_ns = h ? h->since_ns : p->since_ns;
	b->deadline_ns = p->deadline_ns;
	b->pid = p->tgid;
	b->uid = (uid_t)-1;
	b->tree_id = 0;
	b->on_timeout = p->on_timeout;
	b->exec = p->exec != 0;
	b->comm[0] = b->agent[0] = '\0';
	b->held = h != NULL;
	if (h) {
		hold_brief_of(c->d, h, &b->hold);
		memcpy(b->id, h->id, sizeof(b->id));
		memcpy(b->part, h->part, sizeof(b->part));
		memcpy(b->name, h->name, sizeof(b->name));
	}
	if (m) {
		b->uid = m->uid;
		memcpy(b->comm, m->comm, sizeof(b->comm));
	}
	if (t) {
		b->tree_id = t->id;
		memcpy(b->agent, t->agent, sizeof(b->agent));
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", p->event_fd);
	len = readlink(link, b->path, sizeof(b->path) - 1);
	b->path[len > 0 ? len : 0] = '\0';
}

static void take_parked(void *arg)
{
	struct parked_call *c = arg;

	fanotify_each_parked(c->d->fanotify, take_parked_one, c);
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? daemon_json_text(text) : json_null();
}

/* By which it was held: who renames it meanwhile does not say what an operator is asked. */
static const char *path_of(const struct parked_brief *b)
{
	return b->held && b->hold.path[0] ? b->hold.path : b->path;
}

/* Of who waits for a helper no rule is named: which one decides is what is being waited for. */
static json_t *parked_json(const struct parked_brief *b)
{
	uint64_t now_ns = clock_boottime_ns();
	int64_t boot_unix_s = time(NULL) - (int64_t)(now_ns / NSEC_PER_SEC);
	char link[32], exe[4096];
	json_t *j;
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/%d/exe", b->pid);
	len = readlink(link, exe, sizeof(exe) - 1);
	exe[len > 0 ? len : 0] = '\0';
	j = json_pack(
		"{s:I, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:i, s:o, s:o, s:o}}", "token",
		(json_int_t)b->token, "deadline",
		(json_int_t)(boot_unix_s + (int64_t)(b->deadline_ns / NSEC_PER_SEC)), "since",
		(json_int_t)(boot_unix_s + (int64_t)(b->since_ns / NSEC_PER_SEC)),
		"on_timeout", b->on_timeout == VERDICT_BLOCK ? "deny" : "allow", "rule",
		text_or_null(b->held ? b->id : ""), "part", text_or_null(b->held ? b->part : ""), "name",
		text_or_null(b->held ? b->name : ""), "path", text_or_null(path_of(b)), "agent",
		text_or_null(b->agent), "tree", b->tree_id ? json_integer(b->tree_id) : json_null(),
		"process", "pid", b->pid, "uid",
		b->uid != (uid_t)-1 ? json_integer(b->uid) : json_null(), "comm",
		text_or_null(b->comm), "exe", text_or_null(exe));
	json_object_set_new(j, "held", json_boolean(b->held));
	json_object_set_new(j, "kind", json_string(event_kind_name(b->exec ? KIND_EXEC_OBSERVED :
									      KIND_FILE_OPENED)));
	if (!b->held)
		return j;
	json_object_set_new(j, "rules", text_or_null(b->hold.rules));
	json_object_set_new(j, "session", text_or_null(b->hold.session));
	if (!b->exec) {
		if (strcmp(path_of(b), b->path) != 0)
			json_object_set_new(j, "path_now", daemon_json_text(b->path));
		return j;
	}
	json_object_set_new(j, "argv", hold_arguments(&b->hold));
	json_object_set_new(j, "argv_cut", json_boolean(b->hold.argv_cut));
	return j;
}

json_t *hold_pending_json(const struct hold_brief *h, uint64_t since_ns, uint64_t until_ns,
			  enum verdict then, const char *id, const char *part, const char *name)
{
	_cleanup_free_ struct parked_brief *b = calloc(1, sizeof(*b));
	json_t *j;

	if (!b)
		return json_null();
	*b = (struct parked_brief){
		.token = h->token, .since_ns = since_ns, .deadline_ns = until_ns, .pid = h->pid,
		.uid = h->uid, .tree_id = h->tree_id, .on_timeout = then,
		.exec = h->kind == KIND_EXEC_OBSERVED, .held = true, .hold = *h,
	};
	memcpy(b->comm, h->comm, sizeof(b->comm));
	memcpy(b->agent, h->agent, sizeof(b->agent));
	memcpy(b->path, h->path, sizeof(b->path));
	snprintf(b->id, sizeof(b->id), "%s", id);
	snprintf(b->part, sizeof(b->part), "%s", part);
	snprintf(b->name, sizeof(b->name), "%s", name);
	j = parked_json(b);
	json_object_set_new(j, "kind", json_string(event_kind_name(h->kind)));
	json_object_set_new(j, "after_fact", json_true());
	return j;
}

/* tree 0: of all. */
static void each_parked(struct daemon *d, uint32_t tree, bool own_only, uid_t uid,
			struct control_reply *reply)
{
	_cleanup_free_ struct parked_call *c = calloc(1, sizeof(*c));

	if (!c || !d->fanotify)
		return;
	c->d = d;
	c->tree = tree;
	c->own_only = own_only;
	c->uid = uid;
	do {
		c->n = 0;
		if (loop_call(d->loop, take_parked, c) < 0)
			break;
		for (size_t i = 0; i < c->n; i++) {
			json_t *j = parked_json(&c->at[i]);

			if (j && reply->item(reply, j) < 0)
				return;
		}
	} while (c->n == PARKED_AT_ONCE);
}

const char *daemon_cmd_pending(void *arg, const struct control_peer *peer, const json_t *req,
			       struct control_reply *reply)
{
	struct daemon *d = arg;

	(void)req;
	if (peer->privileged)
		reply->result = json_pack("{s:o}", "config", daemon_json_text(d->opt.config));
	each_parked(d, 0, false, 0, reply);
	daemon_halt_each(d, 0, false, 0, reply);
	return NULL;
}

static bool may_hold(struct daemon *d)
{
	struct ruleset *rs = daemon_rules_ref(d);
	bool holds = false;

	for (size_t i = 0; rs && i < ruleset_count(rs) && !holds; i++)
		holds = ruleset_rule(rs, i)->hold && ruleset_rule(rs, i)->action == VERDICT_BLOCK;
	ruleset_unref(rs);
	return holds;
}

/* For who began a tree, and sits before it. */
const char *daemon_cmd_held(void *arg, const struct control_peer *peer, const json_t *req,
			    struct control_reply *reply)
{
	json_int_t tree = json_integer_value(json_object_get(req, "tree"));
	bool stopped;

	if (tree <= 0 || tree > UINT32_MAX)
		return daemon_say(reply, "usage", "tree: the number of a tree is expected");
	each_parked(arg, (uint32_t)tree, peer->role < ROLE_VIEWER, peer->uid, reply);
	stopped = daemon_halt_each(arg, (uint32_t)tree, peer->role < ROLE_VIEWER, peer->uid, reply);
	reply->result = json_pack("{s:b, s:b}", "holds", may_hold(arg), "stopped", stopped);
	return NULL;
}
