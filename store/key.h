/* SPDX-License-Identifier: Apache-2.0 */
/* The host key, which signs evidence, and the signed head, which names the newest record outside
 * the database. */
#ifndef OKNEK_STORE_KEY_H
#define OKNEK_STORE_KEY_H

#include <stdint.h>

#include "store/record.h"

#define KEY_HEX 64

struct host_key {
	uint8_t secret[64], public[32];
	char fingerprint[KEY_HEX + 1]; /* hex SHA-256 of the public key */
};

/*
 * Reads DIR/host.key (0600, 64 hex digits of the seed), or makes it and DIR/host.pub (64 hex
 * digits) when there is none. A key that is there and cannot be read is never replaced: -EACCES,
 * -EBADMSG, -errno. A missing or wrong host.pub is written again.
 */
int key_load(int dir_fd, struct host_key *ret);
/* From a file as host.pub is. -EBADMSG, -errno. */
int key_read_public(const char *path, uint8_t public[32], char fingerprint[KEY_HEX + 1]);

struct store_head {
	uint64_t seq;
	char hash[RECORD_HASH_HEX + 1];
	int64_t time_unix_ns;
	char key[KEY_HEX + 1]; /* fingerprint of the signing key */
};

/* Replaces DIR/head by rename. -errno. */
int head_write(int dir_fd, const struct host_key *k, uint64_t seq, const char *hash);
/* -ENOENT; -EBADMSG when it is no head, or is not signed by this key. */
int head_read(int dir_fd, const char *name, const uint8_t public[32], struct store_head *ret);

/* Replaces DIR/NAME with data: written beside it, synced, renamed. */
int file_replace(int dir_fd, const char *name, const void *data, size_t len, unsigned mode);

#endif
