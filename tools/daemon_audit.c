/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit source in the daemon: whom the kernel is to tell of, what is known of what it tells, and what
 * it could not tell. Rules follow the trees: births, execs and ends come from the process feed on the
 * verdict thread, which only writes down whom they are of.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "sources/audit.h"
#include "tools/daemon.h"

#define TELL_LOST_NS (10 * NSEC_PER_SEC) /* who can cause losses must not flood the evidence */
#define LOOK_NS (2 * NSEC_PER_SEC)
#define SETTLE_MS 2000

/* ---- what is told --------------------------------------------------------------------------------- */

static void drain(void *arg)
{
	daemon_feed_drain(arg);
}

static void add_name(struct file_object *f, const char *path, const char *home)
{
	for (unsigned i = 0; i < f->n_names; i++)
		if (!strcmp(f->names[i].path, path) &&
		    (!home || (f->names[i].home && !strcmp(f->names[i].home, home))))
			return;
	if (f->n_names == FILE_NAMES_MAX)
		return;
	f->names[f->n_names].path = path;
	f->names[f->n_names++].home = home;
}

/* The number of a file tells what a name cannot: what a link leads to, and what has another by now. */
static bool names(void *arg, struct file_object *f)
{
	const struct daemon *d = arg;
	const struct object *o =
		d->objects && f->ino ? objects_find(d->objects, f->dev, f->ino) : NULL;

	if (o && o->is_dir)
		o = NULL;
	for (unsigned i = 0; o && i < o->n_names; i++)
		add_name(f, o->names[i].path, o->names[i].home[0] ? o->names[i].home : NULL);
	return o || d->capture_all || !f->n_names || ruleset_wants_path(d->rules, f->names[0].path);
}

/* The egress jail tells of the internet, with BPF-LSM of every socket; else eBPF may. Where nobody does,
 * where it leads is said as the jail would. What has neither address nor path may be one that it told. */
static bool told_elsewhere(void *arg, struct dest_object *dest)
{
	struct daemon *d = arg;

	if (daemon_ebpf_sees(d, KIND_SOCKET_CONNECT) ||
	    (daemon_egress_runs(d) &&
	     (dest->has_addr || !dest->path[0] || daemon_egress_sees_families(d))))
		return true;
	if (!daemon_egress_runs(d))
		daemon_egress_class(d, dest, false);
	return false;
}

bool daemon_audit_sees(const struct daemon *d, enum event_kind kind)
{
	return d->audit && (kind == KIND_FILE_OPENED || kind == KIND_EXEC_OBSERVED ||
			    kind == KIND_SOCKET_CONNECT);
}

bool daemon_audit_tells(const struct daemon *d, const struct subject *subj)
{
	return atomic_load_explicit(&d->audit_running, memory_order_relaxed) &&
	       (!d->audit_from_ns || subj->start_time_ns >= d->audit_from_ns);
}

/* ---- what is left of one that was killed ---------------------------------------------------------- */

/* In the state directory while the kernel may have rules of ours: for the next daemon, which may not have
 * this source, and would not look. */
static char *mark_path(const struct daemon *d)
{
	char *path;

	return asprintf(&path, "%s/audit-rules", d->opt.state_dir) < 0 ? NULL : path;
}

static void leave_mark(struct daemon *d)
{
	_cleanup_free_ char *path = mark_path(d);
	_cleanup_close_ int fd =
		path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;

	d->audit_marked = fd >= 0;
	if (fd < 0)
		log_warning("%s/audit-rules: %s: if this daemon is killed, one without the source audit does not know that "
			    "it left rules", d->opt.state_dir, strerror(errno));
}

static void remove_mark(struct daemon *d)
{
	_cleanup_free_ char *path = mark_path(d);

	if (path)
		unlink(path);
	d->audit_marked = false;
}

void daemon_audit_clean(struct daemon *d)
{
	_cleanup_free_ char *path = mark_path(d);
	struct audit_rules *r = NULL;
	char why[192] = "";
	int err;

	if (!path || access(path, F_OK) < 0)
		return;
	err = audit_rules_open(&r, why, sizeof(why));
	if (!err)
		err = audit_rules_close(r);
	if (err) {
		log_warning("audit is not all that it was, or has rules of ours (key " AUDIT_RULES_KEY "), which an "
			    "earlier daemon left: %s", why[0] ? why : strerror(-err));
		return;
	}
	log_notice("audit: what an earlier daemon left is removed");
	remove_mark(d);
}

/* ---- the source ---------------------------------------------------------------------------------- */

int daemon_audit_open(struct daemon *d, char why[192])
{
	const struct audit_config c = {
		.tree = d->tree,
		.by_user = d->config->audit_by_user,
		.drain = drain,
		.home_of = daemon_home_of,
		.others = daemon_fuse_audit_others,
		.refused = daemon_fuse_audit_refused,
		.names = names,
		.told_elsewhere = told_elsewhere,
		.arg = d,
	};
	int err = audit_open(&c, &d->audit, why);

	if (!err)
		leave_mark(d);
	return err;
}

static void *audit_thread(void *arg)
{
	struct daemon *d = arg;

	pthread_setname_np(pthread_self(), "oknek-audit");
	audit_run(d->audit);
	return NULL;
}

static void watch_member(const struct member *m, void *arg)
{
	daemon_audit_member(arg, m->tgid);
}

static void watch_all(void *arg)
{
	struct daemon *d = arg;

	/* Who was there before has no audit context. */
	if (!d->audit_was_on)
		d->audit_from_ns = clock_boottime_ns();
	proctree_each_member(d->tree, 0, watch_member, d);
}

int daemon_audit_start(struct daemon *d)
{
	struct audit_source_figures f;
	int err;

	if (!d->audit)
		return 0;
	audit_source_figures(d->audit, &f);
	d->audit_was_on = f.rules.enabled;
	err = audit_enable(d->audit);
	if (!err)
		err = loop_call(d->loop, watch_all, d);
	if (!err)
		err = -pthread_create(&d->audit_thread, NULL, audit_thread, d);
	atomic_store(&d->audit_running, err == 0);
	if (err)
		log_error("audit cannot be switched on: %s", strerror(-err));
	else if (!d->audit_was_on)
		log_warning("audit was off, and is on: what ran before this may never be told of by it");
	/* What others hold and see they do all the same; status says that it is off. */
	return d->fanotify || d->ebpf || d->preload ? 0 : err;
}

void daemon_audit_stop(struct daemon *d)
{
	if (!atomic_load(&d->audit_running))
		return;
	audit_stop(d->audit);
	pthread_join(d->audit_thread, NULL);
	atomic_store(&d->audit_running, false);
}

static void give_back(struct daemon *d)
{
	int err = audit_give_back(d->audit);

	if (err)
		log_warning("audit is not all that it was, or has rules of ours (key " AUDIT_RULES_KEY "): %s; the next daemon "
			    "tries again", strerror(-err));
	else if (d->audit_marked)
		remove_mark(d);
	d->audit_marked = false;
}

static void leave(void *arg)
{
	((struct daemon *)arg)->audit_left = true;
}

void daemon_audit_leave(struct daemon *d)
{
	if (!d->audit)
		return;
	daemon_audit_stop(d);
	if (loop_call(d->loop, leave, d) == 0)
		give_back(d);
}

void daemon_audit_close(struct daemon *d)
{
	if (!d->audit)
		return;
	give_back(d);
	d->audit->ops->close(d->audit);
}

/* ---- who ------------------------------------------------------------------------------------------ */

void daemon_audit_member(void *arg, pid_t tgid)
{
	struct daemon *d = arg;
	const struct member *m = d->audit && !d->audit_left ? proctree_find(d->tree, tgid) : NULL;

	if (!m)
		return;
	if (d->audit_from_ns && m->start_time_ns && m->start_time_ns < d->audit_from_ns)
		atomic_fetch_add(&d->audit_unseen, 1);
	audit_watch(d->audit, tgid, m->uid, NULL);
}

void daemon_audit_gone(void *arg, pid_t tgid)
{
	struct daemon *d = arg;

	if (d->audit && !d->audit_left)
		audit_unwatch(d->audit, tgid);
}

void daemon_audit_exec(struct daemon *d, const struct process_exec *e)
{
	const struct member *m = d->audit && !d->audit_left ? proctree_find(d->tree, e->tgid) : NULL;
	const struct tree *t = m ? proctree_tree(d->tree, m->tree_id) : NULL;
	char link[40], exe[4096] = "";
	ssize_t n = 0;

	if (!t)
		return;
	if (t->root_pid == e->tgid) {
		snprintf(link, sizeof(link), "/proc/%d/exe", e->tgid);
		n = readlink(link, exe, sizeof(exe) - 1);
		exe[n > 0 ? n : 0] = '\0';
	}
	audit_watch(d->audit, e->tgid, e->uid == (uid_t)-1 ? m->uid : e->uid, n > 0 ? exe : NULL);
}

void daemon_audit_settle(struct daemon *d)
{
	if (d->audit)
		audit_settle(d->audit, SETTLE_MS);
}

/* ---- figures -------------------------------------------------------------------------------------- */

void daemon_audit_figures(struct daemon *d, json_t *entry)
{
	struct audit_source_figures f;

	audit_source_figures(d->audit, &f);
	json_object_set_new(entry, "kernel",
			    json_pack("{s:b, s:b, s:i, s:I, s:I, s:I, s:I, s:I}", "enabled",
				      f.rules.enabled, "was_off", f.rules.was_off, "owner",
				      (int)f.rules.owner, "lost", (json_int_t)f.rules.lost, "backlog",
				      (json_int_t)f.rules.backlog, "backlog_limit",
				      (json_int_t)f.rules.backlog_limit, "rate_limit",
				      (json_int_t)f.rules.rate_limit, "failure",
				      (json_int_t)f.rules.failure));
	json_object_set_new(entry, "reads", json_string(f.owner ? "unicast" : "multicast"));
	json_object_set_new(entry, "rules",
			    json_pack("{s:i, s:i, s:s, s:b, s:i, s:i}", "count", (int)f.rules.rules,
				      "members", (int)f.rules.members, "scope",
				      f.rules.by_uid ? "user" : "process", "uring", f.rules.uring,
				      "refused", (int)f.rules.refused, "restored",
				      (int)f.rules.restored));
	json_object_set_new(entry, "records", json_integer((json_int_t)f.records));
	json_object_set_new(entry, "strangers", json_integer((json_int_t)f.strangers));
	json_object_set_new(entry, "no_rule", json_integer((json_int_t)f.no_rule));
	json_object_set_new(entry, "partial", json_integer((json_int_t)f.partial));
	json_object_set_new(entry, "cut", json_integer((json_int_t)f.cut));
	json_object_set_new(entry, "unnamed", json_integer((json_int_t)f.unnamed));
	json_object_set_new(entry, "foreign", json_integer((json_int_t)f.foreign));
	json_object_set_new(entry, "overruns", json_integer((json_int_t)f.overruns));
	json_object_set_new(entry, "kernel_lost", json_integer((json_int_t)f.kernel_lost));
	json_object_set_new(entry, "unseen",
			    json_integer((json_int_t)atomic_load(&d->audit_unseen)));
	json_object_set_new(entry, "unconfirmed",
			    json_integer((json_int_t)daemon_fuse_unconfirmed(d)));
}

void daemon_audit_warnings(struct daemon *d, json_t *list)
{
	struct audit_source_figures f;

	if (!d->audit)
		return;
	audit_source_figures(d->audit, &f);
	if (!f.rules.enabled)
		json_array_append_new(list, json_string("audit: somebody has switched it off: it tells "
							"nothing"));
	if (atomic_load(&d->audit_unseen))
		json_array_append_new(list, json_sprintf("audit: %llu processes of watched trees began before audit was "
							 "switched on: what they do themselves it may never tell, what "
							 "their children do it does",
							 (unsigned long long)atomic_load(&d->audit_unseen)));
	if (f.rules.members && !f.rules.uring)
		json_array_append_new(list, json_string("audit: this kernel does not tell of what io_uring does"));
	if (f.unnamed)
		json_array_append_new(list, json_sprintf("audit: %llu files were opened by workers of io_uring, of which the "
							 "kernel tells no name", (unsigned long long)f.unnamed));
	if (f.partial || f.malformed || f.cut)
		json_array_append_new(list, json_sprintf("audit: of %llu events something is missing or not sure, %llu records "
							 "made no sense, and of %llu actions the names had no room",
							 (unsigned long long)f.partial, (unsigned long long)f.malformed,
							 (unsigned long long)f.cut));
	if (f.rules.refused)
		json_array_append_new(list, json_sprintf("audit: the kernel did not take %u rules",
							 f.rules.refused));
	if (f.rules.failure == AUDIT_FAIL_PANIC)
		json_array_append_new(list, json_string("audit: the kernel is to panic when a record is lost (auditctl -f 2): while "
							"that is so no rules are set, and it tells nothing"));
	if (f.rules.rate_limit)
		json_array_append_new(list, json_sprintf("audit: no more than %u records a second are told, the rest is "
							 "lost (auditctl -r)", f.rules.rate_limit));
}

/* ---- losses, on the main thread ---------------------------------------------------------------- */

static void tell_unseen(struct daemon *d)
{
	uint64_t n = atomic_load(&d->audit_unseen);

	if (n == d->audit_told.unseen)
		return;
	log_warning("audit: %llu processes that are watched began before audit was switched on: what "
		    "they do themselves it may never tell",
		    (unsigned long long)(n - d->audit_told.unseen));
	daemon_own_record(d, "O1", "processes without audit",
			  json_pack("{s:s, s:I, s:s}", "source", "audit", "count",
				    (json_int_t)(n - d->audit_told.unseen), "why",
				    "they began before audit was switched on for the first time"));
	d->audit_told.unseen = n;
}

static void tell_foreign(struct daemon *d, const struct audit_source_figures *f)
{
	if (!f->foreign || d->audit_told.foreign)
		return;
	d->audit_told.foreign = true;
	log_warning("audit: somebody else than the kernel sends records to us, which are passed over");
	daemon_own_record(d, "O1", "records not sent by the kernel",
			  json_pack("{s:s, s:s}", "source", "audit", "why",
				    "somebody sends audit records to the daemon; others after this one are only "
				    "counted"));
}

static bool told_lately(uint64_t at_ns, uint64_t now_ns)
{
	return at_ns && now_ns - at_ns < TELL_LOST_NS;
}

static void tell_lost(struct daemon *d, const struct audit_source_figures *f, uint64_t now_ns)
{
	uint64_t overruns = f->overruns - d->audit_told.overruns;
	uint64_t lost = f->kernel_lost > d->audit_told.kernel_lost ?
				f->kernel_lost - d->audit_told.kernel_lost : 0;

	if ((!overruns && !lost) || told_lately(d->audit_told.at_ns, now_ns))
		return;
	log_warning("audit: the kernel lost %llu records, and our socket had no room %llu times",
		    (unsigned long long)lost, (unsigned long long)overruns);
	daemon_own_record(d, "O1", "audit records lost",
			  json_pack("{s:s, s:I, s:I, s:I, s:I, s:s}", "source", "audit", "kernel_lost",
				    (json_int_t)lost, "overruns", (json_int_t)overruns, "kernel_lost_total",
				    (json_int_t)f->kernel_lost, "overruns_total", (json_int_t)f->overruns,
				    "why", "more was audited on this host than could be told"));
	d->audit_told.overruns = f->overruns;
	d->audit_told.kernel_lost = f->kernel_lost;
	d->audit_told.at_ns = now_ns;
}

static void tell_incomplete(struct daemon *d, const struct audit_source_figures *f, uint64_t now_ns)
{
	uint64_t partial = f->partial - d->audit_told.partial;
	uint64_t malformed = f->malformed - d->audit_told.malformed;
	uint64_t cut = f->cut - d->audit_told.cut;

	if ((!partial && !malformed && !cut) || told_lately(d->audit_told.incomplete_at_ns, now_ns))
		return;
	log_warning("audit: of %llu events something is missing or not sure, %llu records made no sense, and of %llu "
		    "actions the names had no room", (unsigned long long)partial, (unsigned long long)malformed,
		    (unsigned long long)cut);
	daemon_own_record(d, "O1", "audit events incomplete",
			  json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "source", "audit", "partial",
				    (json_int_t)partial, "malformed", (json_int_t)malformed, "cut",
				    (json_int_t)cut, "partial_total", (json_int_t)f->partial,
				    "malformed_total", (json_int_t)f->malformed, "cut_total",
				    (json_int_t)f->cut, "why",
				    "records did not tell all that was done, or there was more than there is room for"));
	d->audit_told.partial = f->partial;
	d->audit_told.malformed = f->malformed;
	d->audit_told.cut = f->cut;
	d->audit_told.incomplete_at_ns = now_ns;
}

void daemon_audit_tick(struct daemon *d, uint64_t now_ns)
{
	struct audit_source_figures f;

	if (!atomic_load(&d->audit_running) || now_ns - d->audit_told.looked_ns < LOOK_NS)
		return;
	d->audit_told.looked_ns = now_ns;
	tell_unseen(d);
	audit_source_figures(d->audit, &f);
	tell_foreign(d, &f);
	tell_lost(d, &f, now_ns);
	tell_incomplete(d, &f, now_ns);
}
