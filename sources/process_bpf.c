/* SPDX-License-Identifier: Apache-2.0 */
/* The process feed from BPF tracepoints: see sources/bpf/process.bpf.c. */
#include "sources/process_feed.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifdef OKNEK_NO_BPF

int process_bpf_open(const struct process_feed_limits *l, struct process_feed **ret, char why[128])
{
	(void)l;
	(void)ret;
	snprintf(why, 128, "built without it");
	return -EOPNOTSUPP;
}

bool process_bpf_uring(const struct process_feed *f, pid_t tgid)
{
	(void)f;
	(void)tgid;
	return true;
}

int process_bpf_members_fd(const struct process_feed *f)
{
	(void)f;
	return -1;
}

unsigned process_bpf_kept_fds(const struct process_feed *f, int *fds, unsigned max)
{
	(void)f;
	(void)fds;
	(void)max;
	return 0;
}

#else

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <linux/types.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "core/bpf_object.h"
#include "core/cleanup.h"

#include "sources/bpf/wire.h" /* the skeleton names its types */

#include "sources/bpf/process.skel.h"

#define DRAIN_MAX 16384 /* records at one go: more than a full ring of forks every 10 ms */
#define TICK_NS NSEC_PER_SEC
#define ORPHANS_MAX 256
#define POSITION_PAGES 2 /* of a ring: what was taken, what was made; the records come after */

struct bpf_feed {
	struct process_feed base;
	struct process_bpf *skel;
	struct ring_buffer *ring;
	int members_fd;
	int epoll, timer;
	uint64_t next_tick_ns;
	bool needs_cap;
	struct wire_counters seen; /* what of the counters was reported as lost */
	unsigned budget;
	bool overflow; /* the table had no room */
	const unsigned long *taken, *made; /* the ring's positions, mapped */
	const struct wire_uring *uring; /* mapped; NULL: who uses io_uring is not known */
	struct bpf_link *uring_link;
	bool no_uring; /* the kernel has none */
	/* Children of trees that were removed meanwhile: still in the map, to be taken out when the
	 * daemon has time for system calls. */
	pid_t orphans[ORPHANS_MAX];
	unsigned n_orphans;
};

_Static_assert(WIRE_TICK_NS == PROCSTAT_TICK_NS, "all sides compare start times alike");

static struct bpf_feed *bpf_feed(const struct process_feed *f)
{
	return (struct bpf_feed *)f;
}

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* ---- records ------------------------------------------------------------------------------ */

static int bpf_track(struct process_feed *f, pid_t tgid, uint32_t tree_id);

static int take_fork(struct bpf_feed *b, const struct wire_fork *rec)
{
	struct process_feed *f = &b->base;
	struct member m = { 0 };
	const struct tree *tr;
	int r;

	if ((int32_t)rec->parent <= 0 || (int32_t)rec->child <= 0)
		return -EPROTO;
	r = proctree_fork(f->tree, (pid_t)rec->parent, (pid_t)rec->child, rec->start_time_ns);
	f->stats.forks += rec->tree_id || r == 1;
	if (r == 1)
		process_born(f, (pid_t)rec->child);
	if (!rec->tree_id) {
		/* The parent became a member after the kernel's map was asked. */
		const struct member *child = r == 1 ? proctree_find(f->tree, (pid_t)rec->child) : NULL;

		if (child)
			bpf_track(f, child->tgid, child->tree_id);
	} else if (r == 0 && !proctree_find(f->tree, (pid_t)rec->child)) {
		/* The kernel knows a parent that we do not: it was lost in an overrun, or its tree
		 * was removed while it forked. */
		tr = proctree_tree(f->tree, rec->tree_id);
		if (tr && tr->members) {
			m.tgid = (pid_t)rec->child;
			m.ppid = (pid_t)rec->parent;
			m.start_time_ns = rec->start_time_ns;
			m.uid = tr->uid;
			r = proctree_adopt(f->tree, rec->tree_id, &m);
			if (r == 1)
				process_born(f, m.tgid);
		} else if (b->n_orphans < ORPHANS_MAX) {
			b->orphans[b->n_orphans++] = (pid_t)rec->child;
		}
	}
	if (r == -ENOSPC)
		b->overflow = true;
	return 0;
}

static bool argv_is_sane(const struct wire_exec *rec)
{
	return rec->filename_len < sizeof(rec->filename) && rec->argv_len <= sizeof(rec->argv) &&
	       rec->filename[rec->filename_len] == '\0' &&
	       !memchr(rec->filename, '\0', rec->filename_len) &&
	       memchr(rec->comm, '\0', sizeof(rec->comm));
}

static int take_exec(struct bpf_feed *b, const struct wire_exec *rec)
{
	struct process_feed *f = &b->base;
	struct process_exec e;

	if ((int32_t)rec->tgid <= 0 || (int32_t)rec->ppid < 0 || !argv_is_sane(rec))
		return -EPROTO;
	f->stats.execs++;
	proctree_exec(f->tree, (pid_t)rec->tgid, rec->comm, rec->uid);
	if (!f->h.exec)
		return 0;
	e = (struct process_exec){
		.tgid = (pid_t)rec->tgid,
		.ppid = (pid_t)rec->ppid,
		.start_time_ns = rec->start_time_ns,
		.uid = rec->uid,
		.comm = rec->comm,
		.filename = rec->filename,
		.argv = rec->argv_len ? rec->argv : NULL,
		.argv_len_bytes = rec->argv_len,
		.member = proctree_find(f->tree, (pid_t)rec->tgid) != NULL,
	};
	f->h.exec(f->h.arg, &e);
	return 0;
}

static int take_exit(struct bpf_feed *b, const struct wire_exit *rec)
{
	struct process_feed *f = &b->base;

	if ((int32_t)rec->tgid <= 0)
		return -EPROTO;
	f->stats.exits++;
	if (!proctree_find(f->tree, (pid_t)rec->tgid))
		return 0;
	proctree_exit(f->tree, (pid_t)rec->tgid);
	if (f->h.member_exit)
		f->h.member_exit(f->h.arg, (pid_t)rec->tgid);
	return 0;
}

static int take_record(void *arg, void *data, size_t len)
{
	struct bpf_feed *b = arg;
	uint32_t type = 0;
	int r = -EPROTO;

	if (len >= sizeof(type))
		memcpy(&type, data, sizeof(type));
	/* The ring rounds lengths up in its bookkeeping, not in what it tells. */
	if (type == WIRE_FORK && len == sizeof(struct wire_fork))
		r = take_fork(b, data);
	else if (type == WIRE_EXEC && len == sizeof(struct wire_exec))
		r = take_exec(b, data);
	else if (type == WIRE_EXIT && len == sizeof(struct wire_exit))
		r = take_exit(b, data);
	if (r < 0)
		b->base.stats.malformed++;
	/* libbpf stops after a record that returns an error, with that record consumed. */
	return --b->budget ? 0 : -EAGAIN;
}

/* ---- the feed ----------------------------------------------------------------------------- */

static int bpf_fd(const struct process_feed *f)
{
	return bpf_feed(f)->epoll;
}

static uint64_t bpf_caps(const struct process_feed *f)
{
	return bpf_feed(f)->needs_cap ? 1ULL << CAP_BPF : 0;
}

static uint64_t counted(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static bool lost_any(struct bpf_feed *b)
{
	const struct wire_counters now = {
		.lost_fork = counted((const uint64_t *)&b->skel->bss->counters.lost_fork),
		.lost_exec = counted((const uint64_t *)&b->skel->bss->counters.lost_exec),
		.lost_exit = counted((const uint64_t *)&b->skel->bss->counters.lost_exit),
		.map_full = counted((const uint64_t *)&b->skel->bss->counters.map_full),
	};
	uint64_t lost = now.lost_fork - b->seen.lost_fork + now.lost_exec - b->seen.lost_exec +
			now.lost_exit - b->seen.lost_exit + now.map_full - b->seen.map_full;

	b->seen = now;
	b->base.stats.lost += lost;
	if (b->overflow)
		b->base.stats.lost++;
	lost += b->overflow;
	b->overflow = false;
	return lost > 0;
}

static unsigned long position(const unsigned long *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static int bpf_drain(struct process_feed *f)
{
	struct bpf_feed *b = bpf_feed(f);
	unsigned long made = position(b->made);
	uint64_t now = monotonic_ns();
	int taken;

	/* Only when it must have fired: a drain with nothing to do makes no system call. */
	if (now >= b->next_tick_ns) {
		uint64_t ticks;

		if (read(b->timer, &ticks, sizeof(ticks)) == sizeof(ticks))
			b->next_tick_ns = now + TICK_NS - TICK_NS / 16;
	}
	b->budget = DRAIN_MAX;
	b->skel->bss->settings.strangers = b->base.h.strangers;
	taken = ring_buffer__consume(b->ring);
	/* Counted before its child ran, so a loss that concerns the asker is seen here. */
	if (lost_any(b))
		return -EOVERFLOW;
	/* libbpf stops, content, at a record that another CPU has begun and not finished; what lies behind
	 * it may be the birth of who asks. */
	return taken >= 0 && (long)(made - position(b->taken)) > 0 ? -EAGAIN : taken;
}

static int bpf_track(struct process_feed *f, pid_t tgid, uint32_t tree_id)
{
	const struct member *m = proctree_find(f->tree, tgid);
	struct wire_member entry = { .tree_id = tree_id };
	uint32_t key = (uint32_t)tgid;
	struct procstat stat;

	if (m && m->start_time_ns)
		entry.start_time_ns = m->start_time_ns;
	else if (procstat_read(tgid, &stat) == 0)
		entry.start_time_ns = stat.start_time_ns;
	else
		return -ESRCH;
	/* libbpf returns -errno since 1.0 */
	return bpf_map_update_elem(bpf_feed(f)->members_fd, &key, &entry, BPF_ANY);
}

static int bpf_untrack(struct process_feed *f, pid_t tgid)
{
	uint32_t key = (uint32_t)tgid;
	int r = bpf_map_delete_elem(bpf_feed(f)->members_fd, &key);

	return r == -ENOENT ? 0 : r;
}

/* After an overrun the kernel's map is the truth: it has members that no scan can find, since they
 * left their parents. */
static int bpf_resync(struct process_feed *f)
{
	struct bpf_feed *b = bpf_feed(f);
	uint32_t steps = 2 * bpf_map__max_entries(b->skel->maps.members);
	uint32_t key, *prev = NULL;
	int adopted = 0;

	/* A key that goes while we stand on it makes the walk begin anew: bounded, not endless. */
	while (steps-- && bpf_map_get_next_key(b->members_fd, prev, &key) == 0) {
		struct wire_member entry;
		const struct tree *tr;

		prev = &key;
		if (bpf_map_lookup_elem(b->members_fd, &key, &entry) < 0)
			continue;
		tr = proctree_tree(f->tree, entry.tree_id);
		if (!tr || !tr->members) {
			if (!proctree_find(f->tree, (pid_t)key))
				bpf_map_delete_elem(b->members_fd, &key);
			continue;
		}
		if (!proctree_find(f->tree, (pid_t)key) &&
		    process_adopt(f, entry.tree_id, (pid_t)key, entry.start_time_ns) > 0)
			adopted++;
	}
	return adopted;
}

static void bpf_settle(struct process_feed *f)
{
	struct bpf_feed *b = bpf_feed(f);

	while (b->n_orphans) {
		pid_t tgid = b->orphans[--b->n_orphans];

		if (!proctree_find(f->tree, tgid))
			bpf_untrack(f, tgid);
	}
}

static void feed_free(struct bpf_feed **p)
{
	struct bpf_feed *b = *p;

	if (!b)
		return;
	ring_buffer__free(b->ring);
	if (b->taken)
		munmap((void *)b->taken, POSITION_PAGES * (size_t)sysconf(_SC_PAGESIZE));
	if (b->uring)
		munmap((void *)b->uring, WIRE_URING_SLOTS * sizeof(*b->uring));
	bpf_link__destroy(b->uring_link);
	process_bpf__destroy(b->skel);
	if (b->epoll >= 0)
		close(b->epoll);
	if (b->timer >= 0)
		close(b->timer);
	free(b);
}

static void bpf_close(struct process_feed *f)
{
	struct bpf_feed *b = bpf_feed(f);

	feed_free(&b);
}

static const struct process_feed_ops bpf_ops = {
	.name = "bpf",
	.gaps = "",
	.fd = bpf_fd,
	.caps = bpf_caps,
	.drain = bpf_drain,
	.track = bpf_track,
	.untrack = bpf_untrack,
	.settle = bpf_settle,
	.resync = bpf_resync,
	.close = bpf_close,
};

/* ---- open --------------------------------------------------------------------------------- */

static int open_pollable(struct bpf_feed *b)
{
	static const struct itimerspec each_second = {
		.it_interval = { .tv_sec = 1 },
		.it_value = { .tv_sec = 1 },
	};
	struct epoll_event ev = { .events = EPOLLIN };

	b->epoll = epoll_create1(EPOLL_CLOEXEC);
	b->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (b->epoll < 0 || b->timer < 0 || timerfd_settime(b->timer, 0, &each_second, NULL) < 0 ||
	    epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->timer, &ev) < 0 ||
	    epoll_ctl(b->epoll, EPOLL_CTL_ADD, ring_buffer__epoll_fd(b->ring), &ev) < 0)
		return -errno;
	return 0;
}

/* A kernel that does not tell of it, and has it: then nobody knows who uses it. */
static void watch_uring(struct bpf_feed *b)
{
	static const char *const places[] = { "io_uring_submit_req", "io_uring_submit_sqe" };
	struct bpf_program *progs[] = { b->skel->progs.uring_request, b->skel->progs.uring_any };

	for (size_t i = 0; i < ARRAY_SIZE(places) && !b->uring_link; i++)
		b->uring_link = bpf_program__attach_raw_tracepoint(progs[i], places[i]);
	if (b->uring_link)
		b->uring = bpf_object_mmap(bpf_map__fd(b->skel->maps.uring),
					   WIRE_URING_SLOTS * sizeof(*b->uring));
	else
		b->no_uring = syscall(SYS_io_uring_setup, 0, NULL) < 0 && errno == ENOSYS;
}

bool process_bpf_uring(const struct process_feed *f, pid_t tgid)
{
	const struct bpf_feed *b = bpf_feed(f);
	uint32_t who;

	if (!b->uring)
		return !b->no_uring;
	who = __atomic_load_n(&b->uring[(uint32_t)tgid % WIRE_URING_SLOTS].tgid, __ATOMIC_ACQUIRE);
	return who == (uint32_t)tgid || who == WIRE_URING_SEVERAL;
}

int process_bpf_open(const struct process_feed_limits *l, struct process_feed **ret, char why[128])
{
	_cleanup_(feed_free) struct bpf_feed *b = calloc(1, sizeof(*b));
	struct wire_member none = { 0 };
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint32_t nobody = 0;
	int r;

	if (!b)
		return -ENOMEM;
	b->epoll = b->timer = -1;
	bpf_object_begin();
	b->skel = process_bpf__open();
	if (!b->skel)
		return bpf_object_why(-errno, "open", why, 128);
	if (l->ring_bytes)
		bpf_map__set_max_entries(b->skel->maps.ring, l->ring_bytes);
	if (l->members)
		bpf_map__set_max_entries(b->skel->maps.members, l->members);
	bpf_program__set_autoattach(b->skel->progs.uring_request, false);
	bpf_program__set_autoattach(b->skel->progs.uring_any, false);
	r = bpf_object_load(b->skel->skeleton, NULL, -1, why, 128);
	if (r < 0)
		return r;
	b->members_fd = bpf_map__fd(b->skel->maps.members);
	b->ring = ring_buffer__new(bpf_map__fd(b->skel->maps.ring), take_record, b, NULL);
	if (!b->ring) {
		r = -errno;
		snprintf(why, 128, "ring: %s", strerror(-r));
		return r;
	}
	b->taken = bpf_object_mmap(bpf_map__fd(b->skel->maps.ring), POSITION_PAGES * page);
	if (!b->taken) {
		r = -errno;
		snprintf(why, 128, "ring: %s", strerror(-r));
		return r;
	}
	b->made = b->taken + page / sizeof(*b->taken);
	r = open_pollable(b);
	if (r < 0) {
		snprintf(why, 128, "poll: %s", strerror(-r));
		return r;
	}
	b->needs_cap = bpf_object_needs_cap(b->members_fd, &nobody, &none);
	r = bpf_object_attach(b->skel->skeleton, why, 128);
	if (r < 0)
		return r;
	watch_uring(b);
	b->base.ops = &bpf_ops;
	*ret = &TAKE_PTR(b)->base;
	return 0;
}

int process_bpf_members_fd(const struct process_feed *f)
{
	return bpf_feed(f)->members_fd;
}

/* A link holds its program, which holds its maps. */
unsigned process_bpf_kept_fds(const struct process_feed *f, int *fds, unsigned max)
{
	const struct bpf_feed *b = bpf_feed(f);
	const struct bpf_link *links[] = { b->skel->links.process_fork, b->skel->links.process_exec,
					   b->skel->links.process_exit };
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(links) && n < max; i++)
		if (links[i])
			fds[n++] = bpf_link__fd(links[i]);
	return n;
}

#endif
