/* SPDX-License-Identifier: Apache-2.0 */
/* Paths as the LSM programs tell them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "enforce/lsm.h"

static bool text(const char *parts, size_t len, bool whole, char *buf, size_t size)
{
	struct lsm_path p = { .len = (uint32_t)len, .whole = whole };

	memset(p.parts, 'x', sizeof(p.parts));
	memcpy(p.parts, parts, len < sizeof(p.parts) ? len : sizeof(p.parts));
	return lsm_path_text(&p, buf, size);
}

static bool end(const char *parts, size_t len, bool whole, char *buf, size_t size)
{
	struct lsm_path p = { .len = (uint32_t)len, .whole = whole };

	memcpy(p.parts, parts, len);
	return lsm_path_end(&p, buf, size);
}

#define END(parts, whole) end(parts, sizeof(parts) - 1, whole, buf, sizeof(buf))
#define TEXT(parts, whole) text(parts, sizeof(parts) - 1, whole, buf, sizeof(buf))

static void is_joined(void **state)
{
	char buf[4096];

	(void)state;
	assert_true(TEXT("cat\0bin\0usr\0", true));
	assert_string_equal(buf, "/usr/bin/cat");
	assert_true(TEXT("a\0", true));
	assert_string_equal(buf, "/a");
	assert_true(TEXT("\xff new\nline\0d\0", true));
	assert_string_equal(buf, "/d/\xff new\nline");
	assert_true(TEXT("", true));
	assert_string_equal(buf, "");
}

static void is_not_known_whole(void **state)
{
	char buf[4096], small[12];

	(void)state;
	assert_true(TEXT("cat\0bin\0", false));
	assert_string_equal(buf, "");
	assert_true(text("cat\0bin\0usr\0", 12, true, small, sizeof(small)));
	assert_string_equal(small, "");
}

static void is_known_at_its_end(void **state)
{
	char buf[4096];

	(void)state;
	assert_true(END("cat\0bin\0usr\0", true));
	assert_string_equal(buf, "/usr/bin/cat");
	assert_true(END("cat\0bin\0", false));
	assert_string_equal(buf, "bin/cat");
	assert_true(END("", false));
	assert_string_equal(buf, "");
	assert_false(END("a/b\0", false));
	assert_string_equal(buf, "");
	assert_false(END("cat", false));
	assert_string_equal(buf, "");
}

static void is_no_path(void **state)
{
	static const char full[LSM_PATH + LSM_NAME + 1];
	char buf[4096];

	(void)state;
	assert_false(TEXT("cat", true)); /* no NUL */
	assert_string_equal(buf, "");
	assert_false(TEXT("a\0\0b\0", true)); /* an empty one */
	assert_string_equal(buf, "");
	assert_false(TEXT("a/b\0", true));
	assert_string_equal(buf, "");
	assert_false(TEXT("\0", true));
	assert_false(text(full, sizeof(full), true, buf, sizeof(buf))); /* longer than there is */
	assert_string_equal(buf, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_joined),
		cmocka_unit_test(is_not_known_whole),
		cmocka_unit_test(is_known_at_its_end),
		cmocka_unit_test(is_no_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
