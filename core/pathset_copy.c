/* SPDX-License-Identifier: Apache-2.0 */
/* The flat copy of a path set: written by the daemon, read by a helper that does not trust it. */
#include "core/pathset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/io.h"

/*
 * A header, then for each pattern a record followed by its text without NUL. Native
 * byte order: it never leaves the machine.
 */
#define FLAT_MAGIC 0x6f6b7073u

struct flat_header {
	uint32_t magic;
	uint32_t n;
	uint64_t size_bytes; /* of the whole copy */
};

struct flat_pattern {
	uint32_t group;
	uint16_t text_len_bytes;
	uint8_t verdict;
	uint8_t exclude;
};

int pathset_write(const struct pathset *p)
{
	struct flat_header h = { .magic = FLAT_MAGIC, .n = p->n, .size_bytes = sizeof(h) };
	_cleanup_free_ char *buf = NULL;
	_cleanup_close_ int fd = -1;
	char *to;
	int r;

	for (unsigned i = 0; i < p->n; i++)
		h.size_bytes += sizeof(struct flat_pattern) +
				strlen(glob_source(p->patterns[i].glob));
	if (h.size_bytes > PATHSET_SIZE_MAX_BYTES)
		return -E2BIG;
	buf = malloc(h.size_bytes);
	if (!buf)
		return -ENOMEM;
	to = mempcpy(buf, &h, sizeof(h));
	for (unsigned i = 0; i < p->n; i++) {
		const struct path_pattern *pat = &p->patterns[i];
		const char *text = glob_source(pat->glob);
		struct flat_pattern f = {
			.group = pat->group,
			.text_len_bytes = (uint16_t)strlen(text), /* ≤ GLOB_LENGTH_MAX_BYTES */
			.verdict = (uint8_t)pat->verdict,
			.exclude = pat->exclude,
		};

		to = mempcpy(to, &f, sizeof(f));
		to = mempcpy(to, text, f.text_len_bytes);
	}

	fd = memfd_create("oknek-paths", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = io_write_all(fd, buf, h.size_bytes);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int read_pattern(struct pathset *p, const char **at, const char *end)
{
	char text[GLOB_LENGTH_MAX_BYTES + 1];
	struct flat_pattern f;
	int r;

	if ((size_t)(end - *at) < sizeof(f))
		return -EBADMSG;
	memcpy(&f, *at, sizeof(f));
	*at += sizeof(f);
	if (f.text_len_bytes > GLOB_LENGTH_MAX_BYTES || (size_t)(end - *at) < f.text_len_bytes ||
	    f.verdict > VERDICT_BLOCK || f.exclude > 1 || memchr(*at, '\0', f.text_len_bytes))
		return -EBADMSG;
	memcpy(text, *at, f.text_len_bytes);
	text[f.text_len_bytes] = '\0';
	*at += f.text_len_bytes;
	r = pathset_add(p, text, (enum verdict)f.verdict, f.exclude, f.group);
	return r == -EINVAL || r == -E2BIG ? -EBADMSG : r;
}

static void cleanup_pathset(struct pathset **p)
{
	pathset_unref(*p);
}

/* Copied out before it is parsed, so what is checked is what is used, sealed or not. */
int pathset_read(int fd, struct pathset **ret)
{
	_cleanup_(cleanup_pathset) struct pathset *p = NULL;
	_cleanup_free_ char *buf = NULL;
	struct flat_header h;
	const char *at, *end;
	struct stat st;
	size_t size, have = 0;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(h) ||
	    st.st_size > (off_t)PATHSET_SIZE_MAX_BYTES)
		return -EBADMSG;
	size = (size_t)st.st_size;
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	while (have < size) {
		ssize_t n = pread(fd, buf + have, size - have, (off_t)have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -EBADMSG;
		have += (size_t)n;
	}
	memcpy(&h, buf, sizeof(h));
	if (h.magic != FLAT_MAGIC || h.size_bytes != size || h.n > PATHSET_PATTERNS_MAX)
		return -EBADMSG;

	r = pathset_new(&p);
	if (r < 0)
		return r;
	at = buf + sizeof(h);
	end = buf + size;
	for (uint32_t i = 0; i < h.n; i++) {
		r = read_pattern(p, &at, end);
		if (r < 0)
			return r;
	}
	if (at != end)
		return -EBADMSG;
	*ret = TAKE_PTR(p);
	return 0;
}
