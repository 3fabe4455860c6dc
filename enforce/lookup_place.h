/* SPDX-License-Identifier: Apache-2.0 */
/* Going from one directory to the next without touching a filesystem that could stall us. */
#ifndef OKNEK_ENFORCE_LOOKUP_PLACE_H
#define OKNEK_ENFORCE_LOOKUP_PLACE_H

#include "enforce/lookup_helper.h"

#define PLACE_WHY_MAX 160

enum place_scope {
	SCOPE_OUT,   /* neither a root nor on the way to one */
	SCOPE_ABOVE, /* on the way to a root: walked, not reported */
	SCOPE_IN,
};

/* An object that was reached, on a filesystem that may be asked about it. */
struct place {
	int fd;  /* O_PATH, owned */
	int mnt; /* mount id */
	enum mount_class class;
	enum place_scope scope;
	bool strayed; /* a link led out of the directory it is in: may be anybody's */
};

void place_close(struct place *p);

/* Why the way ends, when it does with -EXDEV. */
struct place_why {
	char text[PLACE_WHY_MAX];
};

/* Called before the name `via` is opened in `dir` because a link led there; last: it is the end of
 * the way. -errno ends the way. */
typedef int (*place_via)(void *arg, const struct place *dir, const char *via, bool last);

/* The directory or file at an absolute path, links followed. -EXDEV: a filesystem on the way that
 * must not be touched; other -errno as open(2). */
int place_open(struct walk *w, const char *path, struct place *ret, struct place_why *why);
/* One name in a directory, links followed; via may be NULL. */
int place_enter(struct walk *w, const struct place *dir, const char *name, place_via via,
		void *arg, struct place *ret, struct place_why *why);
/* What a descriptor is; takes it over on success. */
int place_from_fd(struct walk *w, int fd, struct place *ret, struct place_why *why);

/* Is path below one of the roots (struct walk), or on the way to one? */
bool place_leads_inside(const char *roots, const char *path);

/* The path by which the kernel knows it now. -ENAMETOOLONG beyond 4095 bytes. */
int place_path(int fd, char *buf, size_t size_bytes);

#endif
