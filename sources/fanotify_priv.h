/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the fanotify source. */
#ifndef OKNEK_SOURCES_FANOTIFY_PRIV_H
#define OKNEK_SOURCES_FANOTIFY_PRIV_H

#include <sys/fanotify.h>

#include "sources/fanotify.h"

#define FANOTIFY_EVENT_BUF 8192

/* What is remembered of a permission while it is parked; index as the slot's. */
struct parked {
	uint64_t dev, ino;
	bool unlinked;    /* nlink 0 when it was opened */
	bool undecided;   /* waits to hear whether its opener is a member */
	bool drained;     /* all changes that were queued before it are taken */
	uint64_t wait_seq; /* the last of them: to be settled first */
	uint64_t exe_seq;  /* of the question whether its exe is what it is called; 0: not asked */
	uint64_t exe_hash; /* of what it was called then */
	uint64_t read_seq; /* of the read that gave it */
	bool asked;        /* of an exec: for its arguments */
	uint8_t tries;     /* so often in vain */
	enum { MODE_NOT_ASKED, MODE_WANTED, MODE_ASKED, MODE_TOLD } mode_is; /* of an open */
	enum open_mode mode;
	bool also_read;
	bool held; /* waits for an operator, and for nothing else */
};

/*
 * Members wait for their turn in a queue of their tree's (or of several trees': they are dealt out
 * by id), and the queues take turns: whoever asks often waits for himself. None of them is made to
 * wait for longer than that: an answer wakes all who wait in the kernel for one, so that those who
 * are held back make the answers of everybody else dear.
 */
#define TURN_QUEUES 64 /* a bit each */
#define TURN_BETWEEN_READS 2 /* so many are judged before who asked meanwhile is looked at */

/* Not linked by slot: the guardian may answer what waits, and the slot be another's by its turn. */
struct turn {
	uint16_t next; /* 0: none */
	uint16_t slot;
	uint64_t token; /* of the permission that was there */
	uint64_t read_seq;
};

struct turn_queue {
	uint16_t first, last; /* turns; valid while the queue is used */
};

struct turns {
	struct turn turn[PERMISSION_TURN_MAX + 1]; /* the first is none */
	uint16_t free;
	struct turn_queue q[TURN_QUEUES];
	uint64_t used; /* bit per queue */
	unsigned at;   /* the queue whose turn is next */
	unsigned waiting, max; /* each is a descriptor */
};

/* fanotify_turns.c */
void turns_init(struct turns *t);
/* At the end of its tree's queue. While fewer than max wait. */
void turns_put(struct turns *t, uint32_t tree_id, const struct turn *turn);
/* The first of the queue whose turn it is. False: nobody waits. */
bool turns_take(struct turns *t, struct turn *ret);

enum ready { READY_PERMISSION = 1, READY_CHANGE = 2, READY_OPEN = 4, READY_DONE = 8 };

#define EXES_KNOWN 64

struct known_exe {
	pid_t tgid; /* 0: none */
	uint64_t start_time_ns;
	char path[256];
};

struct fanotify_source {
	struct source base;
	struct fanotify_config c;
	struct watch_groups groups;
	int epoll_fd;
	pid_t own_pid;
	bool feed_drained; /* nothing was left in the feed when we last looked */
	bool feed_gap;     /* the feed lost something, and no scan has made up for it */
	bool no_room;      /* one did, but not all members found room in the table */
	uint64_t feed_gaps;
	bool resting; /* nobody is made to wait */
	struct bus *bus; /* while dispatching */
	const struct peek_answer *peeked; /* while an event is decided by it */
	bool peek_wanted; /* somebody found no room for his question */

	struct parked parked[PERMISSION_SLOTS];
	struct fanotify_held held[PERMISSION_HELD_MAX]; /* touched when it is used */
	unsigned n_held; /* that are not found to be over */
	struct turns turns;
	uint64_t read_seq; /* grows with each read of the permission group */
	uint64_t changes_seq; /* that of the last read before changes were drained */
	bool changes_all;     /* and then nothing was left */
	uint64_t change_seq; /* of the last change that was queued */
	char change_path[4096]; /* the last name that was given to something and is to be denied */

	uint64_t seq;
	uint64_t read_ns; /* when the batch in hand was read */
	uint64_t read, malformed, lost;
	struct fanotify_figures fig;
	uint64_t started_ns;

	struct known_exe exes[EXES_KNOWN];
	char path[4096], exe[4096], lineage[LINEAGE_MAX]; /* of the event in hand */
	uint8_t notify_buf[FANOTIFY_EVENT_BUF] __attribute__((aligned(8)));
};

/* fanotify_decide.c: decides one permission, anew if it was parked. Its slot is free afterwards, or parked. */
void fanotify_decide(struct fanotify_source *s, struct permission *p, struct bus *b, bool expired);
/* A change that was queued before its event was read is covered by a drain that began after that
 * read; one drain does for all that was read before it. */
bool fanotify_changes_drained(struct fanotify_source *s, uint64_t read_seq);
/* Are the names known by which the file in ctx is protected? obj: as what it is by now, or NULL. */
bool fanotify_names_settled(struct fanotify_source *s, struct parked *ctx, const struct object *obj);

/* fanotify_read.c: a bounded number of events. Returns how many were handled. */
int fanotify_read_permissions(struct fanotify_source *s, struct bus *b);
/* Judges the next, of the queue whose turn it is. False: nobody waits. */
bool fanotify_judge_next(struct fanotify_source *s, struct bus *b);
/* The events that the guardian has read when we were late, and left to us. */
void fanotify_take_left(struct fanotify_source *s, struct bus *b);

/* fanotify_recheck.c: decides what is parked and waits for nothing any more. */
void fanotify_recheck_parked(struct fanotify_source *s, struct bus *b);
/* Done with what was begun; as long as somebody waits for his turn the guardian is to look on. */
void fanotify_end_work(struct fanotify_source *s);

/* fanotify_open.c: opens the groups, and has what wakes us in epoll_fd. While privileged. */
int fanotify_open_groups(struct fanotify_source *s);
/* Of these, the groups that tell of names. */
int fanotify_open_names(struct fanotify_source *s);

/* fanotify_subject.c: who did it, from table and feed; fills s->exe. */
void fanotify_subject(struct fanotify_source *s, const struct member *m, struct subject *ret);
/* What link leads to; "" if it cannot be read. */
void fanotify_read_link(const char *link, char *buf, size_t size);

enum who { WHO_MEMBER, WHO_STRANGER, WHO_UNKNOWN };

/* Member or not, as far as can be said now. *ret: as which; spare if the table does not have it
 * (its comm is not known then, nor its parent). */
enum who fanotify_who(struct fanotify_source *s, pid_t pid, struct member *spare,
		      const struct member **ret);

/* fanotify_park.c: made to wait. False: there is no room, or it is the end: to be answered. */
bool fanotify_can_park(struct fanotify_source *s, struct permission *p, uint32_t tree_id,
		       uint64_t deadline_ns, enum verdict on_timeout);
/* The same, or answered with what it would get at the deadline; for opens. */
void fanotify_park(struct fanotify_source *s, struct event *ev, struct bus *b, uint32_t tree_id,
		   uint64_t deadline_ns, enum verdict on_timeout);
/* The same with what the rules say about the file; nothing for who waits already. */
void fanotify_park_member(struct fanotify_source *s, struct event *ev, struct bus *b,
			  struct parked *ctx, const struct object *obj, const struct member *m);
/* For one that is parked, and kept from telling what it does by want of a processor: it has longer. */
void fanotify_put_off(struct fanotify_source *s, struct permission *p);
/* What the rules say about an answer that takes long: by what is in ev. */
enum verdict fanotify_timeout(struct fanotify_source *s, const struct event *ev,
			      uint64_t *deadline_ns);
/* The same for an open, by the names that are known now; they are not left in ev. */
enum verdict fanotify_timeout_by_names(struct fanotify_source *s, struct event *ev,
				       struct parked *ctx, const struct object *obj,
				       uint64_t *deadline_ns);
/* The names to judge by: what the descriptor says now, then what the object is protected as. */
void fanotify_names(struct fanotify_source *s, struct event *ev, struct parked *ctx,
		    const struct object *obj);

enum gone { GONE_NOT, GONE_ENDED, GONE_LEFT }; /* left: it lives, and is watched no more */

/* fanotify_exec.c: decides about a program that a member, who is in ev, is about to run, or parks it
 * and asks for its arguments. What took effect, as bus_publish() tells. */
enum verdict fanotify_exec_decide(struct fanotify_source *s, struct event *ev, struct bus *b,
				  struct parked *ctx, uint32_t tree_id, bool became_member,
				  bool expired, enum gone gone);
/* Asks for them; one that is parked. False: nobody will ever tell. */
bool fanotify_exec_ask(struct fanotify_source *s, const struct permission *p, struct parked *ctx);

/* fanotify_mode.c: how the file in ev is opened, where what is decided depends on that. True: it is
 * parked, and somebody is asked. */
bool fanotify_mode(struct fanotify_source *s, struct event *ev, struct parked *ctx, uint32_t tree_id);
void fanotify_mode_told(struct fanotify_source *s, struct permission *p, struct parked *ctx,
			const struct peek_answer *a);
/* For one that is parked for this: may it go on? Asks again when there was no room. */
bool fanotify_mode_again(struct fanotify_source *s, const struct permission *p, struct parked *ctx);

/* fanotify_hold.c: a look at who is held, after each batch: who has ended is let go. */
void fanotify_held_look(struct fanotify_source *s, struct bus *b);
/* As whom it is to be judged whose membership cannot be told, or who is a member no more (*gone). */
enum who fanotify_held_who(struct fanotify_source *s, const struct fanotify_held *h, enum who who,
			   bool expired, struct member *spare, const struct member **m,
			   enum gone *gone);
/* What was known of the event when it was held. */
void fanotify_held_event(const struct fanotify_held *h, struct event *ev);

/* Reads the notification groups until they are empty: what a permission event that was read
 * before must not overtake. False when its bound was reached and more is queued. */
bool fanotify_drain_changes(struct fanotify_source *s);
/* One batch of what members opened where only notification marks stand. */
bool fanotify_drain_opens(struct fanotify_source *s, struct bus *b);

#endif
