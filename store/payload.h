/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a journal record carries: a flat copy of everything the evidence needs, since rules, trees
 * and the event itself may be gone when the record is made. Host byte order; it never leaves the
 * host. Strings longer than the limits below are cut.
 */
#ifndef OKNEK_STORE_PAYLOAD_H
#define OKNEK_STORE_PAYLOAD_H

#include "core/bus.h"
#include "core/rule.h"

#define PAYLOAD_PATH_MAX 4096 /* PATH_MAX of linux/limits.h */
#define PAYLOAD_ARGV_MAX 32768 /* as much as rules compare, RULES_ARGV_MAX */
#define PAYLOAD_NAME_MAX 256
#define PAYLOAD_OWN_MAX 16384 /* bytes of `capture` of a record of our own */

/* Bytes that payload_write() needs for this note. */
size_t payload_size(const struct verdict_note *note);
/* buf has payload_size() bytes. time_unix_ns: when the event happened. */
void payload_write(const struct verdict_note *note, int64_t time_unix_ns, void *buf);

size_t payload_own_size(const char *rule_id, const char *name, const char *json);
void payload_own_write(const char *rule_id, const char *name, const char *json,
		       int64_t time_unix_ns, void *buf);

struct payload_fired {
	const char *id, *part, *name, *pack;
	unsigned version;
	enum verdict action;
	enum mechanism mechanism;
	uint64_t retain_s;
	const char *path; /* the name of the object that matched */
	unsigned n_capture;
	enum field_id capture[RULE_CAPTURE_MAX];
};

/* The copy, read back; strings point into it and are never NULL ("" where not known). */
struct payload {
	bool own;
	int64_t time_unix_ns;
	/* own */
	const char *own_id, *own_name, *own_json;
	/* otherwise */
	enum event_kind kind;
	enum verdict verdict;
	enum mode mode;
	enum mechanism mechanism;
	enum decided_by by;
	enum open_mode open_mode;
	enum egress_class egress;
	bool gateway_set;
	bool permission; /* an answer was due; of a process that was killed: before it did anything */
	bool member;     /* agent, session and root_pid are known */
	bool has_addr;
	pid_t pid, ppid, root_pid;
	uid_t uid, auid;
	const char *comm, *exe, *cgroup, *lineage, *agent, *session, *source, *category;
	const char *path; /* of a file, an executable, an AF_UNIX socket */
	const char *host, *protocol;
	const char *argv; /* NUL between arguments */
	size_t argv_len_bytes;
	bool argv_cut; /* there was more */
	uint8_t addr[16];
	uint16_t port;
	unsigned n_fired, n_fired_more;
	struct payload_fired fired[FIRED_MAX];
};

/* Every length and value is checked. 0, or -EBADMSG. */
int payload_read(const void *buf, size_t len_bytes, struct payload *ret);

#endif
