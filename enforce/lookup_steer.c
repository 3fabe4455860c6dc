/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All patterns as one tree: a node is a component, a path from a root a prefix that patterns
 * share. A directory stands for a set of nodes, from which follows what is worth opening in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "enforce/lookup_helper.h"

#define NODES_MAX (1u << 20)
#define NONE UINT32_MAX

struct node {
	struct glob_part part; /* borrowed from the glob */
	const struct glob *glob;
	size_t alternative;
	unsigned component;
	char *name;            /* LITERAL, as a string */
	unsigned child, next;  /* first child, next sibling; NONE */
	enum verdict verdict;  /* final: strongest of the patterns that end here; else ALLOW */
	bool final;
};

enum { AT_ROOT, AT_HOME, FLOATING, ROOTS };

struct steer {
	unsigned n, room;
	struct node *nodes; /* the first ROOTS are the roots */
};

static int add_node(struct steer *s, const struct node *node, unsigned *ret)
{
	if (s->n == s->room) {
		unsigned room = s->room ? s->room * 2 : 256;
		struct node *nodes;

		if (room > NODES_MAX)
			return -E2BIG;
		nodes = reallocarray(s->nodes, room, sizeof(*nodes));
		if (!nodes)
			return -ENOMEM;
		s->nodes = nodes;
		s->room = room;
	}
	s->nodes[s->n] = *node;
	s->nodes[s->n].child = s->nodes[s->n].next = NONE;
	*ret = s->n++;
	return 0;
}

static bool same_part(const struct glob_part *a, const struct glob_part *b)
{
	return a->kind == b->kind && a->detail == b->detail && a->len_bytes == b->len_bytes &&
	       (!a->len_bytes || !memcmp(a->text, b->text, a->len_bytes));
}

/* The child of `parent` for this part, made if it is not there. */
static int grow(struct steer *s, unsigned parent, const struct node *want, unsigned *ret)
{
	_cleanup_free_ char *name = NULL;
	struct node node = *want;
	unsigned i;
	int r;

	for (i = s->nodes[parent].child; i != NONE; i = s->nodes[i].next) {
		if (same_part(&s->nodes[i].part, &want->part)) {
			*ret = i;
			return 0;
		}
	}
	if (want->part.kind == GLOB_PART_LITERAL) {
		name = strndup(want->part.text, want->part.len_bytes);
		if (!name)
			return -ENOMEM;
	}
	node.name = name;
	r = add_node(s, &node, &i);
	if (r < 0)
		return r;
	TAKE_PTR(name);
	s->nodes[i].next = s->nodes[parent].child;
	s->nodes[parent].child = i;
	*ret = i;
	return 0;
}

static int add_alternative(struct steer *s, const struct path_pattern *p, size_t i)
{
	static const unsigned roots[] = {
		[GLOB_AT_ROOT] = AT_ROOT,
		[GLOB_AT_HOME] = AT_HOME,
		[GLOB_FLOATING] = FLOATING,
	};
	unsigned at = roots[glob_root(p->glob, i)];
	struct node node = { .glob = p->glob, .alternative = i };
	int r;

	while (glob_part(p->glob, i, node.component, &node.part)) {
		r = grow(s, at, &node, &at);
		if (r < 0)
			return r;
		node.component++;
	}
	if (node.component) {
		s->nodes[at].final = true;
		if (p->verdict > s->nodes[at].verdict)
			s->nodes[at].verdict = p->verdict;
	}
	return 0;
}

static void cleanup_steer(struct steer **s)
{
	steer_free(*s);
}

int steer_new(const struct pathset *p, struct steer **ret)
{
	_cleanup_(cleanup_steer) struct steer *s = calloc(1, sizeof(*s));
	unsigned at;
	int r;

	if (!s)
		return -ENOMEM;
	for (unsigned i = 0; i < ROOTS; i++) {
		r = add_node(s, &(struct node){ 0 }, &at);
		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < p->n; i++) {
		if (p->patterns[i].exclude)
			continue;
		for (size_t k = 0; k < glob_alternatives(p->patterns[i].glob); k++) {
			r = add_alternative(s, &p->patterns[i], k);
			if (r < 0)
				return r;
		}
	}
	*ret = TAKE_PTR(s);
	return 0;
}

void steer_free(struct steer *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->n; i++)
		free(s->nodes[i].name);
	free(s->nodes);
	free(s);
}

void steer_state_free(struct steer_state *st)
{
	free(st->nodes);
	*st = (struct steer_state){ 0 };
}

static void cleanup_state(struct steer_state *st)
{
	steer_state_free(st);
}

/* Puts a node, and the double stars behind it, which stand for nothing as well. */
static int put(const struct steer *s, struct steer_state *st, unsigned node)
{
	unsigned at, *nodes;
	int r;

	for (at = 0; at < st->n && st->nodes[at] < node; at++)
		;
	if (at < st->n && st->nodes[at] == node)
		return 0;
	if (!(st->n & (st->n - 1))) { /* full at each power of two */
		nodes = reallocarray(st->nodes, st->n ? st->n * 2 : 1, sizeof(*nodes));
		if (!nodes)
			return -ENOMEM;
		st->nodes = nodes;
	}
	memmove(st->nodes + at + 1, st->nodes + at, (st->n - at) * sizeof(*st->nodes));
	st->nodes[at] = node;
	st->n++;
	for (unsigned i = s->nodes[node].child; i != NONE; i = s->nodes[i].next) {
		if (s->nodes[i].part.kind != GLOB_PART_DOUBLE_STAR)
			continue;
		r = put(s, st, i);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_double_star(const struct node *n)
{
	return n->glob && n->part.kind == GLOB_PART_DOUBLE_STAR;
}

static int step(const struct steer *s, const struct steer_state *from, const char *name,
		size_t len_bytes, struct steer_state *ret)
{
	_cleanup_(cleanup_state) struct steer_state st = { 0 };
	int r = 0;

	for (unsigned k = 0; k < from->n && !r; k++) {
		const struct node *n = &s->nodes[from->nodes[k]];

		if (is_double_star(n))
			r = put(s, &st, from->nodes[k]);
		for (unsigned i = n->child; i != NONE && !r; i = s->nodes[i].next) {
			const struct node *c = &s->nodes[i];

			if (glob_part_match(c->glob, c->alternative, c->component, name, len_bytes))
				r = put(s, &st, i);
		}
	}
	if (r < 0)
		return r;
	*ret = st;
	st = (struct steer_state){ 0 };
	return 0;
}

int steer_step(const struct steer *s, const struct steer_state *from, const char *name,
	       struct steer_state *ret)
{
	return step(s, from, name, strlen(name), ret);
}

/* Adds to *all what the root node stands for after the components of path. */
static int follow(const struct steer *s, unsigned root, const char *path, struct steer_state *all)
{
	_cleanup_(cleanup_state) struct steer_state st = { 0 };
	const char *name;
	size_t len;
	int r;

	r = put(s, &st, root);
	while (!r && (name = glob_next_component(&path, &len))) {
		struct steer_state next = { 0 };

		r = step(s, &st, name, len, &next);
		if (r < 0)
			return r;
		steer_state_free(&st);
		st = next;
	}
	for (unsigned i = 0; i < st.n && !r; i++)
		r = put(s, all, st.nodes[i]);
	return r;
}

int steer_start(const struct steer *s, unsigned classes, const char *path, const char *home,
		struct steer_state *ret)
{
	_cleanup_(cleanup_state) struct steer_state st = { 0 };
	const char *below = glob_below_home(path, home, NULL);
	int r = 0;

	if (classes & STEER_ROOT)
		r = follow(s, AT_ROOT, path, &st);
	if (!r && (classes & STEER_HOME) && below)
		r = follow(s, AT_HOME, below, &st);
	if (!r && (classes & STEER_FLOATING))
		r = follow(s, FLOATING, path, &st);
	if (r < 0)
		return r;
	*ret = st;
	st = (struct steer_state){ 0 };
	return 0;
}

void steer_look(const struct steer *s, const struct steer_state *st, struct steer_view *ret)
{
	struct steer_view v = { .hash = 14695981039346656037u }; /* FNV-1a, 64 bits */

	for (unsigned k = 0; k < st->n; k++) {
		const struct node *n = &s->nodes[st->nodes[k]];

		v.hash = (v.hash ^ st->nodes[k]) * 1099511628211u;
		v.here |= n->final;
		if (is_double_star(n))
			v.list = v.deeper = true;
		for (unsigned i = n->child; i != NONE; i = s->nodes[i].next) {
			const struct node *c = &s->nodes[i];

			if (is_double_star(c))
				continue; /* is in the state itself */
			if (c->part.kind != GLOB_PART_LITERAL)
				v.list = true;
			if (c->child != NONE)
				v.deeper = true;
			if (!c->final)
				continue;
			v.direct = true;
			if (c->verdict > v.verdict)
				v.verdict = c->verdict;
		}
	}
	*ret = v;
}

static bool spells(const struct steer *s, const struct steer_state *st, const char *name,
		   unsigned before)
{
	for (unsigned k = 0; k < st->n; k++) {
		for (unsigned i = s->nodes[st->nodes[k]].child; i != NONE; i = s->nodes[i].next) {
			if (!before--)
				return false;
			if (s->nodes[i].name && !strcmp(s->nodes[i].name, name))
				return true;
		}
	}
	return false;
}

bool steer_spells(const struct steer *s, const struct steer_state *st, const char *name)
{
	return spells(s, st, name, UINT32_MAX);
}

/* *at counts all children of all nodes of the state. */
const char *steer_name(const struct steer *s, const struct steer_state *st, unsigned *at)
{
	unsigned seen = 0;

	for (unsigned k = 0; k < st->n; k++) {
		for (unsigned i = s->nodes[st->nodes[k]].child; i != NONE; i = s->nodes[i].next) {
			const char *name = s->nodes[i].name;

			if (seen++ < *at)
				continue;
			*at = seen;
			if (name && !spells(s, st, name, seen - 1))
				return name;
		}
	}
	return NULL;
}
