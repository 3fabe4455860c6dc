/* SPDX-License-Identifier: Apache-2.0 */
/* What a compiled pattern looks like: shared by glob_compile.c and glob.c, nobody else. */
#ifndef OKNEK_CORE_GLOB_IMPL_H
#define OKNEK_CORE_GLOB_IMPL_H

#include "core/glob.h"

enum component_kind {
	ANY,         /* `*` alone */
	LITERAL,
	PREFIX,      /* `abc*` */
	SUFFIX,      /* `*abc` */
	WILD,        /* anything else within one component */
	DOUBLE_STAR, /* any number of components; never the last one: see close_tail() */
};

struct component {
	enum component_kind kind;
	const char *text; /* unquoted for LITERAL, PREFIX and SUFFIX; the pattern for WILD */
	size_t len_bytes;
};

struct alternative {
	enum glob_root root;
	unsigned n;
	struct component *components; /* one block of memory with what they and text point to */
	char *text; /* the pattern with braces expanded */
};

struct glob {
	_Atomic unsigned refs;
	size_t n;
	struct alternative *alternatives;
	struct alternative first; /* most have no more: it needs no array */
	char source[];
};

/*
 * The bracket expression at p[i] == '['. 1 if c is in it, 0 if not, -1 if it is malformed; *end is
 * the index after it. `]` first is an ordinary member.
 */
int glob_bracket_scan(const char *p, size_t len, size_t i, unsigned char c, size_t *end);

#endif
