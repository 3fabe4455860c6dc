/* SPDX-License-Identifier: Apache-2.0 */
/* Matching. Iterative, over the bytes as they are; glob_compile.c made what is matched. */
#include "core/glob_impl.h"

#include <stdint.h>
#include <string.h>

int glob_bracket_scan(const char *p, size_t len, size_t i, unsigned char c, size_t *end)
{
	bool negated = false, found = false, first = true;

	i++;
	if (i < len && (p[i] == '!' || p[i] == '^')) {
		negated = true;
		i++;
	}
	for (;; first = false) {
		unsigned char low, high;

		if (i >= len || p[i] == '/')
			return -1;
		if (p[i] == ']' && !first)
			break;
		if (p[i] == '\\' && (++i >= len || p[i] == '/'))
			return -1;
		low = high = (unsigned char)p[i++];
		if (i + 1 < len && p[i] == '-' && p[i + 1] != ']') {
			i++;
			if (p[i] == '\\' && ++i >= len)
				return -1;
			if (p[i] == '/')
				return -1;
			high = (unsigned char)p[i++];
			if (high < low)
				return -1;
		}
		if (low <= c && c <= high)
			found = true;
	}
	*end = i + 1;
	return found != negated;
}

/* Does the element of the pattern at p[i] take the byte c? *next is the index after the element. */
static bool element_match(const char *p, size_t len, size_t i, char c, size_t *next)
{
	switch (p[i]) {
	case '?':
		*next = i + 1;
		return true;
	case '[':
		return glob_bracket_scan(p, len, i, (unsigned char)c, next) == 1;
	case '\\':
		*next = i + 2;
		return p[i + 1] == c;
	default:
		*next = i + 1;
		return p[i] == c;
	}
}

/*
 * Only the last star is ever retried: whatever an earlier one could take more, the last one can
 * take as well. That keeps the worst case at len × n.
 */
static bool bytes_match(const char *p, size_t len, const char *s, size_t n)
{
	size_t pi = 0, si = 0, star = SIZE_MAX, retry = 0, next;

	while (si < n) {
		if (pi < len && p[pi] == '*') {
			star = ++pi;
			retry = si;
		} else if (pi < len && element_match(p, len, pi, s[si], &next)) {
			pi = next;
			si++;
		} else if (star != SIZE_MAX) {
			pi = star;
			si = ++retry;
		} else {
			return false;
		}
	}
	while (pi < len && p[pi] == '*')
		pi++;
	return pi == len;
}

static bool component_match(const struct component *c, const char *s, size_t n)
{
	switch (c->kind) {
	case ANY:
		return true;
	case LITERAL:
		return n == c->len_bytes && !memcmp(s, c->text, n);
	case PREFIX:
		return n >= c->len_bytes && !memcmp(s, c->text, c->len_bytes);
	case SUFFIX:
		return n >= c->len_bytes && !memcmp(s + n - c->len_bytes, c->text, c->len_bytes);
	case WILD:
		return bytes_match(c->text, c->len_bytes, s, n);
	case DOUBLE_STAR:
		break;
	}
	return false;
}

const char *glob_next_component(const char **at, size_t *len_bytes)
{
	const char *s = *at;

	for (;;) {
		size_t n;

		while (*s == '/')
			s++;
		if (!*s) {
			*at = s;
			return NULL;
		}
		n = (size_t)(strchrnul(s, '/') - s);
		if (n == 1 && *s == '.') {
			s++;
			continue;
		}
		*at = s + n;
		*len_bytes = n;
		return s;
	}
}

const char *glob_below_home(const char *path, const char *home, bool *above)
{
	const char *h, *s;
	size_t hn, sn;

	if (above)
		*above = false;
	if (!home || *home != '/' || *path != '/')
		return NULL;
	while ((h = glob_next_component(&home, &hn))) {
		s = glob_next_component(&path, &sn);
		if (!s) {
			if (above)
				*above = true;
			return NULL;
		}
		if (sn != hn || memcmp(s, h, hn))
			return NULL;
	}
	return path;
}

/* The same argument as in bytes_match(), over components and double stars. */
static bool components_match(const struct alternative *a, const char *path)
{
	unsigned ci = 0, star = UINT32_MAX;
	const char *retry = NULL, *at, *s;
	size_t n;

	for (;;) {
		if (ci < a->n && a->components[ci].kind == DOUBLE_STAR) {
			star = ++ci;
			retry = path;
			continue;
		}
		at = path;
		s = glob_next_component(&at, &n);
		if (!s)
			return ci == a->n;
		if (ci < a->n && component_match(&a->components[ci], s, n)) {
			ci++;
			path = at;
		} else if (star != UINT32_MAX) {
			glob_next_component(&retry, &n);
			path = retry;
			ci = star;
		} else {
			return false;
		}
	}
}

/*
 * Up to the first double star components correspond one to one; from there on anything below may
 * match, since the double star takes whatever is already there.
 */
static bool components_continue(const struct alternative *a, const char *path)
{
	unsigned ci = 0;
	const char *s;
	size_t n;

	while ((s = glob_next_component(&path, &n))) {
		if (ci == a->n)
			return false;
		if (a->components[ci].kind == DOUBLE_STAR)
			return true;
		if (!component_match(&a->components[ci++], s, n))
			return false;
	}
	return ci < a->n;
}

/* The last of what glob_next_component() would find; NULL when there is none. */
static const char *last_component(const char *path, size_t *len_bytes)
{
	size_t end = strlen(path), from;
	const char *slash;

	for (;; end = from) {
		while (end && path[end - 1] == '/')
			end--;
		if (!end)
			return NULL;
		slash = memrchr(path, '/', end);
		from = slash ? (size_t)(slash - path) + 1 : 0;
		if (end - from != 1 || path[from] != '.')
			break;
	}
	*len_bytes = end - from;
	return path + from;
}

/* Most patterns are told from most paths by how they end, wherever the path begins to count: what ends a
 * pattern takes one name, and that is the last. */
static bool may_end(const struct alternative *a, const char *last, size_t len_bytes)
{
	return !a->n || (last && component_match(&a->components[a->n - 1], last, len_bytes));
}

bool glob_match(const struct glob *g, const char *path, const char *home)
{
	size_t len = 0;
	const char *last;

	if (*path != '/')
		return false;
	last = last_component(path, &len);
	for (size_t i = 0; i < g->n; i++) {
		const struct alternative *a = &g->alternatives[i];
		const char *below = path;

		if (!may_end(a, last, len))
			continue;
		if (a->root == GLOB_AT_HOME)
			below = glob_below_home(path, home, NULL);
		if (below && components_match(a, below))
			return true;
	}
	return false;
}

bool glob_match_any_home(const struct glob *g, const char *path)
{
	size_t len = 0, n;
	const char *last;

	if (*path != '/')
		return false;
	last = last_component(path, &len);
	for (size_t i = 0; i < g->n; i++) {
		const struct alternative *a = &g->alternatives[i];
		const char *below = path;

		if (!may_end(a, last, len))
			continue;
		do {
			if (components_match(a, below))
				return true;
		} while (a->root == GLOB_AT_HOME && glob_next_component(&below, &n));
	}
	return false;
}

unsigned glob_reach_alternative(const struct glob *g, size_t i, const char *path,
				const char *home)
{
	const struct alternative *a = &g->alternatives[i];
	bool above = false;

	if (*path != '/')
		return GLOB_NONE;
	if (a->root == GLOB_AT_HOME) {
		path = glob_below_home(path, home, &above);
		if (!path)
			return above ? GLOB_BELOW : GLOB_NONE;
	}
	return (components_match(a, path) ? GLOB_HERE : 0) |
	       (components_continue(a, path) ? GLOB_BELOW : 0);
}

unsigned glob_reach(const struct glob *g, const char *path, const char *home)
{
	unsigned reach = GLOB_NONE;

	for (size_t i = 0; i < g->n && reach != (GLOB_HERE | GLOB_BELOW); i++)
		reach |= glob_reach_alternative(g, i, path, home);
	return reach;
}

static bool any_root(const struct glob *g, enum glob_root root)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->alternatives[i].root == root)
			return true;
	return false;
}

bool glob_is_floating(const struct glob *g)
{
	return any_root(g, GLOB_FLOATING);
}

bool glob_uses_home(const struct glob *g)
{
	return any_root(g, GLOB_AT_HOME);
}

bool glob_match_string(const struct glob *g, const char *string)
{
	size_t n = strlen(string);

	for (size_t i = 0; i < g->n; i++) {
		const char *text = g->alternatives[i].text;

		if (bytes_match(text, strlen(text), string, n))
			return true;
	}
	return false;
}

static bool is_double_star(const char *c, size_t n)
{
	return n == 2 && c[0] == '*' && c[1] == '*';
}

/* components_match() without components: those of the pattern are found as they are needed. */
static bool text_match(const char *pattern, const char *path)
{
	const char *star = NULL, *retry = NULL;

	for (;;) {
		const char *after_p = pattern, *after_s = path, *p, *s;
		size_t pn, sn;

		p = glob_next_component(&after_p, &pn);
		s = glob_next_component(&after_s, &sn);
		if (p && is_double_star(p, pn)) {
			star = pattern = after_p;
			retry = path;
			if (!glob_next_component(&after_p, &pn))
				return s != NULL;
		} else if (!s) {
			return !p;
		} else if (p && bytes_match(p, pn, s, sn)) {
			pattern = after_p;
			path = after_s;
		} else if (star) {
			glob_next_component(&retry, &sn);
			path = retry;
			pattern = star;
		} else {
			return false;
		}
	}
}

bool glob_match_text(const char *pattern, const char *path, const char *home)
{
	if (*pattern == '~') {
		path = glob_below_home(path, home, NULL);
		return path && text_match(pattern + 1, path);
	}
	if (*path != '/' && !is_double_star(pattern, strcspn(pattern, "/")))
		return false;
	return text_match(pattern, path);
}

const char *glob_source(const struct glob *g)
{
	return g->source;
}

size_t glob_alternatives(const struct glob *g)
{
	return g->n;
}

const char *glob_text(const struct glob *g, size_t i)
{
	return g->alternatives[i].text;
}

bool glob_part(const struct glob *g, size_t i, unsigned k, struct glob_part *ret)
{
	static const enum glob_fixed fixed[] = {
		[LITERAL] = GLOB_FIXED_ALL, [PREFIX] = GLOB_FIXED_START, [SUFFIX] = GLOB_FIXED_END,
		[ANY] = GLOB_FIXED_NOT, [WILD] = GLOB_FIXED_NOT, [DOUBLE_STAR] = GLOB_FIXED_NOT,
	};
	const struct alternative *a = &g->alternatives[i];

	if (k >= a->n)
		return false;
	*ret = (struct glob_part){
		.kind = GLOB_PART_WILD,
		.fixed = fixed[a->components[k].kind],
		.detail = a->components[k].kind,
		.text = a->components[k].text,
		.len_bytes = a->components[k].len_bytes,
	};
	if (a->components[k].kind == LITERAL)
		ret->kind = GLOB_PART_LITERAL;
	else if (a->components[k].kind == DOUBLE_STAR)
		ret->kind = GLOB_PART_DOUBLE_STAR;
	return true;
}

bool glob_part_match(const struct glob *g, size_t i, unsigned k, const char *name,
		     size_t len_bytes)
{
	return component_match(&g->alternatives[i].components[k], name, len_bytes);
}

enum glob_root glob_root(const struct glob *g, size_t i)
{
	return g->alternatives[i].root;
}
