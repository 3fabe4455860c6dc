/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli.h"

/* Characters of the longest dotted name in obj. */
static int name_width(const json_t *obj)
{
	int most = 0;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)obj, key, v) {
		int n = (int)strlen(key) + (json_is_object(v) ? 1 + name_width(v) : 0);

		most = n > most ? n : most;
	}
	return most < 32 ? most : 32;
}

/* Nested objects as dotted names: readable, and found by grep. */
static void print_tree(const struct cli *cli, const char *prefix, int width, const json_t *obj)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)obj, key, v) {
		_cleanup_free_ char *name = NULL;
		_cleanup_free_ char *text = NULL;

		if (asprintf(&name, "%s%s%s", prefix, *prefix ? "." : "", key) < 0) {
			name = NULL;
			return;
		}
		if (json_is_object(v)) {
			print_tree(cli, name, width, v);
			continue;
		}
		if (!json_is_string(v))
			text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
		/* Keys are the daemon's own names, but for those of what was captured. */
		char *safe = cli_escape(name, strlen(name));

		cli_printf(cli, CLI_BOLD, "%-*s", width, safe);
		free(safe);
		putchar(' ');
		cli_text(text ? text : json_string_value(v));
		putchar('\n');
	}
}

struct reader {
	int64_t seq;
	char *line;
};

static int take_reader(void *arg, json_t *item, const char *text)
{
	struct reader *r = arg;
	const char *line = json_string_value(json_object_get(item, "readers_line"));

	(void)text;
	if (cli_int(item, "seq") == r->seq && line && !r->line)
		r->line = strdup(line);
	return 0;
}

/* The one line of oknek.yaml that would let this helper through, where there is one. */
static void print_reader(const struct cli *cli, int width, const json_t *record)
{
	struct reader r = { .seq = cli_int(record, "seq") };
	int64_t pid = cli_int(json_object_get(record, "process"), "pid");
	const char *verdict = cli_str(record, "verdict");

	if (pid > 0 && (!strcmp(verdict, "block") || !strcmp(verdict, "would_block")) &&
	    cli_ask(cli, json_pack("{s:s,s:I}", "cmd", "why", "pid", (json_int_t)pid),
		    CLI_TIMEOUT_MS, take_reader, &r, NULL) == CLI_DONE &&
	    r.line) {
		cli_printf(cli, CLI_BOLD, "%-*s", width, "(let through by)");
		putchar(' ');
		cli_text(r.line);
		putchar('\n');
	}
	free(r.line);
}

static int run(struct cli *cli, int argc, char **argv)
{
	_cleanup_json_ json_t *record = NULL;
	int r = cli_options(cli, argc, argv, NULL, false);
	int64_t seq;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 1, 1))
		return CLI_FAILED;
	if (cli_parse_number(argv[1], 1, INT64_MAX, &seq) < 0)
		return cli_usage(cli, "\"%s\" is no record number", argv[1]);
	r = cli_ask(cli, json_pack("{s:s,s:I}", "cmd", "show", "seq", (json_int_t)seq),
		    CLI_TIMEOUT_MS, NULL, NULL, &record);
	if (r != CLI_DONE)
		return r;
	if (cli->json) {
		cli_json_line(cli, record, NULL);
		return cli_flush();
	}
	cli_event_line(cli, record);
	putchar('\n');
	print_tree(cli, "", name_width(record), record);
	print_reader(cli, name_width(record), record);
	return cli_flush();
}

const struct cli_command cmd_show = {
	.name = "show",
	.args = "SEQ",
	.summary = "one record of evidence, all of it",
	.run = run,
};
