/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli.h"

#define PAUSE_MAX_S 86400

static int run(struct cli *cli, int argc, char **argv)
{
	_cleanup_json_ json_t *res = NULL;
	int r = cli_options(cli, argc, argv, NULL, false);
	int64_t seconds = 0;
	const json_t *until;
	char when[32];

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 1, 1))
		return CLI_FAILED;
	if (strcmp(argv[1], "off") != 0 &&
	    (cli_parse_duration(argv[1], &seconds) < 0 || seconds < 1 || seconds > PAUSE_MAX_S))
		return cli_usage(cli, "a pause is 10m, 1h30m … up to 24h, or off, not \"%s\"",
				 argv[1]);
	r = cli_ask(cli, json_pack("{s:s,s:I}", "cmd", "pause", "seconds", (json_int_t)seconds),
		    CLI_TIMEOUT_MS, NULL, NULL, &res);
	if (r != CLI_DONE)
		return r;
	until = json_object_get(res, "paused_until");
	if (cli->json) {
		cli_json_line(cli, res, NULL);
	} else if (json_is_integer(until)) {
		cli_time(json_integer_value(until), cli->now, when);
		cli_field(cli, "paused", "until %s; oknek pause off ends it", when);
	} else {
		cli_field(cli, "mode", "%s", cli_str(res, "mode"));
	}
	return cli_flush();
}

const struct cli_command cmd_pause = {
	.name = "pause",
	.args = "DURATION | off",
	.summary = "stop nothing for a while (10m), or end that (off)",
	.help = "What happens meanwhile is recorded as in observe mode.\n",
	.run = run,
};
