/* SPDX-License-Identifier: Apache-2.0 */
/* YAML from strangers: what is read, with lines, and what is refused, quickly. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/yaml.h"

static struct yaml_doc *load(const char *text)
{
	struct yaml_doc *d = NULL;
	char err[512] = "";
	int rc = yaml_load_buffer("f", text, strlen(text), &d, err);

	if (rc)
		print_error("%s\n", err);
	assert_int_equal(rc, 0);
	return d;
}

/* Refused within a second, with this message. */
static void refuse_bytes(const void *data, size_t len, int want_rc, const char *want)
{
	struct yaml_doc *d = NULL;
	char err[512] = "";
	struct timespec a, b;
	int rc;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	rc = yaml_load_buffer("f", data, len, &d, err);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_string_equal(err, want);
	assert_int_equal(rc, want_rc);
	assert_null(d);
	assert_true((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9 < 1.0);
}

static void refuse(const char *text, const char *want)
{
	refuse_bytes(text, strlen(text), -EINVAL, want);
}

static void a_tree_remembers_lines(void **state)
{
	struct yaml_doc *d = load("a: 1\nb:\n  - x\n  - 'true'\nc: {d: e}\n");
	const struct yaml_node *r = yaml_doc_root(d, 0), *b = yaml_get(r, "b");

	(void)state;
	assert_int_equal(yaml_doc_count(d), 1);
	assert_string_equal(yaml_doc_file(d), "f");
	assert_int_equal(r->n, 3);
	assert_int_equal(r->keys[2]->line, 5);
	assert_int_equal(b->type, YAML_LIST);
	assert_int_equal(b->n, 2);
	assert_int_equal(b->items[1]->line, 4);
	assert_true(b->items[1]->quoted);
	assert_false(b->items[0]->quoted);
	assert_string_equal(yaml_get(yaml_get(r, "c"), "d")->scalar, "e");
	assert_null(yaml_get(r, "z"));
	yaml_doc_free(d);
}

static void documents_are_told_apart(void **state)
{
	struct yaml_doc *d = load("# top\na: 1\n---\n# two\nb: 2\n---\n---\nc: 3\n...\n");
	const char *want[] = { "# top\na: 1\n", "# two\nb: 2\n", "c: 3\n" };

	(void)state;
	assert_int_equal(yaml_doc_count(d), 3);
	for (size_t i = 0; i < 3; i++) {
		size_t len;
		const char *text = yaml_doc_text(d, i, &len);

		if (i == 0) { /* the comment above belongs to it or not: both are fine */
			assert_true(len >= 5);
			assert_memory_equal(text + len - 5, "a: 1\n", 5);
			continue;
		}
		assert_int_equal(len, strlen(want[i]));
		assert_memory_equal(text, want[i], len);
	}
	yaml_doc_free(d);
	d = load("");
	assert_int_equal(yaml_doc_count(d), 0);
	yaml_doc_free(d);
	d = load("\xef\xbb\xbf" "a: \xc3\xa9\n");
	assert_string_equal(yaml_get(yaml_doc_root(d, 0), "a")->scalar, "\xc3\xa9");
	yaml_doc_free(d);
}

static void values_are_what_they_look_like(void **state)
{
	struct yaml_doc *d = load("[true, false, yes, 'true', 12, -3, '12', 12x, 99999999999999999999,"
				  " 9223372036854775807, '', 90d, 12h, 2w, 1y, 10m, 30s, 5, d, 1500ms,"
				  " 9999999999999999y]");
	const struct yaml_node *r = yaml_doc_root(d, 0);
	static const int64_t ints[] = { 12, -3 };
	static const uint64_t seconds[] = { 90 * 86400, 12 * 3600, 14 * 86400, 365 * 86400, 600, 30 };
	uint64_t s;
	int64_t i;
	bool b;

	(void)state;
	assert_int_equal(yaml_bool(r->items[0], &b), 0);
	assert_true(b);
	assert_int_equal(yaml_bool(r->items[1], &b), 0);
	assert_false(b);
	assert_int_equal(yaml_bool(r->items[2], &b), -EINVAL);
	assert_int_equal(yaml_bool(r->items[3], &b), -EINVAL);
	for (size_t k = 0; k < 2; k++) {
		assert_int_equal(yaml_int(r->items[4 + k], &i), 0);
		assert_int_equal(i, ints[k]);
	}
	for (size_t k = 6; k < 9; k++)
		assert_int_equal(yaml_int(r->items[k], &i), -EINVAL);
	assert_int_equal(yaml_int(r->items[9], &i), 0);
	assert_true(i == INT64_MAX);
	assert_int_equal(yaml_int(r->items[10], &i), -EINVAL);
	for (size_t k = 0; k < 6; k++) {
		assert_int_equal(yaml_duration_s(r->items[11 + k], &s), 0);
		assert_int_equal(s, seconds[k]);
	}
	assert_int_equal(yaml_duration_s(r->items[17], &s), -EINVAL);
	assert_int_equal(yaml_duration_s(r->items[18], &s), -EINVAL);
	assert_int_equal(yaml_duration_s(r->items[19], &s), -EINVAL); /* no whole second */
	assert_int_equal(yaml_duration_ns(r->items[19], &s), 0);
	assert_int_equal(s, 1500000000);
	assert_int_equal(yaml_duration_ns(r->items[20], &s), -EINVAL);
	yaml_doc_free(d);
}

static void what_lets_a_file_grow_is_refused(void **state)
{
	(void)state;
	refuse("a: &x 1\n", "f:1: anchors (&) are not allowed: write the value out");
	refuse("a: 1\nb: *x\n", "f:2: aliases (*) are not allowed: write the value out");
	refuse("a: &a [*a]\n", "f:1: anchors (&) are not allowed: write the value out");
	refuse("a: !!str 1\n", "f:1: tags (!) are not allowed: write the plain value");
	refuse("\n- !x [1]\n", "f:2: tags (!) are not allowed: write the plain value");
	refuse("%TAG ! tag:x,2000:\n---\na: 1\n", "f:1: %TAG is not allowed: remove the line");
	refuse("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
	       "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
	       "f:1: anchors (&) are not allowed: write the value out");
}

static void ambiguous_text_is_refused(void **state)
{
	(void)state;
	refuse("a: 1\nb: 2\na: 3\n", "f:3: key \"a\" is there twice (first on line 1)");
	refuse("x:\n  a: 1\n  'a': 3\n", "f:3: key \"a\" is there twice (first on line 2)");
	refuse("? [a]\n: 1\n", "f:1: a key must be a plain word, not a list or a map");
	refuse("a:\n\t- b\n", "f:2: a tab where YAML wants spaces: indent with spaces");
	refuse("a: 1\nb: \"\\0\"\n", "f:2: a string with a NUL byte in it");
	refuse_bytes("a: 1\n\0", 6, -EINVAL, "f:2: a NUL byte: not a text file");
	refuse("a: 1\nb: \xff\n", "f:2: byte 0xff is not UTF-8: save the file as UTF-8");
	refuse("a: \xc0\xaf\n", "f:1: byte 0xc0 is not UTF-8: save the file as UTF-8");
	refuse("a: \xed\xa0\x80\n", "f:1: byte 0xed is not UTF-8: save the file as UTF-8");
	refuse("a: \xc3", "f:1: byte 0xc3 is not UTF-8: save the file as UTF-8");
	refuse("a: [1\nb: 2\n", "f:2: not YAML: did not find expected ',' or ']', "
				"while parsing a flow sequence");
	refuse("a: \x01\n", "f:1: not YAML: control characters are not allowed");
}

static void size_depth_and_count_are_bounded(void **state)
{
	size_t len = 10u << 20;
	char *big = malloc(len);

	(void)state;
	assert_non_null(big);
	memset(big, '[', len);
	refuse_bytes(big, len, -EFBIG, "f:1: larger than 1 MiB: split the file");
	refuse_bytes(big, YAML_SIZE_MAX, -EINVAL, "f:1: nested deeper than 32 levels");
	for (size_t i = 0; i < YAML_SIZE_MAX; i++)
		big[i] = i % 2 ? ' ' : '-';
	refuse_bytes(big, YAML_SIZE_MAX, -EINVAL, "f:1: nested deeper than 32 levels");
	big[0] = '[';
	for (size_t i = 1; i < YAML_SIZE_MAX; i += 2)
		memcpy(big + i, "1,", 2);
	refuse_bytes(big, YAML_SIZE_MAX, -EINVAL, "f:1: more than 65536 values in one file: split it");
	/* many different keys: duplicates must not be looked for pair by pair */
	for (size_t i = 0; i < 32000; i++) {
		char line[16];

		snprintf(line, sizeof(line), "k%06u: 1\n", (unsigned)(i % 31999));
		memcpy(big + 11 * i, line, 11);
	}
	refuse_bytes(big, 11 * 32000, -EINVAL,
		     "f:32000: key \"k000000\" is there twice (first on line 1)");
	/* as many documents as fit: their text must not be looked for from the top each time */
	for (size_t i = 0; i < YAML_SIZE_MAX; i++)
		big[i] = "--- a\n"[i % 6];
	refuse_bytes(big, 6 * 170000, -EINVAL, "f:65537: more than 65536 values in one file: split it");
	/* directives that libyaml compares each with each */
	for (size_t i = 0; i < 20000; i++) {
		char line[24];

		snprintf(line, sizeof(line), "%%TAG !a%05u! tag:x:\n", (unsigned)i);
		memcpy(big + 21 * i, line, 21);
	}
	refuse_bytes(big, 21 * 20000, -EINVAL, "f:17: %TAG is not allowed: remove the line");
	free(big);
}

static void only_regular_files_are_read(void **state)
{
	char dir[] = "/tmp/oknek-yaml-XXXXXX", path[64], err[512], want[600];
	struct yaml_doc *d = NULL;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(yaml_load_file(path, &d, err), -EINVAL); /* and does not wait */
	snprintf(want, sizeof(want), "%s: not a regular file", path);
	assert_string_equal(err, want);
	unlink(path);
	assert_int_equal(yaml_load_file(dir, &d, err), -EINVAL);
	assert_int_equal(yaml_load_file(path, &d, err), -ENOENT);
	snprintf(want, sizeof(want), "%s: cannot be opened: No such file or directory", path);
	assert_string_equal(err, want);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fputs("a: 1\n", f) >= 0, 1);
	fclose(f);
	assert_int_equal(yaml_load_file(path, &d, err), 0);
	assert_string_equal(yaml_get(yaml_doc_root(d, 0), "a")->scalar, "1");
	yaml_doc_free(d);
	d = NULL;
	assert_int_equal(truncate(path, 10 << 20), 0);
	assert_int_equal(yaml_load_file(path, &d, err), -EFBIG);
	snprintf(want, sizeof(want), "%s:1: larger than 1 MiB: split the file", path);
	assert_string_equal(err, want);
	unlink(path);
	rmdir(dir);
}

static void messages_stay_on_one_line(void **state)
{
	char err[512];

	(void)state;
	yaml_fail(err, "a\nb", 3, "say \x1b[31m%s", "x\ty");
	assert_string_equal(err, "a?b:3: say ?[31mx?y");
	refuse("\"a\\n\": 1\n\"a\\n\": 2\n", "f:2: key \"a?\" is there twice (first on line 1)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_remembers_lines),
		cmocka_unit_test(documents_are_told_apart),
		cmocka_unit_test(values_are_what_they_look_like),
		cmocka_unit_test(what_lets_a_file_grow_is_refused),
		cmocka_unit_test(ambiguous_text_is_refused),
		cmocka_unit_test(size_depth_and_count_are_bounded),
		cmocka_unit_test(only_regular_files_are_read),
		cmocka_unit_test(messages_stay_on_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
