/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path patterns of rules. `*` `?` `[a-z]` `[!a]` within one component, `**` for any number of
 * components (none included) when it stands alone between slashes, `{a,b}` alternatives (nested),
 * `~` or `~/…` at the start for a home directory, `\` quotes the next byte. Matching is over
 * bytes; a leading dot is not special; a pattern matches the whole path. A pattern that starts
 * neither with `/` nor `~` nor `**` is taken as one that starts with a double star component.
 */
#ifndef OKNEK_CORE_GLOB_H
#define OKNEK_CORE_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#define GLOB_COMPONENTS_MAX 64
#define GLOB_ALTERNATIVES_MAX 256

struct glob; /* one pattern with braces expanded: a list of alternatives of components */

/* Compiles; on failure -EINVAL and *why is a static text ("unclosed bracket"). */
int glob_compile(const char *pattern, struct glob **ret, const char **why);
void glob_free(struct glob *g);
const char *glob_source(const struct glob *g);

/* Does the absolute path match? home: what `~` means, without trailing slash; NULL: `~` matches
 * nothing. Allocates nothing; linear in pattern times path. */
bool glob_match(const struct glob *g, const char *path, const char *home);

enum glob_reach {
	GLOB_NONE = 0,
	GLOB_BELOW = 1,  /* some path below this one could match */
	GLOB_HERE = 2,   /* this path matches */
	/* the two may be both set */
};

/* Could the path, or something below it, match? For deciding which directories to mark. */
unsigned glob_reach(const struct glob *g, const char *path, const char *home);

/* Rooted patterns start at `/` or `~`; floating ones (`**` first) can match anywhere. */
bool glob_is_floating(const struct glob *g);
bool glob_uses_home(const struct glob *g);

/* Matches one component or a plain string, without slash rules: `*` crosses anything. */
bool glob_match_string(const struct glob *g, const char *string);

#endif
