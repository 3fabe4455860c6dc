/* SPDX-License-Identifier: Apache-2.0 */
/* One comparison by itself: values that its field never has, or always. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/lint_priv.h"

#define PID_MAX_LIMIT (INT64_C(4) << 20) /* linux/threads.h */

static const char *const open_modes[] = { "read", "write", "exec", "watch", NULL };

bool lint_range(enum field_id field, int64_t *min, int64_t *max)
{
	*min = 0;
	*max = INT64_MAX;
	switch (field) {
	case FIELD_WALL_CLOCK_HOUR:
		*max = 23;
		return true;
	case FIELD_WALL_CLOCK_DOW:
		*max = 6;
		return true;
	case FIELD_DEST_PORT:
		*max = UINT16_MAX;
		return true;
	case FIELD_UID:
		*max = UINT32_MAX - 1; /* the last one says that there is none */
		return true;
	case FIELD_PID:
	case FIELD_PARENT_PID:
		*min = 1;
		*max = PID_MAX_LIMIT;
		return true;
	default:
		return field_info(field)->type == FIELD_TYPE_NUMBER;
	}
}

static const char *const *words_of(enum field_id field)
{
	return field == FIELD_OPEN_MODE ? open_modes : NULL;
}

enum lint_answer lint_text_holds(const struct node *n, const struct value *v, const char *text)
{
	bool is_path = field_info(n->field)->type == FIELD_TYPE_PATH;
	size_t home = strlen(LINT_HOME), len = strlen(text);
	bool text_home = !strncmp(text, LINT_HOME, home);
	const char *s = text;
	bool yes = false;

	switch (n->op) {
	case OP_GLOB:
		yes = is_path ? glob_match(v->glob, text, LINT_HOME) :
				glob_match_string(v->glob, text);
		if (!yes && is_path && glob_uses_home(v->glob) != text_home)
			return LINT_MAYBE;
		break;
	case OP_MATCH:
		yes = regex_match(v->regex, text, len) == REGEX_YES;
		/* an expression can tell any two texts apart */
		return yes ? LINT_YES : text_home ? LINT_MAYBE : LINT_NO;
	case OP_SUFFIX:
		yes = len >= v->len_bytes && !strcmp(text + len - v->len_bytes, v->text);
		break;
	case OP_CONTAINS:
		yes = strstr(text, v->text);
		break;
	case OP_EQ:
	case OP_NE:
	case OP_PREFIX:
		if (v->at_home != text_home && is_path)
			return LINT_MAYBE;
		s += v->at_home ? home : 0;
		yes = n->op == OP_PREFIX ? !strncmp(s, v->text, v->len_bytes) :
					   !strcmp(s, v->text);
		break;
	default:
		return LINT_MAYBE;
	}
	return yes ? LINT_YES : text_home && is_path && n->op != OP_GLOB ? LINT_MAYBE : LINT_NO;
}

/* ---- numbers --------------------------------------------------------------------------------- */

bool lint_number_holds(const struct node *n, int64_t number)
{
	for (size_t k = 0; k < n->n; k++) {
		int64_t v = n->values[k].number;

		if (n->op == OP_GT ? number > v : n->op == OP_GTE ? number >= v :
		    n->op == OP_LT ? number < v : n->op == OP_LTE ? number <= v : number == v)
			return n->op != OP_NE;
	}
	return n->op == OP_NE;
}

static void range_text(enum field_id field, char *buf, size_t size)
{
	int64_t min, max;

	lint_range(field, &min, &max);
	if (max == INT64_MAX)
		snprintf(buf, size, "%" PRId64 " or more", min);
	else
		snprintf(buf, size, "%" PRId64 " to %" PRId64, min, max);
}

static unsigned count_field(const struct node *n, enum field_id field)
{
	unsigned count = 0;

	if (n->type == NODE_COMPARE)
		return n->field == field;
	for (size_t i = 0; i < n->n; i++)
		count += count_field(n->kids[i], field);
	return count;
}

/* The other end of a range, as in gte: 20, lt: 24: it says what is meant. */
static bool is_bound(const struct node *match, const struct node *n, int64_t min, int64_t max)
{
	int64_t v = n->values[0].number;
	bool least = n->op == OP_GT || n->op == OP_GTE;

	return n->n == 1 && count_field(match, n->field) > 1 &&
	       v == (least ? min : max) + (n->op == OP_GT ? -1 : n->op == OP_LT ? 1 : 0);
}

static void check_number(struct linting *l, const struct node *n)
{
	const char *name = field_info(n->field)->name;
	int64_t min, max;
	char range[64];

	if (!lint_range(n->field, &min, &max))
		return;
	range_text(n->field, range, sizeof(range));
	if (n->op == OP_EQ || n->op == OP_NE) {
		for (size_t k = 0; k < n->n; k++)
			if (n->values[k].number < min || n->values[k].number > max)
				lint_say(l, LINT_WARNING, n->line, "%s is never %" PRId64
					 ": it is %s", name, n->values[k].number, range);
		return;
	}
	/* an ordering that is the same at both ends is the same in between */
	if (!lint_number_holds(n, min) && !lint_number_holds(n, max))
		lint_say(l, LINT_WARNING, n->line, "%s %s %s never holds: it is %s", name,
			 match_word(n), lint_value(l, n, &n->values[0]), range);
	else if (lint_number_holds(n, min) && lint_number_holds(n, max) &&
		 !is_bound(l->c->match, n, min, max))
		lint_say(l, LINT_WARNING, n->line, "%s %s %s always holds: it is %s", name,
			 match_word(n), lint_value(l, n, &n->values[0]), range);
	else if (n->n > 1)
		lint_say(l, LINT_WARNING, n->line, "%s %s takes any of its %zu values: one of them "
			 "says it all", name, match_word(n), n->n);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void check_words(struct linting *l, const struct node *n, const char *const *words)
{
	char list[128] = "";

	for (size_t i = 0; words[i]; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
			 !i ? "" : words[i + 1] ? ", " : " or ", words[i]);
	for (size_t k = 0; k < n->n; k++) {
		bool any = false;

		for (size_t i = 0; words[i] && !any; i++)
			any = lint_text_holds(n, &n->values[k], words[i]) == LINT_YES;
		if (!any)
			lint_say(l, LINT_WARNING, n->line, "%s is never like %s: it is %s",
				 field_info(n->field)->name, lint_value(l, n, &n->values[k]), list);
	}
}

static bool ends_with_slash(const struct value *v)
{
	return v->len_bytes > 1 && v->text[v->len_bytes - 1] == '/';
}

/* As the kernel writes paths: absolute, without // and dots, no slash at the end. */
static void check_path(struct linting *l, const struct node *n)
{
	for (size_t k = 0; k < n->n; k++) {
		const struct value *v = &n->values[k];
		bool is_end = n->op == OP_EQ || n->op == OP_NE || n->op == OP_SUFFIX;

		if (n->op == OP_GLOB || n->op == OP_MATCH)
			continue;
		if (is_end && ends_with_slash(v))
			lint_say(l, LINT_WARNING, n->line,
				 "no path ends with a slash, as %s does; prefix takes what is below",
				 lint_value(l, n, v));
		else if (strstr(v->text, "//") || strstr(v->text, "/../") || strstr(v->text, "/./"))
			lint_say(l, LINT_WARNING, n->line,
				 "no path has //, /./ or /../ in it, as %s has",
				 lint_value(l, n, v));
		else if (n->op == OP_PREFIX && v->text[0] == '/' && !v->text[1] && !v->at_home)
			lint_say(l, LINT_WARNING, n->line, "every path begins with \"/\"");
	}
}

static void check_name(struct linting *l, const struct node *n)
{
	for (size_t k = 0; k < n->n; k++)
		if (n->op != OP_GLOB && n->op != OP_MATCH && strchr(n->values[k].text, '/'))
			lint_say(l, LINT_WARNING, n->line,
				 "process_name is a name without slashes, never like %s: exe is the "
				 "path", lint_value(l, n, &n->values[k]));
}

static bool same_value(const struct node *n, const struct value *a, const struct value *b)
{
	if (n->op == OP_PORT || field_info(n->field)->type == FIELD_TYPE_NUMBER)
		return a->number == b->number;
	if (field_info(n->field)->type == FIELD_TYPE_ADDRESS)
		return a->addr_bits == b->addr_bits && !memcmp(a->addr, b->addr, sizeof(a->addr));
	if (n->op == OP_GLOB)
		return !strcmp(glob_source(a->glob), glob_source(b->glob));
	return a->at_home == b->at_home && !strcmp(a->text, b->text);
}

/* The same value again, or one that another takes already. */
static void check_again(struct linting *l, const struct node *n)
{
	for (size_t k = 0; k < n->n; k++)
		for (size_t i = 0; i < n->n; i++) {
			bool same = i != k && same_value(n, &n->values[i], &n->values[k]);

			if (i == k || (same && i > k))
				continue;
			if (same)
				lint_say(l, LINT_WARNING, n->line, "%s is there twice",
					 lint_value(l, n, &n->values[k]));
			else if (n->op != OP_NE && lint_covers(n, &n->values[i], n, &n->values[k]))
				lint_say(l, LINT_WARNING, n->line, "%s is there already: %s takes it",
					 lint_value(l, n, &n->values[k]),
					 lint_value(l, n, &n->values[i]));
			else
				continue;
			break;
		}
}

void lint_values(struct linting *l, const struct node *n)
{
	enum field_type type = field_info(n->field)->type;

	if (type == FIELD_TYPE_NUMBER)
		check_number(l, n);
	else if (words_of(n->field))
		check_words(l, n, words_of(n->field));
	else if (type == FIELD_TYPE_PATH)
		check_path(l, n);
	else if (n->field == FIELD_PROCESS_NAME)
		check_name(l, n);
	if (type != FIELD_TYPE_NUMBER || n->op == OP_EQ || n->op == OP_NE)
		check_again(l, n);
}
