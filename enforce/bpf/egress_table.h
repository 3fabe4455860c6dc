/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The decision of the egress jail, and its record: the tables, who is a member, what becomes of a
 * destination. Shared by all hooks that ask for it; the maps are those of the program that includes
 * this.
 */
#ifndef OKNEK_ENFORCE_BPF_EGRESS_TABLE_H
#define OKNEK_ENFORCE_BPF_EGRESS_TABLE_H

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "enforce/bpf/wire.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_UDPLITE 136
#define PROTO_MPTCP 262
#define PASSES 1
#define DENIED 0

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct {
	unsigned int val;
} kuid_t;
struct cred {
	kuid_t uid;
};
struct task_struct {
	int pid, tgid;
	__u64 start_boottime;
	struct task_struct *group_leader;
	const struct cred *cred;
	char comm[WIRE_COMM];
};
#pragma clang attribute pop

volatile struct egress_settings settings;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct wire_member);
} members SEC(".maps"); /* that of the process feed */

struct table {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, EGRESS_TABLE_MAX);
	__type(key, struct egress_key);
	__type(value, struct egress_value);
};
struct table first SEC(".maps");
struct table second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, EGRESS_NAMES_MAX);
	__type(key, struct egress_name_key);
	__type(value, __u32);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, EGRESS_TREES_MAX);
	__type(key, __u32);
	__type(value, struct egress_tree);
} trees SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct egress_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 19);
} ring SEC(".maps");

struct asked {
	struct wire_member *member;
	struct task_struct *task;
	__u32 tgid, state;
	__u32 family, type, protocol;
	__u16 port;
	__u8 hook, class, verdict, by_lsm;
	__u8 addr[16] __attribute__((aligned(8)));
};

/* All that a stranger costs. */
static __always_inline struct wire_member *find_member(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	return bpf_map_lookup_elem(&members, &tgid);
}

static __always_inline int is_member(struct asked *a, struct wire_member *m)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u64 start = BPF_CORE_READ(task, group_leader, start_boottime);

	a->member = m;
	a->task = task;
	a->tgid = BPF_CORE_READ(task, tgid);
	/* Else somebody who has the pid of a member that ended. */
	return m->start_time_ns / WIRE_TICK_NS == start / WIRE_TICK_NS;
}

/* Whether there is to be a record, by a clock that runs ahead of ours by as much as was told. */
static __always_inline int is_due(__u64 *next_ns, __u64 now_ns, __u64 each_ns, __u64 burst)
{
	__u64 next = *next_ns;

	if (next < now_ns)
		next = now_ns;
	if (next > now_ns + each_ns * burst)
		return 0;
	*next_ns = next + each_ns;
	return 1;
}

static __always_inline struct egress_tree *tree_of(__u32 id)
{
	struct egress_tree *t = bpf_map_lookup_elem(&trees, &id), none = { 0 };

	if (t)
		return t;
	bpf_map_update_elem(&trees, &id, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&trees, &id);
}

static __always_inline void count_lost(int tell)
{
	struct egress_counters *c;
	__u32 zero = 0;

	c = bpf_map_lookup_elem(&counters, &zero);
	if (!c)
		return;
	if (tell)
		c->lost_tell++;
	else
		c->lost_pass++;
}

/* Does all that is the same for everything a member asks for; what the hook returns. */
static __always_inline int settle(struct asked *a, const char *path, __u32 path_len)
{
	int deny = a->verdict == EGRESS_DENY && a->state & EGRESS_ENFORCE;
	int tell = a->verdict != EGRESS_PASS;
	__u64 now_ns = bpf_ktime_get_boot_ns(), flags = 0;
	struct task_struct *task = a->task;
	struct egress_record *r;
	struct egress_tree *t;

	t = tree_of(a->member->tree_id);
	if (!t) {
		count_lost(tell);
		return deny ? DENIED : PASSES;
	}
	if (deny)
		__sync_fetch_and_add(&t->denied, 1);
	else if (tell)
		__sync_fetch_and_add(&t->would, 1);
	else
		__sync_fetch_and_add(&t->passed, 1);
	if (tell ? !is_due(&t->tell_ns, now_ns, EGRESS_TELL_NS, EGRESS_TELL_BURST) :
		   !is_due(&t->pass_ns, now_ns, EGRESS_PASS_NS, EGRESS_PASS_BURST)) {
		if (tell)
			__sync_fetch_and_add(&t->unrecorded, 1);
		else
			count_lost(0);
		return deny ? DENIED : PASSES;
	}
	/* The last half is for what was denied. */
	if (!tell && bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >
			     bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE) / 2)
		r = 0;
	else if (path)
		r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	else
		r = bpf_ringbuf_reserve(&ring, EGRESS_RECORD_INET, 0);
	if (!r) {
		count_lost(tell);
		return deny ? DENIED : PASSES;
	}
	r->time_ns = now_ns;
	r->start_time_ns = a->member->start_time_ns;
	r->tree_id = a->member->tree_id;
	r->tgid = a->tgid;
	/* By hand: programs of packets have no helper for these on all kernels. */
	r->tid = BPF_CORE_READ(task, pid);
	r->uid = BPF_CORE_READ(task, cred, uid.val);
	r->family = a->family;
	r->type = a->type;
	r->protocol = a->protocol;
	r->port = a->port;
	r->hook = a->hook;
	r->class = a->class;
	r->verdict = a->verdict;
	r->denied = deny;
	r->path_len = 0;
	r->by_lsm = a->by_lsm;
	__builtin_memset(r->unused, 0, sizeof(r->unused));
	__builtin_memcpy(r->addr, a->addr, sizeof(r->addr));
	if (bpf_core_read_str(r->comm, sizeof(r->comm), &task->comm) < 0)
		r->comm[0] = 0;
	if (path) {
		r->path_len = path_len;
		bpf_probe_read_kernel(r->path, sizeof(r->path), path);
	}
	if (!tell)
		flags = BPF_RB_NO_WAKEUP;
	bpf_ringbuf_submit(r, flags);
	return deny ? DENIED : PASSES;
}

static __always_inline struct egress_value *look_up(__u32 state, const struct egress_key *key)
{
	return state & EGRESS_SECOND ? bpf_map_lookup_elem(&second, key) :
				       bpf_map_lookup_elem(&first, key);
}

/* What is in force for who asks. */
static __always_inline __u32 state_for(const struct asked *a)
{
	__u32 state = settings.state, proof = settings.proof_tree;

	if (proof && a->member && a->member->tree_id == proof)
		state |= EGRESS_ENFORCE;
	return state;
}

/* What the table says of its address and port; 0: there is none. */
static __always_inline int find_verdict(struct asked *a)
{
	struct egress_key key = { .bits = 128 };
	struct egress_value *v;

	a->state = state_for(a);
	if (!(a->state & EGRESS_READY))
		return 0;
	__builtin_memcpy(key.addr, a->addr, sizeof(key.addr));
	v = look_up(a->state, &key);
	/* The table was emptied for the next but one while we stood here. */
	if (a->state != state_for(a)) {
		a->state = state_for(a);
		v = look_up(a->state, &key);
	}
	if (!v)
		return 0;
	for (int i = 0; i < EGRESS_RANGES; i++) {
		a->class = v->range[i].class;
		a->verdict = v->range[i].verdict;
		if (a->port <= v->range[i].to)
			break;
	}
	return 1;
}

/* The same for sockets whose destinations nobody is asked about. */
static __always_inline int find_raw_verdict(struct asked *a)
{
	__u32 table;

	a->state = state_for(a);
	table = !!(a->state & EGRESS_SECOND);
	a->class = EGRESS_RAW;
	a->verdict = settings.table[table].raw;
	return a->state & EGRESS_READY && settings.table[table].look;
}

static __always_inline int is_stream(__u32 protocol)
{
	return protocol == PROTO_TCP || protocol == PROTO_MPTCP;
}

static __always_inline int is_datagram(__u32 protocol)
{
	return protocol == PROTO_UDP || protocol == PROTO_UDPLITE;
}

/* ---- names of AF_UNIX sockets ---------------------------------------------------------------- */

struct spelling {
	char path[EGRESS_PATH + 4];
	__u64 component, whole;
	__u32 len, table;
	int found, exempt;
};

static __always_inline int is_name(const struct spelling *s, __u64 hash, __u32 kind)
{
	struct egress_name_key key = { .hash = hash, .kind = kind, .table = s->table };

	return bpf_map_lookup_elem(&names, &key) != 0;
}

static long spell(__u32 i, void *arg)
{
	struct spelling *s = arg;
	__u8 c;

	/* A name may fill all of it; the byte behind is there, and ends it. */
	if (i > EGRESS_PATH)
		return 1;
	c = s->path[i];
	if (i >= s->len || (!c && i && s->path[0])) {
		s->found |= is_name(s, s->component, EGRESS_NAME_LAST);
		s->exempt = is_name(s, s->whole, EGRESS_NAME_WHOLE);
		return 1;
	}
	if (!c && !i)
		c = '@';
	s->whole = (s->whole ^ c) * EGRESS_FNV_PRIME;
	if (c == '/' || (c == '@' && !i)) {
		s->component = EGRESS_FNV_START;
		return 0;
	}
	s->component = (s->component ^ c) * EGRESS_FNV_PRIME;
	if (c == '-')
		s->found |= is_name(s, s->component, EGRESS_NAME_BEGIN);
	return 0;
}

/* name: what comes after the family, len bytes of it, in the kernel's memory. 0: nothing is said. */
static __always_inline int look_at_name(struct asked *a, struct spelling *s, const char *name, int len)
{
	__builtin_memset(s, 0, sizeof(*s));
	s->component = s->whole = EGRESS_FNV_START;
	a->state = state_for(a);
	s->table = !!(a->state & EGRESS_SECOND);
	if (!(a->state & EGRESS_READY) || len <= 0 || len > EGRESS_PATH)
		return 0;
	if (bpf_probe_read_kernel(s->path, EGRESS_PATH, name))
		return 0;
	s->len = len;
	/* All are told, for rules that name others' sockets; these are refused. */
	if (settings.table[s->table & 1].look) {
		bpf_loop(EGRESS_PATH + 1, spell, s, 0);
		if (s->found && !s->exempt) {
			a->class = EGRESS_SERVICE;
			a->verdict = settings.table[s->table & 1].service;
		}
	}
	a->hook = EGRESS_CONNECT_UNIX;
	a->family = 1;
	return 1;
}

#endif
