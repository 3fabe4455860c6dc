/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of a shell script, counted: by its operators, not by running it. */
#include <stdbool.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/field.h"

#define NESTED_MAX 64  /* deeper than this is read as if it were not nested */
#define HERE_MAX 8     /* here-documents that one line announces */
#define WORD_MAX 16    /* longer than any reserved word */

enum inside {
	IN_COMMANDS,   /* the script, (…), $(…), <(…): the latter end at a parenthesis */
	IN_BACKTICKS,
	IN_DOUBLE,     /* "…" */
	IN_BRACES,     /* ${…} */
	IN_ARITHMETIC, /* $((…)), ((…)) */
};

struct level {
	enum inside inside;
	size_t from;    /* where the command began */
	bool command;   /* it has a word that is not reserved */
	bool head;      /* what follows for, case …: no command */
	bool in_word;
	bool quoted;    /* the word has quotes, a substitution: it is not reserved */
	unsigned parens; /* arithmetic: how many are open */
	char word[WORD_MAX];
	unsigned word_len;
};

struct here {
	const char *end;
	size_t len;
	bool tabs; /* <<- */
};

struct chain {
	const char *s;
	size_t at, len;
	unsigned n;
	void (*fn)(void *arg, const char *command, size_t len_bytes);
	void *arg;
	struct level level[NESTED_MAX];
	unsigned depth;
	struct here here[HERE_MAX];
	unsigned n_here;
};

static struct level *now(struct chain *c)
{
	return &c->level[c->depth];
}

static char peek(const struct chain *c, size_t ahead)
{
	return c->at + ahead < c->len ? c->s[c->at + ahead] : '\0';
}

static bool has_commands(const struct level *l)
{
	return l->inside == IN_COMMANDS || l->inside == IN_BACKTICKS;
}

/* ---- words ----------------------------------------------------------------------------------- */

static bool is_one_of(const struct level *l, const char *const *words)
{
	for (; *words; words++)
		if (strlen(*words) == l->word_len && !memcmp(*words, l->word, l->word_len))
			return true;
	return false;
}

static void end_word(struct level *l)
{
	static const char *const reserved[] = { "if", "then", "elif", "else", "fi", "while", "until",
						"do", "done", "esac", "{", "}", "!", "time", NULL };
	static const char *const heads[] = { "for", "case", "select", "function", "in", NULL };

	if (!l->in_word)
		return;
	if (!l->command && !l->head) {
		if (!l->quoted && is_one_of(l, heads))
			l->head = true;
		else if (l->quoted || !is_one_of(l, reserved))
			l->command = true;
	}
	l->in_word = l->quoted = false;
	l->word_len = 0;
}

static void put_word(struct chain *c, char ch, bool quoted)
{
	struct level *l = now(c);

	l->in_word = true;
	l->quoted |= quoted || l->word_len == WORD_MAX;
	if (l->word_len < WORD_MAX)
		l->word[l->word_len++] = ch;
}

static void end_command(struct chain *c, size_t next)
{
	struct level *l = now(c);
	size_t from = l->from, to = c->at;

	end_word(l);
	if (l->command) {
		c->n++;
		while (from < to && strchr(" \t\n", c->s[from]))
			from++;
		while (to > from && strchr(" \t\n", c->s[to - 1]))
			to--;
		if (c->fn)
			c->fn(c->arg, c->s + from, to - from);
	}
	l->command = l->head = false;
	l->from = next;
}

static void enter(struct chain *c, enum inside inside, size_t skip)
{
	if (has_commands(now(c)))
		put_word(c, '$', true);
	c->at += skip;
	if (c->depth + 1 == NESTED_MAX)
		return;
	c->level[++c->depth] = (struct level){ .inside = inside, .from = c->at };
}

static void leave(struct chain *c)
{
	if (has_commands(now(c)))
		end_command(c, c->at);
	if (c->depth)
		c->depth--;
	c->at++;
}

/* ---- what stands for itself --------------------------------------------------------------------- */

/* '…' and $'…'. */
static void skip_single(struct chain *c, bool escapes)
{
	put_word(c, '\'', true);
	while (++c->at < c->len && c->s[c->at] != '\'')
		if (escapes && c->s[c->at] == '\\')
			c->at++;
	c->at++;
}

static void skip_comment(struct chain *c)
{
	while (c->at < c->len && c->s[c->at] != '\n')
		c->at++;
}

/* After << or <<-: the word that ends it. */
static void note_here(struct chain *c)
{
	struct here h = { 0 };
	char quote = '\0';

	c->at += 2;
	if (peek(c, 0) == '-') {
		h.tabs = true;
		c->at++;
	}
	while (peek(c, 0) == ' ' || peek(c, 0) == '\t')
		c->at++;
	if (peek(c, 0) == '\'' || peek(c, 0) == '"')
		quote = c->s[c->at++];
	else if (peek(c, 0) == '\\')
		c->at++;
	h.end = c->s + c->at;
	while (c->at < c->len && (quote ? c->s[c->at] != quote : !strchr(" \t\n;&|<>()", c->s[c->at])))
		c->at++;
	h.len = (size_t)(c->s + c->at - h.end);
	if (quote)
		c->at++;
	if (h.len && c->n_here < HERE_MAX)
		c->here[c->n_here++] = h;
}

/* At the beginning of the line after they were announced. */
static void skip_here(struct chain *c)
{
	for (unsigned i = 0; i < c->n_here; i++) {
		const struct here *h = &c->here[i];
		bool ended = false;

		while (c->at < c->len && !ended) {
			const char *line = c->s + c->at;
			const char *nl = memchr(line, '\n', c->len - c->at);
			size_t n = nl ? (size_t)(nl - line) : c->len - c->at;

			c->at += n + (nl != NULL);
			while (h->tabs && n && *line == '\t') {
				line++;
				n--;
			}
			ended = n == h->len && !memcmp(line, h->end, n);
		}
	}
	c->n_here = 0;
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* Substitutions, which are commands wherever they stand. */
static bool substitution(struct chain *c)
{
	char ch = c->s[c->at];

	if (ch == '\\') {
		put_word(c, '\\', true);
		c->at += 2;
	} else if (ch == '`' && now(c)->inside != IN_BACKTICKS) {
		/* The same ends it, through quotes as well. */
		enter(c, IN_BACKTICKS, 1);
	} else if (ch == '$' && peek(c, 1) == '(' && peek(c, 2) == '(') {
		enter(c, IN_ARITHMETIC, 3);
		now(c)->parens = 2;
	} else if (ch == '$' && peek(c, 1) == '(') {
		enter(c, IN_COMMANDS, 2);
	} else if (ch == '$' && peek(c, 1) == '{') {
		enter(c, IN_BRACES, 2);
	} else {
		return false;
	}
	return true;
}

static void in_quotes(struct chain *c)
{
	struct level *l = now(c);
	char ch = c->s[c->at];

	if (substitution(c))
		return;
	if ((l->inside == IN_DOUBLE && ch == '"') || (l->inside == IN_BRACES && ch == '}')) {
		leave(c);
		return;
	}
	if (l->inside == IN_BRACES && ch == '"') {
		enter(c, IN_DOUBLE, 1);
		return;
	}
	if (l->inside == IN_BRACES && ch == '\'') {
		skip_single(c, false);
		return;
	}
	if (l->inside == IN_ARITHMETIC) {
		l->parens += ch == '(';
		if (ch == ')' && --l->parens == 0) {
			leave(c);
			return;
		}
	}
	c->at++;
}

static bool redirects(struct chain *c)
{
	char ch = c->s[c->at], before = c->at ? c->s[c->at - 1] : '\0';

	if (ch == '&')
		return before == '>' || before == '<' || peek(c, 1) == '>';
	return ch == '|' && before == '>';
}

static void operator(struct chain *c)
{
	char ch = c->s[c->at];
	size_t n = 1;

	if (redirects(c)) {
		c->at++;
		return;
	}
	if (ch != '\n' && (peek(c, 1) == ch || (ch == '|' && peek(c, 1) == '&')))
		n = 2;
	end_command(c, c->at + n);
	c->at += n;
	if (ch == '\n' && c->n_here) {
		skip_here(c);
		now(c)->from = c->at;
	}
}

static void parenthesis(struct chain *c)
{
	struct level *l = now(c);
	char before = c->at ? c->s[c->at - 1] : '\0';

	if (c->s[c->at] == ')') {
		if (l->inside == IN_COMMANDS && c->depth) {
			leave(c);
			return;
		}
		end_command(c, c->at + 1); /* case x in a) … */
		c->at++;
	} else if (peek(c, 1) == ')') { /* f() */
		end_word(l);
		l->command = l->head = false;
		c->at += 2;
		l->from = c->at;
	} else if (peek(c, 1) == '(' && !l->in_word && !l->command) {
		enter(c, IN_ARITHMETIC, 2);
		now(c)->parens = 2;
	} else if (before == '<' || before == '>') {
		enter(c, IN_COMMANDS, 1);
	} else { /* a subshell is what is in it */
		bool head = l->head, command = l->command;

		enter(c, IN_COMMANDS, 1);
		l->command = command;
		l->head = head;
		l->in_word = l->quoted = false;
		l->word_len = 0;
	}
}

static void in_commands(struct chain *c)
{
	struct level *l = now(c);
	char ch = c->s[c->at];

	if (l->inside == IN_BACKTICKS && ch == '`')
		leave(c);
	else if (ch == '$' && peek(c, 1) == '\'')
		c->at++, skip_single(c, true);
	else if (substitution(c))
		return;
	else if (ch == '\'')
		skip_single(c, false);
	else if (ch == '"')
		enter(c, IN_DOUBLE, 1);
	else if (ch == '#' && !l->in_word)
		skip_comment(c);
	else if (ch == '<' && peek(c, 1) == '<' && peek(c, 2) != '<')
		note_here(c);
	else if (ch == '<' && peek(c, 1) == '<')
		c->at += 3;
	else if (strchr(";&|\n", ch) && ch)
		operator(c);
	else if (ch == '(' || ch == ')')
		parenthesis(c);
	else if (ch == ' ' || ch == '\t')
		end_word(l), c->at++;
	else
		put_word(c, ch, false), c->at++;
}

unsigned field_chain(const char *script, size_t len_bytes,
		     void (*fn)(void *arg, const char *command, size_t len_bytes), void *arg)
{
	struct chain c = { .s = script, .len = len_bytes, .fn = fn, .arg = arg };

	while (c.at < c.len)
		if (has_commands(now(&c)))
			in_commands(&c);
		else
			in_quotes(&c);
	c.at = c.len;
	/* What was not closed ends with the script. */
	for (;;) {
		if (has_commands(now(&c)))
			end_command(&c, c.at);
		if (!c.depth)
			return c.n;
		c.depth--;
	}
}

unsigned field_chain_depth(const struct exec_object *x, bool *more)
{
	size_t len = 0;
	const char *script = field_shell_find(x, &len);

	if (more)
		*more = script && x->argv_cut && script + len >= x->argv + x->argv_len_bytes;
	return script ? field_chain(script, len, NULL, NULL) : 0;
}
