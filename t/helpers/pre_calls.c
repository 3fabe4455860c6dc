/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -ldl */
/*
 * pre_calls WAY ARG: makes one call that the preload shim stands before. Exits 0 when it was done, 1
 * when it failed with EPERM, 2 when something else happened.
 */
#undef _FORTIFY_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
int __open_2(const char *path, int flags);

static const char *arg;

static int done(int ok)
{
	return ok ? 0 : errno == EPERM ? 1 : (perror("call"), 2);
}

static int ended(int status)
{
	return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}

/* ---- opens ----------------------------------------------------------------------------------- */

static int way_open(void)
{
	int fd = open(arg, O_RDONLY);

	return done(fd >= 0);
}

static void *in_thread(void *ret)
{
	*(int *)ret = way_open();
	return NULL;
}

static volatile int handled = 2;

/* On a stack of the least that there may be. */
static void handler(int sig)
{
	(void)sig;
	handled = way_open();
}

static int way_signal(void)
{
	static char small[16384];
	const stack_t stack = { .ss_sp = small, .ss_size = sizeof(small) };
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_ONSTACK };

	if (sigaltstack(&stack, NULL) < 0)
		return 2;
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	return handled;
}

static int way_forked(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(way_open());
	return waitpid(pid, &status, 0) == pid ? ended(status) : 2;
}

static int way_vforked(void)
{
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		int fd = open(arg, O_RDONLY);

		_exit(fd >= 0 ? 0 : errno == EPERM ? 1 : 2);
	}
	return waitpid(pid, &status, 0) == pid ? ended(status) : 2;
}

static int way_dir(void)
{
	char dir[PATH_MAX];
	char *slash;
	int fd;

	snprintf(dir, sizeof(dir), "%s", arg);
	slash = strrchr(dir, '/');
	*slash = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	return fd < 0 ? 2 : done(openat(fd, slash + 1, O_RDONLY) >= 0);
}

/* What is there afterwards is there before; what the call says is its own. */
static int way_errno(void)
{
	char path[PATH_MAX];
	int fd;

	errno = ENOTTY;
	fd = open("/dev/null", O_RDONLY);
	if (fd < 0 || errno != ENOTTY) {
		fprintf(stderr, "open: errno %d\n", errno);
		return 2;
	}
	snprintf(path, sizeof(path), "%s/no/such", arg);
	if (open(path, O_RDONLY) >= 0 || errno != ENOENT || fopen(path, "r") || errno != ENOENT)
		return 2;
	if (open(arg, O_WRONLY) >= 0 || errno != EISDIR)
		return 2;
	snprintf(path, sizeof(path), "%s/not-there", arg);
	if (execl(path, "x", NULL) >= 0 || errno != ENOENT)
		return 2;
	/* The least number is the next one's, as ever. */
	close(0);
	return open("/dev/null", O_RDONLY) == 0 ? 0 : 2;
}

static int way_efault(void)
{
	const char *volatile bad = (const char *)1;

	if (open(bad, O_RDONLY) >= 0 || errno != EFAULT)
		return 2;
	bad = NULL;
	return open(bad, O_RDONLY) < 0 && errno == EFAULT ? 0 : 2;
}

static int is_fault(long n)
{
	int ok = n < 0 && errno == EFAULT;

	if (!ok)
		fprintf(stderr, "%ld, errno %d\n", n, errno);
	errno = 0;
	return ok;
}

/* What ends where nothing is mapped any more: one byte, and an argument without an end. */
static int way_efault_far(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *edge = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sockaddr *volatile half = (struct sockaddr *)(edge + page - 4);
	struct msghdr m = { .msg_name = half, .msg_namelen = sizeof(struct sockaddr_in) };
	struct mmsghdr many[2] = { { .msg_hdr = m } };
	char sh[] = "sh";
	char *args[] = { sh, edge + page - 2, NULL };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (edge == MAP_FAILED || munmap(edge + page, page) < 0)
		return 2;
	memset(edge, 'x', page);
	half->sa_family = AF_INET;
	return is_fault(connect(fd, half, sizeof(struct sockaddr_in))) &&
			       is_fault(connect(fd, (struct sockaddr *)(edge + page), 16)) &&
			       is_fault(sendto(fd, "x", 1, 0, half, sizeof(struct sockaddr_in))) &&
			       is_fault(sendmsg(fd, &m, 0)) &&
			       is_fault(sendmsg(fd, (struct msghdr *)(edge + page), 0)) &&
			       is_fault(sendmmsg(fd, many, 1, 0)) &&
			       is_fault(execve("/bin/sh", args, environ)) &&
			       is_fault(execve("/bin/sh", (char **)(edge + page), environ)) ?
		       0 : 2;
}

/* Where there is no descriptor left to look at it with, nor to ask. */
static int way_full(void)
{
	const struct rlimit none = { 3, 3 };
	char sh[] = "sh", c[] = "-c", colon[] = ":";
	char *argv[] = { sh, c, colon, NULL };

	if (setrlimit(RLIMIT_NOFILE, &none) < 0)
		return 2;
	while (dup(0) >= 0)
		;
	if (strcmp(arg, "exec") != 0)
		return open(arg, O_RDONLY) >= 0 ? 2 : errno == EMFILE ? 0 : done(0);
	execve("/bin/sh", argv, environ);
	return done(0);
}

/* About as much as is sent of it, ends at a page's and at none: it is run, and where it is cut it may hold
 * what is refused. */
static int way_long(void)
{
	static char longest[100000];
	char sh[] = "sh", c[] = "-c", colon[] = ":";
	char *argv[] = { sh, c, colon, longest, NULL };
	unsigned run = 0, refused = 0;
	int status;
	pid_t pid;

	for (size_t n = 12200; n < 12300; n += 3) {
		memset(longest, 'x', n);
		pid = fork();
		if (pid == 0) {
			execve("/bin/sh", argv, environ);
			_exit(errno == EPERM ? 1 : 2);
		}
		if (waitpid(pid, &status, 0) != pid)
			return 2;
		if (ended(status) == 0 && !refused)
			run++;
		else if (ended(status) == 1)
			refused++;
		else
			return 2;
	}
	return run && refused ? 0 : 2;
}

/* By the number, as a program does that brings its own. */
static int way_own(void)
{
	return done(syscall(SYS_openat, AT_FDCWD, arg, O_RDONLY) >= 0);
}

static int way_dlopened(void)
{
	void *lib = dlopen("libm.so.6", RTLD_NOW);

	return lib ? way_open() : 2;
}

/* ---- programs --------------------------------------------------------------------------------- */

static int in_child(int (*fn)(char **argv))
{
	char sh[] = "sh", c[] = "-c", colon[] = ":";
	char *argv[] = { sh, c, colon, (char *)arg, NULL };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fn(argv);
		_exit(done(0));
	}
	return waitpid(pid, &status, 0) == pid ? ended(status) : 2;
}

static int by_execve(char **argv)
{
	return execve("/bin/sh", argv, environ);
}
static int by_execv(char **argv)
{
	return execv("/bin/sh", argv);
}
static int by_execvp(char **argv)
{
	return execvp("sh", argv);
}
static int by_execvpe(char **argv)
{
	return execvpe("sh", argv, environ);
}
static int by_execl(char **argv)
{
	return execl("/bin/sh", argv[0], argv[1], argv[2], argv[3], NULL);
}
static int by_execlp(char **argv)
{
	return execlp("sh", argv[0], argv[1], argv[2], argv[3], NULL);
}
static int by_execle(char **argv)
{
	return execle("/bin/sh", argv[0], argv[1], argv[2], argv[3], NULL, environ);
}
static int by_execveat(char **argv)
{
	return execveat(AT_FDCWD, "/bin/sh", argv, environ, 0);
}
static int by_fexecve(char **argv)
{
	return fexecve(open("/bin/sh", O_RDONLY | O_CLOEXEC), argv, environ);
}

static int spawned(int (*fn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
			     const posix_spawnattr_t *, char *const[], char *const[]),
		   const char *what)
{
	char sh[] = "sh", c[] = "-c", colon[] = ":";
	char *argv[] = { sh, c, colon, (char *)arg, NULL };
	int status;
	pid_t pid;

	errno = ENOTTY;
	status = fn(&pid, what, NULL, NULL, argv, environ);
	if (status)
		return status == EPERM && errno == ENOTTY ? 1 : 2;
	return waitpid(pid, &status, 0) == pid ? ended(status) : 2;
}

static int by_shell(int piped)
{
	char command[256];
	FILE *f;
	int r;

	snprintf(command, sizeof(command), ": %s", arg);
	if (piped) {
		f = popen(command, "r");
		return f ? ended(pclose(f)) : done(0);
	}
	r = system(command);
	return r < 0 ? done(0) : ended(r);
}

/* ---- connections -------------------------------------------------------------------------------- */

static int to_port(int way)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arg)),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct iovec one = { &a, 1 };
	const struct msghdr m = { .msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &one,
				  .msg_iovlen = 1 };
	int fd = socket(AF_INET, way ? SOCK_DGRAM : SOCK_STREAM, 0);
	ssize_t n = way == 0 ? connect(fd, (struct sockaddr *)&a, sizeof(a)) :
		    way == 1 ? sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof(a)) :
			       sendmsg(fd, &m, 0);

	/* Nobody listens there: it was tried. */
	return n < 0 && errno == ECONNREFUSED ? 0 : done(n >= 0);
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "";
	pthread_t t;
	int r = 2;

	arg = argc > 2 ? argv[2] : "";
#define IS(name) else if (!strcmp(way, name)) r =
	if (!strcmp(way, "thread")) {
		if (pthread_create(&t, NULL, in_thread, &r) == 0)
			pthread_join(t, NULL);
	}
	IS("open") way_open();
	IS("openat") done(openat(AT_FDCWD, arg, O_RDONLY) >= 0);
	IS("creat") done(creat(arg, 0600) >= 0);
	IS("fopen") done(fopen(arg, "r") != NULL);
	IS("fopen64") done(fopen64(arg, "r") != NULL);
	IS("freopen") done(freopen(arg, "r", stdin) != NULL);
	IS("open_2") done(__open_2(arg, O_RDONLY) >= 0);
	IS("openat_dir") way_dir();
	IS("signal") way_signal();
	IS("forked") way_forked();
	IS("vforked") way_vforked();
	IS("errno") way_errno();
	IS("efault") way_efault();
	IS("efault_far") way_efault_far();
	IS("full") way_full();
	IS("long") way_long();
	IS("own") way_own();
	IS("dlopened") way_dlopened();
	IS("execve") in_child(by_execve);
	IS("execv") in_child(by_execv);
	IS("execvp") in_child(by_execvp);
	IS("execvpe") in_child(by_execvpe);
	IS("execl") in_child(by_execl);
	IS("execlp") in_child(by_execlp);
	IS("execle") in_child(by_execle);
	IS("execveat") in_child(by_execveat);
	IS("fexecve") in_child(by_fexecve);
	IS("posix_spawn") spawned(posix_spawn, "/bin/sh");
	IS("posix_spawnp") spawned(posix_spawnp, "sh");
	IS("system") by_shell(0);
	IS("popen") by_shell(1);
	IS("connect") to_port(0);
	IS("sendto") to_port(1);
	IS("sendmsg") to_port(2);
	return r;
}
