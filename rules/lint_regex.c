/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions that say less than they seem to, or take more steps than they may. */
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "rules/lint_priv.h"

#define REPEATED 120 /* bytes: a name or a part of a path */
#define META "\\^$.[]|()?*+{}"

/* Text that the expression certainly is, with its quoting taken off. false: it is more than that. */
static bool plain_text(const char *s, const char *end, char *buf, size_t size)
{
	size_t n = 0;

	for (; s < end; s++) {
		if (*s == '\\' && s + 1 < end && strchr(META "/-", s[1]))
			s++;
		else if (strchr(META, *s))
			return false;
		if (n + 1 >= size)
			return false;
		buf[n++] = *s;
	}
	buf[n] = '\0';
	return n > 0;
}

/* What another comparison would say as well; NULL: none would. */
static const char *simpler(const struct value *v, char *buf, size_t size)
{
	const char *s = v->text, *end = s + v->len_bytes;
	bool begins = *s == '^', ends;

	s += begins;
	ends = end > s && end[-1] == '$' && (end - s < 2 || end[-2] != '\\');
	end -= ends;
	if (!plain_text(s, end, buf, size))
		return NULL;
	return begins && ends ? "eq" : begins ? "prefix" : ends ? "suffix" : "contains";
}

/* Of several all must have the same, as they stand in one comparison. */
static void check_simpler(struct linting *l, const struct node *n)
{
	char text[256], other[256];
	const char *word = simpler(&n->values[0], text, sizeof(text));

	/* a path that begins otherwise is refused there, and here never matches */
	if (!word || (field_info(n->field)->type == FIELD_TYPE_PATH && text[0] != '/' &&
		      (!strcmp(word, "eq") || !strcmp(word, "prefix"))))
		return;
	for (size_t k = 1; k < n->n; k++)
		if (simpler(&n->values[k], other, sizeof(other)) != word)
			return;
	lint_say(l, LINT_WARNING, n->line, "%s is found faster by %s: \"%s\"%s",
		 lint_value(l, n, &n->values[0]), word, text, n->n > 1 ? ", and the others too" : "");
}

static void check_stars(struct linting *l, const struct node *n, const struct value *v)
{
	const char *s = v->text;
	size_t len = v->len_bytes;

	if (!strncmp(s, ".*", 2))
		lint_say(l, LINT_WARNING, n->line, "%s is found anywhere: it needs no .* at the "
			 "beginning, which only costs time", lint_value(l, n, v));
	else if (!strncmp(s, "^.*", 3))
		lint_say(l, LINT_WARNING, n->line, "%s: ^.* at the beginning says nothing, and costs "
			 "time", lint_value(l, n, v));
	else if (len > 2 && (!strcmp(s + len - 2, ".*") || (len > 3 && !strcmp(s + len - 3, ".*$"))) &&
		 s[len - 3] != '\\')
		lint_say(l, LINT_WARNING, n->line, "%s needs no .* at the end", lint_value(l, n, v));
}

static bool gives_up(const struct value *v, const char *before, size_t len, const char *what)
{
	char subject[2048];
	size_t n = len < 256 ? len : 256, unit = strlen(what);
	size_t rest = v->len_bytes < 1024 ? v->len_bytes : 1024;

	memcpy(subject, before, n);
	for (size_t i = 0; i < REPEATED; i++)
		subject[n++] = what[i % unit];
	/* and then not what is looked for, though all of its letters, lest PCRE2 see at once that one
	 * is missing */
	subject[n++] = '\1';
	memcpy(subject + n, v->text, rest);
	n += rest;
	subject[n++] = '\1';
	return regex_match(v->regex, subject, n) == REGEX_GAVE_UP;
}

/* Tried with what it is written of, repeated: `(a+)+$` doubles its steps with each a. */
static void check_steps(struct linting *l, const struct node *n, const struct value *v)
{
	static const char *const usual[] = { "a", "A", "0", "/", "a/", " ", ".", "-", "_", "ab", "a ",
					     "a.", "0.", NULL };
	const char *s = v->text + (v->text[0] == '^');
	size_t literal = strcspn(s, META);
	char one[2] = "";

	/* what a quantifier may take away is no beginning */
	if (literal && s[literal] && strchr("?*{", s[literal]))
		literal--;
	for (size_t i = 0; usual[i]; i++)
		if (gives_up(v, s, literal, usual[i]) || gives_up(v, s, 0, usual[i]))
			goto found;
	for (const char *c = s; *c; c++) {
		one[0] = *c;
		if (!strchr(META, *c) && (gives_up(v, s, literal, one) || gives_up(v, s, 0, one)))
			goto found;
	}
	return;
found:
	lint_say(l, LINT_WARNING, n->line, "%s takes more steps than it may on a long text, and then "
		 "counts for the rule: do not repeat what repeats, as in (a+)+, and anchor it",
		 lint_value(l, n, v));
}

void lint_regex(struct linting *l, const struct node *n)
{
	if (n->op == OP_MATCH)
		check_simpler(l, n);
	for (size_t k = 0; n->op == OP_MATCH && k < n->n; k++) {
		check_stars(l, n, &n->values[k]);
		check_steps(l, n, &n->values[k]);
	}
}
