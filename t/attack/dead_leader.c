/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread is gone; another thread forks, and that child opens from its own session. */
#include <pthread.h>

#include "t/attack/attack.h"

static const char *secret;
static int report[2];

static void *body(void *arg)
{
	(void)arg;
	usleep(20000);
	if (fork() == 0) {
		setsid();
		attack_tell(report[1], attack_open(secret));
		_exit(0);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	pid_t pid;

	secret = attack_secret(argc, argv);
	if (pipe2(report, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (pid == 0) {
		pthread_t t;

		if (pthread_create(&t, NULL, body, NULL) != 0)
			_exit(1);
		pthread_exit(NULL);
	}
	close(report[1]);
	waitpid(pid, NULL, 0);
	return attack_await(report[0]);
}
