/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon is dead. Everything it had is answered at once; then members are denied what is
 * protected, and everybody else is allowed, until a new daemon has taken over. When nobody is
 * watched any more there is nothing to keep, and the group is closed.
 *
 * What the daemon had open lives on in the table we shared, its locks and its listening socket
 * too, and would be in the next one's way. Closing may wait for a filesystem that does not answer,
 * so a child that shares the table does it, by a list of the numbers that were open when the
 * daemon was found dead: numbers that become free are never closed twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "enforce/guardian_priv.h"

#define LOOK_MS 500
#define RETRY_MS 5
#define READS_MAX 64

static bool is_kept(const struct guardian *g, int fd)
{
	if (fd == g->c.group_fd || fd == g->c.members_fd || fd == g->wake_fd ||
	    fd == g->daemon_pidfd || fd == atomic_load(&g->v->listen_fd))
		return true;
	for (unsigned i = 0; i < g->c.n_keep; i++)
		if (fd == g->c.keep[i])
			return true;
	for (int i = 0; i < GUARDIAN_CONNS; i++)
		if (fd == g->conns[i])
			return true;
	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		const struct permission *p = permission_slot(g->c.permissions, i);

		if (permission_state(permission_look(p)) == PERM_GUARDED && p->event_fd == fd)
			return true;
	}
	return false;
}

/* From the end: the lock of the run directory, which the next daemon waits for, is one of the first
 * that were opened. */
static void close_listed(const struct guardian *g)
{
	for (int fd = (int)sizeof(g->open_fds) * 8 - 1; fd >= 0; fd--)
		/* The first three numbers are never an event's. */
		if (!(g->open_fds[fd / 8] & 1 << fd % 8))
			continue;
		else if (fd <= STDERR_FILENO)
			dup2(g->wake_fd, fd);
		else
			close(fd);
}

static void close_others(struct guardian *g)
{
	pid_t pid;

	memset(g->open_fds, 0, sizeof(g->open_fds));
	for (int fd = 0; fd < (int)sizeof(g->open_fds) * 8; fd++)
		if (fcntl(fd, F_GETFD) >= 0 && !is_kept(g, fd))
			g->open_fds[fd / 8] |= (uint8_t)(1 << fd % 8);
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid > 0)
		return;
	close_listed(g);
	if (pid == 0)
		_exit(0);
}

/* How many events were there; all that a bounded number of reads gives. */
static unsigned answer_all(struct guardian *g)
{
	uint64_t now_ns = clock_boottime_ns();
	unsigned n, all = 0;

	guardian_look(g, now_ns, true, true);
	for (int i = 0; i < READS_MAX && (n = guardian_read(g, now_ns, true)); i++)
		all += n;
	return all;
}

static bool unanswered(const struct guardian *g)
{
	for (unsigned i = 0; i < PERMISSION_SLOTS; i++)
		if (permission_state(permission_look(permission_slot(g->c.permissions, i))) ==
		    PERM_GUARDED)
			return true;
	return false;
}

void guardian_end(struct guardian *g)
{
	/* Some of what could not be answered becomes answerable. */
	for (int i = 0; i < 20 && (unanswered(g) || (g->alone && answer_all(g))); i++) {
		poll(NULL, 0, RETRY_MS);
		guardian_look(g, clock_boottime_ns(), g->alone, g->alone);
	}
	if (g->alone && !atomic_load(&g->v->spare))
		guardian_episode_record(g, "guardian ended", clock_boottime_ns());
	/* The group goes with us, last: whoever still asks is let go. While the daemon lives that is
	 * its to do. By name, because who closes the daemon's descriptors may hang in one of them, and
	 * keeps the table that the group is in. */
	if (g->alone)
		close(g->c.group_fd);
	_exit(0);
}

void guardian_alone(struct guardian *g)
{
	uint64_t looked_ns = 0;

	g->alone = true;
	if (!g->episode.since_ns) {
		g->episode.since_ns = clock_boottime_ns();
		atomic_fetch_add(&g->v->episodes, 1);
	}
	g->episode.why = "the daemon died";
	answer_all(g);
	guardian_end_before(g);
	close_others(g);
	if (atomic_load(&g->v->spare))
		guardian_end(g);
	if (guardian_members_left(g))
		guardian_episode_record(g, "guardian in charge", clock_boottime_ns());
	while (!g->told_to_end) {
		struct pollfd p[2 + GUARDIAN_CONNS] = {
			{ .fd = g->c.group_fd, .events = POLLIN },
			{ .fd = atomic_load(&g->v->listen_fd), .events = POLLIN },
		};
		uint64_t now_ns;

		for (int i = 0; i < GUARDIAN_CONNS; i++)
			p[2 + i] = (struct pollfd){ .fd = g->conns[i], .events = POLLIN };
		poll(p, ARRAY_SIZE(p), unanswered(g) ? RETRY_MS : LOOK_MS);
		/* What is there and cannot be had must not keep us spinning, at our priority. */
		if ((!answer_all(g) && p[0].revents) ||
		    (p[1].revents && !guardian_serve_accept(g)))
			poll(NULL, 0, RETRY_MS);
		for (int i = 0; i < GUARDIAN_CONNS; i++)
			if (p[2 + i].revents)
				guardian_serve(g, i);
		now_ns = clock_boottime_ns();
		if (now_ns - looked_ns < LOOK_MS * NSEC_PER_MSEC)
			continue;
		looked_ns = now_ns;
		if (!guardian_members_left(g))
			break;
	}
	guardian_end(g);
}
