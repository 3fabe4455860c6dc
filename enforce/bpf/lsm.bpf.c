/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Refuses members of watched trees the opening of files that carry a label, and the running of
 * programs that carry one or have a name that rules name. The label hangs from the inode itself, so it
 * holds by whatever name, mount or subvolume, for io_uring as for a system call; an open through
 * overlayfs comes by twice, for its own inode and for the one below. A file without a label costs one
 * look at a pointer. A program comes by once for itself and once for each interpreter that it names.
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
struct linux_binprm {
	struct file *file;
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
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long dx, si, orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31];
};
struct pt_regs {
	struct user_pt_regs user_regs;
	__s32 syscallno;
};
#endif
#pragma clang attribute pop

char LICENSE[] SEC("license") = "Dual BSD/GPL";

volatile struct lsm_settings settings;
volatile struct lsm_ran ran; /* the kernel does call us */

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

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LSM_NAMES_MAX);
	__type(key, struct lsm_name);
	__type(value, __u32);
} names SEC(".maps");

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

struct refused {
	struct lsm_counters *counters;
	const struct lsm_label *label; /* NULL: by its name */
	const struct wire_member *member;
	struct task_struct *task;
	__u32 flags, modes;
};

/* Is there to be a record of its own; else it is counted. */
static __always_inline int is_told(struct refused *f, __u64 now_ns)
{
	if (is_due(f->member->tree_id, now_ns))
		return 1;
	f->counters->too_many++;
	return 0;
}

static __always_inline void put_head(struct lsm_record *r, const struct refused *f, __u64 now_ns)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct task_struct *task = f->task;

	r->time_ns = now_ns;
	r->start_time_ns = f->member->start_time_ns;
	r->dev = f->label ? f->label->dev : 0;
	r->ino = f->label ? f->label->ino : 0;
	r->tree_id = f->member->tree_id;
	r->tgid = id >> 32;
	r->tid = (__u32)id;
	r->uid = (__u32)bpf_get_current_uid_gid();
	r->flags = f->flags;
	r->modes = f->modes;
	if (bpf_core_read_str(r->comm, sizeof(r->comm), &task->comm) < 0)
		r->comm[0] = 0;
	put_path(&r->exe, BPF_CORE_READ(task, mm, exe_file));
}

/* Who asks, if he is a member. */
static __always_inline struct wire_member *find_member(struct task_struct **task)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct wire_member *m = bpf_map_lookup_elem(&members, &tgid);

	if (!m)
		return 0;
	*task = (struct task_struct *)bpf_get_current_task();
	/* Else somebody who has the pid of a member that ended. */
	return m->start_time_ns / WIRE_TICK_NS ==
			       BPF_CORE_READ(*task, group_leader, start_boottime) / WIRE_TICK_NS ?
		       m : 0;
}

/* The hooks at which who is a member is refused something. */
static __always_inline __u32 enforced_for(const struct wire_member *m)
{
	__u32 proof = settings.proof_tree;

	return proof && m->tree_id == proof ? LSM_AT_OPEN | LSM_AT_EXEC_OPEN | LSM_AT_EXEC : settings.enforce;
}

/* ---- opens ------------------------------------------------------------------------------------ */

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
	/* What programs before this one said. Of what is returned the verifier (6.12) has to see that it is
	 * an errno: here it is always the same. */
	int before = (int)ctx[1];
	struct refused f = { 0 };
	struct lsm_record *r;
	struct lsm_label *label;
	__u32 word, zero = 0;
	__u64 now_ns;

	word = settings.word;
	if (!word) {
		ran.open = 1;
		return 0;
	}
	if (before)
		return -EPERM;
	label = bpf_inode_storage_get(&labels, file->f_inode, 0, 0);
	if (!label)
		return 0;
	f.label = label;
	f.member = find_member(&f.task);
	f.counters = bpf_map_lookup_elem(&counters, &zero);
	if (!f.member || !f.counters)
		return 0;
	f.counters->seen++;
	if (!(enforced_for(f.member) & LSM_AT_OPEN) || label->slot[word & 1].word != word)
		return 0;
	f.flags = file->f_flags;
	f.modes = modes_of(f.flags) & label->slot[word & 1].modes;
	if (!f.modes)
		return 0;
	f.counters->refused++;
	now_ns = bpf_ktime_get_boot_ns();
	if (!is_told(&f, now_ns))
		return -EPERM;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		f.counters->lost++;
		return -EPERM;
	}
	put_head(r, &f, now_ns);
	bpf_ringbuf_submit(r, 0);
	return -EPERM;
}

/* ---- programs --------------------------------------------------------------------------------- */

/* Where the arguments of the call stand that is under way, 0: not known. Of another ABI than ours they
 * are not read. */
static __always_inline const char *const *find_argv(void)
{
#if defined(__TARGET_ARCH_x86) || defined(__TARGET_ARCH_arm64)
	struct pt_regs *regs;

	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs((void *)bpf_get_current_task_btf());
#if defined(__TARGET_ARCH_x86)
	switch (BPF_CORE_READ(regs, orig_ax)) {
	case 59: /* execve, arch/x86/entry/syscalls/syscall_64.tbl */
		return (void *)BPF_CORE_READ(regs, si);
	case 322: /* execveat */
		return (void *)BPF_CORE_READ(regs, dx);
	}
#else
	switch (BPF_CORE_READ(regs, syscallno)) {
	case 221: /* execve, asm-generic/unistd.h */
		return (void *)BPF_CORE_READ(regs, user_regs.regs[1]);
	case 281: /* execveat */
		return (void *)BPF_CORE_READ(regs, user_regs.regs[2]);
	}
#endif
#endif
	return 0;
}

/* As they stand there now: the program that was refused had the same, unless somebody who shares that
 * memory has changed them since. */
static __always_inline void put_argv(struct lsm_exec *x)
{
	const char *const *argv = find_argv();
	volatile __u32 *used = &x->argv_len;

	*used = 0;
	x->argv_cut = 1;
	for (int i = 0; i < LSM_ARGS_MAX && argv; i++) {
		const char *arg = 0;
		__u32 len = *used;
		long n;

		if (bpf_probe_read_user(&arg, sizeof(arg), argv + i))
			break;
		if (!arg) {
			x->argv_cut = 0;
			break;
		}
		asm volatile("" : "+r"(len));
		if (len > LSM_ARGV)
			break;
		n = bpf_probe_read_user_str(x->argv + len, LSM_ARG, arg);
		if (n <= 0 || n > LSM_ARG)
			break;
		*used = len + n;
		if (n == LSM_ARG) /* there may be more of it */
			break;
	}
}

static __always_inline int has_name(struct file *file, __u32 word)
{
	struct lsm_name key;

	__builtin_memset(&key, 0, sizeof(key));
	key.word = word;
	if (bpf_probe_read_kernel_str(key.name, sizeof(key.name),
				      BPF_CORE_READ(file, f_path.dentry, d_name.name)) <= 0)
		return 0;
	return bpf_map_lookup_elem(&names, &key) != 0;
}

/* What loads other programs is opened by the kernel for each of them: by its name it is run only when it
 * is asked about by itself. No loader has a label. */
static __always_inline int is_loader(struct file *file)
{
	char name[8] = { 0 };

	if (bpf_probe_read_kernel_str(name, sizeof(name),
				      BPF_CORE_READ(file, f_path.dentry, d_name.name)) <= 0)
		return 0;
	if (name[0] == 'l' && name[1] == 'd')
		return name[2] == '-' || name[2] == '.' || name[2] == '6';
	return !__builtin_memcmp(name, "libc.so", 8); /* musl's, where it is both */
}

static __always_inline int check_program(struct file *file, __u32 word, __u32 hook)
{
	struct refused f = { .modes = LSM_RUN };
	struct lsm_label *label;
	struct lsm_exec *x;
	__u32 zero = 0;
	__u64 now_ns;

	f.member = find_member(&f.task);
	f.counters = bpf_map_lookup_elem(&counters, &zero);
	if (!f.member || !f.counters)
		return 0;
	f.counters->seen++;
	if (!(enforced_for(f.member) & hook))
		return 0;
	label = bpf_inode_storage_get(&labels, file->f_inode, 0, 0);
	if (label && label->slot[word & 1].word == word && label->slot[word & 1].modes & LSM_RUN)
		f.label = label;
	else if ((hook == LSM_AT_EXEC_OPEN && is_loader(file)) || !has_name(file, word))
		return 0;
	f.counters->refused++;
	now_ns = bpf_ktime_get_boot_ns();
	if (!is_told(&f, now_ns))
		return -EPERM;
	x = bpf_ringbuf_reserve(&ring, sizeof(*x), 0);
	if (!x) {
		f.counters->lost++;
		return -EPERM;
	}
	put_head(&x->head, &f, now_ns);
	put_path(&x->program, file);
	put_argv(x);
	bpf_ringbuf_submit(x, 0);
	return -EPERM;
}

/* Before anybody who holds who opens it hears of it. */
SEC("lsm/file_open")
int lsm_exec_open(unsigned long long *ctx)
{
	struct file *file = (struct file *)ctx[0];
	int before = (int)ctx[1];
	__u32 word = settings.word;

	if (before)
		return -EPERM;
	if (!word || !(file->f_flags & FMODE_EXEC))
		return 0;
	return check_program(file, word, LSM_AT_EXEC_OPEN);
}

SEC("lsm/bprm_check_security")
int lsm_exec(unsigned long long *ctx)
{
	struct linux_binprm *bprm = (struct linux_binprm *)ctx[0];
	int before = (int)ctx[1];
	__u32 word = settings.word;

	if (!word) {
		ran.exec = 1;
		return 0;
	}
	return before ? -EPERM : check_program(bprm->file, word, LSM_AT_EXEC);
}
