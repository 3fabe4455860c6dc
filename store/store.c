/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store thread. It owns key and database; others see only what it publishes under the mutex.
 * Whatever goes wrong with the state directory, it tells once, leaves the records in the ring and
 * tries again; what the ring could not keep meanwhile is counted there and becomes a record of its
 * own as soon as one can be written.
 */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "store/db.h"

#define BATCH_MAX 256
#define BATCH_NS (50 * NSEC_PER_MSEC)
#define POLL_MIN_NS (2 * NSEC_PER_MSEC)
#define POLL_MAX_NS (100 * NSEC_PER_MSEC)
#define RETRY_NS (250 * NSEC_PER_MSEC)
#define HEAD_EVERY_NS NSEC_PER_SEC
#define ANNOUNCE_EVERY_NS (60 * NSEC_PER_SEC)
#define PRUNE_EVERY_NS (3600 * NSEC_PER_SEC)
#define NOTES_MAX 8
#define RETENTIONS_MAX 256

struct note { /* a record of the store's own, for the next batch */
	const char *name;
	char json[400];
};

struct retention {
	char rule[64], part[64];
	uint64_t retain_s;
};

struct store {
	struct store_config c;
	char *dir;
	struct journal *j;
	struct zone zone;
	char host[256];

	/* the thread's own */
	int dir_fd;
	bool have_key, have_db;
	struct host_key key;
	struct db db;
	uint64_t batch; /* number of the last one committed */
	struct journal_losses told; /* that a record tells of */
	uint64_t claimed[BATCH_MAX];
	struct note notes[NOTES_MAX];
	unsigned n_notes;
	struct retention retention[RETENTIONS_MAX]; /* what the database knows already */
	unsigned n_retention;
	struct text json;
	uint64_t head_seq, head_ns, announced_seq, announced_ns, pruned_ns, retry_ns;
	bool healthy, health_told, head_bad;

	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	bool stop, kick;         /* under lock */
	struct store_status pub; /* under lock */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static int64_t wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * (int64_t)NSEC_PER_SEC + t.tv_nsec;
}

/* ---- what others see ------------------------------------------------------------------------ */

static void publish(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->have_db) {
		s->pub.records = s->db.records;
		s->pub.last_seq = s->db.last_seq;
		memcpy(s->pub.last_hash, s->db.last_hash, sizeof(s->pub.last_hash));
	}
	if (s->have_key)
		memcpy(s->pub.key_fingerprint, s->key.fingerprint, sizeof(s->key.fingerprint));
	pthread_cond_broadcast(&s->done);
	pthread_mutex_unlock(&s->lock);
}

static void set_health(struct store *s, bool ok, const char *why)
{
	bool changed;

	pthread_mutex_lock(&s->lock);
	changed = !s->health_told || s->healthy != ok;
	s->pub.ok = ok;
	snprintf(s->pub.why, sizeof(s->pub.why), "%s", ok ? "" : why);
	pthread_mutex_unlock(&s->lock);
	s->healthy = ok;
	s->health_told = true;
	if (changed && s->c.health)
		s->c.health(s->c.arg, ok, ok ? "" : why);
}

__attribute__((format(printf, 3, 4)))
static void add_note(struct store *s, const char *name, const char *fmt, ...)
{
	struct note *n;
	va_list ap;

	if (s->n_notes == NOTES_MAX) /* each is a rare event, and the first ones tell the cause */
		return;
	n = &s->notes[s->n_notes++];
	n->name = name;
	va_start(ap, fmt);
	vsnprintf(n->json, sizeof(n->json), fmt, ap);
	va_end(ap);
}

/* ---- opening -------------------------------------------------------------------------------- */

static void close_db(struct store *s)
{
	if (!s->have_db)
		return;
	db_close(&s->db);
	s->have_db = false;
}

static int open_key(struct store *s, char *why, size_t size)
{
	int r;

	if (s->dir_fd < 0)
		s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0) {
		r = -errno;
		snprintf(why, size, "state directory %.150s: %s", s->dir, strerror(-r));
		return r;
	}
	if (s->have_key)
		return 0;
	r = key_load(s->dir_fd, &s->key);
	if (r) {
		snprintf(why, size, "host.key in %.100s cannot be %s: %s", s->dir,
			 r == -EROFS || r == -ENOSPC ? "made" : "read (it is not replaced)",
			 r == -EBADMSG ? "it is no key" : strerror(-r));
		/* The path may name a new directory by the next time. */
		close(TAKE_FD(s->dir_fd));
		return r;
	}
	s->have_key = true;
	return 0;
}

/* Puts a database that cannot be gone on with beside, with what belongs to it. */
static int set_aside(struct store *s, const char *kind)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	char to[128], from[32];
	int64_t t = wall_ns() / (int64_t)NSEC_PER_SEC;

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		snprintf(from, sizeof(from), DB_FILE "%s", suffixes[i]);
		snprintf(to, sizeof(to), DB_FILE ".%s-%" PRId64 "%s", kind, t, suffixes[i]);
		if (renameat(s->dir_fd, from, s->dir_fd, to) < 0 && (!i || errno != ENOENT))
			return -errno;
	}
	log_error("evidence: database set aside as %s/" DB_FILE ".%s-%" PRId64
		  ", a new one is started", s->dir, kind, t);
	add_note(s, "database set aside",
		 "{\"aside\":\"" DB_FILE ".%s-%" PRId64 "\",\"why\":\"%s\"}", kind, t,
		 kind[0] == 'c' ? "it could not be read" : "it is signed by another key");
	return 0;
}

/* The head knows how far we had come. If the database knows less, the chain goes on from the head
 * all the same, so that the gap stays visible for ever; unless the database was set aside, which
 * is signed as a gap of our own making. */
static int compare_head(struct store *s, bool aside)
{
	struct pruned p = { .first = s->db.last_seq + 1, .time_ns = wall_ns(), .why = "aside" };
	struct store_head h;
	int r = head_read(s->dir_fd, "head", s->key.public, &h);

	if (r || h.seq <= s->db.last_seq)
		return 0;
	p.last = h.seq;
	memcpy(p.prev, s->db.last_hash, sizeof(p.prev));
	memcpy(p.hash, h.hash, sizeof(p.hash));
	if (aside) {
		r = db_begin(&s->db, true);
		if (!r)
			r = prune_mark(&s->db, &p);
		if (!r)
			r = db_commit(&s->db);
		if (r) {
			db_rollback(&s->db);
			return r;
		}
	} else {
		log_error("evidence: records %" PRIu64 " to %" PRIu64 " are missing from the "
			  "database", p.first, p.last);
		add_note(s, "records missing", "{\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}",
			 p.first, p.last);
	}
	s->db.last_seq = h.seq;
	memcpy(s->db.last_hash, h.hash, sizeof(h.hash));
	return 0;
}

/* meta.journal: "ID BATCH ALLOW WARN BLOCK OWN DAMAGED", in each batch. */
static int read_progress(struct store *s)
{
	struct journal_losses l = { 0 };
	uint64_t id, batch;
	char text[192];
	int r = db_meta_get(&s->db, "journal", text, sizeof(text));

	if (r)
		return r;
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
			 " %" SCNu64, &id, &batch, &l.by_verdict[0], &l.by_verdict[1],
		   &l.by_verdict[2], &l.own, &l.damaged) != 7 || id != journal_id(s->j))
		batch = 0; /* this database knows nothing of this journal */
	else
		s->told = l;
	/* Never a number again that was used in this run, even if the database is another now. */
	journal_recover(s->j, batch);
	if (batch > s->batch)
		s->batch = batch;
	return 0;
}

static int write_progress(struct store *s, uint64_t batch, const struct journal_losses *l)
{
	char text[192];

	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		 " %" PRIu64 " %" PRIu64, journal_id(s->j), batch, l->by_verdict[0],
		 l->by_verdict[1], l->by_verdict[2], l->own, l->damaged);
	return db_meta_set(&s->db, "journal", text);
}

static int open_db(struct store *s, char *why, size_t size)
{
	bool aside = false;
	int r;

	for (int attempt = 0;; attempt++) {
		r = db_open(s->dir, &s->key, &s->db);
		if ((r != -EBADMSG && r != -EKEYREJECTED) || attempt)
			break;
		if (set_aside(s, r == -EBADMSG ? "corrupt" : "otherkey"))
			break;
		aside = true;
	}
	if (r) {
		snprintf(why, size, "%s", s->db.why);
		return r;
	}
	s->have_db = true;
	s->n_retention = 0;
	s->head_seq = s->db.last_seq;
	r = compare_head(s, aside);
	if (!r)
		r = read_progress(s);
	if (r) {
		snprintf(why, size, "%s", s->db.why);
		close_db(s);
	}
	return r;
}

static int get_ready(struct store *s)
{
	char why[256] = "";
	int r;

	if (s->have_db)
		return 0;
	r = open_key(s, why, sizeof(why));
	if (!r)
		r = open_db(s, why, sizeof(why));
	if (r)
		set_health(s, false, why);
	publish(s);
	return r;
}

/* After an error of the open database: what the next attempt starts from. */
static void give_up(struct store *s, int r)
{
	char why[sizeof(s->db.why)];

	memcpy(why, s->db.why, sizeof(why));
	db_rollback(&s->db);
	if (r == -EBADMSG) {
		db_close(&s->db);
		s->have_db = false;
		set_aside(s, "corrupt");
	} else if (r != -EBUSY && r != -ENOSPC) {
		close_db(s);
	}
	set_health(s, false, *why ? why : strerror(-r));
}

/* ---- a batch -------------------------------------------------------------------------------- */

struct batch {
	uint64_t number;
	unsigned n_claimed, n_notes;
	uint64_t seq, records;
	char hash[RECORD_HASH_HEX + 1];
	struct journal_losses losses;
};

static int remember_retention(struct store *s, const struct record_row *row)
{
	unsigned i;
	int r;

	for (i = 0; i < s->n_retention; i++)
		if (!strcmp(s->retention[i].rule, row->rule) &&
		    !strcmp(s->retention[i].part, row->part))
			break;
	if (i < s->n_retention && s->retention[i].retain_s == row->retain_s)
		return 0;
	r = prune_retention_set(&s->db, row->rule, row->part, row->retain_s);
	if (r || i == RETENTIONS_MAX || strlen(row->rule) >= sizeof(s->retention->rule) ||
	    strlen(row->part) >= sizeof(s->retention->part))
		return r;
	strcpy(s->retention[i].rule, row->rule);
	strcpy(s->retention[i].part, row->part);
	s->retention[i].retain_s = row->retain_s;
	if (i == s->n_retention)
		s->n_retention++;
	return 0;
}

static int write_record(struct store *s, struct batch *b, const struct payload *p,
			enum outcome outcome, int err, unsigned i)
{
	struct record_context c = { .host = s->host, .zone = &s->zone };
	uint8_t sig[RECORD_SIG_SIZE];
	struct record_row row;
	int r;

	text_clear(&s->json);
	record_write(&c, p, outcome, err, i, b->seq + 1, b->hash, &s->json, &row);
	if (s->json.failed)
		return -ENOMEM;
	crypto_sign_detached(sig, NULL, (const uint8_t *)s->json.p, s->json.n, s->key.secret);
	r = remember_retention(s, &row);
	if (!r)
		r = db_insert(&s->db, &row, &s->json, sig);
	if (r)
		return r;
	record_hash(s->json.p, s->json.n, sig, b->hash);
	b->seq++;
	b->records++;
	return 0;
}

static int write_own(struct store *s, struct batch *b, const char *id, const char *name,
		     const char *json)
{
	struct payload p = { .own = true, .time_unix_ns = wall_ns(), .own_id = id,
			     .own_name = name, .own_json = json, .auid = (uid_t)-1 };

	return write_record(s, b, &p, OUTCOME_OBSERVED, 0, 0);
}

static int write_losses(struct store *s, struct batch *b)
{
	struct journal_losses now;
	char json[256];

	journal_losses(s->j, &now);
	b->losses = now;
	if (!memcmp(&now, &s->told, sizeof(now)))
		return 0;
	snprintf(json, sizeof(json),
		 "{\"allow\":%" PRIu64 ",\"warn\":%" PRIu64 ",\"block\":%" PRIu64
		 ",\"own\":%" PRIu64 ",\"damaged\":%" PRIu64 "}",
		 now.by_verdict[VERDICT_ALLOW] - s->told.by_verdict[VERDICT_ALLOW],
		 now.by_verdict[VERDICT_WARN] - s->told.by_verdict[VERDICT_WARN],
		 now.by_verdict[VERDICT_BLOCK] - s->told.by_verdict[VERDICT_BLOCK],
		 now.own - s->told.own, now.damaged - s->told.damaged);
	return write_own(s, b, "O1", "verdicts not recorded", json);
}

static int write_entries(struct store *s, struct batch *b)
{
	uint64_t cursor = 0, start = now_ns();
	struct journal_entry e;
	struct payload p;
	int r;

	while (b->n_claimed < BATCH_MAX && now_ns() - start < BATCH_NS &&
	       journal_next(s->j, &cursor, &e) > 0) {
		s->claimed[b->n_claimed++] = e.pos;
		journal_claim(s->j, e.pos, b->number);
		if (payload_read(e.payload, e.len_bytes, &p)) {
			r = write_own(s, b, "O1", "unreadable verdict", "{}");
			if (r)
				return r;
			continue;
		}
		if (p.own)
			e.outcome = OUTCOME_OBSERVED;
		for (unsigned i = 0; i < record_count(&p); i++) {
			r = write_record(s, b, &p, e.outcome, e.err, i);
			if (r)
				return r;
		}
	}
	return 0;
}

static bool head_is_due(const struct store *s, uint64_t now)
{
	return now - s->head_ns >= HEAD_EVERY_NS;
}

static void write_head(struct store *s, uint64_t now)
{
	int r = head_write(s->dir_fd, &s->key, s->db.last_seq, s->db.last_hash);

	s->head_ns = now;
	s->head_bad = r != 0;
	if (r) {
		char why[128];

		snprintf(why, sizeof(why), "head: %s", strerror(-r));
		set_health(s, false, why);
		return;
	}
	s->head_seq = s->db.last_seq;
}

/* Takes what is in the ring into the database. Returns how many entries it took, or -errno; then
 * nothing has changed. `must`: there is something to write beside the ring, or the head has to be
 * made durable. */
static int run_batch(struct store *s, bool must)
{
	struct batch b = { .number = s->batch + 1, .seq = s->db.last_seq, .n_notes = s->n_notes };
	uint64_t now = now_ns(), cursor = 0;
	struct journal_losses losses;
	struct journal_entry e;
	bool full = head_is_due(s, now);
	int r;

	journal_losses(s->j, &losses);
	if (!must && !s->n_notes && !memcmp(&losses, &s->told, sizeof(losses)) &&
	    !journal_next(s->j, &cursor, &e))
		return 0;

	memcpy(b.hash, s->db.last_hash, sizeof(b.hash));
	r = db_begin(&s->db, full);
	for (unsigned i = 0; !r && i < s->n_notes; i++)
		r = write_own(s, &b, "O1", s->notes[i].name, s->notes[i].json);
	if (!r)
		r = write_losses(s, &b);
	if (!r)
		r = write_entries(s, &b);
	if (!r)
		r = write_progress(s, b.number, &b.losses);
	if (!r)
		r = db_commit(&s->db);
	if (r) {
		for (unsigned i = 0; i < b.n_claimed; i++)
			journal_claim(s->j, s->claimed[i], 0);
		s->n_retention = 0;
		give_up(s, r);
		return r;
	}
	for (unsigned i = 0; i < b.n_claimed; i++)
		journal_consume(s->j, s->claimed[i]);
	s->batch = b.number;
	s->told = b.losses;
	s->n_notes -= b.n_notes;
	memmove(s->notes, s->notes + b.n_notes, s->n_notes * sizeof(*s->notes));
	s->db.last_seq = b.seq;
	s->db.records += b.records;
	memcpy(s->db.last_hash, b.hash, sizeof(b.hash));
	if (full && s->db.last_seq != s->head_seq)
		write_head(s, now);
	if (!s->head_bad)
		set_health(s, true, "");
	publish(s);
	return (int)b.n_claimed;
}

static void announce(struct store *s, uint64_t now)
{
	if (!s->have_db || s->db.last_seq == s->announced_seq ||
	    now - s->announced_ns < ANNOUNCE_EVERY_NS)
		return;
	log_notice("evidence: head %" PRIu64 ":%s key %.16s", s->db.last_seq, s->db.last_hash,
		   s->key.fingerprint);
	s->announced_seq = s->db.last_seq;
	s->announced_ns = now;
}

static void prune(struct store *s, uint64_t now)
{
	uint64_t removed = 0;
	int r;

	if (s->pruned_ns && now - s->pruned_ns < PRUNE_EVERY_NS)
		return;
	s->pruned_ns = now;
	r = prune_run(&s->db, wall_ns(), s->c.max_size_bytes, &removed);
	if (removed)
		add_note(s, "records pruned", "{\"removed\":%" PRIu64 "}", removed);
	if (r)
		give_up(s, r);
}

/* One turn; true when there may be more to do at once. `leisure`: nobody waits for it. */
static bool turn(struct store *s, bool leisure)
{
	uint64_t now = now_ns();
	int n;

	if (s->retry_ns && now < s->retry_ns)
		return false;
	s->retry_ns = 0;
	if (s->have_db && head_is_due(s, now) && db_is_gone(&s->db, s->dir)) {
		add_note(s, "database gone", "{\"why\":\"" DB_FILE " was removed or replaced\"}");
		close_db(s);
		if (s->dir_fd >= 0)
			close(TAKE_FD(s->dir_fd));
	}
	n = get_ready(s);
	if (!n) {
		/* The first turn shows that the database takes a write, even without news. */
		bool must = !s->health_told || (!s->healthy && !s->head_bad) ||
			    (s->db.last_seq != s->head_seq && head_is_due(s, now));

		n = run_batch(s, must);
	}
	if (n < 0) {
		s->retry_ns = now_ns() + RETRY_NS;
		return false;
	}
	if (leisure) {
		prune(s, now);
		announce(s, now);
	}
	return n > 0;
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
		more = turn(s, true);
		pthread_mutex_lock(&s->lock);
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

static void free_store(struct store *s)
{
	close_db(s);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	sodium_memzero(&s->key, sizeof(s->key));
	text_free(&s->json);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->done);
	free(s->dir);
	free(s);
}

int store_open(const struct store_config *c, struct journal *j, struct store **ret)
{
	struct store *s = calloc(1, sizeof(*s));
	pthread_condattr_t attr;

	if (!s)
		return -ENOMEM;
	s->c = *c;
	s->j = j;
	s->dir_fd = -1;
	s->dir = strdup(c->state_dir);
	if (!s->dir || sodium_init() < 0) {
		free(s->dir);
		free(s);
		return -ENOMEM;
	}
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->wake, &attr);
	pthread_cond_init(&s->done, &attr);
	pthread_condattr_destroy(&attr);
	if (gethostname(s->host, sizeof(s->host) - 1) < 0)
		strcpy(s->host, "localhost");
	if (zone_load(&s->zone))
		s->zone.n = 0; /* UTC, and it says so with its Z */
	turn(s, false);
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

	journal_positions(s->j, &target, &tail);
	pthread_mutex_lock(&s->lock);
	while (journal_positions(s->j, &head, &tail), tail < target && !r) {
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
	/* What came while the thread ended, and a head that is durable. */
	s->head_ns = 0;
	s->announced_ns = 0;
	if (s->have_db && run_batch(s, s->db.last_seq != s->head_seq) >= 0)
		announce(s, now_ns());
	free_store(s);
}

void store_status(struct store *s, struct store_status *ret)
{
	struct journal_stats js;

	journal_stats(s->j, &js);
	pthread_mutex_lock(&s->lock);
	*ret = s->pub;
	pthread_mutex_unlock(&s->lock);
	ret->lost = js.lost;
	ret->pending = js.pending;
}
