/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atk_askers SOCKET SECONDS COMMAND…: one process for each COMMAND asks the daemon for it, again and
 * again, reading every answer to its end. Prints how often each was answered.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void ask(const char *path, const char *command, time_t end)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char request[64], buf[65536];
	long answers = 0;

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	snprintf(request, sizeof(request), "{\"cmd\":\"%s\"}\n", command);
	while (time(NULL) < end) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ssize_t n = -1;

		if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
		    send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
			while ((n = read(fd, buf, sizeof(buf))) > 0)
				;
		close(fd);
		if (n == 0)
			answers++;
	}
	printf("%s=%ld\n", command, answers);
}

int main(int argc, char **argv)
{
	time_t end;

	if (argc < 4)
		return 64;
	end = time(NULL) + atoi(argv[2]);
	for (int i = 3; i < argc; i++) {
		if (fork() == 0) {
			alarm((unsigned)atoi(argv[2]) + 3);
			ask(argv[1], argv[i], end);
			exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
