/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "enforce/egress_pin.h"
#include "tools/cli.h"

static char *joined(const json_t *array)
{
	char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);
	json_t *v;

	if (!f)
		return NULL;
	json_array_foreach((json_t *)array, i, v) {
		if (json_is_integer(v))
			fprintf(f, "%s%lld", i ? ", " : "", (long long)json_integer_value(v));
		else
			fprintf(f, "%s%s", i ? ", " : "", json_string_value(v));
	}
	fclose(f);
	return text;
}

static void print_destinations(const struct cli *cli, const char *name, const json_t *list,
			       const char *none)
{
	json_t *v;
	size_t i;

	if (json_array_size(list) == 0)
		cli_field(cli, name, "%s", none);
	json_array_foreach((json_t *)list, i, v) {
		_cleanup_free_ char *addresses = joined(json_object_get(v, "addresses"));
		const char *as = cli_str(v, "as"), *error = cli_str(v, "error");
		bool is_name = json_object_get(v, "error") != NULL;

		if (!is_name)
			cli_field(cli, i ? "" : name, "%s%s%s", as, *cli_str(v, "from") ? ", from " : "",
				  cli_str(v, "from"));
		else if (*error)
			cli_field(cli, i ? "" : name, "%s: %s%s%s", as, error,
				  addresses && *addresses ? "; as before: " : "",
				  addresses ? addresses : "");
		else
			cli_field(cli, i ? "" : name, "%s: %s, asked %lld s ago", as,
				  addresses ? addresses : "", (long long)cli_int(v, "age_s"));
	}
}

static void print_loopback(const struct cli *cli, const json_t *v)
{
	_cleanup_free_ char *ports = joined(v);

	if (json_is_array(v))
		cli_field(cli, "loopback", "ports %s", ports ? ports : "");
	else
		cli_field(cli, "loopback", "%s", json_is_true(v) ? "reached" : "not reached");
}

static void print_rules(const struct cli *cli, const json_t *rules)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)rules, i, v) {
		const char *part = cli_str(v, "part"), *why = cli_str(v, "why");

		cli_field(cli, i ? "" : "rules", "%s%s%s (%s): %s by %s%s%s", cli_str(v, "rule"),
			  *part ? "/" : "", part, cli_str(v, "name"), cli_str(v, "action"),
			  cli_str(v, "mechanism"), *why ? ": " : "", why);
	}
}

static void print_trees(const struct cli *cli, const json_t *trees)
{
	json_t *v;
	size_t i;

	json_array_foreach((json_t *)trees, i, v)
		cli_field(cli, i ? "" : "trees", "%lld %s, pid %lld: %lld denied, %lld would have been, %lld "
			  "let through%s", (long long)cli_int(v, "tree"), cli_str(v, "agent"),
			  (long long)cli_int(v, "root_pid"), (long long)cli_int(v, "denied"),
			  (long long)cli_int(v, "would_deny"), (long long)cli_int(v, "passed"),
			  cli_int(v, "not_recorded") ? "; not each has a record" : "");
}

static void print_lists(const struct cli *cli, const json_t *e)
{
	print_destinations(cli, "gateway", json_object_get(e, "gateway"), "none: R11 is off");
	print_destinations(cli, "resolvers", json_object_get(e, "resolvers"), "none");
	print_destinations(cli, "allow", json_object_get(e, "allow"), "none");
	print_loopback(cli, json_object_get(e, "allow_loopback"));
	if (json_array_size(json_object_get(e, "allow_unix")) > 0) {
		_cleanup_free_ char *paths = joined(json_object_get(e, "allow_unix"));

		cli_field(cli, "allow_unix", "%s", paths ? paths : "");
	}
}

/* Where programs that carry the shim ask, and nothing else stands in the way. */
static void print_advised(const struct cli *cli, const json_t *e)
{
	bool audit = !strcmp(cli_str(e, "advised_by"), "audit");

	if (audit)
		cli_field(cli, "told", "%s", !strcmp(cli_str(e, "advised"), "closed") ?
			  "audit tells of connections to what is not listed here, after the fact" :
			  "audit tells of connections to cloud metadata: neither a gateway nor an allow-list "
			  "is set");
	else
		cli_field(cli, "advice", "%s", !strcmp(cli_str(e, "advised"), "closed") ?
			  "programs that carry the preload shim are let reach what is listed here; others reach all" :
			  "programs that carry the preload shim are kept from cloud metadata: neither a gateway nor an "
			  "allow-list is set");
	cli_field(cli, "mode", "%s", cli_str(e, "mode"));
	print_lists(cli, e);
	print_rules(cli, json_object_get(e, "rules"));
}

/* What a daemon left when it ended: of one that runs it would be gone only when it ends. */
static int release(const struct cli *cli)
{
	char dir[128];
	int n;

	egress_pin_dir(cli->run_dir, dir, sizeof(dir));
	n = egress_unpin(dir, 0);
	if (n < 0) {
		cli_error("%s: %s", dir, strerror(-n));
		return CLI_FAILED;
	}
	if (cli->json)
		printf("{\"released\":%s}\n", n ? "true" : "false");
	else
		puts(n ? "the jail that was kept is released" : "no jail was kept");
	return cli_flush();
}

static int run(struct cli *cli, int argc, char **argv)
{
	bool release_it = false;
	const struct cli_option opts[] = { { "release", .flag = &release_it }, { 0 } };
	_cleanup_json_ json_t *e = NULL;
	int r = cli_options(cli, argc, argv, opts, false);

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 0))
		return CLI_FAILED;
	if (release_it)
		return release(cli);
	r = cli_ask(cli, json_pack("{s:s}", "cmd", "egress"), CLI_TIMEOUT_MS, NULL, NULL, &e);
	if (r != CLI_DONE)
		return r;
	if (cli->json) {
		cli_json_line(cli, e, NULL);
		return cli_flush();
	}
	if (!json_is_true(json_object_get(e, "attached"))) {
		cli_field(cli, "jail", "none: %s", cli_str(e, "why"));
		if (*cli_str(e, "advised"))
			print_advised(cli, e);
		return cli_flush();
	}
	cli_field(cli, "jail", "%s", !strcmp(cli_str(e, "jail"), "closed") ?
		  "closed: watched trees reach what is listed here and nothing else" :
		  "open but for cloud metadata: neither a gateway nor an allow-list is set");
	cli_field(cli, "mode", "%s", cli_str(e, "mode"));
	cli_field(cli, "attached", "%s%s, %s AF_UNIX sockets, %s connections that stood before",
		  json_is_true(json_object_get(e, "lsm")) ? "BPF-LSM and " : "", cli_str(e, "cgroup"),
		  json_is_true(json_object_get(e, "unix_sockets")) ? "with" : "without",
		  !strcmp(cli_str(e, "standing_connections"), "unseen") ? "without" : "with");
	print_lists(cli, e);
	cli_field(cli, "on exit", "%s%s%s", cli_str(e, "jail_on_exit"),
		  *cli_str(e, "pinned") ? ", by " : "", cli_str(e, "pinned"));
	cli_field(cli, "records", "%lld, %lld lost", (long long)cli_int(e, "records"),
		  (long long)cli_int(e, "lost"));
	print_rules(cli, json_object_get(e, "rules"));
	print_trees(cli, json_object_get(e, "trees"));
	return cli_flush();
}

const struct cli_command cmd_egress = {
	.name = "egress",
	.args = "[--release]",
	.summary = "where watched trees may connect to",
	.run = run,
};
