/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration and rules: as the daemon has them, else as it would read them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "rules/rules.h"
#include "tools/cli_doctor.h"
#include "tools/cli_pack.h"

#define RULES_MAX 4096
#define SOURCES_ASKED 32 /* ids whose text is asked for; of others it is assumed */

static char *copy(const char *s)
{
	char *c = strdup(s ? s : "");

	if (!c)
		abort();
	return c;
}

static void add_rule(struct doctor *d, struct doctor_rule r)
{
	struct doctor_rule *grown;

	if (d->n_rules == RULES_MAX) {
		free(r.id);
		free(r.part);
		free(r.why);
		return;
	}
	grown = reallocarray(d->rules, d->n_rules + 1, sizeof(*grown));
	if (!grown)
		abort();
	d->rules = grown;
	grown[d->n_rules++] = r;
}

/* A pattern of a home's or of a project's; in the text of a rule both are quoted words. */
static bool names_homes(const char *source)
{
	return !source || strstr(source, "~/") || strstr(source, "**/");
}

/* ---- from the daemon ------------------------------------------------------------------------ */

static int take_rule(void *arg, json_t *item, const char *text)
{
	struct doctor *d = arg;
	int kind = event_kind_parse(cli_str(item, "kind"));
	int action = verdict_parse(cli_str(item, "action"));
	struct doctor_rule r = { .home = true };

	(void)text;
	if (kind < 0 || action < 0)
		return 0; /* of a later version */
	r.id = copy(cli_str(item, "id"));
	r.part = copy(cli_str(item, "part"));
	r.why = copy(cli_str(item, "why"));
	r.kind = (enum event_kind)kind;
	r.action = (enum verdict)action;
	for (int m = 0; m < MECH_COUNT; m++)
		if (!strcmp(mechanism_name((enum mechanism)m), cli_str(item, "mechanism")))
			r.mechanism = (enum mechanism)m;
	add_rule(d, r);
	return 0;
}

static int take_source(void *arg, json_t *item, const char *text)
{
	struct doctor *d = arg;

	(void)text;
	for (size_t i = 0; i < d->n_rules; i++)
		if (!strcmp(d->rules[i].id, cli_str(item, "id")) &&
		    !strcmp(d->rules[i].part, cli_str(item, "part")))
			d->rules[i].home = names_homes(json_string_value(
				json_object_get(item, "source")));
	return 0;
}

static bool rules_of_daemon(struct doctor *d)
{
	struct cli_reply reply;
	unsigned asked = 0;

	if (!d->status || d->member)
		return false;
	if (cli_call(d->cli, json_pack("{s:s}", "cmd", "rules"), CLI_TIMEOUT_MS, take_rule, d,
		     &reply) < 0)
		return false;
	json_decref(reply.result);
	for (size_t i = 0; i < d->n_rules && asked < SOURCES_ASKED; i++) {
		if (d->rules[i].kind != KIND_FILE_OPENED ||
		    (i > 0 && !strcmp(d->rules[i].id, d->rules[i - 1].id)))
			continue;
		asked++;
		if (cli_call(d->cli, json_pack("{s:s, s:s}", "cmd", "rules", "id", d->rules[i].id),
			     CLI_TIMEOUT_MS, take_source, d, &reply) == 0)
			json_decref(reply.result);
	}
	return true;
}

/* ---- from files ------------------------------------------------------------------------------ */

/* The rules of the pack that a daemon would start with, if it holds; NULL: err says why not. */
static char *pack_in_force(const struct doctor *d, struct rules_error *err)
{
	_cleanup_free_ char *active = NULL;
	_cleanup_pack_ struct pack *p = NULL;
	struct pack_error why;
	const char *dir = OKNEK_RULES_DIR;
	char *ret;

	if (asprintf(&active, "%s/rules/active", d->state_dir) < 0) {
		active = NULL;
		return NULL;
	}
	if (access(active, F_OK) == 0)
		dir = active;
	if (cli_pack_trusted(dir, NULL, &p, &why)) {
		snprintf(err->text, sizeof(err->text), "%s", why.text);
		return NULL;
	}
	return asprintf(&ret, "%s/rules", dir) < 0 ? NULL : ret;
}

static bool rules_of_files(struct doctor *d, const struct config *config, struct rules_error *err)
{
	_cleanup_free_ char *site = NULL, *pack = d->rules_dir ? NULL : pack_in_force(d, err);
	const char *slash = strrchr(d->config, '/');
	const char *dirs[3] = { d->rules_dir ? d->rules_dir : pack };
	struct rules_config c = { .dirs = dirs, .pack = "files" };
	struct ruleset *rs = NULL;
	int r;

	if (!dirs[0])
		return false;
	if (!d->rules_dir) {
		if (asprintf(&site, "%.*s/rules.d", slash ? (int)(slash - d->config) : 1,
			     slash ? d->config : ".") < 0) {
			site = NULL;
			return false;
		}
		if (access(site, F_OK) == 0) {
			dirs[1] = site;
			c.site_only_x = true;
		}
	}
	if (d->permission_events)
		c.mechanisms[KIND_FILE_OPENED] = 1u << MECH_FANOTIFY;
	c.mark_roots = config ? config->mark_roots : NULL;
	if (config && !config->exec_hold)
		c.why_none[KIND_EXEC_OBSERVED] = "no program is held when it is started: exec.hold is false";
	else if (!doctor_can_peek())
		c.why_none[KIND_EXEC_OBSERVED] = "the arguments of a process that is held cannot be read";
	else if (d->permission_events)
		c.mechanisms[KIND_EXEC_OBSERVED] = 1u << MECH_FANOTIFY;
	c.mechanisms[KIND_SOCKET_CONNECT] = 1u << MECH_CGROUP;
	c.site = config;
	r = ruleset_load(&c, &rs, err);
	if (r < 0) {
		if (!err->text[0])
			snprintf(err->text, sizeof(err->text), "%s: %s", dirs[0], strerror(-r));
		return false;
	}
	for (size_t i = 0; i < ruleset_count(rs); i++) {
		const struct rule *from = ruleset_rule(rs, i);

		add_rule(d, (struct doctor_rule){ copy(from->id), copy(from->part),
						  copy(from->bound_why), from->kind, from->action,
						  from->mechanism, names_homes(ruleset_source(rs, i)) });
	}
	ruleset_unref(rs);
	return true;
}

static void config_cleanup(struct config **c)
{
	config_free(*c);
}

void doctor_check_config(struct doctor *d)
{
	_cleanup_(config_cleanup) struct config *c = NULL;
	struct rules_error rules_err = { "" };
	char err[512] = "";
	bool there = access(d->config, F_OK) == 0;
	int r = config_load(d->config, d->config_given, &c, err);

	if (rules_of_daemon(d)) {
		d->rules_from = "daemon";
	} else if (rules_of_files(d, c, &rules_err)) {
		d->rules_from = "files";
	} else {
		doctor_add(d, "rules", DOCTOR_PROBLEM, ABOUT_NOTHING,
			   "a daemon does not start with these; one that runs goes on with those it has",
			   "oknek rules lint says more of one file", "%s",
			   rules_err.text[0] ? rules_err.text : "out of memory");
	}
	if (r == -EACCES) {
		doctor_add(d, "config", DOCTOR_NOTE, ABOUT_NOTHING, "not known what it says", NULL,
			   "%s", err);
		return;
	}
	if (r < 0) {
		doctor_add(d, "config", DOCTOR_PROBLEM, ABOUT_ALL,
			   "not served by a daemon that is started now: it refuses to",
			   "mend the line; oknekd --check says the same", "%s", err);
		return;
	}
	doctor_add(d, "config", DOCTOR_OK, c->mark_roots[0] ? ABOUT_FILES : ABOUT_NOTHING,
		   c->mark_roots[0] ? "held only below the directories of fanotify.only" :
				      "read at the daemon's start, rules also at a reload", NULL,
		   "%s%s: mode %s, agents %s recognised, deadline %llu ms then %s", d->config,
		   there ? "" : " is not there, so the defaults", mode_name(c->mode),
		   c->recognise ? "are" : "are not",
		   (unsigned long long)(c->deadline_ns / NSEC_PER_MSEC),
		   c->on_timeout == VERDICT_ALLOW ? "allow" : "deny");
}

/* Which rules promise a denial that nothing here can give, and why. */
void doctor_check_rules(struct doctor *d)
{
	unsigned asked = 0;

	for (size_t i = 0; i < d->n_rules; i++)
		asked += d->rules[i].action == VERDICT_BLOCK && d->rules[i].mechanism == MECH_PRELOAD;
	if (asked)
		doctor_add(d, "preload", DOCTOR_NOTE, ABOUT_NOTHING,
			   "advisory: static programs, direct system calls, io_uring and whoever unsets "
			   "LD_PRELOAD are not asked",
			   "run the daemon with fanotify and ebpf where the kernel permits them",
			   "%u %s that block %s held by the preload shim alone", asked,
			   asked == 1 ? "rule" : "rules", asked == 1 ? "is" : "are");
	for (size_t i = 0; i < d->n_rules; i++) {
		const struct doctor_rule *r = &d->rules[i];

		if (r->action != VERDICT_BLOCK || r->mechanism != MECH_DETECT)
			continue;
		doctor_add(d, "rule", DOCTOR_NOTE, ABOUT_NOTHING,
			   "it blocks by what it says, and is only recorded (detected) here", NULL,
			   "%s%s%s: %s", r->id, *r->part ? "/" : "", r->part, r->why);
	}
}
