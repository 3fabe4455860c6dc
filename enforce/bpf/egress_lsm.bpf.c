/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The decision of the egress jail asked by BPF-LSM: whatever cgroup a socket is of, before the kernel
 * looks for a route, and for kinds of sockets that cgroups are not asked about. The maps, settings and
 * all, are those of the programs of cgroups, which come later in each call: what is refused here they
 * never see, and the rest is theirs to tell, where they are asked.
 */
#include "enforce/bpf/egress_table.h"

#define EPERM 1
#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_NETLINK 16
#define AF_ALG 38
#define MSG_FASTOPEN 0x20000000
#define SOCKADDR_IN 16      /* bytes */
#define SOCKADDR_IN6_MIN 24 /* SIN6_LEN_RFC2133, net/ipv6.h */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sock_common {
	unsigned short skc_family;
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_type, sk_protocol;
};
struct socket {
	struct sock *sk;
};
struct msghdr {
	void *msg_name;
	int msg_namelen;
	unsigned int msg_flags;
};
#pragma clang attribute pop

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct name_inet {
	__u16 family, port;
	__u32 ip; /* or flow information */
	__u8 ip6[16];
};

/* Of what passes somebody else tells, if he is asked. */
static __always_inline int carry_out(struct asked *a, __u32 tells, const char *path, __u32 path_len)
{
	int deny = a->verdict == EGRESS_DENY && a->state & EGRESS_ENFORCE, refused = -EPERM;

	if (!deny && !(settings.lsm & tells))
		return 0;
	a->by_lsm = 1;
	/* Not computed, or the verifier (6.12) does not see what it can be. */
	asm volatile("" : "+r"(refused));
	if (settle(a, path, path_len) != DENIED)
		return 0;
	return refused;
}

static __always_inline int judge_name(struct sock *sk, const void *name, int len, int sends)
{
	struct wire_member *m = find_member();
	struct name_inet n = { 0 };
	struct asked a;

	if (!m)
		return 0;
	__builtin_memset(&a, 0, sizeof(a));
	if (!is_member(&a, m) || len < SOCKADDR_IN || bpf_probe_read_kernel(&n, sizeof(n), name))
		return 0;
	/* As udp_sendmsg() takes it; a connect to it undoes one. */
	if (n.family == AF_UNSPEC && sends && BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		n.family = AF_INET;
	a.type = BPF_CORE_READ(sk, sk_type);
	a.protocol = BPF_CORE_READ(sk, sk_protocol);
	a.port = bpf_ntohs(n.port);
	a.family = n.family;
	if (n.family == AF_INET) {
		a.hook = sends ? EGRESS_SENDMSG4 : EGRESS_CONNECT4;
		a.addr[10] = a.addr[11] = 0xff;
		__builtin_memcpy(a.addr + 12, &n.ip, sizeof(n.ip));
	} else if (n.family == AF_INET6 && len >= SOCKADDR_IN6_MIN) {
		a.hook = sends ? EGRESS_SENDMSG6 : EGRESS_CONNECT6;
		__builtin_memcpy(a.addr, n.ip6, sizeof(n.ip6));
	} else {
		return 0;
	}
	return find_verdict(&a) ? carry_out(&a, EGRESS_LSM_TELLS_INET, 0, 0) : 0;
}

SEC("lsm/socket_connect")
int egress_lsm_connect(unsigned long long *ctx)
{
	struct socket *sock = (struct socket *)ctx[0];
	/* What programs before this one said. Of what is returned the verifier (6.12) has to see that it is
	 * an errno: here it is always the same. */
	int before = (int)ctx[3];
	struct sock *sk = sock->sk;

	if (before)
		return -EPERM;
	if (!sk || sk->__sk_common.skc_family == AF_UNIX)
		return 0;
	return judge_name(sk, (void *)ctx[1], (int)ctx[2], 0);
}

SEC("lsm/socket_sendmsg")
int egress_lsm_sendmsg(unsigned long long *ctx)
{
	struct socket *sock = (struct socket *)ctx[0];
	struct msghdr *msg = (struct msghdr *)ctx[1];
	int before = (int)ctx[3];
	struct sock *sk = sock->sk;

	if (before)
		return -EPERM;
	if (!msg->msg_name || !sk || sk->__sk_common.skc_family == AF_UNIX)
		return 0;
	/* Else it is of no meaning there. */
	if (sk->sk_type == SOCK_STREAM && !(msg->msg_flags & MSG_FASTOPEN))
		return 0;
	return judge_name(sk, msg->msg_name, msg->msg_namelen, 1);
}

/* Raw sockets, protocols whose sends have no name, and all families that lead away from here without
 * an address that we know: packet, vsock, tipc … */
SEC("lsm/socket_create")
int egress_lsm_create(unsigned long long *ctx)
{
	int family = (int)ctx[0], type = (int)ctx[1], protocol = (int)ctx[2], kern = (int)ctx[3];
	int before = (int)ctx[4];
	struct wire_member *m;
	struct asked a;
	int inet = family == AF_INET || family == AF_INET6;

	if (before)
		return -EPERM;
	if (kern || family == AF_UNIX || family == AF_NETLINK || family == AF_ALG)
		return 0;
	if (inet && ((type == SOCK_STREAM && (!protocol || is_stream(protocol))) ||
		     (type == SOCK_DGRAM && (!protocol || is_datagram(protocol)))))
		return 0;
	m = find_member();
	if (!m)
		return 0;
	__builtin_memset(&a, 0, sizeof(a));
	if (!is_member(&a, m) || !find_raw_verdict(&a))
		return 0;
	a.hook = EGRESS_SOCK_CREATE;
	a.family = family;
	a.type = type;
	a.protocol = protocol;
	return carry_out(&a, inet ? EGRESS_LSM_TELLS_INET : EGRESS_LSM_TELLS_REST, 0, 0);
}

SEC("?lsm/socket_connect") /* where the kernel has loops for programs: 5.17 */
int egress_lsm_unix(unsigned long long *ctx)
{
	struct socket *sock = (struct socket *)ctx[0];
	int before = (int)ctx[3], len = (int)ctx[2] - 2;
	struct sock *sk = sock->sk;
	struct wire_member *m;
	struct spelling s;
	struct asked a;

	if (before)
		return -EPERM;
	if (!sk || sk->__sk_common.skc_family != AF_UNIX)
		return 0;
	m = find_member();
	if (!m)
		return 0;
	__builtin_memset(&a, 0, sizeof(a));
	if (!is_member(&a, m) || !look_at_name(&a, &s, (char *)ctx[1] + 2, len))
		return 0;
	a.type = sk->sk_type;
	return carry_out(&a, EGRESS_LSM_TELLS_UNIX, s.path, len);
}
