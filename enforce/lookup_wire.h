/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What client, zygote and helper of a lookup say to each other over SOCK_SEQPACKET. A message is
 * a fixed head and up to four texts, each with its length in the head; both sides check every
 * length before they look at anything. The helper holds more power than an agent, but it reads
 * what agents wrote: its answers are taken as hostile.
 */
#ifndef OKNEK_ENFORCE_LOOKUP_WIRE_H
#define OKNEK_ENFORCE_LOOKUP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/pathset.h"
#include "enforce/lookup.h"

#define WIRE_MAGIC 0x6f6b6c6bu
#define WIRE_TEXTS 4
/* The longest: LOOKUP_DEPTH_MAX names of NAME_MAX below a home of PATH_MAX, and some. */
#define WIRE_PATH_MAX 12288
#define WIRE_SIZE_MAX 65536 /* struct lookup_process, or a list of roots */

enum wire_op {
	WIRE_PATTERNS = 1, /* descriptor: memfd of pathset_write() */
	WIRE_ROOTS,        /* text 0: paths, NUL after each */
	WIRE_HOME,         /* uid → text 0 */
	WIRE_GROUP,        /* text 0 name → value */
	WIRE_UID,          /* the same of a user */
	WIRE_GROUPS,       /* uid → text 0: gid_t each, the primary first; none: nobody knows it */
	WIRE_USER,         /* uid; text 0 as above: who walks in EXPAND and CHILD from here on */
	WIRE_EXPAND,       /* uid; texts: home, project */
	WIRE_CHILD,        /* uid; texts: home, project, directory, name; descriptor */
	WIRE_HANDLE,       /* fsid, type; texts: home, project, path, handle */
	WIRE_PROCESS,      /* pid → texts exe, cwd, cmdline, environ */
	WIRE_DESCRIPTORS,  /* pid */
	WIRE_GO,           /* after FOUND: what was found is dealt with */
	WIRE_OP_MAX = WIRE_GO,
};

struct wire_request {
	uint32_t magic, op;
	uint64_t seq;
	uint64_t fsid;
	uint32_t uid;
	int32_t pid;
	int32_t handle_type;
	uint32_t len[WIRE_TEXTS];
	uint32_t pad;
};

enum wire_kind {
	WIRE_DONE = 1,   /* err, value; the texts of HOME and PROCESS */
	WIRE_FOUND,      /* texts: path, via, handle; descriptor */
	WIRE_GAP,        /* texts: path, why */
	WIRE_DESCRIPTOR, /* value: its number; dev, ino; text 0: path */
	WIRE_KIND_MAX = WIRE_DESCRIPTOR,
};

enum wire_bits { WIRE_DIR = 1, WIRE_HERE = 2, WIRE_BELOW = 4, WIRE_SYSTEM = 8, WIRE_BITS = 15 };

struct wire_reply {
	uint32_t magic, kind;
	uint64_t seq;
	uint64_t value, dev, ino;
	int32_t err;
	uint32_t bits;
	uint32_t verdict;
	int32_t handle_type;
	uint32_t len[WIRE_TEXTS];
};

struct wire_text {
	const char *p; /* NUL-terminated besides its length */
	size_t len_bytes;
};

/* Zygote: SPAWN brings the helper's end of a new pair; the helper before is killed, hung or not. */
enum zygote_op { ZYGOTE_SPAWN = 1, ZYGOTE_KILL, ZYGOTE_QUIT };

struct zygote_request {
	uint32_t magic, op;
	uint64_t seq;
};

struct zygote_reply {
	uint32_t magic;
	int32_t pid; /* or -errno */
	uint64_t seq;
};

/* Sends head and texts as one message; fd -1: none. flags as send(2). 0 or -errno. */
int wire_send(int sock, void *head, size_t head_bytes, uint32_t len[WIRE_TEXTS],
	      const struct wire_text *texts, int fd, int flags);
/* A message without texts, never waiting. */
int wire_send_short(int sock, const void *msg, size_t msg_bytes, int fd);
/* Receives one message of at most size bytes and at most one descriptor (-1: none). Returns its
 * length, 0 at the end, -EBADMSG for one that was cut or brought more than one descriptor (all
 * closed), -errno. */
ssize_t wire_recv(int sock, void *buf, size_t size, int *fd, int flags);

/* Checks a message of n bytes, with or without a descriptor, in all it says: -EBADMSG. The texts
 * point into buf. */
int wire_parse_reply(const void *buf, size_t n, bool with_fd, struct wire_reply *head,
		     struct wire_text texts[WIRE_TEXTS]);
int wire_parse_request(const void *buf, size_t n, bool with_fd, struct wire_request *head,
		       struct wire_text texts[WIRE_TEXTS]);

#endif
