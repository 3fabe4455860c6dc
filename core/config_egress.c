/* SPDX-License-Identifier: Apache-2.0 */
/* `egress:` of oknek.yaml: where watched trees may connect to. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config_priv.h"

#define DESTINATION_FORM                                                                       \
	"a list of destinations: NAME, ADDRESS or NETWORK, each with or without :PORT, as "       \
	"[llm.example.org:443, 10.0.0.0/8]"

#define DESTINATIONS_MAX 16384 /* of one list: all of a large cloud's networks */

static int no_memory(struct loading *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

static int wants(struct loading *l, const struct yaml_node *n, const char *key, const char *form)
{
	return yaml_fail(l->err, l->file, n->line, "%s must be %s", key, form);
}

static void list_free(struct config_destinations *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->v[i].text);
		free(list->v[i].at.file);
	}
	free(list->v);
	*list = (struct config_destinations){ 0 };
}

static int add(struct loading *l, const struct yaml_node *n, const char *key,
	       struct config_destinations *list)
{
	struct config_destination *d = &list->v[list->n];
	const char *why = "";

	if (n->type != YAML_SCALAR || !*n->scalar)
		return wants(l, n, key, DESTINATION_FORM);
	if (address_parse(n->scalar, &d->address, &why))
		return yaml_fail(l->err, l->file, n->line,
				 "%s: \"%.80s\" is no destination: %s; write NAME, ADDRESS or NETWORK, "
				 "each with or without :PORT, as 10.0.0.5:8443 or [fd00::5]:443",
				 key, n->scalar, why);
	d->text = strdup(n->scalar);
	d->at = (struct config_place){ strdup(l->file), n->line };
	list->n++;
	return d->text && d->at.file ? 0 : no_memory(l);
}

static int read_list(struct loading *l, const struct yaml_node *map, const char *name,
		     const char *key, struct config_destinations *ret)
{
	const struct yaml_node *n = yaml_get(map, name);
	struct yaml_node *one = (struct yaml_node *)(uintptr_t)n;
	struct yaml_node *const *items;
	struct config_destinations list = { .given = true };
	size_t count;
	int err = 0;

	if (!n)
		return 0;
	items = n->type == YAML_LIST ? n->items : &one;
	count = n->type == YAML_LIST ? n->n : 1;
	if (n->type == YAML_MAP)
		return wants(l, n, key, DESTINATION_FORM);
	if (count > DESTINATIONS_MAX)
		return yaml_fail(l->err, l->file, n->line,
				 "%s has %zu destinations, more than %d: name networks that have them in "
				 "them", key, count, DESTINATIONS_MAX);
	list.v = calloc(count + 1, sizeof(*list.v));
	if (!list.v)
		return no_memory(l);
	for (size_t i = 0; i < count && !err; i++)
		err = add(l, items[i], key, &list);
	if (err) {
		list_free(&list);
		return err;
	}
	list_free(ret);
	*ret = list;
	return 0;
}

static int read_loopback(struct loading *l, const struct yaml_node *n)
{
	static const char form[] = "true, false or a list of ports, as [5432, 8000-8099]";
	struct config_egress *e = &l->c->egress;
	struct config_ports ports[EGRESS_LOOPBACK_PORTS];
	bool all;

	if (n->type == YAML_SCALAR && !yaml_bool(n, &all)) {
		e->loopback = all ? LOOPBACK_ALL : LOOPBACK_NONE;
		return 0;
	}
	if (n->type != YAML_LIST || n->n > EGRESS_LOOPBACK_PORTS)
		return wants(l, n, "egress.allow_loopback", form);
	for (size_t i = 0; i < n->n; i++)
		if (n->items[i]->type != YAML_SCALAR ||
		    address_parse_ports(n->items[i]->scalar, &ports[i].from, &ports[i].to))
			return wants(l, n->items[i], "egress.allow_loopback", form);
	e->loopback = n->n ? LOOPBACK_PORTS : LOOPBACK_NONE;
	e->n_ports = n->n;
	if (n->n)
		memcpy(e->ports, ports, n->n * sizeof(*ports));
	return 0;
}

static int check_unix(struct loading *l, const struct yaml_node *n, const char *key)
{
	if ((n->scalar[0] != '/' && n->scalar[0] != '@') || strlen(n->scalar) > 108)
		return wants(l, n, key, "absolute paths of sockets, or @NAME for abstract ones, of at "
			     "most 108 bytes");
	return 0;
}

static int read_unix(struct loading *l, const struct yaml_node *n)
{
	char **paths;
	int err = config_read_strings(l, n, "egress.allow_unix", "a list of paths of sockets",
				      check_unix, &paths);

	if (err)
		return err;
	config_strings_cleanup(&l->c->egress.allow_unix);
	l->c->egress.allow_unix = paths;
	return 0;
}

int config_read_egress(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "gateway", "resolvers", "allow", "allow_loopback",
					       "allow_unix", "jail_on_exit", NULL };
	struct config_egress *e = &l->c->egress;
	const struct yaml_node *v;
	int err = yaml_check_keys(n, l->file, "egress", allowed, l->err);

	if (!err)
		err = read_list(l, n, "gateway", "egress.gateway", &e->gateway);
	if (!err)
		err = read_list(l, n, "resolvers", "egress.resolvers", &e->resolvers);
	if (!err)
		err = read_list(l, n, "allow", "egress.allow", &e->allow);
	v = err ? NULL : yaml_get(n, "allow_loopback");
	if (v)
		err = read_loopback(l, v);
	v = err ? NULL : yaml_get(n, "allow_unix");
	if (v)
		err = read_unix(l, v);
	v = err ? NULL : yaml_get(n, "jail_on_exit");
	if (v && v->type == YAML_SCALAR && !strcmp(v->scalar, "open"))
		e->keep = false;
	else if (v && v->type == YAML_SCALAR && !strcmp(v->scalar, "keep"))
		e->keep = true;
	else if (v)
		err = wants(l, v, "egress.jail_on_exit", "open or keep");
	return err;
}

int config_read_on_unenforceable(struct loading *l, const struct yaml_node *n)
{
	if (n->type != YAML_SCALAR || (strcmp(n->scalar, "degrade") && strcmp(n->scalar, "refuse")))
		return wants(l, n, "on_unenforceable", "degrade or refuse");
	l->c->refuse_unenforceable = n->scalar[0] == 'r';
	return 0;
}

void config_swap_egress(struct config *a, struct config *b)
{
	struct config_egress was = a->egress;

	a->egress = b->egress;
	b->egress = was;
}

void config_free_egress(struct config *c)
{
	list_free(&c->egress.gateway);
	list_free(&c->egress.resolvers);
	list_free(&c->egress.allow);
	config_strings_cleanup(&c->egress.allow_unix);
}
