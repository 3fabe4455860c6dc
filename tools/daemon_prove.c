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

const char *daemon_cmd_prove(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply)
{
	struct watch_request rq = { .agent = AGENT, .how = HOW };
	const char *home = json_string_value(json_object_get(req, "home")), *code;

	if (!is_decoys(home) || !json_is_string(json_object_get(req, "cwd")))
		return daemon_say(reply, "usage", "home: a directory " PROVE_PREFIX "… is expected");
	code = daemon_run_child(arg, peer, req, &rq, reply);
	if (!code)
		daemon_operator_act(arg, peer, "prove",
				    json_pack("{s:i, s:O, s:s}", "pid", rq.pid, "session",
					      json_object_get(reply->result, "session"), "home", home));
	return code;
}

struct is_proof {
	struct daemon *d;
	uint32_t tree;
	bool is;
	char session[40];
};

static void look(void *arg)
{
	struct is_proof *c = arg;
	const struct tree *t = proctree_tree(c->d->tree, c->tree);

	c->is = t && !strcmp(t->how, HOW);
	if (c->is)
		memcpy(c->session, t->session, sizeof(c->session));
}

/* The words are the operator's; what the tree was denied and what was seen of it has records of its own,
 * with the same session. */
const char *daemon_cmd_proved(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply)
{
	struct daemon *d = arg;
	struct is_proof c = { .d = d, .tree = (uint32_t)json_integer_value(json_object_get(req, "tree")) };
	json_t *result = json_object_get(req, "result");

	if (!daemon_watches(d) || loop_call(d->loop, look, &c) < 0 || !c.is)
		return daemon_say(reply, "notfound", "no tree of that number tries the rules");
	if (!json_is_object(result) || json_dumpb(result, NULL, 0, JSON_COMPACT) > PROVED_MAX)
		return daemon_say(reply, "usage", "result: an object of at most %d bytes is expected", PROVED_MAX);
	json_object_set_new(result, "session", json_string(c.session));
	json_object_set_new(result, "by_uid", json_integer((json_int_t)peer->uid));
	daemon_own_record(d, "O3", "prove", json_incref(result));
	return NULL;
}
