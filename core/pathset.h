/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The paths that the file rules of one rule set name: what the fanotify source has to watch.
 * Made by rules/, read by the mark process (by fork or through pathset_write/read) and by the
 * verdict thread. Immutable once made, shared by reference count.
 */
#ifndef OKNEK_CORE_PATHSET_H
#define OKNEK_CORE_PATHSET_H

#include <stdatomic.h>
#include <stdint.h>

#include "core/event.h"
#include "core/glob.h"

#define PATHSET_PATTERNS_MAX 65536
#define PATHSET_SIZE_MAX_BYTES (8u << 20) /* of the flat copy */

struct path_pattern {
	struct glob *glob;
	enum verdict verdict; /* the strongest action of the rules that name it: WARN or BLOCK */
	bool exclude;         /* none_of of every rule that could match: takes a path out again */
	unsigned group;       /* patterns and excludes of one rule share a group */
};

struct path_index; /* alternatives by the literal component that they need */

struct pathset {
	_Atomic unsigned refs;
	unsigned n;
	struct path_pattern *patterns;
	struct path_index *index;
};

/* An empty set with one reference. -ENOMEM. */
int pathset_new(struct pathset **ret);
/* Compiles and adds, before the set is shared. -EINVAL as glob_compile(), -ENOMEM, -E2BIG. */
int pathset_add(struct pathset *p, const char *pattern, enum verdict v, bool exclude,
		unsigned group);
/* The same for one that is compiled: takes a reference of its own. */
int pathset_add_glob(struct pathset *p, struct glob *g, enum verdict v, bool exclude,
		     unsigned group);

struct pathset *pathset_ref(struct pathset *p);
void pathset_unref(struct pathset *p); /* NULL is fine */

/*
 * As glob_reach(), over all patterns; *verdict is the strongest of the patterns that match HERE
 * and are not excluded within their group (ALLOW when none; then HERE is not set either). verdict
 * may be NULL. One floating pattern that is no exclude makes every path reach BELOW. Allocates
 * nothing; the cost hardly grows with patterns that cannot match.
 */
unsigned pathset_reach(const struct pathset *p, const char *path, const char *home,
		       enum verdict *verdict);

/* A flat copy for another process, in a sealed memfd. Returns the descriptor or -errno. */
int pathset_write(const struct pathset *p);
/* Takes what pathset_write() made (length-checked; -EBADMSG if it does not parse). */
int pathset_read(int fd, struct pathset **ret);

#endif
