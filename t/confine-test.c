/* SPDX-License-Identifier: Apache-2.0 */
/* Each list holds against who tries what is not on it; the tries run in children. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/landlock.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "enforce/confine.h"

#define PROCESS_IS_REFUSED 77

struct attempt {
	const char *name;
	int (*run)(void); /* 0 or more: it worked */
};

static const char *scratch_file, *victim_file;

static int go_inet(void) { return socket(AF_INET, SOCK_STREAM, 0); }
static int go_inet6(void) { return socket(AF_INET6, SOCK_DGRAM, 0); }
static int go_packet(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static int go_vsock(void) { return socket(AF_VSOCK, SOCK_STREAM, 0); }
static int go_netlink(void) { return socket(AF_NETLINK, SOCK_RAW, 0); }
static int go_pair(void)
{
	int fds[2];

	return socketpair(AF_TIPC, SOCK_SEQPACKET, 0, fds);
}
static int go_exec(void)
{
	char *argv[] = { (char *)"true", NULL }, *envp[] = { NULL };

	return execve("/bin/true", argv, envp);
}
static int go_execveat(void)
{
	char *argv[] = { (char *)"true", NULL }, *envp[] = { NULL };

	return (int)syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, envp, 0);
}
static int go_ptrace(void) { return (int)ptrace(PTRACE_SEIZE, getppid(), NULL, NULL); }
static int go_read_memory(void)
{
	char buf[8];
	struct iovec local = { buf, sizeof(buf) }, remote = { (void *)(uintptr_t)go_exec, 8 };

	return (int)process_vm_readv(getppid(), &local, 1, &remote, 1, 0);
}
static int go_mount(void) { return mount("none", "/nowhere", "tmpfs", 0, NULL); }
static int go_unshare(void) { return unshare(CLONE_NEWUSER); }
static int go_namespace(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return (int)pid;
}
static int go_module(void) { return (int)syscall(SYS_init_module, "", 0, ""); }
static int go_kexec(void) { return (int)syscall(SYS_kexec_load, 0, 0, NULL, -1L); }
static int go_keyctl(void) { return (int)syscall(SYS_keyctl, 0, -3, 1); }
static int go_add_key(void) { return (int)syscall(SYS_add_key, "user", "oknek", "x", 1, -2); }
static int go_prog_load(void)
{
	union bpf_attr attr = { .insns = 0 };

	return (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}
static int go_map_create(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4,
				.max_entries = 1 };

	return (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}
static int go_perf(void) { return (int)syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0); }
static int go_uring(void) { return (int)syscall(SYS_io_uring_setup, 1, NULL); }
static int go_write(void) { return open(scratch_file, O_WRONLY); }
static int go_create(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s.new", scratch_file);
	return open(path, O_CREAT | O_RDONLY, 0600);
}
static int go_truncate(void) { return open(scratch_file, O_RDONLY | O_TRUNC); }
static int go_unlink(void) { return unlink(victim_file); }
static int go_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid;
}
static int go_kill(void) { return kill(getppid(), 0); }
static int go_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : 0;
}
static int go_root(void) { return setresuid(0, 0, 0); }
static int go_handle(void) { return (int)syscall(SYS_open_by_handle_at, -1, NULL, 0); }
static int go_read_secret(void) { return open(scratch_file, O_RDONLY); }

#define EVERYWHERE                                                                              \
	{ "an IPv4 socket", go_inet }, { "an IPv6 socket", go_inet6 },                          \
	{ "a packet socket", go_packet }, { "a vsock socket", go_vsock },                       \
	{ "a netlink socket", go_netlink }, { "a socket pair of another family", go_pair },     \
	{ "execve", go_exec }, { "execveat", go_execveat }, { "ptrace", go_ptrace },            \
	{ "another's memory", go_read_memory }, { "mount", go_mount },                          \
	{ "unshare", go_unshare }, { "a new namespace", go_namespace },                         \
	{ "a module", go_module }, { "kexec", go_kexec }, { "keyctl", go_keyctl },              \
	{ "add_key", go_add_key }, { "a BPF program", go_prog_load },                           \
	{ "a BPF map", go_map_create }, { "perf events", go_perf }, { "io_uring", go_uring }

static const struct attempt daemon_attempts[] = {
	EVERYWHERE, { "new code", go_code }, { "another uid", go_root }, { NULL, NULL },
};
static const struct attempt thread_attempts[] = {
	EVERYWHERE,
	{ "new code", go_code },
	{ "another uid", go_root },
	{ "writing a file", go_write },
	{ "making a file", go_create },
	{ "cutting a file", go_truncate },
	{ "a fork", go_fork },
	{ "opening a handle", go_handle },
	{ NULL, NULL },
};
static const struct attempt guardian_attempts[] = {
	EVERYWHERE,
	{ "new code", go_code },
	{ "another uid", go_root },
	{ "writing a file", go_write },
	{ "making a file", go_create },
	{ "cutting a file", go_truncate },
	{ "opening a handle", go_handle },
	{ NULL, NULL },
};
static const struct attempt helper_attempts[] = {
	EVERYWHERE,
	{ "another uid", go_root },
	{ "writing a file", go_write },
	{ "making a file", go_create },
	{ "cutting a file", go_truncate },
	{ "unlink", go_unlink },
	{ "a fork", go_fork },
	{ "a signal to another", go_kill },
	{ NULL, NULL },
};

/* What is tried as such works here: else it would prove nothing that it is refused. */
static bool works_unconfined(const struct attempt *a)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		alarm(5);
		_exit(a->run() >= 0 ? 0 : errno == ENOSYS ? PROCESS_IS_REFUSED : 1);
	}
	waitpid(pid, &status, 0);
	return !WIFEXITED(status) || WEXITSTATUS(status) != PROCESS_IS_REFUSED;
}

static bool refused(enum confine_list list, enum confine_refusal how, const struct attempt *a)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGSYS, SIG_DFL); /* cmocka catches it */
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (confine_calls(list, how) < 0)
			_exit(2);
		_exit(a->run() < 0 && errno == ENOSYS ? PROCESS_IS_REFUSED : 3);
	}
	waitpid(pid, &status, 0);
	if (how == CONFINE_TRAP)
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
	return WIFEXITED(status) && WEXITSTATUS(status) == PROCESS_IS_REFUSED;
}

static void try_all(enum confine_list list, const struct attempt *a)
{
	unsigned bad = 0;

	for (; a->name; a++) {
		if (!works_unconfined(a))
			continue; /* this kernel does not have it */
		if (!refused(list, CONFINE_REFUSE, a)) {
			print_error("list %d does not refuse %s\n", list, a->name);
			bad++;
		}
	}
	assert_int_equal(bad, 0);
}

static void the_verdict_thread(void **state)
{
	const struct attempt one = { "execve", go_exec };

	(void)state;
	try_all(CONFINE_VERDICT, thread_attempts);
	assert_true(refused(CONFINE_VERDICT, CONFINE_TRAP, &one));
}

static void the_other_threads(void **state)
{
	(void)state;
	try_all(CONFINE_DAEMON, daemon_attempts);
}

static void the_guardian(void **state)
{
	(void)state;
	/* It forks: a child closes what may stall. */
	try_all(CONFINE_GUARDIAN, guardian_attempts);
}

static void the_helpers(void **state)
{
	(void)state;
	try_all(CONFINE_PROCESSES, helper_attempts);
	try_all(CONFINE_LOG, helper_attempts);
}

/* It opens paths by a call whose flags no filter sees: what it may not, Landlock refuses. */
static void the_helper_of_paths(void **state)
{
	static const struct attempt reads[] = {
		{ "reading a file", go_read_secret }, { "writing a file", go_write },
		{ "making a file", go_create },	      { "cutting a file", go_truncate },
		{ "unlink", go_unlink },	      { "execve", go_exec },
		{ "ptrace", go_ptrace },
	};
	int status;
	pid_t pid;

	(void)state;
	try_all(CONFINE_MARKS, helper_attempts);
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0)
		skip();
	close(open(victim_file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	pid = fork();
	if (!pid) {
		unsigned bad = 0;
		int fd;

		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (confine_files() < 0)
			_exit(2);
		for (size_t i = 0; i < ARRAY_SIZE(reads); i++)
			if (reads[i].run() >= 0) {
				print_error("Landlock does not refuse %s\n", reads[i].name);
				bad++;
			}
		/* What it is for. */
		fd = open(scratch_file, O_PATH);
		if (fd < 0 || open("/etc/passwd", O_RDONLY) < 0 || open("/", O_RDONLY) < 0 ||
		    open("/proc/self/mountinfo", O_RDONLY) < 0) {
			print_error("Landlock refuses too much\n");
			bad++;
		}
		_exit(bad ? 3 : 0);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int go_write_memory(void)
{
	char buf[8] = "";
	struct iovec local = { buf, sizeof(buf) }, remote = { (void *)(uintptr_t)buf, 8 };

	return (int)process_vm_writev(getppid(), &local, 1, &remote, 1, 0);
}

static int go_priority(void)
{
	const struct sched_param none = { 0 };

	return sched_setscheduler(0, SCHED_OTHER, &none);
}

/* Reading memory is what it is for; its parent forks it. */
static void the_helper_of_held_processes(void **state)
{
	struct attempt list[ARRAY_SIZE(helper_attempts) + 1];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(helper_attempts); i++)
		if (helper_attempts[i].run != go_read_memory)
			list[n++] = helper_attempts[i];
	try_all(CONFINE_PEEK_WORKER, list);
	list[n - 1] = (struct attempt){ "another's memory, to write", go_write_memory };
	list[0] = (struct attempt){ "another priority", go_priority }; /* its server's to give */
	list[n] = (struct attempt){ NULL, NULL };
	try_all(CONFINE_PEEK_WORKER, list);
	for (size_t i = 0; i < n; i++)
		if (list[i].run == go_fork || list[i].run == go_kill || list[i].run == go_priority)
			list[i].run = go_write_memory;
	try_all(CONFINE_PEEK, list);
}

static void users_and_limits(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	assert_int_not_equal(confine_uid(CONFINE_USER_MARKS), confine_uid(CONFINE_USER_PROCESSES));
	assert_int_not_equal(confine_uid(CONFINE_USER_MARKS), 0);
	pid = fork();
	if (!pid) {
		struct rlimit l;

		confine_limits();
		if (getrlimit(RLIMIT_CORE, &l) < 0 || l.rlim_max != 0)
			_exit(1);
		if (getrlimit(RLIMIT_NPROC, &l) < 0 || l.rlim_max != 0)
			_exit(2);
		if (confine_available() && (getrlimit(RLIMIT_FSIZE, &l) < 0 || l.rlim_max != 0))
			_exit(3);
		if (confine_become(CONFINE_USER_LOG, 0) < 0 || prctl(PR_GET_DUMPABLE) != 0)
			_exit(4);
		/* Without privilege it stays who it is. */
		if (setresuid(0, 0, 0) == 0 && getuid() == 0)
			_exit(5);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	/* What a sanitizer's runtime leaves unconfined is not there to be tested. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_and_limits), /* the first, and alone there */
		cmocka_unit_test(the_helper_of_held_processes),
		cmocka_unit_test(the_verdict_thread), cmocka_unit_test(the_other_threads),
		cmocka_unit_test(the_guardian),	      cmocka_unit_test(the_helpers),
		cmocka_unit_test(the_helper_of_paths),
	};
	char dir[] = "/tmp/confine-test.XXXXXX", path[64], victim[64], made[80];
	int r;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(victim, sizeof(victim), "%s/victim", dir);
	snprintf(made, sizeof(made), "%s.new", path);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	scratch_file = path;
	victim_file = victim;
	r = _cmocka_run_group_tests("confine", tests,
				    confine_available() ? sizeof(tests) / sizeof(tests[0]) : 1, NULL,
				    NULL);
	unlink(path);
	unlink(victim);
	unlink(made);
	rmdir(dir);
	return r;
}
