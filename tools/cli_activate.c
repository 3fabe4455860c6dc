/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_activate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_pack.h"

#define INCOMING "incoming" /* what was being written when somebody was killed is written again */

int activate_current(const char *state_dir, struct pack **ret, struct pack_error *err)
{
	_cleanup_free_ char *dir = NULL;

	if (asprintf(&dir, "%s/rules/active", state_dir) < 0)
		return pack_say(err, -ENOMEM, "out of memory");
	if (access(dir, F_OK) < 0) {
		if (errno != ENOENT)
			return pack_say(err, -errno, "%s: %s", dir, strerror(errno));
		*ret = NULL;
		return 0;
	}
	return cli_pack_trusted(dir, NULL, ret, err);
}

/* The path of a pack of ours. */
static char *path_of(const char *state_dir, const char *name)
{
	char *path;

	return asprintf(&path, "%s/rules/%s", state_dir, name) < 0 ? NULL : path;
}

/* The contents of a folder of ours: plain files, and one folder of such. */
static int remove_tree(int at, const char *name, int depth)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r == -ENOENT ? 0 : r;
	}
	while (!r && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (unlinkat(fd, e->d_name, 0) < 0)
			r = errno == EISDIR && depth > 0 ? remove_tree(fd, e->d_name, depth - 1) :
							   -errno;
	}
	closedir(d);
	if (!r && unlinkat(at, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

static int open_rules(const char *state_dir, struct pack_error *err)
{
	_cleanup_free_ char *dir = NULL;
	int fd;

	if (asprintf(&dir, "%s/rules", state_dir) < 0)
		return pack_say(err, -ENOMEM, "out of memory");
	/* Before the daemon's first start. */
	if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		return pack_say(err, -errno, "%s: %s", state_dir, strerror(errno));
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return pack_say(err, -errno, "%s: %s", dir, strerror(errno));
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? pack_say(err, -errno, "%s: %s", dir, strerror(errno)) : fd;
}

static int say(const char *state_dir, int r, struct pack_error *err)
{
	return r ? pack_say(err, r, "%s/rules: %s", state_dir, strerror(-r)) : 0;
}

static int synced(int fd, int r)
{
	return !r && fsync(fd) < 0 ? -errno : r;
}

/* Exchanged, or moved where there is nothing at `to`. */
static int change_places(int fd, const char *from, const char *to)
{
	if (renameat2(fd, from, fd, to, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno != ENOENT)
		return -errno;
	return renameat(fd, from, fd, to) < 0 ? -errno : 0;
}

/*
 * Who was killed between the exchange and activate_keep() left what had been active as INCOMING: it
 * becomes the previous one. Whatever else is there by that name was never active. Which of the two
 * the versions tell: what is activated is always the newer.
 */
static int finish(int fd, const char *state_dir)
{
	_cleanup_pack_ struct pack *incoming = NULL, *active = NULL;
	_cleanup_free_ char *path = path_of(state_dir, INCOMING);
	struct pack_error err;
	int r;

	if (!path)
		return -ENOMEM;
	if (faccessat(fd, INCOMING, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (cli_pack_trusted(path, NULL, &incoming, &err) ||
	    activate_current(state_dir, &active, &err) || !active ||
	    pack_version_compare(&pack_manifest(incoming)->version,
				 &pack_manifest(active)->version) >= 0)
		return remove_tree(fd, INCOMING, 1);
	r = remove_tree(fd, "previous", 1);
	return !r && renameat(fd, INCOMING, fd, "previous") < 0 ? -errno : r;
}

int activate_lock(const char *state_dir, struct pack_error *err)
{
	_cleanup_close_ int fd = open_rules(state_dir, err);
	int r;

	if (fd < 0)
		return fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ?
			       pack_say(err, -EBUSY, "%s/rules: another oknek update is at it",
					state_dir) :
			       say(state_dir, -errno, err);
	r = finish(fd, state_dir);
	return r ? say(state_dir, r, err) : TAKE_FD(fd);
}

int activate_stage(const char *state_dir, const struct pack *p, struct pack_error *err)
{
	_cleanup_close_ int fd = open_rules(state_dir, err);
	_cleanup_free_ char *incoming = NULL;
	int r;

	if (fd < 0)
		return fd;
	if (asprintf(&incoming, "%s/rules/" INCOMING, state_dir) < 0)
		return pack_say(err, -ENOMEM, "out of memory");
	r = remove_tree(fd, INCOMING, 1);
	if (!r && mkdirat(fd, INCOMING, 0755) < 0)
		r = -errno;
	if (r)
		return pack_say(err, r, "%s: %s", incoming, strerror(-r));
	return pack_write_dir(p, incoming, err);
}

int activate_unstage(const char *state_dir, struct pack_error *err)
{
	_cleanup_close_ int fd = open_rules(state_dir, err);

	return fd < 0 ? fd : say(state_dir, remove_tree(fd, INCOMING, 1), err);
}

int activate_exchange(const char *state_dir, struct pack_error *err)
{
	_cleanup_close_ int fd = open_rules(state_dir, err);

	return fd < 0 ? fd : say(state_dir, synced(fd, change_places(fd, INCOMING, "active")), err);
}

bool activate_has_previous(const char *state_dir)
{
	_cleanup_free_ char *path = path_of(state_dir, "previous");

	return path && access(path, F_OK) == 0;
}

int activate_keep(const char *state_dir, struct pack_error *err)
{
	_cleanup_close_ int fd = open_rules(state_dir, err);
	int r;

	if (fd < 0)
		return fd;
	r = remove_tree(fd, "previous", 1);
	if (!r && renameat(fd, INCOMING, fd, "previous") < 0 && errno != ENOENT)
		r = -errno;
	return say(state_dir, synced(fd, r), err);
}

int activate_undo(const char *state_dir, struct pack_error *err)
{
	_cleanup_close_ int fd = open_rules(state_dir, err);
	int r;

	if (fd < 0)
		return fd;
	r = change_places(fd, "active", INCOMING);
	if (!r)
		r = remove_tree(fd, INCOMING, 1);
	return say(state_dir, synced(fd, r), err);
}

int activate_rollback(const char *state_dir, struct pack_error *err)
{
	_cleanup_close_ int fd = open_rules(state_dir, err);
	_cleanup_pack_ struct pack *previous = NULL;
	_cleanup_free_ char *dir = NULL;
	int r;

	if (fd < 0)
		return fd;
	if (asprintf(&dir, "%s/rules/previous", state_dir) < 0)
		return pack_say(err, -ENOMEM, "out of memory");
	if (faccessat(fd, "previous", F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		r = cli_pack_trusted(dir, NULL, &previous, err);
		if (r)
			return r;
		r = change_places(fd, "previous", "active");
	} else {
		r = renameat(fd, "active", fd, "previous") < 0 ? -errno : 0;
	}
	if (r == -ENOENT)
		return pack_say(err, r, "no pack was activated here");
	return say(state_dir, synced(fd, r), err);
}
