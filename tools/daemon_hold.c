/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that wait for an operator, and what operators said that goes on being so. All of it on the
 * verdict thread: whoever answers asks it to, so that of two operators one is first, and the other
 * hears of it.
 */
#include "tools/daemon_hold.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/rule.h"
#include "core/standing_file.h"

#define ANSWERED_KEPT 64

struct answered {
	uint64_t token; /* 0: none */
	pid_t held_pid, pid;
	enum verdict verdict;
	uid_t uid;
};

struct daemon_hold {
	/* Who can tell which arguments have the same hash could have others allowed. */
	uint8_t key[crypto_shorthash_KEYBYTES];
	struct standing_table standing;
	struct standing_file *file; /* of its refusals and tokens; NULL: there is none */
	uint64_t last_token; /* where there are no permissions, which else give them */
	struct answered answered[ANSWERED_KEPT];
	unsigned n_answered;
};

static uint64_t hash(const struct daemon_hold *o, const void *bytes, size_t len)
{
	uint64_t ret;

	crypto_shorthash((uint8_t *)&ret, bytes, len, o->key);
	return ret;
}

/* ---- what the rules say is held ------------------------------------------------------------------- */

static uint64_t hash_of(const struct daemon_hold *o, const struct event *ev)
{
	const char *path = ev->kind == KIND_FILE_OPENED && ev->file.n_names ? ev->file.names[0].path : "";

	if (ev->kind == KIND_EXEC_OBSERVED)
		return hash(o, ev->exec.argv ? ev->exec.argv : "",
			    ev->exec.argv ? ev->exec.argv_len_bytes : 0);
	return *path ? hash(o, path, strlen(path)) : 0;
}

/* Of an open its numbers are the event's; of an exec they are the program's, which its holder knows. */
static struct standing_object object_of(const struct daemon_hold *o, const struct event *ev,
					const struct fanotify_source_file *file)
{
	return (struct standing_object){ .kind = ev->kind, .dev = file->dev, .ino = file->ino,
					 .name_hash = hash_of(o, ev) };
}

static unsigned hashes_of(const struct daemon_hold *o, const struct event *ev, uint64_t names[FILE_NAMES_MAX])
{
	unsigned n = 0;

	for (; ev->kind == KIND_FILE_OPENED && n < ev->file.n_names && n < FILE_NAMES_MAX; n++)
		names[n] = hash(o, ev->file.names[n].path, strlen(ev->file.names[n].path));
	return n;
}

static bool is_refused(const struct daemon_hold *o, const struct event *ev,
		       const struct standing_object *object)
{
	uint64_t names[FILE_NAMES_MAX];
	unsigned n = hashes_of(o, ev, names);

	return standing_refuses(&o->standing, ev->subj.tree->id, object, names, n) != NULL;
}

/* Each rule that blocks must be let through. */
static bool is_allowed(const struct daemon_hold *o, const struct event *ev,
		       const struct standing_object *object, const struct decision *decision)
{
	uint64_t now_ns = clock_boottime_ns(), names[FILE_NAMES_MAX];
	char rule[STANDING_RULE_MAX];
	unsigned n;

	if (!o->standing.used)
		return false;
	/* Arguments that are not all known are not those that were allowed. */
	if (ev->kind == KIND_EXEC_OBSERVED && (!ev->exec.argv || ev->exec.argv_cut))
		return false;
	n = hashes_of(o, ev, names);
	for (unsigned i = 0; i < decision->n_fired; i++) {
		const struct rule *r = decision->fired[i].rule;

		if (decision->fired[i].verdict != VERDICT_BLOCK)
			break;
		snprintf(rule, sizeof(rule), "%s%s%s", r->id, *r->part ? "/" : "", r->part);
		if (!standing_allows(&o->standing, ev->subj.tree->id, object, names, n, rule, now_ns))
			return false;
	}
	return true;
}

bool daemon_operator(void *arg, struct event *ev, const struct decision *decision,
		     enum verdict *effect, enum decided_by *by)
{
	struct daemon *d = arg;
	struct daemon_hold *o = d->hold;
	struct fanotify_source_file file;
	struct fanotify_held *h;
	struct standing_object object;
	enum verdict then;
	uint64_t for_ns;
	int r;

	/* What rules hold is tried without an operator. */
	if (!o || ev->source != d->fanotify || !ev->subj.tree || daemon_is_proof(d, ev))
		return false;
	h = fanotify_held_of(d->fanotify, ev->perm);
	if (h && h->answer == HELD_REFUSED) {
		*effect = VERDICT_BLOCK;
		*by = BY_OPERATOR;
		return false;
	}
	if (*effect != VERDICT_BLOCK && !o->standing.used)
		return false;
	fanotify_file_of(d->fanotify, ev->perm, &file);
	object = object_of(o, ev, &file);
	if (is_refused(o, ev, &object)) {
		*effect = VERDICT_BLOCK;
		*by = BY_OPERATOR;
		return false;
	}
	if (*effect != VERDICT_BLOCK || !decision_holds(decision, &for_ns, &then))
		return false;
	if (h && h->answer == HELD_ALLOWED) {
		/* What was allowed is what was shown. Who changes its arguments while it is held by them
		 * is denied. */
		if (h->name_hash != object.name_hash && ev->kind == KIND_EXEC_OBSERVED)
			return false;
		*effect = VERDICT_ALLOW;
		*by = BY_OPERATOR;
		return false;
	}
	/* Once more when it is known what was deleted before: that number may be another file's. */
	if (is_allowed(o, ev, &object, decision) &&
	    (ev->kind != KIND_FILE_OPENED ||
	     (fanotify_gone_told(d->fanotify, ev->perm) && is_allowed(o, ev, &object, decision)))) {
		*effect = VERDICT_ALLOW;
		*by = BY_OPERATOR;
		return false;
	}
	/* Nor is it what anybody was shown when it is read anew before the answer. */
	if (h && ev->kind == KIND_EXEC_OBSERVED && h->name_hash != object.name_hash)
		return false;
	r = fanotify_hold(d->fanotify, ev, decision, for_ns, then, &h);
	if (r == 0) {
		h->name_hash = object.name_hash;
		standing_file_token(o->file, h->token);
		return true;
	}
	if (r == -EBUSY) {
		/* Not what on_timeout says: who fills the places by himself would be let through by them. */
		atomic_fetch_add_explicit(&d->holds_refused, 1, memory_order_relaxed);
		*by = BY_DEADLINE;
	} else if (r == -EAGAIN) {
		*effect = then;
		*by = BY_DEADLINE;
	}
	return false;
}

/* ---- what an operator says ------------------------------------------------------------------------ */

void hold_brief_of(struct daemon *d, const struct fanotify_held *h, struct hold_brief *b)
{
	const struct tree *t = proctree_tree(d->tree, h->tree_id);

	b->token = h->token;
	b->start_time_ns = h->start_time_ns;
	b->pid = h->pid;
	b->uid = h->uid;
	b->tree_id = h->tree_id;
	b->kind = h->kind;
	memcpy(b->rules, h->rules, sizeof(b->rules));
	memcpy(b->comm, h->comm, sizeof(b->comm));
	memcpy(b->path, h->path, sizeof(b->path));
	snprintf(b->agent, sizeof(b->agent), "%s", t ? t->agent : "");
	snprintf(b->session, sizeof(b->session), "%s", t ? t->session : "");
	b->argv_len_bytes = h->argv_len_bytes < sizeof(b->argv) ? h->argv_len_bytes :
								  (uint32_t)sizeof(b->argv);
	b->argv_cut = h->kind == KIND_EXEC_OBSERVED &&
		      (h->argv_cut || h->argv_len_bytes > sizeof(b->argv));
	memcpy(b->argv, h->argv, b->argv_len_bytes);
}

static bool is_watched(void *arg, uint32_t tree_id)
{
	const struct tree *t = proctree_tree(((struct daemon *)arg)->tree, tree_id);

	return t && t->members;
}

/* For the next time. */
static void keep(struct daemon *d, struct hold_answer *a, uint32_t tree_id,
		 const struct standing_object *object, const char *rules)
{
	uint64_t now_ns = clock_boottime_ns();
	const struct tree *t = proctree_tree(d->tree, tree_id);
	struct standing s = {
		.tree_id = tree_id,
		.verdict = a->verdict,
		.object = *object,
		.until_ns = a->verdict == VERDICT_BLOCK ? UINT64_MAX : now_ns + a->for_ns,
		.uid = a->by_uid,
		.pid = a->by_pid,
	};

	if (a->verdict == VERDICT_ALLOW && !a->for_ns)
		return;
	snprintf(s.rule, sizeof(s.rule), "%s", rules);
	snprintf(s.session, sizeof(s.session), "%s", t ? t->session : "");
	standing_sweep(&d->hold->standing, now_ns, is_watched, d);
	if (standing_put(&d->hold->standing, &s, now_ns))
		a->no_room = true;
	standing_file_save(d->hold->file, &d->hold->standing);
}

static void note_answered(struct daemon *d, const struct hold_answer *a, uint64_t token, pid_t pid)
{
	struct daemon_hold *o = d->hold;

	o->answered[o->n_answered++ % ANSWERED_KEPT] = (struct answered){
		.token = token, .held_pid = pid, .pid = a->by_pid, .uid = a->by_uid,
		.verdict = a->verdict,
	};
}

/* The newest that was answered by this name. */
void hold_find_answered(const struct daemon *d, struct hold_answer *a)
{
	const struct daemon_hold *o = d->hold;

	for (unsigned i = 1; i <= ANSWERED_KEPT && i <= o->n_answered; i++) {
		const struct answered *w = &o->answered[(o->n_answered - i) % ANSWERED_KEPT];

		if (a->token ? w->token != a->token : w->held_pid != a->pid)
			continue;
		a->already.is = true;
		a->already.verdict = w->verdict;
		a->already.pid = w->pid;
		a->already.uid = w->uid;
		return;
	}
}

struct answer_call {
	struct daemon *d;
	struct hold_answer *a;
};

/* Who waits for the same is answered by what was said for the next time. */
static void others_again(struct daemon *d, const struct hold_brief *b)
{
	struct fanotify_held *h;
	unsigned at = 0;

	while ((h = fanotify_held_next(d->fanotify, &at)))
		if (h->answer == HELD_WAITS && h->tree_id == b->tree_id && h->kind == b->kind)
			fanotify_held_again(d->fanotify, &d->bus, h);
}

static bool is_among(const struct hold_answer *a, uint64_t token)
{
	for (unsigned i = 0; i < a->n; i++)
		if (a->briefs[i].token == token)
			return true;
	return false;
}

static void tell(void *arg)
{
	struct answer_call *c = arg;
	struct daemon *d = c->d;
	struct hold_answer *a = c->a;
	struct fanotify_held *h;
	unsigned at = 0;

	while ((h = fanotify_held_next(d->fanotify, &at)))
		if (is_among(a, h->token))
			fanotify_held_again(d->fanotify, &d->bus, h);
	for (unsigned i = 0; i < a->n && (a->verdict == VERDICT_BLOCK || a->for_ns); i++)
		others_again(d, &a->briefs[i]);
}

/* Whoever answers in place of us from here on is to give that answer. */
static void deny_in_any_case(struct daemon *d, const struct fanotify_held *h)
{
	struct permission *p = permission_slot(d->permissions, h->slot);

	permission_set_deadline(d->permissions, p, p->deadline_ns, VERDICT_BLOCK);
}

static void answer(void *arg)
{
	struct answer_call *c = arg;
	struct daemon *d = c->d;
	struct hold_answer *a = c->a;
	struct fanotify_held *h;
	unsigned at = 0;

	while (a->n < HOLD_ANSWERS_MAX && (h = fanotify_held_next(d->fanotify, &at))) {
		if ((a->token ? h->token != a->token : h->pid != a->pid) || h->answer != HELD_WAITS)
			continue;
		hold_brief_of(d, h, &a->briefs[a->n++]);
		h->answer = a->verdict == VERDICT_BLOCK ? HELD_REFUSED : HELD_ALLOWED;
		keep(d, a, h->tree_id,
		     &(struct standing_object){ h->kind, h->dev, h->ino, h->name_hash }, h->rules);
		note_answered(d, a, h->token, h->pid);
		if (a->later)
			deny_in_any_case(d, h);
	}
	if (!a->n)
		hold_find_answered(d, a);
	else if (!a->later)
		tell(c);
}

int daemon_hold_answer(struct daemon *d, struct hold_answer *a)
{
	struct answer_call c = { d, a };

	a->n = 0;
	if (!d->hold || !d->fanotify)
		return 0;
	return loop_call(d->loop, answer, &c);
}

int daemon_hold_told(struct daemon *d, struct hold_answer *a)
{
	struct answer_call c = { d, a };

	return a->n ? loop_call(d->loop, tell, &c) : 0;
}

/* ---- what could not be held --------------------------------------------------------------------------- */

/* What has no numbers is not told from others of its kind. */
static bool is_known(const struct standing_object *object)
{
	return object->kind != KIND_SOCKET_CONNECT && object->ino;
}

bool hold_let_through(struct daemon *d, const struct event *ev, const struct decision *decision,
		      struct standing_object *object)
{
	*object = (struct standing_object){ .kind = ev->kind, .name_hash = hash_of(d->hold, ev) };
	if (ev->kind == KIND_FILE_OPENED) {
		object->dev = ev->file.dev;
		object->ino = ev->file.ino;
	} else if (ev->kind == KIND_EXEC_OBSERVED) {
		object->ino = ev->exec.ino;
	}
	return is_known(object) && is_allowed(d->hold, ev, object, decision);
}

uint64_t hold_token(struct daemon *d)
{
	struct daemon_hold *o = d->hold;
	uint64_t token = d->permissions ? permission_token(d->permissions) : ++o->last_token;

	standing_file_token(o->file, token);
	return token;
}

void hold_settle(struct daemon *d, struct hold_answer *a, const struct hold_brief *b,
		 const struct standing_object *object)
{
	/* A file may be refused by its name alone. */
	if (is_known(object) || (a->verdict == VERDICT_BLOCK && object->kind == KIND_FILE_OPENED))
		keep(d, a, b->tree_id, object, b->rules);
	else if (a->verdict == VERDICT_BLOCK || a->for_ns)
		a->no_room = a->nameless = true;
	note_answered(d, a, b->token, b->pid);
}

/* ---- when the world is another --------------------------------------------------------------------- */

static void again(void *arg)
{
	struct daemon *d = arg;
	struct fanotify_held *h;
	unsigned at = 0;

	standing_sweep(&d->hold->standing, clock_boottime_ns(), is_watched, d);
	standing_file_save(d->hold->file, &d->hold->standing);
	while ((h = fanotify_held_next(d->fanotify, &at)))
		if (h->answer == HELD_WAITS)
			fanotify_held_again(d->fanotify, &d->bus, h);
}

void daemon_hold_again(struct daemon *d)
{
	if (d->hold && d->fanotify)
		loop_call(d->loop, again, d);
}

void daemon_hold_gone(void *arg, uint64_t dev, uint64_t ino)
{
	struct daemon *d = arg;

	if (d->hold)
		standing_gone(&d->hold->standing, dev, ino);
}

/* Without the file an operator is asked again. */
static int open_file(struct daemon *d)
{
	_cleanup_free_ struct standing_kept *kept = calloc(1, sizeof(*kept));
	_cleanup_free_ char *path = NULL;
	struct daemon_hold *o = d->hold;
	int err;

	_Static_assert(STANDING_KEY_BYTES == crypto_shorthash_KEYBYTES, "one key");
	if (!kept || asprintf(&path, "%s/refused", d->opt.run_dir) < 0)
		return -ENOMEM;
	err = standing_file_open(path, kept, &o->file);
	if (err)
		log_warning("%s: %s: what operators refuse is not known to the next daemon", path, strerror(-err));
	if (kept->found) {
		memcpy(o->key, kept->key, sizeof(o->key));
		o->standing = kept->table;
		o->last_token = kept->last_token;
		if (d->permissions)
			permission_tokens_after(d->permissions, kept->last_token);
	} else {
		crypto_shorthash_keygen(o->key);
		standing_file_begin(o->file, o->key);
	}
	return 0;
}

int daemon_hold_open(struct daemon *d)
{
	if (!d->fanotify && !d->ebpf && !d->audit)
		return 0;
	if (sodium_init() < 0)
		return -EIO;
	d->hold = calloc(1, sizeof(*d->hold));
	if (!d->hold)
		return -ENOMEM;
	return open_file(d);
}

/* A number may be another tree's by now: its session is not. */
static void settle(void *arg)
{
	struct daemon *d = arg;
	struct standing_table *all = &d->hold->standing;

	for (unsigned i = 0; i < STANDING_MAX; i++) {
		struct standing *s = &all->at[i];
		const struct tree *t = s->tree_id ? proctree_tree(d->tree, s->tree_id) : NULL;

		if (s->tree_id && (!t || strcmp(t->session, s->session) != 0))
			standing_forget(all, s->tree_id);
	}
	standing_file_save(d->hold->file, all);
}

void daemon_hold_resume(struct daemon *d)
{
	if (d->hold)
		loop_call(d->loop, settle, d);
}

void daemon_hold_close(struct daemon *d)
{
	if (d->hold)
		standing_file_close(d->hold->file);
	free(d->hold);
}
