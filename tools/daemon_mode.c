/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <time.h>

#include "core/log.h"
#include "tools/daemon.h"

enum mode daemon_mode_now(void *arg)
{
	struct daemon *d = arg;

	return (enum mode)atomic_load_explicit(&d->mode_now, memory_order_relaxed);
}

#define RETRY_FIRST_S 5
#define RETRY_MAX_S 300
#define RETRY_WAIT_MS 1000 /* signals wait for it */

static int64_t boottime_s(void)
{
	return (int64_t)(clock_boottime_ns() / NSEC_PER_SEC);
}

void daemon_marks_are_late(struct daemon *d)
{
	atomic_store(&d->marks_late, true);
	d->marks_backoff_s = RETRY_FIRST_S;
	d->marks_retry_s = boottime_s() + RETRY_FIRST_S;
}

static void set_mode_now(struct daemon *d, enum mode mode)
{
	atomic_store(&d->mode_now, mode);
	daemon_egress_mode(d);
	daemon_lsm_mode(d);
	daemon_ebpf_mode(d);
	if (d->guardian)
		guardian_set_mode(d->guardian, mode, atomic_load(&d->paused_until_s),
				  (enum mode)atomic_load(&d->mode));
	daemon_hold_again(d);
}

/*
 * With admin_lock. Observing starts at once, though permission marks that cannot be taken away yet
 * still make openers wait for our answer. Enforcing starts when its marks stand; when they do not
 * in time, it starts with those that do, and whoever asked is told.
 */
static int apply(struct daemon *d, int wait_ms)
{
	enum mode want = atomic_load(&d->paused_until_s) ? MODE_OBSERVE :
							   (enum mode)atomic_load(&d->mode);
	int err = 0;

	if (want == MODE_OBSERVE)
		set_mode_now(d, want);
	if (d->marks)
		err = marks_set(d->marks, want, ruleset_pathset(d->rules),
				ruleset_programs(d->rules), wait_ms);
	if (!err || err == -ETIMEDOUT)
		set_mode_now(d, want);
	if (!err)
		atomic_store(&d->marks_late, false);
	else if (!atomic_load(&d->marks_late))
		daemon_marks_are_late(d);
	return err;
}

int daemon_set_mode(struct daemon *d, enum mode mode)
{
	int err;

	pthread_mutex_lock(&d->admin_lock);
	atomic_store(&d->mode, mode);
	err = apply(d, MARKS_WAIT_MS);
	pthread_mutex_unlock(&d->admin_lock);
	return err;
}

int daemon_pause(struct daemon *d, int64_t seconds)
{
	int err;

	pthread_mutex_lock(&d->admin_lock);
	atomic_store(&d->paused_until_s, seconds ? time(NULL) + seconds : 0);
	err = apply(d, MARKS_WAIT_MS);
	pthread_mutex_unlock(&d->admin_lock);
	return err;
}

static void end_pause(struct daemon *d)
{
	int64_t until = atomic_load(&d->paused_until_s);

	if (!until || time(NULL) < until)
		return;
	pthread_mutex_lock(&d->admin_lock);
	/* Somebody may have prolonged it meanwhile. */
	if (atomic_load(&d->paused_until_s) == until) {
		atomic_store(&d->paused_until_s, 0);
		if (apply(d, MARKS_WAIT_MS) < 0)
			log_error("the pause is over, but marks could not be set again in time");
		else
			log_notice("the pause is over: mode %s", mode_name(daemon_mode_now(d)));
	}
	pthread_mutex_unlock(&d->admin_lock);
}

/* Each try is one more job for the mark thread, which may be stuck: less and less often. */
static void retry_marks(struct daemon *d)
{
	if (!atomic_load(&d->marks_late) || pthread_mutex_trylock(&d->admin_lock))
		return;
	if (atomic_load(&d->marks_late) && boottime_s() >= d->marks_retry_s) {
		int64_t backoff_s = 2 * d->marks_backoff_s;

		if (apply(d, RETRY_WAIT_MS) == 0)
			log_notice("marks are as they should be: mode %s",
				   mode_name(daemon_mode_now(d)));
		d->marks_backoff_s = backoff_s < RETRY_MAX_S ? backoff_s : RETRY_MAX_S;
		d->marks_retry_s = boottime_s() + d->marks_backoff_s;
	}
	pthread_mutex_unlock(&d->admin_lock);
}

void daemon_mode_tick(struct daemon *d)
{
	end_pause(d);
	retry_marks(d);
}
