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

struct path_pattern {
	struct glob *glob;
	enum verdict verdict; /* the strongest action of the rules that name it: WARN or BLOCK */
	bool exclude;         /* none_of of every rule that could match: takes a path out again */
	unsigned group;       /* patterns and excludes of one rule share a group */
};

struct pathset {
	_Atomic unsigned refs;
	unsigned n;
	struct path_pattern *patterns;
};

struct pathset *pathset_ref(struct pathset *p);
void pathset_unref(struct pathset *p); /* NULL is fine */

/* As glob_reach(), over all patterns; *verdict is the strongest of the patterns that match HERE
 * and are not excluded within their group (ALLOW when none). verdict may be NULL. */
unsigned pathset_reach(const struct pathset *p, const char *path, const char *home,
		       enum verdict *verdict);

/* A flat copy for another process, in a sealed memfd. Returns the descriptor or -errno. */
int pathset_write(const struct pathset *p);
/* Takes what pathset_write() made (length-checked; -EBADMSG if it does not parse). */
int pathset_read(int fd, struct pathset **ret);

#endif
