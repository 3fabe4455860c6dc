/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atk_manylinks COUNT NAME TARGET: symbolic links NAME0, NAME1, … in the working directory. With a
 * fourth argument each has a target of its own, by its number.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char name[128], target[256];
	long count;

	if (argc < 4)
		return 64;
	count = atol(argv[1]);
	for (long i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s%ld", argv[2], i);
		if (argc > 4)
			snprintf(target, sizeof(target), "%s%ld", argv[3], i);
		else
			snprintf(target, sizeof(target), "%s", argv[3]);
		if (symlink(target, name) < 0)
			return 1;
	}
	/* The tree stays until they have been looked at. */
	sleep(2);
	return 0;
}
