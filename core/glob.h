/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path patterns of rules. `*` `?` `[a-z]` `[!a]` within one component, `**` for any number of
 * components (none included) when it stands alone between slashes, `{a,b}` alternatives (nested),
 * `~` or `~/…` at the start for a home directory, `\` quotes the next byte. Matching is over
 * bytes; a leading dot is not special; a pattern matches the whole path. A pattern that starts
 * neither with `/` nor `~` nor `**` is taken as one that starts with a double star component.
 *
 * A double star that ends a pattern stands for at least one component: it means all that is below
 * a directory, not the directory itself. In patterns and paths `//`, `/./` and a trailing slash
 * mean nothing; `..` is refused in patterns and is an ordinary name in paths. A `**` that does not
 * stand alone is `*`.
 */
#ifndef OKNEK_CORE_GLOB_H
#define OKNEK_CORE_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#define GLOB_COMPONENTS_MAX 64
#define GLOB_ALTERNATIVES_MAX 256
#define GLOB_BRACES_MAX 64        /* pairs of braces on the way to one alternative */
#define GLOB_LENGTH_MAX_BYTES 4096 /* PATH_MAX of linux/limits.h */

struct glob; /* one pattern with braces expanded: a list of alternatives of components */

/* Compiles; on failure -EINVAL (-ENOMEM) and *why is a static text ("unclosed bracket"). */
int glob_compile(const char *pattern, struct glob **ret, const char **why);
/* Several may hold one, in any thread: it never changes. */
struct glob *glob_ref(struct glob *g);
void glob_free(struct glob *g); /* gives up one reference; NULL is fine */
const char *glob_source(const struct glob *g);

/* Does the absolute path match? home: what `~` means, without trailing slash; NULL: `~` matches
 * nothing. Allocates nothing; linear in pattern times path. */
bool glob_match(const struct glob *g, const char *path, const char *home);
/* Would it, if any directory above the path, or what it names, were the home? */
bool glob_match_any_home(const struct glob *g, const char *path);

enum glob_reach {
	GLOB_NONE = 0,
	GLOB_BELOW = 1,  /* some path below this one could match */
	GLOB_HERE = 2,   /* this path matches */
	/* the two may be both set */
};

/* Could the path, or something below it, match? For deciding which directories to mark. */
unsigned glob_reach(const struct glob *g, const char *path, const char *home);

/* Rooted patterns start at `/` or `~`; floating ones (`**` first) can match anywhere. Of a pattern
 * with braces: does any alternative? */
bool glob_is_floating(const struct glob *g);
bool glob_uses_home(const struct glob *g);

/* Matches one component or a plain string, without slash rules: `*` crosses anything. */
bool glob_match_string(const struct glob *g, const char *string);

/*
 * One pattern as text, without braces and not compiled: for tables of constants. `~` as above; a
 * path that is not absolute is matched, by patterns that start with a double star only, as if it
 * stood at the root.
 */
bool glob_match_text(const char *pattern, const char *path, const char *home);

enum glob_root { GLOB_AT_ROOT, GLOB_AT_HOME, GLOB_FLOATING };

size_t glob_alternatives(const struct glob *g);
/* Alternative i as a pattern without braces. */
const char *glob_text(const struct glob *g, size_t i);
/* As glob_match() and glob_reach(), for alternative i alone. */
unsigned glob_reach_alternative(const struct glob *g, size_t i, const char *path,
				const char *home);

/*
 * For walking a directory tree beside a pattern: component k of alternative i, false past the
 * last. A double star is never the last. Two parts of equal kind and text match the same names.
 */
enum glob_part_kind { GLOB_PART_LITERAL, GLOB_PART_WILD, GLOB_PART_DOUBLE_STAR };

/* What part.text is of the names that a part takes. */
enum glob_fixed { GLOB_FIXED_NOT, GLOB_FIXED_ALL, GLOB_FIXED_START, GLOB_FIXED_END };

struct glob_part {
	enum glob_part_kind kind;
	enum glob_fixed fixed; /* NOT: text is the pattern, as it is written */
	unsigned detail;  /* more of the kind, for comparing */
	const char *text; /* not NUL-terminated; the name itself for LITERAL */
	size_t len_bytes;
};

bool glob_part(const struct glob *g, size_t i, unsigned k, struct glob_part *ret);
/* Does it take this name? Never for a double star. */
bool glob_part_match(const struct glob *g, size_t i, unsigned k, const char *name,
		     size_t len_bytes);
enum glob_root glob_root(const struct glob *g, size_t i);

/* Components of a path as the matcher sees them: NULL at the end. *at moves past the component. */
const char *glob_next_component(const char **at, size_t *len_bytes);
/* What is left of path after the components of home: NULL when it is not home or below it. *above
 * (may be NULL) says whether path is a directory above home. */
const char *glob_below_home(const char *path, const char *home, bool *above);

#endif
