/* SPDX-License-Identifier: Apache-2.0 */
/* Where the root of cgroup2 is found: by a table of mounts, behind a prefix, or mounted for us alone. */
#include <errno.h>
#include <linux/magic.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "enforce/egress_root.h"

static char table[] = "/tmp/oknek-mounts.XXXXXX";

static void write_table(const char *text)
{
	FILE *f = fopen(table, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int find(const char *text, const char *prefix, char where[256])
{
	write_table(text);
	return egress_root_mounted(table, prefix, where, 256);
}

static int make_table(void **state)
{
	int fd = mkstemp(table);

	(void)state;
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int drop_table(void **state)
{
	(void)state;
	return unlink(table);
}

#define V1 "31 25 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n"

static void nothing_of_the_kind(void **state)
{
	char where[256] = "untouched";

	(void)state;
	assert_int_equal(find("", "", where), -ENOENT);
	assert_int_equal(find(V1, "", where), -ENOENT);
	assert_int_equal(find("nonsense\n - cgroup2 \n1 2 - cgroup2 x y\n", "", where), -ENOENT);
	/* A part of it, as in a container; what is not there; what is something else by now. */
	assert_int_equal(find("30 25 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "", where),
			 -ENOENT);
	assert_int_equal(find("30 25 0:26 / /no\\040where rw - cgroup2 cgroup2 rw\n", "", where), -ENOENT);
	assert_int_equal(find("30 25 0:26 / /tmp rw - cgroup2 cgroup2 rw\n", "", where), -ENOENT);
	assert_int_equal(egress_root_mounted("/nonexistent", "", where, sizeof(where)), -ENOENT);
	assert_string_equal(where, "untouched");
}

/* In namespaces of its own, so that nobody's mounts or their options change. */
static int in_child(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(77);
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool is_root(int fd)
{
	struct statfs fs;

	return fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* As on hybrid hosts, at a place with a blank in it, below what process 1 would have as its root. */
static int try_mounted(void)
{
	char where[256] = "", line[256];
	int fd;

	if (mount("none", "/tmp", "tmpfs", 0, NULL) < 0 || mkdir("/tmp/a b", 0700) < 0 ||
	    mkdir("/tmp/hidden", 0700) < 0 || mount("none", "/tmp/a b", "cgroup2", 0, NULL) < 0 ||
	    mount("none", "/tmp/hidden", "cgroup2", 0, NULL) < 0 ||
	    mount("none", "/tmp/hidden", "tmpfs", 0, NULL) < 0)
		return 77;
	snprintf(line, sizeof(line), V1 "40 25 0:26 / /hidden rw - cgroup2 cgroup2 rw\n"
		 "41 25 0:26 / /a\\040b rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
	fd = find(line, "/tmp", where);
	return is_root(fd) && !strcmp(where, "/a b") ? 0 : 1;
}

static int try_private(void)
{
	char where[256] = "";
	int fd = egress_root_private(where, sizeof(where)), n = 0;
	char before[256] = "";

	if (fd == -ENOENT)
		return 77;
	/* It is nowhere in the tree of files. */
	write_table("");
	n = egress_root_mounted(table, "", before, sizeof(before));
	return is_root(fd) && strstr(where, "nowhere") && n == -ENOENT ? 0 : 1;
}

static void found_behind_a_prefix(void **state)
{
	int r = in_child(try_mounted);

	(void)state;
	if (r == 77)
		skip();
	assert_int_equal(r, 0);
}

static void mounted_for_us_alone(void **state)
{
	int r = in_child(try_private);

	(void)state;
	if (r == 77)
		skip();
	assert_int_equal(r, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_of_the_kind),
		cmocka_unit_test(found_behind_a_prefix),
		cmocka_unit_test(mounted_for_us_alone),
	};

	return cmocka_run_group_tests_name("egress-root", tests, make_table, drop_table);
}
