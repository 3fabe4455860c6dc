/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atk_renames DIR NAME SECONDS: renames a directory of DIR to NAME, which rules protect, and back,
 * as fast as it can.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	time_t end;
	long n = 0;

	if (argc != 4 || chdir(argv[1]) < 0)
		return 64;
	alarm((unsigned)atoi(argv[3]) + 1);
	end = time(NULL) + atoi(argv[3]);
	mkdir("innocent", 0700);
	while (time(NULL) < end) {
		if (rename("innocent", argv[2]) < 0 || rename(argv[2], "innocent") < 0)
			return 1;
		n++;
	}
	printf("renames=%ld\n", 2 * n);
	return 0;
}
