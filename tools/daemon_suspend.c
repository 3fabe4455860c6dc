/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host is about to sleep (SIGUSR1). Whoever is held then could not be frozen, and the host could
 * not sleep, so what waits is answered with its default, and nothing is made to wait, until the host
 * has slept. If it did not, that lasts a minute.
 */
#include <jansson.h>
#include <stdlib.h>
#include <time.h>

#include "core/log.h"
#include "tools/daemon.h"

#define REST_MAX_NS (60 * NSEC_PER_SEC)
#define LAST_CHANCE_NS (300 * NSEC_PER_MSEC)
#define LOOK_NS (5 * NSEC_PER_MSEC)
#define SLEPT_NS (50 * NSEC_PER_MSEC) /* more than two clocks differ that are read in turn */

struct last_look {
	struct daemon *d;
	unsigned answered, unread;
};

static void look(void *arg)
{
	struct last_look *l = arg;

	l->answered += fanotify_last_look(l->d->fanotify, &l->d->bus, &l->unread);
}

/*
 * Whose arguments are being read at this moment is about to be let go, as a rule: the default, which
 * denies, would break a build that is in the midst of its work. The loop goes on as ever meanwhile.
 */
unsigned daemon_last_chance(struct daemon *d)
{
	const struct timespec pause = { .tv_nsec = LOOK_NS };
	uint64_t until_ns = clock_boottime_ns() + LAST_CHANCE_NS;
	struct last_look l = { .d = d };

	if (!d->fanotify)
		return 0;
	while (loop_call(d->loop, look, &l) == 0 && l.unread &&
	       clock_boottime_ns() + LOOK_NS < until_ns)
		nanosleep(&pause, NULL);
	return l.answered;
}

struct rest_call {
	struct daemon *d;
	bool rest;
	unsigned answered;
};

static void rest(void *arg)
{
	struct rest_call *c = arg;

	c->answered = fanotify_rest(c->d->fanotify, &c->d->bus, c->rest);
}

/* What CLOCK_BOOTTIME has counted and CLOCK_MONOTONIC has not. */
static uint64_t slept_ns(void)
{
	struct timespec ts;
	uint64_t now_ns = clock_boottime_ns();

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return now_ns - ((uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec);
}

void daemon_suspend(struct daemon *d)
{
	struct rest_call c = { .d = d, .rest = true };
	unsigned holds = daemon_last_chance(d);

	if (!d->fanotify || loop_call(d->loop, rest, &c) < 0)
		return;
	c.answered += holds;
	d->rest_until_ns = clock_boottime_ns() + REST_MAX_NS;
	d->rest_slept_ns = slept_ns();
	log_notice("the host is about to sleep: %u held openers were answered", c.answered);
	if (c.answered)
		daemon_own_record(d, "O1", "suspend",
				  json_pack("{s:i, s:s}", "answered", (int)c.answered, "why",
					    "answered with their default, since the host was about "
					    "to sleep"));
}

void daemon_suspend_tick(struct daemon *d)
{
	struct rest_call c = { .d = d };

	if (!d->rest_until_ns || (clock_boottime_ns() < d->rest_until_ns &&
				  slept_ns() < d->rest_slept_ns + SLEPT_NS))
		return;
	d->rest_until_ns = 0;
	loop_call(d->loop, rest, &c);
	log_notice("openers may be held again");
}
