/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of lookups share: a scratch home, and a handler that remembers. */
#ifndef OKNEK_T_LOOKUP_H
#define OKNEK_T_LOOKUP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/lookup.h"

#define SEEN_MAX 20000
#define WAIT_MS 20000

struct seen {
	char *path, *via, *why; /* why: it was a gap */
	struct lookup_found f;  /* its pointers are not good any more */
};

struct fixture {
	char home[4096];
	struct lookup *l;
	struct lookup *processes; /* the other kind; NULL: not opened */
	struct pathset *p;
	unsigned n;
	struct seen seen[SEEN_MAX];
	void (*on_found)(struct fixture *t, const struct lookup_found *f);
	int count;    /* for on_found */
	pid_t server; /* of a filesystem mounted at `mount`, 0: none */
	char mount[4096];
};

static void seen_clear(struct fixture *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		free(t->seen[i].path);
		free(t->seen[i].via);
		free(t->seen[i].why);
	}
	t->n = 0;
}

static void on_found(void *arg, const struct lookup_found *f)
{
	struct fixture *t = arg;

	assert_true(t->n < SEEN_MAX);
	t->seen[t->n++] = (struct seen){ strdup(f->path), strdup(f->via), NULL, *f };
	if (t->on_found)
		t->on_found(t, f);
}

static void on_gap(void *arg, const struct lookup_gap *g)
{
	struct fixture *t = arg;

	assert_true(t->n < SEEN_MAX);
	t->seen[t->n++] = (struct seen){ .path = strdup(g->path), .why = strdup(g->why) };
}

static inline struct lookup_handler remember(struct fixture *t)
{
	return (struct lookup_handler){ on_found, on_gap, t };
}

/* `name` below the home; "" the home itself. In one of a few static buffers. */
static inline const char *at(struct fixture *t, const char *name)
{
	static char buf[8][16384];
	static unsigned turn;
	char *b = buf[turn++ % 8];

	snprintf(b, sizeof(buf[0]), "%s%s%s", t->home, *name ? "/" : "", name);
	return b;
}

static inline const struct seen *find(struct fixture *t, const char *name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!t->seen[i].why && !*t->seen[i].via && !strcmp(t->seen[i].path, at(t, name)))
			return &t->seen[i];
	return NULL;
}

static inline const struct seen *find_via(struct fixture *t, const char *name, const char *via)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!t->seen[i].why && !strcmp(t->seen[i].via, via) &&
		    !strcmp(t->seen[i].path, at(t, name)))
			return &t->seen[i];
	return NULL;
}

/* A gap whose reason contains `why`, at name (NULL: anywhere). */
static inline const struct seen *find_gap(struct fixture *t, const char *name, const char *why)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->seen[i].why && strstr(t->seen[i].why, why) &&
		    (!name || !strcmp(t->seen[i].path, at(t, name))))
			return &t->seen[i];
	return NULL;
}

static inline unsigned count_files(struct fixture *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->n; i++)
		n += !t->seen[i].why && !t->seen[i].f.is_dir;
	return n;
}

static inline void make_dir(struct fixture *t, const char *name)
{
	assert_int_equal(mkdir(at(t, name), 0700), 0);
}

static inline void make_file(struct fixture *t, const char *name)
{
	int fd = open(at(t, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static inline void make_link(struct fixture *t, const char *target, const char *name)
{
	assert_int_equal(symlink(target, at(t, name)), 0);
}

/* Patterns, NULL-ended; one that starts with '!' is an exception to the one before. */
static inline void patterns(struct fixture *t, const char *const *list)
{
	unsigned group = 0;

	pathset_unref(t->p);
	assert_int_equal(pathset_new(&t->p), 0);
	for (; *list; list++) {
		bool exclude = **list == '!';

		group += !exclude;
		assert_int_equal(pathset_add(t->p, *list + exclude, VERDICT_BLOCK, exclude, group),
				 0);
	}
	assert_int_equal(lookup_patterns(t->l, t->p), 0);
}

#define PATTERNS(t, ...) patterns(t, (const char *const[]){ __VA_ARGS__, NULL })

static inline int expand(struct fixture *t)
{
	struct lookup_handler h = remember(t);

	seen_clear(t);
	return lookup_expand(t->l, getuid(), t->home, NULL, WAIT_MS, &h);
}

static inline int64_t test_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static inline void remove_tree(const char *path)
{
	pid_t pid = fork();

	if (!pid) {
		/* it descends: paths may be too long for one call */
		execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

static inline void end_server(struct fixture *t)
{
	if (!t->server)
		return;
	kill(t->server, SIGKILL);
	waitpid(t->server, NULL, 0);
	umount2(t->mount, MNT_DETACH);
	t->server = 0;
}

/* A fresh home and a fresh lookup for each test, on the filesystem that was asked for. */
static inline int set_up(void **state)
{
	const char *dir = getenv("OKNEK_LOOKUP_DIR");
	struct fixture *t = calloc(1, sizeof(*t));

	if (!t)
		return -1;
	snprintf(t->home, sizeof(t->home), "%s/lookup.XXXXXX", dir ? dir : "/tmp");
	if (!mkdtemp(t->home) || lookup_open(LOOKUP_PATHS, &t->l) < 0)
		return -1;
	*state = t;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *t = *state;

	end_server(t); /* or what comes next could hang in it */
	lookup_close(t->l);
	lookup_close(t->processes);
	pathset_unref(t->p);
	seen_clear(t);
	remove_tree(t->home);
	free(t);
	return 0;
}

#endif
