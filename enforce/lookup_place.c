/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Within a mount every step is openat2(2) with RESOLVE_NO_XDEV, so that a filesystem is not even
 * entered before mountinfo has told what it is: the root of an NFS or autofs mount may be asked
 * about by the lookup itself. Links are read and followed here, not by the kernel, for the same
 * reason.
 */
#include "enforce/lookup_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"

#define REST_MAX_BYTES (3 * PATH_MAX) /* of a way that links make longer */

void place_close(struct place *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static int open_path(int dir_fd, const char *name, unsigned resolve)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = resolve | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int place_path(int fd, char *buf, size_t size_bytes)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, buf, size_bytes);
	if (n < 0)
		return -errno;
	if ((size_t)n >= size_bytes)
		return -ENAMETOOLONG;
	buf[n] = 0;
	return 0;
}

/* Is `path` equal to or below `root`? */
static bool is_below(const char *path, const char *root)
{
	size_t n = strlen(root);

	while (n && root[n - 1] == '/')
		n--;
	return !strncmp(path, root, n) && (!path[n] || path[n] == '/');
}

static enum place_scope scope_of(const char *roots, const char *path)
{
	enum place_scope scope = SCOPE_OUT;

	for (const char *root = roots; *root; root += strlen(root) + 1) {
		if (is_below(path, root))
			return SCOPE_IN;
		if (is_below(root, path))
			scope = SCOPE_ABOVE;
	}
	return scope;
}

bool place_leads_inside(const char *roots, const char *path)
{
	return scope_of(roots, path) != SCOPE_OUT;
}

/* By the physical path; an object that was opened by handle may have none, but has a mount. */
static void find_scope(struct walk *w, struct place *p)
{
	char path[PATH_MAX];
	const struct mount *m;

	p->scope = SCOPE_IN;
	if (!w->roots)
		return;
	p->scope = SCOPE_OUT;
	if (place_path(p->fd, path, sizeof(path)) >= 0)
		p->scope = scope_of(w->roots, path);
	if (p->scope == SCOPE_IN)
		return;
	m = mounts_find(w->mounts, p->mnt);
	if (m && scope_of(w->roots, m->point) == SCOPE_IN)
		p->scope = SCOPE_IN;
}

static int refuse(struct place_why *why, const struct mount *m)
{
	if (m)
		snprintf(why->text, sizeof(why->text), "on %s, which cannot be marked safely",
			 m->fstype);
	else
		snprintf(why->text, sizeof(why->text), "on a mount that cannot be told");
	return -EXDEV;
}

int place_from_fd(struct walk *w, int fd, struct place *ret, struct place_why *why)
{
	struct place p = { .fd = fd };
	const struct mount *m;

	p.mnt = mount_id_of(fd);
	if (p.mnt < 0)
		return p.mnt;
	m = mounts_find(w->mounts, p.mnt);
	if (!m || m->class == MOUNT_NEVER)
		return refuse(why, m);
	p.class = m->class;
	find_scope(w, &p);
	*ret = p;
	return 0;
}

static int open_root(struct walk *w, struct place *ret, struct place_why *why)
{
	_cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = place_from_fd(w, fd, ret, why);
	if (r < 0)
		return r;
	TAKE_FD(fd);
	return 0;
}

/* `name` is where another mount begins: goes there if that may be walked. */
static int cross_down(struct walk *w, const struct place *dir, const char *name,
		      struct place *ret, struct place_why *why)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX + NAME_MAX + 2];
	const struct mount *m;
	size_t n;
	int r;

	r = place_path(dir->fd, path, PATH_MAX);
	if (r < 0)
		return refuse(why, NULL);
	n = strlen(path);
	snprintf(path + n, sizeof(path) - n, "%s%s", path[n - 1] == '/' ? "" : "/", name);
	m = mounts_on(w->mounts, dir->mnt, path);
	if (!m || m->class == MOUNT_NEVER)
		return refuse(why, m);
	fd = open_path(dir->fd, name, 0);
	if (fd < 0)
		return fd;
	/* whatever was mounted there since: this looks again */
	r = place_from_fd(w, fd, ret, why);
	if (r < 0)
		return r;
	TAKE_FD(fd);
	return 0;
}

static int cross_up(struct walk *w, const struct place *dir, struct place *ret,
		    struct place_why *why)
{
	char path[PATH_MAX];
	char *slash;
	int r;

	/* the root of a mount is named by where it is mounted */
	r = place_path(dir->fd, path, sizeof(path));
	if (r < 0)
		return refuse(why, NULL);
	slash = strrchr(path, '/');
	if (!slash)
		return refuse(why, NULL);
	slash[slash == path] = 0;
	return place_open(w, path, ret, why);
}

/* One name, links not followed. */
static int step(struct walk *w, const struct place *dir, const char *name, struct place *ret,
		struct place_why *why)
{
	int fd = open_path(dir->fd, name, RESOLVE_NO_XDEV);
	struct place p = *dir;

	if (fd == -EXDEV)
		return strcmp(name, "..") ? cross_down(w, dir, name, ret, why)
					  : cross_up(w, dir, ret, why);
	if (fd < 0)
		return fd;
	p.fd = fd;
	if (p.scope != SCOPE_IN || !strcmp(name, ".."))
		find_scope(w, &p);
	*ret = p;
	return 0;
}

/* Puts the target of a link before what is left of the way. */
static int splice_link(int fd, char *rest)
{
	char target[PATH_MAX];
	size_t left = strlen(rest);
	ssize_t n = readlinkat(fd, "", target, sizeof(target));

	if (n < 0)
		return -errno;
	if (!n || (size_t)n >= sizeof(target) || (size_t)n + 1 + left >= REST_MAX_BYTES)
		return -ENAMETOOLONG;
	memmove(rest + n + 1, rest, left + 1);
	memcpy(rest, target, (size_t)n);
	rest[n] = '/';
	return 0;
}

/* Follows `rest` (which is used up) from *at, which is taken over. */
static int follow(struct walk *w, struct place *at, char *rest, place_via via, void *arg,
		  struct place *ret, struct place_why *why)
{
	_cleanup_(place_close) struct place cur = *at, next = { .fd = -1 };
	char name[NAME_MAX + 1];
	unsigned links = 0;
	int r;

	at->fd = -1;
	for (;;) {
		struct stat st;
		size_t n, skip = strspn(rest, "/");

		memmove(rest, rest + skip, strlen(rest + skip) + 1);
		if (!*rest)
			break;
		n = strcspn(rest, "/");
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, rest, n);
		name[n] = 0;
		memmove(rest, rest + n, strlen(rest + n) + 1);
		if (!strcmp(name, "."))
			continue;
		if (!strcmp(name, "..") && links)
			cur.strayed = true;
		else if (links && via) {
			r = via(arg, &cur, name, rest[strspn(rest, "/")] == 0);
			if (r < 0)
				return r;
		}

		r = step(w, &cur, name, &next, why);
		if (r < 0)
			return r;
		next.strayed = cur.strayed;
		if (fstat(next.fd, &st) < 0)
			return -errno;
		if (!S_ISLNK(st.st_mode)) {
			place_close(&cur);
			cur = next;
			next.fd = -1;
			continue;
		}
		if (++links > LOOKUP_LINKS_MAX)
			return -ELOOP;
		r = splice_link(next.fd, rest);
		place_close(&next);
		if (r < 0)
			return r;
		if (*rest == '/') {
			place_close(&cur);
			r = open_root(w, &cur, why);
			if (r < 0)
				return r;
			cur.strayed = true;
		}
	}
	*ret = cur;
	cur.fd = -1;
	return 0;
}

int place_open(struct walk *w, const char *path, struct place *ret, struct place_why *why)
{
	_cleanup_(place_close) struct place root = { .fd = -1 };
	char rest[REST_MAX_BYTES];
	int r;

	if (strlen(path) >= sizeof(rest))
		return -ENAMETOOLONG;
	strcpy(rest, path);
	r = open_root(w, &root, why);
	if (r < 0)
		return r;
	r = follow(w, &root, rest, NULL, NULL, ret, why);
	if (r < 0)
		return r;
	ret->strayed = false;
	return 0;
}

int place_enter(struct walk *w, const struct place *dir, const char *name, place_via via,
		void *arg, struct place *ret, struct place_why *why)
{
	_cleanup_(place_close) struct place at = *dir;
	char rest[REST_MAX_BYTES];

	if (strlen(name) > NAME_MAX)
		return -ENAMETOOLONG;
	strcpy(rest, name);
	at.fd = fcntl(dir->fd, F_DUPFD_CLOEXEC, 0);
	if (at.fd < 0)
		return -errno;
	return follow(w, &at, rest, via, arg, ret, why);
}
