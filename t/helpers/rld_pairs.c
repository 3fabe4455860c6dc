/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rld_pairs PROCESSES SECONDS PAUSE_US SECRET P Q FREE…: that many processes open all of these in
 * turn, while others change the rules: SECRET is always denied, of P and Q always exactly one, FREE
 * never. PAUSE_US after its last round a process tries the first three again: what is denied is
 * recorded, and more records than the disk takes are no loss of ours. Two opens that a change came between may both be answered so or so: `both` and `neither` count
 * these pairs, and may grow by one for each change and process. Prints one line of counts.
 *
 * rld_pairs last SECONDS FILE: opens FILE all the while, and prints when (µs since 1970) the last open
 * began that succeeded, and the first that did not.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct tally {
	_Atomic uint64_t opens, denied, secret, p, q, both, neither, leaked, freed, other, max_us,
		finished;
};

static uint64_t now_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* True: it was denied. */
static bool try_open(struct tally *t, const char *path)
{
	uint64_t from = now_us(CLOCK_MONOTONIC), took, seen = t->max_us;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool denied = fd < 0 && errno == EPERM;

	took = now_us(CLOCK_MONOTONIC) - from;
	while (took > seen && !atomic_compare_exchange_weak(&t->max_us, &seen, took))
		;
	if (fd >= 0)
		close(fd);
	t->opens++;
	t->denied += denied;
	t->other += fd < 0 && !denied;
	return denied;
}

static void work(struct tally *t, char **files, int n, unsigned pause_us, uint64_t end)
{
	uint64_t next = 0, now;

	while ((now = now_us(CLOCK_MONOTONIC)) < end) {
		bool p, q;

		for (int i = 3; i < n; i++)
			t->freed += try_open(t, files[i]);
		if (now < next)
			continue;
		next = now + pause_us;
		if (try_open(t, files[0]))
			t->secret++;
		else
			t->leaked++;
		p = try_open(t, files[1]);
		q = try_open(t, files[2]);
		t->p += p;
		t->q += q;
		t->both += p && q;
		t->neither += !p && !q;
	}
	t->finished++;
}

static int last(int seconds, const char *file)
{
	uint64_t end = now_us(CLOCK_MONOTONIC) + (uint64_t)seconds * 1000000;
	uint64_t opened = 0, denied = 0, from;

	while (now_us(CLOCK_MONOTONIC) < end) {
		int fd;

		from = now_us(CLOCK_REALTIME);
		fd = open(file, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			opened = from;
			close(fd);
		} else if (!denied) {
			denied = from;
		}
	}
	printf("last_opened=%llu first_denied=%llu\n", (unsigned long long)opened,
	       (unsigned long long)denied);
	return 0;
}

int main(int argc, char **argv)
{
	struct tally *t;
	uint64_t end;
	int n;

	if (argc == 4 && !strcmp(argv[1], "last"))
		return last(atoi(argv[2]), argv[3]);
	if (argc < 7)
		return 64;
	n = atoi(argv[1]);
	t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		return 2;
	end = now_us(CLOCK_MONOTONIC) + (uint64_t)atoi(argv[2]) * 1000000;
	for (int i = 0; i < n; i++)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(t, argv + 4, argc - 4, (unsigned)atoi(argv[3]), end);
			_exit(0);
		}
	while (t->finished < (uint64_t)n && now_us(CLOCK_MONOTONIC) < end + 10000000)
		usleep(20000);
	printf("opens=%llu denied=%llu secret=%llu p=%llu q=%llu both=%llu neither=%llu leaked=%llu "
	       "freed=%llu other=%llu max_us=%llu hung=%llu\n",
	       (unsigned long long)t->opens, (unsigned long long)t->denied,
	       (unsigned long long)t->secret, (unsigned long long)t->p, (unsigned long long)t->q,
	       (unsigned long long)t->both, (unsigned long long)t->neither,
	       (unsigned long long)t->leaked, (unsigned long long)t->freed,
	       (unsigned long long)t->other, (unsigned long long)t->max_us,
	       (unsigned long long)n - t->finished);
	return 0;
}
