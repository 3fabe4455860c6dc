/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stv_load WHAT FILE COUNT SECONDS: what a process does that wants others to wait.
 *	opens   COUNT threads open FILE, each as fast as it is answered
 *	held    COUNT threads open FILE at one moment; when all have their answer, again
 *	forks   COUNT processes fork children that open FILE and end
 *	execs   COUNT processes start children that execute FILE
 *	renames COUNT threads rename a file of their own in FILE's directory, and open FILE after each
 * Prints what was done; the first line, `ready`, when it begins.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *path;
static uint64_t end_ns;
static bool together;
static pthread_barrier_t gate;

static struct tally {
	_Atomic uint64_t done, denied, failed, rounds;
	_Atomic int stop;
} *tally;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void open_once(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	else
		atomic_fetch_add(errno == EPERM ? &tally->denied : &tally->failed, 1);
	atomic_fetch_add(&tally->done, 1);
}

static void *opener(void *arg)
{
	(void)arg;
	while (!atomic_load(&tally->stop)) {
		if (together && pthread_barrier_wait(&gate) == PTHREAD_BARRIER_SERIAL_THREAD) {
			atomic_fetch_add(&tally->rounds, 1);
			if (now_ns() >= end_ns)
				atomic_store(&tally->stop, 1);
		}
		/* All must see the same: what was said before they met. */
		if (together) {
			pthread_barrier_wait(&gate);
			if (atomic_load(&tally->stop))
				break;
		}
		open_once();
		if (!together && now_ns() >= end_ns)
			break;
	}
	return NULL;
}

static void *renamer(void *arg)
{
	char a[PATH_MAX], b[PATH_MAX];
	int n = (int)(strrchr(path, '/') - path), fd;

	snprintf(a, sizeof(a), "%.*s/a%ld", n, path, (long)(intptr_t)arg);
	snprintf(b, sizeof(b), "%.*s/b%ld", n, path, (long)(intptr_t)arg);
	fd = open(a, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	while (now_ns() < end_ns) {
		if (rename(a, b) < 0 || rename(b, a) < 0)
			atomic_fetch_add(&tally->failed, 1);
		open_once();
	}
	unlink(a);
	unlink(b);
	return NULL;
}

static void children(bool exec)
{
	while (now_ns() < end_ns) {
		pid_t pid = fork();

		if (pid == 0) {
			if (exec) {
				char *const argv[] = { (char *)path, NULL };

				execv(path, argv);
				_exit(126);
			}
			open_once();
			_exit(0);
		}
		if (pid > 0)
			waitpid(pid, NULL, 0);
		if (exec)
			atomic_fetch_add(&tally->done, 1);
	}
}

static int threads(int count, void *(*fn)(void *arg))
{
	pthread_t *t = calloc((size_t)count, sizeof(*t));
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN + 2 * PATH_MAX + 16384);
	pthread_barrier_init(&gate, NULL, (unsigned)count);
	for (int i = 0; i < count; i++)
		if (!t || pthread_create(&t[i], &attr, fn, (void *)(intptr_t)i)) {
			fprintf(stderr, "only %d threads\n", i);
			exit(2);
		}
	printf("ready\n");
	fflush(stdout);
	for (int i = 0; i < count; i++)
		pthread_join(t[i], NULL);
	return 0;
}

static int processes(int count, bool exec)
{
	printf("ready\n");
	fflush(stdout);
	for (int i = 0; i < count; i++)
		if (fork() == 0) {
			children(exec);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit nofile = { 20000, 20000 };
	int count;

	if (argc != 5)
		return 64;
	path = argv[2];
	count = atoi(argv[3]);
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (tally == MAP_FAILED || count < 1)
		return 64;
	setrlimit(RLIMIT_NOFILE, &nofile);
	end_ns = now_ns() + (uint64_t)(strtod(argv[4], NULL) * 1e9);
	together = !strcmp(argv[1], "held");
	if (together || !strcmp(argv[1], "opens"))
		threads(count, opener);
	else if (!strcmp(argv[1], "renames"))
		threads(count, renamer);
	else if (!strcmp(argv[1], "forks") || !strcmp(argv[1], "execs"))
		processes(count, argv[1][0] == 'e');
	else
		return 64;
	printf("done=%llu denied=%llu failed=%llu rounds=%llu\n",
	       (unsigned long long)tally->done, (unsigned long long)tally->denied,
	       (unsigned long long)tally->failed, (unsigned long long)tally->rounds);
	return 0;
}
