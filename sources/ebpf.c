/* SPDX-License-Identifier: Apache-2.0 */
/* What the rings of the eBPF source tell, published. Loading is in ebpf_open.c, the thread that reads
 * the bulk ring in ebpf_bulk.c. */
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

int ebpf_open_sockets(struct source *s)
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

bool ebpf_tells(struct source *s, const struct event *ev, enum open_mode *mode)
{
	(void)s;
	(void)ev;
	(void)mode;
	return false;
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

const char *ebpf_exe_then(struct source *s, struct bus *b, pid_t tgid, pid_t ppid,
			  uint64_t start_time_ns, uint64_t time_ns)
{
	(void)s;
	(void)b;
	(void)tgid;
	(void)ppid;
	(void)start_time_ns;
	(void)time_ns;
	return "";
}

void ebpf_finish(struct source *s, struct bus *b)
{
	(void)s;
	(void)b;
}

void ebpf_tell(struct source *s, bool opens, bool connections)
{
	(void)s;
	(void)opens;
	(void)connections;
}

void ebpf_figures(const struct source *s, struct ebpf_figures *ret)
{
	(void)s;
	*ret = (struct ebpf_figures){ 0 };
}

unsigned ebpf_cpus(const struct source *s)
{
	(void)s;
	return 0;
}

void ebpf_cpu_figures(const struct source *s, unsigned cpu, uint64_t *sent, uint64_t *lost)
{
	(void)s;
	(void)cpu;
	*sent = *lost = 0;
}

#else

#include <bpf/libbpf.h>
#include <sys/epoll.h>
#include <linux/capability.h>

#define LAST_BATCHES 4096 /* at the end: more than the ring of programs holds */
#define BATCH_MAX 16 /* who waits for an answer waits for these, some 3 µs each */

/* ---- who ----------------------------------------------------------------------------------- */

static struct ebpf_exe *exe_row(struct ebpf_source *s, pid_t tgid)
{
	return &s->exes[(unsigned)tgid % EBPF_EXES];
}

static bool is_row_of(const struct ebpf_exe *row, const struct events_head *h)
{
	return row->tgid == (pid_t)h->tgid && row->start_time_ns == h->start_time_ns;
}

static void note_exe(struct ebpf_source *s, const struct events_head *h, const char *path,
		     uint64_t since_ns)
{
	struct ebpf_exe *row = exe_row(s, (pid_t)h->tgid);
	size_t n = strlen(path);

	if (!is_row_of(row, h)) {
		memset(row->ran, 0, sizeof(row->ran));
		row->tgid = (pid_t)h->tgid;
		row->start_time_ns = h->start_time_ns;
	}
	row->last = (row->last + 1) % EBPF_EXES_KEPT;
	row->ran[row->last].since_ns = since_ns;
	if (n >= sizeof(row->ran[0].path) || h->flags & EVENTS_CUT_PATH)
		n = 0;
	memcpy(row->ran[row->last].path, path, n);
	row->ran[row->last].path[n] = '\0';
}

/* What the process of this row ran then; "" when nobody knows any more. *last: it still does. */
static const char *ran_then(const struct ebpf_exe *row, uint64_t time_ns, bool *last)
{
	unsigned at = row->last;

	for (unsigned i = 0; i < EBPF_EXES_KEPT; i++) {
		*last = i == 0;
		if (row->ran[at].since_ns <= time_ns)
			return row->ran[at].path;
		at = (at + EBPF_EXES_KEPT - 1) % EBPF_EXES_KEPT;
	}
	return "";
}

/* A child runs what its parent does until it runs something else. */
static const char *inherited(struct ebpf_source *s, const struct events_head *h)
{
	const struct ebpf_exe *row = exe_row(s, (pid_t)h->ppid);
	bool last;

	return row->tgid == (pid_t)h->ppid ? ran_then(row, h->time_ns, &last) : "";
}

static const char *exe_of(struct ebpf_source *s, const struct events_head *h, bool exited)
{
	const struct ebpf_exe *row = exe_row(s, (pid_t)h->tgid);
	bool heard = is_row_of(row, h), last = true;
	const char *then = heard ? ran_then(row, h->time_ns, &last) : "";
	char link[32];
	ssize_t n;

	if (*then)
		return then;
	if (!exited && last) {
		snprintf(link, sizeof(link), "/proc/%d/exe", (int)h->tgid);
		n = readlink(link, s->exe, sizeof(s->exe) - 1);
		s->exe[n > 0 ? n : 0] = '\0';
		if (n > 0 && !heard)
			note_exe(s, h, s->exe, 0);
		if (n > 0)
			return s->exe;
	}
	then = inherited(s, h);
	/* Gone: the name it had tells more than nothing. */
	return *then ? then : h->comm;
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
		note_exe(s, &r->head, r->path, r->head.time_ns);
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
		if (r->head.flags & EVENTS_RAW && s->c.raw_class)
			ev.dest.egress = s->c.raw_class(s->c.arg);
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

static void take(struct ebpf_source *s, const void *data, size_t len_bytes)
{
	if (ebpf_parse(data, len_bytes, &s->record) < 0)
		__atomic_fetch_add(&s->stats.malformed, 1, __ATOMIC_RELAXED);
	else
		publish(s);
	s->budget--;
}

int ebpf_take(void *arg, void *data, size_t len_bytes)
{
	struct ebpf_source *s = arg;

	s->stats.read++;
	take(s, data, len_bytes);
	/* libbpf stops after a record that returns an error, with that record consumed. */
	return s->budget ? 0 : -EAGAIN;
}

/*
 * What the bulk thread has handed over was told after the programs were that did it: these first, all
 * of them, so that it is known who it was.
 */
static int consume(struct ebpf_source *s, struct bus *b, uint64_t now_ns)
{
	uint64_t end = ebpf_queue_end(&s->bulk.queue);
	const void *data;
	uint32_t len;

	s->bus = b;
	s->budget = BATCH_MAX;
	ring_buffer__consume(s->execs);
	if (s->c.others && ebpf_queue_begin(&s->bulk.queue) < end)
		s->c.others(s->c.arg);
	while (s->budget && (data = ebpf_queue_next(&s->bulk.queue, end, &len))) {
		take(s, data, len);
		ebpf_queue_drop(&s->bulk.queue);
	}
	/* More is there, and nobody will wake us for it. */
	s->due_ns = s->budget ? UINT64_MAX : now_ns;
	return (int)(BATCH_MAX - s->budget);
}

static int ebpf_dispatch(struct source *base, struct bus *b)
{
	struct ebpf_source *s = (struct ebpf_source *)base;
	struct epoll_event woken[2];
	int n;

	if (epoll_wait(s->epoll_fd, woken, 2, 0) <= 0)
		return -EAGAIN;
	n = consume(s, b, clock_boottime_ns());
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

const char *ebpf_exe_then(struct source *base, struct bus *b, pid_t tgid, pid_t ppid,
			  uint64_t start_time_ns, uint64_t time_ns)
{
	struct ebpf_source *s = (struct ebpf_source *)base;
	struct events_head h = { .tgid = (uint32_t)tgid, .ppid = (uint32_t)ppid,
				 .start_time_ns = start_time_ns, .time_ns = time_ns };
	const struct ebpf_exe *row = exe_row(s, tgid);
	const char *then = "";
	bool last;

	s->bus = b;
	for (int i = 0; i < LAST_BATCHES; i++) {
		s->budget = BATCH_MAX;
		ring_buffer__consume(s->execs);
		if (s->budget == BATCH_MAX)
			break;
	}
	if (is_row_of(row, &h))
		then = ran_then(row, time_ns, &last);
	return *then ? then : inherited(s, &h);
}

void ebpf_finish(struct source *base, struct bus *b)
{
	struct ebpf_source *s = (struct ebpf_source *)base;

	/* Who goes on meanwhile is told of no more. */
	for (int i = 0; i < LAST_BATCHES && consume(s, b, clock_boottime_ns()); i++)
		;
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
	uint32_t unknown = counted(&slot->unknown);
	bool uring = counted(&slot->uring) & EVENTS_RING_OPENS;

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

unsigned ebpf_cpus(const struct source *base)
{
	return ((const struct ebpf_source *)base)->cpus;
}

void ebpf_cpu_figures(const struct source *base, unsigned cpu, uint64_t *sent, uint64_t *lost)
{
	const struct events_counters *c = ebpf_counters((const struct ebpf_source *)base);
	uint64_t all = 0, gone = 0;

	for (unsigned type = 0; type < EVENTS_TYPES; type++) {
		all += __atomic_load_n(&c[cpu].sent[type], __ATOMIC_RELAXED);
		gone += __atomic_load_n(&c[cpu].lost[type], __ATOMIC_RELAXED);
	}
	*sent = all;
	*lost = gone;
}

void ebpf_figures(const struct source *base, struct ebpf_figures *ret)
{
	const struct ebpf_source *s = (const struct ebpf_source *)base;
	const struct events_counters *c = ebpf_counters(s);
	struct ebpf_figures f = { .ring_bytes = ebpf_ring_bytes(s, true),
				  .exec_ring_bytes = ebpf_ring_bytes(s, false),
				  .left_out = atomic_load(&s->bulk.left_out),
				  .pushed_out = __atomic_load_n(&s->expect.pushed_out,
								__ATOMIC_RELAXED) };

	for (unsigned cpu = 0; cpu < s->cpus; cpu++) {
		uint64_t sent, lost;

		ebpf_cpu_figures(base, cpu, &sent, &lost);
		f.sent += sent;
		f.lost += lost;
		f.execs_sent += __atomic_load_n(&c[cpu].sent[EVENTS_EXEC], __ATOMIC_RELAXED);
		f.execs_lost += __atomic_load_n(&c[cpu].lost[EVENTS_EXEC], __ATOMIC_RELAXED);
	}
	f.malformed = __atomic_load_n(&s->stats.malformed, __ATOMIC_RELAXED) +
		      atomic_load(&s->bulk.malformed);
	*ret = f;
}

static void ebpf_stats(const struct source *base, struct source_stats *ret)
{
	const struct ebpf_source *s = (const struct ebpf_source *)base;
	struct ebpf_figures f;

	ebpf_figures(base, &f);
	*ret = s->stats;
	ret->read += atomic_load(&s->bulk.read);
	ret->malformed += atomic_load(&s->bulk.malformed);
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
