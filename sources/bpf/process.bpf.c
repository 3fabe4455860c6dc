/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Membership of watched trees, inherited in the fork itself: the child is in the map before it
 * runs its first instruction. Raw tracepoints, since they need neither trampolines nor kprobes,
 * which hardened kernels refuse. The few kernel structures are declared here with the fields we
 * read; libbpf moves the offsets to where this kernel has them.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "sources/bpf/wire.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef int pid_t;
typedef struct {
	int counter;
} atomic_t;
typedef struct {
	unsigned int val;
} kuid_t;
struct signal_struct {
	atomic_t live;
};
struct cred {
	kuid_t euid;
};
struct mm_struct {
	unsigned long arg_start, arg_end;
};
struct task_struct {
	pid_t pid, tgid;
	__u64 start_boottime;
	struct task_struct *group_leader, *real_parent;
	struct signal_struct *signal;
	struct mm_struct *mm;
	const struct cred *cred;
	char comm[WIRE_COMM];
};
struct linux_binprm {
	const char *filename;
};
struct io_kiocb {
	__u8 opcode;
};
#pragma clang attribute pop

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct wire_counters counters;
volatile struct wire_settings settings;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct wire_member);
} members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 19);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WIRE_URING_SLOTS);
	__type(key, __u32);
	__type(value, struct wire_uring);
} uring SEC(".maps");

#define URING_OPENAT 18 /* linux/io_uring.h */
#define URING_OPENAT2 28

#define COUNT(what) __sync_fetch_and_add(&counters.what, 1)

static __always_inline int start_same(__u64 a_ns, __u64 b_ns)
{
	return a_ns / WIRE_TICK_NS == b_ns / WIRE_TICK_NS;
}

/* The member that this process is. An entry of somebody who had the pid before goes away. */
static __always_inline struct wire_member *member_of(struct task_struct *task, __u32 tgid)
{
	struct wire_member *m = bpf_map_lookup_elem(&members, &tgid);

	if (!m)
		return 0;
	if (start_same(m->start_time_ns, BPF_CORE_READ(task, group_leader, start_boottime)))
		return m;
	bpf_map_delete_elem(&members, &tgid);
	return 0;
}

/*
 * Forks and exits are taken up when somebody asks: at the next verdict, exec or timer. Waking the
 * daemon for each would cost a watched build more than the rest of us. Unless room gets short.
 */
static __always_inline __u64 lazy_flags(void)
{
	__u64 queued = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);

	return queued > bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE) / 8 ? BPF_RB_FORCE_WAKEUP :
									 BPF_RB_NO_WAKEUP;
}

SEC("raw_tp/sched_process_fork")
int process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	/* The creator, also with CLONE_PARENT, where real_parent is somebody else. */
	struct task_struct *creator = (struct task_struct *)ctx->args[0];
	struct task_struct *child = (struct task_struct *)ctx->args[1];
	__u32 parent_tgid = BPF_CORE_READ(creator, tgid);
	__u32 tgid = BPF_CORE_READ(child, tgid);
	struct wire_member *m, new = { 0 };
	struct wire_fork *rec;

	if (tgid != (__u32)BPF_CORE_READ(child, pid))
		return 0; /* a thread */

	new.start_time_ns = BPF_CORE_READ(child, start_boottime);
	m = member_of(creator, parent_tgid);
	if (m) {
		new.tree_id = m->tree_id;
		if (bpf_map_update_elem(&members, &tgid, &new, BPF_ANY)) {
			COUNT(map_full);
			return 0;
		}
	} else {
		bpf_map_delete_elem(&members, &tgid);
		if (!settings.strangers)
			return 0;
	}
	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		COUNT(lost_fork);
		return 0;
	}
	rec->type = WIRE_FORK;
	rec->tree_id = new.tree_id;
	rec->parent = parent_tgid;
	rec->child = tgid;
	rec->start_time_ns = new.start_time_ns;
	bpf_ringbuf_submit(rec, lazy_flags());
	return 0;
}

/* ---- io_uring: it opens on a thread's way out of another call, which then looks like the opener -- */

static __always_inline void uring_used(__u32 tgid)
{
	__u32 key = tgid % WIRE_URING_SLOTS;
	struct wire_uring *u = bpf_map_lookup_elem(&uring, &key);

	if (u)
		u->tgid = !u->tgid || u->tgid == tgid ? tgid : WIRE_URING_SEVERAL;
}

/* An exec ends what was asked for, an exit as well. */
static __always_inline void uring_over(__u32 tgid)
{
	__u32 key = tgid % WIRE_URING_SLOTS;
	struct wire_uring *u = bpf_map_lookup_elem(&uring, &key);

	if (u && u->tgid == tgid)
		u->tgid = 0;
}

SEC("raw_tp")
int uring_request(struct bpf_raw_tracepoint_args *ctx) /* io_uring_submit_req, since 6.3 */
{
	struct io_kiocb *req = (struct io_kiocb *)ctx->args[0];
	__u8 op = URING_OPENAT;

	/* Else a kernel without io_uring would not take the program. */
	if (bpf_core_field_exists(req->opcode))
		op = BPF_CORE_READ(req, opcode);
	if (op == URING_OPENAT || op == URING_OPENAT2)
		uring_used(bpf_get_current_pid_tgid() >> 32);
	return 0;
}

SEC("raw_tp")
int uring_any(struct bpf_raw_tracepoint_args *ctx) /* io_uring_submit_sqe, with changing arguments */
{
	(void)ctx;
	uring_used(bpf_get_current_pid_tgid() >> 32);
	return 0;
}

SEC("raw_tp/sched_process_exec")
int process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	struct linux_binprm *bprm = (struct linux_binprm *)ctx->args[2];
	__u64 size = bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE);
	__u32 tgid = BPF_CORE_READ(task, tgid);
	unsigned long start, end;
	struct wire_exec *rec = 0;
	struct wire_member *m;
	__u64 len;
	long n;

	uring_over(tgid);
	m = member_of(task, tgid);
	if (!m && !settings.strangers)
		return 0;
	/* The last quarter is for forks and exits: an exec lost is a name lost, a fork is a member. */
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) <= size / 4 * 3)
		rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		COUNT(lost_exec);
		return 0;
	}
	rec->type = WIRE_EXEC;
	rec->tree_id = m ? m->tree_id : 0;
	rec->tgid = tgid;
	rec->ppid = BPF_CORE_READ(task, real_parent, tgid);
	rec->start_time_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	rec->uid = BPF_CORE_READ(task, cred, euid.val);
	rec->unused = 0;
	if (bpf_core_read_str(rec->comm, sizeof(rec->comm), &task->comm) < 0)
		rec->comm[0] = 0;

	n = bpf_probe_read_kernel_str(rec->filename, sizeof(rec->filename),
				      BPF_CORE_READ(bprm, filename));
	rec->filename_len = n > 0 ? n - 1 : 0;

	rec->argv_len = 0;
	start = BPF_CORE_READ(task, mm, arg_start);
	end = BPF_CORE_READ(task, mm, arg_end);
	len = end > start ? end - start : 0;
	if (len > sizeof(rec->argv))
		len = sizeof(rec->argv);
	/* All or nothing: what could not be read has been zeroed, and is not called arguments. */
	if (len && !bpf_probe_read_user(rec->argv, len, (void *)start))
		rec->argv_len = len;
	bpf_ringbuf_submit(rec, 0);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct wire_exit *rec;

	/* The kernel has counted this thread out already; a leader may end before its threads. */
	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	uring_over(tgid);
	if (!member_of(task, tgid))
		return 0;
	bpf_map_delete_elem(&members, &tgid);

	rec = bpf_ringbuf_reserve(&ring, sizeof(*rec), 0);
	if (!rec) {
		COUNT(lost_exit);
		return 0;
	}
	rec->type = WIRE_EXIT;
	rec->tgid = tgid;
	bpf_ringbuf_submit(rec, lazy_flags());
	return 0;
}
