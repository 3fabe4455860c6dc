/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/egress_pin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
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

int egress_pin(const char *dir, pid_t prefix, int members_fd, const int *fds, unsigned n)
{
	struct statfs fs;
	char path[128];
	int r = 0;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -EOPNOTSUPP;
	if (statfs(dir, &fs) < 0 || fs.f_type != BPF_FS_MAGIC) {
		rmdir(dir);
		return -EOPNOTSUPP;
	}
	for (unsigned i = 0; i <= n && r >= 0; i++) {
		if (i < n)
			snprintf(path, sizeof(path), "%s/%d-link%u", dir, prefix, i);
		else
			snprintf(path, sizeof(path), "%s/%d" MEMBERS, dir, prefix);
		unlink(path); /* of one that had our pid */
		r = object_call(BPF_OBJ_PIN, path, i < n ? fds[i] : members_fd);
	}
	if (r >= 0)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%d-link%u", dir, prefix, i);
		unlink(path);
	}
	return r;
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

int egress_pinned_members(const char *dir)
{
	_cleanup_(close_dir) DIR *d = opendir(dir);
	struct dirent *e;
	char path[512];

	while (d && (e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len <= strlen(MEMBERS) || strcmp(e->d_name + len - strlen(MEMBERS), MEMBERS) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		return object_call(BPF_OBJ_GET, path, -1);
	}
	return -ENOENT;
}

int egress_unpin(const char *dir, pid_t keep)
{
	_cleanup_(close_dir) DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || (keep && strtol(e->d_name, NULL, 10) == keep))
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0)
			return -errno;
		n++;
	}
	if (!keep)
		rmdir(dir);
	return n;
}
