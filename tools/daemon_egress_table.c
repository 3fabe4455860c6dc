/* SPDX-License-Identifier: Apache-2.0 */
/* What configuration, names and rules say about destinations, as the table that the kernel has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "tools/daemon_egress.h"

#define DNS_PORT 53
#define DNS_TLS_PORT 853 /* RFC 7858 */

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
