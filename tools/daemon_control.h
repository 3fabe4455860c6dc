/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the control socket: shared by tools/control.c (the socket thread) and
 * tools/daemon_control_*.c, and by nobody else.
 *
 * A connection belongs to the socket thread, but for the time a worker runs its handler: then the
 * worker only appends to its output, and the socket thread only marks it dead. All of `struct conn`
 * and the counters are under one lock, which is never held over a callback or a wait.
 */
#ifndef OKNEK_TOOLS_DAEMON_CONTROL_H
#define OKNEK_TOOLS_DAEMON_CONTROL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "tools/control.h"

#define CONTROL_REFUSED_BURST 10
#define CONTROL_REFUSED_EVERY_MS 200

enum conn_state {
	CONN_READING, /* the request */
	CONN_QUEUED,  /* for a worker */
	CONN_RUNNING, /* on a worker */
	CONN_FOLLOWING, /* until new events are there */
	CONN_CLOSING, /* what is queued is still sent */
};

struct conn {
	struct conn *next;
	int fd;
	int pidfd; /* -1: the peer is in no pid namespace of ours; a member, then */
	struct control_peer peer;

	enum conn_state state;
	bool dead;          /* nothing can be sent any more */
	bool polled;        /* fd is in the epoll set, waiting for `interest` */
	uint32_t interest;
	int64_t deadline_ms;
	uint64_t ticket;    /* order in which requests are served */

	char *in;
	size_t in_len, in_size;
	char *out;
	size_t out_start, out_len, out_size;

	json_t *req;
	const struct control_command *cmd;
	bool resumed, wake;
	uint64_t cursor;
	int64_t next_run_ms;
};

struct control {
	struct control_config cfg;
	int dir_fd, listen_fd, epoll_fd, kick_fd;
	dev_t socket_dev;
	ino_t socket_ino;
	pthread_t loop;
	pthread_t workers[CONTROL_WORKERS];
	unsigned n_workers;
	bool looping;
	int64_t accept_after_ms;
	_Atomic uint64_t turns; /* of the socket thread */

	pthread_mutex_t lock;
	pthread_cond_t jobs; /* a connection was queued, a worker became free, or the end */
	pthread_cond_t room; /* output was sent, a connection died, or the end */
	struct conn *conns;
	unsigned n_conns;
	uint64_t tickets;
	bool stopping; /* no request is begun any more */
	bool ended;    /* nor answered: the socket thread may go */
	bool wake;

	int refused_tokens;
	int64_t refused_refill_ms;
	uint64_t unreported;
	struct control_peer unreported_peer;
	const char *unreported_cmd;
};

static inline int64_t control_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Makes the socket thread look at everything. */
void control_kick(struct control *c);

/* --- daemon_control_peer.c: who is there ---------------------------------------------------- */

/* Fills peer and pidfd of a connection just accepted. -ESRCH: who called connect is gone
 * already; -errno. Without the lock. */
int control_peer_identify(struct control *c, struct conn *conn);
/* Whether the process that called connect still lives. */
bool control_peer_alive(const struct conn *conn);
/* Evidence of what was refused, at a rate that floods nothing. Without the lock. */
void control_refuse(struct control *c, const struct control_peer *peer, const char *cmd);
/* Reports what was held back once there is room, or at the end. Without the lock. */
void control_refuse_held_back(struct control *c, int64_t now_ms, bool end);

/* --- daemon_control_serve.c: the pool ------------------------------------------------------- */

/* With the lock held. -ENOMEM. */
int control_out_append(struct conn *conn, const char *text, size_t len);
void *control_worker(void *arg);

/* --- daemon_control_listen.c: the socket in the file system --------------------------------- */

/* Claims the run directory and listens in it: fills dir_fd, listen_fd and the socket's identity. */
int control_listen(struct control *c);
/* Removes the socket if it is still ours. */
void control_unlisten(struct control *c);

#endif
