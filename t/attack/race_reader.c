/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In the tree: race_reader SECRET SHARED_FILE [TRICK], TRICK being what a second thread does to
 * the names meanwhile:
 *   rename   moves whatever has the secret's name to an innocent one in the same directory, where
 *            it is opened as well, and back
 *   unlink   removes the name, so that the held event has a path that ends in " (deleted)"
 *   parent   renames the directory and back
 * Prints tries, denials and leaks. 0 when anything leaked, 1 when all that could be was denied.
 */
#include <pthread.h>

#include "t/attack/race.h"

#define LIMIT_NS 125000000000ULL

static const char *secret, *trick = "";
static char innocent[PATH_MAX + 8], away[PATH_MAX + 8], moved[2 * PATH_MAX + 16];
static struct race *shared;
static uint64_t tries, denied, missing, leaks, other;

static void try_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	tries++;
	if (fd >= 0) {
		/* Empty or not: who has the descriptor has what will be written to the file. */
		leaks++;
		atomic_fetch_add(&shared->leaks, 1);
		close(fd);
	} else if (errno == EPERM) {
		denied++;
	} else if (errno == ENOENT || errno == ENOTDIR) {
		missing++;
	} else {
		other++;
	}
	atomic_fetch_add(&shared->tries, 1);
}

static void *play(void *arg)
{
	char *dir = attack_dirname(secret);

	(void)arg;
	while (!atomic_load(&shared->done)) {
		if (!strcmp(trick, "rename")) {
			if (rename(secret, innocent) == 0) {
				usleep(20);
				rename(innocent, secret);
			}
		} else if (!strcmp(trick, "unlink")) {
			usleep(50);
			unlink(secret);
		} else {
			if (rename(dir, away) == 0) {
				usleep(20);
				rename(away, dir);
			}
		}
		usleep(10);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t end = race_now_ns() + LIMIT_NS;
	pthread_t t;

	if (argc < 3) {
		fprintf(stderr, "usage: %s SECRET SHARED_FILE [rename|unlink|parent]\n", argv[0]);
		return 64;
	}
	secret = argv[1];
	shared = race_map(argv[2]);
	if (argc > 3)
		trick = argv[3];
	snprintf(innocent, sizeof(innocent), "%s.zzz", secret);
	snprintf(away, sizeof(away), "%s.zzz", attack_dirname(secret));
	snprintf(moved, sizeof(moved), "%s/%s", away, attack_basename(secret));
	if (trick[0] && pthread_create(&t, NULL, play, NULL) != 0)
		return attack_cannot("thread");
	atomic_fetch_add(&shared->readers, 1);
	while (!atomic_load(&shared->done) && race_now_ns() < end) {
		try_open(secret);
		if (!strcmp(trick, "rename"))
			try_open(innocent);
		if (!strcmp(trick, "parent"))
			try_open(moved);
	}
	atomic_store(&shared->done, 1);
	if (trick[0])
		pthread_join(t, NULL);
	printf("tries=%llu denied=%llu missing=%llu other=%llu leaks=%llu\n",
	       (unsigned long long)tries, (unsigned long long)denied,
	       (unsigned long long)missing, (unsigned long long)other, (unsigned long long)leaks);
	if (leaks)
		return ATTACK_WORKED;
	return denied ? ATTACK_DENIED : ATTACK_OTHER;
}
