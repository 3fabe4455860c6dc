/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli.h"

/* "4711 bash, 4712 cat …": the first few. malloc'd. */
static char *members_text(const json_t *members)
{
	char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);
	json_t *m;

	if (!f)
		return NULL;
	json_array_foreach((json_t *)members, i, m) {
		if (i == 6) {
			fprintf(f, " and %zu more", json_array_size(members) - i);
			break;
		}
		fprintf(f, "%s%lld %s", i ? ", " : "", (long long)cli_int(m, "pid"),
			cli_str(m, "comm"));
	}
	fclose(f);
	return text;
}

static int take(void *arg, json_t *item, const char *text)
{
	struct cli_listing *l = arg;
	_cleanup_free_ char *members = NULL;
	char tree[24], pid[24], count[96], when[32] = "";
	int n;
	int64_t t;

	if (l->cli->json)
		return cli_json_line(l->cli, item, text);
	members = members_text(json_object_get(item, "members"));
	snprintf(tree, sizeof(tree), "%lld", (long long)cli_int(item, "tree"));
	snprintf(pid, sizeof(pid), "%lld", (long long)cli_int(item, "root_pid"));
	n = snprintf(count, sizeof(count), "%lld blocked, %lld warned",
		 (long long)cli_int(item, "blocked"), (long long)cli_int(item, "warned"));
	if (cli_int(item, "parked_refused") > 0)
		snprintf(count + n, sizeof(count) - (size_t)n, ", %lld not waited for",
			 (long long)cli_int(item, "parked_refused"));
	if (cli_json_time(json_object_get(item, "since"), &t) == 0)
		cli_time(t, l->cli->now, when);
	cli_table_add(&l->table,
		      (const char *[]){ tree, cli_str(item, "agent"), pid, when,
					cli_str(item, "how"), count, members });
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const char *const headings[] = { "TREE", "AGENT", "PID", "SINCE", "BY", "VERDICTS", "PROCESSES" };

	return cli_list(cli, argc, argv, "agents", headings, ARRAY_SIZE(headings), take,
			"no agent is watched");
}

const struct cli_command cmd_agents = {
	.name = "agents",
	.args = "",
	.summary = "the watched process trees",
	.run = run,
};
