/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/field.h"
#include "rules/rules.h"
#include "tools/cli.h"

#define LINT_FILE_MAX (16u << 20) /* bytes; the loader has a lower bound of its own */

struct listing {
	const struct cli *cli;
	struct cli_table table;
	unsigned n;
};

static void rule_name(const json_t *item, char *buf, size_t size)
{
	const char *part = cli_str(item, "part");

	snprintf(buf, size, "%s%s%s", cli_str(item, "id"), *part ? "/" : "", part);
}

static int take_row(void *arg, json_t *item, const char *text)
{
	struct listing *l = arg;
	char rule[128];

	l->n++;
	if (l->cli->json)
		return cli_json_line(l->cli, item, text);
	rule_name(item, rule, sizeof(rule));
	cli_table_add(&l->table,
		      (const char *[]){ rule, cli_str(item, "action"), cli_str(item, "mechanism"),
					cli_str(item, "kind"), cli_str(item, "name"),
					cli_str(item, "pack"), cli_str(item, "why") });
	return 0;
}

static void print_source(const char *text)
{
	putchar('\n');
	while (*text) {
		const char *end = strchrnul(text, '\n');
		_cleanup_free_ char *line = cli_escape(text, (size_t)(end - text));

		puts(line);
		text = *end ? end + 1 : end;
	}
}

static int take_all(void *arg, json_t *item, const char *text)
{
	struct listing *l = arg;
	char rule[128];

	if (l->cli->json) {
		l->n++;
		return cli_json_line(l->cli, item, text);
	}
	rule_name(item, rule, sizeof(rule));
	if (l->n++)
		putchar('\n');
	cli_field(l->cli, "rule", "%s, version %lld", rule, (long long)cli_int(item, "version"));
	cli_field(l->cli, "name", "%s", cli_str(item, "name"));
	cli_field(l->cli, "kind", "%s", cli_str(item, "kind"));
	cli_field(l->cli, "action", "%s by %s%s%s", cli_str(item, "action"),
		  cli_str(item, "mechanism"), *cli_str(item, "why") ? ": " : "",
		  cli_str(item, "why"));
	cli_field(l->cli, "from", "%s, %s:%lld", cli_str(item, "pack"), cli_str(item, "file"),
		  (long long)cli_int(item, "line"));
	if (*cli_str(item, "source"))
		print_source(cli_str(item, "source"));
	return 0;
}

static int list(struct cli *cli)
{
	struct listing l = { .cli = cli, .table.columns = 7 };
	int r;

	cli_table_add(&l.table, (const char *[]){ "RULE", "ACTION", "BY", "KIND", "NAME", "FROM",
						  "NOTE" });
	r = cli_ask(cli, json_pack("{s:s}", "cmd", "rules"), CLI_TIMEOUT_MS, take_row, &l, NULL);
	if (r == CLI_DONE && !cli->json)
		cli_table_print(cli, &l.table);
	cli_table_free(&l.table);
	return r == CLI_DONE ? cli_flush() : r;
}

static int show(struct cli *cli, const char *id)
{
	struct listing l = { .cli = cli };
	int r = cli_ask(cli, json_pack("{s:s,s:s}", "cmd", "rules", "id", id), CLI_TIMEOUT_MS,
			take_all, &l, NULL);

	if (r == CLI_DONE && l.n == 0) {
		cli_error("no rule %s is loaded", id);
		return CLI_FAILED;
	}
	return r == CLI_DONE ? cli_flush() : r;
}

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

static int fields(struct cli *cli)
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

static int read_file(const char *path, char **ret, size_t *len)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *data = NULL;
	size_t size = 0, n = 0;

	if (!f)
		return -errno;
	do {
		char *p;

		size = size ? size * 2 : 65536;
		p = realloc(data, size);
		if (!p)
			return -ENOMEM;
		data = p;
		n += fread(data + n, 1, size - n, f);
	} while (n == size && size < LINT_FILE_MAX);
	if (ferror(f))
		return errno ? -errno : -EIO;
	*ret = TAKE_PTR(data);
	*len = n;
	return 0;
}

/* CLI_DONE, CLI_FOUND, CLI_FAILED. */
static int lint_file(const struct cli *cli, const char *path)
{
	_cleanup_free_ char *data = NULL;
	const char *const no_dirs[] = { NULL };
	struct rules_config config = { .dirs = no_dirs, .pack = "lint" };
	struct rules_error err = { "" };
	struct ruleset *rs = NULL;
	size_t len = 0, n = 0;
	int r = read_file(path, &data, &len);

	if (r < 0) {
		cli_error("cannot read %s: %s", path, strerror(-r));
		return CLI_FAILED;
	}
	for (unsigned k = 0; k < KIND_COUNT; k++)
		config.mechanisms[k] = (1u << MECH_COUNT) - 1;
	r = ruleset_load_buffer(path, data, len, &config, &rs, &err);
	if (r < 0 && !err.text[0])
		snprintf(err.text, sizeof(err.text), "%s: %s", path, strerror(-r));
	if (r == 0)
		n = ruleset_count(rs);
	ruleset_unref(rs);
	if (cli->json) {
		_cleanup_free_ char *name = cli_escape(path, strlen(path));
		_cleanup_free_ char *text = cli_escape(err.text, strlen(err.text));
		_cleanup_json_ json_t *j = json_pack("{s:s,s:b,s:I,s:s}", "file", name, "ok",
						     r == 0, "rules", (json_int_t)n, "error", text);

		cli_json_line(cli, j, NULL);
	} else if (r < 0) {
		cli_text(err.text);
		putchar('\n');
	} else {
		cli_text(path);
		printf(": %zu rule%s, nothing to say\n", n, n == 1 ? "" : "s");
	}
	return r < 0 ? CLI_FOUND : CLI_DONE;
}

static int lint(struct cli *cli, char **files)
{
	int worst = CLI_DONE;

	for (; *files; files++) {
		int r = lint_file(cli, *files);

		worst = r > worst ? r : worst;
	}
	return cli_flush() == CLI_DONE ? worst : CLI_FAILED;
}

static int run(struct cli *cli, int argc, char **argv)
{
	int n = cli_options(cli, argc, argv, NULL, false);
	const char *what;

	if (n < 0)
		return n == CLI_HELP ? CLI_DONE : CLI_FAILED;
	what = n > 0 ? argv[1] : "list";
	if (!strcmp(what, "lint"))
		return n > 1 ? lint(cli, argv + 2) : cli_usage(cli, "lint needs a FILE");
	if (!strcmp(what, "show"))
		return cli_positional(cli, n, 2, 2) ? show(cli, argv[2]) : CLI_FAILED;
	if (!cli_positional(cli, n, 0, 1))
		return CLI_FAILED;
	if (!strcmp(what, "list"))
		return list(cli);
	if (!strcmp(what, "fields"))
		return fields(cli);
	return cli_usage(cli, "rules %s does not exist: list, show ID, fields, lint FILE…", what);
}

const struct cli_command cmd_rules = {
	.name = "rules",
	.args = "[list | show ID | fields | lint FILE…]",
	.summary = "the rules that serve, and checks of rule files",
	.help = "  list           what is loaded, and by which mechanism it is held here (default)\n"
		"  show ID        R3, or R3/aws: all about it\n"
		"  fields         what rules can match and capture\n"
		"  lint FILE…     would these files load? Asks no daemon; exits with 1 if not\n",
	.run = run,
};
