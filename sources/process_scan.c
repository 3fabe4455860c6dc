/* SPDX-License-Identifier: Apache-2.0 */
/* Looking processes up in /proc: at start, and after the feed lost something. */
#include "sources/process_feed.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"

int process_read(pid_t tgid, struct process_scan_entry *ret)
{
	struct procstat stat;
	uid_t uid;
	int r;

	r = procstat_read(tgid, &stat);
	if (r < 0)
		return r;
	if (stat.dead)
		return -ESRCH;
	r = procstat_uid(tgid, &uid);
	if (r < 0)
		return r;
	*ret = (struct process_scan_entry){
		.tgid = tgid,
		.ppid = stat.ppid,
		.start_time_ns = stat.start_time_ns,
		.uid = uid,
	};
	memcpy(ret->comm, stat.comm, sizeof(ret->comm));
	return 0;
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int by_tgid(const void *a, const void *b)
{
	const struct process_scan_entry *x = a, *y = b;

	return (x->tgid > y->tgid) - (x->tgid < y->tgid);
}

static pid_t pid_of_name(const char *name)
{
	char *end;
	long pid;

	if (name[0] < '1' || name[0] > '9')
		return 0;
	pid = strtol(name, &end, 10);
	return *end || pid > INT32_MAX ? 0 : (pid_t)pid;
}

int process_scan(struct process_scan *ret)
{
	_cleanup_(close_dir) DIR *dir = opendir("/proc");
	_cleanup_free_ struct process_scan_entry *entries = NULL;
	size_t n = 0, room = 0;
	struct dirent *de;

	if (!dir)
		return -errno;
	while ((errno = 0, de = readdir(dir))) {
		pid_t pid = pid_of_name(de->d_name);

		if (!pid)
			continue;
		if (n == room) {
			struct process_scan_entry *p;

			room = room ? 2 * room : 256;
			p = reallocarray(entries, room, sizeof(*entries));
			if (!p)
				return -ENOMEM;
			entries = p;
		}
		/* It may be gone since; or hidden, then it is not ours to follow. */
		if (process_read(pid, &entries[n]) == 0)
			n++;
	}
	if (errno)
		return -errno;
	if (n)
		qsort(entries, n, sizeof(*entries), by_tgid);
	ret->n = n;
	ret->entries = TAKE_PTR(entries);
	return 0;
}

void process_scan_free(struct process_scan *s)
{
	free(s->entries);
	s->entries = NULL;
	s->n = 0;
}

/* ---- applying ----------------------------------------------------------------------------- */

void process_born(struct process_feed *f, pid_t tgid)
{
	if (f->h.member)
		f->h.member(f->h.arg, tgid);
}

void process_gone(struct process_feed *f, pid_t tgid)
{
	if (!proctree_find(f->tree, tgid))
		return;
	process_feed_untrack(f, tgid);
	proctree_exit(f->tree, tgid);
	if (f->h.member_exit)
		f->h.member_exit(f->h.arg, tgid);
}

int process_adopt(struct process_feed *f, uint32_t tree_id, pid_t tgid, uint64_t start_time_ns)
{
	struct process_scan_entry e;
	struct member m = { 0 };
	int r;

	r = process_read(tgid, &e);
	if (r < 0)
		return r;
	if (!start_time_same(e.start_time_ns, start_time_ns))
		return -ESRCH;
	m.tgid = tgid;
	m.ppid = e.ppid;
	m.start_time_ns = start_time_ns;
	m.uid = e.uid;
	memcpy(m.comm, e.comm, sizeof(m.comm));
	r = proctree_adopt(f->tree, tree_id, &m);
	if (r <= 0)
		return r;
	r = process_feed_track(f, tgid, tree_id);
	if (r < 0 && r != -ESRCH) {
		/* Whose children are not followed is no member: better counted than half watched. */
		proctree_exit(f->tree, tgid);
		f->stats.lost++;
	}
	return r == -E2BIG ? -ENOSPC : r < 0 ? r : 1;
}

static const struct process_scan_entry *scan_find(const struct process_scan *s, pid_t tgid)
{
	struct process_scan_entry key = { .tgid = tgid };

	return s->n ? bsearch(&key, s->entries, s->n, sizeof(key), by_tgid) : NULL;
}

struct sweep {
	const struct process_scan *scan;
	struct process_feed *feed;
};

static void look_again(const struct member *m, void *arg)
{
	const struct sweep *w = arg;
	const struct process_scan_entry *e = scan_find(w->scan, m->tgid);
	struct procstat stat;

	if (e && start_time_same(e->start_time_ns, m->start_time_ns)) {
		/* Others are told of execs, later than this snapshot perhaps. */
		if (!strcmp(w->feed->ops->name, "scan"))
			proctree_set_name(w->feed->tree, m->tgid, e->comm, e->uid);
		return;
	}
	/* Not in the snapshot, which may be older than the member. */
	if (procstat_read(m->tgid, &stat) == 0 && !stat.dead &&
	    (!m->start_time_ns || start_time_same(stat.start_time_ns, m->start_time_ns)))
		return;
	process_gone(w->feed, m->tgid);
}

/* The member whose child e was when the snapshot was taken, NULL if none. */
static const struct member *parent_of(const struct process_scan *s, const struct proctree *t,
				      const struct process_scan_entry *e)
{
	const struct process_scan_entry *pe = scan_find(s, e->ppid);
	const struct member *p = proctree_find(t, e->ppid);

	/* Another process may have, or have had, the parent's pid. */
	if (!pe || !p || pe->start_time_ns > e->start_time_ns)
		return NULL;
	if (p->start_time_ns && !start_time_same(pe->start_time_ns, p->start_time_ns))
		return NULL;
	return p;
}

int process_scan_apply(const struct process_scan *s, struct process_feed *f, struct proctree *t)
{
	struct sweep w = { .scan = s, .feed = f };
	bool no_room = false, again;
	int r, total = 0;

	process_feed_settle(f);
	proctree_each_member(t, 0, look_again, &w);
	if (f->ops->resync)
		total += f->ops->resync(f);
	do {
		again = false;
		for (size_t i = 0; i < s->n; i++) {
			const struct process_scan_entry *e = &s->entries[i];
			const struct member *p;

			if (proctree_find(t, e->tgid))
				continue;
			p = parent_of(s, t, e);
			if (!p)
				continue;
			r = process_adopt(f, p->tree_id, e->tgid, e->start_time_ns);
			if (r > 0) {
				total++;
				again = true;
			}
			no_room |= r == -ENOSPC;
		}
	} while (again);
	return no_room && !total ? -ENOSPC : total;
}
