/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli.h"
#include "tools/cli_activate.h"
#include "tools/cli_pack.h"

struct update {
	const char *state_dir;
	bool yes, reload, rollback;
};

static int failed(const struct pack_error *err)
{
	cli_error("%s", err->text);
	return CLI_FAILED;
}

/* Has the daemon read its rules; *running false when there is none, which is fine. */
static int reload(const struct cli *cli, json_t **res, bool *running)
{
	struct cli_reply reply = { 0 };
	int r = cli_call(cli, json_pack("{s:s}", "cmd", "reload"), CLI_TIMEOUT_MS, NULL, NULL,
			 &reply);

	*running = r != -ENOENT && r != -ECONNREFUSED;
	if (r && *running) {
		cli_error("%s", reply.error);
		return CLI_FAILED;
	}
	*res = reply.result;
	return CLI_DONE;
}

static void print_notices(const struct cli *cli, const json_t *res)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(res, "notice"), i, v)
		cli_field(cli, "notice", "%s", json_string_value(v));
}

static int reload_local(struct cli *cli)
{
	_cleanup_json_ json_t *res = NULL;
	int r = cli_ask(cli, json_pack("{s:s}", "cmd", "reload"), CLI_TIMEOUT_MS, NULL, NULL,
			&res);

	if (r != CLI_DONE)
		return r;
	if (cli->json) {
		cli_json_line(cli, res, NULL);
	} else {
		cli_field(cli, "rules", "%lld serve now", (long long)cli_int(res, "rules"));
		print_notices(cli, res);
	}
	return cli_flush();
}

static void brief(const json_t *side, char buf[64])
{
	if (json_is_object(side))
		snprintf(buf, 64, "%s v%lld", cli_str(side, "action"),
			 (long long)cli_int(side, "version"));
	else
		snprintf(buf, 64, "none");
}

static void print_changes(const struct cli *cli, const json_t *list)
{
	struct cli_table t = { .columns = 5 };
	const json_t *item;
	size_t i;

	cli_table_add(&t, (const char *[]){ "RULE", "CHANGE", "NOW", "THEN", "NAME" });
	json_array_foreach(list, i, item) {
		const json_t *a = json_object_get(item, "old"), *b = json_object_get(item, "new");
		char now[64], then[64];

		brief(a, now);
		brief(b, then);
		cli_table_add(&t, (const char *[]){ cli_str(item, "rule"), cli_str(item, "change"), now,
						    then, cli_str(json_is_object(b) ? b : a, "name") });
	}
	if (json_array_size(list))
		cli_table_print(cli, &t);
	else
		puts("no rule differs");
	cli_table_free(&t);
}

/* A rule's version tells people which text they have: the same one is never another. */
static int check_versions(const json_t *list, struct pack_error *err)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		int64_t now = cli_int(json_object_get(item, "old"), "version");
		int64_t then = cli_int(json_object_get(item, "new"), "version");

		if (!strcmp(cli_str(item, "change"), "changed") && then <= now)
			return pack_say(err, -EINVAL, "rule %s is another in this pack, and its "
					"version is %lld as before or less: it must go up",
					cli_str(item, "rule"), (long long)then);
	}
	return 0;
}

static bool confirmed(const struct update *u)
{
	char answer[16] = "";

	if (u->yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		cli_error("nobody is there to be asked: --yes activates it");
		return false;
	}
	fputs("activate? [y/N] ", stdout);
	fflush(stdout);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* The daemon is to serve what is on disk now; if it will not, undo() brings back what was there
 * (NULL: nothing was changed), else keep() makes it final. */
static int serve(const struct cli *cli, const struct update *u, const char *what, json_t *changes,
		 int (*undo)(const char *state_dir, struct pack_error *err),
		 int (*keep)(const char *state_dir, struct pack_error *err))
{
	_cleanup_json_ json_t *res = NULL;
	struct pack_error err;
	bool running;

	if (reload(cli, &res, &running) != CLI_DONE) {
		if (undo && undo(u->state_dir, &err))
			return failed(&err);
		cli_error("the rules that served go on");
		return CLI_FAILED;
	}
	if (keep && keep(u->state_dir, &err))
		return failed(&err);
	if (cli->json) {
		_cleanup_json_ json_t *j =
			json_pack("{s:s,s:b,s:O}", "pack", what, "serving", running, "changes", changes);

		cli_json_line(cli, j, NULL);
	} else if (running) {
		cli_field(cli, "rules", "%lld serve now, of %s", (long long)cli_int(res, "rules"), what);
		print_notices(cli, res);
	} else {
		cli_field(cli, "rules", "%s is active; no daemon runs: it serves from its next start",
			  what);
	}
	return cli_flush();
}

static int update_from(struct cli *cli, const struct update *u, const char *path)
{
	_cleanup_rules_ struct ruleset *old_rules = NULL, *new_rules = NULL;
	_cleanup_pack_ struct pack *next = NULL, *active = NULL;
	_cleanup_json_ json_t *changes = NULL;
	const struct pack_manifest *m;
	struct pack_error err;
	char what[128];
	int r;

	if (cli_pack_trusted(path, NULL, &next, &err) ||
	    activate_current(u->state_dir, &active, &err))
		return failed(&err);
	r = pack_may_follow(next, active, cli->now, &err);
	if (r < 0)
		return failed(&err);
	m = pack_manifest(next);
	snprintf(what, sizeof(what), "%s %u.%u.%u", m->name, m->version.major, m->version.minor,
		 m->version.patch);
	if (cli_pack_rules(next, &new_rules, &err) ||
	    (active && cli_pack_rules(active, &old_rules, &err)))
		return failed(&err);
	changes = cli_pack_diff(old_rules, new_rules);
	if (active && check_versions(changes, &err))
		return failed(&err);
	if (r == 1)
		return serve(cli, u, what, changes, NULL, NULL);
	if (!cli->json)
		print_changes(cli, changes);
	if (!confirmed(u))
		return CLI_FAILED;
	if (activate_pack(u->state_dir, next, &err))
		return failed(&err);
	return serve(cli, u, what, changes, activate_undo, activate_keep);
}

static int roll_back(struct cli *cli, const struct update *u)
{
	_cleanup_json_ json_t *none = json_array();
	_cleanup_pack_ struct pack *active = NULL;
	const struct pack_manifest *m;
	char what[128] = "the shipped rules";
	struct pack_error err;

	if (activate_rollback(u->state_dir, &err) || activate_current(u->state_dir, &active, &err))
		return failed(&err);
	m = active ? pack_manifest(active) : NULL;
	if (m)
		snprintf(what, sizeof(what), "%s %u.%u.%u", m->name, m->version.major,
			 m->version.minor, m->version.patch);
	return serve(cli, u, what, none, activate_rollback, NULL);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct update u = { .state_dir = OKNEK_STATE_DIR };
	const struct cli_option opts[] = {
		{ "reload-local", NULL, &u.reload }, { "rollback", NULL, &u.rollback },
		{ "yes", NULL, &u.yes },	     { "state-dir", &u.state_dir, NULL },
		{ NULL, NULL, NULL },
	};
	int n = cli_options(cli, argc, argv, opts, false);

	if (n < 0)
		return n == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, n, 0, u.reload || u.rollback ? 0 : 1))
		return CLI_FAILED;
	if (u.reload)
		return reload_local(cli);
	if (sodium_init() < 0) {
		cli_error("libsodium cannot be used here");
		return CLI_FAILED;
	}
	if (u.rollback)
		return roll_back(cli, &u);
	if (!argv[1])
		return cli_usage(cli, "a pack, --rollback or --reload-local is expected");
	return update_from(cli, &u, argv[1]);
}

const struct cli_command cmd_update = {
	.name = "update",
	.args = "PACK | --rollback | --reload-local",
	.summary = "activate a signed pack of rules, or read those of this host again",
	.help = "  --yes            do not ask\n"
		"  --rollback       the pack before, or what was shipped\n"
		"  --reload-local   the rule files of this host alone\n"
		"  --state-dir DIR  (default " OKNEK_STATE_DIR ")\n\n"
		"PACK is a .tar.gz or a folder of its contents. The rules that serve go on until the\n"
		"new ones are ready. What is refused changes nothing.\n",
	.run = run,
};
