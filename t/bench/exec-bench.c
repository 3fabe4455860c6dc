/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec-bench PROGRAM COUNT [LABEL]: runs PROGRAM -c : that often, each until it has ended, and prints as
 * open-bench does.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int run(const char *program)
{
	char *const words[] = { "sh", "-c", ":", NULL }, *const env[] = { NULL };
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		execve(program, words, env);
		_exit(errno == EPERM ? 126 : 127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ?
		       WEXITSTATUS(status) : 127;
}

int main(int argc, char **argv)
{
	size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, warm = n / 10, denied = 0;
	uint64_t *ns = calloc(n ? n : 1, sizeof(*ns)), sum = 0;

	if (!n || !ns)
		return 64;
	for (size_t i = 0; i < n + warm; i++) {
		uint64_t start = now_ns(), end;
		int status = run(argv[1]);

		end = now_ns();
		if (status && status != 126) {
			fprintf(stderr, "%s did not run\n", argv[1]);
			return 69;
		}
		if (i < warm)
			continue;
		denied += status != 0;
		ns[i - warm] = end - start;
		sum += end - start;
	}
	qsort(ns, n, sizeof(*ns), by_value);
	printf("%s n=%zu denied=%zu min_ns=%llu p50_ns=%llu p99_ns=%llu mean_ns=%llu\n",
	       argc > 3 ? argv[3] : argv[1], n, denied, (unsigned long long)ns[0],
	       (unsigned long long)ns[n / 2], (unsigned long long)ns[n * 99 / 100],
	       (unsigned long long)(sum / n));
	free(ns);
	return 0;
}
