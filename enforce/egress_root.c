/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/egress_root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/cleanup.h"

static void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* "\040" of mountinfo. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		unsigned c;

		if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1 && strlen(s) >= 4) {
			*to++ = (char)c;
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

static bool is_cgroup2(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* A mount of a part of it is not it; what is listed may lie below another mount. */
int egress_root_mounted(const char *mountinfo, const char *prefix, char *where, size_t size)
{
	_cleanup_(close_file) FILE *f = fopen(mountinfo, "re");
	char line[8192], root[4096], place[4096], path[4200];

	while (f && fgets(line, sizeof(line), f)) {
		const char *type = strstr(line, " - ");
		_cleanup_close_ int fd = -1;

		if (!type || strncmp(type, " - cgroup2 ", 11) != 0 ||
		    sscanf(line, "%*s %*s %*s %4095s %4095s", root, place) != 2 ||
		    strcmp(root, "/") != 0)
			continue;
		unescape(place);
		snprintf(path, sizeof(path), "%s%s", prefix, place);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || !is_cgroup2(fd))
			continue;
		snprintf(where, size, "%s", place);
		return TAKE_FD(fd);
	}
	return -ENOENT;
}

/*
 * Only where nobody has it mounted: a mount takes back the options of the first one
 * (cgroups(7), nsdelegate), which are the whole hierarchy's.
 */
int egress_root_private(char *where, size_t size)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC);
	_cleanup_close_ int mount = -1;
	int fd;

	if (context < 0 ||
	    syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -ENOENT;
	mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
	if (mount < 0)
		return -ENOENT;
	fd = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -ENOENT;
	snprintf(where, size, "cgroup2, mounted nowhere");
	return fd;
}

int egress_root_open(char *where, size_t size)
{
	int fd = egress_root_mounted("/proc/self/mountinfo", "", where, size);

	if (fd < 0)
		fd = egress_root_mounted("/proc/1/mountinfo", "/proc/1/root", where, size);
	return fd < 0 ? egress_root_private(where, size) : fd;
}
