/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands for a service manager: str_notify SOCKET never | str_notify SOCKET open FILE
 *   never  binds the socket and never takes a message
 *   open   after each message opens FILE, and prints "MESSAGE MILLISECONDS"
 * Prints "bound" first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char buf[512];
	ssize_t n;
	int fd;

	if (argc < 3 || strlen(argv[1]) >= sizeof(sa.sun_path))
		return 64;
	strcpy(sa.sun_path, argv[1]);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		perror(argv[1]);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("bound");
	if (argc == 3)
		for (;;)
			pause();
	while ((n = recv(fd, buf, sizeof(buf) - 1, 0)) >= 0) {
		long began = now_ms();
		int opened = open(argv[3], O_RDONLY | O_CLOEXEC);

		buf[n] = '\0';
		buf[strcspn(buf, "\n")] = '\0';
		printf("%s %ld %s\n", buf, now_ms() - began, opened < 0 ? strerror(errno) : "opened");
		if (opened >= 0)
			close(opened);
	}
	return 0;
}
