/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel is asked to carry the bytes: splice. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	int fd = open(attack_secret(argc, argv), O_RDONLY | O_CLOEXEC), p[2];
	ssize_t n;

	if (fd < 0)
		return attack_failed("open");
	if (pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	n = splice(fd, NULL, p[1], NULL, 4096, 0);
	close(p[1]);
	if (n <= 0)
		return attack_failed("splice");
	return attack_read(p[0]);
}
