/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML document as a tree that remembers lines: what rules and oknek.yaml are read from. Bounded
 * in size, depth and nodes; no aliases, no tags, no duplicate keys, UTF-8 only: a hostile file
 * gets an error, not our memory.
 */
#ifndef OKNEK_CORE_YAML_H
#define OKNEK_CORE_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define YAML_SIZE_MAX (1u << 20) /* bytes of one file */
#define YAML_DEPTH_MAX 32
#define YAML_NODES_MAX 65536

enum yaml_type { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_type type : 8;
	bool quoted : 1; /* scalar in quotes: a string whatever it looks like */
	unsigned line;   /* from 1 */
	const char *scalar; /* no NUL inside */
	size_t n;                  /* children */
	struct yaml_node **items;  /* list elements, or map values */
	struct yaml_node **keys;   /* map keys (scalars) */
};

struct yaml_doc;

/* The bytes of a regular file, for free(); at most one more than YAML_SIZE_MAX. Never waits on a FIFO.
 * err gets `file: message`. -EINVAL, -EFBIG, -ENOMEM, -errno. */
int yaml_read_file(const char *path, char **ret, size_t *len_bytes, char err[512]);

/* All documents of a file (`---` between them; empty ones are left out). err gets `file:line:
 * message`. -EINVAL, -EFBIG, -errno. One doc owns all its documents' nodes, which nobody changes; it
 * has one reference, and yaml_doc_free() drops one. Not for several threads at once. */
int yaml_load_file(const char *path, struct yaml_doc **ret, char err[512]);
int yaml_load_buffer(const char *file, const void *data, size_t len_bytes, struct yaml_doc **ret,
		     char err[512]);
void yaml_doc_free(struct yaml_doc *d);
struct yaml_doc *yaml_doc_ref(struct yaml_doc *d);
/* Is it what yaml_load_buffer() would make of these bytes, under the same name? */
bool yaml_doc_is_of(const struct yaml_doc *d, const void *data, size_t len_bytes);
size_t yaml_doc_count(const struct yaml_doc *d);
const struct yaml_node *yaml_doc_root(const struct yaml_doc *d, size_t i);
const char *yaml_doc_file(const struct yaml_doc *d);
/* Document i as it was written; not NUL-ended. */
const char *yaml_doc_text(const struct yaml_doc *d, size_t i, size_t *len_bytes);

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key); /* or NULL */
/* -EINVAL when the scalar is not one. */
int yaml_bool(const struct yaml_node *n, bool *ret);
int yaml_int(const struct yaml_node *n, int64_t *ret);
/* "90d" "12h" "2w" "1y" "10m" "30s" */
int yaml_duration_s(const struct yaml_node *n, uint64_t *ret);
/* The same, and "250ms", in nanoseconds. */
int yaml_duration_ns(const struct yaml_node *n, uint64_t *ret);

/* Writes `file:line: message` on one line (control bytes become '?'; line 0 is left out) and
 * returns -EINVAL. */
int yaml_fail(char err[512], const char *file, unsigned line, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* n is a map and holds no other keys than these (NULL-ended), else -EINVAL and err. what: for the
 * message, as in "rule". */
int yaml_check_keys(const struct yaml_node *n, const char *file, const char *what,
		    const char *const *allowed, char err[512]);

#endif
