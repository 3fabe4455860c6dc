/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pathset.h"

#include <errno.h>
#include <stdlib.h>

#include "core/cleanup.h"

/*
 * A path is below the root by its first two components, below the home by two more, and has a last
 * one: tables by hash hold the alternatives that need these literally. The few others (a wildcard
 * there) are tried each time.
 */
#define BUCKETS 256 /* power of two; the shipped rules make some 400 alternatives */
#define NONE UINT32_MAX

enum key {
	KEY_NONE,  /* no literal where it counts */
	KEY_FIRST, /* below the root or home: the first component, nothing literal after it */
	KEY_PAIR,  /* the first two */
	KEY_ABOVE, /* of a pair the first: for the directory that is only that */
	KEY_LAST,  /* of a floating pattern */
};

struct entry {
	uint32_t pattern;
	uint32_t alternative;
	uint32_t hash;
	uint32_t last_part; /* floating: the part that the last component has to match */
	uint32_t next;
};

struct path_index {
	uint32_t n;
	uint32_t capacity;
	struct entry *entries;
	uint32_t buckets[BUCKETS];
	uint32_t unkeyed, floating_unkeyed;
	/* Is there a pattern below the root, at the home, below it, a floating one? */
	bool below_root, at_home, below_home, floating;
};

#define HASH_START 2166136261u

/* FNV-1a. A slash ends each component, so that two are not one. */
static uint32_t hash_add(uint32_t h, const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 16777619u;
	return (h ^ '/') * 16777619u;
}

static uint32_t hash_start(enum glob_root root, enum key key)
{
	return hash_add(HASH_START, (const char[]){ (char)root, (char)key }, 2);
}

static bool is_literal(const struct glob *g, size_t i, unsigned k, struct glob_part *ret)
{
	return glob_part(g, i, k, ret) && ret->kind == GLOB_PART_LITERAL;
}

/* Under what the alternative is filed, by e->hash; of a pair *above is the hash of its first. */
static enum key file_under(const struct glob *g, size_t i, struct entry *e, uint32_t *above)
{
	enum glob_root root = glob_root(g, i);
	struct glob_part a, b;

	if (root == GLOB_FLOATING) {
		while (glob_part(g, i, e->last_part + 1, &a))
			e->last_part++;
		if (!is_literal(g, i, e->last_part, &a))
			return KEY_NONE;
		e->hash = hash_add(hash_start(root, KEY_LAST), a.text, a.len_bytes);
		return KEY_LAST;
	}
	if (!is_literal(g, i, 0, &a))
		return KEY_NONE;
	if (!is_literal(g, i, 1, &b)) {
		e->hash = hash_add(hash_start(root, KEY_FIRST), a.text, a.len_bytes);
		return KEY_FIRST;
	}
	*above = hash_add(hash_start(root, KEY_ABOVE), a.text, a.len_bytes);
	e->hash = hash_add(hash_start(root, KEY_PAIR), a.text, a.len_bytes);
	e->hash = hash_add(e->hash, b.text, b.len_bytes);
	return KEY_PAIR;
}

static int push(struct path_index *x, struct entry e, uint32_t *list)
{
	if (x->n == x->capacity) {
		uint32_t capacity = x->capacity ? x->capacity * 2 : 64;
		struct entry *entries = reallocarray(x->entries, capacity, sizeof(e));

		if (!entries)
			return -ENOMEM;
		x->entries = entries;
		x->capacity = capacity;
	}
	e.next = *list;
	x->entries[x->n] = e;
	*list = x->n++;
	return 0;
}

static int index_add(struct path_index *x, const struct glob *g, uint32_t pattern, size_t i)
{
	struct entry e = { .pattern = pattern, .alternative = (uint32_t)i };
	enum glob_root root = glob_root(g, i);
	struct glob_part part;
	bool below = glob_part(g, i, 0, &part); /* `/` and `~` alone have no component */
	uint32_t above = 0;
	enum key key = file_under(g, i, &e, &above);
	int r;

	x->below_root |= root == GLOB_AT_ROOT && below;
	x->at_home |= root == GLOB_AT_HOME;
	x->below_home |= root == GLOB_AT_HOME && below;
	x->floating |= root == GLOB_FLOATING;
	if (key == KEY_NONE)
		return push(x, e, root == GLOB_FLOATING ? &x->floating_unkeyed : &x->unkeyed);
	r = push(x, e, &x->buckets[e.hash % BUCKETS]);
	if (r < 0 || key != KEY_PAIR)
		return r;
	e.hash = above;
	return push(x, e, &x->buckets[e.hash % BUCKETS]);
}

int pathset_new(struct pathset **ret)
{
	_cleanup_free_ struct pathset *p = calloc(1, sizeof(*p));
	struct path_index *x;

	if (!p)
		return -ENOMEM;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->unkeyed = x->floating_unkeyed = NONE;
	for (size_t i = 0; i < BUCKETS; i++)
		x->buckets[i] = NONE;
	p->index = x;
	atomic_init(&p->refs, 1);
	*ret = TAKE_PTR(p);
	return 0;
}

int pathset_add_glob(struct pathset *p, struct glob *g, enum verdict v, bool exclude,
		     unsigned group)
{
	struct path_pattern *patterns;
	int r = 0;

	if (p->n == PATHSET_PATTERNS_MAX)
		return -E2BIG;
	/* room for the next power of two, taken when the count reaches one */
	if (!(p->n & (p->n - 1))) {
		patterns = reallocarray(p->patterns, p->n ? 2 * (size_t)p->n : 1,
					sizeof(*patterns));
		if (!patterns)
			return -ENOMEM;
		p->patterns = patterns;
	}
	p->patterns[p->n] = (struct path_pattern){
		.glob = glob_ref(g),
		.verdict = v,
		.exclude = exclude,
		.group = group,
	};
	/* Excludes are looked at only after a match: they need no index. A set whose add failed
	 * half way is still sound: it just names less, and the caller drops it. */
	for (size_t i = 0; !exclude && i < glob_alternatives(g) && !r; i++)
		r = index_add(p->index, g, p->n, i);
	p->n++;
	return r;
}

int pathset_add(struct pathset *p, const char *pattern, enum verdict v, bool exclude,
		unsigned group)
{
	struct glob *g;
	const char *why;
	int r = glob_compile(pattern, &g, &why);

	if (r < 0)
		return r;
	r = pathset_add_glob(p, g, v, exclude, group);
	glob_free(g);
	return r;
}

struct pathset *pathset_ref(struct pathset *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void pathset_unref(struct pathset *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < p->n; i++)
		glob_free(p->patterns[i].glob);
	free(p->patterns);
	free(p->index->entries);
	free(p->index);
	free(p);
}

static bool excluded(const struct pathset *p, unsigned group, const char *path, const char *home)
{
	for (unsigned i = 0; i < p->n; i++) {
		const struct path_pattern *pat = &p->patterns[i];

		if (pat->exclude && pat->group == group && glob_match(pat->glob, path, home))
			return true;
	}
	return false;
}

struct search {
	const struct pathset *set;
	const char *path;
	const char *home;
	unsigned reach;
	enum verdict verdict;
};

static void try_entry(struct search *s, const struct entry *e)
{
	const struct path_pattern *pat = &s->set->patterns[e->pattern];
	unsigned reach;

	/* nothing left to learn from it */
	if ((s->reach & GLOB_BELOW) && (s->reach & GLOB_HERE) && pat->verdict <= s->verdict)
		return;
	reach = glob_reach_alternative(pat->glob, e->alternative, s->path, s->home);
	if ((reach & GLOB_HERE) && excluded(s->set, pat->group, s->path, s->home))
		reach &= ~GLOB_HERE;
	s->reach |= reach;
	if ((reach & GLOB_HERE) && pat->verdict > s->verdict)
		s->verdict = pat->verdict;
}

static void try_hash(struct search *s, uint32_t hash)
{
	const struct path_index *x = s->set->index;

	for (uint32_t i = x->buckets[hash % BUCKETS]; i != NONE; i = x->entries[i].next)
		if (x->entries[i].hash == hash)
			try_entry(s, &x->entries[i]);
}

/* The alternatives of one root whose first components are those of below; false: it has none. */
static bool try_root(struct search *s, enum glob_root root, const char *below)
{
	const struct path_index *x = s->set->index;
	const char *first, *second;
	size_t first_n, second_n;
	uint32_t hash;

	first = glob_next_component(&below, &first_n);
	if (!first)
		return false;
	try_hash(s, hash_add(hash_start(root, KEY_FIRST), first, first_n));
	second = glob_next_component(&below, &second_n);
	if (second) {
		hash = hash_add(hash_start(root, KEY_PAIR), first, first_n);
		try_hash(s, hash_add(hash, second, second_n));
		return true;
	}
	hash = hash_add(hash_start(root, KEY_ABOVE), first, first_n);
	for (uint32_t i = x->buckets[hash % BUCKETS]; i != NONE; i = x->entries[i].next) {
		if (s->reach & GLOB_BELOW)
			break; /* all that these can say */
		if (x->entries[i].hash == hash)
			try_entry(s, &x->entries[i]);
	}
	return true;
}

static void try_floating(struct search *s)
{
	const struct path_index *x = s->set->index;
	const char *at = s->path, *c, *last = NULL;
	size_t n, last_n = 0;

	s->reach |= GLOB_BELOW;
	while ((c = glob_next_component(&at, &n))) {
		last = c;
		last_n = n;
	}
	if (!last)
		return;
	try_hash(s, hash_add(hash_start(GLOB_FLOATING, KEY_LAST), last, last_n));
	for (uint32_t i = x->floating_unkeyed; i != NONE; i = x->entries[i].next) {
		const struct entry *e = &x->entries[i];

		if (glob_part_match(s->set->patterns[e->pattern].glob, e->alternative,
				    e->last_part, last, last_n))
			try_entry(s, e);
	}
}

unsigned pathset_reach(const struct pathset *p, const char *path, const char *home,
		       enum verdict *verdict)
{
	struct search s = { .set = p, .path = path, .home = home };
	const struct path_index *x = p->index;
	const char *below;
	bool above = false;

	if (verdict)
		*verdict = VERDICT_ALLOW;
	if (*path != '/')
		return GLOB_NONE;

	if (x->floating)
		try_floating(&s);
	if (!try_root(&s, GLOB_AT_ROOT, path) && x->below_root)
		s.reach |= GLOB_BELOW;
	below = glob_below_home(path, home, &above);
	if (below && !try_root(&s, GLOB_AT_HOME, below) && x->below_home)
		s.reach |= GLOB_BELOW;
	if (above && x->at_home)
		s.reach |= GLOB_BELOW;
	for (uint32_t i = x->unkeyed; i != NONE; i = x->entries[i].next)
		try_entry(&s, &x->entries[i]);

	if (verdict)
		*verdict = s.verdict;
	return s.reach;
}
