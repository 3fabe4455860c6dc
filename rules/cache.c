/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The documents of the set that was loaded last, so that a reload has libyaml read only what has
 * changed. A document keeps its text: it is the same file only if all its bytes are. One whose file
 * has changed makes room at once, so that there are never two of all.
 */
#include "rules/cache.h"

#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/rules.h"

/* Text of all that is kept, some 2,000 rules. Trees are several times as large, and a set may be of
 * 16 MiB: the files that are beyond are read each time. */
#define CACHE_TEXT_MAX (UINT64_C(1) << 20)

struct entry {
	struct yaml_doc *doc;
	size_t len_bytes; /* of its text */
	bool used; /* by the set that is being loaded, and kept for the next */
};

struct rules_cache {
	struct entry *entries; /* of the last set by name, then what is new */
	size_t n_last, n, cap;
	size_t used_bytes;
};

struct rules_cache *rules_cache_new(void)
{
	return calloc(1, sizeof(struct rules_cache));
}

void rules_cache_free(struct rules_cache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		yaml_doc_free(c->entries[i].doc);
	free(c->entries);
	free(c);
}

static int by_name(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return strcmp(yaml_doc_file(x->doc), yaml_doc_file(y->doc));
}

static int name_order(const void *name, const void *entry)
{
	return strcmp(name, yaml_doc_file(((const struct entry *)entry)->doc));
}

static struct entry *find(const struct rules_cache *c, const char *file)
{
	return c->n_last ? bsearch(file, c->entries, c->n_last, sizeof(*c->entries), name_order) :
			   NULL;
}

static bool has_room(const struct rules_cache *c, size_t len)
{
	return len <= CACHE_TEXT_MAX && c->used_bytes <= CACHE_TEXT_MAX - len;
}

static void use(struct rules_cache *c, struct entry *e)
{
	if (e->used || !has_room(c, e->len_bytes))
		return;
	e->used = true;
	c->used_bytes += e->len_bytes;
}

/* Without room or memory it is not kept, and nothing else. */
static void add(struct rules_cache *c, struct yaml_doc *doc, size_t len)
{
	if (!has_room(c, len))
		return;
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 16;
		struct entry *grown = reallocarray(c->entries, cap, sizeof(*grown));

		if (!grown)
			return;
		c->entries = grown;
		c->cap = cap;
	}
	c->entries[c->n] = (struct entry){ .doc = yaml_doc_ref(doc), .len_bytes = len };
	use(c, &c->entries[c->n++]);
}

/* What the file was is of no use any more, whatever becomes of the set. */
static void replace(struct rules_cache *c, struct entry *e, struct yaml_doc *doc, size_t len)
{
	if (e->used || !has_room(c, len))
		return;
	yaml_doc_free(e->doc);
	*e = (struct entry){ .doc = yaml_doc_ref(doc), .len_bytes = len };
	use(c, e);
}

int cache_load_buffer(struct rules_cache *c, const char *file, const void *data, size_t len,
		      struct yaml_doc **ret, char err[512])
{
	struct entry *e = c ? find(c, file) : NULL;
	struct yaml_doc *doc;
	int rc;

	if (e && yaml_doc_is_of(e->doc, data, len)) {
		use(c, e);
		*ret = yaml_doc_ref(e->doc);
		return 0;
	}
	rc = yaml_load_buffer(file, data, len, &doc, err);
	if (rc)
		return rc;
	if (e)
		replace(c, e, doc, len);
	else if (c)
		add(c, doc, len);
	*ret = doc;
	return 0;
}

int cache_load_file(struct rules_cache *c, const char *path, struct yaml_doc **ret, char err[512])
{
	_cleanup_free_ char *data = NULL;
	size_t len;
	int rc = yaml_read_file(path, &data, &len, err);

	return rc ? rc : cache_load_buffer(c, path, data, len, ret, err);
}

void cache_settle(struct rules_cache *c, bool loaded)
{
	size_t n = 0, bytes = 0;

	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++) {
		const struct entry *e = &c->entries[i];

		if ((loaded ? e->used : i < c->n_last) && bytes + e->len_bytes <= CACHE_TEXT_MAX) {
			bytes += e->len_bytes;
			c->entries[n++] = (struct entry){ .doc = e->doc, .len_bytes = e->len_bytes };
		} else {
			yaml_doc_free(e->doc);
		}
	}
	c->n = c->n_last = n;
	c->used_bytes = 0;
	if (n)
		qsort(c->entries, n, sizeof(*c->entries), by_name);
}
