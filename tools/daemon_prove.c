/* SPDX-License-Identifier: Apache-2.0 */
/* A tree that an operator lets try the rules on decoys, `oknek doctor --prove`, and what it found out. */
#include <string.h>

#include "core/cleanup.h"
#include "tools/daemon.h"

#define AGENT "oknek-prove"
#define HOW "prove"

/* A name that nobody has by chance: in observe mode what is below it is held. */
static bool is_decoys(const char *home)
{
	const char *slash = home ? strrchr(home, '/') : NULL;

	return slash && home[0] == '/' && !strstr(home, "/../") && strlen(home) < 1000 &&
	       !strncmp(slash + 1, PROVE_PREFIX, strlen(PROVE_PREFIX)) && slash[1 + strlen(PROVE_PREFIX)];
}

struct is_proof {
	struct daemon *d;
	uint32_t tree;
	bool alive; /* its root is */
};

static void look(void *arg)
{
	struct is_proof *c = arg;
	const struct tree *t = proctree_tree(c->d->tree, c->tree);
	const struct member *m;

	m = t ? proctree_find(c->d->tree, t->root_pid) : NULL;
	c->alive = m && m->tree_id == c->tree && !m->exited;
}

bool daemon_is_proof(void *arg, const struct event *ev)
{
	struct daemon *d = arg;
	uint32_t tree = atomic_load_explicit(&d->proof_tree, memory_order_relaxed);

	return tree && ev->subj.tree && ev->subj.tree->id == tree;
}

/* One at a time, since marks and jail know of one. */
static bool begin(struct daemon *d)
{
	struct is_proof last = { .d = d, .tree = atomic_load(&d->proof_tree) };
	bool free;

	if (!daemon_watches(d) || (last.tree && loop_call(d->loop, look, &last) < 0))
		return false;
	pthread_mutex_lock(&d->admin_lock);
	free = !d->proving && !last.alive && atomic_load(&d->proof_tree) == last.tree;
	d->proving |= free;
	pthread_mutex_unlock(&d->admin_lock);
	return free;
}

static void settle(struct daemon *d, uint32_t tree, const char *session)
{
	if (tree) {
		atomic_store(&d->proof_tree, tree);
		daemon_egress_prove(d, tree);
		daemon_lsm_prove(d, tree);
	}
	pthread_mutex_lock(&d->admin_lock);
	if (tree)
		snprintf(d->proof_session, sizeof(d->proof_session), "%s", session);
	d->proving = false;
	pthread_mutex_unlock(&d->admin_lock);
}

const char *daemon_cmd_prove(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply)
{
	struct watch_request rq = { .agent = AGENT, .how = HOW, .proof = true };
	const char *home = json_string_value(json_object_get(req, "home")), *code;
	struct daemon *d = arg;

	if (!is_decoys(home) || !json_is_string(json_object_get(req, "cwd")))
		return daemon_say(reply, "usage", "home: a directory " PROVE_PREFIX "… is expected");
	if (!begin(d))
		return daemon_say(reply, "failed", "the rules are just being tried, or nobody is watched");
	code = daemon_run_child(d, peer, req, &rq, reply);
	settle(d, code ? 0 : (uint32_t)json_integer_value(json_object_get(reply->result, "tree")),
	       json_string_value(json_object_get(reply->result, "session")));
	if (!code)
		daemon_operator_act(d, peer, "prove",
				    json_pack("{s:i, s:O, s:s}", "pid", rq.pid, "session",
					      json_object_get(reply->result, "session"), "home", home));
	return code;
}

/* The words are the operator's; what the tree was denied and what was seen of it has records of its own,
 * with the same session. It may have left the table of trees by now. */
const char *daemon_cmd_proved(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply)
{
	struct daemon *d = arg;
	json_int_t tree = json_integer_value(json_object_get(req, "tree"));
	json_t *result = json_object_get(req, "result");
	const char *told = json_string_value(json_object_get(result, "session"));
	char session[sizeof(d->proof_session)];

	if (!json_is_object(result) || json_dumpb(result, NULL, 0, JSON_COMPACT) > PROVED_MAX)
		return daemon_say(reply, "usage", "result: an object of at most %d bytes is expected", PROVED_MAX);
	pthread_mutex_lock(&d->admin_lock);
	memcpy(session, d->proof_session, sizeof(session));
	pthread_mutex_unlock(&d->admin_lock);
	/* Numbers of trees begin anew with each daemon, and its result would be another's. */
	if (tree <= 0 || tree != (json_int_t)atomic_load(&d->proof_tree) || !told || strcmp(told, session))
		return daemon_say(reply, "notfound", "no tree of that number and session tries the rules");
	json_object_set_new(result, "by_uid", json_integer((json_int_t)peer->uid));
	daemon_own_record(d, "O3", "prove", json_incref(result));
	return NULL;
}
