/* SPDX-License-Identifier: Apache-2.0 */
/* How text falls into words: that of a shell, and arguments. */
#include <string.h>

#include "core/cleanup.h"
#include "store/mask_priv.h"

#define DEPTH_MAX 3 /* scripts in scripts */

static bool ends_command(char c)
{
	return c == '\n' || (c && strchr(";&|()`", c));
}

static bool separates(char c)
{
	return mask_is_space((unsigned char)c) || ends_command(c) || c == '<' || c == '>';
}

/* The end of the word that begins at i, with its quotes. */
static size_t word_end(const char *s, size_t len, size_t i)
{
	while (i < len && !separates(s[i])) {
		char c = s[i++];

		if (c == '\\' && i < len) {
			i++;
		} else if (c == '\'' || c == '"') {
			while (i < len && s[i] != c)
				i += c == '"' && s[i] == '\\' && i + 1 < len ? 2 : 1;
			i += i < len;
		}
	}
	return i;
}

/* The word as the shell would give it on; false: it has no quotes, or they do not end. */
static bool unquote(const char *s, size_t len, struct text *t)
{
	bool quoted = false;
	char q = 0;

	for (size_t i = 0; i < len; i++) {
		if (!q && (s[i] == '\'' || s[i] == '"')) {
			q = s[i];
			quoted = true;
		} else if (q && s[i] == q) {
			q = 0;
		} else if (s[i] == '\\' && i + 1 < len && q != '\'' &&
			   (!q || strchr("\"\\$`", s[i + 1]))) {
			text_put(t, &s[++i], 1);
		} else {
			text_put(t, &s[i], 1);
		}
	}
	return quoted && !q && !t->failed;
}

static void put_script(struct mask *m, const char *s, size_t len, unsigned depth);

/* A script of its own: behind eval, or -c of a shell. False: it is to be taken as a word. */
static bool put_inner(struct mask *m, const char *s, size_t len, unsigned depth)
{
	_cleanup_(text_free) struct text plain = { 0 }, out = { 0 };
	struct mask inner = { .t = &out, .prose = m->prose };

	if (depth >= DEPTH_MAX || !unquote(s, len, &plain))
		return false;
	put_script(&inner, plain.p ? plain.p : "", plain.n, depth + 1);
	m->t->failed |= out.failed;
	if (!inner.masked) {
		mask_put(m, s, len);
		return true;
	}
	m->masked = true;
	text_puts(m->t, "'");
	text_put(m->t, out.p ? out.p : "", out.n);
	text_puts(m->t, "'");
	return true;
}

static bool has_c(const char *s, size_t len)
{
	return len >= 2 && s[0] == '-' && s[1] != '-' && memchr(s, 'c', len);
}

static void begin_command(struct mask *m)
{
	*m = (struct mask){ .t = m->t, .masked = m->masked, .prose = m->prose, .first = true };
}

/* What is not quoted ends nowhere but with the command. */
static size_t command_end(const char *s, size_t len, size_t i)
{
	size_t start = i;

	while (i < len && !ends_command(s[i]))
		i = separates(s[i]) ? i + 1 : word_end(s, len, i);
	while (i > start && mask_is_space((unsigned char)s[i - 1]))
		i--;
	return i;
}

static void put_script(struct mask *m, const char *s, size_t len, unsigned depth)
{
	bool inner = false; /* the next word is a script */
	size_t i = 0, keep = 0;

	begin_command(m);
	while (i < len) {
		size_t n = mask_private_key(s + i, len - i, &keep), end;

		if (n) {
			mask_put(m, s + i, keep);
			mask_put_masked(m);
			i += n;
			continue;
		}
		if (separates(s[i])) {
			if (ends_command(s[i])) {
				begin_command(m);
				inner = false;
			}
			mask_put(m, s + i, 1);
			i++;
			continue;
		}
		end = word_end(s, len, i);
		if (m->next == NEXT_HEADER && !mask_is_scheme(s + i, end - i)) {
			end = command_end(s, len, i);
			mask_put_masked(m);
			m->next = NEXT_ANY;
		} else if (inner && m->next == NEXT_ANY && s[i] != '-' &&
			   put_inner(m, s + i, end - i, depth)) {
			inner = false;
		} else {
			mask_word(m, s + i, end - i);
			inner |= (end - i == 4 && !memcmp(s + i, "eval", 4)) ||
				 (m->shell && has_c(s + i, end - i));
		}
		i = end;
	}
}

void mask_secrets(struct text *t, const char *s, size_t len)
{
	struct mask m = { .t = t };

	put_script(&m, s, len, 0);
}

void mask_prose(struct text *t, const char *s, size_t len)
{
	struct mask m = { .t = t, .prose = true };

	put_script(&m, s, len, 0);
}

static bool has_space(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (mask_is_space((unsigned char)s[i]))
			return true;
	return false;
}

/* What has spaces may be a script for somebody, and what is in it be seen by its words alone. */
static void put_argument(struct mask *m, const char *s, size_t len)
{
	struct mask words = { .t = m->t };
	bool masked = m->masked;
	size_t was = m->t->n;
	enum mask_next next;

	m->masked = false;
	mask_word(m, s, len);
	next = m->next;
	if (!m->masked && has_space(s, len) && !m->t->failed) {
		m->t->n = was;
		put_script(&words, s, len, 1);
		m->masked = words.masked;
	}
	m->next = next;
	m->masked |= masked;
}

/* Where in this argument a key begins that goes on in those that follow; len: nowhere. */
static size_t private_key_at(const char *argv, size_t len, size_t from, size_t end)
{
	for (size_t i = from; i < end; i++) {
		size_t keep, n = mask_private_key(argv + i, len - i, &keep);

		if (n && i + n > end)
			return i;
		i += n ? n - 1 : 0;
	}
	return len;
}

bool mask_arguments(struct text *t, const char *argv, size_t len, char sep)
{
	struct mask m = { .t = t, .first = true };
	bool script = false; /* the next one is */

	for (size_t i = 0; i < len;) {
		size_t end = i + strnlen(argv + i, len - i), n = end - i, keep = 0;
		size_t key = private_key_at(argv, len, i, end);

		if (i)
			text_put(t, &sep, 1);
		if (key < end) {
			mask_word(&m, argv + i, key - i);
			key += mask_private_key(argv + key, len - key, &keep);
			text_puts(t, "-----BEGIN PRIVATE KEY");
			mask_put_masked(&m);
			end = key + strnlen(argv + key, len - key);
			mask_put(&m, argv + key, end - key);
			m.next = NEXT_ANY;
		} else if (script && m.next == NEXT_ANY && n && argv[i] != '-' && argv[i] != '+') {
			struct mask words = { .t = t };

			put_script(&words, argv + i, n, 0);
			m.masked |= words.masked;
			script = false;
		} else {
			put_argument(&m, argv + i, n);
			script |= m.shell && has_c(argv + i, n);
		}
		i = end + 1;
	}
	return m.masked;
}
