/* SPDX-License-Identifier: Apache-2.0 */
/* Names in the egress section, and the servers of resolv.conf(5). */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "tools/daemon_egress.h"

#define ASK_EACH_NS (300 * NSEC_PER_SEC)
#define SERVERS_EACH_NS (5 * NSEC_PER_SEC)
#define ASK_AGAIN_NS (15 * NSEC_PER_SEC) /* when there was no answer */
/* Who asked a moment before us may have been given others: they stay for a while. */
#define ADDRESS_KEPT_NS (3600 * NSEC_PER_SEC)

static bool take_servers(struct daemon_egress *e, const struct names_answer *a)
{
	struct address list[EGRESS_SERVERS_MAX] = { 0 };
	size_t n = a->count < EGRESS_SERVERS_MAX ? a->count : EGRESS_SERVERS_MAX;

	e->servers_answered = true;
	for (size_t i = 0; i < n; i++) {
		list[i] = (struct address){ .bits = 128, .to = UINT16_MAX };
		memcpy(list[i].addr, a->addr[i], sizeof(list[i].addr));
	}
	if (n == e->n_servers && !memcmp(list, e->servers, sizeof(list)))
		return false;
	memcpy(e->servers, list, sizeof(list));
	e->n_servers = n;
	return true;
}

struct egress_host *egress_host_find(struct daemon_egress *e, const char *name)
{
	for (size_t i = 0; i < e->n_hosts; i++)
		if (!strcmp(e->hosts[i]->name, name))
			return e->hosts[i];
	return NULL;
}

static int use(struct daemon_egress *e, const struct config_destinations *list)
{
	for (size_t i = 0; i < list->n; i++) {
		const char *name = list->v[i].address.host;
		struct egress_host *h = *name ? egress_host_find(e, name) : NULL, **grown;

		if (*name && !h) {
			grown = reallocarray(e->hosts, e->n_hosts + 1, sizeof(*grown));
			if (!grown)
				return -ENOMEM;
			e->hosts = grown;
			h = calloc(1, sizeof(*h));
			if (!h)
				return -ENOMEM;
			snprintf(h->name, sizeof(h->name), "%s", name);
			h->id = ++e->last_id;
			grown[e->n_hosts++] = h;
		}
		if (h) {
			h->used = true;
			h->asked_ns = 0; /* the answer comes when it comes: the last one holds until then */
		}
	}
	return 0;
}

int egress_name_hosts(struct daemon_egress *e)
{
	size_t kept = 0;
	int r;

	for (size_t i = 0; i < e->n_hosts; i++)
		e->hosts[i]->used = false;
	r = use(e, &e->config.egress.gateway);
	if (!r)
		r = use(e, &e->config.egress.resolvers);
	if (!r)
		r = use(e, &e->config.egress.allow);
	for (size_t i = 0; i < e->n_hosts; i++) {
		if (e->hosts[i]->used)
			e->hosts[kept++] = e->hosts[i];
		else
			free(e->hosts[i]);
	}
	e->n_hosts = kept;
	return r;
}

bool egress_ask(struct daemon_egress *e, uint64_t now_ns)
{
	bool asked = false;

	if (!e->config.egress.resolvers.given &&
	    (!e->servers_asked_ns || now_ns - e->servers_asked_ns >= SERVERS_EACH_NS) &&
	    names_ask_servers(e->names) == 0) {
		e->servers_asked_ns = now_ns;
		asked = true;
	}
	for (size_t i = 0; i < e->n_hosts; i++) {
		struct egress_host *h = e->hosts[i];
		bool good = h->answered && !h->error;

		if (h->asked_ns && now_ns - h->asked_ns < (good ? ASK_EACH_NS : ASK_AGAIN_NS))
			continue;
		if (names_ask(e->names, h->id, h->name) < 0)
			continue;
		h->asked_ns = now_ns;
		asked = true;
	}
	return asked;
}

static bool seen(struct egress_host *h, const uint8_t addr[16], uint64_t now_ns)
{
	unsigned at = 0;

	for (; at < h->n; at++)
		if (!memcmp(h->addr[at].addr, addr, 16)) {
			h->addr[at].seen_ns = now_ns;
			return false;
		}
	if (h->n == NAMES_ADDRESSES_MAX) {
		at = 0;
		for (unsigned i = 1; i < h->n; i++)
			if (h->addr[i].seen_ns < h->addr[at].seen_ns)
				at = i;
	} else {
		h->n++;
	}
	memcpy(h->addr[at].addr, addr, 16);
	h->addr[at].seen_ns = now_ns;
	return true;
}

static bool drop_old(struct egress_host *h, uint64_t now_ns)
{
	unsigned kept = 0, had = h->n;

	for (unsigned i = 0; i < h->n; i++)
		if (now_ns - h->addr[i].seen_ns <= ADDRESS_KEPT_NS)
			h->addr[kept++] = h->addr[i];
	h->n = kept;
	return kept != had;
}

static bool take(struct egress_host *h, const struct names_answer *a, uint64_t now_ns)
{
	bool changed = false;

	h->answered = true;
	h->answered_ns = now_ns;
	h->error = a->error ? a->error : a->count ? 0 : EAI_NONAME;
	if (h->error) {
		if (!h->told)
			log_warning("egress: %s cannot be resolved: %s; %s", h->name,
				    gai_strerror(h->error), h->n ? "its last addresses stay" :
								   "nobody reaches it");
		h->told = true;
		return false; /* the last addresses stay */
	}
	if (h->told)
		log_notice("egress: %s has addresses again", h->name);
	h->told = false;
	for (uint32_t i = 0; i < a->count; i++)
		changed |= seen(h, a->addr[i], now_ns);
	return drop_old(h, now_ns) || changed;
}

bool egress_take_answers(struct daemon_egress *e, uint64_t now_ns)
{
	struct names_answer a;
	bool changed = false;
	int r;

	while ((r = names_take(e->names, &a)) > 0) {
		if (a.id == NAMES_SERVERS)
			changed |= take_servers(e, &a);
		for (size_t i = 0; i < e->n_hosts; i++)
			if (e->hosts[i]->id == a.id)
				changed |= take(e->hosts[i], &a, now_ns);
	}
	if (r == -EPIPE && !e->names_gone) {
		e->names_gone = true;
		log_warning("egress: the helper that resolves names has ended: addresses stay as they are "
			    "until oknekd is started again");
	}
	return changed;
}

static bool all_answered(const struct daemon_egress *e)
{
	for (size_t i = 0; i < e->n_hosts; i++)
		if (!e->hosts[i]->answered)
			return false;
	return e->config.egress.resolvers.given || e->servers_answered;
}

/* What was never answered is waited for, together. */
void egress_await_hosts(struct daemon_egress *e, int wait_ms)
{
	uint64_t now_ns = clock_boottime_ns();
	uint64_t end_ns = now_ns + (uint64_t)wait_ms * NSEC_PER_MSEC;

	if (!e->names)
		return;
	egress_ask(e, now_ns);
	while (!all_answered(e) && now_ns < end_ns) {
		struct pollfd p = { .fd = names_fd(e->names), .events = POLLIN };

		if (poll(&p, 1, (int)((end_ns - now_ns) / NSEC_PER_MSEC) + 1) > 0 &&
		    p.revents & (POLLHUP | POLLERR) && !(p.revents & POLLIN))
			break;
		now_ns = clock_boottime_ns();
		egress_take_answers(e, now_ns);
	}
	if (!e->config.egress.resolvers.given && !e->servers_answered)
		log_warning("egress: /etc/resolv.conf cannot be read in time: %s",
			    e->n_servers ? "the resolvers that were known stay" :
					   "no resolver is reached until it can");
	for (size_t i = 0; i < e->n_hosts; i++)
		if (!e->hosts[i]->answered && !e->hosts[i]->told) {
			log_warning("egress: %s is not resolved yet: nobody reaches it until it is",
				    e->hosts[i]->name);
			e->hosts[i]->told = true;
		}
}
