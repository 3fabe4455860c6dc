/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a connection leads that a program asks about before it makes it (preload): the table of the jail,
 * looked up here. Where there is no jail that table is made for this alone.
 */
#include <string.h>

#include "tools/daemon_egress.h"

bool daemon_egress_advises(const struct daemon *d)
{
	return d->egress && d->egress->advises;
}

/* With table_lock. */
static bool is_exempt(const struct config_egress *c, const char *path)
{
	for (char *const *p = c->allow_unix; p && *p; p++)
		if (!strcmp(*p, path))
			return true;
	return false;
}

/* With table_lock. */
static enum egress_class class_of(const struct daemon_egress *e, const struct dest_object *dest, bool raw)
{
	bool closed = atomic_load(&e->closed);
	const struct egress_range *range;

	if (raw && closed)
		return EGRESS_RAW;
	if (dest->has_addr) {
		range = egress_look_up(e->entries, e->n_entries, dest->addr, dest->port);
		return range ? (enum egress_class)range->class : EGRESS_NONE;
	}
	return closed && egress_is_service(dest->path) && !is_exempt(&e->config.egress, dest->path) ?
		       EGRESS_SERVICE : EGRESS_NONE;
}

void daemon_egress_class(struct daemon *d, struct dest_object *dest, bool raw)
{
	struct daemon_egress *e = d->egress;

	if (!daemon_egress_runs(d) && !daemon_egress_advises(d))
		return;
	pthread_mutex_lock(&e->table_lock);
	dest->egress = class_of(e, dest, raw);
	pthread_mutex_unlock(&e->table_lock);
	dest->gateway_set = atomic_load(&e->gateway_set);
}
