/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence in one line, and in words that the one who was stopped can act on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/cleanup.h"
#include "tools/cli.h"

struct label {
	const char *key, *text;
	enum cli_colour colour;
};

static const struct label verdicts[] = {
	{ "block", "BLOCK", CLI_RED },
	{ "warn", "WARN", CLI_YELLOW },
	{ "would_block", "WOULD-BLOCK", CLI_YELLOW },
	{ "detected", "DETECTED", CLI_CYAN },
	{ "allow", "ALLOW", CLI_GREEN },
	{ NULL, NULL, CLI_PLAIN },
};

/* Records of oknek's own. */
static const struct label own[] = {
	{ "O1", "GAP", CLI_YELLOW },
	{ "O2", "OPERATOR", CLI_CYAN },
	{ "O3", "PROOF", CLI_DIM },
	{ NULL, NULL, CLI_PLAIN },
};

static const struct label *find_label(const struct label *l, const char *key)
{
	for (; l->key; l++)
		if (!strcmp(l->key, key))
			return l;
	return NULL;
}

/* "credential read" as one word. */
static void print_name(const char *name)
{
	_cleanup_free_ char *e = cli_escape(name, strlen(name));

	for (char *p = e; *p; p++)
		putchar(*p == ' ' ? '-' : *p);
}

static void print_value(const json_t *v)
{
	_cleanup_free_ char *text = NULL;

	if (json_is_string(v)) {
		cli_text(json_string_value(v));
		return;
	}
	text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	if (text)
		cli_text(text);
}

/* In quotes where a value could be taken for two, or for another key. */
static void print_quoted(const json_t *v)
{
	const char *s = json_string_value(v);
	_cleanup_free_ char *text = NULL;

	if (!s || (*s && !strpbrk(s, " \"="))) {
		print_value(v);
		return;
	}
	text = json_dumps(v, JSON_ENCODE_ANY);
	if (text)
		cli_text(text);
}

/* key=value of what was captured; of an object, its own keys. */
static void print_capture(const json_t *capture)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)capture, key, v) {
		if (json_is_object(v)) {
			print_capture(v);
			continue;
		}
		putchar(' ');
		cli_text(key);
		putchar('=');
		print_quoted(v);
	}
}

/* What it was done to: path, command or destination, whichever kind it is. */
static void print_object(const json_t *record, const json_t *capture, uid_t uid)
{
	const char *path = cli_str(capture, "path");
	const char *host = cli_str(capture, "dest_host");

	if (*path) {
		_cleanup_free_ char *tilde = cli_tilde(path, uid);

		cli_text(tilde);
	} else if (*cli_str(capture, "bash_command")) {
		cli_text(cli_str(capture, "bash_command"));
	} else if (*cli_str(capture, "argv")) {
		cli_text(cli_str(capture, "argv"));
	} else if (*cli_str(capture, "dest_path")) {
		cli_text(cli_str(capture, "dest_path"));
	} else if (!strcmp(cli_str(capture, "egress"), "raw")) {
		fputs("a raw socket", stdout);
	} else if (*host || *cli_str(capture, "dest_ip")) {
		bool v6 = !*host && strchr(cli_str(capture, "dest_ip"), ':');

		cli_text(v6 ? "[" : "");
		cli_text(*host ? host : cli_str(capture, "dest_ip"));
		cli_text(v6 ? "]" : "");
		if (json_object_get(capture, "dest_port")) {
			putchar(':');
			print_value(json_object_get(capture, "dest_port"));
		}
	} else {
		cli_text(cli_str(record, "kind"));
	}
}

static void print_outcome(const json_t *record)
{
	const char *error = cli_errno_name(json_object_get(record, "errno"));
	const char *outcome = cli_str(record, "outcome");
	const char *by = cli_str(record, "decided_by");
	const char *mechanism = cli_str(record, "mechanism");
	const char *source = cli_str(record, "source");

	if (*error)
		cli_text(error);
	else if (!strcmp(outcome, "gone"))
		cli_text("gone before the answer");
	else if (!strcmp(outcome, "unknown"))
		cli_text("outcome unknown");
	else if (!strcmp(outcome, "observed"))
		cli_text("not stopped");
	else
		cli_text(outcome);
	if (*error || !strcmp(outcome, "denied") || !strcmp(outcome, "allowed") ||
	    !strcmp(outcome, "killed")) {
		if (*mechanism && strcmp(mechanism, "detect") != 0) {
			fputs(" via ", stdout);
			cli_text(mechanism);
		}
	} else if (*source) {
		fputs(", seen by ", stdout);
		cli_text(source);
	}
	if (*by && strcmp(by, "rule") != 0) {
		fputs(", decided by ", stdout);
		cli_text(by);
	}
}

/* Who operated, and without what says nothing: the command is the record's name mostly. */
static void print_operator(json_t *capture, const char *name)
{
	_cleanup_json_ json_t *rest = json_copy(capture);
	const json_t *caller = json_object_get(capture, "caller");

	json_object_del(rest, "caller");
	if (!strcmp(cli_str(capture, "command"), name))
		json_object_del(rest, "command");
	if (json_is_integer(json_object_get(capture, "more")) && cli_int(capture, "more") == 0)
		json_object_del(rest, "more");
	print_capture(rest);
	if (json_is_object(caller))
		printf("%sby uid %lld pid %lld%s", json_object_size(rest) > 0 ? "  " : " ",
		       (long long)cli_int(caller, "uid"), (long long)cli_int(caller, "pid"),
		       json_is_true(json_object_get(caller, "member")) ? ", watched" : "");
}

static void print_own(const struct cli *cli, const struct label *l, const json_t *record)
{
	const json_t *rule = json_object_get(record, "rule");

	cli_printf(cli, l->colour, "%s", l->text);
	putchar(' ');
	cli_text(cli_str(rule, "id"));
	putchar(' ');
	print_name(cli_str(rule, "name"));
	putchar(' ');
	if (!strcmp(l->key, "O2"))
		print_operator(json_object_get(record, "capture"), cli_str(rule, "name"));
	else
		print_capture(json_object_get(record, "capture"));
	putchar('\n');
}

void cli_event_line(const struct cli *cli, const json_t *record)
{
	const json_t *rule = json_object_get(record, "rule");
	const json_t *process = json_object_get(record, "process");
	const char *agent = cli_str(json_object_get(record, "agent"), "id");
	const struct label *l = find_label(own, cli_str(rule, "id"));
	char when[32] = "??:??:??";
	int64_t t;

	if (cli_json_time(json_object_get(record, "time"), &t) == 0)
		cli_time(t, cli->now, when);
	printf("%s ", when);
	if (l) {
		print_own(cli, l, record);
		return;
	}
	l = find_label(verdicts, cli_str(record, "verdict"));
	if (l)
		cli_printf(cli, l->colour, "%s", l->text);
	else
		cli_text(cli_str(record, "verdict"));
	putchar(' ');
	cli_text(cli_str(rule, "id"));
	putchar(' ');
	print_name(cli_str(rule, "name"));
	putchar(' ');
	print_object(record, json_object_get(record, "capture"),
		     (uid_t)cli_int(process, "uid"));
	fputs("  ", stdout);
	cli_text(*agent ? agent : "-");
	printf("  pid %lld ", (long long)cli_int(process, "pid"));
	cli_text(cli_str(process, "comm"));
	fputs("  ", stdout);
	print_outcome(record);
	putchar('\n');
}

/* --- why ------------------------------------------------------------------------------------- */

/* "oknek denied /usr/bin/cat (pid 4711) reading ~/.aws/credentials" */
static void why_act(const json_t *item)
{
	static const struct label acts[] = {
		{ "block", "denied", CLI_PLAIN },
		{ "would_block", "would have denied (it only observes now)", CLI_PLAIN },
		{ "warn", "let pass, but noted,", CLI_PLAIN },
		{ "detected", "saw, but could not stop,", CLI_PLAIN },
		{ NULL, NULL, CLI_PLAIN },
	};
	const json_t *process = json_object_get(item, "process");
	const struct label *l = find_label(acts, cli_str(item, "verdict"));
	const char *exe = cli_str(process, "exe");
	_cleanup_free_ char *tilde =
		cli_tilde(cli_str(item, "path"), (uid_t)cli_int(process, "uid"));

	fputs("oknek ", stdout);
	if (!strcmp(cli_str(item, "outcome"), "killed"))
		cli_text("killed");
	else
		cli_text(l ? l->text : cli_str(item, "verdict"));
	putchar(' ');
	cli_text(*exe ? exe : cli_str(process, "comm"));
	printf(" (pid %lld)", (long long)cli_int(process, "pid"));
	if (*tilde) {
		fputs(" opening ", stdout);
		cli_text(tilde);
	} else if (*cli_str(item, "dest")) {
		fputs(" connecting to ", stdout);
		cli_text(cli_str(item, "dest"));
	} else if (*cli_str(item, "command")) {
		fputs(" running ", stdout);
		cli_text(cli_str(item, "command"));
	}
}

static void why_rule(const json_t *item)
{
	const char *part = cli_str(item, "part");

	fputs(": rule ", stdout);
	cli_text(cli_str(item, "rule"));
	if (*part) {
		putchar('/');
		cli_text(part);
	}
	fputs(" (", stdout);
	cli_text(cli_str(item, "name"));
	fputs(").", stdout);
}

static void why_advice(const json_t *item)
{
	const char *advice = cli_str(item, "advice");
	const char *line = cli_str(item, "readers_line");
	bool denied = !strcmp(cli_str(item, "verdict"), "block");

	if (*advice) {
		putchar(' ');
		cli_text(advice);
		return;
	}
	if (denied)
		printf(" The call failed with \"Operation not permitted\". Do not retry, and do not look for "
		       "another %s. Go on without it, or ask the user to run the command themselves, outside "
		       "the agent",
		       /* Which knows a file by its name alone. */
		       !strcmp(cli_str(item, "mechanism"), "preload") ? "way to the file" :
		       "path to the file: the file itself is protected, its other names and links too");
	else if (!strcmp(cli_str(item, "verdict"), "would_block"))
		fputs(" In enforce mode this call fails with \"Operation not permitted\": do not "
		      "build on it. Ask the user for what is needed from the file", stdout);
	else
		fputs(" Nothing was stopped. The user sees this in `oknek events`: prefer to ask "
		      "before reading such a file", stdout);
	putchar('.');
	if (*line) {
		fputs(" Should every agent be able to read it by this program, an administrator adds "
		      "this line to /etc/oknek/oknek.yaml: ",
		      stdout);
		cli_text(line);
	}
}

bool cli_why_same_advice(const json_t *a, const json_t *b)
{
	static const char *const keys[] = { "verdict", "mechanism", "readers_line", "advice" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(cli_str(a, keys[i]), cli_str(b, keys[i])) != 0)
			return false;
	return true;
}

static void why_line(const struct cli *cli, const json_t *item, bool advice)
{
	char when[32] = "";
	int64_t t;

	if (cli_json_time(json_object_get(item, "time"), &t) == 0)
		cli_time(t, cli->now, when);
	cli_printf(cli, CLI_BOLD, "%s", when);
	putchar(' ');
	why_act(item);
	why_rule(item);
	if (advice)
		why_advice(item);
	putchar('\n');
}

void cli_why_text(const struct cli *cli, const json_t *item)
{
	why_line(cli, item, true);
}

void cli_why_fact(const struct cli *cli, const json_t *item)
{
	why_line(cli, item, false);
}

/* --- filters ----------------------------------------------------------------------------------- */

static int set_number(const struct cli *cli, json_t *req, const char *key, const char *s)
{
	int64_t v;

	if (!s)
		return 0;
	if (cli_parse_number(s, 0, INT32_MAX, &v) < 0) {
		cli_usage(cli, "--%s takes a number, not \"%s\"", key, s);
		return -EINVAL;
	}
	return json_object_set_new(req, key, json_integer(v));
}

static int set_string(const struct cli *cli, json_t *req, const char *key, const char *s)
{
	if (!s)
		return 0;
	if (json_object_set_new(req, key, json_string(s)) == 0)
		return 0;
	cli_usage(cli, "--%s takes text in UTF-8", key);
	return -EINVAL;
}

/* "would-block" and "WOULD-BLOCK", as the lines have it, are "would_block". */
static int set_verdict(const struct cli *cli, json_t *req, const char *s)
{
	for (const struct label *l = verdicts; s && l->key; l++)
		if (!strcasecmp(s, l->text) || !strcasecmp(s, l->key))
			return json_object_set_new(req, "verdict", json_string(l->key));
	if (!s)
		return 0;
	cli_usage(cli, "--verdict is one of block, warn, would-block, detected, allow");
	return -EINVAL;
}

json_t *cli_filter_request(const struct cli *cli, const struct cli_filter *f)
{
	_cleanup_json_ json_t *req = json_pack("{s:s}", "cmd", "events");
	int64_t since;

	if (f->since) {
		if (cli_parse_since(f->since, cli->now, &since) < 0) {
			cli_usage(cli,
				  "--since is a time ago (10m, 2h, 3d), HH:MM, or YYYY-MM-DD[THH:MM]");
			return NULL;
		}
		json_object_set_new(req, "since", json_integer(since));
	}
	if (set_number(cli, req, "limit", f->limit) < 0 || set_number(cli, req, "pid", f->pid) < 0 ||
	    set_string(cli, req, "rule", f->rule) < 0 ||
	    set_string(cli, req, "agent", f->agent) < 0 || set_verdict(cli, req, f->verdict) < 0)
		return NULL;
	return TAKE_PTR(req);
}
