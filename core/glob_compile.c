/* SPDX-License-Identifier: Apache-2.0 */
/* From the text of a pattern to alternatives of components. */
#include "core/glob_impl.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

static int fail(const char **why, const char *text)
{
	*why = text;
	return -EINVAL;
}

static int out_of_memory(const char **why)
{
	*why = "out of memory";
	return -ENOMEM;
}

/* The index after the element at t[i], with quotes and brackets as one element; 0: malformed. */
static size_t skip_element(const char *t, size_t len, size_t i)
{
	size_t end;

	if (t[i] == '\\')
		return i + 1 < len ? i + 2 : 0;
	if (t[i] == '[')
		return glob_bracket_scan(t, len, i, 0, &end) < 0 ? 0 : end;
	return i + 1;
}

/* Removes the quoting of p[0..len) into out; false if a special byte is left. */
static bool unquote(const char *p, size_t len, char *out, size_t *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (p[i] == '*' || p[i] == '?' || p[i] == '[')
			return false;
		if (p[i] == '\\')
			i++;
		out[n++] = p[i];
	}
	*ret = n;
	return true;
}

static void classify(struct component *c, const char *p, size_t len, char **literal)
{
	size_t stars = 0, n;
	const struct {
		enum component_kind kind;
		size_t from, to;
	} tries[] = {
		{ LITERAL, 0, len },
		{ SUFFIX, 1, len },
		{ PREFIX, 0, len - 1 },
	};

	while (stars < len && p[stars] == '*')
		stars++;
	if (stars == len) {
		*c = (struct component){ .kind = ANY };
		return;
	}
	*c = (struct component){ .kind = WILD, .text = p, .len_bytes = len };
	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		if (tries[i].kind == SUFFIX && p[0] != '*')
			continue;
		/* `a\*` ends in a quoted star: it is literal and was taken above */
		if (tries[i].kind == PREFIX && p[len - 1] != '*')
			continue;
		if (!unquote(p + tries[i].from, tries[i].to - tries[i].from, *literal, &n))
			continue;
		*c = (struct component){ .kind = tries[i].kind, .text = *literal, .len_bytes = n };
		*literal += n;
		return;
	}
}

static int push(struct alternative *a, struct component c, const char **why)
{
	if (c.kind == DOUBLE_STAR && a->n && a->components[a->n - 1].kind == DOUBLE_STAR)
		return 0;
	if (a->n == GLOB_COMPONENTS_MAX)
		return fail(why, "too many components");
	a->components[a->n++] = c;
	return 0;
}

/* A double star at the end is one that any component follows; so none is ever the last. */
static int close_tail(struct alternative *a, const char **why)
{
	if (!a->n || a->components[a->n - 1].kind != DOUBLE_STAR)
		return 0;
	return push(a, (struct component){ .kind = ANY }, why);
}

static int parse_components(struct alternative *a, const char *t, char *literal, const char **why)
{
	size_t len = strlen(t), next;
	int r;

	for (size_t i = 0; i < len; i = next) {
		struct component c = { .kind = DOUBLE_STAR };
		size_t from = i;

		while (i < len && t[i] != '/') {
			next = skip_element(t, len, i);
			if (!next)
				return fail(why, t[i] == '[' ? "unclosed or malformed bracket"
							     : "nothing to quote at the end");
			if (t[i] == '\\' && t[i + 1] == '/')
				return fail(why, "a slash cannot be quoted");
			i = next;
		}
		next = i + 1;
		if (i == from || (i == from + 1 && t[from] == '.'))
			continue;
		if (i == from + 2 && !strncmp(t + from, "..", 2))
			return fail(why, "`..` in a pattern");
		if (i != from + 2 || strncmp(t + from, "**", 2))
			classify(&c, t + from, i - from, &literal);
		r = push(a, c, why);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Components before and behind those that slashes make: a double star, and one that closes. */
static size_t most_components(const char *t)
{
	size_t n = 3;

	for (; *t && n < GLOB_COMPONENTS_MAX; t++)
		n += *t == '/';
	return n < GLOB_COMPONENTS_MAX ? n : GLOB_COMPONENTS_MAX;
}

static int parse_alternative(struct alternative *a, const char *pattern, const char **why)
{
	size_t len = strlen(pattern), room = most_components(pattern) * sizeof(*a->components);
	const char *t;
	char *literal;
	int r;

	if (!len)
		return fail(why, "empty pattern");
	a->components = malloc(room + 2 * (len + 1));
	if (!a->components)
		return out_of_memory(why);
	a->text = (char *)a->components + room;
	t = memcpy(a->text, pattern, len + 1);
	literal = a->text + len + 1; /* unquoting makes nothing longer */

	a->root = GLOB_FLOATING;
	if (*t == '/') {
		a->root = GLOB_AT_ROOT;
	} else if (*t == '~') {
		if (t[1] && t[1] != '/')
			return fail(why, "`~` takes no user name (write `\\~` for a tilde)");
		a->root = GLOB_AT_HOME;
		t++;
	} else {
		a->components[a->n++] = (struct component){ .kind = DOUBLE_STAR };
	}
	r = parse_components(a, t, literal, why);
	if (r < 0)
		return r;
	if (a->n == 1 && a->root == GLOB_FLOATING && !strstr(t, "**"))
		return fail(why, "no name in the pattern");
	r = close_tail(a, why);
	if (r < 0)
		return r;
	/* a double star at the root reaches everywhere, as if it had no root */
	if (a->n && a->root == GLOB_AT_ROOT && a->components[0].kind == DOUBLE_STAR)
		a->root = GLOB_FLOATING;
	return 0;
}

static int add_alternative(struct glob *g, const char *text, const char **why)
{
	struct alternative *grown = &g->first;

	if (g->n == GLOB_ALTERNATIVES_MAX)
		return fail(why, "too many alternatives");
	if (g->n) {
		bool full = (g->n & (g->n - 1)) == 0; /* room for the next power of two */

		grown = g->n == 1 ? NULL : g->alternatives;
		if (full)
			grown = reallocarray(grown, 2 * g->n, sizeof(*grown));
		if (!grown)
			return out_of_memory(why);
		if (g->n == 1)
			*grown = g->first;
	}
	g->alternatives = grown;
	grown[g->n] = (struct alternative){ 0 };
	return parse_alternative(&grown[g->n++], text, why);
}

/* The index of the first brace at or after i; len if there is none; SIZE_MAX: malformed. */
static size_t find_brace(const char *t, size_t len, size_t i)
{
	while (i < len && t[i] != '{' && t[i] != '}') {
		i = skip_element(t, len, i);
		if (!i)
			return SIZE_MAX;
	}
	return i;
}

/* The end of the piece that starts at i: its comma or closing brace, nested braces skipped. */
static size_t find_piece_end(const char *t, size_t len, size_t i)
{
	unsigned depth = 0;

	while (i < len) {
		if (!depth && (t[i] == ',' || t[i] == '}'))
			return i;
		if (t[i] == '{')
			depth++;
		if (t[i] == '}')
			depth--;
		i = skip_element(t, len, i);
		if (!i)
			return SIZE_MAX;
	}
	return SIZE_MAX;
}

/* Expands the first pair of braces and goes on with each result; every pair yields at least one
 * alternative, so the limit on these bounds the work too. */
static int expand(struct glob *g, const char *t, size_t from, unsigned pairs, const char **why)
{
	size_t len = strlen(t), open, close, end;
	int r;

	open = find_brace(t, len, from);
	if (open == SIZE_MAX)
		return fail(why, "unclosed or malformed bracket, or a quote at the end");
	if (open == len)
		return add_alternative(g, t, why);
	if (t[open] == '}')
		return fail(why, "unopened brace");
	if (pairs == GLOB_BRACES_MAX)
		return fail(why, "too many braces");

	for (close = open + 1;; close++) {
		close = find_piece_end(t, len, close);
		if (close == SIZE_MAX)
			return fail(why, "unclosed brace");
		if (t[close] == '}')
			break;
	}
	for (size_t i = open + 1; i <= close; i = end + 1) {
		_cleanup_free_ char *s = malloc(len);
		size_t piece;

		if (!s)
			return out_of_memory(why);
		end = find_piece_end(t, len, i);
		piece = end - i;
		memcpy(s, t, open);
		memcpy(s + open, t + i, piece);
		memcpy(s + open + piece, t + close + 1, len - close);
		r = expand(g, s, open, pairs + 1, why);
		if (r < 0)
			return r;
	}
	return 0;
}

struct glob *glob_ref(struct glob *g)
{
	atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
	return g;
}

void glob_free(struct glob *g)
{
	if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < g->n; i++)
		free(g->alternatives[i].components);
	if (g->n > 1)
		free(g->alternatives);
	free(g);
}

static void cleanup_glob(struct glob **g)
{
	glob_free(*g);
}

int glob_compile(const char *pattern, struct glob **ret, const char **why)
{
	_cleanup_(cleanup_glob) struct glob *g = NULL;
	size_t len = strlen(pattern);
	int r;

	if (len > GLOB_LENGTH_MAX_BYTES)
		return fail(why, "pattern too long");
	g = malloc(sizeof(*g) + len + 1);
	if (!g)
		return out_of_memory(why);
	*g = (struct glob){ .refs = 1 };
	memcpy(g->source, pattern, len + 1);
	r = expand(g, pattern, 0, 0, why);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(g);
	return 0;
}
