/* SPDX-License-Identifier: Apache-2.0 */
#include "core/objects.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/defaults.h"

#include "core/cleanup.h"

#define BUCKETS 8192 /* a power of two; chains stay short for the some thousand objects of a host */

struct objects {
	struct object *_Atomic by_ino[BUCKETS];
	struct object *_Atomic by_handle[BUCKETS];
	/* Advanced by the reader when it holds no pointer. It and the links are accessed in one
	 * order that both threads agree on: else the writer might read an old epoch while the
	 * reader still reads an old link. */
	_Atomic uint64_t epoch;
	struct object *retired; /* unlinked, perhaps still looked at */
	_Atomic unsigned count;
	struct defaults *defaults; /* for the guardian; NULL: none */
};

static unsigned ino_bucket(uint64_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ (dev << 40) ^ dev) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */

	return (unsigned)(h >> 51);
}

/* FNV-1a, 64 bit: constants of the published algorithm. */
uint64_t object_handle_hash(const struct object_handle *h)
{
	uint64_t x = 0xcbf29ce484222325ULL ^ h->fsid;

	for (unsigned i = 0; i < h->len; i++)
		x = (x ^ h->bytes[i]) * 0x100000001b3ULL;
	return x;
}

bool object_handle_equal(const struct object_handle *a, const struct object_handle *b)
{
	return a->fsid == b->fsid && a->type == b->type && a->len == b->len &&
	       !memcmp(a->bytes, b->bytes, a->len);
}

static unsigned handle_bucket(const struct object_handle *h)
{
	return (unsigned)(object_handle_hash(h) % BUCKETS);
}

int objects_new(struct objects **ret)
{
	struct objects *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	*ret = t;
	return 0;
}

void object_name_free(struct object_name *n)
{
	free(n->path);
	free(n->home);
	free(n->project);
	free(n->via);
}

static void object_free(struct object *o)
{
	for (unsigned i = 0; i < o->n_names; i++)
		object_name_free(&o->names[i]);
	free(o);
}

static void reclaim(struct objects *t, bool all)
{
	struct object **link = &t->retired;
	uint64_t epoch = atomic_load(&t->epoch);

	while (*link) {
		struct object *o = *link;

		if (all || o->retired_at < epoch) {
			*link = o->next_retired;
			object_free(o);
		} else {
			link = &o->next_retired;
		}
	}
}

void objects_free(struct objects *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct object *o = atomic_load(&t->by_ino[i]);

		while (o) {
			struct object *next = atomic_load(&o->next_ino);

			object_free(o);
			o = next;
		}
	}
	reclaim(t, true);
	free(t);
}

void objects_set_defaults(struct objects *t, struct defaults *d)
{
	t->defaults = d;
}

const struct object *objects_find(const struct objects *t, uint64_t dev, uint64_t ino)
{
	const struct object *o = atomic_load(&t->by_ino[ino_bucket(dev, ino)]);

	while (o && (o->ino != ino || o->dev != dev))
		o = atomic_load(&o->next_ino);
	return o;
}

const struct object *objects_find_handle(const struct objects *t, const struct object_handle *h)
{
	const struct object *o = atomic_load(&t->by_handle[handle_bucket(h)]);

	while (o && !object_handle_equal(&o->handle, h))
		o = atomic_load(&o->next_handle);
	return o;
}

void objects_quiescent(struct objects *t)
{
	atomic_fetch_add(&t->epoch, 1);
}

/* What is below a name depends on all of it; a file is judged by path and home alone. */
static bool name_equal(const struct object_name *a, const struct object_name *b, bool is_dir)
{
	if (strcmp(a->path, b->path) || strcmp(a->home, b->home))
		return false;
	return !is_dir || (!strcmp(a->project, b->project) && !strcmp(a->via, b->via));
}

int object_name_copy(const struct object_name *n, struct object_name *ret)
{
	struct object_name copy = { strdup(n->path), strdup(n->home), strdup(n->project),
				    strdup(n->via) };

	if (!copy.path || !copy.home || !copy.project || !copy.via) {
		object_name_free(&copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

static int add_name(struct object *o, const struct object_name *n)
{
	int err;

	for (unsigned i = 0; i < o->n_names; i++)
		if (name_equal(&o->names[i], n, o->is_dir))
			return 0;
	if (o->n_names == OBJECT_NAMES_MAX)
		return 0;
	err = object_name_copy(n, &o->names[o->n_names]);
	if (!err)
		o->n_names++;
	return err;
}

int object_child_path(const struct object_name *dir, const char *name, char *buf, size_t size)
{
	int n;

	if (dir->via[0]) {
		if (strcmp(dir->via, name))
			return -ENOENT;
		n = snprintf(buf, size, "%s", dir->path);
	} else {
		n = snprintf(buf, size, "%s/%s", strcmp(dir->path, "/") ? dir->path : "", name);
	}
	return n < (int)size ? 0 : -ENAMETOOLONG;
}

static void unlink_object(struct objects *t, struct object *o)
{
	struct object *_Atomic *link = &t->by_ino[ino_bucket(o->dev, o->ino)];
	struct object *it;

	while ((it = atomic_load(link)) && it != o)
		link = &it->next_ino;
	if (it)
		atomic_store(link, atomic_load(&o->next_ino));
	if (!o->handle.len)
		return;
	link = &t->by_handle[handle_bucket(&o->handle)];
	while ((it = atomic_load(link)) && it != o)
		link = &it->next_handle;
	if (it)
		atomic_store(link, atomic_load(&o->next_handle));
}

static void retire(struct objects *t, struct object *o)
{
	/* The reader may be in the middle of a chain: its epoch must advance twice, once to end
	 * the section that is running, once to be sure that one began after the unlinking. */
	o->retired_at = atomic_load(&t->epoch) + 1;
	o->next_retired = t->retired;
	t->retired = o;
}

/* Known to be two: a missing handle tells nothing. */
static bool differ(const struct object_handle *a, const struct object_handle *b)
{
	return a->len && b->len && !object_handle_equal(a, b);
}

struct object *objects_put(struct objects *t, const struct object *src)
{
	struct object *old = (struct object *)objects_find(t, src->dev, src->ino);
	struct object *o = calloc(1, sizeof(*o));
	unsigned b;
	int err = 0;

	if (!o)
		return NULL;
	*o = *src;
	o->n_names = 0;
	memset(o->names, 0, sizeof(o->names));
	/* The newest name first: it is the one an operator knows; older ones as room allows. */
	for (unsigned i = 0; i < src->n_names && !err; i++)
		err = add_name(o, &src->names[i]);
	if (old && old->is_dir == o->is_dir && !differ(&old->handle, &o->handle)) {
		for (unsigned i = 0; i < old->n_names && !err; i++)
			err = add_name(o, &old->names[i]);
		/* What an earlier scan said may have been by other rules. */
		if (old->pass == o->pass && old->verdict > o->verdict)
			o->verdict = old->verdict;
		o->on_child |= old->on_child;
		o->below |= old->below;
	}
	/* The number of a deleted file is given to the next one, which has no marks yet. Where no
	 * handle tells the two apart, marking once too often is the mistake to make. */
	if (old && old->handle.len && object_handle_equal(&old->handle, &o->handle)) {
		if (old->perm_marked)
			o->perm_marked = true;
		o->observe_marked |= old->observe_marked;
		o->notify_marked |= old->notify_marked;
		o->marked_pass = old->marked_pass;
		if (o->group < 0)
			o->group = old->group;
	}
	if (err) {
		object_free(o);
		return NULL;
	}
	b = ino_bucket(o->dev, o->ino);
	atomic_store(&o->next_ino, atomic_load(&t->by_ino[b]));
	atomic_store_explicit(&t->by_ino[b], o, memory_order_release);
	if (o->handle.len) {
		b = handle_bucket(&o->handle);
		atomic_store(&o->next_handle, atomic_load(&t->by_handle[b]));
		atomic_store_explicit(&t->by_handle[b], o, memory_order_release);
	}
	if (old) {
		unlink_object(t, old);
		retire(t, old);
	} else {
		atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
	}
	/* One that finds no room there is one that the guardian does not know: no harm. */
	if (t->defaults && !o->is_dir)
		defaults_put(t->defaults, o->dev, o->ino, o->verdict);
	reclaim(t, false);
	return o;
}

void objects_remove(struct objects *t, struct object *o)
{
	unlink_object(t, o);
	retire(t, o);
	atomic_fetch_sub_explicit(&t->count, 1, memory_order_relaxed);
	if (t->defaults && !o->is_dir)
		defaults_remove(t->defaults, o->dev, o->ino);
	reclaim(t, false);
}

void objects_each(struct objects *t, void (*fn)(struct object *o, void *arg), void *arg)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct object *o = atomic_load(&t->by_ino[i]);

		while (o) {
			struct object *next = atomic_load(&o->next_ino);

			fn(o, arg);
			o = next;
		}
	}
}

unsigned objects_count(const struct objects *t)
{
	return atomic_load_explicit(&t->count, memory_order_relaxed);
}
