/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of the eBPF source, read and published. Loading is in ebpf_open.c. */
#include "sources/ebpf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/loop.h"
#include "sources/ebpf_priv.h"

#ifdef OKNEK_NO_BPF

int ebpf_open(const struct ebpf_config *c, struct source **ret, char why[192])
{
	(void)c;
	(void)ret;
	snprintf(why, 192, "built without BPF");
	return -EOPNOTSUPP;
}

int ebpf_open_network(struct source *s)
{
	(void)s;
	return -EOPNOTSUPP;
}

bool ebpf_sees_network(const struct source *s)
{
	(void)s;
	return false;
}

bool ebpf_sees_calls(const struct source *s)
{
	(void)s;
	return false;
}

const char *ebpf_gaps(const struct source *s)
{
	(void)s;
	return "";
}

uint64_t ebpf_next_ns(const struct source *s)
{
	(void)s;
	return UINT64_MAX;
}

void ebpf_expire(struct source *s, struct bus *b, uint64_t now_ns)
{
	(void)s;
	(void)b;
	(void)now_ns;
}

enum open_mode ebpf_opening(const struct source *s, pid_t tgid, bool *under_way)
{
	(void)s;
	(void)tgid;
	if (under_way)
		*under_way = false;
	return OPEN_MODE_UNKNOWN;
}

void ebpf_exec_expect(struct source *s, pid_t tgid, uint64_t start_time_ns, uint64_t dev,
		      uint64_t ino, const char *argv, size_t len_bytes, bool cut)
{
	(void)s;
	(void)tgid;
	(void)start_time_ns;
	(void)dev;
	(void)ino;
	(void)argv;
	(void)len_bytes;
	(void)cut;
}

void ebpf_exec_forget(struct source *s, pid_t tgid)
{
	(void)s;
	(void)tgid;
}

void ebpf_exec_forget_all(struct source *s)
{
	(void)s;
}

enum open_mode ebpf_opening_alone(const struct source *s, const struct subject *subj, bool *also_read)
{
	(void)s;
	(void)subj;
	(void)also_read;
	return OPEN_MODE_UNKNOWN;
}

void ebpf_exec_enforce(struct source *s, bool enforce)
{
	(void)s;
	(void)enforce;
}

void ebpf_figures(const struct source *s, struct ebpf_figures *ret)
{
	(void)s;
	*ret = (struct ebpf_figures){ 0 };
}

#else

#include <bpf/libbpf.h>
#include <sys/epoll.h>
#include <linux/capability.h>

#define BATCH_MAX 64                     /* who waits for an answer waits for these */
#define REST_NS (2 * NSEC_PER_MSEC)      /* between two looks at the ring */

/* ---- who ----------------------------------------------------------------------------------- */

static struct ebpf_exe *exe_row(struct ebpf_source *s, pid_t tgid)
{
	return &s->exes[(unsigned)tgid % EBPF_EXES];
}

/* What a process runs is told in its own order: the record of an exec comes before those of what the
 * new program did. */
static void note_exe(struct ebpf_source *s, const struct events_head *h, const char *path)
{
	struct ebpf_exe *row = exe_row(s, (pid_t)h->tgid);
	size_t n = strlen(path);

	row->tgid = 0;
	if (n >= sizeof(row->path) || h->flags & EVENTS_CUT_PATH)
		return;
	memcpy(row->path, path, n + 1);
	row->tgid = (pid_t)h->tgid;
	row->start_time_ns = h->start_time_ns;
}

static const char *exe_of(struct ebpf_source *s, const struct events_head *h, bool exited)
{
	struct ebpf_exe *row = exe_row(s, (pid_t)h->tgid);
	char link[32];
	ssize_t n;

	if (row->tgid == (pid_t)h->tgid && row->start_time_ns == h->start_time_ns)
		return row->path;
	s->exe[0] = '\0';
	snprintf(link, sizeof(link), "/proc/%d/exe", (int)h->tgid);
	n = exited ? 0 : readlink(link, s->exe, sizeof(s->exe) - 1);
	s->exe[n > 0 ? n : 0] = '\0';
	if (n > 0)
		note_exe(s, h, s->exe);
	else /* gone: the name it had tells more than nothing */
		memcpy(s->exe, h->comm, sizeof(h->comm));
	return s->exe;
}

/* It may have ended by now, and somebody else have its number: the record knows when it began. */
static const struct member *find_member(struct ebpf_source *s, const struct events_head *h)
{
	const struct member *m = proctree_find(s->c.tree, (pid_t)h->tgid);

	if (!m) {
		s->c.drain(s->c.arg);
		m = proctree_find(s->c.tree, (pid_t)h->tgid);
	}
	if (!m)
		m = proctree_find_recent(s->c.tree, (pid_t)h->tgid);
	if (m && m->start_time_ns && !start_time_same(m->start_time_ns, h->start_time_ns))
		return NULL;
	return m;
}

static void add_home(struct homes *homes, const char *home)
{
	if (!home || !home[0] || homes->n == HOMES_MAX)
		return;
	for (unsigned i = 0; i < homes->n; i++)
		if (!strcmp(homes->path[i], home))
			return;
	homes->path[homes->n++] = home;
}

static void fill_subject(struct ebpf_source *s, const struct events_head *h, const struct member *m,
			 struct tree *tree, struct subject *ret)
{
	s->lineage[0] = '\0';
	if (m)
		proctree_lineage(s->c.tree, (pid_t)h->tgid, s->lineage, sizeof(s->lineage));
	*ret = (struct subject){
		.tgid = (pid_t)h->tgid,
		.tid = (pid_t)h->tid,
		.ppid = m && m->ppid ? m->ppid : (pid_t)h->ppid,
		.start_time_ns = h->start_time_ns,
		.uid = h->uid,
		.auid = tree->auid,
		.comm = h->comm,
		.exe = exe_of(s, h, m && m->exited),
		.cgroup = "",
		.lineage = s->lineage,
		.main_exe = m && m->main_exe,
		.tree = tree,
	};
	add_home(&ret->homes, s->c.home_of(s->c.arg, h->uid));
	for (unsigned i = 0; i < HOMES_MAX; i++)
		add_home(&ret->homes, tree->homes[i]);
}

/* ---- records ------------------------------------------------------------------------------- */

/* What came of a connect that tells that nothing was tried: the call was not understood. */
static bool was_tried(int32_t result)
{
	return result != -EBADF && result != -ENOTSOCK && result != -EFAULT && result != -EINVAL &&
	       result != -EAFNOSUPPORT && result != -EALREADY && result != -EISCONN;
}

static void publish(struct ebpf_source *s)
{
	const struct ebpf_record *r = &s->record;
	struct tree *tree = proctree_tree(s->c.tree, r->head.tree_id);
	struct event ev = { .source = &s->base, .source_name = "ebpf" };
	const struct member *m;
	enum verdict v;

	if (r->head.type == EVENTS_EXEC)
		note_exe(s, &r->head, r->path);
	if (r->head.type == EVENTS_NET && !was_tried(r->head.result))
		return;
	m = find_member(s, &r->head);
	if (!tree)
		return; /* it is not watched any more */
	switch (r->head.type) {
	case EVENTS_EXEC:
		ev.kind = KIND_EXEC_OBSERVED;
		ev.exec = r->exec;
		if (r->head.flags & EVENTS_KILLED) {
			ev.settled.by = MECH_SIGNAL;
			ev.settled.refused = ev.settled.killed = true;
		}
		break;
	case EVENTS_NET:
		ev.kind = KIND_SOCKET_CONNECT;
		ev.dest = r->dest;
		break;
	default:
		ev.kind = KIND_FILE_OPENED;
		ev.file = r->file;
	}
	ev.seq = ++s->seq;
	ev.time_ns = r->head.time_ns;
	fill_subject(s, &r->head, m, tree, &ev.subj);
	v = bus_publish(s->bus, &ev);
	if (v == VERDICT_BLOCK)
		tree->blocked++;
	else if (v == VERDICT_WARN)
		tree->warned++;
}

int ebpf_take(void *arg, void *data, size_t len_bytes)
{
	struct ebpf_source *s = arg;

	s->stats.read++;
	if (ebpf_parse(data, len_bytes, &s->record) < 0)
		__atomic_fetch_add(&s->stats.malformed, 1, __ATOMIC_RELAXED);
	else
		publish(s);
	/* libbpf stops after a record that returns an error, with that record consumed. */
	return --s->budget ? 0 : -EAGAIN;
}

static int consume(struct ebpf_source *s, struct bus *b, uint64_t now_ns)
{
	s->bus = b;
	s->budget = BATCH_MAX;
	ring_buffer__consume(s->ring);
	s->last_ns = now_ns;
	/* More is there, and nobody will wake us for it. */
	s->due_ns = s->budget ? UINT64_MAX : now_ns;
	return (int)(BATCH_MAX - s->budget);
}

/*
 * The ring wakes us when it was empty, and for each exec. The first is looked at at once; what comes
 * within the next two milliseconds is left to grow, so a burst costs the processes that make it one
 * wake-up. Nothing wakes us when there is nothing.
 */
static int ebpf_dispatch(struct source *base, struct bus *b)
{
	struct ebpf_source *s = (struct ebpf_source *)base;
	uint64_t now_ns = clock_boottime_ns();
	struct epoll_event woken;
	int n;

	if (epoll_wait(s->epoll_fd, &woken, 1, 0) <= 0)
		return -EAGAIN;
	if (s->due_ns == UINT64_MAX && now_ns - s->last_ns < REST_NS) {
		s->due_ns = s->last_ns + REST_NS;
		return -EAGAIN;
	}
	n = consume(s, b, now_ns);
	return n ? n : -EAGAIN;
}

uint64_t ebpf_next_ns(const struct source *base)
{
	return ((const struct ebpf_source *)base)->due_ns;
}

void ebpf_expire(struct source *base, struct bus *b, uint64_t now_ns)
{
	struct ebpf_source *s = (struct ebpf_source *)base;

	if (s->due_ns <= now_ns)
		consume(s, b, now_ns);
}

/* ---- what the kernel's side tells in memory -------------------------------------------------- */

static uint32_t counted(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

enum open_mode ebpf_opening(const struct source *base, pid_t tgid, bool *under_way)
{
	const struct ebpf_source *s = (const struct ebpf_source *)base;
	const struct events_slot *slot = &s->slots[(unsigned)tgid % EVENTS_SLOTS];
	uint32_t reading = counted(&slot->reading), writing = counted(&slot->writing);
	uint32_t unknown = counted(&slot->unknown), uring = counted(&slot->uring);

	if (under_way)
		*under_way = reading || writing || unknown;
	if (unknown || uring || (reading && writing) || (!reading && !writing))
		return OPEN_MODE_UNKNOWN;
	return reading ? OPEN_MODE_READ : OPEN_MODE_WRITE;
}

enum open_mode ebpf_opening_alone(const struct source *base, const struct subject *subj,
				  bool *also_read)
{
	const struct ebpf_source *s = (const struct ebpf_source *)base;
	const uint64_t *slot = (const uint64_t *)&s->slots[(unsigned)subj->tgid % EVENTS_SLOTS].alone;
	uint64_t alone = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	unsigned ways = alone & (EVENTS_ALONE_READS | EVENTS_ALONE_WRITES);

	if (!subj->tree || !subj->start_time_ns || !ways ||
	    alone != (events_alone((uint32_t)subj->tgid, subj->tree->id, subj->start_time_ns) | ways))
		return OPEN_MODE_UNKNOWN;
	if (!(ways & EVENTS_ALONE_WRITES))
		return OPEN_MODE_READ;
	*also_read = ways & EVENTS_ALONE_READS;
	return OPEN_MODE_WRITE;
}

void ebpf_figures(const struct source *base, struct ebpf_figures *ret)
{
	const struct ebpf_source *s = (const struct ebpf_source *)base;
	const struct events_counters *c = ebpf_counters(s);
	struct ebpf_figures f = { 0 };

	for (unsigned cpu = 0; cpu < s->cpus; cpu++)
		for (unsigned type = 0; type < EVENTS_TYPES; type++) {
			f.sent += __atomic_load_n(&c[cpu].sent[type], __ATOMIC_RELAXED);
			f.lost += __atomic_load_n(&c[cpu].lost[type], __ATOMIC_RELAXED);
		}
	f.malformed = __atomic_load_n(&s->stats.malformed, __ATOMIC_RELAXED);
	*ret = f;
}

static void ebpf_stats(const struct source *base, struct source_stats *ret)
{
	const struct ebpf_source *s = (const struct ebpf_source *)base;
	struct ebpf_figures f;

	ebpf_figures(base, &f);
	*ret = s->stats;
	ret->lost = f.lost;
}

static int ebpf_fd(const struct source *base)
{
	return ((const struct ebpf_source *)base)->epoll_fd;
}

static int ebpf_start(struct source *base)
{
	ebpf_switch((struct ebpf_source *)base, true);
	return 0;
}

static void ebpf_close(struct source *base)
{
	ebpf_free((struct ebpf_source *)base);
}

const struct source_ops ebpf_ops = {
	.name = "ebpf",
	.caps = 1ULL << CAP_SYS_PTRACE, /* /proc/PID/exe of others */
	.start = ebpf_start,
	.fd = ebpf_fd,
	.dispatch = ebpf_dispatch,
	.stats = ebpf_stats,
	.close = ebpf_close,
};

bool ebpf_sees_network(const struct source *base)
{
	return ((const struct ebpf_source *)base)->network;
}

bool ebpf_sees_calls(const struct source *base)
{
	return ((const struct ebpf_source *)base)->c.calls;
}

const char *ebpf_gaps(const struct source *base)
{
	return ((const struct ebpf_source *)base)->gaps;
}

#endif
