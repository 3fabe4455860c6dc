/* SPDX-License-Identifier: Apache-2.0 */
/* The ring: what is decided is either kept or counted, whatever dies when. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "t/evidence.h"

#include "store/payload.h"

#define SIZE JOURNAL_SIZE_MIN

static struct journal *open_in(struct scratch *sc, size_t size)
{
	struct journal *j;

	assert_int_equal(journal_open(in(sc, "journal"), size, &j), 0);
	return j;
}

/* Takes all that is ready; consumes it. Returns how many. */
static unsigned take_all(struct journal *j, unsigned outcomes[8])
{
	struct journal_entry e;
	uint64_t cursor = 0;
	unsigned n = 0;

	while (journal_next(j, &cursor, &e) > 0) {
		struct payload p;

		assert_int_equal(payload_read(e.payload, e.len_bytes, &p), 0);
		if (outcomes)
			outcomes[e.outcome]++;
		journal_consume(j, e.pos);
		n++;
	}
	return n;
}

static void what_goes_in_comes_out(void **state)
{
	struct journal *j = open_in(*state, SIZE);
	struct journal_entry e;
	struct payload p;
	uint64_t cursor = 0;

	assert_true(evidence_record(j, "/home/u/.aws/credentials"));
	assert_int_equal(journal_own(j, "O2", "mode", "{\"a\":1}"), 0);
	assert_int_equal(journal_next(j, &cursor, &e), 1);
	assert_int_equal(payload_read(e.payload, e.len_bytes, &p), 0);
	assert_int_equal(e.outcome, OUTCOME_DENIED);
	assert_int_equal(e.err, 1);
	assert_string_equal(p.path, "/home/u/.aws/credentials");
	assert_string_equal(p.agent, "claude-code");
	assert_string_equal(p.lineage, "claude > bash > cat");
	assert_string_equal(p.category, "aws");
	assert_int_equal(p.pid, 4711);
	assert_int_equal(p.n_fired, 1);
	assert_string_equal(p.fired[0].id, "R3");
	assert_int_equal(p.fired[0].n_capture, 5);
	assert_int_equal(journal_next(j, &cursor, &e), 1);
	assert_int_equal(payload_read(e.payload, e.len_bytes, &p), 0);
	assert_true(p.own);
	assert_string_equal(p.own_json, "{\"a\":1}");
	assert_int_equal(journal_next(j, &cursor, &e), 0);
	journal_close(j);
}

/* A flood of one verdict leaves half of the ring to what is new. */
static void noise_pushes_out_nothing_new(void **state)
{
	struct journal_stats before, flooded, after;
	struct recorder *r;
	struct evidence e;
	struct journal *j;
	char path[64];

	j = open_in(*state, JOURNAL_SIZE_DEFAULT);
	r = journal_recorder(j);
	journal_stats(j, &before);
	evidence_make(&e, "/home/u/.aws/credentials");
	for (int i = 0; i < 100000; i++)
		r->answered(r, r->decided(r, &e.note), OUTCOME_DENIED, EPERM);
	journal_stats(j, &flooded);
	assert_true(flooded.lost > 0);
	assert_int_equal(flooded.written + flooded.lost - before.written - before.lost, 100000);
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "/home/u/secret-%d", i);
		evidence_make(&e, path);
		assert_true(r->decided(r, &e.note) != 0);
	}
	journal_stats(j, &after);
	assert_int_equal(after.lost, flooded.lost);
	journal_close(j);
}

static void a_full_ring_counts_by_verdict(void **state)
{
	struct journal *j = open_in(*state, SIZE);
	unsigned kept = 0, decided = 0;
	struct journal_stats s;
	struct evidence e;
	char big[2000];

	for (; decided < 1000; decided++) {
		snprintf(big, sizeof(big), "/x%u", decided);
		evidence_make(&e, big);
		e.d.verdict = decided % 3 ? VERDICT_BLOCK : VERDICT_WARN;
		kept += journal_recorder(j)->decided(journal_recorder(j), &e.note) != 0;
	}
	journal_stats(j, &s);
	assert_int_equal(s.written, kept);
	assert_int_equal(s.written + s.lost, decided);
	assert_int_equal(s.lost_blocked + s.lost_warned, s.lost);
	assert_true(s.lost_blocked > s.lost_warned);
	assert_int_equal(s.pending, kept);
	memset(big, ' ', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(journal_own(j, "O1", "x", big), -ENOSPC);
	journal_close(j);

	j = open_in(*state, SIZE); /* the count survives */
	journal_stats(j, &s);
	assert_int_equal(s.written + s.lost, decided + 1);
	assert_int_equal(take_all(j, NULL), kept);
	assert_true(evidence_record(j, "/y")); /* there is room again */
	journal_close(j);
}

static void the_ring_goes_round(void **state)
{
	struct journal *j = open_in(*state, SIZE);
	struct journal_stats s;
	char path[3000];

	for (unsigned i = 0; i < 3000; i++) {
		memset(path, 'p', sizeof(path));
		path[0] = '/';
		path[1 + i % (sizeof(path) - 2)] = '\0';
		assert_true(evidence_record(j, path));
		if (i % 7 == 0)
			take_all(j, NULL);
	}
	take_all(j, NULL);
	journal_stats(j, &s);
	assert_int_equal(s.written, 3000);
	assert_int_equal(s.lost, 0);
	assert_int_equal(s.pending, 0);
	journal_close(j);
}

static void a_parked_record_is_waited_for_and_blocks_nobody(void **state)
{
	struct journal *j = open_in(*state, SIZE);
	unsigned out[8] = {0};
	uint64_t parked = evidence_decide(j, "/parked");

	for (int i = 0; i < 5; i++)
		evidence_record(j, "/later");
	assert_int_equal(take_all(j, out), 5);
	assert_int_equal(take_all(j, out), 0);
	journal_recorder(j)->answered(journal_recorder(j), parked, OUTCOME_ALLOWED, 0);
	assert_int_equal(take_all(j, out), 1);
	assert_int_equal(out[OUTCOME_ALLOWED], 1);
	assert_int_equal(out[OUTCOME_DENIED], 5);

	/* But not for ever. */
	parked = evidence_decide(j, "/parked");
	journal_set_wait(j, 50 * NSEC_PER_MSEC);
	assert_int_equal(take_all(j, out), 0);
	usleep(60000);
	assert_int_equal(take_all(j, out), 1);
	assert_int_equal(out[OUTCOME_UNKNOWN], 1);
	/* An answer that comes later finds nothing to write to. */
	for (int i = 0; i < 100; i++)
		assert_true(evidence_record(j, "/more"));
	journal_recorder(j)->answered(journal_recorder(j), parked, OUTCOME_ALLOWED, 0);
	out[OUTCOME_ALLOWED] = 0;
	assert_int_equal(take_all(j, out), 100);
	assert_int_equal(out[OUTCOME_ALLOWED], 0);
	journal_close(j);
}

static void a_file_that_is_none_is_set_aside(void **state)
{
	struct scratch *sc = *state;
	struct journal *j;
	struct journal_entry e;
	struct stat st;
	uint64_t cursor = 0;
	FILE *f = fopen(in(sc, "journal"), "w");

	fputs("something else", f);
	fclose(f);
	j = open_in(sc, SIZE);
	assert_int_equal(stat(in(sc, "journal.bad"), &st), 0);
	assert_int_equal(st.st_size, 14);
	assert_int_equal(journal_next(j, &cursor, &e), 1); /* it says so */
	journal_close(j);
}

static void another_size_is_taken_when_it_is_empty(void **state)
{
	struct scratch *sc = *state;
	struct journal *j = open_in(sc, SIZE);
	struct stat st;

	evidence_record(j, "/kept");
	journal_close(j);
	j = open_in(sc, 4 * SIZE);
	stat(in(sc, "journal"), &st);
	assert_int_equal(st.st_size, 4096 + SIZE);
	assert_int_equal(take_all(j, NULL), 1);
	journal_close(j);
	j = open_in(sc, 4 * SIZE);
	stat(in(sc, "journal"), &st);
	assert_int_equal(st.st_size, 4096 + 4 * SIZE);
	assert_int_equal(st.st_mode & 0777, 0600);
	journal_close(j);
}

static void nothing_in_a_path_passes_for_a_record(void **state)
{
	struct scratch *sc = *state;
	struct journal *j = open_in(sc, SIZE);
	uint8_t copy[4096], page[4096 + SIZE];
	uint64_t first, second;
	int fd;

	/* A whole record, as its bytes are, is put where the payload of another stands, and that
	 * other's own beginning is destroyed: the copy must not come alive in its place. */
	first = evidence_record(j, "/copied");
	memset(copy, 'A', sizeof(copy) - 1);
	copy[0] = '/';
	copy[sizeof(copy) - 1] = '\0';
	second = evidence_record(j, (char *)copy);
	evidence_record(j, "/whole");
	journal_close(j);
	fd = open(in(sc, "journal"), O_RDWR);
	assert_int_equal(read(fd, page, sizeof(page)), sizeof(page));
	memcpy(page + 4096 + second % SIZE + 512, page + 4096 + first % SIZE, 512);
	memset(page + 4096 + second % SIZE, 0, 64);
	assert_int_equal(pwrite(fd, page, sizeof(page), 0), sizeof(page));
	close(fd);
	j = open_in(sc, SIZE);
	assert_int_equal(take_all(j, NULL), 2);
	journal_close(j);
}

static void any_damage_is_survived(void **state)
{
	struct scratch *sc = *state;

	srandom(7);
	for (int round = 0; round < 200; round++) {
		struct journal *j = open_in(sc, SIZE);
		unsigned n;
		int fd;

		for (int i = 0; i < 20; i++)
			evidence_record(j, "/home/u/.ssh/id_ed25519");
		journal_close(j);
		fd = open(in(sc, "journal"), O_RDWR);
		for (int i = 0; i < 8; i++) {
			uint8_t junk = (uint8_t)random();

			if (pwrite(fd, &junk, 1, 4096 + random() % 16384) != 1)
				fail();
		}
		close(fd);
		j = open_in(sc, SIZE);
		n = take_all(j, NULL);
		assert_true(n <= 20);
		assert_true(evidence_record(j, "/after"));
		assert_int_equal(take_all(j, NULL), 1); /* it goes on */
		journal_close(j);
		unlink(in(sc, "journal"));
	}
}

static void killed_anywhere_it_loses_nothing_it_promised(void **state)
{
	struct scratch *sc = *state;
	unsigned promised = 0, got = 0;

	for (int round = 0; round < 150; round++) {
		struct shared {
			_Atomic unsigned decided;
		} *sh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			     -1, 0);
		struct journal_stats s;
		struct journal *j;
		pid_t pid = fork();

		if (!pid) {
			if (journal_open(in(sc, "journal"), SIZE, &j))
				_exit(1);
			for (;;) {
				if (!evidence_record(j, "/home/u/.aws/credentials")) {
					struct journal_entry e;
					uint64_t cursor = 0;

					/* full: make room as a consumer would, and count it */
					while (journal_next(j, &cursor, &e) > 0) {
						journal_consume(j, e.pos);
						atomic_fetch_sub(&sh->decided, 1);
					}
					continue;
				}
				atomic_fetch_add(&sh->decided, 1);
			}
		}
		usleep(1000 + (unsigned)(round * 37) % 4000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		promised = atomic_load(&sh->decided);
		j = open_in(sc, SIZE);
		journal_stats(j, &s);
		got = take_all(j, NULL);
		assert_int_equal(got, s.pending);
		/* one may be in the ring and not counted yet, or the other way round when it was
		 * being consumed */
		assert_in_range(got + 1, promised, promised + 2);
		assert_int_equal(take_all(j, NULL), 0);
		assert_true(evidence_record(j, "/next"));
		assert_int_equal(take_all(j, NULL), 1);
		journal_close(j);
		munmap(sh, 4096);
	}
}

static void batches_are_consumed_once(void **state)
{
	struct scratch *sc = *state;
	struct journal *j = open_in(sc, SIZE);
	struct journal_entry e;
	uint64_t cursor = 0;

	for (int i = 0; i < 9; i++) {
		evidence_record(j, "/x");
		assert_int_equal(journal_next(j, &cursor, &e), 1);
		journal_claim(j, e.pos, (uint64_t)i / 3 + 1);
	}
	journal_close(j); /* died with batch 2 committed, 3 not */
	j = open_in(sc, SIZE);
	journal_recover(j, 2);
	assert_int_equal(take_all(j, NULL), 3);
	journal_close(j);
}

struct producer {
	struct journal *j;
	unsigned kept;
	pthread_t thread;
};

#define PER_PRODUCER 4000

static void *produce(void *arg)
{
	struct producer *p = arg;

	for (int i = 0; i < PER_PRODUCER; i++)
		p->kept += evidence_record(p->j, "/home/u/.aws/credentials") != 0;
	return NULL;
}

static void many_producers_one_consumer(void **state)
{
	struct journal *j = open_in(*state, 2 * SIZE);
	struct producer p[3];
	struct journal_stats s;
	unsigned got = 0, kept = 0;

	for (int i = 0; i < 3; i++) {
		p[i] = (struct producer){.j = j};
		assert_int_equal(pthread_create(&p[i].thread, NULL, produce, &p[i]), 0);
	}
	do {
		got += take_all(j, NULL);
		journal_stats(j, &s);
	} while (s.written + s.lost < 3 * PER_PRODUCER);
	for (int i = 0; i < 3; i++) {
		pthread_join(p[i].thread, NULL);
		kept += p[i].kept;
	}
	got += take_all(j, NULL);
	journal_stats(j, &s);
	assert_int_equal(got, kept);
	assert_int_equal(s.written, kept);
	assert_int_equal(s.written + s.lost, 3 * PER_PRODUCER);
	assert_int_equal(s.pending, 0);
	journal_close(j);
}

/* A guardian is forked, goes on when the daemon is gone, and beside the next one. */
static void a_forked_producer_outlives_the_daemon(void **state)
{
	struct scratch *sc = *state;
	struct journal *j = open_in(sc, SIZE), *next;
	struct journal_stats s;
	int go[2], done[2];
	char c = 'x';
	pid_t pid;

	assert_int_equal(pipe(go) | pipe(done), 0);
	assert_true(evidence_record(j, "/before"));
	pid = fork();
	if (!pid) {
		close(go[1]);
		while (read(go[0], &c, 1) == 1) {
			for (int i = 0; i < 3; i++)
				if (!evidence_record(j, "/guardian"))
					_exit(1);
			if (write(done[1], &c, 1) != 1)
				_exit(1);
		}
		_exit(0);
	}
	close(go[0]);
	assert_int_equal(write(go[1], &c, 1) + read(done[0], &c, 1), 2);
	assert_true(evidence_record(j, "/beside"));
	assert_int_equal(take_all(j, NULL), 5);
	journal_stats(j, &s);
	assert_int_equal(s.written, 5);
	assert_int_equal(s.pending, 0);
	journal_close(j);

	assert_int_equal(write(go[1], &c, 1) + read(done[0], &c, 1), 2);
	next = open_in(sc, SIZE);
	assert_int_equal(take_all(next, NULL), 3);
	assert_int_equal(write(go[1], &c, 1) + read(done[0], &c, 1), 2);
	assert_true(evidence_record(next, "/next"));
	assert_int_equal(take_all(next, NULL), 4);
	close(go[1]);
	waitpid(pid, NULL, 0);
	close(done[0]);
	close(done[1]);
	journal_close(next);
}

/* What it has DECIDED when the next daemon opens the file is not yet an unknown outcome. */
static void a_living_producer_has_a_moment_to_answer(void **state)
{
	struct scratch *sc = *state;
	struct journal *j = open_in(sc, SIZE), *next;
	uint64_t ticket = evidence_decide(j, "/a"), cursor = 0;
	struct journal_entry e;

	next = open_in(sc, SIZE);
	journal_set_grace(next, 50 * NSEC_PER_MSEC);
	assert_int_equal(journal_next(next, &cursor, &e), 0);
	journal_recorder(j)->answered(journal_recorder(j), ticket, OUTCOME_DENIED, 1);
	cursor = 0;
	assert_int_equal(journal_next(next, &cursor, &e), 1);
	assert_int_equal(e.outcome, OUTCOME_DENIED);
	journal_consume(next, e.pos);
	assert_true(evidence_decide(j, "/b"));
	usleep(60000);
	cursor = 0;
	assert_int_equal(journal_next(next, &cursor, &e), 0); /* it came later: the long wait */
	journal_close(j);
	journal_close(next);
	next = open_in(sc, SIZE);
	journal_set_grace(next, 50 * NSEC_PER_MSEC);
	usleep(60000);
	cursor = 0;
	assert_int_equal(journal_next(next, &cursor, &e), 1);
	assert_int_equal(e.outcome, OUTCOME_UNKNOWN);
	journal_close(next);
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_goes_in_comes_out),
		T(noise_pushes_out_nothing_new),
		T(a_full_ring_counts_by_verdict),
		T(the_ring_goes_round),
		T(a_parked_record_is_waited_for_and_blocks_nobody),
		T(a_file_that_is_none_is_set_aside),
		T(another_size_is_taken_when_it_is_empty),
		T(nothing_in_a_path_passes_for_a_record),
		T(any_damage_is_survived),
		T(killed_anywhere_it_loses_nothing_it_promised),
		T(batches_are_consumed_once),
		T(many_producers_one_consumer),
		T(a_forked_producer_outlives_the_daemon),
		T(a_living_producer_has_a_moment_to_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
