/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cleanup.h"
#include "tools/cli.h"

static int take(void *arg, json_t *item, const char *text)
{
	struct cli_listing *l = arg;
	const json_t *process = json_object_get(item, "process");
	_cleanup_free_ char *path = NULL;
	char token[32], who[96], rule[96], until[32] = "";
	int64_t t;

	if (l->cli->json)
		return cli_json_line(l->cli, item, text);
	if (!process)
		process = item;
	path = cli_tilde(cli_str(item, "path"), (uid_t)cli_int(process, "uid"));
	snprintf(token, sizeof(token), "t%lld", (long long)cli_int(item, "token"));
	snprintf(who, sizeof(who), "%lld %s", (long long)cli_int(process, "pid"),
		 cli_str(process, "comm"));
	snprintf(rule, sizeof(rule), "%s%s%s", cli_str(item, "rule"),
		 *cli_str(item, "part") ? "/" : "", cli_str(item, "part"));
	if (cli_json_time(json_object_get(item, "deadline"), &t) == 0)
		cli_time(t, l->cli->now, until);
	cli_table_add(&l->table, (const char *[]){ token, until, cli_str(item, "on_timeout"), rule,
						   path, cli_str(item, "agent"), who });
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const char *const headings[] = { "TOKEN", "UNTIL", "THEN", "RULE", "PATH", "AGENT", "PROCESS" };

	return cli_list(cli, argc, argv, "pending", headings, ARRAY_SIZE(headings), take,
			"nothing is held");
}

const struct cli_command cmd_pending = {
	.name = "pending",
	.args = "",
	.summary = "what is held and waits for an answer",
	.run = run,
};
