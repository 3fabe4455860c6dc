/* SPDX-License-Identifier: Apache-2.0 */
/* The egress jail as `oknek status` and `oknek egress` tell it. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/daemon_egress.h"

static json_t *address_json(const uint8_t addr[16], unsigned bits)
{
	char text[64];

	address_text(addr, bits, text);
	return json_string(text);
}

static json_t *destination_json(struct daemon_egress *e, const struct config_destination *d,
				uint64_t now_ns)
{
	const struct egress_host *h = d->address.host[0] ? egress_host_find(e, d->address.host) : NULL;
	json_t *addresses = json_array(), *r;

	if (!d->address.host[0])
		json_array_append_new(addresses, address_json(d->address.addr, d->address.bits));
	for (unsigned i = 0; h && i < h->n; i++)
		json_array_append_new(addresses, address_json(h->addr[i].addr, 128));
	r = json_pack("{s:s, s:o}", "as", d->text, "addresses", addresses);
	if (!h)
		return r;
	json_object_set_new(r, "age_s", h->answered_ns ?
			    json_integer((json_int_t)((now_ns - h->answered_ns) / NSEC_PER_SEC)) :
			    json_null());
	json_object_set_new(r, "error", h->error ? json_string(gai_strerror(h->error)) :
				h->answered ? json_null() : json_string("no answer yet"));
	return r;
}

static json_t *list_json(struct daemon_egress *e, const struct config_destinations *list)
{
	uint64_t now_ns = clock_boottime_ns();
	json_t *r = json_array();

	for (size_t i = 0; i < list->n; i++)
		json_array_append_new(r, destination_json(e, &list->v[i], now_ns));
	return r;
}

static json_t *resolvers_json(struct daemon_egress *e)
{
	json_t *r;

	if (e->config.egress.resolvers.given)
		return list_json(e, &e->config.egress.resolvers);
	r = json_array();
	for (size_t i = 0; i < e->n_servers; i++) {
		char text[64];

		address_text(e->servers[i].addr, e->servers[i].bits, text);
		json_array_append_new(r, json_pack("{s:s, s:[s], s:s}", "as", text, "addresses", text,
						   "from", "/etc/resolv.conf"));
	}
	return r;
}

static json_t *loopback_json(const struct config_egress *c)
{
	json_t *r;

	if (c->loopback != LOOPBACK_PORTS)
		return json_boolean(c->loopback == LOOPBACK_ALL);
	r = json_array();
	for (size_t i = 0; i < c->n_ports; i++)
		json_array_append_new(r, c->ports[i].from == c->ports[i].to ?
						 json_integer(c->ports[i].from) :
						 json_sprintf("%u-%u", c->ports[i].from,
							      c->ports[i].to));
	return r;
}

static json_t *paths_json(char *const *paths)
{
	json_t *r = json_array();

	for (; paths && *paths; paths++)
		json_array_append_new(r, json_string(*paths));
	return r;
}

static json_t *trees_json(struct daemon *d)
{
	size_t n = 0;
	_cleanup_free_ struct tree_brief *trees = daemon_trees(d, &n);
	json_t *r = json_array();

	for (size_t i = 0; i < n; i++) {
		struct egress_tree t = { 0 };

		egress_tree_figures(d->egress->jail, trees[i].id, &t);
		json_array_append_new(
			r, json_pack("{s:i, s:s, s:i, s:I, s:I, s:I, s:I}", "tree", (int)trees[i].id,
				     "agent", trees[i].agent, "root_pid", (int)trees[i].root_pid,
				     "denied", (json_int_t)t.denied, "would_deny",
				     (json_int_t)t.would, "passed", (json_int_t)t.passed,
				     "not_recorded", (json_int_t)t.unrecorded));
	}
	return r;
}

/* Refused, or warned of, without a record, by whomever since the start. With the lock held. */
static uint64_t unrecorded(const struct daemon_egress *e)
{
	uint64_t n = e->unrecorded;
	uint32_t id = 0;

	for (unsigned i = 0; i < EGRESS_TREES_MAX && (id = egress_next_tree(e->jail, id)); i++) {
		struct egress_tree t;

		if (!egress_tree_figures(e->jail, id, &t))
			n += t.unrecorded;
	}
	return n;
}

/* What of R5 and R11 is in force. */
static json_t *rules_json(struct daemon *d)
{
	struct ruleset *rs = daemon_rules_ref(d);
	json_t *r = json_array();

	for (size_t i = 0; rs && i < ruleset_count(rs); i++) {
		const struct rule *rule = ruleset_rule(rs, i);

		if (rule->kind == KIND_SOCKET_CONNECT)
			json_array_append_new(r, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "rule",
							   rule->id, "part", rule->part, "name",
							   rule->name, "action",
							   verdict_name(rule->action), "mechanism",
							   mechanism_name(rule->mechanism), "why",
							   rule->bound_why));
	}
	ruleset_unref(rs);
	return r;
}

/* Of connections that were made before the watching, or by others. */
static const char *standing_name(const struct egress *jail)
{
	static const char *const names[] = { [EGRESS_UNSEEN] = "unseen",
					     [EGRESS_SEEN_LEAVING] = "leaving",
					     [EGRESS_SEEN] = "seen" };

	return names[egress_sees_standing(jail)];
}

static const char *closedness(const struct daemon_egress *e)
{
	return atomic_load(&e->closed) ? "closed" : "metadata";
}

/* What is reached, and the rules about it. */
static void put_lists(struct daemon *d, json_t *r)
{
	struct daemon_egress *e = d->egress;

	pthread_mutex_lock(&e->lock);
	json_object_set_new(r, "gateway", list_json(e, &e->config.egress.gateway));
	json_object_set_new(r, "resolvers", resolvers_json(e));
	json_object_set_new(r, "allow", list_json(e, &e->config.egress.allow));
	json_object_set_new(r, "allow_loopback", loopback_json(&e->config.egress));
	json_object_set_new(r, "allow_unix", paths_json(e->config.egress.allow_unix));
	json_object_set_new(r, "prefixes", json_integer((json_int_t)e->n_entries));
	pthread_mutex_unlock(&e->lock);
	json_object_set_new(r, "rules", rules_json(d));
}

json_t *daemon_egress_json(struct daemon *d, bool privileged)
{
	struct daemon_egress *e = d->egress;
	struct egress_figures f;
	json_t *r;

	if (!daemon_egress_runs(d)) {
		r = json_pack("{s:b, s:s, s:s}", "attached", 0, "why",
			      e && d->feed ? e->why : "nobody is watched", "jail", "none");
		if (daemon_egress_advises(d)) {
			json_object_set_new(r, "advised", json_string(closedness(e)));
			json_object_set_new(r, "advised_by", json_string(d->preload ? "preload" : "audit"));
			json_object_set_new(r, "mode", json_string(mode_name(daemon_mode_now(d))));
			json_object_set_new(r, "gateway_set", json_boolean(atomic_load(&e->gateway_set)));
			if (privileged)
				put_lists(d, r);
		}
		return r;
	}
	egress_figures(e->jail, &f);
	r = json_pack("{s:b, s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:I, s:I}", "attached", 1, "why", "",
		      "jail", closedness(e), "cgroup",
		      egress_where(e->jail), "mode", mode_name(daemon_mode_now(d)), "gateway_set",
		      atomic_load(&e->gateway_set), "unix_sockets", egress_sees_unix(e->jail),
		      "standing_connections", standing_name(e->jail),
		      "records", (json_int_t)f.records, "lost", (json_int_t)(f.lost_tell + f.malformed));
	json_object_set_new(r, "lsm", json_boolean(!egress_no_lsm(e->jail)));
	json_object_set_new(r, "no_lsm", json_string(egress_no_lsm(e->jail) ? egress_no_lsm(e->jail) : ""));
	if (!privileged)
		return r;
	put_lists(d, r);
	pthread_mutex_lock(&e->lock);
	json_object_set_new(r, "jail_on_exit", json_string(e->config.egress.keep ? "keep" : "open"));
	json_object_set_new(r, "pinned", e->pinned ? json_string(e->pin_dir) : json_null());
	json_object_set_new(r, "not_recorded", json_integer((json_int_t)unrecorded(e)));
	pthread_mutex_unlock(&e->lock);
	json_object_set_new(r, "passed_not_recorded", json_integer((json_int_t)f.lost_pass));
	return r;
}

static void put_unresolved(struct daemon_egress *e, json_t *list)
{
	pthread_mutex_lock(&e->lock);
	if (e->names_gone && e->n_hosts)
		json_array_append_new(list, json_string("egress: names are not resolved any more: the "
							"helper has ended"));
	for (size_t i = 0; i < e->n_hosts; i++)
		if (e->hosts[i]->error || !e->hosts[i]->answered)
			json_array_append_new(list, json_sprintf("egress: %s cannot be resolved%s%s",
								 e->hosts[i]->name,
								 e->hosts[i]->error ? ": " : " yet",
								 e->hosts[i]->error ?
								 gai_strerror(e->hosts[i]->error) : ""));
	pthread_mutex_unlock(&e->lock);
}

void daemon_egress_warnings(struct daemon *d, json_t *list)
{
	struct daemon_egress *e = d->egress;

	if (!e || !d->feed)
		return;
	if (!e->jail) {
		json_array_append_new(list, json_sprintf("there is no egress jail: %s", e->why));
		if (e->advises)
			put_unresolved(e, list);
		return;
	}
	if (atomic_load(&e->closed) && !egress_sees_unix(e->jail))
		json_array_append_new(list, json_string("this kernel does not tell of AF_UNIX sockets: "
							"those of docker, D-Bus … are reached"));
	if (atomic_load(&e->closed) && egress_sees_standing(e->jail) == EGRESS_UNSEEN)
		json_array_append_new(list, json_string("this kernel does not tell who sends on connections "
							"that stand: those made before the watching are "
							"not in the jail"));
	pthread_mutex_lock(&e->lock);
	if (e->config.egress.keep && !e->pinned)
		json_array_append_new(list, json_string("egress.jail_on_exit: keep is not in force: the jail "
							"will end with the daemon"));
	pthread_mutex_unlock(&e->lock);
	put_unresolved(e, list);
}

const char *daemon_cmd_egress(void *arg, const struct control_peer *peer, const json_t *req,
			      struct control_reply *reply)
{
	struct daemon *d = arg;

	(void)req;
	reply->result = daemon_egress_json(d, true);
	if (daemon_egress_runs(d) && peer->role >= ROLE_VIEWER) /* others' trees are not everybody's to see */
		json_object_set_new(reply->result, "trees", trees_json(d));
	return NULL;
}
