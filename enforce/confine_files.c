/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock, for a helper that looks at paths and opens none. */
#include "enforce/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"

/* Rights by version of the interface; headers may be older than the kernel. linux/landlock.h */
#define RIGHTS_V1 ((1ULL << 13) - 1) /* EXECUTE … MAKE_SYM */
#define RIGHT_REFER (1ULL << 13)     /* 2 */
#define RIGHT_TRUNCATE (1ULL << 14)  /* 3 */
#define RIGHT_IOCTL_DEV (1ULL << 15) /* 5 */
#define NET_TCP 3ULL                 /* 4: BIND_TCP, CONNECT_TCP */
#define SCOPE_SIGNAL 2ULL            /* 6 */

/* The attributes as the kernel knows them since version 6; an older one takes a shorter struct. */
struct ruleset_attr {
	uint64_t fs, net, scoped;
};

/*
 * Where names of users and processes are told: the databases and their configuration, the modules
 * of the name service and what they ask, mounts. By directory, since a file there is replaced by
 * another of its name.
 */
static const char *const readable[] = { "/etc", "/usr",	 "/lib", "/lib64", "/proc", "/run",
					"/nix", "/var/lib/sss", "/var/lib/extrausers" };

static int allow_reading(int ruleset, const char *path)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC | O_DIRECTORY);
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
		.parent_fd = fd,
	};

	if (fd < 0)
		return 0; /* nothing to read there */
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ?
		       -errno : 0;
}

int confine_files(void)
{
	struct ruleset_attr attr = { .fs = RIGHTS_V1 & ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR };
	_cleanup_close_ int ruleset = -1;
	size_t size = sizeof(attr.fs);
	long version;
	int r = 0;

	if (!confine_available())
		return -EOPNOTSUPP;
	version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 0)
		return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	if (version >= 2)
		attr.fs |= RIGHT_REFER;
	if (version >= 3)
		attr.fs |= RIGHT_TRUNCATE;
	if (version >= 4) {
		attr.net = NET_TCP;
		size = sizeof(attr.fs) + sizeof(attr.net);
	}
	if (version >= 5)
		attr.fs |= RIGHT_IOCTL_DEV;
	if (version >= 6) {
		attr.scoped = SCOPE_SIGNAL;
		size = sizeof(attr);
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0)
		return -errno;
	for (size_t i = 0; !r && i < ARRAY_SIZE(readable); i++)
		r = allow_reading(ruleset, readable[i]);
	if (!r && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = -errno;
	return r;
}
