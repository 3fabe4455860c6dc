/* SPDX-License-Identifier: Apache-2.0 */
/* A child holds the O_PATH descriptor; we open it through the child's /proc entry. */
#include <signal.h>

#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char path[64];
	int p[2], fd = -1, ret;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (pid == 0) {
		fd = open(secret, O_PATH | O_CLOEXEC);
		if (write(p[1], &fd, sizeof(fd)) != sizeof(fd))
			_exit(1);
		alarm(30);
		pause();
		_exit(0);
	}
	if (read(p[0], &fd, sizeof(fd)) != sizeof(fd) || fd < 0) {
		ret = attack_cannot("O_PATH");
	} else {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		ret = attack_open(path);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ret;
}
