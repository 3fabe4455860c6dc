/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "core/cleanup.h"
#include "core/event.h"
#include "tools/cli.h"

static int run(struct cli *cli, int argc, char **argv)
{
	_cleanup_json_ json_t *res = NULL;
	int r = cli_options(cli, argc, argv, NULL, false);
	const char *mode;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 1))
		return CLI_FAILED;
	mode = argv[1];
	if (mode && strcmp(mode, "observe") != 0 && strcmp(mode, "enforce") != 0)
		return cli_usage(cli, "the mode is observe or enforce, not \"%s\"", mode);
	r = cli_ask(cli,
		    mode ? json_pack("{s:s,s:s}", "cmd", "mode", "mode", mode) :
			   json_pack("{s:s}", "cmd", "status"),
		    CLI_TIMEOUT_MS, NULL, NULL, &res);
	if (r != CLI_DONE)
		return r;
	if (mode && !cli->json) {
		/* What serves now may be another: a pause goes on. */
		json_decref(res);
		res = NULL;
		r = cli_ask(cli, json_pack("{s:s}", "cmd", "status"), CLI_TIMEOUT_MS, NULL, NULL,
			    &res);
		if (r != CLI_DONE)
			return r;
	}
	if (cli->json && !mode) {
		_cleanup_json_ json_t *only =
			json_pack("{s:s,s:s,s:O?}", "mode", cli_str(res, "mode"),
				  "configured_mode", cli_str(res, "configured_mode"),
				  "paused_until", json_object_get(res, "paused_until"));

		cli_json_line(cli, only, NULL);
	} else if (cli->json) {
		cli_json_line(cli, res, NULL);
	} else {
		cli_mode_field(cli, res);
	}
	return cli_flush();
}

const struct cli_command cmd_mode = {
	.name = "mode",
	.args = "[observe | enforce]",
	.summary = "show or change whether rules are enforced",
	.help = "Until the daemon is started again: what it starts with is in oknek.yaml(5).\n",
	.run = run,
};
