/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fanotify source: permission events of members become file_opened events with an answer due;
 * everybody else is allowed at once. Notification groups tell what is created, moved and deleted
 * in the directories that matter, and, where nothing is to be stopped, what was opened. All on the
 * verdict thread. Nothing here opens, allocates, logs, or waits.
 */
#ifndef OKNEK_SOURCES_FANOTIFY_H
#define OKNEK_SOURCES_FANOTIFY_H

#include "core/bus.h"
#include "core/pathset.h"
#include "core/peek.h"
#include "core/permission.h"
#include "core/proctree.h"
#include "core/programs.h"
#include "core/source.h"
#include "core/watch.h"
#include "sources/process.h"

struct fanotify_config {
	struct objects *objects;
	struct permission_table *permissions;
	struct watch_queue *queue;
	struct proctree *tree;
	struct process_feed *feed;
	struct programs *programs; /* that are marked for their start; NULL: none ever are */
	uint64_t deadline_ns;    /* of parked permissions */
	enum verdict on_timeout; /* for members */

	/* All on the verdict thread. */
	struct pathset *(*pathset)(void *arg);                /* of the rule set in force */
	const char *(*home_of)(void *arg, uid_t uid);         /* NULL: not known yet */
	bool (*reader_candidate)(void *arg, const char *exe); /* by readers: or an exception */
	/* How long this open may wait and what it gets then, in place of the two above. NULL: these. */
	void (*timeout)(void *arg, const struct event *ev, uint64_t *deadline_ns,
			enum verdict *on_timeout);
	void (*feed_lost)(void *arg); /* the feed overran: somebody must scan */
	/* Asks for something about a process that is held; never waits. 0: fanotify_peeked() brings the
	 * answer. -EAGAIN: too much is asked, it is asked again. NULL: nobody can be asked. */
	int (*peek)(void *arg, const struct peek_question *q);
	/* Does it depend on how a file is opened what is decided? How the process opens what it opens right
	 * now, for certain, else UNKNOWN: no system call. Can it have opened in a way that PEEK_MODE does
	 * not tell? NULL: no, UNKNOWN, no. */
	bool (*mode_matters)(void *arg, const struct event *ev);
	enum open_mode (*opening)(void *arg, const struct subject *subj, bool *also_read);
	bool (*mode_hidden)(void *arg, pid_t tgid);
	/* A member is about to be let run a program, of which dev and ino are the file (of a script: its
	 * interpreter) and ev->exec.argv what was judged: NULL when it could not be read. Directly
	 * before the answer. NULL: nobody wants to know. */
	void (*exec_allowed)(void *arg, const struct event *ev, const struct decision *d,
			     uint64_t dev, uint64_t ino);
	/* That protected file was deleted; ino 0: one was, or may have been, and nobody knows which. NULL:
	 * nobody wants to know. */
	void (*gone)(void *arg, uint64_t dev, uint64_t ino);
	void *arg;
};

#define HELD_RULES_MAX 80 /* bytes */

/* Who waits for an operator, and for what. The verdict thread's. */
struct fanotify_held {
	uint64_t token; /* of its permission; 0: none */
	uint32_t slot;
	uint32_t tree_id;
	pid_t pid;
	uint64_t start_time_ns, since_ns;
	uid_t uid;
	enum event_kind kind;
	uint64_t dev, ino; /* of the file, or the program */
	uint64_t name_hash; /* for whoever asked for it to be held */
	char id[32], part[64], name[128]; /* of the strongest rule */
	char rules[HELD_RULES_MAX];       /* of all that block: "R3/aws R9" */
	enum open_mode mode;
	bool also_read;
	enum { HELD_WAITS, HELD_ALLOWED, HELD_REFUSED } answer;
	char comm[16], path[4096];
	uint32_t argv_len_bytes;
	bool argv_cut;
	char argv[PEEK_ARGV_MAX]; /* NUL after each */
};

struct fanotify_figures {
	uint64_t answered, denied, by_deadline, strangers; /* strangers: opens by non-members */
	uint64_t parked_total, parked_refused; /* refused: beyond the limits, default given */
	unsigned parked, held; /* held: of these, for an operator */
	uint64_t unread; /* arguments that could not be read, default given */
	uint64_t observe_lost;
	bool feed_gap, no_room;
};

/* Opens the groups: needs CAP_SYS_ADMIN now, not later. -errno; *groups gets the descriptors,
 * owned by the source. */
int fanotify_open(const struct fanotify_config *c, struct source **ret,
		  struct watch_groups *groups);
/*
 * The groups alone that tell what is created, moved and deleted, for marks that find files and hold
 * nobody (groups->permission and observe are -1): it publishes nothing, and none of what follows is for
 * it. Of the configuration it takes objects, programs, queue and pathset.
 */
int fanotify_follow(const struct fanotify_config *c, struct source **ret, struct watch_groups *groups);

/*
 * The feed, and its gaps; verdict thread. While there is a gap, whether somebody is a member is
 * asked of the kernel's map where the feed has one: a bpf() call, the one exception from what this
 * source else keeps to, and nobody waits. Without a map, whom the table does not know waits until
 * the scan has ended, or for the deadline, and is allowed then.
 */

/* Takes what the feed has queued; feed_lost() is called for each gap. True: whoever the table does
 * not know is not watched. False: the table alone cannot say, until fanotify_feed_restored(). */
bool fanotify_drain_feed(struct source *s);
/* A member that the table should have is not in it: the same as if the feed had lost it. */
void fanotify_feed_gap(struct source *s);
/* How many gaps there were: asked before a scan, told when it was applied. */
uint64_t fanotify_feed_gaps(const struct source *s);
/* A scan was applied that began when there had been gaps_seen gaps. True: the feed is whole again,
 * and who waited for that is looked at. False: there was another gap meanwhile, scan again.
 * complete false: not all members found room. Then who is not in the table (nor in the kernel's
 * map) is not watched, but nobody is said to be no member. */
bool fanotify_feed_restored(struct source *s, uint64_t gaps_seen, bool complete);
/* Answers by deadline; next deadline in CLOCK_BOOTTIME ns, UINT64_MAX none. */
uint64_t fanotify_next_deadline(const struct source *s);
void fanotify_expire(struct source *s, struct bus *b, uint64_t now_ns);
/* Before the end, or a rest: who is held for an operator is answered with its default. Returns how many;
 * *unread: how many others may have an answer soon, since they wait for their turn, or to be read. */
unsigned fanotify_last_look(struct source *s, struct bus *b, unsigned *unread);
/* rest true: everything parked is answered with its default, and from here on whoever would be made
 * to wait gets that at once. Returns how many were parked. */
unsigned fanotify_rest(struct source *s, struct bus *b, bool rest);
/* Answers everything parked with its default, and what is still queued by rule: before closing,
 * when marks are gone already. */
void fanotify_finish(struct source *s, struct bus *b);
/* Publishes what is told of opens that nobody waits for, a bounded number. False: some of what was
 * told before this call may be left. */
bool fanotify_notices(struct source *s, struct bus *b);
void fanotify_figures(const struct source *s, struct fanotify_figures *ret);

bool fanotify_can_peek(const struct source *s); /* there is somebody to ask */
/* The answer to what peek() asked; one that comes too late is for nobody. Verdict thread. */
void fanotify_peeked(struct source *s, struct bus *b, const struct peek_answer *a);

/* Whoever was asked has ended, and what he was asked has no answer. Verdict thread. */
void fanotify_peek_lost(struct source *s, struct bus *b);

/* A process runs another program from here on. Verdict thread. */
void fanotify_exec_seen(struct source *s, pid_t tgid);

/*
 * fanotify_hold.c: events that are held for an operator; verdict thread. hold: of the event that is
 * being published, for so long from now, and what is answered then. 0: it waits, as *ret, which was
 * there before if it is held again; -EBUSY: there is no room, -EAGAIN: nobody is made to wait now,
 * -EALREADY: the guardian was first.
 */
int fanotify_hold(struct source *s, const struct event *ev, const struct decision *d,
		  uint64_t for_ns, enum verdict then, struct fanotify_held **ret);
/* The file that was opened, or is the program: as its descriptor tells. */
struct fanotify_source_file {
	uint64_t dev, ino;
};
void fanotify_file_of(const struct source *s, const struct permission *p,
		      struct fanotify_source_file *ret);
/* What was deleted before p was asked for has been told (gone), or is told now. False: it is too much. */
bool fanotify_gone_told(struct source *s, const struct permission *p);
struct fanotify_held *fanotify_held_of(struct source *s, const struct permission *p); /* or NULL */
/* Each that waits, from *at on, which begins with 0. NULL: no more. */
struct fanotify_held *fanotify_held_next(struct source *s, unsigned *at);
/* Publishes it again, with what `answer` says by now. An exec is read again before. */
void fanotify_held_again(struct source *s, struct bus *b, struct fanotify_held *h);

/* Parked permissions, for `oknek pending`. */
void fanotify_each_parked(struct source *s,
			  void (*fn)(void *arg, const struct permission *p), void *arg);

#endif
