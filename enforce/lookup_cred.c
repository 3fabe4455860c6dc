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
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/lookup_helper.h"

#define GROUPS_MAX 65536 /* NGROUPS_MAX of Linux */
#define PASSWD_MAX_BYTES (1u << 20)
#define NO_GROUP 65534 /* the overflow gid: for a uid that no database knows */

int cred_die_with(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

int cred_reduce(void)
{
	static const unsigned keep[] = {
		CAP_DAC_READ_SEARCH, /* open_by_handle_at(2), directories of others for root's walk */
		CAP_SETUID, CAP_SETGID, /* walking as a user */
		CAP_SYS_PTRACE, /* exe, environ and descriptors of others */
	};
	bool have[ARRAY_SIZE(keep)];
	bool bounding;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (capng_get_caps_process() < 0)
		return -EPERM;
	for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, keep[i]);
	bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < ARRAY_SIZE(keep); i++)
		if (have[i] && capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, keep[i]))
			return -EPERM;
	return capng_apply(bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) ? -EPERM : 0;
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

static int groups_of(uid_t uid, gid_t *primary, gid_t **groups, int *n)
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
		*primary = NO_GROUP;
		*groups = NULL;
		*n = 0;
		return 0;
	}
	for (;;) {
		int room = count;
		gid_t *more = reallocarray(list, (size_t)room, sizeof(gid_t));

		if (!more)
			return -ENOMEM;
		list = more;
		if (getgrouplist(pw.pw_name, pw.pw_gid, list, &count) >= 0)
			break;
		if (count <= room || count > GROUPS_MAX)
			return -E2BIG;
	}
	*primary = pw.pw_gid;
	*groups = TAKE_PTR(list);
	*n = count;
	return 0;
}

int cred_become(uid_t uid, pid_t parent)
{
	_cleanup_free_ gid_t *groups = NULL;
	gid_t primary;
	int n, r;

	if (uid == geteuid() && uid != 0)
		return 0; /* unprivileged: oneself is all that one can be */
	if (uid == 0)
		return cred_return(parent);
	if (geteuid() != 0)
		return -EPERM;
	r = groups_of(uid, &primary, &groups, &n);
	if (r < 0)
		return r;
	if (setgroups((size_t)n, groups) < 0)
		return -errno;
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
	if (geteuid() != 0)
		return 0;
	setfsuid(0);
	setfsgid(0);
	if ((uid_t)setfsuid((uid_t)-1) != 0)
		return -EPERM;
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return -errno;
	set_override(true);
	return cred_die_with(parent);
}
