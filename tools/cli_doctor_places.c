/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filesystems: where the daemon keeps things, where homes are, and what cannot be watched. What a
 * path is on is concluded from the table of mounts: asking a filesystem whose server is dead would
 * hang us.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "core/cleanup.h"
#include "enforce/mounts.h"
#include "tools/cli_doctor.h"

#define FREE_LEAST_MB 64
#define FREE_FEW_MB 512
#define HOMES_LOOKED 256
#define NAMES_SHOWN 6

/* What is mounted where path is: the longest mount point on the way, the last one of these. Links
 * are not followed. */
static const struct mount *mount_of(struct mounts *m, const char *path)
{
	const struct mount *best = NULL, *mt;
	size_t best_len = 0;

	for (unsigned i = 0; (mt = mounts_nth(m, i)); i++) {
		size_t len = strlen(mt->point);

		if (len > 1 && mt->point[len - 1] == '/')
			continue;
		if (len == 1 || (!strncmp(path, mt->point, len) &&
				 (path[len] == '/' || !path[len])))
			if (len >= best_len) {
				best = mt;
				best_len = len;
			}
	}
	return best;
}

static bool answers_itself(const struct mount *mt)
{
	return mt && mt->class != MOUNT_NEVER;
}

/* ---- the daemon's own ------------------------------------------------------------------------- */

static void check_run_dir(struct doctor *d, struct mounts *m)
{
	const struct mount *mt = mount_of(m, d->cli->run_dir);
	bool good = mt && (!strcmp(mt->fstype, "tmpfs") || !strcmp(mt->fstype, "ramfs"));

	doctor_add(d, "run-dir", good ? DOCTOR_OK : DOCTOR_NOTE, ABOUT_ALL,
		   good ? "verdicts are written to memory first, and outlive the daemon there" :
			  "verdicts are first written to a disk that may fill up or stand still",
		   good ? NULL : "a run directory on a tmpfs, as /run is", "%s on %s", d->cli->run_dir,
		   mt ? mt->fstype : "nothing known");
}

/* The directory itself or, where it is not made yet, the first above it that is there. */
static int free_megabytes(const char *path, uint64_t *ret, bool *read_only)
{
	_cleanup_free_ char *at = strdup(path);
	struct statvfs st;

	while (at && statvfs(at, &st) < 0) {
		char *slash = strrchr(at, '/');

		if (errno != ENOENT || !slash || !at[1])
			return -errno;
		slash[slash == at] = '\0';
	}
	if (!at)
		return -ENOMEM;
	*ret = (uint64_t)st.f_bavail * st.f_frsize >> 20;
	*read_only = st.f_flag & ST_RDONLY;
	return 0;
}

static void check_state_dir(struct doctor *d, struct mounts *m)
{
	const struct mount *mt = mount_of(m, d->state_dir);
	bool read_only = false, remote = !answers_itself(mt);
	uint64_t mb = 0;
	int err = remote ? 0 : free_megabytes(d->state_dir, &mb, &read_only);

	if (remote) {
		doctor_add(d, "state-dir", DOCTOR_PROBLEM, ABOUT_ALL,
			   "still decided; but records wait for a server, and a database over a network "
			   "may break", "a state directory on a local disk", "%s on %s", d->state_dir,
			   mt ? mt->fstype : "nothing known");
		return;
	}
	if (err < 0) {
		doctor_add(d, "state-dir", err == -EACCES ? DOCTOR_NOTE : DOCTOR_PROBLEM, ABOUT_ALL,
			   "not known whether records can be kept", NULL, "%s: %s", d->state_dir,
			   strerror(-err));
		return;
	}
	doctor_add(d, "state-dir",
		   read_only || mb < FREE_LEAST_MB ? DOCTOR_PROBLEM :
		   mb < FREE_FEW_MB ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_ALL,
		   read_only || mb < FREE_LEAST_MB ? "still decided; what cannot be written is kept in "
						     "memory, then counted as lost" :
						     "recorded there, signed and chained",
		   read_only ? "mount it writable" : mb < FREE_FEW_MB ? "make room" : NULL,
		   "%s on %s, %llu MiB free%s", d->state_dir, mt->fstype, (unsigned long long)mb,
		   read_only ? ", read-only" : "");
}

/* ---- homes ------------------------------------------------------------------------------------ */

static bool is_person(uid_t uid)
{
	/* The ranges that distributions give to people; 65534 is nobody. */
	return uid == 0 || (uid >= 1000 && uid < 65534) || uid > 65535;
}

struct homes_seen {
	unsigned n, lost;
	char kinds[256];  /* "ext4 btrfs" */
	char first[256];  /* a home that cannot be marked, and why */
	bool overlay, btrfs;
};

static void look_at_home(struct homes_seen *s, struct mounts *m, const char *home)
{
	const struct mount *mt = mount_of(m, home);
	size_t len = strlen(s->kinds);

	s->n++;
	if (!mt || mt->class != MOUNT_MARK) {
		if (!s->lost++)
			snprintf(s->first, sizeof(s->first), "%.150s on %.60s", home,
				 mt ? mt->fstype : "nothing known");
		return;
	}
	s->overlay |= !strcmp(mt->fstype, "overlay");
	s->btrfs |= !strcmp(mt->fstype, "btrfs");
	if (!doctor_has_word(s->kinds, mt->fstype) &&
	    len + strlen(mt->fstype) + 2 < sizeof(s->kinds))
		sprintf(s->kinds + len, "%s%s", len ? " " : "", mt->fstype);
}

/* Of the file alone: a name service would be asked over a network, and may not answer. */
static void check_homes(struct doctor *d, struct mounts *m)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/passwd", "re");
	struct homes_seen s = { .n = 0 };
	struct passwd *pw;
	bool old;

	while (f && s.n < HOMES_LOOKED && (pw = fgetpwent(f)))
		if (is_person(pw->pw_uid) && pw->pw_dir && pw->pw_dir[0] == '/' && pw->pw_dir[1])
			look_at_home(&s, m, pw->pw_dir);
	doctor_add(d, "homes", s.lost ? DOCTOR_PROBLEM : DOCTOR_OK, ABOUT_HOME,
		   s.lost ? "not held there, and not seen: a filesystem that a server answers for, or "
			    "that is not known, takes no mark" : "held in the homes of this host's users",
		   s.lost ? "secrets on a local disk: ext4, xfs, btrfs, tmpfs, or overlay on these" : NULL,
		   s.lost ? "%u of %u cannot be marked: %s" : "%u of %u can be marked%s%s",
		   s.lost ? s.lost : s.n, s.n, s.lost ? s.first : s.n ? ", on " : "", s.kinds);
	old = (s.btrfs && (d->kernel_major < 6 || (d->kernel_major == 6 && d->kernel_minor < 8))) ||
	      (s.overlay && (d->kernel_major < 6 || (d->kernel_major == 6 && d->kernel_minor < 6)));
	doctor_add(d, "file-ids", old ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_HOME,
		   old ? "held for what is there; what is created or moved on it later may be noticed "
			 "late" :
		   s.overlay ? "held; what was moved on overlay while no daemon ran is found by name only" :
			       "held, and what was moved while no daemon ran is found again",
		   old ? "Linux 6.8 or later" : NULL, "%s%s%s",
		   s.btrfs ? "btrfs" : "", s.btrfs && s.overlay ? ", " : "",
		   s.overlay ? "overlay" : s.btrfs ? "" : "no btrfs, no overlay below homes");
}

/* ---- what is not watched ---------------------------------------------------------------------- */

static void check_kind(struct doctor *d, struct mounts *m, unsigned kinds, const char *check,
		       const char *means, const char *none)
{
	const struct mount *mt;
	char text[512] = "";
	unsigned found = 0;

	for (unsigned i = 0; (mt = mounts_nth(m, i)); i++) {
		size_t len = strlen(text);

		if (!(kinds & 1u << doctor_fs_kind(mt->fstype)) || found++ >= NAMES_SHOWN)
			continue;
		snprintf(text + len, sizeof(text) - len, "%s%.60s (%.20s)", len ? ", " : "", mt->point,
			 mt->fstype);
	}
	if (!found)
		doctor_add(d, check, DOCTOR_OK, ABOUT_FILES, "not cut off from any place", NULL, "%s",
			   none);
	else
		doctor_add(d, check, DOCTOR_NOTE, ABOUT_FILES, means, NULL, "%u: %s%s", found, text,
			   found > NAMES_SHOWN ? ", …" : "");
}

void doctor_check_places(struct doctor *d)
{
	struct mounts *m = NULL;
	int err = mounts_open(AT_FDCWD, "/proc/self/mountinfo", &m);

	if (err < 0) {
		doctor_add(d, "mounts", DOCTOR_PROBLEM, ABOUT_FILES,
			   "not known which files can be marked", NULL, "/proc/self/mountinfo: %s",
			   strerror(-err));
		return;
	}
	check_run_dir(d, m);
	check_state_dir(d, m);
	check_homes(d, m);
	check_kind(d, m, 1u << FS_REMOTE | 1u << FS_FUSE, "remote",
		   "neither held nor seen for files there: a server that does not answer would make us "
		   "wait", "no network filesystem, no FUSE");
	check_kind(d, m, 1u << FS_AUTOMOUNT, "automounts",
		   "look below only what is mounted already; what is mounted later is looked at then",
		   "none");
	mounts_close(m);
}
