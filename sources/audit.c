/* SPDX-License-Identifier: Apache-2.0 */
/* The audit source as the verdict thread has it: what was handed over, published. */
#include "sources/audit.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "sources/audit_told.h"

#define BATCH_MAX 16	  /* who waits for an answer waits for these */
#define LAST_BATCHES 4096 /* at the end: more than the queue holds */
#define RECEIVE_BYTES (8u << 20)
/* The kernel stamps records by a clock of ticks, and /proc starts by another. */
#define STAMP_NS UINT64_C(20000000)

/* ---- who ------------------------------------------------------------------------------------ */

/* Whoever has the number now may have begun after what is told. */
static const struct member *find_member(struct audit_source *s, const struct audit_told *t)
{
	const struct member *m = proctree_find(s->c.tree, t->pid);

	if (!m) {
		s->c.drain(s->c.arg);
		m = proctree_find(s->c.tree, t->pid);
	}
	if (!m)
		m = proctree_find_recent(s->c.tree, t->pid);
	if (!m || (m->exited && m->left) || m->start_time_ns > t->time_ns + STAMP_NS)
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

/* Of what io_uring does only the process is told. */
static const char *exe_of(struct audit_source *s, const struct member *m)
{
	char link[32];
	ssize_t n;

	if (m->exited)
		return m->comm;
	snprintf(link, sizeof(link), "/proc/%d/exe", (int)m->tgid);
	n = readlink(link, s->exe, sizeof(s->exe) - 1);
	s->exe[n > 0 ? n : 0] = '\0';
	return n > 0 ? s->exe : m->comm;
}

static void fill_subject(struct audit_source *s, const struct audit_told *t, const struct member *m,
			 struct tree *tree, const char *comm, const char *exe, struct subject *ret)
{
	proctree_lineage(s->c.tree, t->pid, s->lineage, sizeof(s->lineage));
	*ret = (struct subject){
		.tgid = t->pid,
		.ppid = m->ppid ? m->ppid : t->ppid,
		.start_time_ns = m->start_time_ns,
		.uid = t->uid,
		.auid = tree->auid,
		.comm = comm[0] ? comm : m->comm,
		.exe = exe[0] ? exe : exe_of(s, m),
		.cgroup = "",
		.lineage = s->lineage,
		.main_exe = m->main_exe,
		.tree = tree,
	};
	add_home(&ret->homes, s->c.home_of(s->c.arg, t->uid));
	for (unsigned i = 0; i < HOMES_MAX; i++)
		add_home(&ret->homes, tree->homes[i]);
}

/* ---- what ----------------------------------------------------------------------------------- */

/* False: nobody asks. */
static bool fill_action(struct audit_source *s, const struct audit_told *t, const char *path,
			const char *argv, struct event *ev)
{
	ev->kind = t->kind;
	switch (t->kind) {
	case KIND_FILE_OPENED:
		ev->file = (struct file_object){ .dev = t->dev, .ino = t->ino, .mode = t->mode,
						 .also_read = t->also_read };
		if (t->has_path)
			ev->file.names[ev->file.n_names++].path = path;
		return s->c.names(s->c.arg, &ev->file);
	case KIND_EXEC_OBSERVED:
		ev->exec = (struct exec_object){
			.path = path,
			.argv = t->has_argv ? argv : NULL,
			.argv_len_bytes = t->argv_len,
			.argv_cut = t->argv_cut,
		};
		return true;
	default:
		ev->dest = (struct dest_object){ .port = t->port, .host = "", .protocol = t->protocol,
						 .path = t->by_path ? path : "",
						 .has_addr = t->has_addr };
		memcpy(ev->dest.addr, t->addr, sizeof(ev->dest.addr));
		return !s->c.told_elsewhere(s->c.arg, &ev->dest);
	}
}

static void count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

static void publish(struct audit_source *s, const struct audit_told *t)
{
	const struct member *m = find_member(s, t);
	struct tree *tree = m ? proctree_tree(s->c.tree, m->tree_id) : NULL;
	struct event ev = { .source = &s->base, .source_name = "audit", .time_ns = t->time_ns };
	const char *comm, *exe, *path, *argv;
	enum verdict v;

	if (!tree) {
		count(&s->strangers);
		return;
	}
	audit_told_strings(t, &comm, &exe, &path, &argv);
	if (!fill_action(s, t, path, argv, &ev)) {
		count(&s->no_rule);
		return;
	}
	ev.seq = ++s->seq;
	fill_subject(s, t, m, tree, comm, exe, &ev.subj);
	if (t->refused) {
		s->c.refused(s->c.arg, &ev);
		return;
	}
	v = bus_publish(s->bus, &ev);
	if (v == VERDICT_BLOCK)
		tree->blocked++;
	else if (v == VERDICT_WARN)
		tree->warned++;
}

static int consume(struct audit_source *s, struct bus *b)
{
	uint64_t end = ebpf_queue_end(&s->queue);
	const void *data;
	unsigned n = 0;
	uint32_t len;

	s->bus = b;
	if (ebpf_queue_begin(&s->queue) < end)
		s->c.others(s->c.arg);
	while (n < BATCH_MAX && (data = ebpf_queue_next(&s->queue, end, &len))) {
		publish(s, data);
		ebpf_queue_drop(&s->queue);
		s->read++;
		n++;
	}
	return (int)n;
}

static void wake(int eventfd)
{
	uint64_t one = 1;

	/* Fails only when the counter is full, and then its reader is awake. */
	if (write(eventfd, &one, sizeof(one)) < 0)
		return;
}

static int audit_dispatch(struct source *base, struct bus *b)
{
	struct audit_source *s = (struct audit_source *)base;
	uint64_t ticks;
	int n;

	if (read(s->queue_fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return -EAGAIN;
	n = consume(s, b);
	/* The others have their turn before the rest. */
	if (n == BATCH_MAX)
		wake(s->queue_fd);
	return n ? n : -EAGAIN;
}

void audit_finish(struct source *base, struct bus *b)
{
	for (int i = 0; i < LAST_BATCHES && consume((struct audit_source *)base, b); i++)
		;
}

/* ---- the source ------------------------------------------------------------------------------ */

void audit_watch(struct source *base, pid_t pid, uid_t uid, const char *exe)
{
	audit_rules_add(((struct audit_source *)base)->rules, pid, uid, exe);
}

void audit_unwatch(struct source *base, pid_t pid)
{
	audit_rules_drop(((struct audit_source *)base)->rules, pid);
}

void audit_settle(struct source *base, int timeout_ms)
{
	audit_rules_settle(((struct audit_source *)base)->rules, timeout_ms);
}

void audit_source_figures(const struct source *base, struct audit_source_figures *ret)
{
	const struct audit_source *s = (const struct audit_source *)base;
	struct audit_rules_figures rf = { 0 };

	audit_rules_figures(s->rules, &rf);
	*ret = (struct audit_source_figures){
		.records = atomic_load(&s->records),
		.events = atomic_load(&s->told),
		.strangers = atomic_load(&s->strangers),
		.no_rule = atomic_load(&s->no_rule),
		.partial = atomic_load(&s->partial),
		.malformed = atomic_load(&s->malformed),
		.cut = atomic_load(&s->cut),
		.unnamed = atomic_load(&s->unnamed),
		.foreign = atomic_load(&s->foreign),
		.overruns = atomic_load(&s->overruns),
		/* An administrator may set it back. */
		.kernel_lost = rf.lost > s->lost_before ? rf.lost - s->lost_before : 0,
		.owner = atomic_load(&s->owner),
		.rules = rf,
	};
}

static void audit_stats(const struct source *base, struct source_stats *ret)
{
	struct audit_source_figures f;

	audit_source_figures(base, &f);
	*ret = (struct source_stats){
		.read = f.events,
		.lost = f.overruns + f.kernel_lost + f.cut,
		.malformed = f.malformed,
	};
}

static int audit_fd(const struct source *base)
{
	return ((const struct audit_source *)base)->queue_fd;
}

static int audit_start(struct source *base)
{
	(void)base; /* with its thread */
	return 0;
}

int audit_give_back(struct source *base)
{
	struct audit_source *s = (struct audit_source *)base;
	int err = s->rules ? audit_rules_close(s->rules) : 0;

	s->rules = NULL;
	return err;
}

static void audit_close(struct source *base)
{
	struct audit_source *s = (struct audit_source *)base;

	audit_give_back(base);
	cleanup_close(&s->multicast_fd);
	cleanup_close(&s->stop_fd);
	cleanup_close(&s->queue_fd);
	ebpf_queue_close(&s->queue);
	audit_parser_free(s->parser);
	free(s);
}

static const struct source_ops audit_ops = {
	.name = "audit",
	.caps = 1ULL << CAP_AUDIT_CONTROL | 1ULL << CAP_AUDIT_READ |
		1ULL << CAP_SYS_PTRACE, /* /proc/PID/fd of others */
	.start = audit_start,
	.fd = audit_fd,
	.dispatch = audit_dispatch,
	.stats = audit_stats,
	.close = audit_close,
};

/* The kernel tells the others all in the initial network namespace alone. */
static bool hears_multicast(void)
{
	struct stat own, first;

	return stat("/proc/self/ns/net", &own) < 0 || stat("/proc/1/ns/net", &first) < 0 ||
	       (own.st_ino == first.st_ino && own.st_dev == first.st_dev);
}

/* Multicast is joined when the unicast socket is not ours: whoever owns that has the same there. */
static int join(struct audit_source *s, char why[192])
{
	struct audit_rules_figures rf;
	int r = audit_rules_own(s->rules);

	if (r < 0)
		return r;
	if (!r && !hears_multicast()) {
		snprintf(why, 192, "somebody else owns its socket, and not in the initial network namespace nothing is told "
			 "besides");
		return -EBUSY;
	}
	atomic_store(&s->owner, r == 1);
	s->multicast_fd = audit_socket_open(r == 1 ? 0 : AUDIT_NLGRP_READLOG, RECEIVE_BYTES);
	if (s->multicast_fd < 0) {
		snprintf(why, 192, "its records cannot be read: %s", strerror(-s->multicast_fd));
		return s->multicast_fd;
	}
	if (audit_rules_figures(s->rules, &rf) == 0)
		s->lost_before = rf.lost;
	return 0;
}

int audit_open(const struct audit_config *c, struct source **ret, char why[192])
{
	struct audit_source *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->base.ops = &audit_ops;
	s->c = *c;
	s->multicast_fd = -1;
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->queue_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = s->stop_fd < 0 || s->queue_fd < 0 ? -errno : ebpf_queue_open(&s->queue);
	if (!err)
		err = audit_parser_new(&s->parser);
	if (!err)
		err = audit_rules_open(&s->rules, why, 192);
	if (!err && c->by_user)
		audit_rules_by_user(s->rules);
	if (!err)
		err = join(s, why);
	if (err) {
		audit_close(&s->base);
		return err;
	}
	*ret = &s->base;
	return 0;
}

int audit_enable(struct source *base)
{
	return audit_rules_enable(((struct audit_source *)base)->rules);
}

void audit_stop(struct source *base)
{
	struct audit_source *s = (struct audit_source *)base;

	atomic_store(&s->stop, true);
	wake(s->stop_fd);
}
