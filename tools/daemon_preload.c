/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs ask that carry the shim. Each question is a request on the control socket, of a
 * connection of its own: who asks is who connected, and what it says of itself is not looked at. The
 * limits of that socket hold (so many connections and workers for members, so many for each user), and
 * who finds no place asks again until its second is over.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/rule.h"
#include "sources/preload.h"
#include "sources/process_feed.h"
#include "tools/daemon.h"

#define ANCESTORS_MAX 64

/* ---- one action, one record --------------------------------------------------------------------- */

/* Does another source see what is done? */
static bool seen_by_others(const struct daemon *d, enum event_kind kind)
{
	return daemon_ebpf_sees(d, kind) || daemon_audit_sees(d, kind) || (kind == KIND_FILE_OPENED && d->fanotify) ||
	       (kind == KIND_SOCKET_CONNECT && daemon_egress_runs(d));
}

/*
 * Where the kernel holds what the rules say, it decides: what a shim says is let go, and the record is
 * that of the other source. What only the shim could stop is stopped, and recorded, here: then it is
 * not done, and no other source sees it.
 */
static bool told(void *arg, const struct event *ev)
{
	struct daemon *d = arg;
	struct decision decision = { .verdict = VERDICT_ALLOW };
	const char *category = NULL;

	if (!seen_by_others(d, ev->kind))
		return false;
	d->bus.decide(d->bus.decide_arg, ev, &decision, &category);
	if (decision.verdict != VERDICT_BLOCK || daemon_mode_now(d) != MODE_ENFORCE)
		return true;
	for (unsigned i = 0; i < decision.n_fired; i++)
		if (decision.fired[i].verdict == VERDICT_BLOCK &&
		    decision.fired[i].rule->mechanism != MECH_PRELOAD &&
		    decision.fired[i].rule->mechanism != MECH_DETECT)
			return true;
	return false;
}

void daemon_preload_named(const struct daemon *d, struct event *ev, enum verdict effect)
{
	if (d->preload && ev->source == d->preload)
		ev->settled.refused = effect == VERDICT_BLOCK;
}

/* ---- the source --------------------------------------------------------------------------------- */

int daemon_preload_open(struct daemon *d)
{
	const struct preload_config c = {
		.tree = d->tree,
		.home_of = daemon_home_of,
		.reader_candidate = daemon_reader_candidate,
		.told = told,
		.arg = d,
	};
	int err = preload_open(&c, &d->preload);

	if (!err)
		log_warning("preload: " PRELOAD_BYPASS);
	return err;
}

void daemon_preload_rules(const struct daemon *d, struct rules_config *c)
{
	if (!d->preload)
		return;
	c->mechanisms[KIND_FILE_OPENED] |= 1u << MECH_PRELOAD;
	c->mechanisms[KIND_EXEC_OBSERVED] |= 1u << MECH_PRELOAD;
	c->mechanisms[KIND_SOCKET_CONNECT] |= 1u << MECH_PRELOAD;
}

static bool is_alone(const struct daemon *d)
{
	return d->preload && !d->fanotify && !d->ebpf && !d->audit;
}

bool daemon_preload_carried(struct daemon *d)
{
	bool carried = is_alone(d);
	struct ruleset *rs = d->preload && !carried ? daemon_rules_ref(d) : NULL;

	for (size_t i = 0; rs && i < ruleset_count(rs) && !carried; i++)
		carried = ruleset_rule(rs, i)->mechanism == MECH_PRELOAD;
	ruleset_unref(rs);
	return carried;
}

void daemon_preload_warnings(const struct daemon *d, json_t *list)
{
	if (d->preload)
		json_array_append_new(list, json_string("preload: " PRELOAD_BYPASS));
}

void daemon_preload_figures(const struct daemon *d, json_t *entry)
{
	json_object_set_new(entry, "strangers",
			    json_integer((json_int_t)preload_strangers(d->preload)));
	json_object_set_new(entry, "advisory", json_true());
}

/* ---- who asks ----------------------------------------------------------------------------------- */

/* It waits for us, so that it is there. */
static int look_at(const struct control_peer *peer, struct preload_asker *ret)
{
	struct process_scan_entry e;
	char link[40];
	ssize_t n;
	int err = process_read(peer->pid, &e);

	if (err < 0)
		return err;
	ret->pid = peer->pid;
	ret->uid = peer->uid;
	ret->start_time_ns = e.start_time_ns;
	memcpy(ret->comm, e.comm, sizeof(ret->comm));
	snprintf(link, sizeof(link), "/proc/%d/exe", peer->pid);
	n = readlink(link, ret->exe, sizeof(ret->exe) - 1);
	ret->exe[n > 0 ? n : 0] = '\0';
	return 0;
}

struct ancestry {
	struct daemon *d;
	struct process_scan_entry line[ANCESTORS_MAX]; /* the asker first */
	unsigned n;
	bool found;
};

/* Each who is between a member and the asker is one, too. */
static void adopt_line(void *arg)
{
	struct ancestry *a = arg;
	unsigned i;

	daemon_feed_drain(a->d);
	for (i = 0; i < a->n; i++) {
		const struct member *m = proctree_find(a->d->tree, a->line[i].tgid);

		if (m && (!m->start_time_ns ||
			  start_time_same(m->start_time_ns, a->line[i].start_time_ns))) {
			uint32_t tree = m->tree_id;

			a->found = true;
			while (i-- > 0 && a->found)
				a->found = process_adopt(a->d->feed, tree, a->line[i].tgid,
							 a->line[i].start_time_ns) >= 0;
			return;
		}
	}
}

/* Where no kernel tells who was born, a child of a member is found by asking whose child it is. */
static bool adopt_by_ancestors(struct daemon *d, pid_t pid)
{
	_cleanup_free_ struct ancestry *a = NULL;

	if (!strcmp(process_feed_name(d->feed), "bpf"))
		return false;
	a = calloc(1, sizeof(*a));
	if (!a)
		return false;
	a->d = d;
	while (a->n < ANCESTORS_MAX && pid > 1 && process_read(pid, &a->line[a->n]) == 0) {
		/* A parent that began after its child has another's number. */
		if (a->n && a->line[a->n].start_time_ns > a->line[a->n - 1].start_time_ns)
			break;
		pid = a->line[a->n++].ppid;
	}
	return loop_call(d->loop, adopt_line, a) == 0 && a->found;
}

/*
 * Who says that it wants to be watched is: it can only be restricted by that. One at a time, since it
 * takes seconds where marks are slow, and those who serve everybody else would all wait for it.
 * -EBUSY: that is somebody else; -errno.
 */
static int watch_asker(struct daemon *d, const struct preload_asker *who, const json_t *req)
{
	const char *agent = json_string_value(json_object_get(req, "watch"));
	struct watch_request rq = { .pid = who->pid, .agent = agent, .how = "preload",
				    .start_time_ns = who->start_time_ns };
	struct watch_result res;
	int err;

	if (!agent || !agent[0] || strlen(agent) >= sizeof(res.agent) ||
	    agent[strspn(agent, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")])
		return -EINVAL;
	if (atomic_exchange(&d->preload_watches, true))
		return -EBUSY;
	err = daemon_watch(d, &rq, &res);
	atomic_store(&d->preload_watches, false);
	return err == -EEXIST ? 0 : err;
}

/* ---- units ------------------------------------------------------------------------------------------- */

/* One of its own words, or text of a sensible length; NULL: neither. */
static const char *read_text(const json_t *req, const char *key, size_t max)
{
	const char *s = json_string_value(json_object_get(req, key));

	return s && strlen(s) <= max ? s : NULL;
}

/* What oknek has written beside a unit, or removed: it tells afterwards, and nothing is done here. */
const char *daemon_cmd_unit(void *arg, const struct control_peer *peer, const json_t *req,
			    struct control_reply *reply)
{
	const char *done = read_text(req, "done", 16), *unit = read_text(req, "unit", 255);
	const char *file = read_text(req, "file", PATH_MAX), *agent = read_text(req, "agent", 31);
	const char *otherwise = read_text(req, "preload_default", 5);
	bool watch = done && !strcmp(done, "watch");
	json_t *detail;

	if (!done || (!watch && strcmp(done, "unwatch") != 0) || !unit || !unit[0] || !file)
		return daemon_say(reply, "usage", "what was done to which unit is expected");
	if (watch && (!agent || !otherwise || (strcmp(otherwise, "allow") && strcmp(otherwise, "deny"))))
		return daemon_say(reply, "usage", "the agent's name and what holds without a daemon are "
				  "expected");
	detail = json_pack("{s:s, s:s, s:b}", "unit", unit, "file", file, "reloaded",
			   json_is_true(json_object_get(req, "reloaded")));
	if (watch) {
		json_object_set_new(detail, "agent", json_string(agent));
		json_object_set_new(detail, "preload_default", json_string(otherwise));
	}
	daemon_operator_act(arg, peer, watch ? "watch" : "unwatch", detail);
	reply->result = json_object();
	return NULL;
}

/* ---- where programs are not asked -------------------------------------------------------------------- */

static bool could_hold(const struct daemon *d, enum event_kind kind)
{
	return kind == KIND_SOCKET_CONNECT ? daemon_egress_runs(d) :
	       d->fanotify || daemon_lsm_mechanism(d, kind);
}

/*
 * Of who carries the shim all the same. That there is a daemon is not enough: what its rules say of that
 * kind has to be held by something else, as it is but for observe mode or a pause.
 */
static bool held_by_others(struct daemon *d, enum event_kind kind)
{
	struct ruleset *rs = daemon_rules_ref(d);
	bool blocks = false, held = false;
	char why[256];

	if (!rs)
		return false;
	for (size_t i = 0; i < ruleset_count(rs) && !held; i++) {
		const struct rule *r = ruleset_rule(rs, i);

		if (r->kind != kind || r->action != VERDICT_BLOCK)
			continue;
		blocks = true;
		held = r->mechanism == MECH_LSM || r->mechanism == MECH_FANOTIFY ||
		       r->mechanism == MECH_CGROUP;
	}
	ruleset_unref(rs);
	if ((blocks && !held) || !could_hold(d, kind))
		return false;
	return kind == KIND_SOCKET_CONNECT || daemon_enforces_nothing(d, blocks, why) != DAEMON_HINDERED;
}

struct member_call {
	struct daemon *d;
	const struct preload_asker *who;
	bool found;
};

static void find_member(void *arg)
{
	struct member_call *c = arg;
	const struct member *m;

	daemon_feed_drain(c->d);
	m = proctree_find(c->d->tree, c->who->pid);
	c->found = m && (!m->start_time_ns || start_time_same(m->start_time_ns, c->who->start_time_ns));
}

static int ask_members(struct daemon *d, const struct preload_asker *who)
{
	struct member_call c = { .d = d, .who = who };
	int err = loop_call(d->loop, find_member, &c);

	return err ? err : c.found ? 0 : -ESRCH;
}

/* ---- the command -------------------------------------------------------------------------------- */

struct judge_call {
	struct daemon *d;
	struct preload_asker who;
	struct preload_request what;
	enum verdict verdict;
	int err;
};

static void judge(void *arg)
{
	struct judge_call *c = arg;

	c->err = preload_judge(c->d->preload, &c->d->bus, &c->who, &c->what, &c->verdict);
}

/*
 * Does it run what stands there, and nobody but root can change that? The name is one of the
 * configuration's, of which looking it up ends; whoever serves its exe is not asked.
 */
static bool is_exe(const struct preload_asker *who)
{
	const unsigned fields = STATX_TYPE | STATX_MODE | STATX_UID | STATX_INO;
	struct process_scan_entry e;
	struct statx exe, meant;
	char link[40];

	snprintf(link, sizeof(link), "/proc/%d/exe", who->pid);
	return statx(AT_FDCWD, link, AT_STATX_DONT_SYNC, fields, &exe) == 0 &&
	       statx(AT_FDCWD, who->exe, 0, fields, &meant) == 0 && exe.stx_uid == 0 &&
	       !(exe.stx_mode & (S_IWGRP | S_IWOTH)) && exe.stx_ino == meant.stx_ino &&
	       exe.stx_dev_major == meant.stx_dev_major && exe.stx_dev_minor == meant.stx_dev_minor &&
	       process_read(who->pid, &e) == 0 && start_time_same(e.start_time_ns, who->start_time_ns);
}

static int ask_rules(struct judge_call *c)
{
	int err;

	/* Who sees it done judges it. */
	c->verdict = VERDICT_ALLOW;
	if (!c->d->preload)
		return ask_members(c->d, &c->who);
	err = loop_call(c->d->loop, judge, c);
	if (!err && c->err == -EAGAIN) {
		c->who.exe_verified = is_exe(&c->who);
		c->who.exe_looked_at = true;
		err = loop_call(c->d->loop, judge, c);
	}
	return err ? err : c->err;
}

/* Nobody's answer: what was said for that holds. */
static const char *not_asked(struct control_reply *reply)
{
	snprintf(reply->err, sizeof(reply->err), "the preload source does not run");
	return "failed";
}

const char *daemon_cmd_judge(void *arg, const struct control_peer *peer, const json_t *req,
			     struct control_reply *reply)
{
	_cleanup_free_ struct judge_call *c = NULL;
	struct daemon *d = arg;
	int err;

	c = calloc(1, sizeof(*c));
	if (!c || preload_request_read(req, &c->what) < 0) {
		if (d->preload)
			preload_count(d->preload, true);
		snprintf(reply->err, sizeof(reply->err), "what is asked makes no sense");
		return "usage";
	}
	c->d = d;
	if (!d->preload && (!daemon_watches(d) || !held_by_others(d, c->what.kind)))
		return not_asked(reply);
	if (c->what.kind == KIND_SOCKET_CONNECT)
		daemon_egress_class(d, &c->what.dest, c->what.raw);
	err = look_at(peer, &c->who);
	if (!err)
		err = ask_rules(c);
	if (err == -ESRCH) {
		int watched = adopt_by_ancestors(d, peer->pid) ? 0 : watch_asker(d, &c->who, req);

		if (watched == -EBUSY) { /* as the socket itself says it: who asks does so again */
			snprintf(reply->err, sizeof(reply->err), "too many connections that ask to be watched");
			return "failed";
		}
		if (!watched)
			err = ask_rules(c);
	}
	if (err == -ESHUTDOWN) {
		snprintf(reply->err, sizeof(reply->err), "the daemon is stopping");
		return "failed";
	}
	if (err && !d->preload)
		return not_asked(reply);
	if (err)
		preload_count(d->preload, false);
	reply->result = json_pack("{s:s, s:b}", "verdict",
				  verdict_name(err ? VERDICT_ALLOW : c->verdict), "watched", !err);
	return NULL;
}
