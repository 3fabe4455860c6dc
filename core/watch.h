/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fanotify source (which reads) and the marks (which decide what is watched) share: the
 * notification groups, and a queue from the verdict thread, which must not wait, to the mark
 * thread, which may. One producer, one consumer.
 */
#ifndef OKNEK_CORE_WATCH_H
#define OKNEK_CORE_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/objects.h"
#include "core/permission.h"

#define WATCH_FILESYSTEMS_MAX 8
#define WATCH_NAME_MAX 256 /* NAME_MAX and its NUL */
#define WATCH_CHANGES 2048 /* a power of two */

/*
 * Groups are opened while privileged, before it is known which filesystems there will be, and are
 * few: a user may have fs.fanotify.max_user_groups of them, 128, over all daemons of a host. One pair
 * for each filesystem: the kernel takes marks of several btrfs subvolumes into one group only if
 * the group watches nothing else.
 */
struct watch_groups {
	int permission;
	int notify[WATCH_FILESYSTEMS_MAX];  /* create, move, delete: unlimited queue */
	int observe[WATCH_FILESYSTEMS_MAX]; /* open: limited queue, losses are counted */
};

enum change_type {
	CHANGE_NAME, /* `name` came to be in directory `dir`: perhaps a protected name */
	CHANGE_GONE, /* the object `target` was deleted */
	CHANGE_EXE,  /* is the exe of `pid` the file that the configuration means by `name`? */
	CHANGE_UID,  /* a member runs as `uid`, whose home is not known yet */
	CHANGE_LOST, /* the kernel's queue overflowed: look at everything again */
};

struct change {
	enum change_type type;
	struct object_handle dir;
	struct object_handle target; /* len 0 when the kernel does not tell */
	char name[WATCH_NAME_MAX];
	pid_t pid;
	uid_t uid;
	unsigned slot;  /* CHANGE_EXE: index of the permission that waits */
	uint64_t token; /* and its token: the slot may be another's by the time of the answer */
};

enum exe_trust { EXE_UNKNOWN, EXE_TRUSTED, EXE_STRANGER };

struct watch_queue {
	struct change *changes; /* WATCH_CHANGES of them, touched as needed */
	_Atomic uint64_t head;  /* changes put, by the verdict thread */
	_Atomic uint64_t done;  /* changes dealt with, by the mark thread: marks stand */
	_Atomic uint64_t lost;  /* changes that found no room: everything must be looked at again */
	_Atomic uint64_t found; /* so many of them that has been done for */
	_Atomic unsigned filesystems; /* groups in use: notify[] and observe[] below this */
	int wake_fd;            /* eventfd: the mark thread has work */
	int done_fd;            /* eventfd: `done` advanced */
	_Atomic uint64_t exe_answers[PERMISSION_SLOTS]; /* token << 2 | enum exe_trust */
};

int watch_queue_new(struct watch_queue **ret);
void watch_queue_free(struct watch_queue *q);

/* Verdict thread: queues a copy; returns the number that `done` will reach when it is dealt with.
 * Without room it is lost: nothing is settled until everything was looked at again. */
uint64_t watch_queue_put(struct watch_queue *q, const struct change *c);
bool watch_queue_settled(const struct watch_queue *q, uint64_t seq);
/* The answer for that very permission, EXE_UNKNOWN while there is none. One that is settled and has
 * no answer was lost, and is to be put again. */
enum exe_trust watch_queue_exe_answer(const struct watch_queue *q, unsigned slot, uint64_t token);

/* Mark thread: the next change, NULL if none; good until watch_queue_advance(). */
const struct change *watch_queue_peek(struct watch_queue *q);
void watch_queue_advance(struct watch_queue *q);
/* What c, a CHANGE_EXE, asked for; before watch_queue_advance(). */
void watch_queue_answer_exe(struct watch_queue *q, const struct change *c, enum exe_trust trust);
/* Asked before everything is looked at again: what is to be told to watch_queue_found() when that
 * is done. 0: nothing was lost. */
uint64_t watch_queue_lost(const struct watch_queue *q);
void watch_queue_found(struct watch_queue *q, uint64_t lost);

#endif
