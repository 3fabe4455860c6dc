/* SPDX-License-Identifier: Apache-2.0 */
/* `oknek rules list`, `show` and `explain`: what the daemon serves, or what files say. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli_rules.h"

struct listing {
	struct cli *cli;
	struct cli_table table;
	unsigned n;
};

static void about_cleanup(struct rule_about **a)
{
	rule_about_free(*a);
}

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

int rules_list(struct cli *cli)
{
	struct listing l = { .cli = cli, .table.columns = 7 };
	_cleanup_json_ json_t *res = NULL;
	const json_t *pack;
	int r;

	cli_table_add(&l.table, (const char *[]){ "RULE", "ACTION", "BY", "KIND", "NAME", "FROM",
						  "NOTE" });
	r = cli_ask(cli, json_pack("{s:s}", "cmd", "rules"), CLI_TIMEOUT_MS, take_row, &l, &res);
	if (r == CLI_DONE && !cli->json)
		cli_table_print(cli, &l.table);
	pack = json_object_get(res, "pack");
	if (r == CLI_DONE && !cli->json && json_is_object(pack))
		printf("%s %s %s on %.10s\n", cli_str(pack, "name"), cli_str(pack, "version"),
		       json_is_true(json_object_get(pack, "expired")) ? "expired" : "expires",
		       cli_str(pack, "expires"));
	cli_table_free(&l.table);
	return r == CLI_DONE ? cli_flush() : r;
}

/* ---- what a rule says of itself ------------------------------------------------------------- */

/* Under the names that a rule file has for them. */
static void add_about(json_t *item)
{
	_cleanup_(about_cleanup) struct rule_about *a = NULL;
	json_t *authors = json_array(), *references = json_array(), *techniques = json_array();

	rule_about_parse(cli_str(item, "source"), &a);
	for (unsigned i = 0; a && i < a->n_authors; i++)
		json_array_append_new(authors, json_string(a->authors[i]));
	for (unsigned i = 0; a && i < a->n_references; i++)
		json_array_append_new(references,
				      json_pack("{s:s, s:s}", "url", a->references[i].url, "label",
						a->references[i].label));
	for (unsigned i = 0; a && i < a->n_techniques; i++)
		json_array_append_new(techniques, json_pack("{s:s}", a->techniques[i].catalogue,
							    a->techniques[i].entry));
	json_object_set_new(item, "authors", authors);
	json_object_set_new(item, "references", references);
	json_object_set_new(item, "attack_techniques", techniques);
}

static void print_lines(const char *text)
{
	while (*text) {
		const char *end = strchrnul(text, '\n');
		_cleanup_free_ char *line = cli_escape(text, (size_t)(end - text));

		puts(line);
		text = *end ? end + 1 : end;
	}
}

static void print_about(const struct cli *cli, const json_t *item)
{
	size_t i;
	json_t *v, *entry;
	const char *catalogue;

	json_array_foreach(json_object_get(item, "authors"), i, v)
		cli_field(cli, "author", "%s", json_string_value(v));
	json_array_foreach(json_object_get(item, "references"), i, v)
		cli_field(cli, "reference", "%s%s%s", cli_str(v, "url"),
			  *cli_str(v, "label") ? "  " : "", cli_str(v, "label"));
	json_array_foreach(json_object_get(item, "attack_techniques"), i, v)
		json_object_foreach(v, catalogue, entry)
			cli_field(cli, "technique", "%s %s", catalogue, json_string_value(entry));
}

static void print_default(const struct cli *cli, const json_t *item, const char *what)
{
	char key[40];
	const json_t *shipped, *by;

	snprintf(key, sizeof(key), "%s_overridden", what);
	by = json_object_get(item, key);
	snprintf(key, sizeof(key), "%s_default", what);
	shipped = json_object_get(item, key);
	if (!json_is_string(by))
		return;
	if (json_is_integer(shipped))
		cli_field(cli, "", "the rule says %lld; %s set it", (long long)json_integer_value(shipped),
			  json_string_value(by));
	else
		cli_field(cli, "", "the rule says %s; %s set it", json_string_value(shipped),
			  json_string_value(by));
}

/* What this host says about the rule. */
static void print_exceptions(const struct cli *cli, const json_t *item)
{
	const json_t *e;
	size_t i;

	json_array_foreach(json_object_get(item, "exceptions"), i, e) {
		const char *expires = cli_str(e, "expires");

		cli_field(cli, "exception", "%s", cli_str(e, "reason"));
		cli_field(cli, "", "by %s, %s%s, %s:%lld", cli_str(e, "author"),
			  json_is_true(json_object_get(e, "expired")) ? "EXPIRED " :
			  *expires				      ? "until " :
									"without an end",
			  expires, cli_str(e, "file"), (long long)cli_int(e, "line"));
	}
	if (i)
		cli_field(cli, "", "let through since the rules were read: %lld",
			  (long long)cli_int(item, "let_through"));
}

static int take_all(void *arg, json_t *item, const char *text)
{
	struct listing *l = arg;
	char rule[128];

	(void)text;
	add_about(item);
	if (l->cli->json) {
		l->n++;
		return cli_json_line(l->cli, item, NULL);
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
	print_default(l->cli, item, "action");
	if (json_is_integer(json_object_get(item, "threshold")))
		cli_field(l->cli, "threshold", "%lld", (long long)cli_int(item, "threshold"));
	print_default(l->cli, item, "threshold");
	print_exceptions(l->cli, item);
	cli_field(l->cli, "from", "%s, %s:%lld", cli_str(item, "pack"), cli_str(item, "file"),
		  (long long)cli_int(item, "line"));
	print_about(l->cli, item);
	if (*cli_str(item, "source")) {
		putchar('\n');
		print_lines(cli_str(item, "source"));
	}
	return 0;
}

static int take_explained(void *arg, json_t *item, const char *text)
{
	struct listing *l = arg;
	const char *explain = cli_str(item, "explain");

	(void)text;
	if (l->cli->json) {
		add_about(item);
		l->n++;
		return cli_json_line(l->cli, item, NULL);
	}
	if (l->n++)
		putchar('\n');
	print_lines(*explain ? explain : "this daemon cannot explain its rules: it is of an older version");
	return 0;
}

static int ask_about(struct cli *cli, const char *id, cli_item_fn take)
{
	struct listing l = { .cli = cli };
	int r = cli_ask(cli, json_pack("{s:s,s:s}", "cmd", "rules", "id", id), CLI_TIMEOUT_MS, take,
			&l, NULL);

	if (r == CLI_DONE && l.n == 0) {
		cli_error("no rule %s is loaded", id);
		return CLI_FAILED;
	}
	return r == CLI_DONE ? cli_flush() : r;
}

int rules_show(struct cli *cli, const char *id)
{
	return ask_about(cli, id, take_all);
}

/* ---- without a daemon ----------------------------------------------------------------------- */

static json_t *item_of(const struct ruleset *rs, size_t i)
{
	const struct rule *r = ruleset_rule(rs, i);
	_cleanup_free_ char *explain = NULL;

	if (rules_describe(rs, i, &explain))
		return NULL;
	return json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:i, s:s, s:o}", "id",
			 r->id, "part", r->part, "version", (int)r->version, "name", r->name, "kind",
			 event_kind_name(r->kind), "action", verdict_name(r->action), "mechanism",
			 mechanism_name(r->mechanism), "why", r->bound_why, "pack", r->pack, "file",
			 rules_json_text(r->file), "line", (int)r->line, "source",
			 ruleset_source(rs, i), "explain", rules_json_text(explain));
}

static void config_cleanup(struct config **c)
{
	config_free(*c);
}

static int explain_files(struct cli *cli, const char *id, const struct rules_options *o)
{
	_cleanup_(rules_unref_cleanup) struct ruleset *rs = NULL;
	_cleanup_(config_cleanup) struct config *site = NULL;
	char *const paths[] = { (char *)o->rules, NULL };
	struct listing l = { .cli = cli };
	int r = o->config ? rules_config_load(o->config, &site) : CLI_DONE;

	if (r == CLI_DONE)
		r = rules_load_paths(paths, site, &rs);
	if (r != CLI_DONE)
		return r;
	for (size_t i = 0; i < ruleset_count(rs); i++) {
		const struct rule *rule = ruleset_rule(rs, i);
		_cleanup_json_ json_t *item = NULL;

		if (!rule_is_named(rule, id, NULL))
			continue;
		item = item_of(rs, i);
		if (!item) {
			cli_error("out of memory");
			return CLI_FAILED;
		}
		take_explained(&l, item, NULL);
	}
	if (l.n == 0) {
		cli_error("there is no rule %s in %s", id, o->rules);
		return CLI_FAILED;
	}
	return cli_flush();
}

int rules_explain(struct cli *cli, const char *id, const struct rules_options *o)
{
	if (o->config && !o->rules)
		return cli_usage(cli, "--config is for --rules: a daemon knows its own");
	return o->rules ? explain_files(cli, id, o) : ask_about(cli, id, take_explained);
}
