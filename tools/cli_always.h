/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OKNEK_TOOLS_CLI_ALWAYS_H
#define OKNEK_TOOLS_CLI_ALWAYS_H

#include "tools/cli.h"

/* Makes an exception of what is held by this token, or by this process, once allow() has answered it,
 * and has the daemon read it. either: what is no process's may be a token, which *token says when allow()
 * is called. *path: of the file, *excepted: what it excepts; the caller's. As commands return; said. */
int cli_always(struct cli *cli, bool *token, bool either, int64_t id, const char *reason,
	       int (*allow)(struct cli *cli, void *arg), void *arg, char **path, char **excepted);

#endif
