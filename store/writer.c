/* SPDX-License-Identifier: Apache-2.0 */
/* Turns, health and housekeeping of the writer; what it writes is in store/batch.c, what it does when
 * it finds the evidence other than it was left in store/recover.c. */
#include "store/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/log.h"

#define RETRY_NS (250 * NSEC_PER_MSEC)
#define ANNOUNCE_EVERY_NS (60 * NSEC_PER_SEC)
#define PRUNE_EVERY_MAX_NS (3600 * NSEC_PER_SEC)
#define PRUNE_PER_RETENTION 12 /* an hour is an hour and five minutes at most */
#define SIZE_EVERY_NS NSEC_PER_SEC
#define MEASURE_EVERY_NS NSEC_PER_SEC

uint64_t writer_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

void writer_set_health(struct writer *w, bool ok, const char *why)
{
	bool changed = !w->health_told || w->healthy != ok;

	w->healthy = ok;
	w->health_told = true;
	w->health(w->arg, ok, ok ? "" : why, changed);
}

void writer_note_room(struct writer *w)
{
	unsigned i = NOTES_MAX - 1;

	if (w->n_notes < NOTES_MAX)
		return;
	while (i && w->notes[i].stamp_s)
		i--;
	if (w->notes[i].stamp_s) /* they all have to last: the cause is the first one */
		i = NOTES_MAX - 1;
	memmove(w->notes + i, w->notes + i + 1, (NOTES_MAX - 1 - i) * sizeof(*w->notes));
	w->n_notes--;
	w->notes_dropped++;
}

void writer_note(struct writer *w, const char *name, const char *fmt, ...)
{
	struct note *n;
	va_list ap;

	if (w->n_notes == NOTES_MAX) { /* each is a rare event, and the first ones tell the cause */
		w->notes_dropped++;
		return;
	}
	n = &w->notes[w->n_notes++];
	*n = (struct note){.name = name};
	va_start(ap, fmt);
	vsnprintf(n->json, sizeof(n->json), fmt, ap);
	va_end(ap);
}

void writer_incident(struct writer *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->incident, sizeof(w->incident), fmt, ap);
	va_end(ap);
	log_error("evidence: %s", w->incident);
}

void writer_close_db(struct writer *w)
{
	if (!w->have_db)
		return;
	db_close(&w->db);
	w->have_db = false;
}

static uint64_t size_of(const struct writer *w, const char *name)
{
	struct stat st;

	return fstatat(w->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : (uint64_t)st.st_size;
}

static void measure(struct writer *w, uint64_t now)
{
	uint64_t db, wal;

	if (w->dir_fd < 0 || (w->measured_ns && now - w->measured_ns < MEASURE_EVERY_NS))
		return;
	w->measured_ns = now;
	db = size_of(w, DB_FILE);
	wal = size_of(w, DB_FILE "-wal");
	if (db == w->db_bytes && wal == w->wal_bytes)
		return;
	w->db_bytes = db;
	w->wal_bytes = wal;
	w->published(w->arg);
}

static int get_ready(struct writer *w)
{
	char why[256] = "";
	int r;

	if (w->have_db)
		return 0;
	r = recover_key(w, why, sizeof(why));
	if (!r)
		r = recover_database(w, why, sizeof(why));
	if (r)
		writer_set_health(w, false, why);
	w->published(w->arg);
	return r;
}

void writer_give_up(struct writer *w, int r)
{
	char why[sizeof(w->db.why)], what[RECOVER_WHY_SIZE];

	recover_why(&w->db, what);
	memcpy(why, w->db.why, sizeof(why));
	db_rollback(&w->db);
	if (r == -EBADMSG) {
		writer_close_db(w);
		if (!recover_set_aside(w, what, true))
			w->aside = true;
	} else if (r != -EBUSY && r != -ENOSPC) {
		writer_close_db(w);
	}
	writer_set_health(w, false, *why ? why : strerror(-r));
}

static void announce(struct writer *w, uint64_t now)
{
	if (!w->have_db || w->db.last_seq == w->announced_seq ||
	    now - w->announced_ns < ANNOUNCE_EVERY_NS)
		return;
	log_notice("evidence: head %" PRIu64 ":%s key %.16s", w->db.last_seq, w->db.last_hash,
		   w->key.fingerprint);
	w->announced_seq = w->db.last_seq;
	w->announced_ns = now;
}

/* Often enough for the shortest time that a rule asks for, and at once after the clock was set. */
static bool is_time_to_prune(const struct writer *w, uint64_t now)
{
	uint64_t every = PRUNE_EVERY_MAX_NS;

	for (unsigned i = 0; i < w->n_retention; i++)
		if (w->retention[i].retain_s < every / NSEC_PER_SEC * PRUNE_PER_RETENTION)
			every = w->retention[i].retain_s * NSEC_PER_SEC / PRUNE_PER_RETENTION;
	return !w->pruned_ns || now - w->pruned_ns >= every;
}

/* Once for each time that the database is opened: what else there is, verify says. */
static void tell_refused(struct writer *w)
{
	if (!*w->db.refused.what || w->refused_told)
		return;
	w->refused_told = true;
	writer_incident(w, "old records are not removed, because something was altered: %s; see "
			   "oknek verify", w->db.refused.what);
	writer_note(w, "altered records kept", "{\"first\":\"%s\"}", w->db.refused.what);
	w->published(w->arg);
}

/* True when there is more to do. So much at a time, that verdicts do not wait for it. */
static bool prune(struct writer *w, uint64_t now)
{
	bool more = false;
	uint64_t before = w->db.pruned;
	int r = 0;

	if (!w->have_db)
		return false;
	if (w->age.now_ns && is_time_to_prune(w, now)) {
		r = prune_by_age(&w->db, w->age.now_ns, &w->removed);
		more = r > 0;
		if (!more)
			w->pruned_ns = now;
	}
	if (r >= 0 && now - w->sized_ns >= SIZE_EVERY_NS) {
		r = prune_by_size(&w->db, w->age.now_ns, w->max_size_bytes, &w->removed);
		more |= r > 0;
		if (r <= 0)
			w->sized_ns = now;
	}
	if (w->removed && !more) {
		writer_note(w, "records pruned", "{\"removed\":%" PRIu64 "}", w->removed);
		w->removed = 0;
	}
	tell_refused(w);
	if (w->db.pruned != before)
		w->published(w->arg);
	if (r < 0)
		writer_give_up(w, r);
	return r >= 0 && more;
}

/* Both clocks at one moment: between two looks at the one we may have been stopped. */
static void look_at_clocks(struct writer *w)
{
	int64_t wall = w->wall_ns(), step_s;
	uint64_t boot = writer_now_ns();

	if (w->wall_ns() - wall > (int64_t)NSEC_PER_SEC)
		return;
	age_advance(&w->age, wall, boot, &step_s);
	if (!step_s)
		return;
	log_warning("evidence: the clock was set by %" PRId64 " s", step_s);
	writer_note(w, "clock set", "{\"by_s\":%" PRId64 "}", step_s);
	w->pruned_ns = 0;
}

bool writer_turn(struct writer *w, bool leisure)
{
	uint64_t now = writer_now_ns();
	bool more = false;
	int n;

	if (w->retry_ns && now < w->retry_ns)
		return false;
	w->retry_ns = 0;
	if (w->have_db && batch_head_is_due(w, now) && db_is_gone(&w->db, w->dir)) {
		writer_note(w, "database gone",
			    "{\"why\":\"" DB_FILE " was removed or replaced\"}");
		writer_close_db(w);
		/* The directory may be another now, with a key of its own. */
		w->have_key = false;
		if (w->dir_fd >= 0)
			close(TAKE_FD(w->dir_fd));
	}
	n = get_ready(w);
	if (!n) {
		/* The first turn shows that the database takes a write, even without news. */
		bool must = !w->health_told || (!w->healthy && !w->head_bad) ||
			    (w->db.last_seq != w->head_seq && batch_head_is_due(w, now));

		look_at_clocks(w);
		n = batch_run(w, must);
	}
	if (n < 0) {
		w->retry_ns = writer_now_ns() + RETRY_NS;
		return false;
	}
	measure(w, now);
	if (leisure) {
		more = prune(w, now);
		announce(w, now);
	}
	return n > 0 || more;
}

void writer_finish(struct writer *w)
{
	w->head_ns = 0; /* due */
	w->head_seq = UINT64_MAX;
	w->announced_ns = 0;
	w->closing = true;
	if (w->have_db && batch_run(w, true) >= 0)
		announce(w, writer_now_ns());
	writer_close_db(w);
	if (w->dir_fd >= 0)
		close(w->dir_fd);
	sodium_memzero(&w->key, sizeof(w->key));
	text_free(&w->json);
	free(w->dir);
}
