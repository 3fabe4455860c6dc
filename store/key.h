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

/* What was not as it should be with a key that can be used all the same. */
struct key_care {
	bool foreign; /* others could open it: uid and mode it had; mended: now only we can */
	bool mended;
	unsigned uid, mode;
	bool public_was_missing; /* host.pub, and has been written again */
	bool public_is_wrong;	 /* host.pub is another's, or no key: to be put beside */
};

/* Reads DIR/host.key (0600, 64 hex digits of the seed); a missing host.pub (64 hex digits) is
 * written again. -ENOENT; -EBADMSG when it is no key; -errno. */
int key_load(int dir_fd, struct host_key *ret, struct key_care *ret_care);
/* DIR/host.pub, in place of what is there. */
int key_write_public(int dir_fd, const struct host_key *k);
/* Makes DIR/host.key, which must not be there. -EEXIST, -errno. */
int key_make(int dir_fd);
/* From a file as host.pub is. -EBADMSG, -errno. */
int key_read_public(const char *path, uint8_t public[32], char fingerprint[KEY_HEX + 1]);
int key_read_public_at(int dir_fd, const char *name, uint8_t public[32],
		       char fingerprint[KEY_HEX + 1]);

#define BOOT_ID_SIZE 37 /* with its NUL */

struct store_head {
	unsigned v;
	uint64_t seq;
	char hash[RECORD_HASH_HEX + 1];
	int64_t time_unix_ns;
	char key[KEY_HEX + 1];   /* fingerprint of the signing key */
	char boot[BOOT_ID_SIZE]; /* in which it was written; "" in version 1 */
	bool closed;             /* by a daemon that ended in order */
};

/* Replaces DIR/head by rename; v and key are set here. -errno. */
int head_write(int dir_fd, const struct host_key *k, const struct store_head *h);
/* -ENOENT; -EBADMSG when it is no head, or is not signed by this key. */
int head_read(int dir_fd, const char *name, const uint8_t public[32], struct store_head *ret);

/* Replaces DIR/NAME with data: written beside it, synced, renamed. */
int file_replace(int dir_fd, const char *name, const void *data, size_t len, unsigned mode);

#endif
