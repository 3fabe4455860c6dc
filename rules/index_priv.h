/* SPDX-License-Identifier: Apache-2.0 */
/* Under what rules are filed: shared by index.c and index_keys.c, nobody else. */
#ifndef OKNEK_RULES_INDEX_PRIV_H
#define OKNEK_RULES_INDEX_PRIV_H

#include <string.h>

#include "rules/compiled.h"

enum key_type {
	KEY_LAST = 1,  /* of a path: the last component */
	KEY_EXTENSION, /* what it has from its last dot on */
	KEY_COMPONENT, /* any component */
	KEY_PROCESS,   /* a name of the process, all of it */
	KEY_HOST,      /* the name of a destination, all of it */
	KEY_NET,       /* an address, or as many of its bits as the type says */
	KEY_PORT,
	/* Three bytes in a row, anywhere in the text of a field. */
	KEY_IN_PATH,
	KEY_IN_EXE,
	KEY_IN_HOST,
	KEY_IN_ARGV, /* joined by blanks */
	KEY_IN_PROCESS,
};

#define KEY_BYTES 3 /* of a KEY_IN_… */
#define NET_BITS 129

/* FNV-1a, 64 bits: one multiplication per byte, good enough where collisions cost only time. */
static inline uint64_t key_hash(enum key_type type, const void *data, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) + type * UINT64_C(0x9e3779b97f4a7c15);
	const unsigned char *s = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ s[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	return h ? h : 1;
}

/* Of the three bytes in `bytes`, the last one lowest: a text is gone through byte by byte. */
static inline uint64_t key_hash_in(enum key_type type, uint32_t bytes)
{
	uint64_t h = ((uint64_t)type << 24 | bytes) * UINT64_C(0x9e3779b97f4a7c15);

	return h ^ h >> 32;
}

static inline uint64_t key_hash_net(const uint8_t addr[16], unsigned bits)
{
	uint8_t key[17] = { 0 };

	memcpy(key, addr, (bits + 7) / 8);
	if (bits % 8)
		key[bits / 8] &= (uint8_t)(0xff << (8 - bits % 8));
	key[16] = (uint8_t)bits;
	return key_hash(KEY_NET, key, sizeof(key));
}

struct entry {
	uint64_t hash;
	uint32_t rule;
	uint8_t type, net_bits;
};

/* How many values offered a key, about: several keys may share a count. Those of three bytes are
 * many and common, and have counts of their own. */
struct counts {
	uint16_t *v;
	uint32_t half;
};

struct builder {
	bool counting; /* first round: every possible key is counted */
	bool failed;   /* no memory */
	bool paths_only;
	uint32_t rule;
	struct counts counts;
	struct entry *chosen;
	size_t n, cap;
};

/* Files b->rule under keys of which one occurs in every event that n matches. False: there are
 * none, and what was added has to go. */
bool index_keys_of(struct builder *b, const struct node *n);

#endif
