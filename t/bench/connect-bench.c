/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect-bench tcp|udp ADDRESS PORT COUNT [LABEL]: connects that often and prints as open-bench
 * does. tcp: to a listener of its own at that place, on a new socket each time, the connect alone is
 * measured; udp: one socket, again and again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

static int listener(struct sockaddr_in *sa)
{
	socklen_t len = sizeof(*sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)sa, sizeof(*sa)) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (void *)sa, &len) < 0) {
		perror("listen");
		exit(69);
	}
	return fd;
}

/* No TIME_WAIT: the ports would run out. */
static void drop(int fd)
{
	struct linger now = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	bool tcp = argc > 1 && !strcmp(argv[1], "tcp");
	size_t n, denied = 0, warm;
	uint64_t *ns, sum = 0;
	int at = -1, fd = -1;

	if (argc < 5 || inet_pton(AF_INET, argv[2], &sa.sin_addr) != 1)
		return 64;
	sa.sin_port = htons((uint16_t)atoi(argv[3]));
	n = strtoul(argv[4], NULL, 10);
	ns = calloc(n, sizeof(*ns));
	if (!ns || n == 0)
		return 69;
	warm = n / 10;
	if (tcp)
		at = listener(&sa);
	else
		fd = socket(AF_INET, SOCK_DGRAM, 0);
	for (size_t i = 0; i < n + warm; i++) {
		uint64_t start, end;
		int r, saved;

		if (tcp)
			fd = socket(AF_INET, SOCK_STREAM, 0);
		start = now_ns();
		r = connect(fd, (void *)&sa, sizeof(sa));
		saved = errno;
		end = now_ns();
		if (r < 0 && saved != EPERM) {
			errno = saved;
			perror("connect");
			return 69;
		}
		if (tcp) {
			drop(fd);
			if (r == 0)
				drop(accept(at, NULL, NULL));
		}
		if (i < warm)
			continue;
		denied += r < 0;
		ns[i - warm] = end - start;
		sum += end - start;
	}
	qsort(ns, n, sizeof(*ns), by_value);
	printf("%s n=%zu denied=%zu min_ns=%llu p50_ns=%llu p99_ns=%llu mean_ns=%llu\n",
	       argc > 5 ? argv[5] : argv[1], n, denied, (unsigned long long)ns[0],
	       (unsigned long long)ns[n / 2], (unsigned long long)ns[n * 99 / 100],
	       (unsigned long long)(sum / n));
	free(ns);
	return 0;
}
