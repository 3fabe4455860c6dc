/* SPDX-License-Identifier: Apache-2.0 */
/* The egress jail of this daemon: its start and end, reloads, modes, and what is kept for the next one. */
#include "tools/daemon_egress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/prio_lock.h"
#include "sources/process_feed.h"

#define RESOLVE_WAIT_MS 3000 /* at start and reload */

int daemon_egress_prepare(struct daemon *d, bool jail)
{
	struct daemon_egress *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	d->egress = e;
	pthread_mutex_init(&e->lock, NULL);
	prio_lock_init(&e->table_lock);
	snprintf(e->why, sizeof(e->why), jail ? "nothing is watched" :
		 "neither fanotify nor ebpf runs");
	e->none = !jail;
	egress_pin_dir(d->opt.run_dir, e->pin_dir, sizeof(e->pin_dir));
	if (jail)
		e->n_kept = egress_pinned_members(e->pin_dir, e->kept, EGRESS_PINNED_MAX);
	e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = e->wake_fd < 0 ? -errno : names_open(&e->names);
	if (r < 0)
		log_error("egress: the helper that resolves names cannot be started: %s",
			  strerror(-r));
	return r;
}

/* While privileged, and when little is left that can fail: then it is taken back. */
void daemon_egress_pin(struct daemon *d)
{
	struct daemon_egress *e = d->egress;
	int fds[GUARDIAN_KEEP_MAX], r;
	unsigned n;

	if (!daemon_egress_runs(d) || !e->config.egress.keep)
		return;
	n = process_feed_kept_fds(d->feed, fds, GUARDIAN_KEEP_MAX);
	n += egress_kept_fds(e->jail, fds + n, GUARDIAN_KEEP_MAX - n);
	r = egress_pin(e->pin_dir, process_feed_members_fd(d->feed), fds, n);
	e->pinned = r > 0 ? r : 0;
	if (r < 0)
		log_warning("egress.jail_on_exit: keep: not possible: %s",
			    r == -EOPNOTSUPP ? "no BPF filesystem is mounted on /sys/fs/bpf" :
					       strerror(-r));
}

unsigned daemon_egress_kept_members(const struct daemon *d, const int **ret)
{
	if (ret && d->egress)
		*ret = d->egress->kept;
	return d->egress ? d->egress->n_kept : 0;
}

void daemon_egress_take_over(struct daemon *d)
{
	struct daemon_egress *e = d->egress;
	int n;

	if (!e)
		return;
	/* Whom it holds nobody else would. */
	if (!daemon_egress_runs(d)) {
		if (e->n_kept)
			log_warning("no egress jail: the one that an earlier daemon left stays as it "
				    "was; oknek egress --release ends it");
		return;
	}
	e->ready = true;
	n = egress_unpin(e->pin_dir, e->pinned);
	if (n < 0)
		log_warning("%s: what an earlier daemon kept cannot be removed: %s", e->pin_dir,
			    strerror(-n));
	else if (n)
		log_notice("the egress jail that an earlier daemon left was taken over");
}

/* Pins are made with privilege that is gone. */
bool daemon_egress_restart(const struct daemon *d)
{
	return daemon_egress_runs(d) && d->egress->config.egress.keep && !d->egress->pinned;
}

void daemon_egress_open(struct daemon *d)
{
	struct daemon_egress *e = d->egress;
	int members = d->feed ? process_feed_members_fd(d->feed) : -1;

	if (!e || !d->feed)
		return;
	e->advises = d->preload || d->audit;
	if (e->none)
		return;
	e->why[0] = '\0';
	if (members < 0)
		snprintf(e->why, sizeof(e->why), "no membership in the kernel: the process feed is %s",
			 process_feed_name(d->feed));
	else
		egress_open(members, &e->jail, e->why);
	if (!e->jail)
		log_warning("no egress jail: %s", e->why);
	e->advises = !e->jail && (d->preload || d->audit);
}

void daemon_egress_rules(const struct daemon *d, const struct config *site, struct rules_config *c)
{
	c->no_gateway = site->egress.gateway.n == 0;
	if ((d->egress && d->egress->jail) || d->opt.check)
		c->mechanisms[KIND_SOCKET_CONNECT] = 1u << (d->egress && d->egress->jail &&
							    !egress_no_lsm(d->egress->jail) ?
								    MECH_LSM : MECH_CGROUP);
	else if (d->egress && d->feed)
		c->why_none[KIND_SOCKET_CONNECT] = d->egress->why;
}

bool daemon_egress_runs(const struct daemon *d)
{
	return d->egress && d->egress->jail;
}

bool daemon_egress_is_closed(const struct daemon *d)
{
	return daemon_egress_runs(d) && atomic_load(&d->egress->closed);
}

bool daemon_egress_sees_families(const struct daemon *d)
{
	return daemon_egress_runs(d) && !egress_no_lsm(d->egress->jail);
}

static void swap_config(struct daemon_egress *e, struct config *with)
{
	pthread_mutex_lock(&e->table_lock);
	config_swap_egress(&e->config, with);
	pthread_mutex_unlock(&e->table_lock);
}

/* With admin_lock, or before threads. What `from` says is taken, and given back on failure. */
int daemon_egress_apply(struct daemon *d, struct config *from, struct ruleset *rules, char *err,
			size_t size)
{
	struct daemon_egress *e = d->egress;
	int r;

	if (!e || (!e->jail && !e->advises))
		return 0;
	pthread_mutex_lock(&e->lock);
	swap_config(e, from);
	e->servers_asked_ns = 0;
	e->servers_answered = false;
	r = egress_name_hosts(e);
	if (!r) {
		struct ruleset *old = e->rules;

		egress_await_hosts(e, RESOLVE_WAIT_MS);
		e->rules = ruleset_ref(rules);
		r = egress_apply(e, err, size);
		if (r < 0) {
			ruleset_unref(e->rules);
			e->rules = old;
		} else {
			ruleset_unref(old);
		}
	} else {
		snprintf(err, size, "egress: %s", strerror(-r));
	}
	if (r < 0) {
		swap_config(e, from);
		egress_name_hosts(e);
	}
	pthread_mutex_unlock(&e->lock);
	return r;
}

int daemon_egress_fd(const struct daemon *d)
{
	return egress_fd(d->egress->jail);
}

unsigned daemon_egress_kept(const struct daemon *d, int *fds, unsigned max)
{
	return daemon_egress_runs(d) ? egress_kept_fds(d->egress->jail, fds, max) : 0;
}

uint64_t daemon_egress_caps(const struct daemon *d)
{
	return daemon_egress_runs(d) ? egress_caps(d->egress->jail) : 0;
}

void daemon_egress_mode(struct daemon *d)
{
	if (daemon_egress_runs(d))
		egress_enforce(d->egress->jail, daemon_mode_now(d) == MODE_ENFORCE);
}

void daemon_egress_prove(struct daemon *d, uint32_t tree)
{
	if (daemon_egress_runs(d))
		egress_prove(d->egress->jail, tree);
}

void daemon_egress_close(struct daemon *d)
{
	struct daemon_egress *e = TAKE_PTR(d->egress);

	if (!e)
		return;
	/* Who never came to be ready leaves what it found. */
	if (e->pinned && (!e->ready || !e->config.egress.keep))
		egress_unpin_own(e->pin_dir, e->pinned);
	for (unsigned i = 0; i < e->n_kept; i++)
		close(e->kept[i]);
	egress_close(e->jail);
	names_close(e->names);
	for (size_t i = 0; i < e->n_hosts; i++)
		free(e->hosts[i]);
	free(e->hosts);
	free(e->entries);
	ruleset_unref(e->rules);
	config_free_egress(&e->config);
	if (e->wake_fd >= 0)
		close(e->wake_fd);
	pthread_mutex_destroy(&e->lock);
	pthread_mutex_destroy(&e->table_lock);
	free(e);
}
