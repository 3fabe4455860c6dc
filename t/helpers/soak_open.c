/* SPDX-License-Identifier: Apache-2.0 */
/*
 * soak_open OUT STOP PERIOD_MS LIMIT_MS [-|+|?]FILE…: opens the files in turn until the file STOP is
 * there. -FILE must be refused with EPERM, +FILE must open, ?FILE may do either. Twice a second OUT
 * gets one line:
 *   opens= denied= leaked= failed= late= max_ms= stall_ms=
 * leaked: -FILE that opened; failed: anything else that should not be; late: opens that took longer
 * than LIMIT_MS. An open that has not returned counts as what it took so far.
 * stall_ms: the longest that a thread which only sleeps 10 ms at a time was away: the host's share.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic uint64_t opens, denied, leaked, failed, late, max_ms, since_ms, stall_ms;
static const char *out_path, *stop_path;
static uint64_t limit_ms;
static int last_error;
static pthread_mutex_t reporting = PTHREAD_MUTEX_INITIALIZER;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void report(void)
{
	uint64_t from = since_ms, took = from ? now_ms() - from : 0;
	char line[256], tmp[4096];
	int n, fd;

	n = snprintf(line, sizeof(line),
		     "opens=%llu denied=%llu leaked=%llu failed=%llu late=%llu max_ms=%llu "
		     "stall_ms=%llu error=%d\n",
		     (unsigned long long)opens, (unsigned long long)denied,
		     (unsigned long long)leaked, (unsigned long long)failed,
		     (unsigned long long)(late + (took > limit_ms)),
		     (unsigned long long)(took > max_ms ? took : max_ms),
		     (unsigned long long)stall_ms, last_error);
	if (snprintf(tmp, sizeof(tmp), "%s.new", out_path) >= (int)sizeof(tmp))
		return;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) != n || rename(tmp, out_path) < 0)
		perror(out_path);
	if (fd >= 0)
		close(fd);
}

/* By a thread of its own, so that an open that hangs is told of. */
static void *reporter(void *arg)
{
	uint64_t beat, gap;

	(void)arg;
	for (unsigned i = 1;; i++) {
		beat = now_ms();
		usleep(10000);
		gap = now_ms() - beat;
		if (gap > stall_ms)
			stall_ms = gap;
		if (i % 50)
			continue;
		pthread_mutex_lock(&reporting);
		report();
		pthread_mutex_unlock(&reporting);
	}
	return NULL;
}

static void try(const char *file)
{
	uint64_t from = now_ms(), took;
	int fd, err;

	since_ms = from;
	fd = open(file + 1, O_RDONLY | O_CLOEXEC);
	err = errno;
	took = now_ms() - from;
	since_ms = 0;
	opens++;
	if (took > max_ms)
		max_ms = took;
	late += took > limit_ms;
	if (fd >= 0) {
		close(fd);
		leaked += *file == '-';
		return;
	}
	if (*file != '+' && err == EPERM) {
		denied++;
		return;
	}
	failed++;
	last_error = err;
}

int main(int argc, char **argv)
{
	unsigned period_us;
	pthread_t t;

	if (argc < 6)
		return 64;
	out_path = argv[1];
	stop_path = argv[2];
	period_us = (unsigned)atoi(argv[3]) * 1000;
	limit_ms = strtoull(argv[4], NULL, 10);
	if (pthread_create(&t, NULL, reporter, NULL) != 0)
		return 2;
	for (unsigned i = 0; access(stop_path, F_OK) < 0; i++) {
		try(argv[5 + i % (unsigned)(argc - 5)]);
		usleep(period_us);
	}
	pthread_mutex_lock(&reporting);
	report();
	return 0;
}
