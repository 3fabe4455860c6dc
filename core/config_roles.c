/* SPDX-License-Identifier: Apache-2.0 */
/* `roles:` of oknek.yaml: who may look on, who may answer for what is held, who may change everything. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config_priv.h"

static const struct {
	const char *key;
	enum role role;
} roles[] = {
	{ "viewer", ROLE_VIEWER },
	{ "operator", ROLE_OPERATOR },
	{ "admin", ROLE_ADMIN },
};

static void forget(struct config_role *r)
{
	free(r->name);
	free(r->at.file);
}

/* A name of a user, `@` before that of a group, or the number of either. */
static int check_name(struct loading *l, const struct yaml_node *n, const char *key)
{
	const char *name = n->scalar + (n->scalar[0] == '@');
	size_t len = strlen(name), digits = strspn(name, "0123456789");

	if (!len || len > 64 ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-$@\\")] ||
	    (digits == len && (len > 10 || strtoull(name, NULL, 10) >= UINT32_MAX)))
		return yaml_fail(l->err, l->file, n->line,
				 "%s: \"%.70s\" is nobody: write a user as ann or 1000, a group as @ops "
				 "or @1000", key, n->scalar);
	return 0;
}

static int add(struct loading *l, enum role role, const char *text, unsigned line)
{
	struct config_role r = { .role = role, .group = text[0] == '@', .at.line = line };
	struct config *c = l->c;

	text += r.group;
	if (strspn(text, "0123456789") == strlen(text))
		r.number = (uint32_t)strtoul(text, NULL, 10);
	else
		r.name = strdup(text);
	r.at.file = strdup(l->file);
	if (!r.at.file || (!r.name && strspn(text, "0123456789") != strlen(text))) {
		forget(&r);
		yaml_fail(l->err, l->file, 0, "out of memory");
		return -ENOMEM;
	}
	if (c->n_roles == ROLES_MAX) {
		forget(&r);
		return yaml_fail(l->err, l->file, line, "more than %d users and groups have a role",
				 ROLES_MAX);
	}
	c->roles[c->n_roles++] = r;
	return 0;
}

/* What an earlier file said of this role. */
static void drop(struct config *c, enum role role)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->n_roles; i++)
		if (c->roles[i].role == role)
			forget(&c->roles[i]);
		else
			c->roles[kept++] = c->roles[i];
	c->n_roles = kept;
}

static int read_role(struct loading *l, const struct yaml_node *n, const char *key, enum role role)
{
	_cleanup_(config_strings_cleanup) char **names = NULL;
	int err;

	if (config_is_empty(n)) {
		drop(l->c, role);
		return 0;
	}
	err = config_read_strings(l, n, key, "a list of users and groups, as [ann, \"@ops\"]",
				  check_name, &names);
	if (err)
		return err;
	drop(l->c, role);
	for (size_t i = 0; names[i] && !err; i++)
		err = add(l, role, names[i], n->line);
	return err;
}

int config_read_roles(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "viewer", "operator", "admin", NULL };
	int err = config_is_empty(n) ? 0 : yaml_check_keys(n, l->file, "roles", allowed, l->err);

	for (size_t i = 0; i < ARRAY_SIZE(roles) && !err && !config_is_empty(n); i++) {
		const struct yaml_node *v = yaml_get(n, roles[i].key);

		if (v)
			err = read_role(l, v, roles[i].key, roles[i].role);
	}
	return err;
}

void config_free_roles(struct config *c)
{
	for (size_t i = 0; i < c->n_roles; i++)
		forget(&c->roles[i]);
}
