/* SPDX-License-Identifier: Apache-2.0 */
/* Programs by identity: found while somebody else replaces them all, and what a dynamic loader is called. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/programs.h"

static void cleanup(struct programs **p)
{
	programs_free(*p);
}

static void none_to_begin_with(void **state)
{
	_cleanup_(cleanup) struct programs *p = NULL;

	(void)state;
	programs_free(NULL);
	assert_int_equal(programs_new(&p), 0);
	assert_int_equal(programs_count(p), 0);
	assert_null(programs_find(p, 1, 1));
	programs_quiescent(p);
	assert_int_equal(programs_set(p, NULL, 0), 0);
	assert_null(programs_find(p, 0, 0));
}

static void by_identity_in_any_order(void **state)
{
	_cleanup_(cleanup) struct programs *p = NULL;
	char name[32] = "/bin/sh";
	struct program v[] = {
		{ 7, 900, 1, { "/opt/a" } },   { 2, UINT64_MAX, 1, { "/opt/b" } },
		{ 7, 3, 2, { name, "/bin/dash" } }, { UINT64_MAX, 3, 1, { "/opt/c" } },
		{ 2, 0, 1, { "/opt/d" } },
	};
	const struct program *sh;

	(void)state;
	assert_int_equal(programs_new(&p), 0);
	assert_int_equal(programs_set(p, v, ARRAY_SIZE(v)), 0);
	assert_int_equal(programs_count(p), ARRAY_SIZE(v));
	strcpy(name, "overwritten"); /* they are copied */
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		const struct program *f = programs_find(p, v[i].dev, v[i].ino);

		assert_non_null(f);
		assert_int_equal(f->n_names, v[i].n_names);
		assert_true(f->dev == v[i].dev && f->ino == v[i].ino);
	}
	assert_null(programs_find(p, 7, 901));
	assert_null(programs_find(p, 3, 7)); /* not the other way round */
	sh = programs_find(p, 7, 3);
	assert_string_equal(sh->names[0], "/bin/sh");
	assert_true(program_is_called(sh, "/bin/sh"));
	assert_true(program_is_called(sh, "/bin/dash"));
	assert_false(program_is_called(sh, "/bin/das"));
	assert_false(program_is_called(sh, ""));

	/* All of them from here on, and none. */
	assert_int_equal(programs_set(p, v + 1, 1), 0);
	assert_null(programs_find(p, 7, 3));
	assert_non_null(programs_find(p, 2, UINT64_MAX));
	assert_int_equal(programs_set(p, v, 0), 0);
	assert_int_equal(programs_count(p), 0);
	assert_null(programs_find(p, 2, UINT64_MAX));
}

static void full(void **state)
{
	_cleanup_(cleanup) struct programs *p = NULL;
	_cleanup_free_ struct program *v = calloc(PROGRAMS_MAX, sizeof(*v));

	(void)state;
	assert_non_null(v);
	for (size_t i = 0; i < PROGRAMS_MAX; i++) {
		v[i] = (struct program){ .dev = i % 3, .ino = i * 7919 % PROGRAMS_MAX,
					 .n_names = PROGRAM_NAMES_MAX };
		for (unsigned k = 0; k < PROGRAM_NAMES_MAX; k++)
			v[i].names[k] = "/usr/bin/of-that-name";
	}
	assert_int_equal(programs_new(&p), 0);
	assert_int_equal(programs_set(p, v, PROGRAMS_MAX), 0);
	for (size_t i = 0; i < PROGRAMS_MAX; i++)
		assert_string_equal(programs_find(p, v[i].dev, v[i].ino)->names[PROGRAM_NAMES_MAX - 1],
				    "/usr/bin/of-that-name");
}

/* ---- a reader beside the writer ------------------------------------------------------------------ */

#define TURNS 2000

struct reading {
	struct programs *p;
	_Atomic bool begun, end;
	unsigned long found, wrong;
};

/* What it holds is good until it says so; a table that was freed would be seen by the sanitizers. */
static void *reader(void *arg)
{
	struct reading *r = arg;

	while (!atomic_load(&r->end)) {
		const struct program *a = programs_find(r->p, 1, 1), *b = programs_find(r->p, 1, 2);

		for (const struct program *f = a; f; f = f == a ? b : NULL) {
			r->found++;
			if (f->dev != 1 || f->n_names != 1 || strncmp(f->names[0], "/bin/", 5) != 0)
				r->wrong++;
			if (f == b)
				break;
		}
		programs_quiescent(r->p);
		if (r->found)
			atomic_store(&r->begun, true);
	}
	return NULL;
}

static void replaced_while_it_is_read(void **state)
{
	_cleanup_(cleanup) struct programs *p = NULL;
	struct reading r = { 0 };
	char names[2][32];
	struct program v[2];
	pthread_t t;

	(void)state;
	assert_int_equal(programs_new(&p), 0);
	r.p = p;
	assert_int_equal(pthread_create(&t, NULL, reader, &r), 0);
	for (unsigned i = 0; i < TURNS || !atomic_load(&r.begun); i++) {
		for (unsigned k = 0; k < 2; k++) {
			snprintf(names[k], sizeof(names[k]), "/bin/%u", i + k);
			v[k] = (struct program){ 1, k + 1, 1, { names[k] } };
		}
		assert_int_equal(programs_set(p, v, i % 3), 0);
	}
	atomic_store(&r.end, true);
	pthread_join(t, NULL);
	assert_true(r.found > 0);
	assert_int_equal(r.wrong, 0);
}

/* ---- dynamic loaders ----------------------------------------------------------------------------- */

static void loaders(void **state)
{
	static const char *const are[] = {
		"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-linux.so.2",
		"/lib/ld-musl-x86_64.so.1", "/lib64/ld64.so.2", "/usr/bin/ld.so", "ld.so.1",
		"/lib/x86_64-linux-gnu/ld-2.31.so", "/lib/libc.so", "ld-linux*",
	}, *const none[] = {
		"/usr/bin/ld", "/usr/bin/ld-static", "/lib/libc.so.6", "/bin/sh", "", "/", "/ld-linux/sh",
		"/opt/ld.so/bash", "/usr/bin/gold",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(are); i++)
		if (!program_is_loader(are[i]))
			fail_msg("%s is one", are[i]);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		if (program_is_loader(none[i]))
			fail_msg("%s is none", none[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_to_begin_with),	cmocka_unit_test(by_identity_in_any_order),
		cmocka_unit_test(full),			cmocka_unit_test(replaced_while_it_is_read),
		cmocka_unit_test(loaders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
