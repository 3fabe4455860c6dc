/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A keyed hash of arguments that BPF programs and the daemon compute alike: SipHash-1-3 over words of
 * eight bytes in the host's order, in groups of sixteen, the last of which is filled up with zeros; the
 * length goes in at the end. Who does not know the key cannot make two that have the same.
 */
#ifndef OKNEK_SOURCES_BPF_ARGV_HASH_H
#define OKNEK_SOURCES_BPF_ARGV_HASH_H

#include <linux/types.h>

#define ARGV_HASH_GROUP 16 /* words */

struct argv_hash {
	__u64 v0, v1, v2, v3;
};

#define ARGV_HASH_ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))

static inline __attribute__((always_inline)) void argv_hash_round(struct argv_hash *h)
{
	h->v0 += h->v1;
	h->v1 = ARGV_HASH_ROTATE(h->v1, 13) ^ h->v0;
	h->v0 = ARGV_HASH_ROTATE(h->v0, 32);
	h->v2 += h->v3;
	h->v3 = ARGV_HASH_ROTATE(h->v3, 16) ^ h->v2;
	h->v0 += h->v3;
	h->v3 = ARGV_HASH_ROTATE(h->v3, 21) ^ h->v0;
	h->v2 += h->v1;
	h->v1 = ARGV_HASH_ROTATE(h->v1, 17) ^ h->v2;
	h->v2 = ARGV_HASH_ROTATE(h->v2, 32);
}

/* The constants are SipHash's own. */
static inline __attribute__((always_inline)) void argv_hash_begin(struct argv_hash *h, __u64 k0,
								  __u64 k1)
{
	h->v0 = k0 ^ 0x736f6d6570736575ULL;
	h->v1 = k1 ^ 0x646f72616e646f6dULL;
	h->v2 = k0 ^ 0x6c7967656e657261ULL;
	h->v3 = k1 ^ 0x7465646279746573ULL;
}

static inline __attribute__((always_inline)) void argv_hash_word(struct argv_hash *h, __u64 word)
{
	h->v3 ^= word;
	argv_hash_round(h);
	h->v0 ^= word;
}

static inline __attribute__((always_inline)) __u64 argv_hash_end(struct argv_hash *h, __u64 len)
{
	argv_hash_word(h, len);
	h->v2 ^= 0xff;
	argv_hash_round(h);
	argv_hash_round(h);
	argv_hash_round(h);
	return h->v0 ^ h->v1 ^ h->v2 ^ h->v3;
}

#endif
