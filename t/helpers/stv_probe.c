/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stv_probe FILE SECONDS: opens FILE once each 2 ms or later, and prints how long that took, in
 * microseconds, and how often it was denied or failed in another way. Opened or denied: it was
 * answered.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 20000

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	static uint64_t took[SAMPLES];
	const struct timespec pause = { .tv_nsec = 2000000 };
	unsigned denied = 0, failed = 0;
	uint64_t end, before;
	size_t n = 0;

	if (argc != 3)
		return 64;
	mlockall(MCL_CURRENT);
	end = now_ns() + (uint64_t)(strtod(argv[2], NULL) * 1e9);
	while (n < SAMPLES && (before = now_ns()) < end) {
		int fd = open(argv[1], O_RDONLY | O_CLOEXEC);

		took[n++] = now_ns() - before;
		if (fd >= 0)
			close(fd);
		else if (errno == EPERM)
			denied++;
		else
			failed++;
		nanosleep(&pause, NULL);
	}
	qsort(took, n, sizeof(took[0]), by_size);
	printf("opens=%zu denied=%u failed=%u p50=%llu p90=%llu p99=%llu max=%llu\n", n, denied,
	       failed, (unsigned long long)took[n / 2] / 1000,
	       (unsigned long long)took[n * 9 / 10] / 1000,
	       (unsigned long long)took[n * 99 / 100] / 1000,
	       (unsigned long long)took[n - 1] / 1000);
	return n ? 0 : 2;
}
