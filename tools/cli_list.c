/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "tools/cli.h"

int cli_list(struct cli *cli, int argc, char **argv, const char *cmd, const char *const *headings,
	     unsigned columns, cli_item_fn take, const char *none)
{
	struct cli_listing l = { .cli = cli, .table.columns = columns };
	int r = cli_options(cli, argc, argv, NULL, false);

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 0))
		return CLI_FAILED;
	cli_table_add(&l.table, headings);
	r = cli_ask(cli, json_pack("{s:s}", "cmd", cmd), CLI_TIMEOUT_MS, take, &l, NULL);
	if (r == CLI_DONE && !cli->json) {
		if (l.table.n > 1)
			cli_table_print(cli, &l.table);
		else
			puts(none);
	}
	cli_table_free(&l.table);
	return r == CLI_DONE ? cli_flush() : r;
}
