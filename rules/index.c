/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rules could match an event? Each rule is filed under keys of which one must occur in
 * whatever it matches: a component of a path, three bytes of a text, a network, a process's name.
 * What has none is tried every time. The index never decides: it may name too many rules, never
 * too few.
 */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/index_priv.h"

#define FILTER_BITS_PER_KEY 16

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
	uint64_t *filter; /* a bit for each hash: most of what is asked for is not there */
	uint32_t filter_mask;
	size_t n_nets;
	uint8_t nets[NET_BITS]; /* numbers of bits that networks have */
};

/* ---- building ------------------------------------------------------------------------------ */

static void builder_cleanup(struct builder *b)
{
	free(b->counts.v);
	free(b->chosen);
}

static struct bucket *bucket_of(const struct index *ix, uint64_t hash)
{
	uint32_t at = (uint32_t)hash & ix->mask;

	while (ix->buckets[at].hash && ix->buckets[at].hash != hash)
		at = (at + 1) & ix->mask;
	return &ix->buckets[at];
}

static void filter_add(struct index *ix, uint64_t hash)
{
	uint32_t bit = (uint32_t)(hash >> 20) & ix->filter_mask;

	ix->filter[bit / 64] |= UINT64_C(1) << bit % 64;
}

static void note(struct index *ix, const struct entry *e)
{
	ix->types |= 1u << e->type;
	filter_add(ix, e->hash);
	if (e->type == KEY_NET && !memchr(ix->nets, e->net_bits, ix->n_nets))
		ix->nets[ix->n_nets++] = e->net_bits;
}

/* Entries come rule by rule, so that a rule's second one of a hash follows its first. */
static int fill(struct pool *pool, struct index *ix, const struct builder *b)
{
	size_t size = 16, bits = 64;
	uint32_t at = 0;

	while (size < b->n * 2)
		size *= 2;
	while (bits < b->n * FILTER_BITS_PER_KEY)
		bits *= 2;
	ix->buckets = pool_array(pool, size, sizeof(*ix->buckets));
	ix->rules = pool_array(pool, b->n + 1, sizeof(*ix->rules));
	ix->filter = pool_array(pool, bits / 64, sizeof(*ix->filter));
	if (!ix->buckets || !ix->rules || !ix->filter)
		return -ENOMEM;
	ix->mask = (uint32_t)size - 1;
	ix->filter_mask = (uint32_t)bits - 1;
	for (size_t i = 0; i < b->n; i++) {
		struct bucket *bucket = bucket_of(ix, b->chosen[i].hash);

		bucket->hash = b->chosen[i].hash;
		bucket->n++;
		note(ix, &b->chosen[i]);
	}
	for (size_t i = 0; i < size; i++) {
		ix->buckets[i].first = at;
		at += ix->buckets[i].n;
		ix->buckets[i].n = 0;
	}
	for (size_t i = 0; i < b->n; i++) {
		struct bucket *bucket = bucket_of(ix, b->chosen[i].hash);
		uint32_t *list = ix->rules + bucket->first;

		if (!bucket->n || list[bucket->n - 1] != b->chosen[i].rule)
			list[bucket->n++] = b->chosen[i].rule;
	}
	return 0;
}

static bool is_category(const struct compiled *c)
{
	return c->n_paths && !strcmp(c->rule.id, "R3");
}

static bool is_filed(const struct compiled *c, enum event_kind kind)
{
	return c->rule.kind == kind && (c->rule.action != VERDICT_ALLOW || is_category(c));
}

static int counts_init(struct counts *c, size_t rules)
{
	size_t size = 1024;

	/* a few dozen keys each; what shares a count only looks commoner than it is */
	while (size < rules * 64 && size < 1u << 18)
		size *= 2;
	c->v = calloc(size, 2 * sizeof(*c->v));
	c->half = (uint32_t)size;
	return c->v ? 0 : -ENOMEM;
}

int index_build(struct pool *pool, struct compiled *const *rules, size_t n, enum event_kind kind,
		bool by_path, struct index **ret)
{
	_cleanup_(builder_cleanup) struct builder b = { 0 };
	size_t of_kind = 0;
	struct index *ix;

	for (size_t i = 0; i < n; i++)
		of_kind += is_filed(rules[i], kind);
	if (!of_kind) {
		*ret = NULL;
		return 0;
	}
	ix = pool_alloc(pool, sizeof(*ix));
	if (!ix || counts_init(&b.counts, of_kind))
		return -ENOMEM;
	for (int counting = 1; counting >= 0; counting--) {
		b.counting = counting;
		for (size_t i = 0; i < n; i++) {
			size_t mark = b.n;

			if (!is_filed(rules[i], kind))
				continue;
			b.rule = (uint32_t)i;
			b.paths_only = by_path || is_category(rules[i]);
			if (index_keys_of(&b, rules[i]->match) || counting)
				continue;
			b.n = mark;
			if (!ix->residual)
				ix->residual = pool_array(pool, n, sizeof(*ix->residual));
			if (!ix->residual)
				return -ENOMEM;
			ix->residual[ix->n_residual++] = (uint32_t)i;
		}
	}
	if (b.failed || fill(pool, ix, &b))
		return -ENOMEM;
	*ret = ix;
	return 0;
}

/* ---- asking -------------------------------------------------------------------------------- */

struct asking {
	const struct index *ix;
	void (*fn)(void *arg, const uint32_t *rules, size_t n);
	void *arg;
};

static bool has(const struct asking *a, enum key_type type)
{
	return a->ix->types >> type & 1;
}

static void look_hash(const struct asking *a, uint64_t hash)
{
	const struct index *ix = a->ix;
	uint32_t bit = (uint32_t)(hash >> 20) & ix->filter_mask;
	const struct bucket *b;

	if (!(ix->filter[bit / 64] >> bit % 64 & 1))
		return;
	b = bucket_of(ix, hash);
	if (b->hash)
		a->fn(a->arg, ix->rules + b->first, b->n);
}

static void look(const struct asking *a, enum key_type type, const void *s, size_t len)
{
	if (has(a, type))
		look_hash(a, key_hash(type, s, len));
}

/* A NUL is read as the blank that it is in joined arguments. */
static void look_inside(const struct asking *a, enum key_type type, const char *s, size_t len)
{
	uint32_t bytes = 0;

	if (!has(a, type))
		return;
	for (size_t i = 0; i < len; i++) {
		bytes = (bytes << 8 | (unsigned char)(s[i] ? s[i] : ' ')) & 0xffffff;
		if (i + 1 >= KEY_BYTES)
			look_hash(a, key_hash_in(type, bytes));
	}
}

static void look_text(const struct asking *a, enum key_type type, const char *s)
{
	if (s && has(a, type))
		look_inside(a, type, s, strlen(s));
}

static void look_path(const struct asking *a, const char *path)
{
	const char *at = path, *s, *last = NULL, *dot;
	size_t n, last_n = 0;

	while ((s = glob_next_component(&at, &n))) {
		look(a, KEY_COMPONENT, s, n);
		last = s;
		last_n = n;
	}
	if (last) {
		look(a, KEY_LAST, last, last_n);
		dot = memrchr(last, '.', last_n);
		if (dot)
			look(a, KEY_EXTENSION, dot, last_n - (size_t)(dot - last));
	}
	look_text(a, KEY_IN_PATH, path);
}

static void look_destination(const struct asking *a, const struct dest_object *d)
{
	int64_t port = d->port;

	for (size_t i = 0; i < a->ix->n_nets; i++)
		look_hash(a, key_hash_net(d->addr, a->ix->nets[i]));
	look(a, KEY_PORT, &port, sizeof(port));
	if (d->host)
		look(a, KEY_HOST, d->host, strlen(d->host));
	look_text(a, KEY_IN_HOST, d->host);
}

/* What is too long to be compared to its end, or was cut, may hold anything. */
static void look_arguments(const struct asking *a, const struct exec_object *x)
{
	if (!x->argv || (!x->argv_cut && x->argv_len_bytes < RULES_ARGV_MAX)) {
		look_inside(a, KEY_IN_ARGV, x->argv, x->argv_len_bytes);
		return;
	}
	for (uint32_t i = 0; i <= a->ix->mask; i++)
		if (a->ix->buckets[i].n)
			a->fn(a->arg, a->ix->rules + a->ix->buckets[i].first, a->ix->buckets[i].n);
}

void index_lookup(const struct index *ix, const struct event *ev, const char *path,
		  const char *const *names, unsigned n_names,
		  void (*fn)(void *arg, const uint32_t *rules, size_t n), void *arg)
{
	const struct asking a = { ix, fn, arg };

	if (ix->n_residual)
		fn(arg, ix->residual, ix->n_residual);
	for (unsigned i = 0; i < n_names; i++) {
		look(&a, KEY_PROCESS, names[i], strlen(names[i]));
		look_text(&a, KEY_IN_PROCESS, names[i]);
	}
	if (path)
		look_path(&a, path);
	if (!ev)
		return;
	look_text(&a, KEY_IN_EXE, ev->subj.exe);
	if (ev->kind == KIND_SOCKET_CONNECT)
		look_destination(&a, &ev->dest);
	if (ev->kind == KIND_EXEC_OBSERVED && ev->exec.argv)
		look_arguments(&a, &ev->exec);
}
