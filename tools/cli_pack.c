/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "tools/cli_archive.h"

/* 1: in this folder lies one archive and no manifest, as on a stick that carries a pack. 0: it is a
 * pack, or nothing that we know. */
static int only_archive(int dir_fd, const char *dir, char **ret, struct pack_error *err)
{
	static const char suffix[] = ".tar.gz";
	_cleanup_free_ char *found = NULL;
	DIR *d = opendir(dir);
	const struct dirent *e;
	int n = 0;

	if (!d)
		return pack_say(err, -errno, "%s: %s", dir, strerror(errno));
	while ((e = readdir(d))) {
		size_t len = strlen(e->d_name);

		if (len < sizeof(suffix) || e->d_name[0] == '.' ||
		    strcmp(e->d_name + len - (sizeof(suffix) - 1), suffix) || n++)
			continue;
		found = strdup(e->d_name);
		if (!found)
			break;
	}
	closedir(d);
	if (faccessat(dir_fd, PACK_MANIFEST, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (!n)
		return pack_say(err, -ENOENT, "%s: neither a pack (" PACK_MANIFEST ", "
				PACK_SIGNATURE ", rules/) nor a folder with one .tar.gz", dir);
	if (n > 1)
		return pack_say(err, -EINVAL, "%s: %d archives lie there: name the one that is meant",
				dir, n);
	*ret = TAKE_PTR(found);
	return *ret ? 1 : pack_say(err, -ENOMEM, "out of memory");
}

int cli_pack_open(const char *path, struct pack **ret, struct pack_error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), inside = -1;
	_cleanup_free_ char *name = NULL;
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0)
		return pack_say(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return archive_read_pack(fd, path, ret, err);
	rc = only_archive(fd, path, &name, err);
	if (rc <= 0)
		return rc ? rc : pack_read_dir(path, ret, err);
	inside = openat(fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (inside < 0)
		return pack_say(err, -errno, "%s/%s: %s", path, name, strerror(errno));
	return archive_read_pack(inside, name, ret, err);
}

int cli_pack_public_key(const char *file, uint8_t ret[32], struct pack_error *err)
{
	_cleanup_close_ int fd = -1;
	char hex[PACK_KEY_HEX + 2];
	ssize_t n;
	size_t len;

	if (sodium_init() < 0)
		return pack_say(err, -ENOSYS, "libsodium cannot be used here");
	if (!file && pack_builtin_key(ret) < 0)
		return pack_say(err, -EINVAL, "this oknek was built without a key to trust");
	if (!file)
		return 0;
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	n = fd < 0 ? -1 : read(fd, hex, sizeof(hex));
	if (n < 0)
		return pack_say(err, -errno, "%s: %s", file, strerror(errno));
	if (n == PACK_KEY_HEX + 1 && hex[PACK_KEY_HEX] == '\n')
		n--;
	if (n != PACK_KEY_HEX ||
	    sodium_hex2bin(ret, 32, hex, PACK_KEY_HEX, NULL, &len, NULL) || len != 32)
		return pack_say(err, -EINVAL, "%s: a public key is 64 hex digits", file);
	return 0;
}

int cli_pack_verify(struct pack *p, const char *path, const char *key_file, struct pack_error *err)
{
	uint8_t key[32];
	int rc = cli_pack_public_key(key_file, key, err);

	if (rc)
		return rc;
	rc = pack_verify(p, key, err);
	if (rc) {
		char why[sizeof(err->text)];

		memcpy(why, err->text, sizeof(why));
		return pack_say(err, rc, "%.100s: %.400s", path, why);
	}
	return 0;
}

int cli_pack_trusted(const char *path, const char *key_file, struct pack **ret,
		     struct pack_error *err)
{
	_cleanup_pack_ struct pack *p = NULL;
	int rc = cli_pack_open(path, &p, err);

	if (!rc)
		rc = cli_pack_verify(p, path, key_file, err);
	if (!rc)
		*ret = TAKE_PTR(p);
	return rc;
}

void cli_pack_title(const struct pack *p, char buf[PACK_TITLE_SIZE])
{
	const struct pack_manifest *m = pack_manifest(p);

	snprintf(buf, PACK_TITLE_SIZE, "%s %u.%u.%u", m->name, m->version.major, m->version.minor,
		 m->version.patch);
}

static int load_rules(const struct pack *p, struct rules_config *c, struct ruleset **ret,
		      struct pack_error *err)
{
	_cleanup_free_ struct rules_file *files = NULL;
	struct rules_error why = { "" };
	_cleanup_rules_ struct ruleset *rs = NULL;
	int rc;

	if (pack_rule_files(p, &files, &c->n_files))
		return pack_say(err, -ENOMEM, "out of memory");
	c->pack = pack_manifest(p)->name;
	c->files = files;
	rc = ruleset_load(c, &rs, &why);
	if (rc)
		return pack_say(err, rc, "%s", why.text[0] ? why.text : strerror(-rc));
	rc = pack_check_rules(rs, err);
	if (!rc)
		*ret = TAKE_PTR(rs);
	return rc;
}

int cli_pack_rules(const struct pack *p, struct ruleset **ret, struct pack_error *err)
{
	/* What can be stopped is the host's matter; here the rules are to be whole. */
	struct rules_config c = { 0 };

	return load_rules(p, &c, ret, err);
}

int cli_pack_rules_here(const struct pack *p, const char *config_file, const struct config *config,
			struct ruleset **ret, struct pack_error *err)
{
	_cleanup_free_ char *site = config_rules_dir(config_file);
	const char *dirs[2] = { NULL };
	struct rules_config c = { .dirs = dirs, .site = config };

	if (!site)
		return pack_say(err, -ENOMEM, "out of memory");
	if (access(site, F_OK) == 0) {
		dirs[0] = site;
		c.site_only_x = true;
	}
	return load_rules(p, &c, ret, err);
}

/* ---- differences --------------------------------------------------------------------------- */

static void rule_name(const struct rule *r, char buf[128])
{
	snprintf(buf, 128, "%s%s%s", r->id, *r->part ? "/" : "", r->part);
}

static json_t *rule_brief(const struct rule *r)
{
	return r ? json_pack("{s:i,s:s,s:s}", "version", (int)r->version, "action",
			     verdict_name(r->action), "name", r->name) :
		   json_null();
}

static ssize_t find_rule(const struct ruleset *rs, const struct rule *r)
{
	for (size_t i = 0; rs && i < ruleset_count(rs); i++) {
		const struct rule *x = ruleset_rule(rs, i);

		if (!strcmp(x->id, r->id) && !strcmp(x->part, r->part))
			return (ssize_t)i;
	}
	return -1;
}

static void add_change(json_t *list, const char *change, const struct rule *old,
		       const struct rule *new)
{
	char name[128];

	rule_name(new ? new : old, name);
	json_array_append_new(list, json_pack("{s:s,s:s,s:o,s:o}", "rule", name, "change", change,
					      "old", rule_brief(old), "new", rule_brief(new)));
}

json_t *cli_pack_diff(const struct ruleset *old, const struct ruleset *new)
{
	json_t *list = json_array();

	for (size_t i = 0; old && i < ruleset_count(old); i++)
		if (find_rule(new, ruleset_rule(old, i)) < 0)
			add_change(list, "removed", ruleset_rule(old, i), NULL);
	for (size_t i = 0; i < ruleset_count(new); i++) {
		const struct rule *r = ruleset_rule(new, i);
		ssize_t at = find_rule(old, r);

		if (at < 0)
			add_change(list, "added", NULL, r);
		else if (strcmp(ruleset_source(old, (size_t)at), ruleset_source(new, i)) ||
			 !ruleset_same_lists(old, (size_t)at, new, i))
			add_change(list, "changed", ruleset_rule(old, (size_t)at), r);
	}
	return list;
}
