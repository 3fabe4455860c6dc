/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways a process has of getting away from its parent, for tests of the process feed.
 * procscene SCENE OUT GATE [N]: whoever is to be found afterwards writes its pid (as an int, of the
 * pid namespace that /proc shows) to descriptor OUT and lives until GATE is closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int out, gate, count;
static char out_arg[16], gate_arg[16];
static char self[4096]; /* through /proc/self/exe the name would be "exe" */

static void die(const char *what)
{
	perror(what);
	_exit(99);
}

/* getpid() would tell the number in the innermost namespace. */
static int outer_pid(void)
{
	char buf[32] = "";

	if (readlink("/proc/self", buf, sizeof(buf) - 1) <= 0)
		die("/proc/self");
	return atoi(buf);
}

static void be_found(void)
{
	int pid = outer_pid();
	char c;

	if (write(out, &pid, sizeof(pid)) != sizeof(pid))
		die("write");
	while (read(gate, &c, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static pid_t xfork(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	return pid;
}

static void reap(pid_t pid)
{
	if (pid < 0)
		die("child");
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void exec_leaf(void)
{
	execl(self, "procscene", "leaf", out_arg, gate_arg, (char *)NULL);
	_exit(98);
}

static void scene_fork(void)
{
	pid_t pid = xfork();

	if (!pid)
		be_found();
	reap(pid);
}

static void scene_vfork(void)
{
	pid_t pid = vfork();

	if (!pid)
		exec_leaf();
	reap(pid);
}

static void scene_exec(void)
{
	pid_t pid = xfork();

	if (!pid)
		exec_leaf();
	reap(pid);
}

static void scene_double_fork(void)
{
	pid_t pid = xfork();

	if (!pid) {
		setsid();
		if (xfork())
			_exit(0);
		be_found();
	}
	_exit(0); /* the whole line of parents is gone */
}

static void scene_subreaper(void)
{
	pid_t pid = xfork();

	if (!pid) {
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		if (!xfork()) {
			if (!xfork()) {
				if (!xfork())
					be_found();
				_exit(0);
			}
			_exit(0);
		}
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	reap(pid);
}

static void scene_clone_parent(void)
{
	struct clone_args args = { .flags = CLONE_PARENT };
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		die("clone3");
	if (!pid)
		be_found();
	_exit(0);
}

static void *fork_from_thread(void *leader)
{
	char path[64], stat[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)(intptr_t)leader);
	for (int i = 0; i < 1000; i++) {
		f = fopen(path, "r");
		if (f && fgets(stat, sizeof(stat), f) && strstr(stat, ") Z ")) {
			fclose(f);
			break;
		}
		if (f)
			fclose(f);
		usleep(1000);
	}
	if (!strstr(stat, ") Z "))
		die("leader lives");
	if (!xfork()) {
		setsid();
		be_found();
	}
	be_found(); /* and this process itself, whose leader is dead */
	return NULL;
}

static void scene_dead_leader(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fork_from_thread, (void *)(intptr_t)getpid()))
		die("thread");
	syscall(SYS_exit, 0);
}

static void *exec_from_thread(void *arg)
{
	(void)arg;
	exec_leaf();
	return NULL;
}

static void scene_thread_exec(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, exec_from_thread, NULL))
		die("thread");
	pause();
}

static void scene_pid_ns(void)
{
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		die("unshare");
	pid = xfork();
	if (!pid) {
		if (!xfork())
			be_found();
		be_found();
	}
	reap(pid);
}

/* N children that live, every other one away from its parent; then one more is found. */
static void scene_many(void)
{
	for (int i = 0; i < count; i++) {
		pid_t pid = xfork();

		if (pid) {
			if (i & 1)
				reap(pid);
			continue;
		}
		if (i & 1) {
			setsid();
			if (xfork())
				_exit(0);
		}
		be_found();
	}
	be_found();
}

/* The same, but none leaves. */
static void scene_children(void)
{
	for (int i = 0; i < count; i++)
		if (!xfork())
			be_found();
	be_found();
}

static void vfork_once(void)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(0);
	reap(pid);
}

static void scene_storm(void)
{
	for (int i = 0; i < count; i++)
		vfork_once();
	be_found();
}

/* A child with pid N, if it can be had; 97 if not. */
static void scene_pid(void)
{
	pid_t want = count;
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&want,
		.set_tid_size = 1,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	int status;

	if (pid < 0)
		_exit(97);
	if (!pid)
		be_found();
	waitpid((pid_t)pid, &status, 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} scenes[] = {
		{ "leaf", be_found },
		{ "fork", scene_fork },
		{ "vfork", scene_vfork },
		{ "exec", scene_exec },
		{ "double_fork", scene_double_fork },
		{ "subreaper", scene_subreaper },
		{ "clone_parent", scene_clone_parent },
		{ "dead_leader", scene_dead_leader },
		{ "thread_exec", scene_thread_exec },
		{ "pid_ns", scene_pid_ns },
		{ "many", scene_many },
		{ "children", scene_children },
		{ "storm", scene_storm },
		{ "pid", scene_pid },
	};

	if (argc < 4 || readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0)
		return 64;
	out = atoi(argv[2]);
	gate = atoi(argv[3]);
	count = argc > 4 ? atoi(argv[4]) : 0;
	snprintf(out_arg, sizeof(out_arg), "%d", out);
	snprintf(gate_arg, sizeof(gate_arg), "%d", gate);
	for (unsigned i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
		if (!strcmp(argv[1], scenes[i].name)) {
			scenes[i].run();
			return 0;
		}
	}
	return 64;
}
