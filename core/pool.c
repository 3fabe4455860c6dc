/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool.h"

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define POOL_CHUNK_MIN 512
#define POOL_CHUNK 8192
#define POOL_CHUNK_MAX 65536 /* below what malloc() maps afresh each time */

struct chunk {
	struct chunk *next;
	size_t used, size; /* what is aligned from the beginning, text from the end */
	alignas(max_align_t) unsigned char data[];
};

struct deferred {
	struct deferred *next;
	void (*fn)(void *ptr);
	void *ptr;
};

struct pool {
	struct chunk *chunks; /* the first one has room, the others are full */
	size_t chunk_size;    /* of the next one: what grows gets larger ones */
	struct deferred *deferred;
};

struct pool *pool_new_for(size_t len)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (p)
		p->chunk_size = len < POOL_CHUNK_MIN ? POOL_CHUNK_MIN :
				len > POOL_CHUNK_MAX ? POOL_CHUNK_MAX : len;
	return p;
}

struct pool *pool_new(void)
{
	return pool_new_for(POOL_CHUNK);
}

void pool_free(struct pool *p)
{
	struct chunk *c, *next;

	if (!p)
		return;
	for (struct deferred *d = p->deferred; d; d = d->next)
		d->fn(d->ptr);
	for (c = p->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	free(p);
}

static struct chunk *chunk_add(struct pool *p, size_t len)
{
	/* What is large gets a chunk of its own, behind the one that still has room. */
	bool own = len > POOL_CHUNK / 4 || len > p->chunk_size;
	size_t size = own ? len : p->chunk_size;
	struct chunk *c = calloc(1, sizeof(*c) + size);

	if (!c)
		return NULL;
	if (!own && p->chunk_size < POOL_CHUNK_MAX)
		p->chunk_size += p->chunk_size / 2;
	c->size = size;
	if (own && p->chunks) {
		c->next = p->chunks->next;
		p->chunks->next = c;
	} else {
		c->next = p->chunks;
		p->chunks = c;
	}
	return c;
}

/* The chunk that has room for so many bytes. */
static struct chunk *chunk_for(struct pool *p, size_t len)
{
	struct chunk *c = p->chunks;

	return c && c->size - c->used >= len ? c : chunk_add(p, len);
}

void *pool_alloc(struct pool *p, size_t len)
{
	size_t align = alignof(uint64_t);
	struct chunk *c;
	void *ret;

	if (len > SIZE_MAX / 2)
		return NULL;
	len = (len + align - 1) / align * align;
	c = chunk_for(p, len);
	if (!c)
		return NULL;
	ret = c->data + c->used;
	c->used += len;
	return ret;
}

void *pool_array(struct pool *p, size_t n, size_t size)
{
	size_t len;

	if (__builtin_mul_overflow(n, size, &len))
		return NULL;
	return pool_alloc(p, len);
}

char *pool_strndup(struct pool *p, const char *s, size_t len)
{
	struct chunk *c = len < SIZE_MAX / 2 ? chunk_for(p, len + 1) : NULL;

	if (!c)
		return NULL;
	c->size -= len + 1;
	if (len)
		memcpy(c->data + c->size, s, len);
	return (char *)c->data + c->size;
}

char *pool_strdup(struct pool *p, const char *s)
{
	return pool_strndup(p, s, strlen(s));
}

int pool_defer(struct pool *p, void (*fn)(void *ptr), void *ptr)
{
	struct deferred *d = pool_alloc(p, sizeof(*d));

	if (!d)
		return -ENOMEM;
	*d = (struct deferred){ .next = p->deferred, .fn = fn, .ptr = ptr };
	p->deferred = d;
	return 0;
}
