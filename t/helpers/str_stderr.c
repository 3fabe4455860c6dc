/* SPDX-License-Identifier: Apache-2.0 */
/*
 * str_stderr KIND PIDFILE CMD…: becomes CMD, whose stderr is
 *   pipe, socket, tty  full, and nobody reads the other end
 *   gone               a pipe whose reader has closed it
 *   none               closed
 * A child holds the other end and has its pid in PIDFILE; at SIGUSR1 it begins to read, and writes
 * what comes to the stderr that we were given.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* fds[0] is read, fds[1] is written. */
static int open_pair(const char *kind, int fds[2])
{
	if (!strcmp(kind, "socket"))
		return socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
	if (strcmp(kind, "tty"))
		return pipe(fds);
	fds[0] = posix_openpt(O_RDWR | O_NOCTTY);
	if (fds[0] < 0 || grantpt(fds[0]) < 0 || unlockpt(fds[0]) < 0)
		return -1;
	fds[1] = open(ptsname(fds[0]), O_RDWR | O_NOCTTY);
	return fds[1] < 0 ? -1 : 0;
}

/* Until it takes nothing more; blocking again afterwards, as its next user expects it. */
static void fill(int fd)
{
	static const char text[512] = "filling\n";
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (write(fd, text, sizeof(text)) > 0)
		;
	while (write(fd, "\n", 1) > 0)
		;
	fcntl(fd, F_SETFL, flags);
}

static void hold(int fd, const char *pidfile, pid_t parent)
{
	FILE *f = fopen(pidfile, "we");
	char buf[65536];
	sigset_t set;
	ssize_t n;
	int sig;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!f || getppid() != parent)
		_exit(2);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fprintf(f, "%d\n", getpid());
	fclose(f);
	if (sigwait(&set, &sig) != 0)
		_exit(2);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(STDERR_FILENO, buf, (size_t)n) < 0)
			break;
	_exit(0);
}

int main(int argc, char **argv)
{
	int fds[2] = { -1, -1 };
	pid_t parent = getpid(), pid;

	if (argc < 4)
		return 64;
	if (!strcmp(argv[1], "none")) {
		close(STDERR_FILENO);
		execvp(argv[3], argv + 3);
		return 127;
	}
	if (open_pair(argv[1], fds) < 0) {
		perror(argv[1]);
		return 2;
	}
	if (strcmp(argv[1], "gone")) {
		pid = fork();
		if (pid == 0) {
			close(fds[1]);
			hold(fds[0], argv[2], parent);
		}
		while (access(argv[2], R_OK) < 0)
			usleep(1000);
		fill(fds[1]);
	}
	close(fds[0]);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	execvp(argv[3], argv + 3);
	return 127;
}
