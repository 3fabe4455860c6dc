/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a rule file, then, after a line `=== oknek.yaml`, as what a host says about the rules,
 * and after a line `=== path`, as a path, name and argument of events. What loads decides about events
 * of all kinds, and must decide as asking each rule in turn would: the index, the order of comparisons
 * and the names of a file change nothing.
 */
#include "core/config.h"
#include "core/proctree.h"
#include "rules/compiled.h"

#include <stdlib.h>
#include <string.h>

#define SITE "\n=== oknek.yaml\n"
#define PATH "\n=== path\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct wall_clock a_clock = { .unix_s = 1774746000, .hour = 3, .dow = 0 };

static void require(bool holds)
{
	if (!holds)
		abort();
}

static bool has_names(const struct event *ev)
{
	return ev->kind == KIND_FILE_OPENED || ev->kind == KIND_FILE_CHANGED ||
	       ev->kind == KIND_FILE_SCANNED;
}

/* The part of the first R3 rule whose paths name this file. */
static const char *slow_category(struct match_context *ctx, unsigned name_index)
{
	const struct ruleset *rs = ctx->category_arg;

	if (ctx->ev->kind != KIND_FILE_OPENED || name_index >= ctx->ev->file.n_names)
		return NULL;
	for (size_t i = 0; i < rs->n; i++) {
		struct match_context only = { .ev = ctx->ev, .name_index = name_index,
					      .paths_only = true };
		const struct compiled *c = rs->rules[i];

		if (!strcmp(c->rule.id, "R3") && c->rule.kind == KIND_FILE_OPENED && c->n_paths &&
		    match_event(&only, c->match))
			return *c->rule.part ? c->rule.part : NULL;
	}
	return NULL;
}

static bool slow_fires(const struct ruleset *rs, const struct compiled *c, const struct event *ev)
{
	unsigned n = has_names(ev) && ev->file.n_names > 1 ? ev->file.n_names : 1;

	if (c->rule.kind != ev->kind || c->rule.action == VERDICT_ALLOW)
		return false;
	for (unsigned i = 0; i < n; i++) {
		struct match_context ctx = { .ev = ev, .clock = &a_clock, .name_index = i,
					     .category = slow_category, .category_arg = rs };

		if (match_event(&ctx, c->match) && !rule_is_excepted(&ctx, c))
			return true;
	}
	return false;
}

static void check_event(const struct ruleset *rs, const struct event *ev)
{
	enum verdict verdict = VERDICT_ALLOW;
	struct decision d;
	const char *category;
	size_t fired = 0;

	rules_decide(rs, ev, &a_clock, &d, &category);
	for (size_t i = 0; i < rs->n; i++) {
		const struct compiled *c = rs->rules[i];
		bool listed = false;

		for (unsigned k = 0; k < d.n_fired; k++)
			listed |= d.fired[k].rule == &c->rule;
		if (!slow_fires(rs, c, ev)) {
			require(!listed);
			continue;
		}
		fired++;
		require(listed || d.n_fired == FIRED_MAX);
		if (c->rule.action > verdict)
			verdict = c->rule.action;
	}
	require(d.verdict == verdict);
	require(d.n_fired + d.n_fired_more == fired);
	for (unsigned k = 1; k < d.n_fired; k++)
		require(d.fired[k - 1].verdict >= d.fired[k].verdict);
}

static void check_kind(const struct ruleset *rs, enum event_kind kind, const char *const *paths,
		       size_t n)
{
	static const struct tree tree = { .id = 1, .agent = "claude-code", .root_pid = 1 };
	static const char *const exes[] = { "/usr/bin/cat", "/opt/claude.exe (deleted)", "" };

	for (size_t i = 0; i < n; i++) {
		struct event ev = {
			.kind = kind,
			.subj = { .tgid = 1 + (int)(i % 2), .ppid = (int)i, .uid = (uid_t)i * 500,
				  .comm = "", .exe = i % 4 == 3 ? paths[0] : exes[i % 4],
				  .cgroup = i % 2 ? paths[0] : "", .lineage = "",
				  .tree = i % 3 ? &tree : NULL,
				  .homes = { (unsigned)(i % 3), { "/home/u", "/" } } },
		};

		if (has_names(&ev)) {
			for (unsigned k = 0; k < 3; k++)
				ev.file.names[k].path = paths[(i + k) % n];
			ev.file.names[1].home = "/home/u";
			ev.file.n_names = (unsigned)(i % 4);
			ev.file.mode = (enum open_mode)(i % 4);
		} else if (kind == KIND_SOCKET_CONNECT) {
			memset(ev.dest.addr, (int)i, sizeof(ev.dest.addr));
			if (i % 2)
				memcpy(ev.dest.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\1\2\3", 16);
			ev.dest.port = (uint16_t)(22 * i);
			ev.dest.host = i % 2 ? paths[0] : "";
			ev.dest.protocol = i % 3 ? "tcp" : "";
		} else if (kind == KIND_EXEC_OBSERVED) {
			ev.exec.path = paths[i];
			ev.exec.argv = "bash\0-c\0id; id | cat";
			ev.exec.argv_len_bytes = i % 2 ? 21 : 0;
		}
		check_event(rs, &ev);
	}
}

/* The text behind a mark, which is cut off; NULL: it is not there. */
static const char *section(const char *text, size_t *len, const char *mark, size_t *ret_len)
{
	const char *at = memmem(text, *len, mark, strlen(mark));

	if (!at)
		return NULL;
	*ret_len = *len - (size_t)(at - text) - strlen(mark);
	*len = (size_t)(at - text) + 1;
	return at + strlen(mark);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rules_config config = {
		.mechanisms = { [KIND_FILE_OPENED] = 1u << MECH_FANOTIFY },
	};
	const char *paths[] = { "", "/home/u/.aws/credentials", "/", "", "//a/./b.pem/..",
				"relative", "/\xff\n{*", "/home/u" };
	const char *text = (const char *)data, *path, *site;
	size_t path_len = 0, site_len = 0;
	struct config *host = NULL;
	struct rules_error err = { "" };
	struct ruleset *rs;
	char own[512] = "/srv/x", why[512];

	path = section(text, &size, PATH, &path_len);
	site = section(text, &size, SITE, &site_len);
	if (path && path_len < sizeof(own)) {
		memcpy(own, path, path_len);
		own[path_len] = '\0';
		own[strcspn(own, "\n")] = '\0';
	}
	paths[0] = own;
	if (site && config_load_buffer("s", site, site_len, &host, why) == 0)
		config.site = host;
	if (ruleset_load_buffer("f", text, size, &config, &rs, &err)) {
		require(*err.text && !strpbrk(err.text, "\n\t\033"));
		config_free(host);
		return 0;
	}
	config_free(host);
	for (int kind = 0; kind < KIND_COUNT; kind++)
		check_kind(rs, (enum event_kind)kind, paths, sizeof(paths) / sizeof(paths[0]));
	pathset_reach(ruleset_pathset(rs), "/home/u/.aws", "/home/u", NULL);
	pathset_reach(ruleset_pathset(rs), own, "/home/u", NULL);
	ruleset_unref(rs);
	return 0;
}
