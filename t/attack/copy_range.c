/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel is asked to carry the bytes: copy_file_range into a file of ours. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	int fd = open(attack_secret(argc, argv), O_RDONLY | O_CLOEXEC), to;
	char *name = attack_path(attack_scratch(argc, argv), "copy");
	ssize_t n;

	if (fd < 0)
		return attack_failed("open");
	to = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (to < 0)
		return attack_cannot("%s", name);
	unlink(name);
	n = copy_file_range(fd, NULL, to, NULL, 65536, 0);
	if (n <= 0)
		return attack_failed("copy_file_range");
	lseek(to, 0, SEEK_SET);
	return attack_read(to);
}
