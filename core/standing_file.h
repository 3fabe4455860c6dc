/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators refused, in a file of the run directory: the next daemon of this boot goes on refusing
 * it, and gives no event the token of another. Only written while we run: whoever gets at the file
 * changes nothing before then. One thread.
 */
#ifndef OKNEK_CORE_STANDING_FILE_H
#define OKNEK_CORE_STANDING_FILE_H

#include "core/standing.h"

#define STANDING_KEY_BYTES 16

struct standing_file;

/* What an earlier daemon left. */
struct standing_kept {
	bool found; /* else all of it is zero */
	uint8_t key[STANDING_KEY_BYTES]; /* of name_hash */
	uint64_t last_token; /* none above it was shown to anybody */
	struct standing_table table; /* refusals alone; whose tree it was is to be looked at */
};

/* What is there is read as data, and put aside for a new file if it does not hold together. -errno: kept
 * is what was read all the same. */
int standing_file_open(const char *path, struct standing_kept *kept, struct standing_file **ret);
void standing_file_close(struct standing_file *f);

/* No system call: for the thread that answers. NULL: there is no file. */
void standing_file_save(struct standing_file *f, const struct standing_table *t);
void standing_file_begin(struct standing_file *f, const uint8_t key[STANDING_KEY_BYTES]);
void standing_file_token(struct standing_file *f, uint64_t token);

#endif
