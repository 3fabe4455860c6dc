/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody who may write the database altered what removal goes by: nothing that he touched is
 * removed, no checkpoint is signed over it, and verify still names it. */
#include <sodium.h>
#include <time.h>

#include "t/store.h"

#include "core/log.h"

#define DAY_NS (86400 * (int64_t)NSEC_PER_SEC)

static int64_t in_days(int64_t days)
{
	return (int64_t)time(NULL) * (int64_t)NSEC_PER_SEC + days * DAY_NS;
}

static void all_by_age(struct db *db, int64_t now_ns, uint64_t *removed)
{
	int r;

	for (int i = 0; i < 100 && (r = prune_by_age(db, now_ns, removed)) > 0; i++)
		;
	assert_int_equal(r, 0);
}

static void fill_many(struct scratch *sc, unsigned n)
{
	struct setup u;

	start(sc, &u, 0);
	for (unsigned i = 0; i < n; i++) {
		assert_true(evidence_record(u.j, "/home/u/.aws/credentials"));
		if (i % 50 == 49)
			assert_int_equal(store_flush(u.s, 5000), 0);
	}
	stop(&u);
}

static uint64_t prune_at(struct scratch *sc, int64_t now_ns, char what[160])
{
	struct host_key k;
	uint64_t n = 0;
	struct db db;

	open_db(sc, &k, &db);
	all_by_age(&db, now_ns, &n);
	all_by_age(&db, now_ns, &n); /* and not the second time either */
	memcpy(what, db.refused.what, 160);
	db_close(&db);
	return n;
}

static void expect_bad(struct scratch *sc, uint64_t seq)
{
	struct store_verify_result v;

	assert_int_equal(verify(sc, &v), 1);
	if (v.first_bad_seq != seq)
		fail_msg("%" PRIu64 ": %s", v.first_bad_seq, v.problem);
}

static void a_time_that_was_altered(void **state)
{
	struct scratch *sc = *state;
	char what[160];

	fill(sc, 6);
	sql(sc, "UPDATE events SET time_ns=1710000000000000000 WHERE seq<5");
	assert_int_equal(prune_at(sc, in_days(1), what), 0);
	assert_string_equal(what, "record 1: time_ns");
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM pruned"), 0);
	expect_bad(sc, 1);
}

/* One that would end the search: what comes after it still goes. */
static void a_time_that_was_altered_to_be_new(void **state)
{
	struct scratch *sc = *state;
	char what[160], text[100];

	fill(sc, 6);
	snprintf(text, sizeof(text), "UPDATE events SET time_ns=%" PRId64 " WHERE seq=1", in_days(99));
	sql(sc, text);
	assert_int_equal(prune_at(sc, in_days(100), what), 4);
	assert_string_equal(what, "record 1: time_ns");
	expect_bad(sc, 1);
}

static void a_retention_that_was_altered(void **state)
{
	struct scratch *sc = *state;
	char what[160];

	fill(sc, 6);
	sql(sc, "UPDATE retention SET retain_s=1");
	assert_int_equal(prune_at(sc, in_days(1), what), 0);
	assert_string_equal(what, "retention of rule R3/aws: signature");
	expect_bad(sc, 1);
	sql(sc, "UPDATE retention SET retain_s=9223372036854775807");
	assert_int_equal(prune_at(sc, in_days(100), what), 0);
	sql(sc, "UPDATE retention SET retain_s=-9223372036854775807");
	assert_int_equal(prune_at(sc, in_days(100), what), 0);
}

/* Another rule's signed row does not serve. */
static void a_rule_that_was_altered(void **state)
{
	struct scratch *sc = *state;
	struct host_key k;
	struct db db;
	char what[160];

	fill(sc, 6);
	open_db(sc, &k, &db);
	assert_int_equal(db_begin(&db, true), 0);
	assert_int_equal(prune_retention_set(&db, "X9", "short", 60), 0);
	assert_int_equal(db_commit(&db), 0);
	db_close(&db);
	sql(sc, "UPDATE events SET rule='X9', part='short' WHERE seq=2");
	assert_int_equal(prune_at(sc, in_days(1), what), 0);
	assert_string_equal(what, "record 2: rule");
	expect_bad(sc, 2);
}

static void altered_records_stay_among_others(void **state)
{
	struct scratch *sc = *state;
	char what[160];

	fill(sc, 9);
	sql(sc, "UPDATE events SET json=replace(json,'EPERM','EACCE') WHERE seq=4");
	/* 4, and 5, which does not follow it any more; the newest stays anyway. */
	assert_int_equal(prune_at(sc, in_days(91), what), 6);
	assert_string_equal(what, "record 4: signature");
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE seq IN (4,5,9)"), 3);
	expect_bad(sc, 4);
}

static void a_record_that_is_missing_is_not_signed_away(void **state)
{
	struct scratch *sc = *state;
	char what[160];

	fill(sc, 9);
	sql(sc, "DELETE FROM events WHERE seq IN (4,5)");
	assert_int_equal(prune_at(sc, in_days(91), what), 5);
	assert_string_equal(what, "record 6: it does not follow what is before it");
	expect_bad(sc, 4);
}

/* One that we signed ourselves, for another gap: an older one put back. */
static void an_older_checkpoint_does_not_serve(void **state)
{
	struct scratch *sc = *state;
	struct host_key k;
	struct pruned p = {.first = 4, .last = 5, .why = "retention", .time_ns = 1};
	struct db db;
	char what[160];

	fill(sc, 9);
	open_db(sc, &k, &db);
	memset(p.prev, 'b', RECORD_HASH_HEX);
	memset(p.hash, 'a', RECORD_HASH_HEX);
	assert_int_equal(db_begin(&db, true), 0);
	assert_int_equal(prune_mark(&db, &p), 0);
	assert_int_equal(db_commit(&db), 0);
	db_close(&db);
	sql(sc, "DELETE FROM events WHERE seq IN (4,5)");
	assert_int_equal(prune_at(sc, in_days(91), what), 5);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM pruned"), 3); /* not joined */
	expect_bad(sc, 4);
}

/* What the last record's column says is not the time that the store believes. */
static void an_end_that_was_altered_makes_nothing_old(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	struct store_status st;
	struct setup u;

	fill(sc, 6);
	sql(sc, "DELETE FROM meta WHERE key='end';"
		"UPDATE events SET time_ns=9000000000000000000 WHERE seq=6");
	start(sc, &u, 0);
	evidence_record(u.j, "/more");
	assert_int_equal(store_flush(u.s, 5000), 0);
	usleep(300000);
	store_status(u.s, &st);
	stop(&u);
	verify(sc, &v);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM pruned"), 0);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE rule='R3'"), 7);
	expect_bad(sc, 6);
}

/* It is in status and evidence, once; and what holds goes all the same. */
static void that_something_stays_is_told(void **state)
{
	struct scratch *sc = *state;
	struct store_status st = {0};
	struct host_key k;
	struct setup u;
	struct db db;

	fill(sc, 6);
	open_db(sc, &k, &db);
	assert_int_equal(db_begin(&db, true), 0);
	assert_int_equal(prune_retention_set(&db, "R3", "aws", 1), 0);
	assert_int_equal(db_commit(&db), 0);
	db_close(&db);
	sql(sc, "UPDATE events SET verdict='allow' WHERE seq=1");
	usleep(1100000);
	start(sc, &u, 0);
	for (int i = 0; i < 500 && (st.pruned < 4 || !*st.incident); i++) {
		usleep(10000);
		store_status(u.s, &st);
	}
	stop(&u);
	assert_non_null(strstr(st.incident, "record 1: verdict"));
	assert_true(st.pruned >= 4);
	assert_true(st.db_bytes > 0);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE seq=1"), 1);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE json LIKE"
					" '%altered records kept%'"), 1);
	expect_bad(sc, 1);
}

/* Altered ones stay, and others find room beside them. */
static void a_size_limit_spares_what_was_altered(void **state)
{
	struct scratch *sc = *state;
	uint64_t n = 0, max = 200 << 10;
	struct host_key k;
	struct db db;

	fill(sc, 75);
	for (int i = 0; i < 4; i++)
		fill(sc, 60);
	sql(sc, "UPDATE events SET uid=4711 WHERE seq<=150");
	open_db(sc, &k, &db);
	for (int i = 0; i < 20 && prune_by_size(&db, 0, max, &n) > 0; i++)
		;
	db_close(&db);
	assert_true(n > 0);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE seq<=150"), 150);
	assert_true(sql_number(sc, "SELECT count(*) FROM events WHERE seq>150") > 30);
	expect_bad(sc, 1);
}

/* More than one call looks at. */
static void it_goes_on_where_it_stopped(void **state)
{
	struct scratch *sc = *state;
	struct store_verify_result v;
	char what[160];

	fill_many(sc, 2500);
	sql(sc, "UPDATE events SET pid=1 WHERE seq BETWEEN 100 AND 1400");
	/* 1401 follows what was signed, columns are no part of that. */
	assert_int_equal(prune_at(sc, in_days(91), what), 2500 - 1301 - 1);
	expect_bad(sc, 100);
	sql(sc, "UPDATE events SET pid=(json_extract(json,'$.process.pid'))");
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(prune_at(sc, in_days(91), what), 1301);
	assert_string_equal(what, "");
	assert_int_equal(verify(sc, &v), 0);
	assert_int_equal(v.pruned, 2499);
}

/* As many stretches as there is room for: nothing is removed that does not hold. */
static void many_that_were_altered(void **state)
{
	struct scratch *sc = *state;
	char what[160];

	fill_many(sc, 800);
	sql(sc, "UPDATE events SET uid=5 WHERE seq%5=0");
	prune_at(sc, in_days(91), what);
	assert_int_equal(sql_number(sc, "SELECT count(*) FROM events WHERE seq%5=0"), 160);
	expect_bad(sc, 5);
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_time_that_was_altered),
		T(a_time_that_was_altered_to_be_new),
		T(a_retention_that_was_altered),
		T(a_rule_that_was_altered),
		T(altered_records_stay_among_others),
		T(a_record_that_is_missing_is_not_signed_away),
		T(an_older_checkpoint_does_not_serve),
		T(an_end_that_was_altered_makes_nothing_old),
		T(that_something_stays_is_told),
		T(a_size_limit_spares_what_was_altered),
		T(it_goes_on_where_it_stopped),
		T(many_that_were_altered),
	};

	if (sodium_init() < 0)
		return 1;
	log_set_level(LOG_ERROR - 1); /* what goes wrong here is meant to */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
