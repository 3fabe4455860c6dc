/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATE_DIR/objects: one line per protected object, so that what was moved away from its
 * protected path while no daemon ran is still known:
 *     f|d FSID TYPE HANDLE HOME PROJECT VIA PATH
 * numbers and bytes in hexadecimal, "-" for nothing. Replaced by rename.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "enforce/marks_priv.h"

#define MEMORY_HEAD "oknek objects 1\n"
#define MEMORY_LINE_MAX 20000
#define MEMORY_LINES_MAX 65536

static void put_hex(FILE *f, const void *data, size_t len)
{
	const uint8_t *p = data;

	if (!len)
		fputc('-', f);
	for (size_t i = 0; i < len; i++)
		fprintf(f, "%02x", p[i]);
}

static void put_object(struct object *o, void *arg)
{
	FILE *f = arg;

	if (!o->handle.len)
		return;
	for (unsigned i = 0; i < o->n_names; i++) {
		fprintf(f, "%c %" PRIx64 " %" PRIx32 " ", o->is_dir ? 'd' : 'f', o->handle.fsid,
			(uint32_t)o->handle.type);
		put_hex(f, o->handle.bytes, o->handle.len);
		fputc(' ', f);
		put_hex(f, o->names[i].home, strlen(o->names[i].home));
		fputc(' ', f);
		put_hex(f, o->names[i].project, strlen(o->names[i].project));
		fputc(' ', f);
		put_hex(f, o->names[i].via, strlen(o->names[i].via));
		fputc(' ', f);
		put_hex(f, o->names[i].path, strlen(o->names[i].path));
		fputc('\n', f);
	}
}

int marks_remember(struct marks *m)
{
	_cleanup_free_ char *path = NULL, *tmp = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	int fd;

	if (asprintf(&path, "%s/objects", m->c.state_dir) < 0)
		return -ENOMEM;
	if (asprintf(&tmp, "%s/objects.new", m->c.state_dir) < 0)
		return -ENOMEM;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "w");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	fputs(MEMORY_HEAD, f);
	objects_each(m->c.objects, put_object, f);
	if (fflush(f) || ferror(f))
		return -EIO;
	if (rename(tmp, path) < 0)
		return -errno;
	m->dirty = false;
	return 0;
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
		unsigned byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return -EBADMSG;
		out[i] = (uint8_t)byte;
	}
	return (int)(n / 2);
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

static int recall_line(struct marks *m, char *line)
{
	char path[4096], home[1024], project[1024], via[WATCH_NAME_MAX];
	struct object_name name = { path, home, project, via };
	struct object_handle h = { 0 };
	char *save = NULL, *word[8];
	int n;

	for (int i = 0; i < 8; i++) {
		word[i] = strtok_r(i ? NULL : line, " \n", &save);
		if (!word[i])
			return -EBADMSG;
	}
	h.fsid = strtoull(word[1], NULL, 16);
	h.type = (int32_t)strtoul(word[2], NULL, 16);
	n = get_hex(word[3], h.bytes, sizeof(h.bytes));
	if (n <= 0)
		return -EBADMSG;
	h.len = (uint32_t)n;
	if (get_string(word[4], home, sizeof(home)) < 0 ||
	    get_string(word[5], project, sizeof(project)) < 0 ||
	    get_string(word[6], via, sizeof(via)) < 0 ||
	    get_string(word[7], path, sizeof(path)) < 0 || path[0] != '/')
		return -EBADMSG;
	n = marks_lookup_object(m, &h, &name);
	/* Gone, or its filesystem is not mounted: then there is nothing to guard. */
	return n == -ESTALE || n == -ENOENT || n == -ENODEV || n == -EOPNOTSUPP ? 0 : n;
}

void marks_recall(struct marks *m)
{
	_cleanup_free_ char *path = NULL, *line = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	unsigned bad = 0;
	size_t size = 0;

	if (asprintf(&path, "%s/objects", m->c.state_dir) < 0)
		return;
	f = fopen(path, "re");
	if (!f)
		return;
	if (getline(&line, &size, f) < 0 || strcmp(line, MEMORY_HEAD)) {
		marks_gap(m, path, "not a list of objects of this version; moved secrets in it "
				   "are not known");
		return;
	}
	for (unsigned i = 0; i < MEMORY_LINES_MAX; i++) {
		ssize_t n = getline(&line, &size, f);

		if (n < 0)
			break;
		bad += n > MEMORY_LINE_MAX || recall_line(m, line) < 0;
	}
	if (bad)
		marks_gap(m, path, "some remembered objects could not be found again");
}
