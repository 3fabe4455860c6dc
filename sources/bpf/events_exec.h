/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * That what runs is what was decided: while an exec is held its arguments are still the process's
 * memory, which it can go on changing. What the new program was given is compared with what the daemon
 * said it expects, and if it is something else the process does not live to see it. A part of
 * events.bpf.c.
 */
#ifndef OKNEK_SOURCES_BPF_EVENTS_EXEC_H
#define OKNEK_SOURCES_BPF_EVENTS_EXEC_H

#include "sources/bpf/argv_hash.h"

#define SIGKILL 9
#define GROUP_BYTES (ARGV_HASH_GROUP * 8)
/* Filesystems whose files have another device for programs than in the kernel (linux/magic.h). */
#define BTRFS_MAGIC 0x9123683e
#define OVERLAYFS_MAGIC 0x794c7630

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, EVENTS_EXPECT_ROWS);
	__type(key, __u32);
	__type(value, struct events_expected_row);
} expected SEC(".maps");

/* Where arguments are put for hashing: aligned, which they are not in a record. */
struct argv_words {
	struct argv_hash hash;
	__u32 failed;
	__u32 unused;
	__u64 words[EVENTS_ARGV / 8 + ARGV_HASH_GROUP];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* one for each processor */
	__type(key, __u32);
	__type(value, struct argv_words);
} argv_words SEC(".maps");

static __always_inline struct argv_words *my_words(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&argv_words, &cpu);
}

/*
 * These two are verified by themselves, once, whoever calls them and how often: a loop over all words
 * within one program would take the verifier longer than all the rest.
 */
__noinline __u32 hash_group(__u32 nth)
{
	struct argv_words *w = my_words();
	__u64 first = BOUND(nth * ARGV_HASH_GROUP, EVENTS_ARGV / 8 - 1);

	if (!w)
		return 1;
	for (int i = 0; i < ARGV_HASH_GROUP; i++)
		argv_hash_word(&w->hash, w->words[first + i]);
	return 0;
}

/* Of memory of the process, or of the kernel. `failed` says that it could not be read. */
__noinline __u64 hash_bytes(__u64 from, __u32 len, __u32 of_kernel)
{
	struct argv_words *w = my_words();
	__u64 size, last;
	long r;

	if (!w)
		return 0;
	w->failed = 1;
	if (len > EVENTS_ARGV)
		return 0;
	size = BOUND(len, 2 * EVENTS_ARGV - 1);
	if (size > EVENTS_ARGV)
		return 0;
	last = BOUND(len / GROUP_BYTES, EVENTS_ARGV / GROUP_BYTES * 2 - 1);
	if (last > EVENTS_ARGV / GROUP_BYTES)
		return 0;
	for (int i = 0; i < ARGV_HASH_GROUP; i++)
		w->words[last * ARGV_HASH_GROUP + i] = 0;
	r = of_kernel ? bpf_probe_read_kernel(w->words, size, (void *)from) :
			bpf_probe_read_user(w->words, size, (void *)from);
	if (r)
		return 0;
	argv_hash_begin(&w->hash, settings.hash_key[0], settings.hash_key[1]);
	for (__u32 i = 0; i < EVENTS_ARGV / GROUP_BYTES; i++) {
		if (i * GROUP_BYTES >= len)
			break;
		if (hash_group(i))
			return 0;
	}
	w->failed = 0;
	return argv_hash_end(&w->hash, len);
}

/* What the new program was given. */
struct given {
	__u64 start, filename;
	__u32 len, filename_len; /* with its NUL; 0: no interpreter took its place */
	__u32 argc;
};

static __always_inline __u32 compare(__u64 from, __u32 len, __u32 of_kernel, __u64 hash)
{
	struct argv_words *w = my_words();
	__u64 found = hash_bytes(from, len, of_kernel);

	if (!w || w->failed)
		return EVENTS_UNSURE;
	return found == hash ? EVENTS_AS_EXPECTED : EVENTS_CHANGED;
}

/* Arguments of an interpreter: its own, the script's name, and what came after the first. */
static __always_inline __u32 compare_tail(const struct events_expected *e, const struct given *g)
{
	struct argv_words *w = my_words();
	__u64 name, from;
	__u32 r;

	if (e->cut)
		return EVENTS_UNSURE;
	if (g->len < e->tail_len + g->filename_len)
		return EVENTS_CHANGED;
	from = g->start + g->len - e->tail_len;
	r = compare(from, e->tail_len, 0, e->tail_hash);
	if (r != EVENTS_AS_EXPECTED)
		return r;
	/* What precedes them is no argument that was slipped in. */
	name = hash_bytes(g->filename, g->filename_len, 1);
	if (!w || w->failed)
		return EVENTS_UNSURE;
	r = compare(from - g->filename_len, g->filename_len, 0, name);
	if (r == EVENTS_CHANGED && g->len >= e->len + g->filename_len) {
		/* But the first itself, for an interpreter with it (binfmt_misc, flag P). */
		from = g->start + g->len - e->len;
		if (compare(from, e->len, 0, e->hash) != EVENTS_CHANGED &&
		    compare(from - g->filename_len, g->filename_len, 0, name) != EVENTS_CHANGED)
			return EVENTS_UNSURE;
	}
	if (r != EVENTS_AS_EXPECTED || g->argc == e->argc + 1 || g->argc == e->argc + 2)
		return r;
	return EVENTS_UNSURE; /* an interpreter that has an interpreter, perhaps */
}

static __noinline __u32 compare_argv(const struct events_expected *e, const struct given *g)
{
	__u32 r = EVENTS_CHANGED;

	/* Without any the kernel gives one that is empty, or none. */
	if (!e->len && !e->cut)
		r = g->len <= 1 ? EVENTS_AS_EXPECTED : EVENTS_CHANGED;
	else if (e->cut ? g->len > e->len : g->len == e->len)
		r = compare(g->start, e->len, 0, e->hash);
	if (r != EVENTS_CHANGED || !g->filename_len)
		return r;
	return compare_tail(e, g);
}

/* Programs see another device on btrfs and overlay than the kernel does; the number is the same. */
static __always_inline int is_program(const struct events_expected *e, struct inode *inode)
{
	unsigned long magic = BPF_CORE_READ(inode, i_sb, s_magic);

	if (e->ino != BPF_CORE_READ(inode, i_ino))
		return 0;
	return e->dev == BPF_CORE_READ(inode, i_sb, s_dev) || magic == BTRFS_MAGIC ||
	       magic == OVERLAYFS_MAGIC;
}

/*
 * All that was expected of this process is used up: those of its threads that waited for an answer of
 * their own are gone by now. What was expected for another program is left over from an exec that
 * failed. Several threads may have been held at once, and either may have come first.
 */
static __always_inline __u32 check_expected(struct wire_member *m, struct task_struct *task,
					    struct linux_binprm *bprm)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u32 key = events_expect_row(settings.row_key, tgid), found = 0;
	struct events_expected_row *row = bpf_map_lookup_elem(&expected, &key);
	const char *filename, *interp;
	struct given g = { 0 };
	struct inode *inode;

	if (!row)
		return 0;
	for (int i = 0; i < EVENTS_EXPECT_WAYS; i++) {
		volatile struct events_expected *at = &row->e[i];
		struct events_expected e;
		__u64 end;

		e.seq = at->seq;
		if (!e.seq || e.seq & 1 || at->used == e.seq || at->tgid != tgid)
			continue;
		e.start_time_ns = at->start_time_ns;
		e.ino = at->ino;
		e.hash = at->hash;
		e.tail_hash = at->tail_hash;
		e.dev = at->dev;
		e.len = at->len;
		e.tail_len = at->tail_len;
		e.argc = at->argc;
		e.cut = at->cut;
		if (at->seq != e.seq)
			continue; /* it is another's already */
		at->used = e.seq;
		if (e.start_time_ns / WIRE_TICK_NS != m->start_time_ns / WIRE_TICK_NS)
			continue;
		inode = BPF_CORE_READ(bprm, file, f_inode);
		if (!is_program(&e, inode))
			continue;
		g.start = BPF_CORE_READ(task, mm, arg_start);
		end = BPF_CORE_READ(task, mm, arg_end);
		end = end > g.start ? end - g.start : 0;
		g.len = end > 0x7fffffff ? 0x7fffffff : end;
		g.argc = BPF_CORE_READ(bprm, argc);
		filename = BPF_CORE_READ(bprm, filename);
		interp = BPF_CORE_READ(bprm, interp);
		g.filename = (__u64)filename;
		g.filename_len = 0;
		if (filename != interp) {
			struct scratch *s = my_scratch();
			long n = s ? bpf_probe_read_kernel_str(s->bytes, EVENTS_PATH, filename) : 0;

			g.filename_len = n > 0 ? n : 1;
		}
		found |= compare_argv(&e, &g);
	}
	if (found & EVENTS_AS_EXPECTED)
		return EVENTS_AS_EXPECTED;
	if (found & EVENTS_UNSURE || !found)
		return found;
	return settings.enforce && !bpf_send_signal(SIGKILL) ? EVENTS_KILLED : EVENTS_CHANGED;
}

#endif
