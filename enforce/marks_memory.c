/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATE_DIR/objects: one line per protected object, so that what was moved away from its
 * protected path while no daemon ran is still known:
 *     f|d FSID TYPE HANDLE UID HOME PROJECT PATH
 * numbers and bytes in hexadecimal, "-" for nothing. Replaced by rename. Names that a link gives
 * are not kept: the link itself is found again where it stands.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/io.h"
#include "enforce/marks_priv.h"

#define MEMORY_HEAD "oknek objects 2\n"
#define MEMORY_WORDS 8
#define MEMORY_LINE_MAX 20000
/* More than OBJECTS_MAX of them with all their names never are. */
#define MEMORY_LINES_MAX (32768 * OBJECT_NAMES_MAX)
#define MEMORY_TIMEOUTS_MAX 8 /* each takes the helper's whole deadline */

static void put_hex(FILE *f, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	if (!len)
		fputc('-', f);
	for (size_t i = 0; i < len; i++) {
		fputc(digits[p[i] >> 4], f);
		fputc(digits[p[i] & 15], f);
	}
}

static void put_object(struct object *o, void *arg)
{
	FILE *f = arg;

	if (!o->handle.len)
		return;
	for (unsigned i = 0; i < o->n_names; i++) {
		if (o->names[i].via[0])
			continue;
		fprintf(f, "%c %" PRIx64 " %" PRIx32 " ", o->is_dir ? 'd' : 'f', o->handle.fsid,
			(uint32_t)o->handle.type);
		put_hex(f, o->handle.bytes, o->handle.len);
		fprintf(f, " %" PRIx32 " ", (uint32_t)o->uid);
		put_hex(f, o->names[i].home, strlen(o->names[i].home));
		fputc(' ', f);
		put_hex(f, o->names[i].project, strlen(o->names[i].project));
		fputc(' ', f);
		put_hex(f, o->names[i].path, strlen(o->names[i].path));
		fputc('\n', f);
	}
}

int marks_memory_text(struct marks *m, char **ret, size_t *ret_len)
{
	FILE *f = open_memstream(ret, ret_len);

	if (!f)
		return -ENOMEM;
	fputs(MEMORY_HEAD, f);
	objects_each(m->c.objects, put_object, f);
	return fclose(f) ? -ENOMEM : 0;
}

int marks_memory_write(const char *state_dir, const char *text, size_t len_bytes)
{
	_cleanup_free_ char *path = NULL, *tmp = NULL;
	_cleanup_close_ int fd = -1;
	int err;

	/* After a failure the pointer is not defined. */
	if (asprintf(&path, "%s/objects", state_dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (asprintf(&tmp, "%s/objects.new", state_dir) < 0) {
		tmp = NULL;
		return -ENOMEM;
	}
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = io_write_all(fd, text, len_bytes);
	if (err)
		return err;
	/* Else a power cut may leave the new name with nothing behind it. */
	if (fsync(fd) < 0)
		return -errno;
	return rename(tmp, path) < 0 ? -errno : 0;
}

int marks_remember(struct marks *m)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int err = marks_memory_text(m, &text, &len);

	if (!err)
		err = marks_memory_write(m->c.state_dir, text, len);
	if (!err)
		m->dirty = false;
	return err;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Hex to bytes; length or -EBADMSG. */
static int get_hex(const char *hex, void *ret, size_t size)
{
	uint8_t *out = ret;
	size_t n = strlen(hex);

	if (!strcmp(hex, "-"))
		return 0;
	if (n % 2 || n / 2 > size)
		return -EBADMSG;
	for (size_t i = 0; i < n / 2; i++) {
		int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EBADMSG;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return (int)(n / 2);
}

static int get_number(const char *hex, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;

	for (size_t i = 0; hex[i]; i++) {
		int d = digit(hex[i]);

		if (d < 0 || i == 16)
			return -EBADMSG;
		n = n << 4 | (uint64_t)d;
	}
	if (!*hex || n > max)
		return -EBADMSG;
	*ret = n;
	return 0;
}

/* Hex to a string. */
static int get_string(const char *hex, char *ret, size_t size)
{
	int n = get_hex(hex, ret, size - 1);

	if (n < 0)
		return n;
	ret[n] = '\0';
	return strlen(ret) == (size_t)n ? 0 : -EBADMSG;
}

static int split(char *line, char *word[MEMORY_WORDS])
{
	char *save = NULL;

	for (int i = 0; i < MEMORY_WORDS; i++) {
		word[i] = strtok_r(i ? NULL : line, " \n", &save);
		if (!word[i])
			return -EBADMSG;
	}
	return strtok_r(NULL, " \n", &save) ? -EBADMSG : 0;
}

static int recall_line(struct marks *m, char *line)
{
	char path[4096], home[1024], project[1024], via[] = "";
	struct object_name name = { path, home, project, via };
	struct object_handle h = { 0 };
	char *word[MEMORY_WORDS];
	uint64_t type, uid;
	int n;

	if (split(line, word) < 0 || (strcmp(word[0], "f") && strcmp(word[0], "d")) ||
	    get_number(word[1], UINT64_MAX, &h.fsid) < 0 ||
	    get_number(word[2], UINT32_MAX, &type) < 0 ||
	    get_number(word[4], UINT32_MAX, &uid) < 0)
		return -EBADMSG;
	h.type = (int32_t)type;
	n = get_hex(word[3], h.bytes, sizeof(h.bytes));
	if (n <= 0)
		return -EBADMSG;
	h.len = (uint32_t)n;
	if (get_string(word[5], home, sizeof(home)) < 0 ||
	    get_string(word[6], project, sizeof(project)) < 0 ||
	    get_string(word[7], path, sizeof(path)) < 0 || path[0] != '/')
		return -EBADMSG;
	m->walk_uid = (uid_t)uid;
	n = marks_lookup_object(m, &h, &name);
	/* Gone, or its filesystem is not mounted: then there is nothing to guard. */
	return n == -ESTALE || n == -ENOENT || n == -ENODEV || n == -EOPNOTSUPP ? 0 : n;
}

static void recall_lines(struct marks *m, const char *path, FILE *f)
{
	_cleanup_free_ char *line = NULL;
	unsigned bad = 0, late = 0;
	size_t size = 0;
	ssize_t n;
	int err;

	if (getline(&line, &size, f) < 0 || strcmp(line, MEMORY_HEAD)) {
		marks_gap(m, path, "not a list of objects of this version; moved secrets in it "
				   "are not known");
		return;
	}
	for (unsigned i = 0; (n = getline(&line, &size, f)) >= 0; i++) {
		if (i == MEMORY_LINES_MAX || late == MEMORY_TIMEOUTS_MAX) {
			bad++;
			break;
		}
		/* What is torn, or holds a NUL, may still look like a line, of another path. */
		if (n > MEMORY_LINE_MAX || line[n - 1] != '\n' || strlen(line) != (size_t)n) {
			bad++;
			continue;
		}
		err = recall_line(m, line);
		bad += err < 0;
		late += err == -ETIMEDOUT;
		if (err == -EPIPE)
			break;
	}
	if (bad || ferror(f))
		marks_gap(m, path, "some remembered objects could not be found again");
}

void marks_recall(struct marks *m)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	char why[128];

	if (asprintf(&path, "%s/objects", m->c.state_dir) < 0) {
		path = NULL;
		return;
	}
	f = fopen(path, "re");
	if (f) {
		recall_lines(m, path, f);
	} else if (errno != ENOENT) {
		snprintf(why, sizeof(why), "cannot be read (%s): moved secrets in it are not known",
			 strerror(errno));
		marks_gap(m, path, why);
	}
}
