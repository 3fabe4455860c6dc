/* SPDX-License-Identifier: Apache-2.0 */
/* Looks after names, servers, exceptions that end, and what was lost. */
#include <poll.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "tools/daemon_egress.h"

#define TICK_MS 1000
#define SLOW_NS (5 * NSEC_PER_SEC)
#define TELL_PASSED_NS (60 * NSEC_PER_SEC)

/* What was let through and no rule saw: who can cause it must not flood the evidence. */
static void tell_passed(struct daemon *d, struct daemon_egress *e, uint64_t lost, uint64_t now_ns)
{
	uint64_t n = lost - e->passed_told;

	if (!n || (e->passed_told_ns && now_ns - e->passed_told_ns < TELL_PASSED_NS))
		return;
	log_notice("egress: %llu connections that were let through were not told to rules",
		   (unsigned long long)n);
	daemon_own_record(d, "O1", "passed connections not recorded",
			  json_pack("{s:I, s:I, s:s}", "count", (json_int_t)n, "total",
				    (json_int_t)lost, "why", "they came too fast to be told one by one: "
				    "rules that detect did not see them"));
	e->passed_told = lost;
	e->passed_told_ns = now_ns;
}

static void tell_lost(struct daemon *d, struct daemon_egress *e, uint64_t now_ns)
{
	struct egress_figures f;
	uint64_t lost;

	egress_figures(e->jail, &f);
	tell_passed(d, e, f.lost_pass, now_ns);
	lost = f.lost_tell + f.malformed;
	if (lost == e->lost_told)
		return;
	log_warning("egress: %llu refusals found no room to be told", (unsigned long long)(lost - e->lost_told));
	daemon_own_record(d, "O1", "connections not recorded",
			  json_pack("{s:I, s:s}", "lost", (json_int_t)(lost - e->lost_told), "why",
				    "the ring of the egress jail was full"));
	e->lost_told = lost;
}

static bool is_alive(const struct tree_brief *trees, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (trees[i].id == id)
			return true;
	return false;
}

/* Those of which nobody is left, with what was not recorded one by one. */
static void settle_trees(struct daemon *d, struct daemon_egress *e)
{
	size_t n = 0;
	_cleanup_free_ struct tree_brief *trees = daemon_trees(d, &n);
	uint32_t id = 0;

	for (unsigned i = 0; i < EGRESS_TREES_MAX && (id = egress_next_tree(e->jail, id)); i++) {
		struct egress_tree t;

		if (is_alive(trees, n, id) || egress_tree_figures(e->jail, id, &t) < 0)
			continue;
		if (t.unrecorded)
			daemon_own_record(d, "O1", "connections not recorded",
					  json_pack("{s:I, s:I, s:s}", "tree", (json_int_t)id, "count",
						    (json_int_t)t.unrecorded, "why",
						    "they came too fast for a record each"));
		pthread_mutex_lock(&e->lock);
		egress_forget_tree(e->jail, id);
		e->unrecorded += t.unrecorded;
		pthread_mutex_unlock(&e->lock);
		id = 0; /* the walk cannot go on from what is gone */
	}
}

static void look_after(struct daemon *d, struct daemon_egress *e)
{
	uint64_t now_ns = clock_boottime_ns();
	bool changed = false, slow = now_ns - e->checked_ns >= SLOW_NS;
	char err[256];

	pthread_mutex_lock(&e->lock);
	egress_ask(e, now_ns);
	changed = egress_take_answers(e, now_ns);
	if (changed || time(NULL) >= e->expires_unix_s) {
		if (egress_apply(e, err, sizeof(err)) < 0)
			log_error("%s: what was in force stays", err);
	}
	pthread_mutex_unlock(&e->lock);
	if (!slow || !e->jail)
		return;
	e->checked_ns = now_ns;
	tell_lost(d, e, now_ns);
	settle_trees(d, e);
}

static void *egress_thread(void *arg)
{
	struct daemon *d = arg;
	struct daemon_egress *e = d->egress;

	pthread_setname_np(pthread_self(), "oknek-egress");
	while (!atomic_load(&e->stop)) {
		struct pollfd p[] = { { .fd = e->wake_fd, .events = POLLIN },
				      { .fd = names_fd(e->names), .events = POLLIN } };

		/* Its end is no news twice. */
		if (poll(p, 2, TICK_MS) > 0 && p[1].revents & POLLHUP)
			poll(p, 1, TICK_MS);
		look_after(d, e);
	}
	return NULL;
}

int daemon_egress_start(struct daemon *d)
{
	struct daemon_egress *e = d->egress;
	int err;

	if (!daemon_egress_runs(d) && !daemon_egress_advises(d))
		return 0;
	err = -pthread_create(&e->thread, NULL, egress_thread, d);
	e->running = err == 0;
	return err;
}

void daemon_egress_stop(struct daemon *d)
{
	struct daemon_egress *e = d->egress;

	if (!e || !e->running)
		return;
	atomic_store(&e->stop, true);
	daemon_wake(e->wake_fd);
	pthread_join(e->thread, NULL);
	e->running = false;
}
