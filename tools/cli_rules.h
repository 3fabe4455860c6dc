/* SPDX-License-Identifier: Apache-2.0 */
/* What the subcommands of `oknek rules` share. */
#ifndef OKNEK_TOOLS_CLI_RULES_H
#define OKNEK_TOOLS_CLI_RULES_H

#include "core/config.h"
#include "rules/explain.h"
#include "tools/cli.h"

struct rules_options {
	const char *event, *events, *config, *rule, *rules;
	bool any_host, site, all;
};

/* Each has a name, what it takes besides the options that every command has, and a help text. */
int rules_list(struct cli *cli);
int rules_fields(struct cli *cli);
int rules_show(struct cli *cli, const char *id);
int rules_explain(struct cli *cli, const char *id, const struct rules_options *o);
int rules_lint_files(struct cli *cli, char **files, const struct rules_options *o);
int rules_test(struct cli *cli, char **files, const struct rules_options *o);

/* ---- cli_rules_load.c ----------------------------------------------------------------------- */

/*
 * Rules of files and folders as one set, for the mechanisms that `oknekd --check` assumes. A file
 * may name the lists of the lists.yaml beside it. site may be NULL. Says what went wrong:
 * CLI_DONE or CLI_FAILED.
 */
int rules_load_paths(char *const *paths, const struct config *site, struct ruleset **ret);

/* An oknek.yaml that must be there. CLI_DONE or CLI_FAILED, which it says. */
int rules_config_load(const char *path, struct config **ret);

/* The bytes of a file; says why not. CLI_DONE or CLI_FAILED. */
int rules_read_file(const char *path, char **ret, size_t *len_bytes);
/* lists.yaml in the folder of path. malloc'd. */
char *rules_lists_beside(const char *path);
bool rules_is_lists(const char *path);

static inline void rules_unref_cleanup(struct ruleset **rs)
{
	ruleset_unref(*rs);
}

/* A string of any bytes for JSON: as it is when it is UTF-8, else escaped. */
json_t *rules_json_text(const char *s);

#endif
