/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs as .tar.gz. An archive is read by a child that can do nothing but read it and tell what is
 * in it: whoever made it may have meant to break the reader.
 */
#ifndef OKNEK_TOOLS_CLI_ARCHIVE_H
#define OKNEK_TOOLS_CLI_ARCHIVE_H

#include "rules/pack.h"

#define ARCHIVE_BYTES_MAX (16u << 20) /* of the archive itself */
#define ARCHIVE_MS 10000              /* to read it */

/* The pack in the archive that is open as fd (from its present position); name is for messages.
 * Not verified. -EBADMSG: no archive, or one with what no pack has; -E2BIG, -ETIMEDOUT, -errno. */
int archive_read_pack(int fd, const char *name, struct pack **ret, struct pack_error *err);

/* Writes a signed pack; the same pack gives the same bytes. -errno. */
int archive_write_pack(const struct pack *p, int fd, struct pack_error *err);

#endif
