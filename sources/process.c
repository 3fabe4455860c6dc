/* SPDX-License-Identifier: Apache-2.0 */
/* Which process feed there is, best first; and the poorest of them, which only asks for scans. */
#include "sources/process_feed.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>

#include "core/cleanup.h"

#define INIT_PID_NS_INO 0xEFFFFFFCu /* PROC_PID_INIT_INO, linux/nsfs.h */

/* ---- scan: a clock ------------------------------------------------------------------------ */

struct poll_feed {
	struct process_feed base;
	int timer;
};

static int poll_fd(const struct process_feed *f)
{
	return ((const struct poll_feed *)f)->timer;
}

static uint64_t poll_caps(const struct process_feed *f)
{
	(void)f;
	return 0;
}

static int poll_drain(struct process_feed *f)
{
	struct poll_feed *p = (struct poll_feed *)f;
	uint64_t ticks;

	/* Whatever happened in this second was not seen. */
	return read(p->timer, &ticks, sizeof(ticks)) == sizeof(ticks) ? -EOVERFLOW : 0;
}

static void poll_close(struct process_feed *f)
{
	struct poll_feed *p = (struct poll_feed *)f;

	close(p->timer);
	free(p);
}

static const struct process_feed_ops poll_ops = {
	.name = "scan",
	.gaps = "processes are looked up once a second: one that leaves its parent (double fork, "
		"CLONE_PARENT) or opens a file within that second is not recognised as watched",
	.fd = poll_fd,
	.caps = poll_caps,
	.drain = poll_drain,
	.close = poll_close,
};

int process_poll_open(struct process_feed **ret, char why[128])
{
	static const struct itimerspec each_second = {
		.it_interval = { .tv_sec = 1 },
		.it_value = { .tv_sec = 1 },
	};
	_cleanup_free_ struct poll_feed *p = calloc(1, sizeof(*p));
	_cleanup_close_ int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (!p || timer < 0 || timerfd_settime(timer, 0, &each_second, NULL) < 0) {
		int r = p ? -errno : -ENOMEM;

		snprintf(why, 128, "timer: %s", strerror(-r));
		return r;
	}
	p->base.ops = &poll_ops;
	p->timer = TAKE_FD(timer);
	*ret = &TAKE_PTR(p)->base;
	return 0;
}

/* ---- choice ------------------------------------------------------------------------------- */

/* BPF and the connector tell pids of the initial namespace; only there /proc has the same. */
static bool in_initial_pid_ns(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == INIT_PID_NS_INO;
}

static int open_one(unsigned kind, const struct process_feed_limits *l, struct process_feed **ret,
		    char why[128])
{
	if (kind == 2)
		return process_poll_open(ret, why);
	if (!in_initial_pid_ns()) {
		snprintf(why, 128, "not in the initial pid namespace");
		return -EOPNOTSUPP;
	}
	return kind == 0 ? process_bpf_open(l, ret, why) : process_connector_open(l, ret, why);
}

int process_feed_open_limited(const char *which, const struct process_feed_limits *l,
			      struct proctree *tree, const struct process_feed_handler *h,
			      struct process_feed **ret, char why[256])
{
	static const char *const names[] = { "bpf", "connector", "scan" };
	static const char *const said[] = { "BPF", "the proc connector", "scans of /proc" };
	char text[256] = "", one[128];
	int r = -EINVAL;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct process_feed *f = NULL;
		size_t used = strlen(text);

		if (which && strcmp(which, names[i]) != 0)
			continue;
		one[0] = '\0';
		r = open_one(i, l, &f, one);
		if (r == 0) {
			f->tree = tree;
			if (h)
				f->h = *h;
			if (used)
				snprintf(text + used, sizeof(text) - used, "using %s", said[i]);
			memcpy(why, text, sizeof(text));
			*ret = f;
			return 0;
		}
		snprintf(text + used, sizeof(text) - used, "%s: %s%s", names[i], one,
			 which ? "" : "; ");
	}
	if (r == -EINVAL && which && !text[0])
		snprintf(text, sizeof(text), "no such process feed: bpf, connector or scan");
	memcpy(why, text, sizeof(text));
	return r;
}

int process_feed_open(const char *which, struct proctree *tree,
		      const struct process_feed_handler *h, struct process_feed **ret,
		      char why[256])
{
	static const struct process_feed_limits usual;

	return process_feed_open_limited(which, &usual, tree, h, ret, why);
}

/* ---- what all feeds do -------------------------------------------------------------------- */

void process_feed_close(struct process_feed *f)
{
	if (f)
		f->ops->close(f);
}

const char *process_feed_name(const struct process_feed *f)
{
	return f->ops->name;
}

const char *process_feed_gaps(const struct process_feed *f)
{
	return f->ops->gaps;
}

uint64_t process_feed_caps(const struct process_feed *f)
{
	return f->ops->caps(f);
}

int process_feed_fd(const struct process_feed *f)
{
	return f->ops->fd(f);
}

int process_feed_members_fd(const struct process_feed *f)
{
	return !strcmp(f->ops->name, "bpf") ? process_bpf_members_fd(f) : -1;
}

bool process_feed_uring(const struct process_feed *f, pid_t tgid)
{
	return !strcmp(f->ops->name, "bpf") ? process_bpf_uring(f, tgid) : true;
}

unsigned process_feed_kept_fds(const struct process_feed *f, int *fds, unsigned max)
{
	return !strcmp(f->ops->name, "bpf") ? process_bpf_kept_fds(f, fds, max) : 0;
}

int process_feed_drain(struct process_feed *f)
{
	return f->ops->drain(f);
}

int process_feed_track(struct process_feed *f, pid_t tgid, uint32_t tree_id)
{
	const struct member *m = proctree_find(f->tree, tgid);
	struct procstat stat;
	int r;

	r = f->ops->track ? f->ops->track(f, tgid, tree_id) : 0;
	if (r < 0 && r != -ESRCH)
		return r;
	/* From here on the feed tells of its end. If that came before, nobody else will. */
	if (r == 0 && procstat_read(tgid, &stat) == 0 && !stat.dead &&
	    (!m || !m->start_time_ns || start_time_same(m->start_time_ns, stat.start_time_ns))) {
		process_born(f, tgid);
		return 0;
	}
	process_feed_untrack(f, tgid);
	process_gone(f, tgid);
	return -ESRCH;
}

int process_feed_untrack(struct process_feed *f, pid_t tgid)
{
	return f->ops->untrack ? f->ops->untrack(f, tgid) : 0;
}

void process_feed_settle(struct process_feed *f)
{
	if (f->ops->settle)
		f->ops->settle(f);
}

void process_feed_stats(const struct process_feed *f, struct process_feed_stats *ret)
{
	*ret = f->stats;
}
