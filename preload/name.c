/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Under which name the daemon is asked: that of the file which the call would get, by a descriptor
 * that stands for it, and the one by which it was asked for. What happens between this question and
 * the call nobody holds.
 */
#include <string.h>

#include "preload/preload.h"
#include "preload/system.h"

/* Where a descriptor, or the program, is; the length, or 0. */
static size_t place_of(int dir, char *buf, size_t size)
{
	ssize_t n = dir == AT_FDCWD ? sys_getcwd(buf, size) : sys_name_of(dir, buf, size - 1);

	if (n <= 0 || (size_t)n >= size)
		return 0;
	if (dir == AT_FDCWD)
		n--; /* its NUL */
	buf[n] = '\0';
	return buf[0] == '/' ? (size_t)n : 0;
}

/* Without ".", ".." and doubled slashes, by its words alone. */
static void append_words(char *buf, size_t size, size_t at, const char *path)
{
	while (at && buf[at - 1] == '/')
		at--;
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.') {
			while (at && buf[--at] != '/')
				;
		} else if (n && !(n == 1 && *path == '.') && at + n + 2 <= size) {
			buf[at++] = '/';
			memcpy(buf + at, path, n);
			at += n;
		}
		path += n + (path[n] == '/');
	}
	if (!at)
		buf[at++] = '/';
	buf[at] = '\0';
}

static bool take_name(int fd, char *buf, size_t size)
{
	ssize_t n = sys_name_of(fd, buf, size - 1);

	if (n <= 0)
		return false;
	buf[n] = '\0';
	return true;
}

/* A file that is still to be made: its directory's name, and its own. */
static bool name_of_new(struct shim_page *p, int dir, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t n = slash ? (size_t)(slash - path) : 0, at;
	char *parent = p->argv; /* nothing else is in it */
	int fd;

	if (!*name || n >= SHIM_PATH_MAX)
		return false;
	memcpy(parent, path, n);
	if (slash && !n)
		parent[n++] = '/';
	if (!n)
		parent[n++] = '.';
	parent[n] = '\0';
	fd = sys_name_open(dir, parent, O_DIRECTORY);
	if (fd < 0)
		return false;
	p->path[0] = '\0';
	take_name(fd, p->path, sizeof(p->path));
	sys_close(fd);
	at = strlen(p->path);
	if (!at)
		return true; /* as it was given, then */
	append_words(p->path, sizeof(p->path), at, name);
	return true;
}

bool shim_name(struct shim_page *p, int dir, const char *path, bool create, bool follow)
{
	size_t at;
	int fd;

	/* First: what cannot be read the kernel says, and nobody else has to find out. */
	fd = sys_name_open(dir, path, follow ? 0 : O_NOFOLLOW);
	if (fd < 0 && errno != ENOENT)
		return false;
	p->path[0] = p->given[0] = '\0';
	if (fd < 0 && !path[0])
		return dir != AT_FDCWD && take_name(dir, p->path, sizeof(p->path));
	if (fd < 0 && !create)
		return false;
	at = path[0] == '/' ? 0 : place_of(dir, p->given, SHIM_PATH_MAX);
	if (path[0] == '/' || at)
		append_words(p->given, sizeof(p->given), at, path);
	if (fd < 0)
		return name_of_new(p, dir, path);
	take_name(fd, p->path, sizeof(p->path));
	sys_close(fd);
	return p->path[0] || p->given[0];
}
