/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forks COUNT PATH: as fast as it can, has that many descendants, each of which opens PATH once and
 * ends: by fork, vfork, a fork whose parent ends at once, CLONE_PARENT. 0 when all did, 1 when not.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_ONCE 256

static _Atomic long *opened, *failed;

static void leaf(const char *path)
{
	int fd = open(path, O_RDONLY);

	atomic_fetch_add(fd >= 0 ? opened : failed, 1);
	_exit(0);
}

static pid_t plain(unsigned long flags)
{
	return (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
}

static void one(long nth, const char *path)
{
	pid_t pid;

	switch (nth % 4) {
	case 0:
		pid = fork();
		break;
	case 1:
		pid = vfork();
		break;
	case 2:
		pid = fork();
		if (pid == 0) {
			setsid();
			pid = fork();
			if (pid > 0)
				_exit(0);
		}
		break;
	default:
		pid = plain(CLONE_PARENT | SIGCHLD);
	}
	if (pid == 0)
		leaf(path);
	if (pid < 0)
		atomic_fetch_add(failed, 1);
}

int main(int argc, char **argv)
{
	long n = argc == 3 ? atol(argv[1]) : -1;
	pid_t worker;

	if (n < 0)
		return 64;
	opened = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (opened == MAP_FAILED)
		return 69;
	failed = opened + 8;
	signal(SIGCHLD, SIG_IGN); /* who ends is gone at once, also who is a child of ours by CLONE_PARENT */
	worker = fork();
	if (worker == 0) {
		for (long i = 0; i < n; i++) {
			one(i, argv[2]);
			while (i + 1 - atomic_load(opened) - atomic_load(failed) > AT_ONCE)
				sched_yield();
		}
		_exit(0);
	}
	for (int i = 0; i < 60000 && atomic_load(opened) + atomic_load(failed) < n; i++)
		usleep(1000);
	return worker > 0 && atomic_load(opened) == n && !atomic_load(failed) ? 0 : 1;
}
