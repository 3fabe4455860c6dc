/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What evidence costs: signed records that reach the database per second, beside signatures alone;
 * and what the deciding thread pays for a record, beside a system call that writes the same bytes.
 */
#include <fcntl.h>
#include <sodium.h>
#include <sys/mman.h>

#include "t/evidence.h"

#include "core/log.h"
#include "store/store.h"
#include "t/bench/rows.h"

#define ROUNDS 7
#define RECORDS 6000     /* per round */
#define PENDING_MAX 1500 /* well below half of the ring: nothing is counted as a repeat */
#define BATCH 100
#define BATCHES 500

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "store-bench: %s\n", what);
	exit(1);
}

struct measured {
	uint64_t n, bytes;
};

/* The signed bytes of a record are what is shown without its signature. */
static int measure(void *arg, uint64_t seq, const char *json)
{
	struct measured *m = arg;

	(void)seq;
	m->n++;
	m->bytes += strlen(json) - strlen("\"sig\":\"\",") - 2 * crypto_sign_BYTES;
	return 0;
}

/* Per second of the clock, and per second of the processors, whoever else uses them. */
struct rate {
	double wall, cpu;
};

struct since {
	double wall, cpu; /* ns */
};

static struct since start(void)
{
	return (struct since){now_ns(), clock_ns(CLOCK_PROCESS_CPUTIME_ID)};
}

static struct rate rate_since(struct since t)
{
	return (struct rate){RECORDS / ((now_ns() - t.wall) / 1e9),
			     RECORDS / ((clock_ns(CLOCK_PROCESS_CPUTIME_ID) - t.cpu) / 1e9)};
}

static struct rate store_rate(struct journal *j, struct store *s)
{
	struct since from;

	/* An idle store looks into the ring every 100 ms: that is not what is measured. */
	if (!evidence_record(j, "/home/u/.aws/config") || store_flush(s, 10000))
		die("the store does not write");
	from = start();
	for (unsigned i = 0; i < RECORDS; i++) {
		struct journal_stats st;
		char path[64];

		snprintf(path, sizeof(path), "/home/u/.aws/credentials%u", i);
		if (!evidence_record(j, path))
			die("the ring is full");
		if (i % 64)
			continue;
		while (journal_stats(j, &st), st.pending > PENDING_MAX)
			usleep(500);
	}
	if (store_flush(s, 10000))
		die("the store does not keep up");
	return rate_since(from);
}

static struct rate sign_rate(size_t len)
{
	uint8_t pk[crypto_sign_PUBLICKEYBYTES], sk[crypto_sign_SECRETKEYBYTES];
	uint8_t sig[crypto_sign_BYTES], *msg = malloc(len);
	struct since from;
	struct rate ret;

	if (!msg)
		die("no memory");
	crypto_sign_keypair(pk, sk);
	randombytes_buf(msg, len);
	from = start();
	for (unsigned i = 0; i < RECORDS; i++) {
		memcpy(msg, &i, sizeof(i));
		crypto_sign_detached(sig, NULL, msg, len, sk);
	}
	ret = rate_since(from);
	free(msg);
	return ret;
}

static void bench_store(const char *ring, const char *dir)
{
	struct store_config c = {.state_dir = dir};
	struct samples stored = {0}, bare = {0}, ratio = {0}, busy = {0};
	struct measured m = {0};
	struct store_status st;
	struct journal *j;
	struct store *s;
	char db[128];

	snprintf(db, sizeof(db), "%s/oknek.db", dir);
	if (journal_open(ring, JOURNAL_SIZE_DEFAULT, &j) || store_open(&c, j, &s) ||
	    store_start(s))
		die("the store cannot be opened");
	store_rate(j, s);
	if (store_query(db, &(struct store_filter){.limit = RECORDS}, measure, &m) || !m.n)
		die("the records cannot be read");
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct rate a = store_rate(j, s), b = sign_rate(m.bytes / m.n);

		samples_add(&stored, a.wall);
		samples_add(&bare, b.wall);
		samples_add(&ratio, a.wall / b.wall);
		samples_add(&busy, a.cpu / b.cpu);
	}
	store_status(s, &st);
	if (st.lost || st.records < (ROUNDS + 1) * RECORDS)
		die("records were lost");
	store_close(s, 1000);
	journal_close(j);
	say("signed records persisted, per second", "%.0f", samples_at(&stored, 50));
	say("  bare signatures of as many bytes, per second", "%.0f (%lu bytes)",
	    samples_at(&bare, 50), (unsigned long)(m.bytes / m.n));
	say("  ratio (budget 0.6 at least)", "%.2f %s", samples_at(&ratio, 50),
	    reached(samples_at(&ratio, 50), 0.6));
	say("  ratio by time of the processors", "%.2f", samples_at(&busy, 50));
}

/* Takes out what is in, as the store would. Returns the length of the last. */
static size_t drain(struct journal *j)
{
	uint64_t cursor = 0;
	struct journal_entry e;
	size_t len = 0;

	while (journal_next(j, &cursor, &e) > 0) {
		len = e.len_bytes;
		journal_consume(j, e.pos);
	}
	return len;
}

static void bench_verdict(const char *ring)
{
	struct samples ours = {0}, call = {0};
	struct recorder *r;
	struct journal *j;
	struct evidence e;
	size_t len = 0;
	char buf[4096] = "";
	int fd = memfd_create("bench", MFD_CLOEXEC);

	if (fd < 0 || journal_open(ring, JOURNAL_SIZE_DEFAULT, &j))
		die("the ring cannot be opened");
	r = journal_recorder(j);
	evidence_make(&e, "/home/u/.aws/credentials");
	for (unsigned b = 0; b < BATCHES; b++) {
		double from = now_ns();

		for (unsigned i = 0; i < BATCH; i++)
			r->answered(r, r->decided(r, &e.note), OUTCOME_DENIED, 1);
		samples_add(&ours, (now_ns() - from) / BATCH);
		len = drain(j);
		if (!len || len > sizeof(buf))
			die("the ring has not what was put into it");
		from = now_ns();
		for (unsigned i = 0; i < BATCH; i++)
			if (pwrite(fd, buf, len, (off_t)(i * len)) != (ssize_t)len)
				die("a file in memory cannot be written");
		samples_add(&call, (now_ns() - from) / BATCH);
	}
	journal_close(j);
	close(fd);
	say("decided and answered in the ring, p50/p99 ns", "%.0f/%.0f", samples_at(&ours, 50),
	    samples_at(&ours, 99));
	say("  a system call that writes as much", "%.0f/%.0f (%zu bytes)",
	    samples_at(&call, 50), samples_at(&call, 99), len);
	say("  ratio", "%.2f", samples_at(&ours, 50) / samples_at(&call, 50));
}

int main(void)
{
	/* The ring is in memory, as in a run directory; the database is where temporary files are. */
	char ring_dir[] = "/dev/shm/oknek-b.XXXXXX", dir[48], ring[128];
	const char *tmp = getenv("TMPDIR");
	bool shm = mkdtemp(ring_dir) != NULL;

	if ((size_t)snprintf(dir, sizeof(dir), "%s/oknek-b.XXXXXX", tmp ? tmp : "/tmp") >=
		    sizeof(dir) ||
	    !mkdtemp(dir) || sodium_init() < 0)
		die("no scratch folder");
	snprintf(ring, sizeof(ring), "%s/journal", shm ? ring_dir : dir);
	log_set_level(LOG_WARNING);
	bench_store(ring, dir);
	bench_verdict(ring);
	if (shm)
		bench_remove(ring_dir);
	bench_remove(dir);
	return 0;
}
