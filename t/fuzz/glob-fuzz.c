/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: a pattern, NUL, a path. What compiles must match as the slow matcher says, and what
 * matches must reach its own ancestors.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/glob.h"
#include "core/pathset.h"
#include "t/slow_glob.h"

#define HOME "/home/u"
/* The slow matcher takes exponential time, that is its point: short inputs, few stars. */
#define LENGTH_MAX_BYTES 64
#define STARS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *pattern, const char *path)
{
	const char *why = NULL, *slash;
	struct glob *g;
	struct pathset *set;
	char above[2 * LENGTH_MAX_BYTES + 2];
	unsigned reach;
	size_t stars = 0;
	bool match;

	if (glob_compile(pattern, &g, &why) < 0) {
		if (!why)
			abort();
		return;
	}
	for (const char *p = pattern; *p; p++)
		stars += *p == '*';
	match = glob_match(g, path, HOME);
	if (stars <= STARS_MAX && *path == '/' && slow_glob_match(pattern, path, HOME) != match)
		abort();
	reach = glob_reach(g, path, HOME);
	if (!(reach & GLOB_HERE) != !match)
		abort();
	if (!strpbrk(pattern, "{") && *path == '/' &&
	    (*pattern == '/' || *pattern == '~' || !strncmp(pattern, "**/", 3)) &&
	    glob_match_text(pattern, path, HOME) != match)
		abort();
	glob_match_string(g, path);

	/* what matches below a directory makes the directory reach below */
	if (match) {
		strcpy(above, path);
		for (slash = path + strlen(path); slash > path; slash--) {
			const char *at = slash;
			size_t len;

			if (*slash != '/' || !glob_next_component(&at, &len))
				continue;
			above[slash - path] = '\0';
			if (!(glob_reach(g, above, HOME) & GLOB_BELOW))
				abort();
		}
	}

	if (pathset_new(&set) == 0) {
		if (pathset_add(set, pattern, VERDICT_BLOCK, false, 1) == 0 &&
		    pathset_reach(set, path, HOME, NULL) != reach)
			abort();
		pathset_unref(set);
	}
	glob_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char pattern[LENGTH_MAX_BYTES + 1], path[LENGTH_MAX_BYTES + 1];
	const uint8_t *nul = memchr(data, '\0', size);
	size_t n, m;

	if (!nul)
		return 0;
	n = (size_t)(nul - data);
	m = strnlen((const char *)nul + 1, size - n - 1);
	if (n > LENGTH_MAX_BYTES || m > LENGTH_MAX_BYTES)
		return 0;
	memcpy(pattern, data, n + 1);
	memcpy(path, nul + 1, m);
	path[m] = '\0';
	check(pattern, path);
	return 0;
}
