/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_archive_read.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/pack.h"
#include "tools/cli_gzip.h"

#define RATIO_MAX 200 /* unpacked to packed; YAML comes to about 10 */
#define RATIO_FREE (1u << 20) /* bytes that are not asked about */
/* What tar adds: for a file a header, and up to a block of padding; as much again for long names. */
#define TAR_BYTES_MAX (PACK_BYTES_MAX + PACK_FILES_MAX * 4096u)

static void cleanup_archive(struct archive **a)
{
	if (*a)
		archive_read_free(*a);
}
#define _cleanup_archive_ __attribute__((cleanup(cleanup_archive)))

static int __attribute__((format(printf, 3, 4)))
refuse(char err[ARCHIVE_ERROR_SIZE], int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, ARCHIVE_ERROR_SIZE, fmt, ap);
	va_end(ap);
	return code;
}

static const char *reason(struct archive *a)
{
	const char *s = archive_error_string(a);

	return s ? s : "it is damaged";
}

/* ---- gzip ---------------------------------------------------------------------------------- */

int archive_read_bytes(const void *packed, size_t packed_len, archive_file_fn fn, void *arg,
		       char err[ARCHIVE_ERROR_SIZE])
{
	static const struct gzip_bounds bounds = { TAR_BYTES_MAX, RATIO_FREE, RATIO_MAX };
	_cleanup_free_ uint8_t *tar = NULL;
	size_t len = 0;
	int rc = gzip_unpack(packed, packed_len, &bounds, &tar, &len, err);

	if (rc)
		return rc;
	/* Within itself it is what bombs are made of. */
	if (len > 1 && tar[0] == 0x1f && tar[1] == 0x8b)
		return refuse(err, -EBADMSG, "no .tar.gz: packed otherwise than once by gzip");
	return archive_read_tar(tar, len, fn, arg, err);
}

/* ---- tar ----------------------------------------------------------------------------------- */

static bool is_pack_folder(struct archive_entry *e, const char *name)
{
	return archive_entry_filetype(e) == AE_IFDIR &&
	       (!*name || !strcmp(name, ".") || !strcmp(name, "rules") || !strcmp(name, "rules/"));
}

static int read_one(struct archive *a, struct archive_entry *e, uint8_t *buf, size_t *budget,
		    archive_file_fn fn, void *arg, char err[ARCHIVE_ERROR_SIZE])
{
	const char *name = archive_entry_pathname(e);
	size_t len = 0;
	la_ssize_t n;

	if (!name)
		return refuse(err, -EBADMSG, "a file without a name that can be read");
	while (!strncmp(name, "./", 2))
		name += 2;
	if (is_pack_folder(e, name))
		return 0;
	if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e))
		return refuse(err, -EBADMSG, "%.100s is no regular file", name);
	/* Holes are written down in a few bytes, and are as long as they say. */
	if (archive_entry_sparse_count(e) > 0)
		return refuse(err, -EBADMSG, "%.100s is a sparse file", name);
	if (archive_entry_size(e) < 0 || (uint64_t)archive_entry_size(e) > PACK_BYTES_MAX)
		return refuse(err, -E2BIG, "it unpacks to more than %u MiB", PACK_BYTES_MAX >> 20);
	if ((uint64_t)archive_entry_size(e) > *budget)
		return refuse(err, -E2BIG, "%.100s is longer than what is left of the archive", name);
	while (len < *budget && (n = archive_read_data(a, buf + len, *budget - len)) != 0) {
		if (n < 0)
			return refuse(err, -EBADMSG, "no .tar.gz: %.200s", reason(a));
		len += (size_t)n;
	}
	*budget -= len;
	return fn(arg, name, buf, len);
}

static bool all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

int archive_read_tar(const void *tar, size_t tar_len, archive_file_fn fn, void *arg,
		     char err[ARCHIVE_ERROR_SIZE])
{
	_cleanup_archive_ struct archive *a = archive_read_new();
	/* Without holes nothing in it is longer than the whole. */
	size_t budget = tar_len < PACK_BYTES_MAX ? tar_len : PACK_BYTES_MAX, at;
	_cleanup_free_ uint8_t *buf = malloc(budget + 1);
	struct archive_entry *e;
	unsigned n = 0;
	int rc;

	/* One format and no filter: the fewer of them, the less there is to break. */
	if (!a || !buf || archive_read_support_format_tar(a) != ARCHIVE_OK)
		return refuse(err, -ENOMEM, "out of memory");
	if (archive_read_open_memory(a, tar, tar_len) != ARCHIVE_OK)
		return refuse(err, -EBADMSG, "no .tar.gz: %.200s", reason(a));
	while ((rc = archive_read_next_header(a, &e)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
		if (n++ > PACK_FILES_MAX)
			return refuse(err, -E2BIG, "it has more than %d files", PACK_FILES_MAX);
		rc = read_one(a, e, buf, &budget, fn, arg, err);
		if (rc)
			return rc;
	}
	if (rc != ARCHIVE_EOF)
		return refuse(err, -EBADMSG, "no .tar.gz: %.200s", reason(a));
	if (n == 0)
		return refuse(err, -EBADMSG, "no .tar.gz, or an empty one");
	at = (size_t)archive_filter_bytes(a, -1);
	if (at > tar_len || !all_zero((const uint8_t *)tar + at, tar_len - at))
		return refuse(err, -EBADMSG, "something follows the end of the archive");
	return 0;
}
