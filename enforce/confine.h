/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread or a process of ours may still ask of the kernel. Each list names what its owner
 * needs and nothing else; what is not on it fails with ENOSYS, as on a kernel that does not have
 * it, which is the one refusal that libraries have an answer to. Nothing given up comes back.
 * Built with AddressSanitizer or ThreadSanitizer none of this happens: their runtimes call what
 * they like, on any thread.
 */
#ifndef OKNEK_ENFORCE_CONFINE_H
#define OKNEK_ENFORCE_CONFINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum confine_list {
	CONFINE_VERDICT,  /* the verdict thread */
	CONFINE_DAEMON,   /* all other threads of the daemon */
	CONFINE_GUARDIAN,
	CONFINE_ZYGOTE,   /* forks helpers: its list has theirs, and what they do before theirs */
	CONFINE_MARKS,    /* the helper that walks paths */
	CONFINE_PROCESSES, /* the helper that reads /proc */
	CONFINE_NAMES,   /* asks for addresses of names; forks who waits for them */
	CONFINE_PEEK_KEEPER, /* forks the helper that reads held processes when that dies */
	CONFINE_PEEK,        /* it, which forks workers: its list has theirs */
	CONFINE_PEEK_WORKER,
	CONFINE_ARCHIVE, /* the child of oknek that unpacks what somebody sent */
	CONFINE_FETCH,   /* the one that fetches it */
	CONFINE_LOG,       /* writes what it is sent to stderr */
	CONFINE_LOG_KEEPER, /* forks another when that dies */
	CONFINE_LISTS
};

enum confine_refusal {
	CONFINE_REFUSE, /* ENOSYS */
	CONFINE_TRAP,   /* SIGSYS, which ends the process: to see in a test that nothing is missing */
	CONFINE_OFF,    /* nothing is refused */
};

bool confine_available(void); /* false: built with one of these sanitizers */

/* Seccomp, for this thread and those it makes. Needs no_new_privs. -EOPNOTSUPP: not available, or
 * OFF; -EINVAL: a kernel without; -errno. */
int confine_calls(enum confine_list list, enum confine_refusal refusal);

/* The same in two steps: what takes memory first, what may be done anywhere (async-signal-safe)
 * later. NULL: nothing is refused. */
struct confine_program;
int confine_prepare(enum confine_list list, enum confine_refusal refusal,
		    struct confine_program **ret);
int confine_apply(const struct confine_program *p);
void confine_program_free(struct confine_program *p);

/*
 * Landlock, for this process: no file is written, made, removed or executed any more, none is read
 * but what names of users and processes are told by; descriptors that only stand for a path
 * (O_PATH) can still be had everywhere. Nor is another process's /proc to be had: not for who
 * needs that. Never in a process that reads a fanotify group: the kernel opens the files of its
 * events in its name. -EOPNOTSUPP: not available; -errno.
 */
int confine_files(void);

enum confine_user { CONFINE_USER_MARKS, CONFINE_USER_PROCESSES, CONFINE_USER_LOG,
		    CONFINE_USER_PACKS, CONFINE_USER_NAMES, CONFINE_USER_PEEK, CONFINE_USERS };

/* The uid of a helper: of the system user oknek-marks, oknek-processes and so on,
 * and where there is none 65520 and the next ones, which nobody is given. */
uid_t confine_uid(enum confine_user user);
/* For good: this process is that user, with these capabilities (bit per CAP_*) as far as it has
 * them, without groups. As the user that it is when it has no privilege. -errno. */
int confine_become(enum confine_user user, uint64_t keep_caps);
/* Of what it has, these capabilities alone, and no new privileges. Async-signal-safe. */
int confine_caps(uint64_t keep_caps);
/* Rather this process than another, when memory is out. Before the above. */
void confine_expendable(void);

/* Memory, file sizes, core dumps, processes, descriptors: as much as a helper needs. */
void confine_limits(void);

#endif
