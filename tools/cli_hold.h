/* SPDX-License-Identifier: Apache-2.0 */
/* What people are told of something that is held and waits for an answer: an item of `pending`. */
#ifndef OKNEK_TOOLS_CLI_HOLD_H
#define OKNEK_TOOLS_CLI_HOLD_H

#include <jansson.h>
#include <stdint.h>

#include "tools/cli.h"

/* A program with its arguments, as far as they are shown: … where there are more. malloc'd, not
 * escaped; NULL: it is no program, or nothing is known of its arguments. */
char *cli_hold_command(const json_t *item);
/* What, by which rule, until when, and how it is answered; not escaped. malloc'd, or NULL. */
char *cli_hold_line(const json_t *item);
/*
 * On the desktop of who runs this, by notify-send(1), which nobody waits for and which has some seconds;
 * without that program nothing. Neither its control characters nor its
 * markup reach the desktop. Forks: nothing may be left in a buffer.
 */
void cli_hold_desktop(const char *what);

#endif
