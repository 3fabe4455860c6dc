/* SPDX-License-Identifier: Apache-2.0 */
/* What a node of a YAML tree means: maps, numbers, durations. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/yaml.h"

/* Most words differ in their first byte; a reload compares hundreds of thousands. */
static bool same(const char *a, const char *b)
{
	return *a == *b && !strcmp(a, b);
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	if (map->type != YAML_MAP)
		return NULL;
	for (size_t i = 0; i < map->n; i++)
		if (same(map->keys[i]->scalar, key))
			return map->items[i];
	return NULL;
}

static const char *join(const char *const *words, char list[256])
{
	size_t used = 0;

	list[0] = '\0';
	for (size_t k = 0; words[k] && used < 256; k++)
		used += (size_t)snprintf(list + used, 256 - used, "%s%s", k ? ", " : "", words[k]);
	return list;
}

int yaml_check_keys(const struct yaml_node *n, const char *file, const char *what,
		    const char *const *allowed, char err[512])
{
	char list[256];
	size_t k;

	if (n->type != YAML_MAP)
		return yaml_fail(err, file, n->line, "%s must be a map with the keys %s", what,
				 join(allowed, list));
	for (size_t i = 0; i < n->n; i++) {
		for (k = 0; allowed[k]; k++)
			if (same(allowed[k], n->keys[i]->scalar))
				break;
		if (!allowed[k])
			return yaml_fail(err, file, n->keys[i]->line,
					 "unknown key \"%.60s\" in %s; allowed: %s",
					 n->keys[i]->scalar, what, join(allowed, list));
	}
	return 0;
}

int yaml_bool(const struct yaml_node *n, bool *ret)
{
	if (n->type != YAML_SCALAR || n->quoted)
		return -EINVAL;
	if (strcmp(n->scalar, "true") && strcmp(n->scalar, "false"))
		return -EINVAL;
	*ret = n->scalar[0] == 't';
	return 0;
}

/* Digits at *s into *ret, *s behind them; -EINVAL when there are none or too many. */
static int digits(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -EINVAL;
	*s = p;
	*ret = v;
	return 0;
}

int yaml_int(const struct yaml_node *n, int64_t *ret)
{
	const char *s;
	bool minus;
	uint64_t v;

	if (n->type != YAML_SCALAR || n->quoted)
		return -EINVAL;
	s = n->scalar;
	minus = *s == '-';
	s += minus;
	/* 010 is eight to some readers of YAML and ten to others */
	if (s[0] == '0' && s[1])
		return -EINVAL;
	if (digits(&s, &v) || *s || v > INT64_MAX)
		return -EINVAL;
	*ret = minus ? -(int64_t)v : (int64_t)v;
	return 0;
}

int yaml_duration_ns(const struct yaml_node *n, uint64_t *ret)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = {
		{ "ms", NSEC_PER_MSEC }, { "s", NSEC_PER_SEC }, { "m", 60 * NSEC_PER_SEC },
		{ "h", 3600 * NSEC_PER_SEC }, { "d", 86400 * NSEC_PER_SEC },
		{ "w", 7 * 86400 * NSEC_PER_SEC }, { "y", 365 * 86400 * NSEC_PER_SEC },
	};
	const char *s;
	uint64_t v;

	if (n->type != YAML_SCALAR)
		return -EINVAL;
	s = n->scalar;
	if (digits(&s, &v))
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(s, units[i].unit)) {
			if (__builtin_mul_overflow(v, units[i].ns, &v))
				return -EINVAL;
			*ret = v;
			return 0;
		}
	return -EINVAL;
}

int yaml_duration_s(const struct yaml_node *n, uint64_t *ret)
{
	uint64_t ns;

	/* 584 years fit: more than any record is kept */
	if (yaml_duration_ns(n, &ns) || ns % NSEC_PER_SEC)
		return -EINVAL;
	*ret = ns / NSEC_PER_SEC;
	return 0;
}
