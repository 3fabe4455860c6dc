/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/io.h"
#include "tools/cli.h"
#include "tools/cli_archive.h"
#include "tools/cli_archive_read.h"
#include "tools/cli_pack.h"
#include "tools/cli_rules.h"

#define EXPIRES_DEFAULT_S (365 * INT64_C(86400))

/* 0, or said on stderr. */
static int failed(const struct pack_error *err)
{
	cli_error("%s", err->text);
	return CLI_FAILED;
}

static int write_new(const char *path, const char *text, mode_t mode)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0)
		return -errno;
	return io_write_all(fd, text, strlen(text));
}

static int keygen(struct cli *cli, int n, char **argv)
{
	uint8_t seed[32], public_key[32], secret[64];
	char hex[PACK_KEY_HEX + 2];
	_cleanup_free_ char *pub = NULL;
	int rc;

	if (!cli_positional(cli, n, 2, 2))
		return CLI_FAILED;
	randombytes_buf(seed, sizeof(seed));
	crypto_sign_seed_keypair(public_key, secret, seed);
	sodium_bin2hex(hex, sizeof(hex), seed, sizeof(seed));
	strcat(hex, "\n");
	rc = write_new(argv[2], hex, 0600);
	if (rc) {
		cli_error("%s: %s", argv[2], strerror(-rc));
		return CLI_FAILED;
	}
	if (asprintf(&pub, "%s.pub", argv[2]) < 0)
		return CLI_FAILED;
	sodium_bin2hex(hex, sizeof(hex), public_key, sizeof(public_key));
	strcat(hex, "\n");
	rc = write_new(pub, hex, 0644);
	sodium_memzero(seed, sizeof(seed));
	sodium_memzero(secret, sizeof(secret));
	if (rc) {
		cli_error("%s: %s", pub, strerror(-rc));
		return CLI_FAILED;
	}
	hex[PACK_KEY_HEX] = '\0';
	if (cli->json) {
		_cleanup_json_ json_t *j = json_pack("{s:o,s:o,s:s}", "key",
						     rules_json_text(argv[2]), "public",
						     rules_json_text(pub), "public_key", hex);

		cli_json_line(cli, j, NULL);
	} else {
		cli_field(cli, "key", "%s (keep it secret)", argv[2]);
		cli_field(cli, "public", "%s", pub);
	}
	return cli_flush();
}

/* ---- build --------------------------------------------------------------------------------- */

/* A public key looks like a seed, and signs what nobody trusts. */
static int check_halves(const char *file, const uint8_t public_key[32])
{
	_cleanup_free_ char *pub = NULL;
	uint8_t other[32];
	struct pack_error err;
	size_t n = strlen(file);

	if (n > 4 && !strcmp(file + n - 4, ".pub")) {
		cli_error("%s: this is the public half of a key: the secret one signs", file);
		return -EINVAL;
	}
	if (asprintf(&pub, "%s.pub", file) < 0) {
		pub = NULL;
		return -ENOMEM;
	}
	if (access(pub, F_OK) < 0 || cli_pack_public_key(pub, other, &err) ||
	    !memcmp(other, public_key, sizeof(other)))
		return 0;
	cli_error("%s is not the secret half of %s", file, pub);
	return -EINVAL;
}

static int read_secret(const char *file, uint8_t secret[64])
{
	uint8_t seed[32], public_key[32];
	char hex[PACK_KEY_HEX + 2];
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : read(fd, hex, sizeof(hex));
	size_t len;

	if (n < 0) {
		cli_error("%s: %s", file, strerror(errno));
		return -errno;
	}
	if (n < PACK_KEY_HEX || (n > PACK_KEY_HEX && hex[PACK_KEY_HEX] != '\n') ||
	    n > PACK_KEY_HEX + 1 ||
	    sodium_hex2bin(seed, sizeof(seed), hex, PACK_KEY_HEX, NULL, &len, NULL) || len != 32) {
		cli_error("%s: a key is 64 hex digits, as oknek pack keygen makes it", file);
		return -EINVAL;
	}
	crypto_sign_seed_keypair(public_key, secret, seed);
	sodium_memzero(seed, sizeof(seed));
	return check_halves(file, public_key);
}

static int is_rule_file(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && ((n > 5 && !strcmp(e->d_name + n - 5, ".yaml")) ||
				       (n > 4 && !strcmp(e->d_name + n - 4, ".yml")));
}

static int add_rule(struct pack *p, const char *dir, const char *file, struct pack_error *err)
{
	_cleanup_free_ char *path = NULL, *name = NULL;
	_cleanup_free_ uint8_t *data = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;

	/* A folder of rules is read with both endings, a pack has but one: nothing is left out in silence. */
	if (!strcmp(strrchr(file, '.'), ".yml"))
		return pack_say(err, -EINVAL, "%s/%s: rule files of a pack end in .yaml: rename it", dir,
				file);
	if (asprintf(&path, "%s/%s", dir, file) < 0 || asprintf(&name, "rules/%s", file) < 0)
		return pack_say(err, -ENOMEM, "out of memory");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return pack_say(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > PACK_BYTES_MAX)
		return pack_say(err, -EINVAL, "%s: no regular file of a sensible size", path);
	data = malloc((size_t)st.st_size + 1);
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		return pack_say(err, -EIO, "%s: cannot be read", path);
	return pack_add(p, name, data, (size_t)st.st_size, err);
}

/* DIR holds the rule files, or a pack's contents: then its folder rules does. */
static int add_rules(struct pack *p, const char *dir, struct pack_error *err)
{
	_cleanup_free_ char *within = NULL;
	struct dirent **names;
	int n, rc = 0;

	if (asprintf(&within, "%s/rules", dir) < 0) {
		within = NULL;
		return -ENOMEM;
	}
	if (access(within, F_OK) == 0)
		dir = within;
	n = scandir(dir, &names, is_rule_file, alphasort);
	if (n < 0)
		return pack_say(err, -errno, "%s: %s", dir, strerror(errno));
	if (n == 0)
		rc = pack_say(err, -ENOENT, "%s: there are no rule files (*.yaml) in it", dir);
	for (int i = 0; i < n; i++) {
		if (!rc)
			rc = add_rule(p, dir, names[i]->d_name, err);
		free(names[i]);
	}
	free(names);
	return rc;
}

struct building {
	const char *key, *name, *version, *expires, *created, *previous, *out;
};

static int fill_manifest(const struct cli *cli, const struct building *b, struct pack_manifest *m,
			 struct pack **previous)
{
	int64_t created_ns, lifetime_s = EXPIRES_DEFAULT_S;
	struct pack_error err;

	m->name = (char *)b->name;
	if (!b->version || pack_version_parse(b->version, &m->version))
		return cli_usage(cli, "--pack-version takes three numbers like 1.2.3");
	m->created_unix_s = cli->now;
	if (b->created && rfc3339_parse(b->created, &created_ns))
		return cli_usage(cli, "--created takes a time like 2026-01-31T00:00:00Z");
	if (b->created)
		m->created_unix_s = created_ns / 1000000000;
	if (b->expires && (cli_parse_duration(b->expires, &lifetime_s) || lifetime_s <= 0))
		return cli_usage(cli, "--expires takes a duration like 365d");
	m->expires_unix_s = m->created_unix_s + lifetime_s;
	if (b->previous) {
		_cleanup_pack_ struct pack *old = NULL;
		uint8_t secret[64], public_key[32];

		if (read_secret(b->key, secret))
			return CLI_FAILED;
		crypto_sign_ed25519_sk_to_pk(public_key, secret);
		if (cli_pack_open(b->previous, &old, &err) || pack_verify(old, public_key, &err))
			return failed(&err);
		snprintf(m->previous, sizeof(m->previous), "%s", pack_digest(old));
		*previous = TAKE_PTR(old);
	}
	return CLI_DONE;
}

static void first_fault(void *arg, const struct version_fault *f)
{
	struct pack_error *err = arg;

	if (!err->text[0])
		version_fault_text(f, err->text, sizeof(err->text));
}

/* What `oknek update` refuses after that pack. */
static int check_previous(const struct pack_manifest *m, const struct ruleset *rs,
			  const struct pack *old, struct pack_error *err)
{
	_cleanup_rules_ struct ruleset *was = NULL;
	const struct pack_manifest *a = pack_manifest(old);
	int rc;

	if (strcmp(m->name, a->name))
		return pack_say(err, -EINVAL, "the previous pack is %s, this one is %s", a->name, m->name);
	if (pack_version_compare(&m->version, &a->version) <= 0)
		return pack_say(err, -EINVAL, "version %u.%u.%u is not above %u.%u.%u of the previous pack",
				m->version.major, m->version.minor, m->version.patch, a->version.major,
				a->version.minor, a->version.patch);
	rc = cli_pack_rules(old, &was, err);
	if (rc)
		return rc;
	err->text[0] = '\0';
	return ruleset_compare_versions(was, rs, first_fault, err) ? -EINVAL : 0;
}

static int any_file(void *arg, const char *name, const void *data, size_t len)
{
	(void)arg;
	(void)name;
	(void)data;
	(void)len;
	return 0;
}

/* Readers have bounds, as that of how far it may be packed. */
static int check_readable(int fd, const char *path, struct pack_error *err)
{
	_cleanup_free_ uint8_t *data = NULL;
	char why[ARCHIVE_ERROR_SIZE] = "";
	struct stat st;
	int rc;

	if (fstat(fd, &st) < 0)
		return pack_say(err, -errno, "%s: %s", path, strerror(errno));
	data = malloc((size_t)st.st_size + 1);
	if (!data || pread(fd, data, (size_t)st.st_size, 0) != st.st_size)
		return pack_say(err, -EIO, "%s: cannot be read", path);
	rc = archive_read_bytes(data, (size_t)st.st_size, any_file, NULL, why);
	return rc ? pack_say(err, rc, "%.100s: no host would take it: %.300s", path, why) : 0;
}

static int write_pack(const struct pack *p, const char *path, struct pack_error *err)
{
	_cleanup_free_ char *tmp = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	int rc;

	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return pack_say(err, -EINVAL, "%s: is there, and no regular file", path);
	if (asprintf(&tmp, "%s.%d.new", path, (int)getpid()) < 0)
		return pack_say(err, -ENOMEM, "out of memory");
	fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return pack_say(err, -errno, "%s: %s", tmp, strerror(errno));
	rc = archive_write_pack(p, fd, err);
	if (!rc)
		rc = check_readable(fd, path, err);
	if (!rc && (fsync(fd) < 0 || rename(tmp, path) < 0))
		rc = pack_say(err, -errno, "%s: %s", path, strerror(errno));
	if (rc)
		unlink(tmp);
	return rc;
}

static int build(struct cli *cli, int n, char **argv, struct building *b)
{
	_cleanup_rules_ struct ruleset *rs = NULL;
	_cleanup_pack_ struct pack *p = pack_new(), *previous = NULL;
	_cleanup_free_ char *name = NULL;
	struct pack_manifest m = { 0 };
	struct pack_error err = { "" };
	uint8_t secret[64];
	int rc;

	if (!cli_positional(cli, n, 2, 2))
		return CLI_FAILED;
	if (!b->key)
		return cli_usage(cli, "--key FILE is missing (oknek pack keygen makes one)");
	if (!b->name)
		b->name = "oknek-rules";
	rc = fill_manifest(cli, b, &m, &previous);
	if (rc)
		return rc;
	if (!b->out && asprintf(&name, "%s-v%u.%u.%u.tar.gz", m.name, m.version.major,
				m.version.minor, m.version.patch) < 0)
		return CLI_FAILED;
	if (!p)
		return CLI_FAILED;
	if (add_rules(p, argv[2], &err))
		return failed(&err);
	if (read_secret(b->key, secret))
		return CLI_FAILED; /* said */
	rc = pack_sign(p, &m, secret, &err);
	sodium_memzero(secret, sizeof(secret));
	/* What does not load is not worth signing. */
	if (!rc)
		rc = cli_pack_rules(p, &rs, &err);
	if (!rc && previous)
		rc = check_previous(&m, rs, previous, &err);
	if (!rc)
		rc = write_pack(p, b->out ? b->out : name, &err);
	if (rc)
		return failed(&err);
	if (cli->json) {
		_cleanup_json_ json_t *j = json_pack("{s:o,s:s,s:I}", "pack",
						     rules_json_text(b->out ? b->out : name), "digest",
						     pack_digest(p), "rules",
						     (json_int_t)ruleset_count(rs));

		cli_json_line(cli, j, NULL);
	} else {
		cli_field(cli, "pack", "%s", b->out ? b->out : name);
		cli_field(cli, "rules", "%zu", ruleset_count(rs));
		cli_field(cli, "digest", "%s", pack_digest(p));
	}
	return cli_flush();
}

/* ---- verify, show, diff -------------------------------------------------------------------- */

static json_t *manifest_json(const struct pack *p)
{
	static const struct zone utc;
	const struct pack_manifest *m = pack_manifest(p);
	char version[40], created[RFC3339_SIZE], expires[RFC3339_SIZE];
	json_t *files = json_array();

	snprintf(version, sizeof(version), "%u.%u.%u", m->version.major, m->version.minor,
		 m->version.patch);
	zone_rfc3339(&utc, m->created_unix_s * 1000000000, false, created, sizeof(created));
	zone_rfc3339(&utc, m->expires_unix_s * 1000000000, false, expires, sizeof(expires));
	for (size_t i = 0; i < m->n_files; i++)
		json_array_append_new(files, rules_json_text(m->files[i].name));
	return json_pack("{s:o,s:s,s:s,s:s,s:o,s:s,s:o}", "name", rules_json_text(m->name), "version", version,
			 "created", created, "expires", expires, "previous",
			 m->previous[0] ? json_string(m->previous) : json_null(), "digest",
			 pack_digest(p), "files", files);
}

static void print_manifest(const struct cli *cli, const json_t *m)
{
	cli_field(cli, "pack", "%s %s", cli_str(m, "name"), cli_str(m, "version"));
	cli_field(cli, "created", "%s", cli_str(m, "created"));
	cli_field(cli, "expires", "%s", cli_str(m, "expires"));
	if (*cli_str(m, "previous"))
		cli_field(cli, "previous", "%s", cli_str(m, "previous"));
	cli_field(cli, "digest", "%s", cli_str(m, "digest"));
}

static int verify(struct cli *cli, int n, char **argv, const char *key)
{
	_cleanup_rules_ struct ruleset *rs = NULL;
	_cleanup_pack_ struct pack *p = NULL;
	_cleanup_json_ json_t *j = NULL;
	struct pack_error err = { "" };
	uint8_t trusted[32];
	int rc;

	if (!cli_positional(cli, n, 2, 2))
		return CLI_FAILED;
	if (access(argv[2], R_OK) < 0) {
		cli_error("%s: %s", argv[2], strerror(errno));
		return CLI_FAILED;
	}
	if (cli_pack_public_key(key, trusted, &err))
		return failed(&err);
	rc = cli_pack_trusted(argv[2], key, &p, &err);
	if (!rc)
		rc = cli_pack_rules(p, &rs, &err);
	if (!rc)
		rc = pack_may_follow(p, NULL, PACK_ACTIVE, cli->now, &err);
	j = rc ? json_pack("{s:b,s:o}", "ok", 0, "problem", rules_json_text(err.text)) : manifest_json(p);
	if (!rc)
		json_object_set_new(j, "ok", json_true());
	if (cli->json)
		cli_json_line(cli, j, NULL);
	else if (rc)
		cli_error("%s", err.text);
	else
		print_manifest(cli, j);
	if (cli_flush())
		return CLI_FAILED;
	return rc ? CLI_FOUND : CLI_DONE;
}

static int show(struct cli *cli, int n, char **argv, const char *key)
{
	_cleanup_rules_ struct ruleset *rs = NULL;
	_cleanup_pack_ struct pack *p = NULL;
	_cleanup_json_ json_t *j = NULL;
	struct cli_table t = { .columns = 5 };
	struct pack_error err;
	json_t *rules;

	if (!cli_positional(cli, n, 2, 2))
		return CLI_FAILED;
	if (cli_pack_trusted(argv[2], key, &p, &err) || cli_pack_rules(p, &rs, &err))
		return failed(&err);
	j = manifest_json(p);
	rules = json_array();
	json_object_set_new(j, "rules", rules);
	cli_table_add(&t, (const char *[]){ "RULE", "VERSION", "ACTION", "KIND", "NAME" });
	for (size_t i = 0; i < ruleset_count(rs); i++) {
		const struct rule *r = ruleset_rule(rs, i);
		char name[128], version[16];

		snprintf(name, sizeof(name), "%s%s%s", r->id, *r->part ? "/" : "", r->part);
		snprintf(version, sizeof(version), "%u", r->version);
		cli_table_add(&t, (const char *[]){ name, version, verdict_name(r->action),
						    event_kind_name(r->kind), r->name });
		json_array_append_new(rules, json_pack("{s:s,s:s,s:i,s:s,s:s,s:s}", "id", r->id,
						       "part", r->part, "version", (int)r->version,
						       "action", verdict_name(r->action), "kind",
						       event_kind_name(r->kind), "name", r->name));
	}
	if (cli->json) {
		cli_json_line(cli, j, NULL);
	} else {
		print_manifest(cli, j);
		putchar('\n');
		cli_table_print(cli, &t);
	}
	cli_table_free(&t);
	return cli_flush();
}

static int diff(struct cli *cli, int n, char **argv, const char *key)
{
	_cleanup_rules_ struct ruleset *old_rules = NULL, *new_rules = NULL;
	_cleanup_pack_ struct pack *old = NULL, *new = NULL;
	_cleanup_json_ json_t *list = NULL;
	struct cli_table t = { .columns = 4 };
	struct pack_error err;
	const json_t *item;
	size_t i;

	if (!cli_positional(cli, n, 3, 3))
		return CLI_FAILED;
	if (cli_pack_trusted(argv[2], key, &old, &err) ||
	    cli_pack_trusted(argv[3], key, &new, &err) ||
	    cli_pack_rules(old, &old_rules, &err) || cli_pack_rules(new, &new_rules, &err))
		return failed(&err);
	list = cli_pack_diff(old_rules, new_rules);
	cli_table_add(&t, (const char *[]){ "RULE", "CHANGE", "ACTION", "NAME" });
	json_array_foreach(list, i, item) {
		const json_t *a = json_object_get(item, "old"), *b = json_object_get(item, "new");
		char action[32];

		if (cli->json) {
			cli_json_line(cli, item, NULL);
			continue;
		}
		snprintf(action, sizeof(action), "%s%s%s", cli_str(a, "action"),
			 json_is_object(a) && json_is_object(b) ? " → " : "", cli_str(b, "action"));
		cli_table_add(&t, (const char *[]){ cli_str(item, "rule"), cli_str(item, "change"),
						    action, cli_str(json_is_object(b) ? b : a, "name") });
	}
	if (!cli->json && json_array_size(list))
		cli_table_print(cli, &t);
	else if (!cli->json)
		puts("no rule differs");
	cli_table_free(&t);
	return cli_flush();
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct building b = { 0 };
	const char *key = NULL;
	const struct cli_option opts[] = {
		{ "key", &key, NULL }, { "name", &b.name, NULL },
		{ "pack-version", &b.version, NULL }, { "expires", &b.expires, NULL },
		{ "created", &b.created, NULL }, { "previous", &b.previous, NULL },
		{ "output", &b.out, NULL }, { NULL, NULL, NULL },
	};
	int n = cli_options(cli, argc, argv, opts, false);

	if (n < 0)
		return n == CLI_HELP ? CLI_DONE : CLI_FAILED;
	if (sodium_init() < 0) {
		cli_error("libsodium cannot be used here");
		return CLI_FAILED;
	}
	b.key = key;
	if (n < 1)
		return cli_usage(cli, "keygen, build, verify, show or diff is expected");
	if (!strcmp(argv[1], "keygen"))
		return keygen(cli, n, argv);
	if (!strcmp(argv[1], "build"))
		return build(cli, n, argv, &b);
	if (!strcmp(argv[1], "verify"))
		return verify(cli, n, argv, key);
	if (!strcmp(argv[1], "show"))
		return show(cli, n, argv, key);
	if (!strcmp(argv[1], "diff"))
		return diff(cli, n, argv, key);
	return cli_usage(cli, "%s is none of keygen, build, verify, show, diff", argv[1]);
}

const struct cli_command cmd_pack = {
	.name = "pack",
	.args = "keygen FILE | build --key FILE --pack-version V DIR | verify PACK | show PACK | "
		"diff OLD NEW",
	.summary = "signed packs of rules: make, check, compare",
	.help = "  --key FILE          build: the secret key; else the public key to trust\n"
		"                      (without it the one that is built in)\n"
		"  --pack-version V    of the pack, like 1.2.3\n"
		"  --name NAME         of the pack (oknek-rules)\n"
		"  --expires DURATION  after its making (365d)\n"
		"  --created TIME      instead of now, to make the same pack again\n"
		"  --previous PACK     only this one may be replaced by it\n"
		"  --output FILE       where to (NAME-vV.tar.gz)\n"
		"PACK is a .tar.gz or a folder of its contents. verify exits with 1 when a pack must\n"
		"not be used.\n",
	.run = run,
};
