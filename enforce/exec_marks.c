/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/exec_marks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "enforce/marks_priv.h"

#define PROGRAMS_MS 2000
#define GATHER_NS (50 * NSEC_PER_MSEC)  /* a package is unpacked in many steps */
#define BETWEEN_NS (500 * NSEC_PER_MSEC) /* and whoever can write there must not keep us busy */
#define MOUNTS_NS (5 * NSEC_PER_SEC)
#define MOVED_MAX 1024
#define DECOYS_MAX 256
#define AGAIN_NS (10 * NSEC_PER_SEC) /* after a failure */

static int change(struct marks *m, unsigned flags, int fd)
{
	char link[40];

	if (m->c.labels_only)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return fanotify_mark(m->c.groups->permission, flags, FAN_OPEN_EXEC_PERM, AT_FDCWD, link) < 0 ?
		       -errno : 0;
}

static bool may_stand(const struct marks *m)
{
	return m->recalled && m->mode == MODE_ENFORCE && m->exec.want && m->exec.want->n &&
	       (m->c.labels_only || (m->c.guarded && m->c.guarded(m->c.arg)));
}

/* ---- what is marked ---------------------------------------------------------------------------- */

static void clear_names(struct exec_mark *e)
{
	while (e->n_names)
		free(e->names[--e->n_names]);
}

static void add_name(struct exec_mark *e, const char *name)
{
	for (unsigned i = 0; i < e->n_names; i++)
		if (!strcmp(e->names[i], name))
			return;
	if (e->n_names == PROGRAM_NAMES_MAX || name[0] != '/')
		return;
	e->names[e->n_names] = strdup(name);
	e->n_names += e->names[e->n_names] != NULL;
}

static struct exec_mark *find(struct exec_marks *x, uint64_t dev, uint64_t ino)
{
	for (unsigned i = 0; i < x->n; i++)
		if (x->v[i].dev == dev && x->v[i].ino == ino)
			return &x->v[i];
	return NULL;
}

static struct exec_mark *add(struct exec_marks *x)
{
	if (x->n == x->room) {
		unsigned room = x->room ? 2 * x->room : 32;
		struct exec_mark *grown = room > PROGRAMS_MAX ? NULL :
					  realloc(x->v, room * sizeof(*grown));

		if (!grown)
			return NULL;
		x->v = grown;
		x->room = room;
	}
	x->v[x->n] = (struct exec_mark){ 0 };
	return &x->v[x->n++];
}

static void drop(struct exec_marks *x, unsigned i)
{
	clear_names(&x->v[i]);
	x->v[i] = x->v[--x->n];
}

/* Told to the verdict thread: which programs these are, and what they are called. */
static void publish(struct marks *m)
{
	struct exec_marks *x = &m->exec;
	struct program *v = calloc(x->n + 1, sizeof(*v));
	size_t n = 0;

	for (unsigned i = 0; v && i < x->n; i++) {
		if (!x->v[i].n_names)
			continue;
		v[n] = (struct program){ .dev = x->v[i].dev, .ino = x->v[i].ino,
					 .n_names = x->v[i].n_names };
		for (unsigned k = 0; k < x->v[i].n_names; k++)
			v[n].names[k] = x->v[i].names[k];
		n++;
	}
	if (m->c.programs)
		programs_set(m->c.programs, v, n);
	free(v);
}

static void follow(struct exec_marks *x, int fd)
{
	char link[40];
	int wd;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (x->n_watches == EXEC_WATCHES_MAX)
		return;
	/* These alone: with them the kernel does nothing for an open of what is in the directory. */
	wd = inotify_add_watch(x->inotify_fd, link,
			       IN_CREATE | IN_MOVED_TO | IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR);
	for (unsigned i = 0; i < x->n_watches; i++)
		if (x->watches[i] == wd)
			return;
	if (wd >= 0)
		x->watches[x->n_watches++] = wd;
}

static void forget_watches(struct exec_marks *x)
{
	while (x->n_watches)
		inotify_rm_watch(x->inotify_fd, x->watches[--x->n_watches]);
}

static void put_handle(struct exec_mark *e, const struct lookup_found *f)
{
	e->handle.len = 0;
	if (f->handle_len > OBJECT_HANDLE_MAX)
		return;
	e->handle.fsid = f->fsid;
	e->handle.type = f->handle_type;
	e->handle.len = f->handle_len;
	memcpy(e->handle.bytes, f->handle, f->handle_len);
}

/* For what else holds it: by what it is really called, since the kernel knows nothing of links. */
static void tell(struct marks *m, const struct lookup_found *f, const char *path, bool first)
{
	if (m->c.program)
		m->c.program(m->c.arg, f->fd, f->dev, f->ino, path, first);
}

static void on_found(void *arg, const struct lookup_found *f)
{
	struct marks *m = arg;
	struct exec_mark *e;
	char link[40], real[4096], why[128];
	ssize_t n;
	int err;

	if (f->is_dir) {
		follow(&m->exec, f->fd);
		return;
	}
	if (!f->reach_here)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", f->fd);
	n = readlink(link, real, sizeof(real) - 1);
	real[n > 0 ? n : 0] = '\0';
	/* The kernel opens it to start any other program: that would be taken for it. */
	if (program_is_loader(real) || program_is_loader(f->path)) {
		marks_gap(m, f->path, "it is a dynamic loader: its start is not held");
		return;
	}
	e = find(&m->exec, f->dev, f->ino);
	if (e && e->seen) {
		add_name(e, f->path);
		tell(m, f, real, false);
		return;
	}
	err = change(m, FAN_MARK_ADD, f->fd);
	if (!err && !e && !(e = add(&m->exec))) {
		change(m, FAN_MARK_REMOVE, f->fd);
		err = -ENOMEM;
	}
	if (err) {
		snprintf(why, sizeof(why), "its start cannot be held on %s: %s", f->fstype,
			 strerror(-err));
		marks_gap(m, f->path, why);
		return;
	}
	e->dev = f->dev;
	e->ino = f->ino;
	e->seen = true;
	put_handle(e, f);
	clear_names(e);
	add_name(e, real);
	add_name(e, f->path);
	tell(m, f, real, true);
}

static void on_gap(void *arg, const struct lookup_gap *g)
{
	marks_gap(arg, g->path, g->why);
}

/* ---- the helper, which has the patterns of one of us at a time ----------------------------------- */

bool exec_marks_helper_back(struct marks *m)
{
	/* Where nothing will ever be looked up again, nothing is by the wrong patterns. */
	if (lookup_gone(m->c.lookup))
		m->exec.astray = false;
	if (m->exec.astray)
		m->exec.astray = lookup_patterns(m->c.lookup, m->pathset) < 0;
	return !m->exec.astray;
}

static int look(struct marks *m, struct pathset *patterns, const struct lookup_handler *h)
{
	int err = lookup_patterns(m->c.lookup, patterns);

	if (err < 0)
		return err;
	m->exec.astray = true;
	err = lookup_expand(m->c.lookup, 0, NULL, NULL, PROGRAMS_MS, h);
	exec_marks_helper_back(m);
	return err;
}

/* ---- taking away ------------------------------------------------------------------------------- */

struct taking {
	struct marks *m;
	const struct exec_mark *e;
	bool unwanted; /* and not only that it may not be held now */
	bool done;
};

static void take_found(void *arg, const struct lookup_found *f)
{
	struct taking *t = arg;

	if (f->is_dir || f->dev != t->e->dev || f->ino != t->e->ino)
		return;
	if (t->unwanted)
		tell(t->m, f, NULL, true);
	t->done = change(t->m, FAN_MARK_REMOVE, f->fd) == 0;
}

static void no_gap(void *arg, const struct lookup_gap *g)
{
	(void)arg;
	(void)g;
}

/* By its handle, and where the filesystem opens none by a name that it still has. */
static void take(struct marks *m, const struct exec_mark *e, bool unwanted)
{
	struct taking t = { m, e, unwanted, false };
	struct lookup_handler h = { take_found, no_gap, &t };

	if (e->handle.len && e->n_names)
		lookup_handle(m->c.lookup, e->handle.fsid, e->handle.type, e->handle.bytes,
			      e->handle.len, e->names[0], NULL, NULL, LOOKUP_MS, &h);
	for (unsigned i = 0; i < e->n_names && !t.done; i++) {
		struct pathset *one;

		if (pathset_new(&one) < 0)
			return;
		if (pathset_add(one, e->names[i], VERDICT_BLOCK, false, 0) == 0)
			look(m, one, &h);
		pathset_unref(one);
	}
	/* Else it is a file that is nowhere any more where it was found: who starts it is asked
	 * about, and told that no rule minds. */
}

static void take_away(struct marks *m, bool all)
{
	struct exec_marks *x = &m->exec;
	bool any = false;

	for (unsigned i = x->n; i > 0; i--) {
		if (x->v[i - 1].decoy || (!all && x->v[i - 1].seen))
			continue;
		take(m, &x->v[i - 1], !all);
		drop(x, i - 1);
		any = true;
	}
	if (any)
		publish(m);
}

/* ---- the mark thread's calls --------------------------------------------------------------------- */

int exec_marks_open(struct marks *m, struct pathset *want)
{
	m->exec.look_ns = UINT64_MAX;
	m->exec.want = want ? pathset_ref(want) : NULL;
	m->exec.inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	return m->exec.inotify_fd < 0 ? -errno : 0;
}

void exec_marks_close(struct marks *m)
{
	while (m->exec.n)
		drop(&m->exec, m->exec.n - 1);
	free(m->exec.v);
	pathset_unref(m->exec.want);
	if (m->exec.inotify_fd > 0)
		cleanup_close(&m->exec.inotify_fd);
}

void exec_marks_want(struct marks *m, struct pathset *want)
{
	if (want == m->exec.want)
		return;
	pathset_unref(m->exec.want);
	m->exec.want = want ? pathset_ref(want) : NULL;
}

void exec_marks_flushed(struct marks *m)
{
	while (m->exec.n)
		drop(&m->exec, m->exec.n - 1);
	forget_watches(&m->exec);
	m->exec.look_ns = UINT64_MAX;
	publish(m);
}

void exec_marks_apply(struct marks *m)
{
	struct exec_marks *x = &m->exec;
	struct lookup_handler h = { on_found, on_gap, m };
	int err;

	x->looked_ns = clock_boottime_ns();
	x->look_ns = UINT64_MAX;
	x->changed = false;
	/* Nobody is to be asked about what nobody answers; the rules that serve are as they were. */
	if (!may_stand(m)) {
		if (!x->want || !x->want->n)
			return; /* rules that still serve may want them: see settle */
		take_away(m, true);
		forget_watches(x);
		return;
	}
	for (unsigned i = 0; i < x->n; i++)
		x->v[i].seen = false;
	err = look(m, x->want, &h);
	if (err < 0 && err != -ENOENT) {
		marks_failed(m, "programs", err);
		x->look_ns = clock_boottime_ns() + AGAIN_NS;
		/* Of none is it known that nobody wants it. */
		for (unsigned i = 0; i < x->n; i++)
			x->v[i].seen = true;
	}
	publish(m);
}

struct decoys {
	struct marks *m;
	unsigned room; /* who is tried may put there what they like */
};

/* It is a file of the user's there, and no link: what a user may point at is not held for everybody. */
static void on_decoy(void *arg, const struct lookup_found *f)
{
	struct decoys *d = arg;
	char link[40], real[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", f->fd);
	n = readlink(link, real, sizeof(real) - 1);
	real[n > 0 ? n : 0] = '\0';
	if (f->is_dir || strcmp(real, f->path) || !d->room)
		return;
	d->room--;
	on_found(d->m, f);
}

static void on_decoy_gap(void *arg, const struct lookup_gap *g)
{
	on_gap(((struct decoys *)arg)->m, g);
}

static int decoy_patterns(const char *home, struct pathset **ret)
{
	static const char *const decoys[] = { PROOF_SHELL, PROOF_PROGRAMS "/*" };
	int err;

	*ret = NULL;
	err = pathset_new(ret);
	for (size_t i = 0; i < ARRAY_SIZE(decoys) && !err; i++) {
		_cleanup_free_ char *pattern = NULL;

		if (asprintf(&pattern, "%s/%s", home, decoys[i]) < 0)
			err = -ENOMEM;
		else
			err = pathset_add(*ret, pattern, VERDICT_BLOCK, false, 0);
	}
	if (err)
		pathset_unref(*ret);
	return err;
}

void exec_marks_prove(struct marks *m, const char *home)
{
	struct exec_marks *x = &m->exec;
	struct decoys d = { m, DECOYS_MAX };
	struct lookup_handler h = { on_decoy, on_decoy_gap, &d };
	struct pathset *decoys;
	unsigned had;

	/* Its file is gone by now, and the mark with it. */
	for (unsigned i = x->n; i > 0; i--)
		if (x->v[i - 1].decoy)
			drop(x, i - 1);
	had = x->n;
	if (m->recalled && x->want && x->want->n && !m->c.labels_only && m->c.guarded && m->c.guarded(m->c.arg) &&
	    decoy_patterns(home, &decoys) == 0) {
		look(m, decoys, &h);
		pathset_unref(decoys);
	}
	for (unsigned i = had; i < x->n; i++)
		x->v[i].decoy = true;
	publish(m);
}

void exec_marks_settle(struct marks *m)
{
	if (may_stand(m)) {
		take_away(m, false);
		return;
	}
	take_away(m, true);
	forget_watches(&m->exec);
	m->exec.look_ns = UINT64_MAX;
}

int exec_marks_wait_ms(const struct marks *m)
{
	uint64_t now = clock_boottime_ns();

	if (m->exec.look_ns == UINT64_MAX)
		return -1;
	return m->exec.look_ns <= now ? 0 : (int)((m->exec.look_ns - now) / NSEC_PER_MSEC) + 1;
}

static void look_later(struct exec_marks *x, uint64_t in_ns, uint64_t between_ns)
{
	uint64_t at = clock_boottime_ns() + in_ns;

	if (at < x->looked_ns + between_ns)
		at = x->looked_ns + between_ns;
	if (at < x->look_ns)
		x->look_ns = at;
}

void exec_marks_tick(struct marks *m, bool mounts)
{
	char buf[4096] __attribute__((aligned(8)));
	struct exec_marks *x = &m->exec;
	bool told = false;

	while (read(x->inotify_fd, buf, sizeof(buf)) > 0)
		told = true;
	/* A look that failed is repeated, whether it found a directory or not. */
	if (!x->n_watches && x->look_ns == UINT64_MAX)
		return;
	if (told && x->n_watches)
		look_later(x, GATHER_NS, BETWEEN_NS);
	if (mounts)
		look_later(x, GATHER_NS, MOUNTS_NS);
	if (x->look_ns > clock_boottime_ns())
		return;
	/* Where a filesystem went the watch went with it. */
	forget_watches(x);
	while (read(x->inotify_fd, buf, sizeof(buf)) > 0)
		;
	exec_marks_apply(m);
	/* What was moved away is still that program; but not without end. */
	if (x->n > MOVED_MAX)
		take_away(m, false);
}
