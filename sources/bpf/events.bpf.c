/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What members of watched trees open, run and connect to. By tracepoints of single system calls, since
 * these cost other calls nothing and need neither trampolines nor kprobes, which hardened kernels
 * refuse. The first thing that each program does is to look whether this is a member; those of the
 * end of a call look at its result before. The few kernel structures are declared here with the
 * fields that are read; libbpf moves the offsets to where this kernel has them.
 */
#include "sources/bpf/events_common.h"
#include "sources/bpf/events_net.h"
#include "sources/bpf/events_exec.h"

/* ---- opens ----------------------------------------------------------------------------------- */

enum { READING = 1, WRITING, UNKNOWN };

static __always_inline void count_slot(__u32 tgid, __u32 how, int by)
{
	__u32 key = tgid % EVENTS_SLOTS;
	struct events_slot *slot = bpf_map_lookup_elem(&slots, &key);

	if (!slot)
		return;
	if (how == READING)
		__sync_fetch_and_add(&slot->reading, by);
	else if (how == WRITING)
		__sync_fetch_and_add(&slot->writing, by);
	else
		__sync_fetch_and_add(&slot->unknown, by);
}

/* 0 when it runs another program, which ends its rings. */
static __always_inline void set_uring(__u32 tgid, __u32 what)
{
	__u32 key = tgid % EVENTS_SLOTS;
	struct events_slot *slot = bpf_map_lookup_elem(&slots, &key);

	if (slot)
		slot->uring = what ? slot->uring | what : 0;
}

static __always_inline int closes_by_uring(__u32 tgid)
{
	__u32 key = tgid % EVENTS_SLOTS;
	struct events_slot *slot = bpf_map_lookup_elem(&slots, &key);

	return slot && slot->uring & EVENTS_RING_CLOSES;
}

/* A process that has one thread is held in the call that is under way, if it is held. */
static __always_inline void set_alone(__u32 tgid, struct wire_member *m, __u32 ways)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 key = tgid % EVENTS_SLOTS;
	struct events_slot *slot = bpf_map_lookup_elem(&slots, &key);

	if (slot && bpf_core_field_exists(task->signal->nr_threads))
		slot->alone = ways && BPF_CORE_READ(task, signal, nr_threads) == 1 ?
				      events_alone(tgid, m->tree_id, m->start_time_ns) | ways : 0;
}

static __always_inline void end_alone(__u32 tgid)
{
	__u32 key = tgid % EVENTS_SLOTS;
	struct events_slot *slot = bpf_map_lookup_elem(&slots, &key);

	if (slot && slot->alone >> 32 == tgid)
		slot->alone = 0;
}

static __always_inline int begin_open(__u32 how, __u32 ways, unsigned long dfd, unsigned long name)
{
	struct opening now = { .name = name, .how = how, .dfd = (__s32)dfd }, *before;
	__u64 id = bpf_get_current_pid_tgid();
	struct wire_member *m = member_of(id);
	__u32 tid = (__u32)id;

	if (!m)
		return 0;
	set_alone(id >> 32, m, ways);
	before = bpf_map_lookup_elem(&opening, &tid);
	if (before)
		count_slot(id >> 32, before->how, -1);
	if (bpf_map_update_elem(&opening, &tid, &now, BPF_ANY))
		return 0;
	count_slot(id >> 32, how, 1);
	return 0;
}

static __always_inline __u32 how_of(unsigned long flags)
{
	return flags & (O_ACCMODE | O_TRUNC) ? WRITING : READING;
}

static __always_inline __u32 ways_of(unsigned long flags)
{
	return ((flags & O_ACCMODE) == O_WRONLY ? 0 : EVENTS_ALONE_READS) |
	       (flags & (O_ACCMODE | O_TRUNC) ? EVENTS_ALONE_WRITES : 0);
}

SEC("tp")
int enter_open(struct sys_enter *ctx)
{
	return begin_open(how_of(ctx->args[1]), ways_of(ctx->args[1]), AT_FDCWD, ctx->args[0]);
}

SEC("tp")
int enter_openat(struct sys_enter *ctx)
{
	return begin_open(how_of(ctx->args[2]), ways_of(ctx->args[2]), ctx->args[0], ctx->args[1]);
}

SEC("tp")
int enter_handle(struct sys_enter *ctx)
{
	return begin_open(how_of(ctx->args[2]), ways_of(ctx->args[2]), 0, 0);
}

SEC("tp")
int enter_creat(struct sys_enter *ctx)
{
	return begin_open(WRITING, EVENTS_ALONE_WRITES, AT_FDCWD, ctx->args[0]);
}

/* Its flags are in memory that may be another's by the time the kernel reads them. */
SEC("tp")
int enter_openat2(struct sys_enter *ctx)
{
	return begin_open(UNKNOWN, 0, ctx->args[0], ctx->args[1]);
}

SEC("tp")
int exit_open(struct sys_exit *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct wire_member *m = member_of(id);
	struct opening was = { 0 }, *o;
	__u32 tid = (__u32)id;

	if (!m)
		return 0;
	end_alone(id >> 32);
	o = bpf_map_lookup_elem(&opening, &tid);
	if (o) {
		was = *o;
		bpf_map_delete_elem(&opening, &tid);
	}
	/* Another thread has closed it: as it was asked for, which that thread may have changed, too. */
	if (ctx->ret >= 0 && is_told(EVENTS_OPEN)) {
		if (was.name && !file_of(ctx->ret))
			tell_given(m, was.dfd, (const char *)was.name, 1, EVENTS_OPEN, EVENTS_ASKED, 0);
		else
			tell_open(m, ctx->ret, 0);
	}
	/* Not before: whoever finds nothing under way finds in the ring what was. */
	if (was.how)
		count_slot(id >> 32, was.how, -1);
	return 0;
}

/* ---- inotify --------------------------------------------------------------------------------- */

SEC("tp")
int enter_watch(struct sys_enter *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct asked a = { .pointer = ctx->args[1] };
	__u32 tid = (__u32)id;

	if (is_told(EVENTS_WATCH) && member_of(id))
		bpf_map_update_elem(&asked, &tid, &a, BPF_ANY);
	return 0;
}

SEC("tp")
int exit_watch(struct sys_exit *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct wire_member *m = member_of(id);
	__u32 tid = (__u32)id;
	struct asked *a;
	__u64 given;

	if (!m)
		return 0;
	a = bpf_map_lookup_elem(&asked, &tid);
	if (!a)
		return 0;
	given = a->pointer;
	bpf_map_delete_elem(&asked, &tid);
	return ctx->ret < 0 ? 0 :
			      tell_given(m, AT_FDCWD, (const char *)given, 1, EVENTS_WATCH, 0, 0);
}

/* ---- programs -------------------------------------------------------------------------------- */

SEC("raw_tp/sched_process_exec")
int process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx->args[0];
	struct linux_binprm *bprm = (struct linux_binprm *)ctx->args[2];
	struct wire_member *m = member_of(bpf_get_current_pid_tgid());
	struct scratch *s;
	struct events_exec *rec;
	unsigned long start, end;
	struct inode *inode;
	struct file *file;
	__u64 at, len;
	__u32 found;
	long n;

	if (!m)
		return 0;
	found = check_expected(m, task, bprm);
	s = my_scratch();
	if (!s)
		return 0;
	rec = (void *)s->bytes;
	set_uring(bpf_get_current_pid_tgid() >> 32, 0);
	put_head(&rec->head, m, EVENTS_EXEC, 0);
	rec->head.flags = found;
	file = BPF_CORE_READ(bprm, file);
	inode = BPF_CORE_READ(file, f_inode);
	rec->ino = BPF_CORE_READ(inode, i_ino);
	rec->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	rec->names_len = put_path(s, sizeof(*rec), &file->f_path, &rec->head.flags);
	at = rec->names_len;
	if (at > EVENTS_PATH)
		return 0;
	at += sizeof(*rec);
	n = bpf_probe_read_kernel_str(s->bytes + at, EVENTS_PATH, BPF_CORE_READ(bprm, filename));
	len = BOUND(n > 0 ? n - 1 : 0, 2 * EVENTS_PATH - 1);
	rec->filename_len = len;
	at += len;

	rec->argv_len = 0;
	start = BPF_CORE_READ(task, mm, arg_start);
	end = BPF_CORE_READ(task, mm, arg_end);
	len = end > start ? end - start : 0;
	if (len > EVENTS_ARGV) {
		len = EVENTS_ARGV;
		rec->head.flags |= EVENTS_CUT_ARGV;
	}
	if (at > sizeof(*rec) + 2 * EVENTS_PATH)
		return 0;
	/* All or nothing: what could not be read has been zeroed, and is not called arguments. */
	if (len && bpf_probe_read_user(s->bytes + at, len, (void *)start)) {
		len = 0;
		rec->head.flags |= EVENTS_NO_ARGV;
	}
	rec->argv_len = len;
	at += len;
	if (at > sizeof(s->bytes))
		return 0;
	tell(rec, at, EVENTS_EXEC);
	return 0;
}

/* ---- io_uring -------------------------------------------------------------------------------- */

/* What is opened is told at its end, when there is a descriptor; where no end will be heard of, the
 * file gets none in the process's table, or the name is a long one, by that name. */
static __always_inline int await_end(__u64 key, int dfd, const char *name, __u64 flags, __u32 slot)
{
	struct request r = { .dfd = dfd };
	long n;

	if (!complete_form || flags & URING_SKIP || slot)
		return 0;
	n = bpf_probe_read_kernel_str(r.name, sizeof(r.name), name);
	return n > 1 && n < (long)sizeof(r.name) && !bpf_map_update_elem(&requests, &key, &r, BPF_ANY);
}

SEC("raw_tp")
int uring_submit(struct bpf_raw_tracepoint_args *ctx)
{
	struct io_kiocb *req = (struct io_kiocb *)ctx->args[0];
	__u32 op = BPF_CORE_READ(req, opcode);
	__u64 id = bpf_get_current_pid_tgid();
	struct io_open *open = (struct io_open *)req;
	struct wire_member *m;
	const char *name;
	int dfd;

	if (op != URING_OPENAT && op != URING_OPENAT2 && op != URING_CLOSE)
		return 0;
	m = member_of(id);
	if (!m)
		return 0;
	set_uring(id >> 32, op == URING_CLOSE ? EVENTS_RING_CLOSES : EVENTS_RING_OPENS);
	if (op == URING_CLOSE || !is_told(EVENTS_OPEN))
		return 0;
	uring_used = 1;
	name = BPF_CORE_READ(open, filename, name);
	dfd = BPF_CORE_READ(open, dfd);
	if (await_end((__u64)req, dfd, name, BPF_CORE_READ(req, flags), BPF_CORE_READ(open, file_slot)))
		return 0;
	return tell_given(m, dfd, name, 0, EVENTS_OPEN, EVENTS_URING | EVENTS_ASKED, 0);
}

/* The end of a request is told with those of its whole batch: by then one of them may have closed the
 * descriptor, and another have got it. */
static __always_inline int uring_end(__u64 req, int res)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct wire_member *m;
	struct request *r;

	if (!uring_used)
		return 0;
	r = bpf_map_lookup_elem(&requests, &req);
	if (!r)
		return 0;
	m = res >= 0 ? member_of(id) : 0;
	if (m) {
		int there = file_of(res) != 0;

		if (!there || closes_by_uring(id >> 32))
			tell_given(m, r->dfd, r->name, 0, EVENTS_OPEN, EVENTS_URING | EVENTS_ASKED, 0);
		if (there)
			tell_open(m, res, EVENTS_URING);
	}
	bpf_map_delete_elem(&requests, &req);
	return 0;
}

SEC("raw_tp")
int uring_complete(struct bpf_raw_tracepoint_args *ctx)
{
	struct io_uring_cqe *cqe;

	if (complete_form == 3) {
		cqe = (struct io_uring_cqe *)ctx->args[2];
		return uring_end(ctx->args[1], BPF_CORE_READ(cqe, res));
	}
	return uring_end(ctx->args[1], (int)ctx->args[3]);
}

SEC("raw_tp")
int uring_connect(struct bpf_raw_tracepoint_args *ctx)
{
	struct io_kiocb *req = (struct io_kiocb *)ctx->args[0];
	struct io_connect *connect = (struct io_connect *)req;
	struct wire_member *m;
	struct asked a = { 0 };

	if (!is_told(EVENTS_NET) || BPF_CORE_READ(req, opcode) != URING_CONNECT)
		return 0;
	m = member_of(bpf_get_current_pid_tgid());
	if (!m)
		return 0;
	a.fd = (__u64)BPF_CORE_READ(req, cqe.fd);
	read_address(&a, BPF_CORE_READ(connect, addr), (__u32)BPF_CORE_READ(connect, addr_len));
	return a.address_len ? tell_net(m, &a, EVENTS_URING | EVENTS_ASKED, 0) : 0;
}
