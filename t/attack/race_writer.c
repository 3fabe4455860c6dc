/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not in the tree: race_writer SECRET SHARED_FILE COUNT HOW, HOW being
 *   replace  a new file, opened some times under its first name, is renamed over the secret
 *   create   the secret is removed and created again in its directory
 *   parent   so is its directory
 * Prints how many there were and how many of them leaked at least once; exits 3 when the pace could not be kept within the time limit.
 */
#include "t/attack/race.h"

#define LIMIT_NS 120000000000ULL

static const char *secret;

static int make(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);

	if (fd < 0)
		return -1;
	if (write(fd, RACE_CONTENT, sizeof(RACE_CONTENT) - 1) < 0) {
		close(fd);
		return -1;
	}
	fchmod(fd, 0666);
	return close(fd);
}

/* Being opened before it moves is what would earn a file an exemption that it takes with it. */
static int replace(void)
{
	char tmp[PATH_MAX];
	int fd, i;

	snprintf(tmp, sizeof(tmp), "%s.tmp", secret);
	if (make(tmp, O_TRUNC) < 0)
		return -1;
	for (i = 0; i < 2; i++) {
		fd = open(tmp, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			close(fd);
	}
	return rename(tmp, secret);
}

static int parent(void)
{
	char dir[PATH_MAX], away[PATH_MAX + 8];

	snprintf(dir, sizeof(dir), "%s", attack_dirname(secret));
	snprintf(away, sizeof(away), "%s.away", dir);
	unlink(secret);
	if (rmdir(dir) < 0 && errno != ENOENT)
		return -1;
	if (mkdir(dir, 0777) < 0)
		return -1;
	chmod(dir, 0777);
	return make(secret, O_EXCL);
}

int main(int argc, char **argv)
{
	struct race *r;
	uint64_t end = race_now_ns() + LIMIT_NS;
	long i, count, leaky = 0;

	if (argc != 5) {
		fprintf(stderr, "usage: %s SECRET SHARED_FILE COUNT replace|create|parent\n", argv[0]);
		return 64;
	}
	secret = argv[1];
	r = race_map(argv[2]);
	count = strtol(argv[3], NULL, 10);
	while (atomic_load(&r->readers) == 0 && race_now_ns() < end)
		usleep(1000);
	for (i = 0; i < count && race_now_ns() < end; i++) {
		uint64_t before = atomic_load(&r->tries), leaks = atomic_load(&r->leaks), wait_end;
		int ret;

		if (!strcmp(argv[4], "replace")) {
			ret = replace();
		} else if (!strcmp(argv[4], "create")) {
			unlink(secret);
			ret = make(secret, O_EXCL);
		} else {
			ret = parent();
		}
		/* What the reader's own renames got in the way of is simply made again. */
		if (ret < 0 && errno != ENOENT && errno != EEXIST && errno != ENOTEMPTY) {
			perror("writer");
			atomic_store(&r->done, 1);
			return ATTACK_OTHER;
		}
		wait_end = race_now_ns() + 100000000;
		while (atomic_load(&r->tries) < before + 3 && race_now_ns() < wait_end)
			sched_yield();
		leaky += atomic_load(&r->leaks) != leaks;
	}
	atomic_store(&r->done, 1);
	printf("secrets=%ld leaky=%ld\n", i, leaky);
	return i == count ? 0 : ATTACK_OTHER;
}
