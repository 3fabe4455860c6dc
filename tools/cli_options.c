/* SPDX-License-Identifier: Apache-2.0 */
/* Options of all commands by one small parser, and the values they take. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/cli.h"

void cli_help(const struct cli_command *cmd, FILE *out)
{
	fprintf(out, "usage: oknek [--run-dir DIR] [--json] %s%s%s\n%s\n", cmd->name,
		cmd->args[0] ? " " : "", cmd->args, cmd->summary);
	if (cmd->help)
		fprintf(out, "\n%s", cmd->help);
}

/* The argument of --NAME or --NAME=VALUE when arg is that option: 1 and *value (NULL: the next
 * argument), 0 when it is another. */
static int option_is(const char *arg, const char *name, const char **value)
{
	size_t len = strlen(name);

	if (strncmp(arg + 2, name, len) != 0 || (arg[2 + len] && arg[2 + len] != '='))
		return 0;
	*value = arg[2 + len] ? arg + 2 + len + 1 : NULL;
	return 1;
}

static const struct cli_option *find_option(const struct cli_option *opts, const char *arg,
					    const char **value)
{
	for (; opts && opts->name; opts++)
		if (option_is(arg, opts->name, value))
			return opts;
	return NULL;
}

/* Handles argv[*i]; advances *i past a value. 0, CLI_HELP, CLI_USAGE. */
static int one_option(struct cli *cli, char **argv, int *i, const struct cli_option *opts)
{
	const struct cli_option common[] = {
		{ "json", NULL, &cli->json },
		{ "run-dir", &cli->run_dir, NULL },
		{ NULL, NULL, NULL },
	};
	const char *arg = argv[*i], *value = NULL;
	const struct cli_option *o;

	if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
		cli_help(cli->command, stdout);
		return CLI_HELP;
	}
	o = find_option(opts, arg, &value);
	if (!o)
		o = find_option(common, arg, &value);
	if (!o || arg[1] != '-') {
		cli_usage(cli, "unknown option %s", arg);
		return CLI_USAGE;
	}
	if (o->flag && value) {
		cli_usage(cli, "--%s takes no value", o->name);
		return CLI_USAGE;
	}
	if (o->flag) {
		*o->flag = true;
		return 0;
	}
	if (!value)
		value = argv[*i + 1] ? argv[++*i] : NULL;
	if (!value || !o->value) {
		cli_usage(cli, "--%s needs a value", o->name);
		return CLI_USAGE;
	}
	*o->value = value;
	return 0;
}

int cli_options(struct cli *cli, int argc, char **argv, const struct cli_option *opts,
		bool stop_early)
{
	int n = 0, i, r;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--")) {
			i++;
			break;
		}
		if (argv[i][0] == '-' && argv[i][1]) {
			r = one_option(cli, argv, &i, opts);
			if (r < 0)
				return r;
			continue;
		}
		if (stop_early)
			break;
		argv[1 + n++] = argv[i];
	}
	while (i < argc)
		argv[1 + n++] = argv[i++];
	argv[1 + n] = NULL;
	return n;
}

bool cli_positional(const struct cli *cli, int n, int min, int max)
{
	if (n < min)
		cli_usage(cli, "something is missing: oknek %s %s", cli->command->name,
			  cli->command->args);
	else if (n > max)
		cli_usage(cli, "too many arguments: oknek %s %s", cli->command->name,
			  cli->command->args);
	return n >= min && n <= max;
}

int cli_parse_number(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	char *end;
	long long v;

	if (!*s || strspn(s, "0123456789") != strlen(s))
		return -EINVAL;
	errno = 0;
	v = strtoll(s, &end, 10);
	if (errno || *end || v < min || v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

int cli_parse_duration(const char *s, int64_t *ret)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
	const int64_t most = 3660LL * 86400;
	int64_t sum = 0;
	size_t u = 0;

	if (!*s)
		return -EINVAL;
	while (*s) {
		size_t digits = strspn(s, "0123456789");
		char number[16];
		int64_t n;

		if (digits == 0 || digits >= sizeof(number))
			return -EINVAL;
		memcpy(number, s, digits);
		number[digits] = '\0';
		s += digits;
		if (cli_parse_number(number, 0, most, &n) < 0)
			return -EINVAL;
		/* Each unit once, the larger first; a number alone is seconds. */
		while (u < 4 && units[u].unit != (*s ? *s : 's'))
			u++;
		if (u == 4)
			return -EINVAL;
		sum += n * units[u++].seconds;
		if (sum > most)
			return -EINVAL;
		if (*s)
			s++;
	}
	*ret = sum;
	return 0;
}

/* Fills tm from s by the first format that takes all of it. */
static const char *parse_by(const char *s, const char *const *formats, struct tm *tm)
{
	for (; *formats; formats++) {
		struct tm t = *tm;
		const char *end = strptime(s, *formats, &t);

		if (end && (!*end || !strcmp(end, "Z"))) {
			*tm = t;
			return end;
		}
	}
	return NULL;
}

int cli_parse_since(const char *s, int64_t now, int64_t *ret)
{
	static const char *const dates[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S",
					     "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d",
					     NULL };
	static const char *const hours[] = { "%H:%M:%S", "%H:%M", NULL };
	struct tm tm = { 0 };
	time_t t = (time_t)now;
	const char *end;
	int64_t v;

	if (s[0] == '@') {
		if (cli_parse_number(s + 1, 0, INT64_MAX, &v) < 0)
			return -EINVAL;
		*ret = v;
		return 0;
	}
	if (cli_parse_duration(s, &v) == 0) {
		*ret = now - v;
		return 0;
	}
	end = parse_by(s, dates, &tm);
	if (!end) {
		localtime_r(&t, &tm);
		tm.tm_sec = 0;
		end = parse_by(s, hours, &tm);
	}
	if (!end)
		return -EINVAL;
	tm.tm_isdst = -1;
	t = *end == 'Z' ? timegm(&tm) : mktime(&tm);
	if (t == (time_t)-1)
		return -EINVAL;
	*ret = t;
	return 0;
}

int cli_json_time(const json_t *j, int64_t *ret)
{
	const char *s = json_string_value(j);
	struct tm tm = { 0 };
	const char *end;
	int hours, minutes;
	char sign;

	if (json_is_integer(j)) {
		*ret = json_integer_value(j);
		return 0;
	}
	end = s ? strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (!end)
		return -EINVAL;
	if (*end == '.')
		end += 1 + strspn(end + 1, "0123456789");
	*ret = timegm(&tm);
	if (sscanf(end, "%c%2d:%2d", &sign, &hours, &minutes) == 3 && (sign == '+' || sign == '-'))
		*ret -= (sign == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
	return 0;
}
