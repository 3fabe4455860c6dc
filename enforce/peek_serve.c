/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deals questions out to workers. It touches no process itself, so nothing can stall it; a worker
 * that takes too long is killed, left behind, and reaped whenever its kernel call returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "core/permission.h"
#include "enforce/confine.h"
#include "enforce/peek_priv.h"

#define QUEUE_MAX PERMISSION_PARKED_MAX
#define PROCESSES_MAX (PEEK_WORKERS + PEEK_HUNG_MAX + 8)

struct waiting {
	struct peek_question q;
	uint64_t until_ns;
};

struct worker {
	pid_t pid; /* 0: none */
	int sock;
	bool busy;
	bool first; /* goes before others */
	struct waiting of;
	uint64_t before_ns; /* what it had computed until then */
	uint64_t look_ns;   /* when to see whether it takes long; while first */
};

struct hung {
	pid_t pid; /* 0: none */
	uint32_t tree_id;
};

struct server {
	struct worker workers[PEEK_WORKERS];
	struct hung hung[PEEK_HUNG_MAX];
	struct waiting queue[QUEUE_MAX]; /* in the order they came */
	unsigned queued;
	struct peek_shares shares;
	struct peek_message message;
};

/* ---- a worker -------------------------------------------------------------------------------- */

static void work(pid_t server) __attribute__((noreturn));
static void work(pid_t server)
{
	static struct peek_message m;
	struct peek_question q;
	int r;

	confine_limits();
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != server)
		_exit(1);
	r = confine_calls(CONFINE_PEEK_WORKER, CONFINE_REFUSE);
	if (r < 0 && r != -EOPNOTSUPP && r != -EINVAL)
		_exit(1);
	while (read(PEEK_SOCKET_FD, &q, sizeof(q)) == sizeof(q)) {
		size_t len;

		peek_read(&q, &m);
		len = sizeof(m.head) + m.head.argv_len_bytes;
		if (write(PEEK_SOCKET_FD, &m, len) != (ssize_t)len)
			_exit(1);
	}
	_exit(0);
}

static uint64_t computed(const struct worker *w)
{
	uint64_t now_ns = peek_share_computed_ns(w->pid);

	return now_ns > w->before_ns ? now_ns - w->before_ns : 0;
}

/* Its question is over. */
static void take_time(struct server *s, const struct worker *w)
{
	if (w->busy)
		peek_share_take(&s->shares, w->of.q.tree_id, computed(w), clock_boottime_ns());
}

/* Whose end is not awaited. Its place is taken as soon as there is another. */
static void give_up(struct server *s, struct worker *w)
{
	take_time(s, w);
	kill(w->pid, SIGKILL);
	close(w->sock);
	w->sock = -1;
	for (unsigned i = 0; i < PEEK_HUNG_MAX; i++)
		if (!s->hung[i].pid) {
			s->hung[i] = (struct hung){ w->pid, w->of.q.tree_id };
			break;
		}
	w->pid = 0;
	w->busy = false;
}

static unsigned hung(const struct server *s, uint32_t tree_id, bool all)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PEEK_HUNG_MAX; i++)
		n += s->hung[i].pid && (all || s->hung[i].tree_id == tree_id);
	return n;
}

static void start(struct server *s, struct worker *w)
{
	pid_t server = getpid();
	int fds[2];

	if (hung(s, 0, true) == PEEK_HUNG_MAX)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return;
	w->pid = fork();
	if (!w->pid) {
		if (dup2(fds[1], PEEK_SOCKET_FD) < 0 ||
		    close_range(PEEK_SOCKET_FD + 1, ~0U, 0) < 0)
			_exit(1);
		work(server);
	}
	close(fds[1]);
	if (w->pid < 0) {
		close(fds[0]);
		w->pid = 0;
		return;
	}
	w->sock = fds[0];
	w->busy = false;
	/* From the start, or on a busy host it would take long until it can be asked. */
	w->first = peek_share_go(w->pid, true);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answer(const struct peek_message *m)
{
	size_t len = sizeof(m->head) + m->head.argv_len_bytes;

	while (send(PEEK_SOCKET_FD, m, len, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(0);
}

static void refuse(struct server *s, const struct peek_question *q, int error)
{
	s->message.head = (struct peek_wire){ .magic = PEEK_MAGIC, .what = q->what,
					      .slot = q->slot, .token = q->token, .error = error };
	answer(&s->message);
}

/* What a worker says about its question; what else it may say is not passed on. */
static void take_answer(struct server *s, struct worker *w)
{
	struct peek_message *m = &s->message;
	ssize_t n = recv(w->sock, m, sizeof(*m), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (!w->busy || n < (ssize_t)sizeof(m->head) || m->head.magic != PEEK_MAGIC ||
	    m->head.token != w->of.q.token || m->head.slot != w->of.q.slot ||
	    m->head.argv_len_bytes != (size_t)n - sizeof(m->head)) {
		if (w->busy)
			refuse(s, &w->of.q, -EIO);
		give_up(s, w);
		return;
	}
	answer(m);
	take_time(s, w);
	w->busy = false;
}

/* Who was given up has died at last, or somebody has died by himself. */
static void reap(struct server *s)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		for (unsigned i = 0; i < PEEK_HUNG_MAX; i++)
			if (s->hung[i].pid == pid)
				s->hung[i].pid = 0;
		for (unsigned i = 0; i < PEEK_WORKERS; i++) {
			struct worker *w = &s->workers[i];

			if (w->pid != pid)
				continue;
			if (w->busy)
				refuse(s, &w->of.q, -EIO);
			close(w->sock);
			*w = (struct worker){ .sock = -1 };
		}
	}
}

/* ---- questions ------------------------------------------------------------------------------- */

static void take_question(struct server *s)
{
	struct peek_question q;
	ssize_t n = recv(PEEK_SOCKET_FD, &q, sizeof(q), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(q) ||
	    (q.what != PEEK_ARGV && q.what != PEEK_MODE && q.what != PEEK_TRY))
		_exit(0); /* the daemon is gone, or mad */
	if (q.tgid <= 0)
		refuse(s, &q, -ESRCH);
	else if (s->queued == QUEUE_MAX || hung(s, q.tree_id, false) >= PEEK_HUNG_PER_TREE)
		refuse(s, &q, -EBUSY);
	else
		s->queue[s->queued++] = (struct waiting){
			q, clock_boottime_ns() + PEEK_WAIT_MS * NSEC_PER_MSEC
		};
}

static void take_out(struct server *s, unsigned i)
{
	s->queued--;
	memmove(&s->queue[i], &s->queue[i + 1], (s->queued - i) * sizeof(s->queue[0]));
}

static unsigned busy_for(const struct server *s, uint32_t tree_id)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PEEK_WORKERS; i++)
		n += s->workers[i].busy && s->workers[i].of.q.tree_id == tree_id;
	return n;
}

static void deal_to(struct server *s, struct worker *w, const struct waiting *of, uint64_t now_ns)
{
	bool first = peek_share_left(&s->shares, of->q.tree_id, now_ns);

	if (first != w->first)
		w->first = peek_share_go(w->pid, first);
	w->of = *of;
	w->busy = true;
	w->before_ns = peek_share_computed_ns(w->pid);
	w->look_ns = now_ns + peek_share_long_ns(0);
}

static void deal(struct server *s)
{
	uint64_t now_ns = clock_boottime_ns();
	unsigned w = 0;

	for (unsigned i = 0; i < s->queued;) {
		struct worker *free;

		while (w < PEEK_WORKERS && (!s->workers[w].pid || s->workers[w].busy))
			w++;
		if (w == PEEK_WORKERS)
			return;
		if (busy_for(s, s->queue[i].q.tree_id) >= PEEK_PER_TREE) {
			i++;
			continue;
		}
		free = &s->workers[w];
		deal_to(s, free, &s->queue[i], now_ns);
		take_out(s, i);
		if (send(free->sock, &free->of.q, sizeof(free->of.q), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			refuse(s, &free->of.q, -EIO);
			give_up(s, free);
		}
	}
}

/* When to look again at one that goes before others; it does not any more if it takes long. */
static uint64_t look(struct worker *w, uint64_t now_ns)
{
	uint64_t left_ns;

	if (w->first && w->look_ns <= now_ns) {
		left_ns = peek_share_long_ns(computed(w));
		if (!left_ns)
			w->first = peek_share_go(w->pid, false);
		w->look_ns = now_ns + (left_ns > NSEC_PER_MSEC ? left_ns : NSEC_PER_MSEC);
	}
	return w->first ? w->look_ns : UINT64_MAX;
}

static uint64_t earlier(uint64_t a_ns, uint64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

/* Who has waited too long, or goes first for too long; returns when the next will have. */
static uint64_t expire(struct server *s)
{
	uint64_t now_ns = clock_boottime_ns(), next_ns = UINT64_MAX;

	for (unsigned i = 0; i < PEEK_WORKERS; i++) {
		struct worker *w = &s->workers[i];

		if (!w->busy)
			continue;
		if (w->of.until_ns <= now_ns) {
			refuse(s, &w->of.q, -ETIMEDOUT);
			give_up(s, w);
		} else {
			next_ns = earlier(next_ns, earlier(w->of.until_ns, look(w, now_ns)));
		}
	}
	while (s->queued && s->queue[0].until_ns <= now_ns) {
		refuse(s, &s->queue[0].q, -EBUSY); /* with others, not with it */
		take_out(s, 0);
	}
	return s->queued ? earlier(next_ns, s->queue[0].until_ns) : next_ns;
}

/* ---- the process ----------------------------------------------------------------------------- */

static void settle(pid_t parent)
{
	struct rlimit none = { 0, 0 }, processes = { PROCESSES_MAX, PROCESSES_MAX };
	int r;

	setrlimit(RLIMIT_CORE, &none);
	if (confine_become(CONFINE_USER_PEEK, PEEK_CAPS) < 0)
		_exit(1);
	/* That limit counts all of a user's processes, and root's are not counted. */
	if (geteuid() == confine_uid(CONFINE_USER_PEEK))
		setrlimit(RLIMIT_NPROC, &processes);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	r = confine_calls(CONFINE_PEEK, CONFINE_REFUSE);
	if (r < 0 && r != -EOPNOTSUPP && r != -EINVAL)
		_exit(1);
}

static int until(uint64_t ns)
{
	uint64_t now_ns = clock_boottime_ns();

	if (ns == UINT64_MAX)
		return -1;
	return ns <= now_ns ? 0 : (int)((ns - now_ns) / NSEC_PER_MSEC) + 1;
}

void peek_serve(pid_t parent)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s)
		_exit(1);
	confine_expendable(); /* not so the keeper, whom nobody starts again */
	settle(parent);
	for (unsigned i = 0; i < PEEK_WORKERS; i++)
		s->workers[i].sock = -1;
	peek_shares_init(&s->shares);
	s->message.head = (struct peek_wire){ .magic = PEEK_MAGIC };
	answer(&s->message);
	for (;;) {
		struct pollfd p[1 + PEEK_WORKERS] = { { .fd = PEEK_SOCKET_FD, .events = POLLIN } };
		uint64_t next_ns;

		reap(s);
		for (unsigned i = 0; i < PEEK_WORKERS; i++)
			if (!s->workers[i].pid)
				start(s, &s->workers[i]);
		deal(s);
		next_ns = expire(s);
		for (unsigned i = 0; i < PEEK_WORKERS; i++)
			p[i + 1] = (struct pollfd){ .fd = s->workers[i].sock, .events = POLLIN };
		if (poll(p, 1 + PEEK_WORKERS, until(next_ns)) < 0)
			continue;
		for (unsigned i = 0; i < PEEK_WORKERS; i++)
			if (p[i + 1].revents)
				take_answer(s, &s->workers[i]);
		if (p[0].revents)
			take_question(s);
	}
}
