/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"

#define MOUNTINFO_MAX_BYTES (64u << 20) /* fs.mount-max is 100,000; a line has some 200 bytes */
#define READ_AGAIN_MAX 4

struct mounts {
	int fd;
	bool stale; /* the last reading failed */
	unsigned n, room;
	struct mount *table; /* in the order of mountinfo */
};

enum mount_class mount_class(const char *fstype)
{
	/* On these the kernel opens, stats and lists from local media; what an agent can do is at
	 * most a write lease, which non-blocking event descriptors get past. */
	static const char *const mark[] = {
		"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay",
	};
	static const char *const walk[] = {
		"squashfs", "erofs", "f2fs",    "ramfs",    "rootfs", "zfs",  "bcachefs",
		"vfat",     "exfat", "iso9660", "devtmpfs", "jfs",    "udf",  "reiserfs",
	};

	for (size_t i = 0; i < ARRAY_SIZE(mark); i++)
		if (!strcmp(fstype, mark[i]))
			return MOUNT_MARK;
	for (size_t i = 0; i < ARRAY_SIZE(walk); i++)
		if (!strcmp(fstype, walk[i]))
			return MOUNT_WALK;
	return MOUNT_NEVER;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. In place. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

/* proc_pid_mountinfo(5): id parent major:minor root point options [tags…] - fstype … */
static bool parse_line(char *line, struct mount *ret)
{
	char *fields[5], *save = NULL, *word;
	struct mount m = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		fields[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!fields[i])
			return false;
	}
	do {
		word = strtok_r(NULL, " ", &save);
		if (!word)
			return false;
	} while (strcmp(word, "-"));
	word = strtok_r(NULL, " ", &save);
	if (!word || strlen(word) >= sizeof(m.fstype))
		return false;
	m.id = atoi(fields[0]);
	m.parent = atoi(fields[1]);
	m.whole = !strcmp(fields[3], "/");
	unescape(word);
	strcpy(m.fstype, word);
	m.class = mount_class(m.fstype);
	unescape(fields[4]);
	m.point = strdup(fields[4]);
	if (!m.point)
		return false;
	*ret = m;
	return true;
}

static void forget(struct mounts *m)
{
	for (unsigned i = 0; i < m->n; i++)
		free(m->table[i].point);
	m->n = 0;
}

static int read_all(int fd, char **ret)
{
	_cleanup_free_ char *buf = NULL;
	size_t len = 0, size = 0;
	ssize_t n;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	do {
		if (size - len < 4096) {
			char *more;

			size = size ? size * 2 : 16384;
			if (size > MOUNTINFO_MAX_BYTES)
				return -E2BIG;
			more = realloc(buf, size);
			if (!more)
				return -ENOMEM;
			buf = more;
		}
		n = read(fd, buf + len, size - len - 1);
		if (n < 0)
			return -errno;
		len += (size_t)n;
	} while (n);
	buf[len] = 0;
	*ret = TAKE_PTR(buf);
	return 0;
}

static int fill(struct mounts *m)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	int r;

	forget(m);
	r = read_all(m->fd, &text);
	if (r < 0)
		return r;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (m->n == m->room) {
			unsigned room = m->room ? m->room * 2 : 64;
			struct mount *t = reallocarray(m->table, room, sizeof(*t));

			if (!t)
				return -ENOMEM;
			m->table = t;
			m->room = room;
		}
		/* a line that cannot be read is a mount that is not known: never walked */
		if (parse_line(line, &m->table[m->n]))
			m->n++;
	}
	return 0;
}

/* The kernel raises POLLERR and POLLPRI once for each reader after the mounts changed. */
static bool changed(struct mounts *m)
{
	struct pollfd p = { .fd = m->fd, .events = POLLPRI };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLPRI | POLLERR));
}

static int refresh(struct mounts *m)
{
	int r;

	if (!changed(m) && !m->stale)
		return 0;
	/* several reads make one table: take it only if nothing changed in between */
	for (int i = 0; i < READ_AGAIN_MAX; i++) {
		r = fill(m);
		if (r < 0)
			break;
		m->stale = changed(m);
		if (!m->stale)
			return 0;
		r = -EAGAIN;
	}
	m->stale = true;
	forget(m);
	return r;
}

int mounts_open(int dir_fd, const char *path, struct mounts **ret)
{
	_cleanup_free_ struct mounts *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	if (m->fd < 0)
		return -errno;
	r = fill(m);
	if (r < 0) {
		mounts_close(TAKE_PTR(m));
		return r;
	}
	*ret = TAKE_PTR(m);
	return 0;
}

void mounts_close(struct mounts *m)
{
	if (!m)
		return;
	forget(m);
	free(m->table);
	close(m->fd);
	free(m);
}

const struct mount *mounts_find(struct mounts *m, int id)
{
	if (refresh(m) < 0)
		return NULL;
	for (unsigned i = 0; i < m->n; i++)
		if (m->table[i].id == id)
			return &m->table[i];
	return NULL;
}

const struct mount *mounts_on(struct mounts *m, int parent, const char *point)
{
	const struct mount *top = NULL;
	unsigned left;

	if (refresh(m) < 0)
		return NULL;
	left = m->n;
	/* a mount on the root of a mount has that one as its parent and the same point */
	for (unsigned i = 0; i < m->n;) {
		struct mount *c = &m->table[i++];

		if (c->parent != parent || c->id == parent || strcmp(c->point, point))
			continue;
		top = c;
		if (!left--)
			break;
		parent = c->id;
		i = 0;
	}
	return top;
}

const struct mount *mounts_nth(struct mounts *m, unsigned n)
{
	if (!n && refresh(m) < 0)
		return NULL;
	return n < m->n ? &m->table[n] : NULL;
}

int mount_id_read(int dir_fd, const char *fdinfo, unsigned *open_flags)
{
	_cleanup_close_ int fd = -1;
	char buf[512];
	const char *at;
	ssize_t n;

	fd = openat(dir_fd, fdinfo, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	if (open_flags) {
		at = strstr(buf, "flags:");
		if (!at)
			return -EBADMSG;
		*open_flags = (unsigned)strtoul(at + strlen("flags:"), NULL, 8);
	}
	at = strstr(buf, "mnt_id:");
	if (!at)
		return -EBADMSG;
	return atoi(at + strlen("mnt_id:"));
}

int mount_id_of(int fd)
{
	char path[64];
	struct statx sx;
	int r;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	r = mount_id_read(AT_FDCWD, path, NULL);
	if (r != -EACCES)
		return r;
	/* Before 5.14 a process that changed its fsuid may not look at itself. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &sx) < 0)
		return -errno;
	return sx.stx_mask & STATX_MNT_ID ? (int)sx.stx_mnt_id : -EACCES;
}
