/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guardian knows of objects: for each protected one whether a rule blocks it. A table of
 * fixed size in shared memory; each entry is one word, so that a reader in another process needs
 * no lock and sees no half of one, whenever the writer died. One writer, the mark thread.
 */
#ifndef OKNEK_CORE_DEFAULTS_H
#define OKNEK_CORE_DEFAULTS_H

#include "core/event.h"

#define DEFAULTS_ENTRIES 131072 /* a power of two, twice the objects there may be */

struct defaults;

int defaults_new(struct defaults **ret); /* -ENOMEM */
void defaults_free(struct defaults *d);

/* Writer. -ENOSPC when it is full: the object is then as one that is not known. */
int defaults_put(struct defaults *d, uint64_t dev, uint64_t ino, enum verdict v);
void defaults_remove(struct defaults *d, uint64_t dev, uint64_t ino);

/* The strongest rule's verdict, -ENOENT when the object is not known. Any process that has the
 * mapping. An object that is just being moved may be missed. */
int defaults_find(const struct defaults *d, uint64_t dev, uint64_t ino);

#endif
