/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_gzip.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/cleanup.h"

#define HEAD 10 /* magic, method, flags, time, extra flags, system: RFC 1952, 2.3 */
#define TRAILER 8
#define CHUNK 65536u

#define FLAG_HCRC 2
#define FLAG_EXTRA 4
#define FLAG_NAME 8
#define FLAG_COMMENT 16
#define FLAGS_KNOWN 31 /* the last is that of a text */

/*
 * The sealed header: that, the length of the extra field, its one subfield "OK" of version 1, and the
 * digest. The length is 38, not the 36 of a digest alone: who does not see the flag, as it was
 * flipped, takes the bits of 38 for a kind of block that deflate does not have.
 */
static const uint8_t sealed_head[] = { 0x1f, 0x8b, 8, FLAG_EXTRA, 0, 0, 0, 0, 2, 3,
				       38, 0, 'O', 'K', 34, 0, 1, 0 };
#define SEAL_AT sizeof(sealed_head)
#define SEAL crypto_hash_sha256_BYTES
#define SEALED_HEAD (SEAL_AT + SEAL)

static int __attribute__((format(printf, 3, 4)))
fault(char err[GZIP_ERROR_SIZE], int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, GZIP_ERROR_SIZE, fmt, ap);
	va_end(ap);
	return code;
}

/* Of all bytes but its own. */
static void seal(const uint8_t *packed, size_t len, uint8_t ret[SEAL])
{
	crypto_hash_sha256_state s;

	crypto_hash_sha256_init(&s);
	crypto_hash_sha256_update(&s, packed, SEAL_AT);
	crypto_hash_sha256_update(&s, packed + SEALED_HEAD, len - SEALED_HEAD);
	crypto_hash_sha256_final(&s, ret);
}

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- packing ------------------------------------------------------------------------------- */

int gzip_pack(const void *data, size_t len, uint8_t **ret, size_t *ret_len)
{
	z_stream z = { .next_in = (Bytef *)data, .avail_in = (uInt)len };
	_cleanup_free_ uint8_t *out = NULL;
	size_t size, n;

	if (len > UINT32_MAX / 2)
		return -E2BIG;
	/* Without zlib's own header. */
	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	size = SEALED_HEAD + deflateBound(&z, (uLong)len) + TRAILER;
	out = malloc(size);
	if (!out) {
		deflateEnd(&z);
		return -ENOMEM;
	}
	z.next_out = out + SEALED_HEAD;
	z.avail_out = (uInt)(size - SEALED_HEAD - TRAILER);
	if (deflate(&z, Z_FINISH) != Z_STREAM_END) {
		deflateEnd(&z);
		return -ENOMEM;
	}
	n = SEALED_HEAD + z.total_out;
	deflateEnd(&z);
	memcpy(out, sealed_head, sizeof(sealed_head));
	put32(out + n, (uint32_t)crc32(0, data, (uInt)len));
	put32(out + n + 4, (uint32_t)len);
	n += TRAILER;
	seal(out, n, out + SEAL_AT);
	*ret = TAKE_PTR(out);
	*ret_len = n;
	return 0;
}

/* ---- unpacking ----------------------------------------------------------------------------- */

/* A text that a NUL ends, of the header; 0: it does not end. */
static size_t text_len(const uint8_t *p, size_t at, size_t len)
{
	const uint8_t *end = at < len ? memchr(p + at, 0, len - at) : NULL;

	return end ? (size_t)(end - (p + at)) + 1 : 0;
}

/* Where the packed bytes begin. */
static int read_head(const uint8_t *p, size_t len, size_t *ret, char err[GZIP_ERROR_SIZE])
{
	size_t at = HEAD, n;
	uint8_t flags, digest[SEAL];

	if (len < 3 || p[0] != 0x1f || p[1] != 0x8b || p[2] != 8)
		return fault(err, -EBADMSG, len ? "no .tar.gz: it is not packed by gzip" :
						   "no .tar.gz, or an empty one");
	if (len < HEAD + TRAILER)
		return fault(err, -EBADMSG, "no .tar.gz: it ends too early");
	flags = p[3];
	if (flags & ~FLAGS_KNOWN)
		return fault(err, -EBADMSG, "no .tar.gz: gzip has no such flags");
	if (flags & FLAG_EXTRA) {
		/* An extra field is ours, or was ours before somebody altered it. */
		if (len < SEALED_HEAD + TRAILER)
			return fault(err, -EBADMSG, "no .tar.gz: it ends too early");
		seal(p, len, digest);
		if (memcmp(p, sealed_head, sizeof(sealed_head)) || memcmp(p + SEAL_AT, digest, SEAL))
			return fault(err, -EBADMSG, "the archive was altered: its seal does not hold");
		*ret = SEALED_HEAD;
		return 0;
	}
	for (unsigned flag = FLAG_NAME; flag <= FLAG_COMMENT; flag *= 2) {
		if (!(flags & flag))
			continue;
		n = text_len(p, at, len);
		if (!n)
			return fault(err, -EBADMSG, "no .tar.gz: it ends too early");
		at += n;
	}
	if (flags & FLAG_HCRC) {
		if (len - at < 2)
			return fault(err, -EBADMSG, "no .tar.gz: it ends too early");
		if ((crc32(0, p, (uInt)at) & 0xffff) != (p[at] | (uLong)p[at + 1] << 8))
			return fault(err, -EBADMSG, "the archive is damaged: the checksum of its header differs");
		at += 2;
	}
	*ret = at;
	return 0;
}

static size_t unpacked_max(const struct gzip_bounds *b, size_t packed)
{
	size_t max = packed > b->max_bytes / b->ratio ? b->max_bytes : packed * b->ratio;

	return max < b->free_bytes ? b->free_bytes : max;
}

/* Up to the end of the deflated bytes; at is moved to what follows them. */
static int inflate_all(const uint8_t *p, size_t len, const struct gzip_bounds *b, size_t *at,
		       uint8_t *out, size_t max, size_t *ret_len, char err[GZIP_ERROR_SIZE])
{
	z_stream z = { .next_in = (Bytef *)p + *at, .avail_in = (uInt)(len - *at) };
	int rc = inflateInit2(&z, -MAX_WBITS);

	if (rc != Z_OK)
		return fault(err, -ENOMEM, "out of memory");
	while (rc == Z_OK) {
		size_t left = max - z.total_out;

		if (!left) {
			rc = inflateEnd(&z);
			if (max == b->max_bytes)
				return fault(err, -E2BIG, "it unpacks to more than %zu MiB", max >> 20);
			return fault(err, -E2BIG, "it unpacks to more than %u times its size", b->ratio);
		}
		z.next_out = out + z.total_out;
		z.avail_out = (uInt)(left < CHUNK ? left : CHUNK);
		rc = inflate(&z, Z_NO_FLUSH);
		if (rc == Z_OK && z.total_out > b->free_bytes &&
		    z.total_out / b->ratio > *at + z.total_in) {
			inflateEnd(&z);
			return fault(err, -E2BIG, "it unpacks to more than %u times its size", b->ratio);
		}
	}
	*at += z.total_in;
	*ret_len = z.total_out;
	inflateEnd(&z);
	if (rc == Z_STREAM_END)
		return 0;
	return rc == Z_BUF_ERROR ? fault(err, -EBADMSG, "no .tar.gz: it ends too early") :
				   fault(err, -EBADMSG, "the archive is damaged: gzip cannot unpack it");
}

int gzip_unpack(const void *packed, size_t len, const struct gzip_bounds *b, uint8_t **ret,
		size_t *ret_len, char err[GZIP_ERROR_SIZE])
{
	_cleanup_free_ uint8_t *out = NULL;
	const uint8_t *p = packed;
	size_t at = 0, n = 0, max = unpacked_max(b, len);
	int rc = read_head(p, len, &at, err);

	if (rc)
		return rc;
	if (len > UINT32_MAX / 2 || max > UINT32_MAX / 2)
		return fault(err, -E2BIG, "it is too large");
	out = malloc(max);
	if (!out)
		return fault(err, -ENOMEM, "out of memory");
	rc = inflate_all(p, len, b, &at, out, max, &n, err);
	if (rc)
		return rc;
	if (len - at < TRAILER)
		return fault(err, -EBADMSG, "no .tar.gz: it ends too early");
	if (len - at > TRAILER)
		return fault(err, -EBADMSG, "something follows the end of the archive");
	if (get32(p + at) != (uint32_t)crc32(0, out, (uInt)n) || get32(p + at + 4) != (uint32_t)n)
		return fault(err, -EBADMSG, "the archive is damaged: its checksum differs");
	*ret = TAKE_PTR(out);
	*ret_len = n;
	return 0;
}
