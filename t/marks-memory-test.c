/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of protected objects that outlives the daemon: what is written is read, what was not
 * written by us is said to be bad. Looking up handles is stood in for: only the list is tested.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "enforce/marks_memory.c"

#define HEAD "oknek objects 2\n"
#define AWS "2f686f6d652f752f2e617773" /* /home/u/.aws */

struct recalled {
	struct object_handle h;
	uid_t uid;
	char *path, *home, *project;
};

struct scene {
	struct marks m;
	char dir[64], path[128];
	unsigned n, calls, gaps;
	struct recalled recalled[16];
	int result; /* of each lookup */
	char why[256];
};

int marks_lookup_object(struct marks *m, const struct object_handle *h,
			const struct object_name *name)
{
	struct scene *s = (struct scene *)((char *)m - offsetof(struct scene, m));

	s->calls++;
	if (s->n < ARRAY_SIZE(s->recalled))
		s->recalled[s->n++] = (struct recalled){ *h, m->walk_uid, strdup(name->path),
							 strdup(name->home),
							 strdup(name->project) };
	assert_string_equal(name->via, "");
	return s->result;
}

void marks_gap(struct marks *m, const char *path, const char *why)
{
	struct scene *s = (struct scene *)((char *)m - offsetof(struct scene, m));

	assert_string_equal(path, s->path);
	snprintf(s->why, sizeof(s->why), "%s", why);
	s->gaps++;
}

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	snprintf(s->dir, sizeof(s->dir), "/tmp/oknek-memory.XXXXXX");
	if (!mkdtemp(s->dir) || objects_new(&s->m.c.objects) < 0)
		return -1;
	snprintf(s->path, sizeof(s->path), "%s/objects", s->dir);
	s->m.c.state_dir = s->dir;
	s->m.dirty = true;
	*state = s;
	return 0;
}

static void forget(struct scene *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		free(s->recalled[i].path);
		free(s->recalled[i].home);
		free(s->recalled[i].project);
	}
	s->n = s->calls = s->gaps = 0;
}

static int tear_down(void **state)
{
	struct scene *s = *state;
	char tmp[160];

	snprintf(tmp, sizeof(tmp), "%s.new", s->path);
	unlink(tmp);
	rmdir(tmp);
	unlink(s->path);
	rmdir(s->path);
	assert_int_equal(rmdir(s->dir), 0);
	forget(s);
	objects_free(s->m.c.objects);
	free(s);
	return 0;
}

static void write_list(struct scene *s, const void *text, size_t len)
{
	FILE *f = fopen(s->path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static size_t read_list(struct scene *s, char *buf, size_t size)
{
	FILE *f = fopen(s->path, "re");
	size_t n;

	assert_non_null(f);
	n = fread(buf, 1, size - 1, f);
	fclose(f);
	buf[n] = '\0';
	return n;
}

static struct object object(uint64_t ino, const char *path)
{
	struct object o = { .dev = 1, .ino = ino, .verdict = VERDICT_BLOCK, .uid = 1000,
			    .n_names = 1, .names = { { (char *)path, "", "", "" } } };

	o.handle = (struct object_handle){ .fsid = 0xfedcba9876543210, .type = 0x81, .len = 3 };
	memcpy(o.handle.bytes, (uint8_t[]){ (uint8_t)ino, 0, 0xff }, 3);
	return o;
}

static const struct recalled *find(struct scene *s, const char *path)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!strcmp(s->recalled[i].path, path))
			return &s->recalled[i];
	return NULL;
}

static void comes_back_as_it_was(void **state)
{
	struct scene *s = *state;
	struct object o = object(1, "/home/u/a b\n\xff\x01-");
	const struct recalled *r;
	char longest[4096];
	struct stat st;

	o.names[0].home = "/home/u";
	o.names[0].project = "/home/u/p q";
	objects_put(s->m.c.objects, &o);
	/* All that fits in: the longest path, the longest handle, a type below zero. */
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	longest[0] = '/';
	o = object(2, longest);
	o.handle.type = -2;
	o.handle.len = OBJECT_HANDLE_MAX;
	memset(o.handle.bytes, 0xa5, OBJECT_HANDLE_MAX);
	o.uid = (uid_t)-2;
	o.is_dir = true;
	objects_put(s->m.c.objects, &o);

	assert_int_equal(marks_remember(&s->m), 0);
	assert_false(s->m.dirty);
	assert_int_equal(stat(s->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	marks_recall(&s->m);
	assert_int_equal(s->gaps, 0);
	assert_int_equal(s->n, 2);
	r = find(s, "/home/u/a b\n\xff\x01-");
	assert_non_null(r);
	assert_string_equal(r->home, "/home/u");
	assert_string_equal(r->project, "/home/u/p q");
	assert_int_equal(r->uid, 1000);
	assert_true(r->h.fsid == 0xfedcba9876543210);
	assert_int_equal(r->h.type, 0x81);
	assert_int_equal(r->h.len, 3);
	assert_memory_equal(r->h.bytes, ((uint8_t[]){ 1, 0, 0xff }), 3);
	r = find(s, longest);
	assert_non_null(r);
	assert_int_equal(r->h.type, -2);
	assert_true(r->uid == (uid_t)-2);
	assert_true(object_handle_equal(&r->h, &o.handle));
}

/* Each name of an object has a line; that of a link is not the object's own. */
static void names(void **state)
{
	struct scene *s = *state;
	struct object o = object(1, "/first");

	objects_put(s->m.c.objects, &o);
	o.names[0].path = "/second";
	objects_put(s->m.c.objects, &o);
	o = object(2, "/link");
	o.is_dir = true;
	o.names[0].via = "entry";
	objects_put(s->m.c.objects, &o);
	o = object(3, "/without-a-handle");
	o.handle.len = 0;
	objects_put(s->m.c.objects, &o);
	assert_int_equal(marks_remember(&s->m), 0);
	marks_recall(&s->m);
	assert_int_equal(s->n, 2);
	assert_non_null(find(s, "/first"));
	assert_non_null(find(s, "/second"));
}

static void nothing_yet(void **state)
{
	struct scene *s = *state;
	char buf[64];

	marks_recall(&s->m);
	assert_int_equal(s->gaps, 0); /* the first start has no list */
	assert_int_equal(marks_remember(&s->m), 0);
	read_list(s, buf, sizeof(buf));
	assert_string_equal(buf, HEAD);
	marks_recall(&s->m);
	assert_int_equal(s->n, 0);
	assert_int_equal(s->gaps, 0);
}

static void bad_lines(void **state)
{
	static const char *const bad[] = {
		"\n",
		"f\n",
		"f 1 1 00 3e8 - -\n",
		"f 1 1 00 3e8 - - -\n",                   /* no path */
		"f 1 1 00 3e8 - - 61\n",                  /* not an absolute one */
		"f 1 1 00 3e8 - - " AWS " 00\n",          /* more than a line has */
		"x 1 1 00 3e8 - - " AWS "\n",
		"ff 1 1 00 3e8 - - " AWS "\n",
		"f 1 1 - 3e8 - - " AWS "\n",              /* no handle */
		"f 1 1 0 3e8 - - " AWS "\n",              /* half a byte */
		"f 1 1 0x 3e8 - - " AWS "\n",
		"f 1 1 -1 3e8 - - " AWS "\n",
		"f 1 1 +f 3e8 - - " AWS "\n",
		"f 1 1 \t1 3e8 - - " AWS "\n",
		"f 1 1 AB 3e8 - - " AWS "\n",             /* never written so */
		"f 0x1 1 00 3e8 - - " AWS "\n",
		"f -1 1 00 3e8 - - " AWS "\n",
		"f 11111111111111111 1 00 3e8 - - " AWS "\n",
		"f 1 100000000 00 3e8 - - " AWS "\n",
		"f 1 1 00 100000000 - - " AWS "\n",
		"f 1 1 00 - - - " AWS "\n",
		"f 1 1 00 3e8 6100 - " AWS "\n",          /* NUL in a string */
		"f 1 1 00 3e8 - - " AWS "00\n",
		"f 1 1 00 3e8 - - " AWS "zz\n",
		("f 1 1 00 3e8 - - " AWS),                /* torn, and a path for all that */
	};
	static const char good[] = HEAD "f 1 1 00 3e8 - - 2f62\n";
	struct scene *s = *state;
	char text[512];

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		forget(s);
		snprintf(text, sizeof(text), "%s%s", good, bad[i]);
		write_list(s, text, strlen(text));
		marks_recall(&s->m);
		if (s->n != 1 || s->gaps != 1)
			fail_msg("line %u: %u read, %u gaps", i, s->n, s->gaps);
		/* It costs only itself. */
		forget(s);
		snprintf(text, sizeof(text), "%s%s%s", HEAD, bad[i], good + strlen(HEAD));
		write_list(s, text, strlen(text));
		marks_recall(&s->m);
		if (i + 1 < ARRAY_SIZE(bad) && (s->n != 1 || s->gaps != 1))
			fail_msg("line %u first: %u read, %u gaps", i, s->n, s->gaps);
	}
}

/* A NUL in the file would hide the rest of a line: of "/b/secret" only "/b" would be left. */
static void nul_bytes(void **state)
{
	static const char text[] = HEAD "f 1 1 00 3e8 - - 2f62\0002f736563726574\n"
					"f 1 1 01 3e8 - - 2f62\n";
	struct scene *s = *state;

	write_list(s, text, sizeof(text) - 1);
	marks_recall(&s->m);
	assert_int_equal(s->n, 1);
	assert_int_equal(s->recalled[0].h.bytes[0], 1);
	assert_int_equal(s->gaps, 1);
}

static void too_long(void **state)
{
	struct scene *s = *state;
	char *text = malloc(3 << 20), *at = text;

	assert_non_null(text);
	/* A path, a home and a handle that are one byte too long, and a line without end. */
	for (int which = 0; which < 3; which++) {
		static const size_t bytes[3][3] = { { 129, 1, 2 }, { 1, 1024, 2 }, { 1, 1, 4096 } };

		at = stpcpy(text, HEAD "f 1 1 ");
		for (int field = 0; field < 3; field++) {
			for (size_t i = 0; i < bytes[which][field]; i++)
				at = stpcpy(at, "2f");
			at = stpcpy(at, field == 0 ? " 3e8 " : field == 1 ? " - " : "\n");
		}
		write_list(s, text, (size_t)(at - text));
		forget(s);
		marks_recall(&s->m);
		assert_int_equal(s->n, 0);
		assert_int_equal(s->gaps, 1);
	}
	at = stpcpy(text, HEAD);
	memset(at, 'f', 2 << 20);
	at = stpcpy(at + (2 << 20), "\nf 1 1 00 3e8 - - 2f62\n");
	write_list(s, text, (size_t)(at - text));
	forget(s);
	marks_recall(&s->m);
	assert_int_equal(s->n, 1);
	assert_int_equal(s->gaps, 1);
	free(text);
}

/* Torn anywhere, it is never read as something that was not in it. */
static void torn_anywhere(void **state)
{
	struct scene *s = *state;
	struct object o = object(1, "/home/u/.aws/credentials");
	char text[1024];
	size_t len;

	o.names[0].home = "/home/u";
	objects_put(s->m.c.objects, &o);
	assert_int_equal(marks_remember(&s->m), 0);
	len = read_list(s, text, sizeof(text));
	for (size_t n = 0; n < len; n++) {
		write_list(s, text, n);
		forget(s);
		marks_recall(&s->m);
		assert_int_equal(s->n, 0);
		/* Only where nothing but the head is left is there nothing to say. */
		assert_int_equal(s->gaps, n == strlen(HEAD) ? 0 : 1);
	}
}

static void another_version(void **state)
{
	static const char *const heads[] = { "", "\n", "oknek objects 1\n", "oknek objects 20\n",
					     "oknek objects 2" };
	struct scene *s = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
		write_list(s, heads[i], strlen(heads[i]));
		forget(s);
		marks_recall(&s->m);
		assert_int_equal(s->n, 0);
		assert_int_equal(s->gaps, 1);
		assert_non_null(strstr(s->why, "this version"));
	}
}

static void not_a_file(void **state)
{
	struct scene *s = *state;

	assert_int_equal(symlink("objects", s->path), 0);
	marks_recall(&s->m);
	assert_int_equal(s->gaps, 1);
	assert_non_null(strstr(s->why, "cannot be read"));
	unlink(s->path);
	assert_int_equal(mkdir(s->path, 0700), 0);
	marks_recall(&s->m);
	assert_int_equal(s->gaps, 2);
	/* Nor can it be replaced: it is tried again later. */
	assert_int_equal(marks_remember(&s->m), -EISDIR);
	assert_true(s->m.dirty);
}

/* What is not there is forgotten; what could not be looked at is told. */
static void lookups_that_fail(void **state)
{
	static const int silent[] = { -ESTALE, -ENOENT, -ENODEV, -EOPNOTSUPP };
	static const int told[] = { -EIO, -ETIMEDOUT, -EBADMSG, -ECONNRESET, -EPIPE };
	static const char text[] = HEAD "f 1 1 00 3e8 - - 2f62\n";
	struct scene *s = *state;

	write_list(s, text, strlen(text));
	for (unsigned i = 0; i < ARRAY_SIZE(silent); i++) {
		forget(s);
		s->result = silent[i];
		marks_recall(&s->m);
		assert_int_equal(s->gaps, 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(told); i++) {
		forget(s);
		s->result = told[i];
		marks_recall(&s->m);
		assert_int_equal(s->gaps, 1);
	}
}

/* Each lookup that is not answered takes a second: a long list of them must not take hours. */
static void gives_up_in_time(void **state)
{
	struct scene *s = *state;
	char text[8192], *at = stpcpy(text, HEAD);

	for (int i = 0; i < 200; i++)
		at = stpcpy(at, "f 1 1 00 3e8 - - 2f62\n");
	write_list(s, text, strlen(text));
	s->result = -ETIMEDOUT;
	marks_recall(&s->m);
	assert_in_range(s->calls, 1, 20);
	assert_int_equal(s->gaps, 1);
	forget(s);
	s->result = -EPIPE; /* no lookup will work any more */
	marks_recall(&s->m);
	assert_int_equal(s->calls, 1);
	assert_int_equal(s->gaps, 1);
	forget(s);
	s->result = -EIO;
	marks_recall(&s->m);
	assert_int_equal(s->calls, 200);
}

/* Long names are what an agent can give us; reading them must cost what their length is worth. */
static void long_lists_are_read_quickly(void **state)
{
	struct scene *s = *state;
	char longest[4096], path[4200];
	struct timespec from, to;
	struct object o;

	memset(longest, 'x', sizeof(longest));
	for (uint64_t i = 1; i <= 2000; i++) {
		snprintf(path, sizeof(path), "/%.*s%05u", 4080, longest, (unsigned)i);
		o = object(i, path);
		objects_put(s->m.c.objects, &o);
	}
	assert_int_equal(marks_remember(&s->m), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	marks_recall(&s->m);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	assert_int_equal(s->calls, 2000);
	/* Some 20 ms, or 200 under a sanitizer; 16 MB in quadratic time are many seconds. */
	assert_true((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 <
		    1500);
}

/* A list that cannot be written leaves the old one where it is. */
static void no_room_to_write(void **state)
{
	struct scene *s = *state;
	struct object o = object(1, "/home/u/.aws");
	struct rlimit old, limit;
	char before[256], after[256];

	objects_put(s->m.c.objects, &o);
	assert_int_equal(marks_remember(&s->m), 0);
	read_list(s, before, sizeof(before));
	o = object(2, "/home/u/.ssh");
	objects_put(s->m.c.objects, &o);
	s->m.dirty = true;
	getrlimit(RLIMIT_FSIZE, &old);
	limit = old;
	limit.rlim_cur = 40;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_int_equal(marks_remember(&s->m), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_true(s->m.dirty);
	read_list(s, after, sizeof(after));
	assert_string_equal(before, after);
	/* What the attempt left behind does not stand in the way of the next. */
	assert_int_equal(marks_remember(&s->m), 0);
	marks_recall(&s->m);
	assert_int_equal(s->n, 2);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(comes_back_as_it_was),
		TEST(names),
		TEST(nothing_yet),
		TEST(bad_lines),
		TEST(nul_bytes),
		TEST(too_long),
		TEST(torn_anywhere),
		TEST(another_version),
		TEST(not_a_file),
		TEST(lookups_that_fail),
		TEST(gives_up_in_time),
		TEST(long_lists_are_read_quickly),
		TEST(no_room_to_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
