/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Refuses members of watched trees the opening of files that carry a label. The label hangs from the
 * inode itself, so it holds by whatever name, mount or subvolume, for io_uring as for a system call;
 * an open through overlayfs comes by twice, for its own inode and for the one below. A file without a
 * label costs one look at a pointer.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "enforce/bpf/lsm_wire.h"

#define EPERM 1
#define O_ACCMODE 00000003
#define O_RDONLY 00000000
#define O_WRONLY 00000001
#define O_TRUNC 00001000
#define COMPONENTS_MAX 40 /* and crossings of mounts */
#define FMODE_EXEC 0x20 /* __FMODE_EXEC, include/linux/fs.h */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inode;
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
	unsigned int f_flags;
	struct inode *f_inode;
};
struct mm_struct {
	struct file *exe_file;
};
struct task_struct {
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	char comm[WIRE_COMM];
};
#pragma clang attribute pop

char LICENSE[] SEC("license") = "Dual BSD/GPL";

volatile struct lsm_settings settings;
volatile __u32 ran; /* somebody opened something: the kernel does call us */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct wire_member);
} members SEC(".maps"); /* that of the process feed */

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct lsm_label);
} labels SEC(".maps");

struct tree_pace {
	__u64 next_ns; /* when the next record is due, as far ahead as a burst may go */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LSM_TREES_MAX);
	__type(key, __u32);
	__type(value, struct tree_pace);
} paces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lsm_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

/* By a clock that runs ahead of ours by as much as was told. */
static __always_inline int is_due(__u32 tree_id, __u64 now_ns)
{
	struct tree_pace *p = bpf_map_lookup_elem(&paces, &tree_id), first = { 0 };
	__u64 next;

	if (!p) {
		first.next_ns = now_ns + LSM_TELL_NS;
		bpf_map_update_elem(&paces, &tree_id, &first, BPF_ANY);
		return 1;
	}
	next = p->next_ns;
	if (next < now_ns)
		next = now_ns;
	if (next > now_ns + LSM_TELL_NS * LSM_TELL_BURST)
		return 0;
	p->next_ns = next + LSM_TELL_NS;
	return 1;
}

/* By reading alone: the kernel's own d_path() is given to programs for their arguments only. Who is
 * refused is not held, and may have ended when somebody asks what it ran. */
static __always_inline void put_path(struct lsm_path *to, struct file *file)
{
	struct vfsmount *vfs = BPF_CORE_READ(file, f_path.mnt);
	struct dentry *d = BPF_CORE_READ(file, f_path.dentry);
	struct mount *m = (void *)vfs - bpf_core_field_offset(struct mount, mnt);
	/* In the record: what the verifier does not know more of each time, it looks at once. */
	volatile __u32 *used = &to->len;

	to->whole = 0;
	*used = 0;
	for (int i = 0; i < COMPONENTS_MAX; i++) {
		struct dentry *parent = BPF_CORE_READ(d, d_parent);
		__u32 len = *used;
		long n;

		if (d == BPF_CORE_READ(m, mnt.mnt_root) || d == parent) {
			struct mount *above = BPF_CORE_READ(m, mnt_parent);

			if (above == m) {
				to->whole = 1;
				break;
			}
			d = BPF_CORE_READ(m, mnt_mountpoint);
			m = above;
			continue;
		}
		asm volatile("" : "+r"(len)); /* so that the verifier sees the comparison */
		if (len > LSM_PATH)
			break;
		n = bpf_probe_read_kernel_str(to->parts + len, LSM_NAME, BPF_CORE_READ(d, d_name.name));
		if (n <= 1 || n > LSM_NAME)
			break;
		*used = len + n;
		d = parent;
	}
}

static __always_inline void tell(struct lsm_counters *c, const struct lsm_label *label,
				 const struct wire_member *m, struct task_struct *task, __u32 flags,
				 __u32 modes)
{
	__u64 now_ns = bpf_ktime_get_boot_ns(), id = bpf_get_current_pid_tgid();
	struct lsm_record *r;

	if (!is_due(m->tree_id, now_ns)) {
		c->too_many++;
		return;
	}
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		c->lost++;
		return;
	}
	r->time_ns = now_ns;
	r->start_time_ns = m->start_time_ns;
	r->dev = label->dev;
	r->ino = label->ino;
	r->tree_id = m->tree_id;
	r->tgid = id >> 32;
	r->tid = (__u32)id;
	r->uid = (__u32)bpf_get_current_uid_gid();
	r->flags = flags;
	r->modes = modes;
	if (bpf_core_read_str(r->comm, sizeof(r->comm), &task->comm) < 0)
		r->comm[0] = 0;
	put_path(&r->exe, BPF_CORE_READ(task, mm, exe_file));
	bpf_ringbuf_submit(r, 0);
}

static __always_inline __u32 modes_of(__u32 flags)
{
	__u32 access = flags & O_ACCMODE;
	__u32 modes = LSM_READ | LSM_WRITE; /* also of the one for ioctl() alone */

	if (flags & FMODE_EXEC)
		return LSM_EXEC;
	if (access == O_RDONLY)
		modes = LSM_READ;
	else if (access == O_WRONLY)
		modes = LSM_WRITE;
	return flags & O_TRUNC ? modes | LSM_WRITE : modes;
}

SEC("lsm/file_open")
int lsm_file_open(unsigned long long *ctx)
{
	struct file *file = (struct file *)ctx[0];
	int before = (int)ctx[1]; /* what programs before this one said */
	struct lsm_counters *c;
	struct task_struct *task;
	struct lsm_label *label;
	struct wire_member *m;
	__u32 tgid, word, modes, zero = 0;

	word = settings.word;
	if (!word) {
		ran = 1;
		return before;
	}
	if (before)
		return before;
	label = bpf_inode_storage_get(&labels, file->f_inode, 0, 0);
	if (!label)
		return 0;
	tgid = bpf_get_current_pid_tgid() >> 32;
	m = bpf_map_lookup_elem(&members, &tgid);
	if (!m)
		return 0;
	task = (struct task_struct *)bpf_get_current_task();
	/* Somebody who has the pid of a member that ended. */
	if (m->start_time_ns / WIRE_TICK_NS !=
	    BPF_CORE_READ(task, group_leader, start_boottime) / WIRE_TICK_NS)
		return 0;
	c = bpf_map_lookup_elem(&counters, &zero);
	if (!c)
		return 0;
	c->seen++;
	if (!settings.enforce || label->slot[word & 1].word != word)
		return 0;
	modes = modes_of(file->f_flags) & label->slot[word & 1].modes;
	if (!modes)
		return 0;
	c->refused++;
	tell(c, label, m, task, file->f_flags, modes);
	return -EPERM;
}
