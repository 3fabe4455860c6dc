/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hammer SECRET PROCESSES SECONDS: opens as fast as that many processes can. Prints attempts,
 * denials, whatever else, the longest answer and the rate; 1 when every attempt was denied. A
 * process that hangs is killed and counted as unanswered.
 */
#include <signal.h>

#include "t/attack/race.h"

struct tally {
	_Atomic uint64_t attempts, denied, opened, other, max_ns, finished;
};

static void work(struct tally *t, const char *path, uint64_t end)
{
	uint64_t before, after = race_now_ns(), seen;
	int fd;

	while (after < end) {
		before = after;
		atomic_fetch_add(&t->attempts, 1);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			atomic_fetch_add(&t->opened, 1);
			close(fd);
		} else if (errno == EPERM) {
			atomic_fetch_add(&t->denied, 1);
		} else {
			atomic_fetch_add(&t->other, 1);
		}
		after = race_now_ns();
		seen = atomic_load(&t->max_ns);
		while (after - before > seen &&
		       !atomic_compare_exchange_weak(&t->max_ns, &seen, after - before))
			;
	}
	atomic_fetch_add(&t->finished, 1);
}

int main(int argc, char **argv)
{
	struct tally *t;
	uint64_t end, hard;
	int i, n, seconds;
	pid_t *pids;

	if (argc != 4)
		return 64;
	n = atoi(argv[2]);
	seconds = atoi(argv[3]);
	t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pids = calloc((size_t)n, sizeof(*pids));
	if (t == MAP_FAILED || !pids)
		return attack_cannot("memory");
	end = race_now_ns() + (uint64_t)seconds * 1000000000;
	for (i = 0; i < n; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			work(t, argv[1], end);
			_exit(0);
		}
	}
	hard = end + 10000000000ULL;
	while (atomic_load(&t->finished) < (uint64_t)n && race_now_ns() < hard)
		usleep(20000);
	for (i = 0; i < n; i++) {
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	printf("attempts=%llu denied=%llu opened=%llu other=%llu unanswered=%llu max_us=%llu rate=%llu\n",
	       (unsigned long long)t->attempts, (unsigned long long)t->denied,
	       (unsigned long long)t->opened, (unsigned long long)t->other,
	       (unsigned long long)(t->attempts - t->denied - t->opened - t->other),
	       (unsigned long long)t->max_ns / 1000,
	       (unsigned long long)t->attempts / (unsigned long long)(seconds ? seconds : 1));
	return t->opened ? ATTACK_WORKED :
	       t->attempts && t->attempts == t->denied ? ATTACK_DENIED : ATTACK_OTHER;
}
