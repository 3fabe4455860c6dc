/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -shared -fPIC */
/*
 * A name service that never answers for some, and knows nobody: to be mounted over libnss_hesiod.so.2
 * where nsswitch.conf names `hesiod`. $STR_NSS has the uids and names for which it hangs, or `all`.
 * Without that variable it answers at once.
 */
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum nss_status ask(const char *who)
{
	const char *words = getenv("STR_NSS");
	size_t n = strlen(who);

	for (const char *at = words; at && *at; at += strcspn(at, " "), at += *at == ' ')
		if (!strncmp(at, "all", 3) || (!strncmp(at, who, n) && strchr(" ", at[n])))
			for (;;)
				pause();
	return NSS_STATUS_NOTFOUND;
}

static enum nss_status ask_id(unsigned id)
{
	char who[16];

	snprintf(who, sizeof(who), "%u", id);
	return ask(who);
}

enum nss_status _nss_hesiod_getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t len, int *err);
enum nss_status _nss_hesiod_getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t len, int *err)
{
	(void)pw, (void)buf, (void)len, (void)err;
	return ask_id(uid);
}

enum nss_status _nss_hesiod_getpwnam_r(const char *name, struct passwd *pw, char *buf, size_t len,
				       int *err);
enum nss_status _nss_hesiod_getpwnam_r(const char *name, struct passwd *pw, char *buf, size_t len,
				       int *err)
{
	(void)pw, (void)buf, (void)len, (void)err;
	return ask(name);
}

enum nss_status _nss_hesiod_getgrnam_r(const char *name, struct group *gr, char *buf, size_t len,
				       int *err);
enum nss_status _nss_hesiod_getgrnam_r(const char *name, struct group *gr, char *buf, size_t len,
				       int *err)
{
	(void)gr, (void)buf, (void)len, (void)err;
	return ask(name);
}

enum nss_status _nss_hesiod_initgroups_dyn(const char *name, gid_t group, long *start, long *size,
					   gid_t **groups, long limit, int *err);
enum nss_status _nss_hesiod_initgroups_dyn(const char *name, gid_t group, long *start, long *size,
					   gid_t **groups, long limit, int *err)
{
	(void)group, (void)start, (void)size, (void)groups, (void)limit, (void)err;
	return ask(name);
}
