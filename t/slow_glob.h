/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meaning of path patterns written down as directly as it can be, by recursion over bytes and
 * without regard to time: what core/glob.c is held against. Takes only patterns that compile.
 */
#ifndef OKNEK_T_SLOW_GLOB_H
#define OKNEK_T_SLOW_GLOB_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SLOW_GLOB_MAX_BYTES 512

static inline size_t slow_bracket_end(const char *p)
{
	size_t i = 1;

	if (p[i] == '!' || p[i] == '^')
		i++;
	do {
		i += p[i] == '\\' ? 2 : 1;
	} while (p[i] != ']');
	return i;
}

static inline bool slow_bracket(const char *p, size_t end, unsigned char c)
{
	bool negated = p[1] == '!' || p[1] == '^', in = false;

	for (size_t i = negated ? 2 : 1; i < end;) {
		unsigned char low, high;

		i += p[i] == '\\';
		low = high = (unsigned char)p[i++];
		if (p[i] == '-' && i + 1 < end) {
			i++;
			i += p[i] == '\\';
			high = (unsigned char)p[i++];
		}
		in |= low <= c && c <= high;
	}
	return in != negated;
}

/* p and s: normal form, a slash before each component. */
static inline bool slow_match(const char *p, const char *s)
{
	if (!*p)
		return !*s;
	if (!strncmp(p, "/**", 3) && (!p[3] || p[3] == '/')) {
		/* from each slash on; at the end of a pattern something must follow */
		if (*s && *s != '/')
			return false;
		if (!p[3])
			return *s == '/';
		for (;; s++) {
			if ((*s == '/' || !*s) && slow_match(p + 3, s))
				return true;
			if (!*s)
				return false;
		}
	}
	if (*p == '*') {
		if (slow_match(p + 1, s))
			return true;
		return *s && *s != '/' && slow_match(p, s + 1);
	}
	if (!*s || (*p != '/' && *s == '/'))
		return false;
	if (*p == '?')
		return slow_match(p + 1, s + 1);
	if (*p == '[') {
		size_t end = slow_bracket_end(p);

		return slow_bracket(p, end, (unsigned char)*s) && slow_match(p + end + 1, s + 1);
	}
	if (*p == '\\')
		p++;
	return *p == *s && slow_match(p + 1, s + 1);
}

/* Slashes are never in brackets nor quoted, so components can be told apart by them. */
static inline void slow_normal(const char *from, char *to)
{
	while (*from) {
		size_t n = strcspn(from, "/");

		if (n && !(n == 1 && *from == '.')) {
			*to++ = '/';
			memcpy(to, from, n);
			to += n;
		}
		from += n + (from[n] == '/');
	}
	*to = '\0';
}

static inline bool slow_match_expanded(const char *pattern, const char *path, const char *home)
{
	char p[SLOW_GLOB_MAX_BYTES * 2], s[SLOW_GLOB_MAX_BYTES], h[SLOW_GLOB_MAX_BYTES];
	const char *below = s;

	slow_normal(path, s);
	if (*pattern == '/') {
		slow_normal(pattern, p);
	} else if (*pattern == '~') {
		slow_normal(pattern + 1, p);
		slow_normal(home, h);
		if (strncmp(s, h, strlen(h)) || (s[strlen(h)] && s[strlen(h)] != '/'))
			return false;
		below = s + strlen(h);
	} else {
		slow_normal(pattern, p + 3);
		memcpy(p, "/**", 3);
	}
	return slow_match(p, below);
}

static inline size_t slow_skip(const char *t)
{
	if (*t == '\\')
		return 2;
	return *t == '[' ? slow_bracket_end(t) + 1 : 1;
}

static inline bool slow_glob_match(const char *pattern, const char *path, const char *home)
{
	const char *open = pattern, *from, *close;
	char one[SLOW_GLOB_MAX_BYTES];
	int depth = 0;

	while (*open && *open != '{')
		open += slow_skip(open);
	if (!*open)
		return slow_match_expanded(pattern, path, home);
	for (close = open; *close != '}' || --depth; close += slow_skip(close))
		depth += *close == '{';
	from = open + 1;
	for (const char *t = from; t <= close; t += slow_skip(t)) {
		depth += (*t == '{') - (*t == '}' && t != close);
		if (depth || (*t != ',' && t != close))
			continue;
		snprintf(one, sizeof(one), "%.*s%.*s%s", (int)(open - pattern), pattern,
			 (int)(t - from), from, close + 1);
		if (slow_glob_match(one, path, home))
			return true;
		from = t + 1;
	}
	return false;
}

#endif
