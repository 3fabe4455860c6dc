/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which objects are watched: finds, with the lookup helper, what the paths of the rules name in
 * the homes and projects of the watched, marks it, keeps it marked as names come and go, and
 * remembers it by file handle, so that a secret that was moved stays one after a restart. A thread
 * of its own, because all of this can wait on a filesystem.
 */
#ifndef OKNEK_ENFORCE_MARKS_H
#define OKNEK_ENFORCE_MARKS_H

#include "core/config.h"
#include "core/objects.h"
#include "core/programs.h"
#include "core/watch.h"
#include "enforce/lookup.h"

struct marks;

struct marks_config {
	struct lookup *lookup; /* the marks' own; nobody else may use it meanwhile */
	struct objects *objects;
	struct watch_queue *queue;
	const struct watch_groups *groups;
	const char *state_dir;
	const struct config *config; /* fanotify.only, system_directories */
	struct pathset *pathset;
	/* Programs whose start is held in enforce mode, as long as guarded() says so, and the table that
	 * is told which those are; NULL: none. */
	struct pathset *programs_wanted;
	struct programs *programs;
	enum mode mode;
	/* A path that should be watched and is not; mark thread. */
	void (*gap)(void *arg, const char *path, const char *why);
	/* A guardian answers if we do not: then directories of the system may be marked whole, where the
	 * configuration wants that. Mark thread; NULL: there is none. */
	bool (*guarded)(void *arg);
	/* A file that some rule blocks, through an O_PATH descriptor, whenever its marks are looked at:
	 * for what else holds it beside them. 1: something does, 0: no rule wants that, -errno. Mark thread;
	 * NULL: nothing does. */
	int (*label)(void *arg, int fd, const struct object *o);
	/* The same for a program that is marked, by the path where it stands; first: the first of its
	 * names of this look. NULL: it is none any more. */
	void (*program)(void *arg, int fd, uint64_t dev, uint64_t ino, const char *path, bool first);
	/* These two are all that holds anybody: marks follow names, none asks for an answer or tells of
	 * opens. */
	bool labels_only;
	/* The home of a uid became known and its marks stand; mark thread. */
	void (*home)(void *arg, uid_t uid, const char *home);
	void *arg;
};

int marks_open(const struct marks_config *c, struct marks **ret);
int marks_start(struct marks *m);
/* Removes every mark, remembers the objects, ends the thread. The rest is freed by marks_free():
 * between the two the permission group is drained. */
void marks_stop(struct marks *m);
void marks_free(struct marks *m);

/* Below the home of who tries the rules: a shell, and a directory of programs with names that rules ask for. */
#define PROOF_SHELL "bin/sh"
#define PROOF_PROGRAMS "programs"

struct marks_watch {
	uid_t uid;
	const char *env_home; /* $HOME of the tree, NULL or "" unknown */
	const char *project;  /* its working directory, NULL or "" unknown */
	bool proof; /* env_home has decoys, which are held in each mode: files and programs */
	char homes[HOMES_MAX][1024]; /* result: what `~` means for it; "" unused */
};

/* Marks what the rules name for a new tree; 0 when the marks stand (a home or project that does not
 * exist is looked for again each second). -ETIMEDOUT (it goes on in the background), -ENOSPC (too
 * many places), -errno. Any thread but verdict. */
int marks_watch(struct marks *m, struct marks_watch *w, int wait_ms);

/* New mode, new paths or programs (NULL: none): returns when all marks stand that they ask for. */
int marks_set(struct marks *m, enum mode mode, struct pathset *pathset, struct pathset *programs,
	      int wait_ms);
/* The rules with these paths serve: marks that no rule asks for any more are taken away. -ETIMEDOUT
 * (it goes on in the background), -errno. */
int marks_settle(struct marks *m, int wait_ms);

struct marks_stats {
	unsigned files, directories;
	unsigned watched; /* trees that were marked for */
	unsigned held; /* of these: opens wait for an answer; with labels_only: labelled */
	unsigned programs; /* whose start waits for one */
	uint64_t changes, rescans, lookups_failed;
	uint64_t gaps_uncounted; /* beyond those that are kept */
	char filesystems[256]; /* "ext4 xfs" */
};
void marks_stats(struct marks *m, struct marks_stats *ret);
void marks_each_gap(struct marks *m, void (*fn)(void *arg, const char *path, const char *why),
		    void *arg);

#endif
