/* SPDX-License-Identifier: Apache-2.0 */
/* Not the main thread execs: the process keeps its pid, all its threads change. */
#include <pthread.h>

#include "t/attack/attack.h"

static void *body(void *arg)
{
	char *const args[] = { "/bin/cat", arg, NULL };

	execv(args[0], args);
	_exit(127);
}

int main(int argc, char **argv)
{
	static char out[ATTACK_BUF];
	const char *secret = attack_secret(argc, argv);
	int p[2];
	ssize_t n;
	size_t len = 0;
	pid_t pid;

	setenv("LC_ALL", "C", 1);
	if (pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (pid == 0) {
		pthread_t t;

		dup2(p[1], STDOUT_FILENO);
		dup2(p[1], STDERR_FILENO);
		if (pthread_create(&t, NULL, body, (void *)secret) == 0)
			pthread_join(t, NULL);
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
