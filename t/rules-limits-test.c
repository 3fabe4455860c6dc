/* SPDX-License-Identifier: Apache-2.0 */
/* Sets that are larger than any set may be, in lists, rules, bytes and files. */
#include "t/rules-test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/yaml.h"

static char dir[64];

static int begin(void **state)
{
	(void)state;
	/* in memory where there is such: a disk takes seconds for as many files */
	strcpy(dir, "/dev/shm/oknek-limits-XXXXXX");
	if (mkdtemp(dir))
		return 0;
	strcpy(dir, "/tmp/oknek-limits-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	(void)state;
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	return rmdir(dir);
}

static FILE *file(unsigned i)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%05u.yaml", dir, i);
	f = fopen(path, "w");
	assert_non_null(f);
	return f;
}

static void refused(const char *want)
{
	const char *const dirs[] = { dir, NULL };
	const struct rules_config c = { .dirs = dirs };
	struct rules_error err = { "" };
	struct ruleset *rs = NULL;

	assert_true(ruleset_load(&c, &rs, &err) < 0);
	assert_null(rs);
	assert_memory_equal(err.text, dir, strlen(dir));
	assert_string_equal(err.text + strlen(dir), want);
}

#define RULE "version: 1\nname: n\nkind: file_changed\naction: { default: warn }\n"              \
	"match: { any_of: [ pid: { gt: 1 } ] }\n"

static void too_many_rules(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		FILE *f = file(i);

		for (unsigned k = 0; k < 2000; k++)
			fprintf(f, "---\nid: X%u\n" RULE, i * 2000 + k);
		fclose(f);
	}
	refused("/00008.yaml:2690: more than 16384 rules");
}

static void too_many_bytes(void **state)
{
	char line[1001];

	(void)state;
	memset(line, '#', 1000);
	line[1000] = '\0';
	for (unsigned i = 0; i < 17; i++) {
		FILE *f = file(i);

		fprintf(f, "id: X%u\n", i);
		for (unsigned k = 0; k < 1040; k++)
			fprintf(f, "%s\n", line);
		fputs(RULE, f);
		fclose(f);
	}
	refused("/00016.yaml: all rule files together are larger than 16 MiB");
}

static void too_many_files(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= 16384; i++)
		fclose(file(i));
	refused(": more than 16384 rule files");
}

static void too_many_lists(void **state)
{
	char path[96];
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/lists.yaml", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("lists:\n", f);
	for (unsigned i = 0; i < 1025; i++)
		fprintf(f, "  a%u: [1]\n", i);
	fclose(f);
	refused("/lists.yaml:1026: more than 1024 lists");
}

static void what_cannot_be_read_is_said(void **state)
{
	struct yaml_doc *doc = NULL;
	char err[512] = "";

	(void)state;
	/* a regular file, at whose beginning nothing is */
	assert_int_equal(yaml_load_file("/proc/self/mem", &doc, err), -EIO);
	assert_string_equal(err, "/proc/self/mem: cannot be read: Input/output error");
	assert_null(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(too_many_rules, begin, end),
		cmocka_unit_test_setup_teardown(too_many_bytes, begin, end),
		cmocka_unit_test_setup_teardown(too_many_files, begin, end),
		cmocka_unit_test_setup_teardown(too_many_lists, begin, end),
		cmocka_unit_test(what_cannot_be_read_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
