/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the evidence after whatever happened to it. Nothing that was there is thrown away or
 * written over: what cannot be gone on with is put beside. Whatever was not as it was left becomes
 * a record, and what the records before were is signed as far as anybody knows.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/fault.h"
#include "core/log.h"
#include "store/writer.h"

/* ---- putting beside ------------------------------------------------------------------------- */

struct aside {
	int64_t unix_s; /* in the names */
	bool done;      /* something was put beside */
};

/* NAME to NAME.bad-TIME; never over another. */
static int put_aside(struct writer *w, const char *name, struct aside *a)
{
	char to[64];

	snprintf(to, sizeof(to), "%s.bad-%" PRId64, name, a->unix_s);
	if (renameat2(w->dir_fd, name, w->dir_fd, to, RENAME_NOREPLACE) == 0) {
		a->done = true;
		return 0;
	}
	if (errno == EINVAL && faccessat(w->dir_fd, to, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
	    errno == ENOENT && renameat(w->dir_fd, name, w->dir_fd, to) == 0) {
		a->done = true; /* a filesystem that does not know the flag */
		return 0;
	}
	return errno == ENOENT ? 0 : -errno;
}

/* The database with what belongs to it; its log keeps the name that SQLite looks for. */
static int put_database_aside(struct writer *w, struct aside *a)
{
	static const char *const suffixes[] = { "-wal", "-shm", "" };
	char from[32], to[64];

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		snprintf(from, sizeof(from), DB_FILE "%s", suffixes[i]);
		snprintf(to, sizeof(to), DB_FILE ".bad-%" PRId64 "%s", a->unix_s, suffixes[i]);
		if (renameat2(w->dir_fd, from, w->dir_fd, to, RENAME_NOREPLACE) < 0) {
			if (errno == ENOENT)
				continue;
			return -errno;
		}
		a->done = true;
	}
	return 0;
}

static bool is_there(struct writer *w, const char *name)
{
	return faccessat(w->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool database_is_there(struct writer *w)
{
	return is_there(w, DB_FILE) || is_there(w, DB_FILE "-wal") || is_there(w, DB_FILE "-shm");
}

int recover_set_aside(struct writer *w, const char *why, bool aside)
{
	struct aside a = {.unix_s = w->wall_ns() / (int64_t)NSEC_PER_SEC};
	struct store_head h = {0};
	int r;

	if (w->dir_fd < 0 || !database_is_there(w))
		return 0;
	writer_note_room(w);
	/* Where it ended, as far as is known outside of it. */
	if (head_read(w->dir_fd, "head", w->key.public, &h))
		memset(&h, 0, sizeof(h));
	writer_note(w, SET_ASIDE,
		    "{\"aside\":\"" DB_FILE ".bad-%" PRId64 "\",\"head\":{\"hash\":\"%s\",\"seq\":%"
		    PRIu64 "},\"why\":\"%s\"}",
		    a.unix_s, h.hash, h.seq, why);
	r = unrecorded_add(w, a.unix_s, aside, NULL);
	if (r)
		return r;
	fault(FAULT_ASIDE_NOTED);
	r = put_database_aside(w, &a);
	if (!a.done)
		unrecorded_take_back(w);
	if (r || !a.done)
		return r;
	fault(FAULT_ASIDE_MOVED);
	writer_incident(w, "database set aside: %s; it is %s/" DB_FILE ".bad-%" PRId64
			   ", a new one is started",
			why, w->dir, a.unix_s);
	return 0;
}

/* Whatever names the message has of somebody else, it is to be text in JSON. */
void recover_why(const struct db *db, char why[RECOVER_WHY_SIZE])
{
	snprintf(why, RECOVER_WHY_SIZE, "%s%s%.150s%s",
		 db->unreadable ? "it could not be read" : "it was altered", *db->why ? " (" : "",
		 db->why, *db->why ? ")" : "");
	for (char *p = why; *p; p++)
		if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\')
			*p = '?';
}

/* ---- the key -------------------------------------------------------------------------------- */

/*
 * There is no key, or what is there is none: without one nothing can be recorded, so a new one is
 * made. But never in silence over evidence of the old one: that is put beside, with the public key
 * it is verified by and its head, and the chain goes on from this head, if the old public key says
 * that it is one.
 */
static int replace_key(struct writer *w, const char *why)
{
	bool evidence = is_there(w, DB_FILE) || is_there(w, "head") || is_there(w, "host.pub");
	struct aside a = {.unix_s = w->wall_ns() / (int64_t)NSEC_PER_SEC};
	struct store_head h = {0};
	char old[KEY_HEX + 1] = "";
	uint8_t public[32];
	int r;

	writer_note_room(w);
	/* Else from where an earlier start, that ended in the midst of this, has found it. */
	if (key_read_public_at(w->dir_fd, "host.pub", public, old) ||
	    head_read(w->dir_fd, "head", public, &h))
		h = w->carried;
	evidence |= database_is_there(w) || is_there(w, "host.key");
	if (evidence) {
		writer_note(w, "host key replaced",
			    "{\"aside\":\"*.bad-%" PRId64 "\",\"head\":{\"hash\":\"%s\",\"seq\":%"
			    PRIu64 "},\"old_key\":\"%s\",\"why\":\"it %s\"}",
			    a.unix_s, h.hash, h.seq, old, why);
		r = unrecorded_add(w, a.unix_s, false, &h);
		if (r)
			return r;
		fault(FAULT_ASIDE_NOTED);
	}
	r = put_database_aside(w, &a);
	if (!r)
		r = put_aside(w, "head", &a);
	if (!r)
		r = put_aside(w, "host.pub", &a);
	if (!r)
		r = put_aside(w, "host.key", &a);
	if (evidence && !a.done)
		unrecorded_take_back(w);
	else if (a.done)
		w->carried = h;
	if (a.done)
		fault(FAULT_ASIDE_MOVED);
	if (!r)
		r = key_make(w->dir_fd);
	if (r || !a.done)
		return r;
	writer_incident(w, "host.key %s: a new one is made; the evidence of the old one is in %s, "
			   "as *.bad-%" PRId64,
			why, w->dir, a.unix_s);
	return 0;
}

/* host.pub is of another key, that was here before this one: what it signed is verified by it. */
static int put_public_aside(struct writer *w)
{
	struct aside a = {.unix_s = w->wall_ns() / (int64_t)NSEC_PER_SEC};
	int r;

	writer_note_room(w);
	writer_incident(w, "host.pub was not that of host.key: it is %s/host.pub.bad-%" PRId64
			   ", and is written again",
			w->dir, a.unix_s);
	writer_note(w, PUBLIC_ALTERED,
		    "{\"aside\":\"host.pub.bad-%" PRId64 "\",\"why\":\"host.pub was not that of "
		    "host.key, and is written again\"}",
		    a.unix_s);
	r = unrecorded_add(w, a.unix_s, false, NULL);
	if (r)
		return r;
	fault(FAULT_ASIDE_NOTED);
	r = put_aside(w, "host.pub", &a);
	if (!a.done)
		unrecorded_take_back(w);
	else
		fault(FAULT_ASIDE_MOVED);
	return r ? r : key_write_public(w->dir_fd, &w->key);
}

static bool is_noted(const struct writer *w, const char *name)
{
	for (unsigned i = 0; i < w->n_notes; i++)
		if (!strcmp(w->notes[i].name, name))
			return true;
	return false;
}

static void tell_care(struct writer *w, const struct key_care *care)
{
	/* A first start may have ended before it had written it, and then there is no evidence. */
	if (care->public_was_missing && !w->key_made && !is_noted(w, PUBLIC_ALTERED) &&
	    (database_is_there(w) || is_there(w, "head")))
		writer_note(w, PUBLIC_ALTERED,
			    "{\"why\":\"host.pub was missing, and is written again\"}");
	if (care->foreign) {
		writer_incident(w, "host.key in %s could be opened by others (uid %u, mode %04o)%s",
				w->dir, care->uid, care->mode,
				care->mended ? ": now it cannot" : " and still can");
		writer_note(w, "host key was open to others",
			    "{\"mended\":%s,\"mode\":\"%04o\",\"uid\":%u}",
			    care->mended ? "true" : "false", care->mode, care->uid);
	}
}

int recover_key(struct writer *w, char *why, size_t size)
{
	struct key_care care = {0};
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
	/* Two that number records from the same end would each take the other's for damage. */
	if (flock(w->dir_fd, LOCK_EX | LOCK_NB) < 0) {
		snprintf(why, size, "another oknekd keeps its evidence in %.150s", w->dir);
		close(TAKE_FD(w->dir_fd));
		return -EBUSY;
	}
	unrecorded_find(w);
	w->key_made = false;
	r = key_load(w->dir_fd, &w->key, &care);
	if (r == -ENOENT || r == -EBADMSG) {
		w->key_made = true;
		r = replace_key(w, r == -ENOENT ? "is missing" : "is no key");
		if (!r)
			r = key_load(w->dir_fd, &w->key, &care);
	}
	if (!r && care.public_is_wrong)
		r = put_public_aside(w);
	if (r) {
		snprintf(why, size, "host.key in %.100s cannot be %s: %s", w->dir,
			 r == -EROFS || r == -ENOSPC ? "made" : "read", strerror(-r));
		/* The path may name a new directory by the next time. */
		close(TAKE_FD(w->dir_fd));
		return r;
	}
	w->have_key = true;
	tell_care(w, &care);
	return 0;
}

/* ---- where the chain ends ------------------------------------------------------------------- */

/* Signed with the records that follow: first to last are not here. */
static int sign_gap(struct writer *w, const struct store_head *end, const char *why)
{
	struct pruned p = {.first = w->db.last_seq + 1, .last = end->seq, .time_ns = w->wall_ns()};
	int r;

	snprintf(p.why, sizeof(p.why), "%s", why);
	memcpy(p.prev, w->db.last_hash, sizeof(p.prev));
	memcpy(p.hash, end->hash, sizeof(p.hash));
	r = db_begin(&w->db, true);
	if (!r)
		r = prune_mark(&w->db, &p);
	if (!r)
		r = db_commit(&w->db);
	if (r)
		db_rollback(&w->db);
	return r;
}

static void go_on_from(struct writer *w, uint64_t seq, const char *hash)
{
	w->db.last_seq = seq;
	memcpy(w->db.last_hash, hash, sizeof(w->db.last_hash));
}

static bool record_is(struct writer *w, uint64_t seq, const char *hash)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	char found[RECORD_HASH_HEX + 1];

	if (!seq || db_prepare(&w->db, "SELECT json,sig FROM events WHERE seq=?", &s))
		return true;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)seq);
	if (sqlite3_step(s) != SQLITE_ROW || sqlite3_column_bytes(s, 1) != RECORD_SIG_SIZE ||
	    !sqlite3_column_text(s, 0))
		return true; /* it was pruned; what else it may be, verify tells */
	record_hash((const char *)sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0),
		    sqlite3_column_blob(s, 1), found);
	return !strcmp(found, hash);
}

static void altered(struct writer *w, const char *what)
{
	writer_incident(w, "evidence was altered while nobody watched: %s", what);
	writer_note(w, "evidence altered", "{\"what\":\"%s\"}", what);
}

static int put_head_aside(struct writer *w)
{
	struct aside a = {.unix_s = w->wall_ns() / (int64_t)NSEC_PER_SEC};
	int r;

	writer_note_room(w);
	writer_incident(w, "evidence was altered while nobody watched: the signed head");
	/* The name tells it from one that was put aside before. */
	writer_note(w, "evidence altered",
		    "{\"aside\":\"head.bad-%" PRId64 "\",\"what\":\"the signed head\"}", a.unix_s);
	r = unrecorded_add(w, a.unix_s, false, NULL);
	if (r)
		return r;
	fault(FAULT_ASIDE_NOTED);
	r = put_aside(w, "head", &a);
	if (!a.done) {
		unrecorded_take_back(w);
		return r;
	}
	w->head_aside = true;
	fault(FAULT_ASIDE_MOVED);
	return r;
}

/* What the database itself says of its end. True when its end was cut off. */
static bool compare_end(struct writer *w, const struct meta_end *end)
{
	uint64_t first = w->db.last_seq + 1;

	if (end->seq < w->db.last_record || (end->seq == w->db.last_seq &&
					     strcmp(end->hash, w->db.last_hash))) {
		altered(w, "the last record is not the one that was last");
		return false;
	}
	if (end->seq <= w->db.last_seq)
		return false;
	writer_incident(w, "records %" PRIu64 " to %" PRIu64 " were removed from the database",
			first, end->seq);
	writer_note(w, "records removed", "{\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}", first,
		    end->seq);
	go_on_from(w, end->seq, end->hash);
	return true;
}

/*
 * The head outside the database is signed when what it names is on the disk, so a database that
 * ends before it has lost something: by a disk that did not keep what it said it had, in a power
 * loss, or because an older copy was put back. Whichever it was, it is signed now: these records
 * are missing, and have been since this moment.
 */
static int compare_head(struct writer *w, const struct store_head *h, bool cut, bool aside)
{
	bool rebooted = h->v < 2 || strcmp(h->boot, w->boot);
	uint64_t first = w->db.last_seq + 1;
	int r;

	if (h->seq <= w->db.last_seq) {
		if (!record_is(w, h->seq, h->hash))
			altered(w, "the signed head is of another chain");
		if (h->v >= 2 && rebooted && !h->closed)
			writer_note(w, "host stopped",
				    "{\"last\":%" PRIu64 ",\"why\":\"the host went down before "
				    "oknekd had ended: what happened after the last record may be "
				    "missing\"}",
				    w->db.last_seq);
		return 0;
	}
	if (!cut) {
		r = sign_gap(w, h, aside ? "aside" : "lost");
		if (r)
			return r;
	}
	if (!aside) {
		writer_incident(w, "records %" PRIu64 " to %" PRIu64
				   " are missing: the database ends before its signed head",
				first, h->seq);
		writer_note(w, "evidence behind its head",
			    "{\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"rebooted\":%s}", first,
			    h->seq, rebooted ? "true" : "false");
	}
	go_on_from(w, h->seq, h->hash);
	return 0;
}

static void compare_clock(struct writer *w, const struct meta_end *end)
{
	int64_t step, behind_s = (w->db.last_time_ns - w->wall_ns()) / (int64_t)NSEC_PER_SEC;

	w->age = (struct age){.now_ns = end->age_ns};
	age_advance(&w->age, w->wall_ns(), writer_now_ns(), &step);
	if (behind_s >= AGE_STEP_S)
		writer_note(w, "clock is behind the evidence", "{\"by_s\":%" PRId64 "}", behind_s);
	if (age_doubts(&w->age))
		writer_note(w, "clock is ahead of the evidence",
			    "{\"by_s\":%" PRId64 ",\"why\":\"records are not removed by age until "
			    "the time has been seen passing\"}",
			    (w->age.wall_ns - w->age.now_ns) / (int64_t)NSEC_PER_SEC);
}

/*
 * A head is written with the first batch, before there are records, so there is one wherever a daemon
 * has come so far; a key is made before. That it may have been the first start that ended between
 * these two has to be said with it, since nothing here can tell.
 */
static void tell_emptied(struct writer *w)
{
	if (w->key_made || is_noted(w, SET_ASIDE))
		return;
	writer_incident(w, "there is a host.key, and no evidence of it: what was recorded before is "
			   "gone, or the start that made it ended before it could record");
	writer_note(w, "evidence gone",
		    "{\"why\":\"host.key is there, and neither records nor a signed head are: what was "
		    "recorded before is gone, or the start that made it ended before it could record\"}");
}

/* Told here, because the next record of the rule writes it anew. */
static bool retentions_hold(struct writer *w)
{
	_cleanup_(db_finalize) sqlite3_stmt *s = NULL;
	bool hold = true;

	if (db_prepare(&w->db, "SELECT " RETENTION_COLUMNS " FROM retention LIMIT 10000", &s))
		return true; /* what is wrong with it comes up elsewhere */
	while (hold && sqlite3_step(s) == SQLITE_ROW)
		hold = retention_is_signed(s, w->key.public);
	return hold;
}

static int find_end(struct writer *w, bool aside)
{
	struct meta_end end = {0};
	struct store_head h = {0};
	bool cut = false;
	int r = meta_end_get(&w->db, &end);

	if (r < 0 && r != -ENOENT)
		return r;
	if (w->db.altered)
		altered(w, w->db.altered);
	if (w->db.foreign)
		writer_note(w, "database was open to others", "{\"mode\":\"%04o\",\"uid\":%u}",
			    w->db.foreign_mode, w->db.foreign_uid);
	if (r) {
		altered(w, r < 0 ? "meta.end is missing" : "meta.end");
		memset(&end, 0, sizeof(end));
		end.age_ns = w->db.last_time_ns;
	}
	if (!retentions_hold(w))
		altered(w, "how long records are kept");
	compare_clock(w, &end);
	if (!r)
		cut = compare_end(w, &end);

	r = head_read(w->dir_fd, "head", w->key.public, &h);
	if (r == -EBADMSG) {
		r = put_head_aside(w);
	} else if (r == -ENOENT) {
		r = 0;
		if (w->carried.seq) {
			h = w->carried;
			aside = true;
		} else if (w->db.last_seq) {
			if (!w->head_aside)
				altered(w, "the signed head is missing");
		} else if (!end.seq && !w->head_aside) {
			tell_emptied(w);
		}
	}
	if (!r && h.seq)
		r = compare_head(w, &h, cut, aside);
	if (!r)
		r = batch_recover(w, end.progress);
	return r;
}

/*
 * Of the notes from the one numbered `first`, which an attempt has made: when it failed, the next one
 * finds the same again, but for what was done and cannot be found twice; when it has not, what an
 * attempt before it found may still wait for its record.
 */
static void sort_notes(struct writer *w, unsigned first, bool failed)
{
	unsigned kept = first;

	for (unsigned i = first; i < w->n_notes; i++) {
		const struct note *n = &w->notes[i];
		bool drop = failed && !n->stamp_s;

		for (unsigned k = 0; !failed && !drop && k < first; k++)
			drop = !strcmp(n->name, w->notes[k].name) &&
			       (!strcmp(n->json, w->notes[k].json) ||
				!strncmp(n->name, "clock is ", 9)); /* by other seconds */
		if (drop)
			continue;
		if (kept != i)
			w->notes[kept] = *n;
		kept++;
	}
	w->n_notes = kept;
}

/* ---- all together --------------------------------------------------------------------------- */

int recover_database(struct writer *w, char *why, size_t size)
{
	char what[RECOVER_WHY_SIZE];
	uint64_t dropped;
	unsigned n;
	int r;

	for (int attempt = 0;; attempt++) {
		r = db_open(w->dir, &w->key, w->max_size_bytes, &w->db);
		if ((r != -EBADMSG && r != -EKEYREJECTED) || attempt)
			break;
		recover_why(&w->db, what);
		if (recover_set_aside(w, r == -EBADMSG ? what : "it is signed by another key",
				      r == -EBADMSG))
			break;
		w->aside = r == -EBADMSG;
	}
	if (r) {
		snprintf(why, size, "%s", w->db.why);
		return r;
	}
	w->have_db = true;
	unrecorded_compare(w);
	w->n_retention = 0;
	w->refused_told = false;
	w->head_seq = UINT64_MAX; /* it says how the last daemon ended: written anew */
	n = w->n_notes;
	dropped = w->notes_dropped;
	r = find_end(w, w->aside);
	/* Room for one that had to last may have taken one of those before. */
	sort_notes(w, n < w->n_notes ? n : w->n_notes, r != 0);
	if (r) {
		if (w->n_notes < NOTES_MAX)
			w->notes_dropped = dropped;
		snprintf(why, size, "%s", *w->db.why ? w->db.why : strerror(-r));
		writer_close_db(w);
		return r;
	}
	w->aside = false;
	w->carried = (struct store_head){0};
	return 0;
}
