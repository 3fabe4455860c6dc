/* SPDX-License-Identifier: Apache-2.0 */
/* Access to the field table of core/fields.def, and to the fields every event carries. */
#ifndef OKNEK_CORE_FIELD_H
#define OKNEK_CORE_FIELD_H

#include "core/event.h"

enum field_id {
#define FIELD(id, name, kinds, type, meaning) FIELD_##id,
#include "core/fields.def"
#undef FIELD
	FIELD_COUNT
};

enum field_type {
	FIELD_TYPE_STRING,
	FIELD_TYPE_PATH,
	FIELD_TYPE_NUMBER,
	FIELD_TYPE_ADDRESS,
	FIELD_TYPE_TIME,
	FIELD_TYPE_OBJECT,
};

struct field_info {
	const char *name;
	unsigned kinds; /* bit per enum event_kind */
	enum field_type type;
	const char *meaning;
};

const struct field_info *field_info(enum field_id id);
int field_by_name(const char *name); /* enum field_id or -ENOENT */

/* A value borrowed from the event; null where the event does not have it. */
struct field_value {
	bool null;
	bool is_number;
	int64_t number;
	const char *string;
	char buf[256]; /* storage of formatted values (NAME_MAX and a NUL); string may point here */
};

/*
 * The plain fields, read straight from the event. Null here: what detectors compute, and `argv`
 * and `bash_command`, which need a caller's buffer (field_argv()). name_index: which of
 * file.names[] PATH means. category (may be NULL) is matched_category; clock (may be NULL: time
 * fields are null) gives the time. wall_clock is given in UTC, because struct wall_clock does not
 * say the minutes of the local offset; records have it in local time. Makes no system call,
 * allocates nothing.
 */
void field_get(const struct event *ev, enum field_id id, unsigned name_index,
	       const char *category, const struct wall_clock *clock, struct field_value *ret);

/* AF_UNIX sockets and raw ones have no address. */
bool field_has_address(const struct dest_object *d);
/* And no port; 0 is one where there is an address. */
bool field_has_port(const struct dest_object *d);

/* Arguments joined by spaces into buf, NUL-terminated, cut at size_bytes; an argument's own bytes
 * are kept as they are. Returns the length without the NUL. size_bytes > 0. */
size_t field_argv(const struct exec_object *x, char *buf, size_t size_bytes);
/* bash_command in the same manner: the script that a shell is given with -c. 0 where the program
 * is no shell, by its path or by its argv[0], or where it is given none. */
size_t field_shell_script(const struct exec_object *x, char *buf, size_t size_bytes);
/* The same, where it is among the arguments; NULL: there is none. */
const char *field_shell_find(const struct exec_object *x, size_t *len_bytes);
/* *more: the arguments were cut before the end of the script, or before it was known whether there is
 * one. */
const char *field_shell_look(const struct exec_object *x, size_t *len_bytes, bool *more);

/*
 * chain_depth: how many commands a shell script chains, by ; & && || | |& and newlines, those in
 * $(…), `…`, <(…) and (…) counted too; quoted text, comments, here-documents but for the substitutions
 * in them, arithmetic and reserved words are not. Loops count once, functions where they are defined,
 * and what eval or another shell is given not at all. Where shells differ the highest counts; where
 * something is not closed, or may be read otherwise, all that its operators part. fn (may be NULL) is
 * called with each as it ends: what is nested comes before what it is in. Neither allocates nor
 * recurses.
 */
unsigned field_chain(const char *script, size_t len_bytes,
		     void (*fn)(void *arg, const char *command, size_t len_bytes), void *arg);
/* Of an exec: 0 where there is no script. *more (may be NULL): there may be more than that, for
 * the script was cut, or what stands before it was. */
unsigned field_chain_depth(const struct exec_object *x, bool *more);

#endif
