/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli.h"
#include "tools/cli_hold.h"

static int take(void *arg, json_t *item, const char *text)
{
	struct cli_listing *l = arg;
	const json_t *process = json_object_get(item, "process");
	_cleanup_free_ char *path = NULL, *command = NULL, *what = NULL;
	_cleanup_free_ char *now = NULL;
	const char *after = "";
	char token[32], who[96], rule[96], since[32] = "", until[32] = "";
	int64_t t;

	if (l->cli->json)
		return cli_json_line(l->cli, item, text);
	if (!process)
		process = item;
	command = cli_hold_command(item);
	if (json_is_true(json_object_get(item, "after_fact")))
		after = " (has happened: stopped)";
	path = cli_tilde(cli_str(item, "path"), (uid_t)cli_int(process, "uid"));
	now = cli_tilde(cli_str(item, "path_now"), (uid_t)cli_int(process, "uid"));
	if (asprintf(&what, "%s%s%s%s%s", command ? command : path, after, *now ? " (now " : "", now,
		     *now ? ")" : "") < 0)
		what = NULL;
	snprintf(token, sizeof(token), "t%lld", (long long)cli_int(item, "token"));
	snprintf(who, sizeof(who), "%lld %s", (long long)cli_int(process, "pid"),
		 cli_str(process, "comm"));
	if (*cli_str(item, "rules"))
		snprintf(rule, sizeof(rule), "%s", cli_str(item, "rules"));
	else
		snprintf(rule, sizeof(rule), "%s%s%s", cli_str(item, "rule"),
			 *cli_str(item, "part") ? "/" : "", cli_str(item, "part"));
	if (cli_json_time(json_object_get(item, "since"), &t) == 0)
		cli_time(t, l->cli->now, since);
	if (cli_json_time(json_object_get(item, "deadline"), &t) == 0)
		cli_time(t, l->cli->now, until);
	cli_table_add(&l->table,
		      (const char *[]){ token, since, until, cli_str(item, "on_timeout"), rule,
					what ? what : path, cli_str(item, "agent"), who });
	return 0;
}

/* --- following --------------------------------------------------------------------------------- */

#define LOOK_MS 500

struct following {
	struct cli *cli;
	bool notify, bell;
	int64_t told; /* tokens grow: the greatest that was told */
	int64_t now_greatest;
};

static int follow_one(void *arg, json_t *item, const char *text)
{
	struct following *f = arg;
	_cleanup_free_ char *line = cli_hold_line(item);
	int64_t token = cli_int(item, "token");

	if (!json_is_true(json_object_get(item, "held")) || token <= f->told)
		return 0;
	if (token > f->now_greatest)
		f->now_greatest = token;
	if (f->cli->json) {
		cli_json_line(f->cli, item, text);
	} else {
		if (!line)
			return 1;
		cli_text(line);
		putchar('\n');
		if (f->bell)
			putchar('\a');
	}
	if (fflush(stdout) != 0)
		return 1;
	if (f->notify) /* forks: nothing may be left in the buffer */
		cli_hold_desktop(line ? line : cli_str(item, "path"));
	return 0;
}

static int follow(struct cli *cli, bool notify)
{
	struct following f = { .cli = cli, .notify = notify, .bell = isatty(STDOUT_FILENO) };
	int r;

	do {
		_cleanup_json_ json_t *res = NULL;

		r = cli_ask(cli, json_pack("{s:s}", "cmd", "pending"), CLI_TIMEOUT_MS, follow_one, &f,
			    &res);
		f.told = f.now_greatest;
		if (r == CLI_DONE)
			poll(NULL, 0, LOOK_MS);
	} while (r == CLI_DONE && !ferror(stdout));
	return r;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const char *const headings[] = { "TOKEN", "SINCE", "UNTIL", "THEN", "RULE", "PATH",
						"AGENT", "PROCESS" };

	struct cli_listing l = { .cli = cli, .table.columns = ARRAY_SIZE(headings) };
	bool watch = false, notify = false;
	const struct cli_option opts[] = {
		{ "watch", NULL, &watch },
		{ "notify", NULL, &notify },
		{ NULL, NULL, NULL },
	};
	int r = cli_options(cli, argc, argv, opts, false);

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 0))
		return CLI_FAILED;
	if (watch || notify)
		return follow(cli, notify);
	cli_table_add(&l.table, headings);
	r = cli_ask(cli, json_pack("{s:s}", "cmd", "pending"), CLI_TIMEOUT_MS, take, &l, NULL);
	if (r == CLI_DONE && !cli->json) {
		if (l.table.n > 1)
			cli_table_print(cli, &l.table);
		else
			puts("nothing is held");
	}
	cli_table_free(&l.table);
	return r == CLI_DONE ? cli_flush() : r;
}

const struct cli_command cmd_pending = {
	.name = "pending",
	.args = "[--watch [--notify]]",
	.summary = "what is held and waits for an answer",
	.help = "  --watch   go on, a line for each that is held from now on, and a bell on a terminal\n"
		"  --notify  the same, and a notification on this desktop (notify-send)\n",
	.run = run,
};
