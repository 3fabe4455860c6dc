/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cleanup.h"
#include "tools/cli.h"

struct answer {
	const struct cli *cli;
	json_t *last; /* not printed yet: what to do is said once for all that are alike */
};

static void print_last(struct answer *a, const json_t *next)
{
	if (a->last && next && cli_why_same_advice(a->last, next))
		cli_why_fact(a->cli, a->last);
	else if (a->last)
		cli_why_text(a->cli, a->last);
	json_decref(a->last);
	a->last = NULL;
}

static int take(void *arg, json_t *item, const char *text)
{
	struct answer *a = arg;

	if (a->cli->json)
		return cli_json_line(a->cli, item, text);
	print_last(a, item);
	a->last = json_incref(item);
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct answer a = { .cli = cli };
	int r = cli_options(cli, argc, argv, NULL, false);
	json_t *req;
	int64_t pid;
	bool none;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 1))
		return CLI_FAILED;
	req = json_pack("{s:s}", "cmd", "why");
	if (argv[1]) {
		if (cli_parse_number(argv[1], 1, INT32_MAX, &pid) < 0) {
			json_decref(req);
			return cli_usage(cli, "\"%s\" is no process id", argv[1]);
		}
		json_object_set_new(req, "pid", json_integer(pid));
	}
	r = cli_ask(cli, req, CLI_TIMEOUT_MS, take, &a, NULL);
	none = !a.last;
	print_last(&a, NULL);
	if (r != CLI_DONE)
		return r;
	if (none && !cli->json)
		puts("oknek has denied nothing here: if something failed, it was not oknek.");
	return cli_flush();
}

const struct cli_command cmd_why = {
	.name = "why",
	.args = "[PID]",
	.summary = "what was denied, by which rule, and what to do instead",
	.help = "Without PID: what was lately denied to your processes; to everybody's, for root.\n"
		"Needs no privilege; the one command that an agent itself may well use.\n",
	.run = run,
};
