/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a watched tree did, the same whichever source saw it; and what was decided about it.
 * Pointers in an event are borrowed from whoever published it, until bus_publish() returns.
 */
#ifndef OKNEK_CORE_EVENT_H
#define OKNEK_CORE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/egress_class.h"

struct source;
struct permission;
struct tree;
struct rule;

/* The kinds of the published rule schema, in its order. */
enum event_kind {
	KIND_EXEC_OBSERVED,
	KIND_FILE_OPENED,
	KIND_SOCKET_CONNECT,
	KIND_FILE_CHANGED,
	KIND_BASELINE_DRIFT,
	KIND_FILE_SCANNED,
	KIND_MCP_ENDPOINT,
	KIND_COUNT
};

/* Ordered: the stronger wins. */
enum verdict { VERDICT_ALLOW, VERDICT_WARN, VERDICT_BLOCK };

/* By which means a rule is held here; what a rule is bound to, and what a record names. */
enum mechanism {
	MECH_DETECT, /* seen and recorded, nothing is stopped */
	MECH_FANOTIFY,
	MECH_LSM,
	MECH_CGROUP,
	MECH_PRELOAD,
	MECH_SIGNAL,
	MECH_COUNT
};

enum mode { MODE_OBSERVE, MODE_ENFORCE };

enum decided_by { BY_RULE, BY_OPERATOR, BY_DEADLINE, BY_GUARDIAN };

/* What became of the system call. */
enum outcome {
	OUTCOME_UNKNOWN,  /* decided, then we died: nobody knows whether the answer was written */
	OUTCOME_ALLOWED,
	OUTCOME_DENIED,
	OUTCOME_GONE,     /* the opener died while it was held */
	OUTCOME_OBSERVED, /* no permission was asked for: it had happened already */
	OUTCOME_KILLED,   /* the process was ended for it */
};

const char *event_kind_name(enum event_kind kind);
const char *verdict_name(enum verdict v);       /* allow warn block */
const char *mechanism_name(enum mechanism m);   /* detect fanotify lsm cgroup preload signal */
const char *mode_name(enum mode m);             /* observe enforce */
const char *decided_by_name(enum decided_by d); /* rule operator deadline guardian */
const char *outcome_name(enum outcome o); /* unknown allowed denied gone observed killed */
const char *egress_class_name(enum egress_class c); /* "" loopback gateway resolver allowed … */

/* The inverses: the value, or -EINVAL. */
int event_kind_parse(const char *name);
int verdict_parse(const char *name);
int mode_parse(const char *name);
int egress_class_parse(const char *name);

#define HOMES_MAX 4 /* homes that `~` means for one subject */

/* The home directories that `~` stands for: of the process's uid, of its tree's first uid, and
 * $HOME of the tree where that is a directory of the same uid. Adding one only adds denials. */
struct homes {
	unsigned n;
	const char *path[HOMES_MAX]; /* absolute, no trailing slash */
};

/* Who did it. Strings are never NULL ("" when not known). */
struct subject {
	pid_t tgid; /* 0 when not known */
	pid_t tid;  /* 0 when the source does not tell */
	pid_t ppid; /* 0 when not known */
	uint64_t start_time_ns; /* CLOCK_BOOTTIME at fork; 0 when not known */
	uid_t uid;              /* effective, as of the last exec or feed record; (uid_t)-1 when not
				 * known */
	uid_t auid;             /* audit login uid, (uid_t)-1 when unset */
	const char *comm;
	const char *exe; /* path of the executable, as readlink of /proc/PID/exe gives it */
	bool main_exe;     /* runs the agent's own main executable, as far as its path tells */
	bool exe_verified; /* exe is the very inode, owned by root, that the configuration
			    * means by that path */
	const char *cgroup;
	const char *lineage;    /* "claude > bash > cat", oldest first */
	const struct tree *tree; /* NULL: not a member of a watched tree */
	struct homes homes;
};

/* WATCH: its changes are asked for, it is not opened. */
enum open_mode {
	OPEN_MODE_UNKNOWN,
	OPEN_MODE_READ,
	OPEN_MODE_WRITE,
	OPEN_MODE_EXEC,
	OPEN_MODE_WATCH,
};

#define FILE_NAMES_MAX 6

/*
 * One name under which an opened object is to be judged. names[0] is the path seen at the event;
 * the others are the names under which the object is protected (objects, not names: a hard link
 * has the verdict of what it links to). `home` is the home that `~` means for that name, NULL for
 * the subject's own. Bytes are any but NUL.
 */
struct file_name {
	const char *path;
	const char *home;
};

struct file_object {
	uint64_t dev, ino; /* as fstat tells */
	struct file_name names[FILE_NAMES_MAX];
	unsigned n_names; /* 0: the path could not be had */
	enum open_mode mode;
	bool also_read; /* mode WRITE: and what is there can be read, or was emptied (O_RDWR, O_TRUNC) */
};

/* Arguments can be changed while an exec is held: what the kernel found when it compared those that
 * the new program has with those that were decided. */
enum exec_compared {
	EXEC_NOT_COMPARED, /* it was not held, or nobody could say what was to be expected */
	EXEC_AS_DECIDED,
	EXEC_CHANGED,
	EXEC_UNSURE, /* they could not be compared */
};

struct exec_object {
	const char *path;
	const char *argv; /* arguments, NUL between them */
	size_t argv_len_bytes;
	bool argv_cut; /* there was more than this, or it could not be had */
	enum exec_compared compared;
	uint64_t ino; /* of the program, once it runs; 0: not known */
};

struct dest_object {
	uint8_t addr[16]; /* IPv6, or IPv4 mapped */
	uint16_t port;
	const char *host;
	const char *protocol;
	const char *path; /* of an AF_UNIX socket, as it was given; @ begins an abstract name */
	enum egress_class egress;
	bool gateway_set; /* the configuration has a gateway */
	bool has_addr;    /* addr is one also when it is all zeros, which is an address of this host */
};

struct event {
	uint64_t seq;
	uint64_t time_ns; /* CLOCK_BOOTTIME when it was read; the wall clock is stamped in RECORD */
	enum event_kind kind;
	const struct source *source;
	const char *source_name; /* for the record: "fanotify", "replay" … */
	struct subject subj;
	union {
		struct file_object file;
		struct exec_object exec;
		struct dest_object dest;
	};
	struct permission *perm; /* NULL unless an answer is due */
	/* What the kernel did about it by itself, before anybody was told; by DETECT: nothing. */
	struct {
		enum mechanism by;
		bool refused;
		bool spared; /* it would have been, but for observing */
		bool killed; /* who did it was; refused, too: before it could do anything */
		bool dropped; /* refused by dropping what was sent: the caller has no error */
	} settled;
};

#define EXCEPTED_MAX 8
#define FIRED_MAX 8 /* rules that one event may fire; more are counted in `n_fired_more` */

struct fired {
	const struct rule *rule;
	enum verdict verdict;   /* the rule's own action after overrides */
	unsigned name_index;    /* file_opened: which of names[] matched */
};

/* Outcome of rules_decide(): verdict is the strongest of what fired, ALLOW when nothing did. */
struct decision {
	enum verdict verdict;
	unsigned n_fired;
	unsigned n_fired_more;
	struct fired fired[FIRED_MAX]; /* strongest first */
	/* Rules that matched, and an exception kept from firing; those beyond are not told. */
	unsigned n_excepted;
	const struct rule *excepted[EXCEPTED_MAX];
};

/* Wall clock as rules see it; computed by tables of our own, no time zone file is asked. */
struct wall_clock {
	int64_t unix_s;
	int hour; /* 0–23 local */
	int dow;  /* 0 = Sunday … 6 = Saturday, local */
	int32_t utc_offset_s; /* by which local time is ahead */
};

#endif
