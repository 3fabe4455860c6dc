/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of members' connections, as events. On the verdict thread. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "sources/ebpf.h"
#include "tools/daemon_egress.h"

#define PROTO(number, name) { number, name }

static const char *protocol_name(const struct egress_record *r, char buf[16])
{
	static const struct {
		uint32_t number;
		const char *name;
	} names[] = { /* IANA's, linux/in.h */
		PROTO(1, "icmp"),  PROTO(6, "tcp"),      PROTO(17, "udp"),  PROTO(58, "icmpv6"),
		PROTO(132, "sctp"), PROTO(136, "udplite"), PROTO(262, "mptcp"),
	};

	if (r->hook == EGRESS_CONNECT_UNIX)
		return "unix";
	/* Protocols are numbers of their family's own. */
	if ((r->hook == EGRESS_SOCK_CREATE || r->hook == EGRESS_SENT) && r->family != AF_INET &&
	    r->family != AF_INET6) {
		if (r->family == AF_PACKET || r->family == AF_VSOCK)
			return r->family == AF_PACKET ? "packet" : "vsock";
		snprintf(buf, 16, "family %u", r->family & 0xff);
		return buf;
	}
	if (r->class == EGRESS_RAW && r->type == 3) /* SOCK_RAW */
		return "raw";
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].number == r->protocol)
			return names[i].name;
	snprintf(buf, 16, "%u", r->protocol);
	return buf;
}

/* It may have ended by now, and somebody else have its number: the record knows when it began. */
static const struct member *find_member(struct daemon *d, const struct egress_record *r)
{
	const struct member *m = proctree_find(d->tree, (pid_t)r->tgid);

	if (!m) {
		daemon_feed_drain(d);
		m = proctree_find(d->tree, (pid_t)r->tgid);
	}
	if (!m)
		m = proctree_find_recent(d->tree, (pid_t)r->tgid);
	if (m && m->start_time_ns && !start_time_same(m->start_time_ns, r->start_time_ns))
		return NULL;
	return m;
}

/* What it ran: of one that has ended meanwhile the source that was told of each exec knows it. */
static const char *find_exe(struct daemon *d, const struct egress_record *r, const struct member *m)
{
	struct daemon_egress *e = d->egress;
	char link[32];
	ssize_t n = 0;

	if (m && !m->exited) {
		snprintf(link, sizeof(link), "/proc/%d/exe", (pid_t)r->tgid);
		n = readlink(link, e->exe, sizeof(e->exe) - 1);
	}
	e->exe[n > 0 ? n : 0] = '\0';
	if (n > 0 || !d->ebpf)
		return e->exe;
	return ebpf_exe_then(d->ebpf, &d->bus, (pid_t)r->tgid, m ? m->ppid : 0, r->start_time_ns,
			     r->time_ns);
}

/* Returns the tree, NULL: it is gone. */
static struct tree *fill_subject(struct daemon *d, const struct egress_record *r, struct subject *s)
{
	struct daemon_egress *e = d->egress;
	/* Asked first: execs that are taken in on the way may end trees, and give rows to others. */
	const char *exe = find_exe(d, r, find_member(d, r));
	const struct member *m = find_member(d, r);
	struct tree *tree = proctree_tree(d->tree, r->tree_id);

	e->lineage[0] = '\0';
	if (m)
		proctree_lineage(d->tree, (pid_t)r->tgid, e->lineage, sizeof(e->lineage));
	*s = (struct subject){
		.tgid = (pid_t)r->tgid,
		.tid = (pid_t)r->tid,
		.ppid = m ? m->ppid : 0,
		.start_time_ns = r->start_time_ns,
		.uid = r->uid,
		.auid = tree ? tree->auid : (uid_t)-1,
		.comm = r->comm,
		.exe = exe,
		.cgroup = "",
		.lineage = e->lineage,
		.main_exe = m && m->main_exe,
		.tree = tree,
	};
	return tree;
}

/* As people write it: @ for the NUL that an abstract name begins with. */
static const char *path_text(struct daemon_egress *e, const struct egress_record *r)
{
	size_t n = r->path_len;

	if (!n)
		return "";
	memcpy(e->path, r->path, n);
	e->path[n] = '\0';
	if (!e->path[0]) {
		e->path[0] = '@';
		for (size_t i = 1; i < n; i++)
			if (!e->path[i])
				e->path[i] = '@';
	}
	return e->path;
}

static void take_record(void *arg, const struct egress_record *r)
{
	struct daemon *d = arg;
	struct daemon_egress *e = d->egress;
	char number[16];
	struct event ev = {
		.seq = ++e->seq,
		.time_ns = r->time_ns,
		.kind = KIND_SOCKET_CONNECT,
		.source_name = "egress",
		.settled = { .by = r->hook == EGRESS_SENT ? MECH_DETECT :
				   r->by_lsm		  ? MECH_LSM : MECH_CGROUP,
			     .refused = r->denied,
			     .spared = r->verdict == EGRESS_DENY && !r->denied,
			     .dropped = r->hook == EGRESS_PACKET && r->type == SOCK_STREAM },
	};
	struct tree *tree = fill_subject(d, r, &ev.subj);
	enum verdict v;

	ev.dest = (struct dest_object){
		.port = r->port,
		.host = "",
		.protocol = protocol_name(r, number),
		.path = path_text(e, r), /* an AF_UNIX socket has no other name */
		.egress = (enum egress_class)r->class,
		.gateway_set = atomic_load(&e->gateway_set),
	};
	if (r->hook == EGRESS_CONNECT_UNIX)
		ev.dest.host = ev.dest.path;
	memcpy(ev.dest.addr, r->addr, sizeof(ev.dest.addr));
	ev.dest.has_addr = r->hook <= EGRESS_SENDMSG6;
	v = bus_publish(&d->bus, &ev);
	if (tree && v == VERDICT_BLOCK)
		tree->blocked++;
	else if (tree && v == VERDICT_WARN)
		tree->warned++;
}

void daemon_egress_dispatch(void *arg)
{
	struct daemon *d = arg;

	if (daemon_egress_runs(d))
		egress_take(d->egress->jail, take_record, d);
}
