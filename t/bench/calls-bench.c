/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls-bench FILE BATCHES LABEL: what single system calls take, a batch at a time; prints a line for each
 * as open-bench does, LABEL.NAME first. FILE is opened, and FILE with a word behind it, which is not there.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCH 500 /* fewer than the descriptors that a process may have */

enum call { GETPPID, OPENAT, CLOSE, ABSENT, CONNECT, N_CALLS };
static const char *const names[N_CALLS] = { "getppid", "openat", "close", "absent", "connect" };

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

/* fds: what OPENAT leaves behind and CLOSE takes. */
static void batch(enum call call, const char *file, const char *absent, int sock, int fds[BATCH])
{
	const struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(9),
					.sin_addr = { htonl(INADDR_LOOPBACK) } };

	for (int i = 0; i < BATCH; i++) {
		switch (call) {
		case GETPPID:
			syscall(SYS_getppid);
			break;
		case OPENAT:
			fds[i] = openat(AT_FDCWD, file, O_RDONLY | O_CLOEXEC);
			break;
		case CLOSE:
			close(fds[i]);
			break;
		case ABSENT:
			openat(AT_FDCWD, absent, O_RDONLY | O_CLOEXEC);
			break;
		default:
			connect(sock, (const void *)&sa, sizeof(sa));
		}
	}
}

int main(int argc, char **argv)
{
	size_t n = argc > 3 ? strtoul(argv[2], NULL, 10) : 0, warm = n / 10;
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), fds[BATCH];
	uint64_t *ns[N_CALLS];
	char absent[4096];

	if (!n || sock < 0)
		return 64;
	snprintf(absent, sizeof(absent), "%s.absent", argv[1]);
	for (int call = 0; call < N_CALLS; call++) {
		ns[call] = calloc(n, sizeof(*ns[call]));
		if (!ns[call])
			return 69;
	}
	for (size_t i = 0; i < n + warm; i++) {
		for (int call = 0; call < N_CALLS; call++) {
			uint64_t start = now_ns();

			batch((enum call)call, argv[1], absent, sock, fds);
			start = now_ns() - start;
			if (call == OPENAT && fds[BATCH - 1] < 0) {
				perror(argv[1]);
				return 69;
			}
			if (i >= warm)
				ns[call][i - warm] = start / BATCH;
		}
	}
	for (int call = 0; call < N_CALLS; call++) {
		qsort(ns[call], n, sizeof(*ns[call]), by_value);
		printf("%s.%s n=%zu min_ns=%llu p50_ns=%llu p99_ns=%llu\n", argv[3], names[call], n,
		       (unsigned long long)ns[call][0], (unsigned long long)ns[call][n / 2],
		       (unsigned long long)ns[call][n * 99 / 100]);
		free(ns[call]);
	}
	return 0;
}
