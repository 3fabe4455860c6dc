/* SPDX-License-Identifier: Apache-2.0 */
/* An O_PATH descriptor itself: it may be had, but it must not give data (status 3, EBADF). */
#include <sys/mman.h>

#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	int fd = open(attack_secret(argc, argv), O_PATH | O_CLOEXEC);
	char *p;

	if (fd < 0)
		return attack_failed("O_PATH");
	p = mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p != MAP_FAILED)
		return attack_print(p, 1);
	return attack_read(fd);
}
