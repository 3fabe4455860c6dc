/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the mark thread: finding, marking, remembering. */
#ifndef OKNEK_ENFORCE_MARKS_PRIV_H
#define OKNEK_ENFORCE_MARKS_PRIV_H

#include <pthread.h>

#include "enforce/exec_marks.h"
#include "enforce/marks.h"
#include "enforce/mounts.h"

#define PLACES_MAX 512
#define GAPS_MAX 256
#define GAPS_TOLD_MAX 1024
#define GAPS_TOLD_PER_UID 128
#define OBJECTS_MAX 65536
#define UIDS_MAX 256
#define UNMOUNT_DEVS_MAX 64
#define EXPAND_MS 5000 /* a whole home: thousands of directories at the most */
#define LOOKUP_MS 1000 /* one name */

/* Where patterns are looked for: a home, a project, or (both empty) the whole system. */
struct place {
	uid_t uid;
	char home[1024];
	char project[1024];
	bool own;     /* the uid's home in the password database, or the system's paths */
	bool ok;      /* looked through; else it is tried again */
};

struct told { /* a gap that was logged and recorded */
	uint64_t hash;
	uid_t uid; /* in whose places it is */
};

struct uid_count {
	uid_t uid;
	unsigned objects, warn;
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
	struct memory_writer *writer; /* writes an earlier list; NULL: nothing is being written */
	bool recalled; /* what an earlier daemon remembered is marked */
	uid_t walk_uid;
	unsigned pass; /* of the scan that is going on, or was the last */
	struct uid_count counts[UIDS_MAX];
	unsigned n_counts, counted_at, counted_objects;
	char proof_home[1024]; /* of the last who tried the rules, "" none */
	const struct place *walking; /* the place that is being looked through */
	bool root_gap;               /* and its own directory could not be */
	int mountinfo_fd;
	int unmount_fd; /* inotify: places, and one directory of each filesystem */
	uint64_t unmount_devs[UNMOUNT_DEVS_MAX];
	unsigned n_unmount_devs;
	bool mounts_changed;
	uint64_t mounts_digest, mounts_ns, retried_ns;
	struct mounts *mounts;
	struct exec_marks exec;

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t cond;
	struct marks_job *jobs;
	bool stop;
	struct gap gaps[GAPS_MAX];
	unsigned n_gaps;
	struct told told[GAPS_TOLD_MAX];
	unsigned n_told;
	struct marks_stats stats;
};

/* marks_place.c: puts the marks that mode and verdict ask for on an object, through an O_PATH
 * descriptor. 0 or -errno (the first that failed; a gap was noted). */
int marks_place(struct marks *m, struct object *o, int fd, const char *fstype);
/* Takes the marks of an object that no rule names; it stays known, should one do so again. */
void marks_take(struct marks *m, struct object *o, int fd);
/* Takes all permission or all observation marks away. */
void marks_flush(struct marks *m, bool permission, bool rest);

/* marks_memory.c: the list of objects in the state directory. */
int marks_remember(struct marks *m);
int marks_memory_text(struct marks *m, char **ret, size_t *ret_len); /* *ret is freed by the caller */
int marks_memory_write(const char *state_dir, const char *text, size_t len_bytes);
void marks_recall(struct marks *m); /* calls marks_found() for what still exists */

/* marks_gaps.c */
void marks_gap(struct marks *m, const char *path, const char *why);
void marks_clear_gaps(struct marks *m);

/* marks_find.c */
void marks_found(struct marks *m, const struct lookup_found *f);
void marks_failed(struct marks *m, const char *path, int err);
struct lookup_handler marks_handler(struct marks *m);
int marks_expand(struct marks *m, struct place *p);
void marks_rescan(struct marks *m); /* everything is looked at, and marked, again */
void marks_settle_now(struct marks *m);
/* Finds an object by its handle and marks it under this name. -errno of lookup_handle(). */
int marks_lookup_object(struct marks *m, const struct object_handle *h,
			const struct object_name *name);

/* marks_places.c */
int marks_watch_now(struct marks *m, struct marks_watch *w, char *env_home, char *project);
void marks_watch_uid(struct marks *m, uid_t uid);
void marks_retry_places(struct marks *m);
bool marks_places_wait(const struct marks *m);
const char *marks_place_path(const struct place *p); /* "" for the whole system */
bool marks_is_above(const char *dir, const char *path); /* or the same */

/* marks_mounts.c: whether filesystems were mounted or unmounted where we have marks. */
int marks_mounts_open(struct marks *m);
void marks_mounts_close(struct marks *m);
void marks_mounts_follow(struct marks *m, const struct lookup_found *f);
bool marks_mounts_differ(struct marks *m);
void marks_mounts_settled(struct marks *m); /* what is mounted now has been looked at */

/* marks_changes.c: a bounded number of them; true when there are more. */
bool marks_handle_changes(struct marks *m);

#endif
