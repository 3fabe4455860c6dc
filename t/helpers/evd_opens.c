/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evd_opens DIR COUNT PAUSE_US STOP [FROM]: opens DIR/f0001 and so on, each once, so that records
 * can be told apart, and says for each `NAME ERRNO` (0: it was opened), until COUNT, or until five
 * after the file STOP is there. With FROM, each file is moved from there into DIR just before.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define AFTER_STOP 5

int main(int argc, char **argv)
{
	char name[16], path[4096], from[4096];
	int count, after = 0;

	if (argc < 5)
		return 64;
	count = atoi(argv[2]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i <= count && after <= AFTER_STOP; i++) {
		int fd;

		snprintf(name, sizeof(name), "f%04d", i);
		snprintf(path, sizeof(path), "%s/%s", argv[1], name);
		if (argc > 5) {
			snprintf(from, sizeof(from), "%s/%s", argv[5], name);
			if (rename(from, path) < 0)
				return 1;
		}
		fd = open(path, O_RDONLY | O_CLOEXEC);
		printf("%s %d\n", name, fd < 0 ? errno : 0);
		if (fd >= 0)
			close(fd);
		usleep((useconds_t)atoi(argv[3]));
		after += after || access(argv[4], F_OK) == 0;
	}
	return 0;
}
