/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captured events, for `oknek replay`: what was decided about is copied into a ring in memory on the
 * deciding thread, and written on a thread of its own, a line of core/event_text.h for each, into
 * DIR/00000001.jsonl and so on. Nothing here delays a verdict: what finds no room in the ring, or no
 * room on the disk, is counted and gone.
 */
#ifndef OKNEK_STORE_CAPTURE_H
#define OKNEK_STORE_CAPTURE_H

#include "core/bus.h"

#define CAPTURE_DIR "capture" /* below the state directory */
#define CAPTURE_SUFFIX ".jsonl"
#define CAPTURE_RING_BYTES (4u << 20)
#define CAPTURE_SIZE_MIN (1u << 20) /* of max_size_bytes */

/* The first line of each file, with one of these words in it. */
#define CAPTURE_HEADER_MATCHED "# captured: matched\n"
#define CAPTURE_HEADER_ALL "# captured: all\n"

struct capture;

struct capture_config {
	const char *state_dir;
	bool all; /* that of events is pushed, not only those for which a rule fired: the files say so */
	uint64_t max_size_bytes; /* of all files */
	uint64_t max_age_s;      /* what is older goes, file by file */
	/* Told on the writing thread, when it begins to fail and when it works again. */
	void (*health)(void *arg, bool ok, const char *why);
	void *arg;
	int64_t (*wall_ns)(void); /* NULL: the system's */
	/* The time by which the evidence grows old (store/age.h), 0 not known yet: what is captured
	 * does by the same. NULL: by a time of its own, that begins with the wall clock. */
	int64_t (*age_ns)(void *arg);
	bool keeps; /* nothing is captured: what was, is kept within the limits; no ring */
};

/* Takes the ring's memory: events may be pushed. -ENOMEM, -errno. */
int capture_open(const struct capture_config *c, struct capture **ret);
/* Starts the thread. A directory that cannot be written is no error here: `health` tells. -errno. */
int capture_start(struct capture *c);
/* From now on. What is captured otherwise goes into another file. */
void capture_change(struct capture *c, bool all, uint64_t max_size_bytes, uint64_t max_age_s);
/* Writes what is in the ring, at most wait_ms; ends the thread; frees. Nobody may push any more.
 * NULL is fine. */
void capture_close(struct capture *c, int wait_ms);

/* When and where something was decided. */
struct capture_moment {
	int64_t unix_ns;      /* the very time that the rules were given */
	int32_t utc_offset_s; /* as the rules saw local time */
	enum outcome outcome;
	const char *ruleset;
};

/* Copies it into the ring: no system call, no lock, no allocation. Several threads may. */
void capture_push(struct capture *c, const struct verdict_note *note,
		  const struct capture_moment *when);

struct capture_stats {
	uint64_t events;  /* that were to be captured */
	uint64_t written; /* lines that are in files */
	uint64_t dropped; /* without room in the ring or on the disk */
	uint64_t bytes;   /* in all files now */
	bool ok;
	char why[160]; /* not ok */
};
void capture_stats(struct capture *c, struct capture_stats *ret); /* any thread but verdict */

#endif
