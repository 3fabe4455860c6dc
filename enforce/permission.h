/* SPDX-License-Identifier: Apache-2.0 */
/* The fanotify enforcer: writes the answer of a permission event, exactly once. */
#ifndef OKNEK_ENFORCE_PERMISSION_H
#define OKNEK_ENFORCE_PERMISSION_H

#include "core/enforcer.h"
#include "core/permission.h"

/* t stays the caller's. -ENOMEM. */
int permission_enforcer_open(struct permission_table *t, struct enforcer **ret);

#endif
