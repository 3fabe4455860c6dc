/* SPDX-License-Identifier: Apache-2.0 */
/* The guardian's process: when it looks, and when it acts. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/priority.h"
#include "enforce/guardian_priv.h"

#define QUIET_NS NSEC_PER_SEC /* without work it goes to sleep again */
#define TOLD_NS (100 * NSEC_PER_MSEC) /* shorter episodes are counted, not recorded */
#define READS_MAX 64 /* of one look */

/* A daemon that was woken on a loaded host is missing for some 10 ms at times; nothing of that is
 * worth a record unless it decided something. */
static void end_episode(struct guardian *g, uint64_t now_ns)
{
	uint64_t ns = now_ns - g->episode.since_ns;

	if (!g->episode.since_ns)
		return;
	if (ns > atomic_load(&g->v->longest_ns))
		atomic_store(&g->v->longest_ns, ns);
	if (ns >= TOLD_NS || g->episode.denied || g->episode.allowed)
		guardian_episode_record(g, "guardian answered", now_ns);
	g->episode = (struct episode){ 0 };
}

static const char *why_late(struct guardian *g)
{
	char state = guardian_state_of(g->daemon_pid);

	if (atomic_load(&g->v->crashed))
		return "the daemon crashed";
	if (state == 'T')
		return "the daemon was stopped";
	if (state == 't')
		return "the daemon was traced";
	return atomic_load(&g->v->busy) ? "the verdict thread was stuck" : "the verdict thread was late";
}

static bool is_dead(struct guardian *g)
{
	char state = guardian_state_of(g->daemon_pid);

	return state == 'Z' || state == 'X';
}

static bool group_readable(const struct guardian *g)
{
	struct pollfd p = { .fd = g->c.group_fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && p.revents & POLLIN;
}

/*
 * Late is who had work at three looks in a row, 20 ms apart at least, and got none of it done. That
 * we ourselves were not running in between makes nobody late. It stays late until it gets something
 * done, if only to find that there is nothing to do.
 */
static bool is_late(struct guardian *g, uint64_t now_ns)
{
	uint64_t progress = atomic_load(&g->v->progress);
	bool waiting = atomic_load(&g->v->busy) || group_readable(g);

	if (waiting || g->late || g->slots_used || atomic_load(&g->v->parked))
		g->quiet_ns = now_ns;
	if (progress != g->progress || (!waiting && !g->late)) {
		g->progress = progress;
		g->progress_ns = now_ns;
		g->missed = 0;
		return false;
	}
	g->missed++;
	return g->late || atomic_load(&g->v->crashed) ||
	       (g->missed >= 2 && now_ns - g->progress_ns >= GUARDIAN_LATE_NS);
}

static void tick(struct guardian *g)
{
	uint64_t now_ns = clock_boottime_ns();
	bool late = g->late = is_late(g, now_ns);
	uint64_t one = 1;
	/* Who is missing for longer than anybody may wait is not waited for. */
	bool at_once = late && now_ns - g->progress_ns > g->c.deadline_ns;

	/* Killed, with a thread that hangs in the kernel: nobody is told of its end before that lets go,
	 * but nothing of it runs any more. */
	if (late && is_dead(g))
		guardian_alone(g);
	if (late && !g->episode.since_ns) {
		g->episode.since_ns = g->progress_ns;
		atomic_fetch_add(&g->v->episodes, 1);
	}
	/* As it was found: when it goes on, it is not stopped any more, and still late. */
	if (late && !g->episode.why)
		g->episode.why = why_late(g);
	if (!late)
		end_episode(g, now_ns);
	if (late || g->slots_used || atomic_load(&g->v->parked))
		guardian_look(g, now_ns, late, at_once);
	for (int i = 0; late && i < READS_MAX && group_readable(g); i++)
		guardian_read(g, now_ns, at_once);
	/* What was read just now is in slots. The verdict thread is to look at them, and to show that
	 * it lives; a counter that is full has told it so. */
	g->slots_used |= late;
	if (late && write(g->c.wake_fd, &one, sizeof(one)) < 0)
		return;
	if (now_ns - g->quiet_ns > QUIET_NS)
		g->ticking = false;
}

static void wake_up(struct guardian *g)
{
	uint64_t n;

	if (read(g->wake_fd, &n, sizeof(n)) < 0)
		n = 0;
	atomic_store(&g->v->pong, atomic_load(&g->v->ping));
}

static void start_ticking(struct guardian *g)
{
	if (g->ticking)
		return;
	g->ticking = true;
	g->progress = atomic_load(&g->v->progress);
	g->progress_ns = g->quiet_ns = clock_boottime_ns();
	g->missed = 0;
}

static void wait_and_look(struct guardian *g)
{
	struct pollfd p[4 + GUARDIAN_CONNS] = {
		{ .fd = g->wake_fd, .events = POLLIN },
		{ .fd = g->daemon_pidfd, .events = POLLIN },
		{ .fd = atomic_load(&g->v->listen_fd), .events = POLLIN },
		{ .fd = g->c.group_fd, .events = POLLIN },
	};

	if (g->ticking) {
		p[3].fd = -1; /* it is looked at anyway */
	} else {
		/* See permission_begin(): one of the two sees the other. */
		atomic_store(&g->v->asleep, 1);
		if (atomic_load(&g->v->busy) || atomic_load(&g->v->crashed) ||
		    atomic_load(&g->v->parked))
			start_ticking(g);
	}
	for (int i = 0; i < GUARDIAN_CONNS; i++)
		p[4 + i] = (struct pollfd){ .fd = g->conns[i], .events = POLLIN };
	poll(p, ARRAY_SIZE(p), g->ticking ? GUARDIAN_TICK_MS : -1);
	atomic_store(&g->v->asleep, 0);
	if (p[0].revents)
		wake_up(g);
	/* A ping of the main thread, or work that is done by now, is no reason to look. */
	if (p[3].revents || atomic_load(&g->v->busy) || atomic_load(&g->v->crashed))
		start_ticking(g);
	if (p[1].revents)
		guardian_alone(g);
	if (p[2].revents && !guardian_serve_accept(g))
		poll(NULL, 0, GUARDIAN_TICK_MS); /* it must not keep us spinning */
	for (int i = 0; i < GUARDIAN_CONNS; i++)
		if (p[4 + i].revents)
			guardian_serve(g, i);
	if (g->ticking)
		tick(g);
}

/* Above the verdict thread, which may spin; else as near as it is let. */
static void raise_priority(void)
{
	struct sched_param rr = { .sched_priority = PRIORITY_GUARDIAN };

	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &rr) < 0)
		setpriority(PRIO_PROCESS, 0, PRIORITY_NICE);
}

static void own_signals(void)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP };
	sigset_t all;

	/* It ends when it is told to, or when its work is over; a service manager's SIGTERM for
	 * all of us is the daemon's to obey. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		sigaction(fatal[i], &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
	sigaction(SIGCHLD, &sa, NULL); /* see guardian_alone.c: nobody waits for its child */
}

void guardian_main(struct guardian *g)
{
	own_signals();
	prctl(PR_SET_NAME, "oknek-guardian");
	prctl(PR_SET_PDEATHSIG, 0);
	raise_priority();
	/* What is ours is touched once, so that it is there when memory is short; locks are not
	 * inherited. Without leave to lock it is only likely to stay. */
	memset(g->path, 0, sizeof(g->path));
	memset(g->exe, 0, sizeof(g->exe));
	memset(g->open_fds, 0, sizeof(g->open_fds));
	memset(g->pending, 0, sizeof(g->pending));
	mlockall(MCL_CURRENT | MCL_ONFAULT);
	for (int i = 0; i < GUARDIAN_CONNS; i++)
		g->conns[i] = -1;
	if (g->c.settle)
		g->c.settle(g->c.arg);
	guardian_inherit(g);
	start_ticking(g);
	while (!atomic_load(&g->v->end))
		wait_and_look(g);
	/* The daemon has answered what it knew of; what is ours, and what came since, by us. */
	guardian_look(g, clock_boottime_ns(), false, true);
	guardian_end(g);
}
