/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, server side. One thread owns every connection and never waits for a peer or
 * a handler; handlers run on a pool of CONTROL_WORKERS threads of which no unprivileged user ever
 * has all, so that neither a slow handler nor a peer that does not read stalls the others.
 *
 * PROTOCOL: a stream socket RUN_DIR/oknek.sock, mode 0666 (who may what is decided by who the peer
 * is, not by the file mode). A request is one JSON object on one line of at most CONTROL_LINE_MAX
 * bytes, newline included: {"cmd":"status",…}. The answer is zero or more lines {"item":{…}} and
 * then one line {"ok":true,"result":{…}} or {"ok":false,"error":"one clear line",
 * "code":"denied|usage|notfound|failed"}, after which the server closes. One request per
 * connection; {"cmd":"events","follow":true} goes on sending items until the peer leaves. A peer
 * that has not sent its line CONTROL_IDLE_MS after connecting, that sends a longer line, or that
 * does not read its answer is closed.
 *
 * Who may (checked at accept and again before each run of a handler; a peer that was a member at
 * either moment is one):
 *   member of a watched tree, whatever its uid:  status why judge      (else: denied, and evidence O2)
 *   anybody:           status why run watch(own processes) agents/events/show/held(own) rules
 *   a viewer:          and all agents/events/show/status, pending
 *   an operator:       and allow block prove proved
 *   an admin, which uid 0 and the group are: everything
 * The peer is who called connect(2): SO_PEERCRED, held by SO_PEERPIDFD where the kernel has it
 * (else by a pidfd taken at accept, after comparing the uid). Once that process is gone nobody is
 * served on the connection any more: its pid may be somebody else's by now, and a socket that was
 * handed on would otherwise carry rights that the one who holds it has not.
 *
 * REQUESTS AND ANSWERS. A record is an evidence record as oknek(8) EVIDENCE describes it. Times
 * are unix seconds. Optional keys are in brackets.
 *
 * status   {}  → result {version, mode, configured_mode, paused_until|null,
 *          sources:[{name,read,lost,malformed}], unavailable:[{name,why}],
 *          feed:{name,gaps,lost}, trees, members, agents:[{agent,trees,members}],
 *          rules:{count,origin,blocking,detect:[{rule,part,name,why}]},
 *          exceptions:{active,expired,let_through},
 *          enforcement:{mechanism,filesystems:[…],objects,directories,pending,held,hold_refused,answered,denied,
 *                       by_deadline,gaps:[{path,why}]},
 *          evidence:{ok,why,records,last_seq,last_hash,lost,pending,key}, warnings:[…],
 *          caller:{member,privileged,role}}
 *          A key whose meaning an unprivileged peer must not see is left out.
 * run      {pid, agent, [home], [cwd]} → result {tree, session, agent, preload,
 *          warnings:[…]}; preload: what it runs is watched by the shim alone.
 *          pid is a child of the peer that waits and has the peer's uid. home and cwd are left out
 *          when they are not UTF-8: ask /proc.
 * watch    {pid, [agent], [unless_watched]} → result {tree, session, agent, members, open:[{pid,fd,path}],
 *          warnings:[…]}
 * unwatch  {pid | tree} → result {tree, members}
 * mode     {mode:"observe|enforce"} → result {mode, was, in_force}: a pause makes them differ
 * pause    {seconds} (0 ends a pause) → result {paused_until|null, mode}
 * agents   {} → items {tree,agent,session,root_pid,uid,how,since,
 *          members:[{pid,ppid,comm}],blocked,warned,parked,parked_refused}: opens
 *          that wait for an answer now, and that found no room to wait
 * events   {[since_seq], [since], [limit], [rule], [verdict], [pid], [agent], [follow]}
 *          → items: records, oldest first; with a limit the newest so many. since: unix time.
 * show     {seq} → result: the record
 * judge    {what, …, [watch]} → result {verdict:"allow|warn|block", watched}: asked by the preload
 *          shim before it does what sources/preload.h describes; who is not watched is allowed.
 *          watch: the name of an agent, as which the caller is watched from here on
 * why      {[pid]} → items {seq,time,rule,part,name,path,process:{pid,uid,comm,exe},verdict,
 *          errno,mechanism,readers_line,advice}, oldest first; errno "EPERM" or null;
 *          readers_line is the line for oknek.yaml that would let this helper through, or null;
 *          advice replaces the CLI's own words when present.
 * rules    {[id]} → items {id,part,version,name,kind,observed,action,action_default,
 *          action_overridden|null,threshold|null,threshold_default|null,
 *          threshold_overridden|null,overridden|null,mechanism,why,pack,file,line,
 *          exceptions:[{rule,reason,author,expires|null,expired,file,line}],let_through,on_block,
 *          [source],[explain]}; let_through: events since the rules were read; on_block: "hold" where
 *          it blocks and is to ask an operator, else "deny";
 *          without id, result {pack:{name,version,signed_by,shipped,expires,expired}|null};
 *          id "R3" or "R3/aws" selects, and adds source, the YAML text. What is overridden is
 *          so by "FILE:LINE" of oknek.yaml.
 * reload   {} → result {rules, origin, notice:[…]}: what is no error and worth hearing.
 *          {check, dev, ino}: "incoming", "previous" or "shipped": nothing changes, and result
 *          {rules, origin} or an error tells whether that pack would be served. dev and ino are of
 *          the rules folder that is meant: "notfound" if the daemon has its own elsewhere
 * prove    {pid, home, cwd} → as run: a tree that tries the rules on decoys, which are in home. That is a
 *          directory of the child's user alone, called PROVE_PREFIX and something
 * proved   {tree, result} → {}: what the tree found out, a JSON object of at most PROVED_MAX bytes with
 *          the tree's session, is recorded (O3)
 * pending  {} → items {token,deadline,since,on_timeout,held,kind,rule,part,name,path,agent,tree,
 *          process:{pid,uid,comm,exe},[rules],[session],[argv],[argv_cut],
 *          [after_fact]}; after_fact: it has happened, and the tree is stopped; held: for an operator, and only then
 *          there is a rule; argv: a list, of exec_observed
 *          for admins result {config}: where the configuration is
 * held     {tree} → items as of pending that are held, of that tree, which the peer's uid has begun or
 *          the peer may see; result {holds,stopped}: some rule may hold something; for one of them
 *          the tree is stopped
 * allow    {pid | token, [for_s], [always], [reason]} → result {answered,kept,[notice]}; kept: what is the same
 *          is let through later, too. "notfound"; "failed" if somebody else was faster
 * block    {pid | token, [kill], [reason]} → result {answered,kept,[killed],[notice]}
 */
#ifndef OKNEK_TOOLS_CONTROL_H
#define OKNEK_TOOLS_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/config.h"

#define CONTROL_SOCKET "oknek.sock"
#define PROVE_PREFIX ".oknek-prove-"
#define PROVED_MAX 12000 /* bytes; what goes into a record of our own */
#define CONTROL_LINE_MAX 65536
#define CONTROL_DEPTH_MAX 32 /* nested objects and arrays of a request */
#define CONTROL_CONNECTIONS_MAX 256
#define CONTROL_CONNECTIONS_ROOT 32 /* of these, kept free for uid 0 */
#define CONTROL_CONNECTIONS_PER_UID 32 /* uid 0 is not counted */
#define CONTROL_CONNECTIONS_MEMBERS 16 /* of all members of watched trees, whatever their uid */
#define CONTROL_WORKERS 4
#define CONTROL_WORKERS_UNPRIVILEGED 3 /* at once, of all who are not privileged */
#define CONTROL_WORKERS_PER_UID 2      /* at once, of one uid that is not privileged */
#define CONTROL_WORKERS_MEMBERS 1      /* at once, of all members of watched trees */
#define CONTROL_WORKER_STACK (512u << 10) /* bytes: the daemon locks its memory */
#define CONTROL_OUT_MAX (1u << 20)     /* bytes queued for one connection */
#define CONTROL_IDLE_MS 10000
#define CONTROL_STALL_MS 10000  /* a full queue must be half empty after this */
#define CONTROL_FOLLOW_MS 100   /* a follower's handler runs at most this often */

struct control;

struct control_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	bool member;     /* in a watched tree */
	enum role role;  /* NONE for members */
	bool privileged; /* ROLE_ADMIN: uid 0, in the control group, or so configured */
};

/* Has a role; of several that a peer is, the highest counts. */
struct control_role {
	enum role role;
	bool group;
	uint32_t id;
};

/*
 * One answer. Handlers send items, then return NULL for ok with *result (stolen; may be NULL for
 * {}), or an error code with err filled.
 *
 * A handler that sets `follow` leaves the connection open: no last line is sent, and the handler
 * runs again, with the same request, `resumed` true and `cursor` as it left it, after each
 * control_wake().
 */
struct control_reply {
	/* Steals item. -EPIPE when the peer is gone, does not read, or the server is closing: then
	 * return at once with anything. A queue that is full makes it wait, at most
	 * CONTROL_STALL_MS; never for members and followers, who are dropped instead. */
	int (*item)(struct control_reply *r, json_t *item);
	/* The same with the text of one JSON object, passed on byte for byte: for stored records.
	 * -EINVAL: it has a line feed in it. */
	int (*item_text)(struct control_reply *r, const char *json);
	json_t *result;
	char err[512];
	bool follow;
	bool resumed;
	uint64_t cursor;
};

enum control_right { RIGHT_MEMBER, RIGHT_ANYBODY, RIGHT_VIEWER, RIGHT_OPERATOR, RIGHT_PRIVILEGED };

struct control_command {
	const char *name;
	enum control_right right; /* the least that may call it */
	/* Returns NULL when done, or "usage" "notfound" "failed" "denied". Runs on a thread of the
	 * pool, several at once, also of the same command: it locks what it shares. It must bound
	 * itself to a few seconds. */
	const char *(*run)(void *arg, const struct control_peer *peer, const json_t *req,
			   struct control_reply *reply);
};

struct control_config {
	const char *run_dir;     /* made (0755) when missing */
	gid_t group;             /* (gid_t)-1: no such group */
	const struct control_role *roles;
	size_t n_roles;
	const struct control_command *commands; /* name NULL ends it */
	void *arg;               /* for run, is_member, refused */
	int idle_ms, stall_ms;   /* 0: CONTROL_IDLE_MS, CONTROL_STALL_MS */
	/* Called from the socket thread and the pool; must be quick and take no long lock. */
	bool (*is_member)(void *arg, pid_t pid);
	/*
	 * A peer tried what it may not do: for evidence O2. At most some five a second, so that
	 * nobody floods the journal by being refused; `unreported` counts those that were refused
	 * since the last call without one of their own. Any thread of ours.
	 */
	void (*refused)(void *arg, const struct control_peer *peer, const char *cmd,
			uint64_t unreported);
};

/*
 * Binds and listens; nothing is accepted before control_start(). A stale socket is replaced in one
 * step. -EADDRINUSE: a daemon answers there. -EPERM: run_dir is writable for others. -ENOTSOCK:
 * something else has the socket's name. -ENAMETOOLONG, -errno. c is copied, what it points to is
 * not.
 */
int control_open(const struct control_config *c, struct control **ret);
int control_start(struct control *c);
/* Lets running handlers finish (item() fails from here on), ends the threads, removes the socket if
 * it is still ours, frees. NULL is fine. */
void control_close(struct control *c);
/* Wakes followers: new events were committed. Any thread but verdict. */
void control_wake(struct control *c);
/* Makes the socket thread come round, and how often it did before: who asks again a little later
 * sees whether it still does. Never waits. */
uint64_t control_poke(struct control *c);

#endif
