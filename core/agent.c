/* SPDX-License-Identifier: Apache-2.0 */
#include "core/agent.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/glob.h"

struct traits {
	const char *const *exe;
	const char *argument;
	const char *const *script;
	const char *const *env;
	const char *const *comm;
};

#define LIST(...) ((const char *const[]){ __VA_ARGS__ __VA_OPT__(, ) NULL })

static const struct agent agents[] = {
#define AGENT(id, vendor, process_name, exe, argument, script, env, comm)                      \
	{ id, vendor, process_name },
#include "core/agents.def"
#undef AGENT
};

static const struct traits traits[] = {
#define AGENT(id, vendor, process_name, exe, argument, script, env, comm)                      \
	{ exe, argument, script, env, comm },
#include "core/agents.def"
#undef AGENT
};

/* Of a running executable that was replaced since, as proc_pid_exe(5) says; agents that update
 * themselves run like that for days. */
#define DELETED " (deleted)"

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* One string after the other of a NUL-separated list; the last may lack its NUL. */
static const char *next_string(const char *list, size_t len, size_t *at, size_t *n)
{
	const char *s;

	if (!list || *at >= len)
		return NULL;
	s = list + *at;
	*n = strnlen(s, len - *at);
	*at += *n + 1;
	return s;
}

static bool any_match(const char *const *patterns, const char *path, const char *home)
{
	for (; *patterns; patterns++)
		if (glob_match_text(*patterns, path, home))
			return true;
	return false;
}

static bool string_is(const char *s, size_t n, const char *literal)
{
	return n == strlen(literal) && !memcmp(s, literal, n);
}

static bool in_list(const char *const *list, const char *s, size_t n)
{
	for (; *list; list++)
		if (string_is(s, n, *list))
			return true;
	return false;
}

static bool has_argument(const struct agent_hint *h, const char *argument)
{
	const char *s;
	size_t at = 0, n;

	while ((s = next_string(h->argv, h->argv_len_bytes, &at, &n)))
		if (string_is(s, n, argument))
			return true;
	return false;
}

static int by_exe(const struct agent_hint *h, const char *exe, enum agent_evidence *how)
{
	for (size_t i = 0; i < ARRAY_SIZE(traits); i++) {
		const struct traits *t = &traits[i];

		if (!any_match(t->exe, exe, h->home))
			continue;
		if (t->argument && !has_argument(h, t->argument))
			continue;
		*how = t->argument ? AGENT_BY_ARGV : AGENT_BY_EXE;
		return (int)i;
	}
	return -1;
}

enum interpreter { NO_INTERPRETER, JAVASCRIPT, PYTHON };

static enum interpreter interpreter_kind(const char *path)
{
	const char *base = base_name(path);

	if (!strcmp(base, "node") || !strcmp(base, "nodejs") || !strcmp(base, "bun") ||
	    !strcmp(base, "deno"))
		return JAVASCRIPT;
	/* python, python3, python3.12 */
	if (!strncmp(base, "python", 6) && !base[6 + strspn(base + 6, "0123456789.")])
		return PYTHON;
	return NO_INTERPRETER;
}

/* Options of node, deno and bun, and of python, whose value is the next argument. */
static const char *const javascript_values[] = {
	"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions",
	"--preload", "--config", NULL,
};
static const char *const python_values[] = { "-W", "-X", NULL };
/* Programs given in the arguments: no script follows. */
static const char *const javascript_inline[] = { "-e", "--eval", "-p", "--print", "-pe", NULL };

/*
 * What the interpreter was told to run: a path, or "-m MODULE". An argument that merely names an
 * agent's file is somebody reading it.
 */
static bool find_script(const struct agent_hint *h, enum interpreter kind, char *ret, size_t size)
{
	const char *const *values = kind == PYTHON ? python_values : javascript_values;
	bool module = false, skip = true; /* argv[0] */
	const char *s;
	size_t at = 0, n, prefix = 0;

	while ((s = next_string(h->argv, h->argv_len_bytes, &at, &n))) {
		if (skip) {
			skip = false;
			continue;
		}
		if (module)
			break;
		if (kind == PYTHON && string_is(s, n, "-c"))
			return false;
		if (kind == PYTHON && string_is(s, n, "-m")) {
			module = true;
			continue;
		}
		if (kind == JAVASCRIPT && in_list(javascript_inline, s, n))
			return false;
		if (n && *s == '-') {
			skip = in_list(values, s, n);
			continue;
		}
		/* `bun run FILE`, `deno run FILE` */
		if (kind == JAVASCRIPT && string_is(s, n, "run"))
			continue;
		break;
	}
	if (module)
		prefix = strlen("-m ");
	if (!s || prefix + n >= size)
		return false;
	memcpy(ret, "-m ", prefix);
	memcpy(ret + prefix, s, n);
	ret[prefix + n] = '\0';
	return true;
}

static bool script_is(const char *const *patterns, const char *script, const char *home)
{
	if (*script != '-')
		return any_match(patterns, script, home);
	for (; *patterns; patterns++)
		if (!strcmp(*patterns, script))
			return true;
	return false;
}

static int by_script(const struct agent_hint *h, const char *exe)
{
	char script[PATH_MAX];
	enum interpreter kind;

	if (exe) {
		kind = interpreter_kind(exe);
	} else if (h->argv && memchr(h->argv, '\0', h->argv_len_bytes)) {
		kind = interpreter_kind(h->argv);
	} else {
		return -1;
	}
	if (kind == NO_INTERPRETER || !find_script(h, kind, script, sizeof(script)))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(traits); i++)
		if (script_is(traits[i].script, script, h->home))
			return (int)i;
	return -1;
}

static bool marker_is(const char *s, size_t n, const char *marker)
{
	size_t len = strlen(marker);

	if (marker[len - 1] == '=')
		return n > len && !memcmp(s, marker, len);
	return n == len && !memcmp(s, marker, n);
}

/* The first row whose marker is there at all, not the first marker: agents start agents, and then
 * the outer one's are there too; which of the two it is does not matter to be watched. */
static int by_env(const struct agent_hint *h)
{
	size_t best = ARRAY_SIZE(traits), at = 0, n;
	const char *s;

	while ((s = next_string(h->environ, h->environ_len_bytes, &at, &n)))
		for (size_t i = 0; i < best; i++)
			for (const char *const *m = traits[i].env; *m; m++)
				if (marker_is(s, n, *m)) {
					best = i;
					break;
				}
	return best < ARRAY_SIZE(traits) ? (int)best : -1;
}

/* A name is anybody's to choose: it counts when the executable bears one of the agent's names as
 * well, or is not known. A script called claude is a shell. */
static int by_comm(const char *comm, const char *exe)
{
	for (size_t i = 0; i < ARRAY_SIZE(traits); i++) {
		const char *base;

		if (!in_list(traits[i].comm, comm, strlen(comm)))
			continue;
		if (!exe)
			return (int)i;
		base = base_name(exe);
		if (in_list(traits[i].comm, base, strlen(base)))
			return (int)i;
	}
	return -1;
}

const struct agent *agent_recognise(const struct agent_hint *h, enum agent_evidence *how)
{
	enum agent_evidence evidence = AGENT_BY_EXE;
	const char *exe = h->exe && *h->exe ? h->exe : NULL;
	char undeleted[PATH_MAX];
	int i = -1;

	if (exe) {
		size_t n = strlen(exe), suffix = strlen(DELETED);

		if (n > suffix && n - suffix < sizeof(undeleted) &&
		    !strcmp(exe + n - suffix, DELETED)) {
			memcpy(undeleted, exe, n - suffix);
			undeleted[n - suffix] = '\0';
			exe = undeleted;
		}
		i = by_exe(h, exe, &evidence);
	}
	if (i < 0) {
		evidence = AGENT_BY_ARGV;
		i = by_script(h, exe);
	}
	if (i < 0) {
		evidence = AGENT_BY_ENV;
		i = by_env(h);
	}
	if (i < 0 && h->comm) {
		evidence = AGENT_BY_COMM;
		i = by_comm(h->comm, exe);
	}
	if (i < 0)
		return NULL;
	if (how)
		*how = evidence;
	return &agents[i];
}

const struct agent *agent_by_id(const char *id)
{
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++)
		if (!strcmp(agents[i].id, id))
			return &agents[i];
	return NULL;
}

const struct agent *agent_table(size_t *n)
{
	*n = ARRAY_SIZE(agents);
	return agents;
}

const char *agent_evidence_name(enum agent_evidence how)
{
	static const char *const names[] = {
		[AGENT_BY_EXE] = "exe",
		[AGENT_BY_ARGV] = "argv",
		[AGENT_BY_ENV] = "env",
		[AGENT_BY_COMM] = "comm",
	};

	return names[how];
}
