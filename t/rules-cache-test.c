/* SPDX-License-Identifier: Apache-2.0 */
/* A set that is loaded with what was read before is the set that is loaded without. */
#include "t/rules-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rules/cache.h"

#define RULE(id, path) HEAD(id) "match: { any_of: [ path: { eq: " path " } ] }\n"
#define LISTED HEAD("X2") "match: { any_of: [ path: { in: { list: keys } } ] }\n"

struct scene {
	char dir[64];
	struct rules_cache *cache;
};

static int make_scene(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	strcpy(s->dir, "/tmp/oknek-cache.XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->cache = rules_cache_new();
	assert_non_null(s->cache);
	*state = s;
	return 0;
}

static char *path_of(const struct scene *s, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	return path;
}

static int remove_scene(void **state)
{
	static const char *const names[] = { "a.yaml", "b.yaml", "lists.yaml" };
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		unlink(path_of(s, names[i]));
	rmdir(s->dir);
	rules_cache_free(s->cache);
	free(s);
	return 0;
}

static void put(const struct scene *s, const char *name, const char *text)
{
	FILE *f = fopen(path_of(s, name), "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static bool blocks(const struct ruleset *rs, const char *path)
{
	static const struct wall_clock clock = { .unix_s = 1772636400, .hour = 15, .dow = 3 };
	struct event ev = an_open(path);
	const char *category;
	struct decision d;

	rules_decide(rs, &ev, &clock, &d, &category);
	return d.verdict == VERDICT_BLOCK;
}

static int load(const struct scene *s, struct ruleset **ret, struct rules_error *err)
{
	const char *const dirs[] = { s->dir, NULL };
	const struct rules_config c = { .dirs = dirs, .cache = s->cache, .mechanisms = FANOTIFY };

	return ruleset_load(&c, ret, err);
}

/* Does a set of what is there now block exactly these of /a /b /c? */
static void expect(const struct scene *s, const char *blocked)
{
	struct ruleset *rs = NULL;
	struct rules_error err = { "" };

	if (load(s, &rs, &err))
		fail_msg("%s", err.text);
	for (char c = 'a'; c <= 'c'; c++) {
		const char path[] = { '/', c, '\0' };

		assert_int_equal(blocks(rs, path), strchr(blocked, c) != NULL);
	}
	ruleset_unref(rs);
}

static void expect_error(const struct scene *s, const char *text)
{
	struct ruleset *rs = NULL;
	struct rules_error err = { "" };

	assert_int_not_equal(load(s, &rs, &err), 0);
	assert_non_null(strstr(err.text, text));
}

static void what_changed_is_read(void **state)
{
	const struct scene *s = *state;

	put(s, "a.yaml", RULE("X1", "/a"));
	expect(s, "a");
	expect(s, "a");
	put(s, "a.yaml", RULE("X1", "/b")); /* of the same size, within the same second */
	expect(s, "b");
	put(s, "a.yaml", RULE("X1", "/a"));
	expect(s, "a");
	put(s, "b.yaml", RULE("X2", "/b"));
	expect(s, "ab");
	unlink(path_of(s, "a.yaml"));
	expect(s, "b");
	put(s, "a.yaml", RULE("X1", "/c"));
	expect(s, "bc");
}

static void lists_of_other_files(void **state)
{
	const struct scene *s = *state;

	put(s, "lists.yaml", "lists: { keys: [ /a ] }\n");
	put(s, "b.yaml", LISTED);
	expect(s, "a");
	expect(s, "a");
	put(s, "lists.yaml", "lists: { keys: [ /b, /c ] }\n");
	expect(s, "bc");
	put(s, "a.yaml", RULE("X1", "/a"));
	expect(s, "abc");
	unlink(path_of(s, "lists.yaml"));
	expect_error(s, "b.yaml");
	put(s, "lists.yaml", "lists: { keys: [ /b ] }\n");
	expect(s, "ab");
}

static void a_load_that_fails(void **state)
{
	const struct scene *s = *state;

	put(s, "a.yaml", RULE("X1", "/a"));
	put(s, "b.yaml", RULE("X2", "/b"));
	expect(s, "ab");
	put(s, "a.yaml", RULE("X1", "/c"));
	put(s, "b.yaml", "id: [\n");
	expect_error(s, "b.yaml:2: ");
	expect_error(s, "b.yaml:2: ");
	put(s, "b.yaml", RULE("X1", "/b")); /* told once all is read */
	expect_error(s, "twice");
	put(s, "b.yaml", RULE("X2", "/b"));
	expect(s, "bc");
	put(s, "a.yaml", RULE("X1", "/a"));
	expect(s, "ab");
}

/* The same bytes: the same document. Else another. */
static void documents_that_are_kept(void **state)
{
	static const char one[] = "a: 1\n", other[] = "a: 2\n", marked[] = "\xef\xbb\xbf" "a: 1\n";
	struct rules_cache *c = ((struct scene *)*state)->cache;
	struct yaml_doc *first, *second, *again;
	char err[512];

	assert_int_equal(cache_load_buffer(c, "f", one, 5, &first, err), 0);
	cache_settle(c, true);
	assert_int_equal(cache_load_buffer(c, "f", one, 5, &again, err), 0);
	assert_ptr_equal(first, again);
	yaml_doc_free(again);
	assert_int_equal(cache_load_buffer(c, "f", marked, 8, &again, err), 0);
	assert_ptr_equal(first, again);
	yaml_doc_free(again);
	assert_int_equal(cache_load_buffer(c, "g", one, 5, &again, err), 0); /* another name */
	assert_ptr_not_equal(first, again);
	yaml_doc_free(again);
	assert_int_equal(cache_load_buffer(c, "f", one, 4, &again, err), 0);
	assert_ptr_not_equal(first, again);
	yaml_doc_free(again);
	cache_settle(c, false); /* what was new is gone, what was there before is not */
	assert_int_equal(cache_load_buffer(c, "f", one, 5, &again, err), 0);
	assert_ptr_equal(first, again);
	yaml_doc_free(again);
	assert_int_equal(cache_load_buffer(c, "g", one, 5, &second, err), 0);
	cache_settle(c, true);

	/* another text takes the place, also in a set that is not loaded then */
	assert_int_equal(cache_load_buffer(c, "f", other, 5, &again, err), 0);
	assert_ptr_not_equal(first, again);
	assert_string_equal(yaml_get(yaml_doc_root(again, 0), "a")->scalar, "2");
	yaml_doc_free(again);
	assert_int_not_equal(cache_load_buffer(c, "f", "[", 1, &again, err), 0);
	cache_settle(c, false);
	assert_int_equal(cache_load_buffer(c, "f", other, 5, &again, err), 0);
	assert_string_equal(yaml_get(yaml_doc_root(again, 0), "a")->scalar, "2");
	yaml_doc_free(again);
	cache_settle(c, true); /* a set without the other */
	assert_int_equal(cache_load_buffer(c, "g", one, 5, &again, err), 0);
	assert_ptr_not_equal(second, again);
	yaml_doc_free(again);
	yaml_doc_free(second);
	yaml_doc_free(first);
}

/* More than is kept: the rest is read each time. */
static void more_than_is_kept(void **state)
{
	enum { FILES = 40, SIZE = 40000 };
	struct rules_cache *c = ((struct scene *)*state)->cache;
	char *text = malloc(SIZE), err[512];

	assert_non_null(text);
	memset(text, '#', SIZE);
	memcpy(text, "a: 1\n", 5);
	for (int round = 0; round < 6; round++) {
		size_t kept = 0;

		for (int i = 0; i < FILES; i++) {
			struct yaml_doc *d;
			char name[16];

			/* in another order each time */
			snprintf(name, sizeof(name), "f%d", (i * 7 + round * 3) % FILES);
			assert_int_equal(cache_load_buffer(c, name, text, SIZE, &d, err), 0);
			yaml_doc_free(d);
		}
		cache_settle(c, true);
		for (int i = 0; i < FILES; i++) {
			struct yaml_doc *d, *again;
			char name[16];

			snprintf(name, sizeof(name), "f%d", i);
			assert_int_equal(cache_load_buffer(c, name, text, SIZE, &d, err), 0);
			assert_int_equal(cache_load_buffer(c, name, text, SIZE, &again, err), 0);
			kept += d == again;
			yaml_doc_free(d);
			yaml_doc_free(again);
		}
		cache_settle(c, false);
		assert_int_equal(kept, (1 << 20) / SIZE);
	}
	free(text);
}

/* As a pack gives them. */
static void files_in_memory(void **state)
{
	struct rules_cache *cache = ((struct scene *)*state)->cache;
	struct rules_file files[] = { { "rules/a.yaml", RULE("X1", "/a"), sizeof(RULE("X1", "/a")) - 1 },
				      { "rules/b.yaml", LISTED, sizeof(LISTED) - 1 },
				      { "rules/lists.yaml", "lists: { keys: [ /b ] }\n", 24 } };
	const struct rules_config c = { .files = files, .n_files = 3, .cache = cache,
					.mechanisms = FANOTIFY };

	for (int round = 0; round < 4; round++) {
		struct ruleset *rs = NULL;
		struct rules_error err = { "" };

		files[2].data = round & 1 ? "lists: { keys: [ /c ] }\n" : "lists: { keys: [ /b ] }\n";
		assert_int_equal(ruleset_load(&c, &rs, &err), 0);
		assert_true(blocks(rs, "/a"));
		assert_int_equal(blocks(rs, "/b"), !(round & 1));
		assert_int_equal(blocks(rs, "/c"), round & 1);
		ruleset_unref(rs);
	}
}

/* The shipped rules, and nothing of them is altered by being compiled. */
static void the_same_set_each_time(void **state)
{
	static const char *const dirs[] = { "rules/core", NULL };
	struct rules_config c = { .dirs = dirs, .mechanisms = FANOTIFY };
	struct ruleset *sets[4] = { NULL };
	struct rules_error err = { "" };

	for (int i = 0; i < 4; i++) {
		c.cache = i ? ((struct scene *)*state)->cache : NULL;
		assert_int_equal(ruleset_load(&c, &sets[i], &err), 0);
	}
	for (int i = 1; i < 4; i++) {
		assert_int_equal(ruleset_count(sets[i]), ruleset_count(sets[0]));
		for (size_t k = 0; k < ruleset_count(sets[0]); k++) {
			assert_string_equal(ruleset_source(sets[i], k), ruleset_source(sets[0], k));
			assert_string_equal(ruleset_rule(sets[i], k)->id, ruleset_rule(sets[0], k)->id);
			assert_int_equal(ruleset_rule(sets[i], k)->line, ruleset_rule(sets[0], k)->line);
		}
		assert_int_equal(ruleset_compare_versions(sets[0], sets[i], NULL, NULL), 0);
	}
	for (int i = 0; i < 4; i++)
		ruleset_unref(sets[i]);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, make_scene, remove_scene)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(what_changed_is_read), WITH(lists_of_other_files), WITH(a_load_that_fails),
		WITH(documents_that_are_kept), WITH(more_than_is_kept), WITH(files_in_memory),
		WITH(the_same_set_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
