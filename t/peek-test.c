/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper that reads held processes. Held they are by a fanotify group on a filesystem that this
 * test mounts in a mount namespace of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "core/priority.h"
#include "enforce/peek.h"
#include "enforce/peek_priv.h"

#define WAIT_MS 8000
#define MNT "/tmp/oknek-peek-test"
#define FILE_ MNT "/file"
#define OTHER MNT "/other"
#define PROGRAM MNT "/program"
#define ARG_LEN (60 * 1024) /* more than is read, less than one argument may have */

struct scene {
	cpu_set_t processors; /* that we may use */
	struct peek *peek;
	int group;
	unsigned held;
	struct held {
		int fd;
		pid_t pid;
	} who[16];
	pid_t children[16];
	unsigned n_children;
	uint64_t token;
	char argv[PEEK_ARGV_MAX];
};

/* ---- the scene ------------------------------------------------------------------------------- */

static int copy(const char *from, const char *to)
{
	char buf[65536];
	_cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	ssize_t n;

	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			return -1;
	return n < 0 ? -1 : 0;
}

static int begin(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	*state = s;
	if (s)
		sched_getaffinity(0, sizeof(s->processors), &s->processors);
	if (!s || geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 0; /* each test skips itself */
	if ((mkdir(MNT, 0700) < 0 && errno != EEXIST) || mount("none", MNT, "tmpfs", 0, NULL) < 0 ||
	    copy("/bin/true", PROGRAM) < 0 || copy("/bin/true", FILE_) < 0 ||
	    copy("/bin/true", OTHER) < 0)
		return -1;
	/* The first to be asked has to begin, which may take as long as an answer may. */
	if (peek_open(&s->peek) < 0 || peek_try(s->peek) < 0)
		return -1;
	s->group = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
	if (s->group < 0 ||
	    fanotify_mark(s->group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN_PERM, AT_FDCWD,
			  MNT) < 0) {
		print_message("# no permission events here: %s\n", strerror(errno));
		peek_close(s->peek);
		s->peek = NULL;
	}
	return 0;
}

static int end(void **state)
{
	struct scene *s = *state;

	if (s->peek) {
		close(s->group);
		peek_close(s->peek);
	}
	umount2(MNT, MNT_DETACH);
	rmdir(MNT);
	free(s);
	return 0;
}

/* The next who is held, kept so. */
static pid_t hold(struct scene *s)
{
	struct fanotify_event_metadata md;
	struct pollfd p = { .fd = s->group, .events = POLLIN };

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	assert_int_equal(read(s->group, &md, sizeof(md)), sizeof(md));
	s->who[s->held++] = (struct held){ md.fd, md.pid };
	return md.pid;
}

static pid_t run(struct scene *s, void (*fn)(void))
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* some would wait for ever */
		close(s->group);
		fn();
		_exit(0);
	}
	assert_true(pid > 0);
	s->children[s->n_children++] = pid;
	return pid;
}

static void let_go(struct scene *s)
{
	for (unsigned i = 0; i < s->n_children; i++)
		kill(s->children[i], SIGKILL);
	for (unsigned i = 0; i < s->held; i++) {
		struct fanotify_response r = { s->who[i].fd, FAN_ALLOW };

		if (write(s->group, &r, sizeof(r)) < 0 && errno != ENOENT)
			fail();
		close(s->who[i].fd);
	}
	for (unsigned i = 0; i < s->n_children; i++)
		waitpid(s->children[i], NULL, 0);
	s->held = s->n_children = 0;
}

static uint64_t ask(struct scene *s, enum peek_what what, pid_t pid, uint32_t tree)
{
	const struct peek_question q = { .what = what, .tgid = pid, .tree_id = tree, .slot = 7,
					 .token = ++s->token };

	assert_int_equal(peek_ask(s->peek, &q), 0);
	return q.token;
}

/* What peek_take() says when it says something. */
static int next(struct scene *s, struct peek_answer *ret)
{
	struct pollfd p = { .fd = peek_fd(s->peek), .events = POLLIN };
	int r = 0;

	while (r == 0) {
		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		r = peek_take(s->peek, ret);
	}
	if (r == 1 && ret->argv_len_bytes) {
		memcpy(s->argv, ret->argv, ret->argv_len_bytes);
		ret->argv = s->argv;
	}
	return r;
}

static struct peek_answer asked(struct scene *s, enum peek_what what, pid_t pid)
{
	struct peek_answer a = { 0 };
	uint64_t token;

	do {
		token = ask(s, what, pid, 1);
		assert_int_equal(next(s, &a), 1);
	} while (a.error == -EAGAIN); /* it had no processor */
	assert_int_equal(a.token, token);
	assert_int_equal(a.slot, 7);
	assert_int_equal(a.what, what);
	return a;
}

#define NEED_SCENE(s)                                                                            \
	struct scene *s = *state;                                                                \
	if (!s->peek)                                                                            \
	skip()

/* ---- arguments ------------------------------------------------------------------------------- */

static char long_arg[ARG_LEN + 1];
static char *const two[] = { (char *)"program", (char *)"-c", (char *)"", (char *)"echo a\nb", NULL };
static char *const none[] = { NULL };

static void run_two(void) { execv(PROGRAM, two); }
static void run_none(void) { execv(PROGRAM, none); }
static void run_null(void) { syscall(SYS_execve, PROGRAM, NULL, NULL); }
static void run_at(void) { syscall(SYS_execveat, AT_FDCWD, PROGRAM, two, NULL, 0); }
static void run_long(void)
{
	char *const argv[] = { (char *)"program", long_arg, (char *)"after", NULL };

	memset(long_arg, 'x', ARG_LEN);
	execv(PROGRAM, argv);
}
static void run_bad(void) { syscall(SYS_execve, PROGRAM, (char **)8, NULL); }

static void *exec_thread(void *arg)
{
	(void)arg;
	run_two();
	return NULL;
}
static void run_from_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, exec_thread, NULL);
	pause();
}
static void run_twice(void)
{
	pthread_t t;

	pthread_create(&t, NULL, exec_thread, NULL);
	usleep(1000000); /* until the first was asked about, on a busy host, too */
	run_null();
}

static void arguments(void **state)
{
	static const struct {
		void (*fn)(void);
		const char *argv;
		uint32_t len;
		int error;
	} cases[] = {
		{ run_two, "program\0-c\0\0echo a\nb", 21, 0 },
		{ run_at, "program\0-c\0\0echo a\nb", 21, 0 },
		{ run_from_thread, "program\0-c\0\0echo a\nb", 21, 0 },
		{ run_none, "", 0, 0 },
		{ run_null, "", 0, 0 },
		{ run_bad, "", 0, -EFAULT },
	};
	NEED_SCENE(s);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pid_t pid = run(s, cases[i].fn);
		struct peek_answer a;

		assert_int_equal(hold(s), pid);
		a = asked(s, PEEK_ARGV, pid);
		assert_int_equal(a.error, cases[i].error);
		assert_int_equal(a.argv_len_bytes, cases[i].len);
		assert_false(a.argv_cut);
		assert_memory_equal(a.argv, cases[i].argv, cases[i].len);
		let_go(s);
	}
}

static void arguments_that_are_cut(void **state)
{
	struct peek_answer a;
	NEED_SCENE(s);

	run(s, run_long);
	a = asked(s, PEEK_ARGV, hold(s));
	assert_int_equal(a.error, 0);
	assert_true(a.argv_cut);
	assert_int_equal(a.argv_len_bytes, PEEK_ARGV_MAX);
	assert_memory_equal(a.argv, "program\0xxxxxxxx", 16);
	assert_int_equal(a.argv[PEEK_ARGV_MAX - 2], 'x');
	assert_int_equal(a.argv[PEEK_ARGV_MAX - 1], 0);
	let_go(s);
}

static void two_threads_run_programs(void **state)
{
	pid_t pid;
	NEED_SCENE(s);

	pid = run(s, run_twice);
	hold(s);
	assert_int_equal(asked(s, PEEK_ARGV, pid).error, 0);
	hold(s);
	assert_int_equal(asked(s, PEEK_ARGV, pid).error, -EBUSY);
	let_go(s);
}

/* ---- modes ----------------------------------------------------------------------------------- */

static void open_read(void) { open(FILE_, O_RDONLY | O_CLOEXEC); }
static void open_write(void) { open(FILE_, O_WRONLY | O_APPEND); }
static void open_both(void) { open(FILE_, O_RDWR); }
static void open_trunc(void) { open(FILE_, O_RDONLY | O_TRUNC); }
static void open_creat(void) { creat(FILE_, 0600); }
static void open_three(void) { open(FILE_, O_ACCMODE); }
static void open_how(void)
{
	struct open_how how = { .flags = O_RDONLY };

	syscall(SYS_openat2, AT_FDCWD, FILE_, &how, sizeof(how));
}
#ifdef __x86_64__
static void open_old(void) { syscall(SYS_open, FILE_, O_RDONLY); }
static void open_compat(void)
{
	char *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	long r = 5; /* open() of 32-bit programs, and fstat() of others */

	strcpy(low, FILE_);
	__asm__ volatile("int $0x80" : "+a"(r) : "b"((uint32_t)(uintptr_t)low), "c"(O_RDONLY), "d"(0)
			 : "memory");
}
#endif
static void *idle(void *arg)
{
	poll(NULL, 0, -1);
	return arg;
}
static void *read_other(void *arg)
{
	open(OTHER, O_RDONLY);
	return arg;
}
static void beside(void *(*fn)(void *), unsigned n)
{
	pthread_t t;

	while (n--)
		pthread_create(&t, NULL, fn, NULL);
	usleep(50000);
}
static void open_read_beside_idle(void)
{
	beside(idle, 20);
	open_read();
}
static void open_write_beside_idle(void)
{
	beside(idle, 20);
	open_write();
}
static void open_beside_many(void)
{
	beside(idle, 300);
	open_read();
}
static void *write_after(void *arg)
{
	while (syscall(SYS_tgkill, getpid(), getpid(), 0) == 0 && arg)
		usleep(1000);
	usleep(50000);
	open_write();
	poll(NULL, 0, -1);
	return NULL;
}
/* Its first thread has ended: a process without memory of its own, as it looks. */
static void open_without_leader(void)
{
	pthread_t t;

	pthread_create(&t, NULL, write_after, NULL);
	pthread_exit(NULL);
}

static void modes(void **state)
{
	static const struct {
		void (*fn)(void);
		enum open_mode mode;
	} cases[] = {
		{ open_read, OPEN_MODE_READ },
		{ open_write, OPEN_MODE_WRITE },
		{ open_both, OPEN_MODE_WRITE },
		{ open_three, OPEN_MODE_WRITE },
		{ open_trunc, OPEN_MODE_WRITE },
		{ open_creat, OPEN_MODE_WRITE },
		{ open_how, OPEN_MODE_UNKNOWN },
#ifdef __x86_64__
		{ open_old, OPEN_MODE_READ },
		{ open_compat, OPEN_MODE_UNKNOWN },
#endif
		{ run_two, OPEN_MODE_EXEC },
		{ open_read_beside_idle, OPEN_MODE_READ },
		{ open_write_beside_idle, OPEN_MODE_WRITE },
		{ open_beside_many, OPEN_MODE_UNKNOWN },
		{ open_without_leader, OPEN_MODE_WRITE },
	};
	NEED_SCENE(s);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pid_t pid = run(s, cases[i].fn);
		struct peek_answer a;

#ifdef __x86_64__
		if (cases[i].fn == open_compat) {
			struct pollfd p = { .fd = s->group, .events = POLLIN };

			if (poll(&p, 1, 1000) == 0) { /* a kernel without such calls */
				let_go(s);
				continue;
			}
		}
#endif
		assert_int_equal(hold(s), pid);
		a = asked(s, PEEK_MODE, pid);
		if (a.error || a.mode != cases[i].mode)
			print_error("case %zu: error %d, mode %d\n", i, a.error, a.mode);
		assert_int_equal(a.error, 0);
		assert_int_equal(a.mode, cases[i].mode);
		assert_int_equal(a.argv_len_bytes, 0);
		let_go(s);
	}
}

static void open_write_beside_read(void)
{
	beside(read_other, 1);
	open_write();
}
static void open_read_beside_read(void)
{
	beside(read_other, 1);
	open_read();
}

/* Which of the two is meant nobody knows. */
static void two_threads_open(void **state)
{
	struct peek_answer a;
	pid_t pid;
	NEED_SCENE(s);

	pid = run(s, open_write_beside_read);
	hold(s);
	hold(s);
	a = asked(s, PEEK_MODE, pid);
	assert_int_equal(a.error, 0);
	assert_int_equal(a.mode, OPEN_MODE_UNKNOWN);
	let_go(s);
	pid = run(s, open_read_beside_read);
	hold(s);
	hold(s);
	assert_int_equal(asked(s, PEEK_MODE, pid).mode, OPEN_MODE_READ);
	let_go(s);
}

/* ---- what may go wrong ----------------------------------------------------------------------- */

static void nobody(void **state)
{
	pid_t pid;
	NEED_SCENE(s);

	pid = run(s, open_read);
	hold(s);
	let_go(s);
	assert_int_equal(asked(s, PEEK_MODE, pid).error, -ESRCH);
	assert_int_equal(asked(s, PEEK_ARGV, pid).error, -ESRCH);
	assert_int_equal(asked(s, PEEK_ARGV, 0).error, -ESRCH);
	/* Alive, and not held. */
	pid = run(s, (void (*)(void))pause);
	usleep(20000);
	assert_int_equal(asked(s, PEEK_ARGV, pid).error, -ESRCH);
	let_go(s);
}

static void on_one(pid_t pid, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(pid, sizeof(one), &one), 0);
}

static void spin(void)
{
	const struct sched_param first = { .sched_priority = 1 };

	alarm(2);
	sched_setscheduler(0, SCHED_FIFO, &first);
	for (volatile unsigned i = 0;; i++)
		;
}

/* Whatever has failed meanwhile; the spinner ends by itself. */
static int all_processors(void **state)
{
	struct scene *s = *state;

	return sched_setaffinity(0, sizeof(s->processors), &s->processors);
}

/* Each answer wakes all who are held; one who then has no processor cannot be read until it has. */
static void one_without_a_processor(void **state)
{
	struct peek_answer a;
	pid_t pid, spinner;
	cpu_set_t all, others;
	int cpu = 0;
	NEED_SCENE(s);

	if (sched_getaffinity(0, sizeof(all), &all) < 0 || CPU_COUNT(&all) < 2 ||
	    sched_getscheduler(peek_pid(s->peek)) != SCHED_RR)
		skip(); /* we need one ourselves */
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	others = all;
	CPU_CLR(cpu, &others);
	assert_int_equal(sched_setaffinity(0, sizeof(others), &others), 0);
	pid = run(s, run_two);
	assert_int_equal(hold(s), pid);
	run(s, open_read);
	hold(s);
	on_one(pid, cpu);
	assert_int_equal(asked(s, PEEK_ARGV, pid).error, 0);
	spinner = run(s, spin);
	on_one(spinner, cpu);
	for (int i = 0; i < 2000 && sched_getscheduler(spinner) != SCHED_FIFO; i++)
		usleep(1000);
	s->held--;
	assert_int_equal(write(s->group,
			       &(struct fanotify_response){ s->who[s->held].fd, FAN_ALLOW },
			       sizeof(struct fanotify_response)),
			 sizeof(struct fanotify_response));
	close(s->who[s->held].fd);
	ask(s, PEEK_ARGV, pid, 1);
	assert_int_equal(next(s, &a), 1);
	assert_int_equal(a.error, -EAGAIN);
	ask(s, PEEK_MODE, pid, 1);
	assert_int_equal(next(s, &a), 1);
	assert_int_equal(a.error, -EAGAIN);
	kill(spinner, SIGKILL);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	assert_int_equal(asked(s, PEEK_ARGV, pid).error, 0);
	assert_int_equal(asked(s, PEEK_MODE, pid).mode, OPEN_MODE_EXEC);
	let_go(s);
}

/* Memory that is filled in by somebody who never does. */
static void run_stalled(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register reg = { .range = { (uintptr_t)p, 65536 },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		_exit(1);
	execv(PROGRAM, (char **)p);
}

static void memory_that_stalls(void **state)
{
	uint64_t slow[4], began_ns, took_ns;
	struct peek_answer a;
	bool seen[4] = { false };
	pid_t stalled;
	NEED_SCENE(s);

	stalled = run(s, run_stalled);
	assert_int_equal(hold(s), stalled);
	for (unsigned i = 0; i < 4; i++)
		slow[i] = ask(s, PEEK_ARGV, stalled, 5);
	usleep(50000);
	run(s, run_two);
	hold(s);
	began_ns = clock_boottime_ns();
	ask(s, PEEK_ARGV, s->who[1].pid, 6);
	assert_int_equal(next(s, &a), 1);
	took_ns = clock_boottime_ns() - began_ns;
	assert_int_equal(a.token, s->token);
	assert_int_equal(a.error, 0);
	assert_int_equal(a.argv_len_bytes, 21);
	assert_true(took_ns < PEEK_WAIT_MS * NSEC_PER_MSEC / 2 || getenv("OKNEK_SLOW"));
	for (unsigned n = 0; n < 4; n++) {
		assert_int_equal(next(s, &a), 1);
		/* Itself, or with those before it. */
		assert_true(a.error == -ETIMEDOUT || a.error == -EBUSY);
		for (unsigned i = 0; i < 4; i++)
			if (a.token == slow[i])
				seen[i] = true;
	}
	for (unsigned i = 0; i < 4; i++)
		assert_true(seen[i]);
	took_ns = clock_boottime_ns() - began_ns;
	print_message("# four that stall were given up after %llu ms\n",
		      (unsigned long long)(took_ns / NSEC_PER_MSEC));
	/* And there are others in their place. */
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(asked(s, PEEK_ARGV, s->who[1].pid).error, 0);
	let_go(s);
}

static void kill_children(pid_t pid)
{
	char path[64], list[512] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	assert_non_null(f);
	if (fgets(list, sizeof(list), f))
		for (char *p = list; *p; p += strcspn(p, " "), p += strspn(p, " "))
			kill(atoi(p), SIGKILL);
	fclose(f);
	assert_true(list[0]);
}

static pid_t first_child(pid_t pid)
{
	char path[64], list[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	assert_non_null(f);
	if (!fgets(list, sizeof(list), f))
		list[0] = '\0';
	fclose(f);
	return atoi(list);
}

/* ---- whether anybody can be read --------------------------------------------------------- */

static int oom_score_adj(pid_t pid)
{
	char path[64], text[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	return atoi(text);
}

static void somebody_can_be_read(void **state)
{
	NEED_SCENE(s);

	assert_int_equal(peek_try(s->peek), 0);
	/* Who starts the helper again is not the first to go. */
	assert_int_equal(oom_score_adj(peek_pid(s->peek)), oom_score_adj(getpid()));
	assert_int_equal(oom_score_adj(first_child(peek_pid(s->peek))), 500);
}

/* Before others go they alone, and no further than they have to. */
static void readers_go_first(void **state)
{
	struct sched_param keeper, server, worker;
	NEED_SCENE(s);

	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	if (sched_getscheduler(peek_pid(s->peek)) != SCHED_RR)
		skip(); /* there is no such priority here */
	assert_int_equal(peek_try(s->peek), 0);
	assert_int_equal(sched_getparam(peek_pid(s->peek), &keeper), 0);
	assert_int_equal(sched_getparam(first_child(peek_pid(s->peek)), &server), 0);
	assert_int_equal(sched_getparam(first_child(first_child(peek_pid(s->peek))), &worker), 0);
	assert_int_equal(keeper.sched_priority, PRIORITY_PEEK);
	assert_int_equal(server.sched_priority, PRIORITY_PEEK);
	assert_int_equal(worker.sched_priority, PRIORITY_PEEK_WORKER);
	assert_true(PRIORITY_VERDICT > PRIORITY_PEEK);
}

static void a_share_is_used_up(void **state)
{
	struct peek_shares s;
	uint64_t now_ns = 1000 * NSEC_PER_SEC;

	(void)state;
	peek_shares_init(&s);
	assert_true(s.processors >= 1);
	s.processors = 2;
	assert_true(peek_share_left(&s, 1, now_ns));
	peek_share_take(&s, 1, 90 * NSEC_PER_MSEC, now_ns);
	assert_true(peek_share_left(&s, 1, now_ns));
	peek_share_take(&s, 1, 30 * NSEC_PER_MSEC, now_ns);
	assert_false(peek_share_left(&s, 1, now_ns));
	assert_true(peek_share_left(&s, 2, now_ns));
	/* A fifth of a processor comes back as time goes by, and never more than there was. */
	assert_false(peek_share_left(&s, 1, now_ns + 90 * NSEC_PER_MSEC));
	assert_true(peek_share_left(&s, 1, now_ns + 110 * NSEC_PER_MSEC));
	now_ns += NSEC_PER_SEC;
	peek_share_take(&s, 1, 120 * NSEC_PER_MSEC, now_ns);
	assert_false(peek_share_left(&s, 1, now_ns));
	/* Nor is there more for many trees: half a processor for all of them. */
	now_ns += 10 * NSEC_PER_SEC;
	for (uint32_t tree = 1; tree <= 10; tree++) {
		assert_int_equal(peek_share_left(&s, tree, now_ns), tree <= 4);
		peek_share_take(&s, tree, 80 * NSEC_PER_MSEC, now_ns);
	}
	assert_false(peek_share_left(&s, 15, now_ns + 990 * NSEC_PER_MSEC));
	assert_true(peek_share_left(&s, 15, now_ns + 1010 * NSEC_PER_MSEC));
}

/* As where yama's ptrace_scope is 3, for all that are born here. */
static int without(int call)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };
	struct peek *p;
	int r;

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0 || peek_open(&p) < 0)
		return 1;
	r = peek_try(p);
	peek_close(p);
	return r == -EPERM ? 0 : 2;
}

static void nobody_can_be_read(void **state)
{
	int status;
	pid_t pid;
	NEED_SCENE(s);

	pid = fork();
	if (!pid)
		_exit(without(SYS_process_vm_readv));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void helpers_that_are_killed(void **state)
{
	struct peek_answer a;
	pid_t pid, server;
	int r;
	NEED_SCENE(s);

	pid = run(s, run_two);
	hold(s);
	server = first_child(peek_pid(s->peek));
	kill_children(server);
	usleep(50000);
	assert_int_equal(peek_try(s->peek), 0);
	assert_int_equal(asked(s, PEEK_ARGV, pid).error, 0);

	assert_int_equal(kill(server, SIGKILL), 0);
	do {
		r = next(s, &a);
	} while (r == 1);
	assert_int_equal(r, -ECONNRESET);
	assert_int_equal(peek_try(s->peek), 0);
	assert_int_equal(asked(s, PEEK_ARGV, pid).error, 0);
	assert_int_not_equal(first_child(peek_pid(s->peek)), server);

	assert_int_equal(kill(peek_pid(s->peek), SIGKILL), 0);
	do {
		r = next(s, &a);
	} while (r == 1);
	assert_int_equal(r, -EPIPE);
	for (int i = 0; i < 100 && r != 0; i++)
		r = peek_ask(s->peek, &(struct peek_question){ .what = PEEK_MODE, .tgid = pid });
	assert_int_equal(r, -EPIPE);
	let_go(s);
	peek_close(s->peek);
	assert_int_equal(peek_open(&s->peek), 0);
	assert_int_equal(peek_try(s->peek), 0);
	assert_int_equal(asked(s, PEEK_ARGV, getpid()).error, -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments),
		cmocka_unit_test(arguments_that_are_cut),
		cmocka_unit_test(two_threads_run_programs),
		cmocka_unit_test(modes),
		cmocka_unit_test(two_threads_open),
		cmocka_unit_test(nobody),
		cmocka_unit_test_teardown(one_without_a_processor, all_processors),
		cmocka_unit_test(memory_that_stalls),
		cmocka_unit_test(somebody_can_be_read),
		cmocka_unit_test(readers_go_first),
		cmocka_unit_test(a_share_is_used_up),
		cmocka_unit_test(nobody_can_be_read),
		cmocka_unit_test(helpers_that_are_killed),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(60);
	return cmocka_run_group_tests(tests, begin, end);
}
