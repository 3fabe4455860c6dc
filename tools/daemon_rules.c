/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "rules/readers.h"
#include "sources/ebpf.h"
#include "sources/replay.h"
#include "tools/daemon.h"

/* A line that lets nobody through is a mistake somebody should hear of. */
static int check_readers(const struct config *c, const struct ruleset *rs, struct rules_error *err)
{
	for (size_t i = 0; i < c->n_readers; i++) {
		const char *name = c->readers[i].rule;
		bool found = false;

		for (size_t k = 0; k < ruleset_count(rs) && !found; k++)
			found = rule_is_named(ruleset_rule(rs, k), name, NULL);
		if (found)
			continue;
		snprintf(err->text, sizeof(err->text),
			 "%s:%u: readers: there is no rule %s; oknek rules lists them",
			 c->readers[i].at.file, c->readers[i].at.line, name);
		return -EINVAL;
	}
	return 0;
}

static void free_pack(struct daemon_pack **p)
{
	daemon_pack_free(*p);
}

/* Bit per kind. Without a daemon that runs it is not known, and nothing is said about it. */
static unsigned unobserved_kinds(const struct daemon *d)
{
	unsigned seen;

	if (d->replay || d->opt.check)
		return 0;
	seen = (d->fanotify ? 1u << KIND_FILE_OPENED : 0u) |
	       (daemon_egress_runs(d) ? 1u << KIND_SOCKET_CONNECT : 0u);
	if (d->preload)
		seen |= 1u << KIND_FILE_OPENED | 1u << KIND_EXEC_OBSERVED | 1u << KIND_SOCKET_CONNECT;
	for (int kind = 0; kind < KIND_COUNT; kind++)
		if (daemon_ebpf_sees(d, (enum event_kind)kind) ||
		    daemon_audit_sees(d, (enum event_kind)kind))
			seen |= 1u << kind;
	return ~seen;
}

static int load_rules(struct daemon *d, enum daemon_pack_choice which, const struct config *site,
		      struct ruleset **ret, struct rules_error *err)
{
	_cleanup_(free_pack) struct daemon_pack *pack = NULL;
	_cleanup_free_ char *site_dir = NULL;
	struct ruleset *rs = NULL;
	const char *dirs[3] = { NULL };
	struct rules_config c = {
		.dirs = dirs,
		.retain_default_s = site->retain_default_s,
		.unobserved_kinds = unobserved_kinds(d),
		.by_path = d->bulk.filters || d->audit,
		.site = site,
		.cache = d->rules_cache,
	};
	int r = daemon_choose_pack(d, which, &c, dirs, &pack, err);

	if (r < 0)
		return r;
	if (!d->opt.rules_dir) {
		site_dir = config_rules_dir(d->opt.config);
		if (!site_dir)
			return -ENOMEM;
		if (access(site_dir, F_OK) == 0) {
			dirs[dirs[0] ? 1 : 0] = site_dir;
			c.site_only_x = true;
		}
	}
	c.pseudo_unseen = d->fanotify && !d->preload && !d->audit &&
			  !daemon_ebpf_sees(d, KIND_FILE_OPENED) && !d->opt.check;
	/* What this daemon can stop before the fact, whatever else it sees. */
	if (!d->fanotify)
		c.why_none[KIND_FILE_OPENED] = "who opens a file is held by the source fanotify, which does not run";
	if (d->fanotify || d->opt.check)
		c.mechanisms[KIND_FILE_OPENED] = 1u << MECH_FANOTIFY |
						 daemon_lsm_mechanism(d, KIND_FILE_OPENED);
	else
		c.mechanisms[KIND_FILE_OPENED] = daemon_lsm_mechanism(d, KIND_FILE_OPENED);
	c.mechanisms[KIND_EXEC_OBSERVED] |= daemon_lsm_mechanism(d, KIND_EXEC_OBSERVED);
	daemon_exec_rules(d, site, &c);
	daemon_egress_rules(d, site, &c);
	daemon_preload_rules(d, &c);
	r = ruleset_load(&c, &rs, err);
	if (!r)
		r = daemon_pack_check(pack, rs, err);
	if (!r)
		r = check_readers(site, rs, err);
	/* Before anything that serves is touched. */
	if (!r && c.mechanisms[KIND_SOCKET_CONNECT] & (1u << MECH_CGROUP | 1u << MECH_LSM))
		r = daemon_egress_check(d, site, rs, err);
	if (r < 0) {
		ruleset_unref(rs);
		return r;
	}
	*ret = rs;
	return 0;
}

int daemon_load_rules(struct daemon *d, struct ruleset **ret, struct rules_error *err)
{
	static const enum daemon_pack_choice others[] = {
		DAEMON_PACK_INTERRUPTED, DAEMON_PACK_PREVIOUS, DAEMON_PACK_SHIPPED,
	};
	struct rules_error ignored;
	int r;

	if (!d->opt.check)
		d->rules_cache = rules_cache_new(); /* NULL: reloads take longer */
	r = load_rules(d, DAEMON_PACK_ACTIVE, d->config, ret, err);
	if (r >= 0 || d->opt.check || !daemon_pack_active(d))
		return r;
	/* A daemon that does not start protects nobody. Where this host's own files are what is wrong
	 * none of them loads, and the first reason is the one to hear of. */
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (load_rules(d, others[i], d->config, ret, &ignored))
			continue;
		daemon_pack_instead(d, *ret, err->text);
		return 0;
	}
	return r;
}

/* ---- notices: what is no error, and somebody should hear of -------------------------------- */

static void notice(json_t *list, const char *text)
{
	log_notice("%s", text);
	json_array_append_new(list, daemon_json_text(text));
}

/* Those of signed packs are refused before it comes to this. */
static void notice_version(void *arg, const struct version_fault *f)
{
	char text[1024];

	if (strcmp(f->now->pack, "local"))
		return;
	version_fault_text(f, text, sizeof(text));
	notice(arg, text);
}

void daemon_notice_expired(const struct ruleset *rs, int64_t now_s, json_t *list)
{
	for (size_t k = 0; k < ruleset_exceptions(rs); k++) {
		const struct rule_exception *e = ruleset_exception(rs, k);
		char text[1024];

		if (e->expires_unix_s > now_s)
			continue;
		snprintf(text, sizeof(text), "%s:%u: the exception to %s expired (%s) and has no effect",
			 e->file, e->line, e->rule, e->expires);
		log_warning("%s", text);
		if (list)
			json_array_append_new(list, daemon_json_text(text));
	}
}

void daemon_warn_exceptions(const struct ruleset *rs)
{
	for (size_t k = 0; k < ruleset_exceptions(rs); k++) {
		const struct rule_exception *e = ruleset_exception(rs, k);

		if (e->by_name)
			log_warning("%s:%u: the exception to %s goes by what a program is called, which "
				    "whoever starts one may choose: exe: { eq: /path } is verified",
				    e->file, e->line, e->rule);
		if (e->unverifiable)
			log_warning("%s:%u: the exception to %s asks for exe, which is verified for "
				    "files that are opened alone: for other kinds it has no effect",
				    e->file, e->line, e->rule);
	}
}

static bool same_strings(char *const *a, char *const *b)
{
	while (*a && *b && !strcmp(*a, *b))
		a++, b++;
	return !*a && !*b;
}

static bool same_roles(const struct config *a, const struct config *b)
{
	if (a->n_roles != b->n_roles)
		return false;
	for (size_t i = 0; i < a->n_roles; i++) {
		const struct config_role *x = &a->roles[i], *y = &b->roles[i];

		if (x->role != y->role || x->group != y->group || x->number != y->number ||
		    strcmp(x->name ? x->name : "", y->name ? y->name : "") != 0)
			return false;
	}
	return true;
}

/* What is read at the start only. */
static void notice_restart(const struct daemon *d, const struct config *new, json_t *list)
{
	const struct config *old = d->config;
	const struct {
		const char *key;
		bool same;
	} keys[] = {
		{ "mode", old->mode == new->mode },
		{ "source", same_strings(old->sources, new->sources) },
		{ "agents", old->recognise == new->recognise },
		{ "deadline", old->deadline_ns == new->deadline_ns },
		{ "on_timeout", old->on_timeout == new->on_timeout },
		{ "fanotify", same_strings(old->mark_roots, new->mark_roots) &&
			      old->system_directories == new->system_directories },
		{ "ebpf", old->ring_bytes == new->ring_bytes &&
			  old->exec_ring_bytes == new->exec_ring_bytes },
		{ "egress.jail_on_exit", !daemon_egress_restart(d) },
		{ "control", !strcmp(old->group, new->group) },
		{ "roles", same_roles(old, new) },
		{ "evidence.max_size", old->max_size_bytes == new->max_size_bytes },
	};
	char text[4400];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s: changed since the start, and read then "
				    "only: ", d->opt.config), before = n;

	for (size_t i = 0; i < ARRAY_SIZE(keys) && n < sizeof(text) - 64; i++)
		if (!keys[i].same)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s",
					      n > before ? ", " : "", keys[i].key);
	if (n > before && n < sizeof(text))
		notice(list, text);
}

/* ---- what cannot be held ---------------------------------------------------------------------- */

/* What is asked of programs by the shim alone is advice: who does not ask is held by nothing. What is
 * off by configuration is another matter. */
static bool is_unenforceable(const struct rule *r)
{
	return r->action == VERDICT_BLOCK &&
	       (r->mechanism == MECH_DETECT || r->mechanism == MECH_PRELOAD) &&
	       strncmp(r->bound_why, "off: ", 5) != 0;
}

/* Rules that block and that nothing holds here. How many; of a single one it is said why. */
static unsigned unenforceable(const struct ruleset *rs, char *list, size_t size)
{
	const struct rule *last = NULL;
	unsigned n = 0;
	size_t used = (size_t)snprintf(list, size, "on_unenforceable: refuse: these rules block, and "
				       "nothing would hold them here:");

	for (size_t i = 0; i < ruleset_count(rs); i++) {
		const struct rule *r = ruleset_rule(rs, i);

		if (!is_unenforceable(r))
			continue;
		if (used < size)
			used += (size_t)snprintf(list + used, size - used, "%s %s%s%s", n ? "," : "",
						 r->id, r->part[0] ? "/" : "", r->part);
		last = r;
		n++;
	}
	if (n == 1)
		snprintf(list, size, "on_unenforceable: refuse: rule %s%s%s (%s) blocks, and nothing would "
			 "hold it here: %s", last->id, last->part[0] ? "/" : "", last->part,
			 last->name, last->bound_why);
	return n;
}

void daemon_warn_detected(const struct daemon *d)
{
	for (size_t i = 0; i < ruleset_count(d->rules); i++) {
		const struct rule *r = ruleset_rule(d->rules, i);

		if (r->action == VERDICT_BLOCK && r->mechanism == MECH_DETECT &&
		    (r->kind == KIND_FILE_OPENED || r->kind == KIND_SOCKET_CONNECT) &&
		    strncmp(r->bound_why, "off: ", 5) != 0)
			log_warning("%s:%u: rule %s%s%s blocks, and would not be held: %s", r->file,
				    r->line, r->id, r->part[0] ? "/" : "", r->part, r->bound_why);
	}
}

bool daemon_unenforceable(const struct daemon *d)
{
	char list[512];
	unsigned n;

	if (!d->config->refuse_unenforceable || !(n = unenforceable(d->rules, list, sizeof(list))))
		return false;
	log_error("%s", list);
	for (size_t i = 0; n > 1 && i < ruleset_count(d->rules); i++) {
		const struct rule *r = ruleset_rule(d->rules, i);

		if (is_unenforceable(r))
			log_error("%s%s%s %s: %s", r->id, r->part[0] ? "/" : "", r->part, r->name,
				  r->bound_why);
	}
	return true;
}

/* ---- reload -------------------------------------------------------------------------------- */

struct swap {
	struct daemon *d;
	struct ruleset *rules;
	struct config *config;
};

static void swap_rules(void *arg)
{
	struct swap *s = arg;
	struct ruleset *old = s->d->rules;

	daemon_lsm_serve(s->d);
	if (s->d->ebpf) /* which programs are held may be others from here on */
		ebpf_exec_forget_all(s->d->ebpf);
	s->d->rules = s->rules;
	s->rules = old;
	config_swap_rules(s->d->config, s->config);
}

static void config_cleanup(struct config **c)
{
	config_free(*c);
}

static void bulk_as_now(struct daemon *d)
{
	struct ruleset *now = daemon_rules_ref(d);

	daemon_bulk_rules(d, now);
	ruleset_unref(now);
}

/* What the rules that serve on guard stays marked, and what only the refused ones would have is not.
 * Jobs of the mark thread are done in their order. */
static void marks_as_before(struct daemon *d)
{
	struct ruleset *serving = daemon_rules_ref(d);
	int r = -EAGAIN;

	if (serving)
		r = marks_set(d->marks, atomic_load(&d->mode_now), ruleset_pathset(serving),
			      ruleset_programs(serving), MARKS_WAIT_MS);
	if (r == -ETIMEDOUT)
		daemon_marks_are_late(d);
	/* Too many marks are no harm. */
	if (r == 0 || r == -ETIMEDOUT)
		marks_settle(d->marks, 0);
	else
		log_warning("marks of rules that were refused stay: %s", strerror(-r));
	ruleset_unref(serving);
}

int daemon_try_rules(struct daemon *d, enum daemon_pack_choice which, struct ruleset **ret,
		     struct rules_error *err)
{
	_cleanup_(config_cleanup) struct config *config = NULL;
	struct ruleset *rs = NULL;
	int r = config_load(d->opt.config, d->opt.config_given, &config, err->text);

	if (!r)
		r = load_rules(d, which, config, &rs, err);
	if (!r && config->refuse_unenforceable && unenforceable(rs, err->text, sizeof(err->text)))
		r = -EOPNOTSUPP;
	if (r < 0)
		ruleset_unref(rs);
	else
		*ret = rs;
	return r;
}

int daemon_reload(struct daemon *d, struct rules_error *err, json_t *notices)
{
	_cleanup_(config_cleanup) struct config *config = NULL;
	struct swap s = { d, NULL, NULL };
	int r = config_load(d->opt.config, d->opt.config_given, &config, err->text);

	if (!r)
		r = load_rules(d, DAEMON_PACK_ACTIVE, config, &s.rules, err);
	if (!r && config->refuse_unenforceable && unenforceable(s.rules, err->text, sizeof(err->text)))
		r = -EOPNOTSUPP;
	if (r < 0) {
		ruleset_unref(s.rules);
		return r;
	}
	s.config = config;
	daemon_lsm_prepare(d, s.rules);
	/* What the new rules guard is marked before they serve. */
	if (d->marks)
		r = marks_set(d->marks, atomic_load(&d->mode_now), ruleset_pathset(s.rules),
			      ruleset_programs(s.rules), MARKS_WAIT_MS);
	if (r < 0 && r != -ETIMEDOUT) {
		snprintf(err->text, sizeof(err->text), "marks: %s", strerror(-r));
	} else {
		if (r == -ETIMEDOUT)
			daemon_marks_are_late(d);
		r = daemon_egress_apply(d, config, s.rules, err->text, sizeof(err->text));
		daemon_bulk_rules(d, NULL);
		if (!r)
			r = loop_call(d->loop, swap_rules, &s);
		bulk_as_now(d);
		if (r < 0 && !err->text[0])
			snprintf(err->text, sizeof(err->text), "the daemon is stopping");
	}
	if (d->marks && r >= 0)
		marks_settle(d->marks, 0); /* nobody waits for that */
	daemon_lsm_settle(d, r >= 0);
	if (d->marks && r < 0)
		marks_as_before(d);
	if (r >= 0) {
		atomic_store(&d->pack_fell_back, false);
		struct ruleset *now = daemon_rules_ref(d);

		if (now) {
			ruleset_compare_versions(s.rules, now, notice_version, notices);
			daemon_notice_expired(now, time(NULL), notices);
		}
		ruleset_unref(now);
		daemon_hold_again(d);
		notice_restart(d, config, notices);
		daemon_capture(d, &config->capture);
	}
	ruleset_unref(s.rules);
	return r < 0 ? r : 0;
}

bool daemon_reader_candidate(void *arg, const char *exe)
{
	const struct daemon *d = arg;

	for (size_t i = 0; i < d->config->n_readers; i++)
		if (!strcmp(d->config->readers[i].exe, exe))
			return true;
	return ruleset_asks_exe(d->rules, exe);
}

/* What the rules were given as the time is kept: whoever decides the event again gives them the same. */
static void look_at_clock(struct daemon *d, const struct event *ev)
{
	struct timespec ts;

	if (d->replay && ev->source == d->replay) {
		d->decided_unix_ns = replay_clock_unix_ns(d->replay);
		if (replay_utc_offset(d->replay, &d->decided_utc_offset_s))
			return;
	} else {
		clock_gettime(CLOCK_REALTIME, &ts);
		d->decided_unix_ns = ts.tv_sec * (int64_t)NSEC_PER_SEC + ts.tv_nsec;
	}
	d->decided_utc_offset_s = zone_offset_s(&d->zone, clock_second(d->decided_unix_ns));
}

bool daemon_mode_matters(void *arg, const struct event *ev)
{
	struct daemon *d = arg;
	struct wall_clock wc;

	look_at_clock(d, ev);
	offset_wall_clock(d->decided_utc_offset_s, clock_second(d->decided_unix_ns), &wc);
	return rules_mode_matters(d->rules, ev, &wc);
}

void daemon_decide(void *arg, const struct event *ev, struct decision *ret, const char **category)
{
	struct daemon *d = arg;
	struct wall_clock wc;

	look_at_clock(d, ev);
	offset_wall_clock(d->decided_utc_offset_s, clock_second(d->decided_unix_ns), &wc);
	rules_decide(d->rules, ev, &wc, ret, category);
	if (ev->subj.exe_verified)
		readers_drop(d->config, ev, ret);
	ruleset_count_excepted(ret);
}
