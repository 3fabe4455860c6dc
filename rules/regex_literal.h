/* SPDX-License-Identifier: Apache-2.0 */
/* What a regular expression needs to match. */
#ifndef OKNEK_RULES_REGEX_LITERAL_H
#define OKNEK_RULES_REGEX_LITERAL_H

#include <stddef.h>

#define REGEX_LITERAL_ROOM 1024 /* bytes of the longest pattern */

/* Into ret (as long as pattern, at most REGEX_LITERAL_ROOM, not ended by NUL) a text that occurs
 * in whatever the pattern matches. Returns its length, 0: none is known. For a pattern that
 * compiles, without options that change what its bytes mean. */
size_t regex_literal_find(const char *pattern, char *ret);

#endif
