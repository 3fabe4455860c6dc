/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/marks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "enforce/marks_priv.h"

#define REMEMBER_MS 100 /* changes are gathered this long before the list is written */
#define MEMORY_WAIT_S 2  /* at the end */
#define RETRY_MS 1000   /* places that could not be looked at */
#define MOUNTS_MS 100   /* a host that mounts all the time is looked at this often */

enum job_type { JOB_WATCH, JOB_SET, JOB_SETTLE };

struct marks_job {
	enum job_type type;
	struct marks_watch watch;
	char env_home[1024], project[1024];
	enum mode mode;
	struct pathset *pathset, *programs;
	bool done, abandoned; /* abandoned: the asker stopped waiting; the thread frees it */
	int result;
	struct marks_job *next;
};

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
	exec_marks_want(m, j->programs);
	/* Marks are only added: the rules that named the others may serve yet. */
	if (m->recalled)
		marks_rescan(m);
	exec_marks_apply(m);
	return 0;
}

static void check_mounts(struct marks *m)
{
	if (!marks_mounts_differ(m))
		return;
	if (m->recalled)
		marks_rescan(m);
	marks_mounts_settled(m);
}

static int watch(struct marks *m, struct marks_job *j)
{
	int err;

	check_mounts(m);
	pthread_mutex_lock(&m->lock);
	m->stats.watched++;
	pthread_mutex_unlock(&m->lock);
	err = marks_watch_now(m, &j->watch, j->env_home, j->project);
	/* A place that is new may be concerned by mounts that were not looked at. */
	marks_mounts_settled(m);
	return err;
}

static void job_free(struct marks_job *j)
{
	pathset_unref(j->pathset);
	pathset_unref(j->programs);
	free(j);
}

static void publish_stats(struct marks *m);

static int run_job(struct marks *m, struct marks_job *j)
{
	if (j->type == JOB_WATCH)
		return watch(m, j);
	if (j->type == JOB_SET)
		return set(m, j);
	marks_settle_now(m);
	exec_marks_settle(m);
	return 0;
}

static void run_jobs(struct marks *m)
{
	struct marks_job *j;

	pthread_mutex_lock(&m->lock);
	while ((j = m->jobs)) {
		m->jobs = j->next;
		pthread_mutex_unlock(&m->lock);
		j->result = run_job(m, j);
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

/*
 * The state directory may be on a disk that does not answer: the list is written by a thread of its
 * own, one at a time, and marks do not wait for it.
 */
struct memory_writer {
	pthread_t thread;
	_Atomic bool done;
	const char *state_dir;
	char *text;
	size_t len;
	int err;
};

static void *write_memory(void *arg)
{
	struct memory_writer *w = arg;

	pthread_setname_np(pthread_self(), "oknek-memory");
	w->err = marks_memory_write(w->state_dir, w->text, w->len);
	atomic_store(&w->done, true);
	return NULL;
}

static void memory_failed(struct marks *m, int err)
{
	char why[128];

	snprintf(why, sizeof(why), "cannot be written (%s): what is moved away from its path is "
		 "forgotten at a restart", strerror(-err));
	marks_gap(m, m->c.state_dir, why);
}

/* Takes a writer that has ended; true when there is none any more. At the end of all it is waited
 * for a little, then left to itself: what it uses is not freed. */
static bool memory_settled(struct marks *m, int wait_s)
{
	struct memory_writer *w = m->writer;
	struct timespec until;

	if (!w)
		return true;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += wait_s;
	if (!atomic_load(&w->done) && !wait_s)
		return false;
	if (pthread_timedjoin_np(w->thread, NULL, &until) != 0 && !atomic_load(&w->done))
		return false;
	if (w->err)
		memory_failed(m, w->err);
	free(w->text);
	free(w);
	m->writer = NULL;
	return true;
}

static void remember(struct marks *m)
{
	struct memory_writer *w;
	int err;

	if (!memory_settled(m, 0))
		return; /* tried again while there is something to write */
	w = calloc(1, sizeof(*w));
	err = w ? marks_memory_text(m, &w->text, &w->len) : -ENOMEM;
	/* Tried again with the next change; a read-only state directory is no reason to stop. */
	m->dirty = false;
	if (!err) {
		w->state_dir = m->c.state_dir;
		err = -pthread_create(&w->thread, NULL, write_memory, w);
	}
	if (!err) {
		m->writer = w;
		return;
	}
	if (w)
		free(w->text);
	free(w);
	memory_failed(m, err);
}

static void count_object(struct object *o, void *arg)
{
	struct marks_stats *s = arg;

	if (o->is_dir)
		s->directories++;
	else
		s->files++;
	s->held += o->perm_marked || o->labelled;
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
	m->stats.held = now.held;
	m->stats.programs = m->exec.n;
	m->stats.directories = now.directories;
	memcpy(m->stats.filesystems, now.filesystems, sizeof(now.filesystems));
	pthread_mutex_unlock(&m->lock);
}

/* How long the thread may sleep: -1 until somebody calls. */
static int sleep_ms(const struct marks *m, bool more)
{
	int programs = exec_marks_wait_ms(m), rest;

	/* Nothing else can be done before. */
	if (m->exec.astray)
		return RETRY_MS;
	if (more)
		return 0;
	rest = m->dirty ? REMEMBER_MS : m->mounts_changed ? MOUNTS_MS :
	       marks_places_wait(m) ? RETRY_MS : -1;
	return rest < 0 || (programs >= 0 && programs < rest) ? programs : rest;
}

static void now_and_then(struct marks *m)
{
	uint64_t now = clock_boottime_ns();

	if (m->mounts_changed && now - m->mounts_ns >= MOUNTS_MS * NSEC_PER_MSEC) {
		m->mounts_ns = now;
		m->mounts_changed = false;
		check_mounts(m);
	}
	if (now - m->retried_ns < RETRY_MS * NSEC_PER_MSEC)
		return;
	m->retried_ns = now;
	marks_retry_places(m);
}

static void *marks_thread(void *arg)
{
	struct marks *m = arg;
	/* mountinfo polls with an error when the table changed since it was read. */
	struct pollfd pfd[] = { { m->job_fd, POLLIN, 0 },
				{ m->c.queue->wake_fd, POLLIN, 0 },
				{ m->unmount_fd, POLLIN, 0 },
				{ m->mountinfo_fd, POLLPRI, 0 },
				{ m->exec.inotify_fd, POLLIN, 0 } };
	bool more = false;

	pthread_setname_np(pthread_self(), "oknek-marks");
	while (!stopping(m)) {
		if (poll(pfd, ARRAY_SIZE(pfd), sleep_ms(m, more)) == 0 && m->dirty && !more)
			remember(m);
		drain_eventfd(m->job_fd);
		drain_eventfd(m->c.queue->wake_fd);
		if (pfd[2].revents || pfd[3].revents)
			m->mounts_changed = true;
		if (!exec_marks_helper_back(m))
			continue; /* nothing can be looked up; it took its time to say so */
		run_jobs(m);
		more = marks_handle_changes(m);
		now_and_then(m);
		exec_marks_tick(m, pfd[3].revents);
		if (m->dirty)
			publish_stats(m);
	}
	marks_flush(m, true, true);
	if (memory_settled(m, MEMORY_WAIT_S) && m->dirty)
		remember(m);
	memory_settled(m, MEMORY_WAIT_S);
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
	m->pass = 1;
	m->pathset = pathset_ref(c->pathset);
	pthread_mutex_init(&m->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->cond, &attr);
	pthread_condattr_destroy(&attr);
	m->job_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = m->job_fd < 0 ? -errno : marks_mounts_open(m);
	if (!err)
		err = exec_marks_open(m, c->programs_wanted);
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
	/* Somebody may keep it waiting, for one place after the other. */
	lookup_cancel(m->c.lookup);
	kick(m);
	pthread_join(m->thread, NULL);
	m->started = false;
}

void marks_free(struct marks *m)
{
	if (!m)
		return;
	marks_clear_gaps(m);
	while (m->jobs) {
		struct marks_job *j = m->jobs;

		m->jobs = j->next;
		job_free(j);
	}
	pathset_unref(m->pathset);
	marks_mounts_close(m);
	exec_marks_close(m);
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
	j->watch.proof = w->proof;
	snprintf(j->env_home, sizeof(j->env_home), "%s", w->env_home ? w->env_home : "");
	snprintf(j->project, sizeof(j->project), "%s", w->project ? w->project : "");
	return ask(m, j, wait_ms, w);
}

int marks_set(struct marks *m, enum mode mode, struct pathset *pathset, struct pathset *programs,
	      int wait_ms)
{
	struct marks_job *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->type = JOB_SET;
	j->mode = mode;
	j->pathset = pathset_ref(pathset);
	j->programs = programs ? pathset_ref(programs) : NULL;
	return ask(m, j, wait_ms, NULL);
}

int marks_settle(struct marks *m, int wait_ms)
{
	struct marks_job *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->type = JOB_SETTLE;
	return ask(m, j, wait_ms, NULL);
}

/* Counts by what the thread last published: an estimate while a scan is going on. */
void marks_stats(struct marks *m, struct marks_stats *ret)
{
	pthread_mutex_lock(&m->lock);
	*ret = m->stats;
	pthread_mutex_unlock(&m->lock);
}
