/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that serve, and for each what it can be tried on: never what it protects for real. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/glob.h"
#include "core/proctree.h"
#include "enforce/marks.h"
#include "rules/rules.h"
#include "tools/cli_prove.h"
#include "tools/control.h"

#define RULES_MAX 1024
#define DECOY_MAX 1024 /* bytes, below the home */
#define HOME "/oknek-home" /* what is read as one, while there is none */

/* RFC 5737, RFC 3849: nobody has them. */
#define NOBODY_V4 "203.0.113.77"
#define NOBODY_V6 "2001:db8::77"

static void *have(void *p)
{
	if (!p)
		abort();
	return p;
}

static void say(struct prove_rule *r, const char *why)
{
	snprintf(r->why, sizeof(r->why), "%s", why);
}

const char *prove_rule_name(const struct prove_rule *r, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s%s", r->id, *r->part ? "/" : "", r->part);
	return buf;
}

/* ---- a path that a pattern means ------------------------------------------------------------------- */

/* The alternative of a pattern with a name in place of each of its signs; NULL: it is no path in a home
 * or project. below: "~" or "**", which it began with. */
static char *example(const char *glob, bool *floating)
{
	char *out = have(calloc(8, strlen(glob) + 2)), *to = out;

	*floating = !strncmp(glob, "**/", 3) || (*glob != '/' && *glob != '~');
	if (!strncmp(glob, "**/", 3)) {
		glob += 3;
	} else if (!strncmp(glob, "~/", 2)) {
		glob += 2;
	} else if (!*floating) {
		free(out);
		return NULL;
	}
	while (*glob) {
		const char *end;

		if (*glob == '*') {
			glob += strspn(glob, "*");
			to = stpcpy(to, "decoy");
		} else if (*glob == '?') {
			glob++;
			*to++ = 'x';
		} else if (*glob == '[' && (end = strchr(glob + 2, ']'))) {
			*to++ = glob[1] == '!' || glob[1] == '^' ? '_' : glob[1];
			glob = end + 1;
		} else {
			glob += *glob == '\\' && glob[1];
			*to++ = *glob++;
		}
	}
	return out;
}

/* Does who tries the rules fire it now, as this program? It may ask for another program, agent or hour. */
static bool fires(const struct prove *p, const struct ruleset *rs, const char *exe, struct event *ev)
{
	struct tree tree = { .agent = PROVE_AGENT, .how = "prove", .uid = p->uid };
	time_t now = time(NULL);
	struct wall_clock clock;
	struct decision d;
	struct tm tm;

	ev->subj = (struct subject){ .uid = p->uid, .auid = (uid_t)-1, .comm = "oknek", .exe = exe, .cgroup = "",
				     .lineage = "", .tree = &tree, .homes = { 1, { HOME } } };
	localtime_r(&now, &tm);
	offset_wall_clock((int32_t)tm.tm_gmtoff, now, &clock);
	rules_decide(rs, ev, &clock, &d, NULL);
	return d.n_fired > 0;
}

/* By which modes it is fired at this path: 1u << OPEN_MODE_READ and so on. */
static unsigned modes_of(const struct prove *p, const struct ruleset *rs, const char *path)
{
	struct event ev = { .kind = KIND_FILE_OPENED, .file = { .names = { { path, HOME } }, .n_names = 1 } };
	unsigned modes = 0;

	for (enum open_mode m = OPEN_MODE_READ; m <= OPEN_MODE_EXEC; m++) {
		ev.file.mode = m;
		if (fires(p, rs, OKNEK_BIN, &ev))
			modes |= 1u << m;
	}
	return modes;
}

/* Of a pattern for all that is below some directory, where the decoys are below it: a name in these. */
static char *example_below(const char *glob, const char *dir)
{
	const char *any = strstr(glob, "/**");
	size_t len = any ? (size_t)(any - glob) : 0;
	bool floating;

	if (!any || !dir || (any[3] && any[3] != '/') || strncmp(glob, dir, len) ||
	    (dir[len] && dir[len] != '/'))
		return NULL;
	return example(any[3] && any[4] ? any + 4 : "*", &floating);
}

static int load_alone(struct prove_rule *r, const char *source, const struct rules_config *c, struct ruleset **ret)
{
	struct rules_error err = { "" };
	int rc = ruleset_load_buffer("rule", source, strlen(source), c, ret, &err);

	if (rc < 0)
		snprintf(r->why, sizeof(r->why), "its text cannot be read by itself: %.100s", err.text);
	return rc;
}

/* The first path in a home or project that the rule means, or in the directory, below the home. */
static void decoy_of(const struct prove *p, struct prove_rule *r, const char *source)
{
	struct rules_config c = { .mechanisms[KIND_FILE_OPENED] = 1u << MECH_FANOTIFY };
	struct ruleset *rs = NULL;
	const char *asked = p->dir ? p->dir : p->user_home;
	_cleanup_free_ char *dir = realpath(asked, NULL), *below = NULL;
	struct pathset *paths;
	bool named = false;

	if (asprintf(&below, "%s/" PROVE_PREFIX "XXXXXX", dir ? dir : "") < 0)
		abort();
	if (load_alone(r, source, &c, &rs) < 0)
		return;
	paths = ruleset_pathset(rs);
	for (unsigned i = 0; i < paths->n && !r->decoy; i++) {
		const struct glob *g = paths->patterns[i].glob;

		for (size_t k = 0; !paths->patterns[i].exclude && k < glob_alternatives(g) && !r->decoy; k++) {
			bool floating;
			const char *text = glob_text(g, k), *home = HOME;
			_cleanup_free_ char *name = example(text, &floating), *path = NULL;

			if (!name) {
				name = example_below(text, dir);
				home = below;
			}
			if (!name || strstr(name, "..") || !*name)
				continue;
			if (asprintf(&path, "%s/%s%s", home, floating ? "work/" : "", name) < 0)
				abort();
			if (!(pathset_reach(paths, path, HOME, NULL) & GLOB_HERE))
				continue;
			named = true;
			r->modes = modes_of(p, rs, path);
			if (r->modes)
				r->decoy = have(strdup(path + strlen(home) + 1));
		}
	}
	if (!r->decoy)
		say(r, named ? "it asks for more than a path: for another program, agent, user or hour" :
			       "it names no file of a home or project, and those of the system are not "
			       "opened for a proof");
	ruleset_unref(rs);
}

/* The first program that the rule means by its name, wherever it is: below the home. */
static void program_of(const struct prove *p, struct prove_rule *r, const char *source)
{
	struct rules_config c = { .mechanisms[KIND_EXEC_OBSERVED] = 1u << MECH_FANOTIFY };
	static const char argv[] = "sh\0-c\0:";
	struct ruleset *rs = NULL;
	const struct pathset *programs;

	if (load_alone(r, source, &c, &rs) < 0)
		return;
	programs = ruleset_programs(rs);
	for (unsigned i = 0; programs && i < programs->n && !r->decoy; i++) {
		const struct glob *g = programs->patterns[i].glob;

		for (size_t k = 0; k < glob_alternatives(g) && !r->decoy; k++) {
			bool floating;
			const char *slash = strrchr(glob_text(g, k), '/');
			_cleanup_free_ char *name = slash ? example(slash + 1, &floating) : NULL, *path = NULL;

			if (!name || !*name || strchr(name, '/') || name[0] == '.')
				continue;
			if (asprintf(&path, HOME "/" PROOF_PROGRAMS "/%s", name) < 0)
				abort();
			if (fires(p, rs, path,
				  &(struct event){ .kind = KIND_EXEC_OBSERVED,
						   .exec = { .path = path, .argv = argv,
							     .argv_len_bytes = sizeof(argv) } }))
				r->decoy = have(strdup(path + strlen(HOME "/")));
		}
	}
	if (!r->decoy)
		say(r, "there is nothing harmless to try it with: it asks for more than what a program is called");
	ruleset_unref(rs);
}

/* A file that is to be where another one has its directory cannot be made. */
static bool is_in_the_way(const struct prove *p, const struct prove_rule *r)
{
	static const char *const ours[] = { "work/", "scratch/", PROOF_SHELL, PROOF_PROGRAMS "/" };
	size_t len = strlen(r->decoy);

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (!strncmp(ours[i], r->decoy, len) && (ours[i][len] == '/' || !ours[i][len]))
			return true;
	for (size_t i = 0; i < p->n_rules; i++)
		if (p->rules[i].decoy && !strncmp(p->rules[i].decoy, r->decoy, len) &&
		    p->rules[i].decoy[len] == '/')
			return true;
	return false;
}

static bool has_long_name(const char *path)
{
	for (const char *end; ; path = end + 1) {
		end = strchrnul(path, '/');
		if (end - path > NAME_MAX)
			return true;
		if (!*end)
			return false;
	}
}

static void check_decoys(struct prove *p)
{
	for (size_t i = 0; i < p->n_rules; i++) {
		struct prove_rule *r = &p->rules[i];

		if (!r->decoy)
			continue;
		if (is_in_the_way(p, r))
			say(r, "its file would be where others have a directory");
		else if (has_long_name(r->decoy) || strlen(r->decoy) > DECOY_MAX)
			say(r, "its path is too long for a decoy");
	}
	for (size_t i = 0; i < p->n_rules; i++)
		if (*p->rules[i].why)
			free(TAKE_PTR(p->rules[i].decoy));
}

/* ---- rules ------------------------------------------------------------------------------------------- */

static int take_rule(void *arg, json_t *item, const char *text)
{
	struct prove *p = arg;
	int kind = event_kind_parse(cli_str(item, "kind")), action = verdict_parse(cli_str(item, "action"));
	struct prove_rule r = { .threshold = cli_int(item, "threshold") };

	(void)text;
	if (kind < 0 || action < 0 || p->n_rules == RULES_MAX)
		return 0;
	r.id = have(strdup(cli_str(item, "id")));
	r.part = have(strdup(cli_str(item, "part")));
	r.unbound = have(strdup(cli_str(item, "why")));
	r.kind = (enum event_kind)kind;
	r.action = (enum verdict)action;
	for (int m = 0; m < MECH_COUNT; m++)
		if (!strcmp(mechanism_name((enum mechanism)m), cli_str(item, "mechanism")))
			r.mechanism = (enum mechanism)m;
	p->rules = have(reallocarray(p->rules, p->n_rules + 1, sizeof(r)));
	p->rules[p->n_rules++] = r;
	return 0;
}

/* An address of the rule's text at which nobody is. */
static const char *literal(const char *source)
{
	static const char *const nobodys[] = { "192.0.2.", "198.51.100.", "203.0.113." };
	static char found[INET_ADDRSTRLEN];

	for (size_t i = 0; i < ARRAY_SIZE(nobodys); i++) {
		const char *at = strstr(source, nobodys[i]);
		struct in_addr a;

		if (!at)
			continue;
		snprintf(found, sizeof(found), "%.*s", (int)strspn(at, "0123456789."), at);
		if (inet_pton(AF_INET, found, &a) == 1)
			return have(strdup(found));
	}
	return NULL;
}

static void add(struct prove_rule *r, struct prove_target t)
{
	t.before_fd = -1;
	r->targets[r->n_targets++] = t;
}

static void destinations(const struct prove *p, struct prove_rule *r, const char *source)
{
	const char *open_jail = p->closed ? NULL : "no gateway, resolver or list of destinations is set";
	const char *address;

	if (strstr(source, "foreign"))
		add(r, (struct prove_target){ .label = "foreign", .v4 = NOBODY_V4, .v6 = NOBODY_V6,
					      .unclaimed = open_jail });
	if (strstr(source, "metadata"))
		add(r, (struct prove_target){ .label = "metadata", .v4 = "169.254.169.254",
					      .v6 = "fd00:ec2::254" });
	if (strstr(source, "service"))
		add(r, (struct prove_target){ .label = "service",
					      .unclaimed = open_jail ? open_jail :
							   p->unix_seen ? NULL :
							   "this kernel does not tell of AF_UNIX sockets" });
	if (r->n_targets)
		return;
	address = literal(source);
	if (address)
		add(r, (struct prove_target){ .label = "", .v4 = address });
	else if (strstr(source, "dest_ip") || strstr(source, "dest_host") || strstr(source, "dest_path"))
		say(r, "it names no destination at which nobody is");
	else if (strstr(source, "dest_port"))
		say(r, "it names a port alone, and whoever has it is not to be called for a proof");
	else
		say(r, "it asks who connects, and not to whom");
}

static void prepare(struct prove *p, struct prove_rule *r, const char *source)
{
	if (r->action == VERDICT_ALLOW)
		say(r, "it is off");
	else if (r->kind == KIND_SOCKET_CONNECT && strstr(source, "egress_gateway") && !p->gateway)
		say(r, "it is off: no egress.gateway is set");
	else if (r->kind == KIND_FILE_OPENED)
		decoy_of(p, r, source);
	else if (r->kind == KIND_SOCKET_CONNECT)
		destinations(p, r, source);
	else if (r->kind != KIND_EXEC_OBSERVED)
		say(r, "there is nothing harmless to try it with");
	else if (!strstr(source, "chain_depth") || r->threshold > 1000)
		program_of(p, r, source);
}

static int take_source(void *arg, json_t *item, const char *text)
{
	struct prove *p = arg;
	const char *source = cli_str(item, "source");

	(void)text;
	for (size_t i = 0; i < p->n_rules; i++) {
		struct prove_rule *r = &p->rules[i];

		if (strcmp(r->id, cli_str(item, "id")) || strcmp(r->part, cli_str(item, "part")))
			continue;
		prepare(p, r, source);
	}
	return 0;
}

int prove_rules(struct prove *p)
{
	_cleanup_json_ json_t *result = NULL;

	if (cli_ask(p->cli, json_pack("{s:s}", "cmd", "rules"), CLI_TIMEOUT_MS, take_rule, p, &result))
		return CLI_FAILED;
	for (size_t i = 0; i < p->n_rules; i++) {
		_cleanup_json_ json_t *one = NULL;

		if (i > 0 && !strcmp(p->rules[i].id, p->rules[i - 1].id))
			continue;
		if (cli_ask(p->cli, json_pack("{s:s, s:s}", "cmd", "rules", "id", p->rules[i].id),
			    CLI_TIMEOUT_MS, take_source, p, &one))
			return CLI_FAILED;
	}
	check_decoys(p);
	return CLI_DONE;
}

/* `: ; : ; … :`, of so many commands and some more. */
static char *chain(int64_t n)
{
	char *s = have(malloc((size_t)n * 4 + 64)), *to = stpcpy(s, ":");

	for (int64_t i = 0; i < n + 4; i++)
		to = stpcpy(to, "; :");
	return s;
}

void prove_targets(struct prove *p)
{
	for (size_t i = 0; i < p->n_rules; i++) {
		struct prove_rule *r = &p->rules[i];

		if (*r->why)
			continue;
		if (r->kind == KIND_FILE_OPENED) {
			struct prove_target t = { .label = "" };

			if (asprintf(&t.path, "%s/%s", p->place.home, r->decoy) < 0)
				abort();
			add(r, t);
		} else if (r->kind == KIND_EXEC_OBSERVED) {
			struct prove_target t = { .label = "", .command = r->decoy ? have(strdup(":")) :
										     chain(r->threshold) };

			if (r->decoy && asprintf(&t.path, "%s/%s", p->place.home, r->decoy) < 0)
				abort();
			add(r, t);
		}
		for (unsigned k = 0; k < r->n_targets; k++)
			if (!strcmp(r->targets[k].label, "service"))
				r->targets[k].path = have(strdup(p->place.service));
	}
}

void prove_rules_free(struct prove *p)
{
	for (size_t i = 0; i < p->n_rules; i++) {
		struct prove_rule *r = &p->rules[i];

		for (unsigned k = 0; k < r->n_targets; k++) {
			free(r->targets[k].path);
			free(r->targets[k].command);
			if (!*r->targets[k].label && r->kind == KIND_SOCKET_CONNECT)
				free((char *)r->targets[k].v4);
		}
		free(r->id);
		free(r->part);
		free(r->unbound);
		free(r->decoy);
	}
	free(p->rules);
}
