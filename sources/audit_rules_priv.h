/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of sources/audit_rules.h, for it and its tests: which rules there are to be (a table, which
 * asks nobody), what a rule is in bytes, and what is said to the kernel.
 */
#ifndef OKNEK_SOURCES_AUDIT_RULES_PRIV_H
#define OKNEK_SOURCES_AUDIT_RULES_PRIV_H

#include <linux/audit.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "sources/audit_rules.h"

#define AUDIT_EXE_BYTES 256 /* a longer path is passed over */
#define AUDIT_WANT_MAX (2 * AUDIT_MEMBERS_MAX + 3 * AUDIT_USERS_MAX + AUDIT_EXES_MAX)
#define AUDIT_QUIET_NS UINT64_C(10000000000) /* before members are scoped by pid again */

static inline uint64_t audit_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* ---- a rule -------------------------------------------------------------------------------------- */

enum audit_rule_kind {
	AUDIT_RULE_STATUS,     /* audit was off; id: who had the unicast socket */
	AUDIT_RULE_PID,        /* id: the process */
	AUDIT_RULE_PPID,       /* its children */
	AUDIT_RULE_USER,       /* id: the uid */
	AUDIT_RULE_USER_32,    /* 32-bit calls */
	AUDIT_RULE_USER_URING, /* io_uring */
	AUDIT_RULE_EXE,        /* a program, of the uid */
};

struct audit_rule_id {
	enum audit_rule_kind kind;
	uint32_t id;
	char exe[AUDIT_EXE_BYTES]; /* AUDIT_RULE_EXE; "" */
};

#define AUDIT_RULE_BUF (AUDIT_EXE_BYTES + 64)
union audit_rule_bytes {
	struct audit_rule_data data;
	char room[sizeof(struct audit_rule_data) + AUDIT_RULE_BUF];
};

bool audit_rule_same(const struct audit_rule_id *a, const struct audit_rule_id *b);
/* What the kernel is told. own: our pid, which rules by user leave out. -EOPNOTSUPP: this machine has
 * no such calls. */
int audit_rule_write(const struct audit_rule_id *id, pid_t own, union audit_rule_bytes *ret);
/* Of what the kernel lists, len_bytes of it: 1 ours and which; 0 somebody else's; -EBADMSG ours by its
 * key, but of another make. */
int audit_rule_read(const struct audit_rule_data *d, size_t len_bytes,
		    struct audit_rule_id *ret);

/* ---- which rules there are to be ------------------------------------------------------------------- */

struct audit_plan;

int audit_plan_new(struct audit_plan **ret); /* -ENOMEM; allocates nothing afterwards */
void audit_plan_free(struct audit_plan *p);
void audit_plan_add(struct audit_plan *p, pid_t pid, uid_t uid, const char *exe,
		    uint64_t now_ns);
void audit_plan_drop(struct audit_plan *p, pid_t pid);
/* The rules there are to be; how many. */
unsigned audit_plan_want(struct audit_plan *p, uint64_t now_ns, struct audit_rule_id *ids);
void audit_plan_by_user(struct audit_plan *p); /* always */
bool audit_plan_by_uid(const struct audit_plan *p);
unsigned audit_plan_scoped(const struct audit_plan *p); /* members by pid */
unsigned
audit_plan_left_out(const struct audit_plan *p); /* members whose user found no room */

/* ---- the kernel ------------------------------------------------------------------------------------- */

/* By a socket of audit_socket_open(). All wait for the kernel's answer, all are -errno. */
int audit_kernel_status(int fd, struct audit_status *ret);
int audit_kernel_enable(int fd, bool on);
int audit_kernel_add(int fd, const struct audit_rule_id *id, pid_t own);
int audit_kernel_delete(int fd, const struct audit_rule_id *id,
			pid_t own); /* -ENOENT: is not there */
/* Exactly what was listed. */
int audit_kernel_delete_listed(int fd, struct audit_rule_data *d);
/* fn() for each rule, in their order, list by list; stops when it is not 0. No other request in it. */
int audit_kernel_list(int fd,
		      int (*fn)(void *arg, const struct audit_rule_data *d, size_t len_bytes),
		      void *arg);
/* Makes pid, which is the caller's, the reader of this socket; 0: nobody any more. -EEXIST: somebody
 * else is. May be called while another thread calls the others, with another socket. */
int audit_kernel_own(int fd, pid_t pid);

/*
 * Removes what bears our keys, as the kernel has it. With mark the first rule that says what was is
 * kept, told there, and *marked set; with *marked set it is the one that is kept. NULL: all go.
 */
int audit_left_remove(int fd, struct audit_rule_id *mark, bool *marked);
/* May rules be added where audit is so? -EPERM, and `why`: it is locked, or the host is to stop when a
 * record is lost. */
int audit_permits(const struct audit_status *s, char *why, size_t size);
/* The error of an open, and `why` in words. */
int audit_explain(int err, char *why, size_t size);

/* ---- what is there of ours ------------------------------------------------------------------------- */

#define AUDIT_HAVE_MAX                                                                        \
	(2 * (AUDIT_WANT_MAX + 1)) /* new ones are put before old ones are removed */
#define AUDIT_LOCKED_STATE 2       /* auditctl -e 2: nothing changes until the next boot */

struct audit_have_rule {
	struct audit_rule_id id;
	bool listed; /* seen in the look under way */
	int error;   /* of those that are not in the kernel */
};

/* Of one thread. */
struct audit_have {
	int fd;
	pid_t self;
	struct audit_have_rule rules[AUDIT_HAVE_MAX], refused[AUDIT_HAVE_MAX];
	unsigned n, n_refused;
	unsigned listed,
		restored; /* ours in the last listing; and that had to be put again, in all */
	bool locked;
	struct audit_status status;
};

/* Puts and removes until there is what is wanted; what the kernel refuses is left out until the next
 * look. Nothing but what says what was, while the host is to stop when a record is lost. */
void audit_have_make(struct audit_have *h, const struct audit_rule_id *want, unsigned n);
/* Asks for status and rules; those of ours that others removed, or put theirs behind, are taken for
 * missing. -errno. */
int audit_have_look(struct audit_have *h);
unsigned audit_have_refused(const struct audit_have *h);
bool audit_have_uring(const struct audit_have *h);
/* This one is there, from before, and no other. */
void audit_have_left(struct audit_have *h, const struct audit_rule_id *id);

/* Could anybody but root change what is at this path? */
bool audit_exe_is_roots(const char *path);

#endif
