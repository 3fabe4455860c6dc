/* SPDX-License-Identifier: Apache-2.0 */
/* Which threads of a process may be the one that fanotify holds: see peek.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/peek_priv.h"

#define LIST_TRIES 8
#define PF_IO_WORKER_ 0x10 /* include/linux/sched.h, since 5.12 */

struct entry { /* struct linux_dirent64 */
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* What /proc says in one read. NUL ends it. -errno. */
static int read_file(const char *path, char *buf, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return (int)n;
}

/*
 * From 5.16 on the name of what a thread waits in is right on all processors, where it is told at
 * all; before, x86 kernels followed a register that may be anything.
 */
static bool names_are_right(void)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	if (uname(&u) < 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2)
		return false;
	return major > 5 || (major == 5 && minor >= 16);
}

struct stat_line {
	char state;
	uint64_t flags, start_ticks;
};

/* The name in it is the thread's own choice: the last parenthesis ends it. */
static int parse_stat(const char *line, struct stat_line *ret)
{
	const char *p = strrchr(line, ')');

	if (!p || sscanf(p, ") %c %*d %*d %*d %*d %*d %" SCNu64 " %*u %*u %*u %*u %*u %*u %*d %*d "
			    "%*d %*d %*d %*d %" SCNu64, &ret->state, &ret->flags,
			 &ret->start_ticks) != 3)
		return -EPROTO;
	return 0;
}

static int parse_call(const char *line, struct peek_thread *t)
{
	uint64_t sp = 0, pc = 0;
	int64_t nr;

	if (!strncmp(line, "running", 7))
		return -EAGAIN;
	if (sscanf(line, "%" SCNd64, &nr) != 1)
		return -EPROTO;
	memset(t->arg, 0, sizeof(t->arg));
	if (nr == -1) {
		t->call = UINT64_MAX;
		if (sscanf(line, "-1 %" SCNx64 " %" SCNx64, &sp, &pc) != 2)
			return -EPROTO;
	} else {
		t->call = (uint64_t)nr;
		if (sscanf(line, "%*d %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64 " %" SCNx64
			   " %" SCNx64 " %" SCNx64 " %" SCNx64, &t->arg[0], &t->arg[1], &t->arg[2],
			   &t->arg[3], &t->arg[4], &t->arg[5], &sp, &pc) != 8)
			return -EPROTO;
	}
	if (!sp && !pc)
		t->io_worker = true;
	return 0;
}

/* -ESRCH: it has ended. */
static int look(pid_t tgid, struct peek_thread *t, uint64_t *start_ticks)
{
	char path[64], text[1024];
	struct stat_line st;
	int r;

	t->is = PEEK_UNCLEAR;
	t->where[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", tgid, t->tid);
	r = read_file(path, text, sizeof(text));
	if (r <= 0)
		return r == -ENOENT || !r ? -ESRCH : r;
	r = parse_stat(text, &st);
	if (r < 0)
		return r;
	*start_ticks = st.start_ticks;
	/* Whoever is held sleeps, and takes no signal but the last; or has just been woken. */
	if (st.state != 'R' && st.state != 'D') {
		t->is = PEEK_OUT;
		return 0;
	}
	if (st.state == 'R')
		return 0;
	t->io_worker = st.flags & PF_IO_WORKER_;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", tgid, t->tid);
	r = read_file(path, text, sizeof(text));
	if (r > 0)
		r = parse_call(text, t);
	if (r == -EAGAIN)
		return 0;
	if (r <= 0 && r)
		return r == -ENOENT ? -ESRCH : r;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", tgid, t->tid);
	r = read_file(path, t->where, sizeof(t->where));
	if (r <= 0 || !strcmp(t->where, "0"))
		t->where[0] = '\0';
	t->is = PEEK_HELD;
	if (t->where[0] && names_are_right() && strncmp(t->where, "fanotify", 8) != 0 &&
	    strncmp(t->where, "fsnotify", 8) != 0)
		t->is = PEEK_OUT;
	return 0;
}

int peek_threads_try(pid_t tgid)
{
	char path[64], text[256];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", tgid, tgid);
	r = read_file(path, text, sizeof(text));
	return r < 0 ? r : 0;
}

/* -E2BIG. */
static int read_list(pid_t tgid, struct peek_threads *ret)
{
	char path[32], buf[16384] __attribute__((aligned(8)));
	_cleanup_close_ int fd = -1;
	long n;

	snprintf(path, sizeof(path), "/proc/%d/task", tgid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	ret->n = 0;
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n;) {
			const struct entry *e = (const void *)(buf + at);
			int tid = atoi(e->name);

			at += e->len;
			if (tid <= 0)
				continue;
			if (ret->n == PEEK_THREADS_MAX)
				return -E2BIG;
			ret->v[ret->n++] = (struct peek_thread){ .tid = tid };
		}
	}
	return n < 0 ? -errno : 0;
}

/* How many there are; -EBUSY: it dumps core, which opens a file, too. */
static int count_threads(pid_t tgid)
{
	char path[32], text[16384];
	const char *dumps, *p;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/status", tgid);
	r = read_file(path, text, sizeof(text));
	if (r <= 0)
		return r == -ENOENT || !r ? -ESRCH : r;
	dumps = strstr(text, "\nCoreDumping:\t");
	p = strstr(text, "\nThreads:\t");
	if (!p)
		return -EPROTO;
	if (dumps && dumps[14] != '0')
		return -EBUSY;
	return atoi(p + 10);
}

static uint64_t now_ticks(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return ((uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec) /
	       (NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK));
}

/*
 * A list that is read while threads end may leave out others. As long as the number that the kernel
 * gives later, with all of them alive after that and none of them somebody new who was given the
 * number of one that ended, it has them all.
 */
static int list_once(pid_t tgid, struct peek_threads *ret)
{
	uint64_t before = now_ticks(), start = 0;
	int r = read_list(tgid, ret);

	if (r < 0)
		return r;
	r = count_threads(tgid);
	if (r < 0)
		return r;
	if ((unsigned)r != ret->n)
		return -EAGAIN;
	for (unsigned i = 0; i < ret->n; i++) {
		r = look(tgid, &ret->v[i], &start);
		if (r == -ESRCH || (!r && start > before))
			return -EAGAIN;
		if (r < 0)
			return r;
	}
	return 0;
}

int peek_threads_list(pid_t tgid, struct peek_threads *ret)
{
	const struct timespec pause = { .tv_nsec = 500000 };

	for (int i = 0; i < LIST_TRIES; i++) {
		int r = list_once(tgid, ret);

		if (r != -EAGAIN)
			return r;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

void peek_threads_look(pid_t tgid, struct peek_threads *t)
{
	uint64_t start;

	for (unsigned i = 0; i < t->n; i++) {
		struct peek_thread *th = &t->v[i];

		if (th->is == PEEK_OUT)
			continue;
		/* The one that is held lives. */
		if (look(tgid, th, &start) == -ESRCH)
			th->is = PEEK_OUT;
	}
}

unsigned peek_threads_count(const struct peek_threads *t, int is)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->n; i++)
		n += (int)t->v[i].is == is;
	return n;
}
