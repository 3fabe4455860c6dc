/* SPDX-License-Identifier: Apache-2.0 */
/* The opener's parent is dead and its session is its own. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	int p[2];
	pid_t pid, middle;

	if (pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (pid == 0) {
		setsid();
		middle = getpid();
		if (fork() == 0) {
			while (getppid() == middle)
				usleep(100);
			attack_tell(p[1], attack_open(secret));
		}
		_exit(0);
	}
	close(p[1]);
	waitpid(pid, NULL, 0);
	return attack_await(p[0]);
}
