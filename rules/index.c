/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rules could match an event? Each rule is filed under literals of which one must occur in
 * whatever it matches: the last component of a path, its extension, any component of it, or the
 * process's name. Of several possible literals the rarest is taken. What has none is tried every
 * time. The index never decides: it may name too many rules, never too few.
 */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/compiled.h"

enum key_type { KEY_LAST = 1, KEY_EXTENSION, KEY_COMPONENT, KEY_PROCESS };

struct bucket {
	uint64_t hash; /* 0: empty */
	uint32_t first, n;
};

struct index {
	unsigned types; /* bit per key_type that occurs */
	uint32_t mask;
	struct bucket *buckets; /* open addressing, a power of two, at most half full */
	uint32_t *rules;
	uint32_t *residual;
	size_t n_residual;
};

/* FNV-1a, 64 bits: one multiplication per byte, good enough where collisions cost only time. */
static uint64_t key_hash(enum key_type type, const char *s, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) + type * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	return h ? h : 1;
}

/* ---- building ------------------------------------------------------------------------------ */

struct entry {
	uint64_t hash;
	uint32_t rule;
	unsigned type;
};

struct entries {
	struct entry *v;
	size_t n, cap;
	bool failed; /* no memory */
};

struct builder {
	bool counting;        /* first round: every possible key is listed */
	struct entries seen;  /* of the first round, by hash */
	struct entries chosen;
	uint32_t rule;
	bool paths_only;
};

static void entries_cleanup(struct builder *b)
{
	free(b->seen.v);
	free(b->chosen.v);
}

static void entry_add(struct entries *e, struct entry add)
{
	if (e->n == e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 256;
		struct entry *grown = reallocarray(e->v, cap, sizeof(*grown));

		if (!grown) {
			e->failed = true;
			return;
		}
		e->v = grown;
		e->cap = cap;
	}
	e->v[e->n++] = add;
}

static int entry_order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->rule > y->rule) - (x->rule < y->rule);
}

static size_t entry_count(const struct entries *e, uint64_t hash)
{
	size_t lo = 0, hi = e->n, n = 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (e->v[mid].hash < hash)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo + n < e->n && e->v[lo + n].hash == hash && n < 1024)
		n++;
	return n;
}

/* The keys that one value offers: any of them will do. */
struct offer {
	bool any;
	size_t score; /* how many rules share the best one */
	struct entry best;
};

static void offer_key(struct builder *b, struct offer *o, enum key_type type, const char *s,
		      size_t len)
{
	struct entry e = { .hash = key_hash(type, s, len), .rule = b->rule, .type = type };
	size_t score;

	if (len == 0 || (len == 1 && *s == '.'))
		return;
	if (b->counting) {
		entry_add(&b->seen, e);
		o->any = true;
		return;
	}
	score = entry_count(&b->seen, e.hash);
	if (!o->any || score < o->score)
		*o = (struct offer){ .any = true, .score = score, .best = e };
}

/* Of `*.pem`, and of a plain `.pem`: what a name that ends so has behind its last dot. */
static void offer_extension(struct builder *b, struct offer *o, const char *s, size_t len)
{
	const char *dot = len ? memrchr(s, '.', len) : NULL;

	if (dot)
		offer_key(b, o, KEY_EXTENSION, dot, len - (size_t)(dot - s));
}

static struct offer offer_glob(struct builder *b, const struct glob *g, size_t alternative)
{
	struct offer o = { 0 };
	struct glob_part part, next;
	const char *source = glob_source(g), *last;

	for (unsigned k = 0; glob_part(g, alternative, k, &part); k++) {
		if (part.kind != GLOB_PART_LITERAL)
			continue;
		if (!glob_part(g, alternative, k + 1, &next))
			offer_key(b, &o, KEY_LAST, part.text, part.len_bytes);
		offer_key(b, &o, KEY_COMPONENT, part.text, part.len_bytes);
	}
	if (!strpbrk(source, "{[\\")) {
		last = strrchr(source, '/');
		last = last ? last + 1 : source;
		if (last[0] == '*' && last[1] && !strpbrk(last + 1, "*?"))
			offer_extension(b, &o, last + 1, strlen(last + 1));
	}
	return o;
}

static struct offer offer_text(struct builder *b, const struct node *n, const struct value *v)
{
	const char *s = v->text, *end = v->text + v->len_bytes, *slash;
	struct offer o = { 0 };

	if (n->op == OP_PREFIX) {
		/* complete components: between two slashes */
		for (s = strchr(s, '/'); s && (slash = strchr(s + 1, '/')); s = slash)
			offer_key(b, &o, KEY_COMPONENT, s + 1, (size_t)(slash - s - 1));
		return o;
	}
	slash = memrchr(s, '/', v->len_bytes);
	if (slash)
		offer_key(b, &o, KEY_LAST, slash + 1, (size_t)(end - slash - 1));
	else if (n->op == OP_SUFFIX)
		offer_extension(b, &o, s, v->len_bytes);
	return o;
}

/* Files the rule under keys of which one must occur when n matches; false: there are none. */
static bool keys_of(struct builder *b, const struct node *n, size_t *score);

static bool compare_keys(struct builder *b, const struct node *n, size_t *score)
{
	for (size_t k = 0; k < n->n; k++) {
		const struct value *v = &n->values[k];
		size_t alternatives = n->op == OP_GLOB ? glob_alternatives(v->glob) : 1;

		for (size_t i = 0; i < alternatives; i++) {
			struct offer o = { 0 };

			if (n->field == FIELD_PROCESS_NAME)
				offer_key(b, &o, KEY_PROCESS, v->text, v->len_bytes);
			else if (n->op == OP_GLOB)
				o = offer_glob(b, v->glob, i);
			else
				o = offer_text(b, n, v);
			if (!o.any)
				return false;
			if (!b->counting)
				entry_add(&b->chosen, o.best);
			*score += o.score;
		}
	}
	return true;
}

/* Any kid of an all_of will do: the one whose keys the fewest rules share. */
static bool best_keys(struct builder *b, const struct node *n, size_t *score)
{
	struct entries *e = &b->chosen;
	size_t mark = e->n, best_n = 0, best_score = SIZE_MAX;
	bool found = false;

	for (size_t i = 0; i < n->n; i++) {
		size_t s = 0, from = mark + best_n;
		bool has = keys_of(b, n->kids[i], &s);

		if (has && (!found || s < best_score)) {
			found = true;
			best_score = s;
			best_n = e->n - from;
			if (best_n)
				memmove(e->v + mark, e->v + from, best_n * sizeof(*e->v));
		}
		e->n = mark + best_n;
	}
	if (found)
		*score += best_score;
	return found;
}

static bool keys_of(struct builder *b, const struct node *n, size_t *score)
{
	switch (n->type) {
	case NODE_NONE:
		return false;
	case NODE_ANY:
		for (size_t i = 0; i < n->n; i++)
			if (!keys_of(b, n->kids[i], score))
				return false;
		return true;
	case NODE_ALL:
		return best_keys(b, n, score);
	case NODE_COMPARE:
		break;
	}
	if (n->field == FIELD_PATH)
		return (n->op == OP_EQ || n->op == OP_GLOB || n->op == OP_PREFIX ||
			n->op == OP_SUFFIX) && compare_keys(b, n, score);
	if (n->field == FIELD_PROCESS_NAME && !b->paths_only)
		return n->op == OP_EQ && compare_keys(b, n, score);
	return false;
}

static int fill(struct pool *pool, struct index *ix, const struct entries *e)
{
	size_t size = 16, n = 0;

	while (size < e->n * 2)
		size *= 2;
	ix->buckets = pool_array(pool, size, sizeof(*ix->buckets));
	ix->rules = pool_array(pool, e->n + 1, sizeof(*ix->rules));
	if (!ix->buckets || !ix->rules)
		return -ENOMEM;
	ix->mask = (uint32_t)size - 1;
	for (size_t i = 0; i < e->n; i++) {
		struct bucket *bucket;
		uint32_t at = (uint32_t)e->v[i].hash & ix->mask;

		if (i && e->v[i].hash == e->v[i - 1].hash && e->v[i].rule == e->v[i - 1].rule)
			continue;
		while (ix->buckets[at].hash && ix->buckets[at].hash != e->v[i].hash)
			at = (at + 1) & ix->mask;
		bucket = &ix->buckets[at];
		if (!bucket->hash)
			*bucket = (struct bucket){ .hash = e->v[i].hash, .first = (uint32_t)n };
		bucket->n++;
		ix->rules[n++] = e->v[i].rule;
		ix->types |= 1u << e->v[i].type;
	}
	return 0;
}

int index_build(struct pool *pool, struct compiled *const *rules, size_t n, enum event_kind kind,
		struct index **ret)
{
	_cleanup_(entries_cleanup) struct builder b = { 0 };
	struct index *ix = pool_alloc(pool, sizeof(*ix));
	size_t score, mark, of_kind = 0;

	if (!ix)
		return -ENOMEM;
	for (int counting = 1; counting >= 0; counting--) {
		b.counting = counting;
		of_kind = 0;
		for (size_t i = 0; i < n; i++) {
			const struct compiled *c = rules[i];
			bool category = c->n_paths && !strcmp(c->rule.id, "R3");

			if (c->rule.kind != kind || (c->rule.action == VERDICT_ALLOW && !category))
				continue;
			of_kind++;
			b.rule = (uint32_t)i;
			/* which paths R3 names is asked of files, whoever opens them */
			b.paths_only = category;
			mark = b.chosen.n;
			score = 0;
			if (keys_of(&b, c->match, &score) || counting)
				continue;
			b.chosen.n = mark;
			if (!ix->residual)
				ix->residual = pool_array(pool, n, sizeof(*ix->residual));
			if (!ix->residual)
				return -ENOMEM;
			ix->residual[ix->n_residual++] = (uint32_t)i;
		}
		if (counting && b.seen.n)
			qsort(b.seen.v, b.seen.n, sizeof(*b.seen.v), entry_order);
	}
	if (b.seen.failed || b.chosen.failed)
		return -ENOMEM;
	if (b.chosen.n)
		qsort(b.chosen.v, b.chosen.n, sizeof(*b.chosen.v), entry_order);
	if (fill(pool, ix, &b.chosen))
		return -ENOMEM;
	*ret = of_kind ? ix : NULL;
	return 0;
}

/* ---- asking -------------------------------------------------------------------------------- */

typedef void (*hit_fn)(void *arg, const uint32_t *rules, size_t n);

static void look(const struct index *ix, enum key_type type, const char *s, size_t len, hit_fn fn,
		 void *arg)
{
	uint64_t hash;
	uint32_t at;

	if (!(ix->types >> type & 1))
		return;
	hash = key_hash(type, s, len);
	for (at = (uint32_t)hash & ix->mask; ix->buckets[at].hash; at = (at + 1) & ix->mask)
		if (ix->buckets[at].hash == hash) {
			fn(arg, ix->rules + ix->buckets[at].first, ix->buckets[at].n);
			return;
		}
}

void index_lookup(const struct index *ix, const char *path, const char *const *names,
		  unsigned n_names, hit_fn fn, void *arg)
{
	const char *s, *last = NULL, *dot;
	size_t n, last_n = 0;

	if (ix->n_residual)
		fn(arg, ix->residual, ix->n_residual);
	for (unsigned i = 0; i < n_names; i++)
		look(ix, KEY_PROCESS, names[i], strlen(names[i]), fn, arg);
	if (!path)
		return;
	while ((s = glob_next_component(&path, &n))) {
		look(ix, KEY_COMPONENT, s, n, fn, arg);
		last = s;
		last_n = n;
	}
	if (!last)
		return;
	look(ix, KEY_LAST, last, last_n, fn, arg);
	dot = memrchr(last, '.', last_n);
	if (dot)
		look(ix, KEY_EXTENSION, dot, last_n - (size_t)(dot - last), fn, arg);
}
