/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip (RFC 1952) of which no bit is idle. Its own checksum covers what is packed, but neither the
 * header nor the many ways to pack the same; so what gzip_pack() makes carries a seal, the SHA-256 of
 * the whole, in an extra field that every other reader skips.
 */
#ifndef OKNEK_TOOLS_CLI_GZIP_H
#define OKNEK_TOOLS_CLI_GZIP_H

#include <stddef.h>
#include <stdint.h>

#define GZIP_ERROR_SIZE 200

/* Allocates *ret. -ENOMEM, -E2BIG. */
int gzip_pack(const void *data, size_t len_bytes, uint8_t **ret, size_t *ret_len_bytes);

/*
 * One member and nothing after it; the seal, where there is one, must hold. *ret is allocated, of at
 * most max bytes and, beyond free_bytes, at most ratio times what it was packed in. -EBADMSG,
 * -E2BIG, -ENOMEM: err says why, in one line.
 */
struct gzip_bounds {
	size_t max_bytes, free_bytes;
	unsigned ratio;
};
int gzip_unpack(const void *packed, size_t packed_len_bytes, const struct gzip_bounds *b,
		uint8_t **ret, size_t *ret_len_bytes, char err[GZIP_ERROR_SIZE]);

#endif
