/* SPDX-License-Identifier: Apache-2.0 */
/* atk_manyfiles DIR COUNT SUFFIX: empty files DIR/dN/aN SUFFIX, 4,000 to a directory. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define IN_ONE 4000

int main(int argc, char **argv)
{
	char path[256];
	long count;

	if (argc != 4 || chdir(argv[1]) < 0)
		return 64;
	count = atol(argv[2]);
	for (long i = 0; i < count; i++) {
		int fd;

		if (i % IN_ONE == 0) {
			snprintf(path, sizeof(path), "d%ld", i / IN_ONE);
			if (mkdir(path, 0755) < 0)
				return 1;
		}
		snprintf(path, sizeof(path), "d%ld/a%ld%s", i / IN_ONE, i, argv[3]);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0)
			return 1;
		close(fd);
	}
	return 0;
}
