/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit source: what members of watched trees open, run and connect to, as the kernel's audit tells
 * it, some milliseconds later or, under load, a second: it stops nothing. Which rules make the kernel
 * tell is in sources/audit_rules.h, what its records mean in sources/audit_parse.h.
 *
 * A thread of its own reads them, beside whoever owns the unicast socket by multicast, or as the owner; it
 * puts together what belongs together and hands it to the verdict thread, which knows who is a member
 * and publishes. What cannot be handed over stays in the socket until the kernel has no room there
 * either, and says so.
 */
#ifndef OKNEK_SOURCES_AUDIT_H
#define OKNEK_SOURCES_AUDIT_H

#include "core/bus.h"
#include "core/proctree.h"
#include "core/source.h"
#include "sources/audit_rules.h"

struct audit_config {
	struct proctree *tree;
	bool by_user; /* not by process: see audit_rules_by_user() */

	/* All on the verdict thread. */
	void (*drain)(void *arg);                     /* takes what the process feed has queued */
	const char *(*home_of)(void *arg, uid_t uid); /* NULL: not known yet */
	/* Before events are published: others may tell of the same, and go first then. */
	void (*others)(void *arg);
	/* An open that was refused: no event, but others may have told it. */
	void (*refused)(void *arg, struct event *ev);
	/* Adds the names by which an opened file is protected, whatever it was opened by. False: no rule
	 * could match it, it is left out. */
	bool (*names)(void *arg, struct file_object *file);
	/* Somebody else tells of this connection; if not, what kind of destination it has is said. */
	bool (*told_elsewhere)(void *arg, struct dest_object *dest);
	void *arg;
};

struct audit_source_figures {
	uint64_t records, events; /* of all that is audited on this host */
	uint64_t strangers;       /* events of processes that are not watched */
	uint64_t no_rule;         /* opens that no rule could match */
	uint64_t partial;         /* events of which something is missing or not sure, published as far as it goes */
	uint64_t malformed;       /* records that make no sense, or could not be read */
	uint64_t cut;             /* actions whose names had no room on their way: not published */
	uint64_t unnamed;         /* opens by a worker of io_uring, of which no name is told */
	uint64_t foreign;         /* datagrams that the kernel did not send */
	uint64_t overruns;        /* times that the socket had no room */
	uint64_t kernel_lost;     /* records that the kernel's own queue had no room for, since we came */
	bool owner;               /* of the unicast socket; else by multicast */
	struct audit_rules_figures rules;
};

/*
 * Opens sockets and removes rules that an earlier one of us left; nothing is told before audit_enable().
 * Needs CAP_AUDIT_CONTROL and CAP_AUDIT_READ, then and later. -errno; why says what is missing.
 */
int audit_open(const struct audit_config *c, struct source **ret, char why[192]);
/* Switches audit on, and begins to set rules. On the thread whose capabilities and limits that of the
 * rules is to have. -errno. */
int audit_enable(struct source *s);
/* Reads until it is told to stop; on a thread of its own. Stop: any thread; who runs it is to be waited
 * for before close. */
void audit_run(struct source *s);
void audit_stop(struct source *s);

/* Who is a member, from here on or no more. Any thread, never waits. exe: as audit_rules_add(). */
void audit_watch(struct source *s, pid_t pid, uid_t uid, const char *exe);
void audit_unwatch(struct source *s, pid_t pid);
/* Until the kernel has the rules of whom it was told of; at most so long. Not on the verdict thread. */
void audit_settle(struct source *s, int timeout_ms);

/* At the end, when neither dispatch nor audit_run() run any more: what was handed over is published. */
void audit_finish(struct source *s, struct bus *b);

/* Rules go, and audit is what it was; nothing but close may be called afterwards, when audit_run() has
 * ended. For whoever ends without closing, or wants to know: -errno, something of ours is left. */
int audit_give_back(struct source *s);

/* Any thread but the verdict thread: waits up to 1 s for the thread of the rules. */
void audit_source_figures(const struct source *s, struct audit_source_figures *ret);

#endif
