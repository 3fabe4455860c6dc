/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/egress_pin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/cleanup.h"

#define MEMBERS "-members" /* no dots: bpffs keeps those for itself */

void egress_pin_dir(const char *run_dir, char *buf, size_t size)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	if (!run_dir || !strcmp(run_dir, OKNEK_RUN_DIR)) {
		snprintf(buf, size, "%s", EGRESS_PIN_DIR);
		return;
	}
	for (const char *s = run_dir; *s; s++)
		h = (h ^ (uint8_t)*s) * 0x100000001b3ULL;
	snprintf(buf, size, EGRESS_PIN_DIR "-%016llx", (unsigned long long)h);
}

static int object_call(int command, const char *path, int fd)
{
	union bpf_attr attr;
	int r;

	memset(&attr, 0, sizeof(attr));
	attr.pathname = (uintptr_t)path;
	attr.bpf_fd = fd < 0 ? 0 : (uint32_t)fd;
	r = (int)syscall(SYS_bpf, command, &attr, sizeof(attr));
	return r < 0 ? -errno : r;
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* 0: none of ours. */
static int prefix_of(const char *name)
{
	char *end;
	long n = strtol(name, &end, 10);

	return *end == '-' && n > 0 && n < INT_MAX ? (int)n : 0;
}

/* Nobody's. A pid would not do: the next daemon of a container has that of the last one. */
static int free_prefix(const char *dir)
{
	_cleanup_(close_dir) DIR *d = opendir(dir);
	struct dirent *e;
	int last = 0;

	while (d && (e = readdir(d)))
		if (prefix_of(e->d_name) > last)
			last = prefix_of(e->d_name);
	return last + 1;
}

int egress_pin(const char *dir, int members_fd, const int *fds, unsigned n)
{
	struct statfs fs;
	char path[128];
	int prefix, r = 0;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -EOPNOTSUPP;
	if (statfs(dir, &fs) < 0 || fs.f_type != BPF_FS_MAGIC) {
		rmdir(dir);
		return -EOPNOTSUPP;
	}
	prefix = free_prefix(dir);
	for (unsigned i = 0; i <= n && r >= 0; i++) {
		if (i < n)
			snprintf(path, sizeof(path), "%s/%d-link%u", dir, prefix, i);
		else
			snprintf(path, sizeof(path), "%s/%d" MEMBERS, dir, prefix);
		r = object_call(BPF_OBJ_PIN, path, i < n ? fds[i] : members_fd);
	}
	if (r >= 0)
		return prefix;
	egress_unpin_own(dir, prefix);
	return r;
}

unsigned egress_pinned_members(const char *dir, int *fds, unsigned max)
{
	_cleanup_(close_dir) DIR *d = opendir(dir);
	struct dirent *e;
	char path[512];
	unsigned n = 0;

	while (d && n < max && (e = readdir(d))) {
		size_t len = strlen(e->d_name);
		int fd;

		if (len <= strlen(MEMBERS) || strcmp(e->d_name + len - strlen(MEMBERS), MEMBERS) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		fd = object_call(BPF_OBJ_GET, path, -1);
		if (fd >= 0)
			fds[n++] = fd;
	}
	return n;
}

/* Those of prefix, or all others. The directory goes with the last. */
static int unpin(const char *dir, int prefix, bool others)
{
	_cleanup_(close_dir) DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || (prefix_of(e->d_name) == prefix) == others)
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0)
			return -errno;
		n++;
	}
	rmdir(dir); /* when it is empty */
	return n;
}

int egress_unpin(const char *dir, int keep)
{
	return unpin(dir, keep ? keep : -1, true);
}

int egress_unpin_own(const char *dir, int prefix)
{
	return unpin(dir, prefix, false);
}
