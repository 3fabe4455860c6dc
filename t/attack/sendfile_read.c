/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel is asked to carry the bytes: sendfile. */
#include <sys/sendfile.h>

#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	int fd = open(attack_secret(argc, argv), O_RDONLY | O_CLOEXEC), p[2];
	ssize_t n;

	if (fd < 0)
		return attack_failed("open");
	if (pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	n = sendfile(p[1], fd, NULL, 4096);
	close(p[1]);
	if (n <= 0)
		return attack_failed("sendfile");
	return attack_read(p[0]);
}
