/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is sent on sockets that no connect of a member was seen for: connected before the tree was
 * watched, inherited, or passed in. Who sends is known where it leaves within the sender's own call;
 * a connection into which a member wrote what is denied stays closed, whoever moves the bytes later.
 * Included by egress.bpf.c alone.
 */
#ifndef OKNEK_ENFORCE_BPF_EGRESS_PACKET_H
#define OKNEK_ENFORCE_BPF_EGRESS_PACKET_H

#define AF_UNIX 1
#define AF_NETLINK 16
#define AF_ALG 38
#define PROTO_DCCP 33
#define PROTO_SCTP 132
#define ETH_P_IPV6 0x86dd /* linux/if_ether.h */
/* Headers between IPv6 and what it carries (RFC 8200) */
#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_DESTINATION 60
#define OPTION_JUMBO 0xc2 /* RFC 2675 */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct {
	int owned;
} socket_lock_t;
struct in6_addr {
	__u8 byte[16];
};
struct sock_common {
	__be32 skc_daddr;
	__be16 skc_dport;
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr;
};
struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	__u32 sk_max_ack_backlog;
	__u16 sk_type, sk_protocol;
	__u32 sk_kern_sock : 1;
	__u32 sk_allocation;
};
struct tcp_sock {
	_Bool is_mptcp;
};
struct ipv6_txoptions {
	__u16 opt_flen, opt_nflen;
};
struct ipv6_pinfo {
	struct ipv6_txoptions *opt;
};
struct ip_options {
	unsigned char optlen;
};
struct ip_options_rcu {
	struct ip_options opt;
};
struct inet_sock {
	struct ipv6_pinfo *pinet6; /* NULL: it is of IPv4 */
	struct ip_options_rcu *inet_opt;
};
#pragma clang attribute pop

struct socket_mark {
	__u32 judged; /* the word of the settings that it was under; READY is always in it */
	__u8 verdict; /* then */
	__u8 seen;    /* a member's connect was let through, or the other end connected to us */
	__u8 closed;  /* a member wrote what was denied */
	__u8 members; /* a member connected it, or wrote to it */
	__u32 routed; /* the word when a member's way round was told of; 0: there was none */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_mark);
} sockets SEC(".maps");

/*
 * Marks of sockets that have no room for more: what hangs from a socket is charged to it, and its owner
 * can use that up (filters, groups). By cookie; looked at only when there has been one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct socket_mark);
} full_sockets SEC(".maps");

static __always_inline struct socket_mark *mark_of_full(__u64 cookie, int create)
{
	struct socket_mark none = { 0 };

	if (create) {
		settings.were_full = 1;
		bpf_map_update_elem(&full_sockets, &cookie, &none, BPF_NOEXIST);
	}
	return settings.were_full ? bpf_map_lookup_elem(&full_sockets, &cookie) : 0;
}

/* Will what it sends go by way of others? Said before, so that connect fails and does not wait. */
static __always_inline int has_way(const struct sock *k)
{
	const struct inet_sock *inet = (const struct inet_sock *)k;
	const struct ip_options_rcu *v4 = BPF_CORE_READ(inet, inet_opt);
	const struct ipv6_pinfo *v6 = BPF_CORE_READ(inet, pinet6);
	const struct ipv6_txoptions *opt = v6 ? BPF_CORE_READ(v6, opt) : 0;

	if (v4 && BPF_CORE_READ(v4, opt.optlen))
		return 1;
	return opt && (BPF_CORE_READ(opt, opt_flen) || BPF_CORE_READ(opt, opt_nflen));
}

static __always_inline void mark_seen(struct bpf_sock *sk)
{
	struct socket_mark *mark = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (mark)
		mark->seen = mark->members = 1;
}

/*
 * Is it current who sends on this socket? Protocols with connections send under the socket's lock or,
 * when nobody has that, for nobody in an interrupt. The others send only when they are called, but for
 * sockets of the kernel.
 */
static __always_inline int is_by_caller(const struct sock *k, __u32 protocol)
{
	if (is_stream(protocol) || protocol == PROTO_SCTP || protocol == PROTO_DCCP)
		return BPF_CORE_READ(k, sk_lock.owned) != 0;
	return 1;
}

#define GFP_IO_FS 0xc0 /* ___GFP_IO | ___GFP_FS, include/linux/gfp_types.h */

/*
 * Network filesystems and disks send within the call of whoever reads or writes a file: what goes to
 * their server is not his. Their sockets are the kernel's, or may not wait for the disk that they are.
 * Flows of MPTCP are the kernel's too, and carry what somebody else wrote.
 */
static __always_inline int is_kernels(const struct sock *k)
{
	struct tcp_sock *tcp = (struct tcp_sock *)k;

	if ((BPF_CORE_READ(k, sk_allocation) & GFP_IO_FS) != GFP_IO_FS)
		return 1;
	if (!BPF_CORE_READ_BITFIELD_PROBED(k, sk_kern_sock))
		return 0;
	if (BPF_CORE_READ(k, sk_protocol) != PROTO_TCP || !bpf_core_field_exists(tcp->is_mptcp))
		return 1;
	return !BPF_CORE_READ_BITFIELD_PROBED(tcp, is_mptcp);
}

/*
 * Whoever was accepted has the length of the queue of who listened; who connects has none. Of a queue of
 * length 0, listen(fd, 0), egress_accepted() has made a mark.
 */
static __always_inline int is_accepted(const struct sock *k)
{
	return BPF_CORE_READ(k, sk_max_ack_backlog) != 0;
}

/* A socket that the verifier knows has fewer fields; read as bytes it is a number like any other. */
static __always_inline const struct sock *whole(struct bpf_sock *sk)
{
	struct bpf_sock *volatile held = sk;
	const struct sock *k = 0;

	bpf_probe_read_kernel(&k, sizeof(k), (const void *)&held);
	return k;
}

static __always_inline void fill_peer(struct asked *a, const struct sock *k)
{
	__u32 ip;

	a->family = BPF_CORE_READ(k, __sk_common.skc_family);
	a->type = BPF_CORE_READ(k, sk_type);
	a->protocol = BPF_CORE_READ(k, sk_protocol);
	a->port = bpf_ntohs(BPF_CORE_READ(k, __sk_common.skc_dport));
	if (a->family == AF_INET) {
		ip = BPF_CORE_READ(k, __sk_common.skc_daddr);
		a->addr[10] = a->addr[11] = 0xff;
		__builtin_memcpy(a->addr + 12, &ip, sizeof(ip));
	} else {
		bpf_core_read(a->addr, sizeof(a->addr), &k->__sk_common.skc_v6_daddr);
	}
}

struct packet {
	__u8 addr[16] __attribute__((aligned(8))); /* to */
	__u16 port;    /* 0: not looked at */
	__u8 payload;  /* there is some */
};

/* What a connection says of itself carries nothing: acknowledgements, ends. */
static __always_inline int read_packet(struct __sk_buff *skb, __u32 protocol, struct packet *p)
{
	__u32 at = 40;
	__u8 byte = 0;

	p->payload = 1;
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(skb, 24, p->addr, 16) < 0 ||
		    bpf_skb_load_bytes(skb, 6, &byte, 1) < 0)
			return 0;
		/* Others have headers between, which take privilege to ask for. */
		if (byte != PROTO_TCP && byte != PROTO_UDP && byte != PROTO_UDPLITE)
			return 1;
	} else {
		p->addr[10] = p->addr[11] = 0xff;
		if (bpf_skb_load_bytes(skb, 16, p->addr + 12, 4) < 0 ||
		    bpf_skb_load_bytes(skb, 0, &byte, 1) < 0)
			return 0;
		at = (byte & 15) * 4;
	}
	if (bpf_skb_load_bytes(skb, at + 2, &p->port, 2) < 0)
		return 0;
	p->port = bpf_ntohs(p->port);
	if (is_stream(protocol) && bpf_skb_load_bytes(skb, at + 12, &byte, 1) == 0)
		p->payload = skb->len > at + (byte >> 4) * 4;
	return 1;
}

static __always_inline int same_peer(const struct asked *a, const struct packet *p)
{
	const __u64 *x = (const __u64 *)a->addr, *y = (const __u64 *)p->addr;

	return a->port == p->port && x[0] == y[0] && x[1] == y[1];
}

static __always_inline struct wire_member *find_sender(struct asked *a)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct wire_member *m = bpf_map_lookup_elem(&members, &tgid);

	__builtin_memset(a, 0, sizeof(*a));
	if (!m || !is_member(a, m))
		return 0;
	a->hook = EGRESS_PACKET;
	return m;
}

/*
 * What was said of this socket, said again for each state of the settings; a member who asks is told
 * of once for each. 0: nothing is said.
 */
static __always_inline int judge_socket(struct asked *a, struct socket_mark *mark)
{
	int is_inet = is_stream(a->protocol) || is_datagram(a->protocol);

	if (mark->judged == state_for(a))
		return 1;
	if (is_inet ? !find_verdict(a) : !find_raw_verdict(a))
		return 0;
	mark->judged = a->state;
	mark->verdict = a->verdict;
	if (a->member)
		settle(a, 0, 0);
	return 1;
}

static __always_inline int is_denied(const struct socket_mark *mark)
{
	return mark->verdict == EGRESS_DENY && mark->judged & EGRESS_ENFORCE;
}

/*
 * Does it go by way of somebody else, who is no part of what was judged? Options of IPv4 and headers of
 * IPv6 say so, source routes and segment routing; one that says less may hide the one that does. The
 * kernel itself puts a header before TCP that is larger than 64 KiB (RFC 2675).
 */
static __always_inline int is_by_way(struct __sk_buff *skb)
{
	__u8 byte = 0, hop[3] = { 0 };

	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return bpf_skb_load_bytes(skb, 0, &byte, 1) == 0 && (byte & 15) > 5;
	if (bpf_skb_load_bytes(skb, 6, &byte, 1) < 0)
		return 0;
	if (byte == NEXT_HOP_BY_HOP && bpf_skb_load_bytes(skb, 40, hop, 3) == 0 && !hop[1] &&
	    hop[2] == OPTION_JUMBO)
		byte = hop[0];
	return byte == NEXT_HOP_BY_HOP || byte == NEXT_ROUTING || byte == NEXT_DESTINATION;
}

/* Told with where it goes first; of a connection once. */
static __always_inline int judge_way(const struct asked *asked, struct socket_mark *mark,
				     struct __sk_buff *skb)
{
	struct asked a = *asked;

	if (!find_raw_verdict(&a))
		return PASSES;
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		bpf_skb_load_bytes(skb, 24, a.addr, 16);
	else
		bpf_skb_load_bytes(skb, 16, a.addr + 12, 4);
	if (!a.member || (is_stream(a.protocol) && mark->routed == a.state))
		return a.verdict == EGRESS_DENY && a.state & EGRESS_ENFORCE ? DENIED : PASSES;
	mark->routed = a.state;
	mark->members = 1;
	return settle(&a, 0, 0);
}

SEC("?cgroup_skb/egress")
int egress_packet(struct __sk_buff *skb)
{
	struct socket_mark *mark;
	struct packet p = { 0 };
	const struct sock *k;
	struct bpf_sock *sk;
	struct asked a;

	if (!(settings.state & EGRESS_READY) || !skb->sk)
		return PASSES;
	sk = bpf_sk_fullsock(skb->sk);
	if (!sk)
		return PASSES;
	mark = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!mark && settings.were_full)
		mark = mark_of_full(bpf_get_socket_cookie(skb), 0);
	if (mark && mark->seen && !is_by_way(skb))
		return PASSES;
	if (!find_sender(&a)) {
		if (!mark || !(mark->closed || mark->members))
			return PASSES;
		a.member = 0;
	}
	k = whole(sk);
	if (is_kernels(k))
		return PASSES;
	if (!mark)
		mark = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!mark)
		mark = mark_of_full(bpf_get_socket_cookie(skb), 1);
	if (!mark)
		return PASSES;
	fill_peer(&a, k);
	if (a.member && !is_by_caller(k, a.protocol)) {
		if (!mark->closed && !mark->members)
			return PASSES;
		a.member = 0; /* it ran when somebody else sent */
	}
	if (is_by_way(skb) && judge_way(&a, mark, skb) == DENIED)
		return DENIED;
	if (mark->seen || (!a.member && !mark->closed))
		return PASSES;
	/* What is sent without a connection was judged by itself. */
	if (!a.port && (is_stream(a.protocol) || is_datagram(a.protocol)))
		return PASSES;
	if (!read_packet(skb, a.protocol, &p) || !p.payload)
		return PASSES;
	if (a.member)
		mark->members = 1;
	if (is_stream(a.protocol) && is_accepted(k)) {
		mark->seen = 1;
		return PASSES;
	}
	if (is_datagram(a.protocol) && !same_peer(&a, &p)) {
		/* Sent elsewhere than it is connected to, or translated on its way. */
		struct asked other = a;

		__builtin_memcpy(other.addr, p.addr, sizeof(other.addr));
		other.port = p.port;
		if (find_verdict(&other) && other.verdict != EGRESS_DENY)
			return PASSES;
	}
	if (!judge_socket(&a, mark))
		return PASSES;
	if (mark->verdict == EGRESS_PASS)
		mark->seen = 1;
	if (!is_denied(mark))
		return PASSES;
	mark->closed |= is_stream(a.protocol);
	return DENIED;
}

/*
 * The other end has connected to us, whoever of us has the socket; the handshake ends here. Also when
 * both have connected to each other at once, which takes the other end's will, too.
 */
SEC("?sockops")
int egress_accepted(struct bpf_sock_ops *ctx)
{
	struct socket_mark *mark;
	struct bpf_sock *sk;

	if (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB || !(settings.state & EGRESS_READY))
		return 1;
	sk = ctx->sk;
	if (!sk || is_accepted(whole(sk)))
		return 1;
	mark = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!mark)
		mark = mark_of_full(bpf_get_socket_cookie(ctx), 1);
	if (mark)
		mark->seen = 1;
	return 1;
}

/* What was written and waits for room leaves in an interrupt: it is known before that. */
static __always_inline int written(struct sock *sk)
{
	struct socket_mark *mark;
	struct asked a;

	if (!(settings.state & EGRESS_READY) || !find_sender(&a))
		return 0;
	fill_peer(&a, sk);
	if (a.protocol != PROTO_TCP || !a.port || (a.family != AF_INET && a.family != AF_INET6) ||
	    is_kernels(sk))
		return 0;
	mark = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!mark)
		return 0;
	mark->members = 1;
	if (mark->seen)
		return 0;
	if (is_accepted(sk)) {
		mark->seen = 1;
		return 0;
	}
	if (!judge_socket(&a, mark))
		return 0;
	if (mark->verdict == EGRESS_PASS)
		mark->seen = 1;
	else if (is_denied(mark))
		mark->closed = 1;
	return 0;
}

/*
 * Packet sockets, vsock and others, which no cgroup is asked about: it has left by now, so that it can
 * only be told. Once for each socket, or when that has no room for a mark, as often as anything is.
 */
static __always_inline int sent(struct sock *sk)
{
	struct socket_mark *mark;
	struct asked a;

	if (!(settings.state & EGRESS_READY) || !find_sender(&a) || !find_raw_verdict(&a) ||
	    is_kernels(sk))
		return 0;
	mark = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (mark && mark->judged == a.state)
		return 0;
	if (mark)
		mark->judged = a.state;
	a.hook = EGRESS_SENT;
	a.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	a.type = BPF_CORE_READ(sk, sk_type);
	a.protocol = BPF_CORE_READ(sk, sk_protocol);
	if (a.verdict == EGRESS_DENY)
		a.verdict = EGRESS_TELL;
	settle(&a, 0, 0);
	return 0;
}

SEC("?tp_btf/sock_send_length") /* from 6.3 on */
int egress_written(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if ((int)ctx[1] <= 0)
		return 0;
	if (family == AF_INET || family == AF_INET6)
		return written(sk);
	return family == AF_UNIX || family == AF_NETLINK || family == AF_ALG ? 0 : sent(sk);
}

SEC("?fentry/tcp_sendmsg") /* where there are trampolines */
int egress_write(__u64 *ctx)
{
	return written((struct sock *)ctx[0]);
}

#endif
