/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_child.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS_MAX 60000

int64_t child_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int child_take(int fd, void *buf, size_t len, int64_t until_ms)
{
	for (size_t at = 0; at < len;) {
		struct pollfd p = { fd, POLLIN, 0 };
		int64_t left = until_ms - child_now_ms();
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		/* Only what is ready is read: a read waits longer than any deadline. */
		n = poll(&p, 1, (int)(left > POLL_MS_MAX ? POLL_MS_MAX : left));
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n <= 0)
			continue;
		n = read(fd, (char *)buf + at, len - at);
		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	return 0;
}
