/* SPDX-License-Identifier: Apache-2.0 */
/* What the walk finds, and what it does not, in homes as agents and their users make them. */
#include "t/lookup.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static void spelled_out(void **state)
{
	struct fixture *t = *state;
	const struct seen *s;

	PATTERNS(t, "~/.aws/credentials", "~/.netrc", "~/.config/a/b/c");
	make_dir(t, ".aws");
	make_file(t, ".aws/credentials");
	make_file(t, ".aws/other");
	make_dir(t, ".config");
	assert_int_equal(expand(t), 0);

	s = find(t, "");
	assert_non_null(s);
	assert_true(s->f.is_dir && s->f.reach_here && s->f.reach_below && !s->f.system);
	s = find(t, ".aws");
	assert_non_null(s);
	assert_true(s->f.is_dir && s->f.reach_here && !s->f.reach_below);
	assert_int_equal(s->f.verdict, VERDICT_BLOCK);
	s = find(t, ".config");
	assert_non_null(s);
	assert_true(s->f.is_dir && !s->f.reach_here && s->f.reach_below);
	s = find(t, ".aws/credentials");
	assert_non_null(s);
	assert_true(!s->f.is_dir && s->f.reach_here && !s->f.reach_below && !s->f.system);
	assert_int_equal(s->f.verdict, VERDICT_BLOCK);
	assert_int_equal(s->f.nlink, 1);
	assert_true(s > find(t, ".aws") && find(t, ".aws") > find(t, ""));
	assert_null(find(t, ".aws/other"));
	assert_int_equal(t->n, 4);
}

static void nothing_there(void **state)
{
	struct fixture *t = *state;
	struct lookup_handler h = remember(t);

	PATTERNS(t, "~/.aws/credentials");
	assert_int_equal(expand(t), 0);
	assert_int_equal(t->n, 1);
	assert_non_null(find(t, ""));

	seen_clear(t);
	assert_int_equal(lookup_expand(t->l, getuid(), at(t, "gone"), NULL, WAIT_MS, &h), 0);
	assert_int_equal(t->n, 1);
	assert_non_null(find_gap(t, "gone", "does not exist"));
}

static void create_behind_the_mark(struct fixture *t, const struct lookup_found *f)
{
	(void)f;
	if (!t->count++) {
		make_dir(t, ".aws");
		make_dir(t, ".ssh");
		make_file(t, ".aws/credentials");
		make_file(t, ".ssh/id_rsa");
	}
}

static void mark_stands_first(void **state)
{
	struct fixture *t = *state;

	PATTERNS(t, "~/.aws/credentials", "~/.ssh/id_*");
	t->on_found = create_behind_the_mark;
	assert_int_equal(expand(t), 0);
	assert_non_null(find(t, ".aws/credentials"));
	assert_non_null(find(t, ".ssh/id_rsa"));
}

static void wildcards_and_exceptions(void **state)
{
	struct fixture *t = *state;

	PATTERNS(t, "~/.ssh/id_*", "!~/.ssh/*.pub", "~/.store/**", "~/.mozilla/firefox/*/{a,b}.db");
	make_dir(t, ".ssh");
	make_file(t, ".ssh/id_ed25519");
	make_file(t, ".ssh/id_ed25519.pub");
	make_file(t, ".ssh/known_hosts");
	make_dir(t, ".store");
	make_dir(t, ".store/x");
	make_dir(t, ".store/x/.y");
	make_file(t, ".store/x/.y/z");
	make_file(t, ".store/top");
	make_dir(t, ".mozilla");
	make_dir(t, ".mozilla/firefox");
	make_dir(t, ".mozilla/firefox/p");
	make_dir(t, ".mozilla/firefox/q");
	make_file(t, ".mozilla/firefox/p/a.db");
	make_file(t, ".mozilla/firefox/q/b.db");
	make_file(t, ".mozilla/firefox/q/c.db");
	assert_int_equal(expand(t), 0);
	assert_non_null(find(t, ".ssh/id_ed25519"));
	assert_null(find(t, ".ssh/id_ed25519.pub"));
	assert_null(find(t, ".ssh/known_hosts"));
	assert_non_null(find(t, ".store/x/.y/z"));
	assert_non_null(find(t, ".store/top"));
	assert_true(find(t, ".store/x/.y")->f.reach_here && find(t, ".store/x/.y")->f.reach_below);
	assert_non_null(find(t, ".mozilla/firefox/p/a.db"));
	assert_non_null(find(t, ".mozilla/firefox/q/b.db"));
	assert_int_equal(count_files(t), 5);
}

/* Floating patterns belong to a project: the home is not walked for them, nor the project for the
 * patterns of the home. */
static void projects(void **state)
{
	struct fixture *t = *state;
	struct lookup_handler h = remember(t);

	PATTERNS(t, "**/.env", "!**/dist/.env", "~/.netrc", "**/src/key.pem");
	make_dir(t, "src");
	make_dir(t, "src/dist");
	make_file(t, "src/.env");
	make_file(t, "src/dist/.env");
	make_file(t, "src/key.pem");
	make_file(t, ".env");
	make_file(t, ".netrc");
	assert_int_equal(expand(t), 0);
	assert_non_null(find(t, ".netrc"));
	assert_null(find(t, "src/.env"));
	assert_null(find(t, "src"));
	seen_clear(t);
	assert_int_equal(lookup_expand(t->l, getuid(), t->home, at(t, "src"), WAIT_MS, &h), 0);
	assert_non_null(find(t, "src/.env"));
	assert_non_null(find(t, "src/key.pem"));
	assert_false(find(t, "src/.env")->f.system);
	assert_null(find(t, "src/dist/.env"));
	assert_null(find(t, ".netrc"));
	assert_null(find(t, ".env"));
	assert_int_equal(count_files(t), 2);
}

static void links(void **state)
{
	struct fixture *t = *state;
	const struct seen *s;
	struct stat st;

	PATTERNS(t, "~/.aws/credentials", "~/.netrc", "~/.pgpass");
	make_dir(t, "data");
	make_dir(t, "data/aws");
	make_file(t, "data/aws/credentials");
	make_link(t, at(t, "data/aws"), ".aws");
	make_dir(t, "dot");
	make_file(t, "dot/netrc");
	make_link(t, "dot/./netrc", ".netrc");
	make_link(t, "dot/../dot/missing", ".pgpass");
	assert_int_equal(expand(t), 0);

	s = find(t, ".aws/credentials");
	assert_non_null(s);
	assert_int_equal(stat(at(t, "data/aws/credentials"), &st), 0);
	assert_true(s->f.ino == st.st_ino && s->f.dev == st.st_dev);
	/* each directory that the way leads through is told, before what it leads to */
	s = find_via(t, ".aws", "aws");
	assert_non_null(s);
	assert_int_equal(stat(at(t, "data"), &st), 0);
	assert_true(s->f.ino == st.st_ino && s->f.reach_below && !s->f.reach_here);
	assert_true(s < find(t, ".aws") && find(t, ".aws") < find(t, ".aws/credentials"));
	assert_non_null(find_via(t, ".aws", "data"));

	s = find_via(t, ".netrc", "netrc");
	assert_non_null(s);
	assert_int_equal(stat(at(t, "dot"), &st), 0);
	assert_true(s->f.ino == st.st_ino && s->f.reach_here);
	assert_int_equal(s->f.verdict, VERDICT_BLOCK);
	assert_non_null(find(t, ".netrc"));
	/* what a dangling link waits for */
	assert_non_null(find_via(t, ".pgpass", "missing"));
	assert_null(find(t, ".pgpass"));
}

static void link_circles(void **state)
{
	struct fixture *t = *state;

	PATTERNS(t, "~/.aws/credentials", "~/.store/**");
	make_link(t, "b", "a");
	make_link(t, "a", "b");
	make_link(t, "a/aws", ".aws");
	make_dir(t, ".store");
	make_file(t, ".store/secret");
	make_link(t, ".", ".store/x");
	make_link(t, ".", ".store/y");
	make_link(t, "../.store", ".store/z");
	make_dir(t, ".store/sub");
	make_link(t, "../..", ".store/sub/up");
	assert_int_equal(expand(t), 0);
	assert_non_null(find_gap(t, ".aws", "too many symbolic links"));
	assert_non_null(find(t, ".store/secret"));
	assert_true(t->n < 200);
}

static void kinds(void **state)
{
	struct fixture *t = *state;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	PATTERNS(t, "~/fifo", "~/sock", "~/dir", "~/file");
	assert_int_equal(mkfifo(at(t, "fifo"), 0600), 0);
	make_dir(t, "dir");
	make_file(t, "file");
	assert_true(strlen(at(t, "sock")) < sizeof(un.sun_path));
	strcpy(un.sun_path, at(t, "sock"));
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(expand(t), 0);
	assert_non_null(find(t, "fifo"));
	assert_false(find(t, "fifo")->f.is_dir);
	assert_non_null(find(t, "file"));
	assert_null(find(t, "sock"));
	assert_null(find(t, "dir"));
	close(fd);
}

/* Filling one directory hides nothing in another. */
static void too_much(void **state)
{
	struct fixture *t = *state;
	char name[256] = ".deep";

	PATTERNS(t, "~/.a/**", "~/.deep/**", "~/.z/**");
	make_dir(t, ".a");
	make_dir(t, ".z");
	make_dir(t, ".z/sub");
	make_file(t, ".z/sub/secret");
	for (int i = 0; i < LOOKUP_DIRECTORIES_MAX + 10; i++) {
		snprintf(name, sizeof(name), ".a/%d", i);
		make_dir(t, name);
	}
	strcpy(name, ".deep");
	make_dir(t, name);
	for (int i = 0; i < LOOKUP_DEPTH_MAX + 4; i++) {
		strcat(name, "/d");
		make_dir(t, name);
	}
	assert_int_equal(expand(t), 0);
	assert_non_null(find_gap(t, NULL, "more than 4096 directories"));
	assert_non_null(find_gap(t, NULL, "deeper than 24 directories"));
	assert_non_null(find(t, ".z/sub/secret"));
}

static void too_many_names(void **state)
{
	struct fixture *t = *state;
	char name[64];

	PATTERNS(t, "~/.many/*.key", "~/.many/literal");
	make_dir(t, ".many");
	make_file(t, "seed");
	for (int i = 0; i < LOOKUP_ENTRIES_MAX + 1; i++) {
		snprintf(name, sizeof(name), ".many/%d", i);
		assert_int_equal(link(at(t, "seed"), at(t, name)), 0);
	}
	make_file(t, ".many/literal");
	assert_int_equal(expand(t), 0);
	assert_non_null(find_gap(t, ".many", "more than 16384 names"));
	assert_non_null(find(t, ".many/literal"));
}

static void strange_names(void **state)
{
	struct fixture *t = *state;
	char longest[256], name[600];

	PATTERNS(t, "~/*/secret", "~/\xff\xfe\n/secret");
	memset(longest, 'x', 255);
	longest[255] = 0;
	make_dir(t, longest);
	snprintf(name, sizeof(name), "%s/secret", longest);
	make_file(t, name);
	make_dir(t, "\x01 \n\\\xc3\x28'\"*");
	make_file(t, "\x01 \n\\\xc3\x28'\"*/secret");
	make_dir(t, "\xff\xfe\n");
	make_file(t, "\xff\xfe\n/secret");
	assert_int_equal(expand(t), 0);
	assert_non_null(find(t, name));
	assert_non_null(find(t, "\x01 \n\\\xc3\x28'\"*/secret"));
	assert_non_null(find(t, "\xff\xfe\n/secret"));
	assert_int_equal(count_files(t), 3);
}

/* The kernel can name nothing beyond 4,095 bytes; we find it all the same. */
static void long_paths(void **state)
{
	struct fixture *t = *state;
	char part[241], *path;
	int dir, next;

	PATTERNS(t, "~/**/secret");
	memset(part, 'p', 240);
	part[240] = 0;
	assert_true(asprintf(&path, "%s", "") >= 0);
	dir = open(t->home, O_PATH | O_CLOEXEC);
	for (int i = 0; i < 20; i++) {
		char *longer;

		assert_int_equal(mkdirat(dir, part, 0700), 0);
		next = openat(dir, part, O_PATH | O_CLOEXEC);
		assert_true(next >= 0);
		close(dir);
		dir = next;
		assert_true(asprintf(&longer, "%s%s/", path, part) >= 0);
		free(path);
		path = longer;
	}
	next = openat(dir, "secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(next >= 0);
	close(next);
	close(dir);
	assert_int_equal(expand(t), 0);
	assert_int_equal(count_files(t), 1);
	path = realloc(path, strlen(path) + sizeof("secret"));
	strcat(path, "secret");
	assert_true(strlen(at(t, path)) > 4096);
	assert_non_null(find(t, path));
	free(path);
}

/* A directory that its owner may enter but not list hides no name that a pattern spells out. */
static void unlistable(void **state)
{
	struct fixture *t = *state;

	PATTERNS(t, "~/.aws/credentials", "~/.ssh/id_*");
	make_dir(t, ".aws");
	make_file(t, ".aws/credentials");
	make_dir(t, ".ssh");
	make_file(t, ".ssh/id_rsa");
	assert_int_equal(chmod(at(t, ".aws"), 0311), 0);
	assert_int_equal(chmod(at(t, ".ssh"), 0311), 0);
	assert_int_equal(expand(t), 0);
	assert_non_null(find(t, ".aws/credentials"));
	if (getuid()) {
		assert_non_null(find_gap(t, ".ssh", "Permission denied"));
		assert_null(find(t, ".ssh/id_rsa"));
	}
	assert_int_equal(chmod(at(t, ".ssh"), 0700), 0);
	assert_int_equal(chmod(at(t, ".aws"), 0700), 0);
}

static void one_new_name(void **state)
{
	struct fixture *t = *state;
	struct lookup_handler h = remember(t);
	int dir;

	PATTERNS(t, "~/.aws/credentials", "**/.env", "~/.store/**");
	make_dir(t, ".store");
	make_dir(t, ".store/a");
	make_file(t, ".store/a/b");
	make_dir(t, "src");
	make_file(t, "src/.env");
	dir = open(t->home, O_PATH | O_CLOEXEC);
	assert_int_equal(lookup_child(t->l, getuid(), t->home, NULL, dir, t->home, ".store", WAIT_MS,
				      &h), 0);
	assert_non_null(find(t, ".store"));
	assert_non_null(find(t, ".store/a/b"));
	assert_null(find(t, ""));
	seen_clear(t);
	assert_int_equal(lookup_child(t->l, getuid(), t->home, "", dir, t->home, "src", WAIT_MS, &h),
			 0);
	assert_int_equal(t->n, 0);
	assert_int_equal(lookup_child(t->l, getuid(), "", t->home, dir, t->home, "src", WAIT_MS, &h),
			 0);
	assert_non_null(find(t, "src/.env"));
	assert_int_equal(lookup_child(t->l, getuid(), t->home, "", dir, t->home, "gone", WAIT_MS, &h),
			 0);
	assert_int_equal(lookup_child(t->l, getuid(), t->home, "", dir, t->home, "a/b", WAIT_MS, &h),
			 -EINVAL);
	close(dir);
}

static void roots(void **state)
{
	struct fixture *t = *state;
	char *only[] = { (char *)strdup(at(t, "in")), NULL };

	PATTERNS(t, "~/in/secret", "~/out/secret", "~/in/link");
	make_dir(t, "in");
	make_dir(t, "out");
	make_dir(t, "inside");
	make_file(t, "in/secret");
	make_file(t, "out/secret");
	make_link(t, "../out/secret", "in/link");
	assert_int_equal(lookup_roots(t->l, only), 0);
	assert_int_equal(expand(t), 0);
	assert_null(find(t, ""));
	assert_null(find(t, "out"));
	assert_null(find(t, "out/secret"));
	assert_null(find(t, "in/link"));
	assert_non_null(find(t, "in"));
	assert_non_null(find(t, "in/secret"));
	assert_int_equal(t->n, 2);
	assert_int_equal(lookup_roots(t->l, NULL), 0);
	assert_int_equal(expand(t), 0);
	assert_non_null(find(t, "out/secret"));
	free(only[0]);
}

/* While somebody renames as fast as he can, what stands still is found each time. */
static void rename_storm(void **state)
{
	struct fixture *t = *state;
	pid_t pid;

	PATTERNS(t, "~/.store/**", "~/.aws/credentials");
	make_dir(t, ".store");
	make_dir(t, ".store/still");
	make_file(t, ".store/still/secret");
	make_dir(t, ".store/a");
	make_dir(t, ".store/a/sub");
	make_dir(t, ".aws");
	make_file(t, ".aws/credentials");
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		const char *a = at(t, ".store/a"), *b = at(t, ".store/b");

		for (;;) {
			rename(a, b);
			unlink(a);
			if (symlink("still", a) == 0)
				unlink(a);
			rename(b, a);
		}
	}
	for (int i = 0; i < 100; i++) {
		assert_int_equal(expand(t), 0);
		assert_non_null(find(t, ".store/still/secret") ? find(t, ".store/still/secret")
							       : find(t, ".store/a/secret"));
		assert_non_null(find(t, ".aws/credentials"));
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(spelled_out),
		TEST(nothing_there),
		TEST(mark_stands_first),
		TEST(wildcards_and_exceptions),
		TEST(projects),
		TEST(links),
		TEST(link_circles),
		TEST(kinds),
		TEST(too_much),
		TEST(too_many_names),
		TEST(strange_names),
		TEST(long_paths),
		TEST(unlistable),
		TEST(one_new_name),
		TEST(roots),
		TEST(rename_storm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
