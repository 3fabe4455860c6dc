/* SPDX-License-Identifier: Apache-2.0 */
/* What path patterns mean; and that the matcher agrees with a slow one that is plainly right. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/glob.h"
#include "t/slow_glob.h"

#define HOME "/home/u"

static struct glob *compile(const char *pattern)
{
	const char *why = NULL;
	struct glob *g = NULL;

	if (glob_compile(pattern, &g, &why) < 0)
		fail_msg("%s: %s", pattern, why);
	return g;
}

static void expect_match(const char *pattern, const char *path, bool expected)
{
	struct glob *g = compile(pattern);

	if (glob_match(g, path, HOME) != expected)
		fail_msg("%s %s %s", pattern, expected ? "misses" : "takes", path);
	glob_free(g);
}

struct match_case {
	const char *pattern;
	const char *taken[6];
	const char *left[8];
};

static void takes_the_paths_it_names(void **state)
{
	static const struct match_case cases[] = {
		{ "/etc/shadow", { "/etc/shadow", "//etc///shadow/", "/etc/./shadow" },
		  { "/etc/shadow-", "/etc", "/etc/shadow/x", "/x/etc/shadow", "etc/shadow", "" } },
		{ "/", { "/", "//", "/." }, { "/x", "" } },
		{ "~", { HOME, HOME "/" }, { "/home", HOME "/x", "/home/u2" } },
		{ "~/.aws/credentials",
		  { HOME "/.aws/credentials", "//home//u/.aws/credentials" },
		  { "/home/u2/.aws/credentials", "/.aws/credentials", HOME "/.aws/credentials.bak",
		    HOME "x/.aws/credentials" } },
		{ "~/.ssh/id_*", { HOME "/.ssh/id_rsa", HOME "/.ssh/id_" },
		  { HOME "/.ssh/id", HOME "/.ssh/id_a/b", HOME "/.ssh" } },
		{ ".npmrc", { "/.npmrc", HOME "/.npmrc", "/a/b/.npmrc" },
		  { "/a/.npmrc/b", "/a/x.npmrc", "/a/.npmrcx" } },
		{ "config/master.key", { "/srv/app/config/master.key", "/config/master.key" },
		  { "/srv/config/x/master.key", "/srv/master.key" } },
		{ "**/.env", { "/.env", "/a/.env", "/a/b/c/.env" }, { "/a/.env.x", "/.env/a" } },
		{ "**/.env.*", { "/.env.local", "/a/.env." }, { "/a/.env" } },
		{ "/a/**", { "/a/b", "/a/b/c" }, { "/a", "/a/", "/b" } },
		{ "/a/**/b", { "/a/b", "/a/x/b", "/a/x/y/b", "/a/b/b" }, { "/a", "/b", "/a/b/c" } },
		{ "/a/**/b/**/c", { "/a/b/c", "/a/x/b/y/c", "/a/b/b/c/c" },
		  { "/a/c/b", "/a/b", "/a/b/c/d" } },
		{ "/**/**/x", { "/x", "/a/x" }, { "/", "/x/y" } },
		{ "**", { "/a", "/a/b" }, { "/" } },
		{ "~/**", { HOME "/a" }, { HOME, "/home/x" } },
		/* a double star that does not stand alone stays within its component */
		{ "/a**b", { "/ab", "/axb" }, { "/a/b" } },
		{ "/x?z", { "/xyz", "/x\xffz" }, { "/xz", "/x/z", "/xyyz" } },
		{ "/[a-c]x", { "/ax", "/cx" }, { "/dx", "/x", "/-x" } },
		{ "/[!a-c]x", { "/dx", "/-x" }, { "/ax", "/x", "//x" } },
		{ "/[]x]", { "/]", "/x" }, { "/y", "/[" } },
		{ "/[a\\]b]", { "/]", "/a", "/b" }, { "/\\" } },
		{ "/[a-]", { "/a", "/-" }, { "/b" } },
		{ "/[*?]", { "/*", "/?" }, { "/a" } },
		{ "/\\*\\{\\~", { "/*{~" }, { "/a{~", "/\\*\\{\\~" } },
		{ "\\~x", { "/~x", "/a/~x" }, { HOME "/x" } },
		{ "/a\\*", { "/a*" }, { "/ab" } },
		{ "/*a\\*", { "/a*", "/xa*" }, { "/a", "/xab" } },
		{ "/a\\\\*", { "/a\\", "/a\\b" }, { "/a", "/ab" } },
		{ "/*a*b*", { "/ab", "/xaxbx", "/aab" }, { "/a", "/ba" } },
		{ "/{a,b}/c", { "/a/c", "/b/c" }, { "/c", "/{a,b}/c", "/a,b/c" } },
		{ "/x{,.bak}", { "/x", "/x.bak" }, { "/x." } },
		{ "/a{/b,}/c", { "/a/b/c", "/a/c" }, { "/a/b" } },
		{ "{/etc,~}/x{1,{2,3}y}", { "/etc/x1", HOME "/x2y", "/etc/x3y" },
		  { "/etc/x2", HOME "/x1y" } },
		{ "/{[,}],a}", { "/,", "/}", "/a" }, { "/[", "/]" } },
		{ "/{a}", { "/a" }, { "/{a}" } },
		{ "/\xff\x01/x", { "/\xff\x01/x" }, { "/\xff/x" } },
		/* names, not steps: nothing is resolved */
		{ "/a/*/b", { "/a/../b" }, { "/b", "/a/./b" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(cases[i].taken) && cases[i].taken[j]; j++)
			expect_match(cases[i].pattern, cases[i].taken[j], true);
		for (size_t j = 0; j < ARRAY_SIZE(cases[i].left) && cases[i].left[j]; j++)
			expect_match(cases[i].pattern, cases[i].left[j], false);
	}
}

static void needs_a_home_for_a_tilde(void **state)
{
	struct glob *g = compile("~/.netrc");

	(void)state;
	assert_false(glob_match(g, "/.netrc", NULL));
	assert_int_equal(glob_reach(g, "/home", NULL), GLOB_NONE);
	assert_false(glob_match(g, "/.netrc", ""));
	/* some system users live at the root */
	assert_true(glob_match(g, "/.netrc", "/"));
	assert_true(glob_match(g, "/srv/x/.netrc", "//srv/./x/"));
	assert_true(glob_uses_home(g));
	assert_false(glob_is_floating(g));
	glob_free(g);
}

static void says_what_could_match_below(void **state)
{
	static const struct {
		const char *pattern, *path;
		unsigned reach;
	} cases[] = {
		{ "~/.config/gcloud/legacy_credentials/**", "/", GLOB_BELOW },
		{ "~/.config/gcloud/legacy_credentials/**", "/home", GLOB_BELOW },
		{ "~/.config/gcloud/legacy_credentials/**", HOME, GLOB_BELOW },
		{ "~/.config/gcloud/legacy_credentials/**", HOME "/.config", GLOB_BELOW },
		{ "~/.config/gcloud/legacy_credentials/**", HOME "/.config/gcloud/legacy_credentials",
		  GLOB_BELOW },
		{ "~/.config/gcloud/legacy_credentials/**",
		  HOME "/.config/gcloud/legacy_credentials/a", GLOB_HERE | GLOB_BELOW },
		{ "~/.config/gcloud/legacy_credentials/**", HOME "/.config/other", GLOB_NONE },
		{ "~/.config/gcloud/legacy_credentials/**", "/home/u2", GLOB_NONE },
		{ "~/.config/gcloud/legacy_credentials/**", "/etc", GLOB_NONE },
		{ "~", "/home", GLOB_BELOW },
		{ "~", HOME, GLOB_HERE },
		{ "/etc/shadow", "/", GLOB_BELOW },
		{ "/etc/shadow", "/etc", GLOB_BELOW },
		{ "/etc/shadow", "/etc/shadow", GLOB_HERE },
		{ "/etc/shadow", "/etc/shadow/x", GLOB_NONE },
		{ "/etc/shadow", "etc", GLOB_NONE },
		{ "/a/**/b/c", "/a/b", GLOB_BELOW },
		{ "/a/**/b/c", "/a/b/c", GLOB_HERE | GLOB_BELOW },
		{ "/a/**/b/c", "/b", GLOB_NONE },
		{ "/{a,a/*}/x", "/a", GLOB_BELOW },
		{ "/{a,a/*}/x", "/a/x", GLOB_HERE | GLOB_BELOW },
		{ "**/.env", "/anything/at/all", GLOB_BELOW },
		{ "**/.env", "/x/.env", GLOB_HERE | GLOB_BELOW },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct glob *g = compile(cases[i].pattern);
		unsigned reach = glob_reach(g, cases[i].path, HOME);

		if (reach != cases[i].reach)
			fail_msg("%s at %s: %u", cases[i].pattern, cases[i].path, reach);
		glob_free(g);
	}
}

static void tells_floating_patterns(void **state)
{
	static const struct {
		const char *pattern;
		bool floating, home;
	} cases[] = {
		{ "/etc/x", false, false }, { "~/x", false, true },	 { "**/x", true, false },
		{ "x", true, false },	    { "/**/x", true, false },	 { "~/**/x", false, true },
		{ "{~,**}/x", true, true }, { "/etc/**", false, false }, { "/", false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct glob *g = compile(cases[i].pattern);

		assert_int_equal(glob_is_floating(g), cases[i].floating);
		assert_int_equal(glob_uses_home(g), cases[i].home);
		assert_string_equal(glob_source(g), cases[i].pattern);
		glob_free(g);
	}
}

static void matches_plain_strings_without_slash_rules(void **state)
{
	struct glob *g = compile("*claude*{x,y}");

	(void)state;
	assert_true(glob_match_string(g, "/usr/bin/claude/x"));
	assert_true(glob_match_string(g, "claudey"));
	assert_false(glob_match_string(g, "claude"));
	assert_false(glob_match_string(g, ""));
	glob_free(g);
}

static void matches_text_as_if_compiled(void **state)
{
	(void)state;
	assert_true(glob_match_text("**/bin/claude*", "/usr/bin/claude.exe", NULL));
	assert_true(glob_match_text("**/bin/x", "bin/x", NULL));
	assert_true(glob_match_text("~/a/*/b", HOME "/a/1/b", HOME));
	assert_true(glob_match_text("/opt/x/**", "/opt/x/y/z", NULL));
	assert_false(glob_match_text("/opt/x/**", "/opt/x", NULL));
	assert_false(glob_match_text("/bin/x", "bin/x", NULL));
	assert_false(glob_match_text("~/a", "/a", NULL));
	assert_false(glob_match_text("**/bin/claude", "/usr/bin/claude.exe", NULL));
}

static void refuses_what_means_nothing(void **state)
{
	static const char *const bad[] = {
		"", "{a", "a}", "/{a,{b}", "[a", "[", "/[a/b]", "[!", "[]", "[z-a]", "a\\", "/a\\/b",
		"~root/x", "~x", "../x", "/a/../b", "/..", "{}", ".", "./", "{a,}", "[a-", "[\\",
		"[a-\\",
	};
	char text[GLOB_LENGTH_MAX_BYTES + 2];
	struct glob *g = NULL;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		why = NULL;
		if (glob_compile(bad[i], &g, &why) != -EINVAL)
			fail_msg("%s is taken", bad[i]);
		assert_non_null(why);
		assert_null(g);
	}

	/* one more than the most of everything */
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(glob_compile(text, &g, &why), -EINVAL);
	assert_string_equal(why, "pattern too long");
	text[0] = '\0';
	for (int i = 0; i <= GLOB_COMPONENTS_MAX; i++)
		strcat(text, "/a");
	assert_int_equal(glob_compile(text, &g, &why), -EINVAL);
	assert_string_equal(why, "too many components");
	assert_int_equal(glob_compile("/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", &g, &why),
			 -EINVAL);
	assert_string_equal(why, "too many alternatives");
	memset(text, '{', 2000);
	memset(text + 2000, '}', 2000);
	text[4000] = '\0';
	assert_int_equal(glob_compile(text, &g, &why), -EINVAL);
	assert_string_equal(why, "too many braces");
	assert_null(g);
}

static double seconds_to_match(const char *pattern, const char *path)
{
	struct glob *g = compile(pattern);
	struct timespec from, to;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	assert_false(glob_match(g, path, HOME));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	glob_free(g);
	return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

/* Backtracking over every star would take longer than the universe has. */
static void takes_no_longer_for_hostile_paths(void **state)
{
	char path[4096] = "", pattern[256] = "";

	(void)state;
	for (int i = 0; i < 2000; i++)
		strcat(path, "/a");
	for (int i = 0; i < 30; i++)
		strcat(pattern, "**/a/");
	strcat(pattern, "b");
	assert_true(seconds_to_match(pattern, path) < 0.1);

	memset(path, 'a', 4000);
	path[0] = '/';
	path[4000] = '\0';
	strcpy(pattern, "/");
	for (int i = 0; i < 60; i++)
		strcat(pattern, "a*");
	strcat(pattern, "b");
	assert_true(seconds_to_match(pattern, path) < 0.1);
}

static const char *pick(unsigned *seed, const char *const *list, size_t n)
{
	*seed = *seed * 1103515245u + 12345u;
	return list[(*seed >> 16) % n];
}

/* Short random patterns and paths over few letters hit each other often. */
/* With each directory above the path, and what it names, as home. */
static bool matches_some_home(const struct glob *g, const char *path)
{
	char home[128];

	if (glob_match(g, path, "/"))
		return true;
	for (size_t i = 1; i <= strlen(path); i++) {
		memcpy(home, path, i);
		home[i] = '\0';
		if ((!path[i] || path[i] == '/') && glob_match(g, path, home))
			return true;
	}
	return false;
}

static void agrees_with_a_slow_matcher(void **state)
{
	static const char *const bits[] = {
		"a", "b", "*", "?", "/", "/**/", "**", "[ab]", "[!a]", "{a,b}", "{,/a}", "\\*", "/*",
	};
	static const char *const names[] = { "a", "b", "*", "/", "/a", "/b", "ab", "//", "/./" };
	unsigned seed = 1, matched = 0, compiled = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char pattern[128] = "", path[128] = "/";
		struct glob *g = NULL;
		const char *why;
		unsigned n;

		strcat(pattern, pick(&seed, (const char *const[]){ "/", "~/", "**/", "" }, 4));
		n = 1 + (seed >> 20) % 6;
		while (n--)
			strcat(pattern, pick(&seed, bits, ARRAY_SIZE(bits)));
		if (glob_compile(pattern, &g, &why) < 0)
			continue;
		compiled++;
		for (int j = 0; j < 20; j++) {
			strcpy(path, pick(&seed, (const char *const[]){ "/", HOME "/" }, 2));
			n = (seed >> 20) % 6;
			while (n--)
				strcat(path, pick(&seed, names, ARRAY_SIZE(names)));
			if (glob_match(g, path, HOME) != slow_glob_match(pattern, path, HOME))
				fail_msg("%s and %s: %d", pattern, path,
					 glob_match(g, path, HOME));
			if (glob_match_any_home(g, path) != matches_some_home(g, path))
				fail_msg("%s and %s: of any home %d", pattern, path,
					 glob_match_any_home(g, path));
			if (glob_reach(g, path, HOME) & GLOB_HERE) {
				matched++;
				assert_true(glob_match(g, path, HOME));
			}
		}
		glob_free(g);
	}
	assert_true(compiled > 10000);
	assert_true(matched > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_the_paths_it_names),
		cmocka_unit_test(needs_a_home_for_a_tilde),
		cmocka_unit_test(says_what_could_match_below),
		cmocka_unit_test(tells_floating_patterns),
		cmocka_unit_test(matches_plain_strings_without_slash_rules),
		cmocka_unit_test(matches_text_as_if_compiled),
		cmocka_unit_test(refuses_what_means_nothing),
		cmocka_unit_test(takes_no_longer_for_hostile_paths),
		cmocka_unit_test(agrees_with_a_slow_matcher),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
