/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protected objects: files and directories by identity, with the names under which they are
 * protected. Decide by object, not by name: a hard link, a bind mount or a renamed file is still
 * the object. One writer (the mark thread), one reader that never waits (the verdict thread);
 * removed objects are freed when the reader has passed objects_quiescent() since.
 */
#ifndef OKNEK_CORE_OBJECTS_H
#define OKNEK_CORE_OBJECTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/event.h"

#define OBJECT_HANDLE_MAX 128 /* MAX_HANDLE_SZ, linux/exportfs.h */
#define OBJECT_NAMES_MAX (FILE_NAMES_MAX - 1)

struct object_handle {
	uint64_t fsid; /* both words of f_fsid, as fanotify reports it */
	int32_t type;
	uint32_t len;
	uint8_t bytes[OBJECT_HANDLE_MAX];
};

/* Strings are never NULL. */
struct object_name {
	char *path;    /* logical path: how a rule names it */
	char *home;    /* the home that `~` meant; "" for an absolute pattern */
	char *project; /* the working directory whose floating patterns were meant; "" none */
	/* Directory: "" as a rule. Else a symbolic link leads through this directory, and the
	 * entry `via` of it stands for `path` itself. */
	char *via;
};

struct object {
	uint64_t dev, ino; /* as fstat tells */
	struct object_handle handle; /* len 0: none to be had */
	bool is_dir;
	bool on_child; /* directory whose direct names can match */
	bool below;    /* directory below which something could match */
	bool system;   /* inode mark alone */
	enum verdict verdict; /* strongest rule that names it */
	uid_t uid;            /* whose home it is below, for walking on */
	unsigned n_names;     /* at least 1; the first names are kept, history is bounded */
	struct object_name names[OBJECT_NAMES_MAX];

	/* For the writer. */
	_Atomic bool perm_marked; /* read by the verdict thread too */
	bool observe_marked, notify_marked;
	bool labelled; /* what holds it without marks does so */
	int group; /* index of the notification group of its filesystem, -1 none */
	unsigned pass; /* of the scan that saw it last */
	unsigned marked_pass; /* of the scan that set its marks last */

	struct object *_Atomic next_ino, *_Atomic next_handle;
	struct object *next_retired;
	uint64_t retired_at;
};

struct objects;

int objects_new(struct objects **ret);
void objects_free(struct objects *t);
/* Before the first object: d, which stays the caller's, is kept as the table is. */
struct defaults;
void objects_set_defaults(struct objects *t, struct defaults *d);

/* Reader side. The pointer is good until the reader's next objects_quiescent(). */
const struct object *objects_find(const struct objects *t, uint64_t dev, uint64_t ino);
const struct object *objects_find_handle(const struct objects *t, const struct object_handle *h);
void objects_quiescent(struct objects *t);

/*
 * Writer side. objects_put() copies `o` (names too) and publishes it, in place of an older object
 * with the same (dev, ino), whose names it inherits as far as there is room: what a file was once
 * protected as, it stays. Returns the published object, NULL without memory.
 */
struct object *objects_put(struct objects *t, const struct object *o);
void objects_remove(struct objects *t, struct object *o);
/* Any order; fn may remove the object it is given. */
void objects_each(struct objects *t, void (*fn)(struct object *o, void *arg), void *arg);
unsigned objects_count(const struct objects *t);

/* A copy with strings of its own. -ENOMEM. */
int object_name_copy(const struct object_name *n, struct object_name *ret);
void object_name_free(struct object_name *n);

/* The logical path of entry `name` of directory `dir` by one of its names: 0, or -ENOENT when that
 * name says nothing of this entry, -ENAMETOOLONG. */
int object_child_path(const struct object_name *dir, const char *name, char *buf, size_t size);

uint64_t object_handle_hash(const struct object_handle *h);
bool object_handle_equal(const struct object_handle *a, const struct object_handle *b);

#endif
