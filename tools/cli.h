/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the subcommands of oknek share: options, the control socket, and output in which nothing
 * that an agent chose (a file name, a comm, an argument) can reach a terminal as a control byte.
 */
#ifndef OKNEK_TOOLS_CLI_H
#define OKNEK_TOOLS_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* What oknek exits with. */
enum { CLI_DONE = 0, CLI_FOUND = 1, CLI_FAILED = 2 };

struct cli_command;

struct cli {
	const char *run_dir;
	bool json;
	bool colour; /* stdout is a terminal and NO_COLOR is not set */
	bool tty;    /* stdout is a terminal */
	int64_t now; /* unix time: "today", "5m ago" */
	const struct cli_command *command;
};

struct cli_command {
	const char *name;
	const char *args;    /* after the name in the usage line */
	const char *summary; /* one line of `oknek --help` */
	const char *help;    /* further lines of `oknek NAME --help`; may be NULL */
	/* Returns the exit status. argv[0] is the name; argv is NULL-ended and may be permuted. */
	int (*run)(struct cli *cli, int argc, char **argv);
	const char *alias; /* NULL: none */
};

#define CLI_COMMANDS                                                                           \
	X(status) X(doctor) X(run) X(watch) X(unwatch) X(mode) X(pause) X(agents) X(events)    \
	X(show) X(why) X(verify) X(export) X(rules) X(replay) X(pack) X(update) X(pending) X(allow)  \
	X(egress) \
	X(block)

#define X(name) extern const struct cli_command cmd_##name;
CLI_COMMANDS
#undef X

/* One line on stderr, "oknek: …", control bytes escaped. */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, then "(see oknek NAME --help)". Returns CLI_FAILED. */
int cli_usage(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- options (cli_options.c) ------------------------------------------------------------------ */

struct cli_option {
	const char *name;   /* without dashes; NULL ends the table */
	const char **value; /* takes an argument: --name ARG or --name=ARG */
	bool *flag;         /* takes none */
};

#define CLI_HELP (-1) /* --help was given and printed: exit 0 */
#define CLI_USAGE (-2) /* said on stderr: exit 2 */

/*
 * Takes the options out of argv, and those that every command has (--json --run-dir --help).
 * Returns how many positional arguments are left in argv[1…], CLI_HELP or CLI_USAGE. stop_early:
 * the first positional argument ends the options. opts may be NULL.
 */
int cli_options(struct cli *cli, int argc, char **argv, const struct cli_option *opts,
		bool stop_early);
/* Whether the count is one of min…max; says so and returns false otherwise. */
bool cli_positional(const struct cli *cli, int n, int min, int max);
void cli_help(const struct cli_command *cmd, FILE *out);

/* A number of at least min, in decimal, all of s. -EINVAL. */
int cli_parse_number(const char *s, int64_t min, int64_t max, int64_t *ret);
/* "90", "90s", "10m", "2h", "1h30m", "3d" in seconds. -EINVAL. */
int cli_parse_duration(const char *s, int64_t *ret);
/* A duration ago, "@UNIX", "HH:MM[:SS]" of today, "YYYY-MM-DD[ T]HH:MM[:SS][Z]" (local unless Z),
 * "YYYY-MM-DD", in unix seconds. -EINVAL. */
int cli_parse_since(const char *s, int64_t now, int64_t *ret);
/* RFC 3339 as records have it, or a JSON number of unix seconds. -EINVAL. */
int cli_json_time(const json_t *t, int64_t *ret);

/* --- the daemon (cli_client.c) ---------------------------------------------------------------- */

struct cli_reply {
	json_t *result;  /* of {"ok":true}; owned by the caller after a call that returned 0 */
	char error[512]; /* of {"ok":false} */
	char code[16];
};

/* Called for each item, with the bytes of it. Non-zero ends the call, which then returns it. */
typedef int (*cli_item_fn)(void *arg, json_t *item, const char *text);

/*
 * Sends req (stolen) and reads the answer. timeout_ms: for each line of it; 0: none. items may be
 * NULL. 0, -EREMOTE: the daemon refused (reply says how), -errno: no answer (reply->error says
 * which).
 */
int cli_call(const struct cli *cli, json_t *req, int timeout_ms, cli_item_fn items, void *arg,
	     struct cli_reply *reply);

#define CLI_TIMEOUT_MS 30000

/* cli_call() that reports what went wrong. CLI_DONE or CLI_FAILED. */
int cli_ask(const struct cli *cli, json_t *req, int timeout_ms, cli_item_fn items, void *arg,
	    json_t **result);

static inline void cli_cleanup_json(json_t **p)
{
	json_decref(*p);
}
#define _cleanup_json_ __attribute__((cleanup(cli_cleanup_json)))

/* --- output (cli_output.c) -------------------------------------------------------------------- */

enum cli_colour { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_YELLOW, CLI_GREEN, CLI_CYAN };

/* s with control bytes, invalid UTF-8, and characters that reorder or hide text as \xNN or \u{N};
 * malloc'd, never NULL (aborts the program without memory). */
char *cli_escape(const char *s, size_t len);
/* Prints escaped. NULL prints nothing. */
void cli_text(const char *s);
/* printf() with every %s of hostile origin passed through cli_escape() by the caller. */
void cli_printf(const struct cli *cli, enum cli_colour colour, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* "name       value": the line of a form; value is escaped. */
void cli_field(const struct cli *cli, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* One JSON object on one line; text (may be NULL: j is dumped) is passed on byte for byte, but what
 * a terminal would act on is escaped when stdout is one. Returns 0, or -EPIPE. */
int cli_json_line(const struct cli *cli, const json_t *j, const char *text);
/* Flushes stdout: CLI_DONE, or CLI_FAILED with a message when that failed. */
int cli_flush(void);

struct cli_table {
	unsigned columns;
	unsigned n, size;
	char **cells; /* escaped */
};
/* One row of `columns` strings; NULL is "". The first row is the heading. */
void cli_table_add(struct cli_table *t, const char *const *cells);
void cli_table_print(const struct cli *cli, const struct cli_table *t);
void cli_table_free(struct cli_table *t);

/* Commands that list items in a table. */
struct cli_listing {
	const struct cli *cli;
	struct cli_table table;
};
/* A whole such command without arguments: asks `cmd`, has each item taken (arg: the listing) under
 * the headings, prints the table, or `none` when there is no item. An exit status. */
int cli_list(struct cli *cli, int argc, char **argv, const char *cmd, const char *const *headings,
	     unsigned columns, cli_item_fn take, const char *none);

/* "~/x" when path begins with the home of uid (by getpwuid), else path. malloc'd, not escaped. */
char *cli_tilde(const char *path, uid_t uid);
/* "18:25:02", "2026-11-21 18:25:02" when that is not today. */
void cli_time(int64_t unix_s, int64_t now, char buf[32]);

/* one for a single thing, many for none or more. */
const char *cli_plural(int64_t n, const char *one, const char *many);
/* The line "mode" of a status: also what is configured, and a pause. */
void cli_mode_field(const struct cli *cli, const json_t *status);

/* Strings of a JSON object, "" when absent or of another type. */
const char *cli_str(const json_t *obj, const char *key);
int64_t cli_int(const json_t *obj, const char *key);
/* "EPERM" of a string or a number, "" of null. */
const char *cli_errno_name(const json_t *e);

/* --- evidence (cli_event.c) ------------------------------------------------------------------- */

/* The line of one record:
 * 18:25:02 BLOCK R3 credential-read ~/.aws/credentials  claude-code  pid 4711 cat  EPERM via … */
void cli_event_line(const struct cli *cli, const json_t *record);
/* The words of `oknek why` for one item: what happened and what to do now; what happened alone. */
void cli_why_text(const struct cli *cli, const json_t *item);
void cli_why_fact(const struct cli *cli, const json_t *item);
/* Whether the advice for both is the same, word for word. */
bool cli_why_same_advice(const json_t *a, const json_t *b);

/* A filter of records, from the options of events and export. */
struct cli_filter {
	const char *since, *limit, *rule, *verdict, *pid, *agent;
};
#define CLI_FILTER_OPTIONS(f)                                                                  \
	{ "since", &(f).since, NULL }, { "limit", &(f).limit, NULL },                          \
	{ "rule", &(f).rule, NULL }, { "verdict", &(f).verdict, NULL },                        \
	{ "pid", &(f).pid, NULL }, { "agent", &(f).agent, NULL }
/* A request for events. NULL: said on stderr what is wrong. */
json_t *cli_filter_request(const struct cli *cli, const struct cli_filter *f);

#endif
