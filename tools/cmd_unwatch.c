/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cleanup.h"
#include "tools/cli.h"
#include "tools/cli_preload.h"

static int unwatch_unit(struct cli *cli, const char *name, const char *root, bool user)
{
	struct cli_unit u;
	bool recorded;
	int r;

	if (!cli_unit_find(cli, name, root, user, false, &u))
		return CLI_FAILED;
	r = cli_unit_remove(&u);
	if (r < 0)
		return CLI_FAILED;
	if (!r) {
		cli_error("%s is not there: nothing was written for %s", u.file, u.name);
		return CLI_FAILED;
	}
	recorded = cli_unit_record(cli, &u, "unwatch", cli_unit_reload(&u), NULL, NULL);
	if (cli->json) {
		_cleanup_json_ json_t *res = json_pack("{s:s,s:s,s:b}", "unit", u.name, "removed", u.file,
						       "recorded", recorded);

		cli_json_line(cli, res, NULL);
	} else {
		cli_field(cli, "removed", "%s", u.file);
		cli_field(cli, "note", "what runs carries the shim until it is restarted");
	}
	return cli_flush();
}

static int run(struct cli *cli, int argc, char **argv)
{
	bool tree = false, user = false;
	const char *unit = NULL, *root = NULL;
	const struct cli_option opts[] = { { "tree", NULL, &tree },
					   { "unit", &unit, NULL },
					   { "user", NULL, &user },
					   { "root", &root, NULL },
					   { NULL, NULL, NULL } };
	_cleanup_json_ json_t *res = NULL;
	int r = cli_options(cli, argc, argv, opts, false);
	int64_t id;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, unit ? 0 : 1, unit ? 0 : 1))
		return CLI_FAILED;
	if (unit && !tree)
		return unwatch_unit(cli, unit, root, user);
	if (unit || user || root)
		return cli_usage(cli, "--user and --root go with --unit, and --tree does not");
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
	.args = "PID | --tree TREE | --unit NAME [--user] [--root DIR]",
	.summary = "stop watching the tree that a process belongs to",
	.help = "  --tree         the number is that of a tree, as oknek agents shows it\n"
		"  --unit NAME    remove what oknek watch --unit wrote for this service\n"
		"  --user         the unit is one of users' managers\n"
		"  --root DIR     unit files are below DIR\n",
	.run = run,
};
