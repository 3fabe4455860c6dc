/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the store share: one in DIR/state with its ring in DIR/journal. */
#ifndef OKNEK_T_STORE_H
#define OKNEK_T_STORE_H

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "t/evidence.h"

#include "store/db.h"
#include "store/store.h"

struct health {
	unsigned changes;
	bool ok;
	char why[256];
};

static inline void on_health(void *arg, bool ok, const char *why)
{
	struct health *h = arg;

	h->changes++;
	h->ok = ok;
	snprintf(h->why, sizeof(h->why), "%s", why);
}

/* A store in DIR/state with its ring in DIR/journal. */
struct setup {
	struct journal *j;
	struct store *s;
	struct health health;
};

static inline void start(struct scratch *sc, struct setup *u, size_t ring)
{
	const char *state = in(sc, "state");
	struct store_config c = {.state_dir = state, .health = on_health, .arg = &u->health};

	*u = (struct setup){0};
	mkdir(state, 0700);
	assert_int_equal(journal_open(in(sc, "journal"), ring, &u->j), 0);
	assert_int_equal(store_open(&c, u->j, &u->s), 0);
	assert_int_equal(store_start(u->s), 0);
}

static inline void stop(struct setup *u)
{
	store_close(u->s, u->health.ok ? 5000 : 50);
	journal_close(u->j);
}

static inline void fill(struct scratch *sc, unsigned n)
{
	struct setup u;

	start(sc, &u, 0);
	for (unsigned i = 0; i < n; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/home/u/.aws/credentials%u", i);
		assert_true(evidence_record(u.j, path));
	}
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);
}

static inline const char *db_path(struct scratch *sc)
{
	return in(sc, "state/oknek.db");
}

static inline int verify(struct scratch *sc, struct store_verify_result *v)
{
	*v = (struct store_verify_result){0};
	return store_verify(db_path(sc), NULL, NULL, 0, NULL, v);
}

/* Beside a store that runs, which for moments has it for itself. The caller's to close. */
static inline sqlite3 *open_beside(struct scratch *sc)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(db_path(sc), &db), SQLITE_OK);
	assert_int_equal(sqlite3_busy_timeout(db, 30000), SQLITE_OK);
	return db;
}

static inline void sql(struct scratch *sc, const char *text)
{
	sqlite3 *db = open_beside(sc);
	char *err = NULL;

	sqlite3_exec(db, text, NULL, NULL, &err);
	if (err)
		fail_msg("%s: %s", text, err);
	sqlite3_close(db);
}

static inline int64_t sql_number(struct scratch *sc, const char *text)
{
	sqlite3 *db = open_beside(sc);
	sqlite3_stmt *s;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(db, text, -1, &s, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return n;
}

static inline void copy(struct scratch *sc, const char *from, const char *to)
{
	char cmd[400];

	snprintf(cmd, sizeof(cmd), "cp -a '%s' '%s'", in(sc, from), in(sc, to));
	assert_int_equal(system(cmd), 0);
}

struct seen {
	unsigned n;
	char *last;
	uint64_t last_seq;
};

static inline int see(void *arg, uint64_t seq, const char *json)
{
	struct seen *s = arg;

	s->n++;
	s->last_seq = seq;
	free(s->last);
	s->last = strdup(json);
	return 0;
}

static inline unsigned count(struct scratch *sc, const struct store_filter *f)
{
	struct seen s = {0};

	assert_int_equal(store_query(db_path(sc), f, see, &s), 0);
	free(s.last);
	return s.n;
}

static inline void wait_health(struct setup *u, bool ok)
{
	struct store_status st;

	for (int i = 0; i < 500; i++) {
		store_status(u->s, &st);
		if (st.ok == ok)
			return;
		usleep(10000);
	}
	fail_msg("health never became %d: %s", ok, st.why);
}

static inline void scribble(struct scratch *sc, const char *name, off_t at, size_t len)
{
	int fd = open(in(sc, name), O_WRONLY);
	char junk[4096];

	memset(junk, 'x', sizeof(junk));
	assert_true(fd >= 0);
	assert_true(pwrite(fd, junk, len, at) == (ssize_t)len);
	close(fd);
}

static inline void open_db(struct scratch *sc, struct host_key *k, struct db *db)
{
	int fd = open(in(sc, "state"), O_RDONLY | O_DIRECTORY);

	assert_int_equal(key_load(fd, k, &(struct key_care){0}), 0);
	close(fd);
	assert_int_equal(db_open(in(sc, "state"), k, 0, db), 0);
}

static inline void mount_state(struct scratch *sc, const char *options)
{
	mkdir(in(sc, "state"), 0700);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", in(sc, "state"), "tmpfs", 0, options) < 0)
		skip();
}

#endif
