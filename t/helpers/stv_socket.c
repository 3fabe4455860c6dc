/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stv_socket WHAT SOCKET …: what a peer of the control socket does that wants more than it may have.
 *	fill SOCKET COUNT SECONDS  keeps so many connections open, each with half a request
 *	giant SOCKET BYTES         one request of so many bytes, without a line feed
 *	fds SOCKET COUNT           passes descriptors along with a request, so often
 *	lie SOCKET REQUEST         says with SCM_CREDENTIALS that it is PID 1
 *	reuse SOCKET REQUEST       connects, ends, and lets its child ask when its pid is another's
 * Prints what became of it. 2 when it could not be tried.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FDS_EACH 64

static struct sockaddr_un address = { .sun_family = AF_UNIX };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* One line, or what there is until the other side closes. */
static void print_answer(int fd)
{
	char buf[4096];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	printf("answer=%s\n", n > 0 ? buf : "none");
}

static int fill(int count, double seconds)
{
	static const char half[] = "{\"cmd\":\"status\"";
	struct pollfd *p = calloc((size_t)count, sizeof(*p));
	unsigned long made = 0, ended = 0, failed = 0;
	double end = now() + seconds;

	for (int i = 0; p && i < count; i++)
		p[i].fd = -1;
	while (p && now() < end) {
		for (int i = 0; i < count && now() < end; i++) {
			if (p[i].fd >= 0)
				continue;
			p[i].fd = dial();
			p[i].events = POLLIN | POLLHUP;
			if (p[i].fd < 0 || send(p[i].fd, half, sizeof(half) - 1,
						MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
				failed++;
			else
				made++;
		}
		if (poll(p, (nfds_t)count, 10) <= 0)
			continue;
		for (int i = 0; i < count; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			close(p[i].fd);
			p[i].fd = -1;
			ended++;
		}
	}
	printf("made=%lu ended=%lu failed=%lu\n", made, ended, failed);
	return p ? 0 : 2;
}

static int giant(unsigned long long bytes)
{
	static char chunk[1 << 20];
	unsigned long long sent = 0;
	int fd = dial();

	if (fd < 0)
		return 2;
	memset(chunk, 'a', sizeof(chunk));
	chunk[0] = '{';
	while (sent < bytes) {
		ssize_t n = send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL);

		if (n < 0)
			break;
		sent += (unsigned long long)n;
	}
	printf("sent=%llu errno=%d\n", sent, sent < bytes ? errno : 0);
	print_answer(fd);
	return 0;
}

/* Returns 0 when the other side has let go of what was passed. */
static int pass_once(void)
{
	union {
		char buf[CMSG_SPACE(FDS_EACH * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (char[]){ "{\"cmd\":\"status\"}\n" }, .iov_len = 17 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	struct pollfd p = { .events = POLLIN };
	int ends[2], fds[FDS_EACH], fd = dial(), r;
	char buf[65536];

	if (fd < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return 2;
	for (int i = 0; i < FDS_EACH; i++)
		fds[i] = ends[1];
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	r = sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? 2 : 0;
	close(ends[1]);
	if (!r)
		while (read(fd, buf, sizeof(buf)) > 0)
			;
	close(fd);
	p.fd = ends[0];
	/* A hang-up: nobody has the other end any more. */
	if (!r && (poll(&p, 1, 3000) != 1 || !(p.revents & POLLHUP)))
		r = 1;
	close(ends[0]);
	return r;
}

static int lie(const char *request)
{
	struct ucred cred = { .pid = 1 };
	union {
		char buf[CMSG_SPACE(sizeof(cred))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (char *)request, .iov_len = strlen(request) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd = dial(), one = 1;

	if (fd < 0)
		return 2;
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(cred));
	memcpy(CMSG_DATA(c), &cred, sizeof(cred));
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0) {
		printf("errno=%d\n", errno);
		return 2;
	}
	send(fd, "\n", 1, MSG_NOSIGNAL);
	print_answer(fd);
	return 0;
}

/* A process with this pid; 0 in it. */
static pid_t fork_as(pid_t pid)
{
	uint64_t want = (uint64_t)pid;
	struct clone_args a = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&want,
				.set_tid_size = 1 };

	return (pid_t)syscall(SYS_clone3, &a, sizeof(a));
}

static int reuse(const char *request)
{
	int pair[2], status;
	pid_t who, again = -1;
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 2;
	who = fork();
	if (who == 0) {
		int fd = dial();

		if (fd < 0)
			_exit(2);
		if (fork() == 0) { /* has the connection, and asks when it is told to */
			close(pair[0]);
			if (read(pair[1], &byte, 1) == 1 &&
			    send(fd, request, strlen(request), MSG_NOSIGNAL) >= 0 &&
			    send(fd, "\n", 1, MSG_NOSIGNAL) >= 0) {
				print_answer(fd);
				fflush(stdout);
			}
			_exit(write(pair[1], "x", 1) != 1);
		}
		_exit(0);
	}
	close(pair[1]);
	usleep(50000); /* it is accepted */
	if (waitpid(who, &status, 0) != who || status)
		return 2;
	for (int i = 0; i < 100 && again < 0; i++) {
		again = fork_as(who);
		if (again == 0) {
			pause();
			_exit(0);
		}
		if (again < 0)
			usleep(1000);
	}
	if (again < 0) {
		printf("errno=%d\n", errno);
		return 2;
	}
	if (write(pair[0], "x", 1) != 1 || read(pair[0], &byte, 1) != 1)
		status = 2;
	kill(again, SIGKILL);
	waitpid(again, NULL, 0);
	return status ? 2 : 0;
}

int main(int argc, char **argv)
{
	struct rlimit nofile = { 20000, 20000 };
	int kept = 0;

	if (argc < 4)
		return 64;
	signal(SIGPIPE, SIG_IGN);
	setrlimit(RLIMIT_NOFILE, &nofile);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[2]);
	if (!strcmp(argv[1], "fill") && argc == 5)
		return fill(atoi(argv[3]), atof(argv[4]));
	if (!strcmp(argv[1], "giant"))
		return giant(strtoull(argv[3], NULL, 10));
	if (!strcmp(argv[1], "lie"))
		return lie(argv[3]);
	if (!strcmp(argv[1], "reuse"))
		return reuse(argv[3]);
	if (strcmp(argv[1], "fds"))
		return 64;
	for (int i = 0; i < atoi(argv[3]); i++) {
		int r = pass_once();

		if (r == 2)
			return 2;
		kept += r;
	}
	printf("kept=%d\n", kept);
	return kept != 0;
}
