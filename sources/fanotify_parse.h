/* SPDX-License-Identifier: Apache-2.0 */
/* What a notification of fanotify tells of its objects: a pure function over the bytes read. */
#ifndef OKNEK_SOURCES_FANOTIFY_PARSE_H
#define OKNEK_SOURCES_FANOTIFY_PARSE_H

#include <stddef.h>

#include "core/objects.h"

/* The identities one notification carries. */
struct notice {
	struct object_handle dir; /* len 0: not told */
	struct object_handle target;
	const char *name; /* in the event; "" not told */
};

/*
 * One event: metadata and the information records behind it. len_bytes: all that may be looked at,
 * of which the event may claim less. -EBADMSG when its parts do not fit into each other.
 */
int fanotify_parse_notice(const void *event, size_t len_bytes, struct notice *ret);

#endif
