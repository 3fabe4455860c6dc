/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root of cgroup2, where programs see all sockets of this host: mounted here, or where process 1
 * sees it, or nowhere, as on hosts with version 1 alone.
 */
#ifndef OKNEK_ENFORCE_EGRESS_ROOT_H
#define OKNEK_ENFORCE_EGRESS_ROOT_H

#include <stddef.h>

/* A descriptor of its directory; where says how people may call it. Privileged. -ENOENT: there is
 * none, and none can be mounted for us alone. */
int egress_root_open(char *where, size_t size);

/* Those parts of it. By a mountinfo file (proc(5)) whose places lie below `prefix`. */
int egress_root_mounted(const char *mountinfo, const char *prefix, char *where, size_t size);
int egress_root_private(char *where, size_t size); /* mounted, and attached to no tree of files */

#endif
