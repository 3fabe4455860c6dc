/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the parser of audit records share. */
#ifndef OKNEK_SOURCES_AUDIT_PARSE_PRIV_H
#define OKNEK_SOURCES_AUDIT_PARSE_PRIV_H

#include "sources/audit_parse.h"

#define AUDIT_ENRICHED 0x1d /* what auditd adds in its own words stands behind it */

struct audit_slot {
	struct audit_event ev;
	bool used, ended, closed;
	bool has_argc;
	uint64_t argc;
	unsigned items;
	bool has_items;
	uint64_t next_arg, next_part; /* of EXECVE: what is to come next */
	bool in_parts;                /* the next argument has begun */
	uint64_t told, told_len;      /* of that one, characters; as its length says, 0: it does not */
	size_t text_used;             /* strings from the beginning, */
	size_t argv_at;               /* arguments behind these when they begin; 0: not yet */
	char text[AUDIT_TEXT_BYTES];
};

/* ---- audit_field.c ------------------------------------------------------------------------- */

struct audit_field {
	const char *name, *value;
	size_t name_len, len;
	bool quoted;
};

/* 1, 0 at the end, -EPROTO. Words that are no field are passed over. */
int audit_field_next(const char **at, const char *end, struct audit_field *f);
bool audit_field_is(const struct audit_field *f, const char *name);
bool audit_field_says(const struct audit_field *f, const char *value); /* not between quotes */
/* All -EPROTO when it is none. */
int audit_number_of(const char *p, size_t len, unsigned base, uint64_t *ret);
int audit_field_number(const struct audit_field *f, unsigned base, uint64_t *ret);
int audit_field_signed(const struct audit_field *f, int64_t *ret);
/* A pid, a uid: of 32 bits, as the kernel prints it, which may be with a sign. */
int audit_field_number32(const struct audit_field *f, uint32_t *ret);
/* What a field stands for, at most size bytes of it (*cut: there were more). -ENODATA: it says that
 * there is nothing. -EPROTO. */
ssize_t audit_field_decode(const struct audit_field *f, char *buf, size_t size, bool *cut);
/* A name into the event's text. It holds no NUL; one that found no room is not told. */
int audit_take_name(struct audit_slot *s, const struct audit_field *f, const char **ret);

/* ---- audit_record.c ------------------------------------------------------------------------ */

typedef int audit_record_parser(struct audit_slot *s, const char *at, const char *end);
audit_record_parser *audit_record_parser_of(unsigned type); /* NULL: of no interest */
void audit_end_arg(struct audit_slot *s); /* of an argument that was told in parts: there is no more */

#endif
