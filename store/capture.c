/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring and the thread that empties it. A record stands at a position that only grows, modulo the
 * ring's size, and begins with a word that is its position once it is whole. The reader wipes what it
 * has taken before it gives the room back: nothing that was in a path can pass for such a word.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "core/cleanup.h"
#include "store/age.h"
#include "store/capture_priv.h"
#include "store/mask.h"
#include "store/text.h"

#define ALIGN 64
#define BATCH_BYTES (64u << 10) /* of text, written at once */
#define POLL_MIN_NS (2 * NSEC_PER_MSEC)
#define POLL_MAX_NS (50 * NSEC_PER_MSEC)
#define PRUNE_EVERY_NS (NSEC_PER_SEC / 4)
#define KEEP_EVERY_NS (3600 * NSEC_PER_SEC) /* when nothing is captured */
#define QUIET_NS (5 * NSEC_PER_SEC) /* a full disk has room for a little now and then */

struct record {
	_Atomic uint64_t word; /* position + 1; 0: not there yet */
	uint64_t len_bytes;    /* of the copy */
};

struct capture {
	struct capture_config c;
	char *state_dir;
	uint8_t *ring;
	_Alignas(64) _Atomic uint64_t head;
	_Alignas(64) _Atomic uint64_t tail;
	_Alignas(64) _Atomic uint64_t events;
	_Atomic uint64_t refused; /* by the ring */

	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;                 /* under lock, as what follows */
	struct timespec stop_until;
	bool all, changed;
	uint64_t max_size, max_age_s;
	struct capture_stats pub;

	/* the thread's own */
	struct capture_files files;
	struct age age; /* when nobody gives one */
	struct event_line line;
	uint8_t *copy;
	struct text masked;
	char *text; /* lines that are to be written */
	size_t text_n, text_size;
	uint64_t batched, written, lost, pruned_ns; /* batched: lines in text */
	int write_err; /* of the last attempt */
	uint64_t failed_ns; /* when one failed last; 0 never */
	bool healthy;
};

/* ---- the deciding thread -------------------------------------------------------------------- */

static struct record *record_at(const struct capture *c, uint64_t pos)
{
	return (struct record *)(c->ring + pos % CAPTURE_RING_BYTES);
}

static uint64_t room_for(uint64_t len)
{
	return (sizeof(struct record) + len + ALIGN - 1) / ALIGN * ALIGN;
}

void capture_push(struct capture *c, const struct verdict_note *note,
		  const struct capture_moment *when)
{
	struct capture_out o = { 0 };
	uint64_t head = atomic_load_explicit(&c->head, memory_order_relaxed), room;
	struct record *r;

	atomic_fetch_add_explicit(&c->events, 1, memory_order_relaxed);
	capture_copy(&o, note, when);
	room = room_for(o.n);
	do {
		uint64_t tail = atomic_load_explicit(&c->tail, memory_order_acquire);

		if (o.n > CAPTURE_COPY_MAX || (int64_t)(head + room - tail) > CAPTURE_RING_BYTES) {
			atomic_fetch_add_explicit(&c->refused, 1, memory_order_relaxed);
			return;
		}
	} while (!atomic_compare_exchange_weak_explicit(&c->head, &head, head + room,
							memory_order_relaxed,
							memory_order_relaxed));
	r = record_at(c, head);
	r->len_bytes = o.n;
	o = (struct capture_out){ c->ring, CAPTURE_RING_BYTES, head + sizeof(*r), 0 };
	capture_copy(&o, note, when);
	atomic_store_explicit(&r->word, head + 1, memory_order_release);
}

/* ---- the writing thread --------------------------------------------------------------------- */

static void ring_get(const struct capture *c, uint64_t pos, uint8_t *to, uint64_t len)
{
	uint64_t at = pos % CAPTURE_RING_BYTES, first = CAPTURE_RING_BYTES - at;

	if (first > len)
		first = len;
	memcpy(to, c->ring + at, first);
	memcpy(to + first, c->ring, len - first);
}

static void ring_wipe(const struct capture *c, uint64_t pos, uint64_t len)
{
	uint64_t at = pos % CAPTURE_RING_BYTES, first = CAPTURE_RING_BYTES - at;

	if (first > len)
		first = len;
	memset(c->ring + at, 0, first);
	memset(c->ring, 0, len - first);
}

/* Takes the oldest record into c->copy; false: there is none that is whole. */
static bool take(struct capture *c)
{
	uint64_t pos = atomic_load_explicit(&c->tail, memory_order_relaxed), len;
	struct record *r = record_at(c, pos);

	if (atomic_load_explicit(&r->word, memory_order_acquire) != pos + 1)
		return false;
	len = r->len_bytes;
	ring_get(c, pos + sizeof(*r), c->copy, len);
	ring_wipe(c, pos, room_for(len));
	atomic_store_explicit(&c->tail, pos + room_for(len), memory_order_release);
	return true;
}

/* Arguments as they are, but for the secrets in them. */
static void mask(struct capture *c)
{
	struct exec_object *x = &c->line.ev.exec;
	size_t n;

	if (c->line.ev.kind != KIND_EXEC_OBSERVED)
		return;
	n = x->argv_len_bytes;
	while (n && !x->argv[n - 1])
		n--;
	if (!n)
		return;
	text_clear(&c->masked);
	if (!mask_arguments(&c->masked, x->argv, n, '\0') && !c->masked.failed)
		return;
	/* Rather nothing than a secret. */
	x->argv = c->masked.failed ? "" : c->masked.p;
	x->argv_len_bytes = c->masked.failed ? 0 : c->masked.n;
	c->line.masked = true;
}

static bool grow(struct capture *c, size_t size)
{
	char *p = size <= c->text_size ? c->text : realloc(c->text, size);

	if (!p)
		return false;
	c->text = p;
	c->text_size = size > c->text_size ? size : c->text_size;
	return true;
}

static void add_line(struct capture *c)
{
	size_t n, room = c->text_size - c->text_n;

	capture_copied(c->copy, &c->line);
	mask(c);
	n = event_text_write(&c->line, c->text + c->text_n, room);
	if (n >= room && !grow(c, c->text_n + n + 1)) {
		c->lost++;
		return;
	}
	if (n >= room)
		event_text_write(&c->line, c->text + c->text_n, n);
	c->text[c->text_n + n] = '\n';
	c->text_n += n + 1;
	c->batched++;
}

static int64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * (int64_t)NSEC_PER_SEC + t.tv_nsec;
}

static void publish(struct capture *c, int err, uint64_t now)
{
	bool ok = !err && (c->healthy || now - c->failed_ns >= QUIET_NS);
	bool changed = ok != c->healthy;
	const char *why = err ? strerror(-err) : "";

	if (err)
		c->failed_ns = now;
	c->healthy = ok;
	pthread_mutex_lock(&c->lock);
	c->pub.written = c->written;
	c->pub.dropped = c->lost;
	c->pub.bytes = c->files.bytes;
	c->pub.ok = ok;
	if (ok || err)
		snprintf(c->pub.why, sizeof(c->pub.why), "%s", why);
	pthread_mutex_unlock(&c->lock);
	if (changed && c->c.health)
		c->c.health(c->c.arg, ok, why);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static int64_t age_ns(struct capture *c, int64_t wall)
{
	struct timespec t;
	int64_t step_s;

	if (c->c.age_ns)
		return c->c.age_ns(c->c.arg);
	clock_gettime(CLOCK_BOOTTIME, &t);
	age_advance(&c->age, wall, (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec, &step_s);
	return c->age.now_ns;
}

/* A batch. True when there may be more. */
static bool turn(struct capture *c)
{
	int64_t wall = c->c.wall_ns(), now_s = wall / (int64_t)NSEC_PER_SEC;
	uint64_t now = now_ns();
	int err = 0;

	c->files.age_s = age_ns(c, wall) / (int64_t)NSEC_PER_SEC;
	c->text_n = c->batched = 0;
	while (c->ring && c->text_n < BATCH_BYTES && take(c))
		add_line(c);
	if (c->batched) {
		c->write_err = capture_files_write(&c->files, c->text, c->text_n, now_s);
		*(c->write_err ? &c->lost : &c->written) += c->batched;
	}
	if (c->c.keeps || !c->pruned_ns || now - c->pruned_ns >= PRUNE_EVERY_NS ||
	    c->files.bytes > c->files.max_size) {
		err = capture_files_prune(&c->files);
		c->pruned_ns = now;
	}
	publish(c, c->write_err ? c->write_err : err, now);
	return c->batched > 0;
}

static bool is_over(const struct timespec *until)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec > until->tv_sec ||
	       (t.tv_sec == until->tv_sec && t.tv_nsec >= until->tv_nsec);
}

static void after(struct timespec *t, uint64_t ns)
{
	clock_gettime(CLOCK_MONOTONIC, t);
	ns += (uint64_t)t->tv_nsec;
	t->tv_sec += (time_t)(ns / NSEC_PER_SEC);
	t->tv_nsec = (long)(ns % NSEC_PER_SEC);
}

static void *run(void *arg)
{
	struct capture *c = arg;
	uint64_t pause_ns = POLL_MIN_NS;

	pthread_setname_np(pthread_self(), "oknek-capture");
	for (;;) {
		struct timespec until;
		bool more, stop;

		/* Before the turn: what was pushed until somebody said so is in it. */
		pthread_mutex_lock(&c->lock);
		stop = c->stop;
		c->changed = false;
		c->files.all = c->all;
		c->files.max_size = c->max_size;
		c->files.max_age_s = c->max_age_s;
		pthread_mutex_unlock(&c->lock);
		more = turn(c);
		if (stop && (!more || is_over(&c->stop_until)))
			return NULL;
		if (c->c.keeps)
			pause_ns = c->files.age_s ? KEEP_EVERY_NS : NSEC_PER_SEC;
		pthread_mutex_lock(&c->lock);
		after(&until, pause_ns);
		if (!more && !c->stop && !c->changed)
			pthread_cond_timedwait(&c->wake, &c->lock, &until);
		pthread_mutex_unlock(&c->lock);
		pause_ns = more ? POLL_MIN_NS : pause_ns * 2 < POLL_MAX_NS ? pause_ns * 2 : POLL_MAX_NS;
	}
}

/* ---- what the daemon calls ------------------------------------------------------------------ */

static void capture_free(struct capture *c)
{
	capture_files_close(&c->files);
	if (c->ring)
		munmap(c->ring, CAPTURE_RING_BYTES);
	text_free(&c->masked);
	free(c->text);
	free(c->copy);
	free(c->state_dir);
	free(c);
}

int capture_open(const struct capture_config *config, struct capture **ret)
{
	struct capture *c = aligned_alloc(_Alignof(struct capture), sizeof(*c));
	pthread_condattr_t attr;
	void *ring;

	if (!c)
		return -ENOMEM;
	memset(c, 0, sizeof(*c));
	c->c = *config;
	c->c.wall_ns = config->wall_ns ? config->wall_ns : wall_ns;
	c->files.dir_fd = c->files.fd = -1;
	c->state_dir = strdup(config->state_dir);
	c->files.reads = config->keeps;
	c->copy = malloc(config->keeps ? 1 : CAPTURE_COPY_MAX);
	/* In memory from the start: who pushes does not wait for a page. */
	ring = config->keeps ? MAP_FAILED :
			       mmap(NULL, CAPTURE_RING_BYTES, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	c->ring = ring == MAP_FAILED ? NULL : ring;
	if (!c->state_dir || !c->copy ||
	    (!config->keeps && (!c->ring || !grow(c, 2 * BATCH_BYTES)))) {
		capture_free(c);
		return -ENOMEM;
	}
	c->files.state_dir = c->state_dir;
	c->healthy = true;
	c->files.all = c->all = config->all;
	c->files.max_size = c->max_size = config->max_size_bytes;
	c->files.max_age_s = c->max_age_s = config->max_age_s;
	c->pub.ok = true;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
	*ret = c;
	return 0;
}

int capture_start(struct capture *c)
{
	int r = -pthread_create(&c->thread, NULL, run, c);

	c->started = r == 0;
	return r;
}

void capture_change(struct capture *c, bool all, uint64_t max_size_bytes, uint64_t max_age_s)
{
	pthread_mutex_lock(&c->lock);
	c->all = all;
	c->max_size = max_size_bytes;
	c->max_age_s = max_age_s;
	c->changed = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}

void capture_close(struct capture *c, int wait_ms)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	after(&c->stop_until, (uint64_t)wait_ms * NSEC_PER_MSEC);
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (c->started)
		pthread_join(c->thread, NULL);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->wake);
	capture_free(c);
}

void capture_stats(struct capture *c, struct capture_stats *ret)
{
	pthread_mutex_lock(&c->lock);
	*ret = c->pub;
	pthread_mutex_unlock(&c->lock);
	ret->events = atomic_load(&c->events);
	ret->dropped += atomic_load(&c->refused);
}
