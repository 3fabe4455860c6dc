/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_hold FILE SECONDS: takes a write lease on FILE and never gives it back. Whoever opens the
 * file then waits for the kernel's patience to end (45 s), a daemon that is careless included.
 * Prints "held" once it has it.
 */
#include <signal.h>

#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	int fd;

	if (argc != 3)
		return 64;
	signal(SIGIO, SIG_IGN);
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return attack_failed("open");
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		return attack_cannot("lease");
	puts("held");
	fflush(stdout);
	sleep((unsigned)atoi(argv[2]));
	return 0;
}
