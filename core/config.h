/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/oknek/oknek.yaml and oknek.yaml.d/: what the administrator wants. See oknek.yaml(5). */
#ifndef OKNEK_CORE_CONFIG_H
#define OKNEK_CORE_CONFIG_H

#include "core/address.h"
#include "core/event.h"

struct yaml_doc;
struct yaml_node;

#define DEADLINE_DEFAULT_NS 1000000000ULL
#define DEADLINE_MAX_NS 10000000000ULL
#define HOLD_DEFAULT_NS 60000000000ULL /* for an operator */
#define HOLD_MAX_NS 600000000000ULL

/* Where something was said, for whoever finds out later that it cannot be meant. */
struct config_place {
	char *file;
	unsigned line;
};

/* Which events are kept so that other rules can be tried on them. */
enum capture_events { CAPTURE_OFF, CAPTURE_MATCHED, CAPTURE_ALL };
struct config_capture {
	enum capture_events events; /* capture: off | matched | all; default off */
	uint64_t max_size_bytes;    /* capture.max_size; default 256 MiB */
	uint64_t max_age_s;         /* capture.max_age; default 14d */
};

/* One key under a rule: there is an entry for its action, another for its threshold. */
struct config_override {
	char *rule; /* "R3" or "R3/dotenv" */
	enum config_override_key { OVERRIDE_ACTION, OVERRIDE_THRESHOLD, OVERRIDE_ON_BLOCK } key;
	enum verdict action;
	bool hold;
	int64_t threshold;
	struct config_place at;
};

/* One line of `readers:`: this executable may read what the rule protects. Shipped off (none). */
struct config_reader {
	char *rule; /* "R3/aws" */
	char *exe;  /* absolute path; counts only if owned by root and not group- or world-writable */
	struct config_place at;
};

/* An entry of `exceptions:`; all of it is the document's. */
struct config_exception {
	const char *rule; /* "R3" or "R3/dotenv" */
	const struct yaml_node *match; /* what the rule language makes of it is its own matter */
	const char *reason, *author;
	const char *expires;    /* as written; NULL never */
	int64_t expires_unix_s; /* from here on it has no effect; INT64_MAX never */
	const char *file;
	unsigned line;
};

struct config_destination {
	char *text; /* as written */
	struct address address;
	struct config_place at;
};

struct config_destinations {
	struct config_destination *v;
	size_t n;
	bool given;
};

#define EGRESS_LOOPBACK_PORTS 64

struct config_egress { /* egress: */
	struct config_destinations gateway, allow;
	struct config_destinations resolvers; /* not given: those of resolv.conf(5) */
	enum { LOOPBACK_ALL, LOOPBACK_NONE, LOOPBACK_PORTS } loopback;
	struct config_ports {
		uint16_t from, to;
	} ports[EGRESS_LOOPBACK_PORTS];
	size_t n_ports;
	char **allow_unix; /* paths of sockets, NULL-ended; NULL: none */
	bool keep;         /* jail_on_exit: keep; default open */
};

/* Who may what on the control socket; later ones may do what earlier ones may. */
enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN };
#define ROLES_MAX 64

struct config_role {
	enum role role;
	bool group;
	char *name;      /* of a user or group; NULL: its number is given */
	uint32_t number; /* uid or gid */
	struct config_place at;
};

struct config {
	enum mode mode;          /* mode: observe | enforce; default observe */
	char **sources;          /* source: [fanotify]; names that exist; empty: all that work */
	bool recognise;          /* agents.recognise: true | false; default true */
	uint64_t deadline_ns;    /* deadline: 1s; at most 10s */
	enum verdict on_timeout; /* on_timeout: deny | allow; default deny (members only) */
	bool hold;               /* on_block: deny | hold; default deny */
	uint64_t hold_ns;        /* hold.deadline: 60s; at most 10m */
	char **mark_roots;       /* fanotify.only: [DIR…]; when given, nothing outside is marked */
	bool system_directories; /* fanotify.system_directories: true | false; default false */
	bool audit_by_user; /* audit.scope */
	uint32_t ring_bytes, exec_ring_bytes; /* ebpf.ring, ebpf.exec_ring; 0: as it comes */
	char *group;             /* control.group: group that may change state; default "oknek" */
	struct config_role roles[ROLES_MAX];
	size_t n_roles;
	uint64_t retain_default_s; /* evidence.retain_for; default 90d */
	uint64_t max_size_bytes;   /* evidence.max_size; default 1 GiB */
	struct config_capture capture;
	struct config_egress egress;
	char **exec_programs; /* exec.programs: [PATH or pattern], NULL-ended; NULL: none */
	bool exec_hold;       /* exec.hold: true | false; default true */
	bool refuse_unenforceable; /* on_unenforceable: degrade | refuse; default degrade */
	struct config_override *overrides;
	size_t n_overrides;
	struct config_reader *readers;
	size_t n_readers;
	struct config_exception *exceptions; /* those of later files are added */
	size_t n_exceptions;
	struct yaml_doc **docs; /* that the exceptions stand in */
	size_t n_docs;
};

/*
 * Reads path, then path.d/ *.yaml in byte order of names, later values win. A missing default file
 * is an empty one; a missing file that was asked for is -ENOENT. err (512 bytes) gets
 * `file:line: what, and what is allowed`. *ret is freed with config_free().
 */
int config_load(const char *path, bool must_exist, struct config **ret, char err[512]);
/* The same over one document in memory, for tests and the fuzzer. file: for messages. */
int config_load_buffer(const char *file, const void *data, size_t len_bytes, struct config **ret,
		       char err[512]);
void config_free(struct config *c);
/* The folder of this host's own rules: rules.d beside its configuration file, whether or not it is
 * there. NULL: no memory. */
char *config_rules_dir(const char *path);
void config_free_egress(struct config *c); /* its egress section alone */

/* What both say about single rules changes places: overrides, readers, exceptions. */
void config_swap_rules(struct config *a, struct config *b);
void config_swap_egress(struct config *a, struct config *b); /* the same of `egress:` */

#endif
