/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd SECRET COUNT GATE_FILE: that many processes wait until GATE_FILE exists and then open the
 * secret all at once. Prints how it ended for each; 0 when all could open, 1 when all were denied.
 */
#include <signal.h>

#include "t/attack/race.h"

/* Each answer wakes all who wait, and they are many: the work grows with their square. */
#define LIMIT_NS 90000000000ULL

struct tally {
	_Atomic uint64_t ready, denied, opened, other;
};

int main(int argc, char **argv)
{
	struct tally *t;
	uint64_t end, start;
	int i, n, gate[2], made = 0;
	pid_t *pids;
	char byte;

	if (argc != 4)
		return 64;
	n = atoi(argv[2]);
	t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pids = calloc((size_t)n, sizeof(*pids));
	if (t == MAP_FAILED || !pids || pipe2(gate, O_CLOEXEC) < 0)
		return attack_cannot("memory");
	for (i = 0; i < n; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			break;
		if (pids[i] == 0) {
			int fd;

			close(gate[1]);
			atomic_fetch_add(&t->ready, 1);
			if (read(gate[0], &byte, 1) < 0)
				_exit(1);
			fd = open(argv[1], O_RDONLY | O_CLOEXEC);
			atomic_fetch_add(fd >= 0 ? &t->opened :
					 errno == EPERM ? &t->denied : &t->other, 1);
			_exit(0);
		}
		made++;
	}
	end = race_now_ns() + 60000000000ULL;
	while (atomic_load(&t->ready) < (uint64_t)made && race_now_ns() < end)
		usleep(1000);
	fprintf(stderr, "ready=%d\n", made);
	while (access(argv[3], F_OK) < 0 && race_now_ns() < end)
		usleep(1000);
	start = race_now_ns();
	close(gate[1]);
	end = start + LIMIT_NS;
	while (atomic_load(&t->denied) + atomic_load(&t->opened) + atomic_load(&t->other) <
	       (uint64_t)made && race_now_ns() < end)
		usleep(1000);
	printf("asked=%d denied=%llu opened=%llu other=%llu unanswered=%llu ms=%llu\n", made,
	       (unsigned long long)t->denied, (unsigned long long)t->opened,
	       (unsigned long long)t->other,
	       (unsigned long long)((uint64_t)made - t->denied - t->opened - t->other),
	       (unsigned long long)(race_now_ns() - start) / 1000000);
	for (i = 0; i < made; i++)
		kill(pids[i], SIGKILL);
	for (i = 0; i < made; i++)
		waitpid(pids[i], NULL, 0);
	if (made != n)
		return ATTACK_CANNOT;
	if (t->opened == (uint64_t)n)
		return ATTACK_WORKED;
	return t->denied == (uint64_t)n ? ATTACK_DENIED : ATTACK_OTHER;
}
