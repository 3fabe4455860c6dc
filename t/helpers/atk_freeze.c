/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atk_freeze PID SECONDS: stops every grandchild of PID, as soon as there is one, and lets them go
 * on at the end: helpers that do not answer. PID itself and its children are left alone.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static size_t children(pid_t pid, pid_t *ret, size_t max)
{
	char path[64];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	while (f && n < max && fscanf(f, "%d", &ret[n]) == 1)
		n++;
	if (f)
		fclose(f);
	return n;
}

static void each(pid_t pid, int sig)
{
	pid_t child[16], helper[32];
	size_t n = children(pid, child, 16);

	for (size_t i = 0; i < n; i++) {
		size_t m = children(child[i], helper, 32);

		for (size_t j = 0; j < m; j++)
			kill(helper[j], sig);
	}
}

static volatile sig_atomic_t over;

static void on_end(int sig)
{
	(void)sig;
	over = 1;
}

int main(int argc, char **argv)
{
	time_t end;
	pid_t pid;

	if (argc != 3)
		return 64;
	pid = atoi(argv[1]);
	signal(SIGTERM, on_end);
	end = time(NULL) + atoi(argv[2]);
	while (!over && time(NULL) < end)
		each(pid, SIGSTOP);
	each(pid, SIGCONT);
	return 0;
}
