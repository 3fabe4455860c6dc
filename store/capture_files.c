/* SPDX-License-Identifier: Apache-2.0 */
#include "store/capture_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/io.h"
#include "store/age.h"

/* What goes when there is too much, or when it is old, is a file: an eighth of all at the most. */
#define FILES_LEAST 8
#define FILE_BYTES_MAX (32u << 20)
#define NAME_SIZE 32

static void file_name(uint64_t number, char buf[NAME_SIZE])
{
	snprintf(buf, NAME_SIZE, "%08" PRIu64 CAPTURE_SUFFIX, number);
}

/* The number in the name of one of our files; 0: it is none. */
static uint64_t file_number(const char *name)
{
	char again[NAME_SIZE];
	uint64_t n = 0;
	const char *p;

	for (p = name; *p >= '0' && *p <= '9' && p - name < 18; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	file_name(n, again);
	return strcmp(again, name) ? 0 : n;
}

static int open_dir(struct capture_files *f)
{
	_cleanup_close_ int state = -1, fd = -1;
	struct stat st;

	if (f->dir_fd >= 0)
		return 0;
	state = open(f->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state < 0 || (!f->reads && mkdirat(state, CAPTURE_DIR, 0700) < 0 && errno != EEXIST))
		return -errno;
	fd = openat(state, CAPTURE_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* Somebody made it for others to read. */
	if ((st.st_mode & 0777) != 0700 && fchmod(fd, 0700) < 0)
		return -errno;
	f->dir_fd = TAKE_FD(fd);
	return 0;
}

struct survey {
	uint64_t bytes, first, last; /* numbers, 0: there is none */
	uint64_t old;		     /* the first that is older than it may be */
};

/* A time that is yet to come says nothing. */
static bool is_old(const struct capture_files *f, const struct stat *st)
{
	return f->age_s > st->st_mtime && (uint64_t)(f->age_s - st->st_mtime) > f->max_age_s;
}

static int survey(struct capture_files *f, struct survey *ret)
{
	int fd = openat(f->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct survey s = { 0 };
	struct dirent *e;
	DIR *d;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int err = errno;

		if (fd >= 0)
			close(fd);
		return -err;
	}
	while ((e = readdir(d))) {
		uint64_t n = file_number(e->d_name);
		struct stat st;

		if (!n || fstatat(f->dir_fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		s.bytes += (uint64_t)st.st_size;
		if (n > s.last)
			s.last = n;
		if (!s.first || n < s.first)
			s.first = n;
		if (is_old(f, &st) && (!s.old || n < s.old))
			s.old = n;
	}
	closedir(d);
	*ret = s;
	return 0;
}

static void close_file(struct capture_files *f)
{
	if (f->fd >= 0)
		close(TAKE_FD(f->fd));
	f->size = 0;
}

static int next_file(struct capture_files *f, int64_t now_s)
{
	struct survey s;
	char name[NAME_SIZE];
	int r = survey(f, &s);

	if (r)
		return r;
	close_file(f);
	f->number = (s.last > f->number ? s.last : f->number) + 1;
	file_name(f->number, name);
	f->fd = openat(f->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (f->fd < 0)
		return -errno;
	f->size = 0;
	f->begun_s = (uint64_t)now_s;
	f->begun_all = f->all;
	f->bytes = s.bytes;
	return 0;
}

/* While the wall clock is not believed, files are as new as what is. */
static void put_time(struct capture_files *f, int64_t now_s)
{
	const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = f->age_s } };

	if (f->fd >= 0 && f->age_s && (now_s - f->age_s > AGE_STEP_S || f->age_s - now_s > AGE_STEP_S))
		futimens(f->fd, t);
}

/* All of it or nothing. */
static int append(struct capture_files *f, const void *data, size_t len)
{
	int r = io_write_all(f->fd, data, len);

	if (!r) {
		f->size += len;
		f->bytes += len;
		return 0;
	}
	/* No half lines; and what cannot even be cut is not gone on with. */
	if (ftruncate(f->fd, (off_t)f->size) < 0)
		close_file(f);
	else
		lseek(f->fd, (off_t)f->size, SEEK_SET);
	return r;
}

static uint64_t file_bytes_max(const struct capture_files *f)
{
	uint64_t n = f->max_size / FILES_LEAST;

	return n < FILE_BYTES_MAX ? n : FILE_BYTES_MAX;
}

/* Full, or so old that what is in it first would stay too long. */
static bool is_done(const struct capture_files *f, size_t more, int64_t now_s)
{
	uint64_t age = (uint64_t)now_s - f->begun_s;

	return f->fd < 0 ||
	       f->all != f->begun_all || (f->size && (f->size + more > file_bytes_max(f) || now_s < (int64_t)f->begun_s ||
			    age > f->max_age_s / FILES_LEAST));
}

/* Removed under us, directory and all. */
static bool is_gone(const struct capture_files *f)
{
	struct stat st;

	return f->fd >= 0 && (fstat(f->fd, &st) < 0 || st.st_nlink == 0);
}

int capture_files_write(struct capture_files *f, const void *data, size_t len_bytes, int64_t now_s)
{
	int r;

	if (is_gone(f))
		capture_files_close(f);
	r = open_dir(f);
	if (!r && is_done(f, len_bytes, now_s))
		r = next_file(f, now_s);
	if (!r && !f->size) {
		const char *header = f->begun_all ? CAPTURE_HEADER_ALL : CAPTURE_HEADER_MATCHED;

		r = append(f, header, strlen(header));
	}
	if (!r)
		r = append(f, data, len_bytes);
	put_time(f, now_s);
	return r;
}

int capture_files_prune(struct capture_files *f)
{
	char name[NAME_SIZE];
	struct survey s;
	int r = open_dir(f);

	if (r == -ENOENT && f->reads)
		return 0;
	for (;;) {
		uint64_t goes;

		if (!r)
			r = survey(f, &s);
		if (r)
			return r;
		f->bytes = s.bytes;
		goes = s.bytes > f->max_size ? s.first : s.old;
		if (!goes)
			return 0;
		if (goes == f->number)
			close_file(f);
		file_name(goes, name);
		if (unlinkat(f->dir_fd, name, 0) < 0)
			return -errno;
	}
}

void capture_files_close(struct capture_files *f)
{
	close_file(f);
	if (f->dir_fd >= 0)
		close(TAKE_FD(f->dir_fd));
}
