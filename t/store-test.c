/* SPDX-License-Identifier: Apache-2.0 */
/* The database of evidence: what is in it, what happens when it cannot be written, and that no
 * change to it goes unnoticed. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <sodium.h>
#include <sqlite3.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "t/store.h"

#include "core/log.h"
#include "store/db.h"
#include "store/store.h"

/* ---- the ordinary road ---- */

static void records_are_kept_and_verify(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct stat st;

	fill(sc, 5);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 5);
	assert_int_equal(v.last_seq, 5);
	assert_true(v.head_checked);
	assert_string_equal(v.problem, "");
	assert_int_equal(stat(db_path(sc), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(in(sc, "state/host.key"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void the_chain_goes_on_after_a_restart(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;

	fill(sc, 3);
	fill(sc, 4);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 7);
}

static void status_says_where_it_stands(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct store_status st;
	struct setup u;

	start(sc, &u, 0);
	for (int i = 0; i < 3; i++)
		evidence_record(u.j, "/x");
	assert_int_equal(store_flush(u.s, 5000), 0);
	store_status(u.s, &st);
	assert_true(st.ok);
	assert_int_equal(st.records, 3);
	assert_int_equal(st.last_seq, 3);
	assert_int_equal(st.pending, 0);
	assert_int_equal(st.lost, 0);
	assert_int_equal(u.health.changes, 1);
	assert_true(u.health.ok);
	stop(&u);
	assert_int_equal(verify(sc, &v), 0);
	assert_string_equal(v.last_hash, st.last_hash);
	assert_string_equal(v.key_fingerprint, st.key_fingerprint);
}

static void queries_filter(void **state)
{
	struct scratch *sc = *state;
	struct setup u;
	struct evidence e;

	start(sc, &u, 0);
	evidence_record(u.j, "/a");
	evidence_make(&e, "/b");
	e.ev.subj.tgid = 99;
	e.ev.subj.uid = 7;
	e.note.mode = MODE_OBSERVE;
	e.note.ev = &e.ev;
	journal_recorder(u.j)->answered(
		journal_recorder(u.j),
		journal_recorder(u.j)->decided(journal_recorder(u.j), &e.note),
		OUTCOME_OBSERVED, 0);
	journal_own(u.j, "O2", "mode", "{\"to\":\"enforce\"}");
	assert_int_equal(store_flush(u.s, 5000), 0);

	assert_int_equal(count(sc, &(struct store_filter){0}), 3);
	assert_int_equal(count(sc, &(struct store_filter){.limit = 2}), 2);
	assert_int_equal(count(sc, &(struct store_filter){.since_seq = 1}), 2);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "R3"}), 2);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "R3/aws"}), 2);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "R3/ssh"}), 0);
	assert_int_equal(count(sc, &(struct store_filter){.verdict = "would_block"}), 1);
	assert_int_equal(count(sc, &(struct store_filter){.pid = 99}), 1);
	assert_int_equal(count(sc, &(struct store_filter){.agent = "claude-code"}), 2);
	assert_int_equal(count(sc, &(struct store_filter){.has_uid = true, .uid = 7}), 1);
	assert_int_equal(count(sc, &(struct store_filter){.since_unix_s = time(NULL) + 60}),
			 0);
	assert_int_equal(count(sc, &(struct store_filter){.since_unix_s = time(NULL) - 60}),
			 3);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "R3' OR 1=1 --"}), 0);
	stop(&u);
}

static void shown_json_is_signed(void **state)
{
	struct scratch *sc = *state;
	struct store_status st;
	struct seen seen = {0};
	struct setup u;
	json_error_t err;
	unsigned char pub[32], sig[64];
	char hex[65] = "", *canon;
	json_t *o;
	FILE *f;

	start(sc, &u, 0);
	evidence_record(u.j, "/home/u/.aws/credentials");
	assert_int_equal(store_flush(u.s, 5000), 0);
	store_status(u.s, &st);
	stop(&u);
	assert_int_equal(store_query(db_path(sc), &(struct store_filter){0}, see, &seen), 0);

	/* An outside reader: parse, take sig out, write canonically, check with the public key. */
	o = json_loads(seen.last, 0, &err);
	assert_non_null(o);
	assert_int_equal(sodium_hex2bin(sig, 64, json_string_value(json_object_get(o, "sig")),
					128, NULL, NULL, NULL),
			 0);
	json_object_del(o, "sig");
	canon = json_dumps(o, JSON_SORT_KEYS | JSON_COMPACT);
	f = fopen(in(sc, "state/host.pub"), "r");
	assert_int_equal(fread(hex, 1, 64, f), 64);
	fclose(f);
	assert_int_equal(sodium_hex2bin(pub, 32, hex, 64, NULL, NULL, NULL), 0);
	assert_int_equal(
		crypto_sign_verify_detached(sig, (unsigned char *)canon, strlen(canon), pub),
		0);
	assert_string_equal(json_string_value(json_object_get(o, "errno")), "EPERM");
	free(canon);
	free(seen.last);
	json_decref(o);
}

/* ---- tampering ---- */

static void expect_bad(struct scratch *sc, const char *change, uint64_t seq)
{
	struct store_verify_result v;

	fill(sc, 5);
	sql(sc, change);
	assert_int_equal(verify(sc, &v), 1);
	if (v.first_bad_seq != seq)
		fail_msg("%s: named %" PRIu64 " (%s)", change, v.first_bad_seq, v.problem);
	assert_true(*v.problem);
}

#define TAMPER(name, change, seq)                                                             \
	static void tamper_##name(void **state)                                               \
	{                                                                                     \
		expect_bad(*state, change, seq);                                              \
	}
TAMPER(json, "UPDATE events SET json=replace(json,'EPERM','EACCE') WHERE seq=3", 3)
TAMPER(json_space, "UPDATE events SET json=json||' ' WHERE seq=3", 3)
TAMPER(json_blob, "UPDATE events SET json=CAST(json AS BLOB) WHERE seq=3", 3)
TAMPER(sig, "UPDATE events SET sig=zeroblob(64) WHERE seq=2", 2)
TAMPER(short_sig, "UPDATE events SET sig=x'00' WHERE seq=2", 2)
TAMPER(time, "UPDATE events SET time_ns=time_ns+1 WHERE seq=4", 4)
TAMPER(rule, "UPDATE events SET rule='R4' WHERE seq=4", 4)
TAMPER(part, "UPDATE events SET part='' WHERE seq=1", 1)
TAMPER(verdict, "UPDATE events SET verdict='allow' WHERE seq=5", 5)
TAMPER(agent, "UPDATE events SET agent=NULL WHERE seq=5", 5)
TAMPER(uid, "UPDATE events SET uid=0 WHERE seq=5", 5)
TAMPER(uid_type, "UPDATE events SET uid=1000.5 WHERE seq=5", 5)
TAMPER(pid, "UPDATE events SET pid=NULL WHERE seq=5", 5)
TAMPER(delete_first, "DELETE FROM events WHERE seq=1", 1)
TAMPER(delete_middle, "DELETE FROM events WHERE seq=3", 3)
TAMPER(delete_last, "DELETE FROM events WHERE seq=5", 5)
TAMPER(delete_all, "DELETE FROM events", 1)
TAMPER(renumber, "DELETE FROM events WHERE seq=3; UPDATE events SET seq=seq-1 WHERE seq>3", 3)
TAMPER(swap,
       "UPDATE events SET seq=99 WHERE seq=2; UPDATE events SET seq=2 WHERE seq=3;"
       "UPDATE events SET seq=3 WHERE seq=99",
       2)
TAMPER(duplicate,
       "INSERT INTO events SELECT 6,time_ns,rule,part,verdict,agent,uid,pid,json,sig"
       " FROM events WHERE seq=5",
       6)
TAMPER(retention, "UPDATE retention SET retain_s=1", 1)
TAMPER(no_retention, "DELETE FROM retention", 1)
TAMPER(forged_gap,
       "DELETE FROM events WHERE seq=3; INSERT INTO pruned SELECT 3,3,hex(zeroblob(32)),"
       "hex(zeroblob(32)),0,'size',zeroblob(64)",
       3)
TAMPER(idle_gap, "INSERT INTO pruned SELECT 9,9,'','',0,'size',zeroblob(64)", 9)
TAMPER(no_table, "DROP TABLE events", 1)

static void an_older_copy_is_noticed(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;

	fill(sc, 3);
	copy(sc, "state/oknek.db", "older.db");
	fill(sc, 2);
	unlink(in(sc, "state/oknek.db-wal"));
	unlink(in(sc, "state/oknek.db-shm"));
	copy(sc, "older.db", "state/oknek.db");
	assert_int_equal(verify(sc, &v), 1);
	assert_int_equal(v.first_bad_seq, 4);

	/* A daemon that starts on it does not make it good. */
	fill(sc, 1);
	assert_int_equal(verify(sc, &v), 1);
	assert_int_equal(v.first_bad_seq, 4);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "O1"}), 1);
}

static void a_head_kept_elsewhere_is_checked(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v, again = {0};
	char hash[65];

	fill(sc, 4);
	assert_int_equal(verify(sc, &v), 0);
	memcpy(hash, v.last_hash, sizeof(hash));
	fill(sc, 2);
	assert_int_equal(store_verify(db_path(sc), NULL, NULL, 4, hash, &again), 0);
	hash[0] = hash[0] == '0' ? '1' : '0';
	assert_int_equal(store_verify(db_path(sc), NULL, NULL, 4, hash, &again), 1);
	assert_int_equal(again.first_bad_seq, 4);

	/* An older copy, taken away from its state directory, does not know that it is one. */
	hash[0] = v.last_hash[0];
	sql(sc, "DELETE FROM events WHERE seq>2;"
		"DELETE FROM meta; ALTER TABLE meta DROP COLUMN sig; PRAGMA user_version=1");
	unlink(in(sc, "state/head"));
	assert_int_equal(verify(sc, &v), 1); /* a state directory has a head */
	assert_string_equal(v.finding, "head");
	unlink(in(sc, "state/host.key"));
	assert_int_equal(verify(sc, &v), 0);
	assert_false(v.head_checked);
	assert_int_equal(store_verify(db_path(sc), NULL, NULL, 4, hash, &again), 1);
	assert_int_equal(again.first_bad_seq, 3);
}

static void a_changed_head_is_noticed(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	char text[1024];
	size_t n;
	FILE *f;

	fill(sc, 4);
	f = fopen(in(sc, "state/head"), "r+");
	n = fread(text, 1, sizeof(text), f);
	assert_true(n > 0);
	*strstr(text, "\"seq\":4") = '\'';
	rewind(f);
	fwrite(text, 1, n, f);
	fclose(f);
	assert_int_equal(verify(sc, &v), 1);
	assert_non_null(strstr(v.problem, "head"));
}

static void another_key_is_noticed(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	FILE *f;

	fill(sc, 3);
	f = fopen(in(sc, "other.pub"), "w");
	for (int i = 0; i < 32; i++)
		fputs("5a", f);
	fclose(f);
	assert_int_equal(store_verify(db_path(sc), in(sc, "other.pub"), NULL, 0, NULL, &v), 1);
	assert_int_equal(v.first_bad_seq, 1);

	f = fopen(in(sc, "other.pub"), "w"); /* empty */
	fclose(f);
	assert_int_equal(store_verify(db_path(sc), in(sc, "other.pub"), NULL, 0, NULL, &v), 1);
	assert_int_equal(v.first_bad_seq, 1);
	assert_string_equal(v.finding, "key");
	assert_int_equal(store_verify(db_path(sc), in(sc, "none.pub"), NULL, 0, NULL, &v),
			 -ENOENT);
	assert_int_equal(
		store_verify(in(sc, "none.db"), in(sc, "other.pub"), NULL, 0, NULL, &v),
		-ENOENT);
}

static void records_of_another_host_are_noticed(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	char text[400];

	fill(sc, 2);
	copy(sc, "state", "other");
	snprintf(text, sizeof(text), "rm -r '%s'", in(sc, "state"));
	assert_int_equal(system(text), 0);
	fill(sc, 1);
	snprintf(text, sizeof(text),
		 "ATTACH '%s' AS o; INSERT INTO events SELECT * FROM o.events"
		 " WHERE seq=2",
		 in(sc, "other/oknek.db"));
	sql(sc, text);
	assert_int_equal(verify(sc, &v), 1);
	assert_int_equal(v.first_bad_seq, 2);
}

/* ---- trouble ---- */

static void a_locked_database_is_waited_for(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct setup u;
	sqlite3 *db;

	start(sc, &u, 0);
	evidence_record(u.j, "/a");
	assert_int_equal(store_flush(u.s, 5000), 0);
	assert_int_equal(sqlite3_open(db_path(sc), &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000); /* the daemon may be writing its head */
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	for (int i = 0; i < 10; i++)
		assert_true(evidence_record(u.j, "/b"));
	wait_health(&u, false);
	assert_non_null(strstr(u.health.why, "locked"));
	assert_int_equal(store_flush(u.s, 100), -ETIMEDOUT);
	assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(store_flush(u.s, 5000), 0);
	wait_health(&u, true);
	stop(&u);
	assert_int_equal(u.health.changes, 3); /* ok, locked, ok */
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 11);
}

static void a_missing_directory_is_waited_for(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct store_config c = {.health = on_health};
	struct setup u = {0};
	const char *dir = in(sc, "state");

	c.state_dir = dir;
	c.arg = &u.health;
	assert_int_equal(journal_open(in(sc, "journal"), 0, &u.j), 0);
	assert_int_equal(store_open(&c, u.j, &u.s), 0);
	assert_int_equal(store_start(u.s), 0);
	assert_true(evidence_record(u.j, "/a"));
	wait_health(&u, false);
	assert_non_null(strstr(u.health.why, "state"));
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 1);
}

static void losses_become_a_record(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct journal_stats js;
	struct seen seen = {0};
	unsigned decided = 0, kept = 0;
	struct setup u;
	sqlite3 *db;
	char want[64];

	start(sc, &u, 0);
	evidence_record(u.j, "/a");
	assert_int_equal(store_flush(u.s, 5000), 0);
	assert_int_equal(sqlite3_open(db_path(sc), &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000); /* the daemon may be writing its head */
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	for (; decided < 1000; decided++)
		kept += evidence_record(u.j, "/b") != 0;
	assert_true(kept < decided);
	journal_stats(u.j, &js);
	assert_int_equal(js.lost_blocked, decided - kept);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);

	assert_int_equal(
		store_query(db_path(sc), &(struct store_filter){.rule = "O1"}, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	snprintf(want, sizeof(want), "\"block\":%u,", decided - kept);
	assert_non_null(strstr(seen.last, want));
	assert_non_null(strstr(seen.last, "verdicts not recorded"));
	free(seen.last);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "R3"}), kept + 1);
	assert_int_equal(verify(sc, &v), 0);

	/* And only once. */
	fill(sc, 1);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "O1"}), 1);
}

static void a_broken_database_is_set_aside(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct store_status st;
	struct setup u;
	char cmd[300];

	fill(sc, 20);
	scribble(sc, "state/oknek.db", 0, 100);
	assert_int_equal(verify(sc, &v), 1);
	start(sc, &u, 0);
	evidence_record(u.j, "/after");
	assert_int_equal(store_flush(u.s, 5000), 0);
	store_status(u.s, &st);
	assert_int_equal(st.last_seq, 22); /* 20, the note, this one */
	stop(&u);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "O1"}), 1);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 2);
	snprintf(cmd, sizeof(cmd), "test -f '%s'/oknek.db.bad-*[0-9]", in(sc, "state"));
	assert_int_equal(system(cmd), 0);
}

static void a_removed_database_is_noticed(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct setup u;

	start(sc, &u, 0);
	evidence_record(u.j, "/a");
	assert_int_equal(store_flush(u.s, 5000), 0);
	usleep(1200000); /* a head is written each second */
	unlink(db_path(sc));
	unlink(in(sc, "state/oknek.db-wal"));
	unlink(in(sc, "state/oknek.db-shm"));
	usleep(1300000);
	evidence_record(u.j, "/b");
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);
	assert_int_equal(verify(sc, &v), 1);
	assert_int_equal(v.first_bad_seq, 1);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "O1"}), 2);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "R3"}), 1);
}

/* ---- death ---- */

static void nothing_is_recorded_twice_or_never(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	unsigned total = 0;

	/* The daemon is killed at a random moment while it decides and stores. */
	for (int round = 0; round < 12; round++) {
		int fds[2], n = 0;
		unsigned got = 0;
		pid_t pid;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		if (!pid) {
			struct setup u;

			start(sc, &u, 1 << 20);
			for (unsigned i = 0; i < 5000; i++) {
				if (!evidence_record(u.j, "/k"))
					_exit(1);
				if (write(fds[1], "x", 1) != 1)
					_exit(1);
				usleep(20);
			}
			pause();
		}
		close(fds[1]);
		usleep(3000 + (unsigned)round * 4000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		do {
			char buf[512];

			got += (unsigned)n;
			n = (int)read(fds[0], buf, sizeof(buf));
		} while (n > 0);
		close(fds[0]);
		total += got;
	}
	fill(sc, 1);
	assert_int_equal(verify(sc, &v), 0);
	/* One per round may have been decided and not told of. */
	assert_in_range(v.checked, total + 1, total + 1 + 12);
}

static void decided_alone_becomes_unknown(void **state)
{
	struct scratch *sc = *state;
	struct seen seen = {0};
	pid_t pid = fork();

	if (!pid) {
		struct journal *j;

		if (journal_open(in(sc, "journal"), 0, &j) || !evidence_decide(j, "/a"))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	fill(sc, 0);
	assert_int_equal(store_query(db_path(sc), &(struct store_filter){0}, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	assert_non_null(strstr(seen.last, "\"outcome\":\"unknown\""));
	assert_non_null(strstr(seen.last, "\"errno\":null"));
	free(seen.last);
}

/* ---- retention ---- */

static void expired_records_go_and_verify_passes(void **state)
{
	struct scratch *sc = *state;
	int64_t later = ((int64_t)time(NULL) + 91 * 86400) * (int64_t)NSEC_PER_SEC;
	struct store_verify_result v;
	struct host_key k;
	struct setup u;
	struct db db;
	uint64_t n = 0;

	/* R3 is kept for 90 days, our own for a year: what expires is not in one piece. */
	start(sc, &u, 0);
	for (int i = 0; i < 12; i++) {
		evidence_record(u.j, "/a");
		if (i % 4 == 3)
			journal_own(u.j, "O2", "mode", "{}");
	}
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);

	open_db(sc, &k, &db);
	assert_int_equal(prune_by_age(&db, later - 2 * 86400 * (int64_t)NSEC_PER_SEC, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(prune_by_age(&db, later, &n), 0);
	assert_int_equal(n, 12);
	assert_int_equal(db.records, 3);
	db_close(&db);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 3);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM pruned"), 3);

	fill(sc, 2); /* goes on */
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 5);

	/* A year later the rest goes too, the gaps join, the newest stays. */
	open_db(sc, &k, &db);
	later += 366LL * 86400 * (int64_t)NSEC_PER_SEC;
	assert_int_equal(prune_by_age(&db, later, &n), 0);
	db_close(&db);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 1);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM pruned"), 1);
	sql(sc, "UPDATE pruned SET why='because'");
	assert_int_equal(verify(sc, &v), 1);
	assert_int_equal(v.first_bad_seq, 1);
}

static void a_size_limit_removes_the_oldest(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct host_key k;
	struct db db;
	uint64_t n = 0;

	fill(sc, 3000 / 40);
	for (int i = 0; i < 4; i++)
		fill(sc, 60);
	open_db(sc, &k, &db);
	assert_int_equal(prune_by_size(&db, 0, 200 << 10, &n), 0);
	assert_true(n > 0);
	db_close(&db);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 75 + 240 - n);
	assert_int_equal(v.last_seq, 75 + 240);
}

/* ---- disks of our own, in a mount namespace of our own; these come last ---- */

static void a_full_disk_is_survived(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	unsigned decided = 0, kept = 0;
	struct journal_stats js;
	struct setup u;
	char junk[4096] = {0};
	FILE *f;

	mount_state(sc, "size=1m,mode=700");
	start(sc, &u, 256 << 10);
	evidence_record(u.j, "/first");
	assert_int_equal(store_flush(u.s, 5000), 0);
	f = fopen(in(sc, "state/junk"), "w");
	while (fwrite(junk, sizeof(junk), 1, f) == 1 && !fflush(f))
		;
	fclose(f);
	for (; decided < 2000; decided++) {
		kept += evidence_record(u.j, "/more") != 0;
		usleep(100);
	}
	wait_health(&u, false);
	assert_non_null(strstr(u.health.why, "space"));
	for (; decided < 4000; decided++)
		kept += evidence_record(u.j, "/more") != 0;
	journal_stats(u.j, &js);
	assert_int_equal(kept + js.lost, decided);
	assert_true(js.lost > 0);

	/* Room for about a thousand records. */
	assert_int_equal(unlink(in(sc, "state/junk")), 0);
	assert_int_equal(mount(NULL, in(sc, "state"), NULL, MS_REMOUNT, "size=64m"), 0);
	wait_health(&u, true);
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(count(sc, &(struct store_filter){.rule = "R3"}), kept + 1);
	assert_true(count(sc, &(struct store_filter){.rule = "O1"}) > 0);
	umount2(in(sc, "state"), MNT_DETACH);
}

static void a_disk_that_becomes_read_only_is_waited_for(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct setup u;

	mount_state(sc, "size=8m,mode=700");
	fill(sc, 3);
	assert_int_equal(mount(NULL, in(sc, "state"), NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	start(sc, &u, 0);
	assert_true(evidence_record(u.j, "/x"));
	wait_health(&u, false);
	assert_int_equal(u.health.changes, 1);
	/* Reading goes on: a copy somebody was given is often read-only. */
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 3);
	assert_int_equal(mount(NULL, in(sc, "state"), NULL, MS_REMOUNT, NULL), 0);
	assert_int_equal(store_flush(u.s, 5000), 0);
	stop(&u);
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.checked, 4);
	umount2(in(sc, "state"), MNT_DETACH);
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(records_are_kept_and_verify),
		T(the_chain_goes_on_after_a_restart),
		T(status_says_where_it_stands),
		T(queries_filter),
		T(shown_json_is_signed),
		T(tamper_json),
		T(tamper_json_space),
		T(tamper_json_blob),
		T(tamper_sig),
		T(tamper_short_sig),
		T(tamper_time),
		T(tamper_rule),
		T(tamper_part),
		T(tamper_verdict),
		T(tamper_agent),
		T(tamper_uid),
		T(tamper_uid_type),
		T(tamper_pid),
		T(tamper_delete_first),
		T(tamper_delete_middle),
		T(tamper_delete_last),
		T(tamper_delete_all),
		T(tamper_renumber),
		T(tamper_swap),
		T(tamper_duplicate),
		T(tamper_retention),
		T(tamper_no_retention),
		T(tamper_forged_gap),
		T(tamper_idle_gap),
		T(tamper_no_table),
		T(an_older_copy_is_noticed),
		T(a_head_kept_elsewhere_is_checked),
		T(a_changed_head_is_noticed),
		T(another_key_is_noticed),
		T(records_of_another_host_are_noticed),
		T(a_locked_database_is_waited_for),
		T(a_missing_directory_is_waited_for),
		T(losses_become_a_record),
		T(a_broken_database_is_set_aside),
		T(a_removed_database_is_noticed),
		T(nothing_is_recorded_twice_or_never),
		T(decided_alone_becomes_unknown),
		T(expired_records_go_and_verify_passes),
		T(a_size_limit_removes_the_oldest),
		T(a_full_disk_is_survived),
		T(a_disk_that_becomes_read_only_is_waited_for),
	};

	log_set_level(LOG_ERROR - 1); /* what goes wrong here is meant to */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
