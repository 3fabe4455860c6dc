/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is watched: the members of each agent's process tree. One writer, the verdict thread; other
 * threads ask it through the loop. Membership is inherited at fork. The table is in memory of a
 * fixed size (no allocation on the answer path) mapped from a file in the run directory, so that
 * members are found again after the daemon was killed.
 */
#ifndef OKNEK_CORE_PROCTREE_H
#define OKNEK_CORE_PROCTREE_H

#include "core/event.h"

#define PROCTREE_MEMBERS_MAX 65536
#define PROCTREE_TREES_MAX 1024
#define LINEAGE_MAX 512

struct tree {
	uint32_t id; /* from 1 */
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
	uint32_t members; /* alive now */
	uint32_t parked;
	uint64_t blocked, warned;
};

struct member {
	pid_t tgid;
	pid_t ppid; /* at fork */
	uint64_t start_time_ns; /* CLOCK_BOOTTIME, as task->start_boottime, /proc/PID/stat field 22 */
	uint32_t tree_id;
	uid_t uid;
	char comm[16];
	bool exited; /* kept for a while for lineage */
	bool main_exe; /* runs the agent's own main executable: root process or self re-exec */
};

struct proctree;

/* path: file for the table, NULL for plain memory. Existing members are read back and kept only if
 * the process with that start time is alive (/proc is asked, at start only). -errno. */
int proctree_open(const char *path, struct proctree **ret);
void proctree_close(struct proctree *t);
/* Forgets the file as well: for a clean exit that ends all watching. */
void proctree_unlink(struct proctree *t);

/* A new tree with root as its only member; the strings of `init` are copied, id and session are
 * made. -ENOSPC, -EEXIST when the process is a member already. */
int proctree_add_tree(struct proctree *t, const struct tree *init, const struct tree **ret);
/* Makes a running process a member of a tree (adoption, rescans). 1 if new, 0 if it was one. */
int proctree_adopt(struct proctree *t, uint32_t tree_id, const struct member *m);
/* Ends watching of a tree; its members become strangers. */
int proctree_remove_tree(struct proctree *t, uint32_t tree_id);

/* From the feed. Unknown parents and pids are ignored: they are not watched. fork returns 1 when
 * the child became a member. -ENOSPC is counted as overflow. */
int proctree_fork(struct proctree *t, pid_t parent, pid_t child, uint64_t start_time_ns);
void proctree_exec(struct proctree *t, pid_t tgid, const char *comm, uid_t uid);
void proctree_exit(struct proctree *t, pid_t tgid);

/* The member, NULL if not watched. O(1), no system call. */
const struct member *proctree_find(const struct proctree *t, pid_t tgid);
struct tree *proctree_tree(struct proctree *t, uint32_t tree_id); /* NULL if gone */
/* "claude > bash > cat" into buf, oldest first, from the table alone. */
void proctree_lineage(const struct proctree *t, pid_t tgid, char *buf, size_t len_bytes);

void proctree_each_tree(struct proctree *t, void (*fn)(struct tree *tr, void *arg), void *arg);
void proctree_each_member(const struct proctree *t, uint32_t tree_id,
			  void (*fn)(const struct member *m, void *arg), void *arg);
unsigned proctree_members(const struct proctree *t);
uint64_t proctree_overflows(const struct proctree *t); /* members that found no room: a gap */

#endif
