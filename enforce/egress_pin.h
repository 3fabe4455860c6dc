/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A jail that outlives its daemon: what holds its programs is pinned below /sys/fs/bpf, a directory
 * for each run directory, a prefix to the names for each daemon.
 */
#ifndef OKNEK_ENFORCE_EGRESS_PIN_H
#define OKNEK_ENFORCE_EGRESS_PIN_H

#include <stddef.h>
#include <sys/types.h>

#define EGRESS_PIN_DIR "/sys/fs/bpf/oknek"

/* Where this run directory has its own; NULL or the default one: EGRESS_PIN_DIR. */
void egress_pin_dir(const char *run_dir, char *buf, size_t size);

/* Pins these links, and the map of members beside them; all or nothing. Privileged. -EOPNOTSUPP: there
 * is no BPF filesystem. */
int egress_pin(const char *dir, pid_t prefix, int members_fd, const int *fds, unsigned n);
/* The map of members that an earlier daemon left there. -ENOENT. Privileged. */
int egress_pinned_members(const char *dir);
/* Removes all pins but those of prefix (0: all). How many, -errno. */
int egress_unpin(const char *dir, pid_t keep);

#endif
