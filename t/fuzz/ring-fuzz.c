/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's file as a dead daemon, or a full disk, left it: a good one with records in every
 * state, damaged where the input says (offset, length, bytes, again and again). Whatever it says,
 * it opens, each record comes once and within its bounds, and new records find room again.
 */
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "store/payload.h"
#include "t/evidence.h"

#define FILE_BYTES (4096 + JOURNAL_SIZE_MIN)

static uint8_t good[FILE_BYTES];
static char path[64], bad_path[80];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same secrets in each run: an input means the same tomorrow. */
static const char *random_name(void)
{
	return "counted";
}

static uint32_t random_u32(void)
{
	static uint32_t n;

	return n += 0x9e3779b9;
}

static void random_bytes(void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)(random_u32() >> 24);
}

static void leave(void)
{
	unlink(path);
	unlink(bad_path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static struct randombytes_implementation counted = {
		.implementation_name = random_name,
		.random = random_u32,
		.buf = random_bytes,
	};
	char dir[] = "/dev/shm/oknek-fuzz.XXXXXX";
	struct journal_entry e;
	struct journal *j;
	uint64_t cursor = 0;
	int fd;

	(void)argc, (void)argv;
	randombytes_set_implementation(&counted);
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/journal", dir);
	snprintf(bad_path, sizeof(bad_path), "%s.bad", path);
	atexit(leave);
	if (journal_open(path, JOURNAL_SIZE_MIN, &j) < 0)
		return 1;
	/* Some consumed, some claimed, some answered, one not; and once around the end. */
	for (int i = 0; i < 300; i++) {
		evidence_record(j, "/home/u/.aws/credentials");
		if (i < 290 && journal_next(j, &cursor, &e) == 1)
			journal_consume(j, e.pos);
	}
	if (journal_next(j, &cursor, &e) == 1)
		journal_claim(j, e.pos, 7);
	journal_own(j, "O2", "mode", "{\"mode\":\"enforce\"}");
	evidence_decide(j, "/home/u/.ssh/id_rsa");
	journal_close(j);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, good, sizeof(good)) != sizeof(good))
		abort();
	close(fd);
	return 0;
}

static void lay_file(const uint8_t *data, size_t size)
{
	static uint8_t file[FILE_BYTES];
	size_t len = sizeof(file);
	int fd;

	memcpy(file, good, sizeof(file));
	while (size >= 4) {
		size_t at = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16), n = data[3];

		data += 4;
		size -= 4;
		/* The header is small, the rest is large: half of all damage is done to it. */
		at = at & 1 ? (at >> 1) % 1024 : (at >> 1) % sizeof(file);
		if (n > size)
			n = size;
		if (n == 0)
			len = at;
		if (n > sizeof(file) - at)
			n = sizeof(file) - at;
		memcpy(file + at, data, n);
		data += n;
		size -= n;
	}
	unlink(bad_path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, file, len) != (ssize_t)len)
		abort();
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal_losses losses;
	struct journal_stats stats;
	struct journal_entry e;
	struct journal *j;
	uint64_t cursor = 0, before = 0, ticket;
	struct payload p;

	lay_file(data, size);
	if (journal_open(path, JOURNAL_SIZE_MIN, &j) < 0)
		abort();
	if (size)
		journal_recover(j, data[0]);
	/* A place that a living producer seems to write is waited for: the clock is not ours. */
	while (journal_next(j, &cursor, &e) == 1) {
		if (before && e.pos <= before)
			abort();
		before = e.pos;
		payload_read(e.payload, e.len_bytes, &p);
		journal_claim(j, e.pos, 9);
		journal_consume(j, e.pos);
	}
	ticket = evidence_record(j, "/home/u/.aws/credentials");
	if (!ticket)
		abort();
	journal_stats(j, &stats);
	journal_losses(j, &losses);
	if (journal_next(j, &cursor, &e) != 1 || e.pos != ticket || e.outcome != OUTCOME_DENIED ||
	    payload_read(e.payload, e.len_bytes, &p) || strcmp(p.path, "/home/u/.aws/credentials"))
		abort();
	journal_consume(j, e.pos);
	journal_close(j);
	return 0;
}
