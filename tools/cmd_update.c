/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cleanup.h"
#include "tools/cli.h"

static int run(struct cli *cli, int argc, char **argv)
{
	bool reload = false;
	const struct cli_option opts[] = { { "reload-local", NULL, &reload },
					   { NULL, NULL, NULL } };
	_cleanup_json_ json_t *res = NULL;
	int r = cli_options(cli, argc, argv, opts, false);

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 0))
		return CLI_FAILED;
	if (!reload)
		return cli_usage(cli, "nothing to do without --reload-local");
	r = cli_ask(cli, json_pack("{s:s}", "cmd", "reload"), CLI_TIMEOUT_MS, NULL, NULL, &res);
	if (r != CLI_DONE)
		return r;
	if (cli->json)
		cli_json_line(cli, res, NULL);
	else
		cli_field(cli, "rules", "%lld serve now", (long long)cli_int(res, "rules"));
	return cli_flush();
}

const struct cli_command cmd_update = {
	.name = "update",
	.args = "--reload-local",
	.summary = "read the rule files of this host again",
	.help = "The rules that serve go on until the new ones are ready. A bad file changes nothing\n"
		"and is named.\n",
	.run = run,
};
