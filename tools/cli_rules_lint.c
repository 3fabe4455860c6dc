/* SPDX-License-Identifier: Apache-2.0 */
/* `oknek rules lint`: each file by itself, with the lists of its folder. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "rules/lint.h"
#include "tools/cli_rules.h"

struct seen { /* a rule of an earlier file */
	char *name, *file;
	unsigned line;
};

struct linter {
	const struct cli *cli;
	const struct rules_options *o;
	struct seen *seen;
	size_t n_seen;
	unsigned errors, warnings, notes; /* of the file in hand */
	int worst;
};

struct file {
	char *data;
	size_t len;
};

static void file_cleanup(struct file *f)
{
	free(f->data);
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* ---- findings ------------------------------------------------------------------------------- */

static void found(void *arg, const struct lint_finding *f)
{
	static const char *const levels[] = { "note", "warning", "error" };
	struct linter *l = arg;

	l->errors += f->level == LINT_ERROR;
	l->warnings += f->level == LINT_WARNING;
	l->notes += f->level == LINT_NOTE;
	if (l->cli->json) {
		_cleanup_json_ json_t *j = json_pack("{s:o, s:i, s:s, s:s, s:o}", "file",
						     rules_json_text(f->file), "line", (int)f->line,
						     "level", levels[f->level], "rule", f->rule, "text",
						     rules_json_text(f->text));

		cli_json_line(l->cli, j, NULL);
		return;
	}
	cli_text(f->file);
	if (f->line)
		printf(":%u", f->line);
	cli_printf(l->cli, f->level == LINT_NOTE ? CLI_DIM : CLI_YELLOW, ": %s: ", levels[f->level]);
	if (*f->rule)
		printf("%s: ", f->rule);
	cli_text(f->text);
	putchar('\n');
}

/* The loader's "file:line: message" as a finding. */
static void found_error(struct linter *l, const char *path, const char *err)
{
	struct lint_finding f = { LINT_ERROR, path, 0, "", err };
	_cleanup_free_ char *file = NULL;
	const char *colon = strstr(err, ": "), *at = colon;
	unsigned line = 0, digit = 1;

	while (at && at > err && at[-1] >= '0' && at[-1] <= '9' && digit < 1000000000) {
		line += (unsigned)(*--at - '0') * digit;
		digit *= 10;
	}
	if (at && at > err && at < colon && at[-1] == ':') {
		file = must(strndup(err, (size_t)(at - 1 - err)));
		f = (struct lint_finding){ LINT_ERROR, file, line, "", colon + 2 };
	}
	if (l->cli->json) {
		found(l, &f);
		return;
	}
	l->errors++;
	cli_text(err);
	putchar('\n');
}

static void summary(struct linter *l, const char *path, size_t rules, bool loads, const char *err)
{
	if (l->errors + l->warnings && l->worst < CLI_FOUND)
		l->worst = CLI_FOUND;
	if (l->cli->json) {
		_cleanup_json_ json_t *j = json_pack("{s:o,s:b,s:I,s:I,s:o}", "file",
						     rules_json_text(path), "ok",
						     loads && !l->errors, "rules",
						     (json_int_t)rules, "warnings",
						     (json_int_t)l->warnings, "error",
						     rules_json_text(err));

		cli_json_line(l->cli, j, NULL);
	} else if (loads) {
		cli_text(path);
		printf(": %zu rule%s, ", rules, rules == 1 ? "" : "s");
		if (l->errors + l->warnings)
			printf("%u error%s, %u warning%s\n", l->errors, l->errors == 1 ? "" : "s",
			       l->warnings, l->warnings == 1 ? "" : "s");
		else
			puts(l->notes ? "no warnings" : "nothing to say");
	}
}

/* ---- rules of several files ----------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->name, ((const struct seen *)b)->name);
}

/* An id and part that an earlier file has too. Sorted after each file. */
static void check_seen(struct linter *l, const struct ruleset *rs)
{
	size_t n = ruleset_count(rs), before = l->n_seen;

	l->seen = must(reallocarray(l->seen, before + n + 1, sizeof(*l->seen)));
	for (size_t i = 0; i < n; i++) {
		const struct rule *r = ruleset_rule(rs, i);
		struct seen s = { .line = r->line }, *other;
		char text[600];

		s.name = text;
		snprintf(text, sizeof(text), "%s%s%s", r->id, *r->part ? "/" : "", r->part);
		other = bsearch(&s, l->seen, before, sizeof(s), by_name);
		s.name = must(strdup(text));
		s.file = must(strdup(r->file));
		l->seen[l->n_seen++] = s;
		if (!other)
			continue;
		snprintf(text, sizeof(text),
			 "there is another %s at %.400s:%u: give one another id or part", s.name,
			 other->file, other->line);
		found(l, &(struct lint_finding){ LINT_ERROR, s.file, s.line, s.name, text });
	}
	qsort(l->seen, l->n_seen, sizeof(*l->seen), by_name);
}

/* ---- one file ------------------------------------------------------------------------------- */

static struct lint_options options_of(struct linter *l)
{
	return (struct lint_options){ .any_host = l->o->any_host, .site = l->o->site,
				      .found = found, .arg = l };
}

static void lint_rules(struct linter *l, const struct rules_file *files, size_t n)
{
	struct rules_config c = { .files = files, .n_files = n, .pack = "lint",
				  .mechanisms = { [KIND_FILE_OPENED] = 1u << MECH_FANOTIFY,
						  [KIND_EXEC_OBSERVED] = 1u << MECH_FANOTIFY,
						  [KIND_SOCKET_CONNECT] = 1u << MECH_CGROUP } };
	_cleanup_(rules_unref_cleanup) struct ruleset *rs = NULL;
	const struct lint_options o = options_of(l);
	struct rules_error err = { "" };
	const char *path = files[0].name;
	int r = ruleset_load(&c, &rs, &err);

	if (r < 0) {
		if (!err.text[0])
			snprintf(err.text, sizeof(err.text), "%.400s: %s", path, strerror(-r));
		found_error(l, path, err.text);
		summary(l, path, 0, false, err.text);
		return;
	}
	if (rules_lint(rs, &o) < 0)
		abort();
	check_seen(l, rs);
	summary(l, path, ruleset_count(rs), true, "");
}

static int is_yaml(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return e->d_name[0] != '.' && dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml"));
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The rule files of a folder; *ret: malloc'd names with the folder before them. */
static int folder_files(const char *dir, char ***ret)
{
	struct dirent **names;
	int n = scandir(dir, &names, is_yaml, by_bytes);
	size_t len = strlen(dir);
	char **paths;

	if (n < 0) {
		cli_error("cannot read %s: %s", dir, strerror(errno));
		return -1;
	}
	paths = must(calloc((size_t)n + 1, sizeof(*paths)));
	for (int i = 0; i < n; i++) {
		if (asprintf(&paths[i], "%s%s%s", dir, len && dir[len - 1] == '/' ? "" : "/",
			     names[i]->d_name) < 0)
			abort();
		free(names[i]);
	}
	free(names);
	*ret = paths;
	return n;
}

static void free_paths(char **paths)
{
	for (size_t i = 0; paths[i]; i++)
		free(paths[i]);
	free(paths);
}

/* A list is of use to the rules of its folder, so these are read too. */
static void lint_lists(struct linter *l, const struct rules_file *lists)
{
	_cleanup_free_ char *dir = must(strdup(lists->name));
	const struct lint_options o = options_of(l);
	char *slash = strrchr(dir, '/'), **paths;
	struct rules_file *files;
	int n;

	if (slash)
		slash[1] = '\0';
	n = folder_files(slash ? dir : "./", &paths);
	if (n < 0) {
		l->worst = CLI_FAILED;
		return;
	}
	files = must(calloc((size_t)n + 1, sizeof(*files)));
	for (int i = 0; i < n; i++) {
		char *data = NULL;

		files[i].name = paths[i];
		if (rules_read_file(paths[i], &data, &files[i].len_bytes) != CLI_DONE)
			l->worst = CLI_FAILED;
		files[i].data = data ? data : must(strdup(""));
	}
	if (rules_lint_lists(lists, files, (size_t)n, &o) < 0)
		abort();
	for (int i = 0; i < n; i++)
		free((void *)files[i].data);
	free(files);
	free_paths(paths);
}

static void lint_file(struct linter *l, const char *path)
{
	_cleanup_free_ char *beside = rules_lists_beside(path);
	_cleanup_(file_cleanup) struct file f = { 0 }, lists = { 0 };
	struct rules_file files[2];
	size_t n = 1;

	l->errors = l->warnings = l->notes = 0;
	if (rules_read_file(path, &f.data, &f.len) != CLI_DONE) {
		l->worst = CLI_FAILED;
		return;
	}
	files[0] = (struct rules_file){ path, f.data, f.len };
	if (rules_is_lists(path)) {
		lint_lists(l, &files[0]);
	} else if (access(beside, F_OK) == 0) {
		if (rules_read_file(beside, &lists.data, &lists.len) != CLI_DONE) {
			l->worst = CLI_FAILED;
			return;
		}
		files[n++] = (struct rules_file){ beside, lists.data, lists.len };
	}
	lint_rules(l, files, n);
}

static void lint_path(struct linter *l, const char *path)
{
	struct stat st;
	char **paths;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		lint_file(l, path);
		return;
	}
	if (folder_files(path, &paths) < 0) {
		l->worst = CLI_FAILED;
		return;
	}
	if (!paths[0]) {
		cli_error("there are no rule files in %s", path);
		l->worst = CLI_FAILED;
	}
	for (size_t i = 0; paths[i]; i++)
		lint_file(l, paths[i]);
	free_paths(paths);
}

int rules_lint_files(struct cli *cli, char **files, const struct rules_options *o)
{
	struct linter l = { .cli = cli, .o = o, .worst = CLI_DONE };

	for (; *files; files++)
		lint_path(&l, *files);
	for (size_t i = 0; i < l.n_seen; i++) {
		free(l.seen[i].name);
		free(l.seen[i].file);
	}
	free(l.seen);
	return cli_flush() == CLI_DONE ? l.worst : CLI_FAILED;
}
