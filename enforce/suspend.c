/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/suspend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/proctree.h"

_Static_assert(SUSPEND_CAPS == 1ULL << CAP_KILL, "the number is the kernel's");

#define LOOK_MS 1000
#define LAST_TRIES 5
#define LATE_NS (10 * NSEC_PER_SEC) /* past its time: the daemon is stopped, or hangs */

/*
 * The number of who may be stopped, and how often the row was taken before: who lets go on somebody that
 * the other has let go on, and has stopped again, must not take the row for the one that he has seen.
 * Written last and cleared last.
 */
#define WHO(taken, pid) ((uint64_t)(taken) << 32 | (uint32_t)(pid))

struct row {
	_Atomic uint64_t who; /* 0: free */
	uint32_t taken;	      /* the daemon's */
	uint32_t tree_id;
	uint64_t start_ns;
	_Atomic uint64_t until_ns;
};

struct shared {
	_Atomic uint32_t used, end;
	struct row rows[SUSPEND_MAX];
};

struct suspend {
	struct shared *shared;
	int wake_fd;
	pid_t keeper; /* 0: it has ended */
};

/* Of a thread, below its process's task: the letter of proc(5); 0: gone. -errno. */
static int state_of(int task_fd, const char *tid)
{
	_cleanup_close_ int fd = -1;
	char path[32], text[512];
	const char *at;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/stat", tid);
	fd = openat(task_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strrchr(text, ')');
	return at && at[1] ? at[2] : 0;
}

/* Does each thread that lives stand still? The first one may have ended long ago, and tells nothing of the
 * others. -ESRCH: all have. */
static int is_stopped(pid_t pid)
{
	const struct dirent *e;
	unsigned living = 0;
	int state = 'T';
	char path[32];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	while (state == 'T' && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		state = state_of(dirfd(dir), e->d_name);
		if (!state || state == 'Z' || state == 'X')
			state = 'T';
		else
			living++;
	}
	closedir(dir);
	if (state < 0)
		return state;
	return living ? state == 'T' : -ESRCH;
}

/* A descriptor of that process and no other. *start_ns is filled in where it was not known. */
static int open_process(pid_t pid, uint64_t *start_ns)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct procstat stat;
	int r;

	if (fd < 0)
		return -errno;
	r = procstat_read(pid, &stat);
	if (r < 0)
		return r;
	if (stat.dead || (*start_ns && !start_time_same(stat.start_time_ns, *start_ns)))
		return -ESRCH;
	*start_ns = stat.start_time_ns;
	return TAKE_FD(fd);
}

static int send(pid_t pid, uint64_t start_ns, int sig)
{
	_cleanup_close_ int fd = open_process(pid, &start_ns);

	if (fd < 0)
		return fd;
	return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0 ? -errno : 0;
}

static pid_t pid_of(uint64_t who)
{
	return (pid_t)(uint32_t)who;
}

/* Who cannot be reached now, for want of a descriptor, is not forgotten: the keeper tries again. */
static bool let_go(struct shared *s, struct row *r)
{
	uint64_t who = atomic_load(&r->who);
	int err = who ? send(pid_of(who), r->start_ns, SIGCONT) : -ESRCH;

	if (err && err != -ESRCH) {
		atomic_store(&r->until_ns, 0);
		return false;
	}
	/* Daemon and keeper may both have sent it: the row is given up once. */
	if (who && atomic_compare_exchange_strong(&r->who, &who, 0))
		atomic_fetch_sub(&s->used, 1);
	return !err;
}

/* ---- the keeper ----------------------------------------------------------------------------- */

static void look_at_late(struct shared *s)
{
	uint64_t now_ns = clock_boottime_ns();

	for (unsigned i = 0; i < SUSPEND_MAX; i++)
		if (atomic_load(&s->rows[i].who) &&
		    now_ns > atomic_load(&s->rows[i].until_ns) + LATE_NS)
			let_go(s, &s->rows[i]);
}

static void __attribute__((noreturn)) keep(struct shared *s, int daemon_fd, int wake_fd)
{
	struct pollfd p[] = { { .fd = daemon_fd, .events = POLLIN },
			      { .fd = wake_fd, .events = POLLIN } };
	uint64_t n;

	while (!atomic_load(&s->end)) {
		poll(p, ARRAY_SIZE(p), atomic_load(&s->used) ? LOOK_MS : -1);
		if (p[1].revents && read(wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
			break;
		if (p[0].revents)
			break;
		look_at_late(s);
	}
	for (unsigned t = 0; t < LAST_TRIES && atomic_load(&s->used); t++) {
		if (t)
			poll(NULL, 0, LOOK_MS);
		for (unsigned i = 0; i < SUSPEND_MAX && atomic_load(&s->used); i++)
			let_go(s, &s->rows[i]);
	}
	_exit(0);
}

static void __attribute__((noreturn)) become_keeper(struct shared *s, int daemon_fd, int wake_fd,
						    const struct confine_program *calls)
{
	int low = daemon_fd < wake_fd ? daemon_fd : wake_fd;
	int high = daemon_fd < wake_fd ? wake_fd : daemon_fd;
	sigset_t all;

	prctl(PR_SET_NAME, "oknek-stopped");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* Also what locks the run directory, and the log's. */
	if (low > 0)
		close_range(0, (unsigned)low - 1, 0);
	if (high > low + 1)
		close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	close_range((unsigned)high + 1, ~0U, 0);
	/* Where /proc hides processes (hidepid), whoever may not trace them finds nobody there. */
	if (confine_caps(SUSPEND_CAPS | 1ULL << CAP_SYS_PTRACE) == 0)
		confine_apply(calls);
	keep(s, daemon_fd, wake_fd);
}

int suspend_new(enum confine_refusal calls, struct suspend **ret)
{
	struct confine_program *program = NULL;
	_cleanup_close_ int daemon_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct suspend *s = calloc(1, sizeof(*s));
	int err = 0;

	if (!s || daemon_fd < 0) {
		free(s);
		return daemon_fd < 0 ? -errno : -ENOMEM;
	}
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->shared = mmap(NULL, sizeof(*s->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			 -1, 0);
	if (s->wake_fd < 0 || s->shared == MAP_FAILED)
		err = -errno;
	/* Its list has what this needs: to look at processes, and to send them signals. */
	if (!err && confine_prepare(CONFINE_GUARDIAN, calls, &program) < 0)
		program = NULL;
	if (!err) {
		s->keeper = fork();
		if (!s->keeper)
			become_keeper(s->shared, daemon_fd, s->wake_fd, program);
		if (s->keeper < 0)
			err = -errno;
	}
	confine_program_free(program);
	if (!err) {
		*ret = s;
		return 0;
	}
	cleanup_close(&s->wake_fd);
	if (s->shared != MAP_FAILED)
		munmap(s->shared, sizeof(*s->shared));
	free(s);
	return err;
}

static void wake(const struct suspend *s)
{
	uint64_t one = 1;

	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is awake */
}

void suspend_free(struct suspend *s)
{
	if (!s)
		return;
	suspend_continue(s, 0);
	atomic_store(&s->shared->end, 1);
	wake(s);
	while (s->keeper && waitpid(s->keeper, NULL, 0) < 0 && errno == EINTR)
		;
	cleanup_close(&s->wake_fd);
	munmap(s->shared, sizeof(*s->shared));
	free(s);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static struct row *find(struct suspend *s, pid_t pid)
{
	for (unsigned i = 0; i < SUSPEND_MAX; i++)
		if (pid_of(atomic_load(&s->shared->rows[i].who)) == pid)
			return &s->shared->rows[i];
	return NULL;
}

static bool is_kept(struct suspend *s)
{
	if (s->keeper && waitpid(s->keeper, NULL, WNOHANG) != 0)
		s->keeper = 0;
	return s->keeper != 0;
}

int suspend_stop(struct suspend *s, uint32_t tree_id, pid_t pid, uint64_t start_ns, uint64_t until_ns)
{
	_cleanup_close_ int fd = open_process(pid, &start_ns);
	struct row *r = find(s, pid);
	int err;

	if (fd < 0)
		return fd;
	if (r && start_time_same(r->start_ns, start_ns))
		return 0;
	if (r) /* it ended while it was stopped */
		let_go(s->shared, r);
	err = is_stopped(pid);
	if (err)
		return err < 0 ? err : 0;
	/* Whom it stops now nobody would let go on when the daemon dies. */
	if (!is_kept(s))
		return -EOWNERDEAD;
	r = find(s, 0);
	if (!r)
		return -ENOSPC;
	r->tree_id = tree_id;
	r->start_ns = start_ns;
	atomic_store(&r->until_ns, until_ns);
	atomic_store(&r->who, WHO(++r->taken, pid));
	if (!atomic_fetch_add(&s->shared->used, 1))
		wake(s);
	if (syscall(SYS_pidfd_send_signal, fd, SIGSTOP, NULL, 0) == 0)
		return 1;
	err = -errno;
	let_go(s->shared, r);
	return err;
}

void suspend_until(struct suspend *s, uint32_t tree_id, uint64_t until_ns)
{
	for (unsigned i = 0; i < SUSPEND_MAX; i++)
		if (atomic_load(&s->shared->rows[i].who) && s->shared->rows[i].tree_id == tree_id)
			atomic_store(&s->shared->rows[i].until_ns, until_ns);
}

unsigned suspend_continue(struct suspend *s, uint32_t tree_id)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SUSPEND_MAX && atomic_load(&s->shared->used); i++) {
		struct row *r = &s->shared->rows[i];

		if (atomic_load(&r->who) && (!tree_id || r->tree_id == tree_id))
			n += let_go(s->shared, r);
	}
	return n;
}

int suspend_kill(pid_t pid, uint64_t start_ns)
{
	return send(pid, start_ns, SIGKILL);
}
