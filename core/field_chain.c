/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of a shell script, counted: by its operators, not by running it. Shells read some things
 * in different ways, so it is read as each of them would, and the highest counts. Where it is doubtful
 * whether any reads it as it is read here, its operators count by themselves, quoted or not.
 */
#include <stdbool.h>
#include <string.h>

#include "core/chain.h"
#include "core/field.h"

#define AHEAD 4 /* so many times the script may be looked at to find an end */

/* ---- what stands for itself --------------------------------------------------------------------- */

/* '…' and $'…'. In backquotes the next of these ends both. */
static void skip_single(struct chain *c, bool escapes)
{
	chain_put_word(c, '\'', true);
	while (++c->at < c->len && c->s[c->at] != '\'') {
		if (c->s[c->at] == '`' && c->backticks)
			return;
		if (escapes && c->s[c->at] == '\\')
			c->at++;
	}
	c->doubt |= c->at >= c->len;
	c->at++;
}

static void skip_comment(struct chain *c)
{
	while (c->at < c->len && c->s[c->at] != '\n' && !(c->s[c->at] == '`' && c->backticks))
		c->at++;
}

/* Is the parenthesis that is open at `at` closed by two? Of what stands between nothing matters. */
static bool is_arithmetic(struct chain *c, size_t at)
{
	size_t from = at;
	unsigned open = 1;
	char quote = '\0';

	if (!c->ahead) {
		c->doubt = true;
		return true;
	}
	for (; at < c->len && open; at++) {
		char ch = c->s[at];

		if (ch == '\\' && quote != '\'') {
			at++;
		} else if (quote) {
			/* Quotes in a substitution in quotes: another story. */
			c->doubt |= quote == '"' && ch == '$' && at + 1 < c->len && c->s[at + 1] == '(';
			if (ch == quote)
				quote = '\0';
		} else if (ch == '\'' || ch == '"' || ch == '`') {
			quote = ch;
		} else {
			open += ch == '(';
			open -= ch == ')';
		}
	}
	c->ahead -= at - from < c->ahead ? at - from : c->ahead;
	return !open && at < c->len && c->s[at] == ')';
}

/* ---- reading ---------------------------------------------------------------------------------- */

static void enter_braces(struct chain *c)
{
	const struct level *l = chain_now(c);
	bool in_double = l->inside == IN_DOUBLE || l->inside == IN_HERE ||
			 (l->inside == IN_BRACES && l->in_double);
	size_t at = c->at + 2;

	/* A list of commands, to some. */
	c->doubt |= strchr(" \t\n|", chain_peek(c, 2)) && chain_peek(c, 2);
	chain_enter(c, IN_BRACES, 2);
	if (chain_now(c)->inside != IN_BRACES || chain_now(c)->from != at)
		return;
	while (at < c->len && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_",
				     c->s[at]))
		at++;
	at += at == c->at && at < c->len; /* $@ and so on */
	at += at < c->len && c->s[at] == ':';
	chain_now(c)->in_double = in_double;
	chain_now(c)->literal = in_double && c->dialect != BASH && at < c->len && strchr("-=+?", c->s[at]);
}

/* In backquotes it is taken away before anything is read: what it keeps from being read may be. */
static void backslash(struct chain *c)
{
	char ch = chain_peek(c, 1), before = c->at ? c->s[c->at - 1] : '\0';

	if (c->backticks)
		c->doubt |= ch == '`' || ch == '\\' ||
			    (ch == '$' && chain_peek(c, 2) && strchr("({", chain_peek(c, 2)));
	if (ch == '\n')
		c->doubt |= before && strchr("$<(", before);
	else
		chain_put_word(c, '\\', true);
	c->at += 2;
}

/* Substitutions, which are commands wherever they stand. */
static bool substitution(struct chain *c)
{
	char ch = c->s[c->at];

	if (ch == '\\') {
		backslash(c);
	} else if (ch == '`' && c->backticks) {
		/* The same ends it, through all that is open. */
		c->doubt |= c->n_here;
		while (chain_now(c)->inside != IN_BACKTICKS) {
			c->doubt |= chain_now(c)->inside == IN_HERE;
			chain_close_level(c);
		}
		chain_leave(c);
	} else if (ch == '`') {
		chain_enter(c, IN_BACKTICKS, 1);
	} else if (ch == '$' && chain_peek(c, 1) == '(' && chain_peek(c, 2) == '(' &&
		   (c->dialect == DASH || is_arithmetic(c, c->at + 3))) {
		chain_enter(c, IN_ARITHMETIC, 3);
		chain_now(c)->parens = 2;
	} else if (ch == '$' && chain_peek(c, 1) == '(') {
		chain_enter(c, IN_COMMANDS, 2);
	} else if (ch == '$' && chain_peek(c, 1) == '{') {
		enter_braces(c);
	} else {
		return false;
	}
	return true;
}

static void in_quotes(struct chain *c)
{
	struct level *l = chain_now(c);
	char ch = c->s[c->at];
	bool is_quoting = (l->inside == IN_BRACES && !l->literal) ||
			  (l->inside == IN_ARITHMETIC && c->dialect != DASH);

	if (substitution(c))
		return;
	if ((l->inside == IN_DOUBLE && ch == '"') || (l->inside == IN_BRACES && ch == '}')) {
		chain_leave(c);
		return;
	}
	if (ch == '"' && (is_quoting || l->inside == IN_BRACES)) {
		chain_enter(c, IN_DOUBLE, 1);
		return;
	}
	if (ch == '\'' && is_quoting) {
		skip_single(c, c->at && c->s[c->at - 1] == '$' && c->dialect != DASH && !l->in_double);
		return;
	}
	if (l->inside == IN_ARITHMETIC) {
		c->n += !l->loop && (ch == ';' || ch == '\n');
		l->parens += ch == '(';
		if (ch == ')' && --l->parens == 0) {
			chain_leave(c);
			return;
		}
	}
	c->at++;
}

static bool redirects(struct chain *c)
{
	char ch = c->s[c->at];
	bool follows = c->at && c->redirected == c->at;

	if (ch == '&')
		return follows || (chain_peek(c, 1) == '>' && c->dialect != DASH);
	return ch == '|' && follows && c->s[c->at - 1] == '>';
}

static void operator(struct chain *c)
{
	char ch = c->s[c->at];
	size_t n = 1;

	if (redirects(c)) {
		c->at++;
		return;
	}
	if (ch != '\n' && (chain_peek(c, 1) == ch || (ch == '|' && chain_peek(c, 1) == '&')))
		n = 2;
	chain_end_command(c, c->at + n);
	chain_now(c)->target = ch == '&' && n == 1 && chain_peek(c, 1) == '>';
	c->at += n;
	if (ch == '\n' && c->n_here)
		chain_enter_here(c);
}

/* Is it the name of a function that stands before the parentheses? */
static bool is_defined(struct chain *c)
{
	struct level *l = chain_now(c);
	bool is_name = c->redirected != c->at &&
		       !(l->in_word && c->at && strchr("@?*+!", c->s[c->at - 1]));

	chain_end_word(l);
	return is_name && (l->words == 1 || l->head);
}

static void parenthesis(struct chain *c)
{
	struct level *l = chain_now(c);

	if (c->s[c->at] == ')') {
		if (l->inside == IN_COMMANDS && c->depth && !l->cases) {
			chain_leave(c);
			return;
		}
		chain_end_command(c, c->at + 1); /* case x in a) … */
		c->at++;
		return;
	}
	if (chain_peek(c, 1) == ')' && is_defined(c)) {
		l->command = l->head = false;
		c->at += 2;
		l->from = c->at;
		return;
	}
	if (chain_peek(c, 1) == '(')
		chain_end_word(l); /* for((…)) */
	if (chain_peek(c, 1) == '(' && !l->command &&
	    (l->loop || (c->dialect != DASH && is_arithmetic(c, c->at + 2)))) {
		bool loop = l->loop;

		chain_enter(c, IN_ARITHMETIC, 2);
		chain_now(c)->parens = 2;
		chain_now(c)->loop = loop;
	} else if (c->at && c->redirected == c->at) {
		chain_enter(c, IN_COMMANDS, 1);
	} else { /* a subshell is what is in it */
		bool head = l->head, command = l->command;

		chain_enter(c, IN_COMMANDS, 1);
		l->command = command;
		l->head = head;
		l->in_word = l->quoted = false;
		l->word_len = 0;
	}
}

static void unquoted(struct chain *c, char ch)
{
	struct level *l = chain_now(c);

	if (ch == '[' || ch == ']')
		l->bracket = ch == '[';
	chain_put_word(c, ch, false);
	c->at++;
	if (ch == '<' || ch == '>')
		c->redirected = c->at;
}

static void in_commands(struct chain *c)
{
	struct level *l = chain_now(c);
	char ch = c->s[c->at];

	if (ch == '$' && chain_peek(c, 1) == '$')
		chain_put_word(c, '$', false), c->at += 2;
	else if (ch == '$' && chain_peek(c, 1) == '\'')
		c->at++, skip_single(c, c->dialect != DASH);
	else if (substitution(c))
		return;
	else if (ch == '\'')
		skip_single(c, false);
	else if (ch == '"')
		chain_enter(c, IN_DOUBLE, 1);
	else if (ch == '#' && !l->in_word)
		skip_comment(c);
	else if (ch == '<' && chain_peek(c, 1) == '<' && l->bracket)
		c->doubt = true, c->at += 2; /* a[1<<2]=3 */
	else if (ch == '<' && chain_peek(c, 1) == '<' && chain_peek(c, 2) != '<')
		chain_note_here(c);
	else if (ch == '<' && chain_peek(c, 1) == '<')
		c->at += 3;
	else if (ch == '\0' || strchr(";&|\n", ch))
		operator(c);
	else if (ch == '(' || ch == ')')
		parenthesis(c);
	else if (ch == ' ' || ch == '\t')
		chain_end_word(l), c->at++;
	else
		unquoted(c, ch);
}

static unsigned read_as(enum dialect dialect, const char *script, size_t len_bytes, bool *doubt,
			void (*fn)(void *arg, const char *command, size_t len_bytes), void *arg)
{
	struct chain c = { .s = script, .len = len_bytes, .fn = fn, .arg = arg,
			   .ahead = AHEAD * len_bytes + 4096, .dialect = dialect };

	do {
		while (c.at < c.len)
			if (chain_has_commands(chain_now(&c)))
				in_commands(&c);
			else
				in_quotes(&c);
	} while (chain_leave_here(&c));
	c.at = c.len;
	/* What was not closed ends with the script. */
	*doubt = c.doubt || c.depth;
	while (c.depth)
		chain_close_level(&c);
	chain_end_command(&c, c.at);
	return c.n;
}

/* Whatever may be between two commands is. */
static unsigned read_doubtfully(const char *script, size_t len_bytes,
				void (*fn)(void *arg, const char *command, size_t len_bytes),
				void *arg)
{
	size_t from = 0, to;
	unsigned n = 0;

	for (size_t i = 0; i <= len_bytes; i++) {
		if (i < len_bytes && script[i] && !strchr(";&|\n()`", script[i]))
			continue;
		for (to = i; from < to && strchr(" \t", script[from]);)
			from++;
		while (to > from && strchr(" \t", script[to - 1]))
			to--;
		n += to > from;
		if (to > from && fn)
			fn(arg, script + from, to - from);
		from = i + 1;
	}
	return n;
}

unsigned field_chain(const char *script, size_t len_bytes,
		     void (*fn)(void *arg, const char *command, size_t len_bytes), void *arg)
{
	unsigned best = 0, n, most = 0;
	bool doubt, doubts = false;

	for (unsigned i = 0; i < DIALECTS; i++) {
		n = read_as(i, script, len_bytes, &doubt, NULL, NULL);
		doubts |= doubt && i == BASH;
		if (n > most) {
			most = n;
			best = i;
		}
	}
	if (doubts) {
		n = read_doubtfully(script, len_bytes, NULL, NULL);
		if (n > most)
			return fn ? read_doubtfully(script, len_bytes, fn, arg) : n;
	}
	if (fn)
		read_as(best, script, len_bytes, &doubt, fn, arg);
	return most;
}

unsigned field_chain_depth(const struct exec_object *x, bool *more)
{
	size_t len = 0;
	bool cut;
	const char *script = field_shell_look(x, &len, &cut);

	if (more)
		*more = cut;
	return script ? field_chain(script, len, NULL, NULL) : 0;
}
