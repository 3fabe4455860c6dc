/* SPDX-License-Identifier: Apache-2.0 */
/* `readers:` of oknek.yaml: executables that a rule lets through. */
#ifndef OKNEK_RULES_READERS_H
#define OKNEK_RULES_READERS_H

#include "core/config.h"
#include "core/rule.h"

bool readers_has(const struct config *c, const struct rule *r, const char *exe);
/* What fired but lets this exe through did not fire. For events with exe_verified alone. */
void readers_drop(const struct config *c, const struct event *ev, struct decision *d);

#endif
