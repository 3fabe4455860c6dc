/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists for whoever asks. The verdict thread only copies plain figures, a few at a time and between
 * its batches; the rest is done by the asker's thread.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/rule.h"
#include "tools/daemon.h"

#define TREES_AT_ONCE 64
#define PLACES_AT_ONCE 16
#define MEMBERS_AT_ONCE 256

/* --- trees -------------------------------------------------------------------------------- */

struct ids_call {
	struct daemon *d;
	uint32_t ids[PROCTREE_TREES_MAX];
	size_t n;
};

static void take_id(struct tree *t, void *arg)
{
	struct ids_call *c = arg;

	if (c->n < ARRAY_SIZE(c->ids))
		c->ids[c->n++] = t->id;
}

static void take_ids(void *arg)
{
	struct ids_call *c = arg;

	proctree_each_tree(c->d->tree, take_id, c);
}

struct trees_call {
	struct daemon *d;
	const uint32_t *ids;
	size_t n;
	size_t taken;
	struct tree_brief *briefs; /* one of the two */
	struct tree_place *places;
};

static void take_brief(const struct tree *t, struct tree_brief *ret)
{
	*ret = (struct tree_brief){
		.id = t->id,
		.members = t->members,
		.root_pid = t->root_pid,
		.uid = t->uid,
		.since_unix_s = t->since_unix_s,
		.blocked = t->blocked,
		.warned = t->warned,
		.parked_refused = t->parked_refused,
	};
	memcpy(ret->agent, t->agent, sizeof(ret->agent));
	memcpy(ret->session, t->session, sizeof(ret->session));
	memcpy(ret->how, t->how, sizeof(ret->how));
}

static void take_place(const struct tree *t, struct tree_place *ret)
{
	ret->id = t->id;
	ret->uid = t->uid;
	snprintf(ret->home, sizeof(ret->home), "%s", t->homes[1][0] ? t->homes[1] : t->homes[0]);
	snprintf(ret->cwd, sizeof(ret->cwd), "%s", t->cwd);
}

static void count_parked(void *arg, const struct permission *p)
{
	struct trees_call *c = arg;

	for (size_t i = 0; i < c->taken; i++)
		c->briefs[i].parked += c->briefs[i].id == p->tree_id;
}

static void take_trees(void *arg)
{
	struct trees_call *c = arg;
	const size_t before = c->taken;

	for (size_t i = 0; i < c->n; i++) {
		const struct tree *t = proctree_tree(c->d->tree, c->ids[i]);

		if (!t || !t->members)
			continue; /* ended since */
		if (c->briefs)
			take_brief(t, &c->briefs[c->taken++]);
		else
			take_place(t, &c->places[c->taken++]);
	}
	if (c->briefs && c->d->fanotify) {
		struct trees_call now = { .briefs = c->briefs + before, .taken = c->taken - before };

		fanotify_each_parked(c->d->fanotify, count_parked, &now);
	}
}

static size_t copy_trees(struct daemon *d, const struct ids_call *ids, size_t at_once,
			 struct tree_brief *briefs, struct tree_place *places)
{
	struct trees_call c = { .d = d, .briefs = briefs, .places = places };

	for (size_t i = 0; i < ids->n; i += at_once) {
		c.ids = ids->ids + i;
		c.n = ids->n - i < at_once ? ids->n - i : at_once;
		if (loop_call(d->loop, take_trees, &c) < 0)
			break;
	}
	return c.taken;
}

static struct ids_call *tree_ids(struct daemon *d)
{
	_cleanup_free_ struct ids_call *ids = calloc(1, sizeof(*ids));

	if (!ids || !d->tree)
		return NULL;
	ids->d = d;
	if (loop_call(d->loop, take_ids, ids) < 0 || !ids->n)
		return NULL;
	return TAKE_PTR(ids);
}

struct tree_brief *daemon_trees(struct daemon *d, size_t *n)
{
	_cleanup_free_ struct ids_call *ids = tree_ids(d);
	struct tree_brief *briefs = ids ? calloc(ids->n, sizeof(*briefs)) : NULL;

	*n = briefs ? copy_trees(d, ids, TREES_AT_ONCE, briefs, NULL) : 0;
	return briefs;
}

struct tree_place *daemon_tree_places(struct daemon *d, size_t *n)
{
	_cleanup_free_ struct ids_call *ids = tree_ids(d);
	struct tree_place *places = ids ? calloc(ids->n, sizeof(*places)) : NULL;

	*n = places ? copy_trees(d, ids, PLACES_AT_ONCE, NULL, places) : 0;
	return places;
}

/* --- members ------------------------------------------------------------------------------ */

struct member_brief {
	uint32_t tree_id;
	pid_t pid, ppid;
	char comm[16];
};

struct members_call {
	struct daemon *d;
	struct member_brief *at;
	size_t n;
};

static void take_members(void *arg)
{
	struct members_call *c = arg;

	for (size_t i = 0; i < c->n; i++) {
		struct member_brief *b = &c->at[i];
		const struct member *m = proctree_find(c->d->tree, b->pid);

		b->tree_id = m ? m->tree_id : 0;
		if (!m)
			continue;
		b->ppid = m->ppid;
		memcpy(b->comm, m->comm, sizeof(b->comm));
	}
}

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* The pids that are members: by the names in /proc, each looked up in the table without the
 * verdict thread, which would have to walk all of its rows. */
static struct member_brief *find_members(struct daemon *d, size_t *n)
{
	_cleanup_(close_dir) DIR *dir = opendir("/proc");
	_cleanup_free_ struct member_brief *list = NULL;
	size_t room = 0, used = 0;
	struct dirent *de;

	*n = 0;
	while (dir && (de = readdir(dir))) {
		pid_t pid = (pid_t)strtol(de->d_name, NULL, 10);

		if (pid <= 0 || !proctree_peek(d->tree, pid))
			continue;
		if (used == room) {
			struct member_brief *p;

			room = room ? 2 * room : 64;
			p = reallocarray(list, room, sizeof(*list));
			if (!p)
				return NULL;
			list = p;
		}
		list[used++] = (struct member_brief){ .pid = pid };
	}
	*n = used;
	return TAKE_PTR(list);
}

static int by_tree(const void *a, const void *b)
{
	const struct member_brief *x = a, *y = b;

	if (x->tree_id != y->tree_id)
		return x->tree_id < y->tree_id ? -1 : 1;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

static struct member_brief *all_members(struct daemon *d, size_t *n)
{
	struct member_brief *list = find_members(d, n);

	for (size_t i = 0; i < *n; i += MEMBERS_AT_ONCE) {
		struct members_call c = { d, list + i,
					  *n - i < MEMBERS_AT_ONCE ? *n - i : MEMBERS_AT_ONCE };

		if (loop_call(d->loop, take_members, &c) < 0)
			*n = i;
	}
	if (*n)
		qsort(list, *n, sizeof(*list), by_tree);
	return list;
}

/* --- agents ------------------------------------------------------------------------------- */

static json_t *text_or(const char *text, const char *other)
{
	json_t *j = json_string(text); /* NULL: not UTF-8 */

	return j ? j : json_string(other);
}

static json_t *members_json(const struct member_brief *list, size_t n, uint32_t tree)
{
	json_t *members = json_array();
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (list[mid].tree_id < tree)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < n && list[low].tree_id == tree; low++)
		json_array_append_new(members,
				      json_pack("{s:i, s:i, s:o}", "pid", list[low].pid, "ppid",
						list[low].ppid, "comm",
						text_or(list[low].comm, "?")));
	return members;
}

const char *daemon_cmd_agents(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply)
{
	_cleanup_free_ struct member_brief *members = NULL;
	_cleanup_free_ struct tree_brief *trees = NULL;
	struct daemon *d = arg;
	size_t n, n_members;

	(void)req;
	trees = daemon_trees(d, &n);
	if (!n)
		return NULL;
	members = all_members(d, &n_members);
	for (size_t i = 0; i < n; i++) {
		const struct tree_brief *t = &trees[i];
		json_t *j;

		if (peer->role < ROLE_VIEWER && t->uid != peer->uid)
			continue;
		j = json_pack("{s:I, s:s, s:s, s:i, s:I, s:s, s:I, s:o, s:I, s:I, s:I, s:I}", "tree",
			      (json_int_t)t->id, "agent", t->agent, "session", t->session, "root_pid",
			      t->root_pid, "uid", (json_int_t)t->uid, "how", t->how, "since",
			      (json_int_t)t->since_unix_s, "members",
			      members_json(members, n_members, t->id), "blocked",
			      (json_int_t)t->blocked, "warned", (json_int_t)t->warned,
			      "parked", (json_int_t)t->parked, "parked_refused",
			      (json_int_t)t->parked_refused);
		if (j && reply->item(reply, j) < 0)
			break;
	}
	return NULL;
}
