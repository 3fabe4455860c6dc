/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event source: one kernel interface (or a file) that publishes struct event on the bus.
 * The daemon calls, in this order: open (with privilege), start (events flow from here), then
 * dispatch whenever fd() polls readable, close at the end. All slots but stats are required.
 */
#ifndef OKNEK_CORE_SOURCE_H
#define OKNEK_CORE_SOURCE_H

#include <stdint.h>

struct bus;
struct source;

struct source_stats {
	uint64_t read;      /* events taken from the kernel */
	uint64_t lost;      /* that the kernel or we had to drop */
	uint64_t malformed; /* that could not be parsed */
};

struct source_ops {
	const char *name;
	uint64_t caps; /* bit per CAP_* needed while running */
	int (*start)(struct source *s);
	int (*fd)(const struct source *s); /* one pollable descriptor, owned by the source */
	/* One bounded batch; never blocks. Returns events handled, 0 at end of input, -EAGAIN when
	 * nothing is there, else -errno. */
	int (*dispatch)(struct source *s, struct bus *b);
	void (*stats)(const struct source *s, struct source_stats *ret);
	void (*close)(struct source *s); /* answers what is pending, frees s */
};

/* Base of every source; first member of the implementing struct. */
struct source {
	const struct source_ops *ops;
};

#endif
