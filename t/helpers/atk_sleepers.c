/* SPDX-License-Identifier: Apache-2.0 */
/* atk_sleepers COUNT SECONDS: so many children that do nothing, for so long. */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		return 64;
	alarm((unsigned)atoi(argv[2]));
	for (int i = atoi(argv[1]); i > 0; i--) {
		if (fork() == 0) {
			alarm((unsigned)atoi(argv[2]));
			for (;;)
				pause();
		}
	}
	for (;;)
		pause();
}
