/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cleanup.h"
#include "tools/cli.h"

#define LIMIT_DEFAULT 50

static int take(void *arg, json_t *item, const char *text)
{
	const struct cli *cli = arg;

	if (cli->json)
		cli_json_line(cli, item, text);
	else
		cli_event_line(cli, item);
	/* Whoever follows wants each line when it comes. */
	return fflush(stdout) == 0 ? 0 : 1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct cli_filter filter = { 0 };
	bool follow = false;
	const struct cli_option opts[] = {
		CLI_FILTER_OPTIONS(filter),
		{ "follow", NULL, &follow },
		{ NULL, NULL, NULL },
	};
	int r = cli_options(cli, argc, argv, opts, false);
	json_t *req;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 0))
		return CLI_FAILED;
	req = cli_filter_request(cli, &filter);
	if (!req)
		return CLI_FAILED;
	if (!filter.limit && !filter.since)
		json_object_set_new(req, "limit", json_integer(LIMIT_DEFAULT));
	if (follow)
		json_object_set_new(req, "follow", json_true());
	r = cli_ask(cli, req, follow ? 0 : CLI_TIMEOUT_MS, take, cli, NULL);
	return r == CLI_DONE ? cli_flush() : r;
}

const struct cli_command cmd_events = {
	.name = "events",
	.alias = "logs",
	.args = "[--follow] [--since TIME] [--limit N] [--rule ID] [--verdict V] [--pid PID] "
		"[--agent NAME]",
	.summary = "what watched agents did that a rule names, one line each",
	.help = "  --follow       go on as new events come\n"
		"  --since TIME   a time ago (10m, 2h, 3d), HH:MM, YYYY-MM-DD[THH:MM]\n"
		"  --limit N      the newest N; 0 for all (default 50, all with --since)\n"
		"  --rule ID      R3, or R3/aws\n"
		"  --verdict V    block, warn, would-block, detected or allow\n"
		"  --pid PID      --agent NAME\n",
	.run = run,
};
