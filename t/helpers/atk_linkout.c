/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atk_linkout SECRET LINK SECONDS: gives whatever has the secret's name another, and opens that, as
 * fast as it can, while somebody else puts new secrets in its place. Prints how many links there
 * were, how many opens of them were denied, and how many different contents were read.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long links = 0, denied = 0, leaks = 0;
	char last[64] = "", now[64];
	time_t end;

	if (argc != 4)
		return 64;
	alarm((unsigned)atoi(argv[3]) + 2);
	end = time(NULL) + atoi(argv[3]);
	while (time(NULL) < end) {
		ssize_t n = 0;
		int fd;

		if (link(argv[1], argv[2]) < 0)
			continue;
		links++;
		fd = open(argv[2], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0) {
			denied++;
		} else {
			n = read(fd, now, sizeof(now) - 1);
			close(fd);
		}
		if (n > 0) {
			now[n] = '\0';
			leaks += strcmp(now, last) != 0;
			strcpy(last, now);
		}
		unlink(argv[2]);
	}
	printf("links=%ld denied=%ld leaks=%ld\n", links, denied, leaks);
	return 0;
}
