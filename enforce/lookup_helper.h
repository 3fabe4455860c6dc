/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the mark process. Everything here runs in the zygote or in the helper. */
#ifndef OKNEK_ENFORCE_LOOKUP_HELPER_H
#define OKNEK_ENFORCE_LOOKUP_HELPER_H

#include "core/pathset.h"
#include "enforce/lookup.h"
#include "enforce/lookup_wire.h"
#include "enforce/mounts.h"

/* ---- lookup_zygote.c */

/* Forks helpers as the client asks, until it goes. `parent` is the client's pid. */
void zygote_serve(enum lookup_kind kind, int control, pid_t parent) __attribute__((noreturn));

/* ---- lookup_cred.c */

/* Gives up all but the capabilities of this kind of lookups; none of them is lent to a user's
 * walk. */
int cred_reduce(enum lookup_kind kind);
/* The helper: what it keeps of them, as a user of its own. */
int cred_settle(enum lookup_kind kind);
/* What the databases say of uid, which may take for ever: its groups, the primary first. *n 0:
 * nobody knows it. Freed by the caller. -errno. */
int cred_groups(uid_t uid, gid_t **ret, size_t *n);
/* Files are accessed as uid from here on, with these groups (the primary first, 0 of them: none)
 * and no override. -errno: still root; -ESRCH: as cred_die_with(). */
int cred_become(uid_t uid, const gid_t *groups, size_t n, pid_t parent);
/* As root, with leave to read and search any directory (where the daemon has it). */
int cred_return(pid_t parent);
/* Changing the credentials disarms this; 0, or -ESRCH when the parent is gone already. */
int cred_die_with(pid_t parent);

/* ---- lookup_steer.c: all patterns as one tree of components, walked beside the directories */

struct steer;

struct steer_state {      /* the tree nodes that the path so far stands for, ascending */
	unsigned n;
	unsigned *nodes;
};

enum steer_class { STEER_ROOT = 1, STEER_HOME = 2, STEER_FLOATING = 4 };

int steer_new(const struct pathset *p, struct steer **ret);
void steer_free(struct steer *s);

/* The state of an absolute path, for patterns of these classes. home may be NULL. */
int steer_start(const struct steer *s, unsigned classes, const char *path, const char *home,
		struct steer_state *ret);
/* The state of one name below. An empty state: nothing there can match. */
int steer_step(const struct steer *s, const struct steer_state *from, const char *name,
	       struct steer_state *ret);
void steer_state_free(struct steer_state *st);

struct steer_view {
	bool here;    /* this path may match */
	bool direct;  /* a name directly in it can */
	bool deeper;  /* a name further below can */
	bool list;    /* its names must be listed: not all that matter are spelled out */
	enum verdict verdict; /* the strongest that a direct name can meet */
	uint64_t hash;        /* equal states reach the same */
};

void steer_look(const struct steer *s, const struct steer_state *st, struct steer_view *ret);
/* The names that the patterns spell out, from *at = 0 on, each once; NULL past the last. */
const char *steer_name(const struct steer *s, const struct steer_state *st, unsigned *at);
bool steer_spells(const struct steer *s, const struct steer_state *st, const char *name);

/* ---- lookup_walk.c */

struct walk {
	/* for all requests */
	struct mounts *mounts;
	const struct pathset *patterns;
	const struct steer *steer;
	const char *roots; /* NUL after each, an empty one ends; NULL: everywhere */

	/* for one */
	uid_t uid;
	const char *home, *project; /* NULL: none */
	unsigned classes;
	/* Sends; found() waits until it is dealt with. -errno ends the walk. */
	int (*found)(void *arg, const struct wire_reply *head, const struct wire_text *texts, int fd);
	int (*gap)(void *arg, const char *path, const char *why);
	void *arg;
};

/* Each runs as the user that the caller became. 0 or -errno. */
int walk_expand(struct walk *w, const char *start);
int walk_child(struct walk *w, int dir_fd, const char *dir_path, const char *name);
int walk_object(struct walk *w, int fd, const char *path);
/* Opens the root directory of a mount for open_by_handle_at(2), by a way that cannot stall. */
int walk_open_mount(struct walk *w, const struct mount *m);

/* ---- lookup_proc.c */

struct stat;

/* The texts point into buf. -ESRCH. */
int proc_process(pid_t pid, struct lookup_process *buf, struct wire_text texts[WIRE_TEXTS]);
/* For each open regular file on a filesystem of the allow list; -errno of fn ends it. */
int proc_descriptors(pid_t pid,
		     int (*fn)(void *arg, int fd, const struct stat *st, const char *path),
		     void *arg);

/* ---- lookup_server.c */

/* Serves requests until the client goes. */
void lookup_serve(enum lookup_kind kind, int sock, pid_t parent) __attribute__((noreturn));

#endif
