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

/* With admin_lock. Enforcing starts when its marks stand; observing starts at once. */
static int apply(struct daemon *d)
{
	enum mode want = atomic_load(&d->paused_until_s) ? MODE_OBSERVE :
							   (enum mode)atomic_load(&d->mode);
	int err = 0;

	if (want == MODE_OBSERVE)
		atomic_store(&d->mode_now, want);
	if (d->marks)
		err = marks_set(d->marks, want, ruleset_pathset(d->rules), MARKS_WAIT_MS);
	if (err == -ETIMEDOUT)
		err = 0;
	if (!err)
		atomic_store(&d->mode_now, want);
	return err;
}

int daemon_set_mode(struct daemon *d, enum mode mode)
{
	int err;

	pthread_mutex_lock(&d->admin_lock);
	atomic_store(&d->mode, mode);
	err = apply(d);
	pthread_mutex_unlock(&d->admin_lock);
	return err;
}

int daemon_pause(struct daemon *d, int64_t seconds)
{
	int err;

	pthread_mutex_lock(&d->admin_lock);
	atomic_store(&d->paused_until_s, seconds ? time(NULL) + seconds : 0);
	err = apply(d);
	pthread_mutex_unlock(&d->admin_lock);
	return err;
}

void daemon_pause_tick(struct daemon *d)
{
	int64_t until = atomic_load(&d->paused_until_s);

	if (!until || time(NULL) < until)
		return;
	pthread_mutex_lock(&d->admin_lock);
	/* Somebody may have prolonged it meanwhile. */
	if (atomic_load(&d->paused_until_s) == until) {
		atomic_store(&d->paused_until_s, 0);
		if (apply(d) < 0)
			log_error("the pause is over, but marks could not be set again");
		else
			log_notice("the pause is over: mode %s", mode_name(daemon_mode_now(d)));
	}
	pthread_mutex_unlock(&d->admin_lock);
}
