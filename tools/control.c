/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket's own thread: accepts, reads requests, sends answers, keeps the deadlines. */
#include "tools/control.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/daemon_control.h"

#define ACCEPT_BATCH 32
#define ACCEPT_PAUSE_MS 100 /* after running out of descriptors */

void control_kick(struct control *c)
{
	uint64_t one = 1;

	/* Fails only when the counter is full, and then the thread is awake anyway. */
	if (write(c->kick_fd, &one, sizeof(one)) < 0)
		return;
}

/* All of the following with the lock held, unless said. */

static void conn_free(struct conn *conn)
{
	if (conn->fd >= 0)
		close(conn->fd);
	if (conn->pidfd >= 0)
		close(conn->pidfd);
	json_decref(conn->req);
	free(conn->in);
	free(conn->out);
	free(conn);
}

static void conn_queue(struct control *c, struct conn *conn)
{
	conn->state = CONN_QUEUED;
	conn->ticket = ++c->tickets;
	/* All: the first to wake may not be free for this class, but each looks through all. */
	pthread_cond_broadcast(&c->jobs);
}

static void conn_refuse_line(struct control *c, struct conn *conn, const char *text, int64_t now)
{
	char line[256];
	int len = snprintf(line, sizeof(line),
			   "{\"ok\":false,\"error\":\"%s\",\"code\":\"usage\"}\n", text);

	if (control_out_append(conn, line, (size_t)len) < 0)
		conn->dead = true;
	conn->state = CONN_CLOSING;
	conn->deadline_ms = now + c->cfg.stall_ms;
}

static void conn_read(struct control *c, struct conn *conn, int64_t now)
{
	while (conn->state == CONN_READING) {
		char *newline;
		ssize_t n;

		if (conn->in_len == conn->in_size) {
			size_t size = conn->in_size ? conn->in_size * 4 : 1024;
			char *p;

			if (size > CONTROL_LINE_MAX)
				size = CONTROL_LINE_MAX;
			if (conn->in_len >= size) {
				conn_refuse_line(c, conn, "a request is at most 65536 bytes", now);
				return;
			}
			p = realloc(conn->in, size);
			if (!p) {
				conn->dead = true;
				return;
			}
			conn->in = p;
			conn->in_size = size;
		}
		n = recv(conn->fd, conn->in + conn->in_len, conn->in_size - conn->in_len, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0 || (n == 0 && conn->in_len == 0)) {
			conn->dead = true;
			return;
		}
		if (n == 0) {
			conn_refuse_line(c, conn, "a request ends with a line feed", now);
			return;
		}
		newline = memchr(conn->in + conn->in_len, '\n', (size_t)n);
		conn->in_len += (size_t)n;
		if (newline) { /* what follows it is nobody's */
			conn->in_len = (size_t)(newline - conn->in);
			conn_queue(c, conn);
		}
	}
}

static void conn_send(struct control *c, struct conn *conn)
{
	while (conn->out_len > 0 && !conn->dead) {
		ssize_t n = send(conn->fd, conn->out + conn->out_start, conn->out_len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			conn->dead = true;
			break;
		}
		conn->out_start += (size_t)n;
		conn->out_len -= (size_t)n;
		if (conn->out_len == 0)
			conn->out_start = 0;
	}
	pthread_cond_broadcast(&c->room);
}

static void conn_poll(struct control *c, struct conn *conn)
{
	struct epoll_event ev = { .data.ptr = conn };

	/* A dead one would report EPOLLHUP for as long as its handler runs. */
	if (conn->dead) {
		if (conn->polled)
			epoll_ctl(c->epoll_fd, EPOLL_CTL_DEL, conn->fd, NULL);
		conn->polled = false;
		return;
	}
	if (conn->state == CONN_READING)
		ev.events |= EPOLLIN;
	if (conn->out_len > 0)
		ev.events |= EPOLLOUT;
	if (conn->polled && ev.events == conn->interest)
		return;
	if (epoll_ctl(c->epoll_fd, conn->polled ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, conn->fd, &ev) <
	    0)
		conn->dead = true;
	conn->polled = true;
	conn->interest = ev.events;
}

/* Brings one connection forward. Returns false when it is to be freed; else *next_ms is when it
 * wants to be looked at again at the latest. */
static bool conn_advance(struct control *c, struct conn *conn, int64_t now, int64_t *next_ms)
{
	if (conn->out_len > 0)
		conn_send(c, conn);
	if (conn->state == CONN_FOLLOWING && conn->wake) {
		if (now >= conn->next_run_ms)
			conn_queue(c, conn);
		else if (conn->next_run_ms < *next_ms)
			*next_ms = conn->next_run_ms;
	}
	if (conn->state == CONN_CLOSING && conn->out_len == 0)
		conn->dead = true;
	if (conn->state == CONN_READING || conn->state == CONN_CLOSING) {
		if (now >= conn->deadline_ms)
			conn->dead = true;
		else if (conn->deadline_ms < *next_ms)
			*next_ms = conn->deadline_ms;
	}
	conn_poll(c, conn);
	if (!conn->dead)
		return true;
	pthread_cond_broadcast(&c->room);
	return conn->state == CONN_RUNNING;
}

/* Returns how long the thread may sleep, in ms. */
static int advance_all(struct control *c)
{
	int64_t now = control_now_ms(), next_ms = now + 60000;
	struct conn **p = &c->conns;
	bool woken = c->wake;

	c->wake = false;
	while (*p) {
		struct conn *conn = *p;

		conn->wake |= woken;
		if (conn_advance(c, conn, now, &next_ms)) {
			p = &conn->next;
			continue;
		}
		*p = conn->next;
		c->n_conns--;
		conn_free(conn);
	}
	if (c->unreported > 0 || c->refused_tokens < CONTROL_REFUSED_BURST)
		if (c->refused_refill_ms < next_ms)
			next_ms = c->refused_refill_ms;
	if (c->accept_after_ms && c->accept_after_ms < next_ms)
		next_ms = c->accept_after_ms;
	return next_ms <= now ? 0 : (int)(next_ms - now);
}

static bool place_for(const struct control *c, const struct conn *conn)
{
	unsigned members = 0, same_uid = 0;

	if (c->n_conns >= CONTROL_CONNECTIONS_MAX)
		return false;
	if (conn->peer.uid == 0 && !conn->peer.member)
		return true;
	for (const struct conn *o = c->conns; o; o = o->next) {
		members += o->peer.member;
		same_uid += !o->peer.member && o->peer.uid == conn->peer.uid;
	}
	if (c->n_conns >= CONTROL_CONNECTIONS_MAX - CONTROL_CONNECTIONS_ROOT)
		return false;
	return conn->peer.member ? members < CONTROL_CONNECTIONS_MEMBERS :
				   same_uid < CONTROL_CONNECTIONS_PER_UID;
}

static void listen_poll(struct control *c, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = &c->listen_fd };

	epoll_ctl(c->epoll_fd, EPOLL_CTL_MOD, c->listen_fd, &ev);
}

/* Without the lock. 0, or -errno of accept. */
static int accept_one(struct control *c, int64_t now)
{
	static const char full[] =
		"{\"ok\":false,\"error\":\"too many connections\",\"code\":\"failed\"}\n";
	struct conn *conn;
	int fd;

	fd = accept4(c->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	conn = calloc(1, sizeof(*conn));
	if (!conn) {
		close(fd);
		return 0;
	}
	conn->fd = fd;
	conn->pidfd = -1;
	conn->deadline_ms = now + c->cfg.idle_ms;
	if (control_peer_identify(c, conn) < 0) {
		conn_free(conn);
		return 0;
	}
	pthread_mutex_lock(&c->lock);
	if (place_for(c, conn)) {
		conn->next = c->conns;
		c->conns = conn;
		c->n_conns++;
		conn_read(c, conn, now); /* the request is often there already */
		conn = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	if (conn) {
		if (send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			conn->dead = true;
		conn_free(conn);
	}
	return 0;
}

static void accept_batch(struct control *c)
{
	int64_t now = control_now_ms();
	int r = 0;

	for (int i = 0; i < ACCEPT_BATCH && r == 0; i++)
		r = accept_one(c, now);
	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS) {
		listen_poll(c, 0);
		c->accept_after_ms = now + ACCEPT_PAUSE_MS;
	}
}

static void handle(struct control *c, const struct epoll_event *ev)
{
	struct conn *conn = ev->data.ptr;
	uint64_t n;

	if (ev->data.ptr == &c->listen_fd) {
		accept_batch(c);
		return;
	}
	if (ev->data.ptr == &c->kick_fd) {
		if (read(c->kick_fd, &n, sizeof(n)) < 0)
			return;
		return;
	}
	pthread_mutex_lock(&c->lock);
	if (ev->events & EPOLLIN)
		conn_read(c, conn, control_now_ms());
	if (ev->events & (EPOLLHUP | EPOLLERR))
		conn->dead = true;
	pthread_mutex_unlock(&c->lock);
}

static void *loop_main(void *arg)
{
	struct control *c = arg;
	struct epoll_event events[32];
	int timeout_ms, n;

	for (;;) {
		control_refuse_held_back(c, control_now_ms(), false);
		if (c->accept_after_ms && control_now_ms() >= c->accept_after_ms) {
			c->accept_after_ms = 0;
			listen_poll(c, EPOLLIN);
		}
		pthread_mutex_lock(&c->lock);
		timeout_ms = advance_all(c);
		n = c->ended;
		pthread_mutex_unlock(&c->lock);
		if (n)
			return NULL;
		/* Connections are freed by advance_all() only: no event of this batch is stale. */
		atomic_fetch_add_explicit(&c->turns, 1, memory_order_relaxed);
		n = epoll_wait(c->epoll_fd, events, ARRAY_SIZE(events), timeout_ms);
		for (int i = 0; i < n; i++)
			handle(c, &events[i]);
	}
}

static int open_epoll(struct control *c)
{
	struct epoll_event ev = { .data.ptr = &c->listen_fd };

	c->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (c->kick_fd < 0 || c->epoll_fd < 0)
		return -errno;
	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->listen_fd, &ev) < 0)
		return -errno;
	ev.events = EPOLLIN;
	ev.data.ptr = &c->kick_fd;
	if (epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->kick_fd, &ev) < 0)
		return -errno;
	return 0;
}

int control_open(const struct control_config *cfg, struct control **ret)
{
	pthread_condattr_t attr;
	struct control *c;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->cfg = *cfg;
	if (c->cfg.idle_ms <= 0)
		c->cfg.idle_ms = CONTROL_IDLE_MS;
	if (c->cfg.stall_ms <= 0)
		c->cfg.stall_ms = CONTROL_STALL_MS;
	c->dir_fd = c->listen_fd = c->epoll_fd = c->kick_fd = -1;
	c->refused_tokens = CONTROL_REFUSED_BURST;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->jobs, &attr);
	pthread_cond_init(&c->room, &attr);
	pthread_condattr_destroy(&attr);

	r = control_listen(c);
	if (r == 0)
		r = open_epoll(c);
	if (r < 0) {
		control_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

/* Threads of ours take no signals but those of a crash, and little memory: the daemon locks all it has. */
static int start_threads(struct control *c)
{
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, CONTROL_WORKER_STACK);
	r = pthread_create(&c->loop, &attr, loop_main, c);
	c->looping = r == 0;
	while (r == 0 && c->n_workers < CONTROL_WORKERS) {
		r = pthread_create(&c->workers[c->n_workers], &attr, control_worker, c);
		c->n_workers += r == 0;
	}
	pthread_attr_destroy(&attr);
	return -r;
}

int control_start(struct control *c)
{
	static const int crash[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };
	sigset_t all, old;
	int r;

	sigfillset(&all);
	for (size_t i = 0; i < ARRAY_SIZE(crash); i++)
		sigdelset(&all, crash[i]);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = start_threads(c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		listen_poll(c, EPOLLIN);
	return r;
}

uint64_t control_poke(struct control *c)
{
	uint64_t turns = atomic_load_explicit(&c->turns, memory_order_relaxed);

	control_kick(c);
	return turns;
}

void control_wake(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	c->wake = true;
	pthread_mutex_unlock(&c->lock);
	control_kick(c);
}

void control_close(struct control *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_cond_broadcast(&c->jobs);
	pthread_cond_broadcast(&c->room);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < c->n_workers; i++)
		pthread_join(c->workers[i], NULL);
	pthread_mutex_lock(&c->lock);
	c->ended = true;
	pthread_mutex_unlock(&c->lock);
	if (c->kick_fd >= 0)
		control_kick(c);
	if (c->looping)
		pthread_join(c->loop, NULL); /* which sends what can be sent at once */
	control_refuse_held_back(c, control_now_ms(), true);

	if (c->dir_fd >= 0)
		control_unlisten(c);
	while (c->conns) {
		struct conn *conn = c->conns;

		c->conns = conn->next;
		conn_free(conn);
	}
	cleanup_close(&c->listen_fd);
	cleanup_close(&c->epoll_fd);
	cleanup_close(&c->kick_fd);
	cleanup_close(&c->dir_fd);
	pthread_cond_destroy(&c->jobs);
	pthread_cond_destroy(&c->room);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
