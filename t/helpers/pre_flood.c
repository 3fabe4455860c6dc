/* SPDX-License-Identifier: Apache-2.0 */
/* pre_flood SOCKET N: connects N times, says nothing, and holds what it is not refused, with what
 * descriptors there are; then waits to be killed. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HELD 900

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = argc > 2 ? atoi(argv[2]) : 0, refused = 0, held[HELD], at = 0;
	char text[256];

	if (argc < 3)
		return 64;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", argv[1]);
	for (int i = 0; i < HELD; i++)
		held[i] = -1;
	for (int i = 0; i < n; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		if (fd < 0)
			return 1;
		if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
			close(fd);
			refused++;
			continue;
		}
		if (held[at] >= 0) {
			refused += recv(held[at], text, sizeof(text), MSG_DONTWAIT) >= 0;
			close(held[at]);
		}
		held[at] = fd;
		at = (at + 1) % HELD;
	}
	printf("asked %d refused %d\n", n, refused);
	fflush(stdout);
	pause();
	return 0;
}
