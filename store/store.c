/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store thread. It owns the writer; others see only what it publishes under the mutex. Whatever
 * goes wrong with the state directory, it tells once, leaves the records in the ring and tries
 * again; what the ring could not keep meanwhile is counted there and becomes a record of its own as
 * soon as one can be written.
 */
#include "store/store.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "store/writer.h"

#define POLL_MIN_NS (2 * NSEC_PER_MSEC)
#define POLL_MAX_NS (100 * NSEC_PER_MSEC)
#define GUARDIAN_GRACE_NS (200 * NSEC_PER_MSEC)

struct store {
	struct store_config c;
	struct writer w; /* the thread's own */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	bool stop, kick;         /* under lock */
	struct store_status pub; /* under lock */
};

static void on_published(void *arg)
{
	struct store *s = arg;
	const struct writer *w = &s->w;

	pthread_mutex_lock(&s->lock);
	if (w->have_db) {
		s->pub.records = w->db.records;
		s->pub.last_seq = w->db.last_seq;
		s->pub.pruned = w->db.pruned;
		memcpy(s->pub.last_hash, w->db.last_hash, sizeof(s->pub.last_hash));
	}
	if (w->have_key)
		memcpy(s->pub.key_fingerprint, w->key.fingerprint, sizeof(w->key.fingerprint));
	s->pub.db_bytes = w->db_bytes;
	s->pub.wal_bytes = w->wal_bytes;
	snprintf(s->pub.incident, sizeof(s->pub.incident), "%s", w->incident);
	pthread_cond_broadcast(&s->done);
	pthread_mutex_unlock(&s->lock);
}

static int64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * (int64_t)NSEC_PER_SEC + t.tv_nsec;
}

/* This start of the host, as the kernel names it. */
static void read_boot(char boot[BOOT_ID_SIZE])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || fscanf(f, "%36[-0-9a-f]", boot) != 1)
		strcpy(boot, "0");
	if (f)
		fclose(f);
}

static void on_health(void *arg, bool ok, const char *why, bool changed)
{
	struct store *s = arg;

	pthread_mutex_lock(&s->lock);
	s->pub.ok = ok;
	snprintf(s->pub.why, sizeof(s->pub.why), "%s", why);
	pthread_mutex_unlock(&s->lock);
	if (changed && s->c.health)
		s->c.health(s->c.arg, ok, why);
}

static void *run(void *arg)
{
	struct store *s = arg;
	uint64_t pause_ns = POLL_MIN_NS;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		struct timespec until;
		uint64_t at;
		bool more;

		s->kick = false;
		pthread_mutex_unlock(&s->lock);
		more = writer_turn(&s->w, true);
		pthread_mutex_lock(&s->lock);
		s->pub.age_ns = s->w.age.now_ns;
		pthread_cond_broadcast(&s->done);
		if (more || s->kick) {
			pause_ns = POLL_MIN_NS;
			if (more)
				continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		at = (uint64_t)until.tv_nsec + pause_ns;
		until.tv_sec += (time_t)(at / NSEC_PER_SEC);
		until.tv_nsec = (long)(at % NSEC_PER_SEC);
		if (!s->stop && !s->kick)
			pthread_cond_timedwait(&s->wake, &s->lock, &until);
		pause_ns = pause_ns * 2 < POLL_MAX_NS ? pause_ns * 2 : POLL_MAX_NS;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- what the daemon calls ------------------------------------------------------------------ */

int store_open(const struct store_config *c, struct journal *j, struct store **ret)
{
	struct store *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;

	if (!s)
		return -ENOMEM;
	s->c = *c;
	s->w = (struct writer){
		.dir = strdup(c->state_dir),
		.j = j,
		.max_size_bytes = c->max_size_bytes,
		.wall_ns = c->wall_ns ? c->wall_ns : wall_ns,
		.health = on_health,
		.published = on_published,
		.arg = s,
		.dir_fd = -1,
	};
	if (!s->w.dir || sodium_init() < 0) {
		free(s->w.dir);
		free(s);
		return -ENOMEM;
	}
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_cond_init(&s->done, &attr);
	pthread_condattr_destroy(&attr);
	if (gethostname(s->w.host, sizeof(s->w.host) - 1) < 0)
		strcpy(s->w.host, "localhost");
	if (zone_load_within(&s->w.zone, ZONE_WAIT_MS) < 0)
		s->w.zone.n = 0; /* UTC, and it says so with its Z */
	read_boot(s->w.boot);
	journal_set_grace(j, GUARDIAN_GRACE_NS);
	writer_turn(&s->w, false);
	*ret = s;
	return 0;
}

int store_start(struct store *s)
{
	int r = pthread_create(&s->thread, NULL, run, s);

	s->started = !r;
	return -r;
}

static struct timespec deadline(int wait_ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += wait_ms / 1000;
	t.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (t.tv_nsec >= (long)NSEC_PER_SEC) {
		t.tv_sec++;
		t.tv_nsec -= (long)NSEC_PER_SEC;
	}
	return t;
}

int store_flush(struct store *s, int wait_ms)
{
	struct timespec until = deadline(wait_ms);
	uint64_t target, head, tail;
	int r = 0;

	journal_positions(s->w.j, &target, &tail);
	pthread_mutex_lock(&s->lock);
	while (journal_positions(s->w.j, &head, &tail), tail < target && !r) {
		s->kick = true;
		pthread_cond_signal(&s->wake);
		r = pthread_cond_timedwait(&s->done, &s->lock, &until);
	}
	pthread_mutex_unlock(&s->lock);
	return tail < target ? -ETIMEDOUT : 0;
}

void store_close(struct store *s, int wait_ms)
{
	if (!s)
		return;
	if (s->started) {
		store_flush(s, wait_ms);
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_signal(&s->wake);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->thread, NULL);
	}
	writer_finish(&s->w);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->done);
	free(s);
}

void store_status(struct store *s, struct store_status *ret)
{
	struct journal_stats js;

	journal_stats(s->w.j, &js);
	pthread_mutex_lock(&s->lock);
	*ret = s->pub;
	pthread_mutex_unlock(&s->lock);
	ret->lost = js.lost;
	ret->pending = js.pending;
}
