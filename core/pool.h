/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that lives and dies together: what one YAML document or one rule set is made of. Freed as
 * a whole; things that need more than free() are handed in with their destructor.
 */
#ifndef OKNEK_CORE_POOL_H
#define OKNEK_CORE_POOL_H

#include <stddef.h>

struct pool;

struct pool *pool_new(void); /* NULL: no memory */
struct pool *pool_new_for(size_t len_bytes); /* about as much as it will hold */
void pool_free(struct pool *p); /* NULL is fine; destructors run last in, first out */

/* Zeroed, aligned for pointers and numbers of 64 bits. NULL: no memory. */
void *pool_alloc(struct pool *p, size_t len_bytes);
/* n elements; NULL on overflow as well. */
void *pool_array(struct pool *p, size_t n, size_t size_bytes);
/* len bytes and a NUL behind them, not aligned. */
char *pool_strndup(struct pool *p, const char *s, size_t len_bytes);
char *pool_strdup(struct pool *p, const char *s);
/* Runs fn(ptr) when the pool is freed. -ENOMEM: ptr remains the caller's. */
int pool_defer(struct pool *p, void (*fn)(void *ptr), void *ptr);

#endif
