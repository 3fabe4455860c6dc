/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which programs have to be held when they are started, for the rules that block by what is run. A
 * rule can be held if whatever it matches is one of some programs: a shell, or what it names. All
 * others match any program there is, and are held for those that are marked anyway.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "core/programs.h"
#include "rules/compiled.h"

static const char *const directories[] = { "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin",
					   "/usr/local/sbin" };

/* By what they are called where distributions put them. */
static const char shells[] = "sh,bash,rbash,bash-static,dash,zsh,zsh5,zsh-static,ksh,ksh93,ksh2020,"
			     "mksh,mksh-static,lksh,oksh,loksh,yash,posh,ash,fish,csh,tcsh,busybox,"
			     "busybox.static,toybox";
static const char *const interpreters[] = {
	"python,python[23],python[23].*,pypy,pypy3,perl,perl5*,ruby,ruby[0-9]*,node,nodejs,deno,bun",
	"php,php[0-9]*,lua,lua5*,luajit,tclsh,tclsh8*,expect,guile,Rscript,pwsh,awk,gawk,mawk,"
	"original-awk,env",
};

/* What whatever a rule matches is one of. */
struct need {
	struct pathset *p; /* of what is named; group as given */
	unsigned group;
	bool shell;      /* or a shell */
	bool by_name;    /* or called so, wherever it is */
	bool loader;     /* it is not held, since a dynamic loader is named */
	bool out_of_memory;
};

static bool put(struct need *need, const char *pattern)
{
	int err = need->p ? pathset_add(need->p, pattern, VERDICT_BLOCK, false, need->group) : 0;

	need->out_of_memory |= err == -ENOMEM;
	return err == 0;
}

static bool put_named(struct need *need, const char *names)
{
	char pattern[512];
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		snprintf(pattern, sizeof(pattern), strchr(names, ',') ? "%s/{%s}" : "%s/%s",
			 directories[i], names);
		ok &= put(need, pattern);
	}
	return ok;
}

/* The bytes that mean something in a pattern are quoted. False: too long. */
static bool quote(const char *s, char *buf, size_t size)
{
	size_t n = 0;

	for (; *s && n + 2 < size; s++) {
		if (strchr("*?[]{},~\\", *s))
			buf[n++] = '\\';
		buf[n++] = *s;
	}
	buf[n] = '\0';
	return !*s;
}

static const char *text_of(const struct value *v)
{
	return v->glob ? glob_source(v->glob) : v->text;
}

/* The pattern by which such programs are found, NULL: there is none. */
static const char *pattern_of(const struct node *n, const struct value *v, char *buf, size_t size)
{
	const char *text = text_of(v);

	/* A dynamic loader the kernel opens for any program that is started, and says no more. */
	if (v->at_home || text[0] != '/' || program_is_loader(text))
		return NULL;
	if (n->op == OP_EQ)
		return quote(text, buf, size) ? buf : NULL;
	return n->op != OP_GLOB || glob_is_floating(v->glob) || glob_uses_home(v->glob) ||
			       strstr(text, "**") ? NULL : text;
}

bool exec_is_looked_for(const struct node *n, const struct value *v)
{
	char buf[4096];

	return n->field == FIELD_EXE && pattern_of(n, v, buf, sizeof(buf));
}

static bool exe_bounds(const struct node *n, struct need *need)
{
	char buf[4096];

	for (size_t i = 0; i < n->n; i++) {
		const struct value *v = &n->values[i];
		const char *pattern = pattern_of(n, v, buf, sizeof(buf));

		need->loader |= !v->at_home && text_of(v)[0] == '/' && program_is_loader(text_of(v));
		if (!pattern || !put(need, pattern))
			return false;
	}
	return true;
}

/* Of an agent's own name more is called so than a program of that name. */
static bool name_bounds(const struct node *n, struct need *need)
{
	char quoted[256];

	for (size_t i = 0; i < n->n; i++) {
		const char *name = n->values[i].text;

		if (n->op == OP_EQ && program_is_loader(name)) {
			need->loader = true;
			return false;
		}
		if (n->op != OP_EQ || strchr(name, '/') || !quote(name, quoted, sizeof(quoted)) ||
		    !put_named(need, quoted))
			return false;
	}
	need->by_name = true;
	return true;
}

/* Is whatever fulfils n one of some programs? */
static bool bounds(const struct node *n, struct need *need)
{
	struct need none = { 0 };

	if (n->type == NODE_COMPARE) {
		if (n->field == FIELD_EXE)
			return exe_bounds(n, need);
		if (n->field == FIELD_PROCESS_NAME)
			return name_bounds(n, need);
		/* Of other programs they are not known, which fulfils no comparison. */
		if (n->field != FIELD_BASH_COMMAND && n->field != FIELD_CHAIN_DEPTH &&
		    n->field != FIELD_CHAIN_BREAKDOWN)
			return false;
		need->shell = true;
		return true;
	}
	if (n->type == NODE_ANY) {
		for (size_t i = 0; i < n->n; i++)
			if (!bounds(n->kids[i], &none)) {
				need->loader |= none.loader;
				return false;
			}
		for (size_t i = 0; i < n->n; i++)
			bounds(n->kids[i], need);
		return n->n > 0;
	}
	/* One will do: what is named by its path, then by its name, then any shell. */
	for (int turn = 0; n->type == NODE_ALL && turn < 3; turn++)
		for (size_t i = 0; i < n->n; i++) {
			none = (struct need){ 0 };
			if (bounds(n->kids[i], &none) && (turn > 0 || !none.by_name) &&
			    (turn > 1 || !none.shell))
				return bounds(n->kids[i], need);
			need->loader |= none.loader;
		}
	return false;
}

static bool put_site(struct need *need, const struct config *site)
{
	for (char **s = site ? site->exec_programs : NULL; s && *s; s++)
		if (!put(need, *s))
			return false;
	return true;
}

static void put_rule(struct need *need, const struct compiled *c, const struct config *site)
{
	bool bounded = bounds(c->match, need);

	if (!bounded || need->shell)
		put_named(need, shells);
	for (size_t i = 0; !bounded && i < ARRAY_SIZE(interpreters); i++)
		put_named(need, interpreters[i]);
	if (!bounded || need->shell)
		put_site(need, site);
}

static void pathset_cleanup(struct pathset **p)
{
	pathset_unref(*p);
}

/* Can there be anything of it where marks may be set? */
static bool within_roots(const struct pathset *p, char *const *roots)
{
	if (!roots || !roots[0])
		return true;
	for (; *roots; roots++)
		if (pathset_reach(p, *roots, NULL, NULL) != GLOB_NONE)
			return true;
	return false;
}

int bind_exec(struct loader *l, struct compiled *c, const struct rules_config *config,
	      const char **why)
{
	_cleanup_(pathset_cleanup) struct pathset *p = NULL;
	struct need need = { 0 };
	char text[200];

	c->programs_bounded = false;
	if (pathset_new(&p) < 0)
		return -ENOMEM;
	if (!bounds(c->match, &need)) {
		*why = need.loader ? "it names a dynamic loader, which is opened to start any "
				     "program: not held" :
				     "it can match any program: held for shells, interpreters "
				     "and exec.programs alone";
		return 0;
	}
	need = (struct need){ .p = p };
	put_rule(&need, c, config->site);
	if (need.out_of_memory)
		return -ENOMEM;
	if (!within_roots(p, config->mark_roots)) {
		*why = "none of the programs that it could be held for is below fanotify.only";
		return 0;
	}
	c->programs_bounded = true;
	*why = "";
	if (!need.shell && !need.by_name)
		return 1;
	snprintf(text, sizeof(text), "%s elsewhere than in the usual directories: only detected, but "
		 "for exec.programs", need.shell ? "shells" : "programs of that name");
	*why = pool_strdup(l->pool, text);
	return *why ? 1 : -ENOMEM;
}

int bind_programs(struct compiled *const *rules, size_t n, const struct rules_config *config,
		  struct pathset **ret)
{
	_cleanup_(pathset_cleanup) struct pathset *p = NULL;
	bool any = false, held = config->mechanisms[KIND_EXEC_OBSERVED] >> MECH_FANOTIFY & 1;

	if (!held && !config->programs_found)
		return 0;
	if (pathset_new(&p) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct compiled *c = rules[i];
		struct need need = { .p = p, .group = (unsigned)i };

		if (c->rule.kind != KIND_EXEC_OBSERVED || c->rule.action != VERDICT_BLOCK ||
		    (!held && c->rule.mechanism != MECH_LSM))
			continue;
		put_rule(&need, c, config->site);
		if (need.out_of_memory)
			return -ENOMEM;
		any = true;
	}
	/* What the site names it names for all of its rules. */
	if (any && held)
		put_site(&(struct need){ .p = p }, config->site);
	if (any)
		*ret = TAKE_PTR(p);
	return 0;
}
