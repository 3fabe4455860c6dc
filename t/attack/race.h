/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two sides of a race share: race_writer, outside the tree, puts new secrets in place;
 * race_reader, inside it, opens the name as fast as it can. A page in SHARED_FILE paces them, so
 * that each new secret is tried at least a few times before the next one comes.
 */
#ifndef OKNEK_T_ATTACK_RACE_H
#define OKNEK_T_ATTACK_RACE_H

#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "t/attack/attack.h"

#define RACE_CONTENT "SECRET-of-the-race" /* what only the writer writes */

struct race {
	_Atomic uint64_t tries;   /* opens that the reader has finished */
	_Atomic uint64_t leaks;   /* those of them that succeeded */
	_Atomic uint32_t readers; /* running */
	_Atomic uint32_t done;    /* the writer has finished */
};

static inline struct race *race_map(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	struct race *r;

	if (fd < 0 || ftruncate(fd, sizeof(*r)) < 0) {
		perror(path);
		exit(ATTACK_CANNOT);
	}
	fchmod(fd, 0666);
	r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (r == MAP_FAILED) {
		perror("mmap");
		exit(ATTACK_CANNOT);
	}
	close(fd);
	return r;
}

static inline uint64_t race_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

#endif
