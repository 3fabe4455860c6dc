/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service manager is told, by the protocol of sd_notify(3), without waiting: it may itself
 * be held by an open that we are to answer. What it has no room for is not said.
 */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "tools/daemon.h"

/* Who is asked for a sign of life has so long for it. */
#define PROBE_NS NSEC_PER_SEC

void daemon_notify(const char *state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	_cleanup_close_ int fd = -1;

	if (len < 2 || len >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, len);
	if (path[0] == '@')
		sa.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&sa,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_debug("service manager: %s", strerror(errno));
}

void daemon_notify_reloading(void)
{
	struct timespec now;
	char state[64];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		 (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	daemon_notify(state);
}

void daemon_notify_ready(struct daemon *d)
{
	daemon_notify_status(d, "READY=1\n");
}

void daemon_notify_patience(unsigned seconds)
{
	char state[64];

	snprintf(state, sizeof(state), "EXTEND_TIMEOUT_USEC=%u000000", seconds);
	daemon_notify(state);
}

void daemon_watchdog_init(struct daemon *d)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t us = usec ? strtoull(usec, NULL, 10) : 0;

	if (!us || us > UINT64_MAX / 1000 || (pid && strtol(pid, NULL, 10) != getpid()))
		return;
	d->watchdog.interval_ns = us * 1000 / 2;
	d->watchdog.due_ns = clock_boottime_ns();
}

/*
 * A sign of life at half the time that is allowed, and only when the two threads that others wait
 * for came round after they were asked to: who loops in one batch for ever does not. That the main
 * thread lives, the message itself tells.
 */
void daemon_watchdog_tick(struct daemon *d, uint64_t now_ns)
{
	struct daemon_watchdog *w = &d->watchdog;

	if (!w->interval_ns || now_ns + PROBE_NS < w->due_ns)
		return;
	if (!w->asked) {
		w->verdict_turns = loop_poke(d->loop);
		w->control_turns = control_poke(d->control);
		w->asked = true;
		return;
	}
	if (now_ns < w->due_ns || loop_poke(d->loop) == w->verdict_turns ||
	    control_poke(d->control) == w->control_turns)
		return;
	daemon_notify("WATCHDOG=1");
	w->asked = false;
	w->due_ns = now_ns + w->interval_ns;
}
