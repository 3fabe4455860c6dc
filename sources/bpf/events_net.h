/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The programs of events.bpf.c that look at connections. A part of that file, for BPF alone. */
#ifndef OKNEK_SOURCES_BPF_EVENTS_NET_H
#define OKNEK_SOURCES_BPF_EVENTS_NET_H

#include "sources/bpf/events_common.h"

static __always_inline struct socket *socket_of(long fd)
{
	struct file *file = file_of(fd);

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return 0;
	return BPF_CORE_READ(file, private_data);
}

static __always_inline int is_family(__u32 family)
{
	return family == AF_INET || family == AF_INET6 || family == AF_UNIX || family == AF_VSOCK;
}

static __always_inline void put_socket(struct events_net *rec, struct socket *sock)
{
	struct sock *sk = BPF_CORE_READ(sock, sk);

	rec->sock_type = (__u32)BPF_CORE_READ(sock, type);
	rec->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	/* Until 5.6 it was part of a field of bits, and libbpf would say so. */
	rec->protocol = BPF_CORE_READ(sk, sk_protocol);
}

static __always_inline int tell_net(struct wire_member *m, struct asked *a, __u32 flags, long result)
{
	struct scratch *s = my_scratch();
	struct socket *sock = socket_of((long)(int)a->fd);
	struct events_net *rec;
	__u16 family;

	if (!s || !sock || a->address_len < sizeof(family))
		return 0;
	rec = (void *)s->bytes;
	put_socket(rec, sock);
	__builtin_memcpy(rec->address, a->address, sizeof(rec->address));
	rec->address_len = a->address_len;
	family = *(__u16 *)rec->address;
	if (!is_family(family))
		return 0;
	put_head(&rec->head, m, EVENTS_NET, result);
	rec->head.flags = flags;
	tell(rec, sizeof(*rec), EVENTS_NET);
	return 0;
}

static __always_inline void read_address(struct asked *a, const void *user, __u64 len)
{
	a->address_len = 0;
	if (len > EVENTS_ADDRESS)
		len = EVENTS_ADDRESS;
	if (user && len && !bpf_probe_read_user(a->address, (__u32)len & 127, user))
		a->address_len = (__u32)len;
}

static __always_inline int begin_net(unsigned long fd, unsigned long user, unsigned long len)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = (__u32)id;
	struct asked a = { 0 };

	if (!user || !is_told(EVENTS_NET) || !member_of(id))
		return 0;
	a.fd = fd;
	a.pointer = user;
	a.len = (__u32)len;
	/* Not in memory yet: the call itself brings it there, and it is read at its end. */
	read_address(&a, (void *)user, (__u32)len);
	bpf_map_update_elem(&asked, &tid, &a, BPF_ANY);
	return 0;
}

SEC("tp")
int enter_connect(struct sys_enter *ctx)
{
	return begin_net(ctx->args[0], ctx->args[1], ctx->args[2]);
}

SEC("tp")
int enter_sendto(struct sys_enter *ctx)
{
	return begin_net(ctx->args[0], ctx->args[4], ctx->args[5]);
}

/* struct user_msghdr begins with these. */
struct message {
	__u64 name;
	__u32 name_len, unused;
};

SEC("tp")
int enter_sendmsg(struct sys_enter *ctx)
{
	struct message msg = { 0 };

	if (!is_told(EVENTS_NET) || !member_of(bpf_get_current_pid_tgid()))
		return 0;
	if (bpf_probe_read_user(&msg, sizeof(msg), (void *)ctx->args[1])) {
		struct asked a = { .fd = ctx->args[0], .pointer = ctx->args[1], .messages = 1 };
		__u32 tid = (__u32)bpf_get_current_pid_tgid();

		bpf_map_update_elem(&asked, &tid, &a, BPF_ANY);
		return 0;
	}
	return begin_net(ctx->args[0], msg.name, msg.name_len);
}

SEC("tp")
int exit_net(struct sys_exit *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct wire_member *m = member_of(id);
	__u32 tid = (__u32)id;
	struct asked *a;

	if (!m)
		return 0;
	a = bpf_map_lookup_elem(&asked, &tid);
	if (!a)
		return 0;
	if (a->messages) {
		struct message msg = { 0 };

		if (!bpf_probe_read_user(&msg, sizeof(msg), (void *)a->pointer))
			read_address(a, (void *)msg.name, msg.name_len);
	} else if (!a->address_len) {
		read_address(a, (void *)a->pointer, a->len);
	}
	tell_net(m, a, 0, ctx->ret < 0 ? ctx->ret : 0);
	bpf_map_delete_elem(&asked, &tid);
	return 0;
}

SEC("tp")
int enter_sendmmsg(struct sys_enter *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct asked a = { .fd = ctx->args[0], .pointer = ctx->args[1], .messages = ctx->args[2] };
	__u32 tid = (__u32)id;

	if (is_told(EVENTS_NET) && member_of(id))
		bpf_map_update_elem(&asked, &tid, &a, BPF_ANY);
	return 0;
}

/* One for each message that was sent, and the one that was refused. */
SEC("tp")
int exit_sendmmsg(struct sys_exit *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct wire_member *m = member_of(id);
	__u64 pointer, messages, n;
	__u32 tid = (__u32)id;
	struct asked *a;
	int i;

	if (!m)
		return 0;
	a = bpf_map_lookup_elem(&asked, &tid);
	if (!a)
		return 0;
	pointer = a->pointer;
	messages = a->messages;
	n = ctx->ret < 0 ? 1 : ctx->ret;
	for (i = 0; i < MESSAGES_MAX; i++) {
		struct message msg;

		if (i >= n || i >= messages)
			break;
		/* struct mmsghdr: 64 bytes */
		if (bpf_probe_read_user(&msg, sizeof(msg), (void *)(pointer + i * 64)))
			break;
		read_address(a, (void *)msg.name, msg.name_len);
		if (a->address_len)
			tell_net(m, a, 0, ctx->ret < 0 ? ctx->ret : 0);
	}
	bpf_map_delete_elem(&asked, &tid);
	return 0;
}

/* Do its packets leave unseen by who looks at connections? */
static __always_inline int is_raw(const struct events_net *rec)
{
	if (rec->family == AF_INET || rec->family == AF_INET6)
		return !settings.inet_elsewhere &&
		       (rec->sock_type == SOCK_RAW || rec->sock_type == SOCK_PACKET);
	return rec->family != AF_UNIX && rec->family != AF_NETLINK && rec->family != AF_ALG;
}

SEC("tp")
int exit_socket(struct sys_exit *ctx)
{
	struct wire_member *m;
	struct events_net *rec;
	struct scratch *s;
	struct socket *sock;

	if (ctx->ret < 0 || !is_told(EVENTS_NET))
		return 0;
	m = member_of(bpf_get_current_pid_tgid());
	if (!m)
		return 0;
	s = my_scratch();
	sock = socket_of(ctx->ret);
	if (!s || !sock)
		return 0;
	rec = (void *)s->bytes;
	put_socket(rec, sock);
	if (!is_raw(rec))
		return 0;
	put_head(&rec->head, m, EVENTS_NET, 0);
	rec->head.flags = EVENTS_RAW;
	rec->address_len = 0;
	__builtin_memset(rec->address, 0, sizeof(rec->address));
	tell(rec, sizeof(*rec), EVENTS_NET);
	return 0;
}

#endif
