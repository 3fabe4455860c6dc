/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon that is up, in enforce mode, and can hold nothing: it is ready, because a service manager
 * would end one that is not and then nobody would even record; but it must not pass for one that
 * enforces. So the service manager is told, the log, status, and, when it lasts and something is in
 * the way, the evidence.
 */
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "tools/daemon.h"

#define LOOK_NS NSEC_PER_SEC
#define LASTS_NS (3 * NSEC_PER_SEC) /* at start marks are being set */

struct first_gap {
	char text[256];
};

static void take_gap(void *arg, const char *path, const char *why)
{
	struct first_gap *g = arg;

	if (g->text[0])
		return;
	snprintf(g->text, sizeof(g->text), "%.120s: %.120s", path, why);
	/* For whoever takes no other bytes. */
	for (char *p = g->text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

unsigned daemon_blocking_rules(const struct ruleset *rs)
{
	size_t n = rs ? ruleset_count(rs) : 0;
	unsigned blocking = 0;

	for (size_t i = 0; i < n; i++) {
		const struct rule *r = ruleset_rule(rs, i);

		blocking += r->action == VERDICT_BLOCK && r->mechanism != MECH_DETECT;
	}
	return blocking;
}

enum daemon_nothing daemon_enforces_nothing(struct daemon *d, unsigned blocking, char why[256])
{
	struct first_gap gap = { "" };
	struct marks_stats ms = { 0 };

	if (daemon_mode_now(d) != MODE_ENFORCE || !d->marks || d->follow_names || !blocking)
		return DAEMON_ENFORCES;
	marks_stats(d->marks, &ms);
	if (ms.held || ms.programs || (d->follow && daemon_lsm_names(d)))
		return DAEMON_ENFORCES;
	marks_each_gap(d->marks, take_gap, &gap);
	if (gap.text[0]) {
		snprintf(why, 256, "nothing could be marked: %.200s", gap.text);
		return DAEMON_HINDERED;
	}
	if (!ms.files && !ms.directories && d->config->mark_roots && d->config->mark_roots[0]) {
		snprintf(why, 256, "nothing that the rules name is below what fanotify.only lists");
		/* Where agents work is only known when there is one. */
		return ms.watched ? DAEMON_HINDERED : DAEMON_NOTHING_YET;
	}
	snprintf(why, 256, "nothing that the rules name is there yet");
	return DAEMON_NOTHING_YET;
}

void daemon_notify_status(struct daemon *d, const char *before)
{
	const char *mode = mode_name(daemon_mode_now(d));
	char state[400];

	if (d->nothing.now == DAEMON_ENFORCES)
		snprintf(state, sizeof(state), "%sSTATUS=mode %s", before, mode);
	else
		snprintf(state, sizeof(state), "%sSTATUS=mode %s, enforcing nothing: %s", before, mode,
			 d->nothing.why);
	daemon_notify(state);
}

static void look(struct daemon *d)
{
	unsigned blocking;

	/* The rules are others' to change while this is held. */
	if (pthread_mutex_trylock(&d->admin_lock))
		return;
	blocking = daemon_blocking_rules(d->rules);
	pthread_mutex_unlock(&d->admin_lock);
	d->nothing.now = daemon_enforces_nothing(d, blocking, d->nothing.why);
}

static void tell(struct daemon *d, bool nothing)
{
	d->nothing.told = nothing;
	if (nothing) {
		log_warning("enforcing nothing: %s", d->nothing.why);
		daemon_own_record(d, "O1", "enforcing nothing", json_pack("{s:s}", "why", d->nothing.why));
	} else {
		log_notice("what the rules name is marked now, or need not be");
		daemon_own_record(d, "O1", "no longer enforcing nothing", json_object());
	}
}

void daemon_nothing_first(struct daemon *d)
{
	look(d);
	d->nothing.since_ns = d->nothing.looked_ns = clock_boottime_ns();
}

void daemon_nothing_tick(struct daemon *d, uint64_t now_ns)
{
	enum daemon_nothing before = d->nothing.now;
	char why[sizeof(d->nothing.why)];

	if (now_ns - d->nothing.looked_ns < LOOK_NS)
		return;
	d->nothing.looked_ns = now_ns;
	memcpy(why, d->nothing.why, sizeof(why));
	look(d);
	if (d->nothing.now != before) {
		if (d->nothing.now != DAEMON_HINDERED || before == DAEMON_ENFORCES)
			d->nothing.since_ns = now_ns;
		daemon_notify_status(d, "");
	} else if (d->nothing.now != DAEMON_ENFORCES && strcmp(why, d->nothing.why) != 0) {
		daemon_notify_status(d, "");
	}
	if (d->nothing.now == DAEMON_HINDERED && !d->nothing.told &&
	    now_ns - d->nothing.since_ns >= LASTS_NS)
		tell(d, true);
	else if (d->nothing.now == DAEMON_ENFORCES && d->nothing.told)
		tell(d, false);
}
