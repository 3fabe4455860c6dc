/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What members of watched trees open, run and connect to. By tracepoints of single system calls, since
 * these cost other calls nothing and need neither trampolines nor kprobes, which hardened kernels
 * refuse. The first thing that each program does is to look whether this is a member; those of the
 * end of a call look at its result before. The few kernel structures are declared here with the
 * fields that are read; libbpf moves the offsets to where this kernel has them.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "sources/bpf/wire.h"

#define O_ACCMODE 3
#define O_PATH 010000000
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_PACKET 17
#define AF_VSOCK 40
#define SOCK_RAW 3
#define SOCK_PACKET 10
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define AT_FDCWD -100
#define URING_CONNECT 16
#define URING_OPENAT 18
#define URING_OPENAT2 28
#define URING_SKIP (1ULL << 6) /* IOSQE_CQE_SKIP_SUCCESS: no word of its end */
#define NAME_MAX_NUL 256
/* For the verifier, which does not always follow the compiler from a comparison to what was compared. */
#define BOUND(n, mask) ({ __u64 n_ = (n); asm volatile("" : "+r"(n_)); n_ & (mask); })
#define MESSAGES_MAX 8 /* of one sendmmsg() that are looked at */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef int pid_t;
typedef struct {
	unsigned int val;
} kuid_t;
struct cred {
	kuid_t euid;
};
struct super_block {
	__u32 s_dev;
};
struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
};
struct qstr {
	const unsigned char *name;
};
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};
struct vfsmount {
	struct dentry *mnt_root;
};
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_flags;
	void *private_data;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct fs_struct {
	struct path pwd;
};
struct mm_struct {
	unsigned long arg_start, arg_end;
};
struct task_struct {
	pid_t tgid;
	__u64 start_boottime;
	struct task_struct *group_leader, *real_parent;
	struct mm_struct *mm;
	const struct cred *cred;
	struct files_struct *files;
	struct fs_struct *fs;
	char comm[WIRE_COMM];
};
struct linux_binprm {
	struct file *file;
	const char *filename;
};
struct sock_common {
	unsigned short skc_family;
};
struct sock {
	struct sock_common __sk_common;
	unsigned short sk_protocol;
};
struct socket {
	short type;
	struct sock *sk;
};
struct filename {
	const char *name;
};
struct io_open {
	int dfd;
	__u32 file_slot;
	struct filename *filename;
};
struct io_connect {
	void *addr;
	int addr_len;
};
struct io_cqe {
	int fd;
};
struct io_kiocb {
	__u8 opcode;
	__u64 flags;
	struct io_cqe cqe;
};
struct io_uring_cqe {
	int res;
};
#pragma clang attribute pop

struct sys_enter {
	__u64 common;
	int nr;
	int unused;
	unsigned long args[6];
};

struct sys_exit {
	__u64 common;
	int nr;
	int unused;
	long ret;
};

char LICENSE[] SEC("license") = "Dual BSD/GPL";

volatile struct events_settings settings;
struct events_counters counters[EVENTS_CPUS];
__u32 uring_used; /* by a member, ever: nobody else pays for a lookup */
const volatile __u32 complete_form; /* arguments of io_uring_complete; 0: cannot be used */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct wire_member);
} members SEC(".maps"); /* that of the process feed */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 21);
} ring SEC(".maps");

/* Where a record is put together. Tracepoints are not preempted, and these do not nest. */
struct scratch {
	volatile __u64 len; /* of a path so far: here the verifier forgets what it was */
	__u8 bytes[sizeof(struct events_exec) + 2 * (EVENTS_PATH + NAME_MAX_NUL) + EVENTS_ARGV + 64];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* one for each processor */
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/* Opens that are under way, by thread, and how many of each kind by process, for the daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u32);
} opening SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, EVENTS_SLOTS);
	__type(key, __u32);
	__type(value, struct events_slot);
} slots SEC(".maps");

/* What a call was given, until it ends; by thread. */
struct asked {
	__u64 fd, pointer, len, messages;
	__u32 address_len;
	__u8 address[EVENTS_ADDRESS];
	__u32 unused;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct asked);
} asked SEC(".maps");

/* Requests of io_uring to open, until they end. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __u32);
} requests SEC(".maps");

/* ---- who ------------------------------------------------------------------------------------- */

static __always_inline struct wire_member *member_of(__u64 pid_tgid)
{
	__u32 tgid = pid_tgid >> 32;
	struct wire_member *m;
	struct task_struct *task;
	__u64 start;

	m = bpf_map_lookup_elem(&members, &tgid);
	if (!m || !settings.on)
		return 0;
	task = (struct task_struct *)bpf_get_current_task();
	start = BPF_CORE_READ(task, group_leader, start_boottime);
	/* Somebody who has the pid of a member that ended. */
	return m->start_time_ns / WIRE_TICK_NS == start / WIRE_TICK_NS ? m : 0;
}

static __always_inline void put_head(struct events_head *h, struct wire_member *m, __u32 type,
				     long result)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u64 id = bpf_get_current_pid_tgid();

	h->type = type;
	h->flags = 0;
	h->time_ns = bpf_ktime_get_boot_ns();
	h->start_time_ns = m->start_time_ns;
	h->tgid = id >> 32;
	h->tid = (__u32)id;
	h->ppid = BPF_CORE_READ(task, real_parent, tgid);
	h->tree_id = m->tree_id;
	h->uid = BPF_CORE_READ(task, cred, euid.val);
	h->result = (__s32)result;
	if (bpf_core_read_str(h->comm, sizeof(h->comm), &task->comm) < 0)
		h->comm[0] = 0;
}

static __always_inline struct scratch *my_scratch(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&scratch, &cpu);
}

/*
 * The reader is woken when it has taken everything that was there before, and takes its time then: so
 * a burst wakes it once. An exec is told at once. The last quarter is kept for them.
 */
static __always_inline void tell(void *record, __u64 len, __u32 type)
{
	__u32 cpu = bpf_get_smp_processor_id() & (EVENTS_CPUS - 1);
	__u64 size = bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE);
	long r = -1;

	counters[cpu].sent[type]++;
	if (type == EVENTS_EXEC ||
	    bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) <= size / 4 * 3)
		r = bpf_ringbuf_output(&ring, record, len,
				       type == EVENTS_EXEC ? BPF_RB_FORCE_WAKEUP : 0);
	if (r)
		counters[cpu].lost[type]++;
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* Names from the last to the first, each with its NUL, at `off` of the scratch; returns their length.
 * Through mounts up to the root of the mount namespace, whatever the process's root is. */
static __noinline __u32 put_path(struct scratch *s, __u32 off, struct path *from, __u32 *flags)
{
	struct vfsmount *vfs = BPF_CORE_READ(from, mnt);
	struct dentry *dentry = BPF_CORE_READ(from, dentry);
	struct mount *mount;
	int i;

	mount = (void *)vfs - bpf_core_field_offset(struct mount, mnt);
	s->len = 0;
	for (i = 0; i < EVENTS_STEPS; i++) {
		struct dentry *root = BPF_CORE_READ(mount, mnt.mnt_root);
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
		const unsigned char *name;
		__u64 len;
		long n;

		if (dentry == root || dentry == parent) {
			struct mount *up = BPF_CORE_READ(mount, mnt_parent);

			if (!up || up == mount)
				return s->len;
			dentry = BPF_CORE_READ(mount, mnt_mountpoint);
			mount = up;
			continue;
		}
		len = s->len;
		if (len > EVENTS_PATH - NAME_MAX_NUL)
			break;
		name = BPF_CORE_READ(dentry, d_name.name);
		n = bpf_probe_read_kernel_str(s->bytes + off + len, NAME_MAX_NUL, name);
		if (n <= 0)
			break;
		s->len = len + n;
		dentry = parent;
	}
	*flags |= EVENTS_CUT_PATH;
	return s->len;
}

static __always_inline struct file *file_of(long fd)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *fdt = BPF_CORE_READ(task, files, fdt);
	struct file **table = BPF_CORE_READ(fdt, fd), *file = 0;

	if (fd < 0 || fd >= BPF_CORE_READ(fdt, max_fds))
		return 0;
	if (bpf_probe_read_kernel(&file, sizeof(file), table + fd))
		return 0;
	return file;
}

static __always_inline int tell_open(struct wire_member *m, long fd, __u32 flags)
{
	struct scratch *s = my_scratch();
	struct file *file = file_of(fd);
	struct events_open *rec;
	struct inode *inode;
	__u64 len;

	if (!s || !file)
		return 0; /* closed by another thread */
	rec = (void *)s->bytes;
	rec->open_flags = BPF_CORE_READ(file, f_flags);
	if (rec->open_flags & O_PATH)
		return 0; /* a name, no content */
	inode = BPF_CORE_READ(file, f_inode);
	put_head(&rec->head, m, EVENTS_OPEN, fd);
	rec->head.flags = flags;
	rec->ino = BPF_CORE_READ(inode, i_ino);
	rec->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	rec->given_len = 0;
	rec->names_len = put_path(s, sizeof(*rec), &file->f_path, &rec->head.flags);
	len = BOUND(rec->names_len, 2 * EVENTS_PATH - 1);
	tell(rec, sizeof(*rec) + len, EVENTS_OPEN);
	return 0;
}

/* By the process's own words, which begin at the directory `dfd`. */
static __always_inline int tell_given(struct wire_member *m, long dfd, const char *given,
				      int from_user, __u32 type, __u32 flags, long result)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct scratch *s = my_scratch();
	struct events_open *rec;
	struct path *base = 0;
	struct file *file;
	__u64 len, names;
	long n;

	if (!s)
		return 0;
	rec = (void *)s->bytes;
	if (dfd == AT_FDCWD) {
		base = &BPF_CORE_READ(task, fs)->pwd;
	} else {
		file = file_of(dfd);
		if (file)
			base = &file->f_path;
	}
	put_head(&rec->head, m, type, result);
	rec->head.flags = flags;
	rec->ino = 0;
	rec->dev = 0;
	rec->open_flags = 0;
	names = base ? put_path(s, sizeof(*rec), base, &rec->head.flags) : 0;
	names = BOUND(names, 2 * EVENTS_PATH - 1);
	rec->names_len = names;
	n = from_user ? bpf_probe_read_user_str(s->bytes + sizeof(*rec) + names, EVENTS_PATH, given) :
			bpf_probe_read_kernel_str(s->bytes + sizeof(*rec) + names, EVENTS_PATH, given);
	if (n <= 1 || n > EVENTS_PATH)
		return 0;
	rec->given_len = n - 1;
	len = BOUND(names + n - 1, 4 * EVENTS_PATH - 1);
	tell(rec, sizeof(*rec) + len, type);
	return 0;
}

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

/* Until it runs another program, which ends its rings. */
static __always_inline void set_uring(__u32 tgid, __u32 on)
{
	__u32 key = tgid % EVENTS_SLOTS;
	struct events_slot *slot = bpf_map_lookup_elem(&slots, &key);

	if (slot)
		slot->uring = on;
}

static __always_inline int begin_open(__u32 how)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = (__u32)id, *before;

	if (!member_of(id))
		return 0;
	before = bpf_map_lookup_elem(&opening, &tid);
	if (before)
		count_slot(id >> 32, *before, -1);
	if (bpf_map_update_elem(&opening, &tid, &how, BPF_ANY))
		return 0;
	count_slot(id >> 32, how, 1);
	return 0;
}

static __always_inline __u32 how_of(unsigned long flags)
{
	return flags & O_ACCMODE ? WRITING : READING;
}

SEC("tp")
int enter_open(struct sys_enter *ctx)
{
	return begin_open(how_of(ctx->args[1]));
}

SEC("tp")
int enter_openat(struct sys_enter *ctx) /* open_by_handle_at() has its flags there, too */
{
	return begin_open(how_of(ctx->args[2]));
}

SEC("tp")
int enter_creat(struct sys_enter *ctx)
{
	(void)ctx;
	return begin_open(WRITING);
}

/* Its flags are in memory that may be another's by the time the kernel reads them. */
SEC("tp")
int enter_openat2(struct sys_enter *ctx)
{
	(void)ctx;
	return begin_open(UNKNOWN);
}

SEC("tp")
int exit_open(struct sys_exit *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct wire_member *m = member_of(id);
	__u32 tid = (__u32)id, *how;

	if (!m)
		return 0;
	how = bpf_map_lookup_elem(&opening, &tid);
	if (how) {
		count_slot(id >> 32, *how, -1);
		bpf_map_delete_elem(&opening, &tid);
	}
	return ctx->ret < 0 ? 0 : tell_open(m, ctx->ret, 0);
}

/* ---- inotify --------------------------------------------------------------------------------- */

SEC("tp")
int enter_watch(struct sys_enter *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct asked a = { .pointer = ctx->args[1] };
	__u32 tid = (__u32)id;

	if (member_of(id))
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
	struct file *file;
	__u64 at, len;
	long n;

	if (!m)
		return 0;
	s = my_scratch();
	if (!s)
		return 0;
	rec = (void *)s->bytes;
	set_uring(bpf_get_current_pid_tgid() >> 32, 0);
	put_head(&rec->head, m, EVENTS_EXEC, 0);
	rec->unused = 0;
	file = BPF_CORE_READ(bprm, file);
	rec->names_len = put_path(s, sizeof(*rec), &file->f_path, &rec->head.flags);
	at = rec->names_len;
	if (at > EVENTS_PATH)
		return 0;
	at += sizeof(*rec);
	n = bpf_probe_read_kernel_str(s->bytes + at, EVENTS_PATH, BPF_CORE_READ(bprm, filename));
	rec->filename_len = n > 0 ? n - 1 : 0;
	len = rec->filename_len;
	if (len > EVENTS_PATH)
		return 0;
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

/* ---- network --------------------------------------------------------------------------------- */

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

	if (!user || !member_of(id))
		return 0;
	a.fd = fd;
	read_address(&a, (void *)user, (__u32)len);
	if (a.address_len)
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

	if (!member_of(bpf_get_current_pid_tgid()))
		return 0;
	if (bpf_probe_read_user(&msg, sizeof(msg), (void *)ctx->args[1]))
		return 0;
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

	if (member_of(id))
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

/* Whose packets no filter of connections sees. */
SEC("tp")
int exit_socket(struct sys_exit *ctx)
{
	struct wire_member *m;
	struct events_net *rec;
	struct scratch *s;
	struct socket *sock;

	if (ctx->ret < 0)
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
	if (rec->family != AF_PACKET &&
	    ((rec->family != AF_INET && rec->family != AF_INET6) ||
	     (rec->sock_type != SOCK_RAW && rec->sock_type != SOCK_PACKET)))
		return 0;
	put_head(&rec->head, m, EVENTS_NET, 0);
	rec->head.flags = EVENTS_RAW;
	rec->address_len = 0;
	__builtin_memset(rec->address, 0, sizeof(rec->address));
	tell(rec, sizeof(*rec), EVENTS_NET);
	return 0;
}

/* ---- io_uring -------------------------------------------------------------------------------- */

/* What is opened is told at its end, when there is a descriptor; where no end will be heard of, or the
 * file gets none in the process's table, by its name. */
SEC("raw_tp")
int uring_submit(struct bpf_raw_tracepoint_args *ctx)
{
	struct io_kiocb *req = (struct io_kiocb *)ctx->args[0];
	__u32 op = BPF_CORE_READ(req, opcode);
	__u64 id = bpf_get_current_pid_tgid(), key = (__u64)req;
	struct io_open *open = (struct io_open *)req;
	struct wire_member *m;
	const char *name;
	int dfd;

	if (op != URING_OPENAT && op != URING_OPENAT2)
		return 0;
	m = member_of(id);
	if (!m)
		return 0;
	set_uring(id >> 32, 1);
	uring_used = 1;
	if (complete_form && !(BPF_CORE_READ(req, flags) & URING_SKIP) &&
	    !BPF_CORE_READ(open, file_slot) &&
	    !bpf_map_update_elem(&requests, &key, &op, BPF_ANY))
		return 0;
	name = BPF_CORE_READ(open, filename, name);
	dfd = BPF_CORE_READ(open, dfd);
	return tell_given(m, dfd, name, 0, EVENTS_OPEN, EVENTS_URING | EVENTS_ASKED, 0);
}

static __always_inline int uring_end(__u64 req, int res)
{
	struct wire_member *m;

	if (!uring_used || !bpf_map_lookup_elem(&requests, &req))
		return 0;
	bpf_map_delete_elem(&requests, &req);
	if (res < 0)
		return 0;
	m = member_of(bpf_get_current_pid_tgid());
	if (!m)
		return 0;
	return tell_open(m, res, EVENTS_URING);
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

	if (BPF_CORE_READ(req, opcode) != URING_CONNECT)
		return 0;
	m = member_of(bpf_get_current_pid_tgid());
	if (!m)
		return 0;
	a.fd = (__u64)BPF_CORE_READ(req, cqe.fd);
	read_address(&a, BPF_CORE_READ(connect, addr), (__u32)BPF_CORE_READ(connect, addr_len));
	return a.address_len ? tell_net(m, &a, EVENTS_URING | EVENTS_ASKED, 0) : 0;
}
