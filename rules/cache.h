/* SPDX-License-Identifier: Apache-2.0 */
/* Documents, read through a cache; shared by the files of rules/ only. */
#ifndef OKNEK_RULES_CACHE_H
#define OKNEK_RULES_CACHE_H

#include "core/yaml.h"

struct rules_cache;

/* As yaml_load_file() and yaml_load_buffer(), but what was read from the same bytes under the same
 * name is not read again. c NULL: it always is. *ret has a reference of its own. */
int cache_load_file(struct rules_cache *c, const char *path, struct yaml_doc **ret, char err[512]);
int cache_load_buffer(struct rules_cache *c, const char *file, const void *data, size_t len_bytes,
		      struct yaml_doc **ret, char err[512]);

/* After the last document of a set. loaded: what the set was not made of goes; else files that were
 * new do. c may be NULL. */
void cache_settle(struct rules_cache *c, bool loaded);

#endif
