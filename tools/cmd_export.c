/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/store.h"
#include "tools/cli.h"

static int take(void *arg, json_t *item, const char *text)
{
	return cli_json_line(arg, item, text) < 0 ? 1 : 0;
}

static int take_row(void *arg, uint64_t seq, const char *json)
{
	(void)seq;
	return cli_json_line(arg, NULL, json) < 0 ? 1 : 0;
}

/* The same request, asked of a file. */
static int export_file(const struct cli *cli, const char *db, const json_t *req)
{
	const char *rule = cli_str(req, "rule"), *verdict = cli_str(req, "verdict");
	const char *agent = cli_str(req, "agent");
	const struct store_filter filter = {
		.since_unix_s = cli_int(req, "since"),
		.limit = (unsigned)cli_int(req, "limit"),
		.pid = (pid_t)cli_int(req, "pid"),
		.rule = *rule ? rule : NULL,
		.verdict = *verdict ? verdict : NULL,
		.agent = *agent ? agent : NULL,
	};
	int r = store_query(db, &filter, take_row, (void *)cli);

	if (r < 0) {
		cli_error("cannot read %s: %s", db,
			  r == -EBADMSG ? "it is no database" : strerror(-r));
		return CLI_FAILED;
	}
	return CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct cli_filter filter = { 0 };
	const char *db = NULL;
	const struct cli_option opts[] = {
		CLI_FILTER_OPTIONS(filter),
		{ "db", &db, NULL },
		{ NULL, NULL, NULL },
	};
	int r = cli_options(cli, argc, argv, opts, false);
	_cleanup_json_ json_t *req = NULL;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 0))
		return CLI_FAILED;
	req = cli_filter_request(cli, &filter);
	if (!req)
		return CLI_FAILED;
	if (db)
		r = export_file(cli, db, req);
	else
		r = cli_ask(cli, TAKE_PTR(req), CLI_TIMEOUT_MS, take, cli, NULL);
	return r == CLI_DONE ? cli_flush() : r;
}

const struct cli_command cmd_export = {
	.name = "export",
	.args = "[--db FILE] [--since TIME] [--limit N] [--rule ID] [--verdict V] [--pid PID] "
		"[--agent NAME]",
	.summary = "evidence as JSON with its signatures, one record per line",
	.help = "  --db FILE      read this database instead of asking the daemon\n"
		"  others         as for oknek events\n",
	.run = run,
};
