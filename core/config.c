/* SPDX-License-Identifier: Apache-2.0 */
/* Each file is read onto what the files before it said; a key that comes again replaces. */
#include "core/config.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/config_priv.h"
#include "core/yaml.h"

#define RETAIN_DEFAULT_S (90 * UINT64_C(86400))
#define MAX_SIZE_DEFAULT (UINT64_C(1) << 30)
#define CAPTURE_SIZE_DEFAULT (UINT64_C(256) << 20)
#define CAPTURE_AGE_DEFAULT_S (14 * UINT64_C(86400))
#define MAX_SIZE_LEAST (UINT64_C(1) << 20)

static int no_memory(struct loading *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

static int wants(struct loading *l, const struct yaml_node *n, const char *key, const char *form)
{
	return yaml_fail(l->err, l->file, n->line, "%s must be %s", key, form);
}

static void free_strings(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

void config_strings_cleanup(char ***v)
{
	free_strings(*v);
}

int config_read_strings(struct loading *l, const struct yaml_node *n, const char *key,
			const char *form,
			int (*check)(struct loading *l, const struct yaml_node *n, const char *key),
			char ***ret)
{
	_cleanup_(config_strings_cleanup) char **v = NULL;
	struct yaml_node *one = (struct yaml_node *)(uintptr_t)n;
	struct yaml_node *const *items = n->type == YAML_LIST ? n->items : &one;
	size_t count = n->type == YAML_LIST ? n->n : 1;
	int err;

	if (n->type == YAML_MAP || count > CONFIG_LIST_MAX)
		return wants(l, n, key, form);
	v = calloc(count + 1, sizeof(*v));
	if (!v)
		return no_memory(l);
	for (size_t i = 0; i < count; i++) {
		if (items[i]->type != YAML_SCALAR || !*items[i]->scalar)
			return wants(l, items[i], key, form);
		err = check ? check(l, items[i], key) : 0;
		if (err)
			return err;
		v[i] = strdup(items[i]->scalar);
		if (!v[i])
			return no_memory(l);
	}
	*ret = TAKE_PTR(v);
	return 0;
}

/* ---- keys ---------------------------------------------------------------------------------- */

static int read_mode(struct loading *l, const struct yaml_node *n)
{
	int mode = n->type == YAML_SCALAR ? mode_parse(n->scalar) : -EINVAL;

	if (mode < 0)
		return wants(l, n, "mode", "observe or enforce");
	l->c->mode = (enum mode)mode;
	return 0;
}

static int check_source(struct loading *l, const struct yaml_node *n, const char *key)
{
	/* Also those of later versions: they are reported as not here. */
	static const char *const names[] = { "fanotify", "ebpf", "audit", "preload" };

	if (!strncmp(n->scalar, "replay:", 7) && n->scalar[7])
		return 0;
	if (n->scalar[strcspn(n->scalar, ", \t")])
		return wants(l, n, key, "one name per list item, as in [fanotify, ebpf]");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(n->scalar, names[i]))
			return 0;
	return yaml_fail(l->err, l->file, n->line,
			 "%s: \"%.60s\" is no source: fanotify, ebpf, audit, preload or replay:FILE",
			 key, n->scalar);
}

static int read_source(struct loading *l, const struct yaml_node *n)
{
	char **v;
	int err = config_read_strings(l, n, "source", "a list of source names, as in [fanotify]",
			       check_source, &v);

	if (err)
		return err;
	free_strings(l->c->sources);
	l->c->sources = v;
	return 0;
}

static int read_agents(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "recognise", NULL };
	const struct yaml_node *v;
	int err = yaml_check_keys(n, l->file, "agents", allowed, l->err);

	v = err ? NULL : yaml_get(n, "recognise");
	if (v && yaml_bool(v, &l->c->recognise))
		return wants(l, v, "agents.recognise", "true or false");
	return err;
}

static int read_deadline(struct loading *l, const struct yaml_node *n)
{
	uint64_t ns;

	if (yaml_duration_ns(n, &ns) || ns == 0 || ns > DEADLINE_MAX_NS)
		return wants(l, n, "deadline", "a time like 500ms or 1s, at most 10s");
	l->c->deadline_ns = ns;
	return 0;
}

static int read_on_timeout(struct loading *l, const struct yaml_node *n)
{
	if (n->type != YAML_SCALAR || (strcmp(n->scalar, "deny") && strcmp(n->scalar, "allow")))
		return wants(l, n, "on_timeout", "deny or allow");
	l->c->on_timeout = n->scalar[0] == 'd' ? VERDICT_BLOCK : VERDICT_ALLOW;
	return 0;
}

static int read_on_block(struct loading *l, const struct yaml_node *n)
{
	return config_read_on_block(l, n, "on_block", &l->c->hold);
}

static int read_hold(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "deadline", NULL };
	const struct yaml_node *v;
	uint64_t ns;
	int err = yaml_check_keys(n, l->file, "hold", allowed, l->err);

	v = err ? NULL : yaml_get(n, "deadline");
	if (!v)
		return err;
	if (yaml_duration_ns(v, &ns) || ns == 0 || ns > HOLD_MAX_NS)
		return wants(l, v, "hold.deadline", "a time like 30s or 2m, at most 10m");
	l->c->hold_ns = ns;
	return 0;
}

static int check_dir(struct loading *l, const struct yaml_node *n, const char *key)
{
	struct stat st;

	if (n->scalar[0] != '/')
		return yaml_fail(l->err, l->file, n->line,
				 "%s: \"%.100s\" is not an absolute path: begin with /", key,
				 n->scalar);
	if (stat(n->scalar, &st) < 0)
		return yaml_fail(l->err, l->file, n->line,
				 "%s: directory \"%.100s\": %s; create it or remove the entry", key,
				 n->scalar, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return yaml_fail(l->err, l->file, n->line, "%s: \"%.100s\" is not a directory",
				 key, n->scalar);
	return 0;
}

static int read_fanotify(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "only", "system_directories", NULL };
	const struct yaml_node *v;
	char **roots;
	int err = yaml_check_keys(n, l->file, "fanotify", allowed, l->err);

	v = err ? NULL : yaml_get(n, "system_directories");
	if (v && yaml_bool(v, &l->c->system_directories))
		return wants(l, v, "fanotify.system_directories", "true or false");
	v = err ? NULL : yaml_get(n, "only");
	if (!v)
		return err;
	/* An empty list would read as "nowhere" and mean "everywhere". */
	if (v->type == YAML_LIST && v->n == 0)
		return wants(l, v, "fanotify.only", "a list of directories, or left out: then what the "
			     "rules name is marked wherever it is");
	err = config_read_strings(l, v, "fanotify.only", "a list of directories", check_dir,
				  &roots);
	if (err)
		return err;
	free_strings(l->c->mark_roots);
	l->c->mark_roots = roots;
	return 0;
}

static int read_control(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "group", NULL };
	const struct yaml_node *v;
	char *group;
	int err = yaml_check_keys(n, l->file, "control", allowed, l->err);

	v = err ? NULL : yaml_get(n, "group");
	if (!v)
		return err;
	if (v->type != YAML_SCALAR || !*v->scalar || strlen(v->scalar) > 32 ||
	    v->scalar[strspn(v->scalar, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					"0123456789._-")])
		return wants(l, v, "control.group", "the name of a group");
	group = strdup(v->scalar);
	if (!group)
		return no_memory(l);
	free(l->c->group);
	l->c->group = group;
	return 0;
}

int config_read_size(const struct yaml_node *n, uint64_t *ret)
{
	static const char units[] = "KMGT";
	size_t len = n->type == YAML_SCALAR ? strlen(n->scalar) : 0;
	struct yaml_node digits = { .type = YAML_SCALAR };
	char text[24];
	const char *unit;
	int64_t v;

	if (len < 2 || len >= sizeof(text))
		return -EINVAL;
	unit = strchr(units, n->scalar[len - 1]);
	memcpy(text, n->scalar, len - 1);
	text[len - 1] = '\0';
	digits.scalar = text;
	if (!unit || yaml_int(&digits, &v) || v < 0 ||
	    __builtin_mul_overflow((uint64_t)v, UINT64_C(1024) << 10 * (unit - units), ret))
		return -EINVAL;
	return 0;
}

static int read_evidence(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "retain_for", "max_size", NULL };
	const struct yaml_node *v;
	uint64_t value;
	int err = yaml_check_keys(n, l->file, "evidence", allowed, l->err);

	if (err)
		return err;
	v = yaml_get(n, "retain_for");
	if (v) {
		if (yaml_duration_s(v, &value) || value == 0 ||
		    !strchr("hdwy", v->scalar[strlen(v->scalar) - 1]))
			return wants(l, v, "evidence.retain_for", "a time like 12h, 90d, 2w or 1y");
		l->c->retain_default_s = value;
	}
	v = yaml_get(n, "max_size");
	if (v) {
		if (config_read_size(v, &value) || value < MAX_SIZE_LEAST)
			return wants(l, v, "evidence.max_size", "a size like 512M or 2G, at least 1M");
		l->c->max_size_bytes = value;
	}
	return 0;
}

static const struct key {
	const char *name;
	int (*read)(struct loading *l, const struct yaml_node *n);
} keys[] = {
	{ "mode", read_mode },
	{ "source", read_source },
	{ "agents", read_agents },
	{ "deadline", read_deadline },
	{ "on_timeout", read_on_timeout },
	{ "on_block", read_on_block },
	{ "hold", read_hold },
	{ "fanotify", read_fanotify },
	{ "ebpf", config_read_ebpf },
	{ "audit", config_read_audit },
	{ "control", read_control },
	{ "roles", config_read_roles },
	{ "evidence", read_evidence },
	{ "capture", config_read_capture },
	{ "egress", config_read_egress },
	{ "exec", config_read_exec },
	{ "on_unenforceable", config_read_on_unenforceable },
	{ "rules", config_read_rules },
	{ "readers", config_read_readers },
	{ "exceptions", config_read_exceptions },
};

/* ---- files --------------------------------------------------------------------------------- */

static void doc_cleanup(struct yaml_doc **d)
{
	yaml_doc_free(*d);
}

static int read_root(struct loading *l, const struct yaml_node *root)
{
	const char *allowed[ARRAY_SIZE(keys) + 1] = { 0 };
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		allowed[i] = keys[i].name;
	err = yaml_check_keys(root, l->file, "the configuration", allowed, l->err);
	for (size_t i = 0; i < ARRAY_SIZE(keys) && !err; i++) {
		const struct yaml_node *n = yaml_get(root, keys[i].name);

		if (n)
			err = keys[i].read(l, n);
	}
	return err;
}

static int read_doc(struct config *c, const struct yaml_doc *doc, char err[512])
{
	struct loading l = { .c = c, .file = yaml_doc_file(doc), .err = err };

	if (yaml_doc_count(doc) == 0)
		return 0; /* nothing but comments */
	if (yaml_doc_count(doc) > 1)
		return yaml_fail(err, l.file, yaml_doc_root(doc, 1)->line,
				 "a second document: a configuration file has one, remove the ---");
	return read_root(&l, yaml_doc_root(doc, 0));
}

static int read_file(struct config *c, const char *path, bool must_exist, char err[512])
{
	_cleanup_(doc_cleanup) struct yaml_doc *doc = NULL;
	int rc = yaml_load_file(path, &doc, err);

	if (rc == -ENOENT && !must_exist)
		return 0;
	if (!rc)
		rc = read_doc(c, doc, err);
	return rc ? rc : config_keep(c, &doc, err);
}

static int is_config_file(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return e->d_name[0] != '.' && dot && !strcmp(dot, ".yaml");
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_dir(struct config *c, const char *dir, char err[512])
{
	struct dirent **names = NULL;
	int n = scandir(dir, &names, is_config_file, by_bytes), rc = 0;

	if (n < 0 && errno == ENOENT)
		return 0;
	if (n < 0) {
		rc = -errno;
		yaml_fail(err, dir, 0, "cannot be read: %s", strerror(-rc));
		return rc;
	}
	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (!rc && asprintf(&path, "%s/%s", dir, names[i]->d_name) < 0) {
			path = NULL;
			yaml_fail(err, dir, 0, "out of memory");
			rc = -ENOMEM;
		}
		if (!rc)
			rc = read_file(c, path, true, err);
		free(path);
		free(names[i]);
	}
	free(names);
	return rc;
}

static void config_cleanup(struct config **c)
{
	config_free(*c);
}

static struct config *config_default(void)
{
	_cleanup_(config_cleanup) struct config *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->mode = MODE_OBSERVE;
	c->recognise = true;
	c->exec_hold = true;
	c->deadline_ns = DEADLINE_DEFAULT_NS;
	c->on_timeout = VERDICT_BLOCK;
	c->hold_ns = HOLD_DEFAULT_NS;
	c->retain_default_s = RETAIN_DEFAULT_S;
	c->max_size_bytes = MAX_SIZE_DEFAULT;
	c->capture.max_size_bytes = CAPTURE_SIZE_DEFAULT;
	c->capture.max_age_s = CAPTURE_AGE_DEFAULT_S;
	c->group = strdup("oknek");
	c->sources = calloc(1, sizeof(*c->sources));
	c->mark_roots = calloc(1, sizeof(*c->mark_roots));
	if (!c->group || !c->sources || !c->mark_roots)
		return NULL;
	return TAKE_PTR(c);
}

int config_load(const char *path, bool must_exist, struct config **ret, char err[512])
{
	_cleanup_(config_cleanup) struct config *c = config_default();
	_cleanup_free_ char *dir = NULL;
	int rc;

	if (!c || asprintf(&dir, "%s.d", path) < 0) {
		dir = NULL;
		yaml_fail(err, path, 0, "out of memory");
		return -ENOMEM;
	}
	rc = read_file(c, path, must_exist, err);
	if (!rc)
		rc = read_dir(c, dir, err);
	if (!rc)
		*ret = TAKE_PTR(c);
	return rc;
}

int config_load_buffer(const char *file, const void *data, size_t len, struct config **ret,
		       char err[512])
{
	_cleanup_(config_cleanup) struct config *c = config_default();
	_cleanup_(doc_cleanup) struct yaml_doc *doc = NULL;
	int rc;

	if (!c) {
		yaml_fail(err, file, 0, "out of memory");
		return -ENOMEM;
	}
	rc = yaml_load_buffer(file, data, len, &doc, err);
	if (!rc)
		rc = read_doc(c, doc, err);
	if (!rc)
		rc = config_keep(c, &doc, err);
	if (!rc)
		*ret = TAKE_PTR(c);
	return rc;
}

char *config_rules_dir(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir;

	return asprintf(&dir, "%.*s/rules.d", slash ? (int)(slash - path) : 1, slash ? path : ".") < 0 ?
		       NULL : dir;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	free_strings(c->sources);
	free_strings(c->mark_roots);
	free_strings(c->exec_programs);
	free(c->group);
	config_free_egress(c);
	config_free_rules(c);
	config_free_roles(c);
	free(c);
}
