/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which text must occur in whatever a regular expression matches? PCRE2 knows, and does not tell.
 * Read here from the pattern, the longest run of bytes that stand for themselves outside of groups
 * and classes. Where a construct could mean that they need not occur (an alternative, an option, a
 * verb) there is none.
 */
#include <stdbool.h>
#include <string.h>

#include "rules/regex_literal.h"

struct reading {
	const char *s; /* next byte of the pattern */
	char *out;     /* the run in hand, behind the best */
	size_t n;
	char *best;
	size_t best_n;
};

static void run_end(struct reading *r)
{
	if (r->n > r->best_n) {
		memcpy(r->best, r->out, r->n);
		r->best_n = r->n;
	}
	r->n = 0;
}

/* Behind a backslash: classes of bytes, places and single bytes, none of which takes more. */
static bool is_simple_escape(char c)
{
	return c && strchr("dDwWsSbBAzZhHvVRnrtfae", c);
}

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '_' || !c;
}

/* The byte after the class that begins at s; NULL: not known. `[:` begins a named class where a name
 * and `:]` follow, and where they do not, what PCRE2 takes it for is its own matter. */
static const char *skip_class(const char *s)
{
	s += 1 + (s[1] == '^');
	if (*s == ']')
		s++;
	for (; *s != ']'; s++) {
		if (!*s)
			return NULL;
		if (*s == '\\') {
			if (!*++s)
				return NULL;
		} else if (*s == '[' && s[1] && strchr(":.=", s[1])) {
			const char *name = s + 2 + (s[2] == '^');
			const char *end = name + strspn(name, "abcdefghijklmnopqrstuvwxyz");

			if (s[1] != ':' || end == name || end[0] != ':' || end[1] != ']')
				return NULL;
			s = end + 1;
		}
	}
	return s + 1;
}

/* The byte after the group that begins at s. */
static const char *skip_group(const char *s)
{
	unsigned depth = 0;

	while (*s) {
		if (*s == '[') {
			s = skip_class(s);
			if (!s)
				return NULL;
			continue;
		}
		if (*s == '\\') {
			if (!s[1])
				return NULL;
			s += 2;
			continue;
		}
		if (*s == '(')
			depth++;
		else if (*s == ')' && !--depth)
			return s + 1;
		s++;
	}
	return NULL;
}

/* A quantifier at r->s: what stood before it may be there never, or several times. False: a brace
 * that is not certainly one. */
static bool quantifier(struct reading *r, bool *ret)
{
	*ret = *r->s && strchr("*+?{", *r->s);
	if (!*ret)
		return true;
	if (*r->s != '+' && r->n)
		r->n--;
	run_end(r);
	if (*r->s == '{') {
		r->s += 1 + strspn(r->s + 1, "0123456789, ");
		if (*r->s != '}')
			return false;
	}
	r->s++;
	if (*r->s == '?' || *r->s == '+')
		r->s++;
	return true;
}

static bool read_element(struct reading *r)
{
	char c = *r->s;

	switch (c) {
	case '|':
		return false;
	case '(':
	case '[':
		run_end(r);
		r->s = c == '(' ? skip_group(r->s) : skip_class(r->s);
		return r->s;
	case '.':
	case '^':
	case '$':
		run_end(r);
		r->s++;
		return true;
	case '\\':
		c = r->s[1];
		if (is_simple_escape(c)) {
			run_end(r);
			r->s += 2;
			return true;
		}
		if (is_word(c))
			return false;
		r->s++;
		/* fall through */
	default:
		r->out[r->n++] = c;
		r->s++;
		return true;
	}
}

size_t regex_literal_find(const char *pattern, char *ret)
{
	char run[REGEX_LITERAL_ROOM];
	struct reading r = { .s = pattern, .out = run, .best = ret };
	const char *s = pattern;

	if (strlen(pattern) > sizeof(run) || strstr(pattern, "\\Q") ||
	    strstr(pattern, "\\E") || strstr(pattern, "(*"))
		return 0;
	while ((s = strstr(s, "(?")))
		if (s++[2] != ':')
			return 0;
	while (*r.s) {
		bool found;

		if (!quantifier(&r, &found) || (!found && !read_element(&r)))
			return 0;
	}
	run_end(&r);
	return r.best_n;
}
