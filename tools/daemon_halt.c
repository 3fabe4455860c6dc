/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a rule asks an operator and nothing could be held: it has happened, and the tree that did it is
 * stopped, until it is answered or its time is over. The verdict thread notes what was detected; a
 * thread of this file stops and continues. Signals are sent under the lock, which the verdict thread
 * never takes: a place is its own from FREE to QUEUED, ours from then on.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/address.h"
#include "core/cleanup.h"
#include "core/log.h"
#include "core/rule.h"
#include "enforce/suspend.h"
#include "tools/daemon_hold.h"

#define STOPS_MAX 64
#define STOPS_PER_TREE 8
#define LOOK_MS 500

/* ANSWERED: and its tree is being ended. */
enum { STOP_FREE, STOP_QUEUED, STOP_ACTIVE, STOP_ANSWERED };

struct stop_item {
	_Atomic int state;
	struct hold_brief brief;
	struct standing_object object;
	char id[32], part[64], name[128];
	uint64_t since_ns, until_ns;
	enum verdict then;
	uid_t tree_uid; /* who began it */
	bool stopping;	/* not all of its tree are stopped yet */
	struct halt_passes passes;
};

struct daemon_halt {
	struct suspend *suspend;
	pthread_t thread;
	bool running;
	int wake_fd;
	_Atomic bool end;
	pthread_mutex_t lock;
	uint64_t look_ns; /* when the trees are to be looked at */
	struct stop_item items[STOPS_MAX];
};

/* ---- the verdict thread -------------------------------------------------------------------------- */

static struct stop_item *take_place(struct daemon_halt *s, uint32_t tree_id)
{
	struct stop_item *place = NULL;
	unsigned of_tree = 0;

	for (unsigned i = 0; i < STOPS_MAX; i++) {
		struct stop_item *it = &s->items[i];

		if (atomic_load(&it->state) == STOP_FREE)
			place = place ? place : it;
		else
			of_tree += it->brief.tree_id == tree_id;
	}
	return of_tree < STOPS_PER_TREE ? place : NULL;
}

static void fill(struct daemon *d, struct stop_item *it, const struct event *ev,
		 const struct decision *decision)
{
	struct hold_brief *b = &it->brief;
	char address[64];

	*b = (struct hold_brief){
		.token = hold_token(d),
		.start_time_ns = ev->subj.start_time_ns,
		.pid = ev->subj.tgid,
		.uid = ev->subj.uid,
		.tree_id = ev->subj.tree->id,
		.kind = ev->kind,
	};
	snprintf(b->comm, sizeof(b->comm), "%s", ev->subj.comm);
	snprintf(b->agent, sizeof(b->agent), "%s", ev->subj.tree->agent);
	snprintf(b->session, sizeof(b->session), "%s", ev->subj.tree->session);
	decision_names(decision, b->rules, sizeof(b->rules));
	if (ev->kind == KIND_EXEC_OBSERVED) {
		snprintf(b->path, sizeof(b->path), "%s", ev->exec.path ? ev->exec.path : "");
		b->argv_cut = ev->exec.argv_cut || ev->exec.argv_len_bytes > sizeof(b->argv);
		b->argv_len_bytes = ev->exec.argv ? (uint32_t)(ev->exec.argv_len_bytes < sizeof(b->argv) ?
								       ev->exec.argv_len_bytes :
								       sizeof(b->argv)) : 0;
		memcpy(b->argv, ev->exec.argv ? ev->exec.argv : "", b->argv_len_bytes);
	} else if (ev->kind == KIND_SOCKET_CONNECT && *ev->dest.path) {
		snprintf(b->path, sizeof(b->path), "%s", ev->dest.path);
	} else if (ev->kind == KIND_SOCKET_CONNECT && field_has_address(&ev->dest)) {
		address_text(ev->dest.addr, 128, address);
		snprintf(b->path, sizeof(b->path), "%s port %u", address, ev->dest.port);
	} else if (ev->kind == KIND_SOCKET_CONNECT) {
		snprintf(b->path, sizeof(b->path), "%s", ev->dest.protocol);
	} else if (ev->file.n_names) {
		snprintf(b->path, sizeof(b->path), "%s", ev->file.names[0].path);
	}
	snprintf(it->id, sizeof(it->id), "%s", decision->fired[0].rule->id);
	snprintf(it->part, sizeof(it->part), "%s", decision->fired[0].rule->part);
	snprintf(it->name, sizeof(it->name), "%s", decision->fired[0].rule->name);
	it->tree_uid = ev->subj.tree->uid;
}

/* Only what this host has just done: what is replayed names processes that are others now. */
static bool has_happened(const struct daemon *d, const struct verdict_note *note, enum outcome outcome)
{
	const struct event *ev = note->ev;

	/* The jail's: the kernel, which lets connections go on, does not know all that rules ask for. */
	if (!ev->source)
		return !strcmp(ev->source_name, "egress") &&
		       (outcome == OUTCOME_ALLOWED || outcome == OUTCOME_OBSERVED);
	return outcome == OUTCOME_OBSERVED && note->mechanism == MECH_DETECT &&
	       (ev->source == d->ebpf || ev->source == d->fanotify || ev->source == d->audit);
}

static bool is_after_the_fact(struct daemon *d, const struct verdict_note *note, enum outcome outcome)
{
	const struct event *ev = note->ev;

	return note->mode == MODE_ENFORCE && note->by == BY_RULE && !ev->perm &&
	       has_happened(d, note, outcome) && ev->subj.tree && ev->subj.tree->members &&
	       !daemon_is_proof(d, ev);
}

void daemon_after(void *arg, const struct verdict_note *note, enum outcome outcome)
{
	struct daemon *d = arg;
	struct daemon_halt *s = d->halt;
	struct standing_object object;
	struct stop_item *it;
	enum verdict then;
	uint64_t for_ns;

	daemon_fuse_after(d, note, outcome);
	if (!s || !d->hold || !is_after_the_fact(d, note, outcome) ||
	    !decision_holds(note->d, &for_ns, &then) || hold_let_through(d, note->ev, note->d, &object))
		return;
	it = take_place(s, note->ev->subj.tree->id);
	if (!it) { /* its tree is stopped by what has the places; or too many are */
		atomic_fetch_add_explicit(&d->holds_refused, 1, memory_order_relaxed);
		return;
	}
	fill(d, it, note->ev, note->d);
	it->object = object;
	it->since_ns = clock_boottime_ns();
	it->until_ns = it->since_ns + for_ns;
	it->then = then;
	atomic_store(&it->state, STOP_QUEUED);
	daemon_wake(s->wake_fd);
}

struct watched_call {
	struct daemon *d;
	uint32_t tree_id;
	bool watched;
};

static void look_for_tree(void *arg)
{
	struct watched_call *c = arg;
	const struct tree *t = proctree_tree(c->d->tree, c->tree_id);

	daemon_feed_drain(c->d);
	c->watched = t && t->members;
}

struct settle_call {
	struct daemon *d;
	struct hold_answer *a;
	const struct stop_item *it; /* NULL: nobody waited */
};

static void settle(void *arg)
{
	struct settle_call *c = arg;

	if (c->it)
		hold_settle(c->d, c->a, &c->it->brief, &c->it->object);
	else
		hold_find_answered(c->d, c->a);
}

/* ---- with the lock ---------------------------------------------------------------------------------- */

static bool has_items(const struct daemon_halt *s, uint32_t tree_id)
{
	for (unsigned i = 0; i < STOPS_MAX; i++)
		if (atomic_load(&s->items[i].state) != STOP_FREE &&
		    s->items[i].brief.tree_id == tree_id)
			return true;
	return false;
}

static void extend(struct daemon_halt *s, uint32_t tree_id)
{
	uint64_t until_ns = 0;

	for (unsigned i = 0; i < STOPS_MAX; i++)
		if (atomic_load(&s->items[i].state) != STOP_FREE &&
		    s->items[i].brief.tree_id == tree_id && s->items[i].until_ns > until_ns)
			until_ns = s->items[i].until_ns;
	suspend_until(s->suspend, tree_id, until_ns);
}

static bool waits(const struct stop_item *it)
{
	int state = atomic_load(&it->state);

	return state == STOP_QUEUED || state == STOP_ACTIVE;
}

static void tell_stopped(struct daemon *d, struct stop_item *it)
{
	json_t *j;

	if (!it->stopping)
		return;
	it->stopping = false;
	j = json_pack("{s:I, s:i, s:o, s:o, s:o, s:s, s:o, s:i, s:i, s:s}", "token",
		      (json_int_t)it->brief.token, "tree", (int)it->brief.tree_id, "agent",
		      daemon_json_text(it->brief.agent), "session", daemon_json_text(it->brief.session),
		      "rules", daemon_json_text(it->brief.rules), "kind",
		      event_kind_name(it->brief.kind), "path", daemon_json_text(it->brief.path),
		      "stopped", (int)it->passes.n, "not_stopped", (int)it->passes.failed, "why",
		      "after the fact: nothing here could hold it; the tree waits for an operator");
	if (j)
		json_object_set_new(j, "pid", json_integer(it->brief.pid));
	daemon_own_record(d, "O1", "tree stopped", j);
}

/* One is settled; the last of a tree lets it go on. */
static void drop(struct daemon *d, struct stop_item *it, const char *why)
{
	uint32_t tree_id = it->brief.tree_id;
	json_int_t token = (json_int_t)it->brief.token;
	unsigned n;

	tell_stopped(d, it);
	atomic_store(&it->state, STOP_FREE);
	if (has_items(d->halt, tree_id)) {
		extend(d->halt, tree_id);
		return;
	}
	n = suspend_continue(d->halt->suspend, tree_id);
	daemon_own_record(d, "O1", "tree continued",
			  json_pack("{s:i, s:I, s:i, s:s}", "tree", (int)tree_id, "token", token,
				    "continued", (int)n, "why", why));
}

static void expire(struct daemon *d, struct stop_item *it)
{
	_cleanup_free_ struct hold_answer *a = calloc(1, sizeof(*a));
	struct settle_call c = { d, a, it };

	/* What has happened cannot be denied; the next time it can, where it can. */
	if (a && it->then == VERDICT_BLOCK) {
		a->verdict = VERDICT_BLOCK;
		loop_call(d->loop, settle, &c);
	}
	drop(d, it, "no operator answered in time");
}

static bool is_watched(struct daemon *d, uint32_t tree_id)
{
	struct watched_call c = { .d = d, .tree_id = tree_id };

	return loop_call(d->loop, look_for_tree, &c) == 0 && c.watched;
}

static void tick(struct daemon *d)
{
	struct daemon_halt *s = d->halt;
	bool enforces = daemon_mode_now(d) == MODE_ENFORCE;
	uint64_t now_ns = clock_boottime_ns();
	bool look = now_ns >= s->look_ns;

	if (look)
		s->look_ns = now_ns + LOOK_MS * NSEC_PER_MSEC;
	for (unsigned i = 0; i < STOPS_MAX; i++) {
		struct stop_item *it = &s->items[i];

		if (atomic_load(&it->state) == STOP_QUEUED) {
			atomic_store(&it->state, STOP_ACTIVE);
			extend(s, it->brief.tree_id);
			it->passes = (struct halt_passes){ 0 };
			it->stopping = enforces;
		}
		if (atomic_load(&it->state) != STOP_ACTIVE)
			continue;
		if (!enforces)
			drop(d, it, "nothing is enforced any more");
		else if (now_ns >= it->until_ns)
			expire(d, it);
		else if (look && !is_watched(d, it->brief.tree_id))
			drop(d, it, "the tree is not watched any more");
		else if (it->stopping &&
			 halt_pass(d, &it->passes, it->brief.tree_id, s->suspend, it->until_ns))
			tell_stopped(d, it);
	}
}

/* ---- its thread ----------------------------------------------------------------------------------------- */

static int wait_ms(struct daemon_halt *s)
{
	uint64_t now_ns = clock_boottime_ns();
	int ms = -1;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < STOPS_MAX; i++) {
		const struct stop_item *it = &s->items[i];
		int64_t left;

		if (!waits(it))
			continue;
		left = ((int64_t)it->until_ns - (int64_t)now_ns) / (int64_t)NSEC_PER_MSEC + 1;
		left = left < 0 ? 0 : left > LOOK_MS ? LOOK_MS : left;
		if (it->stopping && left > HALT_PASS_MS)
			left = HALT_PASS_MS;
		ms = ms < 0 || left < ms ? (int)left : ms;
	}
	pthread_mutex_unlock(&s->lock);
	return ms;
}

static void *halt_thread(void *arg)
{
	struct daemon *d = arg;
	struct daemon_halt *s = d->halt;
	uint64_t n;

	pthread_setname_np(pthread_self(), "oknek-halt");
	while (!atomic_load(&s->end)) {
		struct pollfd p = { .fd = s->wake_fd, .events = POLLIN };

		if (poll(&p, 1, wait_ms(s)) > 0 && read(s->wake_fd, &n, sizeof(n)) < 0 &&
		    errno != EAGAIN)
			break;
		pthread_mutex_lock(&s->lock);
		tick(d);
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

/* ---- control threads -------------------------------------------------------------------------------------- */

void daemon_halt_answer(struct daemon *d, struct hold_answer *a, bool kill, bool ended[HOLD_ANSWERS_MAX])
{
	struct stop_item *answered[HOLD_ANSWERS_MAX];
	struct daemon_halt *s = d->halt;
	struct settle_call c = { d, a, NULL };
	unsigned first = a->n;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < STOPS_MAX && a->n < HOLD_ANSWERS_MAX; i++) {
		struct stop_item *it = &s->items[i];

		if (!waits(it) ||
		    (a->token ? it->brief.token != a->token : it->brief.pid != a->pid))
			continue;
		c.it = it;
		loop_call(d->loop, settle, &c);
		atomic_store(&it->state, STOP_ANSWERED);
		a->after_fact = true;
		answered[a->n] = it;
		a->briefs[a->n++] = it->brief;
	}
	if (kill) { /* which takes a while, and nobody else is to wait for */
		pthread_mutex_unlock(&s->lock);
		for (unsigned i = first, k; i < a->n; i++) {
			for (k = first; a->briefs[k].tree_id != a->briefs[i].tree_id; k++)
				;
			ended[i] = k < i ? ended[k] : halt_kill(d, a->briefs[i].tree_id);
		}
		pthread_mutex_lock(&s->lock);
	}
	for (unsigned i = first; i < a->n; i++)
		drop(d, answered[i], kill ? "an operator had it killed" : "an operator answered");
	pthread_mutex_unlock(&s->lock);
	c.it = NULL;
	if (!a->n && !a->already.is)
		loop_call(d->loop, settle, &c);
}

bool daemon_halt_each(struct daemon *d, uint32_t tree, bool own_only, uid_t uid, struct control_reply *reply)
{
	struct daemon_halt *s = d->halt;
	json_t *list = json_array(), *j;
	bool found = false;
	size_t i;

	if (s)
		pthread_mutex_lock(&s->lock);
	for (i = 0; s && i < STOPS_MAX; i++) {
		const struct stop_item *it = &s->items[i];

		if (atomic_load(&it->state) == STOP_FREE ||
		    (tree && (it->brief.tree_id != tree || (own_only && it->tree_uid != uid))))
			continue;
		found = true;
		if (!waits(it))
			continue;
		json_array_append_new(list, hold_pending_json(&it->brief, it->since_ns, it->until_ns,
							      it->then, it->id, it->part, it->name));
	}
	if (s)
		pthread_mutex_unlock(&s->lock);
	/* Who reads slowly keeps nobody stopped. */
	json_array_foreach(list, i, j)
		if (reply->item(reply, json_incref(j)) < 0)
			break;
	json_decref(list);
	return found;
}

/* ---- begin and end ----------------------------------------------------------------------------------------- */

/* Before threads, and before there is a group. Without it nothing is stopped. */
void daemon_halt_prepare(struct daemon *d)
{
	struct daemon_halt *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	if (s) {
		s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		err = s->wake_fd < 0 ? -errno : suspend_new(d->opt.seccomp, &s->suspend);
	}
	if (!err) {
		pthread_mutex_init(&s->lock, NULL);
		d->halt = s;
		return;
	}
	log_warning("trees cannot be stopped after the fact: %s", strerror(-err));
	if (s)
		cleanup_close(&s->wake_fd);
	free(s);
}

uint64_t daemon_halt_caps(const struct daemon *d)
{
	return d->halt ? SUSPEND_CAPS : 0;
}

int daemon_halt_start(struct daemon *d)
{
	int err;

	if (!d->halt || !d->tree)
		return 0;
	err = -pthread_create(&d->halt->thread, NULL, halt_thread, d);
	d->halt->running = err == 0;
	return err;
}

/* While the verdict thread still answers. Everybody goes on. */
void daemon_halt_end(struct daemon *d)
{
	struct daemon_halt *s = d->halt;

	if (!s)
		return;
	if (s->running) {
		atomic_store(&s->end, true);
		daemon_wake(s->wake_fd);
		pthread_join(s->thread, NULL);
	}
	s->running = false;
	for (unsigned i = 0; i < STOPS_MAX; i++)
		if (atomic_load(&s->items[i].state) == STOP_ACTIVE)
			drop(d, &s->items[i], "the daemon ends");
	suspend_free(s->suspend);
	s->suspend = NULL;
}

void daemon_halt_close(struct daemon *d)
{
	if (!d->halt)
		return;
	suspend_free(d->halt->suspend); /* where it did not come to run */
	cleanup_close(&d->halt->wake_fd);
	pthread_mutex_destroy(&d->halt->lock);
	free(d->halt);
	d->halt = NULL;
}
