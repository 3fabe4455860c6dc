/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -static */
/* atk_execs SECONDS: forks, execs and ends as fast as one process can. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static long n;
	time_t end;

	if (argc != 2)
		return 64;
	if (argv[1][0] == 'x')
		_exit(0);
	alarm((unsigned)atoi(argv[1]) + 1);
	end = time(NULL) + atoi(argv[1]);
	while (time(NULL) < end) {
		pid_t pid = vfork();

		if (!pid) {
			execl("/proc/self/exe", argv[0], "x", (char *)NULL);
			_exit(1);
		}
		waitpid(pid, NULL, 0);
		n++;
	}
	printf("execs=%ld\n", n);
	return 0;
}
