/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator is asked, and says. The verdict thread's part is tools/daemon_hold.c, that of
 * those who serve the operator tools/daemon_hold_commands.c; nobody else includes this.
 */
#ifndef OKNEK_TOOLS_DAEMON_HOLD_H
#define OKNEK_TOOLS_DAEMON_HOLD_H

#include "core/standing.h"
#include "tools/daemon.h"

#define HOLD_ANSWERS_MAX PERMISSION_HELD_PER_TREE /* of one process, at once */
#define HOLD_ARGV_SHOWN 1024

/* Who or what was answered, for evidence. */
struct hold_brief {
	uint64_t token, start_time_ns;
	pid_t pid;
	uid_t uid;
	uint32_t tree_id;
	enum event_kind kind;
	char rules[HELD_RULES_MAX], comm[16], agent[32], session[40];
	char path[4096];
	char argv[HOLD_ARGV_SHOWN]; /* NUL after each; cut */
	uint32_t argv_len_bytes;
	bool argv_cut; /* there are more arguments than these bytes */
};

/* An answer. token 0: of all that pid has held. */
struct hold_answer {
	uint64_t token;
	pid_t pid;
	enum verdict verdict;
	uint64_t for_ns; /* ALLOW: and the same again without asking; 0: this once */
	bool later;      /* BLOCK: settled, and who is held is told with daemon_hold_told() */
	pid_t by_pid;
	uid_t by_uid;
	/* What came of it. */
	unsigned n;
	struct hold_brief briefs[HOLD_ANSWERS_MAX];
	bool no_room; /* it was not kept for the next time */
	bool nameless; /* as there is nothing to know the same by */
	bool after_fact; /* a tree was stopped for one of them */
	struct { /* somebody else had been faster */
		bool is;
		enum verdict verdict;
		pid_t pid;
		uid_t uid;
	} already;
};

/* -ESHUTDOWN. Not on the verdict thread. */
int daemon_hold_answer(struct daemon *d, struct hold_answer *a);
int daemon_hold_told(struct daemon *d, struct hold_answer *a);
/* On the verdict thread. */
void hold_brief_of(struct daemon *d, const struct fanotify_held *h, struct hold_brief *ret);
json_t *hold_arguments(const struct hold_brief *b); /* a list of texts */
/* For what is asked of an operator without a permission. Verdict thread. */
uint64_t hold_token(struct daemon *d);
/* The same for what could not be held, and has been stopped for: is it let through by what was said
 * before? *object: for hold_settle(). Verdict thread. */
bool hold_let_through(struct daemon *d, const struct event *ev, const struct decision *decision,
		      struct standing_object *object);
/* Keeps an answer for the next time, and who gave it; or who was first. Verdict thread. */
void hold_settle(struct daemon *d, struct hold_answer *a, const struct hold_brief *b,
		 const struct standing_object *object);
void hold_find_answered(const struct daemon *d, struct hold_answer *a);
/* An item of `pending` of something that has happened. */
json_t *hold_pending_json(const struct hold_brief *b, uint64_t since_ns, uint64_t until_ns,
			  enum verdict then, const char *id, const char *part, const char *name);

/* daemon_halt.c: answers those for whom a tree is stopped, after daemon_hold_answer(), and adds to what
 * came of it. kill: their trees end, which ended[] says of each. Not on the verdict thread. */
void daemon_halt_answer(struct daemon *d, struct hold_answer *a, bool kill,
			bool ended[HOLD_ANSWERS_MAX]);
/* Sends an item for each, of that tree (0: of all), if uid has begun it. True: there is one. */
bool daemon_halt_each(struct daemon *d, uint32_t tree, bool own_only, uid_t uid,
		      struct control_reply *reply);

/* daemon_halt_tree.c. Begun with zeroes, of which the figures are of interest. */
struct halt_passes {
	unsigned n, failed; /* members that it was done to; that it could not be done to, in the last pass */
	unsigned clean;
	uint64_t next_ns, over_ns;
};

#define HALT_PASS_MS 5 /* between two passes */

/* One pass over the members of a tree, if its time has come: with s they are stopped until then, without they
 * are ended, for which nothing needs to be locked. True: that was the last. Not on the verdict thread. */
struct suspend;
bool halt_pass(struct daemon *d, struct halt_passes *p, uint32_t tree_id, struct suspend *s,
	       uint64_t until_ns);
/* All passes that end it. True: somebody was, and nobody is left. */
bool halt_kill(struct daemon *d, uint32_t tree_id);

#endif
