/* SPDX-License-Identifier: Apache-2.0 */
/* What a held thread is about to do: how it opens, what it would run a program with. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/peek_priv.h"

#define FIRST_PAUSE_NS 50000  /* who was just woken rests again */
#define LAST_PAUSE_NS 16000000 /* each is twice as long as the last */
#define ARGV_LOOKS 8          /* at those who run, when one is held */

static void rest(long *pause_ns)
{
	const struct timespec t = { .tv_nsec = *pause_ns };

	nanosleep(&t, NULL);
	*pause_ns *= 2;
}

/* ---- how it opens ---------------------------------------------------------------------------- */

struct way {
	enum open_mode mode;
	bool also_read;
};

static struct way way_of_flags(uint64_t flags)
{
	if ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC))
		return (struct way){ OPEN_MODE_READ, false };
	return (struct way){ OPEN_MODE_WRITE, (flags & O_ACCMODE) != O_WRONLY };
}

/*
 * The numbers of 32-bit calls are told as such, and of none that is here is one, in any of their
 * tables, a call that opens a file.
 */
static struct way way_of(const struct peek_thread *t)
{
	if (t->io_worker)
		return (struct way){ OPEN_MODE_UNKNOWN, false };
	switch (t->call) {
#ifdef SYS_open
	case SYS_open:
		return way_of_flags(t->arg[1]);
#endif
#ifdef SYS_creat
	case SYS_creat:
		return (struct way){ OPEN_MODE_WRITE, false };
#endif
	case SYS_openat:
	case SYS_open_by_handle_at:
		return way_of_flags(t->arg[2]);
	case SYS_execve:
	case SYS_execveat:
		return (struct way){ OPEN_MODE_EXEC, false };
	default:
		return (struct way){ OPEN_MODE_UNKNOWN, false };
	}
}

/* UNKNOWN unless all agree. */
static struct way way_of_all(const struct peek_threads *t)
{
	struct way all = { OPEN_MODE_UNKNOWN, false }, one;

	for (unsigned i = 0; i < t->n; i++) {
		if (t->v[i].is == PEEK_OUT)
			continue;
		one = t->v[i].is == PEEK_HELD ? way_of(&t->v[i]) : (struct way){ OPEN_MODE_UNKNOWN, false };
		if (one.mode == OPEN_MODE_UNKNOWN ||
		    (all.mode != OPEN_MODE_UNKNOWN && one.mode != all.mode))
			return (struct way){ OPEN_MODE_UNKNOWN, false };
		all.mode = one.mode;
		all.also_read = all.also_read || one.also_read;
	}
	return all;
}

/* The one that is held is among those that were woken, and has had no processor since. */
static bool nobody_rests(const struct peek_threads *t)
{
	return !peek_threads_count(t, PEEK_HELD) && peek_threads_count(t, PEEK_UNCLEAR);
}

static int read_mode(pid_t tgid, struct way *ret)
{
	static struct peek_threads threads;
	long pause_ns = FIRST_PAUSE_NS;
	int r = peek_threads_list(tgid, &threads);

	*ret = (struct way){ OPEN_MODE_UNKNOWN, false };
	if (r == -E2BIG || r == -EBUSY)
		return 0;
	if (r < 0)
		return r;
	while ((*ret = way_of_all(&threads)).mode == OPEN_MODE_UNKNOWN && pause_ns < LAST_PAUSE_NS) {
		/* Alone, and in a call that does not tell: that does not change. */
		if (peek_threads_count(&threads, PEEK_OUT) + 1 == threads.n &&
		    !peek_threads_count(&threads, PEEK_UNCLEAR))
			break;
		rest(&pause_ns);
		peek_threads_look(tgid, &threads);
	}
	if (ret->mode == OPEN_MODE_UNKNOWN && nobody_rests(&threads))
		return -EAGAIN;
	return peek_threads_count(&threads, PEEK_OUT) == threads.n ? -ESRCH : 0;
}

/* ---- what it would run a program with -------------------------------------------------------- */

/* How the arguments of a call are found. */
struct exec_call {
	unsigned pointer;   /* which argument is argv */
	unsigned word_len;  /* of a pointer in memory */
};

static bool exec_call_of(const struct peek_thread *t, struct exec_call *ret)
{
	unsigned word = sizeof(void *);

	if (t->is != PEEK_HELD || t->io_worker)
		return false;
	switch (t->call) {
	case SYS_execve:
		*ret = (struct exec_call){ 1, word };
		return true;
	case SYS_execveat:
		*ret = (struct exec_call){ 2, word };
		return true;
#if defined(__x86_64__) && !defined(__ILP32__)
	case 11: /* execve of 32-bit programs; else munmap(), which opens nothing */
		*ret = (struct exec_call){ 1, 4 };
		return !strncmp(t->where, "fanotify", 8);
	case 358: /* their execveat */
		*ret = (struct exec_call){ 2, 4 };
		return true;
	case 0x40000000 + 520: /* x32 */
		*ret = (struct exec_call){ 1, 4 };
		return true;
	case 0x40000000 + 545:
		*ret = (struct exec_call){ 2, 4 };
		return true;
#endif
	default:
		return false;
	}
}

/* The page of its memory that was read last. */
struct page {
	pid_t tid;
	uint64_t addr, len; /* 0: none */
	char bytes[65536];
};

/* What there is at addr, to the end of its page at most; 0: -EFAULT. */
static size_t at(struct page *p, uint64_t addr, const char **ret)
{
	uint64_t size = (uint64_t)sysconf(_SC_PAGESIZE), start;

	if (size > sizeof(p->bytes))
		size = sizeof(p->bytes);
	start = addr & ~(size - 1);
	if (!p->len || start != p->addr) {
		struct iovec local = { p->bytes, size };
		struct iovec remote = { (void *)(uintptr_t)start, size };

		p->len = 0;
		if (process_vm_readv(p->tid, &local, 1, &remote, 1, 0) != (ssize_t)size)
			return 0;
		p->addr = start;
		p->len = size;
	}
	*ret = p->bytes + (addr - start);
	return (size_t)(size - (addr - start));
}

/* A word may lie across two pages. */
static int read_word(struct page *p, uint64_t addr, unsigned len, uint64_t *ret)
{
	uint64_t word = 0;
	const char *from;

	for (unsigned i = 0; i < len;) {
		size_t n = at(p, addr + i, &from);

		if (!n)
			return -EFAULT;
		if (n > len - i)
			n = len - i;
		memcpy((char *)&word + i, from, n);
		i += (unsigned)n;
	}
	*ret = word;
	return 0;
}

/* Appends a string with its NUL; what does not fit is cut. */
static int add_string(struct page *p, uint64_t addr, struct peek_message *m)
{
	uint32_t len = m->head.argv_len_bytes;

	for (;;) {
		size_t room = PEEK_ARGV_MAX - len - 1, n, got;
		const char *from, *end;

		got = n = at(p, addr, &from);
		if (!n)
			return -EFAULT;
		end = memchr(from, 0, n);
		if (end)
			n = (size_t)(end - from);
		if (n > room) {
			n = room;
			end = from;
			m->head.argv_cut = 1;
		}
		memcpy(m->argv + len, from, n);
		len += (uint32_t)n;
		addr += got;
		if (end)
			break;
	}
	m->argv[len++] = '\0';
	m->head.argv_len_bytes = len;
	return 0;
}

static int read_argv(const struct peek_thread *t, const struct exec_call *call,
		     struct peek_message *m)
{
	static struct page pointers, strings; /* they are on the same one often, and far apart as well */
	uint64_t argv = t->arg[call->pointer], string;
	int r;

	pointers.tid = strings.tid = t->tid;
	pointers.len = strings.len = 0;
	m->head.argv_len_bytes = m->head.argv_cut = 0;
	if (!argv)
		return 0;
	for (uint64_t i = 0;; i++) {
		r = read_word(&pointers, argv + i * call->word_len, call->word_len, &string);
		if (r < 0 || !string)
			return r;
		if (m->head.argv_len_bytes == PEEK_ARGV_MAX)
			m->head.argv_cut = 1;
		else
			r = add_string(&strings, string, m);
		if (r < 0 || m->head.argv_cut)
			return r;
	}
}

static bool same_argv(const struct peek_message *a, const struct peek_message *b)
{
	return a->head.argv_len_bytes == b->head.argv_len_bytes &&
	       a->head.argv_cut == b->head.argv_cut &&
	       !memcmp(a->argv, b->argv, a->head.argv_len_bytes);
}

static int read_exec(pid_t tgid, struct peek_message *ret)
{
	static struct peek_threads threads;
	static struct peek_message other;
	long pause_ns = FIRST_PAUSE_NS;
	unsigned found = 0;
	struct exec_call call;
	int r = peek_threads_list(tgid, &threads);

	for (int i = 0; !r && i < ARGV_LOOKS && peek_threads_count(&threads, PEEK_UNCLEAR); i++) {
		rest(&pause_ns);
		peek_threads_look(tgid, &threads);
	}
	if (r < 0)
		return r;
	if (nobody_rests(&threads))
		return -EAGAIN;
	for (unsigned i = 0; i < threads.n; i++) {
		if (!exec_call_of(&threads.v[i], &call))
			continue;
		r = read_argv(&threads.v[i], &call, found ? &other : ret);
		if (r < 0)
			return r;
		if (found++ && !same_argv(ret, &other))
			return -EBUSY;
	}
	return found ? 0 : -ESRCH;
}

/* ---- whether anybody can be read --------------------------------------------------------- */

/* The token is where that process has its own number. */
static int read_number(const struct peek_question *q)
{
	pid_t number = 0;
	struct iovec local = { &number, sizeof(number) };
	struct iovec remote = { (void *)(uintptr_t)q->token, sizeof(number) };
	int r = peek_threads_try(q->tgid);

	if (r < 0)
		return r;
	if (process_vm_readv(q->tgid, &local, 1, &remote, 1, 0) < 0)
		return -errno;
	return number == q->tgid ? 0 : -EFAULT;
}

void peek_read(const struct peek_question *q, struct peek_message *ret)
{
	struct way way = { OPEN_MODE_UNKNOWN, false };
	int r;

	ret->head = (struct peek_wire){ .magic = PEEK_MAGIC, .what = q->what, .slot = q->slot,
					.token = q->token };
	if (q->what == PEEK_ARGV)
		r = read_exec(q->tgid, ret);
	else if (q->what == PEEK_TRY)
		r = read_number(q);
	else
		r = read_mode(q->tgid, &way);
	ret->head.error = r;
	ret->head.mode = r ? OPEN_MODE_UNKNOWN : way.mode;
	ret->head.also_read = !r && way.also_read;
	if (r)
		ret->head.argv_len_bytes = ret->head.argv_cut = 0;
}
