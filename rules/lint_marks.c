/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of a rule by which far more files are watched than anybody means. */
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/lint_priv.h"

#define HOME "/home/u"
#define SHORT_NAME 3 /* letters of a name that says something */

/* Files that every process opens, and some of any home and project. */
static const char *const ordinary[] = {
	"/usr/bin/ls",
	"/etc/passwd",
	HOME "/\1/src/main.c",
	"/usr/lib/x86_64-linux-gnu/libc.so.6",
	"/lib64/ld-linux-x86-64.so.2",
	"/etc/ld.so.cache",
	"/etc/nsswitch.conf",
	"/dev/null",
	"/var/log/syslog",
	"/var/lib/dpkg/status",
	"/tmp/\1/\2.tmp",
	HOME "/\1/package.json",
	HOME "/\1/node_modules/left-pad/index.js",
	HOME "/\1/lib/util.py",
	HOME "/\1/README.md",
	HOME "/\1/.git/HEAD",
	HOME "/\1/.git/objects/aa/\2",
	HOME "/.bashrc",
	HOME "/.cache/\1/\2",
	HOME "/.config/\1/\2.conf",
};

static bool takes(const struct node *n, const struct value *v, const char *path)
{
	size_t home = v->at_home ? strlen(HOME) : 0, len;

	if (n->op == OP_GLOB)
		return glob_match(v->glob, path, HOME);
	if (n->op == OP_SUFFIX) {
		len = strlen(path);
		return len >= v->len_bytes && !strcmp(path + len - v->len_bytes, v->text);
	}
	return !strncmp(path, HOME, home) && !strncmp(path + home, v->text, v->len_bytes);
}

/* Can it match in any directory, by a name with a wildcard in it? letters: of that name. */
static bool is_loose(const struct node *n, const struct value *v, size_t *letters)
{
	struct glob_part part, last = { 0 };
	bool loose = false;

	*letters = v->len_bytes;
	if (n->op == OP_SUFFIX)
		return !strchr(v->text, '/');
	if (n->op != OP_GLOB || !glob_is_floating(v->glob))
		return false;
	*letters = SIZE_MAX;
	for (size_t i = 0; i < glob_alternatives(v->glob); i++) {
		size_t count = 0;
		bool any = false;

		if (glob_root(v->glob, i) != GLOB_FLOATING)
			continue;
		/* a double star is never the last, it has a `*` behind it */
		for (unsigned k = 0; glob_part(v->glob, i, k, &part); k++, any = true)
			last = part;
		if (!any || last.kind != GLOB_PART_WILD)
			continue;
		for (size_t k = 0; k < last.len_bytes; k++)
			count += !strchr("*?[]!", last.text[k]);
		loose = true;
		if (count < *letters)
			*letters = count;
	}
	return loose;
}

/* One of the patterns that are watched for the rule; all_of takes the best of its items. */
static bool is_watched(const struct linting *l, const struct node *n, const struct value *v)
{
	if (n->op != OP_GLOB)
		return n->op == OP_PREFIX || n->op == OP_SUFFIX;
	for (size_t i = 0; i < l->c->n_paths; i++)
		if (!strcmp(l->c->paths[i], glob_source(v->glob)))
			return true;
	return false;
}

static void check_value(struct linting *l, const struct node *n, const struct value *v)
{
	bool block = l->c->rule.action == VERDICT_BLOCK;
	const char *shown[2] = { "", "" };
	size_t count = 0, named = 0, letters = 0;
	bool loose = is_loose(n, v, &letters);

	for (size_t i = 0; i < ARRAY_SIZE(ordinary); i++)
		if (takes(n, v, ordinary[i])) {
			if (named < ARRAY_SIZE(shown) && !strchr(ordinary[i], '\1'))
				shown[named++] = ordinary[i];
			count++;
		}
	if (count >= 2 || (loose && count >= 1))
		lint_say(l, LINT_WARNING, n->line,
			 "%s takes %s%s%s%s%s: %s. Name the directory and the ending that are meant, as "
			 "\"~/.config/app/*.key\"", lint_value(l, n, v),
			 count == ARRAY_SIZE(ordinary) ? "every file" :
			 count > 12	       ? "nearly every file" :
							 "files that many programs open",
			 *shown[0] ? ", as " : "", shown[0], *shown[1] ? " and " : "", shown[1],
			 block ? "each open of them waits for an answer" :
				 "each open of them is watched");
	else if (loose && letters < SHORT_NAME)
		lint_say(l, LINT_WARNING, n->line, "%s takes files of nearly any name in any "
			 "directory: name more of the name, or the directory",
			 lint_value(l, n, v));
	else if (block && n->op == OP_GLOB && glob_is_floating(v->glob) &&
		 l->c->rule.id[0] == 'X' && !l->o->any_host)
		lint_say(l, LINT_NOTE, n->line, "%s can be in any directory: those that a tree "
			 "works in are watched for it; beginning with / or ~ costs less",
			 lint_value(l, n, v));
}

static void check_paths(struct linting *l, const struct node *n)
{
	if (n->type == NODE_NONE)
		return;
	if (n->type == NODE_COMPARE) {
		for (size_t k = 0; n->field == FIELD_PATH && k < n->n; k++)
			if (is_watched(l, n, &n->values[k]))
				check_value(l, n, &n->values[k]);
		return;
	}
	for (size_t i = 0; i < n->n; i++)
		check_paths(l, n->kids[i]);
}

void lint_marks(struct linting *l)
{
	if (l->c->rule.kind == KIND_FILE_OPENED && l->c->rule.action != VERDICT_ALLOW &&
	    l->c->n_paths)
		check_paths(l, l->c->match);
}
