/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "tools/cli.h"

/* "a, b and c" out of an array of strings, or of the key of an array of objects. malloc'd. */
static char *joined(const json_t *array, const char *key)
{
	char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);
	json_t *v;

	if (!f)
		return NULL;
	json_array_foreach((json_t *)array, i, v) {
		const char *s = key ? cli_str(v, key) : json_string_value(v);

		fprintf(f, "%s%s", i ? ", " : "", s ? s : "");
	}
	fclose(f);
	return text;
}

static void print_audit(const struct cli *cli, const json_t *v)
{
	const json_t *k = json_object_get(v, "kernel"), *r = json_object_get(v, "rules");

	cli_field(cli, "", "audit: by %s, owner %s%lld; %lld of %lld in its backlog, %lld lost, rate limit %lld",
		  cli_str(v, "reads"), cli_int(k, "owner") ? "pid " : "", (long long)cli_int(k, "owner"),
		  (long long)cli_int(k, "backlog"), (long long)cli_int(k, "backlog_limit"),
		  (long long)cli_int(k, "lost"), (long long)cli_int(k, "rate_limit"));
	cli_field(cli, "", "audit: %lld %s of ours, by %s", (long long)cli_int(r, "count"),
		  cli_plural(cli_int(r, "count"), "rule", "rules"), cli_str(r, "scope"));
}

static void print_sources(const struct cli *cli, const json_t *st)
{
	json_t *v;
	size_t i;

	json_array_foreach(json_object_get(st, "sources"), i, v) {
		cli_field(cli, i ? "" : "sources", "%s: %lld read, %lld lost, %lld malformed",
			  cli_str(v, "name"), (long long)cli_int(v, "read"),
			  (long long)cli_int(v, "lost"), (long long)cli_int(v, "malformed"));
		if (!strcmp(cli_str(v, "name"), "audit"))
			print_audit(cli, v);
		if (cli_int(v, "pushed_out"))
			cli_field(cli, "", "%s: %lld execs found no room until they ran, and are "
				  "compared later", cli_str(v, "name"),
				  (long long)cli_int(v, "pushed_out"));
	}
	json_array_foreach(json_object_get(st, "unavailable"), i, v)
		cli_field(cli, "", "%s: not here: %s", cli_str(v, "name"), cli_str(v, "why"));
}

static void print_feed(const struct cli *cli, const json_t *st)
{
	const json_t *feed = json_object_get(st, "feed");
	json_t *gaps = json_object_get(feed, "gaps");

	if (!feed)
		return;
	cli_field(cli, "processes", "by %s, %lld lost: %s", cli_str(feed, "name"),
		  (long long)cli_int(feed, "lost"),
		  json_string_length(gaps) > 0 ? json_string_value(gaps) : "no gaps known");
}

static void print_watched(const struct cli *cli, const char *name, const char *agent,
			  const json_t *counts)
{
	int64_t members = cli_int(counts, "members"), trees = cli_int(counts, "trees");

	cli_field(cli, name, "%s%s%lld %s in %lld %s", agent, *agent ? ": " : "",
		  (long long)members, cli_plural(members, "process", "processes"),
		  (long long)trees, cli_plural(trees, "tree", "trees"));
}

static void print_agents(const struct cli *cli, const json_t *st)
{
	json_t *v;
	size_t i;

	print_watched(cli, "watching", "", st);
	json_array_foreach(json_object_get(st, "agents"), i, v) {
		if (json_is_string(v))
			cli_field(cli, "", "%s", json_string_value(v));
		else
			print_watched(cli, "", cli_str(v, "agent"), v);
	}
}

static const char *which_pack(const json_t *rules)
{
	const char *slash = strrchr(cli_str(rules, "origin"), '/');

	if (json_is_true(json_object_get(json_object_get(rules, "pack"), "shipped")))
		return "shipped";
	return slash && !strcmp(slash, "/active") ? "active" : "previous";
}

static void print_rules(const struct cli *cli, const json_t *st)
{
	const json_t *rules = json_object_get(st, "rules");
	json_t *v;
	size_t i;

	if (!rules)
		return;
	cli_field(cli, "rules", "%lld from %s, %lld can block here",
		  (long long)cli_int(rules, "count"), cli_str(rules, "origin"),
		  (long long)cli_int(rules, "blocking"));
	v = json_object_get(rules, "pack");
	if (json_is_object(v))
		cli_field(cli, "", "%s pack %s %s, signed by %s, %s %.10s",
			  which_pack(rules), cli_str(v, "name"), cli_str(v, "version"), cli_str(v, "signed_by"),
			  json_is_true(json_object_get(v, "expired")) ? "expired on" : "expires on",
			  cli_str(v, "expires"));
	json_array_foreach(json_object_get(rules, "detect"), i, v) {
		bool off = !strncmp(cli_str(v, "why"), "off: ", 5); /* by configuration */

		cli_field(cli, "", "%s%s%s (%s) is %s%s", cli_str(v, "rule"),
			  *cli_str(v, "part") ? "/" : "", cli_str(v, "part"), cli_str(v, "name"),
			  off ? "" : "only detected: ", cli_str(v, "why"));
	}
	v = json_object_get(st, "exceptions");
	if (cli_int(v, "active") || cli_int(v, "expired"))
		cli_field(cli, "exceptions", "%lld in force, %lld expired; %lld events let through since the "
			  "rules were read", (long long)cli_int(v, "active"),
			  (long long)cli_int(v, "expired"), (long long)cli_int(v, "let_through"));
}

/* Nobody is asked: what was refused is said of BPF-LSM. */
static void print_labels(const struct cli *cli, const json_t *e, const char *filesystems)
{
	int64_t objects = cli_int(e, "objects"), directories = cli_int(e, "directories");

	if (*cli_str(e, "nothing"))
		cli_field(cli, "enforcement", "lsm: enforcing nothing: %s", cli_str(e, "nothing"));
	else
		cli_field(cli, "enforcement", "lsm: %lld of %lld %s labelled, %lld %s followed on %s",
			  (long long)cli_int(e, "labelled"), (long long)objects,
			  cli_plural(objects, "file", "files"), (long long)directories,
			  cli_plural(directories, "directory", "directories"),
			  filesystems && *filesystems ? filesystems : "no filesystem");
}

static void print_held(const struct cli *cli, const json_t *e)
{
	cli_field(cli, "", "%lld answered, %lld denied, %lld by deadline, %lld pending",
		  (long long)cli_int(e, "answered"), (long long)cli_int(e, "denied"),
		  (long long)cli_int(e, "by_deadline"), (long long)cli_int(e, "pending"));
	if (cli_int(e, "unread"))
		cli_field(cli, "", "%lld starts of programs answered unread: their arguments "
			  "could not be read", (long long)cli_int(e, "unread"));
}

static void print_enforcement(const struct cli *cli, const json_t *st)
{
	const json_t *e = json_object_get(st, "enforcement");
	_cleanup_free_ char *filesystems = joined(json_object_get(e, "filesystems"), NULL);
	int64_t objects = cli_int(e, "objects"), directories = cli_int(e, "directories");
	json_t *v;
	size_t i;

	if (!e)
		return;
	if (!strcmp(cli_str(e, "mechanism"), "preload")) {
		cli_field(cli, "enforcement", "preload: programs that carry the shim ask; advisory, it can be "
			  "bypassed");
		return;
	}
	if (!strcmp(cli_str(e, "mechanism"), "detect")) {
		cli_field(cli, "enforcement", "detect: nobody is held; %lld %s and %lld %s are known whatever "
			  "they are called", (long long)objects, cli_plural(objects, "file", "files"),
			  (long long)directories, cli_plural(directories, "directory", "directories"));
		return;
	}
	if (!strcmp(cli_str(e, "mechanism"), "lsm"))
		print_labels(cli, e, filesystems);
	else if (*cli_str(e, "nothing"))
		cli_field(cli, "enforcement", "%s: enforcing nothing: %s", cli_str(e, "mechanism"),
			  cli_str(e, "nothing"));
	else if (objects == 0 && directories == 0)
		cli_field(cli, "enforcement", "%s: nothing is marked", cli_str(e, "mechanism"));
	else
		cli_field(cli, "enforcement", "%s: %lld %s and %lld %s marked on %s",
			  cli_str(e, "mechanism"), (long long)objects,
			  cli_plural(objects, "file", "files"), (long long)directories,
			  cli_plural(directories, "directory", "directories"),
			  filesystems && *filesystems ? filesystems : "no filesystem");
	if (strcmp(cli_str(e, "mechanism"), "lsm") != 0)
		print_held(cli, e);
	if (!strcmp(cli_str(e, "audit"), "none"))
		cli_field(cli, "", "denials are not in the host's audit trail: no CAP_AUDIT_WRITE, or a kernel "
			  "without audit");
	json_array_foreach(json_object_get(e, "gaps"), i, v)
		cli_field(cli, "", "not protected: %s: %s", cli_str(v, "path"), cli_str(v, "why"));
}

static void print_lsm(const struct cli *cli, const json_t *st)
{
	const json_t *l = json_object_get(st, "lsm");

	if (!l)
		return;
	if (json_is_true(json_object_get(l, "runs")))
		cli_field(cli, "", "BPF-LSM: %lld refused by the kernel itself",
			  (long long)cli_int(l, "refused"));
	else
		cli_field(cli, "", "BPF-LSM: not used: %s", cli_str(l, "why"));
}

static void print_egress(const struct cli *cli, const json_t *st)
{
	const json_t *e = json_object_get(st, "egress");
	const char *held = "";

	if (!e)
		return;
	if (!strcmp(cli_str(e, "mode"), "observe"))
		held = json_is_integer(json_object_get(st, "paused_until")) ?
			       "not held: it only observes (paused); else " :
			       "not held: it only observes; else ";
	if (!json_is_true(json_object_get(e, "attached")))
		cli_field(cli, "egress", "no jail: %s%s", cli_str(e, "why"),
			  !strcmp(cli_str(e, "advised_by"), "preload") ? "; programs that carry the preload shim ask" :
			  *cli_str(e, "advised") ? "; audit tells of what is not listed" : "");
	else if (!strcmp(cli_str(e, "jail"), "closed"))
		cli_field(cli, "egress", "%sclosed by cgroup but for what oknek egress lists%s",
			  held, json_is_true(json_object_get(e, "gateway_set")) ?
				  "" : "; no gateway is set: R11 is off");
	else
		cli_field(cli, "egress", "%sopen but for cloud metadata; no gateway is set: R11 is off",
			  held);
}

static void print_guardian(const struct cli *cli, const json_t *st)
{
	const json_t *g = json_object_get(st, "guardian"), *e = json_object_get(st, "enforcement");
	int64_t episodes = cli_int(g, "episodes"), restarts = cli_int(g, "restarts");

	/* Where nobody waits for an answer none is needed. */
	if (!g || !json_object_get(e, "filesystems") || !strcmp(cli_str(e, "mechanism"), "lsm"))
		return;
	if (!json_is_true(json_object_get(g, "alive"))) {
		cli_field(cli, "guardian", "none");
		return;
	}
	cli_field(cli, "guardian", "pid %lld, replaced %lld %s", (long long)cli_int(g, "pid"),
		  (long long)restarts, cli_plural(restarts, "time", "times"));
	cli_field(cli, "", "acted %lld %s, %lld ms at the longest; answered %lld for members, %lld for others",
		  (long long)episodes, cli_plural(episodes, "time", "times"),
		  (long long)cli_int(g, "longest_ms"), (long long)cli_int(g, "answered_members"),
		  (long long)cli_int(g, "answered_strangers"));
}

/* "12.3 MiB" */
static const char *in_units(int64_t bytes, char buf[32])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double n = (double)bytes / 1024;
	size_t i = 0;

	for (; n >= 1024 && i + 1 < ARRAY_SIZE(units); i++)
		n /= 1024;
	snprintf(buf, 32, "%.1f %s", n, units[i]);
	return buf;
}

static void print_store(const struct cli *cli, const json_t *st)
{
	const json_t *s = json_object_get(st, "store");
	char db[32], wal[32];

	if (s)
		cli_field(cli, "", "database %s, its log %s, %lld %s removed by age or size",
			  in_units(cli_int(s, "db_bytes"), db),
			  in_units(cli_int(s, "wal_bytes"), wal), (long long)cli_int(s, "pruned"),
			  cli_plural(cli_int(s, "pruned"), "record", "records"));
}

static void print_evidence(const struct cli *cli, const json_t *st)
{
	const json_t *e = json_object_get(st, "evidence");

	if (!e)
		return;
	cli_field(cli, "evidence", "%lld %s, %lld pending, %lld lost",
		  (long long)cli_int(e, "records"),
		  cli_plural(cli_int(e, "records"), "record", "records"),
		  (long long)cli_int(e, "pending"), (long long)cli_int(e, "lost"));
	if (json_is_false(json_object_get(e, "ok")))
		cli_field(cli, "", "not written now: %s", cli_str(e, "why"));
	if (cli_int(e, "last_seq") > 0)
		cli_field(cli, "", "head %lld:%s", (long long)cli_int(e, "last_seq"),
			  cli_str(e, "last_hash"));
	cli_field(cli, "", "key %s", cli_str(e, "key"));
	print_store(cli, st);
}

static void print_capture(const struct cli *cli, const json_t *st)
{
	const json_t *c = json_object_get(st, "capture");
	int64_t events = cli_int(c, "events");
	char size[32];

	if (!c || !strcmp(cli_str(c, "what"), "off"))
		return;
	cli_field(cli, "capture", "%s: %lld %s, %lld written, %s in files, dropped %lld",
		  cli_str(c, "what"), (long long)events, cli_plural(events, "event", "events"),
		  (long long)cli_int(c, "written"), in_units(cli_int(c, "bytes"), size),
		  (long long)cli_int(c, "dropped"));
	if (json_is_false(json_object_get(c, "ok")))
		cli_field(cli, "", "not written now: %s", cli_str(c, "why"));
}

static int run(struct cli *cli, int argc, char **argv)
{
	_cleanup_json_ json_t *st = NULL;
	int r = cli_options(cli, argc, argv, NULL, false);
	json_t *v;
	size_t i;

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 0))
		return CLI_FAILED;
	r = cli_ask(cli, json_pack("{s:s}", "cmd", "status"), CLI_TIMEOUT_MS, NULL, NULL, &st);
	if (r != CLI_DONE)
		return r;
	if (cli->json) {
		cli_json_line(cli, st, NULL);
		return cli_flush();
	}
	cli_field(cli, "oknekd", "%s", cli_str(st, "version"));
	cli_mode_field(cli, st);
	print_sources(cli, st);
	print_feed(cli, st);
	print_agents(cli, st);
	print_rules(cli, st);
	print_enforcement(cli, st);
	print_lsm(cli, st);
	print_egress(cli, st);
	print_guardian(cli, st);
	print_evidence(cli, st);
	print_capture(cli, st);
	json_array_foreach(json_object_get(st, "warnings"), i, v)
		cli_field(cli, "warning", "%s", json_is_string(v) ? json_string_value(v) : "");
	return cli_flush();
}

const struct cli_command cmd_status = {
	.name = "status",
	.args = "",
	.summary = "what is watched, held, recorded, and what is not",
	.run = run,
};
