/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process that asks the name service. It forks for each question: who hangs in a module or waits
 * for a server is ended by its alarm, and others go on.
 */
#include "enforce/names.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/address.h"
#include "core/cleanup.h"
#include "enforce/confine.h"

#define SOCKET_FD 3 /* after stdin, stdout and stderr */
#define HOST_MAX 256
#define WORKERS_MAX 16
#define QUIT_WAIT_MS 500

struct names {
	int sock;
	pid_t pid;
};

struct question {
	uint32_t id;
	char host[HOST_MAX];
};

/* ---- the process --------------------------------------------------------------------------- */

static void add_address(struct names_answer *a, const struct sockaddr *sa)
{
	uint8_t *to = a->addr[a->count];

	if (a->count == NAMES_ADDRESSES_MAX)
		return;
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		to[10] = to[11] = 0xff;
		memcpy(to + 12, &in->sin_addr, 4);
		a->count++;
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		memcpy(to, &in6->sin6_addr, 16);
		a->count++;
	}
}

/* Without any it is the C library's choice: this host. */
static void read_servers(struct names_answer *a)
{
	FILE *f = fopen("/etc/resolv.conf", "re");
	char line[512], server[256];
	struct address found = { 0 };
	const char *why;

	while (f && a->count < NAMES_ADDRESSES_MAX && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " nameserver %255[^ \t\r\n%]", server) == 1 &&
		    address_parse(server, &found, &why) == 0 && !found.host[0])
			memcpy(a->addr[a->count++], found.addr, sizeof(found.addr));
	}
	if (f)
		fclose(f);
	if (a->count)
		return;
	for (; a->count < 2; a->count++) {
		address_parse(a->count ? "::1" : "127.0.0.1", &found, &why);
		memcpy(a->addr[a->count], found.addr, sizeof(found.addr));
	}
}

static void find(const struct question *q) __attribute__((noreturn));
static void find(const struct question *q)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	static struct names_answer a;
	struct addrinfo *list = NULL;

	alarm(NAMES_WAIT_S);
	a.id = q->id;
	if (q->id == NAMES_SERVERS)
		read_servers(&a);
	else
		a.error = getaddrinfo(q->host, NULL, &hints, &list);
	for (const struct addrinfo *i = a.error ? NULL : list; i; i = i->ai_next)
		add_address(&a, i->ai_addr);
	send(SOCKET_FD, &a, sizeof(a), MSG_NOSIGNAL);
	_exit(0);
}

static void settle(pid_t parent)
{
	struct rlimit none = { 0, 0 }, workers = { WORKERS_MAX + 4, WORKERS_MAX + 4 };
	struct sigaction fallback = { .sa_handler = SIG_DFL }, ignore = { .sa_handler = SIG_IGN };
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE };
	sigset_t mask;

	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &fallback, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		sigaction(ignored[i], &ignore, NULL);
	sigemptyset(&mask);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (close_range(SOCKET_FD + 1, ~0U, 0) < 0 || chdir("/") < 0)
		_exit(1);
	confine_expendable();
	setrlimit(RLIMIT_CORE, &none);
	if (confine_become(CONFINE_USER_NAMES, 0) < 0)
		_exit(1);
	/* That limit counts all of a user's processes, and root's are not counted. */
	if (geteuid() == confine_uid(CONFINE_USER_NAMES))
		setrlimit(RLIMIT_NPROC, &workers);
	/* Changing the user disarms this. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	if (confine_calls(CONFINE_NAMES, CONFINE_REFUSE) == -EPERM)
		_exit(1);
}

static void wake(int sig)
{
	(void)sig;
}

/* Waits for a question; who ends meanwhile is not kept as a zombie until then. */
static void await_question(unsigned *workers)
{
	struct pollfd p = { .fd = SOCKET_FD, .events = POLLIN };
	sigset_t none;

	sigemptyset(&none);
	do {
		while (*workers && waitpid(-1, NULL, *workers < WORKERS_MAX ? WNOHANG : 0) > 0)
			--*workers;
	} while (ppoll(&p, 1, NULL, &none) <= 0); /* SIGCHLD comes here alone */
}

static void serve(pid_t parent) __attribute__((noreturn));
static void serve(pid_t parent)
{
	struct sigaction on_child = { .sa_handler = wake };
	unsigned workers = 0;
	sigset_t child;

	settle(parent);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	sigaction(SIGCHLD, &on_child, NULL);
	for (;;) {
		struct question q;
		ssize_t n;
		pid_t pid;

		await_question(&workers);
		n = recv(SOCKET_FD, &q, sizeof(q), MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n != sizeof(q) || !memchr(q.host, 0, sizeof(q.host)))
			_exit(0);
		pid = fork();
		if (pid == 0)
			find(&q);
		workers += pid > 0;
	}
}

/* ---- the daemon's side --------------------------------------------------------------------- */

int names_open(struct names **ret)
{
	_cleanup_free_ struct names *n = calloc(1, sizeof(*n));
	pid_t parent = getpid();
	int fds[2], null;

	if (!n)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	n->pid = fork();
	if (n->pid < 0) {
		int err = -errno;

		close(fds[0]);
		close(fds[1]);
		return err;
	}
	if (!n->pid) {
		prctl(PR_SET_NAME, "oknek-names");
		if (fds[1] != SOCKET_FD && dup2(fds[1], SOCKET_FD) < 0)
			_exit(1);
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null >= 0) {
			dup2(null, STDIN_FILENO);
			dup2(null, STDOUT_FILENO);
		}
		serve(parent);
	}
	close(fds[1]);
	n->sock = fds[0];
	*ret = TAKE_PTR(n);
	return 0;
}

void names_close(struct names *n)
{
	if (!n)
		return;
	close(n->sock);
	for (int ms = 0; ms < QUIT_WAIT_MS && waitpid(n->pid, NULL, WNOHANG) == 0; ms++)
		poll(NULL, 0, 1);
	kill(n->pid, SIGKILL);
	waitpid(n->pid, NULL, 0);
	free(n);
}

int names_fd(const struct names *n)
{
	return n->sock;
}

pid_t names_pid(const struct names *n)
{
	return n->pid;
}

static int ask(struct names *n, const struct question *q)
{
	return send(n->sock, q, sizeof(*q), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int names_ask(struct names *n, uint32_t id, const char *host)
{
	struct question q = { .id = id };

	if (strlen(host) >= sizeof(q.host))
		return -ENAMETOOLONG;
	strcpy(q.host, host);
	return ask(n, &q);
}

int names_ask_servers(struct names *n)
{
	return ask(n, &(struct question){ .id = NAMES_SERVERS });
}

int names_take(struct names *n, struct names_answer *ret)
{
	struct names_answer a;
	ssize_t len = recv(n->sock, &a, sizeof(a), MSG_DONTWAIT);

	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (len == 0)
		return -EPIPE;
	if (len != sizeof(a) || a.count > NAMES_ADDRESSES_MAX)
		return -EPROTO;
	*ret = a;
	return 1;
}
