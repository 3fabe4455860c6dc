/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/marks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#include "core/cleanup.h"
#include "enforce/marks_priv.h"

#define EXPAND_MS 5000  /* a whole home: thousands of directories at the most */
#define LOOKUP_MS 1000  /* one name */
#define REMEMBER_MS 100 /* changes are gathered this long before the list is written */
#define OBJECTS_MAX 32768

enum job_type { JOB_WATCH, JOB_SET };

struct marks_job {
	enum job_type type;
	struct marks_watch watch;
	char env_home[1024], project[1024];
	enum mode mode;
	struct pathset *pathset;
	bool done, abandoned; /* abandoned: the asker stopped waiting; the thread frees it */
	int result;
	struct marks_job *next;
};

/* --- gaps --------------------------------------------------------------------------------- */

void marks_gap(struct marks *m, const char *path, const char *why)
{
	bool fresh = true;

	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->n_gaps && fresh; i++)
		fresh = strcmp(m->gaps[i].path, path) || strcmp(m->gaps[i].why, why);
	if (fresh && m->n_gaps < GAPS_MAX) {
		struct gap *g = &m->gaps[m->n_gaps];

		g->path = strdup(path);
		g->why = strdup(why);
		if (g->path && g->why) {
			m->n_gaps++;
		} else {
			free(g->path);
			free(g->why);
		}
	}
	pthread_mutex_unlock(&m->lock);
	if (fresh && m->c.gap)
		m->c.gap(m->c.arg, path, why);
}

static void clear_gaps(struct marks *m)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->n_gaps; i++) {
		free(m->gaps[i].path);
		free(m->gaps[i].why);
	}
	m->n_gaps = 0;
	pthread_mutex_unlock(&m->lock);
}

void marks_each_gap(struct marks *m, void (*fn)(void *arg, const char *path, const char *why),
		    void *arg)
{
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->n_gaps; i++)
		fn(arg, m->gaps[i].path, m->gaps[i].why);
	pthread_mutex_unlock(&m->lock);
}

/* --- what the helper found ---------------------------------------------------------------- */

void marks_found(struct marks *m, const struct lookup_found *f)
{
	struct object o = {
		.dev = f->dev,
		.ino = f->ino,
		.is_dir = f->is_dir,
		.on_child = f->is_dir && f->reach_here,
		.below = f->is_dir && f->reach_below,
		.system = f->system,
		.verdict = f->verdict,
		.uid = m->walk_uid,
		.pass = m->pass,
		.n_names = 1,
		.names = { { (char *)f->path, (char *)f->home, (char *)f->project,
			     (char *)f->via } },
		.group = -1,
	};
	struct object *put;

	if (f->handle_len <= OBJECT_HANDLE_MAX) {
		o.handle.fsid = f->fsid;
		o.handle.type = f->handle_type;
		o.handle.len = f->handle_len;
		memcpy(o.handle.bytes, f->handle, f->handle_len);
	}
	if (objects_count(m->c.objects) >= OBJECTS_MAX &&
	    !objects_find(m->c.objects, o.dev, o.ino)) {
		marks_gap(m, f->path, "more protected objects than oknek keeps");
		return;
	}
	/* Known first, marked after: an event that the mark brings finds the object. */
	put = objects_put(m->c.objects, &o);
	if (!put) {
		marks_gap(m, f->path, "out of memory");
		return;
	}
	m->dirty = true;
	marks_place(m, put, f->fd, f->fstype);
}

static void on_found(void *arg, const struct lookup_found *f)
{
	marks_found(arg, f);
}

/* Kernel filesystems take no marks on any host; the rules that name them are bound to detect, and
 * listed so. A gap is what this host lacks. */
static bool never_markable(const char *path)
{
	static const char *const roots[] = { "/proc", "/sys", "/dev" };

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		size_t n = strlen(roots[i]);

		if (!strncmp(path, roots[i], n) && (!path[n] || path[n] == '/'))
			return true;
	}
	return false;
}

static void on_gap(void *arg, const struct lookup_gap *g)
{
	if (never_markable(g->path))
		return;
	marks_gap(arg, g->path, g->why);
}

static struct lookup_handler handler(struct marks *m)
{
	return (struct lookup_handler){ on_found, on_gap, m };
}

static void failed(struct marks *m, const char *path, int err)
{
	pthread_mutex_lock(&m->lock);
	m->stats.lookups_failed++;
	pthread_mutex_unlock(&m->lock);
	marks_gap(m, path,
		  err == -ETIMEDOUT ? "could not be looked at in time: something there does not answer"
				    : strerror(-err));
}

static int expand(struct marks *m, const struct place *p)
{
	struct lookup_handler h = handler(m);
	int err;

	m->walk_uid = p->uid;
	err = lookup_expand(m->c.lookup, p->uid, p->home[0] ? p->home : NULL,
			    p->project[0] ? p->project : NULL, EXPAND_MS, &h);
	if (err < 0 && err != -ENOENT)
		failed(m, p->home[0] ? p->home : p->project[0] ? p->project : "/", err);
	return err;
}

int marks_lookup_object(struct marks *m, const struct object_handle *oh,
			const struct object_name *name)
{
	struct lookup_handler h = handler(m);

	return lookup_handle(m->c.lookup, oh->fsid, oh->type, oh->bytes, oh->len, name->path,
			     name->home, name->project, LOOKUP_MS, &h);
}

/* Marks of objects that stand at no protected path any more, by what is known of them. */
static void remark(struct object *o, void *arg)
{
	struct marks *m = arg;

	if (o->pass == m->pass || !o->handle.len)
		return;
	m->walk_uid = o->uid;
	marks_lookup_object(m, &o->handle, &o->names[0]);
}

static void rescan(struct marks *m)
{
	pthread_mutex_lock(&m->lock);
	m->stats.rescans++;
	pthread_mutex_unlock(&m->lock);
	clear_gaps(m);
	m->pass++;
	for (unsigned i = 0; i < m->n_places; i++)
		expand(m, &m->places[i]);
	objects_each(m->c.objects, remark, m);
}

/* --- homes and projects ------------------------------------------------------------------- */

/* What is marked in it stays so; it is only no longer looked through anew. */
static bool forget_oldest_project(struct marks *m)
{
	for (unsigned i = 0; i < m->n_places; i++) {
		if (!m->places[i].project[0])
			continue;
		m->n_places--;
		memmove(&m->places[i], &m->places[i + 1],
			(m->n_places - i) * sizeof(m->places[0]));
		return true;
	}
	return false;
}

static bool add_place(struct marks *m, uid_t uid, const char *home, const char *project)
{
	for (unsigned i = 0; i < m->n_places; i++)
		if (!strcmp(m->places[i].home, home) && !strcmp(m->places[i].project, project))
			return false;
	if (m->n_places == PLACES_MAX && !forget_oldest_project(m)) {
		marks_gap(m, home[0] ? home : project, "more homes than oknek keeps");
		return false;
	}
	m->places[m->n_places].uid = uid;
	snprintf(m->places[m->n_places].home, sizeof(m->places[0].home), "%s", home);
	snprintf(m->places[m->n_places].project, sizeof(m->places[0].project), "%s", project);
	m->n_places++;
	return true;
}

static void watch_place(struct marks *m, uid_t uid, const char *home, const char *project)
{
	if (add_place(m, uid, home, project))
		expand(m, &m->places[m->n_places - 1]);
}

/* With the first who is watched, the system's own secrets are marked, and what was remembered. */
static void begin(struct marks *m)
{
	if (m->recalled)
		return;
	m->recalled = true;
	watch_place(m, 0, "", "");
	marks_recall(m);
}

static bool sane_home(const char *home)
{
	return home && home[0] == '/' && home[1] && strlen(home) < 1000 && !strstr(home, "/../");
}

static void strip_slash(char *path)
{
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
}

/* Is dir the home, or a directory that the home is in? */
static bool is_above(const char *dir, const char *home)
{
	size_t n = strlen(dir);

	return home[0] && !strncmp(dir, home, n) && (!home[n] || home[n] == '/');
}

static int watch(struct marks *m, struct marks_job *j)
{
	struct marks_watch *w = &j->watch;
	unsigned n = 0;
	int err;

	begin(m);
	err = lookup_home(m->c.lookup, w->uid, LOOKUP_MS, w->homes[0], sizeof(w->homes[0]));
	if (err < 0 || !sane_home(w->homes[0])) {
		char who[64];

		snprintf(who, sizeof(who), "home of uid %u", w->uid);
		marks_gap(m, who, err == -ETIMEDOUT ? "the password database does not answer"
						    : "is not known: rules for ~ do not hold");
		w->homes[0][0] = '\0';
	} else {
		strip_slash(w->homes[0]);
		watch_place(m, w->uid, w->homes[0], "");
		n = 1;
	}
	strip_slash(j->env_home);
	/* $HOME is the agent's to set: it can add a place to protect, never take one away. */
	if (sane_home(j->env_home) && (!n || strcmp(j->env_home, w->homes[0]))) {
		snprintf(w->homes[n], sizeof(w->homes[n]), "%s", j->env_home);
		watch_place(m, w->uid, w->homes[n], "");
	}
	strip_slash(j->project);
	if (j->project[0] != '/' || !j->project[1])
		return 0;
	/* Patterns that float are held by marks on each directory of the project. With a whole home
	 * as the project, that would slow down everything its user does. */
	if (is_above(j->project, w->homes[0]) || is_above(j->project, j->env_home))
		marks_gap(m, j->project, "is no project but a home, or above one: patterns that begin "
					 "with ** are not looked for there");
	else
		watch_place(m, w->uid, w->homes[0], j->project);
	return 0;
}

static void watch_uid(struct marks *m, uid_t uid)
{
	char home[1024];

	if (lookup_home(m->c.lookup, uid, LOOKUP_MS, home, sizeof(home)) < 0 || !sane_home(home))
		return;
	begin(m);
	strip_slash(home);
	watch_place(m, uid, home, "");
	if (m->c.home)
		m->c.home(m->c.arg, uid, home);
}

/* --- changes ------------------------------------------------------------------------------ */

struct held {
	struct marks *m;
	int fd;      /* of the directory; -1 not found */
	bool is_dir; /* what the handle led to */
};

static void hold_dir(void *arg, const struct lookup_found *f)
{
	struct held *h = arg;

	if (h->fd < 0)
		h->fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
}

static void ignore_gap(void *arg, const struct lookup_gap *g)
{
	(void)arg;
	(void)g;
}

static void mark_target(void *arg, const struct lookup_found *f)
{
	struct held *h = arg;

	h->is_dir = f->is_dir;
	marks_found(h->m, f);
}

/* All patterns of one home or project, for names that cannot be followed one by one: links, and
 * filesystems that open no handles. */
static void expand_again(struct marks *m, const struct object_name *n)
{
	for (unsigned i = 0; i < m->n_places; i++)
		if (!strcmp(m->places[i].home, n->home) || !strcmp(m->places[i].project, n->project))
			expand(m, &m->places[i]);
}

/* What the entry `name` of a directory leads to: contents of a directory, a link's target. */
static void follow_name(struct marks *m, const struct object *dir, const struct object_name *on,
			const char *name)
{
	struct held held = { m, -1, true };
	struct lookup_handler keep = { hold_dir, ignore_gap, &held };
	struct lookup_handler h = handler(m);
	int err;

	/* By its handle: the directory may have been moved since. */
	err = lookup_handle(m->c.lookup, dir->handle.fsid, dir->handle.type, dir->handle.bytes,
			    dir->handle.len, on->path, on->home, on->project, LOOKUP_MS, &keep);
	if (err == -EOPNOTSUPP || on->via[0]) {
		expand_again(m, on);
	} else if (held.fd >= 0) {
		err = lookup_child(m->c.lookup, m->walk_uid, on->home, on->project, held.fd,
				   on->path, name, LOOKUP_MS, &h);
		if (err < 0 && err != -ENOENT)
			failed(m, on->path, err);
	}
	cleanup_close(&held.fd);
}

/* A protected name was given to something in a directory that we know, by any of its names. */
static void name_changed(struct marks *m, const struct change *c)
{
	const struct object *dir = objects_find_handle(m->c.objects, &c->dir);
	unsigned n = dir ? dir->n_names : 0;
	struct object_name name;
	char path[4096];

	/* Marking may publish the directory anew, with the same names in newer memory, and only the
	 * verdict thread's pace keeps the old one: look it up again for each name. */
	for (unsigned i = 0; i < n; i++) {
		struct held held = { m, -1, true };
		struct lookup_handler target = { mark_target, ignore_gap, &held };

		dir = objects_find_handle(m->c.objects, &c->dir);
		if (!dir || i >= dir->n_names)
			return;
		if (object_name_copy(&dir->names[i], &name) < 0)
			return;
		m->walk_uid = dir->uid;
		if (object_child_path(&name, c->name, path, sizeof(path)) == 0 &&
		    (name.via[0] ||
		     pathset_reach(m->pathset, path, name.home[0] ? name.home : NULL,
				   NULL) != GLOB_NONE)) {
			/* The thing itself first, wherever it may have been moved to by now. */
			if (c->target.len)
				lookup_handle(m->c.lookup, c->target.fsid, c->target.type,
					      c->target.bytes, c->target.len, path, name.home,
					      name.project, LOOKUP_MS, &target);
			if (held.is_dir)
				follow_name(m, dir, &name, c->name);
		}
		object_name_free(&name);
	}
}

static enum exe_trust check_exe(struct marks *m, pid_t pid)
{
	_cleanup_close_ int fd = -1;
	const struct mount *mount;
	struct stat exe, reader;
	char link[32];

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	fd = open(link, O_PATH | O_CLOEXEC);
	/* fstat of a file on a stranger's file server could wait for it. */
	if (fd < 0)
		return EXE_STRANGER;
	mount = mounts_find(m->mounts, mount_id_of(fd));
	if (!mount || mount->class != MOUNT_MARK || fstat(fd, &exe) < 0)
		return EXE_STRANGER;
	if (exe.st_uid != 0 || (exe.st_mode & (S_IWGRP | S_IWOTH)))
		return EXE_STRANGER;
	for (size_t i = 0; i < m->c.config->n_readers; i++)
		if (stat(m->c.config->readers[i].exe, &reader) == 0 &&
		    reader.st_dev == exe.st_dev && reader.st_ino == exe.st_ino)
			return EXE_TRUSTED;
	return EXE_STRANGER;
}

static void handle_change(struct marks *m, const struct change *c)
{
	const struct object *o;

	pthread_mutex_lock(&m->lock);
	m->stats.changes++;
	pthread_mutex_unlock(&m->lock);
	switch (c->type) {
	case CHANGE_NAME:
		name_changed(m, c);
		break;
	case CHANGE_GONE:
		o = objects_find_handle(m->c.objects, &c->target);
		if (o) {
			objects_remove(m->c.objects, (struct object *)o);
			m->dirty = true;
		}
		break;
	case CHANGE_EXE:
		atomic_store(&m->c.queue->exe_trust[c->slot], check_exe(m, c->pid));
		break;
	case CHANGE_UID:
		watch_uid(m, c->uid);
		break;
	case CHANGE_LOST:
		rescan(m);
		break;
	}
}

static void handle_changes(struct marks *m)
{
	const struct change *c;
	uint64_t lost;

	while ((c = watch_queue_peek(m->c.queue))) {
		handle_change(m, c);
		watch_queue_advance(m->c.queue);
	}
	/* What is lost while we look has to be looked for once more; nobody passes until then. */
	lost = watch_queue_lost(m->c.queue);
	if (lost) {
		rescan(m);
		watch_queue_found(m->c.queue, lost);
	}
}

/* --- the thread --------------------------------------------------------------------------- */

static int set(struct marks *m, const struct marks_job *j)
{
	bool to_observe = j->mode == MODE_OBSERVE && m->mode == MODE_ENFORCE;

	m->mode = j->mode;
	if (j->pathset != m->pathset) {
		int err = lookup_patterns(m->c.lookup, j->pathset);

		if (err < 0)
			return err;
		pathset_unref(m->pathset);
		m->pathset = pathset_ref(j->pathset);
	}
	/* Observation holds nobody, not even for the time of an answer. */
	if (to_observe)
		marks_flush(m, true, false);
	/* Marks are only added: what no rule names any more is allowed by the rules. */
	if (m->recalled)
		rescan(m);
	return 0;
}

static void job_free(struct marks_job *j)
{
	pathset_unref(j->pathset);
	free(j);
}

static void publish_stats(struct marks *m);

static void run_jobs(struct marks *m)
{
	struct marks_job *j;

	pthread_mutex_lock(&m->lock);
	while ((j = m->jobs)) {
		m->jobs = j->next;
		pthread_mutex_unlock(&m->lock);
		j->result = j->type == JOB_WATCH ? watch(m, j) : set(m, j);
		/* Whoever asked may ask for the figures next. */
		publish_stats(m);
		pthread_mutex_lock(&m->lock);
		j->done = true;
		if (j->abandoned)
			job_free(j);
		else
			pthread_cond_broadcast(&m->cond);
	}
	pthread_mutex_unlock(&m->lock);
}

static void drain_eventfd(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) < 0)
		return;
}

static bool stopping(struct marks *m)
{
	bool stop;

	pthread_mutex_lock(&m->lock);
	stop = m->stop;
	pthread_mutex_unlock(&m->lock);
	return stop;
}

static void remember(struct marks *m)
{
	int err = marks_remember(m);
	char why[128];

	if (!err)
		return;
	/* Tried again with the next change; a read-only state directory is no reason to stop. */
	m->dirty = false;
	snprintf(why, sizeof(why), "cannot be written (%s): what is moved away from its path is "
		 "forgotten at a restart", strerror(-err));
	marks_gap(m, m->c.state_dir, why);
}

static void count_object(struct object *o, void *arg)
{
	struct marks_stats *s = arg;

	if (o->is_dir)
		s->directories++;
	else
		s->files++;
}

static void publish_stats(struct marks *m)
{
	struct marks_stats now = { 0 };

	objects_each(m->c.objects, count_object, &now);
	for (int i = 0; i < WATCH_FILESYSTEMS_MAX; i++) {
		size_t len = strlen(now.filesystems);

		if (m->fs[i].used && !strstr(now.filesystems, m->fs[i].type))
			snprintf(now.filesystems + len, sizeof(now.filesystems) - len, "%s%s",
				 len ? " " : "", m->fs[i].type);
	}
	pthread_mutex_lock(&m->lock);
	m->stats.files = now.files;
	m->stats.directories = now.directories;
	memcpy(m->stats.filesystems, now.filesystems, sizeof(now.filesystems));
	pthread_mutex_unlock(&m->lock);
}

static void *marks_thread(void *arg)
{
	struct marks *m = arg;
	struct pollfd pfd[] = { { m->job_fd, POLLIN, 0 }, { m->c.queue->wake_fd, POLLIN, 0 } };

	pthread_setname_np(pthread_self(), "oknek-marks");
	while (!stopping(m)) {
		if (poll(pfd, ARRAY_SIZE(pfd), m->dirty ? REMEMBER_MS : -1) == 0 && m->dirty)
			remember(m);
		drain_eventfd(m->job_fd);
		drain_eventfd(m->c.queue->wake_fd);
		handle_changes(m);
		run_jobs(m);
		if (m->dirty)
			publish_stats(m);
	}
	marks_flush(m, true, true);
	if (m->dirty)
		remember(m);
	return NULL;
}

int marks_open(const struct marks_config *c, struct marks **ret)
{
	struct marks *m = calloc(1, sizeof(*m));
	pthread_condattr_t attr;
	int err;

	if (!m)
		return -ENOMEM;
	m->c = *c;
	m->mode = c->mode;
	m->pathset = pathset_ref(c->pathset);
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->cond, &attr);
	pthread_condattr_destroy(&attr);
	m->job_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = m->job_fd < 0 ? -errno : mounts_open(AT_FDCWD, "/proc/self/mountinfo", &m->mounts);
	if (!err)
		err = lookup_roots(c->lookup, c->config->mark_roots);
	if (!err)
		err = lookup_patterns(c->lookup, c->pathset);
	if (err < 0) {
		marks_free(m);
		return err;
	}
	*ret = m;
	return 0;
}

int marks_start(struct marks *m)
{
	int err = -pthread_create(&m->thread, NULL, marks_thread, m);

	m->started = err == 0;
	return err;
}

static void kick(struct marks *m)
{
	uint64_t one = 1;

	if (write(m->job_fd, &one, sizeof(one)) < 0)
		return;
}

void marks_stop(struct marks *m)
{
	if (!m->started)
		return;
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_mutex_unlock(&m->lock);
	kick(m);
	pthread_join(m->thread, NULL);
	m->started = false;
}

void marks_free(struct marks *m)
{
	if (!m)
		return;
	clear_gaps(m);
	while (m->jobs) {
		struct marks_job *j = m->jobs;

		m->jobs = j->next;
		job_free(j);
	}
	pathset_unref(m->pathset);
	mounts_close(m->mounts);
	cleanup_close(&m->job_fd);
	pthread_cond_destroy(&m->cond);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* Queues j and waits. The job stays the thread's when it takes longer than we wait. */
static int ask(struct marks *m, struct marks_job *j, int wait_ms, struct marks_watch *ret)
{
	struct marks_job **tail;
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	until.tv_nsec += wait_ms % 1000 * (long)NSEC_PER_MSEC;
	if (until.tv_nsec >= (long)NSEC_PER_SEC) {
		until.tv_sec++;
		until.tv_nsec -= (long)NSEC_PER_SEC;
	}
	pthread_mutex_lock(&m->lock);
	if (m->stop) {
		pthread_mutex_unlock(&m->lock);
		job_free(j);
		return -ESHUTDOWN;
	}
	for (tail = &m->jobs; *tail; tail = &(*tail)->next)
		;
	*tail = j;
	kick(m);
	while (!j->done && !err)
		err = -pthread_cond_timedwait(&m->cond, &m->lock, &until);
	if (j->done) {
		err = j->result;
		if (ret)
			memcpy(ret->homes, j->watch.homes, sizeof(ret->homes));
		job_free(j);
	} else {
		j->abandoned = true;
		err = -ETIMEDOUT;
	}
	pthread_mutex_unlock(&m->lock);
	return err;
}

int marks_watch(struct marks *m, struct marks_watch *w, int wait_ms)
{
	struct marks_job *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->type = JOB_WATCH;
	j->watch.uid = w->uid;
	snprintf(j->env_home, sizeof(j->env_home), "%s", w->env_home ? w->env_home : "");
	snprintf(j->project, sizeof(j->project), "%s", w->project ? w->project : "");
	return ask(m, j, wait_ms, w);
}

int marks_set(struct marks *m, enum mode mode, struct pathset *pathset, int wait_ms)
{
	struct marks_job *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->type = JOB_SET;
	j->mode = mode;
	j->pathset = pathset_ref(pathset);
	return ask(m, j, wait_ms, NULL);
}

/* Counts by what the thread last published: an estimate while a scan is going on. */
void marks_stats(struct marks *m, struct marks_stats *ret)
{
	pthread_mutex_lock(&m->lock);
	*ret = m->stats;
	pthread_mutex_unlock(&m->lock);
}
