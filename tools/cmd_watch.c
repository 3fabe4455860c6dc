/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cleanup.h"
#include "tools/cli.h"

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

static int run(struct cli *cli, int argc, char **argv)
{
	const char *agent = NULL;
	const struct cli_option opts[] = { { "agent", &agent, NULL }, { NULL, NULL, NULL } };
	_cleanup_json_ json_t *res = NULL;
	_cleanup_json_ json_t *req = NULL;
	int r = cli_options(cli, argc, argv, opts, false);
	int64_t pid;
	json_t *v;
	size_t i;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 1, 1))
		return CLI_FAILED;
	if (cli_parse_number(argv[1], 1, INT32_MAX, &pid) < 0)
		return cli_usage(cli, "\"%s\" is no process id", argv[1]);
	req = json_pack("{s:s,s:I,s:s*}", "cmd", "watch", "pid", (json_int_t)pid, "agent", agent);
	r = cli_ask(cli, TAKE_PTR(req), CLI_TIMEOUT_MS, NULL, NULL, &res);
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

const struct cli_command cmd_watch = {
	.name = "watch",
	.args = "[--agent NAME] PID",
	.summary = "watch a running process and all it starts",
	.help = "  --agent NAME   what to call it\n\n"
		"Says which protected files the tree has open already: no mark takes these back.\n",
	.run = run,
};
