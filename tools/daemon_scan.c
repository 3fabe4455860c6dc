/* SPDX-License-Identifier: Apache-2.0 */
/* Looks through /proc when the process feed lost something, until it is whole again. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "tools/daemon.h"

#define RETRY_MS 500           /* after a scan that failed, or had no room */
#define TELL_EVERY_NS (10 * NSEC_PER_SEC) /* whoever can cause gaps must not flood the evidence */

struct scanner {
	struct daemon *d;
	bool quiet; /* the feed is nothing but scans */
	/* Since the last record. */
	unsigned gaps, found;
	uint64_t told_ns;
	bool no_room;
};

void daemon_wake(int eventfd)
{
	uint64_t one = 1;

	/* Fails only when the counter is full, and then its reader is awake. */
	if (write(eventfd, &one, sizeof(one)) < 0)
		return;
}

void daemon_feed_lost(void *arg)
{
	daemon_wake(((struct daemon *)arg)->scan_fd);
}

struct gap_call {
	struct daemon *d;
	uint64_t gaps;
	bool complete, whole;
};

static void count_gaps(void *arg)
{
	struct gap_call *c = arg;

	c->gaps = daemon_feed_gaps(c->d);
}

static void restored(void *arg)
{
	struct gap_call *c = arg;

	c->whole = daemon_feed_restored(c->d, c->gaps, c->complete);
}

/* Scans until no gap came while it did. 0, -ENOSPC (as whole as there is room), -errno. */
static int recover(struct scanner *s)
{
	struct gap_call c = { .d = s->d };
	unsigned found;
	int err;

	do {
		if (atomic_load(&s->d->threads_stop))
			return 0;
		err = loop_call(s->d->loop, count_gaps, &c);
		if (err)
			return err;
		err = daemon_rescan(s->d, &found);
		s->found += found;
		if (err == -EAGAIN)
			continue; /* somebody forks without end; that must not end our looking */
		if (err && err != -ENOSPC)
			return err;
		c.complete = !err;
		if (loop_call(s->d->loop, restored, &c) < 0)
			return -ESHUTDOWN;
		s->gaps++;
	} while (!c.whole);
	return err;
}

static void tell_gaps(struct scanner *s)
{
	uint64_t now_ns = clock_boottime_ns();

	if (!s->gaps || s->quiet || (s->told_ns && now_ns - s->told_ns < TELL_EVERY_NS))
		return;
	log_warning("the process feed (%s) lost records; /proc was scanned, %u members found",
		    process_feed_name(s->d->feed), s->found);
	daemon_own_record(s->d, "O1", "process feed overrun",
			  json_pack("{s:s, s:i, s:i}", "feed", process_feed_name(s->d->feed),
				    "scans", (int)s->gaps, "members_found", (int)s->found));
	s->told_ns = now_ns;
	s->gaps = s->found = 0;
}

static void tell_room(struct scanner *s, bool no_room)
{
	if (s->no_room == no_room)
		return;
	s->no_room = no_room;
	if (no_room)
		log_error("no room for all processes of watched trees: some are not watched");
	else
		log_notice("all processes of watched trees are watched again");
	daemon_own_record(s->d, "O1", no_room ? "members not watched" : "members watched again",
			  json_pack("{s:s}", "why", no_room ? "no room in the table of processes" :
							      "there is room again"));
}

static void *scan_thread(void *arg)
{
	struct daemon *d = arg;
	struct scanner s = { .d = d, .quiet = !strcmp(process_feed_name(d->feed), "scan") };
	struct pollfd pfd = { d->scan_fd, POLLIN, 0 };
	uint64_t ticks;
	int err = 0;

	pthread_setname_np(pthread_self(), "oknek-scan");
	for (;;) {
		bool lost, untold = s.gaps && !s.quiet;

		poll(&pfd, 1, err ? RETRY_MS : untold ? (int)(TELL_EVERY_NS / NSEC_PER_MSEC) : -1);
		if (atomic_load(&d->threads_stop))
			return NULL;
		lost = read(d->scan_fd, &ticks, sizeof(ticks)) > 0;
		if (lost || err) {
			unsigned gaps = s.gaps;

			err = recover(&s);
			if (err && err != -ENOSPC)
				log_warning("/proc could not be scanned: %s", strerror(-err));
			else
				tell_room(&s, err == -ENOSPC);
			if (!lost)
				s.gaps = gaps; /* tried again, for want of room: not a gap */
			else if (!s.quiet)
				daemon_identify_everybody(d); /* execs were lost as well */
		}
		tell_gaps(&s);
	}
}

int daemon_scan_start(struct daemon *d)
{
	int err = -pthread_create(&d->scan_thread, NULL, scan_thread, d);

	d->scan_running = err == 0;
	return err;
}

void daemon_threads_stop(struct daemon *d)
{
	atomic_store(&d->threads_stop, true);
	if (d->identify_running) {
		daemon_wake(d->identify_fd);
		pthread_join(d->identify_thread, NULL);
		d->identify_running = false;
	}
	if (d->scan_running) {
		daemon_wake(d->scan_fd);
		pthread_join(d->scan_thread, NULL);
		d->scan_running = false;
	}
}
