/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guardian of this daemon, and that of the one before: what they are given, when they are
 * started, looked after and ended.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "sources/bpf/wire.h"
#include "sources/ebpf.h"
#include "sources/process_feed.h"
#include "tools/daemon.h"

#define REPLACE_WAIT_MS 12000 /* it writes down its evidence first */
#define END_WAIT_MS 2000
#define ADOPT_PASSES 16
#define START_AGAIN_NS (5 * NSEC_PER_SEC)

/* --- what the guardian's process calls: no allocation, no lock ------------------------------ */

static int map_call(int command, int map_fd, uint32_t *key, void *value)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = (uint32_t)map_fd;
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)value; /* the same place as next_key */
	return syscall(SYS_bpf, command, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

static int64_t kernel_tree(void *arg, pid_t pid)
{
	const struct daemon *d = arg;
	struct wire_member entry = { 0 };
	uint32_t key = (uint32_t)pid;
	int err = map_call(BPF_MAP_LOOKUP_ELEM, d->members_fd, &key, &entry);

	return err == -ENOENT ? 0 : err ? err : (int64_t)entry.tree_id;
}

static pid_t next_in(int map_fd, pid_t prev)
{
	uint32_t key = (uint32_t)prev, next = 0;
	int err = map_call(BPF_MAP_GET_NEXT_KEY, map_fd, prev ? &key : NULL, &next);

	return err == -ENOENT ? 0 : err ? err : (pid_t)next;
}

static pid_t kernel_next(void *arg, pid_t prev)
{
	return next_in(((const struct daemon *)arg)->members_fd, prev);
}

static void own_record(void *arg, const char *name, const char *json)
{
	journal_own(((const struct daemon *)arg)->journal, "O1", name, json);
}

/* --- ours ----------------------------------------------------------------------------------- */

/* In the guardian's process, which has the same memory of the eBPF source. */
static void exec_allowed(void *arg, pid_t tgid)
{
	const struct daemon *d = arg;

	if (d->ebpf)
		ebpf_exec_forget(d->ebpf, tgid);
}

int daemon_guardian_start(struct daemon *d)
{
	struct guardian_config c = {
		.exec_allowed = exec_allowed,
		.group_fd = d->groups.permission,
		.permissions = d->permissions,
		.tree = d->tree,
		.defaults = d->defaults,
		.recorder = journal_recorder(d->journal),
		.own_record = own_record,
		.settle = daemon_settle_guardian,
		.arg = d,
		.wake_fd = d->queue->done_fd,
		.deadline_ns = d->config->deadline_ns,
		.on_timeout = d->config->on_timeout,
	};
	int err;

	d->members_fd = c.members_fd = process_feed_members_fd(d->feed);
	if (d->members_fd >= 0) {
		c.kernel_tree = kernel_tree;
		c.kernel_next = kernel_next;
		c.n_keep = process_feed_kept_fds(d->feed, c.keep, GUARDIAN_KEEP_MAX);
		c.n_keep += daemon_egress_kept(d, c.keep + c.n_keep, GUARDIAN_KEEP_MAX - c.n_keep);
		c.n_keep += daemon_lsm_kept(d, c.keep + c.n_keep, GUARDIAN_KEEP_MAX - c.n_keep);
	}
	err = guardian_new(&c, daemon_mode_now(d), &d->guardian);
	if (err)
		return err;
	guardian_set_spare(d->guardian, d->old_guardian != NULL);
	err = guardian_start(d->guardian);
	if (err)
		log_error("no guardian: %s; while we do not answer, openers wait", strerror(-err));
	return 0;
}

static void settle_maker(void *arg)
{
	const struct daemon *d = arg;

	confine_calls(CONFINE_DAEMON, d->opt.seccomp);
}

void daemon_guardian_start_maker(struct daemon *d)
{
	int err = guardian_start_maker(d->guardian, settle_maker);

	if (err)
		log_warning("a guardian that has to be replaced will have ordinary priority: %s",
			    strerror(-err));
}

/* It is gone, and cannot be had: what only it makes safe is taken back. */
static void follow_guardian(struct daemon *d)
{
	bool alive = guardian_alive(d->guardian);

	if (alive == d->was_guarded)
		return;
	d->was_guarded = alive;
	if (!d->marks || pthread_mutex_trylock(&d->admin_lock))
		return;
	/* The rules in force change with that lock held. */
	if (!d->config->system_directories && !ruleset_programs(d->rules)) {
		pthread_mutex_unlock(&d->admin_lock);
		return;
	}
	daemon_marks_are_late(d);
	atomic_store(&d->marks_late, true);
	pthread_mutex_unlock(&d->admin_lock);
}

void daemon_guardian_tick(struct daemon *d)
{
	uint64_t now_ns = clock_boottime_ns();
	int r;

	if (!d->guardian || now_ns < d->guardian_again_ns)
		return;
	r = guardian_check(d->guardian, now_ns);
	if (r > 0) {
		log_warning("the guardian had ended or did not answer: it was replaced");
		daemon_own_record(d, "O1", "guardian replaced",
				  json_pack("{s:s}", "why", "it had ended, was stopped, or did not answer"));
	} else if (r < 0) {
		log_error("there is no guardian any more, and no other can be started: %s",
			  strerror(-r));
		d->guardian_again_ns = now_ns + START_AGAIN_NS;
	}
	follow_guardian(d);
}

bool daemon_is_guarded(void *arg)
{
	return guardian_alive(((const struct daemon *)arg)->guardian);
}

json_t *daemon_guardian_json(const struct daemon *d)
{
	struct guardian_figures f;

	guardian_figures(d->guardian, &f);
	return json_pack("{s:b, s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "alive", f.alive, "pid",
			 (int)f.pid, "restarts", (json_int_t)f.restarts, "answered_members",
			 (json_int_t)(f.members_denied + f.members_allowed), "denied",
			 (json_int_t)f.members_denied, "answered_strangers",
			 (json_int_t)f.strangers, "episodes", (json_int_t)f.episodes, "longest_ms",
			 (json_int_t)(f.longest_ns / NSEC_PER_MSEC));
}

/* --- hand-over ------------------------------------------------------------------------------ */

int daemon_guardian_find(struct daemon *d)
{
	int err = guardian_peer_find(d->opt.run_dir, &d->old_guardian);

	if (err == -ENOENT || err == -EACCES)
		return 0;
	if (err) {
		log_warning("the guardian of an earlier daemon does not answer: %s", strerror(-err));
		return 0;
	}
	if (!guardian_peer_daemon(d->old_guardian))
		return 0;
	if (!d->opt.replace) {
		/* Whose lock we shall not get either. */
		guardian_peer_free(TAKE_PTR(d->old_guardian));
		return 0;
	}
	log_notice("asking oknekd %d to leave", (int)guardian_peer_daemon(d->old_guardian));
	err = guardian_peer_replace(d->old_guardian, REPLACE_WAIT_MS);
	if (err)
		log_error("the daemon that runs could not be replaced: %s", strerror(-err));
	return err;
}

struct adopt_call {
	struct daemon *d;
	int guardian; /* its map, -1: none */
	const int *kept;
	unsigned n_kept, adopted;
};

static void adopt_from_map(struct adopt_call *c, int map)
{
	pid_t pid = 0;

	for (unsigned i = 0; i < PROCTREE_MEMBERS_MAX && (pid = next_in(map, pid)) > 0; i++) {
		struct wire_member entry;
		uint32_t key = (uint32_t)pid;

		if (map_call(BPF_MAP_LOOKUP_ELEM, map, &key, &entry) == 0 &&
		    !proctree_find(c->d->tree, pid) &&
		    process_adopt(c->d->feed, entry.tree_id, pid, entry.start_time_ns) > 0)
			c->adopted++;
	}
}

/* Verdict thread: who was born while no daemon ran. */
static void adopt_from_maps(void *arg)
{
	struct adopt_call *c = arg;

	if (c->guardian >= 0)
		adopt_from_map(c, c->guardian);
	for (unsigned i = 0; i < c->n_kept; i++)
		adopt_from_map(c, c->kept[i]);
}

/*
 * Whoever is followed by our own feed hands membership on to its children; those born before that
 * are in the map by then. So the map is read after everybody known is followed, until it has nobody
 * new. Of several the egress jail has those of daemons that were killed before they took over.
 */
unsigned daemon_guardian_adopt(struct daemon *d)
{
	/* Who kept its map for us: a guardian that lives, or the egress jail. */
	int guardian = d->old_guardian ? guardian_peer_members_fd(d->old_guardian) : -1;
	const int *kept = NULL;
	unsigned all = 0, n_kept = daemon_egress_kept_members(d, &kept);

	if (guardian < 0 && !n_kept)
		return 0;
	for (int i = 0; i < ADOPT_PASSES; i++) {
		struct adopt_call c = { .d = d, .guardian = guardian, .kept = kept,
					.n_kept = n_kept };

		if (loop_call(d->loop, adopt_from_maps, &c) < 0 || !c.adopted)
			break;
		all += c.adopted;
	}
	return all;
}

static int listen_in(const char *run_dir)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_free_ char *path = NULL;

	if (fd < 0)
		return -errno;
	if (asprintf(&path, "%s/" GUARDIAN_SOCKET, run_dir) < 0)
		return -ENOMEM;
	if ((size_t)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s.new", path) >=
	    sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	if (unlink(sa.sun_path) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(sa.sun_path, 0600) < 0 ||
	    listen(fd, 4) < 0 || rename(sa.sun_path, path) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int end_before(struct daemon *d)
{
	int err = guardian_peer_end(d->old_guardian, END_WAIT_MS);

	guardian_set_before(d->guardian, NULL);
	guardian_peer_free(TAKE_PTR(d->old_guardian));
	return err;
}

/*
 * Our marks stand and we answer: the one before us may go. Until then both held everybody. Ours is in
 * charge before the other is told to end: whenever we die, one of them holds.
 */
void daemon_guardian_take_over(struct daemon *d)
{
	int err = 0, fd;

	if (!d->guardian)
		return;
	guardian_set_before(d->guardian, d->old_guardian);
	fd = listen_in(d->opt.run_dir);
	guardian_set_spare(d->guardian, false);
	if (fd < 0)
		log_warning("%s/" GUARDIAN_SOCKET ": %s: the next daemon will not find our guardian",
			    d->opt.run_dir, strerror(-fd));
	d->guardian_listen_fd = fd;
	guardian_set_listener(d->guardian, fd);
	if (d->old_guardian)
		err = end_before(d);
	if (err)
		log_warning("the guardian of the last daemon does not end: %s", strerror(-err));
}

void daemon_guardian_stop(struct daemon *d)
{
	_cleanup_free_ char *path = NULL;

	guardian_stop(TAKE_PTR(d->guardian));
	guardian_peer_free(TAKE_PTR(d->old_guardian));
	if (d->guardian_listen_fd > 0) {
		close(d->guardian_listen_fd);
		if (asprintf(&path, "%s/" GUARDIAN_SOCKET, d->opt.run_dir) >= 0)
			unlink(path);
	}
}

/* Whoever comes next takes over: what we know is in evidence, marks and group stay. */
void daemon_leave(struct daemon *d)
{
	control_close(d->control);
	daemon_threads_stop(d);
	daemon_capture_stop(d);
	daemon_halt_end(d); /* the next one knows of nobody who is stopped */
	daemon_audit_leave(d);
	if (d->store)
		store_close(TAKE_PTR(d->store), STORE_CLOSE_MS);
	/* It may have ended since it was last looked after. */
	if (guardian_check(d->guardian, clock_boottime_ns()) < 0)
		log_error("the guardian has ended: nothing is held until the next daemon is ready");
	guardian_leave(d->guardian);
}
