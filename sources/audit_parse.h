/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's audit records, put together: a state machine over a fixed pool, without system calls
 * and without allocating once it is made. Records of an event share a serial number; those of several
 * come mixed. Everything in them is hostile: names are told either between quotes, and then hold none
 * and no space, or in hexadecimal, so that no name can pass for a field; of a field told twice the
 * first counts. For sources/audit.c, its tests and its fuzzer.
 */
#ifndef OKNEK_SOURCES_AUDIT_PARSE_H
#define OKNEK_SOURCES_AUDIT_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/event.h"

#define AUDIT_SLOTS 32	      /* events under way */
#define AUDIT_TEXT_BYTES 24576 /* of one event: its names and arguments */
#define AUDIT_ARGV_BYTES 4096
#define AUDIT_PATHS 8
#define AUDIT_URING_OPS 8
#define AUDIT_PATIENCE_NS UINT64_C(2000000000) /* an event whose rest is not told ends then */
#define AUDIT_RECORD_MAX 9216 /* MAX_AUDIT_MESSAGE_LENGTH is 8970, linux/audit.h */

enum audit_nametype { AUDIT_NAME_OTHER, AUDIT_NAME_NORMAL, AUDIT_NAME_PARENT, AUDIT_NAME_CREATE };

struct audit_path {
	const char *name; /* as it was given; NULL: not told */
	uint64_t dev, ino; /* ino 0: not told */
	enum audit_nametype type;
	unsigned item;
};

/* Strings are "" where they are not known. */
struct audit_event {
	uint32_t serial;
	int64_t time_ms; /* wall clock */
	uint64_t seen_ns; /* of its first record, as the caller said */
	bool partial;     /* something of it was lost, or found no room */
	bool has_syscall; /* the fields from arch on; without: io_uring's alone */
	bool success;
	uint32_t arch, syscall;
	int64_t exit;
	uint64_t args[4];
	pid_t pid, ppid;
	uid_t auid, uid, euid;
	const char *comm, *exe, *key, *cwd;
	bool has_how; /* openat2() */
	uint64_t how_flags;
	unsigned n_uring;
	struct {
		unsigned op;
		bool success;
		int64_t exit;
	} uring[AUDIT_URING_OPS];
	bool uring_opened; /* one of them did, also of those that found no room */
	unsigned n_paths;
	struct audit_path paths[AUDIT_PATHS]; /* by item */
	const char *argv; /* NUL after each; NULL: not told */
	size_t argv_len_bytes;
	bool argv_cut;
	uint8_t saddr[128];
	size_t saddr_len_bytes;
};

struct audit_figures {
	uint64_t records;   /* of kinds that are looked at */
	uint64_t malformed;
	uint64_t partial;   /* events of which something is missing */
	uint64_t orphans;   /* events without what they are about */
};

struct audit_parser;

int audit_parser_new(struct audit_parser **ret); /* -ENOMEM */
void audit_parser_free(struct audit_parser *p);

/*
 * One record: its type and its text (no NUL needed). now_ns: any clock that does not go back. 0, also
 * when it is of no interest, or -EPROTO. Whoever calls takes all of audit_parser_next() between two
 * records: an event that has waited longest gives way to a new one.
 */
int audit_parser_record(struct audit_parser *p, unsigned type, const char *text, size_t len_bytes,
			uint64_t now_ns);
/* The next event that is complete, or whose rest nobody waits for any more; NULL: none. Valid until
 * the next call. */
const struct audit_event *audit_parser_next(struct audit_parser *p, uint64_t now_ns);
bool audit_parser_waits(const struct audit_parser *p); /* for the rest of some event */
void audit_parser_figures(const struct audit_parser *p, struct audit_figures *ret);

/* Is one of the event's keys (there may be several, \001 between them) this one? */
bool audit_event_has_key(const struct audit_event *e, const char *key);

/* ---- what was done ------------------------------------------------------------------------- */

#define AUDIT_FULL_PATH 8448

/* One action of an event. What it points to is the event's or its own. */
struct audit_action {
	enum event_kind kind;
	bool refused; /* for want of permission; else it was done */
	/* FILE_OPENED: names[0] is absolute, unless `base` says that it begins at a descriptor of the
	 * process; n_names 0: not told. result: the descriptor it got, -1 none. */
	int base; /* -1: none */
	const char *given; /* the name as it was given, NULL: not told */
	int result;
	struct file_object file;
	struct exec_object exec;
	struct dest_object dest;
	/* Of a destination: io_uring's; it could not be reached at once, and is tried again; the address is
	 * not told; nor is it sure, which of what was done it is of. */
	bool uring, again, unknown, unsure;
	char path[AUDIT_FULL_PATH];
	char socket_path[128];
};

/* The nth action, from 0, of those that rules ask about. False: there are no more. */
bool audit_event_action(const struct audit_event *e, unsigned nth, struct audit_action *ret);

/* dir and name, without ".", ".." and double slashes; false: no room. */
bool audit_join(const char *dir, const char *name, char *buf, size_t size);

/* ---- system calls ----------------------------------------------------------------------------- */

enum audit_call {
	AUDIT_CALL_OTHER,
	AUDIT_CALL_OPEN,
	AUDIT_CALL_OPENAT,
	AUDIT_CALL_OPENAT2,
	AUDIT_CALL_CREAT,
	AUDIT_CALL_EXEC,
	AUDIT_CALL_CONNECT,
	AUDIT_CALL_SEND,    /* to an address that is given with it */
	AUDIT_CALL_SOCKET,  /* socketcall(2): one of several */
	AUDIT_CALL_URING,
};

enum audit_call audit_call_of(uint32_t arch, uint32_t nr);
/* The number of the nth call of an architecture that is of interest, -1: no more. */
int audit_call_number(uint32_t arch, unsigned nth);
/* The same for operations of io_uring. */
int audit_uring_number(unsigned nth);
bool audit_uring_opens(unsigned op);
bool audit_uring_reaches(unsigned op); /* connects, or sends to an address */

#endif
