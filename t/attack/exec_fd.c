/* SPDX-License-Identifier: Apache-2.0 */
/* execveat of an O_PATH descriptor: no name in the call. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	static char out[ATTACK_BUF];
	int fd = open(attack_secret(argc, argv), O_PATH), p[2], status;
	char *const args[] = { "x", NULL };
	ssize_t n;
	size_t len = 0;
	pid_t pid;

	if (fd < 0 || pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("O_PATH");
	pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (pid == 0) {
		dup2(p[1], STDOUT_FILENO);
		syscall(SYS_execveat, fd, "", args, environ, AT_EMPTY_PATH);
		_exit(attack_failed("execveat") + 100);
	}
	close(p[1]);
	while (len < sizeof(out) && (n = read(p[0], out + len, sizeof(out) - len)) > 0)
		len += (size_t)n;
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) >= 100)
		return WEXITSTATUS(status) - 100;
	return len > 0 ? attack_print(out, len) : ATTACK_OTHER;
}
