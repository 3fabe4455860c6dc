/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The marks of the mark thread on programs whose start is held: shells, interpreters and what rules
 * name. They stand while a member may be refused something, and somebody answers if we do not; what
 * comes to stand in a program's place is marked when inotify tells of it, so that nobody's opens are
 * asked about for that.
 */
#ifndef OKNEK_ENFORCE_EXEC_MARKS_H
#define OKNEK_ENFORCE_EXEC_MARKS_H

#include "core/objects.h"
#include "core/pathset.h"
#include "core/programs.h"

#define EXEC_WATCHES_MAX 256

struct marks;

struct exec_mark {
	uint64_t dev, ino;
	struct object_handle handle; /* len 0: none to be had */
	bool seen;                   /* by the look that goes on, or was the last */
	bool decoy;                  /* of who tries the rules: it stays while nothing else is held */
	unsigned n_names;
	char *names[PROGRAM_NAMES_MAX];
};

struct exec_marks {
	struct pathset *want; /* NULL: nothing */
	struct exec_mark *v;  /* that are marked */
	unsigned n, room;
	bool astray;          /* the helper was left with our patterns */
	bool changed;         /* something was, where they stand: look again */
	uint64_t looked_ns, look_ns; /* look again not before; UINT64_MAX: when told to */
	int inotify_fd;
	int watches[EXEC_WATCHES_MAX];
	unsigned n_watches;
};

/* All on the mark thread, but open and close. */
int exec_marks_open(struct marks *m, struct pathset *want); /* -errno */
void exec_marks_close(struct marks *m);
/* From here on these are wanted as well: those before stay until exec_marks_settle(). */
void exec_marks_want(struct marks *m, struct pathset *want);
/* Marks what is wanted; where nothing may be marked, takes all marks away. */
void exec_marks_apply(struct marks *m);
void exec_marks_settle(struct marks *m);
/* The decoys in this home are held as if they were among the wanted, also where these are not held now. They
 * take the place of those before. */
void exec_marks_prove(struct marks *m, const char *home);
/* All permission marks were taken away. */
void exec_marks_flushed(struct marks *m);

/* The thread's loop: when it is to be called again (-1: when inotify_fd is ready), and the call.
 * mounts: the table of mounts has changed. */
int exec_marks_wait_ms(const struct marks *m);
void exec_marks_tick(struct marks *m, bool mounts);
/* False: the helper still has our patterns, and cannot be asked for anything else now. */
bool exec_marks_helper_back(struct marks *m);

#endif
