/* SPDX-License-Identifier: Apache-2.0 */
/* What matching a path costs: ns for one pattern, and for a set of some 400 alternatives. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/pathset.h"

#define HOME "/home/u"
#define ROUNDS 200000

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void bench_pattern(const char *pattern, const char *path)
{
	struct glob *g;
	const char *why;
	volatile bool sink;
	double from;

	if (glob_compile(pattern, &g, &why) < 0) {
		fprintf(stderr, "%s: %s\n", pattern, why);
		exit(1);
	}
	from = now_ns();
	for (int i = 0; i < ROUNDS; i++)
		sink = glob_match(g, path, HOME);
	(void)sink;
	printf("glob match          %7.0f ns  %s  %s\n", (now_ns() - from) / ROUNDS, pattern, path);
	glob_free(g);
}

/* As many as the shipped rules have, of the same shapes. */
static struct pathset *make_set(void)
{
	static const char *const floating[] = {
		"**/.env", "**/.env.*", "**/*.env", "**/.npmrc", "**/*.{p12,pfx,jks,keystore,kdbx}",
		"**/service-account*.json", "**/*-sa-key.json", "**/config/master.key",
		"**/keystore/UTC--*", "**/terraform.tfstate", "**/*.auto.tfvars",
	};
	struct pathset *p;
	char pattern[64];

	if (pathset_new(&p) < 0)
		exit(1);
	for (size_t i = 0; i < ARRAY_SIZE(floating); i++)
		pathset_add(p, floating[i], VERDICT_WARN, false, 0);
	for (unsigned i = 0; i < 130; i++) {
		snprintf(pattern, sizeof(pattern), "~/.tool%u/credentials*", i);
		pathset_add(p, pattern, VERDICT_BLOCK, false, i);
		snprintf(pattern, sizeof(pattern), "~/.config/tool%u/**", i);
		pathset_add(p, pattern, VERDICT_BLOCK, false, i);
		snprintf(pattern, sizeof(pattern), "/etc/tool%u/*.key", i);
		pathset_add(p, pattern, VERDICT_BLOCK, false, i);
	}
	return p;
}

static void bench_set(const struct pathset *p, const char *path)
{
	volatile unsigned sink;
	double from = now_ns();

	for (int i = 0; i < ROUNDS; i++)
		sink = pathset_reach(p, path, HOME, NULL);
	(void)sink;
	printf("pathset of %3u      %7.0f ns  %s\n", p->n, (now_ns() - from) / ROUNDS, path);
}

int main(void)
{
	struct pathset *p = make_set();

	bench_pattern("~/.aws/credentials", HOME "/.aws/credentials");
	bench_pattern("**/.env", HOME "/src/project/lib/module/file.c");
	bench_pattern("**/a/**/b/**/c", "/a/x/a/x/b/x/b/x/a/b/x/x/d");
	bench_set(p, HOME "/src/project/lib/module/file.c");
	bench_set(p, HOME "/.config/other/settings.json");
	bench_set(p, "/usr/lib/x86_64-linux-gnu/libc.so.6");
	bench_set(p, HOME "/.tool77/credentials.json");
	pathset_unref(p);
	return 0;
}
