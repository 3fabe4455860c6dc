/* SPDX-License-Identifier: Apache-2.0 */
/* The table of protected objects: what is found, under which names, and when it is freed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/objects.h"

static int set_up(void **state)
{
	return objects_new((struct objects **)state);
}

static int tear_down(void **state)
{
	objects_free(*state);
	return 0;
}

static struct object_handle handle(uint64_t fsid, uint64_t id)
{
	struct object_handle h = { .fsid = fsid, .type = 1, .len = sizeof(id) };

	memcpy(h.bytes, &id, sizeof(id));
	return h;
}

static struct object_name name(const char *path)
{
	return (struct object_name){ (char *)path, "/home/u", "", "" };
}

static struct object file(uint64_t ino, const char *path)
{
	return (struct object){
		.dev = 7,
		.ino = ino,
		.handle = handle(3, ino),
		.verdict = VERDICT_BLOCK,
		.n_names = 1,
		.names = { name(path) },
		.group = -1,
	};
}

static struct object directory(uint64_t ino, const char *path)
{
	struct object o = file(ino, path);

	o.is_dir = true;
	return o;
}

static void found_by_number_and_by_handle(void **state)
{
	struct objects *t = *state;
	struct object o = file(42, "/home/u/.aws/credentials");
	struct object_handle h = handle(3, 42);
	struct object *put;

	assert_null(objects_find(t, 7, 42));
	assert_null(objects_find_handle(t, &h));
	put = objects_put(t, &o);
	assert_non_null(put);
	assert_ptr_not_equal(put->names[0].path, o.names[0].path);
	assert_string_equal(put->names[0].path, "/home/u/.aws/credentials");
	assert_ptr_equal(objects_find(t, 7, 42), put);
	assert_ptr_equal(objects_find_handle(t, &h), put);
	assert_int_equal(objects_count(t), 1);

	/* Another filesystem's, another type's, or a longer handle is another object. */
	assert_null(objects_find(t, 8, 42));
	assert_null(objects_find(t, 7, 43));
	h.fsid = 4;
	assert_null(objects_find_handle(t, &h));
	h = handle(3, 42);
	h.type = 2;
	assert_null(objects_find_handle(t, &h));
	h = handle(3, 42);
	h.len++;
	assert_null(objects_find_handle(t, &h));

	objects_remove(t, put);
	h = handle(3, 42);
	assert_null(objects_find(t, 7, 42));
	assert_null(objects_find_handle(t, &h));
	assert_int_equal(objects_count(t), 0);
}

/* More than there are buckets, so that every chain has several. */
static void chains(void **state)
{
	struct objects *t = *state;
	enum { N = 20000 };

	for (uint64_t i = 1; i <= N; i++) {
		struct object o = file(i, "/x");

		assert_non_null(objects_put(t, &o));
	}
	assert_int_equal(objects_count(t), N);
	for (uint64_t i = 3; i <= N; i += 3)
		objects_remove(t, (struct object *)objects_find(t, 7, i));
	for (uint64_t i = 1; i <= N; i++) {
		struct object_handle h = handle(3, i);
		const struct object *o = objects_find(t, 7, i);

		assert_ptr_equal(objects_find_handle(t, &h), o);
		assert_int_equal(!o, i % 3 == 0);
		assert_true(!o || o->ino == i);
	}
	assert_int_equal(objects_count(t), N - N / 3);
}

static void names_are_kept(void **state)
{
	struct objects *t = *state;
	struct object o = file(1, "/home/u/.aws/credentials"), *put;

	objects_put(t, &o);
	o = file(1, "/home/u/x");
	o.verdict = VERDICT_ALLOW;
	put = objects_put(t, &o);
	assert_int_equal(put->n_names, 2);
	assert_string_equal(put->names[0].path, "/home/u/x");
	assert_string_equal(put->names[1].path, "/home/u/.aws/credentials");
	assert_int_equal(put->verdict, VERDICT_BLOCK);
	assert_int_equal(objects_count(t), 1);

	/* The same again adds nothing; that of another home is another. */
	put = objects_put(t, &o);
	assert_int_equal(put->n_names, 2);
	o.names[0].home = "/root";
	put = objects_put(t, &o);
	assert_int_equal(put->n_names, 3);
	assert_string_equal(put->names[0].home, "/root");
	assert_string_equal(put->names[1].home, "/home/u");

	/* A project or a link means something for what is below, which a file has not. */
	o.names[0].project = "/p";
	o.names[0].via = "y";
	assert_int_equal(objects_put(t, &o)->n_names, 3);
	o = directory(2, "/d");
	assert_int_equal(objects_put(t, &o)->n_names, 1);
	o.names[0].project = "/p";
	assert_int_equal(objects_put(t, &o)->n_names, 2);
	o.names[0].via = "y";
	assert_int_equal(objects_put(t, &o)->n_names, 3);
}

static void names_are_bounded(void **state)
{
	struct objects *t = *state;
	char path[OBJECT_NAMES_MAX * 2][16];
	struct object *put = NULL;

	for (unsigned i = 0; i < ARRAY_SIZE(path); i++) {
		struct object o;

		snprintf(path[i], sizeof(path[i]), "/n%u", i);
		o = file(1, path[i]);
		put = objects_put(t, &o);
		assert_non_null(put);
		assert_string_equal(put->names[0].path, path[i]);
	}
	assert_int_equal(put->n_names, OBJECT_NAMES_MAX);
	for (unsigned i = 0; i < OBJECT_NAMES_MAX; i++)
		assert_string_equal(put->names[i].path, path[ARRAY_SIZE(path) - 1 - i]);
}

static void all_that_reached_it_still_does(void **state)
{
	struct objects *t = *state;
	struct object o = directory(1, "/d"), *put;

	o.on_child = true;
	put = objects_put(t, &o);
	put->perm_marked = put->notify_marked = put->observe_marked = true;
	put->group = 2;
	o = directory(1, "/e");
	o.below = true;
	put = objects_put(t, &o);
	assert_true(put->on_child && put->below);
	assert_true(put->perm_marked && put->notify_marked && put->observe_marked);
	assert_int_equal(put->group, 2);
}

/* The number of a deleted file is given to another. */
static void another_with_the_same_number(void **state)
{
	struct objects *t = *state;
	struct object_handle first = handle(3, 1), second = handle(3, 1001);
	struct object o = file(1, "/secret"), *put;

	put = objects_put(t, &o);
	put->perm_marked = put->notify_marked = put->observe_marked = true;
	o = file(1, "/other");
	o.handle = second;
	put = objects_put(t, &o);
	assert_int_equal(put->n_names, 1);
	assert_false(put->perm_marked || put->notify_marked || put->observe_marked);
	assert_null(objects_find_handle(t, &first));
	assert_ptr_equal(objects_find_handle(t, &second), put);
	assert_ptr_equal(objects_find(t, 7, 1), put);
	assert_int_equal(objects_count(t), 1);

	put->perm_marked = true;
	o = directory(1, "/dir");
	o.handle = second;
	o.handle.type = 2;
	put = objects_put(t, &o);
	assert_true(put->is_dir && put->n_names == 1 && !put->perm_marked);
}

/* Without a handle nobody knows whether it is another: it keeps the names and is marked anew. */
static void no_handle_to_tell(void **state)
{
	struct objects *t = *state;
	struct object o = file(1, "/secret"), *put;
	struct object_handle h = handle(3, 1);

	o.handle.len = 0;
	put = objects_put(t, &o);
	assert_null(objects_find_handle(t, &o.handle));
	put->perm_marked = put->notify_marked = put->observe_marked = true;
	o = file(1, "/other");
	o.handle.len = 0;
	put = objects_put(t, &o);
	assert_int_equal(put->n_names, 2);
	assert_false(put->perm_marked || put->notify_marked || put->observe_marked);

	put->perm_marked = true;
	o = file(1, "/third");
	put = objects_put(t, &o);
	assert_int_equal(put->n_names, 3);
	assert_false(put->perm_marked);
	assert_ptr_equal(objects_find_handle(t, &h), put);

	put->perm_marked = true;
	o = file(1, "/fourth");
	o.handle.len = 0;
	put = objects_put(t, &o);
	assert_int_equal(put->n_names, 4);
	assert_false(put->perm_marked);
	assert_null(objects_find_handle(t, &h));
	objects_remove(t, put);
	assert_null(objects_find(t, 7, 1));
}

static void remove_even(struct object *o, void *arg)
{
	if (o->ino % 2 == 0)
		objects_remove(arg, o);
}

static void sum_up(struct object *o, void *arg)
{
	*(uint64_t *)arg += o->ino;
}

static void each_may_remove(void **state)
{
	struct objects *t = *state;
	uint64_t sum = 0;

	for (uint64_t i = 1; i <= 10000; i++) {
		struct object o = file(i, "/x");

		objects_put(t, &o);
	}
	/* As if the reader passed all the time: what is removed is freed at once or nearly. */
	for (int i = 0; i < 3; i++)
		objects_quiescent(t);
	objects_each(t, remove_even, t);
	objects_each(t, sum_up, &sum);
	assert_int_equal(sum, 5000 * 5000);
	assert_int_equal(objects_count(t), 5000);
}

struct child_case {
	const char *path, *via, *name, *expected; /* NULL: -ENOENT */
};

static void paths_of_children(void **state)
{
	static const struct child_case cases[] = {
		{ "/home/u/.aws", "", "credentials", "/home/u/.aws/credentials" },
		{ "/", "", "etc", "/etc" },
		{ "/home/u", "", "a b\n\xff", "/home/u/a b\n\xff" },
		/* Through this directory a link leads to what is called /home/u/.aws. */
		{ "/home/u/.aws", "real", "real", "/home/u/.aws" },
		{ "/home/u/.aws", "real", "rea", NULL },
		{ "/home/u/.aws", "real", "real2", NULL },
		{ "/home/u/.aws", "real", "", NULL },
	};
	char buf[64];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct child_case *c = &cases[i];
		struct object_name dir = { (char *)c->path, "", "", (char *)c->via };
		int err = object_child_path(&dir, c->name, buf, sizeof(buf));

		assert_int_equal(err, c->expected ? 0 : -ENOENT);
		if (c->expected)
			assert_string_equal(buf, c->expected);
	}
}

static void paths_have_a_length(void **state)
{
	struct object_name dir = { "/abc", "", "", "" };
	char buf[9];

	(void)state;
	assert_int_equal(object_child_path(&dir, "def", buf, 9), 0);
	assert_string_equal(buf, "/abc/def");
	assert_int_equal(object_child_path(&dir, "def", buf, 8), -ENAMETOOLONG);
	assert_int_equal(object_child_path(&dir, "def", buf, 0), -ENAMETOOLONG);
	dir.via = "x";
	assert_int_equal(object_child_path(&dir, "x", buf, 5), 0);
	assert_int_equal(object_child_path(&dir, "x", buf, 4), -ENAMETOOLONG);
}

/* What the reader holds stays whole until it has passed; ASan says if not. */
static void held_until_passed(void **state)
{
	struct objects *t = *state;
	struct object o = file(1, "/held"), other = file(2, "/x");
	const struct object *held;

	objects_put(t, &o);
	objects_quiescent(t);
	held = objects_find(t, 7, 1);
	objects_remove(t, (struct object *)held);
	for (int i = 0; i < 100; i++)
		objects_put(t, &other); /* frees what may be freed */
	assert_string_equal(held->names[0].path, "/held");

	/* Found anew, replaced under the reader's eyes. */
	objects_quiescent(t);
	objects_put(t, &o);
	held = objects_find(t, 7, 1);
	o.names[0].path = "/renamed";
	for (int i = 0; i < 100; i++)
		objects_put(t, &o);
	assert_string_equal(held->names[0].path, "/held");
	assert_string_equal(objects_find(t, 7, 1)->names[0].path, "/renamed");
}

/* --- one writer, one reader ----------------------------------------------------------------- */

#define STRESS_OBJECTS 64
#define STRESS_ROUNDS 20000

struct stress {
	struct objects *t;
	_Atomic bool end;
	_Atomic uint64_t passes;
	uint64_t seen, torn, missing;
};

/* Each object's path ends in its number: of half an object, or of a freed one, it would not. */
static bool is_whole(const struct object *o, uint64_t ino)
{
	char want[32];

	snprintf(want, sizeof(want), "-%llu", (unsigned long long)ino);
	for (unsigned i = 0; i < o->n_names; i++) {
		const char *dash = strrchr(o->names[i].path, '-');

		if (!dash || strcmp(dash, want))
			return false;
	}
	return o->n_names >= 1 && o->n_names <= OBJECT_NAMES_MAX && o->dev == 7;
}

static void *reader(void *arg)
{
	struct stress *s = arg;

	while (!atomic_load(&s->end)) {
		for (uint64_t i = 1; i <= STRESS_OBJECTS; i++) {
			struct object_handle h = handle(3, i);
			const struct object *a = objects_find(s->t, 7, i);
			const struct object *b = objects_find_handle(s->t, &h);

			/* The first quarter is replaced and never removed. */
			s->missing += i <= STRESS_OBJECTS / 4 && (!a || !b);
			s->seen += a && b;
			s->torn += (a && !is_whole(a, i)) || (b && !is_whole(b, i));
			if (i % 8 == 0)
				objects_quiescent(s->t);
		}
		atomic_fetch_add(&s->passes, 1);
	}
	return NULL;
}

static void reader_and_writer(void **state)
{
	struct stress s = { .t = *state };
	unsigned seed = 1;
	pthread_t thread;
	char path[64];

	for (uint64_t i = 1; i <= STRESS_OBJECTS / 4; i++) {
		struct object o;

		snprintf(path, sizeof(path), "/first-%llu", (unsigned long long)i);
		o = file(i, path);
		assert_non_null(objects_put(s.t, &o));
	}
	assert_int_equal(pthread_create(&thread, NULL, reader, &s), 0);
	for (unsigned n = 0; n < STRESS_ROUNDS || atomic_load(&s.passes) < 10; n++) {
		uint64_t i = (uint64_t)rand_r(&seed) % STRESS_OBJECTS + 1;
		struct object *old = (struct object *)objects_find(s.t, 7, i);

		if (old && i > STRESS_OBJECTS / 4 && rand_r(&seed) % 2) {
			objects_remove(s.t, old);
		} else {
			struct object o;

			snprintf(path, sizeof(path), "/n%u-%llu", n % 100,
				 (unsigned long long)i);
			o = file(i, path);
			assert_non_null(objects_put(s.t, &o));
		}
	}
	atomic_store(&s.end, true);
	pthread_join(thread, NULL);
	assert_true(s.seen > 0);
	assert_int_equal(s.torn, 0);
	assert_int_equal(s.missing, 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(found_by_number_and_by_handle),
		TEST(chains),
		TEST(names_are_kept),
		TEST(names_are_bounded),
		TEST(all_that_reached_it_still_does),
		TEST(another_with_the_same_number),
		TEST(no_handle_to_tell),
		TEST(each_may_remove),
		TEST(paths_of_children),
		TEST(paths_have_a_length),
		TEST(held_until_passed),
		TEST(reader_and_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
