/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds threads by ptrace(2) for some time and lets them go:
 *
 *   flt_trace thread TID MS       one thread, as PTRACE_INTERRUPT finds it
 *   flt_trace process PID MS      all threads, as gdb attaches
 *   flt_trace read TID FD MS      at the end of a read(FD) that gave something: the kernel has
 *                                 handed it over, and no instruction of the program has seen it
 *   flt_trace kill TID FD 0       the same, but there the process is killed
 *
 * Prints "held" when they are. Exits 1 when they cannot be held within ten seconds.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_MAX 64
#define TRIES_MAX 200000

static bool stopped(pid_t tid)
{
	int status;

	return waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status);
}

static int hold(pid_t tid)
{
	if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD) < 0 ||
	    ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 || !stopped(tid)) {
		fprintf(stderr, "thread %d: %s\n", tid, strerror(errno));
		return -1;
	}
	return 0;
}

/* To the exit of a read of fd that gave something. */
static int hold_in_read(pid_t tid, int fd)
{
	bool in_read = false;

	if (hold(tid) < 0)
		return -1;
	for (int i = 0; i < TRIES_MAX; i++) {
		struct __ptrace_syscall_info si;

		if (ptrace(PTRACE_SYSCALL, tid, 0, 0) < 0 || !stopped(tid) ||
		    ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(si), &si) <= 0) {
			fprintf(stderr, "thread %d: %s\n", tid, strerror(errno));
			return -1;
		}
		if (si.op == PTRACE_SYSCALL_INFO_ENTRY)
			in_read = si.entry.nr == SYS_read && (int)si.entry.args[0] == fd;
		else if (si.op == PTRACE_SYSCALL_INFO_EXIT && in_read && si.exit.rval > 0)
			return 0;
	}
	return -1;
}

static size_t hold_all(pid_t pid, pid_t tid[THREADS_MAX])
{
	char path[64];
	size_t n = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	while (d && n < THREADS_MAX && (e = readdir(d))) {
		tid[n] = atoi(e->d_name);
		if (tid[n] > 0 && ptrace(PTRACE_ATTACH, tid[n], 0, 0) == 0 && stopped(tid[n]))
			n++;
	}
	if (d)
		closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	pid_t tid[THREADS_MAX];
	size_t n = 0;

	if (argc < 4)
		return 64;
	alarm(10); /* a tracer that ends lets go */
	tid[0] = atoi(argv[2]);
	if (!strcmp(argv[1], "thread"))
		n = hold(tid[0]) == 0;
	else if (!strcmp(argv[1], "process"))
		n = hold_all(atoi(argv[2]), tid);
	else if (argc == 5 && (!strcmp(argv[1], "read") || !strcmp(argv[1], "kill")))
		n = hold_in_read(tid[0], atoi(argv[3])) == 0;
	if (!n)
		return 1;
	puts("held");
	fflush(stdout);
	if (!strcmp(argv[1], "kill"))
		return kill(tid[0], SIGKILL) < 0;
	usleep((useconds_t)atoi(argv[argc - 1]) * 1000);
	for (size_t i = 0; i < n; i++)
		ptrace(PTRACE_DETACH, tid[i], 0, 0);
	return 0;
}
