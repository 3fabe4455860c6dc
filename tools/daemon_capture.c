/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which events are captured, and when that begins and ends. The verdict thread is told by a function
 * pointer of the bus, which it alone changes: so it never asks for a capture that is being closed.
 */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "store/capture.h"
#include "store/store.h"
#include "tools/daemon.h"

#define CLOSE_MS 2000

static void witness(void *arg, const struct verdict_note *note, enum outcome outcome)
{
	struct daemon *d = arg;
	struct capture_moment when = {
		.unix_ns = d->decided_unix_ns,
		.utc_offset_s = d->decided_utc_offset_s,
		.outcome = outcome,
		.ruleset = ruleset_origin(d->rules),
	};

	if (note->d->n_fired || (d->capture_all && note->ev->subj.tree))
		capture_push(d->capture, note, &when);
}

static void health(void *arg, bool ok, const char *why)
{
	(void)arg;
	if (ok)
		log_notice("events are being captured again");
	else
		log_error("events cannot be captured: %s; verdicts go on", why);
}

struct swap {
	struct daemon *d;
	struct capture *capture;
	bool all;
};

static void swap_capture(void *arg)
{
	struct swap *c = arg;
	struct daemon *d = c->d;
	struct capture *was = d->capture;

	d->capture = c->capture;
	d->capture_all = c->all;
	d->bus.witness_arg = d;
	d->bus.witness = c->capture ? witness : NULL;
	c->capture = was;
}

static int apply(struct daemon *d, struct swap *c)
{
	int r = 0;

	pthread_mutex_lock(&d->capture_lock);
	if (d->verdict_running)
		r = loop_call(d->loop, swap_capture, c);
	else
		swap_capture(c);
	pthread_mutex_unlock(&d->capture_lock);
	return r;
}

/* As the evidence grows old. */
static int64_t age_ns(void *arg)
{
	struct daemon *d = arg;
	struct store_status st = { 0 };

	if (d->store)
		store_status(d->store, &st);
	return st.age_ns;
}

/* What was captured before does not stay for ever because nothing is captured now. */
static void keep(struct daemon *d, const struct capture_config *config, bool off)
{
	int r = 0;

	if (off && d->capture_keeper) {
		capture_change(d->capture_keeper, false, config->max_size_bytes, config->max_age_s);
	} else if (off) {
		r = capture_open(config, &d->capture_keeper);
		if (!r && d->verdict_running)
			r = capture_start(d->capture_keeper);
	} else {
		capture_close(d->capture_keeper, 0);
		d->capture_keeper = NULL;
	}
	if (r < 0)
		log_error("what was captured cannot be removed when it is old: %s", strerror(-r));
}

int daemon_capture(struct daemon *d, const struct config_capture *want)
{
	struct capture_config config = {
		.state_dir = d->opt.state_dir,
		.all = want->events == CAPTURE_ALL,
		.max_size_bytes = want->max_size_bytes,
		.max_age_s = want->max_age_s,
		.health = want->events == CAPTURE_OFF ? NULL : health,
		.arg = d,
		.age_ns = age_ns,
		.keeps = want->events == CAPTURE_OFF,
	};
	struct swap c = { d, d->capture, want->events == CAPTURE_ALL };
	int r = 0;

	if (!config.keeps)
		keep(d, &config, false);
	if (config.keeps) {
		c.capture = NULL;
	} else if (c.capture) {
		capture_change(c.capture, c.all, want->max_size_bytes, want->max_age_s);
	} else {
		r = capture_open(&config, &c.capture);
		if (!r && d->verdict_running)
			r = capture_start(c.capture);
		if (r < 0) {
			capture_close(c.capture == d->capture ? NULL : c.capture, 0);
			log_error("events cannot be captured: %s", strerror(-r));
			return r;
		}
	}
	/* Also what interests no rule, before it is asked for and until it is not. */
	if (c.all)
		daemon_bulk_everything(d, true);
	r = apply(d, &c);
	if (!c.all)
		daemon_bulk_everything(d, false);
	/* What is in c now is what nobody uses any more. */
	if (c.capture != d->capture)
		capture_close(c.capture, CLOSE_MS);
	if (config.keeps)
		keep(d, &config, true);
	return r;
}

int daemon_capture_start(struct daemon *d)
{
	if (d->capture_keeper)
		return capture_start(d->capture_keeper);
	return d->capture ? capture_start(d->capture) : 0;
}

void daemon_capture_stop(struct daemon *d)
{
	struct swap c = { d, NULL, false };

	if (apply(d, &c) < 0)
		swap_capture(&c); /* its thread has ended */
	capture_close(c.capture, CLOSE_MS);
	capture_close(d->capture_keeper, 0);
	d->capture_keeper = NULL;
}

json_t *daemon_capture_json(struct daemon *d)
{
	struct capture_stats st = { .ok = true };
	const char *what;

	pthread_mutex_lock(&d->capture_lock);
	what = !d->capture ? "off" : d->capture_all ? "all" : "matched";
	if (d->capture)
		capture_stats(d->capture, &st);
	pthread_mutex_unlock(&d->capture_lock);
	return json_pack("{s:s, s:b, s:s, s:I, s:I, s:I, s:I}", "what", what, "ok", st.ok, "why",
			 st.why, "events", (json_int_t)st.events, "written", (json_int_t)st.written,
			 "bytes", (json_int_t)st.bytes, "dropped", (json_int_t)st.dropped);
}
