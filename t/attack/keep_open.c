/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep_open FILE GO_FILE: opens FILE at once and prints it only when GO_FILE exists: what was open
 * before anybody watched stays readable. A known limit; the operator is told of it.
 */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	int fd = open(attack_secret(argc, argv), O_RDONLY | O_CLOEXEC), i;

	if (fd < 0)
		return attack_failed("open");
	if (argc < 3)
		return 64;
	puts("opened");
	fflush(stdout);
	for (i = 0; i < 6000 && access(argv[2], F_OK) < 0; i++)
		usleep(10000);
	return attack_read(fd);
}
