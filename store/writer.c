/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, health and housekeeping of the writer; what it writes is in store/batch.c. */
#include "store/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/log.h"

#define RETRY_NS (250 * NSEC_PER_MSEC)
#define ANNOUNCE_EVERY_NS (60 * NSEC_PER_SEC)
#define PRUNE_EVERY_NS (3600 * NSEC_PER_SEC)

uint64_t writer_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

int64_t writer_wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * (int64_t)NSEC_PER_SEC + t.tv_nsec;
}

void writer_set_health(struct writer *w, bool ok, const char *why)
{
	bool changed = !w->health_told || w->healthy != ok;

	w->healthy = ok;
	w->health_told = true;
	w->health(w->arg, ok, ok ? "" : why, changed);
}

void writer_note(struct writer *w, const char *name, const char *fmt, ...)
{
	struct note *n;
	va_list ap;

	if (w->n_notes ==
	    NOTES_MAX) /* each is a rare event, and the first ones tell the cause */
		return;
	n = &w->notes[w->n_notes++];
	n->name = name;
	va_start(ap, fmt);
	vsnprintf(n->json, sizeof(n->json), fmt, ap);
	va_end(ap);
}

static void close_db(struct writer *w)
{
	if (!w->have_db)
		return;
	db_close(&w->db);
	w->have_db = false;
}

static int open_key(struct writer *w, char *why, size_t size)
{
	int r;

	if (w->dir_fd < 0)
		w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dir_fd < 0) {
		r = -errno;
		snprintf(why, size, "state directory %.150s: %s", w->dir, strerror(-r));
		return r;
	}
	if (w->have_key)
		return 0;
	r = key_load(w->dir_fd, &w->key);
	if (r) {
		snprintf(why, size, "host.key in %.100s cannot be %s: %s", w->dir,
			 r == -EROFS || r == -ENOSPC ? "made" : "read (it is not replaced)",
			 r == -EBADMSG ? "it is no key" : strerror(-r));
		/* The path may name a new directory by the next time. */
		close(TAKE_FD(w->dir_fd));
		return r;
	}
	w->have_key = true;
	return 0;
}

/* Puts a database that cannot be gone on with beside, with what belongs to it. */
static int set_aside(struct writer *w, const char *kind)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char to[128], from[32];
	int64_t t = writer_wall_ns() / (int64_t)NSEC_PER_SEC;

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		snprintf(from, sizeof(from), DB_FILE "%s", suffixes[i]);
		snprintf(to, sizeof(to), DB_FILE ".%s-%" PRId64 "%s", kind, t, suffixes[i]);
		if (renameat(w->dir_fd, from, w->dir_fd, to) < 0 && (!i || errno != ENOENT))
			return -errno;
	}
	log_error("evidence: database set aside as %s/" DB_FILE ".%s-%" PRId64
		  ", a new one is started",
		  w->dir, kind, t);
	writer_note(w, "database set aside",
		    "{\"aside\":\"" DB_FILE ".%s-%" PRId64 "\",\"why\":\"%s\"}", kind, t,
		    kind[0] == 'c' ? "it could not be read" : "it is signed by another key");
	return 0;
}

/* The head knows how far we had come. If the database knows less, the chain goes on from the head
 * all the same, so that the gap stays visible for ever; unless the database was set aside, which
 * is signed as a gap of our own making. */
static int compare_head(struct writer *w, bool aside)
{
	struct pruned p = {
		.first = w->db.last_seq + 1, .time_ns = writer_wall_ns(), .why = "aside"};
	struct store_head h;
	int r = head_read(w->dir_fd, "head", w->key.public, &h);

	if (r || h.seq <= w->db.last_seq)
		return 0;
	p.last = h.seq;
	memcpy(p.prev, w->db.last_hash, sizeof(p.prev));
	memcpy(p.hash, h.hash, sizeof(p.hash));
	if (aside) {
		r = db_begin(&w->db, true);
		if (!r)
			r = prune_mark(&w->db, &p);
		if (!r)
			r = db_commit(&w->db);
		if (r) {
			db_rollback(&w->db);
			return r;
		}
	} else {
		log_error("evidence: records %" PRIu64 " to %" PRIu64 " are missing from the "
			  "database",
			  p.first, p.last);
		writer_note(w, "records missing",
			    "{\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}", p.first, p.last);
	}
	w->db.last_seq = h.seq;
	memcpy(w->db.last_hash, h.hash, sizeof(h.hash));
	return 0;
}

/* meta.journal: "ID BATCH ALLOW WARN BLOCK OWN DAMAGED", in each batch. */
static int read_progress(struct writer *w)
{
	struct journal_losses l = {0};
	uint64_t id, batch;
	char text[192];
	int r = db_meta_get(&w->db, "journal", text, sizeof(text));

	if (r)
		return r;
	if (sscanf(text,
		   "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %" SCNu64,
		   &id, &batch, &l.by_verdict[0], &l.by_verdict[1], &l.by_verdict[2], &l.own,
		   &l.damaged) != 7 ||
	    id != journal_id(w->j))
		batch = 0; /* this database knows nothing of this journal */
	else
		w->told = l;
	/* Never a number again that was used in this run, even if the database is another now. */
	journal_recover(w->j, batch);
	if (batch > w->batch)
		w->batch = batch;
	return 0;
}

static int open_db(struct writer *w, char *why, size_t size)
{
	bool aside = false;
	int r;

	for (int attempt = 0;; attempt++) {
		r = db_open(w->dir, &w->key, &w->db);
		if ((r != -EBADMSG && r != -EKEYREJECTED) || attempt)
			break;
		if (set_aside(w, r == -EBADMSG ? "corrupt" : "otherkey"))
			break;
		aside = true;
	}
	if (r) {
		snprintf(why, size, "%s", w->db.why);
		return r;
	}
	w->have_db = true;
	w->n_retention = 0;
	w->head_seq = w->db.last_seq;
	r = compare_head(w, aside);
	if (!r)
		r = read_progress(w);
	if (r) {
		snprintf(why, size, "%s", w->db.why);
		close_db(w);
	}
	return r;
}

static int get_ready(struct writer *w)
{
	char why[256] = "";
	int r;

	if (w->have_db)
		return 0;
	r = open_key(w, why, sizeof(why));
	if (!r)
		r = open_db(w, why, sizeof(why));
	if (r)
		writer_set_health(w, false, why);
	w->published(w->arg);
	return r;
}

void writer_give_up(struct writer *w, int r)
{
	char why[sizeof(w->db.why)];

	memcpy(why, w->db.why, sizeof(why));
	db_rollback(&w->db);
	if (r == -EBADMSG) {
		db_close(&w->db);
		w->have_db = false;
		set_aside(w, "corrupt");
	} else if (r != -EBUSY && r != -ENOSPC) {
		close_db(w);
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

static void prune(struct writer *w, uint64_t now)
{
	uint64_t removed = 0;
	int r;

	if (w->pruned_ns && now - w->pruned_ns < PRUNE_EVERY_NS)
		return;
	w->pruned_ns = now;
	r = prune_run(&w->db, writer_wall_ns(), w->max_size_bytes, &removed);
	if (removed)
		writer_note(w, "records pruned", "{\"removed\":%" PRIu64 "}", removed);
	if (r)
		writer_give_up(w, r);
}

bool writer_turn(struct writer *w, bool leisure)
{
	uint64_t now = writer_now_ns();
	int n;

	if (w->retry_ns && now < w->retry_ns)
		return false;
	w->retry_ns = 0;
	if (w->have_db && batch_head_is_due(w, now) && db_is_gone(&w->db, w->dir)) {
		writer_note(w, "database gone",
			    "{\"why\":\"" DB_FILE " was removed or replaced\"}");
		close_db(w);
		if (w->dir_fd >= 0)
			close(TAKE_FD(w->dir_fd));
	}
	n = get_ready(w);
	if (!n) {
		/* The first turn shows that the database takes a write, even without news. */
		bool must = !w->health_told || (!w->healthy && !w->head_bad) ||
			    (w->db.last_seq != w->head_seq && batch_head_is_due(w, now));

		n = batch_run(w, must);
	}
	if (n < 0) {
		w->retry_ns = writer_now_ns() + RETRY_NS;
		return false;
	}
	if (leisure) {
		prune(w, now);
		announce(w, now);
	}
	return n > 0;
}

void writer_finish(struct writer *w)
{
	w->head_ns = 0; /* due */
	w->announced_ns = 0;
	if (w->have_db && batch_run(w, w->db.last_seq != w->head_seq) >= 0)
		announce(w, writer_now_ns());
	close_db(w);
	if (w->dir_fd >= 0)
		close(w->dir_fd);
	sodium_memzero(&w->key, sizeof(w->key));
	text_free(&w->json);
	free(w->dir);
}
