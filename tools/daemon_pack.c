/* SPDX-License-Identifier: Apache-2.0 */
/* Where rules come from: a signed pack, believed once its signature holds, each time. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "rules/pack.h"
#include "tools/daemon.h"

struct daemon_pack {
	struct pack *pack;
	char *dir;
	char name[128]; /* "oknek-rules 1.2.3" */
	struct rules_file *files;
	size_t n;
};

void daemon_pack_free(struct daemon_pack *p)
{
	if (!p)
		return;
	pack_free(p->pack);
	free(p->files);
	free(p->dir);
	free(p);
}

static void free_cleanup(struct daemon_pack **p)
{
	daemon_pack_free(*p);
}

static int no_memory(struct rules_error *err)
{
	snprintf(err->text, sizeof(err->text), "out of memory");
	return -ENOMEM;
}

/* Rules do not go away with their pack's time: that would be what whoever keeps updates from a host
 * is after. It is said, and no pack that expired is activated. */
static void say_expired(const struct pack_manifest *m, const char *which)
{
	static const struct zone utc;
	char when[RFC3339_SIZE];

	if (m->expires_unix_s > time(NULL))
		return;
	zone_rfc3339(&utc, m->expires_unix_s * INT64_C(1000000000), false, when, sizeof(when));
	log_warning("the %s pack %s %u.%u.%u expired on %.10s; it serves until there is a newer one",
		    which, m->name, m->version.major, m->version.minor, m->version.patch, when);
}

/* The pack in dir, which is taken over; which is a word for people. -ENOENT: no such folder. */
static int load(char *dir, const char *which, struct daemon_pack **ret, struct rules_error *err)
{
	_cleanup_(free_cleanup) struct daemon_pack *p = dir ? calloc(1, sizeof(*p)) : NULL;
	const struct pack_manifest *m;
	struct pack_error why = { "" };
	uint8_t key[32];
	int r;

	if (!p) {
		free(dir);
		return no_memory(err);
	}
	p->dir = dir;
	if (access(dir, F_OK) < 0 && errno == ENOENT)
		return -ENOENT;
	r = sodium_init() < 0 ? -ENOSYS : pack_builtin_key(key);
	if (r < 0)
		pack_say(&why, r, "this oknekd was built without a key to trust");
	if (!r)
		r = pack_read_dir(dir, &p->pack, &why);
	if (!r)
		r = pack_verify(p->pack, key, &why);
	if (r < 0) {
		snprintf(err->text, sizeof(err->text), "the %s pack %.100s is refused: %.300s",
			 which, dir, why.text);
		return r == -ENOENT ? -EBADMSG : r;
	}
	m = pack_manifest(p->pack);
	if (pack_rule_files(p->pack, &p->files, &p->n))
		return no_memory(err);
	snprintf(p->name, sizeof(p->name), "%s %u.%u.%u", m->name, m->version.major,
		 m->version.minor, m->version.patch);
	say_expired(m, which);
	*ret = TAKE_PTR(p);
	return 0;
}

static void use(const struct daemon_pack *p, struct rules_config *c)
{
	c->files = p->files;
	c->n_files = p->n;
	c->pack = p->name;
	c->origin = p->dir;
	c->expires_unix_s = pack_manifest(p->pack)->expires_unix_s;
}

static int shipped(struct rules_config *c, struct daemon_pack **ret, struct rules_error *err)
{
	int r = load(strdup(OKNEK_RULES_DIR), "shipped", ret, err);

	if (r == -ENOENT)
		snprintf(err->text, sizeof(err->text), "no rules: no pack was activated, and the "
			 "shipped one, %s, is not there", OKNEK_RULES_DIR);
	if (!r)
		use(*ret, c);
	return r;
}

/* A pack of the state directory by its folder's name. */
static int of_state(struct daemon *d, const char *name, struct daemon_pack **ret,
		    struct rules_error *err)
{
	char *dir;

	if (asprintf(&dir, "%s/rules/%s", d->opt.state_dir, name) < 0)
		return no_memory(err);
	return load(dir, name, ret, err);
}

/* What serves when it is there, and nothing else in its place. */
static int named(struct daemon *d, const char *name, struct rules_config *c,
		 struct daemon_pack **ret, struct rules_error *err)
{
	int r = of_state(d, name, ret, err);

	if (r == -ENOENT)
		snprintf(err->text, sizeof(err->text), "%s/rules/%s: there is none", d->opt.state_dir,
			 name);
	if (!r)
		use(*ret, c);
	return r;
}

/* What was active when an update was killed after it had exchanged the two: the older one. What an
 * update that did not come so far left is none of that. */
static int interrupted(struct daemon *d, struct rules_config *c, struct daemon_pack **ret,
		       struct rules_error *err)
{
	_cleanup_(free_cleanup) struct daemon_pack *active = NULL, *incoming = NULL;
	int r = of_state(d, "active", &active, err);

	if (!r)
		r = of_state(d, "incoming", &incoming, err);
	if (!r && pack_version_compare(&pack_manifest(incoming->pack)->version,
				       &pack_manifest(active->pack)->version) >= 0)
		r = -ENOENT;
	if (r)
		return r;
	*ret = TAKE_PTR(incoming);
	use(*ret, c);
	return 0;
}

int daemon_choose_pack(struct daemon *d, enum daemon_pack_choice which, struct rules_config *c,
		       const char *dirs[], struct daemon_pack **ret, struct rules_error *err)
{
	int r;

	if (d->opt.rules_dir) {
		dirs[0] = d->opt.rules_dir;
		c->pack = "local";
		c->origin = d->opt.rules_dir;
		return 0;
	}
	switch (which) {
	case DAEMON_PACK_ACTIVE:
		break;
	case DAEMON_PACK_INCOMING:
		return named(d, "incoming", c, ret, err);
	case DAEMON_PACK_INTERRUPTED:
		return interrupted(d, c, ret, err);
	case DAEMON_PACK_PREVIOUS:
		return named(d, "previous", c, ret, err);
	case DAEMON_PACK_SHIPPED:
		return shipped(c, ret, err);
	}
	r = of_state(d, "active", ret, err);
	if (!r)
		use(*ret, c);
	if (r == -ENOENT)
		return shipped(c, ret, err);
	/* A daemon that starts must not be without rules because somebody damaged a pack; one that
	 * has rules keeps them. */
	if (!r || d->rules || d->opt.check)
		return r;
	log_error("%s; the shipped rules serve instead", err->text);
	if (d->journal)
		daemon_own_record(d, "O1", "active pack refused",
				  json_pack("{s:s}", "why", err->text));
	snprintf(d->pack_why, sizeof(d->pack_why), "%s", err->text);
	atomic_store(&d->pack_fell_back, true);
	return shipped(c, ret, err);
}

bool daemon_pack_active(const struct daemon *d)
{
	_cleanup_free_ char *dir = NULL;

	if (d->opt.rules_dir || asprintf(&dir, "%s/rules/active", d->opt.state_dir) < 0) {
		dir = NULL;
		return false;
	}
	return access(dir, F_OK) == 0;
}

bool daemon_pack_dir_is(const struct daemon *d, int64_t dev, int64_t ino)
{
	_cleanup_free_ char *dir = NULL;
	struct stat st;

	if (d->opt.rules_dir || asprintf(&dir, "%s/rules", d->opt.state_dir) < 0) {
		dir = NULL;
		return false;
	}
	return stat(dir, &st) == 0 && (int64_t)st.st_dev == dev && (int64_t)st.st_ino == ino;
}

void daemon_pack_instead(struct daemon *d, const struct ruleset *rs, const char *why)
{
	snprintf(d->pack_why, sizeof(d->pack_why), "the active pack does not load with this host's "
		 "configuration: %.400s", why);
	atomic_store(&d->pack_fell_back, true);
	log_error("%s; those of %s serve instead", d->pack_why, ruleset_origin(rs));
	if (d->journal)
		daemon_own_record(d, "O1", "active pack refused",
				  json_pack("{s:s, s:s}", "why", d->pack_why, "serving",
					    ruleset_origin(rs)));
}

int daemon_pack_check(const struct daemon_pack *p, const struct ruleset *rs,
		      struct rules_error *err)
{
	struct pack_error why;
	int r = p ? pack_check_rules(rs, &why) : 0;

	if (r < 0)
		snprintf(err->text, sizeof(err->text), "%s: %.360s", p->name, why.text);
	return r;
}

/* The name and version that the rules of a pack carry; "" when there are none of one. */
static const char *pack_of(const struct ruleset *rs)
{
	for (size_t i = 0; i < ruleset_count(rs); i++)
		if (strcmp(ruleset_rule(rs, i)->pack, "local") != 0)
			return ruleset_rule(rs, i)->pack;
	return "";
}

json_t *daemon_pack_json(const struct daemon *d, const struct ruleset *rs)
{
	static const struct zone utc;
	const char *name = pack_of(rs), *space = strchr(name, ' ');
	char id[PACK_KEY_ID_SIZE], word[128], expires[RFC3339_SIZE];
	int64_t expires_s = ruleset_expires_unix_s(rs);
	uint8_t key[32];

	if (d->opt.rules_dir || !space || pack_builtin_key(key) < 0)
		return json_null();
	pack_key_id(key, id);
	snprintf(word, sizeof(word), "%.*s", (int)(space - name), name);
	zone_rfc3339(&utc, expires_s * INT64_C(1000000000), false, expires, sizeof(expires));
	return json_pack("{s:s, s:s, s:s, s:b, s:s, s:b}", "name", word, "version", space + 1,
			 "signed_by", id, "shipped", !strcmp(ruleset_origin(rs), OKNEK_RULES_DIR),
			 "expires", expires, "expired", expires_s <= time(NULL));
}

void daemon_pack_warnings(struct daemon *d, json_t *list)
{
	struct ruleset *rs = atomic_load(&d->pack_fell_back) ? daemon_rules_ref(d) : NULL;

	if (rs)
		json_array_append_new(list, json_sprintf("%s; the rules of %s serve instead",
							 d->pack_why, ruleset_origin(rs)));
	ruleset_unref(rs);
}
