/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/rule.h"
#include "tools/daemon.h"

/* What the verdict thread alone may look at: plain figures, taken in one call. */
struct snapshot {
	struct daemon *d;
	unsigned members;
	uint64_t overflows;
	struct process_feed_stats feed;
	struct fanotify_figures fig;
	struct source_stats fanotify, ebpf, audit, replay, preload;
};

static void take(void *arg)
{
	struct snapshot *s = arg;
	struct daemon *d = s->d;

	if (d->tree) {
		s->members = proctree_members(d->tree);
		s->overflows = proctree_overflows(d->tree);
	}
	if (d->feed)
		process_feed_stats(d->feed, &s->feed);
	if (d->fanotify) {
		fanotify_figures(d->fanotify, &s->fig);
		d->fanotify->ops->stats(d->fanotify, &s->fanotify);
	}
	if (d->ebpf)
		d->ebpf->ops->stats(d->ebpf, &s->ebpf);
	daemon_fuse_audit_sweep(d);
	if (d->replay)
		d->replay->ops->stats(d->replay, &s->replay);
	if (d->preload)
		d->preload->ops->stats(d->preload, &s->preload);
}

static void add_to(json_t *entry, const char *key, json_int_t more)
{
	json_object_set_new(entry, key,
			    json_integer(json_integer_value(json_object_get(entry, key)) + more));
}

/* One entry for each agent, not for each of its trees. */
static json_t *agents(const struct tree_brief *trees, size_t n)
{
	json_t *by_name = json_object();

	for (size_t i = 0; i < n; i++) {
		json_t *entry = json_object_get(by_name, trees[i].agent);

		if (!entry) {
			entry = json_pack("{s:s, s:i, s:i}", "agent", trees[i].agent, "trees", 0,
					  "members", 0);
			json_object_set_new(by_name, trees[i].agent, entry);
		}
		add_to(entry, "trees", 1);
		add_to(entry, "members", trees[i].members);
	}
	return by_name;
}

static void add_source(json_t *list, const struct source *src, const struct source_stats *st)
{
	if (src)
		json_array_append_new(list,
				      json_pack("{s:s, s:I, s:I, s:I}", "name", src->ops->name,
						"read", (json_int_t)st->read, "lost",
						(json_int_t)st->lost, "malformed",
						(json_int_t)st->malformed));
}

static json_t *rules(struct daemon *d, unsigned *blocking)
{
	struct ruleset *rs = daemon_rules_ref(d);
	json_t *detect = json_array();
	char origin[4096] = "";
	size_t n = rs ? ruleset_count(rs) : 0;
	json_t *pack;

	for (size_t i = 0; i < n; i++) {
		const struct rule *r = ruleset_rule(rs, i);

		if (r->action != VERDICT_BLOCK)
			continue;
		if (r->mechanism == MECH_DETECT)
			json_array_append_new(detect,
					      json_pack("{s:s, s:s, s:s, s:s}", "rule", r->id,
							"part", r->part, "name", r->name, "why",
							r->bound_why));
	}
	if (rs)
		snprintf(origin, sizeof(origin), "%s", ruleset_origin(rs));
	*blocking = daemon_blocking_rules(rs);
	pack = rs ? daemon_pack_json(d, rs) : json_null();
	ruleset_unref(rs);
	return json_pack("{s:i, s:s, s:o, s:i, s:o}", "count", (int)n, "origin", origin, "pack",
			 pack, "blocking", (int)*blocking, "detect", detect);
}

static json_t *exceptions(struct daemon *d)
{
	struct ruleset *rs = daemon_rules_ref(d);
	size_t n = rs ? ruleset_exceptions(rs) : 0, expired = 0;
	int64_t now = time(NULL);
	uint64_t let_through = 0;

	for (size_t i = 0; rs && i < ruleset_count(rs); i++)
		let_through += ruleset_let_through(rs, i);
	for (size_t k = 0; k < n; k++)
		expired += ruleset_exception(rs, k)->expires_unix_s <= now;
	ruleset_unref(rs);
	return json_pack("{s:i, s:i, s:I}", "active", (int)(n - expired), "expired", (int)expired,
			 "let_through", (json_int_t)let_through);
}

static void add_gap(void *arg, const char *path, const char *why)
{
	json_t *list = arg;
	json_t *g = json_pack("{s:s, s:s}", "path", path, "why", why);

	/* A name that is not UTF-8: its place is what matters here. */
	if (!g)
		g = json_pack("{s:s, s:s}", "path", "(a name that is not UTF-8)", "why", why);
	json_array_append_new(list, g);
}

static json_t *words(const char *text)
{
	json_t *list = json_array();

	while (*text) {
		size_t n = strcspn(text, " ");

		json_array_append_new(list, json_stringn(text, n));
		text += n;
		text += strspn(text, " ");
	}
	return list;
}

static json_t *object_values(json_t *object)
{
	json_t *list = json_array(), *value;
	const char *key;

	json_object_foreach(object, key, value)
		json_array_append(list, value);
	json_decref(object);
	return list;
}

static json_t *warnings(struct daemon *d, const struct snapshot *s,
			const struct store_status *st, const char *nothing)
{
	json_t *list = json_array();

	if (*nothing)
		json_array_append_new(list, json_sprintf("enforcing nothing: %s", nothing));

	if (d->feed_why[0])
		json_array_append_new(list, json_string(d->feed_why));
	if (!st->ok)
		json_array_append_new(list, json_sprintf("evidence is not being stored: %s", st->why));
	if (st->incident[0])
		json_array_append_new(list, json_sprintf("evidence: %s", st->incident));
	if (s->fig.feed_gap)
		json_array_append_new(list, json_string("the process feed lost something: who is "
							"watched is being looked up"));
	if (s->fig.no_room)
		json_array_append_new(list, json_string("there is no room for more processes: some "
							"of watched trees are not watched"));
	if (d->guardian && !guardian_alive(d->guardian))
		json_array_append_new(list, json_string("there is no guardian: if the daemon does not answer, "
							"openers of marked files wait"));
	if (atomic_load(&d->marks_late))
		json_array_append_new(list, json_string("marks are still being set as mode and "
							"rules want them"));
	if (s->overflows)
		json_array_append_new(list, json_sprintf("%llu processes found no room in the table "
							 "and are not watched",
							 (unsigned long long)s->overflows));
	if (atomic_load(&d->notices_lost))
		json_array_append_new(list,
				      json_sprintf("%llu executions came too fast to be looked at one "
						   "by one; everybody who ran afterwards was",
						   (unsigned long long)atomic_load(&d->notices_lost)));
	if (log_dropped())
		json_array_append_new(list, json_sprintf("%llu messages of the daemon were dropped: "
							 "nobody took them",
							 (unsigned long long)log_dropped()));
	if (d->opt.rules_dir)
		json_array_append_new(list, json_sprintf("rules are read from %s, unsigned",
							 d->opt.rules_dir));
	daemon_pack_warnings(d, list);
	daemon_egress_warnings(d, list);
	daemon_ebpf_warnings(d, list);
	daemon_audit_warnings(d, list);
	daemon_preload_warnings(d, list);
	daemon_peek_warnings(d, list);
	daemon_follow_warnings(d, list);
	return list;
}

static json_t *enforcement(struct daemon *d, const struct snapshot *s, bool privileged)
{
	struct marks_stats ms = { 0 };
	json_t *e;

	if (d->follow_names) {
		marks_stats(d->marks, &ms);
		return json_pack("{s:s, s:o, s:i, s:i}", "mechanism", "detect", "filesystems",
				 words(ms.filesystems), "objects", (int)ms.files, "directories",
				 (int)ms.directories);
	}
	if (!d->marks)
		return json_pack("{s:s}", "mechanism", d->preload ? "preload" : "detect");
	marks_stats(d->marks, &ms);
	e = json_pack("{s:s, s:o, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "mechanism",
		      d->follow ? "lsm" : "fanotify",
		      "filesystems", words(ms.filesystems), "objects", (int)ms.files, "directories",
		      (int)ms.directories, "pending", (int)s->fig.parked, "answered",
		      (json_int_t)s->fig.answered, "denied", (json_int_t)s->fig.denied,
		      "by_deadline", (json_int_t)s->fig.by_deadline, "unread",
		      (json_int_t)s->fig.unread);
	if (d->fanotify) {
		static const char *const audit[] = { "none", "plain", "rule" };

		json_object_set_new(e, "audit", json_string(audit[permission_audit(d->permissions)]));
	}
	json_object_set_new(e, "held", json_integer(s->fig.held));
	json_object_set_new(e, "hold_refused", json_integer((json_int_t)atomic_load(&d->holds_refused)));
	if (d->follow) {
		json_object_set_new(e, "labelled", json_integer(ms.held));
	} else {
		json_object_set_new(e, "exec", daemon_exec_json(d));
		json_object_set_new(e, "peek", daemon_peek_json(d));
	}
	/* Names in others' homes are not everybody's to see. */
	if (privileged) {
		json_t *gaps = json_array();

		marks_each_gap(d->marks, add_gap, gaps);
		json_object_set_new(e, "gaps", gaps);
	}
	return e;
}

json_t *daemon_status_json(struct daemon *d, bool privileged)
{
	json_t *unavailable = json_array(), *sources = json_array(), *r;
	_cleanup_free_ struct tree_brief *trees = NULL;
	struct snapshot s = { .d = d };
	size_t n_trees;
	struct store_status st;
	int64_t paused = atomic_load(&d->paused_until_s);
	unsigned blocking = 0;
	char nothing[256] = "";
	bool hindered;
	json_t *e;

	loop_call(d->loop, take, &s);
	if (d->audit) /* which may wait for the kernel */
		d->audit->ops->stats(d->audit, &s.audit);
	trees = daemon_trees(d, &n_trees);
	add_source(sources, d->fanotify, &s.fanotify);
	add_source(sources, d->ebpf, &s.ebpf);
	if (d->ebpf)
		daemon_ebpf_figures(d, json_array_get(sources, json_array_size(sources) - 1));
	add_source(sources, d->audit, &s.audit);
	if (d->audit)
		daemon_audit_figures(d, json_array_get(sources, json_array_size(sources) - 1));
	add_source(sources, d->replay, &s.replay);
	add_source(sources, d->preload, &s.preload);
	if (d->preload)
		daemon_preload_figures(d, json_array_get(sources, json_array_size(sources) - 1));
	store_status(d->store, &st);
	for (unsigned i = 0; i < d->n_unavailable; i++)
		json_array_append_new(unavailable, json_pack("{s:s, s:s}", "name",
							     d->unavailable[i].name, "why",
							     d->unavailable[i].why));
	r = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "version", OKNEK_VERSION, "mode",
		      mode_name(daemon_mode_now(d)), "configured_mode",
		      mode_name((enum mode)atomic_load(&d->mode)), "paused_until",
		      paused ? json_integer(paused) : json_null(), "sources", sources,
		      "unavailable", unavailable);
	json_object_set_new(r, "feed",
			    json_pack("{s:s, s:s, s:I}", "name",
				      d->feed ? process_feed_name(d->feed) : "none", "gaps",
				      d->feed ? process_feed_gaps(d->feed) : "", "lost",
				      (json_int_t)s.feed.lost));
	json_object_set_new(r, "trees", json_integer((json_int_t)n_trees));
	json_object_set_new(r, "members", json_integer(s.members));
	json_object_set_new(r, "agents", object_values(agents(trees, n_trees)));
	json_object_set_new(r, "rules", rules(d, &blocking));
	json_object_set_new(r, "exceptions", exceptions(d));
	e = enforcement(d, &s, privileged);
	hindered = daemon_enforces_nothing(d, blocking, nothing) == DAEMON_HINDERED;
	/* The path that could not be marked may be another's. */
	if (hindered && !privileged)
		snprintf(nothing, sizeof(nothing), "nothing could be marked");
	if (d->marks && !d->follow_names)
		json_object_set_new(e, "nothing", *nothing ? json_string(nothing) : json_null());
	if (!hindered)
		nothing[0] = '\0'; /* no reason to warn */
	json_object_set_new(r, "enforcement", e);
	json_object_set_new(
		r, "evidence",
		json_pack("{s:b, s:s, s:I, s:I, s:s, s:I, s:I, s:s}", "ok", st.ok, "why", st.why,
			  "records", (json_int_t)st.records, "last_seq", (json_int_t)st.last_seq,
			  "last_hash", st.last_hash, "lost", (json_int_t)st.lost, "pending",
			  (json_int_t)st.pending, "key", st.key_fingerprint));
	json_object_set_new(r, "store",
			    json_pack("{s:I, s:I, s:I}", "db_bytes", (json_int_t)st.db_bytes,
				      "wal_bytes", (json_int_t)st.wal_bytes, "pruned",
				      (json_int_t)st.pruned));
	json_object_set_new(r, "capture", daemon_capture_json(d));
	json_object_set_new(r, "lsm", daemon_lsm_json(d));
	json_object_set_new(r, "egress", daemon_egress_json(d, false));
	json_object_set_new(r, "guardian", daemon_guardian_json(d));
	json_object_set_new(r, "privilege", daemon_privilege_json(d));
	json_object_set_new(r, "warnings", warnings(d, &s, &st, nothing));
	return r;
}
