/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs of events.bpf.c share: kernel structures, maps, who is a member, records, paths. A part
 * of that file, for BPF alone. */
#ifndef OKNEK_SOURCES_BPF_EVENTS_COMMON_H
#define OKNEK_SOURCES_BPF_EVENTS_COMMON_H

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "sources/bpf/wire.h"

#define O_ACCMODE 3
#define O_WRONLY 1
#define O_TRUNC 01000
#define O_PATH 010000000
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_PACKET 17
#define AF_ALG 38
#define AF_VSOCK 40
#define SOCK_RAW 3
#define SOCK_PACKET 10
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define AT_FDCWD -100
#define URING_CONNECT 16
#define URING_OPENAT 18
#define URING_CLOSE 19
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
struct signal_struct {
	int nr_threads;
};
struct super_block {
	__u32 s_dev;
	unsigned long s_magic;
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
	struct signal_struct *signal;
	char comm[WIRE_COMM];
};
struct linux_binprm {
	struct file *file;
	int argc;
	const char *filename, *interp;
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
	__uint(max_entries, 1 << 19);
} execs SEC(".maps"); /* EVENTS_EXEC */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} bulk SEC(".maps"); /* all else */

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
struct opening {
	__u64 name; /* in the process's memory; 0: there is none */
	__u32 how;
	__s32 dfd;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct opening);
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

/* Requests of io_uring to open, until they end; who finds no room is told by name at once. */
struct request {
	__s32 dfd;
	char name[NAME_MAX_NUL];
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__type(key, __u64);
	__type(value, struct request);
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

static __always_inline int is_told(__u32 type)
{
	return !(settings.not_told & 1 << type);
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
 * Programs that begin to run are told at once, in a ring of their own that nothing else can fill. The
 * rest wakes nobody while its reader looks by a timer; only one that has gone to sleep is woken: it
 * says so first, and looks once more then, as we look once more at whether it said so. What wakes it
 * is a record without content, since this one has been told by then.
 */
static __always_inline void tell(void *record, __u64 len, __u32 type)
{
	__u32 cpu = bpf_get_smp_processor_id() & (EVENTS_CPUS - 1);
	void *nothing;
	long r;

	__sync_fetch_and_add(&counters[cpu].sent[type], 1);
	if (type == EVENTS_EXEC)
		r = bpf_ringbuf_output(&execs, record, len, BPF_RB_FORCE_WAKEUP);
	else
		r = bpf_ringbuf_output(&bulk, record, len, BPF_RB_NO_WAKEUP);
	if (r)
		__sync_fetch_and_add(&counters[cpu].lost[type], 1);
	if (type == EVENTS_EXEC || !settings.bulk_asleep)
		return;
	settings.bulk_asleep = 0;
	nothing = bpf_ringbuf_reserve(&bulk, 8, 0);
	if (nothing)
		bpf_ringbuf_discard(nothing, BPF_RB_FORCE_WAKEUP);
}

/* Of what cannot be told any more that much is. */
static __always_inline void tell_nothing(__u32 type)
{
	__u32 cpu = bpf_get_smp_processor_id() & (EVENTS_CPUS - 1);

	__sync_fetch_and_add(&counters[cpu].sent[type], 1);
	__sync_fetch_and_add(&counters[cpu].lost[type], 1);
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

	if (!s || !file) {
		tell_nothing(EVENTS_OPEN);
		return 0;
	}
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
	if (n <= 1 || n > EVENTS_PATH) {
		tell_nothing(type);
		return 0;
	}
	rec->given_len = n - 1;
	len = BOUND(names + n - 1, 4 * EVENTS_PATH - 1);
	tell(rec, sizeof(*rec) + len, type);
	return 0;
}

#endif
