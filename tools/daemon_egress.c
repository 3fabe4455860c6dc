/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The egress jail of this daemon: what the configuration, names and rules say becomes a table for the
 * kernel. Its thread looks after names, servers, exceptions that end, and what was lost.
 */
#include "tools/daemon_egress.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "sources/process_feed.h"

#define RESOLVE_WAIT_MS 3000 /* at start and reload */
#define TICK_MS 1000
#define SLOW_NS (5 * NSEC_PER_SEC)
#define TELL_PASSED_NS (60 * NSEC_PER_SEC)
#define DNS_PORT 53
#define DNS_TLS_PORT 853 /* RFC 7858 */

/* ---- what stands where --------------------------------------------------------------------- */

struct gathering {
	struct egress_destination *list;
	size_t n, room;
	bool failed;
};

static void put(struct gathering *g, const struct egress_destination *d)
{
	struct egress_destination *grown;

	if (g->n == g->room) {
		grown = reallocarray(g->list, g->room + 256, sizeof(*grown));
		if (!grown) {
			g->failed = true;
			return;
		}
		g->list = grown;
		g->room += 256;
	}
	g->list[g->n++] = *d;
}

static void put_ports(struct gathering *g, const struct address *a, const uint8_t addr[16],
		      enum egress_class class, enum egress_strength strength)
{
	struct egress_destination d = { .bits = a->bits, .from = a->from, .to = a->to,
					.class = class, .strength = (uint8_t)strength };

	memcpy(d.addr, addr, 16);
	if (class == EGRESS_RESOLVER && !a->has_port) {
		d.from = d.to = DNS_PORT;
		put(g, &d);
		d.from = d.to = DNS_TLS_PORT;
	}
	put(g, &d);
}

/* A network that is wider than loopback does not mean it. */
static enum egress_strength listed(const uint8_t addr[16], unsigned bits,
				   enum egress_strength strength)
{
	return strength == EGRESS_BY_NETWORK && egress_is_loopback(addr, bits) ?
		       EGRESS_BY_LISTED_LOOPBACK : strength;
}

static void put_list(struct gathering *g, struct daemon_egress *e,
		     const struct config_destinations *list, enum egress_class class,
		     enum egress_strength strength)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct address *a = &list->v[i].address;
		const struct egress_host *h = a->host[0] ? egress_host_find(e, a->host) : NULL;

		/* Somebody who means this very address, and no name that leads to it. */
		if (!a->host[0])
			put_ports(g, a, a->addr, class,
				  class == EGRESS_ALLOWED && a->bits == 128 ? EGRESS_BY_ADDRESS :
				  listed(a->addr, a->bits, strength));
		for (unsigned k = 0; h && k < h->n; k++)
			put_ports(g, a, h->addr[k].addr, class,
				  listed(h->addr[k].addr, 128, strength));
	}
}

static void put_loopback(struct gathering *g, const struct config_egress *c, bool closed)
{
	static const struct {
		const char *text;
	} places[] = { { "127.0.0.0/8" }, { "::1" }, { "0.0.0.0" }, { "::" } };
	struct address a;
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		address_parse(places[i].text, &a, &why);
		if (!closed || c->loopback == LOOPBACK_ALL)
			put_ports(g, &a, a.addr, EGRESS_LOOPBACK, EGRESS_BY_LOOPBACK);
		else
			put_ports(g, &a, a.addr, EGRESS_FOREIGN, EGRESS_BY_NO_LOOPBACK);
		for (size_t k = 0; closed && c->loopback == LOOPBACK_PORTS && k < c->n_ports; k++) {
			a.from = c->ports[k].from;
			a.to = c->ports[k].to;
			put_ports(g, &a, a.addr, EGRESS_LOOPBACK, EGRESS_BY_LISTED_LOOPBACK);
		}
	}
}

static void put_boundary(void *arg, const uint8_t addr[16], unsigned bits, uint16_t from,
			 uint16_t to)
{
	struct egress_destination d = { .bits = (uint8_t)bits, .from = from, .to = to,
					.strength = EGRESS_BOUNDARY };

	memcpy(d.addr, addr, 16);
	put(arg, &d);
}

static void gather(struct daemon_egress *e, struct gathering *g)
{
	const struct config_egress *c = &e->config.egress;
	struct egress_destination metadata[EGRESS_METADATA_MAX];
	size_t n = egress_metadata(metadata, ARRAY_SIZE(metadata));

	for (size_t i = 0; i < n; i++)
		put(g, &metadata[i]);
	put_loopback(g, c, egress_is_closed(c));
	put_list(g, e, &c->gateway, EGRESS_GATEWAY, EGRESS_BY_GATEWAY);
	put_list(g, e, &c->allow, EGRESS_ALLOWED, EGRESS_BY_NETWORK);
	put_list(g, e, &c->resolvers, EGRESS_RESOLVER, EGRESS_BY_RESOLVER);
	for (size_t i = 0; !c->resolvers.given && i < e->n_servers; i++)
		put_ports(g, &e->servers[i], e->servers[i].addr, EGRESS_RESOLVER,
			  EGRESS_BY_RESOLVER);
	/* Who asks is judged by the rules themselves, of which each sees its own. */
	if (e->rules && !e->advises)
		ruleset_each_boundary(e->rules, put_boundary, g);
}

/* ---- what becomes of it -------------------------------------------------------------------- */

static enum egress_verdict judge(void *arg, enum egress_class class, const uint8_t addr[16],
				 uint16_t port)
{
	const struct daemon_egress *e = arg;
	struct dest_object dest = { .port = port, .host = "", .protocol = "", .path = "",
				    .egress = class,
				    .gateway_set = e->config.egress.gateway.n > 0,
				    .has_addr = class != EGRESS_RAW && class != EGRESS_SERVICE };
	struct wall_clock clock = { .unix_s = time(NULL) };
	enum verdict v;

	if (!e->rules || e->advises)
		return EGRESS_PASS;
	memcpy(dest.addr, addr, 16);
	v = ruleset_hold(e->rules, &dest, &clock);
	return v == VERDICT_BLOCK ? EGRESS_DENY : v == VERDICT_WARN ? EGRESS_TELL : EGRESS_PASS;
}

/* A name, or a name server, whose address is not known: each has one of its own in its place. */
static void put_stand_ins(struct gathering *g, const struct config_destinations *list,
			  enum egress_class class, enum egress_strength strength)
{
	/* RFC 3849: documentation */
	uint8_t addr[16] = { 0x20, 0x01, 0x0d, 0xb8, [8] = (uint8_t)class };

	for (size_t i = 0; i < list->n; i++) {
		addr[14] = (uint8_t)(i >> 8);
		addr[15] = (uint8_t)i;
		if (list->v[i].address.host[0])
			put_ports(g, &list->v[i].address, addr, class, strength);
	}
}

int daemon_egress_check(const struct daemon *d, const struct config *site, struct ruleset *rs,
			struct rules_error *err)
{
	_cleanup_free_ struct daemon_egress *e = calloc(1, sizeof(*e));
	_cleanup_free_ struct egress_entry *entries = NULL;
	struct egress_judge j = { judge, e };
	struct gathering g = { 0 };
	char text[128] = "";
	const char *why;
	size_t n;
	int r;

	if (!e)
		return -ENOMEM;
	e->config.egress = site->egress; /* borrowed, as the rules */
	e->rules = rs;
	if (!site->egress.resolvers.given && !address_parse("192.0.2.1", &e->servers[0], &why))
		e->n_servers = 1;
	gather(e, &g);
	put_stand_ins(&g, &site->egress.gateway, EGRESS_GATEWAY, EGRESS_BY_GATEWAY);
	put_stand_ins(&g, &site->egress.allow, EGRESS_ALLOWED, EGRESS_BY_NETWORK);
	put_stand_ins(&g, &site->egress.resolvers, EGRESS_RESOLVER, EGRESS_BY_RESOLVER);
	r = g.failed ? -ENOMEM :
		       egress_compile(g.list, g.n,
				      egress_is_closed(&site->egress) ? EGRESS_FOREIGN : EGRESS_NONE,
				      &j, &entries, &n, text);
	free(g.list);
	if (r == -E2BIG)
		snprintf(err->text, sizeof(err->text), "%.200s: egress: %s: name fewer ports and "
			 "addresses there", d->opt.config, text);
	return r;
}

bool egress_is_closed(const struct config_egress *c)
{
	return c->gateway.n || c->allow.n;
}

static int64_t next_expiry(const struct ruleset *rs)
{
	int64_t now = time(NULL), next = INT64_MAX;

	for (size_t i = 0; rs && i < ruleset_exceptions(rs); i++) {
		int64_t t = ruleset_exception(rs, i)->expires_unix_s;

		if (t > now && t < next)
			next = t;
	}
	return next;
}

int egress_apply(struct daemon_egress *e, char *err, size_t size)
{
	static const uint8_t nowhere[16];
	bool closed = egress_is_closed(&e->config.egress);
	_cleanup_free_ struct egress_entry *entries = NULL;
	struct egress_judge j = { judge, e };
	struct egress_policy p = { .look = closed, .exempt = e->config.egress.allow_unix };
	struct gathering g = { 0 };
	char why[128] = "";
	size_t n = 0;
	int r;

	gather(e, &g);
	r = g.failed ? -ENOMEM :
		       egress_compile(g.list, g.n, closed ? EGRESS_FOREIGN : EGRESS_NONE, &j,
				      &entries, &n, why);
	free(g.list);
	if (!r) {
		p.entries = entries;
		p.n_entries = n;
		p.raw = closed ? judge(e, EGRESS_RAW, nowhere, 0) : EGRESS_PASS;
		p.service = closed ? judge(e, EGRESS_SERVICE, nowhere, 0) : EGRESS_PASS;
		r = e->jail ? egress_set(e->jail, &p) : 0;
	}
	if (r < 0) {
		snprintf(err, size, "egress: %s", why[0] ? why : strerror(-r));
		return r;
	}
	e->expires_unix_s = next_expiry(e->rules);
	pthread_mutex_lock(&e->table_lock);
	free(e->entries);
	e->entries = TAKE_PTR(entries);
	e->n_entries = n;
	pthread_mutex_unlock(&e->table_lock);
	e->raw = p.raw;
	e->service = p.service;
	atomic_store(&e->closed, closed);
	atomic_store(&e->gateway_set, e->config.egress.gateway.n > 0);
	return 0;
}

/* ---- start, reload, mode ------------------------------------------------------------------- */

int daemon_egress_prepare(struct daemon *d, bool jail)
{
	struct daemon_egress *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	d->egress = e;
	pthread_mutex_init(&e->lock, NULL);
	pthread_mutex_init(&e->table_lock, NULL);
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

/* ---- its thread ---------------------------------------------------------------------------- */

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
