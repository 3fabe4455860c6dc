/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By which means a rule is held on this host, and which paths have to be watched for it. A rule
 * can be held by marks only if whatever it matches has one of the paths that it names: a way to
 * match without any path could be anywhere.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/compiled.h"

struct list {
	const char **v;
	struct glob **globs; /* of the same, NULL where there is none yet */
	size_t n, cap;
};

static int no_memory(struct loader *l)
{
	yaml_fail(l->err, l->file, 0, "out of memory");
	return -ENOMEM;
}

static int list_add(struct pool *p, struct list *list, const char *s, struct glob *g)
{
	if (list->n == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 8;
		const char **grown = pool_array(p, cap, sizeof(*grown));
		struct glob **globs = pool_array(p, cap, sizeof(struct glob *));

		if (!grown || !globs)
			return -ENOMEM;
		if (list->n) {
			memcpy(grown, list->v, list->n * sizeof(*grown));
			memcpy(globs, list->globs, list->n * sizeof(struct glob *));
		}
		list->v = grown;
		list->globs = globs;
		list->cap = cap;
	}
	list->v[list->n] = s;
	list->globs[list->n++] = g;
	return 0;
}

/* before + text with every byte that is special in a pattern quoted + after */
static char *quote(struct pool *p, const char *before, const struct value *v, const char *after)
{
	char *ret = pool_alloc(p, strlen(before) + 2 * v->len_bytes + strlen(after) + 2), *out = ret;

	if (!ret)
		return NULL;
	out = stpcpy(out, before);
	if (v->at_home)
		*out++ = '~';
	for (const char *s = v->text; *s; s++) {
		if (strchr("*?[]{},~\\", *s))
			*out++ = '\\';
		*out++ = *s;
	}
	strcpy(out, after);
	return ret;
}

/* The pattern of one value; *ret NULL: no pattern can say it. */
static int value_pattern(struct pool *p, const struct node *n, const struct value *v,
			 const char **ret)
{
	char last;

	*ret = NULL;
	switch (n->op) {
	case OP_GLOB:
		*ret = glob_source(v->glob);
		return 0;
	case OP_EQ:
		*ret = quote(p, "", v, "");
		break;
	case OP_PREFIX:
		last = v->len_bytes ? v->text[v->len_bytes - 1] : '\0';
		*ret = quote(p, "", v, last == '/' ? "**" : !last ? "/**" : "{*,*/**}");
		break;
	case OP_SUFFIX:
		if (v->text[v->len_bytes - 1] == '/')
			return 0; /* no file's path ends so */
		*ret = quote(p, v->text[0] == '/' ? "**" : "**/*", v, "");
		break;
	default:
		return 0;
	}
	return *ret ? 0 : -ENOMEM;
}

static bool is_path_comparison(const struct node *n)
{
	return n->type == NODE_COMPARE && n->field == FIELD_PATH &&
	       (n->op == OP_GLOB || n->op == OP_EQ || n->op == OP_PREFIX || n->op == OP_SUFFIX);
}

/* 1 and the patterns added when every value could be said as one; 0 when not; -ENOMEM. */
static int comparison_patterns(struct pool *p, const struct node *n, struct list *list)
{
	size_t mark = list->n;

	for (size_t i = 0; i < n->n; i++) {
		const char *pattern;

		if (value_pattern(p, n, &n->values[i], &pattern))
			return -ENOMEM;
		if (!pattern) {
			list->n = mark;
			return 0;
		}
		if (list_add(p, list, pattern, n->op == OP_GLOB ? n->values[i].glob : NULL))
			return -ENOMEM;
	}
	return 1;
}

static bool any_floating(const struct list *list, size_t from)
{
	for (size_t i = from; i < list->n; i++)
		if (list->v[i][0] != '/' && list->v[i][0] != '~')
			return true;
	return false;
}

/* 1 and patterns of which one matches whenever n does; 0: a way to match has none; -ENOMEM. */
static int node_patterns(struct pool *p, const struct node *n, struct list *list)
{
	size_t mark = list->n;
	int rc;

	if (is_path_comparison(n))
		return comparison_patterns(p, n, list);
	if (n->type == NODE_ANY) {
		for (size_t i = 0; i < n->n; i++) {
			rc = node_patterns(p, n->kids[i], list);
			if (rc <= 0) {
				list->n = mark;
				return rc;
			}
		}
		return 1;
	}
	if (n->type == NODE_ALL) {
		struct list best = { 0 };
		bool found = false;

		/* one kid will do; patterns rooted somewhere need fewer marks than floating ones */
		for (size_t i = 0; i < n->n; i++) {
			struct list one = { 0 };

			rc = node_patterns(p, n->kids[i], &one);
			if (rc < 0)
				return rc;
			if (rc && (!found || (any_floating(&best, 0) && !any_floating(&one, 0)))) {
				best = one;
				found = true;
			}
		}
		for (size_t i = 0; i < best.n; i++)
			if (list_add(p, list, best.v[i], best.globs[i]))
				return -ENOMEM;
		return found;
	}
	return 0;
}

/* What a none_of that always holds takes out, whatever else an event says. */
static int node_excludes(struct pool *p, const struct node *n, struct list *list)
{
	int rc;

	if (n->type == NODE_ALL) {
		for (size_t i = 0; i < n->n; i++) {
			rc = node_excludes(p, n->kids[i], list);
			if (rc < 0)
				return rc;
		}
	} else if (n->type == NODE_NONE) {
		for (size_t i = 0; i < n->n; i++) {
			const struct node *kid = n->kids[i];
			struct node any = { .type = NODE_ANY, .n = 1, .kids = n->kids + i };

			/* any_of inside: each of its comparisons takes out by itself */
			if (kid->type == NODE_ANY)
				any = *kid;
			for (size_t k = 0; k < any.n; k++) {
				if (!is_path_comparison(any.kids[k]))
					continue;
				rc = comparison_patterns(p, any.kids[k], list);
				if (rc < 0)
					return rc;
			}
		}
	}
	return 0;
}

int bind_paths(struct loader *l, struct compiled *c)
{
	struct list paths = { 0 }, excludes = { 0 };

	if (c->rule.kind != KIND_FILE_OPENED)
		return 0;
	if (node_patterns(l->pool, c->match, &paths) < 0 ||
	    (paths.n && node_excludes(l->pool, c->match, &excludes) < 0))
		return no_memory(l);
	c->paths = paths.v;
	c->path_globs = paths.globs;
	c->n_paths = paths.n;
	c->excludes = excludes.v;
	c->n_excludes = excludes.n;
	return 0;
}

/* ---- mechanisms ---------------------------------------------------------------------------- */

static char *why_no_path(struct pool *p, const struct node *match)
{
	char why[256] = "no path that could be marked: ";
	uint64_t set = 0;
	bool first = true;

	fields_used(match, &set);
	if (set >> FIELD_PATH & 1)
		return pool_strdup(p, "it can match without any path that could be marked");
	for (int i = 0; i < FIELD_COUNT; i++)
		if (set >> i & 1 && strlen(why) < 180) {
			snprintf(why + strlen(why), sizeof(why) - strlen(why), "%s%s",
				 first ? "" : ", ", field_info((enum field_id)i)->name);
			first = false;
		}
	strcat(why, " alone");
	return pool_strdup(p, why);
}

/* Kernel interfaces, which the kernel or the list of markable filesystems does not let us hold. */
static bool is_pseudo(const char *path)
{
	return !strncmp(path, "/proc/", 6) || !strncmp(path, "/sys/", 5) ||
	       (!strncmp(path, "/dev/", 5) && strncmp(path, "/dev/shm/", 9) != 0);
}

static size_t count_pseudo(const struct compiled *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_paths; i++)
		n += is_pseudo(c->paths[i]);
	return n;
}

/* A rule of connections that is held: what of it is not, if anything. NULL: no memory. */
static const char *bind_hold(struct loader *l, struct compiled *c)
{
	const char *field = NULL;
	const struct rule_exception *e = hold_without(c, &field);
	char text[512];
	bool partly;

	if (!e && hold_unknown(c, &partly)) {
		snprintf(text, sizeof(text), "what it says by %s is only detected",
			 hold_unknown(c, &partly));
		return pool_strdup(l->pool, text);
	}
	if (!e)
		return "";
	snprintf(text, sizeof(text), "the exception of %.300s:%u has no effect: the kernel, which denies, "
		 "does not know %s; list the destination in egress.allow", e->file, e->line, field);
	return pool_strdup(l->pool, text);
}

/* Why no mechanism holds a rule of connections although there is one; NULL: it can. */
static const char *why_not_held(struct loader *l, struct compiled *c,
				const struct rules_config *config)
{
	bool partly;
	const char *field = hold_unknown(c, &partly);
	char text[160], *why;

	if (config->no_gateway && hold_asks_gateway(c))
		return "off: no gateway is set (egress.gateway)";
	if (!(config->mechanisms[KIND_SOCKET_CONNECT] & (1u << MECH_CGROUP | 1u << MECH_LSM)))
		return NULL;
	if (!field || partly)
		return hold_prepare(c, l->budget) ? NULL :
		       "its addresses or ports are more than the kernel's table has room for: only detected";
	snprintf(text, sizeof(text), "the kernel, which denies connections, does not know %s: only "
		 "detected", field);
	why = pool_strdup(l->pool, text);
	return why ? why : "the kernel, which denies connections, does not know all of it";
}

/* The stronger mechanism is there, and not for this rule; none: why no other is. NULL: no memory. */
static const char *why_not_sure(struct loader *l, const char *none, const char *unsure)
{
	char text[512];

	snprintf(text, sizeof(text), "%s%snot by lsm: %s", none ? none : "", none ? "; " : "", unsure);
	return pool_strdup(l->pool, text);
}

/* It is to ask an operator, and is held by what asks nobody. NULL: no memory. */
static const char *why_at_once(struct loader *l, const struct compiled *c, const char *why)
{
	const char *what = c->rule.kind == KIND_SOCKET_CONNECT ? "connections " : "";
	char text[640];

	snprintf(text, sizeof(text), "%s%s%scannot be held: denied at once", why, *why ? "; " : "", what);
	return pool_strdup(l->pool, text);
}

int bind_mechanism(struct loader *l, struct compiled *c, const struct rules_config *config)
{
	static const enum mechanism strongest_first[] = { MECH_LSM, MECH_FANOTIFY, MECH_CGROUP,
							  MECH_PRELOAD, MECH_SIGNAL };
	const unsigned marking = 1u << MECH_LSM | 1u << MECH_FANOTIFY;
	unsigned have = config->mechanisms[c->rule.kind];
	const char *why = "", *programs = "";
	char text[128], unsure[160] = "";
	int held = 0;

	c->rule.mechanism = MECH_DETECT;
	c->rule.bound_why = "";
	c->rule.hold &= c->rule.action == VERDICT_BLOCK; /* of the others nobody is asked */
	if (c->rule.kind == KIND_EXEC_OBSERVED && c->rule.action == VERDICT_BLOCK &&
	    (have >> MECH_FANOTIFY & 1 || config->programs_found))
		held = bind_exec(l, c, config, &programs);
	if (held < 0)
		return no_memory(l);
	/* Who is held is seen, whatever else is. */
	c->rule.observed = !(config->unobserved_kinds >> c->rule.kind & 1) || held;
	if (!c->rule.observed) {
		snprintf(text, sizeof(text), "not observed: no running source reports %s",
			 event_kind_name(c->rule.kind));
		c->rule.bound_why = pool_strdup(l->pool, text);
		return c->rule.bound_why ? 0 : no_memory(l);
	}
	if (c->rule.kind == KIND_FILE_OPENED && config->pseudo_unseen && c->n_paths &&
	    count_pseudo(c) == c->n_paths) {
		c->rule.observed = false;
		c->rule.bound_why = "not observed: files in /proc, /sys and /dev cannot carry a mark, and the "
				    "calls that open them are only told by --source=fanotify,ebpf";
		return 0;
	}
	if (c->rule.action == VERDICT_ALLOW)
		return 0;
	if (!(have & ~(1u << MECH_DETECT)) && c->rule.action == VERDICT_BLOCK) {
		snprintf(text, sizeof(text), "kind %s has no mechanism on this host yet",
			 event_kind_name(c->rule.kind));
		why = pool_strdup(l->pool, config->why_none[c->rule.kind] ?
						   config->why_none[c->rule.kind] : text);
	}
	if (c->rule.kind == KIND_FILE_OPENED && c->n_paths == 0) {
		have &= ~marking;
		why = why_no_path(l->pool, c->match);
	} else if (c->n_paths && count_pseudo(c) == c->n_paths &&
		   c->rule.action == VERDICT_BLOCK) {
		have &= ~marking;
		why = "files in /proc, /sys and /dev cannot carry a permission mark";
	}
	if (c->rule.kind == KIND_EXEC_OBSERVED && have >> MECH_FANOTIFY & 1 && !held) {
		have &= ~(1u << MECH_FANOTIFY);
		why = programs;
	}
	if (c->rule.kind == KIND_SOCKET_CONNECT && c->rule.action == VERDICT_BLOCK) {
		const char *not = why_not_held(l, c, config);

		if (not) {
			have &= config->no_gateway && hold_asks_gateway(c) ? 0 : 1u << MECH_PRELOAD;
			why = not;
			if (!config->no_gateway || !hold_asks_gateway(c))
				hold_watch(c, l->budget);
		}
	} else if (c->rule.kind == KIND_SOCKET_CONNECT && !hold_prepare(c, l->budget)) {
		hold_watch(c, l->budget);
	}
	if (have >> MECH_LSM & 1 && c->rule.kind != KIND_SOCKET_CONNECT &&
	    !sure_rule(c, config->site, held > 0, have >> MECH_FANOTIFY & 1, unsure))
		have &= ~(1u << MECH_LSM);
	if (!why)
		return no_memory(l);
	for (size_t i = 0; i < ARRAY_SIZE(strongest_first) && c->rule.action == VERDICT_BLOCK; i++)
		if (have >> strongest_first[i] & 1) {
			c->rule.mechanism = strongest_first[i];
			why = "";
			if (strongest_first[i] == MECH_LSM)
				sure_prepare(c);
			if (strongest_first[i] == MECH_PRELOAD)
				why = "by programs that ask before they do it: advisory, not a boundary";
			else if (c->rule.kind == KIND_SOCKET_CONNECT)
				why = bind_hold(l, c);
			else if (held && strongest_first[i] == MECH_FANOTIFY)
				why = programs;
			else if (count_pseudo(c))
				why = config->pseudo_unseen ?
					      "its paths in /proc, /sys and /dev are not observed" :
					      "its paths in /proc, /sys and /dev are only detected";
			else if (unsure[0])
				why = why_not_sure(l, NULL, unsure);
			if (c->rule.hold && why && strongest_first[i] != MECH_FANOTIFY)
				why = why_at_once(l, c, why);
			break;
		}
	if (c->rule.mechanism == MECH_DETECT && unsure[0] && why && !*why)
		why = why_not_sure(l, config->why_none[c->rule.kind], unsure);
	c->rule.bound_why = why;
	return why ? 0 : no_memory(l);
}

static void pathset_cleanup(struct pathset **p)
{
	pathset_unref(*p);
}

/* The line of the first value that is no path to be watched, and why; 0: none. */
static unsigned find_bad_path(struct pool *p, const struct node *n, const char **why)
{
	unsigned line = 0;

	for (size_t i = 0; i < n->n && !line; i++) {
		const char *pattern = NULL;
		struct glob *g = NULL;
		int rc;

		if (n->type != NODE_COMPARE) {
			line = find_bad_path(p, n->kids[i], why);
			continue;
		}
		if (!is_path_comparison(n) || value_pattern(p, n, &n->values[i], &pattern) || !pattern)
			continue;
		rc = glob_compile(pattern, &g, why);
		line = rc == -EINVAL ? n->line : 0;
		if (!rc)
			glob_free(g);
	}
	return line;
}

static const char *rc_text(int rc)
{
	return rc == -E2BIG ? "the paths of all rules are too many" : "out of memory";
}

static void say_bad_path(const struct compiled *c, char err[512])
{
	struct pool *p = pool_new();
	const char *why = NULL;
	unsigned line = p ? find_bad_path(p, c->match, &why) : 0;

	yaml_fail(err, c->rule.file, line ? line : c->rule.line, "a path that cannot be watched: %s",
		  line && why ? why : "too long or too many components");
	pool_free(p);
}

int bind_pathset(struct compiled *const *rules, size_t n, struct pathset **ret, char err[512])
{
	_cleanup_(pathset_cleanup) struct pathset *p = NULL;
	unsigned group = 0;
	int rc;

	rc = pathset_new(&p);
	if (rc)
		yaml_fail(err, "rules", 0, "out of memory");
	for (size_t i = 0; i < n && !rc; i++) {
		const struct compiled *c = rules[i];
		enum verdict v = c->rule.action;

		if (v == VERDICT_ALLOW || c->n_paths == 0)
			continue;
		/* where nothing will be denied there is nothing to ask permission for */
		if (c->rule.mechanism == MECH_DETECT)
			v = VERDICT_WARN;
		for (size_t k = 0; k < c->n_paths && !rc; k++) {
			enum verdict held = is_pseudo(c->paths[k]) ? VERDICT_WARN : v;

			if (c->path_globs[k])
				rc = pathset_add_glob(p, c->path_globs[k], held, false, group);
			else
				rc = pathset_add(p, c->paths[k], held, false, group);
		}
		for (size_t k = 0; k < c->n_excludes && !rc; k++)
			rc = pathset_add(p, c->excludes[k], v, true, group);
		group++;
		if (rc == -EINVAL)
			say_bad_path(c, err);
		else if (rc)
			yaml_fail(err, c->rule.file, c->rule.line, "%s", rc_text(rc));
	}
	if (rc)
		return rc;
	*ret = TAKE_PTR(p);
	return 0;
}
