/* SPDX-License-Identifier: Apache-2.0 */
/* The preload shim as oknek gives it to a command or a unit. */
#ifndef OKNEK_TOOLS_CLI_PRELOAD_H
#define OKNEK_TOOLS_CLI_PRELOAD_H

#include "tools/cli.h"

#define CLI_SHIM "oknek_preload.so"

struct cli_preload {
	char library[4096];    /* "": there is none */
	const char *otherwise; /* without a daemon: allow or deny; NULL: as it is */
	const char *run_dir;   /* where the daemon is */
};

/* Is that what one may say? NULL is. Says so if not. */
bool cli_preload_default(const struct cli *cli, const char *otherwise);
/* Beside this program, in ../lib, or where it was built to be installed. */
void cli_preload_find(struct cli_preload *p);
/* Before what is preloaded already. -ENOMEM. */
int cli_preload_environment(const struct cli_preload *p);

/* --- units of systemd (cli_unit.c) --------------------------------------------------------------- */

struct cli_unit {
	char name[256]; /* with its suffix */
	char dir[4096], file[4200]; /* of our drop-in */
	char preload[4096]; /* what the unit preloads without us, "" nothing */
	char replaced[4096]; /* the EnvironmentFile= that says it instead, "" none */
	const char *root;   /* "" the machine's own */
	const char *parent; /* where our drop-in's directory goes, below it */
	bool user;
};

/* The unit of that name; says what is wrong with it, and returns false. exists: there must be one. */
bool cli_unit_find(const struct cli *cli, const char *name, const char *root, bool user, bool exists,
		   struct cli_unit *ret);
/* The name of an agent that goes with the unit: without suffix, and what agents' names may not have. */
void cli_unit_agent(const struct cli_unit *u, char agent[32]);
/* Writes our drop-in, in one step; -errno, said. */
int cli_unit_write(const struct cli_unit *u, const struct cli_preload *shim, const char *agent);
/* 1 removed, 0 there was none, -errno, said; nothing else than what we wrote is removed. */
int cli_unit_remove(const struct cli_unit *u);
/* Has the service manager read its files; false: it was not asked, or could not. */
bool cli_unit_reload(const struct cli_unit *u);
/* Has the daemon record what was done, "watch" or "unwatch". shim and agent: of the first. False: it is not
 * recorded, said. */
bool cli_unit_record(const struct cli *cli, const struct cli_unit *u, const char *done, bool reloaded,
		     const struct cli_preload *shim, const char *agent);

#endif
