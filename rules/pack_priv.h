/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a pack are kept in; for rules/pack*.c only. */
#ifndef OKNEK_RULES_PACK_PRIV_H
#define OKNEK_RULES_PACK_PRIV_H

#include <stdbool.h>

#include "rules/pack.h"

struct pack_entry {
	uint32_t name_hash; /* thousands of names are looked up among thousands */
	char name[PACK_NAME_MAX];
	uint8_t *data; /* len bytes and a NUL */
	size_t len;
};

struct pack {
	struct pack_entry *entries;
	size_t n, bytes;
	struct pack_manifest manifest;
	char digest[PACK_HASH_HEX + 1];
	bool verified;
};

const struct pack_entry *pack_find(const struct pack *p, const char *name);
void pack_manifest_clear(struct pack_manifest *m);

#endif
