/* SPDX-License-Identifier: Apache-2.0 */
/* Opens everything in the order that privilege and forks demand, and closes it in reverse. */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "enforce/permission.h"
#include "enforce/permissive.h"
#include "sources/replay.h"
#include "tools/daemon.h"

#define DESCRIPTORS 65536
#define DESCRIPTORS_MIN 4096 /* 1,088 held events, marks in the making, connections */
#define NOTICE_PIPE_BYTES (1 << 20)
#define VERDICT_NICE (-20)
#define CLOSE_WAIT_MS 5000
#define RESUME_WAIT_MS 30000 /* a service manager waits 90 s for a start */

/* --- which sources ------------------------------------------------------------------------ */

static const char *const later_sources[] = { "ebpf", "audit", "preload" };

static void refuse_source(struct daemon *d, const char *name, const char *why)
{
	struct unavailable *u;

	if (d->n_unavailable == SOURCES_MAX)
		return;
	u = &d->unavailable[d->n_unavailable++];
	snprintf(u->name, sizeof(u->name), "%s", name);
	snprintf(u->why, sizeof(u->why), "%s", why);
}

struct wanted {
	bool fanotify;
	char *replay;
};

static int want(struct daemon *d, struct wanted *w, char *name)
{
	if (!strcmp(name, "fanotify")) {
		w->fanotify = true;
		return 0;
	}
	if (!strncmp(name, "replay:", 7) && name[7]) {
		w->replay = name + 7;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(later_sources); i++)
		if (!strcmp(name, later_sources[i])) {
			refuse_source(d, name, "not part of this version");
			return 0;
		}
	log_error("--source: %s is not a source; there are fanotify and replay:FILE", name);
	return -EINVAL;
}

static int choose_sources(struct daemon *d, struct wanted *w)
{
	char *save = NULL;

	if (d->opt.sources) {
		for (char *s = strtok_r(d->opt.sources, ",", &save); s;
		     s = strtok_r(NULL, ",", &save))
			if (want(d, w, s) < 0)
				return -EINVAL;
	} else {
		for (char **s = d->config->sources; s && *s; s++)
			if (want(d, w, *s) < 0)
				return -EINVAL;
		w->fanotify |= !d->config->sources || !d->config->sources[0];
	}
	return 0;
}

/* --- directories, limits ------------------------------------------------------------------ */

static int make_dir(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST) {
		log_error("%s cannot be made: %s", path, strerror(errno));
		return -errno;
	}
	return 0;
}

/* One daemon for one run directory: two would answer for each other's trees. */
static int lock_run_dir(const char *run_dir)
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
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		log_error("another oknekd runs with --run-dir %s", run_dir);
		close(fd);
		return -EBUSY;
	}
	return 0; /* held until the process ends */
}

/* As high as we are let: RLIMIT_* above the hard limit takes CAP_SYS_RESOURCE, which containers
 * and some hosts keep from root. Returns what is in force. */
static rlim_t raise_limit(int resource, rlim_t want)
{
	struct rlimit now, new = { want, want };

	if (getrlimit(resource, &now) < 0)
		return 0;
	if (now.rlim_max > want && resource != RLIMIT_MEMLOCK)
		new.rlim_max = now.rlim_max;
	if (setrlimit(resource, &new) == 0)
		return want;
	new.rlim_cur = new.rlim_max = now.rlim_max;
	return setrlimit(resource, &new) == 0 ? now.rlim_max : now.rlim_cur;
}

static void raise_limits(struct daemon *d)
{
	struct rlimit core = { 0, 0 };

	/* Without room for descriptors the kernel itself refuses innocent openers. */
	if (raise_limit(RLIMIT_NOFILE, DESCRIPTORS) < DESCRIPTORS_MIN)
		log_warning("fewer than %d descriptors are allowed: raise LimitNOFILE",
			    DESCRIPTORS_MIN);
	d->memory_unlimited = raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY) == RLIM_INFINITY;
	/* Whoever dumps our core may open a file that waits for our answer. */
	setrlimit(RLIMIT_CORE, &core);
	prctl(PR_SET_DUMPABLE, 0);
}

static int drop_privileges(const struct daemon *d)
{
	uint64_t keep = 0;

	if (geteuid() != 0)
		return 0;
	if (d->fanotify)
		keep |= d->fanotify->ops->caps;
	if (d->feed)
		keep |= process_feed_caps(d->feed);
	/* All of our memory is locked; a limit would let later allocations fail. */
	if (!d->memory_unlimited)
		keep |= 1ULL << CAP_IPC_LOCK;
	capng_clear(CAPNG_SELECT_BOTH);
	for (int cap = 0; cap < 64; cap++)
		if (keep & 1ULL << cap)
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)cap);
	if (capng_apply(CAPNG_SELECT_BOTH) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		log_error("capabilities cannot be dropped");
		return -EPERM;
	}
	return 0;
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

static struct pathset *pathset_in_force(void *arg)
{
	return ruleset_pathset(((struct daemon *)arg)->rules);
}

static int open_feed(struct daemon *d)
{
	struct process_feed_handler h = { .exec = daemon_on_exec,
					  .strangers = d->config->recognise, .arg = d };
	_cleanup_free_ char *path = NULL;
	int err;

	if (asprintf(&path, "%s/members", d->opt.run_dir) < 0)
		return -ENOMEM;
	err = proctree_open(path, &d->tree);
	if (err) {
		log_error("%s: %s", path, strerror(-err));
		return err;
	}
	err = process_feed_open(NULL, d->tree, &h, &d->feed, d->feed_why);
	if (err)
		log_error("no process feed: %s (%s)", d->feed_why, strerror(-err));
	else if (d->feed_why[0])
		log_warning("process feed: %s", d->feed_why);
	return err;
}

/* The groups and what they need; a failure here leaves the daemon without this source. */
static int open_fanotify(struct daemon *d)
{
	struct fanotify_config fc = {
		.deadline_ns = d->config->deadline_ns,
		.on_timeout = d->config->on_timeout,
		.pathset = pathset_in_force,
		.home_of = daemon_home_of,
		.reader_candidate = daemon_reader_candidate,
		.feed_lost = daemon_feed_lost,
		.arg = d,
	};
	int err = objects_new(&d->objects);

	if (!err)
		err = permission_table_new(&d->permissions);
	if (!err)
		err = watch_queue_new(&d->queue);
	if (!err)
		err = open_feed(d);
	if (err)
		return err;
	fc.objects = d->objects;
	fc.permissions = d->permissions;
	fc.queue = d->queue;
	fc.tree = d->tree;
	fc.feed = d->feed;
	err = fanotify_open(&fc, &d->fanotify, &d->groups);
	if (err) {
		refuse_source(d, "fanotify",
			      err == -EPERM ? "CAP_SYS_ADMIN is missing" :
			      err == -ENOSYS || err == -EINVAL ?
					      "this kernel has no fanotify permission events" :
					      strerror(-err));
		return err;
	}
	return permission_enforcer_open(d->permissions, &d->enforcer);
}

static int open_marks(struct daemon *d)
{
	struct marks_config mc = {
		.lookup = d->mark_lookup,
		.objects = d->objects,
		.queue = d->queue,
		.groups = &d->groups,
		.state_dir = d->opt.state_dir,
		.config = d->config,
		.pathset = ruleset_pathset(d->rules),
		.mode = (enum mode)atomic_load(&d->mode),
		.gap = marks_gap_seen,
		.home = daemon_home_known,
		.arg = d,
	};

	return marks_open(&mc, &d->marks);
}

/* --- the verdict thread ------------------------------------------------------------------- */

static void dispatch_fanotify(void *arg)
{
	struct daemon *d = arg;

	d->fanotify->ops->dispatch(d->fanotify, &d->bus);
}

/* Between batches, when nobody waits for an answer: what the feed has put off. */
static void dispatch_feed(void *arg)
{
	struct daemon *d = arg;

	dispatch_fanotify(d);
	process_feed_settle(d->feed);
}

static void dispatch_replay(void *arg)
{
	struct daemon *d = arg;

	if (d->replay->ops->dispatch(d->replay, &d->bus) == 0)
		atomic_store(&d->replay_done, 1);
}

static uint64_t next_deadline(void *arg)
{
	const struct daemon *d = arg;

	return d->fanotify ? fanotify_next_deadline(d->fanotify) : UINT64_MAX;
}

static void expire(void *arg, uint64_t now_ns)
{
	struct daemon *d = arg;

	if (d->fanotify)
		fanotify_expire(d->fanotify, &d->bus, now_ns);
}

static void *verdict_thread(void *arg)
{
	struct daemon *d = arg;
	int err;

	pthread_setname_np(pthread_self(), "oknek-verdict");
	err = loop_run(d->loop);
	if (err)
		log_error("verdict loop: %s", strerror(-err));
	return NULL;
}

static int start_verdicts(struct daemon *d)
{
	struct loop_timer timer = { next_deadline, expire, d };
	int err = 0;

	if (d->fanotify) {
		err = loop_add(d->loop, d->fanotify->ops->fd(d->fanotify), dispatch_fanotify, d);
		if (!err)
			err = loop_add(d->loop, process_feed_fd(d->feed), dispatch_feed, d);
	}
	if (!err && d->replay)
		err = loop_add(d->loop, d->replay->ops->fd(d->replay), dispatch_replay, d);
	if (!err && d->fanotify)
		err = d->fanotify->ops->start(d->fanotify);
	if (!err && d->replay)
		err = d->replay->ops->start(d->replay);
	if (err)
		return err;
	loop_set_timer(d->loop, &timer);
	err = -pthread_create(&d->verdict_thread, NULL, verdict_thread, d);
	d->verdict_running = err == 0;
	return err;
}

/* --- start -------------------------------------------------------------------------------- */

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
		fprintf(stderr, "%s\n", err.text[0] ? err.text : strerror(-r));
		return EXIT_CONFIG;
	}
	return EXIT_DONE;
}

static void replay_line_bad(void *arg, const char *text)
{
	(void)arg;
	log_error("%s", text);
}

static int open_replay(struct daemon *d, const char *path)
{
	int err = replay_open(path, replay_line_bad, NULL, &d->replay);

	if (err) {
		log_error("%s: %s", path, strerror(-err));
		refuse_source(d, "replay", strerror(-err));
	}
	return err;
}

static int open_sources(struct daemon *d, const struct wanted *w)
{
	if (w->replay)
		open_replay(d, w->replay);
	if (w->fanotify)
		open_fanotify(d);
	if (!d->enforcer && permissive_open(&d->enforcer) < 0)
		return EXIT_UNAVAILABLE;
	if (!d->fanotify && !d->replay) {
		log_error("no source works here");
		for (unsigned i = 0; i < d->n_unavailable; i++)
			log_error("%s: %s", d->unavailable[i].name, d->unavailable[i].why);
		return EXIT_UNAVAILABLE;
	}
	return EXIT_DONE;
}

/*
 * Each answer wakes all who wait in the kernel for one: a verdict thread that any of them can
 * preempt answers 5,000 openers in 45 s, one of the lowest real-time priority in a few. The kernel's
 * throttle of real-time threads (95 %) stays between it and the rest of the host.
 */
static void raise_priority(void)
{
	struct sched_param rr = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_RR, &rr) == 0)
		return;
	if (setpriority(PRIO_PROCESS, 0, VERDICT_NICE) < 0)
		log_warning("verdict thread keeps ordinary priority: %s", strerror(errno));
}

static void ordinary_priority(void)
{
	struct sched_param none = { 0 };

	sched_setscheduler(0, SCHED_OTHER, &none);
	setpriority(PRIO_PROCESS, 0, 0);
}

struct track_call {
	struct daemon *d;
	bool failed;
};

static void track_member(const struct member *m, void *arg)
{
	struct track_call *c = arg;
	int err = process_feed_track(c->d->feed, m->tgid, m->tree_id);

	c->failed |= err < 0 && err != -ESRCH;
}

static void track_all(void *arg)
{
	struct track_call *c = arg;

	proctree_each_member(c->d->tree, 0, track_member, c);
	if (c->failed)
		fanotify_feed_gap(c->d->fanotify);
}

static void note_gap(void *arg)
{
	fanotify_feed_gap(((struct daemon *)arg)->fanotify);
}

/*
 * Trees that an earlier daemon watched are watched from the start, and their secrets marked before
 * we are ready. All of them together may take RESUME_WAIT_MS: what takes longer is marked in the
 * background, and told.
 */
static void resume_trees(struct daemon *d)
{
	uint64_t until_ns = clock_boottime_ns() + RESUME_WAIT_MS * NSEC_PER_MSEC;
	_cleanup_free_ struct tree_place *places = NULL;
	struct track_call track = { .d = d };
	unsigned found, late = 0;
	size_t n;

	if (loop_call(d->loop, track_all, &track) < 0)
		return;
	places = daemon_tree_places(d, &n);
	if (!n)
		return;
	if (daemon_rescan(d, &found) < 0)
		loop_call(d->loop, note_gap, d);
	for (size_t i = 0; i < n; i++) {
		struct marks_watch w = { .uid = places[i].uid, .env_home = places[i].home,
					 .project = places[i].cwd };
		uint64_t now_ns = clock_boottime_ns();
		uint64_t left_ms = now_ns < until_ns ? (until_ns - now_ns) / NSEC_PER_MSEC : 0;

		if (marks_watch(d->marks, &w, left_ms < MARKS_WAIT_MS ? (int)left_ms + 1 :
									MARKS_WAIT_MS) < 0)
			late++;
		if (w.homes[0][0])
			daemon_home_known(d, w.uid, w.homes[0]);
	}
	log_notice("%zu watched trees go on from before the restart", n);
	if (late)
		log_warning("of %u of them not every protected path is marked yet", late);
	daemon_own_record(d, "O1", "restart",
			  json_pack("{s:i, s:i, s:s}", "trees", (int)n, "marks_late", (int)late,
				    "why",
				    "nothing was watched between the last daemon and this one"));
}

/*
 * Priority and capabilities belong to a thread and are inherited by those it makes: capabilities
 * are dropped before there is any, and the verdict thread is made while ours is raised.
 */
static int start_threads(struct daemon *d)
{
	int err;

	if (d->fanotify)
		raise_priority();
	err = drop_privileges(d);
	if (!err)
		err = start_verdicts(d);
	ordinary_priority();
	if (!err)
		err = store_start(d->store);
	if (!err && d->marks)
		err = marks_start(d->marks);
	if (!err && d->fanotify) {
		err = daemon_scan_start(d);
		if (!err)
			resume_trees(d);
		if (!err)
			err = daemon_identify_start(d);
	}
	/* Ready: whoever is answered from here on finds what is to be watched watched. */
	if (!err)
		err = control_start(d->control);
	return err;
}

int daemon_start(struct daemon *d)
{
	struct wanted w = { 0 };
	int status, err;

	if (choose_sources(d, &w) < 0)
		return EXIT_USAGE;
	if (w.fanotify && geteuid() != 0 && !w.replay) {
		log_error("fanotify needs root; only --source=replay:FILE runs without");
		return EXIT_NOPERM;
	}
	if (zone_load(&d->zone) < 0)
		log_warning("the local time zone cannot be read: rules see UTC");
	err = make_dir(d->opt.run_dir, 0755);
	if (err == -EACCES && geteuid() != 0)
		return EXIT_NOPERM;
	if (err < 0 || lock_run_dir(d->opt.run_dir) < 0)
		return EXIT_UNAVAILABLE;
	make_dir(d->opt.state_dir, 0700);
	raise_limits(d);
	/* Before threads, and before there is a group that a child could keep alive. */
	err = lookup_open(&d->mark_lookup);
	if (!err)
		err = lookup_open(&d->process_lookup);
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
	status = open_sources(d, &w);
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
		.mode_arg = d,
	};
	if ((d->fanotify && open_marks(d) < 0) || open_control(d) < 0)
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
	/* Marks first: nobody asks any more. Then what was asked is answered, the group closed. */
	if (d->marks)
		marks_stop(d->marks);
	if (d->verdict_running) {
		loop_stop(d->loop);
		pthread_join(d->verdict_thread, NULL);
	}
	if (d->fanotify) {
		fanotify_finish(d->fanotify, &d->bus);
		d->fanotify->ops->close(d->fanotify);
	}
	if (d->replay)
		d->replay->ops->close(d->replay);
	marks_free(d->marks);
	if (d->enforcer)
		d->enforcer->ops->close(d->enforcer);
	if (d->feed)
		process_feed_close(d->feed);
	if (d->tree)
		proctree_close(d->tree);
	if (d->store)
		store_close(d->store, CLOSE_WAIT_MS);
	if (d->journal)
		journal_close(d->journal);
	watch_queue_free(d->queue);
	permission_table_free(d->permissions);
	objects_free(d->objects);
	ruleset_unref(d->rules);
	loop_free(d->loop);
	if (d->process_lookup)
		lookup_close(d->process_lookup);
	if (d->mark_lookup)
		lookup_close(d->mark_lookup);
}
