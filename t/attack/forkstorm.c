/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forkstorm SECRET SECONDS: forks as fast as it can, in three lines of descent at once; each child
 * forks a grandchild and dies, every other one leaves the session, and the grandchild opens the
 * secret. Prints forks, denials, leaks; 1 when every descendant was denied.
 */
#include <signal.h>

#include "t/attack/race.h"

#define LINES 3
#define IN_FLIGHT 64 /* grandchildren nobody waits for, per line: the machine has limits */

struct tally {
	_Atomic uint64_t forks, asked, denied, opened, other;
};

static void line(struct tally *t, const char *secret, uint64_t end)
{
	_Atomic uint64_t *asked = &t->asked;
	uint64_t started = 0;
	pid_t pid;

	while (race_now_ns() < end) {
		while (atomic_load(&t->forks) > atomic_load(asked) + LINES * IN_FLIGHT &&
		       race_now_ns() < end)
			sched_yield();
		started++;
		pid = fork();
		if (pid < 0)
			continue;
		if (pid == 0) {
			if (started & 1)
				setsid();
			pid = fork();
			if (pid > 0)
				atomic_fetch_add(&t->forks, 1);
			if (pid == 0) {
				int fd = open(secret, O_RDONLY | O_CLOEXEC);

				atomic_fetch_add(fd >= 0 ? &t->opened :
						 errno == EPERM ? &t->denied : &t->other, 1);
				atomic_fetch_add(asked, 1);
			}
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	struct tally *t;
	uint64_t end;
	int i;

	if (argc != 3)
		return 64;
	t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t == MAP_FAILED)
		return attack_cannot("memory");
	end = race_now_ns() + strtoull(argv[2], NULL, 10) * 1000000000;
	for (i = 0; i < LINES; i++)
		if (fork() == 0) {
			line(t, argv[1], end);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	end = race_now_ns() + 10000000000ULL;
	while (atomic_load(&t->asked) < atomic_load(&t->forks) && race_now_ns() < end)
		usleep(10000);
	printf("forks=%llu answered=%llu denied=%llu opened=%llu other=%llu\n",
	       2 * (unsigned long long)t->forks, (unsigned long long)t->asked,
	       (unsigned long long)t->denied, (unsigned long long)t->opened,
	       (unsigned long long)t->other);
	if (t->opened)
		return ATTACK_WORKED;
	return t->denied && t->denied == t->forks ? ATTACK_DENIED : ATTACK_OTHER;
}
