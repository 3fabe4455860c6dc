/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "tools/cli.h"
#include "tools/cli_activate.h"
#include "tools/cli_archive.h"
#include "tools/cli_fetch.h"
#include "tools/cli_pack.h"

#define TIMEOUT_MAX_S 86400

struct update {
	const char *state_dir;
	bool yes, reload, rollback;
	const char *config; /* NULL: the host's */
	const char *cacert, *timeout;
	int64_t timeout_s;
};

static int failed(const struct pack_error *err)
{
	cli_error("%s", err->text);
	return CLI_FAILED;
}

/* Has the daemon read its rules; *running false when there is none, which is fine. */
static int reload(const struct cli *cli, json_t **res, bool *running)
{
	struct cli_reply reply = { 0 };
	int r = cli_call(cli, json_pack("{s:s}", "cmd", "reload"), CLI_TIMEOUT_MS, NULL, NULL,
			 &reply);

	*running = r != -ENOENT && r != -ECONNREFUSED;
	if (r && *running) {
		cli_error("%s", reply.error);
		return CLI_FAILED;
	}
	*res = reply.result;
	return CLI_DONE;
}

static void print_notices(const struct cli *cli, const json_t *res)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(res, "notice"), i, v)
		cli_field(cli, "notice", "%s", json_string_value(v));
}

static int reload_local(struct cli *cli)
{
	_cleanup_json_ json_t *res = NULL;
	int r = cli_ask(cli, json_pack("{s:s}", "cmd", "reload"), CLI_TIMEOUT_MS, NULL, NULL,
			&res);

	if (r != CLI_DONE)
		return r;
	if (cli->json) {
		cli_json_line(cli, res, NULL);
	} else {
		cli_field(cli, "rules", "%lld serve now", (long long)cli_int(res, "rules"));
		print_notices(cli, res);
	}
	return cli_flush();
}

static void brief(const json_t *side, char buf[64])
{
	if (json_is_object(side))
		snprintf(buf, 64, "%s v%lld", cli_str(side, "action"),
			 (long long)cli_int(side, "version"));
	else
		snprintf(buf, 64, "none");
}

static void print_changes(const struct cli *cli, const json_t *list)
{
	struct cli_table t = { .columns = 5 };
	const json_t *item;
	size_t i;

	cli_table_add(&t, (const char *[]){ "RULE", "CHANGE", "NOW", "THEN", "NAME" });
	json_array_foreach(list, i, item) {
		const json_t *a = json_object_get(item, "old"), *b = json_object_get(item, "new");
		char now[64], then[64];

		brief(a, now);
		brief(b, then);
		cli_table_add(&t, (const char *[]){ cli_str(item, "rule"), cli_str(item, "change"), now,
						    then, cli_str(json_is_object(b) ? b : a, "name") });
	}
	if (json_array_size(list))
		cli_table_print(cli, &t);
	else
		puts("no rule differs");
	cli_table_free(&t);
}

static void first_fault(void *arg, const struct version_fault *f)
{
	struct pack_error *err = arg;

	if (!err->text[0])
		version_fault_text(f, err->text, sizeof(err->text));
}

/* A rule's version tells people which text they have: the same one is never another. */
static int check_versions(const struct ruleset *was, const struct ruleset *now,
			  struct pack_error *err)
{
	err->text[0] = '\0';
	return ruleset_compare_versions(was, now, first_fault, err) ? -EINVAL : 0;
}

static bool confirmed(const struct update *u)
{
	char answer[16] = "";

	if (u->yes)
		return true;
	if (!isatty(STDIN_FILENO)) {
		cli_error("nobody is there to be asked: --yes activates it");
		return false;
	}
	fflush(stdout);
	fputs("activate? [y/N] ", stderr);
	if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
		return true;
	cli_error("not activated: nothing has changed");
	return false;
}

/* Does what the daemon reads come from the state directory that was changed? */
static bool is_served(const struct update *u, const char *origin)
{
	_cleanup_free_ char *dir = NULL;
	struct stat a, b;

	if (!strcmp(origin, OKNEK_RULES_DIR))
		return true; /* there is no active pack, or it was put aside */
	if (asprintf(&dir, "%s/rules/active", u->state_dir) < 0) {
		dir = NULL;
		return false;
	}
	return stat(dir, &a) == 0 && stat(origin, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* The daemon is to serve what is on disk now; if it will not, undo() brings back what was there
 * (NULL: nothing was changed), else keep() makes it final. */
static int serve(const struct cli *cli, const struct update *u, const char *what, json_t *changes,
		 int (*undo)(const char *state_dir, struct pack_error *err),
		 int (*keep)(const char *state_dir, struct pack_error *err))
{
	_cleanup_json_ json_t *res = NULL;
	struct pack_error err;
	bool running, serving;

	if (reload(cli, &res, &running) != CLI_DONE) {
		if (undo && undo(u->state_dir, &err))
			return failed(&err);
		cli_error("the rules that served go on");
		return CLI_FAILED;
	}
	if (keep && keep(u->state_dir, &err))
		return failed(&err);
	serving = running && is_served(u, cli_str(res, "origin"));
	if (cli->json) {
		_cleanup_json_ json_t *j =
			json_pack("{s:s,s:b,s:O}", "pack", what, "serving", serving, "changes", changes);

		cli_json_line(cli, j, NULL);
	} else if (serving) {
		cli_field(cli, "rules", "%lld serve now, of %s", (long long)cli_int(res, "rules"), what);
		print_notices(cli, res);
	} else if (running) {
		cli_field(cli, "rules", "%s is active in %s; the daemon that runs has its rules from %s",
			  what, u->state_dir, cli_str(res, "origin"));
	} else {
		cli_field(cli, "rules", "%s is active; no daemon runs: it serves from its next start",
			  what);
	}
	return cli_flush();
}

/* The pack that is meant by FILE, DIR or URL; verified. */
static int open_pack(const struct update *u, const char *from, struct pack **ret,
		     struct pack_error *err)
{
	struct fetch_options o = { u->cacert, u->timeout_s };
	_cleanup_pack_ struct pack *p = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (!fetch_is_url(from))
		return cli_pack_trusted(from, NULL, ret, err);
	r = fetch_url(from, &o, &fd, err);
	if (!r)
		r = archive_read_pack(fd, from, &p, err);
	if (!r)
		r = cli_pack_verify(p, from, NULL, err);
	if (!r)
		*ret = TAKE_PTR(p);
	return r;
}

static bool daemon_runs(const struct cli *cli)
{
	struct cli_reply reply = { 0 };
	int r = cli_call(cli, json_pack("{s:s}", "cmd", "status"), CLI_TIMEOUT_MS, NULL, NULL, &reply);

	json_decref(reply.result);
	return r != -ENOENT && r != -ECONNREFUSED;
}

static void config_cleanup(struct config **c)
{
	config_free(*c);
}

/* Would the daemon that runs serve the pack that lies there by that name? 1: it is not the daemon of
 * this state directory, or none runs. */
static int ask_daemon(const struct cli *cli, const struct update *u, const char *name,
		      struct pack_error *err)
{
	struct cli_reply reply = { 0 };
	_cleanup_free_ char *dir = NULL;
	struct stat st;
	int r;

	if (asprintf(&dir, "%s/rules", u->state_dir) < 0) {
		dir = NULL;
		return pack_say(err, -ENOMEM, "out of memory");
	}
	if (stat(dir, &st) < 0)
		return pack_say(err, -errno, "%s: %s", dir, strerror(errno));
	r = cli_call(cli, json_pack("{s:s, s:s, s:I, s:I}", "cmd", "reload", "check", name, "dev",
				    (json_int_t)st.st_dev, "ino", (json_int_t)st.st_ino),
		     CLI_TIMEOUT_MS, NULL, NULL, &reply);
	json_decref(reply.result);
	if (r == -ENOENT || r == -ECONNREFUSED || (r == -EREMOTE && !strcmp(reply.code, "notfound")))
		return 1;
	return r ? pack_say(err, r, "%.490s", reply.error) : 0;
}

/* Where no daemon runs to say it: would one start with this pack and the host's own rules and
 * overrides? A configuration that cannot be read is not the pack's fault. */
static int check_site(const struct update *u, const struct pack *p, struct pack_error *err)
{
	_cleanup_(config_cleanup) struct config *c = NULL;
	_cleanup_rules_ struct ruleset *rs = NULL;
	struct pack_error why;
	char ignored[512];
	int r;

	/* The configuration of this host is that of its own state directory. */
	if (!u->config && strcmp(u->state_dir, OKNEK_STATE_DIR))
		return 0;
	if (config_load(u->config ? u->config : OKNEK_CONFIG, u->config != NULL, &c, ignored) < 0)
		return u->config ? pack_say(err, -EINVAL, "%s", ignored) : 0;
	r = cli_pack_rules_here(p, u->config ? u->config : OKNEK_CONFIG, c, &rs, &why);
	return r ? pack_say(err, r, "with this host's configuration it does not load: %.400s",
			    why.text) : 0;
}

/* What the new pack takes the place of: the active pack, or the shipped one; none where rules were
 * never installed. A shipped one that does not verify serves nowhere: it is in nobody's way. */
static int open_present(const struct update *u, struct pack **ret, enum pack_base *base,
			struct pack_error *err)
{
	struct pack_error ignored, why;
	int r = activate_current(u->state_dir, ret, &why);

	*base = PACK_ACTIVE;
	if (r)
		return pack_say(err, r, "the active pack is refused: %.400s (oknek update --rollback "
				"puts it aside)", why.text);
	if (*ret)
		return 0;
	*base = PACK_SHIPPED;
	if (access(OKNEK_RULES_DIR, F_OK) < 0 ||
	    cli_pack_trusted(OKNEK_RULES_DIR, NULL, ret, &ignored))
		*ret = NULL;
	return 0;
}

static int update_from(struct cli *cli, const struct update *u, const char *from)
{
	_cleanup_rules_ struct ruleset *old_rules = NULL, *new_rules = NULL;
	_cleanup_pack_ struct pack *next = NULL, *present = NULL;
	_cleanup_json_ json_t *changes = NULL;
	_cleanup_close_ int lock = -1;
	char what[PACK_TITLE_SIZE];
	struct pack_error err;
	enum pack_base base;
	bool running;
	int r;

	if (open_pack(u, from, &next, &err))
		return failed(&err);
	lock = activate_lock(u->state_dir, &err);
	if (lock < 0 || open_present(u, &present, &base, &err))
		return failed(&err);
	r = pack_may_follow(next, present, base, cli->now, &err);
	if (r < 0)
		return failed(&err);
	cli_pack_title(next, what);
	running = daemon_runs(cli);
	if (cli_pack_rules(next, &new_rules, &err) ||
	    (present && cli_pack_rules(present, &old_rules, &err)) ||
	    (present && check_versions(old_rules, new_rules, &err)) ||
	    (!running && check_site(u, next, &err)))
		return failed(&err);
	changes = cli_pack_diff(old_rules, new_rules);
	if (r == 1 && base == PACK_ACTIVE)
		return serve(cli, u, what, changes, NULL, NULL);
	if (!cli->json)
		print_changes(cli, changes);
	if (!confirmed(u))
		return CLI_FAILED;
	if (activate_stage(u->state_dir, next, &err))
		return failed(&err);
	/* Before anything is exchanged: whoever kills us then leaves what a daemon starts with. */
	r = running ? ask_daemon(cli, u, "incoming", &err) : 0;
	if (r > 0)
		r = check_site(u, next, &err);
	if (r) {
		failed(&err);
		if (activate_unstage(u->state_dir, &err))
			return failed(&err);
		if (running)
			cli_error("the rules that served go on");
		return CLI_FAILED;
	}
	if (activate_exchange(u->state_dir, &err))
		return failed(&err);
	return serve(cli, u, what, changes, activate_undo, activate_keep);
}

static int roll_back(struct cli *cli, const struct update *u)
{
	_cleanup_json_ json_t *none = json_array();
	_cleanup_pack_ struct pack *active = NULL;
	_cleanup_close_ int lock = -1;
	char what[PACK_TITLE_SIZE] = "the shipped pack";
	struct pack_error err;

	lock = activate_lock(u->state_dir, &err);
	if (lock < 0)
		return failed(&err);
	if (ask_daemon(cli, u, activate_has_previous(u->state_dir) ? "previous" : "shipped", &err) < 0) {
		failed(&err);
		cli_error("the rules that served go on");
		return CLI_FAILED;
	}
	if (activate_rollback(u->state_dir, &err) ||
	    activate_current(u->state_dir, &active, &err))
		return failed(&err);
	if (active)
		cli_pack_title(active, what);
	return serve(cli, u, what, none, activate_rollback, NULL);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct update u = { .state_dir = OKNEK_STATE_DIR, .timeout_s = FETCH_S };
	const struct cli_option opts[] = {
		{ "reload-local", NULL, &u.reload }, { "rollback", NULL, &u.rollback },
		{ "yes", NULL, &u.yes },	     { "state-dir", &u.state_dir, NULL },
		{ "config", &u.config, NULL },	     { "cacert", &u.cacert, NULL },
		{ "timeout", &u.timeout, NULL },
		{ NULL, NULL, NULL },
	};
	int n = cli_options(cli, argc, argv, opts, false);

	if (n < 0)
		return n == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (u.reload && u.rollback)
		return cli_usage(cli, "--rollback and --reload-local are two things");
	if (!cli_positional(cli, n, 0, u.reload || u.rollback ? 0 : 1))
		return CLI_FAILED;
	if (u.timeout && (cli_parse_duration(u.timeout, &u.timeout_s) || u.timeout_s < 1 ||
			  u.timeout_s > TIMEOUT_MAX_S))
		return cli_usage(cli, "--timeout takes a duration up to 1d, like 5m");
	if (u.reload)
		return reload_local(cli);
	if (sodium_init() < 0) {
		cli_error("libsodium cannot be used here");
		return CLI_FAILED;
	}
	if (u.rollback)
		return roll_back(cli, &u);
	if (!argv[1])
		return cli_usage(cli, "nothing is fetched without being asked for: name a pack (FILE, DIR or https "
				      "URL), --rollback or --reload-local");
	return update_from(cli, &u, argv[1]);
}

const struct cli_command cmd_update = {
	.name = "update",
	.args = "FILE | DIR | https://… | --rollback | --reload-local",
	.summary = "activate a signed pack of rules, or read those of this host again",
	.help = "  --yes            do not ask\n"
		"  --rollback       the pack before, or what was shipped\n"
		"  --reload-local   the rule files of this host alone\n"
		"  --state-dir DIR  (default " OKNEK_STATE_DIR ")\n"
		"  --config FILE    it must go with, when no daemon runs that says so\n"
		"  --cacert FILE    certificates to trust for https, instead of the host's\n"
		"  --timeout TIME   for https (default 5m)\n\n"
		"A pack is a .tar.gz, a folder of its contents, or a folder with one .tar.gz. The rules\n"
		"that serve go on until the new ones are ready. What is refused changes nothing.\n",
	.run = run,
};
