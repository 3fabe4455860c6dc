/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer, and the two escapings that a record's strings go through: first to text
 * that no terminal and no reader can be fooled by, then to JSON. */
#ifndef OKNEK_STORE_TEXT_H
#define OKNEK_STORE_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A zeroed one is empty. After a failed allocation `failed` stays set and puts do nothing. */
struct text {
	char *p; /* NUL-terminated unless NULL */
	size_t n, cap;
	bool failed;
};

void text_free(struct text *t);  /* for _cleanup_(text_free) too */
void text_clear(struct text *t); /* keeps the memory */
void text_put(struct text *t, const void *data, size_t len);
void text_puts(struct text *t, const char *s);
void text_int(struct text *t, int64_t n);

/*
 * Appends bytes as they may be shown: control bytes, DEL, C1 controls, bytes that are not UTF-8,
 * and characters that reorder or hide text (bidi controls, zero-width, line separators, tags) as
 * `\xNN` for each byte. Returns true when something was altered.
 */
bool text_visible(struct text *t, const char *s, size_t len);

/* The same as a JSON string with its quotes. Canonical: only `"` and `\` are left to escape. */
bool text_json(struct text *t, const char *s, size_t len);
/* A NUL-terminated one; NULL or "" gives null. */
void text_json_or_null(struct text *t, const char *s);

/* A JSON value in canonical form (RFC 8785): keys sorted, no space, strings made visible and
 * secrets masked, numbers that are not integers as strings. */
void text_json_value(struct text *t, const json_t *v);

void text_base64(struct text *t, const void *data, size_t len);
void text_hex(struct text *t, const void *data, size_t len);

#endif
