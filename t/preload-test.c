/* SPDX-License-Identifier: Apache-2.0 */
/* What the preload shim sends, taken apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>

#include "sources/preload.h"

static int read_text(const char *text, struct preload_request *ret)
{
	json_t *j = json_loads(text, 0, NULL);
	int r;

	assert_non_null(j);
	r = preload_request_read(j, ret);
	json_decref(j);
	return r;
}

static void test_open(void **state)
{
	static struct preload_request r;

	(void)state;
	assert_int_equal(read_text("{\"what\":\"open\",\"path\":\"2f61\",\"given\":\"2f62\",\"access\":2,"
				   "\"pid\":1}", &r), 0);
	assert_int_equal(r.kind, KIND_FILE_OPENED);
	assert_string_equal(r.path, "/a");
	assert_string_equal(r.given, "/b");
	assert_int_equal(r.mode, OPEN_MODE_WRITE);
	assert_true(r.also_read);
	assert_int_equal(read_text("{\"what\":\"open\",\"path\":\"\",\"given\":\"2f62\",\"access\":0}", &r), 0);
	assert_string_equal(r.path, "/b");
	assert_int_equal(r.mode, OPEN_MODE_READ);
	assert_false(r.also_read);
}

static void test_exec(void **state)
{
	static struct preload_request r;

	(void)state;
	assert_int_equal(read_text("{\"what\":\"exec\",\"path\":\"2f61\",\"given\":\"\",\"argv\":\"610062ff00\","
				   "\"cut\":0}", &r), 0);
	assert_int_equal(r.argv_len_bytes, 5);
	assert_memory_equal(r.argv, "a\0b\xff", 5);
	assert_false(r.argv_cut);
	assert_int_equal(read_text("{\"what\":\"exec\",\"path\":\"2f61\",\"given\":\"\",\"argv\":\"6100\","
				   "\"cut\":1}", &r), 0);
	assert_int_equal(r.argv_len_bytes, 1); /* it would pass for whole */
	assert_true(r.argv_cut);
	assert_int_equal(read_text("{\"what\":\"exec\",\"path\":\"2f61\",\"given\":\"\",\"argv\":\"\",\"cut\":0}",
				   &r), 0);
	assert_int_equal(r.argv_len_bytes, 0);
}

static void test_connect(void **state)
{
	static struct preload_request r;

	(void)state;
	assert_int_equal(read_text("{\"what\":\"connect\",\"address\":\"020000097f000001\",\"type\":1,"
				   "\"protocol\":6}", &r), 0);
	assert_int_equal(r.dest.port, 9);
	assert_int_equal(r.dest.addr[12], 127);
	assert_string_equal(r.dest.protocol, "tcp");
	assert_int_equal(read_text("{\"what\":\"connect\",\"address\":\"010000782f\",\"type\":1,\"protocol\":0}",
				   &r), 0);
	assert_string_equal(r.dest.path, "@x/");
	assert_string_equal(r.dest.protocol, "unix");
	/* A name needs no NUL behind it, and one byte is one. */
	assert_int_equal(read_text("{\"what\":\"connect\",\"address\":\"010078\",\"type\":1,\"protocol\":0}",
				   &r), 0);
	assert_string_equal(r.dest.path, "x");
}

static void test_nonsense(void **state)
{
	static const char *const texts[] = {
		"{}", "{\"what\":1}", "{\"what\":\"read\"}",
		"{\"what\":\"open\",\"path\":\"2f\",\"given\":\"\"}",
		"{\"what\":\"open\",\"path\":\"\",\"given\":\"\",\"access\":0}",
		"{\"what\":\"open\",\"path\":\"2\",\"given\":\"\",\"access\":0}",
		"{\"what\":\"open\",\"path\":\"2F\",\"given\":\"\",\"access\":0}",
		"{\"what\":\"open\",\"path\":\"2f\",\"given\":\"61\",\"access\":0}",
		"{\"what\":\"open\",\"path\":\"2f0061\",\"given\":\"\",\"access\":0}",
		"{\"what\":\"open\",\"path\":\"2f\",\"given\":\"\",\"access\":4}",
		"{\"what\":\"open\",\"path\":\"2f\",\"given\":\"\",\"access\":-1}",
		"{\"what\":\"exec\",\"path\":\"2f\",\"given\":\"\",\"argv\":\"61\",\"cut\":0}",
		"{\"what\":\"exec\",\"path\":\"2f\",\"given\":\"\",\"argv\":\"6100\"}",
		"{\"what\":\"connect\",\"address\":\"\",\"type\":1,\"protocol\":6}",
		"{\"what\":\"connect\",\"address\":\"0100\",\"type\":1,\"protocol\":0}",
		"{\"what\":\"connect\",\"address\":\"020000\",\"type\":1,\"protocol\":6}",
		"{\"what\":\"connect\",\"address\":\"02000009\",\"type\":1,\"protocol\":6}",
		"{\"what\":\"connect\",\"address\":\"100000097f000001\",\"type\":1,\"protocol\":6}",
	};
	static struct preload_request r;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (read_text(texts[i], &r) != -EINVAL)
			fail_msg("taken: %s", texts[i]);
}

/* One byte more than there is room for, and as much as there is. */
static void test_sizes(void **state)
{
	static struct preload_request r;
	static char hex[2 * PRELOAD_ARGV_MAX + 8], text[sizeof(hex) + 100];

	(void)state;
	for (size_t n = PRELOAD_ARGV_MAX; n <= PRELOAD_ARGV_MAX + 1; n++) {
		memset(hex, '0', 2 * n);
		hex[2 * n] = '\0';
		snprintf(text, sizeof(text), "{\"what\":\"exec\",\"path\":\"2f\",\"given\":\"\",\"argv\":\"%s\","
			 "\"cut\":0}", hex);
		assert_int_equal(read_text(text, &r), n > PRELOAD_ARGV_MAX ? -EINVAL : 0);
	}
	for (size_t n = PRELOAD_PATH_MAX - 1; n <= PRELOAD_PATH_MAX; n++) {
		memset(hex, '2', 2 * n);
		hex[2 * n] = '\0';
		snprintf(text, sizeof(text), "{\"what\":\"open\",\"path\":\"%s\",\"given\":\"\",\"access\":0}", hex);
		assert_int_equal(read_text(text, &r), n == PRELOAD_PATH_MAX ? -EINVAL : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),	 cmocka_unit_test(test_exec),
		cmocka_unit_test(test_connect), cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
