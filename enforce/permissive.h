/* SPDX-License-Identifier: Apache-2.0 */
/* The enforcer of a host or a source that can stop nothing: what it is given has happened. */
#ifndef OKNEK_ENFORCE_PERMISSIVE_H
#define OKNEK_ENFORCE_PERMISSIVE_H

#include "core/enforcer.h"

/* Freed with (*ret)->ops->close(). 0 or -ENOMEM. */
int permissive_open(struct enforcer **ret);

#endif
