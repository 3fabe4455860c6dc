/* SPDX-License-Identifier: Apache-2.0 */
/* What a document looks like while it is read: shared by yaml.c and yaml_plain.c, nobody else. */
#ifndef OKNEK_CORE_YAML_IMPL_H
#define OKNEK_CORE_YAML_IMPL_H

#include "core/pool.h"
#include "core/yaml.h"

struct document {
	struct yaml_node *root;
	size_t from, to; /* bytes of text */
};

struct yaml_doc {
	struct pool *pool;
	const char *file;
	const char *text; /* no NUL inside, one at the end */
	struct document *docs;
	size_t n_docs, cap_docs;
};

int yaml_doc_add(struct yaml_doc *d, struct document add); /* -ENOMEM */

/*
 * The documents of d->text, when all of it is written in the plain manner that this knows: block
 * maps and lists, flow ones of them, scalars on one line: 1. 0: something else is in it, be it an
 * error; d has no documents then. -ENOMEM. The tree is the one libyaml's events make.
 */
int yaml_read_plain(struct yaml_doc *d, size_t len_bytes);

#endif
