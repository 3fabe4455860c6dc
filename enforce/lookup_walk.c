/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the directories that the patterns name. First every way that is spelled out, then the
 * directories whose names have to be listed, each with its share of what is left of the limit on
 * directories: filling one of them hides nothing in the others.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/lookup_place.h"

#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID 0x200 /* linux/fcntl.h, since 6.5: the handle need not be one that opens */
#endif

#define STRING_(x) #x
#define STRING(x) STRING_(x)

#define LATER_MAX 256 /* directories held open for the second round */
#define GAPS_MAX 1024
#define SEEN_SLOTS (4 * LOOKUP_DIRECTORIES_MAX) /* a power of two */

struct spot {
	struct place place;
	char *path; /* logical */
	struct steer_state state;
	unsigned depth;
};

struct run {
	struct walk *w;
	bool system;     /* nothing here is a user's own */
	bool second;     /* round: list at once */
	bool told_limit; /* of directories, in this round's share */
	bool told_files;
	unsigned directories_left, files_left, gaps_left;
	int told_mount; /* for which a gap was reported last */
	unsigned n_later;
	struct spot *later;
	struct seen {
		uint64_t dev, ino, hash;
		bool used;
	} *seen;
};

static void spot_clear(struct spot *s)
{
	place_close(&s->place);
	free(s->path);
	steer_state_free(&s->state);
}

static int gap(struct run *r, const char *path, const char *why)
{
	if (!r->gaps_left)
		return 0;
	if (!--r->gaps_left)
		why = "and more that is not named here";
	return r->w->gap(r->w->arg, path, why);
}

static int gap_errno(struct run *r, const char *path, int error)
{
	char why[96];

	if (error == -ELOOP)
		return gap(r, path, "too many symbolic links");
	snprintf(why, sizeof(why), LOOKUP_REFUSED " %u: %s", (unsigned)r->w->uid,
		 strerrordesc_np(-error));
	return gap(r, path, why);
}

/* The handle that fanotify reports for the object. len_bytes 0: it has none. */
static void get_handle(int fd, struct file_handle *h, unsigned room)
{
	int mount_id;

	h->handle_bytes = room;
	if (name_to_handle_at(fd, "", h, &mount_id, AT_EMPTY_PATH) >= 0)
		return;
	h->handle_bytes = room;
	if (name_to_handle_at(fd, "", h, &mount_id, AT_EMPTY_PATH | AT_HANDLE_FID) >= 0)
		return;
	h->handle_bytes = 0;
	h->handle_type = 0;
}

static int report(struct run *r, const struct place *p, const struct stat *st, const char *path,
		  const char *via, unsigned bits, enum verdict verdict)
{
	struct {
		struct file_handle h;
		char bytes[LOOKUP_HANDLE_MAX];
	} handle;
	struct wire_text texts[WIRE_TEXTS] = { { path, strlen(path) }, { via, strlen(via) } };
	struct wire_reply head = { .kind = WIRE_FOUND, .bits = bits, .verdict = verdict };

	if (r->system || (p->strayed && (st->st_uid != r->w->uid || !r->w->uid)))
		head.bits |= WIRE_SYSTEM;
	get_handle(p->fd, &handle.h, LOOKUP_HANDLE_MAX);
	head.handle_type = handle.h.handle_type;
	texts[2] = (struct wire_text){ (char *)handle.h.f_handle, handle.h.handle_bytes };
	return r->w->found(r->w->arg, &head, texts, p->fd);
}

/* True if marks can stand there; says so once for each mount where they cannot. */
static bool takes_marks(struct run *r, const struct place *p, const char *path, int *error)
{
	const struct mount *m;
	char why[128];

	*error = 0;
	if (p->scope != SCOPE_IN)
		return false;
	if (p->class == MOUNT_MARK)
		return true;
	if (r->told_mount == p->mnt)
		return false;
	r->told_mount = p->mnt;
	m = mounts_find(r->w->mounts, p->mnt);
	snprintf(why, sizeof(why), "on %s, which takes no marks", m ? m->fstype : "a mount that left");
	*error = gap(r, path, why);
	return false;
}

struct via_arg {
	struct run *run;
	const char *path;
	struct steer_view view;
};

static int report_via(void *arg, const struct place *dir, const char *via, bool last)
{
	struct via_arg *a = arg;
	unsigned bits = WIRE_DIR | WIRE_BELOW | (last && a->view.here ? WIRE_HERE : 0);
	struct run *r = a->run;
	enum verdict verdict = VERDICT_ALLOW;
	struct stat st;
	int error;

	if (!takes_marks(r, dir, a->path, &error))
		return error;
	if (!r->directories_left)
		return 0; /* whoever comes next says so */
	r->directories_left--;
	if (fstat(dir->fd, &st) < 0)
		return -errno;
	pathset_reach(r->w->patterns, a->path, r->w->home, &verdict);
	if (a->view.verdict > verdict)
		verdict = a->view.verdict;
	return report(r, dir, &st, a->path, via, bits, verdict);
}

static int report_file(struct run *r, const struct place *p, const struct stat *st,
		       const char *path)
{
	enum verdict verdict;
	int error;

	if (!(pathset_reach(r->w->patterns, path, r->w->home, &verdict) & GLOB_HERE))
		return 0;
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		return p->scope == SCOPE_IN ? gap(r, path, "is a device") : 0;
	if (!S_ISREG(st->st_mode) && !S_ISFIFO(st->st_mode))
		return 0;
	if (!takes_marks(r, p, path, &error))
		return error;
	if (!r->files_left) {
		if (r->told_files)
			return 0;
		r->told_files = true;
		return gap(r, path, "more than " STRING(LOOKUP_FILES_MAX) " files");
	}
	r->files_left--;
	return report(r, p, st, path, "", WIRE_HERE, verdict);
}

/* True the first time that this directory stands for this state: what is below follows from both,
 * so that links in circles end. */
static bool first_time(struct run *r, const struct stat *st, uint64_t hash, bool strayed)
{
	uint64_t ino = st->st_ino, dev = st->st_dev;
	size_t at;

	hash = hash * 2 + strayed;
	at = (ino * 0x9e3779b97f4a7c15u ^ dev * 31 ^ hash) >> 7;
	for (size_t i = 0; i < SEEN_SLOTS; i++, at++) {
		struct seen *s = &r->seen[at % SEEN_SLOTS];

		if (!s->used) {
			*s = (struct seen){ dev, ino, hash, true };
			return true;
		}
		if (s->dev == dev && s->ino == ino && s->hash == hash)
			return false;
	}
	return false;
}

static int join(const char *dir, const char *name, char **ret)
{
	if (strlen(dir) + strlen(name) + 2 > WIRE_PATH_MAX)
		return -ENAMETOOLONG;
	if (asprintf(ret, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name) < 0)
		return -ENOMEM;
	return 0;
}

static int contents(struct run *r, struct spot *s);

static bool limit_reached(struct run *r, const char *path, int *error)
{
	*error = 0;
	if (r->directories_left)
		return false;
	if (!r->told_limit) {
		r->told_limit = true;
		*error = gap(r, path, "more than " STRING(LOOKUP_DIRECTORIES_MAX) " directories");
	}
	return true;
}

static int directory(struct run *r, struct spot *s, const struct stat *st,
		     const struct steer_view *view)
{
	int error;

	if (!view->direct && !view->deeper)
		return 0;
	if (!first_time(r, st, view->hash, s->place.strayed))
		return 0;
	if (limit_reached(r, s->path, &error))
		return error;
	if (s->depth > LOOKUP_DEPTH_MAX)
		return gap(r, s->path, "deeper than " STRING(LOOKUP_DEPTH_MAX) " directories");
	r->directories_left--;
	if (takes_marks(r, &s->place, s->path, &error))
		error = report(r, &s->place, st, s->path, "",
			       WIRE_DIR | (view->direct ? WIRE_HERE : 0) |
				       (view->deeper ? WIRE_BELOW : 0),
			       view->verdict);
	if (error < 0)
		return error;
	return contents(r, s);
}

/* An object that was reached under the logical path of the spot. */
static int object(struct run *r, struct spot *s)
{
	struct steer_view view;
	struct stat st;

	if (s->place.scope == SCOPE_OUT)
		return 0;
	if (fstat(s->place.fd, &st) < 0)
		return -errno;
	steer_look(r->w->steer, &s->state, &view);
	if (S_ISDIR(st.st_mode))
		return directory(r, s, &st, &view);
	return view.here ? report_file(r, &s->place, &st, s->path) : 0;
}

/* 1: there was something of that name; 0: nothing; -errno ends the walk. */
static int name(struct run *r, const struct spot *dir, const char *child, unsigned char type)
{
	_cleanup_(spot_clear) struct spot s = { .place.fd = -1, .depth = dir->depth + 1 };
	struct via_arg via = { .run = r };
	struct place_why why;
	int error;

	error = steer_step(r->w->steer, &dir->state, child, &s.state);
	if (error < 0 || !s.state.n)
		return error;
	steer_look(r->w->steer, &s.state, &via.view);
	if ((type == DT_REG && !via.view.here) ||
	    (type == DT_DIR && !via.view.direct && !via.view.deeper))
		return 1;
	error = join(dir->path, child, &s.path);
	if (error == -ENAMETOOLONG) {
		error = gap(r, dir->path, "a name below is too long");
		return error < 0 ? error : 1;
	}
	if (error < 0)
		return error;
	via.path = s.path;
	error = place_enter(r->w, &dir->place, child, report_via, &via, &s.place, &why);
	switch (error) {
	case 0:
		error = object(r, &s);
		break;
	case -ENOENT:
	case -ENOTDIR:
		return 0;
	case -EXDEV:
		error = gap(r, s.path, why.text);
		break;
	case -EACCES:
	case -ELOOP:
	case -ENAMETOOLONG:
	case -EIO:
	case -ESTALE:
		error = gap_errno(r, s.path, error);
		break;
	}
	return error < 0 ? error : 1;
}

static void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static int list(struct run *r, const struct spot *s)
{
	_cleanup_(cleanup_dir) DIR *d = NULL;
	unsigned n = 0;
	int fd, error;

	fd = openat(s->place.fd, ".",
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : gap_errno(r, s->path, -errno);
	d = fdopendir(fd);
	if (!d) {
		error = -errno;
		close(fd);
		return error;
	}
	for (struct dirent *e; (e = readdir(d));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (++n > LOOKUP_ENTRIES_MAX)
			return gap(r, s->path, "more than " STRING(LOOKUP_ENTRIES_MAX) " names");
		/* these were looked at already, after the mark on the directory stood */
		if (steer_spells(r->w->steer, &s->state, e->d_name))
			continue;
		error = name(r, s, e->d_name, e->d_type);
		if (error < 0)
			return error;
	}
	return 0;
}

/* Keeps a directory for the second round. */
static int put_off(struct run *r, struct spot *s)
{
	if (!r->later)
		r->later = calloc(LATER_MAX, sizeof(*r->later));
	if (!r->later)
		return -ENOMEM;
	r->later[r->n_later++] = *s;
	*s = (struct spot){ .place.fd = -1 };
	return 0;
}

static int contents(struct run *r, struct spot *s)
{
	struct steer_view view;
	const char *spelled;
	unsigned at = 0;
	int error;

	while ((spelled = steer_name(r->w->steer, &s->state, &at))) {
		error = name(r, s, spelled, DT_UNKNOWN);
		if (error < 0)
			return error;
	}
	steer_look(r->w->steer, &s->state, &view);
	if (!view.list)
		return 0;
	if (!r->second && r->n_later < LATER_MAX)
		return put_off(r, s);
	return list(r, s);
}

static int second_round(struct run *r)
{
	unsigned left = r->directories_left;
	int error = 0;

	r->second = true;
	for (unsigned i = 0; i < r->n_later && error >= 0; i++) {
		unsigned share = left / (r->n_later - i);

		r->directories_left = share;
		r->told_limit = false;
		error = list(r, &r->later[i]);
		left -= share - r->directories_left;
	}
	return error;
}

static int run_object(struct run *r, struct spot *s)
{
	int error = object(r, s);

	return error < 0 ? error : second_round(r);
}

static int run_name(struct run *r, const struct spot *dir, const char *child)
{
	int error = name(r, dir, child, DT_UNKNOWN);

	return error < 0 ? error : second_round(r);
}

static int run_init(struct run *r, struct walk *w)
{
	*r = (struct run){
		.w = w,
		.system = w->classes == STEER_ROOT,
		.directories_left = LOOKUP_DIRECTORIES_MAX,
		.files_left = LOOKUP_FILES_MAX,
		.gaps_left = GAPS_MAX,
		.told_mount = -1,
	};
	r->seen = calloc(SEEN_SLOTS, sizeof(*r->seen));
	return r->seen ? 0 : -ENOMEM;
}

static void run_clear(struct run *r)
{
	for (unsigned i = 0; i < r->n_later; i++)
		spot_clear(&r->later[i]);
	free(r->later);
	free(r->seen);
}

/* A spot at a logical path. Takes the place over only when it succeeds. */
static int spot_at(struct walk *w, struct place *p, const char *path, struct spot *ret)
{
	struct spot s = { .place = *p };
	int error;

	error = steer_start(w->steer, w->classes, path, w->home, &s.state);
	if (error < 0)
		return error;
	s.path = strdup(path);
	if (!s.path) {
		steer_state_free(&s.state);
		return -ENOMEM;
	}
	p->fd = -1;
	*ret = s;
	return 0;
}

int walk_expand(struct walk *w, const char *start)
{
	_cleanup_(place_close) struct place p = { .fd = -1 };
	_cleanup_(spot_clear) struct spot s = { .place.fd = -1 };
	_cleanup_(run_clear) struct run r = { 0 };
	struct place_why why;
	struct stat st;
	int error;

	error = run_init(&r, w);
	if (error < 0)
		return error;
	error = place_open(w, start, &p, &why);
	if (error == -EXDEV)
		return gap(&r, start, why.text);
	if (error == -ENOENT)
		return gap(&r, start, "does not exist");
	if (error < 0)
		return gap_errno(&r, start, error);
	if (fstat(p.fd, &st) < 0)
		return -errno;
	/* The home of a system account may be /bin: no place to look at every open. */
	if (st.st_uid != w->uid || !strcmp(start, "/"))
		r.system = true;
	error = spot_at(w, &p, start, &s);
	return error < 0 ? error : run_object(&r, &s);
}

/* Has an object gone astray: is it elsewhere than its logical path says? */
static bool is_astray(int fd, const char *path)
{
	char now[PATH_MAX];

	return place_path(fd, now, sizeof(now)) < 0 || strcmp(now, path) != 0;
}

int walk_child(struct walk *w, int dir_fd, const char *dir_path, const char *child)
{
	_cleanup_(place_close) struct place p = { .fd = -1 };
	_cleanup_(spot_clear) struct spot s = { .place.fd = -1 };
	_cleanup_(run_clear) struct run r = { 0 };
	struct place_why why;
	int fd, error;

	error = run_init(&r, w);
	if (error < 0)
		return error;
	fd = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	error = place_from_fd(w, fd, &p, &why);
	if (error < 0) {
		close(fd);
		return error == -EXDEV ? gap(&r, dir_path, why.text) : error;
	}
	p.strayed = is_astray(p.fd, dir_path);
	error = spot_at(w, &p, dir_path, &s);
	return error < 0 ? error : run_name(&r, &s, child);
}

int walk_object(struct walk *w, int fd, const char *path)
{
	_cleanup_(place_close) struct place p = { .fd = -1 };
	_cleanup_(steer_state_free) struct steer_state state = { 0 };
	_cleanup_(run_clear) struct run r = { 0 };
	struct steer_view view;
	struct place_why why;
	struct stat st;
	int error, own = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (own < 0)
		return -errno;
	error = run_init(&r, w);
	if (error >= 0)
		error = place_from_fd(w, own, &p, &why);
	if (error < 0) {
		close(own);
		return error == -EXDEV ? gap(&r, path, why.text) : error;
	}
	if (fstat(p.fd, &st) < 0)
		return -errno;
	p.strayed = is_astray(p.fd, path);
	w->uid = st.st_uid; /* whoever it was found for: it was the owner's, or nobody's */
	error = steer_start(w->steer, w->classes, path, w->home, &state);
	if (error < 0)
		return error;
	steer_look(w->steer, &state, &view);
	if (!S_ISDIR(st.st_mode) && pathset_reach(w->patterns, path, w->home, NULL) & GLOB_HERE)
		return report_file(&r, &p, &st, path);
	if (!takes_marks(&r, &p, path, &error))
		return error;
	if (!S_ISDIR(st.st_mode))
		return report(&r, &p, &st, path, "", 0, VERDICT_ALLOW);
	return report(&r, &p, &st, path, "",
		      WIRE_DIR | (view.direct ? WIRE_HERE : 0) | (view.deeper ? WIRE_BELOW : 0),
		      view.verdict);
}

int walk_open_mount(struct walk *w, const struct mount *m)
{
	_cleanup_(place_close) struct place p = { .fd = -1 };
	_cleanup_free_ char *point = strdup(m->point);
	struct place_why why;
	int id = m->id, fd, error;

	if (!point)
		return -ENOMEM;
	error = place_open(w, point, &p, &why);
	if (error < 0)
		return error;
	if (p.mnt != id)
		return -ENOENT; /* something else is mounted over it */
	fd = openat(p.fd, ".", O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
