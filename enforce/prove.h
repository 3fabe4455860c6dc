/* SPDX-License-Identifier: Apache-2.0 */
/* A child of ours becomes a member for a moment and tries what members are refused. */
#ifndef OKNEK_ENFORCE_PROVE_H
#define OKNEK_ENFORCE_PROVE_H

#include <stdint.h>
#include <sys/types.h>

/*
 * attempt runs in the child, with signal-safe calls alone, and returns 0 or -errno. The result is 0 or
 * the errno of the attempt, -errno when it could not be made; *ret the child's pid, which is free again.
 * Before threads.
 */
int prove_as_member(int members_fd, uint32_t tree_id, int (*attempt)(void *arg), void *arg, pid_t *ret);

#endif
