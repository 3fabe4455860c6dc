/* SPDX-License-Identifier: Apache-2.0 */
/* What the confined child does with an archive: reads it in memory, and tells of each file. */
#ifndef OKNEK_TOOLS_CLI_ARCHIVE_READ_H
#define OKNEK_TOOLS_CLI_ARCHIVE_READ_H

#include <stddef.h>

#define ARCHIVE_ERROR_SIZE 400

/* Not 0: ends the reading, which then returns it; err was written by the callee. */
typedef int (*archive_file_fn)(void *arg, const char *name, const void *data, size_t len_bytes);

/*
 * tar in gzip and nothing else: no other format or filter, nothing after its end, checksum and (of
 * what archive_write_pack() makes) seal as they should be, only regular files
 * and the folders that a pack has, within the bounds of a pack and RATIO_MAX. Opens and writes
 * nothing. -EBADMSG, -E2BIG, -ENOMEM: err says why, in one line.
 */
int archive_read_bytes(const void *packed, size_t len_bytes, archive_file_fn fn, void *arg,
		       char err[ARCHIVE_ERROR_SIZE]);
/* The second half of it: the tar alone. */
int archive_read_tar(const void *tar, size_t len_bytes, archive_file_fn fn, void *arg,
		     char err[ARCHIVE_ERROR_SIZE]);

#endif
