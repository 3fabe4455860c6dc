/* SPDX-License-Identifier: Apache-2.0 */
/* oknek: asks oknekd, and runs commands watched. One file per command: tools/cmd_*.c. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli.h"

#define X(name) &cmd_##name,
static const struct cli_command *const commands[] = { CLI_COMMANDS };
#undef X

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i]->name, name) ||
		    (commands[i]->alias && !strcmp(commands[i]->alias, name)))
			return commands[i];
	return NULL;
}

static int help(void)
{
	puts("usage: oknek [--run-dir DIR] [--json] COMMAND …\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-9s %s\n", commands[i]->name, commands[i]->summary);
	puts("\noknek COMMAND --help says more, oknek(8) all.");
	return cli_flush();
}

/* Takes the options before the command. Returns the index of the command, or an exit status as
 * -1 - status. */
static int global_options(struct cli *cli, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return -1 - help();
		if (!strcmp(argv[i], "--version")) {
			puts("oknek " OKNEK_VERSION);
			return -1 - cli_flush();
		}
		if (!strcmp(argv[i], "--json")) {
			cli->json = true;
		} else if (!strncmp(argv[i], "--run-dir=", 10)) {
			cli->run_dir = argv[i] + 10;
		} else if (!strcmp(argv[i], "--run-dir") && argv[i + 1]) {
			cli->run_dir = argv[++i];
		} else if (!strcmp(argv[i], "--run-dir")) {
			cli_error("--run-dir needs a value (see oknek --help)");
			return -1 - CLI_FAILED;
		} else {
			cli_error("unknown option %s (see oknek --help)", argv[i]);
			return -1 - CLI_FAILED;
		}
	}
	if (i == argc) {
		cli_error("no command (see oknek --help)");
		return -1 - CLI_FAILED;
	}
	return i;
}

/* The library would open a file for it, and whoever carries the preload shim asks for that. */
static void seed_hashes(void)
{
	size_t seed = 0;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) == (ssize_t)sizeof(seed))
		json_object_seed(seed);
}

int main(int argc, char **argv)
{
	struct cli cli = { .run_dir = OKNEK_RUN_DIR, .now = time(NULL) };
	int i;

	seed_hashes();

	cli.tty = isatty(STDOUT_FILENO);
	cli.colour = cli.tty && !(getenv("NO_COLOR") && *getenv("NO_COLOR"));
	i = global_options(&cli, argc, argv);
	if (i < 0)
		return -1 - i;
	cli.command = find_command(argv[i]);
	if (!cli.command) {
		cli_error("unknown command %s (see oknek --help)", argv[i]);
		return CLI_FAILED;
	}
	return cli.command->run(&cli, argc - i, argv + i);
}
