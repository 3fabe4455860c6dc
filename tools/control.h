/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket, server side: one thread, many connections, nothing a peer does can stall
 * it. PROTOCOL: a stream socket RUN_DIR/oknek.sock; a request is one JSON object on one line of at
 * most CONTROL_LINE_MAX bytes, {"cmd":"status",…}; the answer is zero or more lines
 * {"item":{…}} followed by one line {"ok":true,"result":{…}} or {"ok":false,"error":"one clear
 * line","code":"denied|usage|notfound|failed"}. One request per connection, except that
 * {"cmd":"events","follow":true} goes on sending items. Peers are known by SO_PEERCRED (and
 * SO_PEERPIDFD where the kernel has it).
 *
 * Who may (core rule of the design, checked before any handler runs):
 *   member of a watched tree, whatever its uid:  status why      (else: denied, and evidence O2)
 *   anybody:           status why run watch(own processes) events/show(own)
 *   uid 0 or group:    everything
 */
#ifndef OKNEK_TOOLS_CONTROL_H
#define OKNEK_TOOLS_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#define CONTROL_LINE_MAX 65536
#define CONTROL_CONNECTIONS_MAX 256
#define CONTROL_CONNECTIONS_PER_UID 32

struct control;

struct control_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	bool member;     /* in a watched tree */
	bool privileged; /* uid 0 or in the control group, and not a member */
};

/* One answer. Handlers send items, then return NULL for ok with *result (stolen; may be NULL for
 * {}), or a static error code with err filled. */
struct control_reply {
	int (*item)(struct control_reply *r, json_t *item); /* steals item; -errno when peer is gone */
	json_t *result;
	char err[512];
};

enum control_right { RIGHT_MEMBER, RIGHT_ANYBODY, RIGHT_PRIVILEGED };

struct control_command {
	const char *name;
	enum control_right right; /* the least that may call it */
	/* Returns NULL when done, or "usage" "notfound" "failed" "denied". Runs on the control
	 * thread; what takes long must bound itself (a few seconds). */
	const char *(*run)(void *arg, const struct control_peer *peer, const json_t *req,
			   struct control_reply *reply);
};

struct control_config {
	const char *run_dir;
	gid_t group;             /* (gid_t)-1: no such group */
	const struct control_command *commands; /* name NULL ends it */
	void *arg;               /* for run, is_member, refused, follow */
	bool (*is_member)(void *arg, pid_t pid);
	/* A peer tried what it may not do: for evidence O2. */
	void (*refused)(void *arg, const struct control_peer *peer, const char *cmd);
};

int control_open(const struct control_config *c, struct control **ret);
int control_start(struct control *c);
void control_close(struct control *c);
/* Wakes followers: new events were committed. Any thread but verdict. */
void control_wake(struct control *c);

#endif
