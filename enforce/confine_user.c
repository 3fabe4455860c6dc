/* SPDX-License-Identifier: Apache-2.0 */
/* As whom a helper runs, and with which capabilities. */
#include "enforce/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/io.h"

#define UID_FIRST 65520 /* of a range that systemd and distributions give to nobody */

static const char *const user_names[CONFINE_USERS] = {
	[CONFINE_USER_MARKS] = "oknek-marks",
	[CONFINE_USER_PROCESSES] = "oknek-processes",
	[CONFINE_USER_LOG] = "oknek-log",
	[CONFINE_USER_PACKS] = "oknek-packs",
	[CONFINE_USER_NAMES] = "oknek-names",
	[CONFINE_USER_PEEK] = "oknek-peek",
};

static void cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* From the file alone: whom the name service would ask, it may have to wait for. */
uid_t confine_uid(enum confine_user user)
{
	_cleanup_(cleanup_file) FILE *f = fopen("/etc/passwd", "re");
	struct passwd pw, *found;
	char buf[4096];

	while (f && fgetpwent_r(f, &pw, buf, sizeof(buf), &found) == 0)
		if (!strcmp(pw.pw_name, user_names[user]) && pw.pw_uid != 0)
			return pw.pw_uid;
	return UID_FIRST + (uid_t)user;
}

static int set_caps(uint64_t caps)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)caps, .permitted = (uint32_t)caps },
		{ .effective = (uint32_t)(caps >> 32), .permitted = (uint32_t)(caps >> 32) },
	};

	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static int permitted_caps(uint64_t *ret)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	*ret = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

int confine_caps(uint64_t keep)
{
	uint64_t have = 0;
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = permitted_caps(&have);
	return r < 0 ? r : set_caps(have & keep);
}

int confine_become(enum confine_user user, uint64_t keep)
{
	uid_t uid = confine_uid(user);
	uint64_t have = 0;
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = permitted_caps(&have);
	if (r < 0)
		return r;
	if (geteuid() == 0 && have & 1ULL << CAP_SETUID && have & 1ULL << CAP_SETGID) {
		if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
			return -errno;
		/* EPERM: a user namespace without groups (setgroups: deny). EINVAL: one that does not have
		 * this user. As root, then, and without what it does not need. */
		if (setgroups(0, NULL) < 0 && errno != EPERM)
			return -errno;
		if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0) {
			if (errno != EINVAL)
				return -errno;
		}
		prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	}
	r = set_caps(have & keep);
	/* Changed by what was done: as fs.suid_dumpable says, which may be a dump. */
	if (r == 0 && prctl(PR_SET_DUMPABLE, 0) < 0)
		r = -errno;
	return r;
}

/* Whoever must be killed for want of memory: rather a helper, which is replaced. */
void confine_expendable(void)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && io_write_all(fd, "500", 3) < 0)
		return;
}
