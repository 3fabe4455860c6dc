/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold_race SECRET SCRATCH HOW SECONDS: one thread opens the secret as fast as it can, another
 * changes what the held event's path looks like while it is held:
 *   rename   the file to SCRATCH and back
 *   parent   the directory to SCRATCH and back
 *   unlink   the name goes and comes back from a hard link in SCRATCH
 *   swap     the directory goes, and a decoy directory with an ordinary file takes its name
 */
#include <pthread.h>

#include "t/attack/race.h"

static const char *secret, *how;
static char dir[PATH_MAX], file2[PATH_MAX], dir2[PATH_MAX], decoy[PATH_MAX];
static atomic_bool stop;
static uint64_t moves;

static void step(void)
{
	if (!strcmp(how, "rename")) {
		rename(secret, file2);
		sched_yield();
		rename(file2, secret);
	} else if (!strcmp(how, "parent")) {
		rename(dir, dir2);
		sched_yield();
		rename(dir2, dir);
	} else if (!strcmp(how, "unlink")) {
		unlink(secret);
		sched_yield();
		link(file2, secret);
	} else {
		rename(dir, dir2);
		rename(decoy, dir);
		sched_yield();
		rename(dir, decoy);
		rename(dir2, dir);
	}
	moves++;
}

static void *play(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		step();
	return NULL;
}

int main(int argc, char **argv)
{
	const char *scratch = attack_scratch(argc, argv);
	uint64_t end, tries = 0, denied = 0, missing = 0, leaks = 0;
	char buf[4096], inside[PATH_MAX + 256];
	pthread_t t;
	ssize_t n;
	int fd;

	if (argc != 5)
		return 64;
	secret = argv[1];
	how = argv[3];
	end = race_now_ns() + strtoull(argv[4], NULL, 10) * 1000000000;
	snprintf(dir, sizeof(dir), "%s", attack_dirname(secret));
	snprintf(file2, sizeof(file2), "%s/held", scratch);
	snprintf(dir2, sizeof(dir2), "%s/held.d", scratch);
	snprintf(decoy, sizeof(decoy), "%s/decoy.d", scratch);
	if (!strcmp(how, "unlink") && link(secret, file2) < 0)
		return attack_cannot("link");
	if (!strcmp(how, "swap")) {
		mkdir(decoy, 0700);
		snprintf(inside, sizeof(inside), "%s/%s", decoy, attack_basename(secret));
		fd = open(inside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			return attack_cannot("decoy");
		close(fd);
	}
	if (pthread_create(&t, NULL, play, NULL) != 0)
		return attack_cannot("thread");
	while (race_now_ns() < end && !leaks) {
		/* Both names: whichever the secret has just now. */
		const char *names[] = { secret, file2 };

		fd = open(names[tries % 2], O_RDONLY | O_CLOEXEC);
		tries++;
		if (fd >= 0) {
			n = read(fd, buf, sizeof(buf));
			if (n > 0) { /* the decoy is empty */
				leaks++;
				attack_print(buf, (size_t)n);
			}
			close(fd);
		} else if (errno == EPERM) {
			denied++;
		} else {
			missing++;
		}
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	if (!strcmp(how, "unlink"))
		unlink(file2);
	if (!strcmp(how, "swap")) {
		snprintf(inside, sizeof(inside), "%s/%s", decoy, attack_basename(secret));
		unlink(inside);
		rmdir(decoy);
	}
	fprintf(stderr, "tries=%llu denied=%llu missing=%llu moves=%llu leaks=%llu\n",
		(unsigned long long)tries, (unsigned long long)denied,
		(unsigned long long)missing, (unsigned long long)moves, (unsigned long long)leaks);
	if (leaks)
		return ATTACK_WORKED;
	return denied ? ATTACK_DENIED : ATTACK_OTHER;
}
