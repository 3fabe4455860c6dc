/* SPDX-License-Identifier: Apache-2.0 */
/* Opens everything in the order that privilege and forks demand, and closes it in reverse. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "sources/audit.h"
#include "sources/ebpf.h"
#include "tools/daemon.h"

#define NOTICE_PIPE_BYTES (1 << 20)
#define LOCK_WAIT_MS 5000
#define LOCK_RETRY_MS 20
#define LAST_BATCHES 64

/* --- directories, limits ------------------------------------------------------------------ */

static int make_dir(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST) {
		log_error("%s cannot be made: %s", path, strerror(errno));
		return -errno;
	}
	return 0;
}

/*
 * One daemon for one run directory: two would answer for each other's trees. The lock of one that
 * died is held until its guardian has closed what they shared, which is a moment.
 */
static int lock_run_dir(const char *run_dir, int wait_ms)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/oknekd.lock", run_dir) < 0)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		log_error("%s: %s", path, strerror(errno));
		return -errno;
	}
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (wait_ms > 0) {
			poll(NULL, 0, LOCK_RETRY_MS);
			wait_ms -= LOCK_RETRY_MS;
			continue;
		}
		log_error("another oknekd runs with --run-dir %s", run_dir);
		close(fd);
		return -EBUSY;
	}
	return 0; /* held until the process ends */
}

/* --- parts -------------------------------------------------------------------------------- */

static void store_health(void *arg, bool ok, const char *why)
{
	struct daemon *d = arg;

	if (!ok)
		log_error("evidence cannot be stored: %s; verdicts go on", why);
	else if (d->store_failed)
		log_notice("evidence is being stored again");
	d->store_failed = !ok;
}

static void marks_gap_seen(void *arg, const char *path, const char *why)
{
	struct daemon *d = arg;
	json_t *g = json_pack("{s:s, s:s}", "path", path, "why", why);

	log_warning("not protected: %s: %s", path, why);
	daemon_own_record(d, "O1", "not protected",
			  g ? g : json_pack("{s:s}", "why", why));
}

static int open_evidence(struct daemon *d)
{
	struct store_config sc = {
		.state_dir = d->opt.state_dir,
		.max_size_bytes = d->config->max_size_bytes,
		.health = store_health,
		.arg = d,
	};
	_cleanup_free_ char *path = NULL;
	int err;

	if (asprintf(&path, "%s/journal", d->opt.run_dir) < 0)
		return -ENOMEM;
	err = journal_open(path, JOURNAL_SIZE_DEFAULT, &d->journal);
	if (err) {
		log_error("%s: %s", path, strerror(-err));
		return err;
	}
	err = store_open(&sc, d->journal, &d->store);
	if (err)
		log_error("%s: %s", d->opt.state_dir, strerror(-err));
	return err;
}

static int open_marks(struct daemon *d)
{
	struct marks_config mc = {
		.lookup = d->mark_lookup,
		.objects = d->objects,
		.queue = d->queue,
		.groups = &d->groups,
		.labels_only = d->follow != NULL,
		.state_dir = d->opt.state_dir,
		.config = d->config,
		.guarded = d->fanotify ? daemon_is_guarded : NULL,
		.label = daemon_lsm_label,
		.program = daemon_lsm_program,
		.pathset = ruleset_pathset(d->rules),
		.programs_wanted = ruleset_programs(d->rules),
		.programs = d->programs,
		.mode = (enum mode)atomic_load(&d->mode),
		.gap = marks_gap_seen,
		.home = daemon_home_known,
		.arg = d,
	};

	return marks_open(&mc, &d->marks);
}

/* --- start -------------------------------------------------------------------------------- */

/* A name that nobody tells gives nobody a right. */
static size_t find_roles(struct daemon *d)
{
	size_t n = 0;

	for (size_t i = 0; i < d->config->n_roles; i++) {
		const struct config_role *r = &d->config->roles[i];
		uint32_t id = r->number;
		int err = 0;

		if (r->name)
			err = !d->process_lookup ? -ENOSYS :
			      r->group ? lookup_group(d->process_lookup, r->name, PROCESS_WAIT_MS, &id) :
					 lookup_uid(d->process_lookup, r->name, PROCESS_WAIT_MS, &id);
		if (err < 0)
			log_warning("%s:%u: roles: %s %s has none: %s", r->at.file, r->at.line,
				    r->group ? "group" : "user", r->name,
				    err == -ENOENT ? "there is no such" : strerror(-err));
		else
			d->roles[n++] = (struct control_role){ r->role, r->group, id };
	}
	return n;
}

static int open_control(struct daemon *d)
{
	struct control_config cc = {
		.run_dir = d->opt.run_dir,
		.group = (gid_t)-1,
		.commands = daemon_commands,
		.arg = d,
		.is_member = daemon_is_member,
		.refused = daemon_refused,
	};
	int err;

	if (d->process_lookup &&
	    lookup_group(d->process_lookup, d->config->group, PROCESS_WAIT_MS, &cc.group) < 0)
		cc.group = (gid_t)-1;
	cc.roles = d->roles;
	cc.n_roles = find_roles(d);
	err = control_open(&cc, &d->control);
	if (err)
		log_error("%s/" CONTROL_SOCKET ": %s", d->opt.run_dir, strerror(-err));
	return err;
}

static int load_first_rules(struct daemon *d)
{
	struct rules_error err = { "" };
	int r = daemon_load_rules(d, &d->rules, &err);

	if (r < 0) {
		log_plain(err.text[0] ? err.text : strerror(-r));
		return EXIT_CONFIG;
	}
	daemon_notice_expired(d->rules, time(NULL), NULL);
	if (daemon_egress_apply(d, d->config, d->rules, err.text, sizeof(err.text)) < 0) {
		log_plain(err.text);
		return EXIT_CONFIG;
	}
	daemon_egress_mode(d);
	daemon_lsm_prepare(d, d->rules);
	daemon_lsm_serve(d);
	daemon_lsm_settle(d, true);
	daemon_lsm_mode(d);
	return daemon_unenforceable(d) ? EXIT_UNAVAILABLE : EXIT_DONE;
}

/*
 * Priority and capabilities belong to a thread and are inherited by those it makes: capabilities
 * are dropped before there is any, and the verdict thread is made while ours is raised.
 */
static int start_threads(struct daemon *d)
{
	int err;

	/* The first guardian has its priority from the start, and no thread of ours beside it. */
	if (d->fanotify) {
		daemon_prepare_guardian(d);
		err = daemon_guardian_start(d);
		if (err)
			return err;
		daemon_raise_priority();
	}
	daemon_egress_pin(d);
	err = daemon_drop_privileges(d);
	if (!err && d->fanotify)
		daemon_guardian_start_maker(d);
	daemon_verdict_priority();
	if (!err)
		err = daemon_start_verdicts(d);
	daemon_ordinary_priority();
	if (!err)
		daemon_confine(d);
	if (!err)
		err = store_start(d->store);
	if (!err)
		err = daemon_capture_start(d);
	if (!err)
		err = daemon_egress_start(d);
	if (!err && d->marks)
		err = marks_start(d->marks);
	if (!err)
		err = daemon_recheck_start(d);
	if (!err)
		err = daemon_halt_start(d);
	if (!err)
		err = daemon_bulk_start(d);
	if (!err)
		err = daemon_audit_start(d);
	if (!err && daemon_watches(d)) {
		err = daemon_scan_start(d);
		if (!err)
			daemon_resume_trees(d);
		if (!err)
			err = daemon_identify_start(d);
	}
	/* Ready: whoever is answered from here on finds what is to be watched watched. */
	if (!err)
		err = control_start(d->control);
	if (!err)
		daemon_guardian_take_over(d);
	if (!err)
		daemon_egress_take_over(d);
	return err;
}

int daemon_start(struct daemon *d)
{
	struct daemon_wanted w = { 0 };
	int status, err;

	if (daemon_choose_sources(d, &w) < 0)
		return EXIT_USAGE;
	if ((w.fanotify || w.ebpf || w.audit) && geteuid() != 0 && !w.replay) {
		log_error("%s needs root; only --source=replay:FILE runs without",
			  w.fanotify ? "fanotify" : w.ebpf ? "ebpf" : "audit");
		return EXIT_NOPERM;
	}
	if (zone_load_within(&d->zone, ZONE_WAIT_MS) < 0)
		log_warning("the local time zone cannot be read: rules see UTC");
	err = make_dir(d->opt.run_dir, 0755);
	if (err == -EACCES && geteuid() != 0)
		return EXIT_NOPERM;
	if (err < 0 || daemon_guardian_find(d) < 0 ||
	    lock_run_dir(d->opt.run_dir, d->old_guardian ? LOCK_WAIT_MS : 0) < 0)
		return EXIT_UNAVAILABLE;
	make_dir(d->opt.state_dir, 0700);
	daemon_raise_limits(d);
	/* Before threads, and before there is a group that a child could keep alive. */
	err = lookup_open(LOOKUP_PATHS, &d->mark_lookup);
	if (!err)
		err = lookup_open(LOOKUP_PROCESSES, &d->process_lookup);
	if (!err && w.fanotify)
		err = daemon_peek_prepare(d);
	if (!err && (w.fanotify || w.ebpf || w.audit || w.preload))
		err = daemon_egress_prepare(d, w.fanotify || w.ebpf);
	if (!err && (w.fanotify || w.ebpf || w.audit))
		daemon_halt_prepare(d);
	if (err) {
		log_error("helper processes cannot be started: %s", strerror(-err));
		return EXIT_UNAVAILABLE;
	}
	if (pipe2(d->notice_fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return EXIT_UNAVAILABLE;
	fcntl(d->notice_fd[1], F_SETPIPE_SZ, NOTICE_PIPE_BYTES);
	d->identify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->scan_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->identify_fd < 0 || d->scan_fd < 0)
		return EXIT_UNAVAILABLE;
	if (loop_new(&d->loop) < 0 || open_evidence(d) < 0)
		return EXIT_UNAVAILABLE;
	atomic_store(&d->mode, d->opt.mode >= 0 ? d->opt.mode : (int)d->config->mode);
	atomic_store(&d->mode_now, atomic_load(&d->mode));
	status = daemon_open_sources(d, &w);
	if (!status)
		daemon_egress_open(d);
	if (!status)
		daemon_ebpf_network(d);
	if (!status)
		daemon_lsm_open(d);
	if (!status)
		daemon_follow_for_audit(d);
	if (!status && (daemon_fuse_open(d) < 0 || daemon_recheck_open(d) < 0 ||
			daemon_hold_open(d) < 0))
		status = EXIT_UNAVAILABLE;
	if (!status)
		status = load_first_rules(d);
	if (status)
		return status;
	d->bus = (struct bus){
		.decide = daemon_decide,
		.decide_arg = d,
		.enforcer = d->enforcer,
		.recorder = journal_recorder(d->journal),
		.mode = daemon_mode_now,
		.enforced = daemon_is_proof,
		.mode_arg = d,
		.before = daemon_fuse_before,
		.named = daemon_fuse_named,
		.after = daemon_after,
		.fuse_arg = d,
		.operator = daemon_operator,
		.operator_arg = d,
	};
	daemon_capture(d, &d->config->capture);
	if (((d->fanotify || d->follow) && open_marks(d) < 0) || open_control(d) < 0)
		return EXIT_UNAVAILABLE;
	if (d->fanotify && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		log_warning("memory cannot be locked: %s", strerror(errno));
	err = start_threads(d);
	if (err) {
		log_error("threads cannot be started: %s", strerror(-err));
		return EXIT_UNAVAILABLE;
	}
	return EXIT_DONE;
}

/* --- stop --------------------------------------------------------------------------------- */

void daemon_stop(struct daemon *d)
{
	if (d->control)
		control_close(d->control);
	daemon_threads_stop(d);
	daemon_egress_stop(d);
	/* Marks first: nobody asks any more. Then what was asked is answered, the group closed. */
	if (d->marks)
		marks_stop(d->marks);
	if (d->verdict_running)
		daemon_last_chance(d);
	daemon_halt_end(d);
	daemon_recheck_stop(d);
	daemon_bulk_stop(d);
	daemon_audit_stop(d);
	if (d->verdict_running) {
		loop_stop(d->loop);
		pthread_join(d->verdict_thread, NULL);
	}
	for (int i = 0; d->verdict_running && i < LAST_BATCHES; i++)
		daemon_egress_dispatch(d); /* what was denied while we were ending */
	daemon_lsm_stop(d);
	/* Nobody would record whom the kernel kills from here on. */
	if (d->ebpf) {
		ebpf_exec_enforce(d->ebpf, false);
		ebpf_exec_forget_all(d->ebpf);
	}
	if (d->fanotify)
		fanotify_finish(d->fanotify, &d->bus);
	if (d->ebpf && d->verdict_running)
		ebpf_finish(d->ebpf, &d->bus);
	if (d->audit && d->verdict_running)
		audit_finish(d->audit, &d->bus);
	if (d->fanotify) {
		daemon_guardian_stop(d);
		d->fanotify->ops->close(d->fanotify);
	}
	if (d->follow)
		d->follow->ops->close(d->follow);
	if (d->ebpf)
		d->ebpf->ops->close(d->ebpf);
	daemon_audit_close(d);
	daemon_recheck_close(d);
	free(d->fuse);
	free(d->fuse_audit);
	daemon_hold_close(d);
	daemon_halt_close(d);
	if (d->replay)
		d->replay->ops->close(d->replay);
	if (d->preload)
		d->preload->ops->close(d->preload);
	daemon_capture_stop(d);
	marks_free(d->marks);
	if (d->enforcer)
		d->enforcer->ops->close(d->enforcer);
	daemon_egress_close(d);
	daemon_lsm_close(d);
	if (d->feed)
		process_feed_close(d->feed);
	if (d->tree)
		proctree_close(d->tree);
	if (d->store)
		store_close(d->store, STORE_CLOSE_MS);
	if (d->journal)
		journal_close(d->journal);
	watch_queue_free(d->queue);
	permission_table_free(d->permissions);
	objects_free(d->objects);
	programs_free(d->programs);
	defaults_free(d->defaults);
	ruleset_unref(d->rules);
	loop_free(d->loop);
	confine_program_free(d->guardian_calls);
	daemon_peek_close(d);
	if (d->process_lookup)
		lookup_close(d->process_lookup);
	if (d->mark_lookup)
		lookup_close(d->mark_lookup);
}
