/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_preload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"

bool cli_preload_default(const struct cli *cli, const char *otherwise)
{
	if (!otherwise || !strcmp(otherwise, "allow") || !strcmp(otherwise, "deny"))
		return true;
	cli_usage(cli, "--preload-default: allow or deny is expected");
	return false;
}

void cli_preload_find(struct cli_preload *p)
{
	static const char *const beside[] = { "/" CLI_SHIM, "/../lib/" CLI_SHIM };
	char exe[3000];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	exe[n > 0 ? n : 0] = '\0';
	slash = strrchr(exe, '/');
	for (size_t i = 0; i < ARRAY_SIZE(beside) && slash; i++) {
		_cleanup_free_ char *real = NULL;

		snprintf(p->library, sizeof(p->library), "%.*s%s", (int)(slash - exe), exe, beside[i]);
		real = realpath(p->library, NULL);
		/* The linker takes a space or a colon for the end of a name. */
		if (real && strlen(real) < sizeof(p->library) && !strpbrk(real, " :")) {
			strcpy(p->library, real);
			return;
		}
	}
	snprintf(p->library, sizeof(p->library), "%s",
		 access(OKNEK_PRELOAD, R_OK) == 0 ? OKNEK_PRELOAD : "");
}

bool cli_unit_record(const struct cli *cli, const struct cli_unit *u, const char *done, bool reloaded,
		     const struct cli_preload *shim, const char *agent)
{
	json_t *req = json_pack("{s:s, s:s, s:s, s:s, s:b}", "cmd", "unit", "done", done, "unit", u->name,
				"file", u->file, "reloaded", reloaded);
	struct cli_reply reply;

	if (!req) { /* a name that is no text */
		cli_error("%s: the daemon cannot be told: it is not recorded", u->file);
		return false;
	}
	if (shim) {
		json_object_set_new(req, "agent", json_string(agent));
		json_object_set_new(req, "preload_default",
				    json_string(shim->otherwise ? shim->otherwise : "allow"));
	}
	if (cli_call(cli, req, CLI_TIMEOUT_MS, NULL, NULL, &reply) < 0) {
		cli_error("%s: it is not recorded: %s", u->name, reply.error);
		return false;
	}
	json_decref(reply.result);
	return true;
}

int cli_preload_environment(const struct cli_preload *p)
{
	const char *had = getenv("LD_PRELOAD");
	_cleanup_free_ char *now = NULL;

	if (had && strstr(had, CLI_SHIM)) /* an agent in an agent */
		now = strdup(had);
	else if (asprintf(&now, "%s%s%s", p->library, had && *had ? ":" : "", had ? had : "") < 0)
		now = NULL;
	if (!now || setenv("LD_PRELOAD", now, 1) < 0)
		return -ENOMEM;
	if (p->run_dir && strcmp(p->run_dir, OKNEK_RUN_DIR) != 0) {
		_cleanup_free_ char *run_dir = realpath(p->run_dir, NULL);

		if (run_dir && setenv("OKNEK_RUN_DIR", run_dir, 1) < 0)
			return -ENOMEM;
	}
	if (p->otherwise && setenv("OKNEK_PRELOAD_DEFAULT", p->otherwise, 1) < 0)
		return -ENOMEM;
	return 0;
}
