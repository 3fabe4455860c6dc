/* SPDX-License-Identifier: Apache-2.0 */
/* Loading fails cleanly at whichever allocation fails: an error, no crash, nothing left behind. */
#include "t/rules-test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/cleanup.h"
#include "core/config.h"

#if SANITIZED
#define CAN_FAIL 0
static long fail_at;
static long in_use;
#else
#define CAN_FAIL 1
static long fail_at; /* counts down; at 0 the allocation fails, below none does */
static long in_use;

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static bool fails(void)
{
	return fail_at > 0 && --fail_at == 0;
}

void *malloc(size_t n)
{
	void *p = fails() ? NULL : __libc_malloc(n);

	in_use += p != NULL;
	return p;
}

void *calloc(size_t n, size_t size)
{
	void *p = fails() ? NULL : __libc_calloc(n, size);

	in_use += p != NULL;
	return p;
}

void *realloc(void *old, size_t n)
{
	void *p = fails() ? NULL : __libc_realloc(old, n);

	in_use += p && !old;
	return p;
}

void free(void *p)
{
	in_use -= p != NULL;
	__libc_free(p);
}
#endif

static const char rule[] =
	"id: X1\npart: a\nname: n\nversion: 1\nkind: file_opened\nauthors: [ a ]\n"
	"match:\n  any_of:\n    - path: { glob: ['~/.{a,b}/**', '**/*.pem'] }\n"
	"    - all_of: [ path: { prefix: /x/ }, process_name: { match: '^(a|b)+$' } ]\n"
	"    - path: { suffix: .key }\n"
	"  none_of: [ path: { eq: /x/y }, process_name: { eq: z } ]\n"
	"action: { default: block, configurable: true }\n---\n"
	"id: X2\nname: n\nversion: 1\nkind: socket_connect\n"
	"match: { any_of: [ dest_ip: { cidr: 10.0.0.0/8 } ] }\naction: { default: block }\n---\n"
	"id: X3\nname: n\nversion: 1\nkind: file_opened\nthreshold: { default: 5, configurable: true }\n"
	"match: { any_of: [ uid: { gt: 5 } ] }\naction: { default: warn }\n";

static void rules_without_memory(void **state)
{
	static const char site[] =
		"rules: { X1: { action: warn }, X3: { threshold: 9 } }\n"
		"exceptions: { X1: [ { match: { path: { glob: ~/.a/x } }, reason: r, author: a } ] }\n";
	struct config *config = NULL;
	struct rules_config c = { .mechanisms = FANOTIFY };
	struct ruleset *rs = NULL;
	struct rules_error err;
	long n = 0, before;
	int rc;

	(void)state;
	assert_int_equal(config_load_buffer("s", site, strlen(site), &config, err.text), 0);
	c.site = config;
	do {
		before = in_use;
		err.text[0] = '\0';
		fail_at = ++n;
		rc = ruleset_load_buffer("f", rule, strlen(rule), &c, &rs, &err);
		if (rc) {
			fail_at = 0;
			assert_true(rc == -ENOMEM || rc == -EINVAL);
			assert_non_null(strstr(err.text, "memory"));
			assert_null(rs);
			assert_int_equal(in_use, before);
		}
	} while (rc && n < 10000);
	fail_at = 0;
	assert_int_equal(rc, 0);
	assert_true(n > 20);
	assert_int_equal(ruleset_count(rs), 3);
	assert_int_equal(ruleset_exceptions(rs), 1);
	ruleset_unref(rs);
	assert_int_equal(in_use, before);
	config_free(config);
}

/* With what was read before: a load that fails leaves that as it was, or smaller. */
static void reload_without_memory(void **state)
{
	static const char rule_b[] = "id: X9\nname: n\nversion: 1\nkind: file_opened\n"
				     "match: { any_of: [ path: { eq: /%c } ] }\naction: { default: warn }\n";
	char changed[sizeof(rule_b)];
	struct rules_file files[] = { { "a.yaml", rule, strlen(rule) }, { "b.yaml", changed, 0 } };
	struct rules_config c = { .mechanisms = FANOTIFY, .files = files, .n_files = 2 };
	struct ruleset *rs = NULL;
	struct rules_error err;
	long n = 0, at_all;
	int rc;

	(void)state;
	at_all = in_use;
	c.cache = rules_cache_new();
	assert_non_null(c.cache);
	do {
		long before = in_use;

		files[1].len_bytes = (size_t)snprintf(changed, sizeof(changed), rule_b,
						      'a' + (int)(n % 26));
		err.text[0] = '\0';
		fail_at = ++n;
		rc = ruleset_load(&c, &rs, &err);
		fail_at = 0;
		if (rc) {
			assert_true(rc == -ENOMEM || rc == -EINVAL);
			assert_non_null(strstr(err.text, "memory"));
			assert_null(rs);
			/* room for entries, and a document in the place of another */
			assert_true(in_use - before <= 2);
		}
		if (n % 50 == 0 && rc) {
			assert_int_equal(ruleset_load(&c, &rs, &err), 0);
			ruleset_unref(TAKE_PTR(rs));
		}
	} while (rc && n < 10000);
	assert_int_equal(rc, 0);
	assert_true(n > 20);
	assert_int_equal(ruleset_count(rs), 4);
	ruleset_unref(rs);
	rules_cache_free(c.cache);
	assert_int_equal(in_use, at_all);
}

static void configuration_without_memory(void **state)
{
	static const char text[] = "source: [fanotify]\nfanotify: { only: [/tmp] }\n"
				   "control: { group: a }\nrules: { R3: { action: warn, threshold: 1 } }\n"
				   "readers: { R3/aws: [/a, /b] }\n"
				   "exceptions: { R3: [ { match: { uid: { eq: 1 } }, reason: r, author: a } ] }\n";
	struct config *c = NULL;
	char err[512];
	long n = 0, before;
	int rc;

	(void)state;
	do {
		before = in_use;
		fail_at = ++n;
		rc = config_load_buffer("f", text, strlen(text), &c, err);
		if (rc) {
			fail_at = 0;
			assert_int_equal(rc, -ENOMEM);
			assert_null(c);
			assert_int_equal(in_use, before);
		}
	} while (rc && n < 10000);
	fail_at = 0;
	assert_int_equal(rc, 0);
	assert_true(n > 20);
	config_free(c);
	assert_int_equal(in_use, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_without_memory),
		cmocka_unit_test(reload_without_memory),
		cmocka_unit_test(configuration_without_memory),
	};

	/* A skip inside cmocka counts as a failure for prove. */
	if (!CAN_FAIL) {
		puts("1..0 # SKIP a sanitizer's allocator cannot be made to fail");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
