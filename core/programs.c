/* SPDX-License-Identifier: Apache-2.0 */
#include "core/programs.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* One state of the whole table: one piece of memory, which never changes. */
struct state {
	struct state *next_retired;
	uint64_t retired_at;
	size_t n;
	struct program v[]; /* by identity; the names stand behind */
};

struct programs {
	struct state *_Atomic now; /* NULL: none */
	_Atomic uint64_t epoch;    /* grows when the reader holds nothing */
	_Atomic size_t count;
	struct state *retired; /* the writer's */
};

int programs_new(struct programs **ret)
{
	struct programs *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	*ret = p;
	return 0;
}

static void reclaim(struct programs *p, bool all)
{
	struct state **link = &p->retired, *s;
	uint64_t epoch = atomic_load(&p->epoch);

	while ((s = *link)) {
		if (!all && epoch <= s->retired_at) {
			link = &s->next_retired;
			continue;
		}
		*link = s->next_retired;
		free(s);
	}
}

void programs_free(struct programs *p)
{
	if (!p)
		return;
	reclaim(p, true);
	free(atomic_load(&p->now));
	free(p);
}

static int by_identity(const void *a, const void *b)
{
	const struct program *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

const struct program *programs_find(const struct programs *p, uint64_t dev, uint64_t ino)
{
	const struct state *s = atomic_load_explicit(&p->now, memory_order_acquire);
	struct program key = { .dev = dev, .ino = ino };

	return s ? bsearch(&key, s->v, s->n, sizeof(key), by_identity) : NULL;
}

bool program_is_called(const struct program *p, const char *path)
{
	for (unsigned i = 0; i < p->n_names; i++)
		if (!strcmp(p->names[i], path))
			return true;
	return false;
}

bool program_is_loader(const char *path)
{
	static const char *const begin[] = { "ld-linux", "ld-musl-", "ld.so", "ld64.so" };
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < sizeof(begin) / sizeof(begin[0]); i++)
		if (!strncmp(name, begin[i], strlen(begin[i])))
			return true;
	/* ld-2.31.so; musl's, which is the C library as well. */
	return (!strncmp(name, "ld-", 3) && strstr(name, ".so")) || !strcmp(name, "libc.so");
}

void programs_quiescent(struct programs *p)
{
	atomic_fetch_add(&p->epoch, 1);
}

static struct state *copy(const struct program *v, size_t n)
{
	size_t bytes = sizeof(struct state) + n * sizeof(*v);
	struct state *s;
	char *text;

	for (size_t i = 0; i < n; i++)
		for (unsigned k = 0; k < v[i].n_names; k++)
			bytes += strlen(v[i].names[k]) + 1;
	s = calloc(1, bytes);
	if (!s)
		return NULL;
	s->n = n;
	text = (char *)(s->v + n);
	for (size_t i = 0; i < n; i++) {
		s->v[i] = v[i];
		for (unsigned k = 0; k < v[i].n_names; k++) {
			s->v[i].names[k] = text;
			text = stpcpy(text, v[i].names[k]) + 1;
		}
	}
	if (n)
		qsort(s->v, n, sizeof(*v), by_identity);
	return s;
}

int programs_set(struct programs *p, const struct program *v, size_t n)
{
	struct state *s = n ? copy(v, n) : NULL, *old;

	if (n && !s)
		return -ENOMEM;
	old = atomic_exchange(&p->now, s);
	atomic_store_explicit(&p->count, n, memory_order_relaxed);
	if (old) {
		/* As in core/objects.c: once to end the section that is running, once to be sure that
		 * one began after the exchange. */
		old->retired_at = atomic_load(&p->epoch) + 1;
		old->next_retired = p->retired;
		p->retired = old;
	}
	reclaim(p, false);
	return 0;
}

size_t programs_count(const struct programs *p)
{
	return atomic_load_explicit(&p->count, memory_order_relaxed);
}
