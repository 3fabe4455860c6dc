/* SPDX-License-Identifier: Apache-2.0 */
/* vfork and exec at once: there is no time between the two in which anybody could look. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	static char out[ATTACK_BUF];
	char *const args[] = { "/bin/cat", (char *)attack_secret(argc, argv), NULL };
	char *const env[] = { "LC_ALL=C", NULL };
	int p[2];
	ssize_t n;
	size_t len = 0;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	pid = vfork();
	if (pid < 0)
		return attack_cannot("vfork");
	if (pid == 0) {
		dup2(p[1], STDOUT_FILENO);
		dup2(p[1], STDERR_FILENO);
		execve(args[0], args, env);
		_exit(127);
	}
	close(p[1]);
	while (len < sizeof(out) - 1 && (n = read(p[0], out + len, sizeof(out) - 1 - len)) > 0)
		len += (size_t)n;
	waitpid(pid, NULL, 0);
	if (strstr(out, "Operation not permitted"))
		return ATTACK_DENIED;
	return len > 0 ? attack_print(out, len) : ATTACK_OTHER;
}
