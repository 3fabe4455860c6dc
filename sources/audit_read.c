/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that reads audit records: from the kernel alone, put together, handed over. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/loop.h"
#include "sources/audit_told.h"

#ifndef AUDIT_REPLACE /* linux/audit.h of 4.10 */
#define AUDIT_REPLACE 1329
#endif

#define BATCH_MAX 512   /* datagrams between two looks at whether it is to stop */
#define LAST_MAX 65536  /* of a socket that is given up: more than it has room for */
#define WAIT_MS 1000	/* for the rest of an event, no longer than its patience */
#define LOOK_NS (5 * NSEC_PER_SEC) /* whether we are still the owner */
#define FULL_MS 1	/* the verdict thread has not come so far */
#define BACKWARDS_NS (60 * NSEC_PER_SEC) /* the wall clock was set: an event is no older than that */

static void count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* When it was, by the clock that goes on while the host sleeps, and is not set. */
static uint64_t boottime_of(int64_t time_ms)
{
	uint64_t now_ns = clock_boottime_ns(), ago_ns;
	struct timespec wall;
	int64_t now_ms;

	clock_gettime(CLOCK_REALTIME, &wall);
	now_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / (int64_t)NSEC_PER_MSEC;
	if (time_ms >= now_ms)
		return now_ns;
	ago_ns = (uint64_t)(now_ms - time_ms) * NSEC_PER_MSEC;
	return ago_ns > BACKWARDS_NS || ago_ns > now_ns ? now_ns : now_ns - ago_ns;
}

/* ---- handing over ------------------------------------------------------------------------------ */

static const char *path_of(struct audit_source *s, const struct audit_event *e,
			   const struct audit_action *a, uint64_t time_ns)
{
	switch (a->kind) {
	case KIND_FILE_OPENED:
		return audit_path_of(s, e, a, time_ns);
	case KIND_EXEC_OBSERVED:
		return a->exec.path;
	default:
		return a->dest.path[0] ? a->dest.path : NULL;
	}
}

static bool was_handed(struct audit_source *s, const struct audit_event *e)
{
	unsigned i = e->serial % AUDIT_HANDED;

	if (s->handed[i].serial == e->serial && s->handed[i].time_ms == e->time_ms)
		return true;
	s->handed[i].serial = e->serial;
	s->handed[i].time_ms = e->time_ms;
	return false;
}

/* Is it told again, because it was tried again? A second one that is the same passes for that once, and
 * one end of which no address is told: the kernel has that of the first attempt only. */
static bool is_repeated(struct audit_source *s, pid_t pid, const struct audit_action *a)
{
	for (unsigned i = 0; i < AUDIT_AGAIN; i++) {
		if (s->again[i].pid != pid || (a->unknown && a->again))
			continue;
		if (!a->unknown && (s->again[i].port != a->dest.port ||
				    memcmp(s->again[i].addr, a->dest.addr, sizeof(a->dest.addr)) != 0 ||
				    strcmp(s->again[i].path, a->dest.path) != 0))
			continue;
		if (!a->again)
			s->again[i].pid = 0;
		return true;
	}
	if (a->again) {
		unsigned i = s->next_again++ % AUDIT_AGAIN;

		s->again[i].pid = pid;
		s->again[i].port = a->dest.port;
		memcpy(s->again[i].addr, a->dest.addr, sizeof(s->again[i].addr));
		snprintf(s->again[i].path, sizeof(s->again[i].path), "%s", a->dest.path);
	}
	return false;
}

static void hand_over(struct audit_source *s, const struct audit_event *e)
{
	uint64_t time_ns = boottime_of(e->time_ms);
	bool any = false, unsure = false;

	if (was_handed(s, e))
		return;
	count(&s->told);
	for (unsigned n = 0; audit_event_action(e, n, &s->action); n++) {
		const char *path = path_of(s, e, &s->action, time_ns);
		size_t len;

		if (s->action.uring && is_repeated(s, e->pid, &s->action))
			continue;
		unsure = unsure || s->action.unsure;
		while (!ebpf_queue_has_room(&s->queue) && !atomic_load(&s->stop)) {
			struct pollfd stop = { .fd = s->stop_fd, .events = POLLIN };

			poll(&stop, 1, FULL_MS);
		}
		if (!ebpf_queue_has_room(&s->queue))
			return;
		len = audit_told_write(e, &s->action, path, time_ns, s->out, sizeof(s->out));
		if (!len) {
			count(&s->cut); /* names that are longer than any the kernel takes */
			continue;
		}
		ebpf_queue_put(&s->queue, s->out, (uint32_t)len);
		any = true;
	}
	if (e->partial || unsure)
		count(&s->partial);
	for (unsigned i = 0; i < e->n_uring && !e->n_paths; i++)
		if (e->uring[i].success && audit_uring_opens(e->uring[i].op))
			count(&s->unnamed);
	if (any) {
		uint64_t one = 1;

		/* Fails only when the counter is full, and then its reader is awake. */
		if (write(s->queue_fd, &one, sizeof(one)) < 0)
			return;
	}
}

/* ---- reading ----------------------------------------------------------------------------------- */

static void take_complete(struct audit_source *s)
{
	const struct audit_event *e;

	while ((e = audit_parser_next(s->parser, clock_boottime_ns())))
		hand_over(s, e);
}

static int take_one(struct audit_source *s, int fd);

/* An auditd wants the unicast socket, which the kernel gives nobody while we have it. */
static void give_way(struct audit_source *s)
{
	int group = AUDIT_NLGRP_READLOG;
	unsigned n = 0;

	/* First, so that nothing falls between the two: what comes twice is handed over once. */
	if (setsockopt(s->multicast_fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0) {
		count(&s->overruns);
		return;
	}
	atomic_store(&s->owner, false);
	/* The kernel goes on sending until it has been told: what is left then is lost. */
	while (n < LAST_MAX && take_one(s, audit_rules_fd(s->rules)) && !atomic_load(&s->stop))
		n++;
	if (n == LAST_MAX)
		count(&s->overruns);
	audit_rules_yield(s->rules);
}

/* The kernel drops an owner that does not take what it is sent, and tells nobody. */
static void look_at_owner(struct audit_source *s, uint64_t *looked_ns)
{
	struct audit_rules_figures f;
	uint64_t now_ns = clock_boottime_ns();

	if (!atomic_load(&s->owner) || now_ns - *looked_ns < LOOK_NS)
		return;
	*looked_ns = now_ns;
	if (audit_rules_figures(s->rules, &f) == 0 && f.owner != getpid()) {
		count(&s->overruns);
		give_way(s);
	}
}

/* 0: nothing more is there. */
static int take_one(struct audit_source *s, int fd)
{
	ssize_t n = audit_socket_read(fd, s->datagram, sizeof(s->datagram));
	const struct nlmsghdr *h = (const struct nlmsghdr *)s->datagram;

	if (n == -EAGAIN)
		return 0;
	if (n == -EINTR)
		return 1;
	if (n == -ENOBUFS) {
		count(&s->overruns);
		return 1;
	}
	if (n == 0) {
		count(&s->foreign);
		return 1;
	}
	if (n < (ssize_t)NLMSG_HDRLEN) { /* an error, too: what it was for is gone */
		count(&s->malformed);
		return n > 0 || n == -EMSGSIZE;
	}
	if (h->nlmsg_type == AUDIT_REPLACE && atomic_load(&s->owner)) {
		give_way(s);
		return 1;
	}
	count(&s->records);
	if (audit_parser_record(s->parser, h->nlmsg_type, (const char *)s->datagram + NLMSG_HDRLEN,
				(size_t)n - NLMSG_HDRLEN, clock_boottime_ns()) < 0)
		count(&s->malformed);
	take_complete(s);
	return 1;
}

/* The socket that is read now; another once somebody else owns the other. */
static int source_fd(const struct audit_source *s)
{
	return atomic_load(&s->owner) ? audit_rules_fd(s->rules) : s->multicast_fd;
}

void audit_run(struct source *base)
{
	struct audit_source *s = (struct audit_source *)base;
	uint64_t looked_ns = clock_boottime_ns();

	while (!atomic_load(&s->stop)) {
		bool owner = atomic_load(&s->owner);
		int fd = source_fd(s);
		struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
					{ .fd = s->stop_fd, .events = POLLIN } };
		unsigned n = 0;

		while (n < BATCH_MAX && take_one(s, fd) && !atomic_load(&s->stop) &&
		       atomic_load(&s->owner) == owner)
			n++;
		take_complete(s);
		look_at_owner(s, &looked_ns);
		if (atomic_load(&s->owner) != owner)
			continue; /* the descriptor is closed */
		if (poll(fds, ARRAY_SIZE(fds), owner || audit_parser_waits(s->parser) ? WAIT_MS : -1) <
			    0 && errno != EINTR)
			return;
	}
}
