/* SPDX-License-Identifier: Apache-2.0 */
/* Between store/capture*.c alone. */
#ifndef OKNEK_STORE_CAPTURE_PRIV_H
#define OKNEK_STORE_CAPTURE_PRIV_H

#include "core/event_text.h"
#include "store/capture.h"

/* ---- capture_copy.c: an event in one piece, in host byte order, for this process alone. ---- */

#define CAPTURE_COPY_MAX EVENT_ARGV_MAX /* longer ones are dropped, and counted */

struct capture_out {
	uint8_t *ring; /* NULL: only counts */
	uint64_t size, at; /* of the ring; position, which only grows */
	uint64_t n;
};
void capture_copy(struct capture_out *o, const struct verdict_note *note,
		  const struct capture_moment *when);
/* The copy, read back; points into buf. */
void capture_copied(const uint8_t *buf, struct event_line *ret);

/* ---- capture_files.c: one thread's. ---- */

struct capture_files {
	const char *state_dir;
	int dir_fd, fd; /* -1: not open */
	uint64_t number; /* of the file that is written; 0: none yet */
	uint64_t size, begun_s; /* of that file */
	bool all, begun_all; /* what comes; what the file says */
	uint64_t max_size, max_age_s;
	uint64_t bytes; /* of all */
	int64_t age_s; /* the time by which files grow old, see store/age.h; 0 not known */
	bool reads; /* no folder is made for what is not written */
};

/* Appends whole lines: all of them or, after an error, none. -errno. */
int capture_files_write(struct capture_files *f, const void *data, size_t len_bytes, int64_t now_s);
/* Removes what is too old, and the oldest while there is too much. -errno. */
int capture_files_prune(struct capture_files *f);
void capture_files_close(struct capture_files *f);

#endif
