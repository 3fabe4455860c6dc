/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel's audit is told for us: rules for the watched, whether it is on, who reads its records.
 * All of it is the host's, shared with an auditd and whoever else: only what is ours is changed, and
 * given back. Rules are of the exit list, of the system calls that audit_call_number() names, and of
 * io_uring's (Linux 5.16) of the operations that audit_uring_number() names:
 *
 *   members    two rules each, pid and ppid (a child is seen before it is a member), at most
 *              AUDIT_MEMBERS_MAX: every task on the host looks through all of them. On 6.18 any rule
 *              at all takes 0.2 µs of each call, a member 10 ns of each and 70 ns of an open (2.5 µs
 *              without, 3.4 with one, 3.5 with 8, 5 with 16, 7 with 32); a record takes 16 µs
 *   users      beyond that, or when members come and go faster than AUDIT_CHURN_MAX a second: all
 *              processes of a member's uid but our own; back to members when it is quiet again
 *   always by user: 32-bit calls, io_uring, and programs (exe) of which a root was told
 *
 * So records come of processes that are no members, which the reader passes over, by the pid and the
 * ppid they tell. The first rule that matches gives a record its key, and ours come after all others,
 * that an auditd loses none of its own: a member's record may well have another's key, or several.
 *
 * Tasks that were forked before audit was on for the first time since boot have no audit context, and
 * are never told (kernel, audit_alloc()); nor are those an administrator's `never` rule matches.
 *
 * After a crash the rules stay. One among them, which matches nothing, says what was: the next
 * audit_rules_open() removes them and the next audit_rules_close() puts back what the first found.
 *
 * What cannot be given back is that account of the tasks born meanwhile: some 0.2 µs of each call of theirs.
 *
 * CAP_AUDIT_CONTROL, in the initial user and pid namespaces. The kernel makes whoever speaks to it wait, 60 s
 * by default, when its backlog is full: so a thread of our own does, and _add and _drop wait for nothing.
 * Functions may be called from any thread, but open, enable and close from one.
 */
#ifndef OKNEK_SOURCES_AUDIT_RULES_H
#define OKNEK_SOURCES_AUDIT_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AUDIT_RULES_KEY "oknek-member"	 /* the key of the rules */
#define AUDIT_STATUS_KEY "oknek-was-off" /* of the one that says that audit was off */
#define AUDIT_MEMBERS_MAX 16
#define AUDIT_CHURN_MAX 32 /* members that a second brings */
#define AUDIT_EXES_MAX 8
#define AUDIT_USERS_MAX 16

struct audit_rules;

struct audit_rules_figures {
	bool enabled;
	bool was_off; /* when the first of us came: what ran then may have no audit context, see above */
	pid_t owner;  /* who has the unicast socket, as the kernel says; 0: nobody. Ours: getpid() */
	uint32_t lost, backlog, backlog_limit, rate_limit, failure; /* struct audit_status */
	unsigned rules;   /* ours, as the kernel lists them */
	unsigned members; /* scoped by pid */
	bool by_uid;	  /* too many members, or too fast: by user */
	bool uring;	  /* the URING_EXIT rules were taken */
	unsigned refused; /* rules that the kernel did not take */
	unsigned restored; /* that others had removed, or put theirs behind: put there again */
};

/* Opens a netlink socket, removes our rules that an earlier one of us left, and remembers what was.
 * -errno, and `why` says it: no privilege, a container, no audit, locked (auditctl -e 2), or a host
 * that is to stop when a record is lost (-f 2). Where it becomes one later the rules are taken back
 * until it is none. */
int audit_rules_open(struct audit_rules **ret, char *why, size_t size);
/* Always by user: a child of a child is seen from its first call on, whoever is how fast. Before enable. */
void audit_rules_by_user(struct audit_rules *r);
/* Switches audit on where it is off, and starts the thread (with the capabilities of the caller). */
int audit_rules_enable(struct audit_rules *r);
/*
 * Makes us the owner of the unicast socket where nobody is. 1: ours, audit_rules_fd() has the records
 * (none of multicast's are to be read then, they are the same). 0: somebody is, use multicast; it may
 * be asked again later, as a guardian of one of us that was killed holds the socket for a while.
 * -errno. While it is ours no auditd can start: the kernel refuses it (EEXIST) and tells the owner so by
 * a record of type AUDIT_REPLACE. Then audit_rules_yield(), and go on by multicast: auditd's second
 * try, which its unit makes, succeeds.
 */
int audit_rules_own(struct audit_rules *r);
void audit_rules_yield(struct audit_rules *r);
/* The unicast socket, non-blocking, to be read with audit_socket_read(); -1: not ours. */
int audit_rules_fd(const struct audit_rules *r);

/* A member, new, or with another uid or exe (after an exec). exe: the program of a tree's root, by
 * which later ones of that user are seen from their first call on; NULL for all others. It is used
 * if root alone can change any part of its path. */
void audit_rules_add(struct audit_rules *r, pid_t pid, uid_t uid, const char *exe);
void audit_rules_drop(struct audit_rules *r, pid_t pid);
/* Waits until what was told before stands in the kernel; -ETIME. For tests, and before a tree's
 * first process is let go. */
int audit_rules_settle(struct audit_rules *r, int timeout_ms);
/* From the kernel; waits 1 s at the most for fresh ones, else they are some seconds old, or, where
 * audit_rules_enable() failed, those from before. Without the thread: one caller at a time. */
int audit_rules_figures(struct audit_rules *r, struct audit_rules_figures *ret);
/* Removes exactly ours and gives back what was; whether audit is on stays if an auditd came since.
 * Frees r. The first error, and what can be put back is. */
int audit_rules_close(struct audit_rules *r);

/* ---- netlink sockets of audit -------------------------------------------------------------------- */

/* A socket that is connected to the kernel, so that nobody else's datagrams are queued for it, of
 * our net namespace. group: AUDIT_NLGRP_READLOG (multicast, CAP_AUDIT_READ) or 0. Non-blocking,
 * SO_PASSCRED. Returns the descriptor, or -errno. receive_bytes: 0, the default. */
int audit_socket_open(unsigned group, size_t receive_bytes);
/* One datagram: its length, 0 for one that the kernel did not send (by its address or its
 * credentials; it is taken and not shown), -EAGAIN, -ENOBUFS (records were lost), -EMSGSIZE,
 * -errno. One message each, its text without a NUL: at NLMSG_HDRLEN, to the length returned (auditd's
 * own nlmsg_len leaves the header out in some kernels). */
ssize_t audit_socket_read(int fd, void *buf, size_t size);

#endif
