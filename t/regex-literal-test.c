/* SPDX-License-Identifier: Apache-2.0 */
/* What a regular expression is said to need is in whatever PCRE2 finds that it matches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/cleanup.h"
#include "rules/regex_literal.h"

static unsigned long long seed = 0x5eed;

static unsigned pick(unsigned n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(seed >> 33) % n;
}

static const char *const tokens[] = {
	"a", "b", "ab", "ba", "aab", "bb", "0", "(", ")", "|", "?", "*", "+", "{0}", "{1,2}", "{,2}",
	"{0,}", "{", "}", "[ab]", "[^a]", "[]a]", "[a\\]b]", "[[:alpha:]b]", ".", "\\.", "\\d", "\\w",
	"\\b", "^", "$", "(?:", "(?i)", "(?=a)", "(?!b)", "\\Q", "\\E", "\\x61", "\\141", "(*ACCEPT)",
	"\\(", "\\[", "\\*", "]", "-", ",", "\\K", "(?#x)", "(?|", "(?<n>", "\\1", "#", " ", "\\/",
	"\\A", "\\z", "(?x)", "[[:^digit:]]", "[\\Qa]\\E]", "\\N", "\\R", "\\h", "+?", "*+", "a{1}",
	/* where classes end */
	"[", "[^", "[:", "[.", "[=", ":]", ".]", "=]", ":", "[:a", "alpha", "[[:alpha:]]", "[[:<:]]",
	"[^\\E]", "[\\[:", "\\]", "\\\\", "[[:^", "{,", "{ 1 }", "\\X",
};
/* For patterns of little else. */
static const char *const class_tokens[] = {
	"[", "[^", "[[:", "[[.", "[[=", "[:", "[.", "[=", ":]", ".]", "=]", "]", "]]", "\\E", "\\]",
	"\\[", "\\\\", "a", "b", "ab", "alpha", "^", "-", "|", "(", ")", "q", ":", ".", "[[:alpha:]",
};
static const char subject_bytes[] = "aabb01.](*[/, {}\nA:=)q^-\\";

static void what_matches_has_it(void **state)
{
	unsigned compiled = 0, matched = 0, told = 0;

	(void)state;
	for (unsigned i = 0; i < 60000; i++) {
		char pattern[128] = "", literal[sizeof(pattern)], subject[24];
		pcre2_match_data *md;
		size_t len;
		pcre2_code *re;
		PCRE2_SIZE at;
		int err;

		for (unsigned k = 1 + pick(8); k; k--)
			strcat(pattern, i % 3 == 0 ? class_tokens[pick(ARRAY_SIZE(class_tokens))] :
					tokens[pick(pick(3) ? 14 : ARRAY_SIZE(tokens))]);
		re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
				   PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY | PCRE2_NO_AUTO_CAPTURE |
					   PCRE2_NEVER_UTF | PCRE2_NEVER_UCP |
					   PCRE2_NEVER_BACKSLASH_C, &err, &at, NULL);
		if (!re)
			continue;
		compiled++;
		len = regex_literal_find(pattern, literal);
		assert_true(len <= strlen(pattern));
		told += len > 0;
		md = pcre2_match_data_create(1, NULL);
		for (unsigned k = 0; k < 30 && len; k++) {
			size_t n = pick(sizeof(subject));

			for (size_t c = 0; c < n; c++)
				subject[c] = subject_bytes[pick(pick(3) ? 4 : sizeof(subject_bytes) - 1)];
			if (pcre2_match(re, (PCRE2_SPTR)subject, n, 0, 0, md, NULL) < 0)
				continue;
			matched++;
			if (!memmem(subject, n, literal, len))
				fail_msg("%s matches \"%.*s\" without \"%.*s\"", pattern, (int)n,
					 subject, (int)len, literal);
		}
		pcre2_match_data_free(md);
		pcre2_code_free(re);
	}
	print_message("# %u patterns, %u need a text; %u matches\n", compiled, told, matched);
	assert_true(told > 1000 && matched > 1000); /* it was a test */
}

static void what_it_finds(void **state)
{
	static const struct {
		const char *pattern, *literal;
	} cases[] = {
		{ "curl.*evil\\.com", "evil.com" }, { "^/etc/(a|b)/secret", "/secret" },
		{ "abc?d", "ab" }, { "abc+d", "abc" }, { "a|b", "" }, { "(?i)abc", "" },
		{ "(abc)", "" }, { "(?:x)abc[abc]*", "abc" }, { "abc{0}", "ab" }, { "\\bsudo\\b", "sudo" },
		{ "\\x41bc", "" }, { "[abc", "" }, { "a\\/b\\-c", "a/b-c" }, { "(a[)]b)cde", "cde" },
		{ "(a\\)b)cde", "cde" }, { "ab\\dcde*f", "ab" }, { "(*ACCEPT)abc", "" },
		{ "[[:]a|b[:]]literal", "" }, { "[^\\E]b:]", "" }, { "[[:alpha:]]abc", "abc" },
		{ "[[:^digit:]x]abc", "abc" }, { "[[.a.]]abc", "" }, { "[[=a=]]abc", "" },
		{ "[[:al|:]]abc", "" }, { "[[::]]abc", "" }, { "[a\\[:b]abc", "abc" }, { "[\\\\]abc", "abc" },
		{ "abc\\E", "" }, { "[a:]bc", "bc" }, { "[a[]bc", "bc" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char literal[64];
		size_t len = regex_literal_find(cases[i].pattern, literal);

		if (len != strlen(cases[i].literal) || memcmp(literal, cases[i].literal, len))
			fail_msg("%s: \"%.*s\", not \"%s\"", cases[i].pattern, (int)len, literal,
				 cases[i].literal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_matches_has_it),
		cmocka_unit_test(what_it_finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
