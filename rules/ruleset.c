/* SPDX-License-Identifier: Apache-2.0 */
/* Rule sets: files in, a frozen set out. All or nothing. */
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "rules/cache.h"
#include "rules/compiled.h"

#define FILES_MAX 16384
#define LISTS_FILE "lists.yaml" /* read before the others of its folder */
#define RETAIN_DEFAULT_S (90 * UINT64_C(86400))

/* A set that is being put together. */
struct building {
	const struct rules_config *config;
	struct pool *pool;
	struct compiled **rules;
	size_t n, cap;
	struct budget budget;
	struct lists lists; /* of the folder in hand */
	struct rules_error *err;
};

static void building_free(struct building *b)
{
	pool_free(b->pool);
	free(b->rules);
	free(b->lists.v);
}

static void doc_free(struct yaml_doc **d)
{
	yaml_doc_free(*d);
}

static int no_memory(struct building *b)
{
	snprintf(b->err->text, sizeof(b->err->text), "out of memory");
	return -ENOMEM;
}

static int add_rule(struct building *b, const struct yaml_doc *doc, size_t i, bool site)
{
	struct loader l = { .pool = b->pool, .file = yaml_doc_file(doc), .err = b->err->text,
			    .budget = &b->budget, .lists = &b->lists };
	const struct yaml_node *root = yaml_doc_root(doc, i);
	bool only_x = site && b->config->site_only_x;
	struct compiled *c = pool_alloc(b->pool, sizeof(*c));
	const char *text, *pack;
	size_t len;
	int err;

	if (!c)
		return no_memory(b);
	err = rule_parse(&l, root, c);
	if (err)
		return err;
	if (!c->rule.retain_s)
		c->rule.retain_s = b->config->retain_default_s ? b->config->retain_default_s :
								 RETAIN_DEFAULT_S;
	if (only_x && c->rule.id[0] != 'X')
		return yaml_fail(l.err, l.file, yaml_get(root, "id")->line,
				 "id %s is reserved for signed packs: rules of your own begin "
				 "with X, as X100", c->rule.id);
	memcpy(c->lists, l.taken, sizeof(c->lists));
	text = yaml_doc_text(doc, i, &len);
	c->source = pool_strndup(b->pool, text, len);
	pack = only_x || !b->config->pack ? "local" : b->config->pack;
	c->rule.pack = pool_strdup(b->pool, pack);
	if (!c->source || !c->rule.pack)
		return no_memory(b);

	if (b->n == RULES_MAX)
		return yaml_fail(l.err, l.file, root->line, "more than %d rules", RULES_MAX);
	if (b->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 64;
		struct compiled **grown = reallocarray(b->rules, cap, sizeof(*grown));

		if (!grown)
			return no_memory(b);
		b->rules = grown;
		b->cap = cap;
	}
	b->rules[b->n++] = c;
	return 0;
}

/* Rules may name the lists of their own document's file, and those of LISTS_FILE beside it. */
static int add_doc(struct building *b, const struct yaml_doc *doc, bool site, bool lists_allowed)
{
	struct loader l = { .pool = b->pool, .file = yaml_doc_file(doc), .err = b->err->text };
	int err = 0;

	for (size_t i = 0; i < yaml_doc_count(doc) && !err; i++) {
		const struct yaml_node *root = yaml_doc_root(doc, i);
		size_t len;

		yaml_doc_text(doc, i, &len);
		b->budget.source_bytes += len;
		if (b->budget.source_bytes > RULES_SOURCE_MAX)
			return yaml_fail(b->err->text, yaml_doc_file(doc), 0,
					 "all rule files together are larger than %u MiB",
					 RULES_SOURCE_MAX >> 20);
		if (!lists_here(root))
			err = add_rule(b, doc, i, site);
		else if (lists_allowed)
			err = lists_add(&l, &b->lists, root);
		else
			err = yaml_fail(b->err->text, yaml_doc_file(doc), root->line,
					"lists belong into " LISTS_FILE " of the same folder");
	}
	return err;
}

/* ---- folders ------------------------------------------------------------------------------- */

static int is_rule_file(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return e->d_name[0] != '.' && dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* *keep NULL: the document is freed; else the caller keeps it, for the lists in it. */
static int add_file(struct building *b, const char *dir, const char *name, bool site,
		    struct yaml_doc **keep)
{
	_cleanup_(doc_free) struct yaml_doc *doc = NULL;
	_cleanup_free_ char *path = NULL;
	int err;

	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return no_memory(b);
	}
	err = cache_load_file(b->config->cache, path, &doc, b->err->text);
	if (!err)
		err = add_doc(b, doc, site, keep);
	if (keep)
		*keep = TAKE_PTR(doc);
	return err;
}

static int add_dir(struct building *b, const char *dir, bool site)
{
	_cleanup_(doc_free) struct yaml_doc *lists = NULL;
	struct dirent **names = NULL;
	int n = scandir(dir, &names, is_rule_file, by_bytes), err = 0;

	if (n < 0) {
		err = -errno;
		yaml_fail(b->err->text, dir, 0, "folder of rules cannot be read: %s",
			  strerror(-err));
		return err;
	}
	if (n > FILES_MAX)
		err = yaml_fail(b->err->text, dir, 0, "more than %d rule files", FILES_MAX);
	b->lists.n = 0;
	for (int i = 0; i < n && !err; i++)
		if (!strcmp(names[i]->d_name, LISTS_FILE))
			err = add_file(b, dir, LISTS_FILE, site, &lists);
	for (int i = 0; i < n; i++) {
		if (!err && strcmp(names[i]->d_name, LISTS_FILE))
			err = add_file(b, dir, names[i]->d_name, site, NULL);
		free(names[i]);
	}
	free(names);
	b->lists.n = 0; /* they are the document's */
	return err;
}

/* ---- files in memory ------------------------------------------------------------------------ */

static bool holds_lists(const char *name)
{
	const char *slash = strrchr(name, '/');

	return !strcmp(slash ? slash + 1 : name, LISTS_FILE);
}

static int add_memory(struct building *b, const struct rules_file *f, struct yaml_doc **keep)
{
	_cleanup_(doc_free) struct yaml_doc *doc = NULL;
	int rc = cache_load_buffer(b->config->cache, f->name, f->data, f->len_bytes, &doc,
				   b->err->text);

	if (!rc)
		rc = add_doc(b, doc, false, keep);
	if (keep)
		*keep = TAKE_PTR(doc);
	return rc;
}

static int add_files(struct building *b)
{
	const struct rules_file *files = b->config->files;
	_cleanup_(doc_free) struct yaml_doc *lists = NULL;
	int rc = 0;

	b->lists.n = 0;
	for (size_t i = 0; i < b->config->n_files && !rc; i++)
		if (!lists && holds_lists(files[i].name))
			rc = add_memory(b, &files[i], &lists);
	for (size_t i = 0; i < b->config->n_files && !rc; i++)
		if (!holds_lists(files[i].name))
			rc = add_memory(b, &files[i], NULL);
	b->lists.n = 0;
	return rc;
}

/* ---- putting together ---------------------------------------------------------------------- */

static int by_rule(const void *a, const void *b)
{
	return rule_order(&(*(struct compiled *const *)a)->rule, &(*(struct compiled *const *)b)->rule);
}

static int check_unique(struct building *b)
{
	for (size_t i = 1; i < b->n; i++) {
		const struct rule *x = &b->rules[i - 1]->rule, *y = &b->rules[i]->rule;

		if (rule_order(x, y) == 0)
			return yaml_fail(b->err->text, y->file, y->line,
					 "rule %s%s%s is there twice (also %s:%u): give it "
					 "another id or part", y->id, *y->part ? "/" : "", y->part,
					 x->file, x->line);
	}
	return 0;
}

/* What the host says about the rules, and how each is held here. */
static int adapt(struct building *b, struct ruleset *rs)
{
	const struct config *site = b->config->site;
	struct loader l = { .pool = b->pool, .file = "rules", .err = b->err->text,
			    .budget = &b->budget };
	int err = 0;

	if (site)
		err = override_rules(&l, site, b->rules, b->n);
	if (!err && site)
		err = except_rules(&l, site, b->rules, b->n, rs);
	for (size_t i = 0; i < b->n && !err; i++) {
		l.file = b->rules[i]->rule.file;
		err = bind_paths(&l, b->rules[i]);
		if (!err)
			err = bind_mechanism(&l, b->rules[i], b->config);
	}
	return err;
}

/* Else rules_timeout() knows the answer without looking. */
static bool any_timeout(const struct ruleset *rs)
{
	for (size_t i = 0; i < rs->n; i++)
		if (rs->rules[i]->rule.deadline_ns || rs->rules[i]->rule.on_timeout_said)
			return true;
	return false;
}

static int finish(struct building *b, struct ruleset **ret)
{
	struct ruleset *rs = pool_alloc(b->pool, sizeof(*rs));
	struct timespec now;
	int err;

	if (!rs)
		return no_memory(b);
	rs->origin = pool_strdup(b->pool, b->config->origin ? b->config->origin : "");
	if (!rs->origin)
		return no_memory(b);
	rs->expires_unix_s = b->config->expires_unix_s;
	if (b->n)
		qsort(b->rules, b->n, sizeof(*b->rules), by_rule);
	err = check_unique(b);
	if (!err)
		err = adapt(b, rs);
	if (err)
		return err;
	rs->rules = pool_array(b->pool, b->n + 1, sizeof(*rs->rules));
	if (!rs->rules)
		return no_memory(b);
	if (b->n)
		memcpy(rs->rules, b->rules, b->n * sizeof(*rs->rules));
	rs->n = b->n;
	mode_prepare(rs);
	for (int kind = 0; kind < KIND_COUNT; kind++)
		if (index_build(b->pool, rs->rules, rs->n, (enum event_kind)kind,
				false, &rs->index[kind]))
			return no_memory(b);
	rs->asked_by_path = b->config->by_path;
	if ((any_timeout(rs) || rs->asked_by_path) &&
	    index_build(b->pool, rs->rules, rs->n, KIND_FILE_OPENED, true, &rs->by_path))
		return no_memory(b);
	if (any_timeout(rs))
		rs->timeouts = rs->by_path;
	err = bind_programs(rs->rules, rs->n, b->config, &rs->programs);
	if (err)
		return no_memory(b);
	err = bind_pathset(rs->rules, rs->n, &rs->paths, b->err->text);
	if (err)
		pathset_unref(rs->programs);
	if (err)
		return err;
	/* no two sets are loaded within one nanosecond */
	clock_gettime(CLOCK_MONOTONIC, &now);
	rs->generation = (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
	atomic_init(&rs->refs, 1);
	rs->pool = TAKE_PTR(b->pool);
	*ret = rs;
	return 0;
}

int ruleset_load(const struct rules_config *c, struct ruleset **ret, struct rules_error *err)
{
	_cleanup_(building_free) struct building b = { .config = c, .pool = pool_new(),
						       .budget = { .whose = "rules" }, .err = err };
	int rc;

	if (!b.pool)
		return no_memory(&b);
	rc = add_files(&b);
	for (size_t i = 0; c->dirs && c->dirs[i] && !rc; i++)
		rc = add_dir(&b, c->dirs[i], !c->dirs[i + 1]);
	if (!rc)
		rc = finish(&b, ret);
	cache_settle(c->cache, rc == 0);
	return rc;
}

int ruleset_load_buffer(const char *file, const void *data, size_t len,
			const struct rules_config *c, struct ruleset **ret,
			struct rules_error *err)
{
	_cleanup_(building_free) struct building b = { .config = c, .pool = pool_new(),
						       .budget = { .whose = "rules" }, .err = err };
	_cleanup_(doc_free) struct yaml_doc *doc = NULL;
	int rc;

	if (!b.pool)
		return no_memory(&b);
	rc = yaml_load_buffer(file, data, len, &doc, err->text);
	if (!rc)
		rc = add_doc(&b, doc, true, true);
	return rc ? rc : finish(&b, ret);
}

struct ruleset *ruleset_ref(struct ruleset *rs)
{
	atomic_fetch_add_explicit(&rs->refs, 1, memory_order_relaxed);
	return rs;
}

void ruleset_unref(struct ruleset *rs)
{
	if (!rs || atomic_fetch_sub_explicit(&rs->refs, 1, memory_order_acq_rel) != 1)
		return;
	pathset_unref(rs->paths);
	pathset_unref(rs->programs);
	pool_free(rs->pool);
}

int64_t ruleset_expires_unix_s(const struct ruleset *rs)
{
	return rs->expires_unix_s;
}

const char *ruleset_origin(const struct ruleset *rs)
{
	return rs->origin;
}

size_t ruleset_count(const struct ruleset *rs)
{
	return rs->n;
}

const struct rule *ruleset_rule(const struct ruleset *rs, size_t i)
{
	return &rs->rules[i]->rule;
}

uint64_t ruleset_generation(const struct ruleset *rs)
{
	return rs->generation;
}

struct pathset *ruleset_programs(const struct ruleset *rs)
{
	return rs->programs;
}

struct pathset *ruleset_pathset(const struct ruleset *rs)
{
	return rs->paths;
}

const char *ruleset_source(const struct ruleset *rs, size_t i)
{
	return rs->rules[i]->source;
}

size_t ruleset_exceptions(const struct ruleset *rs)
{
	return rs->n_exceptions;
}

const struct rule_exception *ruleset_exception(const struct ruleset *rs, size_t k)
{
	return &rs->exceptions[k];
}

const struct rule_exception *ruleset_rule_exception(const struct ruleset *rs, size_t i, size_t k)
{
	return k < rs->rules[i]->n_exceptions ? rs->rules[i]->exceptions[k].told : NULL;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool ruleset_asks_exe(const struct ruleset *rs, const char *exe)
{
	return rs->n_exes && bsearch(&exe, rs->exes, rs->n_exes, sizeof(*rs->exes), by_text);
}
