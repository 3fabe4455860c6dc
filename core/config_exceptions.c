/* SPDX-License-Identifier: Apache-2.0 */
/* `exceptions:` of oknek.yaml, but for what their match means: the rule language reads that. */
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/config_priv.h"

#define EXCEPTIONS_MAX 512 /* `oknek rules show` tells them in one answer */
#define TEXT_MAX_BYTES 500
#define DAY_S 86400
/* Dates repeat after 400 years, which are this many days. */
#define CYCLE_YEARS 400
#define CYCLE_DAYS 146097
#define YEAR_PARSED_MAX 2261 /* of rfc3339_parse(), whose result is in nanoseconds */

static int no_memory(struct loading *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

/* One line for people, and something in it. */
static int read_text(struct loading *l, const struct yaml_node *n, const char *what,
		     const char **ret)
{
	if (n->type != YAML_SCALAR || !n->scalar[strspn(n->scalar, " \t")] ||
	    strlen(n->scalar) > TEXT_MAX_BYTES)
		goto bad;
	for (const char *c = n->scalar; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			goto bad;
	*ret = n->scalar;
	return 0;
bad:
	return yaml_fail(l->err, l->file, n->line,
			 "%s of an exception must be one line of text, at most %d bytes", what,
			 TEXT_MAX_BYTES);
}

/* A date lasts until its end in UTC. */
static int parse_expiry(const char *text, int64_t *ret_unix_s)
{
	char buf[64];
	int64_t ns, cycles_s = 0;
	size_t len = strlen(text);
	bool date = len == 10;
	int year = 0;

	if (len < 10 || len > 40 || strspn(text, "0123456789") != 4)
		return -EINVAL;
	for (int i = 0; i < 4; i++)
		year = year * 10 + (text[i] - '0');
	for (; year > YEAR_PARSED_MAX; year -= CYCLE_YEARS)
		cycles_s += (int64_t)CYCLE_DAYS * DAY_S;
	snprintf(buf, sizeof(buf), "%04d%s%s", year, text + 4, date ? "T00:00:00Z" : "");
	if (rfc3339_parse(buf, &ns))
		return -EINVAL;
	*ret_unix_s = ns / (int64_t)NSEC_PER_SEC - (ns % (int64_t)NSEC_PER_SEC < 0) + cycles_s +
		      (date ? DAY_S : 0);
	return 0;
}

static int read_expires(struct loading *l, const struct yaml_node *n, struct config_exception *e)
{
	if (n->type != YAML_SCALAR || parse_expiry(n->scalar, &e->expires_unix_s))
		return yaml_fail(l->err, l->file, n->line,
				 "expires must be a date like 2027-01-31, whose end in UTC is meant, or a "
				 "time like 2027-01-31T18:00:00+01:00; without it the exception stays");
	e->expires = n->scalar;
	return 0;
}

static int add_exception(struct loading *l, const struct yaml_node *key, const struct yaml_node *n)
{
	static const char *const allowed[] = { "match", "reason", "author", "expires", NULL };
	static const char *const required[] = { "match", "reason", "author" };
	struct config_exception e = { .rule = key->scalar, .expires_unix_s = INT64_MAX,
				      .file = l->file, .line = n->line };
	const struct yaml_node *v;
	struct config *c = l->c;
	struct config_exception *grown;
	int err = yaml_check_keys(n, l->file, "an exception", allowed, l->err);

	if (err)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		if (!yaml_get(n, required[i]))
			return yaml_fail(l->err, l->file, n->line, "the exception to %s has no %s",
					 key->scalar, required[i]);
	e.match = yaml_get(n, "match");
	err = read_text(l, yaml_get(n, "reason"), "reason", &e.reason);
	if (!err)
		err = read_text(l, yaml_get(n, "author"), "author", &e.author);
	v = yaml_get(n, "expires");
	if (!err && v)
		err = read_expires(l, v, &e);
	if (err)
		return err;
	if (c->n_exceptions == EXCEPTIONS_MAX)
		return yaml_fail(l->err, l->file, n->line, "more than %d exceptions", EXCEPTIONS_MAX);
	grown = reallocarray(c->exceptions, c->n_exceptions + 1, sizeof(*grown));
	if (!grown)
		return no_memory(l);
	c->exceptions = grown;
	grown[c->n_exceptions++] = e;
	return 0;
}

int config_read_exceptions(struct loading *l, const struct yaml_node *n)
{
	int err = 0;

	if (config_is_empty(n))
		return 0;
	if (n->type != YAML_MAP)
		return yaml_fail(l->err, l->file, n->line, "exceptions must be a map like R3/aws: "
				 "{ match: …, reason: …, author: … }");
	for (size_t i = 0; i < n->n && !err; i++) {
		const struct yaml_node *list = n->items[i];

		err = config_check_rule_key(l, n->keys[i], "exceptions");
		if (!err && list->type == YAML_LIST && list->n == 0)
			return yaml_fail(l->err, l->file, list->line,
					 "%s has an empty list: leave it out", n->keys[i]->scalar);
		if (!err && list->type != YAML_LIST)
			err = add_exception(l, n->keys[i], list);
		for (size_t k = 0; list->type == YAML_LIST && k < list->n && !err; k++)
			err = add_exception(l, n->keys[i], list->items[k]);
	}
	return err;
}

int config_keep(struct config *c, struct yaml_doc **doc, char err[512])
{
	const char *file = yaml_doc_file(*doc);
	struct yaml_doc **grown;

	if (!c->n_exceptions || c->exceptions[c->n_exceptions - 1].file != file)
		return 0;
	grown = reallocarray(c->docs, c->n_docs + 1, sizeof(*grown));
	if (!grown) {
		yaml_fail(err, file, 0, "out of memory");
		return -ENOMEM;
	}
	c->docs = grown;
	grown[c->n_docs++] = TAKE_PTR(*doc);
	return 0;
}
