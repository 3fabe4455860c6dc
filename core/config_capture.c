/* SPDX-License-Identifier: Apache-2.0 */
/* capture: what is kept for `oknek replay`. */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config_priv.h"

#define CAPTURE_SIZE_LEAST (UINT64_C(1) << 20)

static const char *const names[] = { [CAPTURE_OFF] = "off", [CAPTURE_MATCHED] = "matched",
				     [CAPTURE_ALL] = "all" };

static int wants(struct loading *l, const struct yaml_node *n, const char *key, const char *form)
{
	return yaml_fail(l->err, l->file, n->line, "%s must be %s", key, form);
}

static int read_events(struct loading *l, const struct yaml_node *n, const char *key)
{
	for (size_t i = 0; n->type == YAML_SCALAR && i < ARRAY_SIZE(names); i++) {
		if (strcmp(n->scalar, names[i]))
			continue;
		l->c->capture.events = (enum capture_events)i;
		return 0;
	}
	return wants(l, n, key,
		     n->type == YAML_SCALAR || strcmp(key, "capture") ? "off, matched or all" :
		     "off, matched or all, or a map with events, max_size and max_age");
}

int config_read_capture(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "events", "max_size", "max_age", NULL };
	const struct yaml_node *v;
	uint64_t value;
	int err;

	if (n->type != YAML_MAP)
		return read_events(l, n, "capture");
	err = yaml_check_keys(n, l->file, "capture", allowed, l->err);
	v = err ? NULL : yaml_get(n, "events");
	if (v)
		err = read_events(l, v, "capture.events");
	v = err ? NULL : yaml_get(n, "max_size");
	if (v) {
		if (config_read_size(v, &value) || value < CAPTURE_SIZE_LEAST)
			return wants(l, v, "capture.max_size", "a size like 256M or 2G, at least 1M");
		l->c->capture.max_size_bytes = value;
	}
	v = err ? NULL : yaml_get(n, "max_age");
	if (v) {
		if (yaml_duration_s(v, &value) || value == 0)
			return wants(l, v, "capture.max_age", "a time like 12h, 14d or 2w");
		l->c->capture.max_age_s = value;
	}
	return err;
}
