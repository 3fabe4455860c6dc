/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process that is held is about to do: with which arguments it would run another program, or
 * how it would open a file. Its memory may be such that reading it never ends (userfaultfd, FUSE), so
 * somebody else reads, and says what he found: see enforce/peek.h.
 */
#ifndef OKNEK_CORE_PEEK_H
#define OKNEK_CORE_PEEK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/event.h"

#define PEEK_ARGV_MAX 32768 /* bytes of arguments, each with its NUL */

enum peek_what { PEEK_ARGV = 1, PEEK_MODE, PEEK_TRY /* see peek_try() */ };

/* By the slot and the token of a permission whoever asked knows what was meant. */
struct peek_question {
	enum peek_what what;
	pid_t tgid;
	uint32_t tree_id; /* of which a few are read at a time */
	uint32_t slot;
	uint64_t token;
};

struct peek_answer {
	enum peek_what what;
	uint32_t slot;
	uint64_t token;
	int error;           /* -errno: nothing of the following. -EAGAIN: who is held was woken, and has had no
			      * processor since to rest again: to be asked again */
	enum open_mode mode; /* UNKNOWN: several threads are held, or it cannot be told */
	bool also_read;      /* mode WRITE: as in struct file_object */
	const char *argv;    /* NUL after each; borrowed until the next answer is taken */
	uint32_t argv_len_bytes;
	bool argv_cut;
};

#endif
