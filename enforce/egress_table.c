/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what the configuration says to what the kernel looks up. The longest prefix wins there, and it
 * alone: so each entry also has what shorter prefixes say about its addresses, port by port.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/address.h"
#include "core/cleanup.h"
#include "enforce/egress.h"

/* Where clouds hand out credentials to whoever asks from this host. */
static const uint8_t metadata4[][4] = {
	{ 169, 254, 169, 254 }, /* AWS, Google, Azure, Oracle, DigitalOcean, OpenStack … */
	{ 169, 254, 170, 2 },   /* AWS ECS */
	{ 169, 254, 170, 23 },  /* AWS EKS */
	{ 169, 254, 0, 23 },    /* Tencent */
	{ 169, 254, 42, 42 },   /* Scaleway */
	{ 100, 100, 100, 200 }, /* Alibaba */
	{ 192, 0, 0, 192 },     /* Oracle, classic */
};

static const char *const metadata6[] = {
	"fd00:ec2::254",   /* AWS */
	"fd00:ec2::23",    /* AWS EKS */
	"fd20:ce::254",    /* Google */
	"fd00:42::42",     /* Scaleway */
	"fe80::a9fe:a9fe", /* OpenStack */
};

/* How an address of IPv4 is written in one of IPv6: who translates on the way leads to the former. */
static const struct {
	const char *prefix;
	uint8_t at[4]; /* its bytes */
	uint8_t bits;
} embeddings[] = {
	{ "::ffff:0:0", { 12, 13, 14, 15 }, 128 },  /* mapped: the address itself */
	{ "::", { 12, 13, 14, 15 }, 128 },          /* RFC 4291 2.5.5.1 */
	{ "::ffff:0:0:0", { 12, 13, 14, 15 }, 128 }, /* RFC 2765 */
	{ "2002::", { 2, 3, 4, 5 }, 48 },           /* 6to4, RFC 3056 */
	{ "64:ff9b::", { 12, 13, 14, 15 }, 128 },   /* NAT64, RFC 6052 */
	{ "64:ff9b:1::", { 12, 13, 14, 15 }, 128 }, /* and RFC 8215, by what prefixes it allows */
	{ "64:ff9b:1::", { 6, 7, 9, 10 }, 88 },
	{ "64:ff9b:1::", { 7, 9, 10, 11 }, 96 },
	{ "64:ff9b:1::", { 9, 10, 11, 12 }, 104 },
};

static struct egress_destination *put_metadata(struct egress_destination *d, const char *text,
					       uint8_t bits)
{
	*d = (struct egress_destination){ .bits = bits, .to = UINT16_MAX, .class = EGRESS_METADATA,
					  .strength = EGRESS_BY_METADATA };
	inet_pton(AF_INET6, text, d->addr);
	return d;
}

size_t egress_metadata(struct egress_destination *list, size_t max)
{
	size_t n = 0;

	_Static_assert(ARRAY_SIZE(metadata6) + ARRAY_SIZE(metadata4) * ARRAY_SIZE(embeddings) <=
			       EGRESS_METADATA_MAX, "room for all");
	for (size_t i = 0; i < ARRAY_SIZE(metadata6) && n < max; i++)
		put_metadata(&list[n++], metadata6[i], 128);
	for (size_t i = 0; i < ARRAY_SIZE(embeddings); i++)
		for (size_t k = 0; k < ARRAY_SIZE(metadata4) && n < max; k++) {
			struct egress_destination *d =
				put_metadata(&list[n++], embeddings[i].prefix, embeddings[i].bits);

			for (int byte = 0; byte < 4; byte++)
				d->addr[embeddings[i].at[byte]] = metadata4[k][byte];
		}
	return n;
}

static void mask(uint8_t addr[16], unsigned bits)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned left = bits > i * 8 ? bits - i * 8 : 0;

		if (left < 8)
			addr[i] &= (uint8_t)(0xff00 >> left);
	}
}

static bool covers(const uint8_t prefix[16], unsigned bits, const uint8_t addr[16])
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(prefix, addr, whole) != 0)
		return false;
	return !rest || !((prefix[whole] ^ addr[whole]) & (0xff00 >> rest) & 0xff);
}

bool egress_is_loopback(const uint8_t addr[16], unsigned bits)
{
	static const uint8_t net4[16] = { [10] = 0xff, [11] = 0xff, [12] = 127 };
	static const uint8_t any4[16] = { [10] = 0xff, [11] = 0xff };
	static const uint8_t one6[16] = { [15] = 1 }, any6[16];

	if (bits < 128)
		return bits >= 104 && covers(net4, 104, addr);
	return covers(net4, 104, addr) || !memcmp(addr, any4, 16) || !memcmp(addr, one6, 16) ||
	       !memcmp(addr, any6, 16);
}

static int by_key(const void *a, const void *b)
{
	const struct egress_entry *x = a, *y = b;
	int cmp = memcmp(x->key.addr, y->key.addr, sizeof(x->key.addr));

	return cmp ? cmp : (x->key.bits > y->key.bits) - (x->key.bits < y->key.bits);
}

static int by_prefix(const void *a, const void *b)
{
	const struct egress_destination *x = a, *y = b;
	int cmp = memcmp(x->addr, y->addr, sizeof(x->addr));

	return cmp ? cmp : (x->bits > y->bits) - (x->bits < y->bits);
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

struct compiling {
	const struct egress_destination *list; /* in the order of entries: what covers comes before */
	const struct egress_destination **of; /* those that cover the prefix in hand, a stack */
	uint32_t *cuts; /* first ports of ranges */
	size_t n, n_of;
	size_t next; /* in list, the first after the prefix in hand */
	enum egress_class rest;
	const struct egress_judge *judge;
};

/* The last address of a prefix, and the one after that. */
static void last_of(uint8_t addr[16], unsigned bits)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned left = bits > i * 8 ? bits - i * 8 : 0;

		if (left < 8)
			addr[i] |= (uint8_t)(0xff >> left);
	}
}

static bool step(uint8_t addr[16])
{
	for (int i = 15; i >= 0; i--)
		if (++addr[i])
			return true;
	return false;
}

/* Longer prefixes of this one follow it in the list, all of them. */
static bool is_below(const struct compiling *c, const struct egress_entry *e, size_t i)
{
	return i < c->n && covers(e->key.addr, e->key.bits, c->list[i].addr);
}

static bool is_within_longer(const struct compiling *c, const struct egress_entry *e,
			     const uint8_t addr[16])
{
	for (size_t i = c->next; is_below(c, e, i); i++)
		if (covers(c->list[i].addr, c->list[i].bits, addr))
			return true;
	return false;
}

/* An address for which this entry is the longest prefix: its last, or the one after some longer
 * prefix. If there is none, nobody looks. */
static void find_example(const struct compiling *c, const struct egress_entry *e, uint8_t ret[16])
{
	memcpy(ret, e->key.addr, 16);
	last_of(ret, e->key.bits);
	for (size_t i = c->next; is_below(c, e, i) && is_within_longer(c, e, ret); i++) {
		uint8_t next[16];

		memcpy(next, c->list[i].addr, 16);
		last_of(next, c->list[i].bits);
		if (step(next) && covers(e->key.addr, e->key.bits, next))
			memcpy(ret, next, 16);
	}
}

static struct egress_range judge(const struct compiling *c, const uint8_t example[16], size_t n,
				 uint32_t port)
{
	struct egress_range range = { .class = (uint8_t)c->rest };
	unsigned strength = EGRESS_BOUNDARY;

	for (size_t i = 0; i < n; i++)
		if (c->of[i]->strength > strength && c->of[i]->from <= port &&
		    c->of[i]->to >= port) {
			strength = c->of[i]->strength;
			range.class = (uint8_t)c->of[i]->class;
		}
	range.verdict = (uint8_t)c->judge->judge(c->judge->arg, range.class, example,
						 (uint16_t)port);
	return range;
}

/* What covers the next entry: part of what covered the last, and what has its very prefix. */
static void step_to(struct compiling *c, const struct egress_entry *e)
{
	while (c->n_of && !(c->of[c->n_of - 1]->bits <= e->key.bits &&
			    covers(c->of[c->n_of - 1]->addr, c->of[c->n_of - 1]->bits, e->key.addr)))
		c->n_of--;
	while (c->next < c->n && c->list[c->next].bits == e->key.bits &&
	       !memcmp(c->list[c->next].addr, e->key.addr, 16))
		c->of[c->n_of++] = &c->list[c->next++];
}

static int fill(struct compiling *c, struct egress_entry *e, char why[128])
{
	size_t n_cuts = 1, used = 0;
	char text[64];
	uint8_t example[16];

	step_to(c, e);
	find_example(c, e, example);
	c->cuts[0] = 0;
	for (size_t i = 0; i < c->n_of; i++) {
		c->cuts[n_cuts++] = c->of[i]->from;
		c->cuts[n_cuts++] = c->of[i]->to + 1u;
	}
	qsort(c->cuts, n_cuts, sizeof(*c->cuts), by_number);
	for (size_t i = 0; i < n_cuts && c->cuts[i] <= UINT16_MAX; i++) {
		struct egress_range range;

		if (i && c->cuts[i] == c->cuts[i - 1])
			continue;
		range = judge(c, example, c->n_of, c->cuts[i]);
		if (used && e->value.range[used - 1].class == range.class &&
		    e->value.range[used - 1].verdict == range.verdict)
			continue;
		if (used == EGRESS_RANGES) {
			address_text(e->key.addr, e->key.bits, text);
			snprintf(why, 128, "more than %d ranges of ports for %s", EGRESS_RANGES,
				 text);
			return -E2BIG;
		}
		if (used)
			e->value.range[used - 1].to = (uint16_t)(c->cuts[i] - 1);
		e->value.range[used++] = range;
	}
	for (size_t i = used - 1; i < EGRESS_RANGES; i++) {
		e->value.range[i] = e->value.range[used - 1];
		e->value.range[i].to = UINT16_MAX;
	}
	return 0;
}

int egress_compile(const struct egress_destination *list, size_t n, enum egress_class rest,
		   const struct egress_judge *judge, struct egress_entry **ret, size_t *n_ret,
		   char why[128])
{
	_cleanup_free_ struct egress_entry *entries = calloc(n + 1, sizeof(*entries));
	_cleanup_free_ const struct egress_destination **of = calloc(n + 1, sizeof(*of));
	_cleanup_free_ struct egress_destination *sorted = calloc(n + 1, sizeof(*sorted));
	_cleanup_free_ uint32_t *cuts = calloc(2 * n + 1, sizeof(*cuts));
	struct compiling c = { .list = sorted, .of = of, .cuts = cuts, .n = n, .rest = rest,
			       .judge = judge };
	size_t kept = 0;

	if (!entries || !of || !sorted || !cuts)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		sorted[i] = list[i];
		mask(sorted[i].addr, sorted[i].bits);
	}
	qsort(sorted, n, sizeof(*sorted), by_prefix);
	/* One for all addresses is there from the start, zeroed. */
	for (size_t i = 0; i < n; i++) {
		entries[i + 1].key.bits = sorted[i].bits;
		memcpy(entries[i + 1].key.addr, sorted[i].addr, 16);
	}
	qsort(entries, n + 1, sizeof(*entries), by_key);
	for (size_t i = 0; i <= n; i++)
		if (!kept || by_key(&entries[kept - 1], &entries[i]) != 0)
			entries[kept++] = entries[i];
	if (kept > EGRESS_TABLE_MAX) {
		snprintf(why, 128, "more than %d addresses", EGRESS_TABLE_MAX);
		return -E2BIG;
	}
	for (size_t i = 0; i < kept; i++) {
		int r = fill(&c, &entries[i], why);

		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(entries);
	*n_ret = kept;
	return 0;
}

const struct egress_range *egress_look_up(const struct egress_entry *entries, size_t n,
					  const uint8_t addr[16], uint16_t port)
{
	const struct egress_entry *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (covers(entries[i].key.addr, entries[i].key.bits, addr) &&
		    (!best || entries[i].key.bits > best->key.bits))
			best = &entries[i];
	for (size_t i = 0; best && i < EGRESS_RANGES; i++)
		if (port <= best->value.range[i].to)
			return &best->value.range[i];
	return NULL;
}
