/* SPDX-License-Identifier: Apache-2.0 */
/* `match:` of a rule, from YAML to a tree of comparisons. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/compiled.h"

#define OP_WORD_MATCH 9 /* of ops[] */
#define TYPE(t) (1u << FIELD_TYPE_##t)
#define TEXT (TYPE(STRING) | TYPE(PATH))

static const struct op_info {
	const char *name;
	enum op op;
	unsigned types; /* bit per enum field_type */
	unsigned cost;
} ops[] = {
	{ "eq", OP_EQ, TEXT | TYPE(NUMBER) | TYPE(ADDRESS) | TYPE(TIME), 2 },
	{ "ne", OP_NE, TEXT | TYPE(NUMBER) | TYPE(ADDRESS) | TYPE(TIME), 2 },
	{ "in", OP_EQ, TEXT | TYPE(NUMBER) | TYPE(ADDRESS) | TYPE(TIME), 2 },
	{ "not_in", OP_NE, TEXT | TYPE(NUMBER) | TYPE(ADDRESS) | TYPE(TIME), 2 },
	{ "gt", OP_GT, TYPE(NUMBER) | TYPE(TIME), 1 },
	{ "gte", OP_GTE, TYPE(NUMBER) | TYPE(TIME), 1 },
	{ "lt", OP_LT, TYPE(NUMBER) | TYPE(TIME), 1 },
	{ "lte", OP_LTE, TYPE(NUMBER) | TYPE(TIME), 1 },
	{ "glob", OP_GLOB, TEXT, 6 },
	{ "match", OP_MATCH, TEXT, 60 },
	{ "prefix", OP_PREFIX, TEXT, 2 },
	{ "suffix", OP_SUFFIX, TEXT, 2 },
	{ "contains", OP_CONTAINS, TEXT, 4 },
	{ "cidr", OP_CIDR, TYPE(ADDRESS), 2 },
	{ "port", OP_PORT, TYPE(ADDRESS), 1 },
};

const char *match_word(const struct node *n)
{
	return ops[n->word].name;
}

static const struct group_info {
	const char *name;
	enum node_type type;
} groups[] = { { "any_of", NODE_ANY }, { "all_of", NODE_ALL }, { "none_of", NODE_NONE } };

static int no_memory(struct loader *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

static const struct group_info *group_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (!strcmp(groups[i].name, name))
			return &groups[i];
	return NULL;
}

static int by_cost(const void *a, const void *b)
{
	const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;

	return (x->cost > y->cost) - (x->cost < y->cost);
}

/* A group whose kids are filled in; one kid needs no all_of around it. */
static struct node *group_finish(struct node *g)
{
	if (g->n == 1 && g->type != NODE_NONE)
		return g->kids[0];
	for (size_t i = 0; i < g->n; i++) {
		g->cost += g->kids[i]->cost;
		g->kids[i]->nth = i < UINT16_MAX ? (uint16_t)i : UINT16_MAX;
	}
	qsort(g->kids, g->n, sizeof(*g->kids), by_cost);
	return g;
}

static struct node *group_new(struct loader *l, enum node_type type, unsigned line, size_t n)
{
	struct node *g = pool_alloc(l->pool, sizeof(*g));

	if (!g)
		return NULL;
	g->type = type;
	g->line = line;
	g->kids = pool_array(l->pool, n, sizeof(struct node *));
	return g->kids ? g : NULL;
}

/* ---- values -------------------------------------------------------------------------------- */

static void free_glob(void *g)
{
	glob_free(g);
}

static int parse_glob(struct loader *l, const struct yaml_node *n, struct value *v)
{
	const char *why = NULL;
	int err = glob_compile(n->scalar, &v->glob, &why);

	if (err == -ENOMEM)
		return no_memory(l);
	if (err)
		return yaml_fail(l->err, l->file, n->line, "\"%.80s\" is not a pattern: %s",
				 n->scalar, why ? why : "malformed");
	if (pool_defer(l->pool, free_glob, v->glob)) {
		glob_free(v->glob);
		return no_memory(l);
	}
	l->budget->pattern_bytes += glob_alternatives(v->glob) * (strlen(n->scalar) + 64);
	if (l->budget->pattern_bytes > RULES_PATTERNS_MAX)
		return yaml_fail(l->err, l->file, n->line,
				 "the patterns of all %s, with braces expanded, need more than "
				 "%u MiB: use fewer braces", l->budget->whose,
				 RULES_PATTERNS_MAX >> 20);
	return 0;
}

static bool is_plain(const char *s)
{
	return !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/:@ ")];
}

static int parse_text(struct loader *l, const struct yaml_node *n, enum op op, bool is_path,
		      struct value *v)
{
	const char *s = n->scalar;

	if (!*s)
		return yaml_fail(l->err, l->file, n->line,
				 "an empty string: leave the comparison out");
	if (op == OP_GLOB)
		return parse_glob(l, n, v);
	if (is_path && op != OP_SUFFIX && op != OP_CONTAINS && op != OP_MATCH) {
		v->at_home = s[0] == '~' && (s[1] == '/' || !s[1]);
		if (!v->at_home && s[0] != '/')
			return yaml_fail(l->err, l->file, n->line,
					 "no path begins with \"%.60s\": start with / or ~/, "
					 "or use suffix or glob", s);
		s += v->at_home;
	}
	v->len_bytes = strlen(s);
	v->text = pool_strdup(l->pool, s);
	if (!v->text)
		return no_memory(l);
	return op == OP_MATCH ? regex_compile(l, n->line, s, &v->regex) : 0;
}

static int parse_address(struct loader *l, const struct yaml_node *n, enum op op, struct value *v)
{
	char text[INET6_ADDRSTRLEN + 8];
	const char *slash = op == OP_CIDR ? strchr(n->scalar, '/') : NULL;
	size_t len = slash ? (size_t)(slash - n->scalar) : strlen(n->scalar);
	struct yaml_node bits_node = { .type = YAML_SCALAR, .scalar = slash ? slash + 1 : "" };
	int64_t bits = 128;
	bool v4;

	if (len < sizeof(text)) {
		memcpy(text, n->scalar, len);
		text[len] = '\0';
		v4 = inet_pton(AF_INET, text, v->addr + 12) == 1;
		if (v4)
			v->addr[10] = v->addr[11] = 0xff; /* as events carry IPv4 (RFC 4291 2.5.5.2) */
		if (v4 || inet_pton(AF_INET6, text, v->addr) == 1) {
			bits = v4 ? 32 : 128;
			if (!slash || (!yaml_int(&bits_node, &bits) && bits >= 0 &&
				       bits <= (v4 ? 32 : 128))) {
				v->addr_bits = (unsigned)bits + (v4 ? 96 : 0);
				return 0;
			}
		}
	}
	return yaml_fail(l->err, l->file, n->line, "\"%.60s\" is not %s", n->scalar,
			 op == OP_CIDR ? "a network like 10.0.0.0/8 or fd00::/8" :
					 "an address like 192.0.2.1 or 2001:db8::1");
}

/* What is quoted is a text, whatever it looks like. */
static int no_quotes(struct loader *l, const struct yaml_node *n)
{
	return yaml_fail(l->err, l->file, n->line, "\"%.60s\" is a text: write the number without quotes",
			 n->scalar);
}

static int parse_port(struct loader *l, const struct yaml_node *n, struct value *v)
{
	if (n->quoted)
		return no_quotes(l, n);
	if (yaml_int(n, &v->number) || v->number < 0 || v->number > UINT16_MAX)
		return yaml_fail(l->err, l->file, n->line, "\"%.60s\" is not a port: 0 to 65535",
				 n->scalar);
	return 0;
}

static int parse_value(struct loader *l, const struct yaml_node *n, const struct field_info *f,
		       enum op op, struct value *v)
{
	if (n->type != YAML_SCALAR)
		return yaml_fail(l->err, l->file, n->line,
				 "field \"%s\" is compared with a value or a list of values, "
				 "not with a map or a list of lists", f->name);
	if (f->type == FIELD_TYPE_NUMBER) {
		if (n->quoted)
			return no_quotes(l, n);
		if (yaml_int(n, &v->number))
			return yaml_fail(l->err, l->file, n->line,
					 "\"%.60s\" is not a whole number, as field \"%s\" is",
					 n->scalar, f->name);
		return 0;
	}
	if (f->type == FIELD_TYPE_TIME)
		return match_parse_time(l, n, v);
	if (op == OP_PORT)
		return parse_port(l, n, v);
	if (f->type == FIELD_TYPE_ADDRESS)
		return parse_address(l, n, op, v);
	return parse_text(l, n, op, f->type == FIELD_TYPE_PATH, v);
}

/* ---- comparisons --------------------------------------------------------------------------- */

static const char *list_ops(enum field_type type, char *list, size_t size)
{
	*list = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (ops[i].types >> type & 1)
			snprintf(list + strlen(list), size - strlen(list), "%s%s",
				 *list ? ", " : "", ops[i].name);
	return list;
}

/* `{ list: NAME }` in the place of a value. NULL and err: there is no such list. */
static const struct named_list *list_of(struct loader *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "list", NULL };
	const struct yaml_node *name = yaml_get(n, "list");
	const struct named_list *ret = NULL;

	if (yaml_check_keys(n, l->file, "the place of a value", allowed, l->err))
		return NULL;
	if (name && name->type == YAML_SCALAR)
		ret = lists_find(l->lists, name->scalar);
	if (!ret)
		yaml_fail(l->err, l->file, n->line, "there is no list \"%.60s\" in this folder: "
			  "lists are in a document lists: { name: [values] }",
			  name && name->type == YAML_SCALAR ? name->scalar : "");
	return ret;
}

/* How many values there are, those of named lists counted each. */
static int count_values(struct loader *l, const struct yaml_node *n, const char *op, size_t *ret)
{
	size_t items = n->type == YAML_LIST ? n->n : 1, count = 0;

	if (items == 0)
		return yaml_fail(l->err, l->file, n->line,
				 "\"%s\" takes a value, a list of at least one, or { list: NAME }",
				 op);
	for (size_t i = 0; i < items; i++) {
		const struct yaml_node *item = n->type == YAML_LIST ? n->items[i] : n;
		const struct named_list *named = NULL;

		if (item->type == YAML_MAP) {
			named = list_of(l, item);
			if (!named)
				return -EINVAL;
		}
		count += named ? named->values->n : 1;
	}
	if (count > RULE_VALUES_MAX)
		return yaml_fail(l->err, l->file, n->line, "more than %d values in one comparison",
				 RULE_VALUES_MAX);
	*ret = count;
	return 0;
}

/* c->values has room for what count_values() counted. */
static int parse_values(struct loader *l, const struct yaml_node *n, const struct field_info *f,
			struct node *c)
{
	size_t items = n->type == YAML_LIST ? n->n : 1;

	for (size_t i = 0; i < items; i++) {
		const struct yaml_node *item = n->type == YAML_LIST ? n->items[i] : n;
		const struct named_list *named = item->type == YAML_MAP ? list_of(l, item) : NULL;
		struct loader at = *l;
		int err = 0;

		/* What is wrong with a value is said where the value is. */
		if (named) {
			at.file = named->file;
			lists_take(named, l->taken);
		}
		for (size_t k = 0; named && k < named->values->n && !err; k++)
			err = parse_value(&at, named->values->items[k], f, c->op,
					  &c->values[c->n++]);
		if (!named)
			err = parse_value(l, item, f, c->op, &c->values[c->n++]);
		if (err)
			return err;
	}
	return 0;
}

static int parse_op(struct loader *l, enum field_id field, const struct yaml_node *key,
		    const struct yaml_node *n, struct node **ret)
{
	static const char *const type_names[] = {
		[FIELD_TYPE_STRING] = "a string", [FIELD_TYPE_PATH] = "a path",
		[FIELD_TYPE_NUMBER] = "a number", [FIELD_TYPE_ADDRESS] = "an address",
		[FIELD_TYPE_TIME] = "a time", [FIELD_TYPE_OBJECT] = "an object",
	};
	const struct field_info *f = field_info(field);
	const struct op_info *op = NULL;
	struct node *c;
	char list[160];
	size_t count = 0;
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(ops) && !op; i++)
		if (ops[i].types >> f->type & 1 && !strcmp(ops[i].name, key->scalar))
			op = &ops[i];
	if (f->type == FIELD_TYPE_OBJECT)
		return yaml_fail(l->err, l->file, key->line,
				 "field \"%s\" is %s: it can be captured, not compared", f->name,
				 type_names[f->type]);
	if (!op)
		return yaml_fail(l->err, l->file, key->line,
				 "unknown comparison \"%.60s\": field \"%s\" is %s; allowed: %s",
				 key->scalar, f->name, type_names[f->type],
				 list_ops(f->type, list, sizeof(list)));
	err = count_values(l, n, op->name, &count);
	if (err)
		return err;
	c = pool_alloc(l->pool, sizeof(*c));
	if (!c)
		return no_memory(l);
	c->type = NODE_COMPARE;
	c->field = field;
	c->op = op->op;
	c->line = key->line;
	c->word = (uint8_t)(op - ops);
	c->values = pool_array(l->pool, count, sizeof(*c->values));
	if (!c->values)
		return no_memory(l);
	err = parse_values(l, n, f, c);
	if (err)
		return err;
	c->cost += op->cost * (unsigned)c->n;
	*ret = c;
	return 0;
}

/* `match: word` where every value is a plain word asks whether it is contained, which is found
 * faster without PCRE2. */
static bool all_plain(const struct yaml_node *n)
{
	if (n->type == YAML_SCALAR)
		return *n->scalar && is_plain(n->scalar);
	if (n->type != YAML_LIST)
		return false;
	for (size_t i = 0; i < n->n; i++)
		if (n->items[i]->type != YAML_SCALAR || !all_plain(n->items[i]))
			return false;
	return n->n > 0;
}

static int unknown_field(struct loader *l, const struct yaml_node *key, enum event_kind kind,
			 bool exists)
{
	char list[384] = "";

	for (int i = 0; i < FIELD_COUNT; i++) {
		const struct field_info *f = field_info((enum field_id)i);

		if (f->kinds >> kind & 1 && f->type != FIELD_TYPE_OBJECT)
			snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
				 *list ? ", " : "", f->name);
	}
	return yaml_fail(l->err, l->file, key->line, "%s \"%.40s\" for kind %s; allowed: %s",
			 exists ? "no field" : "unknown field", key->scalar, event_kind_name(kind),
			 list);
}

static int parse_comparison(struct loader *l, enum event_kind kind, const struct yaml_node *key,
			    const struct yaml_node *n, struct node **ret)
{
	int field = field_by_name(key->scalar);
	struct node *all;
	int err;

	if (field < 0 || !(field_info((enum field_id)field)->kinds >> kind & 1))
		return unknown_field(l, key, kind, field >= 0);
	if (n->type != YAML_MAP || n->n == 0)
		return yaml_fail(l->err, l->file, n->line,
				 "field \"%s\" wants a comparison, as in %s: { eq: value }",
				 key->scalar, key->scalar);
	all = group_new(l, NODE_ALL, n->line, n->n);
	if (!all)
		return no_memory(l);
	for (size_t i = 0; i < n->n; i++) {
		struct yaml_node contains = *n->keys[i];
		bool plain = !strcmp(n->keys[i]->scalar, "match") &&
			     (1u << field_info((enum field_id)field)->type & TEXT) &&
			     all_plain(n->items[i]);

		contains.scalar = "contains";
		err = parse_op(l, (enum field_id)field, plain ? &contains : n->keys[i], n->items[i],
			       &all->kids[i]);
		if (err)
			return err;
		if (plain)
			all->kids[i]->word = OP_WORD_MATCH;
	}
	all->n = n->n;
	*ret = group_finish(all);
	return 0;
}

/* ---- groups -------------------------------------------------------------------------------- */

static int parse_item(struct loader *l, enum event_kind kind, const struct yaml_node *n,
		      struct node **ret)
{
	if (n->type != YAML_MAP || n->n == 0)
		return yaml_fail(l->err, l->file, n->line,
				 "a list item must be a comparison like path: { glob: \"~/.x\" }, "
				 "or any_of, all_of, none_of");
	if (group_by_name(n->keys[0]->scalar))
		return match_parse(l, kind, n, ret);
	if (n->n > 1)
		return yaml_fail(l->err, l->file, n->keys[1]->line,
				 "two comparisons in one list item: give \"%.60s\" its own \"- \"",
				 n->keys[1]->scalar);
	return parse_comparison(l, kind, n->keys[0], n->items[0], ret);
}

static int parse_group(struct loader *l, enum event_kind kind, const struct yaml_node *n,
		       const struct group_info *info, struct node **ret)
{
	struct node *g;
	int err;

	if (n->type != YAML_LIST || n->n == 0)
		return yaml_fail(l->err, l->file, n->line,
				 "%s must be a list of at least one comparison", info->name);
	g = group_new(l, info->type, n->line, n->n);
	if (!g)
		return no_memory(l);
	for (size_t i = 0; i < n->n; i++) {
		err = parse_item(l, kind, n->items[i], &g->kids[i]);
		if (err)
			return err;
	}
	g->n = n->n;
	*ret = group_finish(g);
	return 0;
}

int match_parse(struct loader *l, enum event_kind kind, const struct yaml_node *n,
		struct node **ret)
{
	static const char *const allowed[] = { "any_of", "all_of", "none_of", NULL };
	struct node *all;
	int err;

	err = yaml_check_keys(n, l->file, "match", allowed, l->err);
	if (err)
		return err;
	if (n->n == 0)
		return yaml_fail(l->err, l->file, n->line,
				 "match is empty: it needs any_of, all_of or none_of");
	all = group_new(l, NODE_ALL, n->line, n->n);
	if (!all)
		return no_memory(l);
	for (size_t i = 0; i < n->n; i++) {
		err = parse_group(l, kind, n->items[i], group_by_name(n->keys[i]->scalar),
				  &all->kids[i]);
		if (err)
			return err;
	}
	all->n = n->n;
	*ret = group_finish(all);
	return 0;
}
