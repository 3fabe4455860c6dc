/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/field.h"
#include "tools/cli_rules.h"

/* "exec_observed file_opened", or "all". malloc'd. */
static char *kinds_text(unsigned kinds)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	if ((kinds & ((1u << KIND_COUNT) - 1)) == (1u << KIND_COUNT) - 1)
		fputs("all", f);
	else
		for (unsigned k = 0; k < KIND_COUNT; k++)
			if (kinds & 1u << k)
				fprintf(f, "%s%s", ftell(f) > 0 ? " " : "",
					event_kind_name((enum event_kind)k));
	fclose(f);
	return text;
}

int rules_fields(struct cli *cli)
{
	static const char *const types[] = {
		[FIELD_TYPE_STRING] = "string",	  [FIELD_TYPE_PATH] = "path",
		[FIELD_TYPE_NUMBER] = "number",	  [FIELD_TYPE_ADDRESS] = "address",
		[FIELD_TYPE_TIME] = "time",	  [FIELD_TYPE_OBJECT] = "object",
	};
	struct cli_table t = { .columns = 4 };

	cli_table_add(&t, (const char *[]){ "FIELD", "TYPE", "KINDS", "MEANING" });
	for (unsigned i = 0; i < FIELD_COUNT; i++) {
		const struct field_info *f = field_info((enum field_id)i);
		_cleanup_free_ char *kinds = kinds_text(f->kinds);

		if (cli->json) {
			_cleanup_json_ json_t *j =
				json_pack("{s:s,s:s,s:s,s:s}", "name", f->name, "type",
					  types[f->type], "kinds", kinds ? kinds : "", "meaning",
					  f->meaning);

			cli_json_line(cli, j, NULL);
			continue;
		}
		cli_table_add(&t, (const char *[]){ f->name, types[f->type], kinds, f->meaning });
	}
	if (!cli->json)
		cli_table_print(cli, &t);
	cli_table_free(&t);
	return cli_flush();
}

/* ---- subcommands ---------------------------------------------------------------------------- */

enum { OF_TEST = 1, OF_LINT = 2, OF_EXPLAIN = 4 };

static const struct sub {
	struct cli_command command; /* for its help and for messages */
	unsigned options;	    /* which it takes: OF_… */
	int min, max;		    /* arguments */
} subs[] = {
	{ { .name = "rules list", .args = "",
	    .summary = "the rules that serve, and by which mechanism each is held here" },
	  0, 0, 0 },
	{ { .name = "rules show", .args = "ID",
	    .summary = "all about a rule: R3 with all its parts, or R3/aws" },
	  0, 1, 1 },
	{ { .name = "rules fields", .args = "",
	    .summary = "what rules can match and capture, for which kinds of event" },
	  0, 0, 0 },
	{ { .name = "rules explain", .args = "[--rules FILE|DIR [--config FILE]] ID",
	    .summary = "in sentences: what a rule watches, when it fires, what it does here",
	    .help = "  --rules FILE|DIR   of these rules; asks no daemon\n"
		    "  --config FILE      with the overrides and exceptions of this oknek.yaml\n" },
	  OF_EXPLAIN, 1, 1 },
	{ { .name = "rules lint", .args = "[--any-host] [--site] FILE…",
	    .summary = "would these files load, and do they say what is meant? Asks no daemon",
	    .help = "A FILE may be a folder. Exits with 1 when there is an error or a warning.\n"
		    "  --any-host   not what this host cannot hold\n"
		    "  --site       these are for rules.d: ids must begin with X\n" },
	  OF_LINT, 1, -1 },
	{ { .name = "rules test", .args = "(--event JSON | --events FILE) [--config FILE] FILE…",
	    .summary = "what the rules of these files decide, and by which comparison",
	    .help = "A FILE may be a folder. Asks no daemon and needs no privilege.\n"
		    "  --event JSON    one event, as in {\"kind\":\"file_opened\",\"path\":\"/x\"}\n"
		    "  --events FILE   one event on each line; - is the standard input\n"
		    "  --config FILE   with the overrides and exceptions of this oknek.yaml\n"
		    "  --rule ID       tell about this rule only\n"
		    "  --all           tell about all rules that did not fire\n"
		    "An event may have \"expect\": \"block\", \"warn\" or \"allow\". Exits with 1 when\n"
		    "an expectation is not met; where nothing is expected, when a rule fired.\n" },
	  OF_TEST, 1, -1 },
};

/* The first word that is neither an option nor an option's value. */
static const char *first_word(char **argv)
{
	static const char *const with_value[] = { "--run-dir", "--event",  "--events", "--config",
						  "--rule",    "--rules" };

	for (argv++; *argv; argv++) {
		bool value = false;

		if (!strcmp(*argv, "--"))
			return argv[1];
		if (**argv != '-' || !(*argv)[1])
			return *argv;
		for (size_t i = 0; i < ARRAY_SIZE(with_value); i++)
			value |= !strcmp(*argv, with_value[i]);
		if (value && argv[1])
			argv++;
	}
	return NULL;
}

static const struct sub *find_sub(const char *word)
{
	for (size_t i = 0; word && i < ARRAY_SIZE(subs); i++)
		if (!strcmp(subs[i].command.name + strlen("rules "), word))
			return &subs[i];
	return NULL;
}

/* Of options that are taken once the last would win, and what the others say be lost. */
static bool given_twice(const struct cli *cli, char **argv, const char *option)
{
	size_t len = strlen(option);
	unsigned n = 0;

	for (argv++; *argv && strcmp(*argv, "--"); argv++)
		n += !strncmp(*argv, option, len) && (!(*argv)[len] || (*argv)[len] == '=');
	if (n > 1)
		cli_usage(cli, "%s twice: --events FILE takes many", option);
	return n > 1;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const struct sub *sub = find_sub(first_word(argv));
	unsigned takes = sub ? sub->options : 0;
	struct rules_options o = { 0 };
	struct cli_option all[] = {
		{ "event", &o.event, NULL },   { "events", &o.events, NULL },
		{ "config", &o.config, NULL }, { "rule", &o.rule, NULL },
		{ "all", NULL, &o.all },       { NULL, NULL, NULL },
	};
	const struct cli_option lint[] = {
		{ "any-host", NULL, &o.any_host }, { "site", NULL, &o.site }, { NULL, NULL, NULL }
	};
	const struct cli_option explain[] = {
		{ "rules", &o.rules, NULL }, { "config", &o.config, NULL }, { NULL, NULL, NULL }
	};
	const char *what;
	int n;

	if (sub)
		cli->command = &sub->command;
	if (takes == OF_TEST && given_twice(cli, argv, "--event"))
		return CLI_FAILED;
	n = cli_options(cli, argc, argv,
			takes == OF_TEST ? all : takes == OF_LINT ? lint :
			takes == OF_EXPLAIN		    ? explain :
							      NULL, false);
	if (n < 0)
		return n == CLI_HELP ? CLI_DONE : CLI_FAILED;
	what = n > 0 ? argv[1] : "list";
	if (!sub && n > 0)
		return cli_usage(cli, "rules %s does not exist: list, show ID, explain ID, fields, "
				 "lint FILE…, test FILE…", what);
	if (sub && !cli_positional(cli, n - 1, sub->min, sub->max < 0 ? argc : sub->max))
		return CLI_FAILED;
	if (!strcmp(what, "lint"))
		return rules_lint_files(cli, argv + 2, &o);
	if (!strcmp(what, "test"))
		return rules_test(cli, argv + 2, &o);
	if (!strcmp(what, "show"))
		return rules_show(cli, argv[2]);
	if (!strcmp(what, "explain"))
		return rules_explain(cli, argv[2], &o);
	if (!strcmp(what, "fields"))
		return rules_fields(cli);
	return rules_list(cli);
}

const struct cli_command cmd_rules = {
	.name = "rules",
	.args = "[list | show ID | explain ID | fields | lint FILE… | test FILE…]",
	.summary = "the rules that serve, and tools for those who write them",
	.help = "  list           what is loaded, and by which mechanism it is held here (default)\n"
		"  show ID        R3, or R3/aws: all about it\n"
		"  explain ID     the same in sentences; --rules FILE: of a file\n"
		"  fields         what rules can match and capture\n"
		"  lint FILE…     would these files load, and do they say what is meant? Asks no\n"
		"                 daemon; exits with 1 if not\n"
		"  test FILE…     what they decide about --event '{…}' or --events FILE, and by which\n"
		"                 comparison; exits with 1 when a rule fired or an expectation failed\n"
		"oknek rules NAME --help says more.\n",
	.run = run,
};
