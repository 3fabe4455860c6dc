/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli.h"

#define ARGUMENTS_SHOWN 200 /* bytes */

/* A program with its arguments, as far as they are shown. */
static char *command_of(const json_t *argv)
{
	char text[ARGUMENTS_SHOWN + 8] = "";
	size_t used = 0;

	for (size_t i = 0; i < json_array_size(argv); i++) {
		const char *word = json_string_value(json_array_get(argv, i));
		int n = snprintf(text + used, ARGUMENTS_SHOWN - used, "%s%s", used ? " " : "",
				 word ? word : "?");

		if (n < 0 || used + (size_t)n >= ARGUMENTS_SHOWN) {
			strcat(text, " …");
			break;
		}
		used += (size_t)n;
	}
	return *text ? strdup(text) : NULL;
}

static int take(void *arg, json_t *item, const char *text)
{
	struct cli_listing *l = arg;
	const json_t *process = json_object_get(item, "process");
	_cleanup_free_ char *path = NULL, *command = NULL;
	char token[32], who[96], rule[96], until[32] = "";
	int64_t t;

	if (l->cli->json)
		return cli_json_line(l->cli, item, text);
	if (!process)
		process = item;
	command = command_of(json_object_get(item, "argv"));
	path = cli_tilde(cli_str(item, "path"), (uid_t)cli_int(process, "uid"));
	snprintf(token, sizeof(token), "t%lld", (long long)cli_int(item, "token"));
	snprintf(who, sizeof(who), "%lld %s", (long long)cli_int(process, "pid"),
		 cli_str(process, "comm"));
	if (*cli_str(item, "rules"))
		snprintf(rule, sizeof(rule), "%s", cli_str(item, "rules"));
	else
		snprintf(rule, sizeof(rule), "%s%s%s", cli_str(item, "rule"),
			 *cli_str(item, "part") ? "/" : "", cli_str(item, "part"));
	if (cli_json_time(json_object_get(item, "deadline"), &t) == 0)
		cli_time(t, l->cli->now, until);
	cli_table_add(&l->table,
		      (const char *[]){ token, until, cli_str(item, "on_timeout"), rule,
					command ? command : path, cli_str(item, "agent"), who });
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
