/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of the guardian. Everything behind guardian_main() runs in its process, which
 * was cloned from one that has threads: it may call nothing that allocates, locks or logs. Its copy
 * of struct guardian is its own; what both sides see lies behind `v` and the pointers of `c`.
 */
#ifndef OKNEK_ENFORCE_GUARDIAN_PRIV_H
#define OKNEK_ENFORCE_GUARDIAN_PRIV_H

#include <pthread.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "enforce/guardian.h"

#define GUARDIAN_TICK_MS 10
#define GUARDIAN_LATE_NS (20 * NSEC_PER_MSEC)
#define GUARDIAN_GRACE_NS (30 * NSEC_PER_MSEC) /* past a deadline the verdict thread knows itself */
#define GUARDIAN_CONNS 4

struct guardian_pending { /* a GUARDED slot whose answer the kernel has not taken yet */
	uint64_t ticket;
	uint8_t tries;
	bool noted;
};

struct episode {
	uint64_t since_ns; /* 0: none */
	uint64_t denied, allowed, strangers;
	const char *why;
};

struct guardian {
	struct guardian_config c;
	struct verdict_state *v;
	int wake_fd, daemon_pidfd;
	pid_t daemon_pid;

	/* The daemon's. */
	_Atomic int pid; /* of the guardian; 0 none */
	_Atomic uint64_t restarts;
	bool started;
	uint64_t ping_ns;
	pthread_t maker; /* clones it again, at the priority that it was made with */
	bool has_maker;
	void (*settle_maker)(void *arg);
	pthread_mutex_t lock;
	pthread_cond_t wake_maker, made;
	bool make, maker_ends; /* under lock */
	int make_result;

	/* The guardian's. */
	bool ticking, late, alone, told_to_end;
	uint64_t progress, progress_ns, quiet_ns;
	unsigned missed; /* looks in a row at which there was work and no progress */
	bool slots_used; /* some were neither free nor reserved at the last look */
	struct episode episode;
	struct guardian_pending pending[PERMISSION_SLOTS];
	struct seen_entry {
		uint32_t word; /* of the slot */
		struct fanotify_event_metadata md;
	} seen[PERMISSION_BATCH]; /* entries as they were at the last look */
	int conns[GUARDIAN_CONNS];
	uint64_t heard_ns[GUARDIAN_CONNS]; /* of each connection; 0: it has said nothing yet */
	uint64_t opened_ns[GUARDIAN_CONNS];
	pid_t alive_pid; /* a member that was alive when last asked */
	uint32_t alive_at;
	char path[4096], exe[4096], lineage[LINEAGE_MAX], text[1024];
	uint8_t open_fds[65536 / 8];
};

/* guardian_run.c: never returns. */
void guardian_main(struct guardian *g) __attribute__((noreturn));

/* guardian_alone.c: the daemon is dead. Never returns. */
void guardian_alone(struct guardian *g) __attribute__((noreturn));
void guardian_end(struct guardian *g) __attribute__((noreturn)); /* all is answered by now */

/* guardian.c: in force now. */
enum mode guardian_mode(const struct guardian *g);

/* guardian_answer.c */
/* One look at all slots. at_once: members are not given the rest of their deadline. */
void guardian_look(struct guardian *g, uint64_t now_ns, bool late, bool at_once);
/* One read of the group. Events read; 0 none. */
unsigned guardian_read(struct guardian *g, uint64_t now_ns, bool at_once);
/* What a guardian before us had read and not answered. */
void guardian_inherit(struct guardian *g);

/* guardian_who.c */
/* The tree of a member, 0 for everybody else. *m: what is known of it. */
uint32_t guardian_tree_of(struct guardian *g, pid_t pid, struct member *m);
bool guardian_members_left(struct guardian *g);
/* One of the letters of proc(5); 0 not known. */
char guardian_state_of(pid_t pid);

/* guardian_record.c */
/* Before the answer; a ticket. answer: enum verdict. */
uint64_t guardian_note(struct guardian *g, const struct permission *p, uint32_t tree_id,
		       const struct member *m, uint64_t dev, uint64_t ino);
void guardian_episode_record(struct guardian *g, const char *name, uint64_t now_ns);

/* guardian_peer.c */
int guardian_peer_fd(const struct guardian_peer *p);

/* guardian_serve.c: the next daemon asks. */
bool guardian_serve_accept(struct guardian *g); /* false: nobody could be accepted */
void guardian_serve(struct guardian *g, int conn); /* an index */
/* Says to the guardian before us what the daemon did not come to say. */
void guardian_end_before(struct guardian *g);

/* What is said on the socket; messages are datagrams of exactly this. */
#define GUARDIAN_MAGIC 0x6f6b6e6bu
enum guardian_op { GUARDIAN_HELLO = 1, GUARDIAN_REPLACE, GUARDIAN_KILL, GUARDIAN_END };
struct guardian_message {
	uint32_t magic, op;
	int32_t daemon;   /* its pid, 0 when it is dead; answers only */
	int32_t guardian; /* ours */
	int32_t has_map;  /* a descriptor comes along */
	int32_t status;   /* 0 or -errno */
};

#endif
