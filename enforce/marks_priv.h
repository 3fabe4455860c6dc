/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the mark thread: finding, marking, remembering. */
#ifndef OKNEK_ENFORCE_MARKS_PRIV_H
#define OKNEK_ENFORCE_MARKS_PRIV_H

#include <pthread.h>

#include "enforce/marks.h"
#include "enforce/mounts.h"

#define PLACES_MAX 128
#define GAPS_MAX 256

/* Where patterns are looked for: a home, a project, or (both empty) the whole system. */
struct place {
	uid_t uid;
	char home[1024];
	char project[1024];
};

struct fs_slot {
	bool used;
	uint64_t dev;
	char type[16];
};

struct gap {
	char *path, *why;
};

struct marks_job;

struct marks {
	struct marks_config c;
	pthread_t thread;
	bool started;
	int job_fd; /* eventfd */

	/* Of the mark thread alone. */
	struct pathset *pathset;
	enum mode mode;
	struct place places[PLACES_MAX];
	unsigned n_places;
	struct fs_slot fs[WATCH_FILESYSTEMS_MAX];
	bool dirty;    /* objects that are not yet remembered on disk */
	bool recalled; /* what an earlier daemon remembered is marked */
	uid_t walk_uid;
	unsigned pass; /* of the scan that is going on, or was the last */
	struct mounts *mounts;

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t cond;
	struct marks_job *jobs;
	bool stop;
	struct gap gaps[GAPS_MAX];
	unsigned n_gaps;
	struct marks_stats stats;
};

/* marks_place.c: puts the marks that mode and verdict ask for on an object, through an O_PATH
 * descriptor. 0 or -errno (the first that failed; a gap was noted). */
int marks_place(struct marks *m, struct object *o, int fd, const char *fstype);
/* Takes all permission or all observation marks away. */
void marks_flush(struct marks *m, bool permission, bool rest);

/* marks_memory.c: the list of objects in the state directory. */
int marks_remember(struct marks *m);
void marks_recall(struct marks *m); /* calls marks_found() for what still exists */

/* marks.c */
void marks_found(struct marks *m, const struct lookup_found *f);
void marks_gap(struct marks *m, const char *path, const char *why);
/* Finds an object by its handle and marks it under this name. -errno of lookup_handle(). */
int marks_lookup_object(struct marks *m, const struct object_handle *h,
			const struct object_name *name);

#endif
