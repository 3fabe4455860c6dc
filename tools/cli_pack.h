/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that handle packs share. */
#ifndef OKNEK_TOOLS_CLI_PACK_H
#define OKNEK_TOOLS_CLI_PACK_H

#include <jansson.h>

#include "rules/pack.h"
#include "rules/rules.h"

#define PACK_KEY_HEX 64

/* A .tar.gz, a folder of its contents, or one in which one .tar.gz lies; not verified. -errno; err
 * says it. */
int cli_pack_open(const char *path, struct pack **ret, struct pack_error *err);
/* The key that packs must be signed with: that of FILE, or with NULL the one built in. */
int cli_pack_public_key(const char *file, uint8_t ret[32], struct pack_error *err);
/* pack_verify() with that key; path is for messages. */
int cli_pack_verify(struct pack *p, const char *path, const char *key_file,
		    struct pack_error *err);
/* cli_pack_open() and that. */
int cli_pack_trusted(const char *path, const char *key_file, struct pack **ret,
		     struct pack_error *err);

/* The rules of a verified pack, as a daemon would load them. -EINVAL: err has file and line. */
int cli_pack_rules(const struct pack *p, struct ruleset **ret, struct pack_error *err);

/* The same beside a host's rules.d and under its overrides, as its daemon would load them. */
struct config;
int cli_pack_rules_here(const struct pack *p, const char *config_file, const struct config *config,
			struct ruleset **ret, struct pack_error *err);

/* "oknek-rules 1.2.3" of a verified pack. */
#define PACK_TITLE_SIZE 128
void cli_pack_title(const struct pack *p, char buf[PACK_TITLE_SIZE]);

/* What changes for the rules in force: a list of {rule, change, old, new}; change is added,
 * removed, or changed. old may be NULL. A new reference. */
json_t *cli_pack_diff(const struct ruleset *old, const struct ruleset *new);

static inline void cli_pack_free(struct pack **p)
{
	pack_free(*p);
}

static inline void cli_ruleset_free(struct ruleset **rs)
{
	ruleset_unref(*rs);
}

#define _cleanup_pack_ __attribute__((cleanup(cli_pack_free)))
#define _cleanup_rules_ __attribute__((cleanup(cli_ruleset_free)))

#endif
