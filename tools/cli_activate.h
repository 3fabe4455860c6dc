/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The active pack in a state directory: rules/active, and the one before as rules/previous. Either
 * is there whole or not at all, whenever we are killed.
 */
#ifndef OKNEK_TOOLS_CLI_ACTIVATE_H
#define OKNEK_TOOLS_CLI_ACTIVATE_H

#include <stdbool.h>

#include "rules/pack.h"

/* One at a time changes what is active: a descriptor to close afterwards. What somebody who was killed
 * left half done is finished. -EBUSY: another one does; -errno. */
int activate_lock(const char *state_dir, struct pack_error *err);
/* The active pack, verified; *ret NULL when there is none. -errno; err says it. */
int activate_current(const char *state_dir, struct pack **ret, struct pack_error *err);
/* Puts p, which was verified, beside the active one, and takes it away again. */
int activate_stage(const char *state_dir, const struct pack *p, struct pack_error *err);
int activate_unstage(const char *state_dir, struct pack_error *err);
/* It is the active one. What was active is kept until one of the next two. */
int activate_exchange(const char *state_dir, struct pack_error *err);
/* It serves: what was active becomes the previous one, which then goes. */
int activate_keep(const char *state_dir, struct pack_error *err);
/* It is refused: all is as it was before activate_stage(). */
int activate_undo(const char *state_dir, struct pack_error *err);
/* The previous one is active again, and the other way round; undone by calling it again. Without a
 * previous one the active one is put aside: what was shipped serves then. The previous one must
 * verify. -ENOENT: there is neither. */
int activate_rollback(const char *state_dir, struct pack_error *err);
bool activate_has_previous(const char *state_dir);

#endif
