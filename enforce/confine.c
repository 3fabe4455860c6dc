/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of system calls, and the limits. */
#include "enforce/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define HELPER_MEMORY_BYTES (1ULL << 30) /* all patterns, 65,536 files, libraries of NSS */
#define HELPER_FILES_MAX 1024
#define PROGRAM_BYTES 32768 /* of BPF_MAXINSNS, 4,096 instructions of 8 bytes, what a pipe holds */

/* Calls by name: what this libseccomp or this processor does not have is left out. */

/* From the read of an event to its answer. fstat() is one or the other, by C library. */
#define CALLS_ANSWER "read write fstat readlink readlinkat close epoll_wait epoll_pwait epoll_pwait2 recvmsg "
/* What the C library needs anywhere: locks, clocks, memory, the ways out. */
#define CALLS_LIBC                                                                               \
	"futex futex_wait futex_wake clock_gettime gettimeofday time sched_yield getpid gettid "      \
	"brk munmap mremap madvise rt_sigprocmask rt_sigreturn rt_sigaction sigaltstack "            \
	"restart_syscall exit exit_group getrandom rseq set_robust_list "
/* To say why one ends, without waiting. */
#define CALLS_SAY "poll ppoll sendto sendmsg "

#define CALLS_READ                                                                               \
	"readv pread64 lseek stat lstat newfstatat statx statfs fstatfs access faccessat "   \
	"faccessat2 getdents64 getcwd fcntl dup dup2 dup3 close_range "
#define CALLS_SELF                                                                               \
	"getuid geteuid getgid getegid getresuid getresgid getgroups getppid getpgrp getpgid "        \
	"getsid uname sysinfo getrusage times getpriority sched_getaffinity sched_getparam "          \
	"sched_getscheduler sched_get_priority_max sched_get_priority_min getcpu capget "             \
	"rt_sigpending rt_sigtimedwait rt_sigsuspend getitimer "
#define CALLS_SLEEP "nanosleep clock_nanosleep clock_getres pause select pselect6 "
#define CALLS_SOCKET                                                                             \
	"recvfrom recvmmsg sendmmsg connect bind listen accept accept4 shutdown getsockopt "          \
	"setsockopt getsockname getpeername "
#define CALLS_WAKE                                                                               \
	"eventfd2 epoll_create1 epoll_ctl timerfd_create timerfd_settime timerfd_gettime pipe2 "

#define CALLS_DAEMON                                                                             \
	"openat writev pwrite64 pwritev pwritev2 preadv fsync fdatasync sync_file_range ftruncate "   \
	"fallocate fadvise64 msync flock mkdir mkdirat rename renameat renameat2 link linkat unlink " \
	"unlinkat rmdir symlink symlinkat chmod fchmod fchmodat fchmodat2 chown fchown fchownat "     \
	"lchown utimensat umask memfd_create fanotify_mark inotify_add_watch inotify_rm_watch "      \
	"kill wait4 waitid pidfd_open pidfd_send_signal pidfd_getfd mlock mlock2 mlockall munlock "  \
	"munlockall prlimit64 getrlimit setrlimit sched_setscheduler sched_setparam setpriority "    \
	"sched_setaffinity capset seccomp alarm setitimer "

/* Only what it takes to read, answer and count; it opens /proc of who asks. */
#define CALLS_GUARDIAN                                                                           \
	"recvfrom newfstatat pread64 lseek fcntl accept4 getsockopt kill pidfd_open "                  \
	"pidfd_send_signal nanosleep clock_nanosleep getppid mlockall mlock munlock close_range "     \
	"unlinkat sched_setscheduler setpriority seccomp prctl "

#define CALLS_HELPER                                                                             \
	CALLS_ANSWER CALLS_LIBC CALLS_SAY CALLS_READ CALLS_SELF CALLS_SLEEP CALLS_SOCKET CALLS_WAKE   \
	"setgroups setfsuid setfsgid capset prctl flock "
/* The zygote forks and kills; its children settle into what they are. */
#define CALLS_ZYGOTE                                                                             \
	CALLS_HELPER                                                                             \
	"openat openat2 open_by_handle_at name_to_handle_at kill wait4 waitid chdir setresuid "        \
	"setresgid prlimit64 getrlimit setrlimit seccomp landlock_create_ruleset landlock_add_rule "  \
	"landlock_restrict_self fork "

/* What tells of a process in /proc, and its memory. */
#define CALLS_PEEK                                                                               \
	"read write close fstat getdents64 process_vm_readv nanosleep clock_nanosleep uname "          \
	CALLS_LIBC

/* Of processes of its own uid, no higher than its limits say. */
#define CALLS_PRIORITY "sched_setscheduler sched_getscheduler sched_getaffinity setpriority "

/* Names whose first argument or flags say what is meant: allowed where the masked argument is this. */
struct call_if {
	const char *name;
	unsigned arg;
	uint64_t mask, value;
};

#define WHOLE 0xffffffffULL
#define NEW_NAMESPACES                                                                           \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
	 CLONE_NEWNET)

static const struct call_if no_code[] = {
	{ "mmap", 2, PROT_EXEC, 0 },
	{ "mprotect", 2, PROT_EXEC, 0 },
	{ 0 },
};
static const struct call_if any_code[] = { /* modules of the name service */
	{ "mmap", 0, 0, 0 },
	{ "mprotect", 2, PROT_WRITE | PROT_EXEC, 0 },
	{ "mprotect", 2, PROT_WRITE | PROT_EXEC, PROT_WRITE },
	{ "mprotect", 2, PROT_WRITE | PROT_EXEC, PROT_EXEC },
	{ 0 },
};
static const struct call_if read_only[] = {
	{ "openat", 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY },
	{ 0 },
};
static const struct call_if own_fd[] = { /* fstat() of some C libraries */
	{ "newfstatat", 3, AT_EMPTY_PATH, AT_EMPTY_PATH },
	{ 0 },
};
static const struct call_if maps[] = {
	{ "bpf", 0, WHOLE, BPF_MAP_LOOKUP_ELEM },
	{ "bpf", 0, WHOLE, BPF_MAP_UPDATE_ELEM },
	{ "bpf", 0, WHOLE, BPF_MAP_DELETE_ELEM },
	{ "bpf", 0, WHOLE, BPF_MAP_GET_NEXT_KEY },
	{ 0 },
};
static const struct call_if unix_sockets[] = {
	{ "socket", 0, WHOLE, AF_UNIX },
	{ "socketpair", 0, WHOLE, AF_UNIX },
	{ 0 },
};
static const struct call_if network[] = {
	{ "socket", 0, WHOLE, AF_UNIX }, /* of the name service */
	{ "socket", 0, WHOLE, AF_INET },
	{ "socket", 0, WHOLE, AF_INET6 },
	{ "socket", 0, WHOLE, AF_NETLINK }, /* which addresses this host has */
	{ "socketpair", 0, WHOLE, AF_UNIX },
	{ 0 },
};
static const struct call_if threads[] = { /* clone3() hides its flags, and has a fallback */
	{ "clone", 0, CLONE_THREAD, CLONE_THREAD },
	{ 0 },
};
static const struct call_if terminals[] = { /* isatty() */
	{ "ioctl", 1, WHOLE, TCGETS },
	{ "ioctl", 1, WHOLE, FIONREAD },
	{ "ioctl", 1, WHOLE, FIONBIO },
	{ 0 },
};
static const struct call_if tracepoints[] = { /* libbpf, when a program is detached from one */
	{ "ioctl", 1, WHOLE, PERF_EVENT_IOC_DISABLE },
	{ 0 },
};
static const struct call_if own_name[] = { /* the thread's, to say who crashed */
	{ "prctl", 0, WHOLE, PR_GET_NAME },
	{ 0 },
};
static const struct call_if tasks[] = { /* threads, the guardian */
	{ "clone", 0, NEW_NAMESPACES, 0 },
	{ 0 },
};

struct list {
	const char *calls[2];
	const struct call_if *conditions[8]; /* tables that end with an empty name */
	bool signals_self; /* kill(2) and tgkill(2) of nobody else */
};

static const struct list lists[CONFINE_LISTS] = {
	/*
	 * Beyond the answer, when other threads ask between two batches: memory is had and given
	 * back, also that of the table of members, and files are opened for reading (the stat of a
	 * process that becomes a member, in /proc, which nobody can stall). t/7120-syscalls.t holds it to the shorter list in between.
	 */
	[CONFINE_VERDICT] = {
		{ CALLS_ANSWER CALLS_LIBC CALLS_SAY "fallocate " },
		{ no_code, read_only, own_fd, maps, terminals, own_name },
		.signals_self = true,
	},
	[CONFINE_DAEMON] = {
		{ CALLS_ANSWER CALLS_LIBC CALLS_SAY CALLS_READ CALLS_SELF CALLS_SLEEP,
		  CALLS_SOCKET CALLS_WAKE CALLS_DAEMON "prctl tgkill " },
		{ no_code, maps, unix_sockets, terminals, tasks, tracepoints },
		.signals_self = false,
	},
	[CONFINE_GUARDIAN] = {
		{ CALLS_ANSWER CALLS_LIBC CALLS_SAY CALLS_GUARDIAN },
		{ no_code, read_only, maps, terminals, tasks, own_name }, /* a child closes what may stall */
		.signals_self = false,
	},
	[CONFINE_ZYGOTE] = {
		{ CALLS_ZYGOTE },
		{ any_code, unix_sockets, terminals, tasks },
		.signals_self = true,
	},
	[CONFINE_MARKS] = {
		{ CALLS_HELPER "openat2 open_by_handle_at name_to_handle_at " },
		{ any_code, read_only, unix_sockets, terminals },
		.signals_self = true,
	},
	[CONFINE_PROCESSES] = {
		{ CALLS_HELPER "name_to_handle_at " },
		{ any_code, read_only, unix_sockets, terminals },
		.signals_self = true,
	},
	[CONFINE_NAMES] = {
		{ CALLS_HELPER "fork kill wait4 waitid alarm setitimer chdir " },
		{ any_code, read_only, network, terminals, tasks },
		.signals_self = true,
	},
	[CONFINE_PEEK_KEEPER] = {
		{ CALLS_ZYGOTE CALLS_PEEK CALLS_PRIORITY },
		{ any_code, unix_sockets, terminals, tasks },
		.signals_self = true,
	},
	[CONFINE_PEEK] = { /* of signals to others, its own uid's are all that it may send */
		{ CALLS_PEEK "poll ppoll recvfrom sendto kill wait4 waitid fork dup2 dup3 close_range "
		  "pipe2 getppid prctl seccomp prlimit64 getrlimit setrlimit " CALLS_PRIORITY },
		{ no_code, read_only, own_fd, unix_sockets, tasks },
		.signals_self = true,
	},
	[CONFINE_PEEK_WORKER] = {
		{ CALLS_PEEK },
		{ no_code, read_only, own_fd },
		.signals_self = true,
	},
	[CONFINE_ARCHIVE] = { /* one descriptor to read, one to write to */
		{ "read write close fstat lseek " CALLS_LIBC },
		{ no_code, own_fd },
		.signals_self = false,
	},
	/* Whatever a resolver and a TLS library do; no process is made, no file is written. */
	[CONFINE_FETCH] = {
		{ CALLS_HELPER },
		{ any_code, read_only, network, terminals, threads },
		.signals_self = true,
	},
	[CONFINE_LOG_KEEPER] = { /* and what the writer asks for until it has its own */
		{ "read write close poll ppoll wait4 waitid fork setrlimit prlimit64 seccomp prctl "
		  "clock_nanosleep nanosleep " CALLS_LIBC },
		{ no_code, terminals, tasks },
		.signals_self = true,
	},
	[CONFINE_LOG] = {
		{ "read write close poll ppoll futex rt_sigreturn exit exit_group restart_syscall " },
		{ terminals },
		.signals_self = false,
	},
};

bool confine_available(void)
{
	return !SANITIZED;
}

static int allow_name(scmp_filter_ctx ctx, const char *name, const struct scmp_arg_cmp *cmp)
{
	int nr = seccomp_syscall_resolve_name(name), r;

	if (nr == __NR_SCMP_ERROR)
		return 0;
	r = cmp ? seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, nr, 1, cmp) :
		  seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
	return r == -EDOM || r == -EEXIST ? 0 : r;
}

static int allow_names(scmp_filter_ctx ctx, const char *names)
{
	char name[32];
	int r = 0;

	for (size_t n; !r && names && *names; names += n + strspn(names + n, " ")) {
		n = strcspn(names, " ");
		if (n >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, names, n);
		name[n] = '\0';
		r = allow_name(ctx, name, NULL);
	}
	return r;
}

static int allow_if(scmp_filter_ctx ctx, const struct call_if *c)
{
	int r = 0;

	for (; !r && c && c->name; c++) {
		const struct scmp_arg_cmp cmp = { c->arg, SCMP_CMP_MASKED_EQ, c->mask, c->value };

		r = allow_name(ctx, c->name, c->mask ? &cmp : NULL);
	}
	return r;
}

static int fill(scmp_filter_ctx ctx, const struct list *l)
{
	const struct call_if self[] = {
		{ "kill", 0, WHOLE, (uint32_t)getpid() },
		{ "tgkill", 0, WHOLE, (uint32_t)getpid() },
		{ 0 },
	};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(l->calls); i++)
		r = allow_names(ctx, l->calls[i]);
	for (size_t i = 0; !r && i < ARRAY_SIZE(l->conditions); i++)
		r = allow_if(ctx, l->conditions[i]);
	if (!r && l->signals_self)
		r = allow_if(ctx, self);
	return r;
}

static void cleanup_filter(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

struct confine_program {
	struct sock_fprog prog;
	struct sock_filter code[];
};

/* libseccomp writes what it made to a descriptor. A pipe has room for it; a file would be subject to
 * the limit of its size that helpers have. */
static int export(scmp_filter_ctx ctx, struct confine_program **ret)
{
	_cleanup_free_ struct confine_program *p = malloc(sizeof(*p) + PROGRAM_BYTES);
	_cleanup_close_ int from = -1, to = -1;
	int fds[2], r;
	ssize_t n;

	if (!p)
		return -ENOMEM;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	from = fds[0];
	to = fds[1];
	r = seccomp_export_bpf(ctx, to);
	if (r < 0)
		return r;
	n = read(from, p->code, PROGRAM_BYTES);
	if (n <= 0 || n == PROGRAM_BYTES || n % (ssize_t)sizeof(p->code[0]))
		return -E2BIG;
	p->prog.len = (unsigned short)((size_t)n / sizeof(p->code[0]));
	p->prog.filter = p->code;
	*ret = TAKE_PTR(p);
	return 0;
}

int confine_prepare(enum confine_list list, enum confine_refusal refusal,
		    struct confine_program **ret)
{
	_cleanup_(cleanup_filter) scmp_filter_ctx ctx = NULL;
	int r;

	if (!confine_available() || refusal == CONFINE_OFF)
		return -EOPNOTSUPP;
	ctx = seccomp_init(refusal == CONFINE_TRAP ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(ENOSYS));
	if (!ctx)
		return -ENOMEM;
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	/* Its arguments cannot be seen; the C library makes threads by clone() without it, with all
	 * signals blocked, so that a trap would be the end. */
	if (refusal == CONFINE_TRAP)
		seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	r = fill(ctx, &lists[list]);
	return r < 0 ? r : export(ctx, ret);
}

/* Nobody else's code runs in here: no speculation is to be switched off, which costs on every
 * return. */
int confine_apply(const struct confine_program *p)
{
	if (!p)
		return -EOPNOTSUPP;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		       &p->prog) < 0 ? -errno : 0;
}

void confine_program_free(struct confine_program *p)
{
	free(p);
}

int confine_calls(enum confine_list list, enum confine_refusal refusal)
{
	struct confine_program *p;
	int r = confine_prepare(list, refusal, &p);

	if (r < 0)
		return r;
	r = confine_apply(p);
	confine_program_free(p);
	return r;
}

static void limit(int resource, rlim_t to)
{
	struct rlimit l = { to, to }, now;

	/* One that is lower already is as good. */
	if (getrlimit(resource, &now) == 0 && now.rlim_max < to)
		l.rlim_cur = l.rlim_max = now.rlim_max;
	setrlimit(resource, &l);
}

/* Time is the caller's to limit: it kills a helper at its deadline. */
void confine_limits(void)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, HELPER_FILES_MAX);
	limit(RLIMIT_NPROC, 0);
	if (!confine_available())
		return; /* shadow memory, reports into files */
	limit(RLIMIT_AS, HELPER_MEMORY_BYTES);
	limit(RLIMIT_FSIZE, 0);
}
