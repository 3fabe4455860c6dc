/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process feed from the kernel's proc connector (netlink), for hosts where BPF does not load.
 * It tells forks, execs and exits of all processes, in order, but no start times, no names, and
 * not who really made a child: what is missing is looked up in settle.
 */
#include "sources/process_feed.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <string.h>
#include <sys/socket.h>

#include "core/cleanup.h"

#define RECEIVE_BYTES (16u << 20)
#define DATAGRAM_BYTES 4096
#define DRAIN_MAX 16384 /* datagrams at one go */
#define LOOK_MAX 4096
#define SETTLE_BATCH 256
#define ACKS_MAX 65536 /* datagrams to look through for an answer to our request */

struct connector_feed {
	struct process_feed base;
	struct mnl_socket *nl;
	bool overflow; /* found in settle, to be told by the next drain */
	bool seq_known[CONNECTOR_CPUS];
	uint32_t seq[CONNECTOR_CPUS];
	uint64_t seq_gaps;
	/* Members that settle has to look up in /proc. */
	pid_t look[LOOK_MAX];
	unsigned n_look;
	bool look_all;
};

static struct connector_feed *connector(const struct process_feed *f)
{
	return (struct connector_feed *)f;
}

/* ---- taking datagrams apart --------------------------------------------------------------- */

/* The kernel's own layout, which it may lengthen: only what an event needs must be there. */
static int parse_event(const struct cn_msg *cn, const void *data, size_t len,
		       struct connector_event *ret)
{
	struct connector_event e = { .seq = cn->seq, .ack = cn->ack };
	const size_t head = offsetof(struct proc_event, event_data);
	struct proc_event ev;
	size_t need = head;

	memset(&ev, 0, sizeof(ev));
	if (len < head)
		return -EPROTO;
	memcpy(&ev, data, len < sizeof(ev) ? len : sizeof(ev));
	e.cpu = ev.cpu;
	switch ((uint32_t)ev.what) {
	case PROC_EVENT_NONE:
		need += sizeof(ev.event_data.ack);
		e.what = CONNECTOR_ACK;
		e.error = ev.event_data.ack.err;
		break;
	case PROC_EVENT_FORK:
		need += sizeof(ev.event_data.fork);
		e.what = CONNECTOR_FORK;
		e.pid = ev.event_data.fork.child_pid;
		e.tgid = ev.event_data.fork.child_tgid;
		e.parent_pid = ev.event_data.fork.parent_pid;
		e.parent_tgid = ev.event_data.fork.parent_tgid;
		break;
	case PROC_EVENT_EXEC:
		need += sizeof(ev.event_data.exec);
		e.what = CONNECTOR_EXEC;
		e.pid = ev.event_data.exec.process_pid;
		e.tgid = ev.event_data.exec.process_tgid;
		break;
	case PROC_EVENT_EXIT:
		need += sizeof(ev.event_data.exit);
		e.what = CONNECTOR_EXIT;
		e.pid = ev.event_data.exit.process_pid;
		e.tgid = ev.event_data.exit.process_tgid;
		e.parent_pid = ev.event_data.exit.parent_pid;
		e.parent_tgid = ev.event_data.exit.parent_tgid;
		break;
	default:
		e.what = CONNECTOR_OTHER;
	}
	if (len < need)
		return -EPROTO;
	/* Children of pid 0 are the kernel's own. */
	if (e.what != CONNECTOR_OTHER && e.what != CONNECTOR_ACK &&
	    (e.pid <= 0 || e.tgid <= 0 || e.parent_pid < 0 || e.parent_tgid < 0))
		return -EPROTO;
	*ret = e;
	return 0;
}

int connector_parse(const void *data, size_t len_bytes,
		    void (*fn)(const struct connector_event *e, void *arg), void *arg)
{
	const char *p = data;
	int n = 0;

	while (len_bytes) {
		struct connector_event e;
		struct nlmsghdr nlh;
		struct cn_msg cn;
		size_t body;
		int r;

		/* Copied out: a datagram need not be aligned. */
		if (len_bytes < sizeof(nlh))
			return -EPROTO;
		memcpy(&nlh, p, sizeof(nlh));
		if (nlh.nlmsg_len < NLMSG_HDRLEN + sizeof(cn) || nlh.nlmsg_len > len_bytes)
			return -EPROTO;
		memcpy(&cn, p + NLMSG_HDRLEN, sizeof(cn));
		body = nlh.nlmsg_len - NLMSG_HDRLEN - sizeof(cn);
		if (nlh.nlmsg_type != NLMSG_DONE || cn.id.idx != CN_IDX_PROC ||
		    cn.id.val != CN_VAL_PROC || cn.len > body)
			return -EPROTO;
		r = parse_event(&cn, p + NLMSG_HDRLEN + sizeof(cn), cn.len, &e);
		if (r < 0)
			return r;
		fn(&e, arg);
		n++;
		if (NLMSG_ALIGN((size_t)nlh.nlmsg_len) >= len_bytes)
			break;
		p += NLMSG_ALIGN(nlh.nlmsg_len);
		len_bytes -= NLMSG_ALIGN(nlh.nlmsg_len);
	}
	return n;
}

/* ---- events to the table ------------------------------------------------------------------ */

static void look_later(struct connector_feed *c, pid_t tgid)
{
	if (c->n_look && c->look[c->n_look - 1] == tgid)
		return;
	if (c->n_look < LOOK_MAX)
		c->look[c->n_look++] = tgid;
	else
		c->look_all = true;
}

static void take_fork(struct connector_feed *c, const struct connector_event *e)
{
	struct process_feed *f = &c->base;
	const struct member *m = proctree_find(f->tree, e->tgid);

	if (e->pid != e->tgid) { /* a thread */
		if (m && m->threads)
			proctree_set_threads(f->tree, e->tgid, m->threads + 1u);
		return;
	}
	f->stats.forks++;
	switch (proctree_fork(f->tree, e->parent_tgid, e->tgid, 0)) {
	case 1:
		/* The exit of who had the pid before is told after it could be reused. It is still to
		 * come, and must not be taken for the exit of this one. */
		if (m)
			proctree_set_threads(f->tree, e->tgid, 0);
		process_born(f, e->tgid);
		look_later(c, e->tgid);
		break;
	case -ENOSPC:
		c->overflow = true;
		break;
	}
}

static void take_exec(struct connector_feed *c, const struct connector_event *e)
{
	struct process_feed *f = &c->base;
	struct process_exec x = {
		.tgid = e->tgid,
		.uid = (uid_t)-1,
		.comm = "",
		.filename = "",
		.member = proctree_find(f->tree, e->tgid) != NULL,
	};

	f->stats.execs++;
	proctree_exec(f->tree, e->tgid, NULL, (uid_t)-1);
	if (x.member)
		look_later(c, e->tgid);
	if (f->h.exec)
		f->h.exec(f->h.arg, &x);
}

static void take_exit(struct connector_feed *c, const struct connector_event *e)
{
	struct process_feed *f = &c->base;
	const struct member *m = proctree_find(f->tree, e->tgid);

	if (e->pid == e->tgid)
		f->stats.exits++;
	if (!m)
		return;
	if (m->threads > 1) {
		proctree_set_threads(f->tree, e->tgid, m->threads - 1u);
	} else if (m->threads == 1 && e->parent_tgid == m->ppid) {
		process_gone(f, e->tgid);
	} else {
		/* How many threads it had is not known, or this is the late exit of a stranger who
		 * had the pid before. */
		proctree_set_threads(f->tree, e->tgid, 0);
		look_later(c, e->tgid);
	}
}

/* The kernel numbers what it sends, and leaves a gap where it found no memory for a message. */
static void count_gap(struct connector_feed *c, const struct connector_event *e)
{
	if (e->cpu >= CONNECTOR_CPUS)
		return;
	if (c->seq_known[e->cpu] && e->seq != c->seq[e->cpu] + 1) {
		c->seq_gaps++;
		c->overflow = true;
	}
	c->seq_known[e->cpu] = true;
	c->seq[e->cpu] = e->seq;
}

static void take_event(const struct connector_event *e, void *arg)
{
	struct connector_feed *c = arg;

	count_gap(c, e);
	switch (e->what) {
	case CONNECTOR_FORK:
		take_fork(c, e);
		break;
	case CONNECTOR_EXEC:
		take_exec(c, e);
		break;
	case CONNECTOR_EXIT:
		take_exit(c, e);
		break;
	default:
		break;
	}
}

/* ---- the feed ----------------------------------------------------------------------------- */

static int connector_fd(const struct process_feed *f)
{
	return mnl_socket_get_fd(connector(f)->nl);
}

static uint64_t connector_caps(const struct process_feed *f)
{
	(void)f;
	return 0; /* only joining the group needs one */
}

/* Length of one datagram of the kernel's; 0 for somebody else's; -EAGAIN, -ENOBUFS … */
static ssize_t receive(const struct connector_feed *c, char buf[DATAGRAM_BYTES])
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = DATAGRAM_BYTES };
	struct msghdr msg = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	ssize_t n = recvmsg(mnl_socket_get_fd(c->nl), &msg, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0)
		return 0;
	return msg.msg_flags & MSG_TRUNC ? -EPROTO : n;
}

static void forget_threads(const struct member *m, void *arg)
{
	proctree_set_threads(arg, m->tgid, 0);
}

static int drain(struct connector_feed *c)
{
	struct process_feed *f = &c->base;
	char buf[DATAGRAM_BYTES];

	for (int taken = 0; taken < DRAIN_MAX;) {
		ssize_t n = receive(c, buf);

		if (n == -EAGAIN)
			return taken;
		if (n == -EINTR)
			continue;
		if (n == -ENOBUFS) {
			c->overflow = true;
			memset(c->seq_known, 0, sizeof(c->seq_known));
			continue;
		}
		if (n < 0 && n != -EPROTO)
			return (int)n;
		if (n <= 0 || connector_parse(buf, (size_t)n, take_event, c) < 0)
			f->stats.malformed++;
		taken++;
	}
	return -EAGAIN;
}

static int connector_drain(struct process_feed *f)
{
	struct connector_feed *c = connector(f);
	int r = drain(c);

	if (!c->overflow)
		return r;
	c->overflow = false;
	f->stats.lost++;
	c->look_all = true;
	proctree_each_member(f->tree, 0, forget_threads, f->tree);
	return -EOVERFLOW;
}

/* ---- what the connector does not tell ----------------------------------------------------- */

struct looked {
	const struct member *m; /* its row: another process with the pid would have another */
	bool gone;
	struct process_scan_entry now;
};

static void look_batch(struct connector_feed *c, const pid_t *tgids, unsigned n)
{
	struct process_feed *f = &c->base;
	struct looked found[SETTLE_BATCH];
	unsigned n_found = 0;

	for (unsigned i = 0; i < n; i++) {
		struct looked *l = &found[n_found];
		int r;

		l->m = proctree_find(f->tree, tgids[i]);
		if (!l->m)
			continue;
		l->now.tgid = tgids[i];
		r = process_read(tgids[i], &l->now);
		l->gone = r == -ESRCH;
		l->now.tgid = tgids[i];
		if (r == 0 || l->gone)
			n_found++;
	}
	/* Whoever died and was replaced while we looked is in the queue by now. */
	drain(c);
	for (unsigned i = 0; i < n_found; i++) {
		const struct looked *l = &found[i];

		if (proctree_find(f->tree, l->now.tgid) != l->m)
			continue;
		if (l->gone || (l->m->start_time_ns &&
				!start_time_same(l->m->start_time_ns, l->now.start_time_ns))) {
			process_gone(f, l->now.tgid);
			continue;
		}
		if (!l->m->start_time_ns)
			proctree_set_start(f->tree, l->now.tgid, l->now.start_time_ns);
		proctree_set_name(f->tree, l->now.tgid, l->now.comm, l->now.uid);
	}
}

struct pid_list {
	pid_t *pids;
	size_t n, room;
};

static void list_member(const struct member *m, void *arg)
{
	struct pid_list *l = arg;

	if (l->n < l->room)
		l->pids[l->n++] = m->tgid;
}

static void look_at(struct connector_feed *c, const pid_t *pids, size_t n)
{
	for (size_t i = 0; i < n; i += SETTLE_BATCH)
		look_batch(c, pids + i, n - i < SETTLE_BATCH ? (unsigned)(n - i) : SETTLE_BATCH);
}

static void connector_settle(struct process_feed *f)
{
	struct connector_feed *c = connector(f);
	struct pid_list all = { 0 };
	pid_t some[LOOK_MAX];

	if (c->look_all) {
		all.room = proctree_members(f->tree);
		all.pids = calloc(all.room + 1, sizeof(*all.pids));
		if (!all.pids)
			return; /* next time */
		c->look_all = false;
		c->n_look = 0;
		proctree_each_member(f->tree, 0, list_member, &all);
		look_at(c, all.pids, all.n);
		free(all.pids);
		return;
	}
	all.n = c->n_look;
	memcpy(some, c->look, all.n * sizeof(*some));
	c->n_look = 0;
	look_at(c, some, all.n);
}

/* ---- open --------------------------------------------------------------------------------- */

static int request(const struct connector_feed *c, uint32_t seq, const void *data, uint16_t len)
{
	_Alignas(struct nlmsghdr) char buf[128] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct cn_msg *cn;

	nlh->nlmsg_type = NLMSG_DONE;
	nlh->nlmsg_seq = seq;
	cn = mnl_nlmsg_put_extra_header(nlh, sizeof(*cn) + len);
	cn->id.idx = CN_IDX_PROC;
	cn->id.val = CN_VAL_PROC;
	cn->seq = cn->ack = seq; /* the answer has this ack + 1, and a seq of its own */
	cn->len = len;
	memcpy(cn->data, data, len);
	return mnl_socket_sendto(c->nl, nlh, nlh->nlmsg_len) < 0 ? -errno : 0;
}

struct ack_wait {
	uint32_t ack;
	bool seen;
	uint32_t error;
};

static void see_ack(const struct connector_event *e, void *arg)
{
	struct ack_wait *w = arg;

	if (e->what == CONNECTOR_ACK && e->ack == w->ack) {
		w->seen = true;
		w->error = e->error;
	}
}

/* The kernel answers within sendto(): what is not there yet will not come. Events before the
 * answer are passed over: nobody is tracked yet. */
static int await_ack(const struct connector_feed *c, uint32_t seq)
{
	struct ack_wait w = { .ack = seq + 1 };
	char buf[DATAGRAM_BYTES];

	for (unsigned i = 0; i < ACKS_MAX && !w.seen; i++) {
		ssize_t n = receive(c, buf);

		if (n == -EAGAIN)
			return -EOPNOTSUPP;
		if (n > 0)
			connector_parse(buf, (size_t)n, see_ack, &w);
	}
	return w.seen ? -(int)w.error : -EOPNOTSUPP;
}

/* Linux 6.6 can filter by kind, but what it holds back leaves gaps in the numbers: a loss could no
 * longer be told from it. The other kinds are rare. */
static int listen_to_processes(struct connector_feed *c)
{
	const uint32_t all = PROC_CN_MCAST_LISTEN;
	/* Answers go to all listeners: ours must be told from theirs. */
	const uint32_t seq = (uint32_t)getpid();
	int r;

	r = request(c, seq, &all, sizeof(all));
	return r < 0 ? r : await_ack(c, seq);
}

static int open_socket(struct connector_feed *c, const struct process_feed_limits *l)
{
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd, size = (int)(l->receive_bytes ? l->receive_bytes : RECEIVE_BYTES);

	c->nl = mnl_socket_open2(NETLINK_CONNECTOR, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!c->nl)
		return -errno;
	fd = mnl_socket_get_fd(c->nl);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0)
		return -errno;
	if (mnl_socket_bind(c->nl, CN_IDX_PROC, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* Connected to the kernel, the socket takes nothing from other processes. */
	if (connect(fd, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return 0;
}

static void connector_free(struct connector_feed **p)
{
	const uint32_t ignore = PROC_CN_MCAST_IGNORE;
	struct connector_feed *c = *p;

	if (!c)
		return;
	if (c->nl) {
		/* Refused when the privilege is gone: then the kernel notices the close. */
		if (c->base.ops)
			request(c, 0, &ignore, sizeof(ignore));
		mnl_socket_close(c->nl);
	}
	free(c);
}

static void connector_close(struct process_feed *f)
{
	struct connector_feed *c = connector(f);

	connector_free(&c);
}

static const struct process_feed_ops connector_ops = {
	.name = "connector",
	.gaps = "a child made with CLONE_PARENT is not recognised as watched; no command lines of "
		"processes that live shortly",
	.fd = connector_fd,
	.caps = connector_caps,
	.drain = connector_drain,
	.settle = connector_settle,
	.close = connector_close,
};

int process_connector_open(const struct process_feed_limits *l, struct process_feed **ret,
			   char why[128])
{
	_cleanup_(connector_free) struct connector_feed *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	r = open_socket(c, l);
	if (r < 0) {
		snprintf(why, 128, "socket: %s%s", strerror(-r),
			 r == -EPERM ? " (CAP_NET_ADMIN is needed)" : "");
		return r;
	}
	r = listen_to_processes(c);
	if (r < 0) {
		snprintf(why, 128, "listen: %s", strerror(-r));
		return r;
	}
	c->base.ops = &connector_ops;
	*ret = &TAKE_PTR(c)->base;
	return 0;
}
