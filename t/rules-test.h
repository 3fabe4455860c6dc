/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of rules share: sets from text, and an event to ask them about. */
#ifndef OKNEK_T_RULES_TEST_H
#define OKNEK_T_RULES_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/proctree.h"
#include "rules/rules.h"

/* Sanitizers have a malloc of their own, which a test must not replace. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                     \
	__has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* A rule of kind file_opened around a match, to be completed with its lines. */
#define HEAD(id) "id: " id "\nname: n\nversion: 1\nkind: file_opened\naction: { default: block }\n"
#define FANOTIFY { [KIND_FILE_OPENED] = 1u << MECH_FANOTIFY }

static inline struct ruleset *rules(const char *text)
{
	const struct rules_config c = { .mechanisms = FANOTIFY };
	struct ruleset *rs = NULL;
	struct rules_error err = { "" };

	if (ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err))
		print_error("%s\n%s\n", err.text, text);
	assert_non_null(rs);
	return rs;
}

static const struct tree claude = { .id = 1, .agent = "claude-code", .root_pid = 100 };

/* cat, started by claude, opens ~/.aws/credentials at 15 o'clock on a Wednesday */
static inline struct event an_open(const char *path)
{
	struct event ev = {
		.kind = KIND_FILE_OPENED,
		.subj = { .tgid = 200, .ppid = 100, .uid = 1000, .auid = 1000, .comm = "cat",
			  .exe = "/usr/bin/cat", .cgroup = "/user.slice", .lineage = "",
			  .tree = &claude, .homes = { 1, { "/home/u" } } },
		.file = { .names = { { path, NULL } }, .n_names = path ? 1 : 0,
			  .mode = OPEN_MODE_READ },
	};

	return ev;
}

static const struct wall_clock wednesday_15 = { .unix_s = 1772636400, .hour = 15, .dow = 3 };

static inline enum verdict decide(const struct ruleset *rs, const struct event *ev)
{
	struct decision d;

	rules_decide(rs, ev, &wednesday_15, &d, NULL);
	return d.verdict;
}

#endif
