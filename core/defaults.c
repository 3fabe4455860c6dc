/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear probing; an entry is 62 bits of a hash of (dev, ino) and the verdict + 1. That two objects
 * share all 62 happens once in 2^30 hosts with as many objects as there is room for. Removing moves
 * later entries back, copy first: a reader may meet one twice, or miss one that is being moved,
 * which makes it an object that is not known, and never one of another verdict.
 */
#include "core/defaults.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MASK (DEFAULTS_ENTRIES - 1)
#define VERDICT_BITS 2
#define VERDICT_MASK 3ULL
#define FULL (DEFAULTS_ENTRIES / 4 * 3)

struct defaults {
	_Atomic uint64_t *entries; /* shared mapping */
	unsigned used;             /* the writer's */
};

_Static_assert(VERDICT_BLOCK + 1 <= VERDICT_MASK, "a verdict fits beside the hash");

/* The finalizer of SplitMix64: every bit of the input changes half of the output. */
static uint64_t scatter(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static uint64_t key_of(uint64_t dev, uint64_t ino)
{
	return scatter(scatter(dev + 0x9e3779b97f4a7c15ULL) ^ ino) & ~VERDICT_MASK;
}

static unsigned home_of(uint64_t entry)
{
	return (unsigned)(entry >> VERDICT_BITS) & MASK;
}

static uint64_t get(const struct defaults *d, unsigned i)
{
	return atomic_load_explicit(&d->entries[i], memory_order_acquire);
}

static void set(struct defaults *d, unsigned i, uint64_t entry)
{
	atomic_store_explicit(&d->entries[i], entry, memory_order_release);
}

int defaults_new(struct defaults **ret)
{
	struct defaults *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->entries = mmap(NULL, DEFAULTS_ENTRIES * sizeof(*d->entries), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (d->entries == MAP_FAILED) {
		free(d);
		return -ENOMEM;
	}
	*ret = d;
	return 0;
}

void defaults_free(struct defaults *d)
{
	if (!d)
		return;
	munmap(d->entries, DEFAULTS_ENTRIES * sizeof(*d->entries));
	free(d);
}

/* Where the object is, or the empty entry where it belongs. The table is never full for the writer;
 * a reader that meets it in the midst of a change looks at each entry once at most. */
static unsigned look(const struct defaults *d, uint64_t key, uint64_t *ret)
{
	unsigned i = home_of(key);
	uint64_t entry = 0;

	for (unsigned n = 0; n < DEFAULTS_ENTRIES; n++, i = (i + 1) & MASK) {
		entry = get(d, i);
		if (!entry || (entry & ~VERDICT_MASK) == key)
			break;
	}
	*ret = entry;
	return i;
}

int defaults_put(struct defaults *d, uint64_t dev, uint64_t ino, enum verdict v)
{
	uint64_t key = key_of(dev, ino), entry;
	unsigned i = look(d, key, &entry);

	if (!entry) {
		if (d->used >= FULL)
			return -ENOSPC;
		d->used++;
	}
	set(d, i, key | ((uint64_t)v + 1));
	return 0;
}

void defaults_remove(struct defaults *d, uint64_t dev, uint64_t ino)
{
	uint64_t entry;
	unsigned hole = look(d, key_of(dev, ino), &entry), i = hole;

	if (!entry)
		return;
	d->used--;
	for (;;) {
		i = (i + 1) & MASK;
		entry = get(d, i);
		if (!entry)
			break;
		if (((i - home_of(entry)) & MASK) < ((i - hole) & MASK))
			continue; /* it would land before its home */
		set(d, hole, entry);
		hole = i;
	}
	set(d, hole, 0);
}

int defaults_find(const struct defaults *d, uint64_t dev, uint64_t ino)
{
	uint64_t key = key_of(dev, ino), entry;

	look(d, key, &entry);
	if (!entry || (entry & ~VERDICT_MASK) != key)
		return -ENOENT;
	return (int)(entry & VERDICT_MASK) - 1;
}
