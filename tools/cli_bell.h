/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells who sits before a command that something of its tree is held: a line and a bell on the
 * terminal that is stderr, and a notification where there is a session bus. A thread of `oknek run`,
 * which is no member of the tree: it asks what is held, and answers nothing.
 */
#ifndef OKNEK_TOOLS_CLI_BELL_H
#define OKNEK_TOOLS_CLI_BELL_H

#include "tools/cli.h"

struct cli_bell;

/* *ret NULL: there is neither terminal nor bus, or it could not be had; both is no reason not to run.
 * With the signals blocked that the caller waits for. cli must live on. */
void cli_bell_start(const struct cli *cli, int64_t tree, struct cli_bell **ret);
/* False: its thread hangs, in a terminal that takes no output; the caller must end with _exit(). NULL
 * is fine. */
bool cli_bell_stop(struct cli_bell *b);

#endif
