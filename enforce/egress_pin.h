/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A jail that outlives its daemon: what holds its programs is pinned below /sys/fs/bpf, a directory
 * for each run directory, a prefix to the names for each daemon.
 */
#ifndef OKNEK_ENFORCE_EGRESS_PIN_H
#define OKNEK_ENFORCE_EGRESS_PIN_H

#include <stddef.h>

#define EGRESS_PIN_DIR "/sys/fs/bpf/oknek"

/* Where this run directory has its own; NULL or the default one: EGRESS_PIN_DIR. */
void egress_pin_dir(const char *run_dir, char *buf, size_t size);

/* Each start of a daemon attaches more of the same programs to one cgroup: the kernel allows 64. */
#define EGRESS_PINNED_MAX 64

/* Pins these links, and the map of members beside them, by a prefix that nobody has there; all or
 * nothing. Returns the prefix, > 0. Privileged. -EOPNOTSUPP: there is no BPF filesystem. */
int egress_pin(const char *dir, int members_fd, const int *fds, unsigned n);
/* The maps of members that earlier daemons left there: one, or more when some of them were killed
 * while they started. How many. Privileged. */
unsigned egress_pinned_members(const char *dir, int *fds, unsigned max);
/* Removes all pins but those of prefix (0: all). How many, -errno. */
int egress_unpin(const char *dir, int keep);
/* Removes those of prefix alone. */
int egress_unpin_own(const char *dir, int prefix);

#endif
