/* SPDX-License-Identifier: Apache-2.0 */
/* The content is mapped, never read. */
#include <sys/mman.h>

#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	int fd = open(attack_secret(argc, argv), O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *p;

	if (fd < 0)
		return attack_failed("open");
	if (fstat(fd, &st) < 0)
		return attack_failed("fstat");
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return attack_failed("mmap");
	return attack_print(p, (size_t)st.st_size);
}
