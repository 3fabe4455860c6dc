/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict thread: what wakes it, and its deadlines. */
#include <string.h>

#include "core/log.h"
#include "sources/ebpf.h"
#include "tools/daemon.h"

static void dispatch_fanotify(void *arg)
{
	struct daemon *d = arg;

	if (!d->fanotify) {
		daemon_feed_drain(d);
		daemon_follow_dispatch(d);
		return;
	}
	d->fanotify->ops->dispatch(d->fanotify, &d->bus);
}

/* Between batches, when nobody waits for an answer: what the feed has put off. */
static void dispatch_feed(void *arg)
{
	struct daemon *d = arg;

	dispatch_fanotify(d);
	daemon_egress_dispatch(d);
	daemon_lsm_dispatch(d);
	process_feed_settle(d->feed);
}

static void dispatch_ebpf(void *arg)
{
	struct daemon *d = arg;

	/* What was refused is told first, so that it is known when eBPF tells of the same open. */
	if (!d->fanotify)
		daemon_lsm_dispatch(d);
	d->ebpf->ops->dispatch(d->ebpf, &d->bus);
}

static void dispatch_audit(void *arg)
{
	struct daemon *d = arg;

	d->audit->ops->dispatch(d->audit, &d->bus);
}

static void dispatch_replay(void *arg)
{
	struct daemon *d = arg;

	if (d->replay->ops->dispatch(d->replay, &d->bus) == 0)
		atomic_store(&d->replay_done, 1);
}

static uint64_t next_deadline(void *arg)
{
	const struct daemon *d = arg;

	uint64_t held = d->fanotify ? fanotify_next_deadline(d->fanotify) : UINT64_MAX;
	uint64_t ring = d->ebpf ? ebpf_next_ns(d->ebpf) : UINT64_MAX;

	uint64_t peeked = daemon_peek_next_ns(d);

	held = held < peeked ? held : peeked;
	return held < ring ? held : ring;
}

static void expire(void *arg, uint64_t now_ns)
{
	struct daemon *d = arg;

	if (daemon_peek_next_ns(d) <= now_ns)
		daemon_peek_dispatch(d);
	if (d->fanotify)
		fanotify_expire(d->fanotify, &d->bus, now_ns);
	if (d->ebpf)
		ebpf_expire(d->ebpf, &d->bus, now_ns);
}

static void *verdict_thread(void *arg)
{
	struct daemon *d = arg;
	int err;

	pthread_setname_np(pthread_self(), "oknek-verdict");
	if (daemon_signal_stack(&d->verdict_signal_stack) < 0)
		log_warning("no memory for the signal stack of the verdict thread");
	daemon_confine_verdicts(d);
	err = loop_run(d->loop);
	if (err)
		log_error("verdict loop: %s", strerror(-err));
	daemon_signal_stack_free(d->verdict_signal_stack);
	return NULL;
}

int daemon_start_verdicts(struct daemon *d)
{
	struct loop_timer timer = { next_deadline, expire, d };
	int err = 0;

	if (d->fanotify)
		err = loop_add(d->loop, d->fanotify->ops->fd(d->fanotify), dispatch_fanotify, d);
	if (!err && d->follow)
		err = loop_add(d->loop, d->follow->ops->fd(d->follow), daemon_follow_dispatch, d);
	if (!err && d->fanotify && daemon_peek_fd(d) >= 0)
		err = loop_add(d->loop, daemon_peek_fd(d), daemon_peek_dispatch, d);
	if (!err && daemon_watches(d))
		err = loop_add(d->loop, process_feed_fd(d->feed), dispatch_feed, d);
	if (!err && d->ebpf)
		err = loop_add(d->loop, d->ebpf->ops->fd(d->ebpf), dispatch_ebpf, d);
	if (!err && d->audit)
		err = loop_add(d->loop, d->audit->ops->fd(d->audit), dispatch_audit, d);
	if (!err && daemon_egress_runs(d))
		err = loop_add(d->loop, daemon_egress_fd(d), daemon_egress_dispatch, d);
	if (!err && daemon_lsm_runs(d))
		err = loop_add(d->loop, daemon_lsm_fd(d), daemon_lsm_dispatch, d);
	if (!err && d->replay)
		err = loop_add(d->loop, d->replay->ops->fd(d->replay), dispatch_replay, d);
	if (!err && d->fanotify)
		err = d->fanotify->ops->start(d->fanotify);
	if (!err && d->ebpf)
		err = d->ebpf->ops->start(d->ebpf);
	if (!err && d->replay)
		err = d->replay->ops->start(d->replay);
	if (err)
		return err;
	loop_set_timer(d->loop, &timer);
	err = -pthread_create(&d->verdict_thread, NULL, verdict_thread, d);
	d->verdict_running = err == 0;
	return err;
}
