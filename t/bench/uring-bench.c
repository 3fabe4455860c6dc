/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring-bench make|open DIR FILES [RATE SECONDS]: makes that many files, or opens them in turn by io_uring,
 * so many a second (0: as fast as it can), and prints how many those were.
 */
#include <stdlib.h>

#include "t/bench/uring_opens.h"

int main(int argc, char **argv)
{
	unsigned files = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
	char name[URING_PATH];
	int64_t n;

	if (argc > 5 && files && !strcmp(argv[1], "open")) {
		n = uring_opens_run(argv[2], files, atof(argv[4]), atof(argv[5]));
		if (n < 0) {
			fprintf(stderr, "io_uring: %s\n", strerror((int)-n));
			return 69;
		}
		printf("%lld\n", (long long)n);
		return 0;
	}
	for (unsigned i = 0; i < files; i++) {
		uring_opens_name(name, argv[2], i);
		close(open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	}
	return files ? 0 : 64;
}
