/* SPDX-License-Identifier: Apache-2.0 */
/* Sixteen generations, each of which orphans the next. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	int p[2], i;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (pid == 0) {
		for (i = 0; i < 16; i++) {
			pid_t next = fork();

			if (next < 0)
				attack_tell(p[1], ATTACK_CANNOT);
			if (next != 0)
				_exit(0);
			if (i % 4 == 0)
				setsid();
		}
		attack_tell(p[1], attack_open(secret));
		_exit(0);
	}
	close(p[1]);
	waitpid(pid, NULL, 0);
	return attack_await(p[0]);
}
