/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is watched: the members of each agent's process tree. One writer, the verdict thread; other
 * threads ask it through the loop, or proctree_peek(). Membership is inherited at fork. The table
 * is in memory of a fixed size (no allocation on the answer path) mapped from a file in the run
 * directory, so that members are found again after the daemon was killed. Pages come into memory
 * when they are first used: a daemon that locks its memory should lock this on fault
 * (MCL_ONFAULT), or all of it becomes resident.
 */
#ifndef OKNEK_CORE_PROCTREE_H
#define OKNEK_CORE_PROCTREE_H

#include "core/event.h"
#include "core/procstat.h"

#define PROCTREE_MEMBERS_MAX 65536
#define PROCTREE_EXITED_MAX 4096 /* kept after they exited, for lineage and late events */
#define PROCTREE_TREES_MAX 1024
#define PROCTREE_ENDED_KEEP 32 /* ended trees whose row is not reused yet */
#define LINEAGE_MAX 512

struct tree {
	uint32_t id; /* from 1; never used twice while the table lives */
	char agent[32];   /* "claude-code"; "unnamed" when --agent was not given */
	char session[40]; /* random, unique */
	pid_t root_pid;
	uint64_t root_start_ns;
	uid_t uid;  /* of the root process when it was watched */
	uid_t auid;
	char how[16]; /* run, watch, recognised, marker */
	int64_t since_unix_s;
	char homes[HOMES_MAX][4096 / HOMES_MAX]; /* "" when unused */
	char cwd[1024]; /* working directory of the root process: the project; "" not known */
	uint32_t members; /* alive now; 0: the tree has ended, its row is kept for late events */
	uint32_t parked_refused; /* opens that found no room to wait: the default at once */
	uint64_t blocked, warned;
};

struct member {
	pid_t tgid;
	pid_t ppid; /* at fork */
	uint64_t start_time_ns; /* CLOCK_BOOTTIME, as task->start_boottime, /proc/PID/stat field 22;
				 * 0 not known (yet) */
	uint32_t tree_id;
	uid_t uid;
	char comm[16];
	bool exited; /* kept for a while for lineage */
	bool main_exe; /* runs the agent's own main executable: root process or self re-exec */
	bool execed;   /* since it became a member */
	bool left;     /* with exited: its tree was unwatched, it lived */
	uint16_t threads; /* for feeds that count them; 0 not known */
};

/* Whether two start times can be of one process: equal at the resolution of /proc. A time that is
 * not known (0) is the same as nothing. */
static inline bool start_time_same(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns && b_ns && a_ns / PROCSTAT_TICK_NS == b_ns / PROCSTAT_TICK_NS;
}

struct proctree;

/*
 * path: file for the table, NULL for plain shared memory. Members that an earlier daemon left
 * there are kept if the process with that start time is alive (/proc is asked, at start only); the
 * caller then scans for those born since. A file that is torn, foreign, of another boot or
 * writable by others is not believed: the table starts empty. All memory a member needs is
 * reserved here, so that a full file system cannot hurt later. -errno.
 */
int proctree_open(const char *path, struct proctree **ret);
/* The same, but trees of which nobody was found stay until proctree_end_empty(): there may be
 * members that the file does not know, born since, and somebody else does. */
int proctree_open_kept(const char *path, struct proctree **ret);
void proctree_end_empty(struct proctree *t);
void proctree_close(struct proctree *t);
/* Forgets the file as well: for a clean exit that ends all watching. */
void proctree_unlink(struct proctree *t);

/* A new tree with root as its only member; the strings of `init` are copied, id and session are
 * made. Asks /proc for the name of the root: not on the answer path. *ret stays valid until the
 * tree ended and PROCTREE_ENDED_KEEP others after it. -ENOSPC, -EEXIST when the process is a
 * member already. */
int proctree_add_tree(struct proctree *t, const struct tree *init, const struct tree **ret);
/* Makes a running process a member of a tree (adoption, rescans). 1 if new, 0 if it was one.
 * -ESRCH when the tree is gone, -ENOSPC. */
int proctree_adopt(struct proctree *t, uint32_t tree_id, const struct member *m);
/* Ends watching of a tree; its members become strangers. Not on the answer path. */
int proctree_remove_tree(struct proctree *t, uint32_t tree_id);

/*
 * From the feed. Unknown parents and pids are ignored: they are not watched. fork returns 1 when
 * the child became a member; whoever had the child's pid before is gone. start_time_ns 0: not
 * known. -ENOSPC is counted as overflow.
 */
int proctree_fork(struct proctree *t, pid_t parent, pid_t child, uint64_t start_time_ns);
/* comm NULL, uid -1: not told. Clears main_exe, except for what `oknek run` starts first. */
void proctree_exec(struct proctree *t, pid_t tgid, const char *comm, uid_t uid);
void proctree_exit(struct proctree *t, pid_t tgid);

/* What is learnt later about a live member; unknown pids are ignored. */
void proctree_set_start(struct proctree *t, pid_t tgid, uint64_t start_time_ns);
void proctree_set_name(struct proctree *t, pid_t tgid, const char *comm, uid_t uid);
void proctree_set_threads(struct proctree *t, pid_t tgid, unsigned threads);
void proctree_set_main_exe(struct proctree *t, pid_t tgid, bool main_exe);

/* The member, NULL if not watched. O(1), no system call. Valid until the next call that writes. */
const struct member *proctree_find(const struct proctree *t, pid_t tgid);
/* The same, or who had this pid last and exited lately (`exited` is set): for the record of an
 * event whose process was killed meanwhile. Not for deciding. */
const struct member *proctree_find_recent(const struct proctree *t, pid_t tgid);
/* The id of the tree a pid is a live member of, 0 if none. For any thread, and for any process
 * that inherited the mapping, also after the writer died in the midst of a change. */
uint32_t proctree_peek(const struct proctree *t, pid_t tgid);
/* The same, with a copy of the row (NULL: none), in which a field may be of the moment before or
 * after a change. Not for threads of the writer's process. */
uint32_t proctree_peek_member(const struct proctree *t, pid_t tgid, struct member *ret);
/* A live member at or after row *at, which is advanced past it; false: no more. For the same askers. */
bool proctree_peek_next(const struct proctree *t, uint32_t *at, struct member *ret);

/* NULL if gone; a tree that ended lately has members == 0. */
struct tree *proctree_tree(struct proctree *t, uint32_t tree_id);
/* "claude > bash > cat" into buf, oldest first, from the table alone; "… > " in front when older
 * ones found no room. "" for a pid that was never a member. */
void proctree_lineage(const struct proctree *t, pid_t tgid, char *buf, size_t len_bytes);

/* Live trees, live members. The functions called may let members exit, not add any. */
void proctree_each_tree(struct proctree *t, void (*fn)(struct tree *tr, void *arg), void *arg);
/* tree_id 0: of all trees. */
void proctree_each_member(const struct proctree *t, uint32_t tree_id,
			  void (*fn)(const struct member *m, void *arg), void *arg);
unsigned proctree_members(const struct proctree *t);
uint64_t proctree_overflows(const struct proctree *t); /* members that found no room: a gap */

#endif
