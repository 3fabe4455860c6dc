/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atk_latency FILE SECONDS: opens and closes FILE every 2 ms and prints how long the
 * opens took, in microseconds, and how many did not succeed; last=: the longest of the last second.
 * 1 when some did not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES 20000

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	static uint64_t took[SAMPLES];
	uint64_t end, before, last = 0;
	unsigned failed = 0;
	size_t n = 0;

	if (argc != 3)
		return 64;
	end = now_us() + strtoull(argv[2], NULL, 10) * 1000000;
	while (n < SAMPLES && (before = now_us()) < end) {
		int fd = open(argv[1], O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			close(fd);
		else
			failed++;
		took[n] = now_us() - before;
		if (before + 1000000 >= end && took[n] > last)
			last = took[n];
		n++;
		usleep(2000);
	}
	if (!n)
		return 2;
	qsort(took, n, sizeof(took[0]), by_size);
	printf("opens=%zu failed=%u p50=%llu p99=%llu max=%llu last=%llu\n", n, failed,
	       (unsigned long long)took[n / 2], (unsigned long long)took[n * 99 / 100],
	       (unsigned long long)took[n - 1], (unsigned long long)last);
	return failed ? 1 : 0;
}
