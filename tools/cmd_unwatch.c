/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cleanup.h"
#include "tools/cli.h"

static int run(struct cli *cli, int argc, char **argv)
{
	bool tree = false;
	const struct cli_option opts[] = { { "tree", NULL, &tree }, { NULL, NULL, NULL } };
	_cleanup_json_ json_t *res = NULL;
	int r = cli_options(cli, argc, argv, opts, false);
	int64_t id;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 1, 1))
		return CLI_FAILED;
	if (cli_parse_number(argv[1], 1, INT32_MAX, &id) < 0)
		return cli_usage(cli, "\"%s\" is no %s", argv[1], tree ? "tree" : "process id");
	r = cli_ask(cli,
		    json_pack("{s:s,s:I}", "cmd", "unwatch", tree ? "tree" : "pid",
			      (json_int_t)id),
		    CLI_TIMEOUT_MS, NULL, NULL, &res);
	if (r != CLI_DONE)
		return r;
	if (cli->json)
		cli_json_line(cli, res, NULL);
	else
		cli_field(cli, "unwatched", "tree %lld, %lld %s", (long long)cli_int(res, "tree"),
			  (long long)cli_int(res, "members"),
			  cli_plural(cli_int(res, "members"), "process", "processes"));
	return cli_flush();
}

const struct cli_command cmd_unwatch = {
	.name = "unwatch",
	.args = "PID | --tree TREE",
	.summary = "stop watching the tree that a process belongs to",
	.help = "  --tree         the number is that of a tree, as oknek agents shows it\n",
	.run = run,
};
