/* SPDX-License-Identifier: Apache-2.0 */
/* allow and block: the two answers to what is held. */
#include "core/cleanup.h"
#include "tools/cli.h"

static int run(struct cli *cli, int argc, char **argv)
{
	_cleanup_json_ json_t *res = NULL;
	int r = cli_options(cli, argc, argv, NULL, false);
	bool token;
	int64_t id;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 1, 1))
		return CLI_FAILED;
	token = argv[1][0] == 't';
	if (cli_parse_number(argv[1] + token, 1, token ? INT64_MAX : INT32_MAX, &id) < 0)
		return cli_usage(cli, "\"%s\" is neither a process id nor a token (t1, t2 …)",
				 argv[1]);
	r = cli_ask(cli,
		    json_pack("{s:s,s:I}", "cmd", cli->command->name, token ? "token" : "pid",
			      (json_int_t)id),
		    CLI_TIMEOUT_MS, NULL, NULL, &res);
	if (r != CLI_DONE)
		return r;
	if (cli->json)
		cli_json_line(cli, res, NULL);
	else
		cli_field(cli, cli->command->name, "%lld answered",
			  (long long)cli_int(res, "answered"));
	return cli_flush();
}

const struct cli_command cmd_allow = {
	.name = "allow",
	.args = "PID | TOKEN",
	.summary = "let what is held go on, this once",
	.help = "TOKEN is one of oknek pending; PID means all that this process has held.\n",
	.run = run,
};

const struct cli_command cmd_block = {
	.name = "block",
	.args = "PID | TOKEN",
	.summary = "deny what is held",
	.help = "TOKEN is one of oknek pending; PID means all that this process has held.\n",
	.run = run,
};
