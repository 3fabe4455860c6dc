/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The quick reader of plain YAML never says anything else than libyaml does: texts put together at
 * random, and the shipped rules with bytes changed at random, read by both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/yaml_impl.h"

/* A tab is not plain: with this before it libyaml reads the text, one line further down. */
#define NOT_PLAIN "#\t\n"

static unsigned long long seed = 0x5eed;

static unsigned pick(unsigned n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(seed >> 33) % n;
}

static bool same(const struct yaml_node *a, const struct yaml_node *b)
{
	if (a->type != b->type || a->line + 1 != b->line || a->n != b->n || a->quoted != b->quoted)
		return false;
	if (a->type == YAML_SCALAR)
		return !strcmp(a->scalar, b->scalar);
	for (size_t i = 0; i < a->n; i++)
		if (!same(a->items[i], b->items[i]) ||
		    (a->type == YAML_MAP && !same(a->keys[i], b->keys[i])))
			return false;
	return true;
}

/* Did the quick reader take it? Then it has to be what libyaml says. */
static bool agree(const char *text, size_t len)
{
	struct yaml_doc plain = { .pool = pool_new(), .file = "f", .text = text }, *full = NULL;
	char *marked = malloc(len + sizeof(NOT_PLAIN));
	char err[512] = "";
	bool taken;

	assert_non_null(plain.pool);
	assert_non_null(marked);
	taken = yaml_read_plain(&plain, len) > 0;
	memcpy(mempcpy(marked, NOT_PLAIN, strlen(NOT_PLAIN)), text, len);
	if (taken) {
		bool ok = yaml_load_buffer("f", marked, len + strlen(NOT_PLAIN), &full, err) == 0 &&
			  yaml_doc_count(full) == plain.n_docs;

		for (size_t i = 0; ok && i < plain.n_docs; i++) {
			size_t n;
			const char *part = yaml_doc_text(full, i, &n);

			ok = same(plain.docs[i].root, yaml_doc_root(full, i)) &&
			     n == plain.docs[i].to - plain.docs[i].from &&
			     !memcmp(part, text + plain.docs[i].from, n);
		}
		if (!ok)
			fail_msg("%s\n---- is read otherwise:\n%.*s", err, (int)len, text);
	}
	yaml_doc_free(full);
	pool_free(plain.pool);
	free(marked);
	return taken;
}

/* ---- at random ----------------------------------------------------------------------------- */

static const char *const scalars[] = {
	"a", "b", "kind", "file_opened", "two words", "\"q\"", "'q'", "'it''s'", "\"a\\\\.b\"",
	"\"\\n\"", "http://x/y", "a:b", "~/.x", "\"**/*.pem\"", "-1", "a#b", "x-y", "1", "''", "\"\"",
	"\xc3\xa9", "\xe2\x80\x94", "/a/*", "a, b", "[a", "a]", "{", "&a", "*a", "!t", "|", ">-",
	"-", "?", "? a", ": a", "a: b", "a:", "a #b", "# c", "\"a", "%x", "@", "`", "a?b", "a[b]",
	"---", "...", "null", "true", "a  ", "\"a\" b", "'a'b", "a\"b", "a'b", "=", "<<", "-a", "--- a",
};

static void put(char *out, size_t size, const char *s)
{
	size_t n = strlen(out);

	snprintf(out + n, size - n, "%s", s);
}

static void put_scalar(char *out, size_t size)
{
	put(out, size, scalars[pick(pick(8) ? 22 : ARRAY_SIZE(scalars))]);
}

static void put_flow(char *out, size_t size, int depth)
{
	bool map = pick(3) == 0;
	unsigned n = pick(4);
	static const char *const gaps[] = { " ", "", "\n  ", "\n", " # c\n   ", "  " };

	put(out, size, map ? "{" : "[");
	for (unsigned i = 0; i < n; i++) {
		put(out, size, gaps[pick(pick(3) ? 2 : ARRAY_SIZE(gaps))]);
		if (map || pick(8) == 0) {
			char key[8] = { (char)('a' + pick(26)), (char)('a' + pick(26)), '\0' };

			put(out, size, pick(20) ? key : "\"k\"");
			put(out, size, pick(20) ? ": " : ":");
		}
		if (depth && pick(4) == 0)
			put_flow(out, size, depth - 1);
		else
			put_scalar(out, size);
		put(out, size, gaps[pick(pick(3) ? 2 : ARRAY_SIZE(gaps))]);
		put(out, size, i + 1 < n || pick(6) == 0 ? "," : "");
	}
	put(out, size, map ? "}" : "]");
}

static void put_indent(char *out, size_t size, unsigned n)
{
	if (pick(40) == 0)
		n += pick(3);
	else if (n && pick(60) == 0)
		n--;
	while (n--)
		put(out, size, " ");
}

static void put_end(char *out, size_t size)
{
	static const char *const ends[] = { "\n", "\n", "\n", "\n", "\n\n", " # c\n", "  \n",
					    "\n# c\n", "\n   # c\n", " #\n", "#\n", "\n   x\n" };

	put(out, size, ends[pick(pick(20) ? ARRAY_SIZE(ends) - 2 : ARRAY_SIZE(ends))]);
}

static void put_value(char *out, size_t size, unsigned column, int depth, bool in_list);

static void put_block(char *out, size_t size, unsigned column, int depth, bool inline_first)
{
	bool map = pick(3) > 0;
	unsigned n = 1 + pick(3);

	for (unsigned i = 0; i < n; i++) {
		if (i || !inline_first)
			put_indent(out, size, column);
		if (map) {
			char key[8] = { (char)('a' + pick(26)), (char)('a' + pick(26)), '\0' };

			if (pick(12) == 0)
				put_scalar(out, size);
			else
				put(out, size, key);
			put(out, size, pick(40) ? ":" : " :");
		} else {
			put(out, size, "-");
		}
		put_value(out, size, column, depth, !map);
	}
}

static void put_value(char *out, size_t size, unsigned column, int depth, bool in_list)
{
	unsigned what = pick(10), spaces = 1 + (pick(8) == 0);

	if (what < 3 && depth) {
		put_end(out, size);
		put_block(out, size, column + (pick(6) ? 2 : 0), depth - 1, false);
		return;
	}
	for (unsigned i = 0; i < spaces; i++)
		put(out, size, " ");
	if (what < 5 && depth && in_list) {
		put_block(out, size, column + 1 + spaces, depth - 1, true);
		return;
	}
	if (what == 5)
		put_flow(out, size, 2);
	else if (what > 5 || pick(2))
		put_scalar(out, size);
	put_end(out, size);
}

static void texts_at_random(void **state)
{
	static char text[65536];
	unsigned taken = 0, all = 60000;

	(void)state;
	for (unsigned i = 0; i < all; i++) {
		unsigned docs = 1 + (pick(4) == 0) * pick(3);

		*text = '\0';
		if (pick(10) == 0)
			put(text, sizeof(text), "# first\n\n");
		for (unsigned k = 0; k < docs; k++) {
			if (k || pick(2))
				put(text, sizeof(text), pick(12) ? "---\n" : "--- # c\n");
			if (pick(10))
				put_block(text, sizeof(text), pick(20) ? 0 : 2, 3, false);
		}
		if (*text && pick(5) == 0)
			text[strlen(text) - 1] = '\0';
		taken += agree(text, strlen(text));
	}
	print_message("# %u of %u were plain\n", taken, all);
	assert_true(taken > all / 10); /* it was a test */
}

/* ---- the shipped rules ----------------------------------------------------------------------- */

static size_t read_text(const char *dir, const char *name, char *text, size_t size)
{
	char path[512];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	fclose(f);
	return n;
}

static void change(char *text, size_t *len)
{
	static const char some[] = " \n:-#,[]{}\"'\\a&*!|>?%@\t~";
	size_t at = pick((unsigned)*len), n;

	switch (pick(3)) {
	case 0:
		text[at] = some[pick(sizeof(some) - 1)];
		return;
	case 1:
		n = 1 + pick(3);
		if (n > *len - at)
			n = *len - at;
		memmove(text + at, text + at + n, *len - at - n + 1);
		*len -= n;
		return;
	default:
		memmove(text + at + 1, text + at, *len - at + 1);
		text[at] = some[pick(sizeof(some) - 1)];
		++*len;
	}
}

static void shipped_rules_and_what_is_near_them(void **state)
{
	static char text[1 << 16], changed[(1 << 16) + 64];
	const char *dir = "rules/core";
	unsigned taken = 0, files = 0;
	struct dirent *e;
	DIR *d = opendir(dir);

	(void)state;
	assert_non_null(d);
	while ((e = readdir(d))) {
		size_t len;

		if (e->d_name[0] == '.' || !strstr(e->d_name, ".yaml"))
			continue;
		len = read_text(dir, e->d_name, text, sizeof(text));
		files++;
		assert_true(agree(text, len));
		for (unsigned i = 0; i < 300; i++) {
			/* a piece of it: mistakes far apart would hide each other */
			size_t from = pick((unsigned)len), n = len - from;

			if (n > 2000)
				n = 2000;
			memcpy(changed, text + from, n);
			changed[n] = '\0';
			for (unsigned k = pick(4); k && n > 10; k--)
				change(changed, &n);
			if (memchr(changed, '\0', n))
				continue;
			taken += agree(changed, n);
		}
	}
	closedir(d);
	print_message("# %u files, %u changed ones were plain\n", files, taken);
	assert_true(files > 0 && taken > 20);
}

/* ---- what is left to libyaml ---------------------------------------------------------------- */

static void what_is_not_plain(void **state)
{
	static const char *const texts[] = {
		"a: |\n  b\n", "a: &x b\n", "a: *x\n", "a: !t b\n", "a:\n", "- \n- b\n", "a: b\n  c\n",
		"a: \"b\n  c\"\n", "a: b\na: c\n", "a\n", "%YAML 1.1\n---\na: b\n", "a: b\n...\n",
		"a: b\r\n", "a:\tb\n", "? a\n: b\n", "{a}\n", "[a: ]\n", "a: b: c\n", "\"\\x41\": b\n",
		"a: b\n  c: d\n", " a: b\nc: d\n", "a: [b\n", "- a\nb: c\n", "a: \xc2\x85\n", "a: @b\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (agree(texts[i], strlen(texts[i])))
			fail_msg("%s was taken", texts[i]);
}

static void limits_are_libyamls(void **state)
{
	char deep[256] = "", *many = malloc(YAML_NODES_MAX * 4 + 16);
	char err[512];
	struct yaml_doc *d = NULL;

	(void)state;
	assert_non_null(many);
	for (int i = 0; i < YAML_DEPTH_MAX; i++)
		strcat(deep, "[");
	for (int i = 0; i < YAML_DEPTH_MAX; i++)
		strcat(deep, "]");
	assert_true(agree(deep, strlen(deep)));
	memmove(deep + 1, deep, strlen(deep) + 1);
	strcat(deep, "]");
	assert_false(agree(deep, strlen(deep)));
	assert_int_not_equal(yaml_load_buffer("f", deep, strlen(deep), &d, err), 0);

	strcpy(many, "[");
	for (int i = 0; i < YAML_NODES_MAX - 1; i++)
		memcpy(many + 1 + 2 * i, "a,", 2);
	strcpy(many + 1 + 2 * (YAML_NODES_MAX - 1), "]");
	assert_true(agree(many, strlen(many)));
	strcpy(many + 1 + 2 * (YAML_NODES_MAX - 1), "a]");
	assert_false(agree(many, strlen(many)));
	assert_int_not_equal(yaml_load_buffer("f", many, strlen(many), &d, err), 0);
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_at_random),
		cmocka_unit_test(shipped_rules_and_what_is_near_them),
		cmocka_unit_test(what_is_not_plain),
		cmocka_unit_test(limits_are_libyamls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
