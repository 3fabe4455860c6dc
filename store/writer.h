/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The working part of the store: takes what is in the ring into the database. It belongs to one
 * thread at a time and knows nothing of others; what they may see it hands out by `published`.
 */
#ifndef OKNEK_STORE_WRITER_H
#define OKNEK_STORE_WRITER_H

#include "store/age.h"
#include "store/db.h"
#include "store/journal.h"

#define BATCH_MAX 256
#define NOTES_MAX 24
#define RETENTIONS_MAX 256
#define SET_ASIDE "database set aside"
#define PUBLIC_ALTERED "public key altered"

struct note { /* a record of the store's own, for the next batch */
	const char *name;
	char json[400];
	/* Of what was done to the evidence before it could be recorded; store/unrecorded.c. */
	int64_t stamp_s; /* in the names of what was put beside; 0: nothing that has to last */
	bool aside;
	bool found; /* in the file of an earlier start */
	struct store_head carried;
};

struct retention {
	char rule[64], part[64];
	uint64_t retain_s;
};

struct writer {
	/* given */
	char *dir; /* owned */
	struct journal *j;
	uint64_t max_size_bytes;
	void (*health)(void *arg, bool ok, const char *why, bool changed);
	void (*published)(void *arg); /* the chain's end has moved */
	int64_t (*wall_ns)(void);
	void *arg;

	struct zone zone;
	char host[256], boot[BOOT_ID_SIZE];
	int dir_fd; /* -1: not open */
	bool have_key, have_db;
	struct host_key key;
	struct db db;
	uint64_t batch;             /* number of the last one committed */
	struct journal_losses told; /* that a record tells of */
	uint64_t claimed[BATCH_MAX];
	struct note notes[NOTES_MAX];
	unsigned n_notes;
	uint64_t notes_dropped; /* without room, and no record tells of it yet */
	bool unrecorded;	/* records of notes that had to last are committed, and no head is on them */
	bool head_aside;	/* that there is no head is our own doing */
	bool key_made;		/* by us: nothing was signed by it before */
	struct retention retention[RETENTIONS_MAX]; /* what the database knows already */
	unsigned n_retention;
	struct text json;
	struct age age;
	bool aside;                /* the database that was there is beside: records are not lost */
	struct store_head carried; /* end of a chain of another key, which goes on; seq 0: none */
	char incident[256];        /* what the operator should know; the last one */
	uint64_t head_seq, head_ns, announced_seq, announced_ns, pruned_ns, sized_ns, retry_ns;
	uint64_t db_bytes, wal_bytes; /* of the files */
	uint64_t measured_ns;
	uint64_t removed; /* and no record tells of it yet */
	bool refused_told;
	bool healthy, health_told, head_bad, closing;
};

/* One turn: opens what is not open, takes one batch. True when there may be more to do at once.
 * leisure: nobody waits for it, so that old records may be pruned. */
bool writer_turn(struct writer *w, bool leisure);
/* The last one: takes what is left, makes the head durable, closes, frees what w holds. */
void writer_finish(struct writer *w);

/* --- between writer.c, batch.c and recover.c ----------------------------------------------- */

/* Takes what is in the ring into the database. Returns how many entries it took, or -errno; then
 * nothing has changed. `must`: there is something to write beside the ring, or the head has to be
 * made durable. */
int batch_run(struct writer *w, bool must);
bool batch_head_is_due(const struct writer *w, uint64_t now_ns);
/* The database knows this of the journal: what is in it already is not recorded again. */
int batch_recover(struct writer *w, const char *progress);

/* 0, or -errno with why. */
int recover_key(struct writer *w, char *why, size_t size);
int recover_database(struct writer *w, char *why, size_t size);
/* Puts a database that cannot be gone on with beside, and says so. aside: its records are in what is
 * beside, and so not lost. */
int recover_set_aside(struct writer *w, const char *why, bool aside);
/* Why, of one that gave -EBADMSG: can it not be read, or did somebody change it? */
#define RECOVER_WHY_SIZE 192
void recover_why(const struct db *db, char why[RECOVER_WHY_SIZE]);

/* The last note tells of what is about to be done: it is to be recorded even if we die first. aside,
 * carried (NULL: none): as in struct writer, for the next start. -errno: do not do it. */
int unrecorded_add(struct writer *w, int64_t stamp_s, bool aside, const struct store_head *carried);
void unrecorded_take_back(struct writer *w); /* it was not done */
void unrecorded_find(struct writer *w);	     /* what an earlier start could not record */
void unrecorded_compare(struct writer *w);   /* with the database that is open: once only */
void unrecorded_done(struct writer *w);	     /* the records are committed */

/* Makes room for one that has to last: a list that is full refuses nothing. */
void writer_note_room(struct writer *w);
__attribute__((format(printf, 3, 4))) void writer_note(struct writer *w, const char *name,
						       const char *fmt, ...);
/* What the operator should know at once: logged, and shown by status. */
__attribute__((format(printf, 2, 3))) void writer_incident(struct writer *w, const char *fmt, ...);
void writer_close_db(struct writer *w);
void writer_set_health(struct writer *w, bool ok, const char *why);
/* After an error of the open database: what the next attempt starts from. */
void writer_give_up(struct writer *w, int err);
uint64_t writer_now_ns(void);

#endif
