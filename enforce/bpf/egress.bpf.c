/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The egress jail: where members of watched trees may connect and send to. Attached at the root of
 * cgroup2, since the programs that run are those of the socket's cgroup, which may be older than the
 * watching; who is not in the membership map has passed after one lookup.
 */
#include "enforce/bpf/egress_table.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sockaddr;
struct bpf_sock_addr_kern {
	struct sockaddr *uaddr;
	int uaddrlen;
};
#pragma clang attribute pop

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#include "enforce/bpf/egress_packet.h"

static __always_inline int judge_call(struct asked *a, struct bpf_sock *sk)
{
	__u8 class, verdict;
	int r;

	if (!find_verdict(a))
		return PASSES;
	class = a->class;
	verdict = a->verdict;
	if (sk && verdict != EGRESS_DENY && has_way(whole(sk)) && !find_raw_verdict(a)) {
		a->class = class;
		a->verdict = verdict;
	}
	r = settle(a, 0, 0);
	if (r == PASSES && sk && a->state & EGRESS_READY)
		mark_seen(sk);
	return r;
}

static __always_inline int judge4(struct bpf_sock_addr *ctx, struct bpf_sock *sk, __u8 hook)
{
	struct wire_member *m = find_member();
	struct asked a;
	__u32 ip;

	if (!m)
		return PASSES;
	__builtin_memset(&a, 0, sizeof(a));
	if (!is_member(&a, m))
		return PASSES;
	ip = ctx->user_ip4;
	a.hook = hook;
	a.family = AF_INET;
	a.type = ctx->type;
	a.protocol = ctx->protocol;
	a.port = bpf_ntohs((__u16)ctx->user_port);
	a.addr[10] = a.addr[11] = 0xff;
	__builtin_memcpy(a.addr + 12, &ip, sizeof(ip));
	return judge_call(&a, sk);
}

static __always_inline int judge6(struct bpf_sock_addr *ctx, struct bpf_sock *sk, __u8 hook)
{
	struct wire_member *m = find_member();
	struct asked a;
	__u32 ip[4];

	if (!m)
		return PASSES;
	__builtin_memset(&a, 0, sizeof(a));
	if (!is_member(&a, m))
		return PASSES;
	ip[0] = ctx->user_ip6[0];
	ip[1] = ctx->user_ip6[1];
	ip[2] = ctx->user_ip6[2];
	ip[3] = ctx->user_ip6[3];
	a.hook = hook;
	a.family = AF_INET6;
	a.type = ctx->type;
	a.protocol = ctx->protocol;
	a.port = bpf_ntohs((__u16)ctx->user_port);
	__builtin_memcpy(a.addr, ip, sizeof(ip));
	return judge_call(&a, sk);
}

SEC("cgroup/connect4")
int egress_connect4(struct bpf_sock_addr *ctx)
{
	return judge4(ctx, ctx->sk, EGRESS_CONNECT4);
}

SEC("cgroup/connect6")
int egress_connect6(struct bpf_sock_addr *ctx)
{
	return judge6(ctx, ctx->sk, EGRESS_CONNECT6);
}

SEC("cgroup/sendmsg4")
int egress_sendmsg4(struct bpf_sock_addr *ctx)
{
	return judge4(ctx, 0, EGRESS_SENDMSG4);
}

SEC("cgroup/sendmsg6")
int egress_sendmsg6(struct bpf_sock_addr *ctx)
{
	return judge6(ctx, 0, EGRESS_SENDMSG6);
}

/* Raw sockets, and protocols whose sends have no hook: ICMP, SCTP, L2TP … */
SEC("cgroup/sock_create")
int egress_sock_create(struct bpf_sock *ctx)
{
	struct wire_member *m = find_member();
	__u32 type, protocol;
	struct asked a;

	if (!m)
		return PASSES;
	__builtin_memset(&a, 0, sizeof(a));
	if (!is_member(&a, m))
		return PASSES;
	type = ctx->type;
	protocol = ctx->protocol;
	if ((type == SOCK_STREAM && is_stream(protocol)) ||
	    (type == SOCK_DGRAM && is_datagram(protocol)) || !find_raw_verdict(&a))
		return PASSES;
	a.hook = EGRESS_SOCK_CREATE;
	a.family = ctx->family;
	a.type = type;
	a.protocol = protocol;
	return settle(&a, 0, 0);
}

/* ---- AF_UNIX, from 6.7 on ------------------------------------------------------------------- */

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

SEC("?cgroup/connect4") /* what it is attached as is set by who loads it */
int egress_connect_unix(struct bpf_sock_addr *ctx)
{
	struct wire_member *m = find_member();
	struct bpf_sock_addr_kern *kern;
	struct spelling s;
	struct asked a;
	int len;

	if (!m || !bpf_cast_to_kern_ctx)
		return PASSES;
	__builtin_memset(&a, 0, sizeof(a));
	if (!is_member(&a, m))
		return PASSES;
	kern = bpf_cast_to_kern_ctx(ctx);
	len = BPF_CORE_READ(kern, uaddrlen) - 2;
	if (!look_at_name(&a, &s, (char *)BPF_CORE_READ(kern, uaddr) + 2, len))
		return PASSES;
	a.type = ctx->type;
	return settle(&a, s.path, len);
}
