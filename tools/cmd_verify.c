/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "store/store.h"
#include "tools/cli.h"
#include "tools/cli_rules.h"

/* SEQ:HASH. */
static int parse_head(const char *s, uint64_t *seq, const char **hash)
{
	const char *colon = strchr(s, ':');
	char number[24];
	int64_t n;

	if (!colon || strlen(colon + 1) != 64 ||
	    strspn(colon + 1, "0123456789abcdef") != 64 || colon - s >= (ssize_t)sizeof(number))
		return -EINVAL;
	memcpy(number, s, (size_t)(colon - s));
	number[colon - s] = '\0';
	if (cli_parse_number(number, 1, INT64_MAX, &n) < 0)
		return -EINVAL;
	*seq = (uint64_t)n;
	*hash = colon + 1;
	return 0;
}

static void print_json(const struct cli *cli, const struct store_verify_result *v, bool ok)
{
	_cleanup_json_ json_t *j = json_pack(
		"{s:b,s:I,s:I,s:s,s:s,s:b,s:o,s:s,s:o,s:I,s:I,s:I}", "ok", ok, "checked", (json_int_t)v->checked,
		"last_seq", (json_int_t)v->last_seq, "last_hash", v->last_hash, "key",
		v->key_fingerprint, "head_checked", v->head_checked, "first_bad_seq",
		v->first_bad_seq ? json_integer((json_int_t)v->first_bad_seq) : json_null(),
		"finding", v->finding, "problem", rules_json_text(v->problem), "pruned", (json_int_t)v->pruned,
		"aside", (json_int_t)v->aside, "lost", (json_int_t)v->lost);

	cli_json_line(cli, j, NULL);
}

static void print_absent(const struct cli *cli, uint64_t n, const char *why)
{
	if (n)
		cli_field(cli, "not here", "%llu %s %s", (unsigned long long)n,
			  cli_plural((int64_t)n, "record", "records"), why);
}

static void print_result(const struct cli *cli, const struct store_verify_result *v, bool ok)
{
	if (ok)
		cli_printf(cli, CLI_GREEN, "%-12s", "verified");
	else
		cli_printf(cli, CLI_RED, "%-12s", "BROKEN");
	putchar(' ');
	if (ok) {
		printf("%llu %s, none altered, removed or reordered\n",
		       (unsigned long long)v->checked,
		       cli_plural((int64_t)v->checked, "record", "records"));
	} else {
		cli_text(v->problem);
		putchar('\n');
		cli_field(cli, "checked", "%llu %s", (unsigned long long)v->checked,
			  cli_plural((int64_t)v->checked, "record holds", "records hold"));
	}
	print_absent(cli, v->pruned, "removed by age or size, as signed");
	print_absent(cli, v->aside, "in a database that was set aside, as signed");
	print_absent(cli, v->lost, "lost, as signed");
	if (v->last_seq > 0)
		cli_field(cli, "head", "%llu:%s%s", (unsigned long long)v->last_seq, v->last_hash,
			  v->head_checked || !ok ? "" : " (no signed head to hold it against)");
	cli_field(cli, "key", "%s", v->key_fingerprint);
}

/* The key is read before the database: when the one is there, it may be the other that is not. */
static int cannot_verify(const char *db, const char *key, int r)
{
	const char *slash = strrchr(db, '/');
	_cleanup_free_ char *beside = NULL;

	if (asprintf(&beside, "%.*shost.pub", slash ? (int)(slash + 1 - db) : 0, db) < 0)
		beside = NULL;
	if (!key)
		key = beside ? beside : "host.pub";
	if (r == -EPROTO)
		cli_error("cannot verify %s: its schema is of a newer oknek than this one, or its "
			  "version was altered", db);
	else if (access(db, F_OK) == 0 && access(key, R_OK) < 0)
		cli_error("cannot verify %s: its key %s: %s", db, key, strerror(-r));
	else
		cli_error("cannot verify %s: %s", db, strerror(-r));
	return CLI_FAILED;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *head = NULL, *state_dir = OKNEK_STATE_DIR, *key = NULL, *hash = NULL;
	const struct cli_option opts[] = {
		{ "head", &head, NULL },
		{ "state-dir", &state_dir, NULL },
		{ "key", &key, NULL },
		{ NULL, NULL, NULL },
	};
	struct store_verify_result v = { 0 };
	_cleanup_free_ char *in_state_dir = NULL;
	uint64_t seq = 0;
	const char *db;
	int r = cli_options(cli, argc, argv, opts, false);

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (!cli_positional(cli, r, 0, 1))
		return CLI_FAILED;
	if (head && parse_head(head, &seq, &hash) < 0)
		return cli_usage(cli, "--head is SEQ:HASH, with a hash of 64 hexadecimal digits");
	if (asprintf(&in_state_dir, "%s/oknek.db", state_dir) < 0) {
		in_state_dir = NULL;
		return CLI_FAILED;
	}
	db = argv[1] ? argv[1] : in_state_dir;
	r = store_verify(db, key, NULL, seq, hash, &v);
	if (r < 0)
		return cannot_verify(db, key, r);
	if (cli->json)
		print_json(cli, &v, r == 0);
	else
		print_result(cli, &v, r == 0);
	if (cli_flush() != CLI_DONE)
		return CLI_FAILED;
	return r == 0 ? CLI_DONE : CLI_FOUND;
}

const struct cli_command cmd_verify = {
	.name = "verify",
	.args = "[--head SEQ:HASH] [--key FILE] [--state-dir DIR] [DB]",
	.summary = "check every record's hash and signature, and the end of the chain",
	.help = "  --head SEQ:HASH   the end must be this, or come after it\n"
		"  --key FILE        public key (default: host.pub beside the database)\n"
		"  --state-dir DIR   where oknek.db is (default " OKNEK_STATE_DIR ")\n\n"
		"Exits with 1 and names the first record that does not hold, if one does not.\n",
	.run = run,
};
