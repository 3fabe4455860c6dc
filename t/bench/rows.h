/* SPDX-License-Identifier: Apache-2.0 */
/* What programs that print measured rows share: a clock, medians, rows as open.sh prints them. */
#ifndef OKNEK_T_BENCH_ROWS_H
#define OKNEK_T_BENCH_ROWS_H

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline double now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

__attribute__((format(printf, 2, 3))) static inline void say(const char *what, const char *fmt,
							     ...)
{
	va_list ap;

	printf("%-44s ", what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static inline const char *held(double value, double budget)
{
	return value <= budget ? "ok" : "OVER";
}

static inline const char *reached(double value, double least)
{
	return value >= least ? "ok" : "UNDER";
}

/* Measured values of one kind. */
struct samples {
	unsigned n;
	double v[1024];
};

static inline void samples_add(struct samples *s, double v)
{
	if (s->n < sizeof(s->v) / sizeof(s->v[0]))
		s->v[s->n++] = v;
}

static inline int samples_order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The value that `percent` of all do not exceed; sorts. */
static inline double samples_at(struct samples *s, unsigned percent)
{
	qsort(s->v, s->n, sizeof(s->v[0]), samples_order);
	return s->n ? s->v[(s->n - 1) * percent / 100] : 0;
}

static inline int bench_remove_one(const char *path, const struct stat *st, int flag,
				   struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void bench_remove(const char *dir)
{
	nftw(dir, bench_remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

#endif
