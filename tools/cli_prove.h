/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `oknek doctor --prove` is made of. Its processes:
 *
 *   the command   asks the daemon, compares what came of it with the records, prints. It never becomes
 *                 the user that is tried, and touches no decoy.
 *   the keeper    makes the decoys, as the user that is tried, and takes them away when the command has
 *                 ended, however that came.
 *   the stranger  tries each route once, watched by nobody: what fails for it cannot be tried here. It runs
 *                 and cuts no file that the user can write, since anybody of that uid may have put something
 *                 else in its place; and who starts it ends all that it leaves.
 *   the member    tries every rule by every route, in a tree that the daemon watches from birth.
 *
 * An attempt is a process of its own, with a deadline. What becomes of it stands in memory that all of
 * them share, since who acts may be nobody's child any more. Who tries is in the hands of the user that
 * is tried: nothing but numbers is shared, and what root has in its environment and its descriptors is not
 * theirs. Nobody of that uid looks into who tries.
 */
#ifndef OKNEK_TOOLS_CLI_PROVE_H
#define OKNEK_TOOLS_CLI_PROVE_H

#include <sys/socket.h>

#include "core/rule.h"
#include "tools/cli.h"

#define PROVE_AGENT "oknek-prove"
#define PROVE_ATTEMPT_S 4 /* then whoever tries is killed */
#define PROVE_RUN_S 90    /* all attempts of the member, which are seconds where a host is not slow */

/* ---- routes -------------------------------------------------------------------------------------- */

/* What a route came to. An error of the step that counts is -errno; what kept it from that step is
 * PROVE_CANNOT and the errno. */
enum { PROVE_THROUGH = 0, PROVE_KILLED = 1, PROVE_LATE = 2, PROVE_UNTRIED = 3, PROVE_CANNOT = 1000 };

struct prove_place {
	char home[1024];    /* HOME of who tries, with the decoys of rules for homes */
	char work[1100];    /* below it: its working directory, and those of floating patterns */
	char scratch[1100]; /* below it, on the same filesystem */
	char service[1200]; /* a socket that is called as docker's, at which nobody answers */
	char program[1200]; /* a static one, for cli_prove_static.c */
	char shell[1200];   /* the host's, or where that is not held, a decoy */
	bool unwatched;     /* who tries is the stranger: what the user can write is neither run nor cut */
};

struct prove_target {
	const char *label; /* of several of one rule: "metadata"; "" of a single one */
	char *path;        /* of a decoy, which may be a program, or of a socket */
	const char *v4, *v6; /* addresses */
	char *command;     /* for a shell */
	const char *unclaimed; /* why the rule does not claim this one; NULL: it does */
	int before_fd;     /* of the decoy, opened before anybody watched; -1 none */
};

struct prove_route {
	const char *name;
	enum event_kind kind;
	bool claimed; /* by a rule that blocks; else it is shown, and known to be open */
	int (*try)(const struct prove_place *p, const struct prove_target *t);
	bool local; /* to the path of a socket, not to an address; of a program by its name, not of a shell */
	enum open_mode mode; /* of opens */
};

/* By which all attempts of a kind are made; names NULL end them. */
extern const struct prove_route prove_opens[], prove_connects[], prove_execs[];

/* Hand-offs to those who are watched by nobody. What is said of each: whether it can be reached. */
struct prove_handoff {
	const char *name;
	/* 0: reached; -EPERM; PROVE_CANNOT + errno: it is not here. */
	int (*reach)(const void *arg);
	const void *arg;
};
extern const struct prove_handoff prove_handoffs[];

/* ---- attempts (cli_prove_attempt.c) ---------------------------------------------------------------- */

/* What came of an attempt. */
struct prove_came {
	int32_t came;
	int32_t pid; /* of who acted last */
	int64_t took_ns;
};

struct prove_cell {
	unsigned rule, target; /* rule UINT_MAX: none */
	unsigned control;      /* the stranger's attempt that says whether it can be tried */
	const struct prove_route *route;
	const struct prove_handoff *handoff; /* in place of a route */
	struct prove_came *shared; /* who tries writes there; came: as it was when they had ended */
	struct prove_came came;
	/* Of the record: "" none. */
	char verdict[16], mechanism[16];
	bool is_errno;
};

/* Who acts says so, just before it does. */
void prove_here(void);
/* What the function returns, in a daemon that forked twice, or in a child of our parent's; PROVE_KILLED
 * when that was killed. */
int prove_apart(int (*fn)(void *arg), void *arg, bool sibling);
/* The status of a program that was started: 0, PROVE_KILLED, another exit status as -status. */
int prove_status(int pid);
/* One attempt; returns when it has ended, or was killed. */
void prove_try(struct prove_cell *c, const struct prove_place *p, const struct prove_target *t);
/* For who is unwatched: whether a program that the user writes could be run. None is. */
int prove_could_run(const struct prove_place *p);
/* Ends and reaps all children of the caller, and where that is a subreaper, all theirs. -ETIMEDOUT: there
 * are some left. */
int prove_sweep(void);

/* One request of io_uring, by a ring of its own (cli_prove_uring.c). */
struct io_uring_sqe;
int prove_uring(const struct io_uring_sqe *sqe, unsigned setup_flags);

/* A static program that makes these system calls one after another, ending with the errno of the one that
 * failed, or 0 (cli_prove_static.c). last: the first argument is what the call before returned. */
struct prove_call {
	uint64_t nr, a, b, c, last;
};
/* Data is at PROVE_STATIC_DATA of its memory. Writes it as path; 0, PROVE_CANNOT + errno. */
#define PROVE_STATIC_DATA 0x10001000ull
int prove_static(const char *path, const struct prove_call *calls, unsigned n, const void *data,
		 size_t len_bytes);

/* ---- rules and decoys (cli_prove_rules.c, cli_prove_keeper.c) --------------------------------------- */

#define PROVE_TARGETS 3
struct prove_rule {
	char *id, *part;
	enum event_kind kind;
	enum verdict action;
	enum mechanism mechanism;
	int64_t threshold;
	char *decoy; /* below the home: a file, or a program that ends at once; NULL none */
	unsigned modes; /* by which it means that one: 1u << OPEN_MODE_READ and so on */
	char why[160]; /* it is not tried: why */
	char *unbound; /* why nothing holds it; "" */
	unsigned n_targets;
	struct prove_target targets[PROVE_TARGETS];
};

struct prove {
	struct cli *cli;
	const char *user, *dir; /* --user, --in; NULL: the caller, its home */
	uid_t uid;
	gid_t gid;
	char *user_name, *user_home;
	char *mode;      /* of the daemon */
	bool closed, unix_seen, gateway; /* the egress jail */
	uint64_t last_seq; /* of the evidence, before anybody tried */
	struct prove_place place;
	struct prove_rule *rules;
	size_t n_rules;
	struct prove_cell *cells, *controls;
	size_t n_cells, n_controls;
	char session[64];
	int64_t tree;
};

/* Of the daemon that answers; said. */
int prove_rules(struct prove *p);
/* Where the decoys are to be, once the place is known. */
void prove_targets(struct prove *p);
void prove_rules_free(struct prove *p);
/* "R3/aws" */
const char *prove_rule_name(const struct prove_rule *r, char *buf, size_t size);

struct prove_keeper {
	int pid, fd; /* fd: its end of our life */
};
/* Makes the decoys and fills the place. CLI_DONE or CLI_FAILED, said. */
int prove_keep(struct prove *p, struct prove_keeper *k);
void prove_keep_pid(struct prove_keeper *k, int pid); /* it kills this one's group, too; 0: nobody's */
void prove_keep_end(const struct prove *p, struct prove_keeper *k); /* of one that was killed it does the rest */
/* The calling process becomes the user that is tried: with an environment of its own, where it was root.
 * Nobody but root looks into it. Of its descriptors `keep` is left, as 3, beside three of /dev/null; -1:
 * none. -errno. */
#define PROVE_KEPT_FD 3
int prove_become(const struct prove *p, int keep);

/* ---- the result (cli_prove_result.c) ----------------------------------------------------------------- */

enum prove_verdict { PROVED_DENIED, PROVED_DETECTED, PROVED_OPEN, PROVED_NOT_TRIED };

/* Asks for the records, until there is one for each denial or time is over. */
int prove_records(struct prove *p);
enum prove_verdict prove_verdict(const struct prove *p, const struct prove_cell *c);
bool prove_failed(const struct prove *p, const struct prove_cell *c); /* a claim that does not hold */
/* A claim that nobody can tell of: it was not come to, or hung for who is watched alone. */
bool prove_unfinished(const struct prove *p, const struct prove_cell *c);
/* What came of all: an exit status. What is unfinished is said. */
int prove_came_to(const struct prove *p);
json_t *prove_json(const struct prove *p);
void prove_print(const struct prove *p, bool brief);
/* For the daemon's records: of all, and of one rule (UINT_MAX: of hand-offs) {"DENIED fanotify": ["open", …]},
 * empty if nothing was tried. */
json_t *prove_summary(const struct prove *p);
json_t *prove_table(const struct prove *p, unsigned of);

/* The command (cli_prove.c). An exit status. */
struct prove_options {
	const char *user, *dir;
	bool brief;
};
int prove_command(struct cli *cli, const struct prove_options *o);

#endif
