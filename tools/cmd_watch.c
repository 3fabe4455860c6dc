/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/cleanup.h"
#include "sources/preload.h"
#include "tools/cli.h"
#include "tools/cli_preload.h"

struct wanted {
	const char *agent, *unit, *root, *otherwise;
	bool user, unless_watched;
};

static void print_answer(const struct cli *cli, const json_t *res)
{
	json_t *v;
	size_t i;

	cli_field(cli, "watched", "%lld %s of %s, tree %lld", (long long)cli_int(res, "members"),
		  cli_plural(cli_int(res, "members"), "process", "processes"),
		  cli_str(res, "agent"), (long long)cli_int(res, "tree"));
	json_array_foreach(json_object_get(res, "open"), i, v)
		cli_field(cli, i ? "" : "open", "pid %lld has %s open as descriptor %lld already",
			  (long long)cli_int(v, "pid"), cli_str(v, "path"),
			  (long long)cli_int(v, "fd"));
}

/* ---- a unit ------------------------------------------------------------------------------------ */

/* True where nobody answers: then nothing is known of it. */
static bool is_asked(const struct cli *cli)
{
	struct cli_reply reply;
	json_t *sources, *v;
	bool ret = false;
	size_t i;

	if (cli_call(cli, json_pack("{s:s}", "cmd", "status"), CLI_TIMEOUT_MS, NULL, NULL, &reply) < 0)
		return true;
	sources = json_object_get(reply.result, "sources");
	json_array_foreach(sources, i, v)
		ret |= !strcmp(cli_str(v, "name"), "preload");
	json_decref(reply.result);
	return ret;
}

static int watch_unit(struct cli *cli, const struct wanted *w)
{
	struct cli_preload shim = { .otherwise = w->otherwise, .run_dir = cli->run_dir };
	_cleanup_json_ json_t *res = NULL;
	struct cli_unit u;
	char agent[32];
	bool reloaded, recorded;

	if (!cli_preload_default(cli, w->otherwise) ||
	    !cli_unit_find(cli, w->unit, w->root, w->user, true, &u))
		return CLI_FAILED;
	cli_unit_agent(&u, agent);
	if (w->agent && (strlen(w->agent) > 31 || !w->agent[0] ||
			 w->agent[strspn(w->agent, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
						   "0123456789._-")]))
		return cli_usage(cli, "an agent's name is 1 to 31 letters, digits, dots, dashes and "
				      "underscores");
	cli_preload_find(&shim);
	if (!shim.library[0]) {
		cli_error("the preload shim is not installed as %s", OKNEK_PRELOAD);
		return CLI_FAILED;
	}
	if (w->agent)
		strcpy(agent, w->agent);
	if (cli_unit_write(&u, &shim, agent) < 0)
		return CLI_FAILED;
	reloaded = cli_unit_reload(&u);
	recorded = cli_unit_record(cli, &u, "watch", reloaded, &shim, agent);
	res = json_pack("{s:s,s:s,s:s,s:b,s:b,s:s}", "unit", u.name, "file", u.file, "agent", agent,
			"reloaded", reloaded, "recorded", recorded, "note", PRELOAD_BYPASS);
	if (cli->json) {
		cli_json_line(cli, res, NULL);
	} else {
		cli_field(cli, "written", "%s", u.file);
		cli_field(cli, "next", "%ssystemctl %srestart %s", reloaded ? "" : u.user ?
			  "systemctl --user daemon-reload && " : "systemctl daemon-reload && ",
			  u.user ? "--user " : "", u.name);
		cli_field(cli, "note", PRELOAD_BYPASS ": see PRELOAD in oknek(8)");
	}
	if (!is_asked(cli))
		cli_error("%s", PRELOAD_UNASKED);
	return cli_flush();
}

/* ---- a process ---------------------------------------------------------------------------------- */

static int watch_process(struct cli *cli, const char *text, const struct wanted *w)
{
	_cleanup_json_ json_t *res = NULL;
	int64_t pid;
	json_t *v;
	size_t i;
	int r;

	if (cli_parse_number(text, 1, INT32_MAX, &pid) < 0)
		return cli_usage(cli, "\"%s\" is no process id", text);
	r = cli_ask(cli,
		    json_pack("{s:s,s:I,s:s*,s:o*}", "cmd", "watch", "pid", (json_int_t)pid, "agent",
			      w->agent, "unless_watched", w->unless_watched ? json_true() : NULL),
		    CLI_TIMEOUT_MS, NULL, NULL, &res);
	if (r != CLI_DONE)
		return r;
	if (cli->json)
		cli_json_line(cli, res, NULL);
	else
		print_answer(cli, res);
	json_array_foreach(json_object_get(res, "warnings"), i, v)
		cli_error("%s", json_is_string(v) ? json_string_value(v) : "");
	return cli_flush();
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct wanted w = { 0 };
	const struct cli_option opts[] = { { "agent", &w.agent, NULL },
					   { "unless-watched", NULL, &w.unless_watched },
					   { "unit", &w.unit, NULL },
					   { "user", NULL, &w.user },
					   { "root", &w.root, NULL },
					   { "preload-default", &w.otherwise, NULL },
					   { NULL, NULL, NULL } };
	int r = cli_options(cli, argc, argv, opts, false);

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, w.unit ? 0 : 1, w.unit ? 0 : 1))
		return CLI_FAILED;
	if (w.unit)
		return watch_unit(cli, &w);
	if (w.user || w.root || w.otherwise)
		return cli_usage(cli, "--user, --root and --preload-default go with --unit");
	return watch_process(cli, argv[1], &w);
}

const struct cli_command cmd_watch = {
	.name = "watch",
	.args = "[--agent NAME] [--unless-watched] PID | --unit NAME [--agent NAME] [--user]\n"
		"       [--root DIR] [--preload-default allow|deny]",
	.summary = "watch a running process and all it starts, or a unit from its next start on",
	.help = "  --agent NAME      what to call it\n"
		"  --unless-watched  that it is watched already is no failure\n"
		"  --unit NAME       write a drop-in for this service, so that it carries the preload shim\n"
		"                    and is watched whenever it starts\n"
		"  --user            the unit is one of users' managers\n"
		"  --root DIR        unit files are below DIR\n"
		"  --preload-default allow|deny   what the shim does without a daemon (allow)\n\n"
		"Of a process: says which protected files the tree has open already: no mark takes these\n"
		"back.\n",
	.run = run,
};
