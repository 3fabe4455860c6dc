/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparisons of a time: with a moment, which is the same everywhere, with a date, or with a time of
 * day, both as the clocks of this host show them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "rules/compiled.h"

#define DAY_S 86400

static bool two_digits(const char **s, unsigned max, int64_t *ret)
{
	const char *p = *s;

	if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
		return false;
	*ret = (p[0] - '0') * 10 + p[1] - '0';
	*s += 2;
	return *ret <= max;
}

/* "22:00" or "22:00:30" */
static bool time_of_day(const char *s, struct value *v)
{
	int64_t hour, minute, second = 0;

	if (!two_digits(&s, 23, &hour) || *s++ != ':' || !two_digits(&s, 59, &minute))
		return false;
	v->time = TIME_OF_DAY_MINUTE;
	if (*s == ':') {
		s++;
		if (!two_digits(&s, 59, &second))
			return false;
		v->time = TIME_OF_DAY_SECOND;
	}
	v->number = hour * 3600 + minute * 60 + second;
	return !*s;
}

int match_parse_time(struct loader *l, const struct yaml_node *n, struct value *v)
{
	char midnight[40];
	int64_t ns;

	v->text = pool_strdup(l->pool, n->scalar);
	v->len_bytes = strlen(n->scalar);
	if (!v->text) {
		yaml_fail(l->err, l->file, 0, "out of memory");
		return -ENOMEM;
	}
	if (time_of_day(n->scalar, v))
		return 0;
	if (rfc3339_parse(n->scalar, &ns) == 0) {
		v->time = TIME_MOMENT;
		v->number = clock_second(ns);
		return 0;
	}
	snprintf(midnight, sizeof(midnight), "%.16sT00:00:00Z", n->scalar);
	if (v->len_bytes == strlen("2026-12-24") && rfc3339_parse(midnight, &ns) == 0) {
		v->time = TIME_DATE;
		v->number = clock_second(ns) / DAY_S;
		return 0;
	}
	return yaml_fail(l->err, l->file, n->line, "\"%.60s\" is not a time: 22:00 or 22:00:30 of any day, "
			 "2026-12-24, or 2026-12-24T18:00:00+01:00", n->scalar);
}

static bool holds(enum op op, int64_t now, int64_t v)
{
	switch (op) {
	case OP_GT:
		return now > v;
	case OP_GTE:
		return now >= v;
	case OP_LT:
		return now < v;
	case OP_LTE:
		return now <= v;
	default:
		return now == v;
	}
}

bool match_time(const struct wall_clock *clock, const struct node *n)
{
	bool found = false, equal = n->op == OP_EQ || n->op == OP_NE;
	int64_t local, of_day;

	if (!clock || __builtin_add_overflow(clock->unix_s, clock->utc_offset_s, &local))
		return false;
	of_day = (local % DAY_S + DAY_S) % DAY_S;
	for (size_t k = 0; k < n->n && !found; k++) {
		const struct value *v = &n->values[k];

		switch (v->time) {
		case TIME_MOMENT:
			found = holds(n->op, clock->unix_s, v->number);
			break;
		case TIME_DATE:
			found = holds(n->op, (local - of_day) / DAY_S, v->number);
			break;
		case TIME_OF_DAY_MINUTE:
			found = holds(n->op, equal ? of_day / 60 * 60 : of_day, v->number);
			break;
		case TIME_OF_DAY_SECOND:
			found = holds(n->op, of_day, v->number);
		}
	}
	return found != (n->op == OP_NE);
}
