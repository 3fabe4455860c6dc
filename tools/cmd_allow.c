/* SPDX-License-Identifier: Apache-2.0 */
/* allow and block: the two answers to what is held. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli.h"
#include "tools/cli_always.h"

#define FOR_MAX_S (7 * 86400)

struct answering {
	bool token;
	bool either; /* a bare number: a process, or else a token */
	int64_t id;
	bool once, always, kill;
	const char *for_text, *reason;
	int64_t for_s;
};

static int check(const struct cli *cli, struct answering *a)
{
	if (a->once + a->always + (a->for_text != NULL) > 1)
		return cli_usage(cli, "one of --once, --for and --always");
	if (a->for_text && (cli_parse_duration(a->for_text, &a->for_s) < 0 || a->for_s < 1 ||
			    a->for_s > FOR_MAX_S))
		return cli_usage(cli, "--for takes a time like 10m or 2h, up to 7d, not \"%s\"",
				 a->for_text);
	return CLI_DONE;
}

struct also {
	int64_t token;
	bool is;
};

static int find_token(void *arg, json_t *item, const char *text)
{
	struct also *a = arg;

	(void)text;
	a->is |= cli_int(item, "token") == a->token && json_is_true(json_object_get(item, "held"));
	return 0;
}

/* What a bare number was taken for, where it could have been something else. NULL: there is no doubt. */
static char *taken_for(const struct cli *cli, const struct answering *a, const json_t *res)
{
	struct also also = { .token = a->id };
	struct cli_reply reply;
	char *text = NULL;
	int r;

	if (!a->either)
		return NULL;
	if (a->token || !strcmp(cli_str(res, "by"), "token")) {
		r = asprintf(&text, "process %lld has nothing held: it is taken for the token t%lld",
			     (long long)a->id, (long long)a->id);
		return r < 0 ? NULL : text;
	}
	if (cli_call(cli, json_pack("{s:s}", "cmd", "pending"), CLI_TIMEOUT_MS, find_token, &also,
		     &reply) == 0)
		json_decref(reply.result);
	if (!also.is || asprintf(&text, "%lld is taken for the process: the token t%lld still waits",
				 (long long)a->id, (long long)a->id) < 0)
		return NULL;
	return text;
}

static int ask(struct cli *cli, void *arg)
{
	const struct answering *a = arg;
	_cleanup_free_ char *taken = NULL;
	_cleanup_json_ json_t *res = NULL;
	json_t *req = json_pack("{s:s,s:I}", "cmd", cli->command->name, a->token ? "token" : "pid",
				(json_int_t)a->id);
	int r;

	if (a->either && !a->always) /* of which it has been found out */
		json_object_set_new(req, "or_token", json_true());
	if (a->for_s)
		json_object_set_new(req, "for_s", json_integer(a->for_s));
	if (a->reason)
		json_object_set_new(req, "reason", json_string(a->reason));
	if (a->always)
		json_object_set_new(req, "always", json_true());
	if (a->kill)
		json_object_set_new(req, "kill", json_true());
	r = cli_ask(cli, req, CLI_TIMEOUT_MS, NULL, NULL, &res);
	if (r != CLI_DONE)
		return r;
	taken = taken_for(cli, a, res);
	if (cli->json) {
		if (taken)
			json_object_set_new(res, "taken_for", json_string(taken));
		cli_json_line(cli, res, NULL);
		return cli_flush();
	}
	cli_field(cli, cli->command->name, "%lld answered%s", (long long)cli_int(res, "answered"),
		  json_is_true(json_object_get(res, "kept")) ?
			  a->for_s ? ", and the same is let through until then" :
				     ", and the same is refused to that tree until it is unwatched" : "");
	if (a->kill)
		cli_field(cli, "killed", "%lld", (long long)cli_int(res, "killed"));
	if (taken)
		cli_field(cli, "notice", "%s", taken);
	if (*cli_str(res, "unseen"))
		cli_field(cli, "notice", "%s", cli_str(res, "unseen"));
	if (*cli_str(res, "notice"))
		cli_field(cli, "notice", "%s", cli_str(res, "notice"));
	return cli_flush();
}

static int answer(struct cli *cli, int argc, char **argv, const struct cli_option *opts,
		  struct answering *a)
{
	int r = cli_options(cli, argc, argv, opts, false);
	_cleanup_free_ char *path = NULL, *excepted = NULL;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 1, 1))
		return CLI_FAILED;
	a->token = argv[1][0] == 't';
	if (cli_parse_number(argv[1] + a->token, 1, INT64_MAX, &a->id) < 0)
		return cli_usage(cli, "\"%s\" is neither a process id nor a token (t1, t2 …)",
				 argv[1]);
	a->token |= a->id > INT32_MAX; /* no process has such a number */
	a->either = !a->token;
	r = check(cli, a);
	if (r != CLI_DONE)
		return r;
	if (!a->always)
		return ask(cli, a);
	r = cli_always(cli, &a->token, a->either, a->id, a->reason, ask, a, &path, &excepted);
	if (r == CLI_DONE && !cli->json)
		cli_field(cli, "exception", "%s, in %s", excepted ? excepted : "", path);
	return r == CLI_DONE ? cli_flush() : r;
}

static int run_allow(struct cli *cli, int argc, char **argv)
{
	struct answering a = { 0 };
	const struct cli_option opts[] = {
		{ "once", NULL, &a.once },
		{ "for", &a.for_text, NULL },
		{ "always", NULL, &a.always },
		{ "reason", &a.reason, NULL },
		{ NULL, NULL, NULL },
	};

	return answer(cli, argc, argv, opts, &a);
}

static int run_block(struct cli *cli, int argc, char **argv)
{
	struct answering a = { 0 };
	const struct cli_option opts[] = {
		{ "kill", NULL, &a.kill },
		{ "reason", &a.reason, NULL },
		{ NULL, NULL, NULL },
	};

	return answer(cli, argc, argv, opts, &a);
}

const struct cli_command cmd_allow = {
	.name = "allow",
	.args = "PID | TOKEN [--once | --for TIME | --always] [--reason TEXT]",
	.summary = "let what is held go on",
	.help = "TOKEN is one of oknek pending; PID means all that this process has held, and is tried\n"
		"as a token if it has nothing.\n"
		"  --once         this once: the default\n"
		"  --for TIME     the same to that tree by these rules, too, for so long (10m, 2h): the\n"
		"                 same file, or the same program with the same arguments\n"
		"  --always       that file, to all trees of that agent, by an exception in\n"
		"                 oknek.yaml.d/90-operator.yaml\n"
		"  --reason TEXT  why: for the evidence and the exception\n",
	.run = run_allow,
};

const struct cli_command cmd_block = {
	.name = "block",
	.args = "PID | TOKEN [--kill] [--reason TEXT]",
	.summary = "deny what is held, and the same from now on",
	.help = "TOKEN is one of oknek pending; PID means all that this process has held, and is tried\n"
		"as a token if it has nothing. The same file, or program with the same arguments, is\n"
		"refused to that tree until it is unwatched.\n"
		"  --kill         end the process that was held, and no other\n"
		"  --reason TEXT  why: for the evidence\n",
	.run = run_block,
};
