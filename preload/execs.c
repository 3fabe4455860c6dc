/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that are started, by all the names that the C library has for it. */
#undef _FORTIFY_SOURCE
#include <alloca.h>
#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/preload.h"
#include "preload/system.h"

#define DEFAULT_PATH "/bin:/usr/bin" /* of execvp(3), without PATH */

extern char **environ;

#ifdef __APPLE__
#define EXEC_BY(path, argv, envp) execve(path, argv, envp)
#else
#include <sys/syscall.h>
#define EXEC_BY(path, argv, envp)                                                              \
	(shim_real_now(SHIM_execve) ? REAL(execve)(path, argv, envp) :                         \
				      (int)syscall(SYS_execve, path, argv, envp))
#endif

/* ---- questions ------------------------------------------------------------------------------- */

/* One argument, with its NUL, as far as there is room for it; 0: it cannot be read. */
static size_t take_argument(char *buf, size_t size, const char *from)
{
	const uintptr_t page = 4096; /* or more */
	size_t at = 0;

	while (at < size) {
		size_t n = page - ((uintptr_t)from + at) % page;

		if (!sys_readable(from + at, 1))
			return 0;
		for (; n > 0 && at < size; n--)
			if (!(buf[at] = from[at]))
				return at + 1;
			else
				at++;
	}
	return size;
}

enum taken { TAKEN_WHOLE, TAKEN_CUT, TAKEN_BAD };

/* As many as there is room for; BAD: the kernel will not take them. */
static enum taken take_arguments(struct shim_page *p, char *const argv[], size_t *len)
{
	size_t at = 0;

	for (size_t i = 0; argv; i++) {
		size_t n;

		if (!sys_readable(&argv[i], sizeof(argv[i])))
			return TAKEN_BAD;
		*len = at;
		if (!argv[i])
			return TAKEN_WHOLE;
		if (at == sizeof(p->argv))
			return TAKEN_CUT;
		n = take_argument(p->argv + at, sizeof(p->argv) - at, argv[i]);
		if (!n)
			return TAKEN_BAD;
		at += n;
		*len = at;
		if (at == sizeof(p->argv) && p->argv[at - 1])
			return TAKEN_CUT;
	}
	return TAKEN_WHOLE;
}

bool shim_refuses_exec(int dir, const char *path, char *const argv[])
{
	int err = errno;
	struct shim_page *p;
	enum taken taken;
	bool ret = false;
	size_t len = 0;

	errno = 0;
	p = path ? shim_page_get() : NULL;
	/* The name is found out first: it needs the arguments' room. */
	if (p && shim_name(p, dir, path, false, true) &&
	    (taken = take_arguments(p, argv, &len)) != TAKEN_BAD) {
		shim_begin_line(p, "exec");
		shim_put_hex(p, "path", p->path, strlen(p->path));
		shim_put_hex(p, "given", p->given, strlen(p->given));
		shim_put_hex(p, "argv", p->argv, len);
		shim_put_number(p, "cut", taken == TAKEN_CUT);
		ret = shim_ask(p);
	} else {
		ret = shim_unasked(errno);
	}
	if (p)
		shim_page_put(p);
	errno = ret ? EPERM : err;
	return ret;
}

bool shim_refuses_search(const char *file, char *const argv[])
{
	const char *dirs = getenv("PATH"), *end;
	struct shim_page *p;
	int err = errno;
	bool found = false, ret;

	if (!file || !*file || strchr(file, '/'))
		return shim_refuses_exec(AT_FDCWD, file, argv);
	errno = 0;
	p = shim_page_get();
	if (!p) {
		ret = shim_unasked(errno);
		errno = ret ? EPERM : err;
		return ret;
	}
	for (dirs = dirs ? dirs : DEFAULT_PATH; !found; dirs = end + 1) {
		size_t n = strcspn(dirs, ":"), len = strlen(file);

		end = dirs + n;
		if (n + len + 2 <= SHIM_PATH_MAX) {
			memcpy(p->given, dirs, n);
			if (n)
				p->given[n++] = '/';
			memcpy(p->given + n, file, len + 1);
			found = sys_executable(p->given);
		}
		if (!*end)
			break;
	}
	ret = found && shim_refuses_exec(AT_FDCWD, p->given, argv);
	shim_page_put(p);
	errno = ret ? EPERM : err;
	return ret;
}

static bool refuses_shell(const char *command)
{
	char name[] = "sh", option[] = "-c";
	char *argv[] = { name, option, (char *)command, NULL };

	return command && shim_refuses_exec(AT_FDCWD, "/bin/sh", argv);
}

/* ---- functions ------------------------------------------------------------------------------- */

EXPORTED int INTERPOSED(execve)(const char *path, char *const argv[], char *const envp[])
{
	return shim_refuses_exec(AT_FDCWD, path, argv) ? -1 : EXEC_BY(path, argv, envp);
}
INTERPOSE(execve)

EXPORTED int INTERPOSED(execv)(const char *path, char *const argv[])
{
	return shim_refuses_exec(AT_FDCWD, path, argv) ? -1 : EXEC_BY(path, argv, environ);
}
INTERPOSE(execv)

EXPORTED int INTERPOSED(execvp)(const char *file, char *const argv[])
{
	return shim_refuses_search(file, argv) ? -1 : REAL(execvp)(file, argv);
}
INTERPOSE(execvp)

/* The arguments of a call that lists them, the program's name among them. */
static size_t count(const char *first, va_list ap)
{
	size_t n = first != NULL;

	while (n && va_arg(ap, char *))
		n++;
	return n;
}

#define TAKE_LIST(argv, first, ap)                                                             \
	do {                                                                                   \
		va_list counted;                                                               \
		size_t n, i;                                                                   \
                                                                                               \
		va_copy(counted, ap);                                                          \
		n = count(first, counted);                                                     \
		va_end(counted);                                                               \
		argv = alloca((n + 1) * sizeof(char *));                                       \
		argv[0] = (char *)(first);                                                     \
		for (i = 1; i <= n; i++)                                                       \
			argv[i] = va_arg(ap, char *);                                          \
	} while (0)

EXPORTED int INTERPOSED(execl)(const char *path, const char *arg, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, arg);
	TAKE_LIST(argv, arg, ap);
	va_end(ap);
	return shim_refuses_exec(AT_FDCWD, path, argv) ? -1 : EXEC_BY(path, argv, environ);
}
INTERPOSE(execl)

EXPORTED int INTERPOSED(execle)(const char *path, const char *arg, ...)
{
	char **argv, **envp;
	va_list ap;

	va_start(ap, arg);
	TAKE_LIST(argv, arg, ap);
	envp = va_arg(ap, char **);
	va_end(ap);
	return shim_refuses_exec(AT_FDCWD, path, argv) ? -1 : EXEC_BY(path, argv, envp);
}
INTERPOSE(execle)

EXPORTED int INTERPOSED(execlp)(const char *file, const char *arg, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, arg);
	TAKE_LIST(argv, arg, ap);
	va_end(ap);
	return shim_refuses_search(file, argv) ? -1 : REAL(execvp)(file, argv);
}
INTERPOSE(execlp)

EXPORTED int INTERPOSED(posix_spawn)(pid_t *pid, const char *path,
				     const posix_spawn_file_actions_t *actions,
				     const posix_spawnattr_t *attr, char *const argv[],
				     char *const envp[])
{
	int err = errno;

	if (!shim_refuses_exec(AT_FDCWD, path, argv))
		return REAL(posix_spawn)(pid, path, actions, attr, argv, envp);
	errno = err; /* it is what is returned */
	return EPERM;
}
INTERPOSE(posix_spawn)

EXPORTED int INTERPOSED(posix_spawnp)(pid_t *pid, const char *file,
				      const posix_spawn_file_actions_t *actions,
				      const posix_spawnattr_t *attr, char *const argv[],
				      char *const envp[])
{
	int err = errno;

	if (!shim_refuses_search(file, argv))
		return REAL(posix_spawnp)(pid, file, actions, attr, argv, envp);
	errno = err;
	return EPERM;
}
INTERPOSE(posix_spawnp)

EXPORTED int INTERPOSED(system)(const char *command)
{
	return refuses_shell(command) ? -1 : REAL(system)(command);
}
INTERPOSE(system)

EXPORTED FILE *INTERPOSED(popen)(const char *command, const char *type)
{
	return refuses_shell(command) ? NULL : REAL(popen)(command, type);
}
INTERPOSE(popen)

#ifndef __APPLE__

EXPORTED int execvpe(const char *file, char *const argv[], char *const envp[])
{
	return shim_refuses_search(file, argv) ? -1 : REAL(execvpe)(file, argv, envp);
}

EXPORTED int execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	if (shim_refuses_exec(dir, path, argv))
		return -1;
	return (int)syscall(SYS_execveat, dir, path, argv, envp, flags);
}

EXPORTED int fexecve(int fd, char *const argv[], char *const envp[])
{
	return shim_refuses_exec(fd, "", argv) ? -1 : REAL(fexecve)(fd, argv, envp);
}

#endif
