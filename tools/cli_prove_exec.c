/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to run a shell with a chain of commands, of which each is `:`; or a program that does nothing. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_prove.h"

typedef struct prove_place place;
typedef struct prove_target target;

#define SH "/bin/sh"
#define CANNOT (PROVE_CANNOT + errno)
#define NOT_RUN 120 /* no shell exits with it for a chain of these */
#define NOT_EXECUTED 126 /* says env of what it may not run */

struct start {
	const char *path; /* NULL: fd */
	int fd;
	char *argv[6];
};

static int in_shell(void *arg)
{
	struct start *s = arg;

	prove_here();
	if (s->path)
		execve(s->path, s->argv, environ);
	else
		syscall(SYS_execveat, s->fd, "", s->argv, environ, AT_EMPTY_PATH);
	return -errno;
}

/* Who was told nothing by the child has run: the pipe went with the exec. */
static int wait_run(pid_t pid, int told)
{
	int err = 0, r;

	if (read(told, &err, sizeof(err)) != sizeof(err))
		err = 0;
	r = prove_status(pid);
	if (err)
		return err == -EPERM ? -EPERM : PROVE_CANNOT - err;
	if (r == -NOT_EXECUTED)
		return -EPERM;
	return r == PROVE_KILLED || r == PROVE_THROUGH ? r : PROVE_CANNOT + EIO;
}

static int start(struct start *s)
{
	int p[2], r;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return CANNOT;
	pid = fork();
	if (pid == 0) {
		alarm(PROVE_ATTEMPT_S);
		r = in_shell(s);
		_exit(write(p[1], &r, sizeof(r)) == sizeof(r) ? NOT_RUN : NOT_RUN + 1);
	}
	close(p[1]);
	r = pid < 0 ? CANNOT : wait_run(pid, p[0]);
	close(p[0]);
	return r;
}

static int run_path(const char *path, const target *t)
{
	struct start s = { path, -1, { (char *)"sh", (char *)"-c", t->command, NULL } };

	return start(&s);
}

static const char *program(const place *p, const target *t)
{
	return t->path ? t->path : p->shell;
}

static int by_sh(const place *p, const target *t)
{
	return run_path(program(p, t), t);
}

static int by_bash(const place *p, const target *t)
{
	if (strcmp(p->shell, SH) != 0)
		return PROVE_CANNOT + ENOENT; /* there is one decoy */
	return access("/bin/bash", X_OK) < 0 ? CANNOT : run_path("/bin/bash", t);
}

static int by_name(const place *p, const target *t)
{
	char name[PATH_MAX];
	struct start s = { name, -1, { (char *)"innocent", (char *)"-c", t->command } };
	int r;

	if (p->unwatched)
		return by_sh(p, t);
	snprintf(name, sizeof(name), "%s/innocent", p->scratch);
	unlink(name);
	if (symlink(program(p, t), name) < 0)
		return CANNOT;
	r = start(&s);
	unlink(name);
	return r;
}

static int by_fd(const place *p, const target *t)
{
	_cleanup_close_ int fd = open(program(p, t), O_PATH | O_CLOEXEC);
	struct start s = { NULL, fd, { (char *)"sh", (char *)"-c", t->command, NULL } };

	return fd < 0 ? CANNOT : start(&s);
}

static int by_vfork(const place *p, const target *t)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", t->command, NULL };
	volatile int err = 0;
	pid_t pid;
	int r;

	pid = vfork();
	if (pid < 0)
		return CANNOT;
	if (pid == 0) {
		prove_here();
		execve(program(p, t), argv, environ);
		err = errno;
		_exit(NOT_RUN);
	}
	r = prove_status(pid);
	return err == EPERM ? -EPERM : err ? PROVE_CANNOT + err : r < 0 ? PROVE_CANNOT + EIO : r;
}

static int by_spawn(const place *p, const target *t)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", t->command, NULL };
	pid_t pid;
	int err, r;

	/* Its child says nothing of itself: the parent's number stands until it is known. */
	err = posix_spawn(&pid, program(p, t), NULL, NULL, argv, environ);
	if (err)
		return err == EPERM ? -EPERM : PROVE_CANNOT + err;
	r = prove_status(pid);
	return r < 0 ? PROVE_CANNOT + EIO : r;
}

static void *in_thread(void *arg)
{
	struct start *s = arg;

	return (void *)(intptr_t)in_shell(s);
}

static int thread_execs(void *arg)
{
	pthread_t thread;
	void *r;

	if ((errno = pthread_create(&thread, NULL, in_thread, arg)) != 0)
		return CANNOT;
	pthread_join(thread, &r);
	return (int)(intptr_t)r;
}

/* The whole process becomes the shell: one more, so that somebody is left to tell. */
static int by_thread(const place *p, const target *t)
{
	struct start s = { program(p, t), -1, { (char *)"sh", (char *)"-c", t->command, NULL } };
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return CANNOT;
	pid = fork();
	if (pid == 0) {
		alarm(PROVE_ATTEMPT_S);
		r = thread_execs(&s);
		_exit(write(fds[1], &r, sizeof(r)) == sizeof(r) ? NOT_RUN : NOT_RUN + 1);
	}
	close(fds[1]);
	r = pid < 0 ? CANNOT : wait_run(pid, fds[0]);
	close(fds[0]);
	return r;
}

static int told(void *arg)
{
	return start(arg);
}

static int apart(const place *p, const target *t, bool parents)
{
	struct start s = { program(p, t), -1, { (char *)"sh", (char *)"-c", t->command, NULL } };

	return prove_apart(told, &s, parents);
}

static int by_double_fork(const place *p, const target *t)
{
	return apart(p, t, false);
}

static int by_clone_parent(const place *p, const target *t)
{
	return apart(p, t, true);
}

/* The static program has the words of the shell's command line in its data. */
static int by_static(const place *p, const target *t)
{
	struct {
		uint64_t argv[4];
		char path[1200], dash[8], command[2800];
	} data = { .dash = "-c" };
	const struct prove_call call = { SYS_execve, PROVE_STATIC_DATA + offsetof(typeof(data), path),
					 PROVE_STATIC_DATA, 0, 0 };
	char *const argv[] = { (char *)p->program, NULL };
	pid_t pid;
	int r;

	if (strlen(t->command) >= sizeof(data.command) || strlen(program(p, t)) >= sizeof(data.path))
		return PROVE_CANNOT + E2BIG;
	strcpy(data.command, t->command);
	strcpy(data.path, program(p, t));
	data.argv[0] = PROVE_STATIC_DATA + offsetof(typeof(data), path);
	data.argv[1] = PROVE_STATIC_DATA + offsetof(typeof(data), dash);
	data.argv[2] = PROVE_STATIC_DATA + offsetof(typeof(data), command);
	r = p->unwatched ? prove_could_run(p) : prove_static(p->program, &call, 1, &data, sizeof(data));
	if (r || p->unwatched)
		return r;
	pid = vfork();
	if (pid == 0) {
		prove_here();
		execve(argv[0], argv, environ);
		_exit(NOT_RUN);
	}
	r = pid < 0 ? CANNOT : prove_status(pid);
	return r < 0 && r != -EPERM ? PROVE_CANNOT + EIO : r;
}

/* ---- what the manual says is not held ---------------------------------------------------------------- */

static int copy_shell(int to)
{
	_cleanup_close_ int from = open(SH, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (from < 0 || to < 0 || fstat(from, &st) < 0)
		return -1;
	while (st.st_size > 0) {
		ssize_t n = sendfile(to, from, NULL, (size_t)st.st_size);

		if (n <= 0)
			return -1;
		st.st_size -= n;
	}
	return 0;
}

static int by_memfd(const place *p, const target *t)
{
	_cleanup_close_ int fd = memfd_create("sh", MFD_CLOEXEC);
	struct start s = { NULL, fd, { (char *)"sh", (char *)"-c", t->command, NULL } };

	if (p->unwatched)
		return by_sh(p, t);
	return copy_shell(fd) < 0 ? CANNOT : start(&s);
}

static int by_copy(const place *p, const target *t)
{
	char name[PATH_MAX];
	int fd, r;

	if (p->unwatched)
		return prove_could_run(p);
	snprintf(name, sizeof(name), "%s/sh", p->work);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0700);
	r = copy_shell(fd) < 0 ? CANNOT : 0;
	if (fd >= 0)
		close(fd);
	r = r ? r : run_path(name, t);
	unlink(name);
	return r;
}

static int by_loader(const place *p, const target *t)
{
	static const char *const where[] = { "/lib64/ld-linux-*", "/lib/ld-linux-*", "/lib/ld-musl-*" };
	int r = PROVE_CANNOT + ENOENT;

	for (size_t i = 0; i < ARRAY_SIZE(where); i++) {
		glob_t g;

		if (glob(where[i], 0, NULL, &g) == 0) {
			struct start s = { g.gl_pathv[0], -1,
					   { g.gl_pathv[0], (char *)p->shell, (char *)"-c", t->command, NULL } };

			r = start(&s);
			globfree(&g);
			return r;
		}
	}
	return r;
}

static int by_script(const place *p, const target *t)
{
	char name[PATH_MAX];
	struct start s = { name, -1, { name, NULL } };
	_cleanup_close_ int fd = -1;
	int r;

	if (p->unwatched)
		return prove_could_run(p);
	snprintf(name, sizeof(name), "%s/script", p->scratch);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0700);
	if (fd < 0 || dprintf(fd, "#!%s\n%s\n", program(p, t), t->command) < 0)
		return CANNOT;
	close(TAKE_FD(fd));
	r = start(&s);
	unlink(name);
	return r;
}

/* The interpreter's own argument is the chain. */
static int by_script_line(const place *p, const target *t)
{
	char name[PATH_MAX];
	struct start s = { name, -1, { name, (char *)"-c", t->command, NULL } };
	_cleanup_close_ int fd = -1;
	int r;

	if (p->unwatched)
		return prove_could_run(p);
	snprintf(name, sizeof(name), "%s/interpreter", p->scratch);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0700);
	if (fd < 0 || dprintf(fd, "#!/usr/bin/env -S %s -c '%s'\n", program(p, t), t->command) < 0)
		return CANNOT;
	close(TAKE_FD(fd));
	r = start(&s);
	unlink(name);
	return r;
}

#define ROUTE(n, c, f) { .name = n, .kind = KIND_EXEC_OBSERVED, .claimed = c, .try = f }
#define OF_NAME(n, f) { .name = n, .kind = KIND_EXEC_OBSERVED, .claimed = true, .local = true, .try = f }

const struct prove_route prove_execs[] = {
	ROUTE("sh -c", true, by_sh),
	ROUTE("bash -c", true, by_bash),
	ROUTE("other name", true, by_name),
	ROUTE("descriptor", true, by_fd),
	ROUTE("vfork", true, by_vfork),
	ROUTE("posix_spawn", true, by_spawn),
	ROUTE("thread", true, by_thread),
	ROUTE("double fork", true, by_double_fork),
	ROUTE("CLONE_PARENT", true, by_clone_parent),
	ROUTE("static binary", true, by_static),
	ROUTE("script that runs a shell", true, by_script_line),
	ROUTE("ld.so", false, by_loader),
	ROUTE("memfd", false, by_memfd),
	ROUTE("copy", false, by_copy),
	ROUTE("script", false, by_script),
	OF_NAME("program", by_sh),
	OF_NAME("other name", by_name),
	OF_NAME("descriptor", by_fd),
	OF_NAME("vfork", by_vfork),
	OF_NAME("posix_spawn", by_spawn),
	OF_NAME("thread", by_thread),
	OF_NAME("double fork", by_double_fork),
	OF_NAME("CLONE_PARENT", by_clone_parent),
	OF_NAME("static binary", by_static),
	OF_NAME("script that runs it", by_script_line),
	OF_NAME("script", by_script),
	{ .name = NULL },
};
