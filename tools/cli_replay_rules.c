/* SPDX-License-Identifier: Apache-2.0 */
/* Rules as a daemon would load them, from places of one's choice. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "tools/cli_activate.h"
#include "tools/cli_pack.h"
#include "tools/cli_replay.h"

void replay_rules_free(struct replay_rules *r)
{
	ruleset_unref(r->rs);
	free(r->name);
}

static bool names_some_rule(const char *name, const struct ruleset *rs)
{
	for (size_t i = 0; i < ruleset_count(rs); i++) {
		const struct rule *r = ruleset_rule(rs, i);
		size_t n = strlen(r->id);

		if (!strncmp(name, r->id, n) &&
		    (!name[n] || (name[n] == '/' && !strcmp(name + n + 1, r->part))))
			return true;
	}
	return false;
}

/* The same without what is said about rules that are not there: a configuration that nobody named
 * was not written for these. */
static int fitting(const struct config *config, const struct ruleset *rs, struct config *ret)
{
	*ret = *config;
	ret->overrides = calloc(config->n_overrides + 1, sizeof(*ret->overrides));
	ret->exceptions = calloc(config->n_exceptions + 1, sizeof(*ret->exceptions));
	ret->n_overrides = ret->n_exceptions = 0;
	if (!ret->overrides || !ret->exceptions)
		return -ENOMEM;
	for (size_t i = 0; i < config->n_overrides; i++)
		if (names_some_rule(config->overrides[i].rule, rs))
			ret->overrides[ret->n_overrides++] = config->overrides[i];
	for (size_t i = 0; i < config->n_exceptions; i++)
		if (names_some_rule(config->exceptions[i].rule, rs))
			ret->exceptions[ret->n_exceptions++] = config->exceptions[i];
	return 0;
}

static int load(const struct replay_place *p, struct rules_config *c, struct ruleset **ret,
		struct rules_error *err)
{
	struct config site = { 0 };
	struct ruleset *bare = NULL;
	int r;

	/* What this host can stop is no matter here: all is decided alike. */
	c->mechanisms[KIND_FILE_OPENED] = 1u << MECH_FANOTIFY;
	c->retain_default_s = p->config->retain_default_s;
	c->site = p->config;
	if (!p->config_given) {
		c->site = NULL;
		r = ruleset_load(c, &bare, err);
		if (!r)
			r = fitting(p->config, bare, &site);
		ruleset_unref(bare);
		c->site = &site;
		if (r) {
			free(site.overrides);
			free(site.exceptions);
			return r;
		}
	}
	r = ruleset_load(c, ret, err);
	free(site.overrides);
	free(site.exceptions);
	return r;
}

static int said(int r, const struct rules_error *err)
{
	if (r)
		cli_error("%s", err->text[0] ? err->text : strerror(-r));
	return r ? CLI_FAILED : CLI_DONE;
}

int replay_rules_dir(const struct replay_place *p, const char *dir, struct replay_rules *ret)
{
	const char *dirs[] = { dir, NULL };
	struct rules_config c = { .dirs = dirs, .pack = "local", .origin = dir };
	struct rules_error err = { "" };
	struct replay_rules got = { .config = p->config };
	struct stat st;
	int r;

	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode)) {
		cli_error("%s: %s", dir, strerror(stat(dir, &st) < 0 ? errno : ENOTDIR));
		return CLI_FAILED;
	}
	r = load(p, &c, &got.rs, &err);
	if (r)
		return said(r, &err);
	got.name = strdup(dir);
	*ret = got;
	return CLI_DONE;
}

/* rules.d beside the configuration file, where it is. */
static char *site_dir(const struct replay_place *p)
{
	char *path = config_rules_dir(p->config_path);

	if (path && access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

/* The rules of a verified pack and those of this host. */
static int of_pack(const struct replay_place *p, const struct pack *pack, struct replay_rules *ret,
		   struct rules_error *err)
{
	const struct pack_manifest *m = pack_manifest(pack);
	_cleanup_free_ struct rules_file *files = NULL;
	_cleanup_free_ char *site = site_dir(p);
	const char *dirs[] = { site, NULL };
	struct rules_config c = { .dirs = dirs, .site_only_x = site != NULL };
	struct replay_rules got = { .config = p->config };
	char name[160];
	int r;

	if (pack_rule_files(pack, &files, &c.n_files))
		return -ENOMEM;
	c.files = files;
	snprintf(name, sizeof(name), "%.120s %u.%u.%u", m->name, m->version.major,
		 m->version.minor, m->version.patch);
	c.pack = name;
	r = load(p, &c, &got.rs, err);
	if (r)
		return r;
	if (asprintf(&got.name, "%s%s", name, site ? " with rules.d" : "") < 0)
		got.name = NULL;
	*ret = got;
	return 0;
}

int replay_rules_pack(const struct replay_place *p, const char *file, struct replay_rules *ret)
{
	_cleanup_rules_ struct ruleset *alone = NULL;
	_cleanup_pack_ struct pack *pack = NULL;
	struct rules_error err = { "" };
	struct pack_error why = { "" };

	/* The second says whether these rules may be in a pack at all. */
	if (cli_pack_trusted(file, NULL, &pack, &why) || cli_pack_rules(pack, &alone, &why)) {
		cli_error("%s", why.text);
		return CLI_FAILED;
	}
	return said(of_pack(p, pack, ret, &err), &err);
}

int replay_rules_active(const struct replay_place *p, struct replay_rules *ret, char why_not[256])
{
	_cleanup_pack_ struct pack *pack = NULL;
	struct rules_error err = { "" };
	struct pack_error why = { "" };
	int r = activate_current(p->state_dir, &pack, &why);

	if (!r && !pack)
		r = cli_pack_trusted(OKNEK_RULES_DIR, NULL, &pack, &why);
	if (!r)
		r = of_pack(p, pack, ret, &err);
	if (r)
		snprintf(why_not, 256, "%.250s", err.text[0] ? err.text :
			 why.text[0] ? why.text : strerror(-r));
	return r ? CLI_FAILED : CLI_DONE;
}
