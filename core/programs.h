/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs whose start is held until it is decided, by identity, with the names by which they
 * were found: a link to a shell is the shell. One writer (the mark thread), one reader that never
 * waits (the verdict thread); what was replaced is freed when the reader has passed
 * programs_quiescent() since.
 */
#ifndef OKNEK_CORE_PROGRAMS_H
#define OKNEK_CORE_PROGRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRAM_NAMES_MAX 8
#define PROGRAMS_MAX 4096

struct program {
	uint64_t dev, ino; /* as fstat tells */
	unsigned n_names;  /* at least 1; the first is where it really stands */
	const char *names[PROGRAM_NAMES_MAX];
};

struct programs;

int programs_new(struct programs **ret); /* -ENOMEM */
void programs_free(struct programs *p);  /* NULL is fine */

/* Reader. NULL: it is none of them. Good until its next programs_quiescent(). */
const struct program *programs_find(const struct programs *p, uint64_t dev, uint64_t ino);
void programs_quiescent(struct programs *p);
/* Is it one of its names? */
bool program_is_called(const struct program *p, const char *path);

/* Is that, by its last component, a dynamic loader? A pattern of such names is one, too. */
bool program_is_loader(const char *path);

/* Writer: these are all of them from here on; copied. -ENOMEM: as it was before. */
int programs_set(struct programs *p, const struct program *v, size_t n);

size_t programs_count(const struct programs *p); /* any thread */

#endif
