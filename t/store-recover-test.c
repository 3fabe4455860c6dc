/* SPDX-License-Identifier: Apache-2.0 */
/* The store is opened on evidence that is not as it was left: broken, older, without its key or
 * with another, made by another version, under a clock that jumped. */
#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <sys/wait.h>
#include <time.h>

#include "t/store.h"

#include "core/log.h"
#include "store/age.h"

static void run_sh(struct scratch *sc, const char *command)
{
	char text[600];

	snprintf(text, sizeof(text), "cd '%s' && { %s; }", sc->dir, command);
	if (system(text))
		fail_msg("%s", command);
}

/* How many records of the store's own have this name. */
static unsigned told(struct scratch *sc, const char *name)
{
	char text[200];

	snprintf(text, sizeof(text),
		 "SELECT count(*) FROM events WHERE rule='O1' AND json LIKE '%%\"name\":\"%s\"%%'",
		 name);
	return (unsigned)sql_number(sc, text);
}

static void expect_verify(struct scratch *sc, int want, const char *finding, uint64_t seq)
{
	struct store_verify_result v;
	int r = verify(sc, &v);

	if (r != want || strcmp(v.finding, finding) || v.first_bad_seq != seq)
		fail_msg("%d %s %" PRIu64 ": %s", r, v.finding, v.first_bad_seq, v.problem);
}

/* ---- older copies and cut ends --------------------------------------------------------------- */

static void start_with_older(struct scratch *sc)
{
	fill(sc, 3);
	run_sh(sc, "cp -a state older");
	fill(sc, 2);
}

static void an_older_database_is_no_tampering(void **state)
{
	struct scratch *sc = *state;

	start_with_older(sc);
	run_sh(sc, "rm state/oknek.db*; cp -a older/oknek.db* state/");
	expect_verify(sc, 1, "ends-early", 4);
	fill(sc, 1);
	expect_verify(sc, 1, "lost", 4);
	assert_int_equal(told(sc, "evidence behind its head"), 1);
	/* It is told once, and tampering beside it is told first. */
	fill(sc, 1);
	assert_int_equal(told(sc, "evidence behind its head"), 1);
	expect_verify(sc, 1, "lost", 4);
	sql(sc, "UPDATE events SET json=replace(json,'EPERM','EACCE') WHERE seq=8");
	expect_verify(sc, 1, "altered", 8);
}

static void an_older_database_and_head_agree(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	char hash[65];

	start_with_older(sc);
	assert_int_equal(verify(sc, &v), 0);
	memcpy(hash, v.last_hash, sizeof(hash));
	run_sh(sc, "rm -r state; cp -a older state");
	expect_verify(sc, 0, "", 0); /* nothing here can know */
	assert_int_equal(store_verify(db_path(sc), NULL, NULL, 5, hash, &v), 1);
	assert_string_equal(v.finding, "ends-early");
	assert_int_equal(v.first_bad_seq, 4);
}

static void an_older_head_is_no_fault(void **state)
{
	struct scratch *sc = *state;

	start_with_older(sc);
	run_sh(sc, "cp -a older/head state/");
	expect_verify(sc, 0, "", 0);
	fill(sc, 1);
	expect_verify(sc, 0, "", 0);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE rule='O1'"), 0);
}

static void an_end_that_was_cut_is_tampering(void **state)
{
	struct scratch *sc = *state;

	fill(sc, 5);
	sql(sc, "DELETE FROM events WHERE seq>3");
	expect_verify(sc, 1, "removed", 4);
	fill(sc, 1);
	expect_verify(sc, 1, "removed", 4);
	assert_int_equal(told(sc, "records removed"), 1);
}

static void a_cut_end_without_its_head_too(void **state)
{
	struct scratch *sc = *state;

	fill(sc, 5);
	sql(sc, "DELETE FROM events WHERE seq>3");
	run_sh(sc, "rm state/head");
	expect_verify(sc, 1, "removed", 4);
	fill(sc, 1);
	expect_verify(sc, 1, "removed", 4);
	assert_int_equal(told(sc, "records removed"), 1);
	assert_int_equal(told(sc, "evidence altered"), 1); /* the head is missing */
}

static void an_altered_head_is_kept_and_told(void **state)
{
	struct scratch *sc = *state;

	fill(sc, 2);
	run_sh(sc, "sed -i 's/seq\":2/seq\":9/' state/head");
	expect_verify(sc, 1, "head", 2);
	fill(sc, 1);
	expect_verify(sc, 0, "", 0);
	assert_int_equal(told(sc, "evidence altered"), 1);
	run_sh(sc, "test -f state/head.bad-*");
}

/* The gap is signed, and then the daemon dies before the record that tells of it. */
static void a_gap_may_be_the_last_thing(void **state)
{
	struct scratch *sc = *state;
	struct host_key k;
	struct db db;
	struct pruned p = {.first = 4, .last = 5, .why = "lost"};

	start_with_older(sc);
	run_sh(sc, "rm state/oknek.db*; cp -a older/oknek.db* state/");
	open_db(sc, &k, &db);
	memcpy(p.prev, db.last_hash, sizeof(p.prev));
	memset(p.hash, 'a', RECORD_HASH_HEX);
	assert_int_equal(db_begin(&db, true), 0);
	assert_int_equal(prune_mark(&db, &p), 0);
	assert_int_equal(db_commit(&db), 0);
	db_close(&db);
	run_sh(sc, "cp -a older/head state/");
	expect_verify(sc, 1, "lost", 4);
	fill(sc, 1);
	expect_verify(sc, 1, "lost", 4);
	assert_int_equal(sql_number(sc, "SELECT max(seq) FROM events"), 6);
}

/* What is lost does not become what was pruned, until the record that tells of it has gone too. */
static void what_is_lost_is_not_pruned_away(void **state)
{
	struct scratch *sc = *state;
	int64_t later = ((int64_t)time(NULL) + 91 * 86400) * (int64_t)NSEC_PER_SEC;
	struct host_key k;
	struct db db;
	uint64_t n = 0;

	start_with_older(sc);
	run_sh(sc, "rm state/oknek.db*; cp -a older/oknek.db* state/");
	fill(sc, 3); /* 6: the record that tells, 7 to 9 */
	open_db(sc, &k, &db);
	assert_int_equal(prune_by_age(&db, later, &n), 0);
	assert_int_equal(n, 5); /* 1 to 3, 7, 8 */
	db_close(&db);
	expect_verify(sc, 1, "lost", 4);
	open_db(sc, &k, &db);
	assert_int_equal(prune_by_age(&db, later + 366LL * 86400 * (int64_t)NSEC_PER_SEC, &n), 0);
	db_close(&db);
	expect_verify(sc, 0, "", 0);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM pruned"), 1);
}

/* ---- files that are none --------------------------------------------------------------------- */

/* After what `command` does, the daemon starts, records, and verify says want. */
static void breaks(struct scratch *sc, const char *command, int want, const char *finding,
		   bool aside)
{
	struct store_status st;
	struct setup u;

	run_sh(sc, "rm -rf state journal");
	fill(sc, 40);
	run_sh(sc, command);
	start(sc, &u, 0);
	assert_true(evidence_record(u.j, "/after"));
	assert_int_equal(store_flush(u.s, 5000), 0);
	store_status(u.s, &st);
	if (!st.ok)
		fail_msg("%s: %s", command, st.why);
	if (aside && !strstr(st.incident, "set aside"))
		fail_msg("%s: told: %s", command, st.incident);
	stop(&u);
	if (sql_number(sc, "SELECT count(*) FROM events WHERE json LIKE '%/after%'") != 1)
		fail_msg("%s: not recorded", command);
	assert_int_equal(sql_number(sc, "SELECT max(seq) FROM events WHERE json LIKE '%/after%'"),
			 42);
	assert_int_equal(told(sc, "database set aside"), aside);
	expect_verify(sc, want, finding, want ? 1 : 0);
	if (aside)
		run_sh(sc, "test -e state/oknek.db.bad-*[0-9]");
}

static void a_broken_database_is_kept_and_another_started(void **state)
{
	struct scratch *sc = *state;

	breaks(sc, "dd if=/dev/urandom of=state/oknek.db bs=100 count=1 conv=notrunc 2>/dev/null", 0, "",
	       true);
	breaks(sc, "rm -f state/oknek.db-*; truncate -s 6000 state/oknek.db || true", 0, "", true);
	breaks(sc, "rm state/oknek.db; mkdir -p state/oknek.db/x", 0, "", true);
	breaks(sc, "ln -sf /dev/null state/oknek.db", 0, "", true);
	breaks(sc, "rm state/oknek.db; mkfifo state/oknek.db", 0, "", true);
	breaks(sc, "rm -f state/oknek.db-wal; mkdir state/oknek.db-wal", 0, "", true);
	breaks(sc, "echo 'CREATE TRIGGER x AFTER INSERT ON events BEGIN DELETE FROM events; END' |"
		   " sqlite3 state/oknek.db",
	       0, "", true);
	breaks(sc, "echo 'DROP TABLE pruned' | sqlite3 state/oknek.db", 0, "", true);
	/* Nothing is left to keep. */
	breaks(sc, "truncate -s 0 state/oknek.db", 1, "lost", false);
	breaks(sc, "rm state/oknek.db*", 1, "lost", false);
}

/* The numbers go on from the head, not from what somebody wrote into the column, be it signed by now. */
static void a_number_that_none_has_ends_no_chain(void **state)
{
	struct scratch *sc = *state;
	struct store_head h = {.seq = UINT64_C(9223372036854775814)};
	struct host_key k;
	int fd;

	breaks(sc, "echo 'UPDATE events SET seq=9223372036854775807 WHERE seq=6' |"
		   " sqlite3 state/oknek.db",
	       0, "", true);
	fill(sc, 1);
	expect_verify(sc, 0, "", 0);
	assert_int_equal(sql_number(sc, "SELECT max(seq) FROM events"), 43);
	assert_int_equal(told(sc, "records removed"), 0);
	/* As it was left by a daemon that had gone on from there. */
	run_sh(sc, "rm -rf state journal");
	fill(sc, 5);
	fd = open(in(sc, "state"), O_RDONLY | O_DIRECTORY);
	assert_int_equal(key_load(fd, &k, &(struct key_care){0}), 0);
	memset(h.hash, 'a', RECORD_HASH_HEX);
	assert_int_equal(head_write(fd, &k, &h), 0);
	assert_int_equal(head_read(fd, "head", k.public, &h), -EBADMSG);
	close(fd);
	expect_verify(sc, 1, "head", 5);
	sql(sc, "UPDATE events SET seq=-9223372036854775808 WHERE seq=5;"
		"UPDATE events SET seq=9223372036854775807 WHERE seq=4");
	fill(sc, 2);
	fill(sc, 1);
	expect_verify(sc, 0, "", 0);
	assert_int_equal(sql_number(sc, "SELECT min(seq) FROM events"), 1);
	assert_int_equal(sql_number(sc, "SELECT max(seq) FROM events"), 5); /* two tell of it */
}

/* How the record of `breaks` says why. */
static void why_is(struct scratch *sc, const char *command, const char *why)
{
	char text[300];

	breaks(sc, command, 0, "", true);
	snprintf(text, sizeof(text), "SELECT count(*) FROM events WHERE json LIKE '%%\"why\":\"%s%%'", why);
	if (sql_number(sc, text) != 1)
		fail_msg("%s: not %s", command, why);
}

static void what_was_altered_is_told_from_what_cannot_be_read(void **state)
{
	struct scratch *sc = *state;

	why_is(sc, "head -c 9000 /dev/urandom >state/oknek.db", "it could not be read (oknek.db: ");
	why_is(sc, "echo 'CREATE VIEW v AS SELECT 1' | sqlite3 state/oknek.db",
	       "it was altered (oknek.db: somebody put triggers or views into it)");
	why_is(sc, "echo 'PRAGMA user_version=1' | sqlite3 state/oknek.db",
	       "it was altered (oknek.db: its schema version was put back)");
	why_is(sc, "echo 'PRAGMA user_version=0' | sqlite3 state/oknek.db",
	       "it was altered (oknek.db: its schema version was put back)");
	why_is(sc, "echo 'PRAGMA user_version=-7' | sqlite3 state/oknek.db",
	       "it was altered (oknek.db: its schema version was altered)");
	why_is(sc, "echo 'ALTER TABLE meta RENAME TO \"m\"' | sqlite3 state/oknek.db",
	       "it was altered (oknek.db: no such table: meta)");
}

static void a_log_that_is_garbage_is_passed_over(void **state)
{
	struct scratch *sc = *state;

	fill(sc, 3);
	run_sh(sc, "head -c 50000 /dev/urandom >state/oknek.db-wal;"
		   "head -c 32768 /dev/urandom >state/oknek.db-shm; chmod 600 state/*");
	fill(sc, 1);
	expect_verify(sc, 0, "", 0);
	assert_int_equal(count(sc, &(struct store_filter){0}), 4);
}

/* Killed with everything still in the log, which is then lost: what the head knows of is missing. */
static void a_log_that_is_lost_is_told(void **state)
{
	struct scratch *sc = *state;
	pid_t pid;

	fill(sc, 2);
	pid = fork();
	if (!pid) {
		struct setup u;

		start(sc, &u, 0);
		for (int i = 0; i < 3; i++)
			evidence_record(u.j, "/x");
		if (store_flush(u.s, 5000))
			_exit(1);
		sleep(2); /* a head is written each second */
		evidence_record(u.j, "/x");
		if (store_flush(u.s, 5000))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	expect_verify(sc, 0, "", 0);
	run_sh(sc, "head -c 50000 /dev/urandom >state/oknek.db-wal");
	expect_verify(sc, 1, "ends-early", 3);
	fill(sc, 1);
	expect_verify(sc, 1, "lost", 3);
}

static void others_could_open_it(void **state)
{
	struct scratch *sc = *state;
	struct stat st;

	fill(sc, 2);
	run_sh(sc, "chmod 666 state/oknek.db; chmod 644 state/host.key");
	if (!geteuid())
		run_sh(sc, "chown 1234 state/oknek.db");
	fill(sc, 1);
	expect_verify(sc, 0, "", 0);
	assert_int_equal(told(sc, "database was open to others"), 1);
	assert_int_equal(told(sc, "host key was open to others"), 1);
	stat(db_path(sc), &st);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_uid, geteuid());
	stat(in(sc, "state/host.key"), &st);
	assert_int_equal(st.st_mode & 0777, 0600);
}

/* ---- the key --------------------------------------------------------------------------------- */

static void without_its_key(struct scratch *sc, const char *command)
{
	struct store_verify_result v;
	struct store_status st;
	struct setup u;

	run_sh(sc, "rm -rf state journal");
	fill(sc, 3);
	run_sh(sc, command);
	start(sc, &u, 0);
	evidence_record(u.j, "/after");
	assert_int_equal(store_flush(u.s, 5000), 0);
	store_status(u.s, &st);
	assert_non_null(strstr(st.incident, "host.key"));
	stop(&u);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 2);
	assert_int_equal(v.aside, 3); /* the chain goes on from the old head */
	assert_int_equal(v.last_seq, 5);
	assert_int_equal(told(sc, "host key replaced"), 1);
	/* And the old evidence holds, by its own key. */
	run_sh(sc, "mkdir old; for f in oknek.db host.pub head; do"
		   " mv state/$f.bad-*[0-9] old/$f; done");
	assert_int_equal(store_verify(in(sc, "old/oknek.db"), NULL, NULL, 0, NULL, &v), 0);
	assert_int_equal(v.checked, 3);
	assert_true(v.head_checked);
	run_sh(sc, "rm -r old");
}

static void a_new_key_is_never_made_in_silence(void **state)
{
	struct scratch *sc = *state;

	without_its_key(sc, "rm state/host.key");
	without_its_key(sc, "truncate -s 0 state/host.key");
	without_its_key(sc, "echo not a key >state/host.key");
	run_sh(sc, "ls state/host.key.bad-*[0-9] >/dev/null");
	without_its_key(sc, "rm state/host.key; mkdir state/host.key");
}

/* Another key that is one, and the public one of before: what it signed can still be verified. */
static void a_key_in_place_of_another_loses_nothing(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;

	fill(sc, 3);
	run_sh(sc, "cp state/host.pub old.pub; tr 0-9a-f 1-9a-f0 <state/host.key >k;"
		   " cat k >state/host.key");
	fill(sc, 1);
	expect_verify(sc, 0, "", 0);
	assert_int_equal(told(sc, "database set aside"), 1);
	assert_int_equal(told(sc, "public key altered"), 1);
	run_sh(sc, "cmp state/host.pub.bad-*[0-9] old.pub; ! cmp -s state/host.pub old.pub;"
		   " mkdir old; for f in oknek.db host.pub head; do"
		   " mv state/$f.bad-*[0-9] old/$f; done");
	assert_int_equal(store_verify(in(sc, "old/oknek.db"), NULL, NULL, 0, NULL, &v), 0);
	assert_int_equal(v.checked, 3);
	assert_true(v.head_checked);
}

static void a_public_key_that_is_missing_is_told(void **state)
{
	struct scratch *sc = *state;

	fill(sc, 1);
	fill(sc, 1);
	assert_int_equal(told(sc, "public key altered"), 0);
	run_sh(sc, "cp state/host.pub old.pub; rm state/host.pub");
	fill(sc, 1);
	run_sh(sc, "cmp state/host.pub old.pub");
	assert_int_equal(told(sc, "public key altered"), 1);
	fill(sc, 1);
	assert_int_equal(told(sc, "public key altered"), 1);
	expect_verify(sc, 0, "", 0);
}

static void a_key_whose_evidence_is_gone_is_told(void **state)
{
	static const char *const commands[] = {
		"rm state/oknek.db* state/head",
		"rm state/oknek.db* state/head state/host.pub",
		"rm -f state/oknek.db-* state/head; truncate -s 0 state/oknek.db",
	};
	struct scratch *sc = *state;
	struct store_status st;
	struct setup u;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		run_sh(sc, "rm -rf state journal");
		fill(sc, 0); /* the first start, and one that had nothing to record */
		fill(sc, 0);
		fill(sc, 3);
		assert_int_equal(told(sc, "evidence gone"), 0);
		run_sh(sc, commands[i]);
		start(sc, &u, 0);
		store_status(u.s, &st);
		stop(&u);
		if (told(sc, "evidence gone") != 1 || !strstr(st.incident, "gone"))
			fail_msg("%s: not told: %s", commands[i], st.incident);
		fill(sc, 1);
		assert_int_equal(told(sc, "evidence gone"), 1);
		expect_verify(sc, 0, "", 0);
	}
	/* One that was put beside is not gone. */
	run_sh(sc, "rm state/head; echo none >state/oknek.db; rm -f state/oknek.db-*");
	fill(sc, 1);
	assert_int_equal(told(sc, "database set aside"), 1);
	assert_int_equal(told(sc, "evidence gone"), 0);
}

static void another_hosts_database_is_put_beside(void **state)
{
	struct scratch *sc = *state;

	fill(sc, 2);
	run_sh(sc, "mv state other; rm journal");
	fill(sc, 4);
	run_sh(sc, "rm state/oknek.db*; cp other/oknek.db state/");
	expect_verify(sc, 1, "altered", 1);
	fill(sc, 1);
	/* Ours are not in it: they are lost. */
	expect_verify(sc, 1, "lost", 1);
	assert_int_equal(told(sc, "database set aside"), 1);
}

static void rows_of_meta_are_mended_and_told(void **state)
{
	static const char *const changes[] = {
		"UPDATE meta SET value='0' WHERE key='key'",
		"UPDATE meta SET value='0' WHERE key='install_id'",
		"DELETE FROM meta WHERE key='end'",
		"UPDATE meta SET value=replace(value,' ','  ') WHERE key='end'",
	};
	struct scratch *sc = *state;

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		run_sh(sc, "rm -rf state journal");
		fill(sc, 2);
		sql(sc, changes[i]);
		expect_verify(sc, 1, "altered", 2);
		fill(sc, 1);
		if (told(sc, "evidence altered") != 1)
			fail_msg("%s: not told", changes[i]);
		expect_verify(sc, 0, "", 0);
		assert_int_equal(count(sc, &(struct store_filter){0}), 4);
	}
}

/* ---- versions -------------------------------------------------------------------------------- */

static void a_newer_schema_is_left_alone(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct setup u;

	fill(sc, 2);
	sql(sc, "PRAGMA user_version=99; PRAGMA journal_mode=DELETE");
	run_sh(sc, "sha256sum state/oknek.db >sum");
	start(sc, &u, 0);
	evidence_record(u.j, "/a");
	wait_health(&u, false);
	assert_non_null(strstr(u.health.why, "newer"));
	stop(&u);
	run_sh(sc, "sha256sum -c sum >/dev/null; ! ls state/*.bad-* 2>/dev/null");
	assert_int_equal(verify(sc, &v), -EPROTO);
	/* What was in the ring is there when the newer one, or the older database, is. */
	sql(sc, "PRAGMA user_version=2");
	fill(sc, 0);
	assert_int_equal(count(sc, &(struct store_filter){0}), 3);
}

/* ---- clocks ---------------------------------------------------------------------------------- */

#define DAY_NS (86400 * (int64_t)NSEC_PER_SEC)

static int64_t clock_offset_ns;

static int64_t shifted_wall_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * (int64_t)NSEC_PER_SEC + t.tv_nsec + __atomic_load_n(&clock_offset_ns, 0);
}

static void time_is_believed_as_it_passes(void **state)
{
	int64_t t0 = 1800000000 * (int64_t)NSEC_PER_SEC, step;
	struct age a = {0};
	uint64_t boot = 5 * NSEC_PER_SEC;

	(void)state;
	age_advance(&a, 10 * (int64_t)NSEC_PER_SEC, boot, &step); /* 1970: nobody believes that */
	assert_int_equal(a.now_ns, 0);
	age_advance(&a, t0, boot += NSEC_PER_SEC, &step);
	assert_int_equal(a.now_ns, t0);
	assert_true(step > 0);
	age_advance(&a, t0 += NSEC_PER_SEC, boot += NSEC_PER_SEC, &step);
	assert_int_equal(step, 0);
	assert_int_equal(a.now_ns, t0);
	/* A long sleep is time that passes. */
	age_advance(&a, t0 += 30 * DAY_NS, boot += 30 * (uint64_t)DAY_NS, &step);
	assert_int_equal(step, 0);
	assert_int_equal(a.now_ns, t0);
	/* Set back: it stands still. */
	age_advance(&a, t0 - DAY_NS, boot += NSEC_PER_SEC, &step);
	assert_int_equal(step, -86401);
	assert_int_equal(a.now_ns, t0);
	/* Ten years ahead, for an hour: a day. */
	age_advance(&a, t0 + 3650 * DAY_NS, boot += NSEC_PER_SEC, &step);
	assert_int_equal(a.now_ns, t0 + 24 * (int64_t)NSEC_PER_SEC);
	assert_true(age_doubts(&a));
	boot += 3600 * NSEC_PER_SEC;
	age_advance(&a, t0 + 3650 * DAY_NS + 3600 * (int64_t)NSEC_PER_SEC, boot, &step);
	assert_int_equal(step, 0);
	assert_int_equal(a.now_ns, t0 + DAY_NS + 24 * (int64_t)NSEC_PER_SEC);
	/* Off for a week, and started again. */
	a = (struct age){.now_ns = t0};
	age_advance(&a, t0 + 6 * DAY_NS, 77, &step);
	assert_int_equal(a.now_ns, t0 + 6 * DAY_NS);
	a = (struct age){.now_ns = t0};
	age_advance(&a, t0 + 60 * DAY_NS, 77, &step);
	assert_int_equal(a.now_ns, t0);
}

static void start_shifted(struct scratch *sc, struct setup *u)
{
	struct store_config c = {.state_dir = in(sc, "state"),
				 .wall_ns = shifted_wall_ns,
				 .health = on_health,
				 .arg = &u->health};

	*u = (struct setup){0};
	mkdir(c.state_dir, 0700);
	assert_int_equal(journal_open(in(sc, "journal"), 0, &u->j), 0);
	assert_int_equal(store_open(&c, u->j, &u->s), 0);
	assert_int_equal(store_start(u->s), 0);
}

static void wait_told(struct scratch *sc, const char *name, unsigned n)
{
	for (int i = 0; i < 500; i++) {
		if (told(sc, name) >= n)
			return;
		usleep(10000);
	}
	fail_msg("never told: %s", name);
}

static void a_clock_that_jumps_removes_nothing(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct setup u;

	clock_offset_ns = 0;
	start_shifted(sc, &u);
	for (int i = 0; i < 5; i++)
		evidence_record(u.j, "/a");
	assert_int_equal(store_flush(u.s, 5000), 0);
	__atomic_store_n(&clock_offset_ns, 3650 * DAY_NS, 0);
	wait_told(sc, "clock set", 1);
	evidence_record(u.j, "/ahead");
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);
	start_shifted(sc, &u); /* the first thing it would do is to prune */
	wait_told(sc, "clock is ahead of the evidence", 1);
	__atomic_store_n(&clock_offset_ns, -3650 * DAY_NS, 0);
	wait_told(sc, "clock set", 2);
	evidence_record(u.j, "/behind");
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.pruned, 0);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "R3"}), 7);
	start_shifted(sc, &u);
	wait_told(sc, "clock is behind the evidence", 1);
	stop(&u);
	assert_int_equal(verify(sc, &v), 0);
	__atomic_store_n(&clock_offset_ns, 0, 0);
}

/* Each attempt to find the end finds the same: it is told once, whatever comes of it at last. */
static void an_opening_that_fails_for_long_tells_once(void **state)
{
	struct scratch *sc = *state;

	for (int altered = 0; altered < 2; altered++) {
		struct store_status st;
		struct setup u;
		sqlite3 *other;

		run_sh(sc, "rm -rf state journal older");
		clock_offset_ns = 0;
		start_shifted(sc, &u);
		for (int i = 0; i < 3; i++)
			evidence_record(u.j, "/a");
		assert_int_equal(store_flush(u.s, 5000), 0);
		stop(&u);
		run_sh(sc, "cp -a state older");
		start_shifted(sc, &u);
		evidence_record(u.j, "/b");
		assert_int_equal(store_flush(u.s, 5000), 0);
		stop(&u);
		/* The gap that has to be signed cannot be, because somebody writes. */
		run_sh(sc, "rm state/oknek.db*; cp -a older/oknek.db* state/");
		sql(sc, "UPDATE retention SET retain_s=5");
		other = open_beside(sc);
		assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
		clock_offset_ns = 3650 * DAY_NS; /* two notes each time */
		start_shifted(sc, &u);
		usleep(2600000);
		store_status(u.s, &st);
		assert_false(st.ok);
		if (altered)
			run_sh(sc, "sed -i s/seq/qes/ state/head");
		sqlite3_close(other);
		wait_told(sc, "clock is ahead of the evidence", 1);
		assert_int_equal(told(sc, "clock is ahead of the evidence"), 1);
		assert_int_equal(told(sc, "evidence behind its head"), !altered);
		assert_int_equal(told(sc, "evidence altered"), 1 + altered);
		assert_int_equal(told(sc, "notes of the store not recorded"), 0);
		stop(&u);
		clock_offset_ns = 0;
	}
}

static void what_has_grown_old_goes_by_itself(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct host_key k;
	struct setup u;
	struct db db;

	clock_offset_ns = 0;
	start_shifted(sc, &u);
	for (int i = 0; i < 5; i++)
		evidence_record(u.j, "/a");
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);
	open_db(sc, &k, &db); /* as if the rule had said four days */
	assert_int_equal(db_begin(&db, true), 0);
	assert_int_equal(prune_retention_set(&db, "R3", "aws", 4 * 86400), 0);
	assert_int_equal(db_commit(&db), 0);
	db_close(&db);
	clock_offset_ns = 5 * DAY_NS; /* switched off over a long weekend */
	start_shifted(sc, &u);
	wait_told(sc, "records pruned", 1);
	stop(&u);
	clock_offset_ns = 0;
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.pruned, 4); /* the newest stays */
}

/* The kernel's name for this start of the host is another: it went down with us. */
static void a_host_that_went_down_is_told(void **state)
{
	struct scratch *sc = *state;
	pid_t pid;
	FILE *f;

	fill(sc, 1);
	pid = fork();
	if (!pid) {
		struct setup u;

		start(sc, &u, 0);
		evidence_record(u.j, "/x");
		if (store_flush(u.s, 5000))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	fill(sc, 1);
	assert_int_equal(told(sc, "host stopped"), 0); /* killed, but the host went on */
	run_sh(sc, "cp -a state before");
	pid = fork();
	if (!pid) {
		struct setup u;

		start(sc, &u, 0);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	f = fopen(in(sc, "boot"), "w");
	fputs("01234567-89ab-cdef-0123-456789abcdef\n", f);
	fclose(f);
	if (mount(in(sc, "boot"), "/proc/sys/kernel/random/boot_id", NULL, MS_BIND, NULL) < 0)
		skip();
	unlink(in(sc, "journal"));
	fill(sc, 1);
	assert_int_equal(told(sc, "host stopped"), 1);
	fill(sc, 1); /* and that one ended in order */
	assert_int_equal(told(sc, "host stopped"), 1);
	expect_verify(sc, 0, "", 0);
	umount("/proc/sys/kernel/random/boot_id");
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(an_older_database_is_no_tampering),
		T(an_older_database_and_head_agree),
		T(an_older_head_is_no_fault),
		T(an_end_that_was_cut_is_tampering),
		T(a_cut_end_without_its_head_too),
		T(an_altered_head_is_kept_and_told),
		T(a_gap_may_be_the_last_thing),
		T(what_is_lost_is_not_pruned_away),
		T(a_broken_database_is_kept_and_another_started),
		T(a_number_that_none_has_ends_no_chain),
		T(what_was_altered_is_told_from_what_cannot_be_read),
		T(a_log_that_is_garbage_is_passed_over),
		T(a_log_that_is_lost_is_told),
		T(others_could_open_it),
		T(a_new_key_is_never_made_in_silence),
		T(a_key_in_place_of_another_loses_nothing),
		T(a_public_key_that_is_missing_is_told),
		T(a_key_whose_evidence_is_gone_is_told),
		T(another_hosts_database_is_put_beside),
		T(rows_of_meta_are_mended_and_told),
		T(a_newer_schema_is_left_alone),
		T(time_is_believed_as_it_passes),
		T(a_clock_that_jumps_removes_nothing),
		T(an_opening_that_fails_for_long_tells_once),
		T(what_has_grown_old_goes_by_itself),
		T(a_host_that_went_down_is_told),
	};

	if (sodium_init() < 0)
		return 1;
	log_set_level(LOG_ERROR - 1); /* what goes wrong here is meant to */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
