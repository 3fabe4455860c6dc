/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc tells of another process: its memory may be backed by a file that nobody delivers. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/lookup_helper.h"

static int open_proc(pid_t pid, int *ret)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	*ret = fd;
	return 0;
}

/* "" where there is none, as with kernel threads. */
static size_t read_link(int proc, const char *name, char *buf, size_t size)
{
	ssize_t n = readlinkat(proc, name, buf, size - 1);

	return n < 0 ? 0 : (size_t)n;
}

static size_t read_text(int proc, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
	size_t len = 0;

	while (fd >= 0 && len < size) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	return len;
}

int proc_process(pid_t pid, struct lookup_process *buf, struct wire_text texts[WIRE_TEXTS])
{
	_cleanup_close_ int proc = -1;
	int r;

	r = open_proc(pid, &proc);
	if (r < 0)
		return r;
	/* one descriptor for all: they are of one process even when the pid is used again */
	texts[0] = (struct wire_text){ buf->exe, read_link(proc, "exe", buf->exe, sizeof(buf->exe)) };
	texts[1] = (struct wire_text){ buf->cwd, read_link(proc, "cwd", buf->cwd, sizeof(buf->cwd)) };
	texts[2] = (struct wire_text){ buf->cmdline, read_text(proc, "cmdline", buf->cmdline,
							       sizeof(buf->cmdline)) };
	texts[3] = (struct wire_text){ buf->environ, read_text(proc, "environ", buf->environ,
							       sizeof(buf->environ)) };
	return 0;
}

static void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static void cleanup_mounts(struct mounts **m)
{
	mounts_close(*m);
}

/* Which mount it is on the kernel tells; only then is the file itself asked what it is. */
static int one_descriptor(int proc, int dir, const char *name, struct mounts *mounts,
			  int (*fn)(void *arg, int fd, const struct stat *st, const char *path),
			  void *arg)
{
	char fdinfo[32 + NAME_MAX], path[PATH_MAX];
	const struct mount *m;
	unsigned flags;
	struct stat st;
	ssize_t n;
	int mnt;

	snprintf(fdinfo, sizeof(fdinfo), "fdinfo/%s", name);
	mnt = mount_id_read(proc, fdinfo, &flags);
	if (mnt < 0 || (flags & O_PATH))
		return 0;
	m = mounts_find(mounts, mnt);
	if (!m || m->class != MOUNT_MARK)
		return 0;
	if (fstatat(dir, name, &st, 0) < 0 || !S_ISREG(st.st_mode))
		return 0;
	n = readlinkat(dir, name, path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = 0;
	return fn(arg, atoi(name), &st, path);
}

int proc_descriptors(pid_t pid,
		     int (*fn)(void *arg, int fd, const struct stat *st, const char *path),
		     void *arg)
{
	_cleanup_(cleanup_mounts) struct mounts *mounts = NULL;
	_cleanup_(cleanup_dir) DIR *d = NULL;
	_cleanup_close_ int proc = -1;
	int fd, r;

	r = open_proc(pid, &proc);
	if (r < 0)
		return r;
	/* mount ids are those of its mount namespace, which may be its own */
	r = mounts_open(proc, "mountinfo", &mounts);
	if (r < 0)
		return r == -EINVAL || r == -ENOENT ? -ESRCH : r; /* a zombie has none */
	fd = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	d = fdopendir(fd);
	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		r = one_descriptor(proc, fd, e->d_name, mounts, fn, arg);
		if (r < 0)
			return r;
	}
	return 0;
}
