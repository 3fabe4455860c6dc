/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guardian: a second process that answers permission events when the daemon does not. It has
 * been cloned with the daemon's descriptor table and without its memory: event descriptors have
 * one number in both and outlive the daemon, and so does the group, which as long as it is open
 * makes members' opens wait instead of letting them through. What it knows lies in memory both
 * have mapped: slots, membership, defaults of objects, journal.
 *
 * It sleeps while nothing is asked, looks every 10 ms while something is, and acts when the verdict
 * thread made no progress for 20 ms (stopped, traced, spinning, stuck in a read), or at once when
 * the daemon is dead: strangers are allowed, members get the default of the object at their
 * deadline. Each such answer is counted, a member's is a record.
 *
 * After the daemon's death it serves as long as a watched process lives, until a new daemon has
 * taken over: its service manager must let it live (KillMode=process). It ends with a clean stop.
 *
 * Its system calls, for a filter that it inherits: read write close close_range ppoll poll bpf
 * openat readlinkat fstat clock_gettime accept4 getsockopt recvfrom recvmsg sendto sendmsg kill
 * pidfd_open pidfd_send_signal rt_sigprocmask rt_sigaction prctl sched_setscheduler setpriority
 * mlockall getpid getppid gettid unlinkat exit_group. The daemon's main thread makes, to start,
 * mend and end it: clone (CLONE_FILES | SIGCHLD), pidfd_open, waitid, kill, write, poll.
 */
#ifndef OKNEK_ENFORCE_GUARDIAN_H
#define OKNEK_ENFORCE_GUARDIAN_H

#include "core/bus.h"
#include "core/defaults.h"
#include "core/permission.h"
#include "core/proctree.h"

#define GUARDIAN_SOCKET "guardian.sock" /* in the run directory */
#define GUARDIAN_KEEP_MAX 32

/* All that the guardian needs; it is copied. Pointers must stay good until guardian_stop(). */
struct guardian_config {
	int group_fd;
	struct permission_table *permissions;
	const struct proctree *tree;
	const struct defaults *defaults;
	struct recorder *recorder; /* may be used by several processes at once */
	/* A record of our own, as the journal keeps them. Any process; allocates nothing. */
	void (*own_record)(void *arg, const char *name, const char *json);
	/* The tree that the kernel knows pid as a member of, 0 for none, -errno when it cannot be
	 * asked; NULL where the feed has no map. Allocates nothing, takes no lock. */
	int64_t (*kernel_tree)(void *arg, pid_t pid);
	/* The first pid after `prev` (0: from the start) that the kernel has as a member; 0 none. */
	pid_t (*kernel_next)(void *arg, pid_t prev);
	/* A process is about to be let run a program that nobody has judged. Allocates nothing, takes
	 * no lock. NULL: nobody wants to know. */
	void (*exec_allowed)(void *arg, pid_t tgid);
	/* Gives up what it does not need; NULL: nothing. In the new process, which may allocate nothing
	 * and take no lock. */
	void (*settle)(void *arg);
	void *arg;
	int members_fd; /* the kernel's map, -1 none: handed to the next daemon */
	int wake_fd;    /* eventfd that makes the verdict thread look at its slots */
	int keep[GUARDIAN_KEEP_MAX]; /* descriptors that keep the kernel's side alive without us */
	unsigned n_keep;
	uint64_t deadline_ns;
	enum verdict on_timeout;
};

struct guardian;
struct guardian_peer;

/* Makes its memory; mode as it is in force. -errno. */
int guardian_new(const struct guardian_config *c, enum mode mode, struct guardian **ret);

/* Clones it: the first time while privileged, before there are threads; again by the main thread.
 * -errno: there is none then. */
int guardian_start(struct guardian *g);

/*
 * A thread that clones it again: priority is inherited from who clones, and privilege to raise it is
 * gone by then. To be called at the priority that it is to have. settle: the thread calls it first,
 * with c.arg. -errno: without it, the main thread clones.
 */
int guardian_start_maker(struct guardian *g, void (*settle)(void *arg));

/* Main thread, each tick: notices that it ended, stopped or hangs, and replaces it. 1 when it was
 * replaced, 0 all is well (or it was never started), -errno: it is gone and could not be. */
int guardian_check(struct guardian *g, uint64_t now_ns);

/* A process is there that answers if we do not. Any thread. */
bool guardian_alive(const struct guardian *g);

/* until_s: by the wall clock, when `after` is in force instead, be the daemon there or not; 0: never. */
void guardian_set_mode(struct guardian *g, enum mode mode, int64_t until_s, enum mode after);

/* The socket by which the next daemon finds it, once it may be found; stays the caller's. */
void guardian_set_listener(struct guardian *g, int fd);
/* While set: another guardian holds everybody; ours ends with us and does not stay. */
void guardian_set_spare(struct guardian *g, bool spare);
/* The one that ours relieves, from before it is spare no more until that has ended (NULL): if we die
 * in between, ours tells it to end. */
void guardian_set_before(struct guardian *g, const struct guardian_peer *before);

/* Ends it: all that it had claimed is answered. Frees the memory. NULL is fine. */
void guardian_stop(struct guardian *g);
/* Frees the daemon's side and leaves it in charge: the daemon must end now, without closing the
 * group or its marks. */
void guardian_leave(struct guardian *g);

/*
 * From a handler of a fatal signal, any thread: makes the guardian act at once instead of waiting
 * until progress was missed. The handler must end the process with _exit() or the signal's default
 * soon after. Async-signal-safe; does nothing when there is no guardian.
 */
void guardian_note_crash(void);

struct guardian_figures {
	bool alive;
	pid_t pid; /* 0 none */
	uint64_t restarts;
	uint64_t members_denied, members_allowed, strangers; /* answered by it */
	uint64_t episodes; /* times that it had to act */
	uint64_t longest_ns; /* that the verdict thread was missed, at most */
};
void guardian_figures(const struct guardian *g, struct guardian_figures *ret);

/* --- hand-over: the guardian of an earlier daemon ------------------------------------------- */

struct guardian_peer;

/* Finds one by its socket in the run directory; only one of our uid is believed. -ENOENT: there is
 * none. */
int guardian_peer_find(const char *run_dir, struct guardian_peer **ret);
pid_t guardian_peer_daemon(const struct guardian_peer *p); /* that it guards, 0 when that is dead */
/* The map of members that the kernel kept up to date meanwhile, -1 none. Owned by the peer. */
int guardian_peer_members_fd(const struct guardian_peer *p);
/* Asks it to make its living daemon leave, kills that after wait_ms. 0 when it is gone. */
int guardian_peer_replace(struct guardian_peer *p, int wait_ms);
/* Our marks stand: it answers what it has, closes its group and ends. Waits for that, wait_ms at
 * most. */
int guardian_peer_end(struct guardian_peer *p, int wait_ms);
void guardian_peer_free(struct guardian_peer *p); /* NULL is fine; leaves it as it is */

#endif
