/* SPDX-License-Identifier: Apache-2.0 */
/* The set of protected paths: strongest verdict, excludes by group, the copy for a helper. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/pathset.h"

#define HOME "/home/u"

static struct pathset *example(void)
{
	struct pathset *p;

	assert_int_equal(pathset_new(&p), 0);
	assert_int_equal(pathset_add(p, "~/.ssh/id_*", VERDICT_BLOCK, false, 1), 0);
	assert_int_equal(pathset_add(p, "~/.ssh/*.pub", VERDICT_BLOCK, true, 1), 0);
	assert_int_equal(pathset_add(p, "~/.ssh/**", VERDICT_WARN, false, 2), 0);
	assert_int_equal(pathset_add(p, "~/.ssh/known_hosts", VERDICT_WARN, true, 2), 0);
	assert_int_equal(pathset_add(p, "/etc/{shadow,gshadow}", VERDICT_BLOCK, false, 3), 0);
	assert_int_equal(pathset_add(p, "/*/private/*.key", VERDICT_BLOCK, false, 4), 0);
	return p;
}

static void expect(const struct pathset *p, const char *path, unsigned reach, enum verdict v)
{
	enum verdict got = VERDICT_BLOCK;
	unsigned got_reach = pathset_reach(p, path, HOME, &got);

	if (got_reach != reach || got != v)
		fail_msg("%s: reach %u verdict %d", path, got_reach, got);
	assert_int_equal(pathset_reach(p, path, HOME, NULL), reach);
}

static void check_example(const struct pathset *p)
{
	expect(p, "/", GLOB_BELOW, VERDICT_ALLOW);
	expect(p, "/home", GLOB_BELOW, VERDICT_ALLOW);
	expect(p, HOME, GLOB_BELOW, VERDICT_ALLOW);
	expect(p, HOME "/.ssh", GLOB_BELOW, VERDICT_ALLOW);
	expect(p, HOME "/.ssh/id_rsa", GLOB_HERE | GLOB_BELOW, VERDICT_BLOCK);
	/* excluded from the rule that blocks, not from the one that warns */
	expect(p, HOME "/.ssh/id_rsa.pub", GLOB_HERE | GLOB_BELOW, VERDICT_WARN);
	expect(p, HOME "/.ssh/known_hosts", GLOB_BELOW, VERDICT_ALLOW);
	expect(p, HOME "/.ssh/other", GLOB_HERE | GLOB_BELOW, VERDICT_WARN);
	expect(p, HOME "/src/x.c", GLOB_NONE, VERDICT_ALLOW);
	expect(p, "/home/u2/.ssh/id_rsa", GLOB_NONE, VERDICT_ALLOW);
	expect(p, "/etc", GLOB_BELOW, VERDICT_ALLOW);
	expect(p, "/etc/gshadow", GLOB_HERE, VERDICT_BLOCK);
	expect(p, "//etc/./shadow/", GLOB_HERE, VERDICT_BLOCK);
	expect(p, "/etc/passwd", GLOB_NONE, VERDICT_ALLOW);
	/* no literal first component: found all the same */
	expect(p, "/srv/private/a.key", GLOB_HERE, VERDICT_BLOCK);
	expect(p, "/srv/private", GLOB_BELOW, VERDICT_ALLOW);
	expect(p, "/srv/public", GLOB_NONE, VERDICT_ALLOW);
	expect(p, "etc/shadow", GLOB_NONE, VERDICT_ALLOW);
	expect(p, "", GLOB_NONE, VERDICT_ALLOW);
}

static void gives_the_strongest_verdict_that_is_not_excluded(void **state)
{
	struct pathset *p = example();

	(void)state;
	check_example(p);
	/* without a home the paths below it mean nothing */
	assert_int_equal(pathset_reach(p, HOME "/.ssh/id_rsa", NULL, NULL), GLOB_NONE);
	assert_int_equal(pathset_reach(p, "/etc/shadow", NULL, NULL), GLOB_HERE);
	pathset_unref(p);
}

static void reaches_below_everything_when_one_floats(void **state)
{
	struct pathset *p = example();

	(void)state;
	assert_int_equal(pathset_add(p, "**/x", VERDICT_WARN, true, 9), 0);
	expect(p, "/srv/public", GLOB_NONE, VERDICT_ALLOW);
	assert_int_equal(pathset_add(p, "**/*.env", VERDICT_WARN, false, 5), 0);
	assert_int_equal(pathset_add(p, ".npmrc", VERDICT_BLOCK, false, 6), 0);
	expect(p, "/srv/public", GLOB_BELOW, VERDICT_ALLOW);
	expect(p, "/srv/a.env", GLOB_HERE | GLOB_BELOW, VERDICT_WARN);
	expect(p, "/.npmrc", GLOB_HERE | GLOB_BELOW, VERDICT_BLOCK);
	pathset_unref(p);
}

static void refuses_a_pattern_that_does_not_compile(void **state)
{
	struct pathset *p = example();

	(void)state;
	assert_int_equal(pathset_add(p, "/x/{", VERDICT_BLOCK, false, 1), -EINVAL);
	check_example(p);
	pathset_unref(p);
	pathset_unref(NULL);
}

static void lives_until_the_last_reference_goes(void **state)
{
	struct pathset *p = example();

	(void)state;
	assert_ptr_equal(pathset_ref(p), p);
	pathset_unref(p);
	check_example(p);
	pathset_unref(p);
}

static void travels_through_a_sealed_copy(void **state)
{
	struct pathset *p = example(), *copy, *empty;
	int fd = pathset_write(p);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GET_SEALS),
			 F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	assert_int_equal(ftruncate(fd, 0), -1);
	pathset_unref(p);
	assert_int_equal(pathset_read(fd, &copy), 0);
	check_example(copy);
	pathset_unref(copy);
	/* it can be read again: nobody's offset matters */
	assert_int_equal(pathset_read(fd, &copy), 0);
	check_example(copy);
	pathset_unref(copy);
	close(fd);

	assert_int_equal(pathset_new(&empty), 0);
	fd = pathset_write(empty);
	assert_int_equal(pathset_read(fd, &copy), 0);
	expect(copy, "/", GLOB_NONE, VERDICT_ALLOW);
	pathset_unref(copy);
	pathset_unref(empty);
	close(fd);
}

static int memory_file(const void *data, size_t len)
{
	int fd = memfd_create("pathset-test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	return fd;
}

/* Whatever is cut off or changed, the reader says so or has a set that is sound. */
static void does_not_trust_the_copy(void **state)
{
	struct pathset *p = example(), *copy;
	int fd = pathset_write(p), changed;
	char buf[4096], bad[4096];
	ssize_t len = pread(fd, buf, sizeof(buf), 0);

	(void)state;
	assert_true(len > 0 && len < (ssize_t)sizeof(buf));
	for (ssize_t n = 0; n < len; n++) {
		changed = memory_file(buf, (size_t)n);
		copy = NULL;
		assert_int_equal(pathset_read(changed, &copy), -EBADMSG);
		assert_null(copy);
		close(changed);
	}
	for (ssize_t n = 0; n < len; n++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(bad, buf, (size_t)len);
			bad[n] ^= (char)(1 << bit);
			changed = memory_file(bad, (size_t)len);
			copy = NULL;
			if (pathset_read(changed, &copy) == 0) {
				enum verdict v;

				pathset_reach(copy, HOME "/.ssh/id_rsa", HOME, &v);
				assert_true(v <= VERDICT_BLOCK);
				pathset_unref(copy);
			} else {
				assert_null(copy);
			}
			close(changed);
		}
	/* one byte more */
	memcpy(bad, buf, (size_t)len);
	changed = memory_file(bad, (size_t)len + 1);
	assert_int_equal(pathset_read(changed, &copy), -EBADMSG);
	close(changed);
	close(fd);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(pathset_read(fd, &copy), -EBADMSG);
	close(fd);
	assert_true(pathset_read(-1, &copy) < 0);
	pathset_unref(p);
}

/* The index is a short cut: it must find what asking each pattern finds. */
static void finds_what_asking_each_pattern_finds(void **state)
{
	static const char *const patterns[] = {
		"/a", "/a/*", "/a/**", "/*/b", "~", "~/a", "~/*/b", "~/**/a", "**/a", "**/b/*", "**",
		"*a", "b*", "{/a,~/b,**/c}/a", "/", "/b/**/a", "[ab]/c",
		"/a/b", "/a/b/c", "/b/c/*", "~/a/b", "~/b/**", "/a/c/**/a",
	};
	static const char *const names[] = { "/a", "/b", "/c", "//a", "/ab", "/.", "/" };
	unsigned seed = 7;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		const char *home = i & 1 ? "/a" : "/b/c";
		char path[64] = "/";
		struct pathset *p;
		unsigned reach = GLOB_NONE, n;
		enum verdict strongest = VERDICT_ALLOW, v;

		assert_int_equal(pathset_new(&p), 0);
		seed = seed * 1103515245u + 12345u;
		n = (seed >> 20) % 5;
		while (n--) {
			seed = seed * 1103515245u + 12345u;
			strcat(path, names[(seed >> 16) % ARRAY_SIZE(names)]);
		}
		for (n = 0; n < 4; n++) {
			seed = seed * 1103515245u + 12345u;
			pathset_add(p, patterns[(seed >> 16) % ARRAY_SIZE(patterns)],
				    n & 1 ? VERDICT_WARN : VERDICT_BLOCK, n == 3, n / 2);
		}
		for (n = 0; n < 3; n++) {
			const struct path_pattern *pat = &p->patterns[n];
			unsigned r = glob_reach(pat->glob, path, home);

			if (pat->group == p->patterns[3].group &&
			    glob_match(p->patterns[3].glob, path, home))
				r &= ~(unsigned)GLOB_HERE;
			reach |= r;
			if ((r & GLOB_HERE) && pat->verdict > strongest)
				strongest = pat->verdict;
		}
		if (pathset_reach(p, path, home, &v) != reach || v != strongest)
			fail_msg("%s with home %s: %s %s %s but %s", path, home,
				 glob_source(p->patterns[0].glob),
				 glob_source(p->patterns[1].glob),
				 glob_source(p->patterns[2].glob),
				 glob_source(p->patterns[3].glob));
		pathset_unref(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_strongest_verdict_that_is_not_excluded),
		cmocka_unit_test(reaches_below_everything_when_one_floats),
		cmocka_unit_test(refuses_a_pattern_that_does_not_compile),
		cmocka_unit_test(lives_until_the_last_reference_goes),
		cmocka_unit_test(travels_through_a_sealed_copy),
		cmocka_unit_test(does_not_trust_the_copy),
		cmocka_unit_test(finds_what_asking_each_pattern_finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
