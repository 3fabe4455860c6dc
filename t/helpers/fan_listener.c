/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fan_listener [FILE]: a fanotify group that can hold openers, and does not: without FILE it has no
 * mark, with FILE the mark is on that. Answers "allow" to all; prints "ready"; ends with its stdin.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/fanotify.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC);
	struct pollfd p[2] = { { .fd = 0, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	char c;

	if (fd < 0 || (argc > 1 && fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD,
						 argv[1]) < 0)) {
		perror("fan_listener");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	while (poll(p, 2, -1) >= 0) {
		struct fanotify_event_metadata ev[16];
		ssize_t n = p[1].revents ? read(fd, ev, sizeof(ev)) : 0;

		for (struct fanotify_event_metadata *e = ev; FAN_EVENT_OK(e, n);
		     e = FAN_EVENT_NEXT(e, n)) {
			const struct fanotify_response r = { e->fd, FAN_ALLOW };

			if (e->fd < 0)
				continue;
			if (write(fd, &r, sizeof(r)) < 0)
				perror("fan_listener: write");
			close(e->fd);
		}
		if (p[0].revents && read(0, &c, 1) <= 0)
			break;
	}
	return 0;
}
