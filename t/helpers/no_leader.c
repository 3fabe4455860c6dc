/* SPDX-License-Identifier: Apache-2.0 */
/*
 * no_leader END TICKS [FILE | --forks]: its first thread ends, another one goes on until END is there. Each
 * time it adds a line to TICKS: "x", or whether it could open FILE ("got", "denied", "not"); with --forks a
 * process is born, and ends, before that.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE_US 20000

static const char *end, *ticks, *what;

static const char *act(void)
{
	int fd;

	if (!what)
		return "x\n";
	if (!strcmp(what, "--forks")) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return pid > 0 ? "x\n" : "not\n";
	}
	fd = open(what, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == EPERM ? "denied\n" : "not\n";
	close(fd);
	return "got\n";
}

static void *go_on(void *arg)
{
	int fd = open(ticks, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	(void)arg;
	while (fd >= 0 && access(end, F_OK) < 0) {
		const char *line = act();

		if (write(fd, line, strlen(line)) < 0)
			break;
		usleep(PAUSE_US);
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc < 3 || argc > 4)
		return 64;
	end = argv[1];
	ticks = argv[2];
	what = argv[3];
	if (pthread_create(&thread, NULL, go_on, NULL))
		return 2;
	pthread_exit(NULL);
}
