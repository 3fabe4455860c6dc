/* SPDX-License-Identifier: Apache-2.0 */
/* What an exec that was held is expected to run with, told to the kernel in memory: no system call. */
#include "sources/ebpf.h"

#ifndef OKNEK_NO_BPF

#include <bpf/libbpf.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "sources/bpf/argv_hash.h"
#include "sources/ebpf_priv.h"

#define DEV_MINOR_BITS 20 /* MINORBITS of linux/kdev_t.h, which programs do not see */
#define GROUP_BYTES (ARGV_HASH_GROUP * 8)

_Static_assert(sizeof(((struct ebpf_expect *)0)->words) == EVENTS_ARGV + GROUP_BYTES,
	       "arguments, and a group of zeros");

#define TABLE_BYTES (EVENTS_EXPECT_ROWS * sizeof(struct events_expected_row))

int ebpf_exec_map(struct ebpf_expect *x, int map_fd, struct events_settings *settings)
{
	struct events_settings keys;
	void *p = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	if (sodium_init() < 0) {
		munmap(p, TABLE_BYTES);
		return -EIO;
	}
	randombytes_buf(&keys, sizeof(keys));
	/* Before any program is attached. */
	settings->hash_key[0] = x->hash_key[0] = keys.hash_key[0];
	settings->hash_key[1] = x->hash_key[1] = keys.hash_key[1];
	settings->row_key = x->row_key = keys.row_key | 1;
	sodium_memzero(&keys, sizeof(keys));
	x->rows = p;
	x->settings = settings;
	return 0;
}

void ebpf_exec_unmap(struct ebpf_expect *x)
{
	if (x->rows)
		munmap(x->rows, TABLE_BYTES);
	x->rows = NULL;
}

/* Of `len` bytes of the words, from `from` on. */
static uint64_t hash_words(struct ebpf_expect *x, size_t from, size_t len)
{
	uint8_t *bytes = (uint8_t *)x->words;
	size_t groups = (len + GROUP_BYTES - 1) / GROUP_BYTES;
	struct argv_hash h;

	if (from)
		memmove(bytes, bytes + from, len);
	memset(bytes + len, 0, groups * GROUP_BYTES - len);
	argv_hash_begin(&h, x->hash_key[0], x->hash_key[1]);
	for (size_t i = 0; i < groups * ARGV_HASH_GROUP; i++)
		argv_hash_word(&h, x->words[i]);
	return argv_hash_end(&h, len);
}

static bool is_used_up(const struct events_expected *e)
{
	return !e->seq || __atomic_load_n(&e->used, __ATOMIC_RELAXED) == e->seq;
}

/* Whoever has ended, and been replaced by another, does not run anything any more. */
static bool is_gone(const struct ebpf_source *s, const struct events_expected *e)
{
	const struct member *m = proctree_find(s->c.tree, (pid_t)e->tgid);

	return !m || (m->start_time_ns && !start_time_same(m->start_time_ns, e->start_time_ns));
}

static struct events_expected_row *row_of(struct ebpf_expect *x, pid_t tgid)
{
	return &x->rows[events_expect_row(x->row_key, (uint32_t)tgid)];
}

/* One that nothing depends on, or, for want of such, the oldest. */
static struct events_expected *choose(struct ebpf_source *s, pid_t tgid)
{
	struct events_expected_row *row = row_of(&s->expect, tgid);
	struct events_expected *oldest = &row->e[0];

	for (unsigned i = 0; i < EVENTS_EXPECT_WAYS; i++) {
		struct events_expected *e = &row->e[i];

		if (is_used_up(e) || is_gone(s, e))
			return e;
		if (e->seq < oldest->seq)
			oldest = e;
	}
	/* An exec of this one that was let go and is still under way is compared by us, later. */
	__atomic_fetch_add(&s->expect.pushed_out, 1, __ATOMIC_RELAXED);
	return oldest;
}

static uint32_t count_args(const char *argv, size_t len)
{
	uint32_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += !argv[i];
	return n;
}

void ebpf_exec_expect(struct source *base, pid_t tgid, uint64_t start_time_ns, uint64_t dev,
		      uint64_t ino, const char *argv, size_t len, bool cut)
{
	struct ebpf_source *s = (struct ebpf_source *)base;
	struct ebpf_expect *x = &s->expect;
	struct events_expected new, *e;
	uint64_t seq;
	size_t first;

	if (!argv || !start_time_ns || (cut && !len)) {
		ebpf_exec_forget(base, tgid); /* nobody knows what it will run with */
		return;
	}
	if (len > EVENTS_ARGV) {
		len = EVENTS_ARGV;
		cut = true;
	}
	memcpy(x->words, argv, len);
	if (len && !cut && argv[len - 1]) {
		if (len < EVENTS_ARGV)
			((char *)x->words)[len++] = '\0';
		else
			cut = true; /* a NUL follows that is not compared */
	}
	first = len ? strnlen((char *)x->words, len) : 0;
	first += first < len;
	new = (struct events_expected){
		.start_time_ns = start_time_ns,
		.ino = ino,
		.tgid = (uint32_t)tgid,
		.dev = major(dev) << DEV_MINOR_BITS | minor(dev),
		.len = (uint32_t)len,
		.tail_len = (uint32_t)(len - first),
		.argc = count_args((char *)x->words, len),
		.cut = cut,
	};
	new.hash = hash_words(x, 0, len);
	new.tail_hash = hash_words(x, first, len - first);

	e = choose(s, tgid);
	seq = x->seq += 2;
	__atomic_exchange_n(&e->seq, seq - 1, __ATOMIC_ACQ_REL); /* before what follows is written */
	e->start_time_ns = new.start_time_ns;
	e->ino = new.ino;
	e->hash = new.hash;
	e->tail_hash = new.tail_hash;
	e->tgid = new.tgid;
	e->dev = new.dev;
	e->len = new.len;
	e->tail_len = new.tail_len;
	e->argc = new.argc;
	e->cut = new.cut;
	__atomic_store_n(&e->seq, seq, __ATOMIC_RELEASE);
}

static void forget(struct events_expected *e)
{
	__atomic_store_n(&e->seq, 0, __ATOMIC_RELEASE);
}

void ebpf_exec_forget(struct source *base, pid_t tgid)
{
	struct events_expected_row *row = row_of(&((struct ebpf_source *)base)->expect, tgid);

	for (unsigned i = 0; i < EVENTS_EXPECT_WAYS; i++)
		if (row->e[i].tgid == (uint32_t)tgid && !is_used_up(&row->e[i]))
			forget(&row->e[i]);
}

void ebpf_exec_forget_all(struct source *base)
{
	struct ebpf_expect *x = &((struct ebpf_source *)base)->expect;

	for (unsigned i = 0; i < EVENTS_EXPECT_ROWS; i++)
		for (unsigned k = 0; k < EVENTS_EXPECT_WAYS; k++)
			if (x->rows[i].e[k].seq)
				forget(&x->rows[i].e[k]);
}

void ebpf_exec_enforce(struct source *base, bool enforce)
{
	struct ebpf_expect *x = &((struct ebpf_source *)base)->expect;

	__atomic_store_n(&x->settings->enforce, enforce, __ATOMIC_SEQ_CST);
}

#endif
