/* SPDX-License-Identifier: Apache-2.0 */
/* As whom the helper looks. */
#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/confine.h"
#include "enforce/lookup_groups.h"
#include "enforce/lookup_helper.h"

#define NGROUPS_LIMIT 65536 /* NGROUPS_MAX of Linux */
#define PASSWD_MAX_BYTES (1u << 20)
#define NO_GROUP 65534 /* the overflow gid: for a uid that no database knows */

int cred_die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

static const unsigned paths_keep[] = {
	CAP_DAC_READ_SEARCH, /* open_by_handle_at(2), directories of others for root's walk */
	CAP_SETUID, CAP_SETGID, /* walking as a user */
};
static const unsigned processes_keep[] = {
	CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, /* exe, environ and descriptors of others */
};
/* Of the zygote: to make its helpers somebody else, and to kill them then. */
static const unsigned zygote_keeps[] = { CAP_SETUID, CAP_SETGID, CAP_KILL };

static uint64_t bits(const unsigned *caps, size_t n)
{
	uint64_t set = 0;

	for (size_t i = 0; i < n; i++)
		set |= 1ULL << caps[i];
	return set;
}

static uint64_t caps_of(enum lookup_kind kind)
{
	return kind == LOOKUP_PATHS ? bits(paths_keep, ARRAY_SIZE(paths_keep)) :
				      bits(processes_keep, ARRAY_SIZE(processes_keep));
}

int cred_settle(enum lookup_kind kind)
{
	return confine_become(kind == LOOKUP_PATHS ? CONFINE_USER_MARKS : CONFINE_USER_PROCESSES,
			      caps_of(kind));
}

int cred_reduce(enum lookup_kind kind)
{
	uint64_t keep = caps_of(kind) | bits(zygote_keeps, ARRAY_SIZE(zygote_keeps));
	bool have[64], bounding;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (capng_get_caps_process() < 0)
		return -EPERM;
	for (unsigned cap = 0; cap < ARRAY_SIZE(have); cap++)
		have[cap] = keep & 1ULL << cap && capng_have_capability(CAPNG_PERMITTED, cap);
	bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	capng_clear(CAPNG_SELECT_BOTH);
	for (unsigned cap = 0; cap < ARRAY_SIZE(have); cap++)
		if (have[cap] && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, cap))
			return -EPERM;
	return capng_apply(bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

/* Whether it can look as somebody else: root can, and the helper that was root. */
static bool can_change(void)
{
	return geteuid() == 0 || (capng_get_caps_process() == 0 &&
				  capng_have_capability(CAPNG_EFFECTIVE, CAP_SETUID));
}

/* The override, on or off. Changing the fsuid does it too, but only from 0 to another and back. */
static int set_override(bool on)
{
	if (capng_get_caps_process() < 0)
		return -EPERM;
	if (!capng_have_capability(CAPNG_PERMITTED, CAP_DAC_READ_SEARCH) ||
	    capng_have_capability(CAPNG_EFFECTIVE, CAP_DAC_READ_SEARCH) == on)
		return 0;
	if (capng_update(on ? CAPNG_ADD : CAPNG_DROP, CAPNG_EFFECTIVE, CAP_DAC_READ_SEARCH))
		return -EPERM;
	return capng_apply(CAPNG_SELECT_CAPS) ? -EPERM : 0;
}

int cred_groups(uid_t uid, gid_t **ret, size_t *n)
{
	_cleanup_free_ char *buf = NULL;
	_cleanup_free_ gid_t *list = NULL;
	struct passwd pw, *found = NULL;
	int count = 64, r = ERANGE;

	for (size_t size = 4096; r == ERANGE && size <= PASSWD_MAX_BYTES; size *= 4) {
		char *more = realloc(buf, size);

		if (!more)
			return -ENOMEM;
		buf = more;
		r = getpwuid_r(uid, &pw, buf, size, &found);
	}
	if (!found) {
		*ret = NULL;
		*n = 0;
		return 0;
	}
	for (;;) {
		int room = count;
		gid_t *more = reallocarray(list, (size_t)room, sizeof(gid_t));

		if (!more)
			return -ENOMEM;
		list = more;
		/* The group that is given comes first. */
		if (getgrouplist(pw.pw_name, pw.pw_gid, list, &count) >= 0)
			break;
		if (count <= room || count > NGROUPS_LIMIT)
			return -E2BIG;
	}
	*ret = TAKE_PTR(list);
	*n = (size_t)count < GROUPS_MAX ? (size_t)count : GROUPS_MAX;
	return 0;
}

#ifdef SYS_setgroups32
#define SETGROUPS SYS_setgroups32
#else
#define SETGROUPS SYS_setgroups
#endif

/* This thread's, as user and capabilities are. The C library's would ask the same of every thread, and
 * abort where another may not: ThreadSanitizer has one of its own in here. */
static int set_groups(size_t n, const gid_t *groups)
{
	return syscall(SETGROUPS, n, groups) < 0 ? -errno : 0;
}

int cred_become(uid_t uid, const gid_t *groups, size_t n, pid_t parent)
{
	gid_t primary = n ? groups[0] : NO_GROUP;
	int err;

	if (uid == 0)
		return cred_return(parent);
	if (!can_change()) /* unprivileged: oneself is all that one can be */
		return uid == geteuid() ? 0 : -EPERM;
	err = set_groups(n, groups);
	if (err)
		return err;
	setfsgid(primary);
	setfsuid(uid);
	/* neither of the two says whether it worked */
	if ((uid_t)setfsuid((uid_t)-1) != uid || (gid_t)setfsgid((gid_t)-1) != primary ||
	    set_override(false) < 0) {
		cred_return(parent);
		return -EPERM;
	}
	return cred_die_with(parent);
}

int cred_return(pid_t parent)
{
	int err;

	if (!can_change())
		return 0;
	setfsuid(0);
	setfsgid(0);
	if ((uid_t)setfsuid((uid_t)-1) != 0)
		return -EPERM;
	err = set_groups(0, NULL);
	if (err && err != -EPERM)
		return err;
	set_override(true);
	return cred_die_with(parent);
}
