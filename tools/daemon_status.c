/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/rule.h"
#include "tools/daemon.h"

/* What the verdict thread alone may look at, taken in one call. */
struct snapshot {
	struct daemon *d;
	json_t *agents, *detect, *sources;
	unsigned trees, members, blocking;
	size_t rules;
	uint64_t overflows;
	struct process_feed_stats feed;
	struct fanotify_figures fig;
};

static void count_tree(struct tree *t, void *arg)
{
	struct snapshot *s = arg;
	json_t *entry = json_object_get(s->agents, t->agent);

	s->trees++;
	if (!entry) {
		entry = json_pack("{s:s, s:i, s:i}", "agent", t->agent, "trees", 0, "members", 0);
		json_object_set_new(s->agents, t->agent, entry);
	}
	json_object_set_new(entry, "trees",
			    json_integer(json_integer_value(json_object_get(entry, "trees")) + 1));
	json_object_set_new(entry, "members",
			    json_integer(json_integer_value(json_object_get(entry, "members")) +
					 t->members));
}

static void add_source(json_t *list, const struct source *src)
{
	struct source_stats st = { 0 };

	if (!src)
		return;
	src->ops->stats(src, &st);
	json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "name", src->ops->name, "read",
					      (json_int_t)st.read, "lost", (json_int_t)st.lost,
					      "malformed", (json_int_t)st.malformed));
}

static void take(void *arg)
{
	struct snapshot *s = arg;
	struct daemon *d = s->d;

	if (d->tree) {
		proctree_each_tree(d->tree, count_tree, s);
		s->members = proctree_members(d->tree);
		s->overflows = proctree_overflows(d->tree);
	}
	if (d->feed)
		process_feed_stats(d->feed, &s->feed);
	if (d->fanotify)
		fanotify_figures(d->fanotify, &s->fig);
	add_source(s->sources, d->fanotify);
	add_source(s->sources, d->replay);
	s->rules = ruleset_count(d->rules);
	for (size_t i = 0; i < s->rules; i++) {
		const struct rule *r = ruleset_rule(d->rules, i);

		if (r->action != VERDICT_BLOCK)
			continue;
		if (r->mechanism != MECH_DETECT) {
			s->blocking++;
			continue;
		}
		json_array_append_new(s->detect,
				      json_pack("{s:s, s:s, s:s, s:s}", "rule", r->id, "part",
						r->part, "name", r->name, "why", r->bound_why));
	}
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

static json_t *warnings(const struct daemon *d, const struct snapshot *s,
			const struct store_status *st)
{
	json_t *list = json_array();

	if (d->feed_why[0])
		json_array_append_new(list, json_string(d->feed_why));
	if (!st->ok)
		json_array_append_new(list, json_sprintf("evidence is not being stored: %s", st->why));
	if (s->overflows)
		json_array_append_new(list, json_sprintf("%llu processes found no room in the table "
							 "and are not watched",
							 (unsigned long long)s->overflows));
	if (atomic_load(&d->notices_lost))
		json_array_append_new(list,
				      json_sprintf("%llu executions were not looked at for agents",
						   (unsigned long long)atomic_load(&d->notices_lost)));
	if (d->opt.rules_dir)
		json_array_append_new(list, json_sprintf("rules are read from %s, unsigned",
							 d->opt.rules_dir));
	return list;
}

static json_t *enforcement(struct daemon *d, const struct snapshot *s, bool privileged)
{
	struct marks_stats ms = { 0 };
	json_t *e;

	if (!d->marks)
		return json_pack("{s:s}", "mechanism", "detect");
	marks_stats(d->marks, &ms);
	e = json_pack("{s:s, s:o, s:i, s:i, s:i, s:I, s:I, s:I}", "mechanism", "fanotify",
		      "filesystems", words(ms.filesystems), "objects", (int)ms.files, "directories",
		      (int)ms.directories, "pending", (int)s->fig.parked, "answered",
		      (json_int_t)s->fig.answered, "denied", (json_int_t)s->fig.denied,
		      "by_deadline", (json_int_t)s->fig.by_deadline);
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
	struct snapshot s = { .d = d, .agents = json_object(), .detect = json_array(),
			      .sources = json_array() };
	json_t *unavailable = json_array(), *r;
	struct store_status st;
	int64_t paused = atomic_load(&d->paused_until_s);

	loop_call(d->loop, take, &s);
	store_status(d->store, &st);
	for (unsigned i = 0; i < d->n_unavailable; i++)
		json_array_append_new(unavailable, json_pack("{s:s, s:s}", "name",
							     d->unavailable[i].name, "why",
							     d->unavailable[i].why));
	r = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "version", OKNEK_VERSION, "mode",
		      mode_name(daemon_mode_now(d)), "configured_mode",
		      mode_name((enum mode)atomic_load(&d->mode)), "paused_until",
		      paused ? json_integer(paused) : json_null(), "sources", s.sources,
		      "unavailable", unavailable);
	json_object_set_new(r, "feed",
			    json_pack("{s:s, s:s, s:I}", "name",
				      d->feed ? process_feed_name(d->feed) : "none", "gaps",
				      d->feed ? process_feed_gaps(d->feed) : "", "lost",
				      (json_int_t)s.feed.lost));
	json_object_set_new(r, "trees", json_integer(s.trees));
	json_object_set_new(r, "members", json_integer(s.members));
	json_object_set_new(r, "agents", object_values(s.agents));
	json_object_set_new(r, "rules",
			    json_pack("{s:i, s:s, s:i, s:o}", "count", (int)s.rules, "origin",
				      daemon_rules_origin(d), "blocking", (int)s.blocking, "detect",
				      s.detect));
	json_object_set_new(r, "enforcement", enforcement(d, &s, privileged));
	json_object_set_new(
		r, "evidence",
		json_pack("{s:b, s:s, s:I, s:I, s:s, s:I, s:I, s:s}", "ok", st.ok, "why", st.why,
			  "records", (json_int_t)st.records, "last_seq", (json_int_t)st.last_seq,
			  "last_hash", st.last_hash, "lost", (json_int_t)st.lost, "pending",
			  (json_int_t)st.pending, "key", st.key_fingerprint));
	json_object_set_new(r, "warnings", warnings(d, &s, &st));
	return r;
}
