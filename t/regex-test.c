/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions end in time, whatever the text; and within their limits they are right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "rules/compiled.h"

static double ms_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static enum regex_result ask(const char *pattern, const char *text, size_t len, double *ms)
{
	char err[512] = "";
	struct budget budget = { 0 };
	struct loader l = { .pool = pool_new(), .file = "f", .err = err, .budget = &budget };
	struct regex *re = NULL;
	enum regex_result ret;

	assert_non_null(l.pool);
	if (regex_compile(&l, 1, pattern, &re))
		fail_msg("%s", err);
	*ms = ms_now();
	ret = regex_match(re, text, len);
	*ms = ms_now() - *ms;
	pool_free(l.pool);
	return ret;
}

/* Within PCRE2's own limit of steps some of these took seconds. */
static void hostile_texts_end_in_time(void **state)
{
	static const char *const patterns[] = {
		"x[^y]*+[yz]", "x.*[yz]", "(x+x+)+[yz]", "(x?){20}[yz]", "(x|xx){1,9}[yz]",
		"(x{0,40}){0,3}[yz]", "x*?x*?[yz]", "(x?x?x?x?x?x?)[yz]", "(?:(?=x*+).){1,900}[yz]",
		"(?:(?<=x)(?=x*+)){1}.[yz]", "[wx]{1000,1900}?[yz]", "(?:x*)*[yz]", "(?=.*y)x",
	};
	static const size_t lengths[] = { 255, 1900, 4095, RULES_ARGV_MAX - 1 };
	static char text[RULES_ARGV_MAX];

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
		double worst = 0, ms;

		memset(text, 'x', lengths[k]);
		for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
			assert_int_not_equal(ask(patterns[i], text, lengths[k], &ms), REGEX_YES);
			worst = ms > worst ? ms : worst;
		}
		print_message("# %zu bytes: %.2f ms at most\n", lengths[k], worst);
		assert_true(worst < 500); /* 3 to 12 on a machine that is idle */
	}
}

/* What people write does not come near the limits, on long paths and command lines either. */
static void usual_patterns_decide(void **state)
{
	static const char *const patterns[] = {
		"\\w+\\s+zz", "(aws|gcp|azure)_key", "^/home/[^/]+/.*zz$", "[0-9a-f]{32}", "\\bzz\\b",
		"zz.*yy", "^(/[a-z]+)+/zz$", "\\.(pem|key)$",
	};
	static char text[4096];
	double ms;

	(void)state;
	for (size_t at = 0; at + 8 < sizeof(text); at += 7)
		memcpy(text + at, at % 3 ? "/a src " : "/home/u", 7);
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++)
		if (ask(patterns[i], text, strlen(text), &ms) != REGEX_NO)
			fail_msg("%s: gave up, or matched", patterns[i]);
	strcpy(text + strlen(text) - 4, " zz");
	assert_int_equal(ask("\\w+\\s+zz", text, strlen(text), &ms), REGEX_YES);
	assert_int_equal(ask("^/home/[^/]+/.*zz$", text, strlen(text), &ms), REGEX_YES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_texts_end_in_time),
		cmocka_unit_test(usual_patterns_decide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
