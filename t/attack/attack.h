/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the attack programs share. Each tries one way to get at the bytes of a secret:
 *
 *	NAME SECRET_PATH [SCRATCH_DIR]
 *
 * and tells by its exit status how that ended. It undoes what it did to the file's name, so that
 * the next attack finds the scene as it was. SCRATCH_DIR is on the secret's own filesystem.
 */
#ifndef OKNEK_T_ATTACK_H
#define OKNEK_T_ATTACK_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum attack_result {
	ATTACK_WORKED = 0, /* the secret's content is on stdout */
	ATTACK_DENIED = 1, /* EPERM at the step that would have given the content */
	ATTACK_CANNOT = 2, /* could not be tried here */
	ATTACK_OTHER = 3,  /* failed, but with something else than EPERM */
};

#define ATTACK_BUF 65536

__attribute__((format(printf, 1, 2))) static inline int attack_cannot(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", saved ? strerror(saved) : "not here");
	return ATTACK_CANNOT;
}

/* For the step that asks for the secret: what errno says about it. */
static inline int attack_failed(const char *step)
{
	int saved = errno;

	if (saved == EPERM)
		return ATTACK_DENIED;
	fprintf(stderr, "%s: %s\n", step, strerror(saved));
	return ATTACK_OTHER;
}

static inline int attack_print(const char *buf, size_t len_bytes)
{
	while (len_bytes > 0) {
		ssize_t n = write(STDOUT_FILENO, buf, len_bytes);

		if (n <= 0)
			return ATTACK_OTHER;
		buf += n;
		len_bytes -= (size_t)n;
	}
	return ATTACK_WORKED;
}

/* fd is what the opening step returned, errno from it. Prints what can be read; closes fd. */
static inline int attack_read(int fd)
{
	char buf[4096];
	ssize_t n;
	size_t total = 0;

	if (fd < 0)
		return attack_failed("open");
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		if (attack_print(buf, (size_t)n) != ATTACK_WORKED)
			return ATTACK_OTHER;
		total += (size_t)n;
	}
	if (n < 0) {
		int ret = attack_failed("read");

		close(fd);
		return ret;
	}
	close(fd);
	if (total == 0) {
		fprintf(stderr, "opened, but nothing to read\n");
		return ATTACK_OTHER;
	}
	return ATTACK_WORKED;
}

static inline int attack_open(const char *path)
{
	return attack_read(open(path, O_RDONLY | O_CLOEXEC));
}

static inline const char *attack_secret(int argc, char **argv)
{
	if (argc < 2 || argv[1][0] != '/') {
		fprintf(stderr, "usage: %s SECRET_PATH [SCRATCH_DIR]\n", argv[0]);
		exit(64);
	}
	return argv[1];
}

static inline const char *attack_scratch(int argc, char **argv)
{
	attack_secret(argc, argv);
	if (argc < 3 || argv[2][0] != '/') {
		fprintf(stderr, "usage: %s SECRET_PATH SCRATCH_DIR\n", argv[0]);
		exit(64);
	}
	return argv[2];
}

/* DIR/NAME in a static ring of buffers, enough for one program. */
static inline char *attack_path(const char *dir, const char *name)
{
	static char ring[8][PATH_MAX];
	static unsigned next;
	char *p = ring[next++ % 8];

	if ((size_t)snprintf(p, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX) {
		fprintf(stderr, "path too long\n");
		exit(ATTACK_CANNOT);
	}
	return p;
}

static inline char *attack_dirname(const char *path)
{
	static char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	return dir;
}

static inline const char *attack_basename(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static inline bool attack_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

/* Own user namespace plus FLAGS, our ids mapped to themselves. 0, or ATTACK_CANNOT. */
static inline int attack_userns(int flags)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];

	if (unshare(CLONE_NEWUSER | flags) < 0)
		return attack_cannot("unshare user namespace");
	if (!attack_write_file("/proc/self/setgroups", "deny") && errno != ENOENT)
		return attack_cannot("setgroups");
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	if (!attack_write_file("/proc/self/uid_map", map))
		return attack_cannot("uid_map");
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	if (!attack_write_file("/proc/self/gid_map", map))
		return attack_cannot("gid_map");
	if ((flags & CLONE_NEWNS) && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return attack_cannot("private mounts");
	return 0;
}

/* The result that somebody far down the tree wrote; ATTACK_OTHER when it died without one. */
static inline int attack_await(int fd)
{
	unsigned char r;
	ssize_t n;

	do
		n = read(fd, &r, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? r : ATTACK_OTHER;
}

static inline void attack_tell(int fd, int result)
{
	unsigned char r = (unsigned char)result;

	if (write(fd, &r, 1) != 1)
		_exit(ATTACK_OTHER);
}

/*
 * Runs ARGV with stdout and stderr read back, prints what it said, and judges by it: these
 * programs have no exit status for EPERM.
 */
static inline int attack_program(char *const argv[])
{
	static char out[ATTACK_BUF];
	size_t len = 0;
	ssize_t n;
	int p[2], status;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	setenv("LC_ALL", "C", 1);
	pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (pid == 0) {
		dup2(p[1], STDOUT_FILENO);
		dup2(p[1], STDERR_FILENO);
		execvp(argv[0], argv);
		if (errno == EPERM) {
			static const char msg[] = "Operation not permitted\n";

			if (write(STDOUT_FILENO, msg, sizeof(msg) - 1) < 0)
				_exit(ATTACK_OTHER);
		}
		_exit(127);
	}
	close(p[1]);
	while (len < sizeof(out) - 1 && (n = read(p[0], out + len, sizeof(out) - 1 - len)) > 0)
		len += (size_t)n;
	close(p[0]);
	out[len] = '\0';
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && len == 0)
		return attack_cannot("%s", argv[0]);
	if (strstr(out, "Operation not permitted"))
		return ATTACK_DENIED;
	return len > 0 ? attack_print(out, len) : ATTACK_OTHER;
}

#endif
