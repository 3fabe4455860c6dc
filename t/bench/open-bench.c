/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open-bench FILE COUNT [LABEL]: opens (and closes) FILE that often and prints
 * label n denied min_ns p50_ns p99_ns mean_ns, one line. The pacing is none: one opener.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	uint64_t *ns, sum = 0;
	size_t n, i, denied = 0, warm;

	if (argc < 3)
		return 64;
	n = strtoul(argv[2], NULL, 10);
	ns = calloc(n, sizeof(*ns));
	if (!ns || n == 0)
		return 69;
	warm = n / 10;
	for (i = 0; i < n + warm; i++) {
		uint64_t start = now_ns();
		int fd = open(argv[1], O_RDONLY | O_CLOEXEC), saved = errno;
		uint64_t end = now_ns();

		if (fd >= 0)
			close(fd);
		else if (saved != EPERM) {
			errno = saved;
			perror(argv[1]);
			return 69;
		}
		if (i < warm)
			continue;
		denied += fd < 0;
		ns[i - warm] = end - start;
		sum += end - start;
	}
	qsort(ns, n, sizeof(*ns), by_value);
	printf("%s n=%zu denied=%zu min_ns=%llu p50_ns=%llu p99_ns=%llu mean_ns=%llu\n",
	       argc > 3 ? argv[3] : argv[1], n, denied, (unsigned long long)ns[0],
	       (unsigned long long)ns[n / 2], (unsigned long long)ns[n * 99 / 100],
	       (unsigned long long)(sum / n));
	free(ns);
	return 0;
}
